"""Accelerated proximal gradients: FISTA and POGM.

Both minimise ½‖Ax − b‖² + λR(x). With R = L2 that is (AᴴA + 2λI) x = Aᴴb: the same λ regularises twice as
strongly as in Kaczmarz and CGNR. Source: RegularizedLeastSquares.jl `FISTA.jl`, `POGM.jl` (mpireco.md §3.10).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from mpibridge.errors import SettingsError
from mpibridge.solvers.arguments import check_count, check_weight
from mpibridge.solvers.iterate import Callback
from mpibridge.solvers.least_squares import LeastSquares, check_terms, inner, norms, select
from mpibridge.solvers.normalization import Normalization
from mpibridge.solvers.prox import L1, L2, TV, projection

Term = L1 | L2 | TV
Restart = Literal["gradient"] | None


def fista(
    matrix: Any,
    data: Any,
    *,
    terms: Sequence[Term],
    iterations: int = 50,
    rho: float | None = None,
    restart: Restart = None,
    normalization: Normalization = "system_matrix",
    real: bool = True,
    positive: bool = True,
    relative_tolerance: float | None = None,
    generator: np.random.Generator | None = None,
    callback: Callback | None = None,
) -> Any:
    """Fast iterative shrinkage (Beck and Teboulle 2009); projections in every iteration, after the prox.

    matrix: (row, voxel), NumPy (dense or CSR) or torch; data: (frame, row) or (row,), same dtype. Returns
    (frame, voxel) or (voxel,) of the same kind, real if `real`. terms: exactly one of L1, L2, TV, its weight
    relative to the normalization ("measurement" averages |Aᴴb| here). rho: step size; None: 0.95 / largest
    eigenvalue of AᴴA by power iteration, started from `generator` or, if None, always alike. restart:
    "gradient" resets the momentum of a frame where it points uphill. relative_tolerance: a frame stops when
    ‖AᴴA y − Aᴴb‖ < tolerance·‖Aᴴb‖ (None: machine epsilon).
    Raises ShapeError or SettingsError for arguments that do not fit.
    """
    check_count("iterations", iterations)
    check_terms("fista", terms, "exactly one of L1, L2, TV", range(1, 2))
    _check_restart(restart)
    problem = LeastSquares.checked(matrix, data, real=real)
    step, tolerance = problem.step(rho, generator), _tolerance(problem, relative_tolerance)
    onto, xp = projection(real, positive), problem.xp
    target = problem.adjoint(problem.data)
    weight = problem.weights(terms, normalization, target)[0]
    size = norms(target)
    x = before = xp.zeros_like(target)
    theta = theta_before = xp.ones_like(size)[:, None]
    active = size > 0  # a frame of zeros is solved
    for iteration in range(1, iterations + 1):
        y = x + (theta_before - 1) / theta * (x - before)
        rest = problem.normal(y) - target
        new = onto(terms[0].prox(y - step * rest, step * weight))
        before, x = select(active, x, before), select(active, new, x)
        if restart == "gradient":
            theta = xp.where(inner(rest, x - before) > 0, xp.ones_like(theta), theta)
        theta_before, theta = theta, (1 + xp.sqrt(1 + 4 * theta**2)) / 2
        problem.show(callback, iteration, x)
        active = active & (norms(rest) >= tolerance * size)
        if not bool(xp.any(active)):
            break
    return problem.result(x)


def pogm(
    matrix: Any,
    data: Any,
    *,
    terms: Sequence[Term],
    iterations: int = 50,
    rho: float | None = None,
    restart: Restart = None,
    normalization: Normalization = "system_matrix",
    real: bool = True,
    positive: bool = True,
    relative_tolerance: float | None = None,
    generator: np.random.Generator | None = None,
    callback: Callback | None = None,
) -> Any:
    """Proximal optimised gradients (Taylor, Hendrickx and Glineur 2017); arguments as in `fista`.

    With restart="gradient" (Kim and Fessler 2018) the last iteration takes the longer momentum. The residual
    that stops a frame is the one at x.
    """
    check_count("iterations", iterations)
    check_terms("pogm", terms, "exactly one of L1, L2, TV", range(1, 2))
    _check_restart(restart)
    problem = LeastSquares.checked(matrix, data, real=real)
    step, tolerance = problem.step(rho, generator), _tolerance(problem, relative_tolerance)
    onto, xp = projection(real, positive), problem.xp
    target = problem.adjoint(problem.data)
    weight = problem.weights(terms, normalization, target)[0]
    size = norms(target)
    x = z = h = w = xp.zeros_like(target)
    theta = gamma = xp.ones_like(size)[:, None]
    active = size > 0
    for iteration in range(1, iterations + 1):
        rest = problem.normal(x) - target
        h_before, h = h, x - step * rest
        theta_before = theta
        growth = 8 if restart and iteration == iterations else 4
        theta = (1 + xp.sqrt(1 + growth * theta_before**2)) / 2
        alpha, beta = (theta_before - 1) / theta, theta_before / theta
        gamma_before = gamma
        gamma = step * ((1 + alpha + beta) if restart else (2 * theta_before + theta - 1) / theta)
        pull = step * alpha / gamma_before
        z = (1 + alpha + beta) * h - alpha * h_before - (beta + pull) * x + pull * z
        new = onto(terms[0].prox(z, gamma * weight))
        if restart == "gradient":
            w_before, w = w, h + step / gamma * (new - z)
            uphill = inner(w - w_before, (new - z) / gamma - rest) < 0
            theta = xp.where(uphill, xp.ones_like(theta), theta)
        x = select(active, new, x)
        problem.show(callback, iteration, x)
        active = active & (norms(rest) >= tolerance * size)
        if not bool(xp.any(active)):
            break
    return problem.result(x)


def _tolerance(problem: LeastSquares, value: float | None) -> float:
    tolerance = problem.eps if value is None else value
    check_weight("relative_tolerance", tolerance)
    return tolerance


def _check_restart(restart: Restart) -> None:
    if restart not in (None, "gradient"):
        raise SettingsError(f'restart is {restart!r}; choose None or "gradient"')
