"""Frames of a scan: which to take, as volts, windowed against leakage, averaged.

Nothing here knows background or transfer functions; `signals` puts the steps together.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from mpibridge.errors import MDFError, SettingsError
from mpibridge.labels import whole
from mpibridge.mdf.header import Header
from mpibridge.mdf.schema import DATA
from mpibridge.model import MEASUREMENT, SIGNAL_DIMS, SPECTRUM_DIMS
from mpibridge.preprocessing import Preprocessing


def frame_times(scan: xr.Dataset, settings: Preprocessing) -> np.ndarray:
    """Seconds from the start of the recording to the first frame of every averaged block, (frame,)."""
    frames = foreground(scan, settings)[:: settings.averages]
    if "time" in scan.coords:
        return scan["time"].values[frames]
    return frames * Header(scan.attrs).frame_period


def recorded(scan: xr.Dataset) -> xr.DataArray:
    """The signals or spectra of a measurement; MDFError for anything else."""
    if scan.attrs.get("kind", MEASUREMENT) == MEASUREMENT:
        for name, dims in (("signal", SIGNAL_DIMS), ("spectrum", SPECTRUM_DIMS)):
            if name in scan:
                return whole(scan, name, dims)
    raise MDFError(
        Header(scan.attrs).source,
        DATA,
        f"is a {scan.attrs.get('kind', 'dataset without signal')}",
        "a measurement is wanted here; pass the calibration as system_matrix",
    )


def stored_bins(scan: xr.Dataset) -> np.ndarray:
    return scan["bin"].values if "spectrum" in scan else np.arange(Header(scan.attrs).n_frequencies)


def background_mask(scan: xr.Dataset) -> np.ndarray:
    if "is_background" in scan.coords:
        return scan["is_background"].values.astype(bool)
    return np.zeros(recorded(scan).sizes["frame"], bool)


def foreground(scan: xr.Dataset, settings: Preprocessing) -> np.ndarray:
    """Stored positions of the chosen foreground frames."""
    every = np.flatnonzero(~background_mask(scan))
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


def load(scan: xr.Dataset, frames: np.ndarray, settings: Preprocessing) -> np.ndarray:
    """Frames in volts, float32 samples or complex64 spectra, windowed if asked."""
    header = Header(scan.attrs)
    windowed = (
        settings.spectral_leakage
        and not header.flag("isSpectralLeakageCorrected")
        and recorded(scan).sizes["frame"] > 1
    )
    return _windowed(scan, frames) if windowed else _converted(scan, frames)


def _converted(scan: xr.Dataset, frames: np.ndarray, *, first_factor_for_all: bool = False) -> np.ndarray:
    header = Header(scan.attrs)
    stored = recorded(scan).isel(frame=frames).values
    fourier = stored.dtype.kind == "c"
    data = stored.astype(np.complex64 if fourier else np.float32)
    # A sum is quicker than looking at every value; only if it is not finite do we look.
    if stored.dtype.kind in "fc" and not np.isfinite(data.sum()) and not np.isfinite(data).all():
        bad = np.flatnonzero(~np.isfinite(data).all(axis=(1, 2, 3)))
        raise MDFError(
            header.source,
            DATA,
            f"holds NaN or infinite values in frames {frames[bad][:5].tolist()}",
            "choose others",
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
    direct = np.flatnonzero(stored_bins(scan) == 0)
    data[..., direct] += (offset * header.n_samples).astype(np.float32)
    return data


def _windowed(scan: xr.Dataset, frames: np.ndarray) -> np.ndarray:
    """Every frame (or period, if a frame has several) under a Hann window that reaches over its two neighbours.

    Source: MPIFiles.jl spectral leakage correction. Neighbours are taken in stored order, background frames included,
    and the first channel's conversion factor serves all channels: both as MPIFiles.jl 0.19.2 does.
    """
    header = Header(scan.attrs)
    array = recorded(scan)
    n_samples, n_frames, n_periods = header.n_samples, array.sizes["frame"], array.sizes["period"]
    over_periods = n_periods > 1
    needed = frames if over_periods else np.unique(np.clip(frames[:, None] + [-1, 0, 1], 0, n_frames - 1))
    data = _converted(scan, needed, first_factor_for_all=True)
    if data.dtype.kind == "c":
        data = to_samples(full_spectrum(data, stored_bins(scan), header), n_samples)
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


def average_frames(data: np.ndarray, averages: int) -> np.ndarray:
    """Means over consecutive blocks; the last may be shorter."""
    if averages == 1:
        return data
    starts = np.arange(0, len(data), averages)
    counts = np.diff(np.append(starts, len(data))).reshape(-1, *[1] * (data.ndim - 1))
    means = np.add.reduceat(data, starts) / counts
    return means.astype(data.dtype) if data.dtype.kind in "fc" else means


def average_periods(data: np.ndarray, settings: Preprocessing) -> np.ndarray:
    n_periods, p = data.shape[1], settings.period_averages
    if p == 1:
        return data
    if n_periods % p:
        raise SettingsError(f"period_averages={p} does not divide the {n_periods} periods of a frame")
    grouped = data.reshape(len(data), n_periods // p, p, *data.shape[2:])
    return grouped.mean(2, dtype=data.dtype)


def full_spectrum(values: np.ndarray, bins: np.ndarray, header: Header) -> np.ndarray:
    """Spectra on every bin, zero where none is stored."""
    if len(bins) == header.n_frequencies:
        return values
    full = np.zeros((*values.shape[:-1], header.n_frequencies), values.dtype)
    full[..., bins] = values
    return full


def to_samples(spectrum: np.ndarray, n_samples: int) -> np.ndarray:
    import scipy.fft

    return scipy.fft.irfft(spectrum, n_samples, axis=-1).astype(np.float32, copy=False)
