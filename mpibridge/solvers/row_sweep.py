"""Images and auxiliary variables of a Kaczmarz solve that goes through the rows with Numba."""

from __future__ import annotations

import numpy as np

from mpibridge.solvers.system import BlockSystem, real_view

_SMALL = 100_000  # matrix entries below which synchronising threads should cost more than it saves (estimate)


class RowSweep:
    """A few frames on a dense complex NumPy matrix, one frame after another, each on all cores."""

    def __init__(self, system: BlockSystem, data: np.ndarray, penalty: np.ndarray) -> None:
        """system: (row, voxel); data: (frame, row); penalty: (frame,) λ, float64."""
        import numba

        self._rows, self._grams, self._scale = real_view(system.matrix), system.row_grams(), system.scale
        self._data = (self._scale * data).astype(data.dtype)
        self._penalty = penalty
        self.total = np.zeros_like(self._data)
        self._dtype = system.matrix.dtype
        self._straight = np.zeros((len(data), self._rows.shape[1]), self._rows.dtype)
        self._crossed = np.zeros_like(self._straight)
        self._chunks = 1 if system.matrix.size < _SMALL else numba.get_num_threads()

    def sweep(self) -> None:
        """All rows once."""
        from mpibridge.solvers.sweeps import dense_sweep

        for f, penalty in enumerate(self._penalty):
            dense_sweep(
                self._rows, self._grams, self._scale, self._data[f], penalty, self.total[f],
                self._straight[f], self._crossed[f], self._chunks,
            )  # fmt: skip

    @property
    def solution(self) -> np.ndarray:
        """(frame, voxel) complex."""
        return self._straight.view(self._dtype).conj()

    @solution.setter
    def solution(self, value: np.ndarray) -> None:
        self._straight.view(self._dtype)[...] = np.conj(value)
        self._crossed.view(self._dtype)[...] = 1j * np.conj(value)


class SparseSweep:
    """Any number of frames on a scipy.sparse CSR matrix, the frames shared among the cores."""

    def __init__(self, system: BlockSystem, data: np.ndarray, penalty: np.ndarray) -> None:
        """system: (row, voxel); data: (frame, row); penalty: (frame,) λ, float64."""
        self._matrix, self._scale, self._penalty = system.matrix, system.scale, penalty
        self._data = (self._scale * data).astype(data.dtype)
        self.total = np.zeros_like(self._data)
        self.solution = np.zeros((len(data), system.shape[1]), data.dtype)

    def sweep(self) -> None:
        """All rows once."""
        from mpibridge.solvers.sweeps import sparse_sweep

        m = self._matrix
        sparse_sweep(
            m.indptr, m.indices, m.data, self._scale, self._data, self._penalty, self.total, self.solution
        )
