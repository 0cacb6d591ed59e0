"""Where the network is asked: points in the voxels of a grid, and their averages.

Coordinates are relative to the centre of the field of view, in units of half its longest side, along the axes with more than
one voxel; so an image means the same on every grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
import torch
from torch import Tensor

from mpibridge.errors import SettingsError
from mpibridge.model import Grid

FINEST = 64
"""Points along an axis at least, where an image is sampled."""


def axes_of(grid: Grid) -> list[int]:
    """The axes, of (z, y, x), that have coordinates."""
    return [axis for axis, n in enumerate(grid.shape) if n > 1] or [2]


def points_in(grid: Grid, per_voxel: Sequence[int], box: Grid | None = None) -> Tensor:
    """The centres (point, dimension) of the cells that split every voxel, (z, y, x) of them.

    box: whose field of view the coordinates are relative to, the grid's own unless given. SettingsError if the grid reaches
    out of it.
    """
    box = grid if box is None else box
    lengths = extent(box)
    axes = axes_of(box)
    longest = max(lengths[a] for a in axes)
    middle = np.array(grid.center[::-1]) - np.array(box.center[::-1])
    ours = extent(grid) if any(grid.field_of_view) else lengths
    ticks = []
    for axis in axes:
        n = grid.shape[axis] * per_voxel[axis]
        cells = middle[axis] + ours[axis] * ((np.arange(n) + 0.5) / n - 0.5)
        if np.abs(cells).max() > lengths[axis] / 2:
            raise SettingsError(
                f"the grid reaches {np.abs(cells).max():.4g} m from the centre of the image along {'zyx'[axis]}, which has "
                f"a field of view of {lengths[axis]:.4g} m; nothing is known outside"
            )
        ticks.append(torch.from_numpy(2 * cells / longest).float())
    return torch.stack(torch.meshgrid(*ticks, indexing="ij"), -1).reshape(-1, len(axes))


def cell_sizes(grid: Grid, per_voxel: Sequence[int]) -> Tensor:
    """Edges (dimension,) of those cells in the same units."""
    lengths, axes = extent(grid), axes_of(grid)
    longest = max(lengths[a] for a in axes)
    edges = [2 * lengths[a] / (grid.shape[a] * per_voxel[a] * longest) for a in axes]
    return torch.tensor(edges, dtype=torch.float32)


def averages(values: Tensor, grid: Grid, per_voxel: Sequence[int]) -> Tensor:
    """Values (frame, point) as means over the points of every voxel, (frame, voxel); the D of eq. (1) in the seed."""
    (nz, ny, nx), (kz, ky, kx) = grid.shape, per_voxel
    split = values.reshape(len(values), nz, kz, ny, ky, nx, kx)
    return split.mean((2, 4, 6)).reshape(len(values), -1)


def on_each_axis(grid: Grid, n: int) -> tuple[int, ...]:
    """n points per voxel, but one along axes without coordinates."""
    axes = axes_of(grid)
    return tuple(n if axis in axes else 1 for axis in range(3))


def enough_points(grid: Grid) -> tuple[int, ...]:
    """Points per voxel (z, y, x) to sample an image with: two, and `FINEST` along an axis of the whole image at least."""
    axes = axes_of(grid)
    return tuple(max(2, ceil(FINEST / n)) if axis in axes else 1 for axis, n in enumerate(grid.shape))


def extent(grid: Grid) -> np.ndarray:
    """Lengths (z, y, x) of the field of view in metres, in voxels if it is unknown."""
    lengths = np.array(grid.field_of_view[::-1], float)
    return lengths if lengths[axes_of(grid)].all() else np.array(grid.shape, float)
