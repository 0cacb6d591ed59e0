"""Pictures of the card of `deblur`: figures 3 and 4 of the seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

EXTENT = (-10, 10, -10, 10)


def figure_3(truth: np.ndarray, images: Mapping[str, Sequence[np.ndarray]], columns: Sequence[str]) -> Figure:
    """Reconstructions (rows: methods, columns: test SNR) of one draw of noise, and the truth."""
    figure = Figure(figsize=(2 * (len(columns) + 1), 2.15 * len(images)), layout="constrained")
    rows = figure.subplots(len(images), len(columns) + 1, squeeze=False)
    for axes, (name, row) in zip(rows, images.items(), strict=True):
        for ax, image in zip(axes, [*row, truth], strict=True):
            ax.imshow(image, origin="lower", cmap="inferno", extent=EXTENT, vmin=0, vmax=truth.max())
            ax.set_xticks([])
            ax.set_yticks([])
        axes[0].set_ylabel(name, fontsize=8)
    for ax, title in zip(rows[0], [*columns, "truth"], strict=True):
        ax.set_title(title, fontsize=9)
    return figure


def figure_4(scores: np.ndarray, training: Sequence[float], test: Sequence[str]) -> Figure:
    """Mean PSNR (training SNR, test SNR) in dB as a coloured map; what is not measured stays white."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    ax = figure.subplots()
    shown = ax.imshow(scores, origin="lower", cmap="viridis", aspect="auto")
    for i, row in enumerate(scores):
        for j, value in enumerate(row):
            if np.isfinite(value):
                ax.text(j, i, f"{value:.1f}", ha="center", va="center", color="white", fontsize=8)
    ax.set_xticks(range(len(test)), test)
    ax.set_yticks(range(len(training)), [f"{snr:g}" for snr in training])
    ax.set_xlabel("test SNR")
    ax.set_ylabel("training SNR")
    figure.colorbar(shown, label="mean PSNR of the λ / dB")
    return figure
