"""The path of the field-free point against the pixels of an image: Gaussian weights between the two."""

from __future__ import annotations

import torch
from torch import Tensor

from mpibridge.model import Grid

KERNEL = 1.0
"""Standard deviation of the Gaussian, pixels."""


def places(trajectory: Tensor, n: int) -> Tensor:
    """``n`` of the points (sample, 3) of a period, equally spaced: where its band-limited samples were taken."""
    index = torch.arange(n, device=trajectory.device) * len(trajectory) / n
    return trajectory[index.round().long().clamp_max(len(trajectory) - 1)]


def motion(trajectory: Tensor, grid: Grid, n: int) -> Tensor:
    """Position and velocity along x and y at ``n`` samples, (sample, 4).

    Positions are relative to the middle of the grid, ±1 at its edges; velocities to the fastest one.
    """
    points = places(trajectory, n)[:, :2]
    middle = points.new_tensor(grid.center[:2])
    half = points.new_tensor(grid.field_of_view[:2]) / 2
    velocity = (points.roll(-1, 0) - points.roll(1, 0)) / half
    return torch.cat([(points - middle) / half, velocity / velocity.abs().max().clamp_min(1e-12)], 1).float()


def distances(trajectory: Tensor, grid: Grid, n: int) -> Tensor:
    """Squared distance in pixels of ``n`` samples of the path from every pixel (y, x), (sample, pixel)."""
    points = places(trajectory, n)
    x, y = ((points[:, i, None] - points.new_tensor(grid.axis("xyz"[i]))) / grid.spacing[i] for i in range(2))
    return (y.square()[:, :, None] + x.square()[:, None, :]).flatten(1).float()


def sampling(trajectory: Tensor, grid: Grid, n: int) -> Tensor:
    """What an image (pixel,) is along the path: Gaussian means round ``n`` samples, (sample, pixel), rows sum to 1.

    Outside of the grid there is nothing: samples more than three standard deviations from it have a row of zeros.
    """
    squared = distances(trajectory, grid, n)
    near = squared.amin(1, keepdim=True) <= (3 * KERNEL) ** 2
    return torch.softmax(-squared / (2 * KERNEL**2), 1) * near


def gridding(trajectory: Tensor, grid: Grid, n: int) -> Tensor:
    """What ``n`` values along the path are on pixels: means of those nearby, (pixel, sample), rows sum to 1."""
    return torch.softmax(-distances(trajectory, grid, n) / (2 * KERNEL**2), 0).T.contiguous()
