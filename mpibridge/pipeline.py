"""`reconstruct`: scan + calibration + plugin → image with provenance."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr

import mpibridge
from mpibridge import accessor, registry  # noqa: F401 - the accessor registers itself
from mpibridge.calibration import (
    Rows,
    background_deviation,
    calibration_grid,
    select_rows,
    system_matrix_rows,
)
from mpibridge.device import resolve_device, to_device, to_numpy
from mpibridge.errors import MDFError, MismatchError, MPIBridgeWarning, SettingsError, ShapeError
from mpibridge.fingerprint import fingerprint
from mpibridge.frames import foreground, frame_times
from mpibridge.matching import require_match
from mpibridge.mdf.header import Header
from mpibridge.model import GRID_DIMS, IMAGE_DIMS, RECONSTRUCTION, Grid, triple
from mpibridge.operators import SystemMatrix, side_by_side, sparsify
from mpibridge.originals import as_file
from mpibridge.patches import average_patches, patch_of_period, patched_grid, patched_system_matrix
from mpibridge.plugin import Plugin, RecordingProblem, Report, Result, SpectralProblem, make_settings
from mpibridge.preprocessing import Preprocessing
from mpibridge.progress import reporting
from mpibridge.provenance import PROVENANCE
from mpibridge.reading import check_engine, read
from mpibridge.signals import background_rows, measurement_rows, uses_transfer_function

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
    patches, serve the patches they were recorded for; None takes the one the scan was opened with. settings: the
    plugin's own. engine: "julia" runs a classical plugin in MPIReco.jl. progress: True for a bar, or a callable
    ``(done, total, text)``.

    Returns a Dataset with ``concentration`` (frame, z, y, x), ``contrast`` first if there are several, in units of the
    calibration's delta sample, ``concentration_std`` where the plugin gives one, coordinates in metres and seconds, the
    scan's metadata, and under ``/reconstruction/_mpibridge`` how it was made.
    Raises MDFError, MismatchError (other sequence), SettingsError, PluginError, JuliaSetupError.
    Source: MPIReco.jl `reconstruct("SinglePatch" | "SinglePatchSparse" | "MultiPatch", …)`.

    >>> image = reconstruct("scan.mdf", system_matrix="calibration.mdf", iterations=3)  # doctest: +SKIP
    """
    started = time.perf_counter()
    check_engine(engine)
    if weights is not None:
        raise NotImplementedError("weights: no plugin of this version takes trained weights")
    cls = registry.load(plugin)
    chosen = make_settings(cls, settings)
    method: Plugin[Any] = cls(chosen)
    if engine == "julia" and cls.takes is not RecordingProblem:
        counterpart = method.in_julia()
        if counterpart is None:
            raise SettingsError(f'plugin {plugin!r} is not part of MPIReco.jl; pass engine="native"')
        method = counterpart
    elif cls.takes not in (SpectralProblem, RecordingProblem):
        raise NotImplementedError(
            f"plugin {plugin!r} takes a {cls.takes.__name__}: only SpectralProblem and RecordingProblem are built so far"
        )
    if method.takes is RecordingProblem and device not in ("auto", "cpu"):
        raise SettingsError(f'device={device!r}: MPIReco.jl runs on the CPU here; leave it at "auto"')
    preprocessing = preprocessing or Preprocessing()
    if not isinstance(preprocessing, Preprocessing):
        raise SettingsError(f"preprocessing must be mpibridge.Preprocessing(…), found {preprocessing!r}")
    if not isinstance(seed, Integral) or seed < 0:
        raise SettingsError(f"seed must be a whole number of at least 0, found {seed!r}")
    scan = _opened(scan)
    calibrations = _calibrations(scan, system_matrix)
    provenance = {
        "plugin": plugin,
        "settings": json.dumps(asdict(chosen), default=str),
        "preprocessing": json.dumps(preprocessing.plain(), default=str),
        "engine": "julia" if method.takes is RecordingProblem else "native",
        "seed": int(seed),
        "version": mpibridge.__version__,
        "scan": json.dumps(fingerprint(scan)),
        "systemMatrix": json.dumps([fingerprint(c) for c in calibrations]),
    }
    with ExitStack() as stack:
        if method.takes is RecordingProblem:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="mpibridge-")))
            recordings = recording_problem(scan, calibrations, preprocessing, folder)
            grid, where = recordings.grid, "cpu"
            given: Any = recordings
        else:
            spectral = spectral_problem(scan, calibrations, preprocessing)
            where = resolve_device(device)
            grid, given = spectral.grid, to_device(spectral, where)
            provenance["rows"] = spectral.operator.n_rows
        report = stack.enter_context(reporting(progress))
        result = method.reconstruct(given, generator=np.random.default_rng(seed), report=report)
    provenance |= {"device": where, "seconds": time.perf_counter() - started}
    return _image(scan, calibrations[0], preprocessing, grid, to_numpy(result), provenance)


def recording_problem(
    scan: xr.Dataset, calibrations: Sequence[xr.Dataset], preprocessing: Preprocessing, folder: Path
) -> RecordingProblem:
    """The recordings as files; what is not stored as it is goes into ``folder``.

    Raises MismatchError if scan and calibration were recorded with different sequences.
    """
    for calibration in calibrations:
        require_match(scan, calibration)
        _warn_of_transfer_functions(scan, calibration, preprocessing)
    n_patches = len(patch_of_period(scan)[0])
    if n_patches > 1:
        grid = patched_grid(scan, calibrations, preprocessing)
    else:
        calibrated = calibration_grid(calibrations[0])
        if calibrated is None:
            raise MDFError(
                Header(calibrations[0].attrs).source,
                "/calibration/fieldOfView",
                "is missing",
                "MPIReco.jl needs the grid of the calibration; the native engine does not",
            )
        grid = preprocessing.target_grid(calibrated)
    return RecordingProblem(
        grid=grid,
        scan=scan,
        system_matrices=calibrations,
        preprocessing=preprocessing,
        frames=preprocessing.frames or range(len(foreground(scan, preprocessing))),
        n_patches=n_patches,
        as_file=partial(as_file, folder),
        spectral=partial(spectral_problem, scan, calibrations, preprocessing),
    )


def spectral_problem(
    scan: xr.Dataset, calibrations: Sequence[xr.Dataset], preprocessing: Preprocessing
) -> SpectralProblem:
    """Rows of a scan and the system matrix that belongs to them, weighted, ready for a plugin.

    Raises MismatchError if scan and calibration were recorded with different sequences.
    """
    for calibration in calibrations:
        require_match(scan, calibration)
        _warn_of_transfer_functions(scan, calibration, preprocessing)
    selections = [select_rows(c, preprocessing) for c in calibrations]
    centers, patch = patch_of_period(scan)
    rows = selections[0]
    if len(centers) > 1:
        for other in selections[1:]:
            rows = rows.union(other)
        operator = patched_system_matrix(scan, calibrations, rows, preprocessing)
    else:
        for other in selections[1:]:
            rows = rows.common(other)
        if not len(rows):
            raise SettingsError("the calibrations have no row in common that passes the selection of each")
        operator = side_by_side([_operator(c, rows, preprocessing) for c in calibrations])
    data = measurement_rows(scan, rows.bins, rows.receivers, preprocessing)
    noise = background_rows(scan, rows.bins, rows.receivers, preprocessing)
    if len(centers) > 1:
        data = average_patches(data.reshape(len(data), -1, len(rows)), patch).reshape(len(data), -1)
        noise = None
    if data.shape[1] != operator.n_rows:
        raise MismatchError(
            f"the scan gives {data.shape[1] // len(rows)} periods per frame, the calibration "
            f"{operator.n_rows // len(rows)}; average them with period_averages"
        )
    # Background frames are single ones; a row of the scan is a mean over averaged frames.
    deviation = (
        None if noise is None or len(noise) < 2 else noise.std(0, ddof=1) / np.sqrt(preprocessing.averages)
    )
    weights = _weights(operator, rows, calibrations[0], deviation, preprocessing)
    if weights is not None:
        operator = operator.weighted(weights)
        data = (data * weights).astype(data.dtype)
        deviation = None if deviation is None else deviation * weights
    return SpectralProblem(grid=operator.grid, rows=data, operator=operator, noise=deviation)


def _operator(calibration: xr.Dataset, rows: Rows, preprocessing: Preprocessing) -> SystemMatrix:
    values = system_matrix_rows(calibration, rows, preprocessing)
    calibrated = calibration_grid(calibration)
    grid = (
        Grid(triple([values.sizes[d] for d in reversed(GRID_DIMS)]), (0.0, 0.0, 0.0))
        if calibrated is None
        else preprocessing.target_grid(calibrated)
    )
    operator = SystemMatrix(values.values.reshape(len(values), -1), grid)
    if preprocessing.sparsity is None:
        return operator
    return sparsify(
        operator,
        preprocessing.sparsity,
        reduction=preprocessing.sparsity_reduction,
        threshold=preprocessing.sparsity_threshold,
    )


def _weights(
    operator: SystemMatrix,
    rows: Rows,
    calibration: xr.Dataset,
    deviation: np.ndarray | None,
    preprocessing: Preprocessing,
) -> np.ndarray | None:
    """Product of the chosen weightings, (row,) float32, or None. Source: MPIReco.jl `Weighting.jl`."""
    if not preprocessing.weightings:
        return None
    n_periods = operator.n_rows // len(rows)
    weights = np.ones(operator.n_rows)
    for kind in preprocessing.weightings:
        if kind == "channel":
            given = np.asarray(preprocessing.channel_weights, float)
            if rows.receivers.max() >= len(given):
                raise ShapeError(
                    f"{len(given)} channel_weights for receiver {rows.receivers.max()} (counted from 0)"
                )
            weights *= np.tile(given[rows.receivers], n_periods)
        elif kind == "row_norm":
            norms = operator.row_norms()
            weights *= np.divide(1, norms, out=np.zeros_like(norms, dtype=float), where=norms > 0)
        else:
            sigma = background_deviation(calibration, rows, preprocessing)
            sigma = deviation if sigma is None else np.resize(sigma, operator.n_rows)
            if sigma is None or not np.all(sigma > 0):
                raise SettingsError(
                    'weighting="whitening" needs at least two background frames that differ, in calibration or scan'
                )
            weights *= sigma.min() / sigma
    return weights.astype(np.float32)


def _opened(file: Files) -> xr.Dataset:
    if isinstance(file, str | Path):
        return read(file)
    if not isinstance(file, xr.Dataset):
        raise SettingsError(f"a path or an opened dataset is wanted, found {type(file).__name__}")
    return file


def _calibrations(scan: xr.Dataset, system_matrix: Files | Sequence[Files] | None) -> list[xr.Dataset]:
    given = scan.attrs.get("system_matrix") if system_matrix is None else system_matrix
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


def _warn_of_transfer_functions(
    scan: xr.Dataset, calibration: xr.Dataset, preprocessing: Preprocessing
) -> None:
    def corrected(data: xr.Dataset) -> bool:
        return Header(data.attrs).flag("isTransferFunctionCorrected") or uses_transfer_function(
            data, preprocessing
        )

    if corrected(scan) != corrected(calibration):
        one, other = ("scan", "calibration") if corrected(scan) else ("calibration", "scan")
        warnings.warn(
            f"the transfer function is divided out of the {one} but not of the {other}: images come out wrong or "
            "inverted; pass transfer_function=False, or files that both have one",
            MPIBridgeWarning,
            stacklevel=4,
        )


def _image(
    scan: xr.Dataset,
    calibration: xr.Dataset,
    preprocessing: Preprocessing,
    grid: Grid,
    result: Result,
    provenance: dict[str, Any],
) -> xr.Dataset:
    """The labelled image where the scan saw it: the calibrated grid, scaled by the gradients, at the focus field.

    MPIReco.jl 0.9.7 centres the axes on the focus field and forgets the centre of the grid; here it counts.
    """
    grid = _placed(grid, scan, calibration) if result.grid is None else result.grid
    shape = np.shape(result.image)
    dims = IMAGE_DIMS if len(shape) == 4 else ("contrast", *IMAGE_DIMS)
    if len(shape) not in (4, 5) or shape[-3:] != grid.shape:
        raise ShapeError(f"plugin returned an image {shape}, the grid is {grid.shape} (z, y, x)")
    unit = {"units": "1", "long_name": "concentration in units of the delta sample"}
    variables = {"concentration": (dims, np.asarray(result.image, np.float32), unit)}
    if result.std is not None:
        variables["concentration_std"] = (dims, np.asarray(result.std, np.float32), {"units": "1"})
    coordinates = {} if calibration_grid(calibration) is None else grid.coordinates()
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


def _placed(grid: Grid, scan: xr.Dataset, calibration: xr.Dataset) -> Grid:
    """The grid in the scanner: at another gradient the field-free point moves more or less per tesla."""
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
