"""Random patterns: tubes, bars, rings, dots, points, spirals and shapes, as families to train on or to hold out.

Lengths are shares of the shorter edge of the field of view. In volumes flat figures are plates at a random height.
"""

from __future__ import annotations

import numpy as np

from mpibridge.model import Grid
from mpibridge.simulate.phantoms.frame import Frame
from mpibridge.simulate.phantoms.parts import arcs, boxes, capsules, ellipsoids, phantom_of
from mpibridge.simulate.phantoms.shape import Phantom

HALF_HEIGHT = 0.08
"""Of plates, in units of the length of the field of view."""


def tubes(generator: np.random.Generator, grid: Grid) -> Phantom:
    """One to four bent tubes of constant width across the field of view."""
    frame = Frame.of(grid)
    n, pieces = int(generator.integers(1, 5)), 8
    ends = frame.places(generator, 0.48, 3 * n).reshape(3, 1, n, 3)
    t = np.linspace(0, 1, pieces + 1)[:, None, None]
    line = ends[0] * (1 - t) ** 2 + ends[1] * 2 * t * (1 - t) + ends[2] * t**2  # Bézier (pieces + 1, n, 3)
    radius, value = generator.uniform([[0.012], [0.3]], [[0.05], [1.0]], (2, n))
    start, stop = line[:-1].reshape(-1, 3), line[1:].reshape(-1, 3)
    return phantom_of(
        "tubes", capsules(start, stop, np.tile(radius, pieces) * frame.length, np.tile(value, pieces))
    )


def bars(generator: np.random.Generator, grid: Grid) -> Phantom:
    """Two to seven parallel bars with random widths and gaps; a third of them with a value each."""
    frame = Frame.of(grid)
    n = int(generator.integers(2, 8))
    widths, gaps = generator.uniform(0.02, 0.11, (2, n)) * frame.length
    if generator.uniform() < 0.5:
        widths[:], gaps[:] = widths[0], gaps[0]
    angle = generator.uniform(-np.pi, np.pi)
    start = np.concatenate([[0], np.cumsum(widths + gaps)[:-1]]) + widths / 2
    across = start - start.mean()
    length = generator.uniform(0.2, 0.8) * frame.length
    values = np.full(n, generator.uniform(0.5, 1.0))
    if generator.uniform() < 1 / 3:
        values *= generator.uniform(0.3, 1.0, n)
    places = frame.places(generator, 0.1) + np.outer(across, [np.cos(angle), np.sin(angle), 0])
    half = np.stack([widths / 2, np.full(n, length / 2), np.full(n, HALF_HEIGHT * frame.length)], axis=-1)
    return phantom_of("bars", boxes(places, half, values, angle))


def rings(generator: np.random.Generator, grid: Grid) -> Phantom:
    """One to three rings, concentric or not, some of them open."""
    frame = Frame.of(grid)
    n = int(generator.integers(1, 4))
    places = frame.places(generator, 0.22, n)
    if generator.uniform() < 0.4:
        places[:] = places[0]
    radius, width = generator.uniform([[0.07], [0.025]], [[0.34], [0.1]], (2, n)) * frame.length
    is_open = generator.uniform(size=n) < 0.35
    return phantom_of(
        "rings",
        arcs(
            places,
            radius,
            np.minimum(width, 1.2 * radius),
            2 * HALF_HEIGHT * frame.length,
            generator.uniform(0.3, 1.0, n),
            angle=generator.uniform(-np.pi, np.pi, n),
            half_opening=np.where(is_open, generator.uniform(1.2, 2.8, n), np.pi),
        ),
    )


def dots(generator: np.random.Generator, grid: Grid) -> Phantom:
    """A turned grid of equal dots, some of them missing or fainter."""
    frame = Frame.of(grid)
    n_x, n_y = (int(n) for n in generator.integers(2, 6, 2))
    pitch, angle, share, value, fill = generator.uniform(
        [0.12, -np.pi, 0.3, 0.5, 0.5], [0.26, np.pi, 0.75, 1.0, 1.0]
    )
    x, y = np.meshgrid(np.arange(n_x) - (n_x - 1) / 2, np.arange(n_y) - (n_y - 1) / 2)
    u, v = (x.ravel(), y.ravel())
    c, s = pitch * np.cos(angle) * frame.length, pitch * np.sin(angle) * frame.length
    places = np.stack([c * u - s * v, s * u + c * v, np.zeros(u.size)], axis=-1)
    places += frame.places(generator, 0.12)
    there = generator.uniform(size=u.size) < fill
    there[int(generator.integers(u.size))] = True
    values = value * np.where(generator.uniform(size=u.size) < 0.75, 1.0, generator.uniform(0.2, 1.0, u.size))
    radius = np.full(3, share * pitch / 2 * frame.length)
    return phantom_of("dots", ellipsoids(places[there], radius, values[there]))


def points(generator: np.random.Generator, grid: Grid) -> Phantom:
    """One to eight small balls anywhere."""
    frame = Frame.of(grid)
    n = int(generator.integers(1, 9))
    half = np.repeat(generator.uniform(0.015, 0.05, (n, 1)), 3, axis=1) * frame.length
    return phantom_of(
        "points", ellipsoids(frame.places(generator, 0.43, n), half, generator.uniform(0.3, 1.0, n))
    )


def spirals(generator: np.random.Generator, grid: Grid) -> Phantom:
    """One Archimedean spiral, either hand, sometimes with a value that changes along it."""
    frame = Frame.of(grid)
    pitch, share, inner, turns, phase, value, fade = generator.uniform(
        [0.1, 0.25, 0.02, 1.0, -np.pi, 0.5, -1.2], [0.2, 0.6, 0.08, 2.6, np.pi, 1.0, 1.0]
    )
    hand = 1 if generator.uniform() < 0.5 else -1
    turns = min(turns, (0.46 - inner) / pitch)
    t = np.linspace(0, 1, int(24 * turns) + 2)
    radius = (inner + pitch * turns * t) * frame.length
    angle = phase + hand * 2 * np.pi * turns * t
    line = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros(t.size)], axis=-1)
    line += frame.places(generator, 0.05)
    values = value * (1 - max(fade, 0.0) * 0.6 * t)
    tube = np.full(t.size - 1, share * pitch / 2 * frame.length)
    return phantom_of("spirals", capsules(line[:-1], line[1:], tube, values[:-1], stop_value=values[1:]))


def shapes(generator: np.random.Generator, grid: Grid) -> Phantom:
    """Two to fourteen boxes, ellipsoids and straight tubes of any size, proportion, direction and value."""
    frame = Frame.of(grid)
    n = int(generator.integers(2, 15))
    kind = generator.integers(0, 3, n)
    places = frame.places(generator, 0.42, n)
    half = np.exp(generator.uniform(np.log(0.015), np.log(0.25), (n, 3))) * frame.length
    half[:, 2] = HALF_HEIGHT * frame.length
    angle, value = generator.uniform([[-np.pi], [0.15]], [[np.pi], [1.0]], (2, n))
    along = np.stack([np.cos(angle), np.sin(angle), np.zeros(n)], axis=-1) * half[:, :1]
    box, ball, tube = (kind == i for i in range(3))
    rows = [
        boxes(places[box], half[box], value[box], angle[box]),
        ellipsoids(places[ball], half[ball], value[ball], angle[ball]),
        capsules((places - along)[tube], (places + along)[tube], half[tube, 1] / 2, value[tube]),
    ]
    return phantom_of("shapes", np.concatenate(rows)[generator.permutation(n)])
