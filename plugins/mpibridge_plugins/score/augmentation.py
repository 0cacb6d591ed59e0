"""More from the same phantoms: for a prior, grids of any size, parts, sums, other contrast and scale; for pairs, sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mpibridge.plugin import SpectralProblem

SMALLEST, LARGEST = 8, 64
"""Voxels along an axis of the images that a prior learns, from phantoms on `LARGEST` or more voxels."""
LARGEST_BATCH = 64 * 24**2
"""Voxels of a batch: of large images fewer are taken."""
SCALE_SPREAD = 0.3
"""Standard deviation of ln(peak): estimates of the intensity scale miss by this much."""
CROPPED, MIXED, BENT, FAINT = 0.5, 0.2, 0.2, 0.1
"""Shares of batches that show a part, and of images that are a sum of two, have another contrast, or are faint."""


def varied(planes: Tensor, generator: np.random.Generator) -> Tensor:
    """Images (image, 1, y, x) for training, of random size and with a maximum near 1, from images on a fine square grid."""
    side = min(planes.shape[-2:])
    n = int(np.exp(generator.uniform(np.log(SMALLEST), np.log(min(side, LARGEST)))).round())
    planes = planes[: max(1, LARGEST_BATCH // n**2)]
    if generator.random() < CROPPED:
        planes = _part(planes, int(generator.integers(max(n, side // 3), side + 1)), generator)
    planes = _of_peak_1(_pooled(planes, n))
    planes = _of_peak_1(planes + _some(MIXED, planes, generator) * planes.roll(1, 0))
    gamma = torch.exp(0.7 * _normal(planes, generator) * _some(BENT, planes, generator))
    planes = planes.clamp_min(0) ** gamma
    faint = _some(FAINT, planes, generator) * _uniform(planes, generator)
    planes = planes * (1 - faint) * torch.exp(SCALE_SPREAD * _normal(planes, generator))
    planes = planes.flip([axis for axis in (2, 3) if generator.random() < 0.5])
    return planes.mT if generator.random() < 0.5 else planes


def superposed(
    problem: SpectralProblem, target: Tensor, generator: np.random.Generator
) -> tuple[SpectralProblem, Tensor]:
    """Some scans are sums of two, (problem, target) alike: the signal is linear in the image, its noise adds in quadrature."""
    share = _some(MIXED, target, generator) * _uniform(target, generator)
    each = share[:, 0, 0, :]
    noise = problem.noise
    if noise is not None:
        noise = torch.atleast_2d(noise).expand(len(target), -1)
        noise = torch.hypot(noise, each * noise.roll(1, 0))
    mixed = replace(problem, rows=problem.rows + each * problem.rows.roll(1, 0), noise=noise)
    return mixed, target + share * target.roll(1, 0)


def _part(planes: Tensor, side: int, generator: np.random.Generator) -> Tensor:
    y, x = (int(generator.integers(0, size - side + 1)) for size in planes.shape[-2:])
    return planes[..., y : y + side, x : x + side]


def _pooled(planes: Tensor, n: int) -> Tensor:
    """Means over n × n voxels of the same field of view."""
    height, width = (_shares(size, n).to(planes) for size in planes.shape[-2:])
    return height @ planes @ width.mT


def _shares(size: int, n: int) -> Tensor:
    """(n, size): the share of each of ``size`` intervals in each of n longer ones, rows sum to 1."""
    edges, longer = torch.arange(size + 1.0), torch.linspace(0, size, n + 1)
    upper = torch.minimum(edges[None, 1:], longer[1:, None])
    lower = torch.maximum(edges[None, :-1], longer[:-1, None])
    return (upper - lower).clamp_min(0) * n / size


def _of_peak_1(planes: Tensor) -> Tensor:
    return planes / planes.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)


def _some(share: float, planes: Tensor, generator: np.random.Generator) -> Tensor:
    """1 for this share of the images, else 0."""
    return (_uniform(planes, generator) < share).to(planes.dtype)


def _uniform(planes: Tensor, generator: np.random.Generator) -> Tensor:
    return torch.from_numpy(generator.random((len(planes), 1, 1, 1), np.float32)).to(planes.device)


def _normal(planes: Tensor, generator: np.random.Generator) -> Tensor:
    return torch.from_numpy(generator.standard_normal((len(planes), 1, 1, 1), np.float32)).to(planes.device)
