"""Figures: spiral, λ, bars, rings, and the L with a dot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from mpibridge.errors import SettingsError
from mpibridge.model import Grid
from mpibridge.simulate.phantoms.parts import arcs, boxes, capsules, phantom_of
from mpibridge.simulate.phantoms.shape import ORIGIN, Phantom, position, require

PER_TURN = 64
"""Straight pieces of a turn of a spiral: they leave the curve by 1.2e-3 of its radius at most."""
LAMBDA = (
    ((-0.08, 0.20), (0.08, -0.08), (0.30, -0.50)),  # the long stroke, from under the gap to the right foot
    ((0.08, -0.08), (-0.12, -0.30), (-0.28, -0.50)),  # the leg that forks off
    ((-0.30, 0.47), (-0.21, 0.45), (-0.16, 0.38)),  # the hook at the top, not connected
)
"""Points (x, y) of the strokes in units of the height."""


def spiral(
    *,
    diameter: float = 25e-3,
    width: float = 1.6e-3,
    pitch: float = 4.1e-3,
    inner: float = 2e-3,
    angle: float = 0.0,
    center: ArrayLike = ORIGIN,
) -> Phantom:
    """An Archimedean channel, ``width`` wide, r = inner + pitch · φ / 2π, out to ``diameter`` (metres).

    inner: radius where its middle line starts. Source: the spiral of Tsanda et al. 2025 as measured off its figure (width
    1.6 mm, pitch 4.1 mm).
    """
    require("width", width, 0.0, open_below=True)
    require("pitch", pitch, width)
    require("inner", inner, 0.0)
    require("diameter", diameter, 2 * inner + width + 0.1 * pitch)
    turns = (diameter / 2 - width / 2 - inner) / pitch
    steps = np.linspace(0, turns, int(np.ceil(turns * PER_TURN)) + 1)
    radius, phase = inner + pitch * steps, 2 * np.pi * steps + angle
    line = np.stack([radius * np.cos(phase), radius * np.sin(phase), np.zeros_like(phase)], axis=-1)
    line += position(center, "center")
    return phantom_of("spiral", capsules(line[:-1], line[1:], np.full(len(line) - 1, width / 2)))


def lambda_shape(
    *, size: float = 14e-3, width: float = 1.4e-3, value: float = 1.0, center: ArrayLike = ORIGIN
) -> Phantom:
    """A λ of three round strokes: one long, one that forks off it, and a hook at the top that touches neither.

    size: its height, width: that of a stroke, metres. Source: Ergun et al. 2022, figure 2 as its text tells: what
    networks trained on unforked channels lose is the fork and the disconnected part near the top. The coordinates
    are ours.
    """
    require("size", size, 0.0, open_below=True)
    require("width", width, 0.0, 0.14 * size, open_below=True)  # wider strokes close the gap
    require("value", value, 0.0)
    start, stop = (np.concatenate([_curve(np.array(s))[a] for s in LAMBDA]) for a in (np.s_[:-1], np.s_[1:]))
    middle, inside = position(center, "center"), (size - width) / 0.97
    start, stop = (
        np.column_stack([(points + np.array([0, 0.015])) * inside, np.zeros(len(points))]) + middle
        for points in (start, stop)
    )
    return phantom_of("lambda", capsules(start, stop, width / 2, value))


def _curve(points: np.ndarray, n: int = 12) -> np.ndarray:
    """A parabola (n + 1, 2) that starts and ends at the first and last of three points and passes through the other."""
    t = np.linspace(0, 1, n + 1)[:, None]
    return points[0] * (1 - t) * (1 - 2 * t) + points[1] * 4 * t * (1 - t) + points[2] * t * (2 * t - 1)


def bars(
    widths: Sequence[float] = (0.5e-3, 1e-3, 1.5e-3, 2e-3),
    *,
    length: float = 6e-3,
    per_group: int = 3,
    angle: float = 0.0,
    center: ArrayLike = ORIGIN,
) -> Phantom:
    """Groups of parallel bars along y side by side, gaps as wide as the bars, and twice the widest between groups.

    widths: one per group, length: metres; as high as wide. angle: radians, about the centre.
    """
    if not len(widths):
        raise SettingsError("bars need at least one width, found none")
    for width in widths:
        require("widths", width, 0.0, open_below=True)
    require("length", length, 0.0, open_below=True)
    require("per_group", per_group, 1)
    wide = np.repeat(np.asarray(widths, float), per_group)
    gaps = np.where(np.arange(wide.size) % per_group == per_group - 1, 2 * max(widths), wide)
    left = np.concatenate([[0], np.cumsum(wide + gaps)[:-1]])
    middle = left + wide / 2 - (left[-1] + wide[-1]) / 2
    pivot = position(center, "center")
    places = np.outer(middle, [np.cos(angle), np.sin(angle), 0]) + pivot
    half = np.stack([wide, np.full_like(wide, length), wide], axis=-1) / 2
    return phantom_of("bars", boxes(places, half, 1.0, angle))


def rings(
    radii: Sequence[float] = (3e-3, 6e-3, 9e-3),
    *,
    width: float = 1.2e-3,
    height: float = 1e-3,
    center: ArrayLike = ORIGIN,
) -> Phantom:
    """Concentric rings around z: mean radii, width and height in metres."""
    if not len(radii):
        raise SettingsError("rings need at least one radius, found none")
    require("width", width, 0.0, open_below=True)
    require("height", height, 0.0, open_below=True)
    for radius in radii:
        require("radii", radius, width / 2)
    middle = np.tile(position(center, "center"), (len(radii), 1))
    return phantom_of("rings", arcs(middle, radii, width, height))


def ell(grid: Grid) -> Phantom:
    """An L and a fainter dot that fill the field of view of ``grid``, without any symmetry; the same in all planes."""
    pivot, size = np.array(grid.center), np.array(grid.field_of_view)

    def concentration(points: np.ndarray) -> np.ndarray:
        u, v = ((points[:, i] - pivot[i]) / size[i] for i in range(2))  # −1/2 … 1/2
        stem = (np.abs(u + 0.2) < 0.06) & (np.abs(v) < 0.28)
        foot = (np.abs(v + 0.22) < 0.06) & (u > -0.26) & (u < 0.16)
        dot = 0.7 * np.exp(-((u - 0.2) ** 2 + (v - 0.18) ** 2) / 0.005)
        return np.maximum(stem | foot, dot)

    low, high = (pivot - size / 2).tolist(), (pivot + size / 2).tolist()
    return Phantom("ell", concentration, ((low[0], low[1], low[2]), (high[0], high[1], high[2])))


def phantom(grid: Grid, *, finer: int = 5) -> xr.DataArray:
    """`ell` on a grid ``finer`` times finer than ``grid``: concentration (z, y, x), 1 for the calibration's sample."""
    return ell(grid).rendered(grid, finer)
