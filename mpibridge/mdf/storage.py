"""Arrays that stay in the file: described when it is opened, read in parts, through a memory map where that can be."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np

from mpibridge.errors import MDFError
from mpibridge.mdf.tree import complex_dtype, hdf5, refuse_foreign

Index = tuple[slice | np.ndarray, ...]


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
        refuse_foreign(dataset, name)
        dtype = complex_dtype(dataset.dtype) or dataset.dtype
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
