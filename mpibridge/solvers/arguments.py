"""Checks of what every solver is given."""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_numpy_array, is_torch_array

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.solvers.normalization import is_sparse

_DTYPES = ("float32", "float64", "complex64", "complex128")


def _dtype_name(array: Any) -> str:
    return str(array.dtype).removeprefix("torch.")


def check_matrix(matrix: Any) -> None:
    """Raises ShapeError or SettingsError unless matrix is (row, voxel), of a float dtype, and not empty."""
    if not (is_sparse(matrix) or is_numpy_array(matrix) or is_torch_array(matrix)):
        raise SettingsError(
            f"matrix is a {type(matrix).__name__}; pass a NumPy array, a torch tensor or a scipy.sparse CSR matrix"
        )
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ShapeError(f"matrix has shape {tuple(matrix.shape)}; pass (row, voxel), at least one of each")
    if _dtype_name(matrix) not in _DTYPES:
        raise SettingsError(f"matrix is {_dtype_name(matrix)}; convert it to one of {', '.join(_DTYPES)}")


def check_energies(matrix: Any, energies: Any) -> None:
    """Raises SettingsError for NaN, infinity or overflow in the rows, seen in their squared norms (row,)."""
    xp = array_namespace(energies)
    bad = xp.nonzero(~xp.isfinite(energies))[0]
    if bad.shape[0]:
        raise SettingsError(
            f"matrix row {int(bad[0])} ({bad.shape[0]} rows in all) has NaN, infinite or overflowing entries; "
            "drop these rows from matrix and data"
        )
    limit = 1e-32 if _dtype_name(matrix) in ("float32", "complex64") else 1e-290
    largest = float(xp.max(energies))
    values = matrix.data if is_sparse(matrix) else matrix
    if largest < limit and bool((values != 0).any()):
        raise SettingsError(
            f"matrix rows have squared norms up to {largest:.1e}, too small for {_dtype_name(matrix)}; "
            "multiply matrix and data by the same large number"
        )


def check_data(matrix: Any, data: Any) -> tuple[Any, bool]:
    """Data as (frame, row), and whether it came as one frame (row,).

    Raises ShapeError if the rows differ, SettingsError for another dtype than the matrix's, another kind of
    array, NaN or infinity.
    """
    same_kind = is_torch_array(data) if is_torch_array(matrix) else is_numpy_array(data)
    if not same_kind:
        raise SettingsError(
            f"matrix is a {type(matrix).__name__}, data a {type(data).__name__}; pass both as the same kind"
        )
    if data.ndim not in (1, 2) or data.shape[-1] != matrix.shape[0]:
        raise ShapeError(
            f"data has shape {tuple(data.shape)}, the matrix {tuple(matrix.shape)}; pass data as (frame, row) or (row,) "
            f"with {matrix.shape[0]} rows"
        )
    if _dtype_name(data) != _dtype_name(matrix):
        raise SettingsError(
            f"data is {_dtype_name(data)}, the matrix {_dtype_name(matrix)}; convert one to the other's dtype"
        )
    xp = array_namespace(data)
    single = data.ndim == 1
    frames = data[None] if single else data
    if not bool(xp.all(xp.isfinite(frames))):
        bad = xp.nonzero(~xp.isfinite(frames))
        raise SettingsError(
            f"data has NaN or infinity at frame {int(bad[0][0])}, row {int(bad[1][0])}; drop that row"
        )
    return frames, single


def check_count(name: str, value: int) -> int:
    """Raises SettingsError unless value is a whole number ≥ 0."""
    if isinstance(value, bool) or int(value) != value or value < 0:
        raise SettingsError(f"{name} is {value}; pass a whole number ≥ 0")
    return int(value)


def check_weight(name: str, value: Any) -> None:
    """Raises SettingsError unless every entry of value is finite and ≥ 0."""
    array = np.asarray(value, np.float64)
    if not bool(np.all(np.isfinite(array) & (array >= 0))):
        raise SettingsError(f"{name} is {value}; pass finite numbers ≥ 0")


def real_dtype(xp: Any, dtype: Any) -> Any:
    """float32 for complex64, float64 for complex128, the dtype itself if it is real."""
    return xp.real(xp.zeros(1, dtype=dtype)).dtype if xp.isdtype(dtype, "complex floating") else dtype
