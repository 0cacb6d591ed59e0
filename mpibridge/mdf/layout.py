"""How a labelled dataset lies in an MDF 2.1 file: header entries that follow from the data, and the arrays in order.

Measurements are stored (frame, period, receiver, sample | frequency), calibrations (period, receiver, frequency, frame)
with the foreground first in the order of the grid, images (frame, voxel, contrast). Nothing is read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from mpibridge import model
from mpibridge.errors import MDFError
from mpibridge.mdf.header import Header, dataset_grid
from mpibridge.mdf.schema import (
    DATA,
    DEVIATION,
    FLAGS,
    FRAME_TIMES,
    IMAGE,
    SNR,
    SUBSAMPLING,
    TRANSFER_FUNCTION,
)
from mpibridge.mdf.values import SELECTIONS

KIND_OF = {
    "signal": model.MEASUREMENT,
    "spectrum": model.MEASUREMENT,
    "system_matrix": model.CALIBRATION,
    "concentration": model.RECONSTRUCTION,
}
"""The variable that makes a dataset what it is."""
COMPANIONS = ("background", "snr", "transfer_function", "concentration_std")
OF_THE_LAYOUT = (*SELECTIONS, SUBSAMPLING, "/measurement/sparsityTransformation")
"""Entries that the labels replace; a file has them only if its layout needs them."""
Layout = tuple[dict[str, Any], dict[str, "FileArray"]]
"""Header entries by path (HDF5 attributes as ``path@name``) and arrays by path."""


@dataclass(frozen=True)
class FileArray:
    """One dataset of a file, to be made of labelled parts.

    parts: variables whose axes, in the order ``dims``, agree in the first ``lead`` axes; what follows is flattened and
    set side by side. shape, dtype: what the file holds; its first ``lead`` axes are those of the parts.
    """

    parts: tuple[xr.Variable, ...]
    dims: tuple[tuple[str, ...], ...]
    lead: int
    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self, block: tuple[slice, ...]) -> np.ndarray:
        """The part of the array at ``block``, slices along the leading axes."""
        pieces = []
        for part, dims in zip(self.parts, self.dims, strict=True):
            values = np.asarray(part.isel(dict(zip(dims, block, strict=False))).values)
            values = values.transpose([part.dims.index(dim) for dim in dims])
            pieces.append(values.reshape(*values.shape[: self.lead], -1))
        joined = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=-1)
        return joined.reshape(*joined.shape[:-1], *self.shape[self.lead :]).astype(self.dtype, copy=False)


def laid_out(path: str | Path, dataset: xr.Dataset) -> Layout:
    """The header entries and arrays of a file for ``dataset``; ``path`` is for messages.

    Raises MDFError if the dataset is no measurement, calibration or image, or has variables MDF has no place for.
    """
    main = [name for name in KIND_OF if name in dataset.data_vars]
    if len(main) != 1:
        found = f"holds {' and '.join(main)}" if main else f"holds {sorted(map(str, dataset.data_vars))}"
        raise MDFError(path, None, found, f"exactly one of {', '.join(KIND_OF)} is wanted; drop the others")
    arrays: dict[str, FileArray] = {}
    for name, variable in dataset.data_vars.items():
        if str(name).startswith("/"):
            arrays[str(name)] = _array(path, dataset, str(name), variable.dims)
        elif name not in KIND_OF and name not in COMPANIONS:
            todo = f"drop it, or rename it to a path of your own such as '/_{name}'"
            raise MDFError(path, None, f"MDF has no place for the variable {name!r}", todo)
    header = {str(key): value for key, value in dataset.attrs.items() if str(key).startswith("/")}
    for name in OF_THE_LAYOUT:
        header.pop(name, None)
    lay = {
        model.MEASUREMENT: _measurement,
        model.CALIBRATION: _calibration,
        model.RECONSTRUCTION: _reconstruction,
    }[KIND_OF[main[0]]]
    more_header, more_arrays = lay(path, dataset)
    header, arrays = header | more_header, arrays | more_arrays
    gone = {name for name in OF_THE_LAYOUT if name not in header}
    return {name: value for name, value in header.items() if name.split("@")[0] not in gone}, arrays


def _measurement(path: str | Path, dataset: xr.Dataset) -> Layout:
    fourier = "spectrum" in dataset
    name, dims = ("spectrum", model.SPECTRUM_DIMS) if fourier else ("signal", model.SIGNAL_DIMS)
    arrays = {DATA: _array(path, dataset, name, dims)}
    n_frames, n_periods, n_receivers, n_last = arrays[DATA].shape
    order = _ranks(_coordinate(dataset, "acquisition_index", np.arange(n_frames)))
    permuted = Header(dataset.attrs).flag("isFramePermutation") or not np.array_equal(
        order, np.arange(n_frames)
    )
    background = _coordinate(dataset, "is_background", np.zeros(n_frames))
    header = {
        **_flags(dataset, isFourierTransformed=fourier, isFastFrameAxis=False, isFramePermutation=permuted),
        **_counts(n_frames, n_periods, n_receivers),
        "/measurement/isBackgroundFrame": background.astype(np.int8),
    }
    if permuted:
        header["/measurement/framePermutation"] = order + 1
    if not fourier:
        header["/acquisition/receiver/numSamplingPoints"] = n_last
    else:
        header |= _selection(dataset, n_last)
    return header, arrays | _transfer_function(path, dataset)


def _calibration(path: str | Path, dataset: xr.Dataset) -> Layout:
    matrix = _array(path, dataset, "system_matrix", model.SYSTEM_MATRIX_DIMS)
    *rows, nz, ny, nx = matrix.shape
    n_voxels, parts = nz * ny * nx, [matrix]
    if "background" in dataset:
        parts.append(_array(path, dataset, "background", model.BACKGROUND_DIMS))
    n_background = parts[1].shape[3] if len(parts) > 1 else 0
    data = FileArray(
        parts=tuple(variable for part in parts for variable in part.parts),
        dims=tuple(dims for part in parts for dims in part.dims),
        lead=3,
        shape=(*rows, n_voxels + n_background),
        dtype=np.result_type(*(part.dtype for part in parts)),
    )
    arrays = {DATA: data}
    if "snr" in dataset:
        arrays[SNR] = _array(path, dataset, "snr", model.SNR_DIMS, np.float64)
    n_periods, n_receivers, n_bins = rows
    order = _ranks(
        _coordinate(dataset, "acquisition_index", np.arange(n_voxels), model.GRID_DIMS),
        _coordinate(dataset, "background_acquisition_index", np.arange(n_voxels, n_voxels + n_background)),
    )
    header = {
        **_flags(dataset, isFourierTransformed=True, isFastFrameAxis=True, isFramePermutation=True),
        **_counts(n_voxels + n_background, n_periods, n_receivers),
        **_selection(dataset, n_bins),
        "/measurement/isBackgroundFrame": np.repeat(np.array([0, 1], np.int8), [n_voxels, n_background]),
        "/measurement/framePermutation": order + 1,
        "/calibration/method": dataset.attrs.get("/calibration/method", "n.a."),
    }
    said = Header(dataset.attrs)
    if said.get("/measurement/isFourierTransformed", 1) == 0 and said.conversion_factors is not None:
        # The reader converted the time data it transformed; the spectra stored now are volts already.
        header["/acquisition/receiver/dataConversionFactor"] = np.tile([1.0, 0.0], (n_receivers, 1))
    if (grid := dataset_grid(dataset)) is not None:
        header |= _grid_entries("/calibration", grid)
    elif (nz, ny) != (1, 1) or said.get("/calibration/size") is not None:
        header["/calibration/size"] = np.array([nx, ny, nz])
    return header, arrays | _transfer_function(path, dataset)


def _reconstruction(path: str | Path, dataset: xr.Dataset) -> Layout:
    several = "contrast" in dataset["concentration"].dims
    dims = (*model.IMAGE_DIMS, "contrast") if several else model.IMAGE_DIMS
    arrays = {IMAGE: _image(_array(path, dataset, "concentration", dims))}
    if "concentration_std" in dataset:
        arrays[DEVIATION] = _image(_array(path, dataset, "concentration_std", dims))
    header: dict[str, Any] = {"/reconstruction/order": "xyz"}
    if (grid := dataset_grid(dataset)) is not None:
        header |= _grid_entries("/reconstruction", grid)
    else:
        header["/reconstruction/size"] = np.array([dataset.sizes[dim] for dim in reversed(model.GRID_DIMS)])
    if "time" in dataset.coords and dataset["time"].dims == ("frame",):
        header[FRAME_TIMES] = dataset["time"].values.astype(np.float64)
    return header, arrays


def _image(values: FileArray) -> FileArray:
    """An image (frame, z, y, x[, contrast]) as (frame, voxel, contrast)."""
    n_frames, nz, ny, nx = values.shape[:4]
    n_contrasts = values.shape[4] if len(values.shape) > 4 else 1
    return FileArray(values.parts, values.dims, 1, (n_frames, nz * ny * nx, n_contrasts), values.dtype)


def _array(
    path: str | Path, dataset: xr.Dataset, name: str, dims: Sequence[Any], dtype: Any = None
) -> FileArray:
    """The variable ``name`` as it is, its axes in the order ``dims``. Raises MDFError if it has other ones."""
    variable = dataset[name].variable
    if set(variable.dims) != set(dims):
        raise MDFError(path, None, f"{name} has the dimensions {variable.dims}", f"{tuple(dims)} are wanted")
    if variable.dtype.kind not in "iufc":
        raise MDFError(path, None, f"{name} is {variable.dtype}", "numbers are wanted")
    shape = tuple(variable.sizes[dim] for dim in dims)
    if 0 in shape:
        raise MDFError(
            path, None, f"{name} is empty, it has the shape {shape}", "a file holds at least one of each"
        )
    return FileArray((variable,), (tuple(dims),), len(dims), shape, np.dtype(dtype or variable.dtype))


def _transfer_function(path: str | Path, dataset: xr.Dataset) -> dict[str, FileArray]:
    if "transfer_function" not in dataset:
        return {}
    return {
        TRANSFER_FUNCTION: _array(
            path, dataset, "transfer_function", ("receiver", "frequency"), np.complex128
        )
    }


def _flags(dataset: xr.Dataset, **of_the_layout: bool) -> dict[str, np.int8]:
    """The flags of `/measurement`: those of the layout as given, others as the header says, else 0."""
    said = Header(dataset.attrs)
    layout = {"isFrequencySelection": False, "isSparsityTransformed": False} | of_the_layout
    return {f"/measurement/{flag}": np.int8(layout.get(flag, said.flag(flag))) for flag in FLAGS}


def _counts(n_frames: int, n_periods: int, n_receivers: int) -> dict[str, int]:
    return {
        "/acquisition/numFrames": n_frames,
        "/acquisition/numPeriodsPerFrame": n_periods,
        "/acquisition/receiver/numChannels": n_receivers,
    }


def _selection(dataset: xr.Dataset, n_bins: int) -> dict[str, Any]:
    """`frequencySelection` of stored spectra, unless they are complete."""
    said = Header(dataset.attrs)
    bins = _coordinate(dataset, "bin", np.arange(n_bins))
    complete = np.array_equal(bins, np.arange(said.n_frequencies))
    if complete and not said.flag("isFrequencySelection"):
        return {}
    return {
        "/measurement/isFrequencySelection": np.int8(1),
        "/measurement/frequencySelection": bins.astype(np.int64) + 1,
    }


def _grid_entries(group: str, grid: model.Grid) -> dict[str, np.ndarray]:
    return {
        f"{group}/size": np.array(grid.size),
        f"{group}/fieldOfView": np.array(grid.field_of_view),
        f"{group}/fieldOfViewCenter": np.array(grid.center),
    }


def _coordinate(
    dataset: xr.Dataset, name: str, default: np.ndarray, dims: tuple[str, ...] | None = None
) -> np.ndarray:
    """The values of a coordinate, in C order of ``dims``, or ``default`` if the dataset does not have it."""
    if name not in dataset.coords:
        return default
    coordinate = dataset[name]
    return (coordinate if dims is None else coordinate.transpose(*dims)).values.ravel()


def _ranks(*parts: np.ndarray) -> np.ndarray:
    """0-based order of acquisition of frames, some of which may have been left out or averaged."""
    every = np.concatenate(parts)
    order = np.empty(len(every), np.int64)
    order[np.argsort(every, kind="stable")] = np.arange(len(every))
    return order
