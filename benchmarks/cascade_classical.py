"""Classical methods for many frames at once, in singular coordinates: Tikhonov, NNLS, Richardson–Lucy and TV, at all iterations asked for.

They minimise ½‖s·Vᵀx − y‖² with what is said of each; λ is relative to the largest s², images to the scale of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpibridge.device import to_device
from mpibridge.plugin import SpectralProblem
from mpibridge_plugins.cascade.plugin import SMALLEST
from mpibridge_plugins.linear import Data, LatestModel, data_of

START = 500
"""Iterations that find the pixels with which NNLS begins."""
MODEL = LatestModel()
"""Of the system matrix at hand: its decomposition takes seconds."""
PENALTY, RELAXATION, ITERATIONS = 1e-4, 1.6, 300
"""Of ADMM: the objective of TV ends within about 2 % of its minimum."""


def data(problem: SpectralProblem) -> Data:
    """The frames in singular coordinates, without the smallest."""
    given = to_device(problem, "cpu", tensors=True)
    return data_of(given, MODEL.of(given).cut(SMALLEST))


def tikhonov(given: Data, regularization: float) -> Tensor:
    """+ ½λ‖x‖², negative values cut at the end."""
    s = given.model.values
    return ((s / (s.square() + regularization) * given.y) @ given.model.basis.mT).clamp_min(0)


def nnls(given: Data, regularization: float) -> Tensor:
    """+ ½λ‖x‖² over x ≥ 0, exactly, frame by frame, λ > 0.

    It begins with the pixels that accelerated projected gradients leave positive. Source: Bro & de Jong 1997, algorithm FNNLS.
    """
    s, basis = given.model.values, given.model.basis
    x = z = torch.zeros(len(given.y), len(basis))
    for i in range(START):
        gradient = (s * (s * (z @ basis) - given.y)) @ basis.mT + regularization * z
        new = (z - gradient / (1 + regularization)).clamp_min(0)
        x, z = new, new + i / (i + 3) * (new - x)
    s, basis = s.double().numpy(), basis.double().numpy()
    normal = (basis * s**2) @ basis.T + regularization * np.eye(len(basis))
    right = (s * given.y.double().numpy()) @ basis.T
    found = [_active_set(normal, h, free) for h, free in zip(right, (x > 0).numpy(), strict=True)]
    return torch.from_numpy(np.array(found, np.float32))


def _active_set(normal: np.ndarray, h: np.ndarray, free: np.ndarray) -> np.ndarray:
    """x ≥ 0 with w = h − Gx ≤ 0 and x · w = 0, sought from the pixels ``free`` to be positive."""

    def solved() -> tuple[np.ndarray, np.ndarray]:
        inside = np.flatnonzero(free)
        return inside, np.linalg.solve(normal[np.ix_(inside, inside)], h[inside])

    inside, new = solved()
    while (new <= 0).any():
        free[inside[new <= 0]] = False
        inside, new = solved()
    while True:
        x = np.zeros_like(h)
        x[inside] = new
        w = np.where(free, -np.inf, h - normal[:, inside] @ new)
        if w.max() <= 1e-9 * np.abs(h).max():
            return x
        free[w.argmax()] = True
        inside, new = solved()
        while (new <= 0).any():  # as far as no pixel is negative; that one is fixed at 0
            below = np.flatnonzero(new <= 0)
            steps = x[inside[below]] / (x[inside[below]] - new[below])
            x[inside] += steps.min() * (new - x[inside])
            fixed = inside[below[steps == steps.min()]]
            x[fixed], free[fixed] = 0, False
            inside, new = solved()


def tv(given: Data, regularization: float | Tensor, shape: tuple[int, int]) -> Tensor:
    """+ λ Σ|∇x| (isotropic) over x ≥ 0. λ: one number, or (frame, 1, 1): over the scale of the frames it is one for all units.

    By over-relaxed ADMM, whose quadratic step is solved exactly. Source: Boyd et al. 2011, sections 3.4.3 and 6.
    """
    s, basis = given.model.values, given.model.basis
    eye = torch.eye(len(basis))
    bent = -divergence(slopes(eye.unflatten(1, shape))).flatten(1)
    quadratic = (basis * s.square()) @ basis.mT + PENALTY * (eye + bent)
    inverse = torch.linalg.inv(quadratic.double()).float()
    h = (s * given.y) @ basis.mT
    z = dual = torch.zeros_like(h)
    bends = pulls = torch.zeros(2, len(h), *shape)
    for _ in range(ITERATIONS):
        x = (h + PENALTY * (z - dual - divergence(bends - pulls).flatten(1))) @ inverse
        relaxed = RELAXATION * x + (1 - RELAXATION) * z
        z = (relaxed + dual).clamp_min(0)
        dual = dual + relaxed - z
        sloped = RELAXATION * slopes(x.unflatten(1, shape)) + (1 - RELAXATION) * bends
        pulls = pulls + sloped
        bends = pulls * (1 - regularization / PENALTY / pulls.norm(dim=0).clamp_min(1e-30)).clamp_min(0)
        pulls = pulls - bends
    return z


def slopes(x: Tensor) -> Tensor:
    """Differences (2, frame, y, x) to the next pixel along y and along x, 0 at the border."""
    d = torch.zeros(2, *x.shape)
    d[0, :, :-1] = x[:, 1:] - x[:, :-1]
    d[1, :, :, :-1] = x[:, :, 1:] - x[:, :, :-1]
    return d


def divergence(d: Tensor) -> Tensor:
    """Minus the adjoint of `slopes`."""
    x = torch.zeros(d.shape[1:])
    x[:, :-1] += d[0, :, :-1]
    x[:, 1:] -= d[0, :, :-1]
    x[:, :, :-1] += d[1, :, :, :-1]
    x[:, :, 1:] -= d[1, :, :, :-1]
    return x


def richardson_lucy(given: Data, iterations: Sequence[int]) -> Iterator[Tensor]:
    """Multiplicative updates over x ≥ 0 for kernels of both signs, from a constant image, accelerated by extrapolation.

    The normal matrix is split by sign, AᵀA = P − N: x ← x · (h + √(h² + 4 (Px)(Nx))) / (2 Px), h = Aᵀy. Where all is positive that is
    the image space reconstruction algorithm, x · h / Px. Source: Sha, Lin, Saul & Lee 2007, eq. (7); Daube-Witherspoon & Muehllehner
    1986; the acceleration: Biggs & Andrews 1997.
    """
    s, basis = given.model.values, given.model.basis
    sizes = ((basis * s.square()) @ basis.mT).abs()
    h = (s * given.y) @ basis.mT
    x = y = torch.full_like(h, 0.1)
    moved = torch.zeros_like(h)
    for i in range(1, max(iterations) + 1):
        whole, size = (s.square() * (y @ basis)) @ basis.mT, y @ sizes
        p, n = (size + whole) / 2, ((size - whole) / 2).clamp_min(0)
        new = y * (h + (h.square() + 4 * p * n).sqrt()) / (2 * p).clamp_min(1e-30)
        before, moved = moved, new - y
        ahead = (moved * before).sum(1, keepdim=True) / before.square().sum(1, keepdim=True).clamp_min(1e-30)
        y = (new + ahead.clamp(0, 1) * (new - x)).clamp_min(0)
        x = new
        if i in iterations:
            yield x


Choice = tuple[tuple[str, float], ...]
"""Settings by name."""


@dataclass(frozen=True)
class Classical:
    """A method. grid: values of its settings in ascending order. every: images of all choices, those of one run together."""

    grid: Mapping[str, Sequence[float]]
    every: Callable[[Data, Mapping[str, Sequence[float]], tuple[int, int]], Iterator[tuple[Choice, Tensor]]]

    def images(
        self, problem: SpectralProblem, grid: Mapping[str, Sequence[float]] | None = None
    ) -> Iterator[tuple[dict[str, float], np.ndarray]]:
        """Settings and images (frame, z, y, x) of every choice; grid: None for the method's own."""
        given, shape = data(problem), problem.grid.shape
        for choice, x in self.every(given, self.grid if grid is None else grid, shape[1:]):
            yield dict(choice), (x * given.scale).reshape(-1, *shape).numpy()

    def best(self, problem: SpectralProblem, settings: Mapping[str, float]) -> np.ndarray:
        """Images with one choice of settings."""
        return next(self.images(problem, {name: (value,) for name, value in settings.items()}))[1]

    def at_edge(self, settings: Mapping[str, float]) -> list[str]:
        """Settings that end their grid."""
        return [name for name, values in self.grid.items() if settings[name] in (values[0], values[-1])]


def _tikhonov(given: Data, grid: Any, shape: Any) -> Iterator[tuple[Choice, Tensor]]:
    for value in grid["λ"]:
        yield (("λ", value),), tikhonov(given, value)


def _nnls(given: Data, grid: Any, shape: Any) -> Iterator[tuple[Choice, Tensor]]:
    for value in grid["λ"]:
        yield (("λ", value),), nnls(given, value)


def _richardson_lucy(given: Data, grid: Any, shape: Any) -> Iterator[tuple[Choice, Tensor]]:
    for n, x in zip(grid["iterations"], richardson_lucy(given, grid["iterations"]), strict=True):
        yield (("iterations", n),), x


def _tv(given: Data, grid: Any, shape: Any) -> Iterator[tuple[Choice, Tensor]]:
    for value in grid["λ"]:
        yield (("λ", value),), tv(given, value / given.scale[:, :, None], shape)


def decades(first: float, last: float, per_decade: int = 2) -> tuple[float, ...]:
    """Powers of ten from ``first`` to ``last``, both exponents."""
    return tuple(float(f"{10**e:.3g}") for e in np.arange(first, last + 1e-9, 1 / per_decade))


CLASSICAL = {
    "Tikhonov": Classical({"λ": decades(-8, -3)}, _tikhonov),
    "NNLS": Classical({"λ": decades(-8, -4)}, _nnls),
    "Richardson–Lucy": Classical(
        {"iterations": (10, 30, 100, 200, 400, 800, 1600, 3200, 6400)}, _richardson_lucy
    ),
    "TV": Classical({"λ": decades(-8, -5)}, _tv),
}
