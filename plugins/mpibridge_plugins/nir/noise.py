"""What is known of the errors: frames with alike errors together, in singular coordinates in which these are white."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mpibridge.plugin import SpectralProblem
from mpibridge_plugins.linear import TINY, Data, data_of, model_of, row_weights

STEP = 0.25
"""Frames go together if the logarithms of their signal to noise are as near; what they find does not depend on each other."""

FAINTEST = 1e-6
"""Norm of an image in units of the noise that tells as much as any smaller one."""


@dataclass(frozen=True)
class Frames:
    """Frames that share a whitened system matrix. where: their places in the problem, (frame,).

    share: of the system matrix in the variance of the errors for an image of the norm ``expected``, both (frame, 1).
    """

    where: Tensor
    data: Data
    share: Tensor
    expected: Tensor

    def level(self, image: Tensor, weights: Tensor) -> Tensor:
        """What noise and the errors of the system matrix leave of ‖weights·(y − s·Vᵀx)‖, (frame,).

        image: (frame, voxel) in units of the data. The errors of the matrix grow with the image: σ² + σ_S²‖x‖² per row. It is
        one standard deviation of its own below what is expected: to stop early costs more than to stop late.
        """
        norm = (image * self.data.scale).norm(dim=1, keepdim=True)
        growth = 1 - self.share + self.share * (norm / self.expected).square()
        squares = weights.square()
        n = squares.sum(1).square() / squares.square().sum(1)  # numbers that count
        expected = (growth.sqrt() * self.data.sigma)[:, 0] * weights.norm(dim=1)
        return expected * (1 - (2 * n).rsqrt())


def alike_frames(
    problem: SpectralProblem, *, whiten: bool, rank: int, together: bool = False, model_error: float = 0.0
) -> Iterator[Frames]:
    """The frames of a problem in groups, or all together.

    whiten: weigh rows by the noise of the scan and the errors of the system matrix, as far as they are known; otherwise they
    stay as they are, and only the level tells of the noise. rank: singular values that are kept at most. together: one group,
    all of whose frames have one scale. model_error: share of the data that adds to their noise.
    """
    matrix = problem.operator.matrix
    weights = row_weights(problem if whiten else replace(problem, noise=None))
    model = model_of(matrix, weights, rank)
    data = data_of(problem, model, model_error)
    if problem.matrix_noise is None or not bool((problem.matrix_noise > 0).any()):
        everyone = torch.arange(len(data.y), device=data.y.device)
        if together:
            data = data.scaled(data.scale.max() / data.scale)
        yield Frames(everyone, data, torch.zeros_like(data.sigma), torch.ones_like(data.sigma))
        return
    of_matrix = problem.matrix_noise.to(data.y)
    known = problem.noise is not None and bool((problem.noise > 0).any())
    of_scan = _known_noise(problem, data) if known else _estimated_noise(data, problem.rows.shape)
    sigma = of_scan.square().mean(1, keepdim=True).sqrt()
    sigma = torch.where(sigma > TINY, sigma, 1.0)  # frames without anything
    image = data.tikhonov(data.variance).clamp_min(0) * data.scale
    ratios = (image.norm(dim=1, keepdim=True) / sigma).clamp_min(FAINTEST)
    if together:
        ratios = ratios.mean().expand_as(ratios)
    ratios = torch.exp(torch.round(ratios.log() / STEP) * STEP)
    for ratio in torch.unique(ratios):
        where = torch.nonzero(ratios[:, 0] == ratio)[:, 0]
        expected = ratio * sigma[where]
        noise = of_scan[where]
        if not known:  # what was estimated holds the errors of the matrix already
            noise = (noise.square() - (expected * of_matrix).square().mean()).clamp_min(0).sqrt()
        errors = torch.hypot(noise, expected * of_matrix)
        part = replace(problem, rows=problem.rows[where], noise=errors)
        if whiten:
            weights = row_weights(part)
            model = model_of(matrix, weights, rank)
        share = (weights * expected * of_matrix).square().mean(1) / (weights * errors).square().mean(
            1
        ).clamp_min(TINY)
        found = data_of(part, model, model_error)
        if together:  # brighter frames stay brighter
            found = found.scaled(found.scale.max() / found.scale)
        yield Frames(where, found, share[:, None], expected)


def _known_noise(problem: SpectralProblem, data: Data) -> Tensor:
    """σ (frame, row)"""
    return torch.atleast_2d(problem.noise).to(data.y).expand(problem.rows.shape)


def _estimated_noise(data: Data, shape: tuple[int, ...]) -> Tensor:
    """The same for all rows, (frame, row)."""
    return (data.noise * data.scale * data.model.unit * 2**0.5).expand(shape)
