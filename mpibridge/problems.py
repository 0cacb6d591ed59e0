"""From recordings to problems: what a plugin that takes this or that kind of problem is given."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from mpibridge.calibration import (
    Rows,
    background_deviation,
    calibration_grid,
    select_rows,
    system_matrix_rows,
)
from mpibridge.errors import MDFError, MismatchError, MPIBridgeWarning, SettingsError, ShapeError
from mpibridge.frames import foreground
from mpibridge.matching import require_match
from mpibridge.mdf.header import Header
from mpibridge.model import GRID_DIMS, Grid, triple
from mpibridge.operators import SystemMatrix, side_by_side, sparsify
from mpibridge.originals import as_file
from mpibridge.patches import (
    average_patches,
    is_patched,
    patch_of_period,
    patched_grid,
    patched_system_matrix,
)
from mpibridge.plugin import ImageProblem, RecordingProblem, SpectralProblem, WaveformProblem
from mpibridge.preprocessing import Preprocessing
from mpibridge.signals import background_rows, measurement_rows, time_signals, uses_transfer_function

OF_ROWS = (
    "receivers",
    "min_frequency",
    "max_frequency",
    "snr_threshold",
    "mixing_order",
    "step",
    "stop_bands",
    "weighting",
    "sparsity",
)
"""Settings of `Preprocessing` that select or weigh rows."""
FREE_VOXELS = 64
"""Voxels along an axis with a drive field, of an image without calibration, if nobody asks for a grid."""


def recording_problem(
    scan: xr.Dataset, calibrations: Sequence[xr.Dataset], preprocessing: Preprocessing, folder: Path
) -> RecordingProblem:
    """The recordings as files; what is not stored as it is goes into ``folder``.

    Raises MismatchError if scan and calibration were recorded with different sequences.
    """
    for calibration in calibrations:
        require_match(scan, calibration)
        _warn_of_transfer_functions(scan, calibration, preprocessing)
    n_patches = len(patch_of_period(scan)[0]) if is_patched(scan, calibrations) else 1
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
    patched = is_patched(scan, calibrations)
    rows = selections[0]
    if patched:
        for other in selections[1:]:
            rows = rows.union(other)
        operator = patched_system_matrix(scan, calibrations, rows, preprocessing)
    else:
        for other in selections[1:]:
            rows = rows.common(other)
        if not len(rows):
            raise SettingsError("the calibrations have no row in common that passes the selection of each")
        operator = side_by_side([system_matrix_operator(c, rows, preprocessing) for c in calibrations])
    data = measurement_rows(scan, rows.bins, rows.receivers, preprocessing)
    noise = background_rows(scan, rows.bins, rows.receivers, preprocessing)
    if patched:
        patch = patch_of_period(scan)[1]
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
    matrix_deviation = None
    if len(calibrations) == 1 and not patched and operator.grid == calibration_grid(calibrations[0]):
        matrix_deviation = background_deviation(calibrations[0], rows, preprocessing)
    if matrix_deviation is not None:
        matrix_deviation = np.resize(matrix_deviation, operator.n_rows)
    weights = row_weights(operator, rows, calibrations[0], deviation, preprocessing)
    if weights is not None:
        operator = operator.weighted(weights)
        data = (data * weights).astype(data.dtype)
        deviation = None if deviation is None else deviation * weights
        matrix_deviation = None if matrix_deviation is None else matrix_deviation * weights
    return SpectralProblem(
        grid=operator.grid, rows=data, operator=operator, noise=deviation, matrix_noise=matrix_deviation
    )


def system_matrix_operator(calibration: xr.Dataset, rows: Rows, preprocessing: Preprocessing) -> SystemMatrix:
    """The rows of a calibration as an operator on the grid that is asked for, compressed if that is asked for; no weights."""
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


def row_weights(
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
            stacklevel=5,
        )


def waveform_problem(
    scan: xr.Dataset, calibrations: Sequence[xr.Dataset], preprocessing: Preprocessing
) -> WaveformProblem:
    """The voltages of a scan with one period per frame, and the path of its field-free point.

    calibrations: only for their grid; none is needed. SettingsError for several periods.
    """
    from mpibridge.xspace import trajectory

    signals = time_signals(scan, preprocessing).values
    if signals.shape[1] != 1:
        raise SettingsError(
            f"the scan has {signals.shape[1]} periods per frame, one is wanted; average them with period_averages"
        )
    position, _ = trajectory(Header(scan.attrs))
    return WaveformProblem(
        grid=free_grid(scan, calibrations, preprocessing),
        waveform=signals[:, 0],
        sample_rate=2 * Header(scan.attrs).bandwidth,
        trajectory=position[: signals.shape[-1]],
    )


def image_problem(
    scan: xr.Dataset, calibrations: Sequence[xr.Dataset], preprocessing: Preprocessing
) -> ImageProblem:
    """X-space images of a scan, one channel per direction of the scan (`mpibridge.xspace`).

    calibrations: only for their grid; none is needed.
    """
    from mpibridge.xspace import gridded_images

    if preprocessing.period_averages > 1:
        raise SettingsError(
            "period_averages: every period of an x-space scan is another part of the path; leave it at 1"
        )
    signals = time_signals(scan, preprocessing).values
    grid = free_grid(scan, calibrations, preprocessing)
    images = gridded_images(signals, Header(scan.attrs), grid, fundamental=preprocessing.fundamental)
    return images.problem()


def warn_of_rows(preprocessing: Preprocessing) -> None:
    """Say which settings select or weigh rows: they say nothing to a method that takes voltages or their images."""
    if given := [name for name in OF_ROWS if name in preprocessing.plain()]:
        warnings.warn(
            f"not used, as this method takes all voltages of a period, no rows of a system matrix: {', '.join(given)}",
            MPIBridgeWarning,
            stacklevel=3,
        )


def free_grid(scan: xr.Dataset, calibrations: Sequence[xr.Dataset], preprocessing: Preprocessing) -> Grid:
    """The grid asked for, else the calibration's, else `FREE_VOXELS` over the drive field wherever there is one."""
    if isinstance(preprocessing.grid, Grid):
        return preprocessing.grid
    calibrated = calibration_grid(calibrations[0]) if calibrations else None
    if calibrated is None:
        header = Header(scan.attrs)
        extent = np.zeros(3)
        reach = header.drive_field_of_view
        extent[: len(reach)] = reach
        driven = extent > 0
        if not driven.any() or not np.isfinite(extent).all():
            raise SettingsError(
                "the header tells no field of view; pass Preprocessing(grid=mpibridge.Grid(…))"
            )
        extent[~driven] = extent[driven].min() / FREE_VOXELS
        size = np.where(driven, FREE_VOXELS, 1)
        calibrated = Grid(triple(size), triple(extent), triple(header.patch_centers.mean(0)))
    return preprocessing.target_grid(calibrated)
