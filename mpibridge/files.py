"""Files by name: `open`, `save` and `validate`, the public side of `mpibridge.mdf`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from mpibridge.errors import SettingsError

if TYPE_CHECKING:
    from mpibridge.mdf.validate import Problem


def open(path: str | Path, system_matrix: str | Path | xr.Dataset | None = None) -> xr.Dataset:
    """Open an MDF file of any version as labelled, lazy data (dimensions and names: `mpibridge.model`).

    system_matrix: the calibration that belongs to this scan, a path or an opened one; it is noted in
    ``attrs["system_matrix"]`` (the absolute path, or the dataset itself if it came from no file) and
    `mpibridge.reconstruct` uses it unless told otherwise. ``scan.mpi`` answers questions about the header.
    Raises MDFError if a file is no sound MDF file or ``system_matrix`` is no calibration.
    """
    import mpibridge.accessor  # noqa: F401  (registers Dataset.mpi)
    from mpibridge.calibration import require_calibration
    from mpibridge.mdf.reader import read

    scan = read(path)
    if system_matrix is None:
        return scan
    calibration = system_matrix if isinstance(system_matrix, xr.Dataset) else read(system_matrix)
    require_calibration(calibration)
    return scan.assign_attrs(system_matrix=calibration.attrs.get("source", calibration))


def save(path: str | Path, dataset: xr.Dataset) -> None:
    """Write a scan, a calibration or an image as MDF 2.1 that MPIFiles.jl opens; all or nothing.

    Raises MDFError if the dataset lacks what MDF needs.
    """
    from mpibridge.mdf.writer import write

    if not isinstance(dataset, xr.Dataset):
        raise SettingsError(f"a dataset is saved whole; found a {type(dataset).__name__}")
    write(path, dataset)


def validate(path: str | Path) -> list[Problem]:
    """Compare a file with the MDF 2.1 specification; an empty list is a sound file."""
    from mpibridge.mdf.validate import validate

    return validate(path)
