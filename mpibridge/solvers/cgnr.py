"""Conjugate gradients on the normal equations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mpibridge.errors import SettingsError
from mpibridge.solvers.arguments import check_count, check_weight
from mpibridge.solvers.iterate import Callback
from mpibridge.solvers.least_squares import LeastSquares, check_terms, inner, norms, ratio, select
from mpibridge.solvers.normalization import Normalization
from mpibridge.solvers.prox import L2, projection


def cgnr(
    matrix: Any,
    data: Any,
    *,
    terms: Sequence[L2] = (),
    iterations: int = 10,
    normalization: Normalization = "system_matrix",
    real: bool = True,
    positive: bool = True,
    relative_tolerance: float | None = None,
    callback: Callback | None = None,
) -> Any:
    """Solve (AᴴA + λI) x = Aᴴb by conjugate gradients, and project **once, at the end**, as MPIReco does.

    matrix: (row, voxel), NumPy (dense or CSR) or torch; data: (frame, row) or (row,), same dtype. Returns
    (frame, voxel) or (voxel,) of the same kind, real if `real`. terms: at most one L2(λ), relative to the
    normalization. iterations: at most this many, and at most the number of voxels. relative_tolerance: a frame
    stops at ‖r‖ ≤ tolerance·‖Aᴴb‖ (None: machine epsilon). callback: gets unprojected iterates.
    Raises ShapeError or SettingsError for arguments that do not fit.
    Source: RegularizedLeastSquares.jl `CGNR.jl` (mpireco.md §3.10).
    """
    check_count("iterations", iterations)
    check_terms("cgnr", terms, "at most one L2", range(2))
    if any(not isinstance(t, L2) for t in terms):
        raise SettingsError(f"cgnr got terms {tuple(terms)}; it knows L2 only, use fista or admm for others")
    problem = LeastSquares.checked(matrix, data, real=real)
    tolerance = problem.eps if relative_tolerance is None else relative_tolerance
    check_weight("relative_tolerance", tolerance)
    weights = problem.weights(terms, normalization)
    penalty = weights[0] if weights else 0.0
    xp = problem.xp
    rest = problem.adjoint(problem.data)
    x, direction, start = xp.zeros_like(rest), rest, norms(rest)
    for iteration in range(1, min(iterations, matrix.shape[1]) + 1):
        active = norms(rest) > tolerance * start
        if not bool(xp.any(active)):
            break
        image = problem.normal(direction)
        energy = inner(rest, rest)
        length = ratio(energy, inner(direction, image) + penalty * inner(direction, direction))
        x = select(active, x + length * direction, x)
        following = rest - length * (image + penalty * direction)
        rest = select(active, following, rest)
        direction = select(active, rest + ratio(inner(rest, rest), energy) * direction, direction)
        problem.show(callback, iteration, x)
    return problem.result(projection(real, positive)(x))
