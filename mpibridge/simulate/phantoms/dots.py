"""Points, pairs of points, and the bar that a pair must not be mistaken for."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mpibridge.errors import SettingsError
from mpibridge.model import Grid
from mpibridge.simulate.phantoms.frame import Frame
from mpibridge.simulate.phantoms.parts import Parts, boxes, ellipsoids, phantom_of
from mpibridge.simulate.phantoms.shape import ORIGIN, Phantom, position, require, rotation


def points(positions: ArrayLike, *, diameter: float = 1e-3, values: ArrayLike = 1.0) -> Phantom:
    """Balls of ``diameter`` metres at positions (n, 3) or (n, 2) metres with concentrations values (n,) or one for all."""
    require("diameter", diameter, 0.0, open_below=True)
    places = np.array([position(place, "every position") for place in np.atleast_2d(positions)])
    values = np.asarray(values, float)
    if values.shape not in ((), (len(places),)):
        raise SettingsError(f"{len(places)} points need as many values or one, found {values.shape}")
    for value in values.ravel():
        require("values", float(value), 0.0)
    return phantom_of("points", ellipsoids(places, np.full(3, diameter / 2), values))


def pair(
    distance: float,
    *,
    diameter: float = 0.2e-3,
    values: tuple[float, float] = (1.0, 1.0),
    angle: float = 0.0,
    center: ArrayLike = ORIGIN,
) -> Phantom:
    """Two points, ``distance`` metres between their centres, the first at −distance/2 along ``angle`` (radians, from x).

    In the plane through the centre they are discs, which may touch but not overlap. Source: the two-point test of narrowband MPI (Zhao et al. 2026).
    """
    require("diameter", diameter, 0.0, open_below=True)
    require("distance", distance, diameter)
    along = rotation(angle)[:, 0] * distance / 2
    middle = position(center, "center")
    return _named("pair", points([middle - along, middle + along], diameter=diameter, values=values))


def bar_like_pair(
    distance: float,
    *,
    diameter: float = 0.2e-3,
    values: tuple[float, float] = (1.0, 1.0),
    angle: float = 0.0,
    center: ArrayLike = ORIGIN,
) -> Phantom:
    """The uniform bar with the amount, centroid and second moments of `pair` in the plane through the centre.

    What shows two points here too resolves nothing. With discs of diameter a and shares p, 1 − p of the amount:
    length² / 12 = p (1 − p) distance² + a² / 16 along the bar, width² / 12 = a² / 16 across it; amounts
    value · length · width = (v₁ + v₂) π a² / 4. As high as wide.
    """
    require("diameter", diameter, 0.0, open_below=True)
    require("distance", distance, diameter)
    for each in values:
        require("values", each, 0.0)
    total = sum(values)
    require("the sum of values", total, 0.0, open_below=True)
    share = values[1] / total
    length = np.sqrt(12 * share * (1 - share) * distance**2 + 0.75 * diameter**2)
    width = np.sqrt(0.75) * diameter
    value = total * np.pi * diameter**2 / 4 / (length * width)
    middle = position(center, "center") + rotation(angle)[:, 0] * (share - 0.5) * distance
    half = np.array([length, width, width]) / 2
    return phantom_of("bar like pair", boxes(middle, half, value, angle))


def pairs_and_bars(generator: np.random.Generator, grid: Grid) -> Phantom:
    """A random family: one to three objects, each a `pair` or, as often, the `bar_like_pair` of one.

    Who learns from it what two points look like learns as much of what they must not be mistaken for. Diameters are 3 to 10 %
    of the field of view, distances go on from there by up to 25 %; one point has 30 to 100 % of the other's concentration.
    """
    frame = Frame.of(grid)
    rows = []
    for center in frame.places(generator, 0.35, 1 + int(generator.integers(3))):
        diameter = frame.length * generator.uniform(0.03, 0.1)
        distance = diameter + frame.length * generator.uniform(0, 0.25)
        values = (generator.uniform(0.3, 1), 1.0)
        shape = pair if generator.random() < 0.5 else bar_like_pair
        angle = generator.uniform(-np.pi, np.pi)
        drawn = shape(distance, diameter=diameter, values=values, angle=angle, center=center).concentration
        assert isinstance(drawn, Parts)
        rows.append(drawn.rows)
    return phantom_of("pairs and bars", np.concatenate(rows))


def dot_grid(
    shape: tuple[int, int] = (4, 4),
    *,
    pitch: float = 4e-3,
    diameter: float = 2e-3,
    center: ArrayLike = ORIGIN,
) -> Phantom:
    """Balls in rows and columns: shape (along x, along y), ``pitch`` metres between centres."""
    for n in shape:
        require("shape", n, 1)
    require("pitch", pitch, 0.0, open_below=True)
    x, y = ((np.arange(n) - (n - 1) / 2) * pitch for n in shape)
    places = np.stack([*(a.ravel() for a in np.meshgrid(x, y)), np.zeros(x.size * y.size)], axis=-1)
    return _named("dot grid", points(places + position(center, "center"), diameter=diameter))


def _named(name: str, phantom: Phantom) -> Phantom:
    return Phantom(name, phantom.concentration, phantom.extent, phantom.maximum)
