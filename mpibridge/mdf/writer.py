"""A labelled Dataset → MDF 2.1.0 that MPIFiles.jl opens, all or nothing.

What MPIFiles.jl 0.19 and HDF5.jl want beyond the specification (they map the data into memory and check types):
contiguous, aligned data; scalars in scalar dataspaces; 8-byte numbers where the schema says so; times of at most
milliseconds without a zone. Everything but large arrays is stored inside object headers of the newer HDF5 format,
whose checksums tell a damaged header.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from mpibridge.errors import MDFError
from mpibridge.mdf.layout import FileArray, laid_out
from mpibridge.mdf.legacy import repair_shapes
from mpibridge.mdf.reader import read
from mpibridge.mdf.schema import SCHEMA, SUFFIXES, TIMES, VERSION
from mpibridge.mdf.values import check_kinds
from mpibridge.targets import check_target, replacing

BLOCK_BYTES = 64 * 2**20
"""Arrays are written in blocks of about this size."""
COMPACT_BYTES = 32 * 2**10
"""Smaller values are stored in the object header; HDF5 allows 64 KiB there."""
TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[T ](?P<clock>\d\d:\d\d:\d\d)([.,](?P<fraction>\d+))?\s*(?P<zone>Z|[+-]\d\d:?\d\d)?"
)
NUMBERS = {"float": np.float64, "int": np.int64, "flag": np.int8}
GROUP_DEFAULTS = ("/study", "/experiment", "/scanner")
"""Groups whose mandatory entries get a placeholder: in-memory data rarely know who operated which scanner."""


def write(path: str | Path, dataset: xr.Dataset) -> Path:
    """Save a measurement, a calibration or an image as MDF 2.1.0; returns the path.

    dataset: labelled as by `mpibridge.mdf.reader.read`; it may be lazy, and may even come from ``path`` itself.
    Attributes that start with ``/`` are header entries, ``path@name`` an HDF5 attribute; others are not written.
    Counts and layout flags follow the data; identifiers, times and names that MDF demands and the dataset lacks get
    placeholders. Measurements are stored (frame, period, receiver, sample | frequency), calibrations (period, receiver,
    frequency, frame) with the foreground first in the order of the grid, images (frame, voxel, contrast).
    The file appears when it is complete: if anything fails, an existing file stays as it was.
    Raises MDFError if the dataset cannot be an MDF file, naming the entry.
    """
    target = check_target(path, SUFFIXES)
    header, arrays = laid_out(path, dataset)
    header = _completed(path, header)
    with replacing(path, SUFFIXES) as temporary:
        _write(path, temporary, header, arrays)
        _verify(path, temporary)
    return target


def _completed(path: str | Path, header: Mapping[str, Any]) -> dict[str, Any]:
    """The header in the shapes of MDF 2.1, with what MDF demands and the dataset need not know."""
    header = {name: value for name, value in header.items() if value is not None or "@" in name}
    check_kinds(Path(path), header)
    header = repair_shapes(header)
    now = datetime.now(timezone.utc).replace(tzinfo=None).isoformat(timespec="milliseconds")
    out = {"/uuid": str(uuid.uuid4()), "/time": now} | dict(header) | {"/version": VERSION}
    out.setdefault("/acquisition/startTime", out["/time"])
    out.setdefault("/acquisition/numAverages", 1)
    out.setdefault("/acquisition/receiver/unit", "V")
    for name, entry in SCHEMA.items():
        if entry.group in GROUP_DEFAULTS and entry.optional is False:
            made_up = str(uuid.uuid4()) if name.endswith("/uuid") else "n.a." if entry.type == "str" else 0
            out.setdefault(name, made_up)
    return out


def _write(
    path: str | Path, temporary: Path, header: Mapping[str, Any], arrays: Mapping[str, FileArray]
) -> None:
    marks = {name: value for name, value in header.items() if "@" in name}
    aligned = {"alignment_threshold": 1, "alignment_interval": 16}
    with h5py.File(temporary, "x", libver=("v108", "v110"), **aligned) as file:
        for name, value in header.items():
            if name not in marks:
                _write_value(path, file, name, value)
        for name, array in arrays.items():
            _write_array(file, name, array)
        for name, value in marks.items():
            owner, key = name.split("@", 1)
            try:
                item = file.require_group(owner) if owner not in file else file[owner]
                item.attrs[key] = h5py.Empty("f8") if value is None else _plain(value)
            except (TypeError, ValueError) as error:
                raise MDFError(
                    path, name, f"cannot be stored ({error})", "numbers and texts are wanted"
                ) from error


def _verify(path: str | Path, temporary: Path) -> None:
    """What was written opens; otherwise the dataset contradicts itself, and the reader says how."""
    try:
        read(temporary)
    except MDFError as error:
        raise MDFError(path, error.dataset, f"would not be readable: {error.found}", error.todo) from error


def _typed(name: str, value: Any) -> np.ndarray:
    """``value`` in the type and, for scalars, the shape that the schema gives ``name``; ValueError if it does not fit."""
    entry = SCHEMA.get(name)
    if name in TIMES:
        value = np.vectorize(_milliseconds, otypes=[object])(value)
    array = _plain(value)
    if entry is None:
        return array
    if not entry.letters:
        array = array.reshape(())
    if entry.type not in NUMBERS:
        return array
    cast = array.astype(NUMBERS[entry.type])
    if not np.array_equal(cast, array, equal_nan=entry.type == "float"):
        raise ValueError(f"{value} does not fit {cast.dtype}")
    return cast


def _plain(value: Any) -> np.ndarray:
    """A number, text, or array of either as HDF5 stores it: texts as UTF-8 of fixed length, as MPIFiles.jl writes them.

    Raises TypeError if it is anything else.
    """
    array = np.asarray(value)
    if array.dtype.kind in "OU" and all(isinstance(text, str) for text in array.ravel()):
        encoded = [text.encode() for text in array.ravel()]
        if any(b"\0" in text for text in encoded):
            raise ValueError("a text with a zero byte")
        length = max([1, *map(len, encoded)])
        return np.array(encoded, h5py.string_dtype("utf-8", length)).reshape(array.shape)
    if array.dtype.kind not in "biufcS":
        raise TypeError(f"{type(value).__name__} is neither a number nor a text")
    return array


def _milliseconds(time: Any) -> str:
    """A time as Julia's DateTime reads it: finer digits are cut off, a zone is counted back to UTC."""
    text = time.isoformat() if isinstance(time, datetime) else str(time)
    if (match := TIME.fullmatch(text.strip())) is None:
        raise ValueError(f"{text!r} is no time yyyy-mm-ddThh:mm:ss.mmm, which MPIFiles.jl insists on")
    moment, fraction, zone = f"{match['date']}T{match['clock']}", match["fraction"], match["zone"] or "Z"
    if zone != "Z":
        zone = zone.replace(":", "")
        utc = datetime.strptime(moment + zone, "%Y-%m-%dT%H:%M:%S%z").astimezone(timezone.utc)
        moment = utc.strftime("%Y-%m-%dT%H:%M:%S")
    return moment if fraction is None else f"{moment}.{fraction[:3]}"


def _write_value(path: str | Path, file: h5py.File, name: str, value: Any) -> None:
    """An entry of the header, inside its object header if it is small. Raises MDFError if it cannot be stored."""
    try:
        stored = _typed(name, value)
        group, _, last = name.rpartition("/")
        parent = file.require_group(group or "/")
        if stored.nbytes > COMPACT_BYTES or stored.size == 0:
            parent.create_dataset(last, data=stored)
            return
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple(stored.shape) if stored.ndim else h5py.h5s.create(h5py.h5s.SCALAR)
        kind = h5py.h5t.py_create(stored.dtype, logical=True)
        made = h5py.h5d.create(parent.id, last.encode(), kind, space, layout)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(stored, order="C"), mtype=kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise MDFError(
            path, name, f"cannot be stored ({error})", f"correct or remove attrs[{name!r}]"
        ) from error


def _write_array(file: h5py.File, name: str, array: FileArray) -> None:
    """A large array, contiguous, block by block."""
    stored = file.create_dataset(name, array.shape, array.dtype.newbyteorder("<"))
    for block in blocks(array.shape, array.lead, array.dtype.itemsize):
        stored[block] = array.read(block)


def blocks(shape: tuple[int, ...], lead: int, itemsize: int) -> Iterator[tuple[slice, ...]]:
    """Slices along the first ``lead`` axes of an array that cover it in C order, about `BLOCK_BYTES` at a time."""
    nbytes = [int(np.prod(shape[axis + 1 :], dtype=object)) * itemsize for axis in range(lead)]
    axis = next((axis for axis, inner in enumerate(nbytes) if inner <= BLOCK_BYTES), lead - 1)
    step = max(1, BLOCK_BYTES // max(1, nbytes[axis]))
    for outer in np.ndindex(shape[:axis]):
        for start in range(0, shape[axis], step):
            yield (*(slice(i, i + 1) for i in outer), slice(start, min(start + step, shape[axis])))
