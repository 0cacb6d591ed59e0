"""The images of a comparison: files of any software, datasets and arrays, all as datasets in one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import xarray as xr

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.metrics.alignment import labelled
from mpibridge.model import GRID_DIMS, RECONSTRUCTION
from mpibridge.reading import read

Given: TypeAlias = "str | Path | xr.Dataset | xr.DataArray"
REFERENCE, FIRST = "reference", "first"


def named(images: Mapping[str, Given] | Sequence[str | Path]) -> dict[str, Given]:
    """Images by name; a list of paths by the names of the files, with the folder where two are alike.

    SettingsError for no image, or a list of anything but paths.
    """
    if isinstance(images, Mapping):
        found = {str(name): image for name, image in images.items()}
    else:
        if isinstance(images, str | Path) or not all(isinstance(path, str | Path) for path in images):
            raise SettingsError('pass images by name, {"kaczmarz": image, …}, or a list of files')
        paths = [Path(path) for path in images]
        stems = [path.stem for path in paths]
        names = [
            path.stem if stems.count(path.stem) == 1 else f"{path.parent.name}/{path.stem}" for path in paths
        ]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SettingsError(f"two images are called {twice[0]!r}; pass them by name")
        found = dict(zip(names, paths, strict=True))
    if not found:
        raise SettingsError("there is no image to compare")
    return found


def load(name: str, given: Given) -> xr.Dataset:
    """A dataset with ``concentration`` ([contrast,] frame, z, y, x) in memory, and what it knows about its making.

    SettingsError for a file of something else, ShapeError for data that are no real image.
    """
    if isinstance(given, str | Path):
        given = read(given)
        if (kind := given.attrs.get("kind")) != RECONSTRUCTION:
            raise SettingsError(f"{name!r} is a file of a {kind}, not of an image; reconstruct it first")
    if not isinstance(given, xr.Dataset | xr.DataArray):
        wanted = "a path, a Dataset with concentration, or an array labelled (frame, z, y, x)"
        raise SettingsError(f"{name!r} is a {type(given).__name__}; {wanted} is wanted")
    array = labelled(given)
    assert array is not None  # labelled() knows both types
    if missing := [dim for dim in GRID_DIMS if dim not in array.dims]:
        raise ShapeError(
            f"{name!r} is {dict(array.sizes)}, an image (frame, z, y, x) is wanted; {missing} is missing"
        )
    if not array.size:
        raise ShapeError(f"{name!r} has no voxels: {dict(array.sizes)}")
    if np.iscomplexobj(array):
        raise ShapeError(f"{name!r} is complex; compare its real part or its magnitude")
    if array.sizes.get("contrast", 2) == 1:
        array = array.isel(contrast=0, drop=True)
    if "frame" not in array.dims:
        array = array.expand_dims("frame").transpose(..., "frame", *GRID_DIMS)
    if isinstance(given, xr.Dataset):
        seconds, attrs = given.coords.get("time"), given.attrs
    else:
        seconds, attrs = None, given.attrs
    if seconds is not None and "time" not in array.coords and seconds.dims == ("frame",):
        array = array.assign_coords(time=seconds)
    return array.load().to_dataset(name="concentration").assign_attrs(attrs)


def unit(image: xr.Dataset) -> str:
    """The unit of the concentration; images of MDF files count in delta samples."""
    stated = str(image["concentration"].attrs.get("units", "1"))
    return "delta samples" if stated in ("1", "") else stated
