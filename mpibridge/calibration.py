"""Which rows of a system matrix to use, and the rows themselves: SNR, background, transfer function, grid."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import xarray as xr

from mpibridge.errors import MDFError, MPIBridgeWarning, SettingsError
from mpibridge.gridding import extrapolate, interpolate
from mpibridge.labels import whole
from mpibridge.mdf.header import Header, dataset_grid
from mpibridge.mdf.lazy import as_slice
from mpibridge.mdf.schema import DATA
from mpibridge.model import BACKGROUND_DIMS, CALIBRATION, GRID_DIMS, SNR_DIMS, SYSTEM_MATRIX_DIMS, Grid
from mpibridge.preprocessing import Preprocessing
from mpibridge.signals import uses_transfer_function

BLOCK_BYTES = 4 * 2**20
"""Rows are read in blocks of about this size, so that a block is all that is held twice."""
Background = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Rows:
    """Selected rows: ``bins`` and ``receivers`` (n,), 0-based, the bin running fastest within a receiver."""

    bins: np.ndarray
    receivers: np.ndarray

    def __len__(self) -> int:
        return len(self.bins)

    def common(self, other: Rows) -> Rows:
        """The rows that both selections have, in this one's order."""
        theirs = set(zip(other.bins.tolist(), other.receivers.tolist(), strict=True))
        keep = [pair in theirs for pair in zip(self.bins.tolist(), self.receivers.tolist(), strict=True)]
        return Rows(self.bins[keep], self.receivers[keep])

    def union(self, other: Rows) -> Rows:
        """The rows that either selection has, sorted by receiver and bin."""
        pairs = np.unique(
            np.stack([np.r_[self.receivers, other.receivers], np.r_[self.bins, other.bins]]), axis=1
        )
        return Rows(pairs[1], pairs[0])


def select_rows(calibration: xr.Dataset, preprocessing: Preprocessing | None = None) -> Rows:
    """The rows of a calibration that pass the selection.

    Raises SettingsError if none is left. Source: MPIFiles.jl `filterFrequencies` (only the calibration is looked at;
    the SNR of the first period counts).
    """
    settings = preprocessing or Preprocessing()
    require_calibration(calibration)
    header = Header(calibration.attrs)
    bins = calibration["bin"].values
    frequencies = header.frequencies
    keep = frequencies[bins] >= settings.min_frequency
    if settings.max_frequency is not None:
        keep &= frequencies[bins] <= settings.max_frequency
    if settings.mixing_order is not None:
        order = header.mixing_orders[bins, 3]
        keep &= (order >= 0) & (order <= settings.mixing_order)
    if settings.step > 1:
        keep &= bins % settings.step == 0
    for low, high in settings.stop_bands:
        first = np.searchsorted(frequencies, low, side="right") - 1
        last = np.searchsorted(frequencies, high, side="right") - 1
        keep &= ~((bins >= first) & (bins <= last))
    n_receivers = calibration.sizes["receiver"]
    chosen = range(n_receivers) if settings.receivers is None else sorted(set(settings.receivers))
    if max(chosen) >= n_receivers:
        raise SettingsError(
            f"receiver {max(chosen)} is asked for, the calibration has {n_receivers} (counted from 0)"
        )
    mask = np.zeros((n_receivers, len(bins)), bool)
    mask[list(chosen)] = keep
    if settings.snr_threshold is not None and settings.snr_threshold > 0:
        mask &= snr(calibration).values[0] >= settings.snr_threshold
    receivers, where = np.nonzero(mask)
    if not len(where):
        raise SettingsError(
            "no row of the system matrix passes the selection: "
            f"{int(keep.sum())} of {len(bins)} bins lie in the chosen band"
            + (
                f", none of them with an SNR of {settings.snr_threshold}"
                f" (highest {float(np.nanmax(snr(calibration).values[0])):.3g})"
                if settings.snr_threshold
                else ""
            )
            + "; widen the band or lower the threshold"
        )
    return Rows(bins[where], receivers)


def snr(calibration: xr.Dataset) -> xr.DataArray:
    """Signal-to-noise ratio (period, receiver, frequency): the file's own, else computed with a warning."""
    require_calibration(calibration)
    if "snr" in calibration:
        return whole(calibration, "snr", SNR_DIMS)
    warnings.warn(
        f"{Header(calibration.attrs).source} stores no SNR: it is computed from the background frames "
        "(MPIFiles.jl would select no row)",
        MPIBridgeWarning,
        stacklevel=3,
    )
    return calculate_snr(calibration)


def calculate_snr(calibration: xr.Dataset) -> xr.DataArray:
    """SNR (period, receiver, frequency) from foreground and background frames, the median over periods in each.

    Signal: median deviation from the mean background over voxels where the 20 best bins are strong; noise: mean
    deviation of the background frames. Raises MDFError without background frames.
    Source: MPIFiles.jl `calculateSystemMatrixSNR`.
    """
    if "background" not in calibration:
        raise MDFError(
            Header(calibration.attrs).source,
            "/calibration/snr",
            "is missing, and so are the background frames it could be computed from",
            "select rows by frequency instead: snr_threshold=None",
        )
    matrix = whole(calibration, "system_matrix", SYSTEM_MATRIX_DIMS)
    background = whole(calibration, "background", BACKGROUND_DIMS)
    out = np.zeros(tuple(matrix.sizes[dim] for dim in SNR_DIMS))
    for period in range(out.shape[0]):
        for receiver in range(out.shape[1]):
            where = {"period": period, "receiver": receiver}
            foreground = matrix.isel(where).values.reshape(out.shape[2], -1)
            out[period, receiver] = _snr_of_bins(foreground, background.isel(where).values)
    out[:] = np.median(out, axis=0)
    return xr.DataArray(out, dims=SNR_DIMS)


def _snr_of_bins(foreground: np.ndarray, background: np.ndarray) -> np.ndarray:
    """(bin,) from foreground (bin, voxel) and background (bin, frame)."""
    mean = background.mean(1, keepdims=True)
    noise = np.abs(background - mean).mean(1) if background.shape[1] > 1 else np.abs(mean[:, 0])
    rough, signal = np.zeros(len(noise)), np.zeros(len(noise))
    step = max(1, BLOCK_BYTES // max(1, foreground[:1].nbytes))
    blocks = [
        slice(first, first + step) for first in range(0, len(noise), step)
    ]  # one is all that is held twice
    with np.errstate(divide="ignore", invalid="ignore"):
        for block in blocks:
            rough[block] = np.median(np.abs(foreground[block] - mean[block]), 1)
        rough = np.where(noise > 0, rough / noise, 0.0)
        magnitude = np.abs(foreground[np.argsort(-rough, kind="stable")[:20]])
        mask = (magnitude > 0.9 * magnitude.max(1, keepdims=True)).any(0)
        for block in blocks:
            deviation = np.abs(foreground[block] - mean[block])
            signal[block] = np.median(deviation[:, mask], 1)
            for row in np.flatnonzero(signal[block] > 3.5 * noise[block]):
                strong = deviation[row] > 0.9 * deviation[row].max()
                signal[block.start + row] = np.median(deviation[row][strong])
        return np.where(noise > 0, signal / noise, 0.0)


def system_matrix_rows(
    calibration: xr.Dataset, rows: Rows, preprocessing: Preprocessing | None = None
) -> xr.DataArray:
    """Rows (row, z, y, x) complex64 of the system matrix, periods slowest; only these rows are read.

    Corrected as ``preprocessing`` says: background interpolated in acquisition order, transfer function, grid.
    Raises MDFError for NaN. Source: MPIFiles.jl `getSystemMatrix`, MPIReco.jl `getSF`.
    """
    settings = preprocessing or Preprocessing()
    require_calibration(calibration)
    header = Header(calibration.attrs)
    matrix = whole(
        calibration, "system_matrix", SYSTEM_MATRIX_DIMS
    ).variable  # labels would travel with every block
    n_periods, shape = matrix.sizes["period"], tuple(matrix.sizes[dim] for dim in GRID_DIMS)
    out = np.empty((n_periods * len(rows), *shape), np.complex64)
    where = positions_of_bins(calibration, rows.bins)
    background = _background_of_voxels(calibration) if settings.system_matrix_background else None
    transfer = (
        calibration["transfer_function"].values if uses_transfer_function(calibration, settings) else None
    )
    step = max(1, BLOCK_BYTES // max(1, int(np.prod(shape)) * 8))

    def fill(period: int, receiver: int, block: slice | np.ndarray) -> None:
        bins = where[block]
        values = matrix.isel(period=period, receiver=receiver, frequency=bins).values
        # A sum is quicker than looking at every value; it may also overflow, so only then do we look.
        if not np.isfinite(values.sum()) and not np.isfinite(values).all():
            found = f"holds NaN or infinite values in receiver {receiver}, bins among {rows.bins[block][:5]}…"
            raise MDFError(header.source, DATA, found, "leave these frequencies out")
        if background is not None:
            values = _minus_background(calibration, background, values, period, receiver, bins)
        if transfer is not None:
            factor = transfer[receiver, bins][:, None, None, None]
            values = np.divide(values, factor, out=np.zeros_like(values), where=factor != 0)
        out[period * len(rows) : (period + 1) * len(rows)][block] = values

    blocks = [
        (period, int(receiver), as_slice(members[first : first + step]))
        for period in range(n_periods)
        for receiver in np.unique(rows.receivers)
        for members in [np.flatnonzero(rows.receivers == receiver)]
        for first in range(0, len(members), step)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # copying lets other threads run
        list(threads.map(lambda block: fill(*block), blocks))
    grid = calibration_grid(calibration)
    if grid is not None:
        coordinates = grid.coordinates()
        target = settings.target_grid(grid)
        if not target.almost_equal(grid):
            out, coordinates = _regrid(out, grid, target), target.coordinates()
    elif settings.grid is not None:
        header["/calibration/fieldOfView"]  # raises: the file does not say where its voxels are
    else:
        coordinates = {}
    labels = {
        "period": ("row", np.repeat(np.arange(n_periods), len(rows))),
        "receiver": ("row", np.tile(rows.receivers, n_periods)),
        "bin": ("row", np.tile(rows.bins, n_periods)),
        "frequency": ("row", header.frequencies[np.tile(rows.bins, n_periods)], {"units": "Hz"}),
    }
    return xr.DataArray(out, dims=("row", *GRID_DIMS), coords={**coordinates, **labels})


def calibration_grid(calibration: xr.Dataset) -> Grid | None:
    """The calibrated grid (or the part of it that was selected), None if the file does not say where its voxels are."""
    return dataset_grid(calibration)


def background_deviation(
    calibration: xr.Dataset, rows: Rows, preprocessing: Preprocessing | None = None
) -> np.ndarray | None:
    """Standard deviation (row,) over the background frames of a calibration; None with fewer than two.

    Divided by transfer function and induction factor where they are, as the rows of a scan.
    Source: MPIReco.jl `WhiteningWeightingParameters`.
    """
    if calibration.sizes.get("background_frame", 0) < 2:
        return None
    where = positions_of_bins(calibration, rows.bins)
    frames = whole(calibration, "background", BACKGROUND_DIMS).values[:, rows.receivers, where]
    deviation = frames.std(axis=-1, ddof=1)
    if uses_transfer_function(calibration, preprocessing or Preprocessing()):
        transfer = np.abs(calibration["transfer_function"].values[rows.receivers, where])
        deviation = np.divide(deviation, transfer, out=np.zeros_like(deviation), where=transfer > 0)
        induction = Header(calibration.attrs).induction_factors
        deviation = deviation if induction is None else deviation / induction[rows.receivers]
    return deviation.reshape(-1)


def positions_of_bins(calibration: xr.Dataset, bins: np.ndarray) -> np.ndarray:
    """Where ``bins`` of the full spectrum are stored."""
    lookup = np.full(Header(calibration.attrs).n_frequencies, -1)
    lookup[calibration["bin"].values] = np.arange(calibration.sizes["frequency"])
    where = lookup[bins]
    if (where < 0).any():
        raise SettingsError(f"bins {bins[where < 0][:5].tolist()} are not stored in the calibration")
    return where


def require_calibration(calibration: xr.Dataset) -> None:
    """MDFError unless the dataset is a calibration."""
    if calibration.attrs.get("kind", CALIBRATION) != CALIBRATION or "system_matrix" not in calibration:
        raise MDFError(
            Header(calibration.attrs).source,
            "/calibration",
            f"is missing: the file is a {calibration.attrs.get('kind', 'dataset')}",
            "a calibration (system matrix) is wanted here",
        )


def _background_of_voxels(calibration: xr.Dataset) -> Background | None:
    """For every voxel the two background frames around it and the share of the second: three arrays (z, y, x).

    Background frames count as evenly spread over the acquisition, voxels stand at their own place in it.
    Source: MPIFiles.jl, α_m = (σ(m) − 1)/(N − 1)·(E − 1) + 1.
    """
    n_background = calibration.sizes.get("background_frame", 0)
    if not n_background:
        warnings.warn(
            f"{Header(calibration.attrs).source} has no background frames: its system matrix stays uncorrected",
            MPIBridgeWarning,
            stacklevel=4,
        )
        return None
    order = calibration["acquisition_index"].values
    evenly = calibration.attrs.get("/measurement/isFourierTransformed", 1)
    if n_background == 1 or not evenly:  # of time data MPIFiles.jl subtracts the plain mean
        nothing = np.zeros(order.shape, int)
        return nothing, nothing, np.zeros(order.shape, np.float32)
    last = max(order.max(), calibration["background_acquisition_index"].values.max())
    place = order / last * (n_background - 1)
    low = np.minimum(place.astype(int), n_background - 2)
    return low, low + 1, (place - low).astype(np.float32)


def _minus_background(
    calibration: xr.Dataset,
    where: Background,
    values: np.ndarray,
    period: int,
    receiver: int,
    bins: np.ndarray,
) -> np.ndarray:
    frames = (
        whole(calibration, "background", BACKGROUND_DIMS)
        .isel(period=period, receiver=receiver, frequency=bins)
        .values
    )
    if not calibration.attrs.get("/measurement/isFourierTransformed", 1):
        return values - frames.mean(1)[:, None, None, None]
    frames = _block_means(frames, calibration)
    low, high, share = where
    return values - (frames[:, low] * (1 - share) + frames[:, high] * share)


def _block_means(frames: np.ndarray, calibration: xr.Dataset) -> np.ndarray:
    """Background frames taken one after another are replaced by their mean."""
    order = np.sort(calibration["background_acquisition_index"].values)
    blocks = np.split(np.arange(len(order)), np.flatnonzero(np.diff(order) > 1) + 1)
    if len(blocks) == len(order):
        return frames
    return np.concatenate([np.repeat(frames[:, b].mean(1, keepdims=True), len(b), 1) for b in blocks], axis=1)


def _regrid(rows: np.ndarray, grid: Grid, target: Grid) -> np.ndarray:
    """Rows on the target grid; where it reaches beyond the calibration they are extrapolated first."""
    if any(new > old * (1 + 1e-9) for new, old in zip(target.field_of_view, grid.field_of_view, strict=True)):
        rows, grid = extrapolate(rows, grid, target.field_of_view)
        if target.almost_equal(grid):
            return rows
    return interpolate(rows, grid, target)
