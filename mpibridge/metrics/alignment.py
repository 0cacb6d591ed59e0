"""Two images, voxel for voxel: the same shape, the same positions, the same direction of every axis."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from mpibridge.errors import ShapeError
from mpibridge.model import GRID_DIMS

Image: TypeAlias = "xr.Dataset | xr.DataArray | ArrayLike"
"""A Dataset with ``concentration``, an array labelled by dimension, or a plain array."""
ORDER = ("contrast", "frame", *GRID_DIMS)
TOLERANCE = 1e-3
"""Of a voxel, by which positions may differ: files in single precision and sums of spacings stay far below it."""


def aligned(image: Image, truth: Image) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 arrays of one shape, whose voxels are the same places.

    Labelled images come back in the order (contrast, frame, z, y, x), as far as the image has these axes; a truth without
    frames, or with one, is that of every frame. Plain arrays are taken as they are.
    ShapeError if shapes, positions (by more than `TOLERANCE` of a voxel) or directions of axes differ, or there is no voxel.
    """
    first, second = labelled(image), labelled(truth)
    if first is None or second is None:
        a, b = (np.asarray(given if array is None else array.values, float) for given, array in
                ((image, first), (truth, second)))  # fmt: skip
        if a.shape != b.shape:
            raise ShapeError(f"image {a.shape} and truth {b.shape} must have the same shape")
    else:
        if reason := misalignment(first, second):
            raise ShapeError(reason)
        a, b = np.asarray(first.values, float), _like(first, second)
    if not a.size:
        raise ShapeError(f"image {a.shape} and truth {b.shape} have no voxels")
    return a, b


def misalignment(image: Any, truth: Any) -> str:
    """Why two labelled images are not the same places, and what to do; empty if they are.

    Where one of them has no positions, or no such axis, sizes decide.
    """
    image, truth = labelled(image), labelled(truth)
    if image is None or truth is None:
        raise ShapeError(
            "positions of plain arrays are unknown; pass Datasets or arrays with dimensions z, y, x"
        )
    for dim in reversed(ORDER):
        n, m = image.sizes.get(dim, 1), truth.sizes.get(dim, 1)
        if n != m and not (dim == "frame" and m == 1):
            todo = {
                "frame": "select frames with isel(frame=…)",
                "contrast": "select one with isel(contrast=…)",
            }.get(
                dim,
                "reconstruct on the reference's grid, or average the truth onto the image's: simulate.on_grid(…)",
            )
            return f"image ({_sizes(image)}) and reference ({_sizes(truth)}) differ along {dim}; {todo}"
    differing = misplaced(image, truth)
    if not differing:
        return ""
    places = [f"along {dim}: {_span(_axis(image, dim))} and {_span(_axis(truth, dim))}" for dim in differing]
    backwards = [dim for dim in differing if opposite(image, truth, dim)]
    steps = []
    if backwards:
        steps.append(f"reversed: sort both with sortby({_plain(backwards)!r})")
    if len(backwards) < len(differing):
        steps.append("reconstruct on the reference's grid, or correct the coordinates if they are wrong")
    return "; ".join([f"image and reference lie at other places {', '.join(places)}", *steps])


def misplaced(image: xr.DataArray, truth: xr.DataArray) -> list[str]:
    """The axes x, y, z along which positions differ by more than `TOLERANCE` of a voxel; sizes agree."""
    return [
        dim
        for dim, offsets in displacement(image, truth).items()
        if np.abs(offsets).max(initial=0) > TOLERANCE * _voxel(truth, dim)
    ]


def displacement(image: xr.DataArray, truth: xr.DataArray) -> dict[str, np.ndarray]:
    """Per axis x, y, z with positions in both: metres from every voxel of ``truth`` to that of ``image``; sizes agree."""
    known = [dim for dim in reversed(GRID_DIMS) if dim in image.coords and dim in truth.coords]
    return {dim: _axis(image, dim) - _axis(truth, dim) for dim in known}


def opposite(image: xr.DataArray, truth: xr.DataArray, dim: str) -> bool:
    """Whether the axis runs forwards in one and backwards in the other."""
    ours, theirs = _axis(image, dim), _axis(truth, dim)
    return bool((ours[-1] - ours[0]) * (theirs[-1] - theirs[0]) < 0)


def labelled(image: Image) -> xr.DataArray | None:
    """The concentration in the order of `ORDER`; None if it is a plain array, ShapeError if it holds something else."""
    if isinstance(image, xr.Dataset):
        if "concentration" not in image:
            raise ShapeError(
                f"the dataset holds {list(image.data_vars)}, no concentration; reconstruct first"
            )
        image = image["concentration"]
    if not isinstance(image, xr.DataArray):
        return None
    if unknown := set(image.dims) - set(ORDER):
        raise ShapeError(f"dimensions of images are {ORDER}, found also {sorted(map(str, unknown))}")
    return image.transpose(*(dim for dim in ORDER if dim in image.dims))


def _like(image: xr.DataArray, truth: xr.DataArray) -> np.ndarray:
    """Values of ``truth`` with the axes of ``image``, repeated for its frames."""
    bare = truth.drop_vars(list(truth.coords))
    bare = bare.squeeze([dim for dim in bare.dims if dim not in image.dims])
    missing = {dim: image.sizes[dim] for dim in image.dims if dim not in bare.dims}
    bare = bare.expand_dims(missing).transpose(*image.dims)
    return np.broadcast_to(np.asarray(bare.values, float), image.shape)


def _voxel(array: xr.DataArray, dim: str) -> float:
    """Edge of a voxel in metres; of an axis with one voxel, that of the others."""

    def edge(dim: str) -> float:
        axis = np.atleast_1d(array[dim].values) if dim in array.coords else np.zeros(1)
        return float(abs(axis[-1] - axis[0])) / (len(axis) - 1) if len(axis) > 1 else 0.0

    return edge(dim) or max(map(edge, GRID_DIMS)) or 1e-3


def _plain(dims: list[str]) -> str | list[str]:
    return dims[0] if len(dims) == 1 else dims


def _axis(array: xr.DataArray, dim: str) -> np.ndarray:
    return np.atleast_1d(array[dim].values).astype(float)


def _span(axis: np.ndarray) -> str:
    return f"{axis[0] * 1e3:.4g} to {axis[-1] * 1e3:.4g} mm"


def _sizes(array: xr.DataArray) -> str:
    return ", ".join(f"{dim} {array.sizes[dim]}" for dim in array.dims)
