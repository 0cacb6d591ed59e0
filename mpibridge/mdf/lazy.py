"""Arrays that are read only where they are looked at: labelled axes over one stored array.

`LazyArray` is xarray's backend array; `SparseRows` and `Spectra` are sources that undo a sparsity transform and
take a Fourier transform on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from mpibridge.errors import MDFError
from mpibridge.mdf.storage import Index, Source, StoredArray, positions, require_memory
from mpibridge.transforms import grid_transform


class LazyArray(BackendArray):
    """``source`` with its axes in another order and, as the last axes, one of its axes spread over a grid.

    axes: for every leading axis of the result the axis of ``source`` it runs along. ``table``, an integer array,
    lists the positions along ``table_axis`` of ``source`` that make the last axes (the frames of a calibration on
    z, y, x). Axes of ``source`` that are not named are read at position 0.
    """

    def __init__(
        self, source: Source, axes: tuple[int, ...], table: np.ndarray | None = None, table_axis: int = -1
    ) -> None:
        self.source, self.axes, self.table, self.table_axis = source, axes, table, table_axis
        self.shape = tuple(source.shape[a] for a in axes) + (() if table is None else table.shape)
        self.dtype = source.dtype.newbyteorder("=")

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._outer
        )

    def _outer(self, key: tuple[int | slice | np.ndarray, ...]) -> np.ndarray:
        parts = [
            positions(slice(k, k + 1) if isinstance(k, int | np.integer) else k, n)
            for k, n in zip(key, self.shape, strict=True)
        ]
        index: list[slice | np.ndarray] = [slice(0, 1)] * len(self.source.shape)
        for axis, part in zip(self.axes, parts, strict=False):
            index[axis] = as_slice(part)
        order = list(self.axes)
        if self.table is not None:
            index[self.table_axis] = as_slice(self.table[np.ix_(*parts[len(self.axes) :])].ravel())
            order.append(self.table_axis)
        order += [axis for axis in range(len(index)) if axis not in order]
        block = self.source.read(tuple(index)).transpose(order).reshape([len(part) for part in parts])
        return block[tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in key)]


def as_slice(index: np.ndarray) -> slice | np.ndarray:
    """``index`` as a slice where it is an increasing run with one step: reading a slice copies once."""
    if len(index) == 0:
        return slice(0, 0)
    if len(index) == 1:
        return slice(int(index[0]), int(index[0]) + 1)
    step = int(index[1] - index[0])
    if step > 0 and np.array_equal(index, np.arange(index[0], index[0] + step * len(index), step)):
        return slice(int(index[0]), int(index[-1]) + 1, step)
    return index


@dataclass(frozen=True)
class Converted:
    """Integer samples of ``stored`` times a slope plus an offset per receiver, as float32 (not applied to spectra)."""

    stored: StoredArray
    receiver_axis: int
    factors: np.ndarray | None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32)

    def read(self, index: Index) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is infinite
            values = self.stored.read(index).astype(np.float32)
            if self.factors is None:
                return values
            a, b = self.factors[positions(index[self.receiver_axis], self.shape[self.receiver_axis])].T
            shape = [1] * values.ndim
            shape[self.receiver_axis] = -1
            return (values * a.reshape(shape) + b.reshape(shape)).astype(np.float32)


@dataclass(frozen=True)
class Spectra:
    """One-sided unnormalised Fourier transform of ``samples`` along ``axis``: complex64, V // 2 + 1 bins."""

    samples: Converted
    axis: int

    @property
    def shape(self) -> tuple[int, ...]:
        shape = list(self.samples.shape)
        shape[self.axis] = shape[self.axis] // 2 + 1
        return tuple(shape)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.complex64)

    def read(self, index: Index) -> np.ndarray:
        every = (*index[: self.axis], slice(None), *index[self.axis + 1 :])
        spectra = np.fft.rfft(self.samples.read(every), axis=self.axis).astype(np.complex64)
        return spectra[(slice(None),) * self.axis + (index[self.axis],)]


@dataclass(frozen=True)
class SparseRows:
    """System-matrix rows stored as the largest coefficients of a transform: scattered, transformed back.

    stored (J, C, K, B + E): coefficients, then background frames. indices (J, C, K, B): 1-based positions.
    Shape (J, C, K, O). Source: MDF 2.1 `/measurement/subsamplingIndices`; ũ = Γû, û = Γᴴũ.
    """

    stored: StoredArray
    indices: StoredArray
    grid_shape: tuple[int, int, int]
    transform: str

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return *self.stored.shape[:3], int(np.prod(self.grid_shape))

    @property
    def dtype(self) -> np.dtype:
        return np.result_type(self.stored.dtype, np.complex64)

    def read(self, index: Index) -> np.ndarray:
        require_memory(self, index)
        rows, n_kept = index[:3], self.indices.shape[3]
        kept = self.stored.read((*rows, slice(0, n_kept)))
        where = self.indices.read((*rows, slice(None)))
        if where.size and (where.min() < 1 or where.max() > self.shape[3]):
            found = f"runs from {where.min()} to {where.max()}"
            raise MDFError(self.indices.path, self.indices.name, found, f"1 to {self.shape[3]} is allowed")
        voxels = np.zeros((*kept.shape[:3], self.shape[3]), self.dtype)
        np.put_along_axis(voxels, where.astype(np.int64) - 1, kept, axis=3)
        dense = grid_transform(self.transform).inverse(voxels.reshape(*kept.shape[:3], *self.grid_shape))
        return dense.reshape(voxels.shape)[..., index[3]]
