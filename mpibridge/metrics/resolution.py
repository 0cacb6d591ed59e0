"""Whether two points are seen as two: the dip between them."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
import xarray as xr

from mpibridge.errors import ShapeError
from mpibridge.metrics.alignment import labelled
from mpibridge.model import GRID_DIMS

SAMPLES = 401
"""Points on the line; odd, so that the middle is one of them."""


def dip(image: xr.Dataset | xr.DataArray, first: Sequence[float], second: Sequence[float]) -> float:
    """Valley between two points over the lower of the two: 0 is resolved, 1 and more is merged.

    image: one frame, with positions. first, second: metres (x, y) or (x, y, z). The valley is the smallest value on the
    middle half of the line between them, 0 if that is negative; the line is interpolated linearly. Infinite if one of the points is not there
    (its value is not positive). A dip proves nothing alone: a bar of the same extent must give 1 or more.
    ShapeError if the points coincide or lie outside the voxel centres, or the image has no positions.
    """
    values = profile(image, first, second, SAMPLES)
    lower = float(min(values[0], values[-1]))
    if not lower > 0:
        return inf
    quarter = SAMPLES // 4
    return max(0.0, float(values[quarter : SAMPLES - quarter].min())) / lower


def profile(
    image: xr.Dataset | xr.DataArray, first: Sequence[float], second: Sequence[float], n: int
) -> np.ndarray:
    """``n`` values (n,) at equal distances from ``first`` to ``second``, interpolated linearly. Raises as `dip`."""
    from scipy.interpolate import RegularGridInterpolator

    array = labelled(image)
    if array is None or any(array.sizes.get(dim, 1) > 1 and dim not in array.coords for dim in GRID_DIMS):
        raise ShapeError("a line in metres needs an image with coordinates z, y, x")
    for dim in ("contrast", "frame"):
        if array.sizes.get(dim, 1) > 1:
            raise ShapeError(
                f"a line runs through one image, found {array.sizes[dim]} along {dim}; use isel({dim}=…)"
            )
    ends = np.array([_point(p) for p in (first, second)])
    if np.allclose(ends[0], ends[1], rtol=0, atol=1e-12):
        raise ShapeError(f"the two points coincide at {tuple(first)} m")
    dims = [dim for dim in GRID_DIMS if array.sizes.get(dim, 1) > 1]
    array = array.sortby(dims) if dims else array
    axes = [array[dim].values.astype(float) for dim in dims]
    line = np.linspace(ends[0], ends[1], n)
    points = np.stack([line[:, "xyz".index(dim)] for dim in dims], axis=-1)
    for dim, axis in zip(dims, axes, strict=True):
        place = ends[:, "xyz".index(dim)]
        slack = 1e-6 * (axis[1] - axis[0])
        if place.min() < axis[0] - slack or place.max() > axis[-1] + slack:
            raise ShapeError(
                f"the points lie at {dim} = {place * 1e3} mm, the voxel centres from {axis[0] * 1e3:.4g} to "
                f"{axis[-1] * 1e3:.4g} mm"
            )
    points = np.clip(points, [axis[0] for axis in axes], [axis[-1] for axis in axes])
    values = np.asarray(array.values, float).reshape([len(axis) for axis in axes])
    return RegularGridInterpolator(axes, values)(points)


def _point(place: Sequence[float]) -> tuple[float, float, float]:
    if len(place) not in (2, 3):
        raise ShapeError(f"a point is (x, y) or (x, y, z) in metres, found {tuple(place)}")
    x, y, z = (*map(float, place), 0.0)[:3]
    return x, y, z
