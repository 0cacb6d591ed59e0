"""Any MDF file (1.0, 2.0, 2.1) → one labelled, lazy xarray Dataset in the words of `mpibridge.model`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from xarray.core import indexing

from mpibridge import model
from mpibridge.errors import MDFError
from mpibridge.mdf import legacy
from mpibridge.mdf.checks import Frames, check_layout
from mpibridge.mdf.header import Header
from mpibridge.mdf.lazy import Converted, LazyArray, SparseRows, Spectra
from mpibridge.mdf.schema import (
    DATA,
    DEVIATION,
    FRAME_TIMES,
    IMAGE,
    SCHEMA,
    SNR,
    SUBSAMPLING,
    TRANSFER_FUNCTION,
)
from mpibridge.mdf.storage import Source, StoredArray
from mpibridge.mdf.tree import attributes, hdf5, objects, value
from mpibridge.mdf.values import SELECTIONS, check_kinds

ON_DEMAND = (DATA, IMAGE, SUBSAMPLING, TRANSFER_FUNCTION, SNR, DEVIATION)
"""Datasets that are never read whole with the header."""
Parts = tuple[dict[str, Any], dict[str, Any]]
"""Variables and coordinates."""
LAZY_BYTES = 64 * 2**10
"""Additions of a user that are larger than this are read on demand."""


def read(path: str | Path) -> xr.Dataset:
    """Open an MDF file of any version. Nothing but the header is read; arrays follow when they are looked at.

    Returns a Dataset whose ``attrs["kind"]`` is ``measurement`` (variable ``signal`` or ``spectrum``),
    ``calibration`` (``system_matrix`` and, where there are, ``background`` and ``snr``) or ``reconstruction``
    (``concentration``); dimensions as in `mpibridge.model`. All metadata are in ``attrs`` under their MDF 2.1 path,
    additions of users included; HDF5 attributes stand behind an ``@``. ``signal`` holds the numbers of the file:
    `mpibridge.signals` converts them to volts.
    Raises MDFError if the file is not HDF5, damaged, no MDF, or contradicts itself.
    """
    path = Path(path).absolute()
    with hdf5(path) as file:
        header, stored, samples = _contents(path, file)
    check_kinds(path, header)
    if str(header["/version"]).startswith("1"):
        header = legacy.complete_v1(header, samples)
    return assemble(path, legacy.repair_shapes(header), stored)


def _contents(path: Path, file: h5py.File) -> tuple[dict[str, Any], dict[str, StoredArray], str]:
    """Header with 2.1 names, the arrays that stay in the file, and the dataset that holds the samples."""
    found = objects(file)
    if not isinstance(found.get("/version"), h5py.Dataset):
        raise MDFError(
            path, "/version", "is missing", "this is no MDF file (or one of a Bruker or IMT scanner)"
        )
    version = str(value(found["/version"], "/version"))
    if version.split(".")[0] not in ("1", "2"):
        raise MDFError(path, "/version", f"is {version!r}", "versions 1.0, 2.0 and 2.1 are known")
    header: dict[str, Any] = {}
    stored: dict[str, StoredArray] = {}
    samples = DATA
    for name, item in found.items():
        (target,) = legacy.rename({name: None}, version)
        if target in found:
            target = name  # the name of 2.1 is there too, and wins
        header.update({f"{target or '/'}@{key}": attribute for key, attribute in attributes(item).items()})
        if isinstance(item, h5py.Group):
            continue
        if target in header or target in stored:
            raise MDFError(
                path, name, f"says {target} a second time", "a file holds one recording; remove one of them"
            )
        samples = name if target == DATA else samples
        if target in ON_DEMAND or (target not in SCHEMA and target != FRAME_TIMES and _is_large(item)):
            pairs = version.startswith("1") and (name.endswith("dataFD") or target == TRANSFER_FUNCTION)
            stored[target] = StoredArray.of(item, name, pairs=pairs and item.dtype.kind == "f")
        else:
            header[target] = value(item, name)
    return header, stored, samples


def _is_large(item: h5py.Dataset) -> bool:
    return bool(item.size) and item.nbytes > LAZY_BYTES and item.dtype.kind in "iufc"


def assemble(path: Path, header: dict[str, Any], stored: dict[str, Any]) -> xr.Dataset:
    """The labelled dataset of a header with the names and shapes of MDF 2.1, and of arrays that are read on demand.

    stored: `StoredArray` or anything like it, by MDF path. Raises MDFError if header and arrays contradict each other.
    """
    if DATA in stored:
        is_calibration = "/calibration/method" in header or "/calibration/size" in header
        kind = model.CALIBRATION if is_calibration else model.MEASUREMENT
    elif IMAGE in stored:
        kind = model.RECONSTRUCTION
    else:
        raise MDFError(
            path, "/measurement", "is missing", "the file is a header without data; record a measurement"
        )
    header["source"], header["kind"] = str(path), kind
    frames = check_layout(path, kind, header, stored)
    build = {
        model.MEASUREMENT: _measurement,
        model.CALIBRATION: _calibration,
        model.RECONSTRUCTION: _reconstruction,
    }[kind]
    variables, coordinates = build(header, stored, frames)
    if kind != model.RECONSTRUCTION:
        if TRANSFER_FUNCTION in stored:
            said = Header(header)
            coordinates |= {} if "bin" in coordinates else _frequencies(header, said)
            source = stored.pop(TRANSFER_FUNCTION)
            variables["transfer_function"] = _transfer_function(path, source, said, coordinates["bin"][1])
        for name in SELECTIONS:
            header.pop(name, None)  # they are coordinates now
    for name, source in stored.items():
        dims = tuple(f"{name}:{axis}" for axis in range(len(source.shape)))
        variables[name] = _variable(dims, source, tuple(range(len(source.shape))))
    return xr.Dataset(variables, coordinates, header)


def _measurement(header: dict[str, Any], stored: dict[str, StoredArray], frames: Frames) -> Parts:
    said, source = Header(header), stored.pop(DATA)
    fast = said.flag("isFastFrameAxis")
    axes = (3, 0, 1, 2) if fast else (0, 1, 2, 3)
    fourier = said.flag("isFourierTransformed")
    name, dims = ("spectrum", model.SPECTRUM_DIMS) if fourier else ("signal", model.SIGNAL_DIMS)
    unit: dict[str, Any] = {"units": str(said["/acquisition/receiver/unit"])}
    if said.conversion_factors is not None:
        unit = model.STORED_NUMBERS
    variables = {name: _variable(dims, source, axes, **unit)}
    order = frames.order
    coordinates: dict[str, Any] = {
        "receiver": np.arange(source.shape[axes[2]]),
        "is_background": ("frame", frames.is_background),
        "acquisition_index": ("frame", order),
        "time": ("frame", order * _frame_seconds(said), {"units": "s"}),
    }
    if fourier:
        coordinates |= _frequencies(header, said)
    else:
        seconds = np.arange(said.n_samples) / (2 * said.bandwidth)
        coordinates["time_in_period"] = ("sample", seconds, {"units": "s"})
    return variables, coordinates


def _calibration(header: dict[str, Any], stored: dict[str, StoredArray], frames: Frames) -> Parts:
    said, samples = Header(header), stored.pop(DATA)
    fast, fourier = said.flag("isFastFrameAxis"), said.flag("isFourierTransformed")
    axes, frame_axis = ((0, 1, 2), 3) if fast else ((1, 2, 3), 0)
    shape = frames.grid_shape
    source: Source = samples
    if not fourier:
        source = Spectra(Converted(samples, axes[1], said.conversion_factors), axes[2])
    background = np.flatnonzero(frames.is_background)
    matrix: Source = source
    if said.flag("isSparsityTransformed"):
        matrix = SparseRows(
            samples, stored.pop(SUBSAMPLING), shape, str(said["/measurement/sparsityTransformation"])
        )
        table = frames.sorting.reshape(shape)
    else:
        table = np.flatnonzero(~frames.is_background)[frames.sorting].reshape(shape)
    n_foreground = table.size
    variables = {"system_matrix": _variable(model.SYSTEM_MATRIX_DIMS, matrix, axes, table, frame_axis)}
    coordinates: dict[str, Any] = {
        "receiver": np.arange(samples.shape[axes[1]]),
        "acquisition_index": (model.GRID_DIMS, frames.order[:n_foreground][frames.sorting].reshape(shape)),
        **_frequencies(header, said),
    }
    if len(background):
        variables["background"] = _variable(model.BACKGROUND_DIMS, source, axes, background, frame_axis)
        coordinates["background_acquisition_index"] = ("background_frame", frames.order[n_foreground:])
    if "/calibration/fieldOfView" in header and "/calibration/size" in header:
        coordinates |= said.grid.coordinates()
    if SNR in stored:
        variables["snr"] = _variable(model.SNR_DIMS, stored.pop(SNR), (0, 1, 2))
    return variables, coordinates


def _reconstruction(header: dict[str, Any], stored: dict[str, StoredArray], frames: Frames) -> Parts:
    table = np.arange(int(np.prod(frames.grid_shape))).reshape(frames.grid_shape)
    image = stored.pop(IMAGE)

    def voxels(source: StoredArray) -> xr.Variable:
        if source.shape[2] > 1:
            return _variable(("contrast", *model.IMAGE_DIMS), source, (2, 0), table, 1)
        return _variable(model.IMAGE_DIMS, source, (0,), table, 1)

    variables = {"concentration": voxels(image)}
    if DEVIATION in stored and stored[DEVIATION].shape == image.shape:
        variables["concentration_std"] = voxels(stored.pop(DEVIATION))
    coordinates: dict[str, Any] = {}
    said = Header(header)
    size, extent = said.get("/reconstruction/size"), said.get("/reconstruction/fieldOfView")
    if size is not None and extent is not None:
        center = said.get("/reconstruction/fieldOfViewCenter", np.zeros(3))
        grid = model.Grid(tuple(size), tuple(extent), tuple(center))
        coordinates |= grid.coordinates()
        header |= grid.attributes()
    n_frames = image.shape[0]
    times = np.asarray(said.get(FRAME_TIMES, 0))
    if times.shape == (n_frames,) and times.dtype.kind == "f":
        coordinates["time"] = ("frame", header.pop(FRAME_TIMES), {"units": "s"})
    elif "/acquisition/drivefield/cycle" in header:
        coordinates["time"] = ("frame", np.arange(n_frames) * _frame_seconds(said), {"units": "s"})
    return variables, coordinates


def _transfer_function(path: Path, source: StoredArray, said: Header, bins: np.ndarray) -> xr.Variable:
    """(receiver, frequency) on the stored bins; a file may also store it on the full spectrum."""
    if len(source.shape) != 2 or source.shape[0] != said.n_receivers:
        raise MDFError(
            path, TRANSFER_FUNCTION, f"has shape {source.shape}", f"({said.n_receivers}, K) is wanted"
        )
    if source.dtype.kind != "c":
        raise MDFError(path, TRANSFER_FUNCTION, f"is {source.dtype}", "complex numbers are wanted")
    if source.shape[1] == len(bins):
        return _variable(("receiver", "frequency"), source, (0, 1))
    if source.shape[1] == said.n_frequencies:
        return _variable(("receiver", "frequency"), source, (0,), bins, 1)
    found = f"has {source.shape[1]} frequencies, the data {len(bins)}"
    raise MDFError(path, TRANSFER_FUNCTION, found, "store one value per stored frequency")


def _frequencies(header: dict[str, Any], said: Header) -> dict[str, Any]:
    """Coordinates ``frequency`` (Hz) and ``bin`` (0-based position in the full spectrum)."""
    if said.flag("isFrequencySelection"):
        bins = np.asarray(header["/measurement/frequencySelection"]).astype(np.int64) - 1
    else:
        bins = np.arange(said.n_frequencies)
    hertz = bins * (2 * said.bandwidth / said.n_samples)
    return {"frequency": ("frequency", hertz, {"units": "Hz"}), "bin": ("frequency", bins)}


def _frame_seconds(said: Header) -> float:
    """Frame period, 0 if the header does not tell it."""
    try:
        return said.frame_period
    except MDFError:
        return 0.0


def _variable(
    dims: tuple[str, ...],
    source: Source,
    axes: tuple[int, ...],
    table: np.ndarray | None = None,
    table_axis: int = -1,
    **attrs: str,
) -> xr.Variable:
    return xr.Variable(dims, indexing.LazilyIndexedArray(LazyArray(source, axes, table, table_axis)), attrs)
