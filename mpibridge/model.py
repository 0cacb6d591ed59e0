"""The vocabulary: names of dimensions, coordinates and variables, units, and the image grid.

Every labelled array of mpibridge uses these names in this order (C order, x fastest, as in the file):

* signals ``(frame, period, receiver, sample | frequency)``: variables ``signal`` or ``spectrum``
* a calibration ``(period, receiver, frequency, z, y, x)``: variable ``system_matrix``, with ``background``
  ``(period, receiver, frequency, background_frame)`` and ``snr (period, receiver, frequency)``
* rows of a system matrix ``(row, z, y, x)``
* images ``(frame, z, y, x)``, with ``contrast`` first if there are several: variable ``concentration``

Everything is SI: metres, seconds, hertz; fields in tesla (MDF's T/µ0). Metadata stand in ``attrs`` under
their MDF 2.1 path, for example ``scan.attrs["/acquisition/receiver/bandwidth"]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mpibridge.errors import ShapeError

SIGNAL_DIMS = ("frame", "period", "receiver", "sample")
SPECTRUM_DIMS = ("frame", "period", "receiver", "frequency")
GRID_DIMS = ("z", "y", "x")
SYSTEM_MATRIX_DIMS = ("period", "receiver", "frequency", *GRID_DIMS)
BACKGROUND_DIMS = ("period", "receiver", "frequency", "background_frame")
SNR_DIMS = ("period", "receiver", "frequency")
IMAGE_DIMS = ("frame", *GRID_DIMS)

MEASUREMENT, CALIBRATION, RECONSTRUCTION = "measurement", "calibration", "reconstruction"
"""What a file holds, in ``attrs["kind"]``."""

STORED_NUMBERS = {"units": "1", "long_name": "stored numbers; mpibridge.signals converts them"}
"""Attributes of a ``signal`` whose header has a conversion factor."""

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Grid:
    """A regular voxel grid; all three fields are in the order (x, y, z), as in MDF.

    size: voxels per axis. field_of_view: metres per axis, the outer half voxels included. center: metres.
    Source: `/calibration/{size,fieldOfView,fieldOfViewCenter}`; MPIFiles.jl RegularGridPositions.
    """

    size: tuple[int, int, int]
    field_of_view: Triple
    center: Triple = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if len(self.size) != 3 or min(self.size) < 1:
            raise ShapeError(f"grid size must be three positive numbers (x, y, z), found {tuple(self.size)}")
        if (
            len(self.field_of_view) != 3
            or not np.all(np.isfinite(self.field_of_view))
            or min(self.field_of_view) < 0
        ):
            raise ShapeError(
                f"field of view must be three lengths in metres (x, y, z), found {tuple(self.field_of_view)}"
            )
        if len(self.center) != 3 or not np.all(np.isfinite(self.center)):
            raise ShapeError(
                f"grid centre must be three positions in metres (x, y, z), found {tuple(self.center)}"
            )
        object.__setattr__(self, "size", tuple(int(n) for n in self.size))
        object.__setattr__(self, "field_of_view", tuple(float(v) for v in self.field_of_view))
        object.__setattr__(self, "center", tuple(float(v) for v in self.center))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Array shape (z, y, x)."""
        x, y, z = self.size
        return z, y, x

    @property
    def n_voxels(self) -> int:
        return int(np.prod(self.size))

    @cached_property
    def spacing(self) -> Triple:
        """Voxel edge lengths (x, y, z) in metres."""
        x, y, z = (f / n for f, n in zip(self.field_of_view, self.size, strict=True))
        return x, y, z

    def axis(self, dim: str) -> np.ndarray:
        """Voxel centres along ``dim`` in metres: center + fov/2·(2i − 1 − N)/N, i = 1…N."""
        d = "xyz".index(dim)
        n = self.size[d]
        return self.center[d] + self.field_of_view[d] / 2 * (2 * np.arange(1, n + 1) - 1 - n) / n

    def coordinates(self) -> dict[str, tuple[str, np.ndarray, dict[str, str]]]:
        """xarray coordinates z, y, x in metres."""
        return {dim: (dim, self.axis(dim), {"units": "m"}) for dim in GRID_DIMS}

    def resized(self, voxels: float | Sequence[int]) -> Grid:
        """The same field of view in other voxels: (y, x) or (z, y, x) of them, or a factor along every axis.

        Axes of one voxel stay so. ShapeError for what does not fit.
        """
        given = np.asarray(voxels)
        if given.dtype.kind not in "iuf" or not np.isfinite(given).all() or (given <= 0).any():
            raise ShapeError(f"voxels must be a factor above 0, (y, x) or (z, y, x), found {voxels!r}")
        if given.ndim == 0:
            sizes = [max(2, round(n * float(given))) if n > 1 else 1 for n in self.shape]
        else:
            sizes = [int(n) for n in given.ravel()]
            sizes = [self.shape[0], *sizes] if len(sizes) == 2 else sizes
            if (given != np.rint(given)).any():
                raise ShapeError(f"voxels must be whole numbers, found {voxels!r}")
        if len(sizes) != 3 or any((n == 1) != (m == 1) for n, m in zip(self.shape, sizes, strict=True)):
            raise ShapeError(
                f"{voxels} voxels do not fit a grid of {self.shape} (z, y, x): an axis of one voxel must stay one, and one of "
                "several several"
            )
        return Grid((sizes[2], sizes[1], sizes[0]), self.field_of_view, self.center)

    def almost_equal(self, other: Grid, relative: float = 1e-6) -> bool:
        """Same size, and extents and centres equal to ``relative`` of a voxel."""
        tolerance = relative * max(max(self.spacing), 1e-12)
        return self.size == other.size and bool(
            np.allclose(self.field_of_view, other.field_of_view, rtol=0, atol=tolerance)
            and np.allclose(self.center, other.center, rtol=0, atol=tolerance)
        )

    def attributes(self) -> dict[str, list[float] | list[int]]:
        """The grid as attributes of an image; `from_attributes` is the inverse."""
        return {
            "grid_size": list(self.size),
            "grid_field_of_view": list(self.field_of_view),
            "grid_center": list(self.center),
        }

    @classmethod
    def from_attributes(cls, attrs: Mapping[str, Any]) -> Grid:
        return cls(
            triple(attrs["grid_size"]), triple(attrs["grid_field_of_view"]), triple(attrs["grid_center"])
        )


def triple(values: Sequence[Any] | np.ndarray) -> tuple[Any, Any, Any]:
    """Three values (x, y, z) as a tuple of plain numbers."""
    x, y, z = np.asarray(values).ravel().tolist()
    return x, y, z
