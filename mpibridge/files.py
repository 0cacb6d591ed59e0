"""Files by name: `open`, `save`, `validate` and `convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from mpibridge.errors import SettingsError

if TYPE_CHECKING:
    from mpibridge.mdf.validate import Problem


def open(
    path: str | Path, system_matrix: str | Path | xr.Dataset | None = None, *, engine: str = "native"
) -> xr.Dataset:
    """Open an MDF file of any version as labelled, lazy data (dimensions and names: `mpibridge.model`).

    Bruker folders and IMT files open, too, through Julia. engine: "native", or "julia" to read MDF through MPIFiles.jl.

    system_matrix: the calibration that belongs to this scan, a path or an opened one; it is noted in
    ``attrs["system_matrix"]`` (the absolute path, or the dataset itself if it came from no file) and
    `mpibridge.reconstruct` uses it unless told otherwise. ``scan.mpi`` answers questions about the header.
    Raises MDFError if a file is no sound MDF file or ``system_matrix`` is no calibration, JuliaSetupError where Julia is
    needed and absent.
    """
    import mpibridge.accessor  # noqa: F401  (registers Dataset.mpi)
    from mpibridge.calibration import require_calibration
    from mpibridge.reading import read

    scan = read(path, engine)
    if system_matrix is None:
        return scan
    calibration = system_matrix if isinstance(system_matrix, xr.Dataset) else read(system_matrix, engine)
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


def convert(source: str | Path, target: str | Path, **options: Any) -> None:
    """Write a Bruker folder, an IMT file or any MDF file as MDF, by MPIFiles.jl; all or nothing.

    options: those of MPIFiles.jl `saveasMDF`, for example ``SNRThresh=2.0``, ``sparsityTrafoRedFactor=0.4``,
    ``applyCalibPostprocessing=True``. Raises MDFError if ``target`` cannot be written, FileError if ``source`` cannot be
    read, SettingsError for an unknown option, JuliaSetupError where Julia is absent.
    """
    from mpibridge import julia_files
    from mpibridge.mdf.schema import SUFFIXES
    from mpibridge.mdf.writer import check_target

    check_target(Path(target), SUFFIXES)
    julia_files.convert(source, target, **options)
