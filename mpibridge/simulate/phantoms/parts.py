"""What most phantoms are made of: a table of simple bodies, which compiled code draws quickly.

Functions return rows (n, WIDTH) of float64; arguments broadcast over n. Lengths in metres, angles in radians from x
towards y. ``phantom_of`` makes a phantom of them: solid bodies cover each other (the larger value counts).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mpibridge.errors import ShapeError
from mpibridge.simulate.phantoms.kinds import (
    ARC,
    BOX,
    CAPSULE,
    CUT,
    CYLINDER,
    ELLIPSOID,
    GAUSSIAN,
    IMAGE,
    LUMP,
    N_MODES,
    WIDTH,
)
from mpibridge.simulate.phantoms.shape import Phantom, box

NO_IMAGES = np.zeros((1, 1, 1), np.float32)


@dataclass(frozen=True)
class Parts:
    """The concentration of a table of parts. rows: (n, WIDTH); images: (m, height, width) float32 that they refer to."""

    rows: np.ndarray
    images: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Values (n,) at positions (n, 3) in metres."""
        from mpibridge.simulate.phantoms.drawing import at_points

        points = np.ascontiguousarray(points, float)
        if points.ndim != 2 or points.shape[1] != 3:
            raise ShapeError(f"positions must be (n, 3), found {points.shape}")
        return at_points(self.rows, self.images, points)


def phantom_of(name: str, rows: np.ndarray, images: np.ndarray = NO_IMAGES, peak: float = 1.0) -> Phantom:
    """A phantom of parts. peak: the largest value of the images, if there are any."""
    if not len(rows):
        return Phantom(name, Parts(rows, images), ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)), 0.0)
    corners = rows[:, 2:8].reshape(-1, 3)
    return Phantom(name, Parts(rows, images), box(corners), float(_peaks(rows).max()) * peak)


def capsules(
    start: ArrayLike,
    stop: ArrayLike,
    radius: ArrayLike,
    value: ArrayLike = 1.0,
    *,
    stop_radius: ArrayLike | None = None,
    stop_value: ArrayLike | None = None,
    flat: bool = False,
) -> np.ndarray:
    """Tubes from start to stop (n, 3), with round ends unless flat; radius and value change linearly to those at stop."""
    start, stop = np.asarray(start, float), np.asarray(stop, float)
    stop_radius = radius if stop_radius is None else stop_radius
    reach = np.maximum(radius, stop_radius)
    if np.ndim(reach):
        reach = reach[:, None]
    low, high = np.minimum(start, stop) - reach, np.maximum(start, stop) + reach
    stop_value = value if stop_value is None else stop_value
    return _rows(
        CYLINDER if flat else CAPSULE, value, low, high, start, stop, (radius, stop_radius, stop_value)
    )


def boxes(center: ArrayLike, half: ArrayLike, value: ArrayLike = 1.0, angle: ArrayLike = 0.0) -> np.ndarray:
    """Cuboids with half edges (n, 3), turned about z."""
    return _turned(BOX, center, half, value, angle)


def ellipsoids(
    center: ArrayLike, half: ArrayLike, value: ArrayLike = 1.0, angle: ArrayLike = 0.0
) -> np.ndarray:
    """Ellipsoids with half axes (n, 3), turned about z."""
    return _turned(ELLIPSOID, center, half, value, angle)


def gaussians(
    center: ArrayLike, sigma: ArrayLike, value: ArrayLike = 1.0, angle: ArrayLike = 0.0
) -> np.ndarray:
    """Soft blobs with standard deviations (n, 3); they blend as 1 − (1 − a)(1 − b)."""
    return _turned(GAUSSIAN, center, sigma, value, angle, reach=CUT)


def arcs(
    center: ArrayLike,
    radius: ArrayLike,
    width: ArrayLike,
    height: ArrayLike,
    value: ArrayLike = 1.0,
    *,
    angle: ArrayLike = 0.0,
    half_opening: ArrayLike = np.pi,
) -> np.ndarray:
    """Rings around z with mean radius, width and height; of less than a turn if half_opening < π, about ``angle``."""
    center = np.asarray(center, float)
    width, height = np.asarray(width) / 2, np.asarray(height) / 2
    outer = np.asarray(radius) + width
    reach = np.stack(np.broadcast_arrays(outer, outer, height), axis=-1)
    return _rows(
        ARC, value, center - reach, center + reach, center, (radius, width, height, angle, half_opening)
    )


def lumps(
    center: ArrayLike,
    radius: ArrayLike,
    half_height: ArrayLike,
    value: ArrayLike = 1.0,
    *,
    waves: ArrayLike = 0.0,
    phases: ArrayLike = 0.0,
    core: ArrayLike = 0.0,
    core_value: ArrayLike = 0.0,
) -> np.ndarray:
    """Bodies with the wavy edge r(φ) = radius (1 + Σ waves cos(kφ + phases)), k = 2 … 5: waves, phases (n, 4).

    The inner ``core`` (0 … 1 of the radius) has core_value.
    """
    center = np.asarray(center, float)
    waves = np.broadcast_to(np.asarray(waves, float), (*center.shape[:-1], N_MODES))
    phases = np.broadcast_to(np.asarray(phases, float), waves.shape)
    outer = np.asarray(radius) * (1 + np.abs(waves).sum(-1))
    reach = np.stack(np.broadcast_arrays(outer, outer, half_height), axis=-1)
    shape = (radius, half_height, core, core_value)
    return _rows(LUMP, value, center - reach, center + reach, center, shape, waves, phases)


def pictures(
    center: ArrayLike,
    half: ArrayLike,
    index: ArrayLike,
    shape: tuple[int, int],
    value: ArrayLike = 1.0,
    angle: ArrayLike = 0.0,
) -> np.ndarray:
    """Images of ``shape`` (height, width) in pixels, number ``index``, as plates with half edges (n, 3); row 0 is on top.

    Values are interpolated linearly between the centres of pixels and fall to 0 within one pixel around the image.
    """
    grown = np.asarray(half, float) * np.array([1 + 1 / shape[1], 1 + 1 / shape[0], 1.0])
    rows = _turned(IMAGE, center, half, value, angle, bound=grown)
    rows[:, 16] = index
    return rows


def _turned(
    kind: int,
    center: ArrayLike,
    half: ArrayLike,
    value: ArrayLike,
    angle: ArrayLike,
    *,
    reach: float = 1.0,
    bound: np.ndarray | None = None,
) -> np.ndarray:
    center, half = np.asarray(center, float), np.asarray(half, float)
    bound = reach * half if bound is None else bound
    turn = c, s = np.cos(angle), np.sin(angle)
    u, v = bound[..., 0], bound[..., 1]
    reaches = np.abs(c) * u + np.abs(s) * v, np.abs(s) * u + np.abs(c) * v, bound[..., 2]
    around = np.stack(np.broadcast_arrays(*reaches), axis=-1)
    return _rows(kind, value, center - around, center + around, center, half, turn)


def _rows(kind: int, value: ArrayLike, low: np.ndarray, high: np.ndarray, *columns: object) -> np.ndarray:
    """Rows (n, WIDTH); columns: arrays (n, k) or (k,), and tuples of k arrays (n,) or numbers."""
    n = len(low) if low.ndim == 2 else 1
    rows = np.zeros((n, WIDTH))
    rows[:, 0], rows[:, 1], rows[:, 2:5], rows[:, 5:8] = kind, value, low, high
    at = 8
    for column in columns:
        if isinstance(column, tuple):
            for values in column:
                rows[:, at] = values
                at += 1
        else:
            array = np.asarray(column)
            rows[:, at : at + array.shape[-1]] = array
            at += array.shape[-1]
    return rows


def _peaks(rows: np.ndarray) -> np.ndarray:
    """The largest value of every part."""
    kind, peak = rows[:, 0], rows[:, 1].copy()
    tubes, lump = (kind == CAPSULE) | (kind == CYLINDER), kind == LUMP
    peak[tubes] = np.maximum(peak[tubes], rows[tubes, 16])
    peak[lump] = np.maximum(peak[lump], rows[lump, 14])
    return peak
