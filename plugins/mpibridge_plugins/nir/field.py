"""Networks as images: their averages over the voxels of any grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mpibridge.model import Grid
from mpibridge_plugins.nir.network import Siren
from mpibridge_plugins.nir.points import (
    averages,
    axes_of,
    cell_sizes,
    enough_points,
    extent,
    on_each_axis,
    points_in,
)

CHUNK = 2**16
"""Points that a network is asked for at once."""
TOGETHER = 8
"""Frames of a series that one iteration looks at."""


class Field:
    """The images of networks in the field of view of ``native``.

    network: one per frame; or, with times (frame,), one for all that takes the time as its first coordinate.
    """

    def __init__(self, network: Siren, native: Grid, times: Tensor | None = None) -> None:
        self.network, self.native, self.times = network, native, times
        self._cells: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    def stratified(
        self, per_axis: int, generators: Sequence[np.random.Generator]
    ) -> tuple[Tensor | slice, Tensor]:
        """Frames and their images (frame, voxel) from one random point in each of ``per_axis`` cells per voxel and axis."""
        per_voxel = on_each_axis(self.native, per_axis)
        points, edges = self._cells_of(per_voxel)
        places = np.stack([g.random(points.shape, np.float32) for g in generators])
        jitter = (self._on_device(torch.from_numpy(places)) - 0.5) * edges
        return self._at(points + jitter, per_voxel, generators)

    def pooled(self, scale: int, generators: Sequence[np.random.Generator]) -> tuple[Tensor | slice, Tensor]:
        """Frames and their images (frame, voxel) from a grid ``scale`` times finer. Source: Tsanda et al. 2025, section II."""
        per_voxel = on_each_axis(self.native, scale)
        points, _ = self._cells_of(per_voxel)
        return self._at(points[None], per_voxel, generators)

    @torch.no_grad()
    def on(self, grid: Grid, per_voxel: Sequence[int] | None = None) -> Tensor:
        """The images (frame, voxel) on a grid, averaged over ``per_voxel`` (z, y, x) points, by default as many as it takes."""
        per_voxel = enough_points(grid) if per_voxel is None else per_voxel
        if grid == self.native:
            points, _ = self._cells_of(tuple(per_voxel))
        else:
            points = self._on_device(points_in(grid, per_voxel, self.native))
        n_frames = len(self.network.weights[0]) if self.times is None else len(self.times)
        images = []
        for frame in range(n_frames):
            asked = points if self.times is None else _at_time(points, self.times[frame])
            network = 0 if self.times is not None else frame
            parts = [self.network(part[None], network)[0] for part in asked.split(CHUNK)]
            images.append(averages(torch.cat(parts)[None], grid, per_voxel)[0])
        return torch.stack(images)

    def _cells_of(self, per_voxel: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Centres (point, dimension) and edges (dimension,) of the cells that split the native voxels."""
        if per_voxel not in self._cells:
            centres, edges = points_in(self.native, per_voxel), cell_sizes(self.native, per_voxel)
            self._cells[per_voxel] = self._on_device(centres), self._on_device(edges)
        return self._cells[per_voxel]

    def _at(
        self, points: Tensor, per_voxel: Sequence[int], generators: Sequence[np.random.Generator]
    ) -> tuple[Tensor | slice, Tensor]:
        if self.times is None:
            return slice(None), averages(self.network(points), self.native, per_voxel)
        n = min(TOGETHER, len(self.times))
        some = generators[0].choice(len(self.times), n, replace=False)
        asked = torch.cat([_at_time(points[0], self.times[i]) for i in some])
        values = self.network(asked[None]).reshape(n, -1)
        return self._on_device(torch.from_numpy(some)), averages(values, self.native, per_voxel)

    def _on_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.network.weights[0].device)


def frame_times(native: Grid, n_frames: int, step: float) -> Tensor:
    """Coordinates of frames whose distance is ``step`` voxels, around 0."""
    axes = axes_of(native)
    longest = max(axes, key=lambda axis: extent(native)[axis])
    return (torch.arange(n_frames) - (n_frames - 1) / 2) * step * 2 / native.shape[longest]


def _at_time(points: Tensor, time: Tensor) -> Tensor:
    """(point, dimension) → (point, 1 + dimension)"""
    return torch.cat([time.expand(len(points), 1).to(points), points], 1)
