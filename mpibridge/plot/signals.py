"""Pictures of what a scan holds: spectra over kilohertz, signals over microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mpibridge.errors import SettingsError
from mpibridge.frames import background_mask, foreground, stored_bins
from mpibridge.mdf.header import Header
from mpibridge.plot import style
from mpibridge.preprocessing import Preprocessing
from mpibridge.signals import background_rows, spectra, time_signals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_FRAMES = 100
"""A spectrum is the mean over at most so many frames, evenly chosen."""


def spectrum(
    scan: xr.Dataset,
    *,
    frames: Sequence[int] | None = None,
    receivers: Sequence[int] | None = None,
    mixing_order: int | None = None,
    max_frequency: float | None = None,
    title: str = "",
) -> Figure:
    """Mean magnitude |û| of the spectra of a scan over frequency, one panel per receiver, background in grey.

    û is the unnormalised one-sided transform of `mpibridge.signals.spectra`; magnitudes are averaged over frames and
    periods, so that noise of one frame and of many has the same level. Where background frames are marked, theirs is
    drawn beside it, not subtracted. frames: foreground frames from 0; None takes up to 100, evenly chosen.
    receivers: from 0; None takes all. mixing_order: bins on which a product of at most this order falls are marked.
    max_frequency: hertz, right end of the axis. Raises MDFError if ``scan`` is no measurement, SettingsError for a
    frame or receiver it does not have.
    """
    header = Header(scan.attrs)
    chosen = Preprocessing(frames=_spread(scan) if frames is None else tuple(frames))
    bins = stored_bins(scan)
    kilohertz = header.frequencies[bins] / 1e3
    measured = spectra(scan, chosen)
    shown = _receivers(measured, receivers)
    figure, axes = style.curves(
        [f"receiver {receiver}" for receiver in shown],
        "frequency (kHz)",
        f"|û| ({measured.attrs['units']})",
        title,
    )
    n_background = int(background_mask(scan).sum())
    for axis, receiver in zip(axes, shown, strict=True):
        level = np.abs(measured.values[:, :, receiver]).mean(axis=(0, 1))
        rows = background_rows(scan, bins, np.full(len(bins), receiver), chosen)
        if rows is not None:
            floor = np.abs(rows.reshape(-1, len(bins))).mean(axis=0)
            label = f"background, {n_background} frames"
            axis.plot(kilohertz, _positive(floor), color=style.FAINT, linewidth=style.LINE, label=label)
        label = f"foreground, {measured.sizes['frame']} frames"
        axis.plot(kilohertz, _positive(level), color=style.COLORS[0], linewidth=style.LINE, label=label)
        if mixing_order is not None:
            order = header.mixing_orders[bins, 3]
            mark = (order >= 0) & (order <= mixing_order)
            label = f"mixing order ≤ {mixing_order}"
            axis.plot(kilohertz[mark], _positive(level)[mark], ".", color=style.COLORS[1], ms=4, label=label)
        axis.set_yscale("log")
    axes[-1].set_xlim(0, (max_frequency or header.frequencies[-1]) / 1e3)
    style.legend(axes[0])
    return figure


def signal(
    scan: xr.Dataset,
    *,
    frame: int = 0,
    period: int = 0,
    receivers: Sequence[int] | None = None,
    background: str | None = None,
    title: str = "",
) -> Figure:
    """The voltage of one drive-field period over time, one panel per receiver.

    frame: foreground frame from 0; period: of that frame, from 0. background: what is subtracted, as in
    `mpibridge.Preprocessing`. Raises MDFError if ``scan`` is no measurement, SettingsError for a frame, period or
    receiver that it does not have.
    """
    measured = time_signals(scan, Preprocessing(frames=(frame,), background=background))
    if not 0 <= period < measured.sizes["period"]:
        raise SettingsError(
            f"period {period} is asked for, a frame has {measured.sizes['period']} (counted from 0)"
        )
    header = Header(scan.attrs)
    microseconds = 1e6 * np.arange(measured.sizes["sample"]) / (2 * header.bandwidth)
    shown = _receivers(measured, receivers)
    label = f"u ({measured.attrs['units']})"
    figure, axes = style.curves([f"receiver {receiver}" for receiver in shown], "time (µs)", label, title)
    for axis, receiver in zip(axes, shown, strict=True):
        values = measured.values[0, period, receiver]
        axis.plot(microseconds, values, color=style.COLORS[0], linewidth=style.LINE)
        axis.ticklabel_format(axis="y", scilimits=(-2, 3), useMathText=True)
    axes[-1].set_xlim(microseconds[0], microseconds[-1])
    return figure


def _spread(scan: xr.Dataset) -> tuple[int, ...]:
    """Positions among the foreground frames."""
    n_frames = len(foreground(scan, Preprocessing()))
    chosen = np.linspace(0, n_frames - 1, min(n_frames, MAX_FRAMES)).round().astype(int)
    return tuple(np.unique(chosen).tolist())


def _receivers(measured: xr.DataArray, receivers: Sequence[int] | None) -> Sequence[int]:
    n_receivers = measured.sizes["receiver"]
    chosen = range(n_receivers) if receivers is None else receivers
    if not len(chosen) or not all(0 <= receiver < n_receivers for receiver in chosen):
        raise SettingsError(
            f"receivers must be some of the {n_receivers} of the data, counted from 0; found {list(chosen)}"
        )
    return chosen


def _positive(values: np.ndarray) -> np.ndarray:
    """Zeros (bins without a transfer function) have no place on a logarithmic axis."""
    return np.where(values > 0, values, np.nan)
