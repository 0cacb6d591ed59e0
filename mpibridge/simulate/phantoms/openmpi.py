"""The three phantoms of the Open MPI data set, in concentrations relative to its calibrations (100 mmol/L Perimag).

Axes as there: the robot mount is at +x, its flat side at +z. Source: Knopp et al., Data in Brief 28 (2020), and the
pages and STEP files of OpenMPIData.jl (docs/src/phantoms.md); geometry in mpireco.md §7.4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mpibridge.errors import SettingsError
from mpibridge.simulate.phantoms.parts import boxes, capsules, phantom_of
from mpibridge.simulate.phantoms.shape import ORIGIN, Phantom, position, require

CALIBRATION = 100.0
"""mmol/L iron in the delta sample of the calibrations."""
DILUTIONS = (44.4, 100.0, 29.6, 8.77, 19.7, 66.6, 13.1, 5.85)
"""mmol/L in chambers 1 … 8, steps of 1.5: chamber 1 at +x, +y of the upper layer, clockwise seen from +z, then below."""
DILUTED = tuple(each / CALIBRATION for each in DILUTIONS)
"""The same as concentrations."""
TUBES = np.radians([[0, 0], [20, 0], [-30, 0], [0, -10], [0, 15]])
"""Directions of the tubes (in the xy plane, out of it). Which side each is on is our choice, as is ``length``."""


def cone(
    *,
    tip_radius: float = 1e-3,
    angle: float = np.radians(10),
    height: float = 22e-3,
    value: float = 50 / CALIBRATION,
    center: ArrayLike = ORIGIN,
) -> Phantom:
    """The shape phantom: a cone along x, cut flat at its tip towards +x; 683.9 µL.

    tip_radius, height: metres. angle: between axis and surface (the stated volume tells that it is not the whole
    opening). value: concentration. center: half-way up the axis.
    """
    for what, length in (("tip_radius", tip_radius), ("height", height)):
        require(what, length, 0.0, open_below=True)
    require("angle", angle, 0.0, 1.5)
    require("value", value, 0.0)
    along, middle = np.array([height / 2, 0, 0]), position(center, "center")
    base = tip_radius + height * np.tan(angle)
    return phantom_of(
        "cone",
        capsules(middle - along, middle + along, base, value, stop_radius=tip_radius, flat=True),
    )


def resolution_tubes(
    *,
    diameter: float = 1e-3,
    length: float = 20e-3,
    value: float = 50 / CALIBRATION,
    center: ArrayLike = ORIGIN,
) -> Phantom:
    """The resolution phantom: five tubes that spread from one origin at −x, 20° and 30° within the xy plane, 10° and 15°
    out of it, where the gradient is stronger.

    diameter (1 mm in the STEP file), length: metres; the ends are round. center: half-way along the middle tube.
    """
    for what, each in (("diameter", diameter), ("length", length)):
        require(what, each, 0.0, open_below=True)
    require("value", value, 0.0)
    azimuth, elevation = TUBES.T
    directions = np.stack(
        [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)], axis=-1
    )
    origin = np.tile(position(center, "center") - [length / 2, 0, 0], (5, 1))
    return phantom_of("resolution tubes", capsules(origin, origin + length * directions, diameter / 2, value))


def dilution_cubes(
    *,
    edge: float = 2e-3,
    distance: tuple[float, float] = (12e-3, 6e-3),
    values: ArrayLike = DILUTED,
    center: ArrayLike = ORIGIN,
) -> Phantom:
    """The concentration phantom: eight cubes of 8 µL, two layers of four.

    edge: metres. distance: between centres within a layer and between the layers, metres. values: (8,). A plane must
    lie in a layer to see it, for example with its centre at z = distance[1] / 2.
    """
    require("edge", edge, 0.0, open_below=True)
    for each in distance:
        require("distance", each, edge)
    values = np.asarray(values, float)
    if values.shape != (8,):
        raise SettingsError(f"eight cubes need eight values, found {values.shape}")
    for each in values:
        require("values", float(each), 0.0)
    across, up = distance
    square = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * across / 2
    layers = [np.column_stack([square, np.full(4, z)]) for z in (up / 2, -up / 2)]
    places = np.concatenate(layers) + position(center, "center")
    return phantom_of("dilution cubes", boxes(places, np.full(3, edge / 2), values))
