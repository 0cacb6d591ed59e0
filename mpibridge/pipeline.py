"""`reconstruct`: scan + calibration + plugin → image with provenance."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr

import mpibridge
from mpibridge import accessor, registry  # noqa: F401 - the accessor registers itself
from mpibridge import weights as trained
from mpibridge.acquisition import Acquisition, acquisition_of
from mpibridge.calibration import calibration_grid
from mpibridge.device import resolve_device, to_numpy
from mpibridge.errors import MPIBridgeWarning, SettingsError, ShapeError
from mpibridge.execution import execute
from mpibridge.fingerprint import file_fingerprint, fingerprint
from mpibridge.frames import frame_times
from mpibridge.mdf.header import Header
from mpibridge.model import IMAGE_DIMS, RECONSTRUCTION, Grid, triple
from mpibridge.patches import patch_of_period
from mpibridge.plugin import (
    ImageProblem,
    Plugin,
    RecordingProblem,
    Report,
    Result,
    SpectralProblem,
    TrainablePlugin,
    WaveformProblem,
    make_settings,
)
from mpibridge.preprocessing import Preprocessing
from mpibridge.problems import (
    free_grid,
    image_problem,
    recording_problem,
    spectral_problem,
    warn_of_rows,
    waveform_problem,
)
from mpibridge.progress import reporting
from mpibridge.provenance import BOX, PROVENANCE
from mpibridge.reading import check_engine, read

PROBLEMS: dict[type, Any] = {
    SpectralProblem: spectral_problem,
    WaveformProblem: waveform_problem,
    ImageProblem: image_problem,
}
"""How the problem is built that a plugin takes; a `RecordingProblem` also needs a folder."""
CALIBRATED = (SpectralProblem, RecordingProblem)
"""Problems that need a calibration, and lie on its grid."""
Files = str | Path | xr.Dataset
"""A file, or a dataset that was opened from one."""


def reconstruct(
    scan: Files,
    *,
    plugin: str = "kaczmarz",
    system_matrix: Files | Sequence[Files] | None = None,
    weights: str | Path | None = None,
    preprocessing: Preprocessing | None = None,
    engine: str = "native",
    device: str = "auto",
    seed: int = 0,
    progress: bool | Report | None = None,
    **settings: Any,
) -> xr.Dataset:
    """The image of a scan.

    scan: a measurement. system_matrix: its calibration; several make one contrast each, or, for a scan with several
    patches, serve the patches they were recorded for; None takes the one the scan was opened with; methods on waveforms
    and x-space images need none, and take its grid where there is one. settings: the
    plugin's own. weights: of a trained method, a file or the folder of `mpibridge.train`; None looks for those of this
    acquisition (`mpibridge.weights.find`). What neither preprocessing nor settings say is as in their training. engine: "julia" runs a classical plugin in MPIReco.jl. progress: True for a bar, or a callable
    ``(done, total, text)``.

    Returns a Dataset with ``concentration`` (frame, z, y, x), ``contrast`` first if there are several, in units of the
    calibration's delta sample, ``concentration_std`` where the plugin gives one, coordinates in metres and seconds, the
    scan's metadata, and under ``/reconstruction/_mpibridge`` how it was made.
    Raises MDFError, MismatchError (other sequence), SettingsError, PluginError, WeightsError, JuliaSetupError.
    Source: MPIReco.jl `reconstruct("SinglePatch" | "SinglePatchSparse" | "MultiPatch", …)`.

    >>> image = reconstruct("scan.mdf", system_matrix="calibration.mdf", iterations=3)  # doctest: +SKIP
    """
    started = time.perf_counter()
    check_engine(engine)
    cls = registry.load(plugin)
    chosen = make_settings(cls, settings)
    method: Plugin[Any] = cls(chosen)
    if weights is not None and not isinstance(method, TrainablePlugin):
        raise SettingsError(
            f"plugin {plugin!r} is not trained and takes no weights, found weights={weights!r}"
        )
    if engine == "julia" and cls.takes is not RecordingProblem:
        counterpart = method.in_julia()
        if counterpart is None:
            raise SettingsError(f'plugin {plugin!r} is not part of MPIReco.jl; pass engine="native"')
        method = counterpart
    if method.takes is RecordingProblem and device not in ("auto", "cpu"):
        raise SettingsError(f'device={device!r}: MPIReco.jl runs on the CPU here; leave it at "auto"')
    if not isinstance(preprocessing, Preprocessing | None):
        raise SettingsError(f"preprocessing must be mpibridge.Preprocessing(…), found {preprocessing!r}")
    if preprocessing is not None and method.takes in (WaveformProblem, ImageProblem):
        warn_of_rows(preprocessing)
    if not isinstance(seed, Integral) or seed < 0:
        raise SettingsError(f"seed must be a whole number of at least 0, found {seed!r}")
    scan = _opened(scan)
    calibrations = _calibrations(scan, system_matrix, needed=method.takes in CALIBRATED)
    found = None
    if isinstance(method, TrainablePlugin):
        found = _weights(type(method), scan, calibrations, preprocessing, settings, weights)
        preprocessing = trained.with_preprocessing(preprocessing, found.header)
    preprocessing = preprocessing or Preprocessing()
    provenance = {
        "plugin": plugin,
        "preprocessing": json.dumps(preprocessing.plain(), default=str),
        "engine": "julia" if method.takes is RecordingProblem else "native",
        "seed": int(seed),
        "version": mpibridge.__version__,
        "scan": json.dumps(fingerprint(scan)),
        "systemMatrix": json.dumps([fingerprint(c) for c in calibrations]),
    }
    if found is not None:
        said = {"name": found.path.name, "origin": found.origin, **file_fingerprint(found.path)}
        provenance["weights"] = json.dumps(said)
    with ExitStack() as stack:
        problem: Any
        if method.takes is RecordingProblem:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="mpibridge-")))
            problem = recording_problem(scan, calibrations, preprocessing, folder)
            where = "cpu"
        else:
            problem = PROBLEMS[method.takes](scan, calibrations, preprocessing)
            where = resolve_device(device)
        if method.takes is SpectralProblem:
            provenance["rows"] = problem.operator.n_rows
        if found is not None:
            method = trained.build_method(type(method), settings, problem, found)
            chosen = method.settings
        provenance["settings"] = json.dumps(asdict(chosen), default=str)
        report = stack.enter_context(reporting(progress))
        generator = np.random.default_rng(seed)
        if method.takes is RecordingProblem:
            result = to_numpy(method.reconstruct(problem, generator=generator, report=report))
        else:
            result = execute(method, problem, generator=generator, report=report, device=where)
    provenance |= {"device": where, "seconds": time.perf_counter() - started}
    calibrated = method.takes in CALIBRATED
    grid = problem.grid
    if method.takes is SpectralProblem and result.grid is not None:  # MPIReco.jl places its images itself
        grid, result = result.grid, replace(result, grid=None)
    if calibrated:
        grid = placed_grid(grid, scan, calibrations[0])
    if type(method).sampled is not Plugin.sampled:
        provenance |= {f"{BOX}{name}": value for name, value in grid.attributes().items()}
    knows_places = not calibrated or calibration_grid(calibrations[0]) is not None
    return _image(scan, preprocessing, grid, result, provenance, labelled=knows_places)


def _opened(file: Files) -> xr.Dataset:
    if isinstance(file, str | Path):
        return read(file)
    if not isinstance(file, xr.Dataset):
        raise SettingsError(f"a path or an opened dataset is wanted, found {type(file).__name__}")
    return file


def _calibrations(
    scan: xr.Dataset, system_matrix: Files | Sequence[Files] | None, *, needed: bool
) -> list[xr.Dataset]:
    given = scan.attrs.get("system_matrix") if system_matrix is None else system_matrix
    if given is None and not needed:
        return []
    if given is None:
        raise SettingsError(
            "no system matrix: pass system_matrix=…, or open the scan with one, "
            "mpibridge.open(path, system_matrix=…); mpibridge.find_calibration(scan, folder) looks for it"
        )
    several: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
    if not several:
        raise SettingsError(
            "system_matrix is an empty list; pass one calibration, or one per contrast or patch"
        )
    return [_opened(file) for file in several]


def _weights(
    cls: type[TrainablePlugin],
    scan: xr.Dataset,
    calibrations: Sequence[xr.Dataset],
    preprocessing: Preprocessing | None,
    settings: Mapping[str, Any],
    path: str | Path | None,
) -> trained.Weights:
    """The weights for this recording. A calibration tells the acquisition better than the scan it belongs to.

    Where the user leaves the grid to the weights, theirs decides where the image lies.
    """

    def acquired(wanted: Preprocessing) -> Acquisition | None:
        if cls.takes is not SpectralProblem:
            return acquisition_of(scan, free_grid(scan, calibrations, wanted))
        calibrated = calibration_grid(calibrations[0])
        return None if calibrated is None else acquisition_of(calibrations[0], wanted.target_grid(calibrated))

    def prepared(plain: Mapping[str, Any]) -> Acquisition | None:
        stored = Preprocessing.from_plain(plain)
        return acquired(stored if preprocessing is None or preprocessing.grid is None else preprocessing)

    return trained.find(cls, acquired(preprocessing or Preprocessing()), settings, path, prepared=prepared)


def _image(
    scan: xr.Dataset,
    preprocessing: Preprocessing,
    grid: Grid,
    result: Result,
    provenance: dict[str, Any],
    *,
    labelled: bool,
) -> xr.Dataset:
    """The image on ``grid``, or where the plugin says it lies. labelled: whether positions are known."""
    grid = grid if result.grid is None else result.grid
    shape = np.shape(result.image)
    dims = IMAGE_DIMS if len(shape) == 4 else ("contrast", *IMAGE_DIMS)
    if len(shape) not in (4, 5) or shape[-3:] != grid.shape:
        raise ShapeError(f"plugin returned an image {shape}, the grid is {grid.shape} (z, y, x)")
    unit = {"units": "1", "long_name": "concentration in units of the delta sample"}
    variables = {"concentration": (dims, np.asarray(result.image, np.float32), unit)}
    if result.std is not None:
        variables["concentration_std"] = (dims, np.asarray(result.std, np.float32), {"units": "1"})
    coordinates = grid.coordinates() if labelled else {}
    times = frame_times(scan, preprocessing) if result.times is None else result.times
    header = {
        path: value
        for path, value in scan.attrs.items()
        if path.startswith("/")
        and not path.startswith(("/measurement/", "/calibration/", "/reconstruction/"))
    }
    attrs = header | {f"{PROVENANCE}/{name}": value for name, value in provenance.items()}
    attrs |= {f"{PROVENANCE}/trace/{name}": np.asarray(value) for name, value in result.trace.items()}
    return xr.Dataset(
        variables,
        {**coordinates, "time": ("frame", times, {"units": "s"})},
        attrs | {"kind": RECONSTRUCTION} | grid.attributes(),
    )


def placed_grid(grid: Grid, scan: xr.Dataset, calibration: xr.Dataset) -> Grid:
    """A calibrated grid where the scan saw it: scaled by the gradients, at the focus field.

    At another gradient the field-free point moves more or less per tesla. MPIReco.jl 0.9.7 centres the axes on the focus
    field and forgets the centre of the grid; here it counts.
    """
    ours, theirs = Header(scan.attrs), Header(calibration.attrs)
    if len(patch_of_period(scan)[0]) > 1:
        return grid  # patches are placed already
    shift = ours.patch_centers[0] - theirs.patch_centers[0]
    gradient, calibrated = ours.gradient_diagonal[0], theirs.gradient_diagonal[0]
    ratio = calibrated / gradient if gradient and calibrated else 1.0
    if abs(ratio - 1) > 1e-6:
        warnings.warn(
            f"the scan was recorded at {gradient} T/m along x, the calibration at {calibrated} T/m: "
            f"positions are scaled by {ratio:.4g}, as MPIReco.jl does",
            MPIBridgeWarning,
            stacklevel=4,
        )
    extent, center = np.array(grid.field_of_view), np.array(grid.center)
    return Grid(grid.size, triple(extent * ratio), triple(center * ratio + shift))
