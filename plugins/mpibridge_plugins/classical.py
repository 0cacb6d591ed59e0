"""Classical reconstruction of a linear problem: Kaczmarz, CGNR, FISTA, total variation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

import numpy as np

from mpibridge import solvers
from mpibridge.errors import SettingsError
from mpibridge.operators import SystemMatrix
from mpibridge.plugin import Plugin, Report, Result, SpectralProblem
from mpibridge.solvers import L1, L2, TV
from mpibridge_plugins.mpireco import MPIReco, MPIRecoSettings

NORMALIZATIONS = ("system_matrix", "measurement", None)


def _check(
    settings: Any,
    *,
    counts: tuple[str, ...] = ("iterations",),
    weights: tuple[str, ...] = ("regularization",),
    scales: tuple[str, ...] = (),
) -> None:
    """Whole counts of at least 1, weights of at least 0, positive scales, true or false where the class says bool,
    and a known normalization; SettingsError otherwise."""

    def require(name: str, kind: type, fits: Callable[[Any], bool], wanted: str) -> None:
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, kind) or not fits(value):
            raise SettingsError(f"{name} must be {wanted}, found {value!r}")

    for name in counts:
        require(name, Integral, lambda n: n >= 1, "a whole number of at least 1")
    for name in weights:
        require(name, Real, lambda x: 0 <= x < np.inf, "a number of at least 0")
    for name in scales:
        require(name, Real, lambda x: 0 < x < np.inf, "a positive number")
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.type == "bool" and not isinstance(value, bool | np.bool_):
            raise SettingsError(f"{field.name} must be true or false, found {value!r}")
    if settings.normalization not in NORMALIZATIONS:
        raise SettingsError(
            f"normalization must be one of {NORMALIZATIONS}, found {settings.normalization!r}"
        )


def _image(problem: SpectralProblem, columns: Any) -> Result:
    return Result(image=problem.operator.to_image(columns))


def _callback(report: Report, total: int, text: str) -> Callable[[Any], None]:
    return lambda state: report(state.iteration, total, text)


def _in_julia(settings: Any, solver: str, **more: Any) -> MPIReco:
    """The solver of MPIReco.jl with the settings that all plugins here share, and ``more``."""
    shared = ("iterations", "normalization", "real", "positive")
    return MPIReco(
        MPIRecoSettings(solver=solver, **{name: getattr(settings, name) for name in shared} | more)
    )


def _require_dense(problem: SpectralProblem, name: str) -> None:
    if problem.operator.transform is not None:
        raise SettingsError(
            f'plugin {name!r} does not take a sparse system matrix; use plugin="kaczmarz" or sparsity=None'
        )


@dataclass(frozen=True)
class KaczmarzSettings:
    """Regularised Kaczmarz; the defaults are MPIReco.jl's."""

    iterations: int = 10  # sweeps over all rows, at least 1
    regularization: float = 0.0  # λ of ‖Sc − u‖² + λ‖c‖², relative to the normalization
    normalization: str | None = "system_matrix"  # λ is relative to: "system_matrix", "measurement" or None
    real: bool = True  # project to real images after every sweep
    positive: bool = True  # and to non-negative ones (needs real)
    l1: float = 0.0  # soft threshold after every sweep, relative like λ

    def __post_init__(self) -> None:
        _check(self, weights=("regularization", "l1"))


class Kaczmarz(Plugin[SpectralProblem]):
    """The literal sweep of MPIReco.jl: same rows in the same order, same image. Source: RegularizedLeastSquares.jl."""

    name = "kaczmarz"
    takes = SpectralProblem
    Settings = KaczmarzSettings

    def reconstruct(
        self, problem: SpectralProblem, *, generator: np.random.Generator, report: Report
    ) -> Result:
        s, operator = self.settings, problem.operator
        on_gpu = hasattr(problem.rows, "device") and not isinstance(problem.rows, np.ndarray)
        solve = solvers.block_kaczmarz if on_gpu else solvers.kaczmarz
        columns = solve(
            operator.matrix,
            problem.rows,
            iterations=s.iterations,
            regularization=s.regularization,
            normalization=s.normalization,
            real=s.real,
            positive=s.positive,
            l1=s.l1,
            transform=operator.projection_transform(),
            scale=operator.scale,
            callback=_callback(report, s.iterations, "Kaczmarz"),
        )
        return _image(problem, columns.real)

    def in_julia(self) -> MPIReco:
        return _in_julia(
            self.settings, "kaczmarz", regularization=self.settings.regularization, l1=self.settings.l1
        )


@dataclass(frozen=True)
class CGNRSettings:
    """Conjugate gradients on the normal equations."""

    iterations: int = 10  # at least 1
    regularization: float = 0.01  # λ of ‖Sc − u‖² + λ‖c‖², relative to the normalization
    normalization: str | None = "system_matrix"  # what λ is relative to
    real: bool = True  # real image, taken once after the last iteration
    positive: bool = True  # and non-negative

    def __post_init__(self) -> None:
        _check(self)


class CGNR(Plugin[SpectralProblem]):
    """Tikhonov-regularised least squares; constraints act once, at the end. Source: RegularizedLeastSquares.jl."""

    name = "cgnr"
    takes = SpectralProblem
    Settings = CGNRSettings

    def reconstruct(
        self, problem: SpectralProblem, *, generator: np.random.Generator, report: Report
    ) -> Result:
        s = self.settings
        _require_dense(problem, self.name)
        columns = solvers.cgnr(
            problem.operator.matrix,
            problem.rows,
            terms=(L2(s.regularization),),
            iterations=s.iterations,
            normalization=s.normalization,
            real=s.real,
            positive=s.positive,
            callback=_callback(report, s.iterations, "CGNR"),
        )
        return _image(problem, columns.real)

    def in_julia(self) -> MPIReco:
        return _in_julia(self.settings, "cgnr", regularization=self.settings.regularization)


@dataclass(frozen=True)
class FISTASettings:
    """Accelerated proximal gradients."""

    iterations: int = 50  # at least 1
    regularization: float = 0.01  # λ of ½‖Sc − u‖² + λR(c), relative to the normalization
    penalty: str = "l1"  # R: "l1", "l2" (‖c‖², twice as strong as the same λ of kaczmarz) or "tv"
    momentum: str = "fista"  # "fista" or "pogm"
    restart: str | None = None  # "gradient" restarts the momentum when it points uphill
    step: float | None = None  # step size; None: 0.95 / largest eigenvalue of SᴴS
    normalization: str | None = "system_matrix"  # what λ is relative to
    real: bool = True  # project to real images in every iteration
    positive: bool = True  # and to non-negative ones

    def __post_init__(self) -> None:
        _check(self, scales=() if self.step is None else ("step",))
        if self.penalty not in ("l1", "l2", "tv") or self.momentum not in ("fista", "pogm"):
            raise SettingsError(
                f'penalty must be "l1", "l2" or "tv" and momentum "fista" or "pogm", found {self.penalty!r} and '
                f"{self.momentum!r}"
            )
        if self.restart not in (None, "gradient"):
            raise SettingsError(f'restart must be None or "gradient", found {self.restart!r}')


class FISTA(Plugin[SpectralProblem]):
    """Sparse, smooth or piecewise constant images by FISTA or POGM. Source: RegularizedLeastSquares.jl."""

    name = "fista"
    takes = SpectralProblem
    Settings = FISTASettings

    def reconstruct(
        self, problem: SpectralProblem, *, generator: np.random.Generator, report: Report
    ) -> Result:
        s = self.settings
        _require_dense(problem, self.name)
        solve = solvers.fista if s.momentum == "fista" else solvers.pogm
        columns = solve(
            problem.operator.matrix,
            problem.rows,
            terms=(self._penalty(problem.operator),),
            iterations=s.iterations,
            rho=s.step,
            restart=s.restart,
            normalization=s.normalization,
            real=s.real,
            positive=s.positive,
            callback=_callback(report, s.iterations, s.momentum.upper()),
        )
        return _image(problem, columns.real)

    def _penalty(self, operator: SystemMatrix) -> L1 | L2 | TV:
        weight = self.settings.regularization
        if self.settings.penalty == "tv":
            return TV(weight, operator.image_shape, dims=(-3, -2, -1))
        return L1(weight) if self.settings.penalty == "l1" else L2(weight)

    def in_julia(self) -> MPIReco:
        s = self.settings
        penalty = {"l2": "regularization"}.get(s.penalty, s.penalty)
        return _in_julia(
            s, s.momentum, rho=s.step, parameters={"restart": s.restart}, **{penalty: s.regularization}
        )


@dataclass(frozen=True)
class TVSettings:
    """Total variation, optionally with an L1 penalty."""

    iterations: int = 20  # at least 1
    regularization: float = 0.005  # weight of the total variation, relative to the normalization
    l1: float = 0.0  # weight of an additional L1 penalty, relative like it
    method: str = "admm"  # "admm" or "split_bregman"
    rho: float = 0.1  # coupling, relative to ‖S‖²/voxels
    iterations_cg: int = 20  # conjugate gradient steps per iteration
    iterations_inner: int = 5  # split Bregman: iterations before the data are added back
    normalization: str | None = "system_matrix"  # what the weights are relative to
    real: bool = True  # real image
    positive: bool = True  # and non-negative

    def __post_init__(self) -> None:
        _check(
            self,
            counts=("iterations", "iterations_cg", "iterations_inner"),
            weights=("regularization", "l1"),
            scales=("rho",),
        )
        if self.method not in ("admm", "split_bregman"):
            raise SettingsError(f'method must be "admm" or "split_bregman", found {self.method!r}')


class TotalVariation(Plugin[SpectralProblem]):
    """Piecewise constant images by ADMM or split Bregman. Source: RegularizedLeastSquares.jl."""

    name = "tv"
    takes = SpectralProblem
    Settings = TVSettings

    def reconstruct(
        self, problem: SpectralProblem, *, generator: np.random.Generator, report: Report
    ) -> Result:
        s, operator = self.settings, problem.operator
        _require_dense(problem, self.name)
        terms: tuple[Any, ...] = (TV(s.regularization, operator.image_shape, dims=(-3, -2, -1)),)
        if s.l1:
            terms = (*terms, L1(s.l1))
        scale = solvers.normalization_factor(operator.matrix, problem.rows, "system_matrix")
        more = {"iterations_inner": s.iterations_inner} if s.method == "split_bregman" else {}
        solve = solvers.admm if s.method == "admm" else solvers.split_bregman
        columns = solve(
            operator.matrix,
            problem.rows,
            terms=terms,
            iterations=s.iterations,
            iterations_cg=s.iterations_cg,
            rho=s.rho * float(np.ravel(scale)[0]),
            normalization=s.normalization,
            real=s.real,
            positive=s.positive,
            callback=_callback(report, s.iterations, "total variation"),
            **more,
        )
        return _image(problem, columns.real)

    def in_julia(self) -> MPIReco:
        s = self.settings
        inner = s.iterations_inner if s.method == "split_bregman" else None
        parameters = {"iterationsCG": s.iterations_cg, "iterationsInner": inner}
        return _in_julia(s, s.method, tv=s.regularization, l1=s.l1, rho=s.rho, parameters=parameters)
