"""The pictures of the card of `nir`."""

from __future__ import annotations

from pathlib import Path

import encoding_array
import matplotlib.pyplot as plt
import numpy as np
from card import table
from nir_bed import PHANTOMS, Bed, bicubic, resampled, run

from mpibridge.plot.style import COLORMAP

STEPS = (25, 50, 100, 200, 400, 800)
"""Iterations of the width of the spiral."""


def figure_1(made: Bed) -> tuple[plt.Figure, str]:
    """The spiral on several grids from one fit, and how wide its channel is after so many iterations (figure 1 of the seed)."""
    problem = made.scans(("spiral",), 20.0, (1,))
    fit = run("nir", {}, problem)
    baseline = run("kaczmarz", {"iterations": 150, "regularization": 0.5}, problem).image
    sizes = (29, 54, 79, 104)
    figure, axes = plt.subplots(2, 5, figsize=(10.5, 4.3), layout="constrained")
    top = made.truth["spiral"].max()
    for column, size in zip(axes.T, sizes, strict=False):
        grid = problem.grid.resized((size, size))
        for ax, image in zip(
            column, (resampled(problem, fit, grid), bicubic(baseline, size / 29)), strict=True
        ):
            ax.imshow(image[0, 0], origin="lower", cmap=COLORMAP, vmin=0, vmax=top)
            ax.set(xticks=[], yticks=[])
        column[0].set_title(f"{size} × {size}", fontsize=9)
    axes[0, 0].set_ylabel("NIR")
    axes[1, 0].set_ylabel("Kaczmarz, bicubic")
    widths = [
        width(
            made, resampled(problem, run("nir", {"stop": "none", "iterations": n}, problem), made.image_grid)
        )
        for n in STEPS
    ]
    true = width(made, made.truth["spiral"][None])
    ax = axes[0, 4]
    ax.plot(STEPS, widths, "o-", ms=3)
    ax.axhline(true, color="0.6", lw=0.9)
    ax.set(xscale="log", xlabel="iterations", ylabel="mm", title="width of the channel")
    ax.set_xticks(STEPS, [str(n) for n in STEPS], fontsize=7)
    ax.minorticks_off()
    axes[1, 4].imshow(made.truth["spiral"][0], origin="lower", cmap=COLORMAP)
    axes[1, 4].set(xticks=[], yticks=[], title="truth")
    for ax in axes[:, 4]:
        ax.title.set_fontsize(9)
    rows = [{"iterations": n, "width (mm)": f"{w:.2f}"} for n, w in zip(STEPS, widths, strict=True)]
    return figure, table([*rows, {"iterations": "truth", "width (mm)": f"{true:.2f}"}])


def width(made: Bed, images: np.ndarray) -> float:
    """Area above half of the maximum (that of all but 2 % of the voxels) over the length of the channel, mm.

    The length is that with which the true channel is 1.6 mm wide.
    """
    true = made.truth["spiral"]
    spacing = made.image_grid.spacing[0]
    length = np.count_nonzero(true > true.max() / 2) * spacing**2 / 1.6e-3  # its channel is 1.6 mm wide
    image = images[0]
    return float(np.count_nonzero(image > np.quantile(image, 0.98) / 2) * spacing**2 / length * 1e3)


def measured(folder: Path) -> tuple[str, plt.Figure]:
    """Three measured phantoms on 64 × 64 beside bicubic Kaczmarz; no truth is known, residuals are."""
    problem = encoding_array.problem(folder)
    kaczmarz = run("kaczmarz", encoding_array.KACZMARZ, problem).image
    matrix, rows = problem.operator.matrix, problem.rows

    def rest(images: np.ndarray) -> np.ndarray:
        return np.linalg.norm(images.reshape(3, -1) @ matrix.T - rows, axis=1) / np.linalg.norm(rows, axis=1)

    said = [
        {
            "method": "Kaczmarz",
            **dict(zip(encoding_array.PHANTOMS, map("{:.3f}".format, rest(kaczmarz)), strict=True)),
        }
    ]
    for title, settings in (("nir", {}), ("nir, balance=0", {"balance": 0.0})):
        fit = run("nir", settings, problem)
        row = {"method": title}
        for i, name in enumerate(encoding_array.PHANTOMS):
            row[name] = (
                f"{rest(fit.image)[i]:.3f} ({fit.trace['residual'][i]:.2f} × level, "
                f"{fit.trace['iterations'][i]:.0f} iterations, {fit.trace['stopped_by'][i]})"
            )
        said.append(row)
    fine = resampled(problem, fit, problem.grid.resized(8))
    figure, axes = plt.subplots(3, 4, figsize=(7, 5), layout="constrained")
    titles = ("Kaczmarz, 8 × 8", "bicubic, 64 × 64", "NIR, 8 × 8", "NIR, 64 × 64")  # with balance=0
    for i, row in enumerate(axes):
        images = (kaczmarz[i, 0], bicubic(kaczmarz[i : i + 1], 8)[0, 0], fit.image[i, 0], fine[i, 0])
        for ax, image, title in zip(row, images, titles, strict=True):
            ax.imshow(image, origin="lower", vmin=0, vmax=max(map(np.max, images[1::2])), cmap=COLORMAP)
            ax.set(xticks=[], yticks=[])
            if not i:
                ax.set_title(title, fontsize=9)
        row[0].set_ylabel(encoding_array.PHANTOMS[i])
    return table(said), figure


def phantoms_picture(made: Bed) -> plt.Figure:
    """Every phantom of the table at 20 dB: truth, Tikhonov and NIR."""
    problem = made.scans(PHANTOMS, 20.0, (1,))
    fit = run("nir", {}, problem)
    ours = resampled(problem, fit, made.image_grid)
    tikhonov = {"penalty": "l2", "iterations": 300, "restart": "gradient", "regularization": 0.03}
    theirs = bicubic(run("fista", tikhonov, problem).image)
    figure, axes = plt.subplots(3, len(PHANTOMS), figsize=(10, 6), layout="constrained")
    for i, name in enumerate(PHANTOMS):
        images = (made.truth[name][0], theirs[i, 0], ours[i, 0])
        for ax, image in zip(axes[:, i], images, strict=True):
            ax.imshow(image, origin="lower", vmin=0, vmax=1, cmap=COLORMAP)
            ax.set(xticks=[], yticks=[])
        axes[0, i].set_title(name, fontsize=9)
    for ax, label in zip(axes[:, 0], ("truth", "Tikhonov ≥ 0, bicubic", "NIR"), strict=True):
        ax.set_ylabel(label)
    return figure
