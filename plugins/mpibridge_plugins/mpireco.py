"""MPIReco.jl itself: its plans with its own parameters, under our names, on files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np

from mpibridge import julia
from mpibridge.calibration import select_rows
from mpibridge.errors import SettingsError
from mpibridge.julia_files import filter_options, frame_options, unpacked
from mpibridge.model import Grid, triple
from mpibridge.plugin import Plugin, RecordingProblem, Report, Result
from mpibridge.signals import uses_transfer_function
from mpibridge.solvers import normalization_factor

PLANS = (
    "auto",
    "SinglePatch",
    "SinglePatchSparse",
    "SinglePatchHandsFree",
    "MultiPatch",
    "MultiPatchMotion",
)
SOLVERS = {
    "kaczmarz": "Kaczmarz",
    "cgnr": "CGNR",
    "fista": "FISTA",
    "optista": "OptISTA",
    "pogm": "POGM",
    "admm": "ADMM",
    "split_bregman": "SplitBregman",
}
"""Our names and those of RegularizedLeastSquares.jl."""
NORMALIZATIONS = {"system_matrix": "SystemMatrixBased", "measurement": "MeasurementBased", None: "No"}

OWNED = {
    "preprocessing=mpibridge.Preprocessing(…)": (
        "frames",
        "numAverages",
        "numPeriodAverages",
        "spectralLeakageCorrection",
        "tfCorrection",
        "bgCorrection",
        "bgParams",
        "SNRThresh",
        "minFreq",
        "maxFreq",
        "recChannels",
        "maxMixingOrder",
        "freqFilter",
        "rows",
        "weightingParams",
        "gridding",
        "gridsize",
        "fov",
        "center",
        "sparseTrafo",
        "redFactor",
        "thresh",
        "roundPatches",
    ),
    "the setting of mpibridge": (
        "solver",
        "iterations",
        "enforceReal",
        "enforcePositive",
        "normalizeReg",
        "rho",
        "λ",
    ),
    "system_matrix=": ("sf",),
}
"""MPIReco's parameters that are said in our own words, and where."""


@dataclass(frozen=True)
class MPIRecoSettings:
    """MPIReco's parameters under our names; ``parameters`` takes the rest of them as MPIReco calls them."""

    plan: str = "auto"
    """One of MPIReco's plans, for example "SinglePatchHandsFree"; "auto" chooses by the scan."""
    solver: str = "kaczmarz"
    """The solver: "kaczmarz", "cgnr", "fista", "optista" (which never applies real and positive), "pogm", "admm" or
    "split_bregman"."""
    iterations: int = 10
    """At least 1."""
    regularization: float = 0.0
    """λ of the L2 penalty, relative to the normalization."""
    l1: float = 0.0
    """Weight of an L1 penalty, relative like λ."""
    tv: float = 0.0
    """Weight of total variation, relative like λ."""
    normalization: str | None = "system_matrix"
    """What the weights are relative to: "system_matrix", "measurement" or None."""
    real: bool = True
    """Real image."""
    positive: bool = True
    """And non-negative (needs real)."""
    rho: float | None = None
    """Step size of fista, pogm and optista; coupling of admm and split_bregman relative to ‖S‖²/voxels."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """More of MPIReco's own, for example {"shuffleRows": True}."""

    def __post_init__(self) -> None:
        for name, known in (
            ("plan", PLANS),
            ("solver", tuple(SOLVERS)),
            ("normalization", tuple(NORMALIZATIONS)),
        ):
            if getattr(self, name) not in known:
                raise SettingsError(f"{name} must be one of {known}, found {getattr(self, name)!r}")
        if (
            isinstance(self.iterations, bool)
            or not isinstance(self.iterations, Integral)
            or self.iterations < 1
        ):
            raise SettingsError(f"iterations must be a whole number of at least 1, found {self.iterations!r}")
        for name in ("real", "positive"):
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f"{name} must be true or false, found {getattr(self, name)!r}")
        for name in ("regularization", "l1", "tv"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < np.inf:
                raise SettingsError(f"{name} must be a number of at least 0, found {value!r}")
        if self.rho is not None and not (isinstance(self.rho, Real) and 0 < self.rho < np.inf):
            raise SettingsError(f"rho must be a positive number, found {self.rho!r}")
        if not isinstance(self.parameters, Mapping):
            raise SettingsError(f"parameters must be names and values, found {self.parameters!r}")
        for where, names in OWNED.items():
            for name in names:
                if name in self.parameters:
                    raise SettingsError(f"parameters: {name} is said by {where}; leave it out here")


class MPIReco(Plugin[RecordingProblem]):
    """Any plan of MPIReco.jl, run by Julia. It reads the files itself; learned plugins are compared with it."""

    name = "mpireco"
    takes = RecordingProblem
    Settings = MPIRecoSettings

    def reconstruct(
        self, problem: RecordingProblem, *, generator: np.random.Generator, report: Report
    ) -> Result:
        julia.start()  # before files are written for it
        s: MPIRecoSettings = self.settings
        plan = _plan(problem) if s.plan == "auto" else s.plan
        given = (
            _solver_parameters(s, plan, problem) | _recording_parameters(plan, problem) | dict(s.parameters)
        )
        n_frames = -(-len(problem.frames) // problem.preprocessing.averages)

        def watch(frame: int, iteration: int) -> None:
            done = max(0, frame - 1) * s.iterations + iteration
            report(done, n_frames * s.iterations, f"MPIReco.jl {plan}")

        scan, *calibrations = (
            str(problem.as_file(data)) for data in (problem.scan, *problem.system_matrices)
        )
        result = julia.run(
            "reconstruct_plan", plan, scan, "\n".join(calibrations), julia.toml(given), watch=watch
        )
        image, axes = unpacked(result)
        image = np.moveaxis(image, -1, 0)  # (contrast, frame, z, y, x)
        grid = None if image.shape[2:] == problem.grid.shape else _grid(axes, problem.grid)
        moving = plan == "MultiPatchMotion"  # its frames are states of the motion
        times = axes["time"] if moving or image.shape[1] != n_frames else None
        return Result(image=image[0] if len(image) == 1 else image, grid=grid, times=times)


def _changed(settings: Any, names: Sequence[str]) -> list[str]:
    """Which of these fields of a settings object differ from their defaults."""
    usual = type(settings)()
    return [name for name in names if getattr(settings, name) != getattr(usual, name)]


def _plan(problem: RecordingProblem) -> str:
    if problem.n_patches > 1:
        return "MultiPatch"
    return "SinglePatch" if problem.preprocessing.sparsity is None else "SinglePatchSparse"


def _solver_parameters(s: MPIRecoSettings, plan: str, problem: RecordingProblem) -> dict[str, Any]:
    """Solver, penalties and constraints in MPIReco's words."""
    common = {
        "enforceReal": None if s.real else False,
        "enforcePositive": None if s.positive else False,
        "normalizeReg": None if s.normalization == "system_matrix" else NORMALIZATIONS[s.normalization],
    }
    if plan == "SinglePatchHandsFree":  # it finds λ and the number of iterations itself
        if _changed(s, ("iterations", "regularization", "l1", "tv", "solver", "rho")):
            raise SettingsError(
                'plan="SinglePatchHandsFree" chooses λ and the iterations itself; pass parameters='
                '{"startλ": 5.0, "iterbounds": [1, 25]} to bound them'
            )
        return common
    if plan == "MultiPatchMotion":  # Kaczmarz with one λ
        if _changed(s, ("solver", "l1", "tv", "rho")):
            raise SettingsError('plan="MultiPatchMotion" is Kaczmarz with an L2 penalty alone')
        return common | {"iterations": int(s.iterations), "λ": float(s.regularization)}
    coupled = s.rho is not None and s.solver in ("admm", "split_bregman")
    return common | {
        "solver": SOLVERS[s.solver],
        "iterations": int(s.iterations),
        "reg": _penalties(s, problem),
        "rho": float(s.rho) * _factor(problem) if coupled and s.rho is not None else s.rho,
    }


def _penalties(s: MPIRecoSettings, problem: RecordingProblem) -> list[dict[str, Any]]:
    terms: list[dict[str, Any]] = []
    if s.regularization or not (s.l1 or s.tv):
        terms.append({"type": "L2", "lambda": float(s.regularization)})
    if s.tv:
        if len(problem.system_matrices) > problem.n_patches:
            raise SettingsError(
                'total variation of several contrasts is not part of MPIReco.jl; pass engine="native"'
            )
        shape = [n for n in problem.grid.size if n > 1]
        terms.append({"type": "TV", "lambda": float(s.tv), "shape": shape})
    if s.l1:
        terms.append({"type": "L1", "lambda": float(s.l1)})
    return terms


def _factor(problem: RecordingProblem) -> float:
    """‖S‖²/voxels of the weighted system matrix, computed natively: ADMM's ρ is absolute in MPIReco."""
    spectral = problem.spectral()
    factor = normalization_factor(spectral.operator.matrix, spectral.rows, "system_matrix")
    return float(np.ravel(factor)[0])


def _recording_parameters(plan: str, problem: RecordingProblem) -> dict[str, Any]:
    """`Preprocessing` in MPIReco's words; what a plan cannot do is refused."""
    p = problem.preprocessing
    rows = filter_options(p)
    given: dict[str, Any] = frame_options(p) | {"bgCorrection": p.system_matrix_background or None}
    if plan.startswith("MultiPatch"):
        given["frames"] = [frame + 1 for frame in problem.frames]  # without them the first is taken
        corrected = [uses_transfer_function(data, p) for data in (problem.scan, problem.system_matrices[0])]
        given["tfCorrection"] = any(corrected)  # MPIReco.jl wants it said
        given["roundPatches"] = p.round_patches or None
    if plan == "MultiPatchMotion" and (refused := _changed(p, FIXED_MOTION)):
        raise SettingsError(
            f'plan="MultiPatchMotion" averages in its own way; leave out {", ".join(refused)}'
        )
    if len(problem.system_matrices) > 1 and plan == "SinglePatchHandsFree":
        raise SettingsError('plan="SinglePatchHandsFree" takes one calibration')
    given |= _selection(plan, problem, rows)
    given |= (
        _background(plan, problem)
        | _weights(plan, problem)
        | _grid_parameters(plan, problem)
        | _sparsity(plan, problem)
    )
    return given


FIXED_MOTION = (
    "averages",
    "period_averages",
    "spectral_leakage",
    "system_matrix_background",
    "round_patches",
    "weighting",
)
"""What periodic motion compensation has no parameters for."""


def _selection(plan: str, problem: RecordingProblem, rows: dict[str, Any]) -> dict[str, Any]:
    """The frequency filter of the plan, or, where it lacks one of ours, the rows themselves."""
    p, calibration = problem.preprocessing, problem.system_matrices[0]
    without_snr = rows["SNRThresh"] is not None and any("snr" not in c for c in problem.system_matrices)
    if rows["stepsize"] is None and rows["stopBands"] is None and not without_snr:
        return rows
    if plan != "SinglePatch" or len(problem.system_matrices) > 1:
        raise SettingsError(
            f"step, stop_bands and the SNR of a calibration that stores none are not part of MPIReco's plan {plan}; "
            'pass engine="native"'
        )
    chosen = select_rows(calibration, p)
    return {"rows": {"bins": chosen.bins + 1, "receivers": chosen.receivers + 1}}


def _background(plan: str, problem: RecordingProblem) -> dict[str, Any]:
    background = problem.preprocessing.background
    if background is None:
        return {}
    if not isinstance(background, str):
        return {"bgParams": {"emptyMeas": str(problem.as_file(background))}}
    if plan.startswith("MultiPatch"):
        raise SettingsError(
            f"background={background!r}: MPIReco's multi-patch plans subtract an empty scan only; pass it as background"
        )
    return {"bgParams": {"interpolateBG": background == "interpolate"}}


def _weights(plan: str, problem: RecordingProblem) -> dict[str, Any]:
    p, calibration = problem.preprocessing, problem.system_matrices[0]
    if not p.weightings:
        return {}
    if plan.startswith("MultiPatch") and set(p.weightings) - {"row_norm"}:
        raise SettingsError(
            f'weighting={p.weighting!r}: MPIReco\'s multi-patch plans take "row_norm" only; pass engine="native"'
        )
    corrected = uses_transfer_function(calibration, p) if "transfer_function" in calibration else None
    said = {"kinds": list(p.weightings), "channelWeights": p.channel_weights, "tfCorrection": corrected}
    return {"weightingParams": said}


def _grid_parameters(plan: str, problem: RecordingProblem) -> dict[str, Any]:
    if problem.preprocessing.grid is None:
        return {}
    if plan not in ("SinglePatch", "SinglePatchHandsFree"):
        raise SettingsError(f'grid: MPIReco\'s plan {plan} keeps the calibrated grid; pass engine="native"')
    grid = problem.grid
    return {"gridding": {"gridsize": grid.size, "fov": grid.field_of_view, "center": grid.center}}


def _sparsity(plan: str, problem: RecordingProblem) -> dict[str, Any]:
    p = problem.preprocessing
    if plan != "SinglePatchSparse":
        if p.sparsity is not None:
            raise SettingsError(f'sparsity belongs to plan="SinglePatchSparse", found plan={plan!r}')
        return {}
    if uses_transfer_function(problem.system_matrices[0], p):
        raise SettingsError(
            "MPIReco.jl ignores the transfer function of a sparse system matrix; pass transfer_function=False, "
            'or engine="native"'
        )
    return {
        "sparseTrafo": p.sparsity or "DCT-IV",
        "redFactor": float(p.sparsity_reduction),
        "thresh": float(p.sparsity_threshold) or None,
    }


def _grid(axes: Mapping[str, np.ndarray], like: Grid) -> Grid:
    """The grid of MPIReco's axes; where it is one voxel thick, as thick as ``like``."""
    size, extent, center = [], [], []
    for dim, step in zip("xyz", like.spacing, strict=True):
        axis = axes[dim]
        spacing = float(axis[1] - axis[0]) if len(axis) > 1 else step
        size.append(len(axis))
        extent.append(spacing * len(axis))
        center.append(float(axis[0] + axis[-1]) / 2)
    return Grid(triple(size), triple(extent), triple(center))
