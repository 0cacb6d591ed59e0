"""One look for every picture: sizes, colours, labelled axes, and arrays over a grid in millimetres.

Figures are made without pyplot: no window opens, no global state is read or left behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

COLORMAP = "inferno"
"""Of amounts: perceptually uniform, in order of brightness also where no colour is seen."""
CYCLIC = "twilight"
"""Of phases."""
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Of curves: the palette of Okabe and Ito, told apart with every kind of colour vision."""
FAINT, LINE = "0.6", 0.9
"""Colour of what is only there to compare with; width of curves in points."""
TITLE, TEXT = "medium", "small"
"""Sizes of headings of panels and of notes."""
PANEL = 2.6
"""Edge of an image in inches."""
WIDTH, HEIGHT = 8.0, 2.1
"""Of a curve in inches."""


def figure(width: float, height: float, title: str = "") -> Figure:
    """An empty figure of ``width`` × ``height`` inches."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    if title:
        made.suptitle(title, wrap=True)
    return made


def curves(names: Sequence[str], x: str, y: str, title: str = "") -> tuple[Figure, list[Axes]]:
    """A figure with one panel per name, one below the other, with the same axes; x and y are what they show."""
    made = figure(WIDTH, HEIGHT * len(names) + 0.6, title)
    axes = made.subplots(len(names), 1, squeeze=False, sharex=True, sharey=True)[:, 0].tolist()
    for axis, name in zip(axes, names, strict=True):
        axis.set_title(name, fontsize=TITLE, loc="left")
        axis.set_ylabel(y)
        axis.grid(color="0.9", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel(x)
    return made, axes


def legend(axis: Axes) -> None:
    """What the curves of ``axis`` are, above it on the right."""
    axis.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=6, fontsize=TEXT, frameon=False, borderaxespad=0.2
    )


def show(axis: Axes, panel: xr.DataArray, low: float, high: float, **options: Any) -> AxesImage:
    """Draw ``panel``, (vertical, horizontal) on the grid, in millimetres or, without positions, in voxels.

    low, high: values at the ends of the colour map. options: of matplotlib's ``imshow``.
    """
    vertical, horizontal = map(str, panel.dims)
    (left, right), (bottom, top) = edges(panel, horizontal), edges(panel, vertical)
    for name, dim in (("x", horizontal), ("y", vertical)):
        getattr(axis, f"set_{name}label")(f"{dim} ({'mm' if dim in panel.coords else 'voxel'})")
    look: dict[str, Any] = {"cmap": COLORMAP, "vmin": low, "vmax": high, "interpolation": "nearest"} | options
    drawn = axis.imshow(panel.values, origin="lower", extent=(left, right, bottom, top), **look)
    if 1 in panel.shape:  # a line of voxels fills its panel: its thickness says nothing
        axis.set_aspect("auto")
        for name, dim in (("x", horizontal), ("y", vertical)):
            if panel.sizes[dim] == 1:
                axis.set(**{f"{name}ticks": positions(panel, dim)})
    return drawn


def edges(array: xr.DataArray, dim: str) -> tuple[float, float]:
    """Where the first voxel along ``dim`` begins and the last ends, as `positions` counts."""
    values = positions(array, dim)
    half = (values[-1] - values[0]) / (len(values) - 1) / 2 if len(values) > 1 else 0.5
    return float(values[0] - half), float(values[-1] + half)


def positions(array: xr.DataArray, dim: str) -> np.ndarray:
    """Voxel centres in millimetres, or voxel numbers where the image has no positions."""
    return 1e3 * array[dim].values if dim in array.coords else np.arange(array.sizes[dim], dtype=float)


def limits(*arrays: xr.DataArray) -> tuple[float, float]:
    """Values at the ends of a colour map that serves all of ``arrays``: zero is always in it."""
    low = min(0.0, *(float(array.min()) for array in arrays))
    high = max(float(array.max()) for array in arrays)
    return low, high if high > low else low + 1
