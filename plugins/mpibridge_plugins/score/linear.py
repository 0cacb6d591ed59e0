"""The measured data in singular coordinates: whitened, real, and reduced once to as many numbers as they tell of the image.

The real and imaginary parts of whitened rows b and their matrix A = U diag(s) Vᵀ give y = Uᵀb = s·(Vᵀx) + n with white
noise n of known σ; every step of every sampler then costs two products with V.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mpibridge.plugin import SpectralProblem

NEGLIGIBLE = 1e-6
"""Singular values below this share of the largest tell nothing in single precision."""
LOUDEST = 1e3
"""A row is weighted at most this much more than rows of average noise."""
FAINTEST = 1e-5
"""Noise as a share of the data that single precision adds to any."""
ITERATIONS, PENALTY = 30, 10.0
"""Of ADMM, in units of the weight of the image that is given; 10 is near the best for matrices that tell little."""
TINY = 1e-30


@dataclass(frozen=True)
class Model:
    """A whitened system matrix: s (rank,), U as left (2·row, rank), V as basis (voxel, rank), weights of the rows (row,)."""

    values: Tensor
    left: Tensor
    basis: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Data:
    """Frames in singular coordinates: y (frame, rank), σ of their noise and scale of their image, both (frame, 1)."""

    model: Model
    y: Tensor
    sigma: Tensor
    scale: Tensor

    def scaled(self, factor: Tensor) -> Data:
        """The same frames in units in which their image is ``factor`` (frame, 1) times smaller."""
        return Data(self.model, self.y / factor, self.sigma / factor, self.scale * factor)

    def repeated(self, n: int) -> Data:
        """Every frame n times in a row."""
        y, sigma, scale = (t.repeat_interleave(n, 0) for t in (self.y, self.sigma, self.scale))
        return replace(self, y=y, sigma=sigma, scale=scale)

    @property
    def variance(self) -> Tensor:
        """Mean square of a white image, (frame, 1), that explains the energy of the data beyond their noise."""
        all_of_it = self.y.square().sum(1, keepdim=True)
        beyond = torch.maximum(all_of_it - self.y.shape[1] * self.sigma.square(), 1e-2 * all_of_it)
        return (beyond / self.model.values.square().sum()).clamp_min(TINY)

    def tikhonov(self, variance: Tensor) -> Tensor:
        """Mean (frame, voxel) of the posterior of a white image with this variance (frame, 1)."""
        s = self.model.values
        coefficients = s * self.y / (s.square() + self.sigma.square() / variance).clamp_min(TINY)
        return coefficients @ self.model.basis.mT

    def step(self, image: Tensor, variance: float, noise: Tensor | None = None) -> Tensor:
        """The mean of the posterior of an image known as N(image, variance), (frame, voxel); with unit noise a draw of it.

        The mean minimises ‖y − s·Vᵀx‖²/σ² + ‖x − image‖²/variance. noise: (frame, voxel), standard normal.
        """
        s, basis = self.model.values, self.model.basis
        precision = s.square() * variance / self.sigma.square()  # of the data over that of the image
        gain = precision / (1 + precision)
        moved = image + (gain * (self.y / s - image @ basis)) @ basis.mT
        if noise is None:
            return moved
        shrink = (1 + precision).rsqrt() - 1
        return moved + variance**0.5 * (noise + (shrink * (noise @ basis)) @ basis.mT)

    def positive_step(self, image: Tensor, variance: float) -> Tensor:
        """The mean of `step` for an image without negative values: the minimum over x ≥ 0, by a few iterations of ADMM."""
        split = variance / PENALTY
        both = 1 / (1 / variance + 1 / split)
        x = self.step(image, variance)
        z, dual = x.clamp_min(0), torch.zeros_like(x)
        for _ in range(ITERATIONS):
            dual = dual + x - z
            x = self.step(both * (image / variance + (z - dual) / split), both)
            z = (x + dual).clamp_min(0)
        return z

    def residual(self, image: Tensor) -> Tensor:
        """‖y − s·Vᵀx‖ over what noise alone would leave, (frame,): about 1 explains the data."""
        rest = self.y - self.model.values * (image @ self.model.basis)
        return rest.norm(dim=1) / (self.sigma[:, 0] * self.y.shape[1] ** 0.5)


def model_of(problem: SpectralProblem) -> Model:
    """The singular value decomposition of the whitened system matrix, found in double precision, kept in single.

    It comes from the eigenvectors of the smaller Gram matrix, which is several times quicker and exact enough down to
    `NEGLIGIBLE`.
    """
    matrix = problem.operator.matrix
    weights = _weights(problem)
    stacked = _stacked((matrix * weights[:, None]).to(torch.complex128).mT).mT
    tall = stacked.shape[0] >= stacked.shape[1]
    squares, vectors = torch.linalg.eigh(stacked.mT @ stacked if tall else stacked @ stacked.mT)
    values = squares.clamp_min(0).sqrt().flip(0)
    rank = max(1, int((values > NEGLIGIBLE * values[0]).sum()))
    values, vectors = values[:rank].clamp_min(TINY), vectors.flip(1)[:, :rank]
    other = (stacked @ vectors if tall else stacked.mT @ vectors) / values
    left, basis = (other, vectors) if tall else (vectors, other)
    return Model(values.float(), left.float(), basis.float(), weights)


def data_of(problem: SpectralProblem, model: Model) -> Data:
    """The frames of a problem in singular coordinates, in units of their estimated scale.

    The noise is the problem's; where that is missing or zero, what the data show where the system matrix says little. The
    scale is the maximum of the Tikhonov image; that of a frame without signal is 1.
    """
    stacked = _stacked(problem.rows * model.weights)
    loudest = stacked.abs().amax(1, keepdim=True)
    unit = torch.where(
        loudest > TINY, loudest, torch.ones_like(loudest)
    )  # squares stay within single precision
    stacked = stacked / unit
    y = stacked @ model.left
    if _is_known(problem.noise):
        deviation = (
            torch.atleast_2d(problem.noise) * model.weights / 2**0.5
        )  # of real and imaginary part each
        sigma = (deviation / unit).square().mean(1, keepdim=True).sqrt().to(y.dtype)
    else:
        sigma = _estimated_noise(stacked, y, model)
    sigma = torch.maximum(sigma, FAINTEST * y.square().mean(1, keepdim=True).sqrt()).clamp_min(TINY)
    data = Data(model, y, sigma, unit)
    peak = data.tikhonov(data.variance).amax(1, keepdim=True)
    return data.scaled(torch.where((peak > TINY) & torch.isfinite(peak), peak, torch.ones_like(peak)))


def _is_known(noise: Tensor | None) -> bool:
    return noise is not None and bool((noise > 0).any())


def _stacked(rows: Tensor) -> Tensor:
    """Real, then imaginary parts: (n, row) complex → (n, 2·row)."""
    return torch.cat([rows.real, rows.imag], 1)


def _weights(problem: SpectralProblem) -> Tensor:
    """What makes the noise of all rows alike, (row,), 1 on average; rows that show no noise get the usual weight."""
    if not _is_known(problem.noise):
        return torch.ones(problem.rows.shape[1], device=problem.rows.device)
    deviation = torch.atleast_2d(problem.noise).double()
    shape = (deviation / deviation.mean(1, keepdim=True).clamp_min(TINY)).mean(0)
    typical = shape[shape > 0].median()
    weights = 1 / torch.where(shape > 0, shape, typical).clamp_min(typical / LOUDEST)
    return (weights / weights.mean()).float()


def _estimated_noise(stacked: Tensor, y: Tensor, model: Model) -> Tensor:
    """σ (frame, 1) from what no image explains: the part of the data that U misses, and the singular values too small for an

    image of the energy that the data show. Which those are depends on σ, so that both are found in turns.
    """
    squares, energies = model.values.square(), y.square()
    n_missed = stacked.shape[1] - y.shape[1]
    missed = (stacked.square().sum(1, keepdim=True) - energies.sum(1, keepdim=True)).clamp_min(0) * (
        n_missed > 0
    )
    quiet = (torch.arange(len(squares), device=y.device) >= 0.75 * len(squares)).expand(energies.shape)
    sigma_squared = torch.zeros_like(missed)
    for _ in range(10):
        n = n_missed + quiet.sum(1, keepdim=True)
        sigma_squared = (missed + (energies * quiet).sum(1, keepdim=True)) / n.clamp_min(1)
        variance = (energies.sum(1, keepdim=True) - y.shape[1] * sigma_squared).clamp_min(0) / squares.sum()
        quiet = squares * variance < sigma_squared
    one_per_cent = 1e-4 * energies.mean(1, keepdim=True)  # of data that all tell of the image
    return torch.where(n_missed + quiet.sum(1, keepdim=True) < 4, one_per_cent, sigma_squared).sqrt()
