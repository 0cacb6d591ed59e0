"""Regularised Kaczmarz as MPIReco.jl runs it, in the form that is fastest for the arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array, is_torch_array

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.solvers.arguments import check_count, check_data, check_weight
from mpibridge.solvers.iterate import Callback, Iterate
from mpibridge.solvers.normalization import Normalization, is_sparse, normalization_factor
from mpibridge.solvers.prox import L1, projection
from mpibridge.solvers.system import BlockSystem, as_tensor, prepare

Transform = tuple[Callable[[Any], Any], Callable[[Any], Any]]

_FEW = 3  # frames swept one by one; an estimate: matrix products are slow for one column, quick for twenty


def kaczmarz(
    matrix: Any,
    data: Any,
    *,
    iterations: int = 10,
    regularization: Any = 0.0,
    normalization: Normalization = "system_matrix",
    real: bool = True,
    positive: bool = True,
    l1: float = 0.0,
    transform: Transform | None = None,
    scale: float | None = None,
    callback: Callback | None = None,
) -> np.ndarray:
    """Images of regularised Kaczmarz sweeps, row by row in the given order, frames independent of each other.

    matrix: (row, voxel) NumPy array or scipy.sparse CSR, complex64, complex128, float32 or float64; or a
    `BlockSystem` from `prepare`, which saves its preparation in repeated calls. data: (frame, row) or (row,),
    same dtype. Returns (frame, voxel) or (voxel,), real if `real`, in the precision of the matrix.

    iterations: sweeps. regularization: λ ≥ 0 of ‖Ax − b‖² + λ‖x‖², or (voxel,) > 0 for diagonal Tikhonov, where
    the projections act on √λ·x. normalization: what λ and l1 are relative to (`normalization_factor`); scale:
    the factor itself, in place of the normalization's (multi-patch operators, mpireco.md §4.6). real, positive:
    projections after every sweep; positive needs real and does nothing without it. l1: soft threshold after
    the projections. transform: (forward, inverse) between coefficients and voxels, on (frame, …) arrays of the
    kind of the data: projections act on forward(x), which is also what is returned (§3.12). callback: gets an
    `Iterate` after every sweep; what it raises ends the solve.

    Rows of zeros are skipped. The auxiliary vector v is neither projected nor reset, so with positivity the
    limit is not the non-negative Tikhonov solution, as in MPIReco.jl. Dense complex matrices with few frames
    are swept by rows in Numba, others as matrix products; the iterates agree up to rounding.

    Raises ShapeError if shapes differ, SettingsError for other dtypes, NaN or infinity, and negative settings.
    Source: RegularizedLeastSquares.jl `Kaczmarz.jl` (mpireco.md §3.8, §3.9).
    """
    system = matrix if isinstance(matrix, BlockSystem) else prepare(matrix)
    return solve(
        system,
        data,
        iterations=iterations,
        regularization=regularization,
        normalization=normalization,
        real=real,
        positive=positive,
        l1=l1,
        transform=transform,
        scale=scale,
        callback=callback,
    )


def solve(
    system: BlockSystem,
    data: Any,
    *,
    iterations: int,
    regularization: Any,
    normalization: Normalization,
    real: bool,
    positive: bool,
    l1: float,
    transform: Transform | None,
    scale: float | None,
    callback: Callback | None,
    form: str | None = None,
) -> Any:
    """What `kaczmarz` and `block_kaczmarz` share; form "block" forces matrix products. Arguments as there."""
    check_count("iterations", iterations)
    for name, value in (
        ("regularization", regularization),
        ("l1", l1),
        ("scale", 1.0 if scale is None else scale),
    ):
        check_weight(name, value)
    host = is_numpy_array(data)
    if host and is_torch_array(system.matrix):
        data = as_tensor(data).to(system.matrix.device)
    data, single = check_data(system.matrix, data)
    factor = scale
    if factor is None:
        factor = normalization_factor(system.matrix, data, normalization, energies=system.energies)
    columns = None
    if np.ndim(regularization):
        system, columns = _diagonal_tikhonov(system, regularization, factor)
        penalty = _per_frame(data, 1.0)
    else:
        penalty = _per_frame(data, float(regularization) * factor)
    state = _state(system, data, penalty, form)
    threshold = _per_frame(data, l1 * factor)[:, None] if l1 else None
    forward, inverse = transform or (None, None)
    onto = projection(real, positive)

    def project(x: Any) -> Any:
        x = onto(forward(x) if forward else x)
        if threshold is not None:
            xp = array_namespace(x)
            x = L1(l1).prox(x, xp.astype(xp.asarray(threshold), xp.real(x).dtype))
        return inverse(x) if inverse else x

    def image(x: Any) -> Any:
        x = forward(x) if forward else x
        xp = array_namespace(x)
        x = xp.real(x) if real and xp.isdtype(x.dtype, "complex floating") else x
        return x if columns is None else x * columns

    # A transform sees arrays of the kind of the data; without one the images stay where they are computed.
    moved = host and is_torch_array(state.solution)
    for iteration in range(1, iterations + 1):
        state.sweep()
        if transform is not None and moved:
            state.solution = as_tensor(project(_numpy(state.solution))).to(state.solution.device)
        elif real or l1 or transform is not None:
            state.solution = project(state.solution)
        if callback is not None:
            x = _copy(state.solution)
            shown = image(_numpy(x) if moved else x)
            dual = state.total * _like(state.total, system.scale) * _like(state.total, penalty**0.5)[:, None]
            rest = partial(_residual, system, x, data, host)
            callback(Iterate(iteration, shown, _numpy(dual) if moved else dual, rest))
    x = image(_numpy(state.solution) if moved else state.solution)
    x = _copy(x)
    return x[0] if single else x


def _state(system: BlockSystem, data: Any, penalty: Any, form: str | None) -> Any:
    """The form of the sweep for this matrix and number of frames."""
    if is_sparse(system.matrix):
        from mpibridge.solvers.row_sweep import SparseSweep

        return SparseSweep(system, data, penalty)
    complex_rows = is_numpy_array(system.matrix) and np.iscomplexobj(system.matrix)
    if form is None and complex_rows and len(data) <= _FEW:
        from mpibridge.solvers.row_sweep import RowSweep

        return RowSweep(system, data, penalty)
    from mpibridge.solvers.block_kaczmarz import BlockSweep

    return BlockSweep(system, as_tensor(data), as_tensor(penalty))


def _diagonal_tikhonov(system: BlockSystem, weights: Any, factor: Any) -> tuple[BlockSystem, Any]:
    """The system in √λ·x, and the (voxel,) factor that turns its images back (§3.9)."""
    n_voxels = system.shape[1]
    weights = np.asarray(weights.cpu() if is_torch_array(weights) else weights, np.float64)
    if weights.shape != (n_voxels,):
        raise ShapeError(
            f"regularization has shape {weights.shape}; pass a number or ({n_voxels},), one per voxel"
        )
    if not isinstance(factor, float) or not (weights > 0).all() or factor <= 0:
        raise SettingsError(
            "regularization per voxel needs weights > 0 and one factor for all frames; the smallest weight is "
            f'{weights.min()}; use normalization="system_matrix" or None'
        )
    columns = 1 / np.sqrt(weights * factor)
    if is_sparse(system.matrix):
        scaled = system.matrix.multiply(columns).tocsr().astype(system.dtype)
        return prepare(scaled, block=system.block), columns.astype(scaled.real.dtype)
    turned = _like(system.matrix, columns)
    return prepare(system.matrix * turned, block=system.block), turned


def _per_frame(data: Any, value: Any) -> Any:
    """(frame,) float64 of a number or of one number per frame, beside the data."""
    xp = array_namespace(data)
    return xp.zeros(data.shape[0], dtype=xp.float64, device=device(data)) + value


def _like(array: Any, values: Any) -> Any:
    """Values in the real precision and on the device of an array."""
    xp = array_namespace(array)
    dtype = array.real.dtype
    return xp.astype(xp.asarray(values, device=device(array)), dtype)


def _numpy(x: Any) -> Any:
    return x.numpy(force=True)


def _copy(x: Any) -> Any:
    """A copy with the voxels contiguous."""
    return np.array(x, order="C") if is_numpy_array(x) else x.clone(memory_format=_contiguous())


def _contiguous() -> Any:
    import torch

    return torch.contiguous_format


def _residual(system: BlockSystem, x: Any, data: Any, host: bool) -> Any:
    """‖A x − b‖ per frame, (frame,)."""
    matrix = as_tensor(system.matrix) if is_torch_array(x) else system.matrix
    target = as_tensor(data) if is_torch_array(x) else data
    rest = matrix @ x.T - target.T
    norm = array_namespace(rest).linalg.vector_norm(rest, axis=0)
    return _numpy(norm) if host and is_torch_array(norm) else norm
