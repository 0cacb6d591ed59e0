"""Measured signals: conversion to volts, averaging, spectral leakage, background, spectra, transfer function.

Order of operations (MPIFiles.jl `getMeasurementsFD`): stored numbers → float32 → slope and offset → leakage window →
mean over frames → mean over periods → minus background → Fourier transform → ÷ transfer function → ÷ induction
factor. Spectra are unnormalised, one-sided: û_k = Σ_n u_n exp(−2πi kn/V).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import xarray as xr

from mpibridge.errors import MDFError, MismatchError, MPIBridgeWarning
from mpibridge.frames import (
    average_frames,
    average_periods,
    background_mask,
    foreground,
    frame_times,
    full_spectrum,
    load,
    recorded,
    stored_bins,
    to_samples,
)
from mpibridge.mdf.header import Header
from mpibridge.model import SIGNAL_DIMS, SPECTRUM_DIMS
from mpibridge.preprocessing import Preprocessing

BLOCK_BYTES = 256 * 2**20
"""Frames are transformed in blocks of about this size."""


def time_signals(scan: xr.Dataset, preprocessing: Preprocessing | None = None) -> xr.DataArray:
    """Foreground signals (frame, period, receiver, sample) float32 in volts (or the file's unit).

    With a transfer function the signals are those of the coil: divided in frequency space, bins it has no value for
    set to zero. Raises MDFError for a calibration or for NaN in the data. Source: MPIFiles.jl `getMeasurements`.
    """
    spectrum = spectra(scan, preprocessing)
    header = Header(scan.attrs)
    values = full_spectrum(spectrum.values, spectrum["bin"].values, header)
    samples = to_samples(values, header.n_samples)
    return xr.DataArray(
        samples, dims=SIGNAL_DIMS, coords={"time": spectrum["time"]}, attrs=dict(spectrum.attrs)
    )


def spectra(scan: xr.Dataset, preprocessing: Preprocessing | None = None) -> xr.DataArray:
    """Foreground spectra (frame, period, receiver, frequency) complex64, corrected as ``preprocessing`` says.

    Raises MDFError for a calibration or for NaN in the data. Source: MPIFiles.jl `getMeasurementsFD`.
    """
    settings = preprocessing or Preprocessing()
    blocks = list(_blocks(scan, settings))
    bins = stored_bins(scan)
    header = Header(scan.attrs)
    return xr.DataArray(
        np.concatenate(blocks),
        dims=SPECTRUM_DIMS,
        coords={
            "time": ("frame", frame_times(scan, settings), {"units": "s"}),
            "frequency": ("frequency", header.frequencies[bins], {"units": "Hz"}),
            "bin": ("frequency", bins),
        },
        attrs={"units": str(header["/acquisition/receiver/unit"])},
    )


def measurement_rows(
    scan: xr.Dataset, bins: np.ndarray, receivers: np.ndarray, preprocessing: Preprocessing | None = None
) -> np.ndarray:
    """The entries (bin, receiver) of the spectra as rows: (frame, row) complex64, periods slowest.

    bins, receivers: (n,), 0-based in the full spectrum. Raises MismatchError if the scan did not store a bin or lacks
    a receiver. Source: MPIFiles.jl `getMeasurementsFD(frequencies=…)`.
    """
    where = _positions_of(scan, bins, receivers)
    rows = [block[:, :, receivers, where] for block in _blocks(scan, preprocessing or Preprocessing())]
    joined = np.concatenate(rows)
    return joined.reshape(len(joined), -1)


def background_rows(
    scan: xr.Dataset, bins: np.ndarray, receivers: np.ndarray, preprocessing: Preprocessing | None = None
) -> np.ndarray | None:
    """Single background frames of a scan as rows (frame, row) complex64, or None if there are none."""
    settings = preprocessing or Preprocessing()
    frames = np.flatnonzero(background_mask(scan))
    if not len(frames):
        return None
    where = _positions_of(scan, bins, receivers)
    data = _transform(scan, average_periods(load(scan, frames, settings), settings), settings)
    return data[:, :, receivers, where].reshape(len(frames), -1)


def uses_transfer_function(data: xr.Dataset, settings: Preprocessing) -> bool:
    """Whether the transfer function of a scan or calibration is to be divided out."""
    if settings.transfer_function is False or Header(data.attrs).flag("isTransferFunctionCorrected"):
        return False
    if "transfer_function" in data:
        return True
    if settings.transfer_function:
        raise MDFError(
            Header(data.attrs).source,
            "/acquisition/receiver/transferFunction",
            "is missing",
            "pass transfer_function=None to correct only files that have one",
        )
    return False


def _blocks(scan: xr.Dataset, settings: Preprocessing) -> Iterator[np.ndarray]:
    """Corrected spectra (frame, period, receiver, stored bin) in blocks of frames."""
    header = Header(scan.attrs)
    chosen = foreground(scan, settings)
    if header.flag("isBackgroundCorrected") and settings.background is not None:
        warnings.warn(
            f"{header.source} says it is background corrected already; it is corrected again, as MPIFiles.jl does",
            MPIBridgeWarning,
            stacklevel=3,
        )
    background, positions = _background(scan, settings)
    array = recorded(scan)
    per_frame = int(np.prod(array.shape[1:])) * 8
    n_blocks = -(-len(chosen) // settings.averages)
    step = max(1, BLOCK_BYTES // max(1, per_frame * settings.averages))
    for first in range(0, n_blocks, step):
        frames = chosen[first * settings.averages : (first + step) * settings.averages]
        data = average_frames(load(scan, frames, settings), settings.averages)
        data = average_periods(data, settings)
        if background is not None:
            data = data - _background_at(background, positions, average_frames(frames, settings.averages))
        data = _transform(scan, data, settings)
        if isinstance(settings.background, xr.Dataset):
            data = data - _empty_mean(settings.background, settings, data.shape[1:])
        yield data.astype(np.complex64, copy=False)


def _positions_of(scan: xr.Dataset, bins: np.ndarray, receivers: np.ndarray) -> np.ndarray:
    """Where the bins are stored."""
    n_receivers = recorded(scan).sizes["receiver"]
    if len(receivers) and receivers.max() >= n_receivers:
        raise MismatchError(
            f"receiver {receivers.max()} is wanted, the scan has {n_receivers}; pass receivers=…"
        )
    lookup = np.full(max(Header(scan.attrs).n_frequencies, bins.max(initial=0) + 1), -1)
    stored = stored_bins(scan)
    lookup[stored] = np.arange(len(stored))
    where = lookup[bins]
    if (where < 0).any():
        missing = np.unique(bins[where < 0])
        raise MismatchError(
            f"the scan did not store {len(missing)} of the selected bins (first {missing[:5].tolist()}); "
            "select rows of a calibration with the same frequency selection"
        )
    return where


def _background(scan: xr.Dataset, settings: Preprocessing) -> tuple[np.ndarray | None, np.ndarray]:
    """Background signals (n, period, receiver, sample) and the stored frames where they hold; n = 1 for a mean."""
    if not isinstance(settings.background, str):
        return None, np.zeros(0)
    mask = background_mask(scan)
    frames = np.flatnonzero(mask)
    if not len(frames):
        warnings.warn(
            f"{Header(scan.attrs).source} has no background frames: nothing is subtracted; "
            "pass an empty scan as background",
            MPIBridgeWarning,
            stacklevel=4,
        )
        return None, frames
    data = average_periods(load(scan, frames, settings), settings)
    if settings.background == "mean" or len(frames) == 1:
        return data.mean(0, keepdims=True, dtype=np.result_type(data, np.float64)).astype(data.dtype), frames[
            :1
        ]
    blocks = np.split(np.arange(len(frames)), np.flatnonzero(np.diff(frames) > 1) + 1)
    for block in blocks:
        data[block] = data[block].mean(0)
    # MPIFiles.jl spreads the background frames evenly over the whole recording, wherever they were taken.
    return data, np.linspace(0, len(mask) - 1, len(frames))


def _background_at(background: np.ndarray, positions: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Background at the (mean) stored positions ``frames``, linear between ``positions``."""
    if len(background) == 1:
        return background
    place = np.interp(frames, positions, np.arange(len(positions)))
    low = np.minimum(place.astype(int), len(positions) - 2)
    share = (place - low).astype(np.float32).reshape(-1, *[1] * (background.ndim - 1))
    return background[low] * (1 - share) + background[low + 1] * share


def _empty_mean(empty: xr.Dataset, settings: Preprocessing, shape: tuple[int, ...]) -> np.ndarray:
    """Mean spectrum of every frame of an empty scan, corrected like the scan itself."""
    data = load(empty, np.arange(recorded(empty).sizes["frame"]), settings)
    mean = _transform(empty, average_periods(data, settings), settings).mean(0)
    if mean.shape != shape:
        raise MismatchError(
            f"the empty scan has (period, receiver, frequency) {mean.shape}, the scan {shape}: "
            "record it with the same sequence"
        )
    return mean


def _transform(scan: xr.Dataset, data: np.ndarray, settings: Preprocessing) -> np.ndarray:
    """Spectra on the stored bins, divided by the transfer function and induction factor if there are."""
    import scipy.fft

    windowed = "spectrum" in scan and data.dtype.kind != "c"
    if data.dtype.kind != "c":
        data = scipy.fft.rfft(data, axis=-1)
    if windowed:
        data = data[..., stored_bins(scan)]
    if not uses_transfer_function(scan, settings):
        return data
    transfer = scan["transfer_function"].values
    data = np.divide(data, transfer, out=np.zeros_like(data), where=transfer != 0)
    induction = Header(scan.attrs).induction_factors
    return data if induction is None else data / induction[:, None]
