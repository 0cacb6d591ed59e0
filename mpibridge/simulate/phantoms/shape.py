"""A phantom: concentration as a function of position, and its pictures on grids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.model import GRID_DIMS, Grid, Triple

Concentration = Callable[[np.ndarray], np.ndarray]
"""(n, 3) positions (x, y, z) in metres → (n,) values ≥ 0; 1 is the sample that the calibration was recorded with."""
Extent = tuple[Triple, Triple]
ORIGIN: Triple = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Phantom:
    """What lies in the scanner, in continuous space.

    concentration: positions (n, 3) in metres → (n,), 1 for the calibration's sample. extent: lowest and highest corner
    (x, y, z) in metres of a box outside of which the concentration is 0. maximum: no value is above it.

    Everything returns a new phantom: ``a + b``, ``2 * a``, ``a.moved(…)``, ``a.scaled(…)``.
    """

    name: str
    concentration: Concentration
    extent: Extent
    maximum: float = 1.0

    def rendered(self, grid: Grid, finer: int = 5) -> xr.DataArray:
        """Values at the voxel centres of a grid ``finer`` times finer than ``grid``: what a scan is simulated from.

        Returns concentration (z, y, x) with positions in metres. A plane (one voxel along z) stays a plane, cut through
        its centre. A phantom on the grid of the calibration would be reconstructed too well: the inverse crime.
        """
        fine = finer_grid(grid, finer)
        x, y = np.meshgrid(fine.axis("x"), fine.axis("y"))
        image = np.empty(fine.shape)
        for plane, z in zip(image, fine.axis("z"), strict=True):
            points = np.stack([x.ravel(), y.ravel(), np.full(x.size, z)], axis=-1)
            plane[...] = self.concentration(points).reshape(x.shape)
        return xr.DataArray(image, fine.coordinates(), GRID_DIMS, "concentration", fine.attributes())

    def on(self, grid: Grid, finer: int = 5) -> xr.DataArray:
        """The mean over every voxel of ``grid`` from ``finer`` points per axis: what a perfect image would show.

        Returns concentration (z, y, x), equal to `on_grid` of `rendered`.
        """
        return on_grid(self.rendered(grid, finer), grid)

    def moved(self, shift: ArrayLike = ORIGIN, angle: float = 0.0, center: ArrayLike = ORIGIN) -> Phantom:
        """Turned by ``angle`` (radians, from x towards y) about the line along z through ``center``, then shifted.

        shift, center: (x, y, z) or (x, y) in metres.
        """
        by, pivot, turn = position(shift, "shift"), position(center, "center"), rotation(angle)
        source = self.concentration

        def concentration(points: np.ndarray) -> np.ndarray:
            return source((points - by - pivot) @ turn + pivot)  # a row times R is the inverse of R on it

        corners = (self._corners() - pivot) @ turn.T + pivot + by
        return replace(self, concentration=concentration, extent=box(corners))

    def scaled(self, factor: float, center: ArrayLike = ORIGIN) -> Phantom:
        """``factor`` times larger in all directions, ``center`` (metres) stays where it is; values are kept."""
        require("factor", factor, 0.0, open_below=True)
        pivot, source = position(center, "center"), self.concentration
        return replace(
            self,
            concentration=lambda points: source((points - pivot) / factor + pivot),
            extent=box((self._corners() - pivot) * factor + pivot),
        )

    def __add__(self, other: Phantom) -> Phantom:
        """Both at once: concentrations add up where they overlap."""
        if not isinstance(other, Phantom):
            return NotImplemented
        first, second = self.concentration, other.concentration
        return Phantom(
            f"{self.name} + {other.name}",
            lambda points: first(points) + second(points),
            box(np.concatenate([self._corners(), other._corners()])),
            self.maximum + other.maximum,
        )

    def __mul__(self, factor: float) -> Phantom:
        """The same form with ``factor`` ≥ 0 times the concentration."""
        require("factor", factor, 0.0)
        source = self.concentration
        return replace(
            self, concentration=lambda points: factor * source(points), maximum=factor * self.maximum
        )

    __rmul__ = __mul__

    def _corners(self) -> np.ndarray:
        """The eight corners (8, 3) of the extent."""
        low, high = np.asarray(self.extent)
        return np.stack(np.meshgrid(*np.stack([low, high], axis=-1), indexing="ij"), axis=-1).reshape(-1, 3)


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


def finer_grid(grid: Grid, finer: int) -> Grid:
    """The same field of view with ``finer`` times as many voxels along every axis that has more than one, and x, y."""
    if finer != int(finer) or finer < 1:
        raise SettingsError(f"finer must be a whole number from 1, found {finer}")
    x, y, z = grid.size
    return Grid((x * finer, y * finer, z * finer if z > 1 else 1), grid.field_of_view, grid.center)


def rotation(angle: float) -> np.ndarray:
    """The matrix (3, 3) that turns by ``angle`` radians about z, from x towards y."""
    require("angle", angle, -np.inf)
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def box(points: np.ndarray) -> Extent:
    """The box around points (n, 3)."""
    low, high = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def position(value: ArrayLike, what: str) -> np.ndarray:
    """(3,) metres from (x, y, z) or (x, y); z is then 0. SettingsError if it is neither."""
    array = np.asarray(value, float)
    if array.shape == (2,):
        array = np.append(array, 0.0)
    if array.shape != (3,) or not np.isfinite(array).all():
        raise SettingsError(f"{what} must be (x, y, z) or (x, y) in metres, found {value!r}")
    return array


def require(what: str, value: float, low: float, high: float = np.inf, *, open_below: bool = False) -> None:
    """SettingsError unless ``value`` is a finite number from ``low`` (itself excluded if open_below) to ``high``."""
    if np.isfinite(value) and low <= value <= high and not (open_below and value == low):
        return
    allowed = f"above {low:g}" if open_below else f"from {low:g}"
    raise SettingsError(
        f"{what} must be {allowed}" + (f" to {high:g}" if high < np.inf else "") + f", found {value!r}"
    )
