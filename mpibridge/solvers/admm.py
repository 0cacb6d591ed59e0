"""Alternating directions: ADMM and split Bregman, with conjugate gradients inside.

Source: RegularizedLeastSquares.jl `ADMM.jl`, `SplitBregman.jl` (mpireco.md §3.10).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mpibridge.solvers.arguments import check_count, check_weight
from mpibridge.solvers.fista import Term
from mpibridge.solvers.iterate import Callback
from mpibridge.solvers.least_squares import (
    LeastSquares,
    check_positive,
    check_terms,
    inner,
    norms,
    ratio,
    select,
)
from mpibridge.solvers.normalization import Normalization
from mpibridge.solvers.prox import projection


def admm(
    matrix: Any,
    data: Any,
    *,
    terms: Sequence[Term],
    iterations: int = 10,
    rho: float = 0.1,
    iterations_cg: int = 10,
    tolerance_cg: float = 1e-5,
    normalization: Normalization = "system_matrix",
    real: bool = True,
    positive: bool = True,
    absolute_tolerance: float | None = None,
    relative_tolerance: float | None = None,
    callback: Callback | None = None,
) -> Any:
    """Minimise ½‖Ax − b‖² + ½Σλ_i R_i(x); projections after every conjugate gradient solve.

    matrix: (row, voxel), NumPy (dense or CSR) or torch; data: (frame, row) or (row,), same dtype. Returns
    (frame, voxel) or (voxel,) of the same kind, real if `real`. terms: one or more of L1, L2, TV, weights
    relative to the normalization. rho: coupling of x and its copies, absolute, in units of AᴴA.
    iterations_cg, tolerance_cg: limit and tolerance (relative to the initial residual) of the inner solves,
    which start from the last x. A frame stops when primal and dual residuals are below
    √rows·absolute + relative·(size of the variables); None: machine epsilon.
    Raises ShapeError or SettingsError for arguments that do not fit.
    """
    problem, split = _start(
        matrix, data, terms, rho, iterations_cg, tolerance_cg, normalization, real, positive, halved=True
    )
    limits = _limits(problem, absolute_tolerance, relative_tolerance)
    check_count("iterations", iterations)
    active = problem.data[:, 0] == problem.data[:, 0]
    for iteration in range(1, iterations + 1):
        new, done = split.step(limits)
        split = new.where(active, split)
        problem.show(callback, iteration, split.x)
        active = active & ~done
        if not bool(problem.xp.any(active)):
            break
    return problem.result(split.x)


def split_bregman(
    matrix: Any,
    data: Any,
    *,
    terms: Sequence[Term],
    iterations: int = 10,
    rho: float = 0.1,
    iterations_inner: int = 10,
    iterations_cg: int = 10,
    tolerance_cg: float = 1e-5,
    normalization: Normalization = "system_matrix",
    real: bool = True,
    positive: bool = True,
    absolute_tolerance: float | None = None,
    relative_tolerance: float | None = None,
    callback: Callback | None = None,
) -> Any:
    """Bregman iterations (Goldstein and Osher 2009): the residual is added back to the data after each.

    Arguments as in `admm`; iterations: outer ones, each of at most iterations_inner steps of alternating
    directions; the thresholds are not halved. The callback is called after every outer iteration. A frame
    whose inner steps converge is done for good, as in RegularizedLeastSquares.jl.
    """
    problem, split = _start(
        matrix, data, terms, rho, iterations_cg, tolerance_cg, normalization, real, positive, halved=False
    )
    limits = _limits(problem, absolute_tolerance, relative_tolerance)
    check_count("iterations", iterations)
    check_count("iterations_inner", iterations_inner)
    original = split.target
    alive = problem.data[:, 0] == problem.data[:, 0]
    for iteration in range(1, iterations + 1):
        active = alive
        for _ in range(iterations_inner):
            new, done = split.step(limits)
            split = new.where(active, split)
            active = active & ~done
            if not bool(problem.xp.any(active)):
                break
        target = split.target + original - problem.normal(split.x)
        zero = problem.xp.zeros_like(split.x)
        split = replace(split, target=target, copies=[split.x] * len(terms), duals=[zero] * len(terms))
        problem.show(callback, iteration, split.x)
        alive = active
        if not bool(problem.xp.any(alive)):
            break
    return problem.result(split.x)


@dataclass(frozen=True, eq=False)
class _Split:
    """Variables of the splitting x = z_i: x, copies z_i and scaled duals u_i, all (frame, voxel)."""

    problem: LeastSquares
    terms: Sequence[Term]
    thresholds: list[Any]
    rho: float
    iterations_cg: int
    tolerance_cg: float
    onto: Callable[[Any], Any]
    target: Any
    x: Any
    copies: list[Any]
    duals: list[Any]

    def step(self, limits: tuple[float, float]) -> tuple[_Split, Any]:
        """The variables after one iteration, and which frames have converged, (frame,)."""
        rho, absolute, relative = self.rho, *limits
        right = self.target + rho * sum(z - u for z, u in zip(self.copies, self.duals, strict=True))
        x = self.onto(self._conjugate_gradients(right))
        copies, duals = [], []
        done = self.problem.data[:, 0] == self.problem.data[:, 0]
        for term, threshold, old, u in zip(self.terms, self.thresholds, self.copies, self.duals, strict=True):
            z = term.prox(x + u, threshold)
            u = u + x - z
            size = self.problem.xp.where(norms(x) > norms(z), norms(x), norms(z))
            done = done & (norms(x - z) < absolute + relative * size)
            done = done & (rho * norms(z - old) < absolute + relative * rho * norms(u))
            copies.append(z)
            duals.append(u)
        return replace(self, x=x, copies=copies, duals=duals), done

    def where(self, mask: Any, other: _Split) -> _Split:
        """These variables in the frames of mask, the other's elsewhere."""
        return replace(
            self,
            x=select(mask, self.x, other.x),
            copies=[select(mask, a, b) for a, b in zip(self.copies, other.copies, strict=True)],
            duals=[select(mask, a, b) for a, b in zip(self.duals, other.duals, strict=True)],
        )

    def _conjugate_gradients(self, right: Any) -> Any:
        """(AᴴA + n ρ I) x = right, from the present x."""
        weight = self.rho * len(self.terms)
        x = self.x
        rest = right - self.problem.normal(x) - weight * x
        direction, start = rest, norms(rest)
        for _ in range(self.iterations_cg):
            active = norms(rest) > self.tolerance_cg * start
            if not bool(self.problem.xp.any(active)):
                break
            image = self.problem.normal(direction) + weight * direction
            energy = inner(rest, rest)
            length = ratio(energy, inner(direction, image))
            x = select(active, x + length * direction, x)
            rest = select(active, rest - length * image, rest)
            direction = select(active, rest + ratio(inner(rest, rest), energy) * direction, direction)
        return x


def _start(
    matrix: Any,
    data: Any,
    terms: Sequence[Term],
    rho: float,
    iterations_cg: int,
    tolerance_cg: float,
    normalization: Normalization,
    real: bool,
    positive: bool,
    *,
    halved: bool,
) -> tuple[LeastSquares, _Split]:
    """The checked problem and its variables at zero; halved: thresholds λ/(2ρ) instead of λ/ρ."""
    check_terms("an alternating solver", terms, "one or more of L1, L2, TV", range(1, 100))
    check_count("iterations_cg", iterations_cg)
    check_weight("tolerance_cg", tolerance_cg)
    check_positive("rho", rho)
    problem = LeastSquares.checked(matrix, data, real=real)
    weights = problem.weights(terms, normalization)
    zero = problem.zeros()
    split = _Split(
        problem=problem,
        terms=terms,
        thresholds=[w / (2 * rho if halved else rho) for w in weights],
        rho=rho,
        iterations_cg=iterations_cg,
        tolerance_cg=tolerance_cg,
        onto=projection(real, positive),
        target=problem.adjoint(problem.data),
        x=zero,
        copies=[zero] * len(terms),
        duals=[zero] * len(terms),
    )
    return problem, split


def _limits(problem: LeastSquares, absolute: float | None, relative: float | None) -> tuple[float, float]:
    """Absolute part (with √rows) and relative part of the stopping rule."""
    absolute = problem.eps if absolute is None else absolute
    relative = problem.eps if relative is None else relative
    check_weight("absolute_tolerance", absolute)
    check_weight("relative_tolerance", relative)
    return problem.data.shape[1] ** 0.5 * absolute, relative
