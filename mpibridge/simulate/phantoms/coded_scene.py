"""The coded calibration scene: one large sheet of connected channels, of which crops are scanned.

Source: Ergun et al. 2022 (seed 004): 7.14 × 7.14 cm² of continuous channels with varying concentrations and
thicknesses, pseudo-random but connected, without forks; rotated and shifted under a field of view of 2 × 2 cm².
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from mpibridge.errors import ShapeError
from mpibridge.model import GRID_DIMS, Grid
from mpibridge.simulate.phantoms.families import render, render_rows
from mpibridge.simulate.phantoms.parts import capsules, phantom_of, pictures
from mpibridge.simulate.phantoms.shape import Phantom, position, require

PER_STEP = 8
"""Straight pieces between two nodes."""


@dataclass(frozen=True)
class Scene:
    """A square sheet, drawn once. image: (1, n, n) float32, row 0 at the top; size: its edge in metres, centre at 0.

    Between the centres of its pixels it is interpolated linearly; it has no extent along z and every plane sees it.
    """

    image: np.ndarray
    size: float

    @property
    def phantom(self) -> Phantom:
        """The whole scene."""
        return phantom_of(
            "scene", self._rows(np.zeros((1, 3)), np.zeros(1)), self.image, float(self.image.max())
        )

    def crop(self, center: ArrayLike, angle: float, grid: Grid, finer: int = 1) -> xr.DataArray:
        """What a field of view sees that is turned by ``angle`` (radians) and centred at ``center`` (x, y) of the scene.

        The voxel at r of ``grid`` shows the scene at center + R(angle) (r − centre of the grid). Returns concentration
        (z, y, x), the mean of ``finer`` points per axis; give a larger grid for the signal from outside.
        """
        require("angle", angle, -np.inf)
        place = position(center, "center")[None, :2]
        image = self.crops(place, np.array([angle]), grid, finer)[0]
        return xr.DataArray(image, grid.coordinates(), GRID_DIMS, "concentration", grid.attributes())

    def crops(self, centers: np.ndarray, angles: np.ndarray, grid: Grid, finer: int = 1) -> np.ndarray:
        """Many crops (n, z, y, x) float32: centers (n, 2) metres, angles (n,) radians."""
        centers, angles = np.asarray(centers, float), np.asarray(angles, float)
        if centers.shape != (*angles.shape, 2) or angles.ndim != 1:
            raise ShapeError(
                f"centers (n, 2) and angles (n,) are wanted, found {centers.shape} and {angles.shape}"
            )
        rows = self._crop_rows(centers, angles, grid)
        return render_rows(rows, np.arange(len(rows) + 1), self.image, grid, finer)

    def family(self, generator: np.random.Generator, grid: Grid) -> Phantom:
        """A random crop as a member of a family: the field of view lies on the scene in any orientation."""
        centers, angles = self.places(1, generator, grid)
        return phantom_of(
            "scene", self._crop_rows(centers, angles, grid), self.image, float(self.image.max())
        )

    def places(
        self, n: int, generator: np.random.Generator, grid: Grid, *, beyond: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Random centers (n, 2) and angles (n,) of crops. SettingsError if the scene is too small.

        beyond: metres that a corner of the field of view may lie off the scene, along x and y; 0: crops stay on it.
        """
        reach = np.hypot(*grid.field_of_view[:2]) / 2
        require("the diagonal of the field of view", 2 * reach, 0.0, self.size)
        require("beyond", beyond, 0.0)
        drawn = generator.uniform(-1, 1, (n, 3))
        return drawn[:, :2] * (self.size / 2 - reach + beyond), drawn[:, 2] * np.pi

    def _crop_rows(self, centers: np.ndarray, angles: np.ndarray, grid: Grid) -> np.ndarray:
        c, s = np.cos(angles), np.sin(angles)
        x, y = centers.T
        back = np.stack([-c * x - s * y, s * x - c * y, np.zeros(len(x))], axis=-1)  # R(−angle)(0 − center)
        return self._rows(back + np.array(grid.center), -angles)

    def _rows(self, places: np.ndarray, angles: np.ndarray) -> np.ndarray:
        half = np.array([self.size / 2, self.size / 2, self.size])
        return pictures(places, half, 0, self.image.shape[1:], 1.0, angles)


def scene(
    generator: np.random.Generator,
    *,
    size: float = 71.4e-3,
    resolution: int = 1000,
    nodes: int = 14,
    width: tuple[float, float] = (1.0e-3, 2.8e-3),
    values: tuple[float, float] = (0.3, 1.0),
    forks: int = 0,
) -> Scene:
    """A scene of one channel that winds through the whole square, its width and concentration changing on the way.

    size: edge in metres. resolution: pixels per edge (71.4 mm / 1000 is the pixel of 2 cm / 280). nodes: the channel
    passes through so many places per edge, jittered. width: narrowest and widest in metres; values: lowest and highest
    concentration. forks: additional short channels between neighbouring turns (the published scene has none).
    """
    require("size", size, 0.0, open_below=True)
    require("resolution", resolution, 2, 20000)
    require("nodes", nodes, 2, 100)
    for what, (low, high) in (("width", width), ("values", values)):
        require(what, low, 0.0, open_below=True)
        require(what, high, low)
    require("width", width[1], 0.0, size / nodes)
    require("forks", forks, 0)
    path = _hamiltonian_path(generator, nodes)
    pitch = size / nodes
    places = (path - (nodes - 1) / 2) * pitch + generator.uniform(-0.22, 0.22, path.shape) * pitch
    line = _smooth(places)
    radius, value = (
        low + (high - low) * _wander(generator, len(path))
        for low, high in ((width[0] / 2, width[1] / 2), values)
    )
    rows = [_channel(line, radius, value)]
    neighbours = _shortcuts(path)
    for i, j in neighbours[generator.permutation(len(neighbours))[: int(forks)]]:
        t = np.linspace(0, 1, PER_STEP + 1)[:, None]
        ends = np.array([i, j]) * PER_STEP
        bridge = places[i] * (1 - t) + places[j] * t
        rows.append(_channel(bridge, np.full(len(t), width[0] / 2), np.full(len(t), value[ends].min())))
    grid = Grid((int(resolution), int(resolution), 1), (size, size, size))
    image = render([phantom_of("scene", np.concatenate(rows))], grid, finer=2)[0]
    return Scene(np.ascontiguousarray(image[:, ::-1]), size)


def _channel(line: np.ndarray, radius: np.ndarray, value: np.ndarray) -> np.ndarray:
    points = np.column_stack([line, np.zeros(len(line))])
    return capsules(
        points[:-1], points[1:], radius[:-1], value[:-1], stop_radius=radius[1:], stop_value=value[1:]
    )


def _hamiltonian_path(generator: np.random.Generator, n: int) -> np.ndarray:
    """A random path (n², 2) over an n × n lattice that visits every node once, from neighbour to neighbour.

    A meander, stirred by backbite moves: the end joins a neighbour of its own, and the loop so made is cut open beside
    that neighbour. Source: Mansfield, Macromolecules 15 (1982); Oberdorf et al., Phys. Rev. E 74 (2006), 051801.
    """
    x, y = np.meshgrid(np.arange(n), np.arange(n))
    x[1::2] = x[1::2, ::-1]
    path = np.stack([x.ravel(), y.ravel()], axis=-1)
    moves = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    for choice, flip in generator.integers(0, [4, 2], (20 * n * n, 2)):
        if flip:
            path = path[::-1]
        target = path[0] + moves[choice]
        hit = np.flatnonzero((path == target).all(axis=1))
        if hit.size and hit[0] > 1:
            path = np.concatenate([path[: hit[0]][::-1], path[hit[0] :]])
    return path


def _shortcuts(path: np.ndarray) -> np.ndarray:
    """Pairs (m, 2) of places in the path that are neighbours on the lattice, but far apart along the path."""
    near = np.abs(path[:, None] - path[None]).sum(-1) == 1
    i, j = np.nonzero(np.triu(near, 4))
    return np.stack([i, j], axis=-1)


def _smooth(places: np.ndarray) -> np.ndarray:
    """A Catmull–Rom curve ((n − 1) · PER_STEP + 1, 2) through places (n, 2)."""
    before = np.concatenate([places[:1], places[:-2]])[:, None]
    after = np.concatenate([places[2:], places[-1:]])[:, None]
    a, b = places[:-1, None], places[1:, None]
    t = (np.arange(PER_STEP) / PER_STEP)[:, None]
    curve = a + t / 2 * (
        b - before + t * (2 * before - 5 * a + 4 * b - after + t * (3 * (a - b) + after - before))
    )
    return np.concatenate([curve.reshape(-1, 2), places[-1:]])


def _wander(generator: np.random.Generator, n: int) -> np.ndarray:
    """Numbers ((n − 1) · PER_STEP + 1,) from 0 to 1 that change slowly, linear between a new one every second node."""
    knots = generator.uniform(0, 1, n // 2 + 2)
    return np.interp(np.arange((n - 1) * PER_STEP + 1) / PER_STEP / 2, np.arange(len(knots)), knots)
