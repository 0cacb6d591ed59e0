"""Scaling of λ: what a relative regularisation weight is multiplied by (mpireco.md §3.8)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import numpy as np
from array_api_compat import array_namespace, is_torch_array

from mpibridge.errors import SettingsError

Normalization = Literal["system_matrix", "measurement"] | None


def is_sparse(matrix: Any) -> bool:
    """Is this a scipy.sparse CSR matrix or array? Answered without importing scipy."""
    return getattr(matrix, "format", None) == "csr"


def row_energies(matrix: Any) -> Any:
    """Squared norm ‖a_m‖² of every row, (row,), float64, on the device of the matrix.

    matrix: (row, voxel) NumPy array, torch tensor or scipy.sparse CSR; any real or complex float dtype.
    """
    if is_torch_array(matrix):
        import torch

        # vector_norm walks the matrix once without a temporary of its size
        return torch.linalg.vector_norm(matrix, dim=1).double().square()
    if is_sparse(matrix):
        starts, values = matrix.indptr, matrix.data
        pieces = (values[lo:hi] for lo, hi in pairwise(starts))
        return np.array([np.vdot(row, row).real for row in pieces], np.float64)
    # one dot product per row: BLAS speed, no temporary
    return np.array([np.vdot(row, row).real for row in matrix], np.float64)


def normalization_factor(matrix: Any, data: Any, kind: Normalization, *, energies: Any = None) -> Any:
    """Factor that turns the relative weight into the one the solver uses.

    matrix: (row, voxel); data: (frame, row), or whatever the solver averages. energies: (row,) squared row
    norms if they are known already. Returns a float for "system_matrix", ‖A‖_F² / voxels, and for None, 1;
    a (frame,) array for "measurement", mean |b| of every frame. Raises SettingsError for another kind.
    Source: RegularizedLeastSquares.jl `NormalizedRegularization.jl`.
    """
    if kind is None:
        return 1.0
    if kind == "system_matrix":
        energies = row_energies(matrix) if energies is None else energies
        return float(energies.sum()) / matrix.shape[1]
    if kind == "measurement":
        xp = array_namespace(data)
        return xp.mean(xp.abs(data), axis=1)
    raise SettingsError(f'normalization is {kind!r}; choose "system_matrix", "measurement" or None')
