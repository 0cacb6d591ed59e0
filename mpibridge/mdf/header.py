"""What the header of a scan says: `Header` reads the attributes of a labelled dataset and derives the rest.

Source: MPIFiles.jl `Derived.jl`; reference names in each docstring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mpibridge.errors import MDFError
from mpibridge.mdf.schema import SCHEMA
from mpibridge.model import GRID_DIMS, Grid

if TYPE_CHECKING:
    import xarray as xr

DEFAULT_GRADIENT = np.diag([1.0, 1.0, -2.0])[None, None]
"""MPIFiles.jl `acqGradient` of a file that has none, T/m."""


@dataclass(frozen=True)
class Header:
    """The metadata of an opened file. attrs: ``dataset.attrs``, keyed by MDF 2.1 paths."""

    attrs: Mapping[str, Any]

    @property
    def source(self) -> str:
        """The file the data come from, for messages."""
        return str(self.attrs.get("source", "scan"))

    def __getitem__(self, path: str) -> Any:
        """The value at an MDF path, its documented default, or MDFError that names what is missing."""
        if (value := self.attrs.get(path)) is not None:
            return value
        entry = SCHEMA.get(path)
        if entry is not None and entry.default is not None:
            return entry.default
        raise MDFError(self.source, path, "is missing", "add it to the file: it is needed for this")

    def get(self, path: str, default: Any = None) -> Any:
        value = self.attrs.get(path)
        return default if value is None else value

    def flag(self, name: str) -> bool:
        """A flag of `/measurement`; an absent one is false."""
        return bool(self.get(f"/measurement/{name}", 0))

    @property
    def n_samples(self) -> int:
        """V: samples per drive-field period."""
        return int(self["/acquisition/receiver/numSamplingPoints"])

    @property
    def n_receivers(self) -> int:
        return int(self["/acquisition/receiver/numChannels"])

    @property
    def n_frequencies(self) -> int:
        """K of the full spectrum, V // 2 + 1 (`rxNumFrequencies`)."""
        return self.n_samples // 2 + 1

    @property
    def bandwidth(self) -> float:
        """Hz, half the sampling rate."""
        return float(self["/acquisition/receiver/bandwidth"])

    @property
    def frequencies(self) -> np.ndarray:
        """Hz of every bin of the full spectrum (`rxFrequencies`)."""
        return np.arange(self.n_frequencies) * (2 * self.bandwidth / self.n_samples)

    @property
    def cycle(self) -> float:
        """Drive-field period in seconds (`dfCycle`)."""
        return float(self["/acquisition/drivefield/cycle"])

    @property
    def n_periods(self) -> int:
        return int(self["/acquisition/numPeriodsPerFrame"])

    @property
    def n_averages(self) -> int:
        return int(self["/acquisition/numAverages"])

    @property
    def frame_period(self) -> float:
        """Seconds per frame: cycle · averages · periods (`acqFramePeriod`)."""
        return self.cycle * self.n_averages * self.n_periods

    @property
    def base_frequency(self) -> float:
        return float(self["/acquisition/drivefield/baseFrequency"])

    @property
    def dividers(self) -> np.ndarray:
        """First divider of every drive-field channel, (D,)."""
        return np.asarray(self["/acquisition/drivefield/divider"])[:, 0].astype(np.int64)

    @property
    def drive_frequencies(self) -> np.ndarray:
        """Hz, (D,)."""
        return self.base_frequency / self.dividers

    @property
    def strengths(self) -> np.ndarray:
        """Drive-field amplitudes in tesla, (J, D, F) (`dfStrength`)."""
        return np.asarray(self["/acquisition/drivefield/strength"], float)

    @property
    def phases(self) -> np.ndarray | None:
        """Phases of the drive fields in radians, (J, D, F) (`dfPhase`); None if absent."""
        found = self.get("/acquisition/drivefield/phase", None)
        return None if found is None else np.asarray(found, float)

    @property
    def gradient(self) -> np.ndarray:
        """Jacobian of the selection field in T/m, (J, Y, 3, 3); diag(1, 1, −2) if absent, as `acqGradient`."""
        return np.asarray(self.get("/acquisition/gradient", DEFAULT_GRADIENT), float)

    @property
    def gradient_diagonal(self) -> np.ndarray:
        """(x, y, z) gradients of the first period in T/m (`acqGradientDiag`)."""
        return np.diagonal(self.gradient[0, 0])

    @property
    def offset_field(self) -> np.ndarray:
        """Focus field in tesla, (J, 3), of the first sub-interval; zeros if absent (`acqOffsetField`)."""
        field = np.asarray(self.get("/acquisition/offsetField", np.zeros((1, 1, 3))), float)[:, 0]
        return np.broadcast_to(field, (max(self.n_periods, len(field)), 3))

    @property
    def patch_centers(self) -> np.ndarray:
        """Shift of the field-free point by the focus field in metres, (J, 3): −B/G (`acqOffsetFieldShift`)."""
        gradients = np.broadcast_to(self.gradient[:, 0], (len(self.offset_field), 3, 3))
        diagonal = np.diagonal(gradients, axis1=1, axis2=2)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.offset_field == 0, 0.0, -self.offset_field / diagonal)

    @property
    def drive_field_of_view(self) -> np.ndarray:
        """Extent of the drive field 2A/|G| in metres along x, y, z as far as channels go (`acqFov`)."""
        amplitude = self.strengths[0, :, 0]
        gradient = np.abs(self.gradient_diagonal[: len(amplitude)])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(gradient > 0, 2 * amplitude / gradient, np.inf)

    @property
    def conversion_factors(self) -> np.ndarray | None:
        """(C, 2) slope and offset of raw samples, or None."""
        factors = self.get("/acquisition/receiver/dataConversionFactor")
        return None if factors is None else np.asarray(factors, float)

    @property
    def induction_factors(self) -> np.ndarray | None:
        """(C,) `/acquisition/receiver/inductionFactor`, or None."""
        factors = self.get("/acquisition/receiver/inductionFactor")
        return None if factors is None else np.asarray(factors, float)

    @property
    def grid(self) -> Grid:
        """The calibrated grid. MDFError if the file does not say where its voxels are."""
        size = np.asarray(self["/calibration/size"]).tolist()
        extent = np.asarray(self["/calibration/fieldOfView"], float).tolist()
        center = np.asarray(self.get("/calibration/fieldOfViewCenter", np.zeros(3)), float).tolist()
        return Grid(tuple(size), tuple(extent), tuple(center))

    @property
    def mixing_orders(self) -> np.ndarray:
        """(K, 4) mixing factors m_x, m_y, m_z and order of every bin; order −1 where no mixing product falls.

        Of several products of equal order the last wins. Source: MPIFiles.jl `mixingFactors`.
        """
        n_bins, dividers = self.n_frequencies, self.dividers
        mask = self.strengths[0, :, 0] >= 1e-7
        cycles = np.maximum(1, np.round(self.base_frequency * self.cycle / dividers * mask)).astype(int)
        table = np.zeros((n_bins, 4), np.int64)
        table[:, 3] = -1
        if len(cycles) not in (2, 3):
            table[:, 0] = table[:, 3] = np.arange(n_bins)
            return table
        limits = np.round(n_bins / cycles * mask).astype(int)
        factors = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in limits), indexing="ij"), -1)
        factors = factors.reshape(-1, len(cycles))
        bins, order = factors @ cycles, np.abs(factors).sum(1)
        inside = np.flatnonzero((bins >= 0) & (bins < n_bins))
        # Stable: among products of one bin the smallest order comes last, and of equals the one found last.
        inside = inside[np.argsort(-order[inside], kind="stable")]
        table[bins[inside], : len(cycles)] = factors[inside]
        table[bins[inside], 3] = order[inside]
        return table


def dataset_grid(dataset: xr.Dataset) -> Grid | None:
    """The grid that the coordinates z, y, x of a calibration or an image lie on; None if it has no such coordinates.

    What the header says (``grid_*`` of an image, `/calibration` of a calibration) is taken where the coordinates agree
    with it, to the last bit. A selected part of a grid is a grid of its own; where it is one voxel thick, the header
    tells how thick that is. Raises MDFError if the coordinates are not equally spaced.
    """
    if not all(dim in dataset.coords for dim in GRID_DIMS):
        return None
    given = _said_grid(dataset.attrs)
    axes = {dim: np.atleast_1d(dataset[dim].values).astype(float) for dim in reversed(GRID_DIMS)}
    if given is not None and all(np.array_equal(axis, given.axis(dim)) for dim, axis in axes.items()):
        return given
    edges = given.spacing if given is not None else (0.0, 0.0, 0.0)
    (nx, x, x0), (ny, y, y0), (nz, z, z0) = (
        (
            len(axis),
            (axis[-1] - axis[0]) / (len(axis) - 1) if len(axis) > 1 else edge,
            (axis[0] + axis[-1]) / 2,
        )
        for axis, edge in zip(axes.values(), edges, strict=True)
    )
    grid = Grid((nx, ny, nz), (x * nx, y * ny, z * nz), (x0, y0, z0))
    for (dim, axis), step in zip(axes.items(), grid.spacing, strict=True):
        if not np.allclose(axis, grid.axis(dim), rtol=0, atol=1e-4 * abs(step) + 1e-12):
            found = f"has unequal steps from {np.diff(axis).min()} to {np.diff(axis).max()} m"
            raise MDFError(
                str(dataset.attrs.get("source", "dataset")), dim, found, "an equally spaced grid is wanted"
            )
    return grid


def _said_grid(attrs: Mapping[str, Any]) -> Grid | None:
    if "grid_size" in attrs:
        return Grid.from_attributes(attrs)
    if "/calibration/size" in attrs and "/calibration/fieldOfView" in attrs:
        return Header(attrs).grid
    return None
