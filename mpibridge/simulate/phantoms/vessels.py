"""Vessel trees: branching tubes that become thinner."""

from __future__ import annotations

import numpy as np

from mpibridge.model import Grid
from mpibridge.simulate.phantoms.frame import Frame
from mpibridge.simulate.phantoms.parts import capsules, phantom_of
from mpibridge.simulate.phantoms.shape import Phantom, require

STEPS = 3
"""Straight pieces of a branch."""
TAPER = 0.94
"""Radius at the end of a piece over that at its start."""
FINEST = 0.006
"""Branches thinner than this share of the field of view (radius) end."""


def vessels(generator: np.random.Generator, grid: Grid) -> Phantom:
    """One or two random trees that grow inwards from the edge of the field of view: a family."""
    frame = Frame.of(grid)
    n = int(generator.integers(1, 3))
    return phantom_of("vessels", np.concatenate([_tree(generator, frame) for _ in range(n)]))


def vessel_tree(
    generator: np.random.Generator, grid: Grid, *, radius: float | None = None, levels: int = 5
) -> Phantom:
    """One tree. radius: of its trunk in metres, None draws 2 to 4.5 % of the field of view. levels: of branching."""
    if radius is not None:
        require("radius", radius, 0.0, open_below=True)
    require("levels", levels, 0, 10)
    return phantom_of("vessel tree", _tree(generator, Frame.of(grid), radius, levels))


def _tree(
    generator: np.random.Generator, frame: Frame, radius: float | None = None, levels: int | None = None
) -> np.ndarray:
    """Rows of capsules. At a fork r³ = r₁³ + r₂³ (Murray's law) with a random share of the flow for each branch.

    The values of a tree fall slightly towards its ends, as tracer that is diluted.
    """
    length = frame.length
    inward = frame.directions(generator)
    edge = np.abs(inward[0] / np.where(frame.spread > 0, frame.spread, np.inf)).max()
    place = frame.center - 0.48 * inward / edge
    trunk, piece, value, wobble, share = generator.uniform(
        [0.02, 0.06, 0.4, 0.08, 0.25], [0.045, 0.11, 1.0, 0.3, 0.5]
    )
    radii = np.array([length * trunk if radius is None else radius])
    levels = int(generator.integers(3, 6)) if levels is None else levels
    heading = inward
    narrowing = TAPER ** np.arange(STEPS + 1)[:, None]
    drawn: list[tuple[np.ndarray, ...]] = []
    for level in range(levels + 1):
        course = heading + np.cumsum(_noise(generator, frame, (STEPS, *heading.shape), wobble), axis=0)
        course /= np.sqrt((course**2).sum(axis=-1, keepdims=True))
        line = np.concatenate([place[None], place + np.cumsum(course, axis=0) * (piece * length)])
        width = narrowing * radii
        ends = (line[:-1].reshape(-1, 3), line[1:].reshape(-1, 3))
        drawn.append((*ends, width[:-1].ravel(), width[1:].ravel(), np.full(width[1:].size, value)))
        place, heading, radii = line[-1], course[-1], width[-1]
        if level == levels:
            break
        flow = generator.uniform(share, 1 - share, len(radii))
        radii = np.concatenate([radii * np.cbrt(flow), radii * np.cbrt(1 - flow)])
        side = _across(generator, frame, heading)
        side *= generator.uniform(0.35, 0.8, (len(side), 1))
        heading, place = np.concatenate([heading + side, heading - side]), np.tile(place, (2, 1))
        heading /= np.linalg.norm(heading, axis=1, keepdims=True)
        inside = (np.abs(place - frame.center) <= 0.55 * frame.spread + 1e-12).all(axis=1)
        alive = inside & (radii > FINEST * length) & (generator.uniform(size=len(radii)) > 0.12)
        place, heading, radii = place[alive], heading[alive], radii[alive]
        value *= 0.95
        if not len(radii):
            break
    start, stop, radius_, stop_radius, values = (
        np.concatenate(column) for column in zip(*drawn, strict=True)
    )
    return capsules(start, stop, radius_, values, stop_radius=stop_radius)


def _noise(generator: np.random.Generator, frame: Frame, shape: tuple[int, ...], size: float) -> np.ndarray:
    noise = generator.standard_normal(shape) * size
    if frame.is_plane:
        noise[..., 2] = 0
    return noise


def _across(generator: np.random.Generator, frame: Frame, heading: np.ndarray) -> np.ndarray:
    """Unit vectors across the headings, in a plane to the left, else any."""
    if frame.is_plane:
        return np.stack([-heading[:, 1], heading[:, 0], np.zeros(len(heading))], axis=-1)
    other = frame.directions(generator, len(heading))
    other -= (other * heading).sum(axis=1, keepdims=True) * heading
    return other / np.maximum(np.linalg.norm(other, axis=1, keepdims=True), 1e-9)
