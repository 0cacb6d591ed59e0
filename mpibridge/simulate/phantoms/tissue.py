"""Tumours, blobs and cells: random bodies without sharp geometry."""

from __future__ import annotations

import numpy as np

from mpibridge.model import Grid
from mpibridge.simulate.phantoms.frame import Frame
from mpibridge.simulate.phantoms.kinds import N_MODES
from mpibridge.simulate.phantoms.parts import ellipsoids, gaussians, lumps, phantom_of
from mpibridge.simulate.phantoms.shape import Phantom


def tumours(generator: np.random.Generator, grid: Grid) -> Phantom:
    """One to three lumps with wavy edges, most with a rim that takes up more than the necrotic core; often satellites."""
    frame = Frame.of(grid)
    n, n_satellites = int(generator.integers(1, 4)), int(generator.integers(0, 4))
    radius = generator.uniform(0.08, 0.26, n) / n**0.4 * frame.length
    value = generator.uniform(0.4, 1.0, n)
    core = generator.uniform(0.45, 0.8, n) * (generator.uniform(size=n) < 0.7)  # the others are solid
    waves = generator.standard_normal((n, N_MODES)) * [0.12, 0.08, 0.05, 0.03]
    waves *= np.minimum(1, 0.6 / np.maximum(np.abs(waves).sum(axis=1, keepdims=True), 1e-9))
    rows = lumps(
        frame.places(generator, 0.28, n),
        radius,
        radius * generator.uniform(0.6, 1.0, n),
        value,
        waves=waves,
        phases=generator.uniform(-np.pi, np.pi, (n, N_MODES)),
        core=core,
        core_value=value * generator.uniform(0.0, 0.6, n),
    )
    if n_satellites:
        half = np.repeat(generator.uniform(0.015, 0.05, (n_satellites, 1)), 3, axis=1) * frame.length
        spots = ellipsoids(
            frame.places(generator, 0.42, n_satellites), half, generator.uniform(0.3, 1.0, n_satellites)
        )
        rows = np.concatenate([rows, spots])
    return phantom_of("tumours", rows)


def blobs(generator: np.random.Generator, grid: Grid) -> Phantom:
    """One to six Gaussian clouds of different sizes and orientations."""
    frame = Frame.of(grid)
    n = int(generator.integers(1, 7))
    sigma = generator.uniform(0.025, 0.12, (n, 1)) * generator.uniform(0.6, 1.6, (n, 3)) * frame.length
    rows = gaussians(
        frame.places(generator, 0.38, n),
        sigma,
        generator.uniform(0.3, 1.0, n),
        generator.uniform(-np.pi, np.pi, n),
    )
    return phantom_of("blobs", rows)


def cells(generator: np.random.Generator, grid: Grid) -> Phantom:
    """Two to eight ellipses of one value each; the higher value covers the other."""
    frame = Frame.of(grid)
    n = int(generator.integers(2, 9))
    half = generator.uniform(0.04, 0.17, (n, 1)) * generator.uniform(0.5, 1.4, (n, 3)) * frame.length
    rows = ellipsoids(
        frame.places(generator, 0.4, n),
        half,
        generator.uniform(0.25, 1.0, n),
        generator.uniform(-np.pi, np.pi, n),
    )
    return phantom_of("cells", rows)
