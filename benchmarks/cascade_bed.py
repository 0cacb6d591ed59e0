"""What `cascade` is measured on in narrowband imaging: scans of fine phantoms with one absolute noise, pairs of points and their bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from mpibridge import simulate
from mpibridge.calibration import select_rows
from mpibridge.metrics import dip
from mpibridge.metrics.resolution import profile
from mpibridge.model import GRID_DIMS, Grid
from mpibridge.operators import SystemMatrix
from mpibridge.plugin import SpectralProblem
from mpibridge.problems import system_matrix_operator
from mpibridge.simulate import phantoms
from mpibridge.simulate.phantoms import FAMILIES, Phantom, draw_images, render
from mpibridge.simulate.phantoms.families import Families, chosen
from mpibridge.simulate.phantoms.parts import ellipsoids, phantom_of
from mpibridge.simulate.phantoms.shape import finer_grid
from mpibridge.simulate.presets import preset
from mpibridge.training import CORRECTED, Simulated
from mpibridge.training.data import SOURCE, random
from mpibridge.training.simulated import forward_matrix

PRESET, FINER = "narrowband", 4
GRID = preset(PRESET).grid
REFERENCE = phantoms.pair(0.4e-3)
"""Two discs of 0.2 mm with concentration 1: an SNR is that of their signal, the noise the same for every phantom."""
DIAMETER = 0.2e-3
"""m, of every point."""
LEVELS = (35.0, 45.0)
"""dB."""
HELD_OUT = ("blobs", "vessels")
TERRACES = 8
"""Of a mound."""


def mounds(generator: np.random.Generator, grid: Grid) -> Phantom:
    """One to four hills of nested ellipses, steep or flat: what else is trained with has sharp edges and plateaus."""
    rows = []
    for _ in range(generator.integers(1, 5)):
        center = generator.uniform(-0.35, 0.35, 3) * np.array(grid.field_of_view)
        half = generator.uniform(0.08, 0.3) * generator.uniform(0.6, 1.6, 3) * min(grid.field_of_view[:2])
        up = np.arange(1, TERRACES + 1) / TERRACES
        sizes = (1 - up + 1 / TERRACES) ** generator.uniform(0.5, 1.5)
        values = generator.uniform(0.3, 1.0) * up
        angle = generator.uniform(-np.pi, np.pi)
        rows.append(
            ellipsoids(np.tile(center * [1, 1, 0], (TERRACES, 1)), sizes[:, None] * half, values, angle)
        )
    return phantom_of("mounds", np.concatenate(rows))


OF_TRAINING = {name: FAMILIES[name] for name in FAMILIES if name not in HELD_OUT} | {"mounds": mounds}
"""Classical methods are tuned on these, too."""
PAIRS = {f"pairs and bars {i}": phantoms.pairs_and_bars for i in (1, 2, 3)}
"""Three names, three shares: families are drawn equally often."""
DISTANCES = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.8, 1.0)
"""mm between the centres of two points."""
RESOLVED = 0.8
"""A dip up to here is a valley (Rayleigh: 0.81)."""
NEAR = 0.1e-3
"""m by which the peaks may miss their places: one step of the raster."""
SEEDS = {"choosing": 101, "test": 404}
"""Streams of phantoms and noise; that of training has none of them."""


def training_data(snr: tuple[float, float] = (28.0, 52.0), validation: int = 192) -> Simulated:
    """What the weights for narrowband imaging are trained with."""
    return Simulated(
        PRESET, families=PAIRS | OF_TRAINING, snr=snr, finer=FINER, validation=validation, reference=REFERENCE
    )


@dataclass(frozen=True)
class Scans:
    """Problems with the truth (frame, z, y, x) of every frame."""

    problem: SpectralProblem
    truth: np.ndarray


def ends_of_bar(
    center: np.ndarray, along: np.ndarray, values: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Ends (x, y) of `phantoms.bar_like_pair` in metres; along: from the centre to the second point."""
    share, distance = values[1] / sum(values), 2 * np.linalg.norm(along)
    middle = center + (2 * share - 1) * along
    half = along / distance * np.sqrt(12 * share * (1 - share) * distance**2 + 0.75 * DIAMETER**2)
    return middle - half, middle + half


@dataclass(frozen=True)
class Pairs:
    """Pairs of points, and the bar that each must not be mistaken for: phantoms; places of the points and ends of the bars,

    both (pair, 2, 2) in metres (x, y).
    """

    distance: np.ndarray
    places: np.ndarray
    ends: np.ndarray
    points: Sequence[Phantom]
    bars: Sequence[Phantom]

    @classmethod
    def draw(cls, n: int, stream: str, distances: Sequence[float] = DISTANCES) -> Pairs:
        """``n`` of every distance: up to 0.5 mm from the centre along x and y, at any angle, one point with 50 to 100 % of the other."""
        generator = np.random.default_rng(SEEDS[stream])
        distance = np.repeat(distances, n) * 1e-3
        places, ends, points, bars = [], [], [], []
        for d in distance:
            center, angle = generator.uniform(-0.5e-3, 0.5e-3, 2), generator.uniform(0, np.pi)
            values = (generator.uniform(0.5, 1), 1.0)
            along = np.array([np.cos(angle), np.sin(angle)]) * d / 2
            places.append((center - along, center + along))
            points.append(phantoms.pair(d, values=values, angle=angle, center=center))
            bars.append(phantoms.bar_like_pair(d, values=values, angle=angle, center=center))
            ends.append(ends_of_bar(center, along, values))
        return cls(distance, np.array(places), np.array(ends), points, bars)


@dataclass(frozen=True)
class Raster:
    """operator: of the noisy calibration. forward: (row, voxel of the fine grid) without noise."""

    operator: SystemMatrix
    forward: np.ndarray

    @cached_property
    def reference_power(self) -> float:
        return float(np.mean(np.abs(self._signal(render([REFERENCE], self._fine))) ** 2))

    def sigma(self, snr: float) -> float:
        """Standard deviation of the complex noise of a row, V."""
        return float(np.sqrt(self.reference_power / 10 ** (snr / 10)))

    def scans(self, drawn: Sequence[Phantom], snr: float, seed: int) -> Scans:
        return self._scanned(render(drawn, self._fine), snr, seed)

    def families(self, families: Families, n: int, snr: float, stream: str) -> Scans:
        """``n`` phantoms of every family."""
        images = [
            draw_images({name: family}, n, np.random.default_rng([SEEDS[stream], i]), self._fine)[0]
            for i, (name, family) in enumerate(chosen(families).items())
        ]
        return self._scanned(np.concatenate(images), snr, SEEDS[stream])

    def told_apart(self, drawn: Pairs, snr: float) -> np.ndarray:
        """Distance (pair,) of every pair's signal from the nearest multiple of its bar's, in standard deviations of the noise.

        An observer who knows place, angle and shape of both, and misses 5 % of the bars, sees Φ(distance − 1.64) of the pairs.
        """
        points, bars = (
            self._signal(render(phantoms_, self._fine, 12)) for phantoms_ in (drawn.points, drawn.bars)
        )
        share = (points * bars.conj()).real.sum(1) / (np.abs(bars) ** 2).sum(1)
        return np.linalg.norm(points - share[:, None] * bars, axis=1) / (self.sigma(snr) / np.sqrt(2))

    def _scanned(self, fine: np.ndarray, snr: float, seed: int) -> Scans:
        clean, sigma = self._signal(fine), self.sigma(snr)
        normal = np.random.default_rng(seed).standard_normal((*clean.shape, 2))
        rows = clean + sigma / np.sqrt(2) * normal.view(complex)[..., 0]
        n_rows, (nz, ny, nx) = self.operator.n_rows, self.operator.grid.shape
        return Scans(
            SpectralProblem(
                grid=self.operator.grid,
                rows=rows.astype(np.complex64),
                operator=self.operator,
                noise=np.full(n_rows, sigma, np.float32),
            ),
            fine.reshape(len(fine), nz, ny, FINER, nx, FINER).mean((3, 5)),
        )

    def _signal(self, fine: np.ndarray) -> np.ndarray:
        return fine.reshape(len(fine), -1) @ self.forward.T

    @property
    def _fine(self) -> Grid:
        return finer_grid(self.operator.grid, FINER)


def raster() -> Raster:
    """The calibration of the preset that methods are trained with, and its scanner."""
    source = preset(PRESET)
    calibration = simulate.calibration(source, generator=random(0, SOURCE))
    rows = select_rows(calibration, CORRECTED)
    operator = system_matrix_operator(calibration, rows, CORRECTED)
    return Raster(operator, forward_matrix(source, calibration, rows, CORRECTED, operator.grid, FINER))


def labelled(image: np.ndarray) -> xr.DataArray:
    """An image (z, y, x) with positions."""
    return xr.DataArray(image, GRID.coordinates(), GRID_DIMS)


def dips(images: np.ndarray, places: np.ndarray) -> np.ndarray:
    """`mpibridge.metrics.dip` of every image between its places; infinite where a peak is missing or misses its place.

    A peak is the largest value within half of the distance from its place along the line through both, and lies at most `NEAR` from it.
    """
    found = []
    for image, (first, second) in zip(images, places, strict=True):
        array, along = labelled(image), second - first
        line = profile(array, first - along / 2, second + along / 2, 401)
        step = 2 * np.linalg.norm(along) / 400
        missed = [abs(int(half.argmax()) - 100) * step for half in (line[:200], line[:200:-1])]
        found.append(dip(array, first, second) if max(missed) <= NEAR else np.inf)
    return np.array(found)


def valleys(images: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The deepest valley of every bar along all of its length: the smallest of value / lower of the highest values on either side.

    1: none; 0 for a bar of which less than half is seen, at half of its highest value: it is not whole either.
    """
    found = []
    for image, (first, second) in zip(images, ends, strict=True):
        line = profile(labelled(image), first, second, 401).clip(0)
        sides = np.minimum(np.maximum.accumulate(line), np.maximum.accumulate(line[::-1])[::-1])
        seen = line.max() > 0 and (line >= line.max() / 2).mean() >= 0.5
        found.append((line / np.maximum(sides, 1e-30)).min() if seen else 0.0)
    return np.array(found)
