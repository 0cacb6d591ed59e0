"""Phantoms by name, placed in the field of view of a grid: what a command line or a table offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mpibridge.errors import SettingsError
from mpibridge.model import Grid
from mpibridge.simulate.phantoms import dots, figures, openmpi
from mpibridge.simulate.phantoms.frame import Frame
from mpibridge.simulate.phantoms.shape import Phantom


def _length(grid: Grid) -> float:
    return Frame.of(grid).length


def _spiral(length: float, grid: Grid) -> Phantom:
    """Of its true width and pitch; in less than 12 mm the whole spiral is smaller."""
    share = min(1.0, length / 12e-3)
    diameter = min(27e-3, 0.94 * length)
    return figures.spiral(
        diameter=diameter, width=1.6e-3 * share, pitch=4.1e-3 * share, inner=2e-3 * share, center=grid.center
    )


PHANTOMS: Mapping[str, Callable[[Grid], Phantom]] = {
    "ell": figures.ell,
    "spiral": lambda grid: _spiral(_length(grid), grid),
    "lambda": lambda grid: figures.lambda_shape(
        size=0.7 * _length(grid), width=0.07 * _length(grid), center=grid.center
    ),
    "bars": lambda grid: figures.bars(
        [share * _length(grid) for share in (0.02, 0.04, 0.06)],
        length=0.5 * _length(grid),
        center=grid.center,
    ),
    "rings": lambda grid: figures.rings(
        [share * _length(grid) for share in (0.14, 0.27, 0.4)], width=0.05 * _length(grid), center=grid.center
    ),
    "dots": lambda grid: dots.dot_grid(
        pitch=0.2 * _length(grid), diameter=0.1 * _length(grid), center=grid.center
    ),
    "pair": lambda grid: dots.pair(0.2 * _length(grid), diameter=0.1 * _length(grid), center=grid.center),
    "bar-like-pair": lambda grid: dots.bar_like_pair(
        0.2 * _length(grid), diameter=0.1 * _length(grid), center=grid.center
    ),
    "cone": lambda grid: openmpi.cone(center=grid.center),
    "tubes": lambda grid: openmpi.resolution_tubes(center=grid.center),
    "cubes": lambda grid: openmpi.dilution_cubes(
        center=(*grid.center[:2], grid.center[2] - (3e-3 if grid.size[2] == 1 else 0))
    ),
}
"""Name → function of a grid. The Open MPI phantoms, and the spiral from 12 mm on, keep their true size; of the cubes a plane sees the
upper layer; all others fill the field of view."""


def named(name: str, grid: Grid) -> Phantom:
    """The phantom of that name in the field of view of ``grid``. SettingsError if there is none, or if it does not fit."""
    if name not in PHANTOMS:
        raise SettingsError(f"unknown phantom {name!r}, choose from {', '.join(PHANTOMS)}")
    try:
        return PHANTOMS[name](grid)
    except SettingsError as error:
        extent = " × ".join(f"{1e3 * length:g}" for length in grid.field_of_view)
        raise SettingsError(f"phantom {name!r} does not fit into {extent} mm: {error}") from error
