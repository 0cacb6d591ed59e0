"""The pictures of the card of `cascade`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import encoding_array
import matplotlib.pyplot as plt
import numpy as np
from cascade_bed import RESOLVED, Pairs, Raster, ends_of_bar, labelled
from cascade_methods import Cascade, every
from nir_bed import run

from mpibridge.metrics.resolution import profile
from mpibridge.plot.style import COLORMAP
from mpibridge.simulate import phantoms

SHOWN = (0.3, 0.35, 0.4, 0.5)
"""mm between the points of the seed's figures, along x."""
CENTER = (0.03e-3, 0.02e-3)
"""m: between the points of the raster."""
LENGTH = 0.6e-3
"""m from the middle to both ends of a profile."""


def along_x() -> Pairs:
    """The pairs of figures 1 and 2: equal points along x."""
    places = np.array([[(CENTER[0] + s * d / 2e3, CENTER[1]) for s in (-1, 1)] for d in SHOWN])
    ends = [ends_of_bar(np.array(CENTER), np.array([d / 2e3, 0.0]), (1.0, 1.0)) for d in SHOWN]
    return Pairs(
        np.array(SHOWN) * 1e-3,
        places,
        np.array(ends),
        [phantoms.pair(d * 1e-3, center=CENTER) for d in SHOWN],
        [phantoms.bar_like_pair(d * 1e-3, center=CENTER) for d in SHOWN],
    )


def figures_1_and_2(
    made: Raster, snr: float, settings: Mapping[str, Any], weights: Mapping[str, Cascade]
) -> tuple[plt.Figure, plt.Figure]:
    """Images of pairs and of their bars by every method, and the profiles through the points (figures 1 and 2 of the seed)."""
    drawn = along_x()
    points, bars = made.scans(drawn.points, snr, 1), made.scans(drawn.bars, snr, 2)
    of_points, of_bars = (
        {"truth": scans.truth, **every(scans.problem, settings, weights, "resolution")}
        for scans in (points, bars)
    )
    names = list(of_points)
    first, axes = plt.subplots(
        len(names),
        2 * len(SHOWN),
        figsize=(1.35 * 2 * len(SHOWN) + 1, 1.35 * len(names)),
        layout="constrained",
    )
    extent = np.array(made.operator.grid.field_of_view[:2]) / 2e-3
    for row, name in zip(axes, names, strict=True):
        for i, d in enumerate(SHOWN):
            for ax, image, kind in zip(
                row[2 * i : 2 * i + 2],
                (of_points[name][i, 0], of_bars[name][i, 0]),
                ("two points", "bar"),
                strict=True,
            ):
                ax.imshow(
                    image,
                    origin="lower",
                    cmap=COLORMAP,
                    vmin=0,
                    vmax=max(image.max(), 1e-9),
                    extent=(-extent[0], extent[0], -extent[1], extent[1]),
                )
                ax.set(xlim=(-0.8, 0.8), ylim=(-0.8, 0.8), xticks=[], yticks=[])
                if name == names[0]:
                    ax.set_title(f"{kind}, {d:g} mm", fontsize=8)
        row[0].set_ylabel(name.replace(", ", "\n"), fontsize=8)
    second, axes = plt.subplots(
        len(names),
        len(SHOWN),
        figsize=(2.3 * len(SHOWN), 1.3 * len(names)),
        sharex=True,
        layout="constrained",
    )
    x = np.linspace(-LENGTH, LENGTH, 121)
    ends = [np.array([CENTER[0] + sign * LENGTH, CENTER[1]]) for sign in (-1, 1)]
    for row, name in zip(axes, names, strict=True):
        for i, (ax, d) in enumerate(zip(row, SHOWN, strict=True)):
            for images, style, label in ((of_points, "-", "two points"), (of_bars, "--", "bar")):
                ax.plot(1e3 * x, profile(labelled(images[name][i]), *ends, len(x)), style, lw=1, label=label)
            for place in (-d / 2, d / 2):
                ax.axvline(place, color="0.8", lw=0.6, zorder=0)
            ax.tick_params(labelsize=6)
            if name == names[0]:
                ax.set_title(f"{d:g} mm", fontsize=8)
        row[0].set_ylabel(name.replace(", ", "\n"), fontsize=7)
    axes[0, 0].legend(fontsize=6)
    second.supxlabel("mm along x; grey: where the points are", fontsize=8)
    return first, second


def rates_picture(results: Mapping[float, Mapping[str, Any]], distance: np.ndarray) -> plt.Figure:
    """Shares of resolved pairs and of whole bars over the distance, a column per noise level."""
    figure, axes = plt.subplots(
        2,
        len(results),
        figsize=(4.6 * len(results), 5.2),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    shown = np.unique(distance)
    for column, (snr, methods) in zip(axes.T, results.items(), strict=True):
        for name, found in methods.items():
            style = {"color": "0.6", "ls": ":"} if name == "truth" else {}
            for ax, key in zip(column, ("pairs", "bars"), strict=True):
                good = np.array(found[key]) <= RESOLVED if key == "pairs" else np.array(found[key]) > RESOLVED
                ax.plot(
                    1e3 * shown,
                    [good[distance == d].mean() for d in shown],
                    marker="o",
                    ms=3,
                    lw=1,
                    label=name,
                    **style,
                )
        column[0].set_title(f"{snr:g} dB")
        column[0].axhline(0.9, color="0.8", lw=0.8, zorder=0)
        column[1].axhline(0.95, color="0.8", lw=0.8, zorder=0)
        column[1].set_xlabel("distance (mm)")
    axes[0, 0].set_ylabel("share of pairs resolved")
    axes[1, 0].set_ylabel("share of bars whole")
    axes[0, 0].legend(fontsize=7)
    return figure


def measured(folder: Path, weights: Path) -> tuple[plt.Figure, list[dict[str, Any]]]:
    """Three measured phantoms by weights that were trained through the measured matrix; no truth is known, residuals are."""
    problem = encoding_array.problem(folder)
    matrix, rows = problem.operator.matrix, problem.rows
    result = Cascade(weights).run(problem)
    images = {
        "Kaczmarz": run("kaczmarz", encoding_array.KACZMARZ, problem).image,
        "cascade, first stage": result.trace["preliminary"],
        "cascade": result.image,
    }
    said = []
    figure, axes = plt.subplots(3, 3, figsize=(5.2, 5), layout="constrained")
    for i, name in enumerate(encoding_array.PHANTOMS):
        row: dict[str, Any] = {"phantom": name}
        for ax, (method, values) in zip(axes[i], images.items(), strict=True):
            rest = np.linalg.norm(matrix @ values[i].ravel() - rows[i]) / np.linalg.norm(rows[i])
            row[f"residual of {method}"] = f"{rest:.3f}"
            ax.imshow(
                values[i, 0],
                origin="lower",
                cmap=COLORMAP,
                vmin=0,
                vmax=max(v[i].max() for v in images.values()),
            )
            ax.set(xticks=[], yticks=[])
            if not i:
                ax.set_title(method, fontsize=8)
        axes[i, 0].set_ylabel(name)
        said.append(row)
    return figure, said
