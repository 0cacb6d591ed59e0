"""The images of a comparison: files of any software, datasets and arrays, all as datasets in one form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from os.path import abspath
from pathlib import Path
from typing import TypeAlias

import numpy as np
import xarray as xr

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.metrics.alignment import displacement, labelled, misplaced, opposite
from mpibridge.model import GRID_DIMS, RECONSTRUCTION
from mpibridge.reading import read

Given: TypeAlias = "str | Path | xr.Dataset | xr.DataArray"
REFERENCE, FIRST = "reference", "first"
ALIGNS = ("positions", "voxels")


def named(images: Mapping[str, Given] | Sequence[str | Path]) -> dict[str, Given]:
    """Images by name; a list of paths by the names of the files, with as many folders as tell them apart.

    SettingsError for no image, a file that occurs twice, or a list of anything but paths.
    """
    if isinstance(images, Mapping):
        found = {str(name): image for name, image in images.items()}
    else:
        if isinstance(images, str | Path) or not all(isinstance(path, str | Path) for path in images):
            raise SettingsError('pass images by name, {"kaczmarz": image, …}, or a list of files')
        found = dict(zip(_names(images), map(Path, images), strict=True))
    if not found:
        raise SettingsError("there is no image to compare")
    return found


def _names(images: Sequence[str | Path]) -> list[str]:
    """The name of every file without its suffix, behind the fewest folders that make it the only one of this name."""
    # The paths as they were typed, but from the root: a link keeps the name by which the user knows it.
    paths = [Path(abspath(path)) for path in images]
    for given, path in zip(images, paths, strict=True):
        if paths.count(path) > 1:
            raise SettingsError(
                f"{str(given)!r} occurs twice; leave one out, or give each a name: --names first,second "
                'on the command line, compare({"first": …, "second": …}) in Python'
            )
    stems = [path.parent / path.stem for path in paths]
    parts = [path.parts for path in (stems if len(set(stems)) == len(stems) else paths)]
    ends = Counter(own[-n:] for own in parts for n in range(1, len(own) + 1))
    shortest = [next(own[-n:] for n in range(1, len(own) + 1) if ends[own[-n:]] == 1) for own in parts]
    return [Path(*own).as_posix() for own in shortest]


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
    if attrs.get("kind") == RECONSTRUCTION and not array.attrs.get("units"):
        array = array.assign_attrs(
            units="1"
        )  # MDF has no field for it: reconstructions count in delta samples
    return array.load().to_dataset(name="concentration").assign_attrs(attrs)


def unit(image: xr.Dataset) -> str:
    """The unit of the concentration; empty where none is stated."""
    stated = str(image["concentration"].attrs.get("units", ""))
    return "delta samples" if stated == "1" else stated


def ignorable(image: xr.DataArray, target: xr.DataArray) -> str:
    """By how much the positions of two images with the same voxels differ, as "x -0.5 mm, y 1 mm, z 0 mm".

    Empty if they agree, or if numbers of voxels or directions of axes differ, so that voxels do not belong together.
    """
    if any(image.sizes[dim] != target.sizes[dim] for dim in GRID_DIMS):
        return ""
    differing, offsets = misplaced(image, target), displacement(image, target)
    if not differing or any(opposite(image, target, dim) for dim in offsets):
        return ""
    return ", ".join(
        f"{dim} {_millimetres(offsets[dim]) if dim in offsets else 'not stated'}"
        for dim in reversed(GRID_DIMS)
    )


def placed(image: xr.DataArray, target: xr.DataArray) -> xr.DataArray:
    """``image`` at the positions of ``target``."""
    known = [dim for dim in GRID_DIMS if dim in target.coords]
    return image.assign_coords({dim: (dim, target[dim].values, target[dim].attrs) for dim in known})


def _millimetres(offsets: np.ndarray) -> str:
    # + 0.0: no "-0"
    low, high = (f"{round(1e3 * float(end), 4) + 0.0:g}" for end in (offsets.min(), offsets.max()))
    return f"{low} mm" if low == high else f"{low} to {high} mm"
