"""Phantoms: concentration on a fine grid, and its mean on the grid of a calibration."""

from __future__ import annotations

import numpy as np
import xarray as xr

from mpibridge.errors import ShapeError
from mpibridge.model import GRID_DIMS, Grid


def phantom(grid: Grid, *, finer: int = 5) -> xr.DataArray:
    """An L and a fainter dot, without any symmetry, on a grid ``finer`` times finer than ``grid`` in x and y.

    Returns concentration (z, y, x), 1 for the sample that the calibration was recorded with. A phantom on the grid of
    the calibration would be reconstructed too well: that is the inverse crime.
    """
    x, y, z = grid.size
    fine = Grid((x * finer, y * finer, z), grid.field_of_view, grid.center)
    across = {
        dim: (fine.axis(dim) - grid.center[i]) / grid.field_of_view[i] for i, dim in enumerate("xy")
    }  # −1/2 … 1/2
    v, u = np.meshgrid(across["y"], across["x"], indexing="ij")
    stem = (np.abs(u + 0.2) < 0.06) & (np.abs(v) < 0.28)
    foot = (np.abs(v + 0.22) < 0.06) & (u > -0.26) & (u < 0.16)
    dot = 0.7 * np.exp(-((u - 0.2) ** 2 + (v - 0.18) ** 2) / 0.005)
    image = np.broadcast_to(np.maximum(stem | foot, dot), fine.shape)
    return xr.DataArray(image, fine.coordinates(), GRID_DIMS, "concentration", fine.attributes())


def on_grid(fine: xr.DataArray, grid: Grid) -> xr.DataArray:
    """The mean of a phantom over every voxel of ``grid``: what a perfect reconstruction would show.

    ShapeError if the voxels of ``grid`` are not whole blocks of the phantom's.
    """
    shape = dict(zip(GRID_DIMS, grid.shape, strict=True))
    blocks = {dim: fine.sizes[dim] // n for dim, n in shape.items()}
    if any(fine.sizes[dim] != blocks[dim] * n for dim, n in shape.items()):
        raise ShapeError(f"a phantom of {dict(fine.sizes)} voxels does not divide into {shape}")
    mean = fine.coarsen({dim: blocks[dim] for dim in GRID_DIMS}).mean()
    return mean.assign_coords(grid.coordinates()).assign_attrs(grid.attributes())
