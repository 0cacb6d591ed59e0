"""Files by name: `open`, `save`, `validate` and `convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from mpibridge.errors import FileError, SettingsError

if TYPE_CHECKING:
    from mpibridge.mdf.validate import Problem


def open(
    path: str | Path, system_matrix: str | Path | xr.Dataset | None = None, *, engine: str = "native"
) -> xr.Dataset:
    """Open an MDF file of any version as labelled, lazy data (dimensions and names: `mpibridge.model`).

    Bruker folders and IMT files open, too, through Julia, and NetCDF files that `save` wrote. engine: "native", or
    "julia" to read MDF through MPIFiles.jl.

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
    """Write a dataset in the format that the suffix of ``path`` names; all or nothing.

    ``.mdf``, ``.hdf``, ``.h5``: MDF 2.1 that MPIFiles.jl opens. ``.nc``: NetCDF-4, which `open` reads back. ``.nii``,
    ``.nii.gz``: an image as NIfTI-1 in millimetres. ``.png``, ``.pdf``, ``.svg``, ``.jpg``: a picture
    (`mpibridge.plot.draw`). What becomes of names, units and axes: `mpibridge.export`.
    Raises MDFError if no file can be written there or the dataset lacks what the format needs, ShapeError for NIfTI of
    something that is no image.
    """
    from mpibridge import export

    if not isinstance(dataset, xr.Dataset):
        raise SettingsError(f"a dataset is saved whole; found a {type(dataset).__name__}")
    export.write(path, dataset)


def validate(path: str | Path) -> list[Problem]:
    """Compare a file with the MDF 2.1 specification; an empty list is a sound file."""
    from mpibridge.mdf.validate import validate

    return validate(path)


def convert(source: str | Path, target: str | Path, **options: Any) -> None:
    """Write any file that `open` opens in the format that the suffix of ``target`` names (see `save`); all or nothing.

    MDF and NetCDF files need no Julia. A Bruker folder or an IMT file becomes MDF by MPIFiles.jl, and so does an MDF file
    if options are given.
    options: where the target is MDF those of MPIFiles.jl `saveasMDF`, for example ``SNRThresh=2.0``,
    ``sparsityTrafoRedFactor=0.4``, ``applyCalibPostprocessing=True``; where it is a picture those of
    `mpibridge.plot.draw`, for example ``view="slices"``. Raises MDFError if ``target`` cannot be written, FileError if
    ``source`` cannot be read, SettingsError for an unknown option, JuliaSetupError where Julia is needed and absent.
    """
    from mpibridge import export
    from mpibridge.reading import foreign_kind
    from mpibridge.targets import check_target

    check_target(target, export.SUFFIXES)
    if not Path(source).exists():
        raise FileError(f"{source} cannot be opened (No such file or directory); check the path")
    if export.format_of(target) == "MDF" and (options or foreign_kind(source)):
        from mpibridge import julia_files

        julia_files.convert(source, target, **options)
    else:
        export.write(target, open(source), **options)
