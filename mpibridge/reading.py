"""Open any file, whoever reads it: MDF natively or through MPIFiles.jl, Bruker folders and IMT files through Julia only, NetCDF
files of our own natively."""

from __future__ import annotations

import logging
from pathlib import Path

import h5py
import xarray as xr

from mpibridge.errors import JuliaSetupError, MDFError, SettingsError
from mpibridge.export import netcdf
from mpibridge.mdf import reader
from mpibridge.mdf.schema import SUFFIXES
from mpibridge.mdf.tree import hdf5

ENGINES = ("native", "julia")
_log = logging.getLogger("mpibridge")


def read(path: str | Path, engine: str = "native") -> xr.Dataset:
    """The labelled, lazy dataset of a file (`mpibridge.mdf.reader.read`).

    engine: "native", or "julia" to read MDF through MPIFiles.jl. Bruker folders and IMT files open through Julia
    whatever it says, NetCDF files natively. Raises MDFError, FileError, and JuliaSetupError where Julia is needed and absent.
    """
    check_engine(engine)
    if Path(path).suffix.lower() in netcdf.SUFFIXES and not Path(path).is_dir():
        return netcdf.read(path)
    kind = foreign_kind(path)
    if engine == "native" and kind is None:
        return reader.read(path)
    from mpibridge import julia_files

    if kind is None:
        return julia_files.read(path)
    _log.info("%s is %s: it opens through Julia", path, kind)
    try:
        return julia_files.read(path)
    except JuliaSetupError as error:
        failure = JuliaSetupError(f"{path} is {kind}, which only MPIFiles.jl reads: {error}")
        failure.julia_trace = error.julia_trace
        raise failure from error


def check_engine(engine: str) -> None:
    """SettingsError for an engine that is not in `ENGINES`."""
    if engine not in ENGINES:
        raise SettingsError(f"engine must be one of {', '.join(ENGINES)}, found {engine!r}")


def foreign_kind(path: str | Path) -> str | None:
    """ "a Bruker folder" or "an IMT file" where that is what ``path`` is; None for a file that ought to be MDF."""
    path = Path(path)
    if path.is_dir():
        if any((path / name).exists() for name in ("acqp", "method", "visu_pars", "pdata")):
            return "a Bruker folder"
        raise MDFError(
            path, None, "is a folder without acqp and method", "pass an MDF file or a Bruker folder"
        )
    if path.suffix.lower() not in SUFFIXES or not path.is_file() or not h5py.is_hdf5(path):
        return None
    try:
        with hdf5(path) as file:
            is_imt = "version" not in file and ("measurements" in file or "systemResponseFrequencies" in file)
            return "an IMT file" if is_imt else None
    except MDFError:
        return None  # the reader of MDF says what is wrong with it
