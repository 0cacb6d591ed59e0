"""xarray's door to MDF files: ``xr.open_dataset("scan.mdf", engine="mdf")``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint

import mpibridge.accessor  # noqa: F401 - registers Dataset.mpi
from mpibridge.mdf.reader import read


class MDFBackend(BackendEntrypoint):
    """Opens what `mpibridge.open` opens; ``chunks`` makes dask arrays, as with any backend of xarray."""

    description = "Magnetic Particle Imaging Data Format (MDF) 1.0, 2.0 and 2.1"
    url = "https://github.com/MagneticParticleImaging/MDF"
    open_dataset_parameters = ("filename_or_obj", "drop_variables")

    def open_dataset(
        self, filename_or_obj: Any, *, drop_variables: str | Iterable[str] | None = None
    ) -> xr.Dataset:
        """See `mpibridge.mdf.reader.read`. drop_variables: names that the result shall not have."""
        dropped = [drop_variables] if isinstance(drop_variables, str) else drop_variables or ()
        return read(filename_or_obj).drop_vars(dropped, errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """By the suffix ``.mdf`` alone: ``.h5`` and ``.hdf`` belong to many formats."""
        return (
            isinstance(filename_or_obj, str | os.PathLike) and Path(filename_or_obj).suffix.lower() == ".mdf"
        )
