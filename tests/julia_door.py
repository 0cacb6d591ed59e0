"""A `juliacall` without Julia: the door of `MPIBridge.jl` in Python, on the native engine.

`install` puts it in front of the real package. It accepts what `mpibridge.julia` sends and nothing else: one way to
load MPIBridge, then text and whole numbers. It answers as Julia would: positions from 1, arrays with Julia's order of
axes, millimetres, errors by the names they have there. Tests add functions to `FUNCTIONS` and steps to `ON_IMPORT`.

``pytest -p tests.julia_door tests/julia`` runs the tests that are written for a real Julia against it.
"""

from __future__ import annotations

import ctypes
import importlib.abc
import importlib.util
import itertools
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import h5py
import numpy as np
import tomli_w
import xarray as xr

from mpibridge import calibration, problems, signals, solvers
from mpibridge.julia import loads
from mpibridge.mdf import legacy, reader, writer
from mpibridge.mdf.checks import check_layout
from mpibridge.mdf.header import Header, dataset_grid
from mpibridge.mdf.schema import DATA, IMAGE, SNR, SUBSAMPLING, SUFFIXES, TRANSFER_FUNCTION
from mpibridge.mdf.tree import hdf5
from mpibridge.model import GRID_DIMS, IMAGE_DIMS, RECONSTRUCTION, Grid
from mpibridge.preprocessing import Preprocessing

JULIA_SOURCE = Path(__file__).resolve().parents[1] / "julia" / "src"
FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""What can be called through the door."""
ON_IMPORT: list[Callable[[], None]] = []
"""Called when juliacall is imported, that is when Julia starts; what they raise, the import raises."""
CALLS: list[tuple[str, int]] = []
"""Name and thread of every call."""
SEVALS: list[str] = []
"""Every text given to `Main.seval`."""
ENVIRONMENT: dict[str, str] = {}
"""The variables of juliacall as they were when it was imported."""


class JuliaObject:
    """Stands for what belongs to Julia and must not leave the lane."""


class JuliaError(Exception):
    """`juliacall.JuliaError`: text with the stack, and the exception as an object of Julia."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.exception = JuliaObject()


class Thrown(Exception):
    """An exception of Julia: the name of its type, and what `showerror` prints."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def install() -> None:
    """Make ``import juliacall`` find the fake, and warnings of the native engine in the lane part of the report."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    warnings.warn = _warn


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and makes the module `juliacall`."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        return importlib.util.spec_from_loader(fullname, self) if fullname == "juliacall" else None

    def exec_module(self, module: ModuleType) -> None:
        for step in ON_IMPORT:
            step()
        if "torch" in sys.modules:
            warnings.warn("torch was imported before juliacall. This may cause a segfault.", stacklevel=2)
        ENVIRONMENT.update({k: v for k, v in os.environ.items() if k.startswith("PYTHON_JULIACALL_")})
        module.__dict__.update(Main=Main(), JuliaError=JuliaError, __version__="0.9.37")


class Main(JuliaObject):
    """`juliacall.Main`: it can load the package MPIBridge, and then has it."""

    def seval(self, code: str) -> None:
        SEVALS.append(code)
        load = re.fullmatch(r'raw"(.+)" in LOAD_PATH \|\| push!\(LOAD_PATH, raw"\1"\); using MPIBridge', code)
        if load is None:
            raise JuliaError(f"ParseError: the fake does not know {code!r}\nStacktrace:\n [1] seval")
        if not (Path(load[1]) / "src" / "MPIBridge.jl").is_file():
            raise JuliaError(
                f"ArgumentError: Package MPIBridge not found in {load[1]}\nStacktrace:\n [1] require"
            )
        self.MPIBridge = type("MPIBridge", (JuliaObject,), {"through": Through()})()


class Through(JuliaObject):
    """`MPIBridge.through`."""

    def _jl_call_nogil(self, name: str, *arguments: str | int) -> tuple[Any, str]:
        """(value, report) of a function; only text and whole numbers may cross."""
        assert all(type(part) in (str, int) for part in (name, *arguments)), arguments
        CALLS.append((name, threading.get_ident()))
        value, report = None, {}
        _lane.messages = []
        try:
            if name not in FUNCTIONS:
                raise Thrown("UndefVarError", f"UndefVarError: `{name}` not defined")
            value = FUNCTIONS[name](*arguments)
        except JuliaError:
            raise
        except Exception as error:  # noqa: BLE001 - as `through` of door.jl
            report["error"] = {
                "kind": getattr(error, "kind", type(error).__name__),
                "message": str(error),
                "trace": "\nStacktrace:\n" + traceback.format_exc(),
            }
        report["warnings"], _lane.messages = _lane.messages, None
        return value, tomli_w.dumps(report)


_lane = threading.local()
_usual_warn = warnings.warn


def _warn(message: Any, category: Any = None, stacklevel: int = 1, *rest: Any, **more: Any) -> None:
    """`warnings.warn` that collects what is said during a call; `catch_warnings` would do so in every thread."""
    if getattr(_lane, "messages", None) is None:
        _usual_warn(message, category, stacklevel + 1, *rest, **more)
    else:
        _lane.messages.append(str(message))


def pytest_load_initial_conftests() -> None:
    """As a plugin of pytest: in place before any conftest is read; `tests/julia` looks at the variable."""
    install()
    os.environ["MPIBRIDGE_FAKE_JULIA"] = "1"


def exported(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the door, under its own name."""
    FUNCTIONS[function.__name__] = function
    return function


@exported
def versions() -> str:
    """As a Julia 1.10 that lies nowhere."""
    packages = {
        "AbstractImageReconstruction": "0.5.5",
        "MPIFiles": "0.19.2",
        "MPIReco": "0.9.7",
        "RegularizedLeastSquares": "0.16.12",
    }
    places = {"executable": "/fake/bin/julia", "depot": "/fake/depot", "project": "/fake/Project.toml"}
    return tomli_w.dumps({"julia": "1.10.8", **places, "threads": 1, "packages": packages})


# Files by handle (files.jl)


@dataclass
class OpenFile:
    """A file: what its header says under the names of MDF 2.1, and its arrays, read on demand."""

    path: str
    header: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        path = Path(self.path)
        _require(self.path)
        with hdf5(path) as file:
            self.header, self.arrays, samples = reader._contents(path, file)
        if str(self.header["/version"]).startswith("1"):
            self.header = legacy.complete_v1(self.header, samples)
        self.header = legacy.repair_shapes(self.header)
        kind = reader.read(path).attrs["kind"]
        check_layout(path, kind, self.header, self.arrays)

    @property
    def dataset(self) -> xr.Dataset:
        return reader.read(self.path)

    @property
    def is_fast(self) -> bool:
        return Header(self.header).flag("isFastFrameAxis")


FILES: dict[int, OpenFile] = {}
HANDLES = itertools.count(1)
OPTIONAL = {SNR: "f8", TRANSFER_FUNCTION: "c16", SUBSAMPLING: "i8", IMAGE: "f4"}
"""The arrays a file may have, and the element type in which MPIFiles.jl hands them out."""


def _require(path: str) -> None:
    """What MPIFiles.jl says of a file that is not there or of no known kind."""
    if not Path(path).is_file() or not h5py.is_hdf5(path):
        text = f"unable to determine if {path} is accessible in the HDF5 format (file may not exist)"
        raise Thrown("ErrorException", text)
    if not path.endswith(SUFFIXES):
        raise Thrown("ErrorException", f"the fake opens MDF files only, not {path}")


def opened(handle: int) -> OpenFile:
    if handle not in FILES:
        raise Thrown("ArgumentError", f"ArgumentError: there is no open file {handle}")
    return FILES[handle]


@exported
def open_file(path: str) -> int:
    """The handle of a file; none is used twice."""
    file, handle = OpenFile(path), next(HANDLES)
    FILES[handle] = file
    return handle


@exported
def close_file(handle: int) -> None:
    opened(handle)
    del FILES[handle]


@exported
def header(handle: int) -> str:
    """The entries that files.jl names, as far as the file has them."""
    known = re.findall(
        r'"(/[\w/]+)" => :|const BORE_SIZE = "([\w/]+)"', (JULIA_SOURCE / "files.jl").read_text()
    )
    found = opened(handle).header
    return tomli_w.dumps(
        {path: np.asarray(found[path]).tolist() for path in map("".join, known) if path in found}
    )


@exported
def stored(handle: int) -> str:
    """Shape in Julia's order and element type of every array."""
    arrays = opened(handle).arrays
    types = {path: np.dtype(OPTIONAL.get(path, array.dtype)) for path, array in arrays.items()}
    return tomli_w.dumps(
        {
            path: {"shape": list(reversed(arrays[path].shape)), "type": f"{t.kind}{t.itemsize}"}
            for path, t in types.items()
            if path == DATA or path in OPTIONAL
        }
    )


@exported
def stored_array(handle: int, path: str) -> np.ndarray:
    """An optional array, whole."""
    if path not in OPTIONAL:
        raise Thrown("ArgumentError", f"ArgumentError: no array is called {path}")
    if path not in opened(handle).arrays:
        raise Thrown("KeyError", f'KeyError: key "{path}" not found')
    array = opened(handle).arrays[path]
    return array.read((slice(None),) * len(array.shape)).astype(OPTIONAL[path]).T


@exported
def stored_data(handle: int, settings: str) -> np.ndarray:
    """A part of the samples: (last, receiver, period, frame), or the frame first if its axis is the fast one."""
    file, s = opened(handle), loads(settings)
    names = (
        ("periods", "receivers", "last", "frames")
        if file.is_fast
        else ("frames", "periods", "receivers", "last")
    )
    index = tuple(np.array(s[name]) - 1 for name in names)
    shape = file.arrays[DATA].shape
    if any(part.min() < 0 or part.max() >= n for part, n in zip(index, shape, strict=True)):
        raise Thrown("BoundsError", f"BoundsError: attempt to access {shape[::-1]} array at {s}")
    return file.arrays[DATA].read(index).T


# What MPIFiles.jl computes (signals.jl)

SIGNAL_OPTIONS = (
    *(
        "frames",
        "numAverages",
        "numPeriodAverages",
        "averagePeriodsPerPatch",
        "numPeriodGrouping",
        "bgCorrection",
    ),
    *(
        "bgFrames",
        "interpolateBG",
        "spectralLeakageCorrection",
        "sortFrames",
        "tfCorrection",
        "fixDistortions",
    ),
    "distortionThresh",
)
SPECTRUM_OPTIONS = (*SIGNAL_OPTIONS, "loadasreal", "transposed", "amplitudeScaling")
FILTER_OPTIONS = (
    *("SNRThresh", "minFreq", "maxFreq", "recChannels", "stepsize", "maxMixingOrder", "numPeriodAverages"),
    *("numPeriodGrouping", "numSidebandFreqs", "stopBands"),
)
MATRIX_OPTIONS = ("bgCorrection", "tfCorrection", "loadasreal", "numPeriodAverages", "numPeriodGrouping")
CONVERSION_OPTIONS = (
    *("frames", "SNRThresh", "minFreq", "maxFreq", "stepsize", "maxMixingOrder", "numPeriodAverages"),
    *("numPeriodGrouping", "numSidebandFreqs", "applyCalibPostprocessing", "fixDistortions"),
    *("sparsityTrafoRedFactor", "sparsityTrafo", "filenameBG", "experimentNumber"),
)
WORDS = {
    "numAverages": "averages",
    "numPeriodAverages": "period_averages",
    "spectralLeakageCorrection": "spectral_leakage",
    "tfCorrection": "transfer_function",
    "SNRThresh": "snr_threshold",
    "minFreq": "min_frequency",
    "maxFreq": "max_frequency",
    "maxMixingOrder": "mixing_order",
    "stepsize": "step",
    "stopBands": "stop_bands",
    "sparseTrafo": "sparsity",
    "redFactor": "sparsity_reduction",
    "thresh": "sparsity_threshold",
    "roundPatches": "round_patches",
}
"""Keywords of MPIFiles.jl and MPIReco.jl that `Preprocessing` has under another name."""
POSITIONS = {"frames": "frames", "recChannels": "receivers"}
"""The same of positions, which count from 1 in Julia."""


def preprocessing(s: dict[str, Any], **more: Any) -> Preprocessing:
    """The settings that have a counterpart; ``more``: ours, for what depends on the function."""
    values = {ours: s[theirs] for theirs, ours in WORDS.items() if theirs in s}
    values |= {ours: [i - 1 for i in s[theirs]] for theirs, ours in POSITIONS.items() if theirs in s}
    return Preprocessing(**values, **more)


def _check_options(
    s: dict[str, Any], known: tuple[str, ...], *apart: str, done: tuple[str, ...] = ()
) -> None:
    """UnknownSetting as `keywords` of signals.jl. done: what the caller does beside `WORDS` and `POSITIONS`."""
    for name in s:
        if name not in (*known, *apart):
            raise Thrown("UnknownSetting", f"unknown option {name} (known: {', '.join(known)})")
        _check_doable(s, name, *WORDS, *POSITIONS, *apart, *done)


def _check_doable(s: dict[str, Any], name: str, *known: str) -> None:
    """An error for a setting that Julia knows and the fake cannot do, unless it is the one that changes nothing."""
    if name not in known and s[name] is not False and not (name == "numPeriodGrouping" and s[name] == 1):
        raise Thrown("ErrorException", f"the fake has no {name}")


def _signal_settings(s: dict[str, Any], known: tuple[str, ...]) -> Preprocessing:
    done = ("bgCorrection", "interpolateBG", "amplitudeScaling")
    rows = ("bins", "bin_receivers") if known == SPECTRUM_OPTIONS else ()
    _check_options(s, known, "neglectBGFrames", *rows, done=done)
    if not s.get("neglectBGFrames", True):
        raise Thrown("ErrorException", "the fake has no neglectBGFrames = false")
    kind = "interpolate" if s.get("interpolateBG") else "mean"
    return preprocessing(s, background=kind if s.get("bgCorrection") else None)


@exported
def measurement_spectra(handle: int, settings: str) -> np.ndarray:
    """(bin, receiver, period, frame), or (row, period, frame) of chosen rows."""
    scan, s = opened(handle).dataset, loads(settings)
    p = _signal_settings(s, SPECTRUM_OPTIONS)
    if "bins" not in s:
        spectra = signals.spectra(scan, p)
        n_samples, bins = Header(scan.attrs).n_samples, spectra["bin"].values
        edge = (bins == 0) | (2 * bins == n_samples)
        scale = np.where(edge, 1, 2) / n_samples if s.get("amplitudeScaling") else np.ones(len(bins))
        return (spectra.values * scale.astype(np.float32)).T
    bins, receivers = np.array(s["bins"]) - 1, np.array(s["bin_receivers"]) - 1
    rows = signals.measurement_rows(scan, bins, receivers, p)
    return rows.reshape(len(rows), -1, len(bins)).T


@exported
def time_signals(handle: int, settings: str) -> np.ndarray:
    """(sample, receiver, period, frame)."""
    return signals.time_signals(
        opened(handle).dataset, _signal_settings(loads(settings), SIGNAL_OPTIONS)
    ).values.T


@exported
def filter_frequencies(handle: int, settings: str) -> tuple[np.ndarray, np.ndarray]:
    """(bins, receivers) of the rows that pass, from 1."""
    s = loads(settings)
    _check_options(s, FILTER_OPTIONS)
    rows = calibration.select_rows(opened(handle).dataset, preprocessing(s))
    return rows.bins + 1, rows.receivers + 1


@exported
def system_matrix_rows(handle: int, settings: str) -> np.ndarray:
    """(voxel, row)."""
    s = loads(settings)
    _check_options(s, MATRIX_OPTIONS, "bins", "receivers", done=("bgCorrection",))
    p = preprocessing(
        {k: v for k, v in s.items() if k != "receivers"},
        system_matrix_background=s.get("bgCorrection", False),
    )
    values = calibration.system_matrix_rows(opened(handle).dataset, _rows(s), p)
    return values.values.reshape(len(values), -1).T


def _rows(s: dict[str, Any]) -> calibration.Rows:
    return calibration.Rows(np.array(s["bins"]) - 1, np.array(s["receivers"]) - 1)


@exported
def calculate_snr(handle: int) -> np.ndarray:
    """(bin, receiver, period)."""
    return calibration.calculate_snr(opened(handle).dataset).values.T


@exported
def convert_file(source: str, target: str, settings: str) -> None:
    """The file as MDF, with the chosen bins where it is a calibration."""
    s = loads(settings)
    _check_options(s, CONVERSION_OPTIONS)
    _require(source)
    dataset = reader.read(source)
    if s:
        bins = np.unique(calibration.select_rows(dataset, preprocessing(s)).bins)
        dataset = dataset.isel(frequency=calibration.positions_of_bins(dataset, bins))
    writer.write(target, dataset)


# Reconstruction (plans.jl)

NORMALIZATIONS = {"SystemMatrixBased": "system_matrix", "MeasurementBased": "measurement", "No": None}
SOLVERS = {
    "Kaczmarz": solvers.kaczmarz,
    "CGNR": solvers.cgnr,
    "FISTA": solvers.fista,
    "OptISTA": None,
    "POGM": solvers.pogm,
    "ADMM": solvers.admm,
    "SplitBregman": solvers.split_bregman,
}
"""The native solvers; their ``rho`` is absolute, as MPIReco's."""
OF_SOLVERS = {
    "Kaczmarz": ("randomized", "greedy_randomized", "subMatrixFraction", "seed", "shuffleRows", "theta"),
    "CGNR": ("relTol",),
    "FISTA": ("rho", "theta", "relTol", "restart"),
    "OptISTA": ("rho", "theta", "relTol"),
    "POGM": ("rho", "theta", "relTol", "restart"),
    "ADMM": ("rho", "vary_rho", "iterationsCG", "absTol", "relTol", "tolInner", "regTrafo"),
    "SplitBregman": ("rho", "iterationsCG", "iterationsInner", "absTol", "relTol", "tolInner", "regTrafo"),
}
"""Parameters that MPIReco.jl has with one solver only."""
SOLVER_WORDS = {
    "iterations": "iterations",
    "enforceReal": "real",
    "enforcePositive": "positive",
    "rho": "rho",
    "restart": "restart",
    "relTol": "relative_tolerance",
    "absTol": "absolute_tolerance",
    "tolInner": "tolerance_cg",
    "iterationsCG": "iterations_cg",
    "iterationsInner": "iterations_inner",
}
"""Those of them that the native solvers have, under their names there."""
_SOLUTION = ("solver", "iterations", "enforceReal", "enforcePositive", "normalizeReg", "reg")
_COMMON = (
    *_SOLUTION,
    *("frames", "tfCorrection", "numAverages", "numPeriodAverages", "numPeriodGrouping", "neglectBGFrames"),
    *("spectralLeakageCorrection", "loadasreal", "bgParams", "weightingParams", "bgCorrection", "rows"),
    *("SNRThresh", "minFreq", "maxFreq", "recChannels", "maxMixingOrder", "numSidebandFreqs", "save"),
)
PLANS = {
    "SinglePatch": (*_COMMON, "gridding", "deadPixels"),
    "SinglePatchSparse": (*_COMMON, "sparseTrafo", "redFactor", "thresh", "useDFFoV"),
    "MultiPatch": (*_COMMON, "roundPatches", "denoiseWeight"),
    "LowLevel": _SOLUTION,
}
"""The plans the fake has, with their parameters."""


@exported
def reconstruct_plan(
    plan: str, measurement: str, calibrations: str, settings: str, progress: int
) -> tuple[np.ndarray, ...]:
    """Image (contrast, x, y, z, frame) and its axes in millimetres and seconds."""
    s = loads(settings)
    _check_plan(plan, s)
    if plan == "MultiPatch" and "tfCorrection" not in s:  # mpireco.md 4.6
        raise Thrown("TypeError", "TypeError: non-boolean (Nothing) used in boolean context")
    for path in (measurement, *calibrations.split("\n")):
        _require(path)
    scan, matrices = reader.read(measurement), [reader.read(path) for path in calibrations.split("\n")]
    p = _plan_preprocessing(s)
    with _given_rows(s):
        problem = problems.spectral_problem(scan, matrices, p)
    operator = problem.operator
    more = {}
    if s.get("solver", "Kaczmarz") == "Kaczmarz":
        more = {"transform": operator.projection_transform(), "scale": operator.scale}
    image = operator.to_image(_solved(operator.matrix, problem.rows, s, progress, **more)).astype(np.float32)
    grid = problem.grid if plan == "MultiPatch" else _axes(problem.grid, scan, matrices[0])
    said = Header(scan.attrs)
    times = np.arange(image.shape[-4]) * said.n_averages * said.cycle * p.averages
    if "save" in s:
        dims = IMAGE_DIMS if image.ndim == 4 else ("contrast", *IMAGE_DIMS)
        attrs = {k: v for k, v in scan.attrs.items() if not k.startswith("/measurement")}
        attrs |= {"kind": RECONSTRUCTION} | grid.attributes()
        writer.write(s["save"], xr.Dataset({"concentration": (dims, image)}, grid.coordinates(), attrs))
    return _unpacked(image, grid, times)


@exported
def reconstruct_lowlevel(
    S: int, n_rows: int, n_voxels: int, u: int, n_frames: int, settings: str, progress: int
) -> np.ndarray:
    """(voxel, frame) from a matrix (row, voxel) and data (frame, row) at addresses."""
    s = loads(settings)
    _check_plan("LowLevel", s)
    matrix, rows = _at(S, np.complex64, n_rows, n_voxels), _at(u, np.complex64, n_frames, n_rows)
    return _solved(matrix, rows, s, progress).astype(np.float64).T


@exported
def load_reconstruction(path: str) -> tuple[np.ndarray, ...]:
    """As `reconstruct_plan`, from a file."""
    _require(path)
    image = reader.read(path)
    said, grid = Header(image.attrs), dataset_grid(image)
    seconds = said.n_averages * said.frame_period  # averages enter twice, mpireco.md 3.15
    return _unpacked(image["concentration"].values, grid, np.arange(image.sizes["frame"]) * seconds)


def _check_plan(plan: str, s: dict[str, Any]) -> None:
    """What MPIReco.jl logs of a parameter that a plan does not have; an error for what the fake cannot do."""
    if plan not in PLANS:
        raise Thrown("ErrorException", f"the fake has no such plan: {plan}")
    for chosen, known in (
        (s.get("solver", "Kaczmarz"), SOLVERS),
        (s.get("normalizeReg", "No"), NORMALIZATIONS),
    ):
        if chosen not in known:
            raise Thrown("UnknownSetting", f"unknown {chosen} (known: {', '.join(known)})")
    solver = s.get("solver", "Kaczmarz")
    doable = (
        *_SOLUTION,
        *SOLVER_WORDS,
        *WORDS,
        *POSITIONS,
        "bgParams",
        "weightingParams",
        "bgCorrection",
        "rows",
    )
    for name in s:
        if name not in (*PLANS[plan], *OF_SOLVERS[solver]):
            text = f"Could not set all `{name}` properties of plan: Property not found"
            raise Thrown("UnknownSetting", text)
        _check_doable(s, name, *doable, "gridding", "save")
    if SOLVERS[solver] is None:
        raise Thrown("ErrorException", f"the fake has no {solver}")


def _plan_preprocessing(s: dict[str, Any]) -> Preprocessing:
    more: dict[str, Any] = {"system_matrix_background": s.get("bgCorrection", False)}
    if "bgParams" in s:
        given = s["bgParams"]
        kind = "interpolate" if given.get("interpolateBG") else "mean"
        more["background"] = reader.read(given["emptyMeas"]) if "emptyMeas" in given else kind
    if "weightingParams" in s:
        more["weighting"] = s["weightingParams"]["kinds"]
        more["channel_weights"] = s["weightingParams"].get("channelWeights")
    if "gridding" in s:
        more["grid"] = Grid(*(tuple(s["gridding"][name]) for name in ("gridsize", "fov", "center")))
    return preprocessing(s, **more)


@contextmanager
def _given_rows(s: dict[str, Any]) -> Iterator[None]:
    """``rows`` takes the place of the selection; the native engine always selects itself."""
    if "rows" not in s:
        yield
        return
    with mock.patch.object(problems, "select_rows", return_value=_rows(s["rows"])):
        yield


def _solved(matrix: Any, rows: np.ndarray, s: dict[str, Any], progress: int, **more: Any) -> np.ndarray:
    """(frame, voxel), one frame after the other; frame and iteration are told, and a wish to stop is heard."""
    name, terms = s.get("solver", "Kaczmarz"), s.get("reg", ())
    options = {ours: s[theirs] for theirs, ours in SOLVER_WORDS.items() if theirs in s}
    options["normalization"] = NORMALIZATIONS[s.get("normalizeReg", "SystemMatrixBased")]
    if options.get("restart") == "none":
        options["restart"] = None
    if name == "Kaczmarz":
        weights = {entry["type"]: float(np.float32(entry["lambda"])) for entry in terms}
        options |= {"regularization": weights.pop("L2", 0.0), "l1": weights.pop("L1", 0.0)}
        if weights:
            raise Thrown("ErrorException", f"the fake has no Kaczmarz with {', '.join(weights)}")
        matrix = solvers.prepare(matrix)
    else:
        options = {"iterations": 10} | options | {"terms": [_term(entry) for entry in terms]}
    buffer = _at(progress, np.int64, 3) if progress else np.zeros(3, np.int64)

    def tell(frame: int, iteration: int) -> None:
        buffer[:2] = frame, iteration
        if buffer[2]:
            raise Thrown("ErrorException", "cancelled")

    images = []
    for frame, row in enumerate(rows, 1):
        tell(frame, 0)
        step = lambda state, frame=frame: tell(frame, state.iteration)  # noqa: E731
        images.append(SOLVERS[name](matrix, row, callback=step, **options, **more).real)
    return np.stack(images)


def _term(entry: dict[str, Any]) -> Any:
    weight = float(np.float32(entry["lambda"]))
    if entry["type"] == "TV":
        return solvers.TV(weight, tuple(reversed(entry["shape"])))  # x is the first axis in Julia
    if entry["type"] not in ("L1", "L2"):
        raise Thrown("UnknownSetting", f"unknown regularisation {entry['type']} (known: L2, L1, TV)")
    return {"L1": solvers.L1, "L2": solvers.L2}[entry["type"]](weight)


def _axes(grid: Grid, scan: xr.Dataset, matrix: xr.Dataset) -> Grid:
    """The grid as MPIReco.jl labels it: at the focus field, its own centre forgotten (mpireco.md 3.14)."""
    ours, theirs = Header(scan.attrs), Header(matrix.attrs)
    ratio = theirs.gradient_diagonal[0] / ours.gradient_diagonal[0]
    spacing = np.array(grid.spacing) * ratio
    first = (ours.patch_centers[0] - np.array(theirs.grid.field_of_view) / 2) * ratio + spacing / 2
    size = np.array(grid.size)
    return Grid(grid.size, tuple(spacing * size), tuple(first + spacing * (size - 1) / 2))


def _unpacked(image: np.ndarray, grid: Grid, times: np.ndarray) -> tuple[np.ndarray, ...]:
    """(contrast, x, y, z, frame) in Julia's memory order, and x, y, z, time."""
    full = image if image.ndim == 5 else image[None]
    axes = (1e3 * grid.axis(dim) for dim in reversed(GRID_DIMS))
    return (np.asfortranarray(full.astype(np.float32).transpose(0, 4, 3, 2, 1)), *axes, times)


def _at(address: int, dtype: Any, *shape: int) -> np.ndarray:
    """The array at an address of this process, not copied."""
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * n_bytes).from_address(address), dtype).reshape(shape)
