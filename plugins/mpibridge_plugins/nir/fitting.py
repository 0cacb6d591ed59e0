"""The fit of networks to frames, and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, inf, pi

import torch
from torch import Tensor

from mpibridge_plugins.linear import TINY
from mpibridge_plugins.nir.network import Siren
from mpibridge_plugins.nir.noise import Frames

WARM_UP = 20
"""Iterations in which the learning rate rises."""
EVERY = 10
"""Iterations between two questions whether to stop."""
COOLING = 60
"""Iterations in which the learning rate of a frame that may stop falls to nothing: they end its restlessness."""
PATIENCE = 5
"""Questions without progress on held-out rows before a frame stops."""

Sample = Callable[[], tuple[Tensor | slice, Tensor]]
"""Some of the frames, and their images (frame, voxel) at points of its choice."""
Rule = Callable[[Tensor, Tensor], Tensor]
"""Image (frame, voxel) and residual (frame,) as a multiple of the level of the errors → which frames may stop, (frame,) bool."""


@dataclass(frozen=True)
class Fit:
    """What a fit came to; parameters of the networks (network, number), all else (frame,).

    iterations: until the network rested. residual: as a multiple of what the errors alone leave. stopped: whether the rule
    ended the fit.
    """

    parameters: Tensor
    iterations: Tensor
    residual: Tensor
    stopped: Tensor


def discrepancy(image: Tensor, residual: Tensor) -> Tensor:
    """Stop as soon as the residual is what the errors alone would leave. Source: Morozov's principle."""
    return residual <= 1


class HeldOut:
    """Stop when rows that the fit has not seen are predicted no better for `PATIENCE` questions.

    misfit: of images (frame, voxel) on those rows, (frame,).
    """

    def __init__(self, misfit: Callable[[Tensor], Tensor]) -> None:
        self._misfit = misfit
        self._best: Tensor | None = None
        self._waited: Tensor | None = None

    def __call__(self, image: Tensor, residual: Tensor) -> Tensor:
        misfit = self._misfit(image)
        if self._best is None or self._waited is None:
            self._best, self._waited = misfit, torch.zeros_like(misfit)
        self._waited = torch.where(misfit < self._best, 0.0, self._waited + 1)
        self._best = torch.minimum(misfit, self._best)
        return self._waited >= PATIENCE


def misfit_weights(frames: Frames, balance: float) -> Tensor:
    """Of the singular coordinates in the loss, (frame, rank): all 1 without balance, as in the seed.

    (s² + balance·σ²/v)^−½, with v the variance of a white image that explains the data: gradient descent then meets all
    coordinates above the noise at one pace instead of the strongest first.
    """
    data = frames.data
    if not balance:
        return torch.ones_like(data.y)
    return (data.model.values.square() + balance * data.sigma.square() / data.variance).rsqrt()


def fit(
    network: Siren,
    frames: Frames,
    sample: Sample,
    look: Callable[[], Tensor],
    *,
    weights: Tensor,
    rate: float,
    iterations: int,
    rule: Rule | None,
    report: Callable[[int], None],
    schedule: str = "cosine",
) -> Fit:
    """Adam on Σ_frames ‖weights·(y − s·Vᵀx)‖²/‖weights·y‖²: eq. (1) of the seed where the weights are 1.

    sample: frames and images of the loss. look: images (frame, voxel) of all frames for the question whether to stop, every
    `EVERY` iterations. network: one per frame, or one for all, which is judged by the root mean square over the frames.
    schedule: of the rate, "cosine" after a warm-up, or "constant".
    """
    data = frames.data
    s, basis = data.model.values, data.model.basis
    size = (weights * data.y).square().sum(1).clamp_min(TINY)

    def misfit(image: Tensor, weights: Tensor, of: Tensor | slice = slice(None)) -> Tensor:
        return (weights[of] * (data.y[of] - s * (image @ basis))).norm(dim=1)

    @torch.no_grad()
    def residual() -> tuple[Tensor, Tensor]:
        """Images, and the larger one of their residuals with and without weights as multiples of the level."""
        image = look()
        found = []
        for each in (weights, torch.ones_like(weights)):
            rest, level = misfit(image, each), frames.level(image, each)
            found.append(_together(rest) / _together(level) if shared else rest / level)
        return image, torch.maximum(*found)

    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(parameters, lr=rate)
    shared = len(network.weights[0]) < len(size)
    may = (data.y == 0).all(1)
    stopped_at = torch.full_like(size, inf)
    for iteration in range(iterations):
        if rule is not None and iteration and iteration % EVERY == 0:
            may = may | rule(*residual())
            stops = may.all().expand_as(may) if shared else may
            stopped_at = torch.where(stops & stopped_at.isinf(), iteration, stopped_at)
            if (stopped_at + COOLING <= iteration).all():
                break
        some, image = sample()
        loss = (misfit(image, weights, some).square() / size[some]).sum()
        optimizer.zero_grad()
        loss.backward()
        before = [p.detach().clone() for p in parameters]
        optimizer.step()
        paces = _pace(schedule, iteration / iterations, iteration) * (
            1 - (iteration - stopped_at) / COOLING
        ).clamp(0, 1)
        if shared:
            paces = paces[:1]
        with torch.no_grad():  # Adam moves every number by itself, so that each frame can have its own rate
            for parameter, old in zip(parameters, before, strict=True):
                torch.lerp(old, parameter, paces[:, None, None], out=parameter)
        report(iteration + 1)
    return Fit(
        network.flat(), (stopped_at + COOLING).clamp_max(iterations), residual()[1], stopped_at.isfinite()
    )


def _together(values: Tensor) -> Tensor:
    """Root mean square over the frames, for each of them."""
    return values.square().mean().sqrt().expand_as(values)


def _pace(schedule: str, done: float, iteration: int) -> float:
    """The learning rate as a share of its largest."""
    if schedule == "constant":
        return 1.0
    return min(1, (iteration + 1) / WARM_UP) * (1 + cos(pi * done)) / 2
