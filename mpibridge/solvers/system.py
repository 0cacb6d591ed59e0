"""A system matrix prepared for many Kaczmarz reconstructions."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from array_api_compat import is_numpy_array, is_torch_array

from mpibridge.errors import SettingsError
from mpibridge.solvers.arguments import check_energies, check_matrix
from mpibridge.solvers.normalization import is_sparse, row_energies

_BLOCK = 128  # rows per matrix product: wide enough for BLAS, small beside the voxels
_CACHE = 2_000_000  # bytes of a block that one sweep of one frame reads twice: what two cores' caches hold


@dataclass(frozen=True, eq=False)
class BlockSystem:
    """System matrix with what depends on it alone; `prepare` makes one, the solvers take it for the matrix.

    matrix: (row, voxel), not copied: do not change it afterwards. energies: (row,) squared row norms, float64.
    block: rows per matrix product. The Gram triangles of the blocks are computed when a solve first needs them
    and kept (a benign race if two threads are the first: both compute the same).
    """

    matrix: Any
    energies: Any
    block: int
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(row, voxel)."""
        return int(self.matrix.shape[0]), int(self.matrix.shape[1])

    @property
    def dtype(self) -> Any:
        """The matrix's dtype."""
        return self.matrix.dtype

    @property
    def scale(self) -> Any:
        """1/‖a_m‖ of every row, (row,), float64; 0 for rows of zeros, which the sweep skips."""
        if is_torch_array(self.energies):
            return self.energies.rsqrt().masked_fill(self.energies == 0, 0.0)
        used = self.energies > 0
        return np.where(used, 1 / np.sqrt(np.where(used, self.energies, 1)), 0.0)

    def row_grams(self) -> np.ndarray:
        """Gram triangles for `sweeps.dense_sweep`, (row, 2, block), in blocks that fit into the cache."""
        if "rows" not in self._kept:
            from mpibridge.solvers.sweeps import strict_grams

            fitting = _CACHE // (self.shape[1] * self.matrix.itemsize) // 4 * 4
            block = int(np.clip(fitting, 4, 48))
            self._kept["rows"] = strict_grams(real_view(self.matrix), self.scale, block)
        return self._kept["rows"]

    def block_grams(self) -> Any:
        """Strict lower Gram triangles of normalised rows, one torch tensor (row, row) per block."""
        if "blocks" not in self._kept:
            matrix, scale = as_tensor(self.matrix), as_tensor(self.scale)
            pieces = zip(matrix.split(self.block), scale.to(matrix.real.dtype).split(self.block), strict=True)
            self._kept["blocks"] = [((rows * s[:, None]) @ rows.mH * s).tril(-1) for rows, s in pieces]
        return self._kept["blocks"]


def real_view(matrix: np.ndarray) -> np.ndarray:
    """A C-contiguous complex (row, voxel) matrix as real (row, 2·voxel) pairs, without a copy."""
    return matrix.view(matrix.real.dtype)


def as_tensor(array: Any) -> Any:
    """A torch tensor that shares the memory of a NumPy array; a tensor as it is."""
    if is_torch_array(array):
        return array
    import torch

    with warnings.catch_warnings():
        # torch warns of arrays that may not be written to; the solvers write to none of their arguments
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def prepare(matrix: Any, *, block: int | None = None, device: Any = None) -> BlockSystem:
    """A system matrix ready for `kaczmarz` and `block_kaczmarz`.

    matrix: (row, voxel), NumPy array, torch tensor or scipy.sparse CSR; float32, float64, complex64 or
    complex128. block: rows per matrix product (None: 128); any number gives the same image to rounding.
    device: torch device to move the matrix to (None: where it is). Raises ShapeError or SettingsError for a
    matrix of another kind, with NaN, infinity or entries whose squares leave the dtype's range.
    """
    check_matrix(matrix)
    if block is not None and block < 1:
        raise SettingsError(f"block is {block}; pass at least 1 row, or None")
    if device is not None:
        if is_sparse(matrix):
            raise SettingsError(
                f"device is {device!r}, but a sparse matrix is solved on the CPU; pass device=None"
            )
        matrix = as_tensor(matrix).to(device)
    if is_numpy_array(matrix):
        matrix = np.ascontiguousarray(matrix)
    energies = row_energies(matrix)
    check_energies(matrix, energies)
    return BlockSystem(matrix=matrix, energies=energies, block=block or _BLOCK)
