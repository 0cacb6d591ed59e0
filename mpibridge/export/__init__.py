"""Datasets as files that other software opens: NIfTI, NetCDF, pictures. MDF is written by `mpibridge.mdf.writer`.

What becomes of a dataset follows from the suffix of the file. A file appears when it is complete; if anything fails, an
existing one stays as it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from mpibridge import plot
from mpibridge.errors import SettingsError
from mpibridge.export import netcdf, nifti
from mpibridge.mdf import writer
from mpibridge.mdf.schema import SUFFIXES as MDF
from mpibridge.targets import check_target, replacing, suffix

FORMATS = {"MDF": MDF, "NIfTI": nifti.SUFFIXES, "NetCDF": netcdf.SUFFIXES, "picture": plot.FORMATS}
"""What can be written, with the suffixes of each."""
SUFFIXES = tuple(each for suffixes in FORMATS.values() for each in suffixes)
DPI = 150
"""Of pictures that are made of pixels."""


def write(path: str | Path, dataset: xr.Dataset, **options: Any) -> None:
    """Write a dataset in the format that the suffix of ``path`` names.

    options: of `mpibridge.plot.draw`, where it is a picture; no other format has any. Raises MDFError if no file can be
    written there or MDF has no place for something, ShapeError for NIfTI or a picture of something that is no image,
    SettingsError for an unknown option.
    """
    check_target(path, SUFFIXES)
    kind = format_of(path)
    if options and kind != "picture":
        raise SettingsError(f"{', '.join(options)}: {kind} has no options; pictures have those of plot.draw")
    if kind == "MDF":
        writer.write(path, dataset)
    elif kind == "NIfTI":
        nifti.write(path, dataset)
    elif kind == "NetCDF":
        netcdf.write(path, dataset)
    else:
        figure = plot.draw(dataset, **options)
        with replacing(path, plot.FORMATS) as temporary:
            figure.savefig(temporary, dpi=DPI)


def format_of(path: str | Path) -> str | None:
    """The key of `FORMATS` that the suffix of ``path`` belongs to, None for another suffix."""
    return next((name for name, suffixes in FORMATS.items() if suffix(path, suffixes)), None)
