"""``dataset.mpi``: what the header of a scan, a calibration or an image says, in the words of the field, and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

import mpibridge
from mpibridge.errors import MDFError
from mpibridge.mdf.header import Header, dataset_grid
from mpibridge.model import Grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@xr.register_dataset_accessor("mpi")
class MPIAccessor:
    """Answers about one dataset; it keeps nothing, so it never grows stale.

    >>> scan.mpi.header.frame_period, scan.mpi.kind  # doctest: +SKIP
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    @property
    def header(self) -> Header:
        """The metadata by MDF path, and what follows from them."""
        return Header(self._dataset.attrs)

    @property
    def kind(self) -> str:
        """``measurement``, ``calibration`` or ``reconstruction``. MDFError if the dataset does not say."""
        if (kind := self._dataset.attrs.get("kind")) is None:
            todo = "set attrs['kind'] to measurement, calibration or reconstruction"
            raise MDFError(self.header.source, None, "does not say what it is", todo)
        return str(kind)

    @property
    def grid(self) -> Grid:
        """The voxel grid of a calibration or an image. MDFError if it has none."""
        if (grid := dataset_grid(self._dataset)) is not None:
            return grid
        if "grid_size" in self._dataset.attrs:
            return Grid.from_attributes(self._dataset.attrs)
        return self.header.grid

    @property
    def frequencies(self) -> np.ndarray:
        """Hz of every stored frequency, or of the whole spectrum where the data are samples."""
        if "frequency" in self._dataset.coords:
            return self._dataset["frequency"].values
        return self.header.frequencies

    def plot(self, view: str | None = None, **options: Any) -> Figure:
        """The picture that fits: the frames of an image, the spectrum of a scan, the SNR of a calibration.

        view: ``"image"`` or ``"slices"``; ``"spectrum"`` or ``"signal"``; ``"snr"``, ``"snr_map"`` or
        ``"system_matrix"``. options: of the function of that name in `mpibridge.plot`. Raises ShapeError, SettingsError.
        """
        return mpibridge.plot.draw(self._dataset, view, **options)

    def resample(self, grid: Grid | float | Sequence[int]) -> xr.Dataset:
        """The image on another grid, from the function of space that its method found: `mpibridge.resample`."""
        return mpibridge.resample(self._dataset, grid)

    def plot_slices(self, **options: Any) -> Figure:
        """The three orthogonal slices of a volume, through its largest value or ``position=(x, y, z)`` in metres.

        options: of `mpibridge.plot.slices`. ShapeError if the dataset is no volume.
        """
        return mpibridge.plot.slices(self._dataset, **options)
