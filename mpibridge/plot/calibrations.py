"""Pictures of a calibration: its SNR over frequency and over mixing orders, rows of the system matrix on the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mpibridge.calibration import Rows, positions_of_bins, select_rows, system_matrix_rows
from mpibridge.calibration import snr as signal_to_noise
from mpibridge.errors import SettingsError
from mpibridge.mdf.header import Header
from mpibridge.plot import style
from mpibridge.preprocessing import Preprocessing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_ROWS = 8


def snr(
    calibration: xr.Dataset,
    *,
    threshold: float | None = None,
    max_frequency: float | None = None,
    title: str = "",
) -> Figure:
    """The signal-to-noise ratio of the rows over frequency, one panel per receiver.

    The SNR of the first period, which is what selects rows. threshold: drawn as a line, and the rows that reach it are
    counted. max_frequency: hertz, right end of the axis. Raises MDFError if ``calibration`` is none, or has neither an
    SNR nor the background frames to compute it from.
    """
    ratio = signal_to_noise(calibration).values[0]
    header = Header(calibration.attrs)
    kilohertz = header.frequencies[calibration["bin"].values] / 1e3
    names = [f"receiver {receiver}" for receiver in range(len(ratio))]
    figure, axes = style.curves(names, "frequency (kHz)", "SNR", title)
    for axis, values in zip(axes, ratio, strict=True):
        shown = np.where(values > 0, values, np.nan)
        axis.plot(kilohertz, shown, color=style.COLORS[0], linewidth=style.LINE)
        axis.set_yscale("log")
        if threshold is not None:
            label = f"{int((values >= threshold).sum())} of {len(values)} bins reach {threshold:g}"
            axis.axhline(threshold, color=style.COLORS[1], linewidth=style.LINE, label=label)
            style.legend(axis)
    axes[-1].set_xlim(0, (max_frequency or header.frequencies[-1]) / 1e3)
    return figure


def snr_map(calibration: xr.Dataset, *, max_order: int = 24, title: str = "") -> Figure:
    """The signal-to-noise ratio over the mixing factors (m_x, m_y) of two drive fields, one panel per receiver.

    Every bin k = |m_x k_x + m_y k_y| stands at the factors of smallest order; of three drive fields the best over m_z
    is shown. max_order: factors up to this are shown. Raises SettingsError with one drive field: `snr` shows all there
    is. Source: MPIFiles.jl `mixingFactors`.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import MaxNLocator

    header = Header(calibration.attrs)
    driven = int((header.strengths[0, :, 0] >= 1e-7).sum())
    if driven < 2 or len(header.dividers) < 2:
        raise SettingsError(
            f"a map over mixing factors needs two drive fields, the header says {driven}; draw plot.snr"
        )
    ratio = signal_to_noise(calibration).values[0]
    factors = header.mixing_orders[calibration["bin"].values]
    inside = (factors[:, 3] >= 0) & (np.abs(factors[:, :2]) <= max_order).all(axis=1)
    table = np.full((len(ratio), 2 * max_order + 1, 2 * max_order + 1), np.nan)
    mx, my = (factors[inside, :2] + max_order).T
    for receiver, values in enumerate(ratio):
        np.fmax.at(table[receiver], (my, mx), np.where(values[inside] > 0, values[inside], np.nan))
    figure = style.figure(1.3 * style.PANEL * len(ratio) + 1.2, 1.3 * style.PANEL + 0.5, title)
    axes = figure.subplots(1, len(ratio), squeeze=False, sharex=True, sharey=True)[0]
    norm = LogNorm(1, max(10.0, float(np.nanmax(table))) if np.isfinite(table).any() else 10.0)
    edge = max_order + 0.5
    columns, rows = (np.flatnonzero(np.isfinite(table).any(axis=axes_)) for axes_ in ((0, 1), (0, 2)))
    for axis, (receiver, values) in zip(axes, enumerate(table), strict=True):
        mappable = axis.imshow(
            values, style.COLORMAP, norm=norm, origin="lower", extent=(-edge, edge, -edge, edge)
        )
        axis.set_facecolor("0.93")
        axis.set_title(f"receiver {receiver}", fontsize=style.TITLE)
        axis.set_xlabel("$m_x$")
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(MaxNLocator(6, integer=True))
        if len(columns):
            axis.set_xlim(columns[0] - edge, columns[-1] + 1 - edge)
            axis.set_ylim(rows[0] - edge, rows[-1] + 1 - edge)
    axes[0].set_ylabel("$m_y$")
    figure.colorbar(mappable, ax=axes.tolist(), label="SNR", extend="min")
    return figure


def system_matrix(
    calibration: xr.Dataset,
    rows: int | Rows = 4,
    *,
    period: int = 0,
    preprocessing: Preprocessing | None = None,
    title: str = "",
) -> Figure:
    """Rows of the system matrix on the grid: magnitude above, phase below, each column one row.

    rows: `mpibridge.calibration.Rows`, or how many of those with the best SNR (without one, with the largest magnitude)
    that pass ``preprocessing``, at most 8; of a volume the slice with the largest magnitude of each is shown. preprocessing: selection and corrections; None
    subtracts the background frames where there are any. Titles: frequency, receiver, mixing factors and SNR.
    Raises MDFError if ``calibration`` is none, SettingsError if no row is left or ``rows`` or ``period`` is out of range.
    """
    settings = preprocessing or Preprocessing(system_matrix_background="background" in calibration)
    chosen = _best(calibration, rows, settings) if isinstance(rows, int) else rows
    if not 1 <= len(chosen) <= MAX_ROWS:
        raise SettingsError(f"rows must be 1 to {MAX_ROWS}, found {len(chosen)}")
    n_periods = calibration.sizes["period"]
    if not 0 <= period < n_periods:
        raise SettingsError(f"period {period} is asked for, the calibration has {n_periods} (counted from 0)")
    matrix = system_matrix_rows(calibration, chosen, settings)
    matrix = matrix.isel(row=slice(period * len(chosen), (period + 1) * len(chosen)))
    figure = style.figure(style.PANEL * len(chosen) + 1.2, 2 * style.PANEL + 0.9, title)
    axes = figure.subplots(2, len(chosen), squeeze=False)
    headings = _headings(calibration, chosen)
    for (above, below), values, heading in zip(axes.T, matrix, headings, strict=True):
        height = int(np.abs(values).max(dim=("y", "x")).argmax("z"))
        values = values.isel(z=height)
        magnitude = np.abs(values)
        shown = style.show(above, magnitude / max(float(magnitude.max()), np.finfo(np.float32).tiny), 0, 1)
        phase = style.show(below, xr.apply_ufunc(np.angle, values), -np.pi, np.pi, cmap=style.CYCLIC)
        if matrix.sizes["z"] > 1:
            heading += f"\nz = {style.positions(matrix, 'z')[height]:.1f} mm"
        above.set_title(heading, fontsize=style.TEXT)
    figure.colorbar(shown, ax=axes[0].tolist(), label="magnitude, each of its largest")
    bar = figure.colorbar(phase, ax=axes[1].tolist(), label="phase (rad)", ticks=[-np.pi, 0, np.pi])
    bar.set_ticklabels(["−π", "0", "π"])
    return figure


def _best(calibration: xr.Dataset, n_rows: int, settings: Preprocessing) -> Rows:
    """The ``n_rows`` selected rows with the largest SNR, or magnitude where no SNR is known; best first."""
    rows = select_rows(calibration, settings)
    quality = _snr_of(calibration, rows)
    if quality is None:
        magnitude = np.abs(system_matrix_rows(calibration, rows, settings).values)
        quality = magnitude[: len(rows)].max(axis=(1, 2, 3))
    order = np.argsort(-quality, kind="stable")[: max(n_rows, 0)]
    return Rows(rows.bins[order], rows.receivers[order])


def _snr_of(calibration: xr.Dataset, rows: Rows) -> np.ndarray | None:
    """(row,), None where the file has neither an SNR nor the background frames to compute it from."""
    if "snr" not in calibration and "background" not in calibration:
        return None
    ratio = signal_to_noise(calibration).values[0]
    return ratio[rows.receivers, positions_of_bins(calibration, rows.bins)]


def _headings(calibration: xr.Dataset, rows: Rows) -> list[str]:
    header = Header(calibration.attrs)
    factors = header.mixing_orders[rows.bins]
    driven = np.flatnonzero(header.strengths[0, :, 0] >= 1e-7)
    ratios = _snr_of(calibration, rows)
    headings = []
    for i, (frequency, receiver) in enumerate(
        zip(header.frequencies[rows.bins], rows.receivers, strict=True)
    ):
        heading = f"{frequency / 1e3:.2f} kHz, receiver {receiver}"
        below = []
        if factors[i, 3] >= 0:
            below.append(f"m = ({', '.join(str(m) for m in factors[i, driven])})")
        if ratios is not None:
            below.append(f"SNR {ratios[i]:.0f}" if ratios[i] >= 100 else f"SNR {ratios[i]:.1f}")
        headings.append("\n".join([heading, ", ".join(below)]) if below else heading)
    return headings
