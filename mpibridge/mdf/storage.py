"""HDF5 underneath: open a file without trusting it, list its datasets, read parts of one.

Nothing here knows MDF. Whatever HDF5 says about a broken file becomes an `MDFError`. External links, external
storage and virtual datasets are refused: a data file must not make us read other files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from mpibridge.errors import MDFError
from mpibridge.mdf.heaps import refuse_endless_heaps

MAX_OBJECTS = 20_000
"""More datasets and groups than any MDF file has; a corrupted or hostile file stops here."""
HEADER_BYTES = 64 * 2**20
"""Largest dataset that is read whole as metadata."""

Index = tuple[slice | np.ndarray, ...]


@contextmanager
def hdf5(path: str | Path) -> Iterator[h5py.File]:
    """The file, open for reading; every failure of HDF5 inside the block is an `MDFError`."""
    path = Path(path)
    if not path.exists():
        raise MDFError(path, None, "there is no such file", "check the path")
    if not path.is_file():
        raise MDFError(
            path, None, "is not a file", "MDF data are one file; Bruker folders need the Julia engine"
        )
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except MDFError:
        raise
    except (
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        OverflowError,
        MemoryError,
        LookupError,
    ) as error:
        raise MDFError(
            path, None, f"cannot be read as HDF5 ({error})", "the file is damaged or no MDF file"
        ) from error


def objects(
    file: h5py.File, refuse: Callable[[MDFError], None] | None = None
) -> dict[str, h5py.Dataset | h5py.Group]:
    """Every group and dataset of the file by absolute path, in the order of the paths; the root is ``""``.

    refuse: what to do with a link that must not be followed (out of the file, to nowhere, to a group around it), by
    default to raise the MDFError; if it returns, the link is passed over.
    """
    refuse = refuse or _raise
    found: dict[str, h5py.Dataset | h5py.Group] = {"": file["/"]}
    stack: list[tuple[str, h5py.Group, frozenset[int]]] = [("", file["/"], frozenset())]
    while stack:
        prefix, group, above = stack.pop()
        around = above | {h5py.h5o.get_info(group.id).addr}
        for name in group:
            path = f"{prefix}/{name}"
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                refuse(
                    MDFError(
                        file.filename, path, "is a link into another file", "copy the data into this file"
                    )
                )
                continue
            item = _followed(group, name, path)
            if item is None:
                refuse(MDFError(file.filename, path, "is a link that leads nowhere", "remove or repair it"))
            elif isinstance(item, h5py.Group) and h5py.h5o.get_info(item.id).addr in around:
                refuse(
                    MDFError(file.filename, path, "is a link to a group that contains it", "remove the link")
                )
            elif isinstance(item, h5py.Group | h5py.Dataset):
                found[path] = item
                if isinstance(item, h5py.Group):
                    stack.append((path, item, around))
            if len(found) > MAX_OBJECTS:
                raise MDFError(
                    file.filename, None, f"has more than {MAX_OBJECTS} objects", "this is no MDF file"
                )
    refuse_endless_heaps(file, found.values())
    return dict(sorted(found.items()))


def _followed(group: h5py.Group, name: str, path: str) -> Any:
    """The object of a name, None if it is a soft link to nothing."""
    if isinstance(group.get(name, getlink=True), h5py.SoftLink) and group.get(name) is None:
        return None
    try:
        return group[name]
    except (KeyError, OSError, RuntimeError, ValueError, TypeError) as error:
        raise MDFError(
            group.file.filename, path, f"cannot be opened ({error})", "the file is damaged"
        ) from error


def _raise(error: MDFError) -> None:
    raise error


def attributes(item: h5py.Dataset | h5py.Group) -> dict[str, Any]:
    """The HDF5 attributes of a dataset or group as plain values, None for an empty one.

    MPIFiles.jl marks special parameters with them. References, which mean something in this one file only, are left
    out.
    """
    values = {name: _plain(item.attrs[name]) for name in item.attrs}
    return {name: value for name, value in values.items() if not isinstance(value, h5py.Reference | np.void)}


def value(dataset: h5py.Dataset, path: str) -> Any:
    """A dataset read whole: str, numpy scalar or array (texts as object arrays of str).

    Raises MDFError if it is larger than `HEADER_BYTES`, or of a type MDF does not know.
    """
    file = dataset.file.filename
    _refuse_foreign(dataset, path)
    if dataset.shape is None:
        raise MDFError(file, path, "holds nothing (a null dataspace)", "write a value or remove the dataset")
    if dataset.nbytes > HEADER_BYTES:
        raise MDFError(file, path, f"claims {dataset.nbytes} bytes of metadata", "the file is damaged")
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return _plain(dataset.asstr(errors="replace")[()])
    if dataset.dtype.kind not in "biufc" and _complex_dtype(dataset.dtype) is None:
        raise MDFError(
            file, path, f"has the element type {dataset.dtype}", "MDF knows numbers and texts only"
        )
    values = np.asarray(dataset[()])
    values = values.view(_complex_dtype(dataset.dtype) or values.dtype)
    return values.astype(values.dtype.newbyteorder("="), copy=False)[()]


class Source(Protocol):
    """An array that can be read in parts: ``read`` takes one slice or one index array per axis (outer indexing)."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype: ...
    def read(self, index: Index) -> np.ndarray: ...


@dataclass(frozen=True)
class StoredArray:
    """One numeric dataset of a file, read on demand; it holds no open file, so it pickles and crosses threads.

    Contiguous data are read through a memory map at ``offset`` bytes, anything else by HDF5, chunk by chunk. stamp:
    size and time of the file when it was opened; data are not taken from another file that has come in its place.
    pairs: the last stored axis of length two is (re, im), as in MDF 1. inserted: an axis of length one that the
    file does not have.
    """

    path: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int | None
    stamp: tuple[int, int]
    pairs: bool = False
    inserted: int | None = None

    @classmethod
    def of(cls, dataset: h5py.Dataset, name: str, *, pairs: bool = False) -> StoredArray:
        """Describe ``dataset`` without reading it. Raises MDFError if it is not numeric, unallocated or foreign."""
        path = dataset.file.filename
        _refuse_foreign(dataset, name)
        dtype = _complex_dtype(dataset.dtype) or dataset.dtype
        if dtype.kind not in "iufc":
            raise MDFError(path, name, f"has the element type {dataset.dtype}", "numbers are wanted here")
        shape = dataset.shape
        if shape is None or 0 in shape:
            raise MDFError(path, name, f"is empty (shape {shape})", "the recording holds no data")
        if pairs:
            if len(shape) < 2 or shape[-1] != 2 or dtype.kind != "f":
                raise MDFError(
                    path, name, f"has shape {shape}", "MDF 1 stores complex data as a last axis of 2"
                )
            shape, dtype = shape[:-1], np.result_type(dtype, np.complex64).newbyteorder(dtype.byteorder)
        offset = dataset.id.get_offset() if dataset.chunks is None else None
        size, _ = stamp = _stamp(path)
        nbytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if offset is not None and offset + nbytes > size:
            raise MDFError(
                path, name, f"needs {nbytes} bytes at {offset}, the file has {size}", "it is truncated"
            )
        if offset is None and dataset.id.get_storage_size() == 0:
            raise MDFError(path, name, "was never written", "the recording holds no data")
        return cls(
            str(Path(path).absolute()),
            name,
            tuple(int(n) for n in shape),
            np.dtype(dtype),
            offset,
            stamp,
            pairs,
        )

    def with_axis(self, position: int) -> StoredArray:
        """The same data with an axis of length one at ``position``."""
        shape = (*self.shape[:position], 1, *self.shape[position:])
        return replace(self, shape=shape, inserted=position)

    def read(self, index: Index) -> np.ndarray:
        """The part ``index`` in native byte order. Raises MDFError if the file is gone, changed or too large."""
        require_memory(self, index)
        try:
            changed = _stamp(self.path) != self.stamp
        except OSError as error:
            raise MDFError(
                self.path, None, f"is gone ({error})", "put the file back, or open it elsewhere"
            ) from error
        if changed:
            raise MDFError(self.path, None, "has changed since it was opened", "open it again")
        if self.offset is None:
            if self.inserted is None:
                values = self._read_chunks(index, self.shape)
            else:
                at = self.inserted
                shape = self.shape[:at] + self.shape[at + 1 :]
                values = np.expand_dims(self._read_chunks(index[:at] + index[at + 1 :], shape), at)
        else:
            try:
                mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
            except (OSError, ValueError) as error:
                raise MDFError(
                    self.path, self.name, f"cannot be mapped ({error})", "the file changed"
                ) from error
            fancy = sum(not isinstance(part, slice) for part in index)
            outer = (
                index
                if fancy <= 1
                else np.ix_(*(positions(p, n) for p, n in zip(index, self.shape, strict=True)))
            )
            part = mapped[outer]
            values = np.array(part) if fancy == 0 else np.asarray(part)  # an index array has copied already
        native = self.dtype.newbyteorder("=")
        return values if values.dtype == native else values.astype(native)

    def _read_chunks(self, index: Index, full: tuple[int, ...]) -> np.ndarray:
        """HDF5 selections of many single indices are slow, so whole runs within a chunk are read and picked from."""
        with hdf5(self.path) as file:
            dataset = file[self.name]
            axis = next((a for a, part in enumerate(index) if not isinstance(part, slice)), None)
            if axis is None:
                return self._as_complex(dataset[index])
            wanted = positions(index[axis], full[axis])
            chunk = (dataset.chunks or full)[axis]
            spans = [part if isinstance(part, slice) else slice(part.min(), part.max() + 1) for part in index]
            shape = [len(positions(part, n)) for part, n in zip(index, full, strict=True)]
            out = np.empty(shape, self.dtype)
            for block in np.unique(wanted // chunk):
                hits = np.flatnonzero(wanted // chunk == block)
                low = wanted[hits].min()
                spans[axis] = slice(low, wanted[hits].max() + 1)
                part = np.take(self._as_complex(dataset[tuple(spans)]), wanted[hits] - low, axis)
                for other, key in enumerate(index):
                    if other != axis and not isinstance(key, slice):
                        part = np.take(part, key - key.min(), other)
                out[(slice(None),) * axis + (hits,)] = part
            return out

    def _as_complex(self, values: np.ndarray) -> np.ndarray:
        if self.dtype.kind != "c" or values.dtype.kind == "c":
            return values
        values = np.ascontiguousarray(values).view(self.dtype)
        return values[..., 0] if self.pairs else values


def _stamp(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def positions(part: slice | np.ndarray, length: int) -> np.ndarray:
    """The positions that a slice or an index array selects from an axis of ``length``."""
    return np.arange(length)[part] if isinstance(part, slice) else np.asarray(part)


def require_memory(source: Source | StoredArray, index: Index) -> None:
    """Raise MDFError, before asking for it, if a read would need more memory than the machine has."""
    counts = [len(positions(part, n)) for part, n in zip(index, source.shape, strict=True)]
    need = int(np.prod(counts, dtype=object)) * source.dtype.itemsize
    if hasattr(os, "sysconf") and need > (have := os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")):
        raise MDFError(
            getattr(source, "path", "array"),
            getattr(source, "name", None),
            f"reading {counts} values needs {need / 2**30:.1f} GiB, the machine has {have / 2**30:.1f} GiB",
            "select fewer rows or frames",
        )


def _refuse_foreign(dataset: h5py.Dataset, path: str) -> None:
    if dataset.is_virtual or dataset.external:
        kind = "a virtual dataset" if dataset.is_virtual else "stored in another file"
        raise MDFError(dataset.file.filename, path, f"is {kind}", "copy the data into this file")


def _complex_dtype(dtype: np.dtype) -> np.dtype | None:
    """The complex type of a compound (real, imag) or (r, i); h5py itself maps the latter already."""
    if dtype.names is None or len(dtype.names) != 2 or dtype.names not in (("r", "i"), ("real", "imag")):
        return None
    first, second = (dtype[name] for name in dtype.names)
    if first != second or first.kind != "f" or dtype.itemsize != 2 * first.itemsize or first.itemsize < 4:
        return None
    return np.dtype(f"{first.byteorder}c{dtype.itemsize}")


def _plain(values: Any) -> Any:
    if isinstance(values, bytes):
        return values.decode("utf-8", "replace")
    if isinstance(values, h5py.Empty):
        return None
    if isinstance(values, np.ndarray) and values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", "replace").astype(object)
    return values
