"""Measured signals: conversion to volts, averaging, spectral leakage, background, spectra, transfer function.

Order of operations (MPIFiles.jl `getMeasurementsFD`): stored numbers → float32 → slope and offset → leakage window →
mean over frames → mean over periods → minus background → Fourier transform → ÷ transfer function → ÷ induction
factor. Spectra are unnormalised, one-sided: û_k = Σ_n u_n exp(−2πi kn/V).
"""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from mpibridge.errors import MDFError, MismatchError, MPIBridgeWarning, SettingsError
from mpibridge.mdf.header import Header
from mpibridge.mdf.schema import DATA
from mpibridge.model import MEASUREMENT, SIGNAL_DIMS, SPECTRUM_DIMS
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
    values = _full_spectrum(spectrum.values, spectrum["bin"].values, header)
    samples = _irfft(values, header.n_samples)
    return xr.DataArray(samples, dims=SIGNAL_DIMS, coords={"time": spectrum["time"]}, attrs=dict(spectrum.attrs))


def spectra(scan: xr.Dataset, preprocessing: Preprocessing | None = None) -> xr.DataArray:
    """Foreground spectra (frame, period, receiver, frequency) complex64, corrected as ``preprocessing`` says.

    Raises MDFError for a calibration or for NaN in the data. Source: MPIFiles.jl `getMeasurementsFD`.
    """
    settings = preprocessing or Preprocessing()
    blocks = list(_blocks(scan, settings))
    bins = _bins(scan)
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
    _require_measurement(scan)
    frames = np.flatnonzero(_is_background(scan))
    if not len(frames):
        return None
    where = _positions_of(scan, bins, receivers)
    data = _transform(scan, _average_periods(_load(scan, frames, settings), settings), settings)
    return data[:, :, receivers, where].reshape(len(frames), -1)


def frame_times(scan: xr.Dataset, settings: Preprocessing) -> np.ndarray:
    """Seconds from the start of the recording to the first frame of every averaged block, (frame,)."""
    frames = _foreground(scan, settings)[:: settings.averages]
    if "time" in scan.coords:
        return scan["time"].values[frames]
    return frames * Header(scan.attrs).frame_period


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


def _blocks(scan: xr.Dataset, settings: Preprocessing):
    """Corrected spectra (frame, period, receiver, stored bin) in blocks of frames."""
    _require_measurement(scan)
    header = Header(scan.attrs)
    foreground = _foreground(scan, settings)
    if header.flag("isBackgroundCorrected") and settings.background is not None:
        warnings.warn(
            f"{header.source} says it is background corrected already; it is corrected again, as MPIFiles.jl does",
            MPIBridgeWarning,
            stacklevel=3,
        )
    background, positions = _background(scan, settings)
    array = _data(scan)
    per_frame = int(np.prod(array.shape[1:])) * 8
    n_blocks = -(-len(foreground) // settings.averages)
    step = max(1, BLOCK_BYTES // max(1, per_frame * settings.averages))
    for first in range(0, n_blocks, step):
        frames = foreground[first * settings.averages : (first + step) * settings.averages]
        data = _average_frames(_load(scan, frames, settings), settings.averages)
        data = _average_periods(data, settings)
        if background is not None:
            data = data - _background_at(background, positions, _average_frames(frames, settings.averages))
        data = _transform(scan, data, settings)
        if isinstance(settings.background, xr.Dataset):
            data = data - _empty_mean(settings.background, settings, data.shape[1:])
        yield data.astype(np.complex64, copy=False)


def _require_measurement(scan: xr.Dataset) -> None:
    if scan.attrs.get("kind", MEASUREMENT) != MEASUREMENT or not ("signal" in scan or "spectrum" in scan):
        raise MDFError(
            Header(scan.attrs).source,
            DATA,
            f"is a {scan.attrs.get('kind', 'dataset without signal')}",
            "a measurement is wanted here; pass the calibration as system_matrix",
        )


def _data(scan: xr.Dataset) -> xr.DataArray:
    return scan["signal"] if "signal" in scan else scan["spectrum"]


def _bins(scan: xr.Dataset) -> np.ndarray:
    return scan["bin"].values if "spectrum" in scan else np.arange(Header(scan.attrs).n_frequencies)


def _positions_of(scan: xr.Dataset, bins: np.ndarray, receivers: np.ndarray) -> np.ndarray:
    """Where the bins are stored."""
    n_receivers = _data(scan).sizes["receiver"]
    if len(receivers) and receivers.max() >= n_receivers:
        raise MismatchError(f"receiver {receivers.max()} is wanted, the scan has {n_receivers}; pass receivers=…")
    lookup = np.full(max(Header(scan.attrs).n_frequencies, bins.max(initial=0) + 1), -1)
    stored = _bins(scan)
    lookup[stored] = np.arange(len(stored))
    where = lookup[bins]
    if (where < 0).any():
        missing = np.unique(bins[where < 0])
        raise MismatchError(
            f"the scan did not store {len(missing)} of the selected bins (first {missing[:5].tolist()}); "
            "select rows of a calibration with the same frequency selection"
        )
    return where


def _is_background(scan: xr.Dataset) -> np.ndarray:
    if "is_background" in scan.coords:
        return scan["is_background"].values.astype(bool)
    return np.zeros(_data(scan).sizes["frame"], bool)


def _foreground(scan: xr.Dataset, settings: Preprocessing) -> np.ndarray:
    """Stored positions of the chosen foreground frames."""
    every = np.flatnonzero(~_is_background(scan))
    if not len(every):
        raise MDFError(
            Header(scan.attrs).source,
            "/measurement/isBackgroundFrame",
            "marks every frame as background",
            "there is nothing to reconstruct; pass it as background= of another scan",
        )
    if settings.frames is None:
        return every
    if max(settings.frames) >= len(every):
        raise SettingsError(
            f"frames asks for foreground frame {max(settings.frames)}, the scan has {len(every)} (counted from 0)"
        )
    return every[list(settings.frames)]


def _load(scan: xr.Dataset, frames: np.ndarray, settings: Preprocessing) -> np.ndarray:
    """Frames in volts, float32 samples or complex64 spectra, windowed if asked."""
    header = Header(scan.attrs)
    windowed = (
        settings.spectral_leakage
        and not header.flag("isSpectralLeakageCorrected")
        and _data(scan).sizes["frame"] > 1
    )
    return _windowed(scan, frames) if windowed else _converted(scan, frames)


def _converted(scan: xr.Dataset, frames: np.ndarray, *, first_factor_for_all: bool = False) -> np.ndarray:
    header = Header(scan.attrs)
    stored = _data(scan).isel(frame=frames).values
    fourier = stored.dtype.kind == "c"
    data = stored.astype(np.complex64 if fourier else np.float32)
    if stored.dtype.kind in "fc" and not np.isfinite(data.sum()):
        bad = np.flatnonzero(~np.isfinite(data).all(axis=(1, 2, 3)))
        raise MDFError(
            header.source, DATA, f"holds NaN or infinite values in frames {frames[bad][:5].tolist()}", "choose others"
        )
    factors = header.conversion_factors
    if factors is None:
        return data
    if first_factor_for_all:
        factors = np.repeat(factors[:1], len(factors), 0)
    slope, offset = factors[:, 0, None], factors[:, 1, None]
    if not fourier:
        return (data * slope.astype(np.float32) + offset.astype(np.float32)).astype(np.float32, copy=False)
    data = (data * slope.astype(np.float32)).astype(np.complex64, copy=False)
    direct = np.flatnonzero(_bins(scan) == 0)
    data[..., direct] += (offset * header.n_samples).astype(np.float32)
    return data


def _windowed(scan: xr.Dataset, frames: np.ndarray) -> np.ndarray:
    """Every frame (or period, if a frame has several) under a Hann window that reaches over its two neighbours.

    Source: MPIFiles.jl spectral leakage correction. Neighbours are taken in stored order, background frames included,
    and the first channel's conversion factor serves all channels: both as MPIFiles.jl 0.19.2 does.
    """
    header = Header(scan.attrs)
    array = _data(scan)
    n_samples, n_frames, n_periods = header.n_samples, array.sizes["frame"], array.sizes["period"]
    over_periods = n_periods > 1
    needed = frames if over_periods else np.unique(np.clip(frames[:, None] + [-1, 0, 1], 0, n_frames - 1))
    data = _converted(scan, needed, first_factor_for_all=True)
    if data.dtype.kind == "c":
        data = _irfft(_full_spectrum(data, _bins(scan), header), n_samples)
    if over_periods:
        return _window_sequence(data.swapaxes(0, 1), np.arange(n_periods), n_periods).swapaxes(0, 1)
    lookup = np.searchsorted(needed, np.arange(n_frames))
    return _window_sequence(data, frames, n_frames, lookup)


def _window_sequence(
    data: np.ndarray, wanted: np.ndarray, length: int, lookup: np.ndarray | None = None
) -> np.ndarray:
    n_samples = data.shape[-1]
    two, three = _window(2 * n_samples).reshape(2, -1), _window(3 * n_samples).reshape(3, -1)
    at = (lambda i: data[i]) if lookup is None else (lambda i: data[lookup[i]])
    out = np.empty((len(wanted), *data.shape[1:]), np.float32)
    for row, i in enumerate(wanted):
        if i == 0:
            out[row] = (at(0) * two[0] + at(1) * two[1]) / 2
        elif i == length - 1:
            out[row] = (at(i - 1) * two[0] + at(i) * two[1]) / 2
        else:
            out[row] = (at(i - 1) * three[0] + at(i) * three[1] + at(i + 1) * three[2]) / 3
    return out


def _window(length: int) -> np.ndarray:
    """Hann window with mean value one."""
    return (1 - np.cos(2 * np.pi * np.arange(length) / (length - 1))) * length / (length - 1)


def _average_frames(data: np.ndarray, averages: int) -> np.ndarray:
    """Means over consecutive blocks; the last may be shorter."""
    if averages == 1:
        return data
    starts = np.arange(0, len(data), averages)
    counts = np.diff(np.append(starts, len(data))).reshape(-1, *[1] * (data.ndim - 1))
    means = np.add.reduceat(data, starts) / counts
    return means.astype(data.dtype) if data.dtype.kind in "fc" else means


def _average_periods(data: np.ndarray, settings: Preprocessing) -> np.ndarray:
    n_periods, p = data.shape[1], settings.period_averages
    if p == 1:
        return data
    if n_periods % p:
        raise SettingsError(f"period_averages={p} does not divide the {n_periods} periods of a frame")
    grouped = data.reshape(len(data), n_periods // p, p, *data.shape[2:])
    return grouped.mean(2, dtype=data.dtype)


def _background(scan: xr.Dataset, settings: Preprocessing) -> tuple[np.ndarray | None, np.ndarray]:
    """Background signals (n, period, receiver, sample) and the stored frames where they hold; n = 1 for a mean."""
    if not isinstance(settings.background, str):
        return None, np.zeros(0)
    mask = _is_background(scan)
    frames = np.flatnonzero(mask)
    if not len(frames):
        warnings.warn(
            f"{Header(scan.attrs).source} has no background frames: nothing is subtracted; "
            "pass an empty scan as background",
            MPIBridgeWarning,
            stacklevel=4,
        )
        return None, frames
    data = _average_periods(_load(scan, frames, settings), settings)
    if settings.background == "mean" or len(frames) == 1:
        return data.mean(0, keepdims=True, dtype=np.result_type(data, np.float64)).astype(data.dtype), frames[:1]
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
    _require_measurement(empty)
    data = _load(empty, np.arange(_data(empty).sizes["frame"]), settings)
    mean = _transform(empty, _average_periods(data, settings), settings).mean(0)
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
        data = data[..., _bins(scan)]
    if not uses_transfer_function(scan, settings):
        return data
    transfer = scan["transfer_function"].values
    with np.errstate(divide="ignore", invalid="ignore"):
        data = np.where(transfer == 0, 0, data / transfer)
    induction = Header(scan.attrs).induction_factors
    return data if induction is None else data / induction[:, None]


def _full_spectrum(values: np.ndarray, bins: np.ndarray, header: Header) -> np.ndarray:
    """Spectra on every bin, zero where none is stored."""
    if len(bins) == header.n_frequencies:
        return values
    full = np.zeros((*values.shape[:-1], header.n_frequencies), values.dtype)
    full[..., bins] = values
    return full


def _irfft(spectrum: np.ndarray, n_samples: int) -> np.ndarray:
    import scipy.fft

    return scipy.fft.irfft(spectrum, n_samples, axis=-1).astype(np.float32, copy=False)
