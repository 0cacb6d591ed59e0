"""Pictures of how a network learnt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpibridge.errors import FileError, ShapeError
from mpibridge.plot import style

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOSSES = ("loss", "validation_loss")
COLUMNS = ("step", *LOSSES, "learning_rate")


def training(history: pandas.DataFrame | Mapping[str, Any] | str | Path, *, title: str = "") -> Figure:
    """Loss and validation loss over the steps of a training, and the learning rate below where it is known.

    history: a table, mapping or CSV file with the columns ``step``, ``loss``, ``validation_loss`` and
    ``learning_rate``, (n,) each, NaN where a step has no value; one of the losses is enough. The smallest validation
    loss is marked. Axes are logarithmic unless a value is zero or less. Raises ShapeError if columns are missing or of
    different lengths, FileError if the file cannot be read.
    """
    table = _columns(history)
    losses = [name for name in LOSSES if name in table]
    has_rate = "learning_rate" in table
    heights = (3, 1) if has_rate else (1,)
    figure = style.figure(style.WIDTH, 3.4 + 1.1 * has_rate, title)
    axes = figure.subplots(len(heights), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0].tolist()
    for color, name in zip(style.COLORS, losses, strict=False):
        sparse = np.isfinite(table[name]).sum() < 50
        _draw(axes[0], table, name, color=color, marker="." if sparse else None, label=name.replace("_", " "))
    if "validation_loss" in table and np.isfinite(table["validation_loss"]).any():
        best = int(np.nanargmin(table["validation_loss"]))
        step, value = table["step"][best], table["validation_loss"][best]
        label = f"best: {value:.4g} at step {step:g}"
        axes[0].plot(step, value, "o", color=style.COLORS[1], markerfacecolor="none", label=label)
    _finish(axes[0], "loss", [table[name] for name in losses])
    style.legend(axes[0])
    if has_rate:
        _draw(axes[1], table, "learning_rate", color=style.COLORS[2])
        _finish(axes[1], "learning rate", [table["learning_rate"]])
    axes[-1].set_xlabel("step")
    return figure


def _columns(history: Any) -> dict[str, np.ndarray]:
    """The known columns that hold a value, as float arrays of one length."""
    if isinstance(history, str | Path):
        import pandas

        try:
            history = pandas.read_csv(history)
        except (OSError, ValueError) as error:
            raise FileError(f"{history} cannot be read as CSV ({error}); check the path") from error
    table = {name: np.asarray(history[name], float).ravel() for name in COLUMNS if name in history}
    if "step" not in table or not any(name in table for name in LOSSES):
        raise ShapeError(
            f"the history has the columns {[str(name) for name in history]}; "
            "step and loss or validation_loss are wanted"
        )
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        raise ShapeError(
            f"the columns have different lengths: {lengths}; write NaN where a step has no value"
        )
    return {name: column for name, column in table.items() if np.isfinite(column).any()} | {
        "step": table["step"]
    }


def _draw(axis: Axes, table: Mapping[str, np.ndarray], name: str, **look: Any) -> None:
    known = np.isfinite(table[name])
    axis.plot(table["step"][known], table[name][known], linewidth=style.LINE, **look)


def _finish(axis: Axes, name: str, columns: list[np.ndarray]) -> None:
    if columns and all((column[np.isfinite(column)] > 0).all() for column in columns):
        axis.set_yscale("log")
    axis.set_ylabel(name)
    axis.grid(color="0.9", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
