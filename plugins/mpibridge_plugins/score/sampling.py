"""Samplers: from noise to images in a few evaluations of a denoiser. One function each, named after its algorithm.

A denoiser is a function D(x, σ) of noisy images (image, voxel) and one noise level: the mean of clean images given x. ``draw()``
gives standard normal noise of their shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

import torch
from torch import Tensor

from mpibridge_plugins.linear import Data
from mpibridge_plugins.score.augmentation import SMALLEST

Denoise = Callable[[Tensor, float], Tensor]
DenoisePlanes = Callable[[Tensor, float], Tensor]
"""The same for planes (image, 1, height, width)."""
Draw = Callable[[], Tensor]
EXPLAINED, FURTHER = 1.5, 6
"""Residual up to which the data are explained; how often the last step may quadruple the variance to get there."""
Watch = Callable[[int, Tensor], None]
"""``watch(step, image)``: the estimate after a step."""
LAST_TRUST = 10.0
"""How much more than usual the last denoised image is trusted: what noise the data then let in would stay."""


def noise_levels(n: int, highest: float, lowest: float, rho: float = 7.0) -> list[float]:
    """n levels from the highest down to the lowest, equally spaced in σ^(1/ρ). Source: Karras et al. 2022, eq. (5)."""
    if n == 1:
        return [highest]
    high, low = highest ** (1 / rho), lowest ** (1 / rho)
    return [(high + i / (n - 1) * (low - high)) ** rho for i in range(n)]


def heun(denoise: Denoise, draw: Draw, levels: Sequence[float], watch: Watch) -> Tensor:
    """A draw of the denoiser's distribution. Source: Karras et al. 2022, algorithm 1; the last step is the denoiser itself."""
    x = levels[0] * draw()
    for i, (sigma, lower) in enumerate(zip(levels, [*levels[1:], 0.0], strict=True)):
        clean = denoise(x, sigma)
        watch(i, clean)
        slope = (x - clean) / sigma
        moved = x + (lower - sigma) * slope
        if lower:
            slope = (slope + (moved - denoise(moved, lower)) / lower) / 2
            moved = x + (lower - sigma) * slope
        x = moved
    return x


def decoupled(
    denoise: Denoise,
    draw: Draw,
    levels: Sequence[float],
    watch: Watch,
    *,
    data: Data,
    spread: float,
    start: Tensor | float = 0.0,
    trust: float = 1.0,
    exact: bool = False,
    positive: bool = False,
) -> Tensor:
    """An image that is likely under the data: denoise, meet the data, add fresh noise of the next level.

    The clean image given the noisy one is taken as N(D(x, σ), r²) with r² = σ²·spread²/(σ² + spread²)/trust, which for
    trust 1 is right for an image of independent normal voxels with standard deviation ``spread``. exact: meet the data by a
    draw of the posterior under that normal, which makes draws of the true posterior for such images if trust is 1 and the
    highest level hides them; else by its mean, which gives better images where the normal is a rough guess; then the last
    step trusts the denoiser `LAST_TRUST` times more and, if positive, leaves no negative value. start: a first guess of the
    image, which matters if the highest level does not hide it. Source: Zhang et al. 2024 (DAPS), with its inner sampling in
    closed form; by the mean Zhu et al. 2023 (DiffPIR, ζ = 1).
    """
    x = start + levels[0] * draw()
    for i, (sigma, lower) in enumerate(zip(levels, [*levels[1:], 0.0], strict=True)):
        clean, variance = denoise(x, sigma), sigma**2 * spread**2 / (sigma**2 + spread**2) / trust
        if exact:
            x = data.step(clean, variance, draw())
        elif lower:
            x = data.step(clean, variance)
        else:
            x = _last(data, clean, variance / LAST_TRUST, positive)
        watch(i, x)
        if lower:
            x = x + lower * draw()
    return x


def _last(data: Data, clean: Tensor, variance: float, positive: bool) -> Tensor:
    """What is left of the data's own: frames that are not explained yet move further from the denoised image."""
    step = data.positive_step if positive else data.step
    x = step(clean, variance)
    for _ in range(FURTHER):
        unexplained = data.residual(x) > EXPLAINED
        if not unexplained.any():
            break
        variance *= 4
        x = torch.where(unexplained[:, None], step(clean, variance), x)
    return x


def plane_axes(shape: tuple[int, int, int]) -> list[int]:
    """The axes across which a volume is cut into planes: those with planes of `SMALLEST` voxels or more; else of more than one."""
    narrowest = [min(n for i, n in enumerate(shape) if i != axis) for axis in range(3)]
    for least in (SMALLEST, 2):
        if any(n >= least for n in narrowest):
            return [axis for axis in range(3) if narrowest[axis] >= least]
    return [0]


def across_slices(denoise_planes: DenoisePlanes, shape: tuple[int, int, int]) -> Denoise:
    """A denoiser of volumes (z, y, x): the mean of the planes' over three orientations, without those of `plane_axes`."""
    axes = plane_axes(shape)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        volumes = x.reshape(-1, *shape)
        total = torch.zeros_like(volumes)
        for axis in axes:
            planes = volumes.movedim(1 + axis, 1)
            clean = denoise_planes(planes.reshape(-1, 1, *planes.shape[2:]), sigma)
            total += clean.reshape(planes.shape).movedim(1, 1 + axis)
        return (total / len(axes)).reshape(x.shape)

    return denoise


def turning(denoise_planes: DenoisePlanes, n_images: int, n_samples: int) -> DenoisePlanes:
    """The denoiser on planes that are mirrored and transposed, in another way for every sample and call.

    What lies left and what lies right is all the same to a prior of images; a network only nearly knows, and its errors
    average out. The images are ``n_samples`` each of several frames, all their planes in a row.
    """
    calls = count()

    def turned(planes: Tensor, sigma: float) -> Tensor:
        call = next(calls)
        sample = torch.arange(len(planes), device=planes.device) * n_images // len(planes) % n_samples
        way = ((sample + call // 2) % 4)[:, None, None, None]

        def mirrored(x: Tensor) -> Tensor:
            x = torch.where(way % 2 == 1, x.flip(2), x)
            return torch.where(way >= 2, x.flip(3), x)

        x = mirrored(planes)
        return mirrored(denoise_planes(x.mT, sigma).mT if call % 2 else denoise_planes(x, sigma))

    return turned
