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
from mpibridge.mdf.checks import Frames, check_header
from mpibridge.mdf.header import Header
from mpibridge.mdf.lazy import Converted, LazyArray, SparseRows, Spectra
from mpibridge.mdf.schema import DATA, IMAGE, SCHEMA
from mpibridge.mdf.storage import Source, StoredArray, attributes, datasets, hdf5, value

TRANSFER_FUNCTION = "/acquisition/receiver/transferFunction"
SUBSAMPLING = "/measurement/subsamplingIndices"
SNR = "/calibration/snr"
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
        header, stored = _contents(path, file)
    return _dataset(path, header, stored)


def _contents(path: Path, file: h5py.File) -> tuple[dict[str, Any], dict[str, StoredArray]]:
    """Header with 2.1 names and the arrays that stay in the file."""
    found = datasets(file)
    if "/version" not in found:
        raise MDFError(path, "/version", "is missing", "this is no MDF file (or one of a Bruker or IMT scanner)")
    version = str(value(found["/version"], "/version"))
    major = version.split(".")[0]
    if major not in ("1", "2"):
        raise MDFError(path, "/version", f"is {version!r}", "versions 1.0, 2.0 and 2.1 are known")
    header: dict[str, Any] = {}
    stored: dict[str, StoredArray] = {}
    samples = DATA
    for name, dataset in found.items():
        target = legacy.RENAMED_IN_V1.get(name, name) if major == "1" else name
        if target == DATA:
            if DATA in stored:
                raise MDFError(path, name, f"repeats the data of {samples}", "a file holds one recording")
            samples = name
        if target in (DATA, IMAGE, SUBSAMPLING, TRANSFER_FUNCTION, SNR):
            pairs = major == "1" and dataset.dtype.kind == "f" and (name.endswith("dataFD") or target == TRANSFER_FUNCTION)
            stored[target] = StoredArray.of(dataset, name, pairs=pairs)
        elif target not in SCHEMA and dataset.dtype.kind in "iufc" and dataset.size and dataset.nbytes > LAZY_BYTES:
            stored[name] = StoredArray.of(dataset, name)
        else:
            header[name] = value(dataset, name)
        header.update({f"{name}@{key}": item for key, item in attributes(dataset).items()})
    header = legacy.modernise_v1(header, samples) if major == "1" else legacy.modernise_v2(header)
    return legacy.repair_shapes(header), stored


def _dataset(path: Path, header: dict[str, Any], stored: dict[str, StoredArray]) -> xr.Dataset:
    if DATA in stored:
        is_calibration = "/calibration/method" in header or "/calibration/size" in header
        kind = model.CALIBRATION if is_calibration else model.MEASUREMENT
    elif IMAGE in stored:
        kind = model.RECONSTRUCTION
    else:
        raise MDFError(path, "/measurement", "is missing", "the file is a header without data; record a measurement")
    header["source"], header["kind"] = str(path), kind
    frames = check_header(path, kind, header, stored)
    build = {
        model.MEASUREMENT: _measurement,
        model.CALIBRATION: _calibration,
        model.RECONSTRUCTION: _reconstruction,
    }[kind]
    variables, coordinates = build(header, stored, frames)
    used = {DATA, SUBSAMPLING, TRANSFER_FUNCTION, SNR} if kind != model.RECONSTRUCTION else {IMAGE}
    for name, source in stored.items():
        if name not in used:
            dims = tuple(f"{name}:{axis}" for axis in range(len(source.shape)))
            variables[name] = _variable(dims, source, tuple(range(len(source.shape))))
    for name in ("/measurement/isBackgroundFrame", "/measurement/framePermutation", "/measurement/frequencySelection"):
        header.pop(name, None)  # they are coordinates now
    if TRANSFER_FUNCTION in stored and kind != model.RECONSTRUCTION:
        said = Header(header)
        coordinates |= {} if "bin" in coordinates else _frequencies(header, said)
        bins = coordinates["bin"][1]
        variables["transfer_function"] = _transfer_function(path, stored[TRANSFER_FUNCTION], said, bins)
    for name in ("/measurement/isBackgroundFrame", "/measurement/framePermutation", "/measurement/frequencySelection"):
        header.pop(name, None)  # they are coordinates now
    return xr.Dataset(variables, coordinates, header)


def _measurement(header: dict[str, Any], stored: dict[str, StoredArray], frames: Frames) -> Parts:
    said, source = Header(header), stored[DATA]
    fast = said.flag("isFastFrameAxis")
    axes = (3, 0, 1, 2) if fast else (0, 1, 2, 3)
    fourier = said.flag("isFourierTransformed")
    name, dims = ("spectrum", model.SPECTRUM_DIMS) if fourier else ("signal", model.SIGNAL_DIMS)
    variables = {name: _variable(dims, source, axes, units=str(said["/acquisition/receiver/unit"]))}
    order = frames.order
    coordinates: dict[str, Any] = {
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
    said, samples = Header(header), stored[DATA]
    fast, fourier = said.flag("isFastFrameAxis"), said.flag("isFourierTransformed")
    axes, frame_axis = ((0, 1, 2), 3) if fast else ((1, 2, 3), 0)
    shape = frames.grid_shape
    source: Source = samples
    if not fourier:
        source = Spectra(Converted(samples, axes[1], said.conversion_factors), axes[2])
    background = np.flatnonzero(frames.is_background)
    matrix: Source = source
    if said.flag("isSparsityTransformed"):
        matrix = SparseRows(samples, stored[SUBSAMPLING], shape, str(said["/measurement/sparsityTransformation"]))
        table = frames.sorting.reshape(shape)
    else:
        table = np.flatnonzero(~frames.is_background)[frames.sorting].reshape(shape)
    n_foreground = table.size
    variables = {"system_matrix": _variable(model.SYSTEM_MATRIX_DIMS, matrix, axes, table, frame_axis)}
    coordinates: dict[str, Any] = {
        "acquisition_index": (model.GRID_DIMS, frames.order[:n_foreground][frames.sorting].reshape(shape)),
        **_frequencies(header, said),
    }
    if len(background):
        variables["background"] = _variable(model.BACKGROUND_DIMS, source, axes, background, frame_axis)
        coordinates["background_acquisition_index"] = ("background_frame", frames.order[n_foreground:])
    if "/calibration/fieldOfView" in header and "/calibration/size" in header:
        coordinates |= said.grid.coordinates()
    if SNR in stored:
        snr = stored[SNR]
        if len(snr.shape) == 2:  # (C, K) in 1.0.x
            snr = snr.with_axis(0)
        if snr.shape[0] != samples.shape[0 if fast else 1]:
            raise MDFError(header["source"], SNR, f"has shape {snr.shape}", "one table per period is wanted (J, C, K)")
        variables["snr"] = _variable(model.SNR_DIMS, snr, (0, 1, 2))
    return variables, coordinates


def _reconstruction(header: dict[str, Any], stored: dict[str, StoredArray], frames: Frames) -> Parts:
    table = np.arange(int(np.prod(frames.grid_shape))).reshape(frames.grid_shape)
    image = stored[IMAGE]
    if len(image.shape) == 3 and image.shape[2] > 1:
        variable = _variable(("contrast", *model.IMAGE_DIMS), image, (2, 0), table, 1)
    else:
        variable = _variable(model.IMAGE_DIMS, image, (0,), table, 1)
    coordinates: dict[str, Any] = {}
    said = Header(header)
    size, extent = header.get("/reconstruction/size"), header.get("/reconstruction/fieldOfView")
    if size is not None and extent is not None:
        center = header.get("/reconstruction/fieldOfViewCenter", np.zeros(3))
        grid = model.Grid(tuple(size), tuple(extent), tuple(center))
        coordinates |= grid.coordinates()
        header |= grid.attributes()
    if "/acquisition/drivefield/cycle" in header:
        times = header.get("/reconstruction/_mpibridge/time")
        index = np.arange(image.shape[0])
        seconds = index * _frame_seconds(said) if times is None or len(times) != len(index) else np.asarray(times)
        coordinates["time"] = ("frame", seconds, {"units": "s"})
    return {"concentration": variable}, coordinates


def _transfer_function(path: Path, source: StoredArray, said: Header, bins: np.ndarray) -> xr.Variable:
    """(receiver, frequency) on the stored bins; a file may also store it on the full spectrum."""
    if len(source.shape) != 2 or source.shape[0] != said.n_receivers:
        raise MDFError(path, TRANSFER_FUNCTION, f"has shape {source.shape}", f"({said.n_receivers}, K) is wanted")
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
