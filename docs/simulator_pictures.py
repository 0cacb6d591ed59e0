"""Draw docs/phantoms.png: every phantom by name, every random family, and the coded calibration scene.

python docs/simulator_pictures.py [FOLDER]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mpibridge.model import Grid
from mpibridge.plot import COLORMAP
from mpibridge.simulate import phantoms

GRID = Grid((160, 160, 1), (28e-3, 28e-3, 1e-3))
VOLUME = Grid((112, 112, 112), (28e-3, 28e-3, 28e-3))
PER_FAMILY = 3
FIVE = ((-8, -8), (7, -7), (0, 1), (-6, 8), (9, 9))
VALUES = (1.0, 0.8, 0.6, 0.9, 0.4)
"""Positions in millimetres and concentrations of the points."""


def main(folder: Path) -> None:
    grid, generator = GRID, np.random.default_rng(5)
    scene = phantoms.scene(np.random.default_rng(0))
    stills = {name: phantoms.named(name, grid).on(grid, 2).values[0] for name in phantoms.PHANTOMS}
    stills["digit"] = phantoms.digit(glyph(), size=20e-3).on(grid, 2).values[0]
    stills["points"] = (
        phantoms.points(np.array(FIVE) * 1e-3, diameter=2e-3, values=VALUES).on(grid, 2).values[0]
    )
    stills["tubes, from the side"] = (
        phantoms.named("tubes", VOLUME).on(VOLUME, 1).values[:, VOLUME.size[1] // 2]
    )
    stills["cubes, lower layer"] = phantoms.dilution_cubes(center=(0, 0, 3e-3)).on(grid, 2).values[0]
    tree = phantoms.vessel_tree(np.random.default_rng(8), VOLUME, radius=0.9e-3)
    stills["vessel tree in 3-D, all"] = tree.on(VOLUME, 1).values.max(axis=0)
    window, where = Grid(grid.size, (20e-3, 20e-3, 1e-3)), ((8e-3, -5e-3), 0.6)
    stills["crop of the scene"] = scene.crop(*where, window).values[0]
    forked = phantoms.scene(np.random.default_rng(0), forks=60)
    stills["the same with forks"] = forked.crop(*where, window).values[0]
    families = {**phantoms.FAMILIES, "digits": phantoms.digits(glyph()[None]), "scene": scene.family}
    examples = {
        name: phantoms.draw_images({name: family}, PER_FAMILY, generator, grid, 2)[0][:, 0]
        for name, family in families.items()
    }
    draw(stills, examples, scene.image[0, ::4, ::4]).savefig(folder / "phantoms.png", dpi=75)


def glyph() -> np.ndarray:
    """A 5 on 28 × 28 pixels, drawn here: no data set is needed for the picture."""
    strokes = [((0.68, 0.18), (0.36, 0.18)), ((0.36, 0.18), (0.33, 0.45)), ((0.33, 0.45), (0.52, 0.42))]
    turn = np.linspace(-1.4, 2.6, 12)
    bow = np.stack([0.48 + 0.19 * np.cos(turn), 0.61 + 0.19 * np.sin(turn)], axis=-1)
    strokes += pairwise(bow)
    y, x = (np.mgrid[:28, :28] + 0.5) / 28
    distance = np.full((28, 28), np.inf)
    for start, stop in np.array(strokes):
        along = stop - start
        t = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (along @ along)
        t = np.clip(t, 0, 1)
        distance = np.minimum(distance, np.hypot(x - start[0] - t * along[0], y - start[1] - t * along[1]))
    return np.clip((0.07 - distance) * 28, 0, 1)


def draw(stills: Mapping[str, np.ndarray], examples: Mapping[str, np.ndarray], sheet: np.ndarray) -> Figure:
    """Phantoms in the upper rows, beside the whole scene; below them three draws of every family."""
    columns, rows = 9, -(-len(stills) // 6)
    lower = -(-len(examples) // 3)
    figure = Figure(figsize=(1.55 * columns, 1.7 * (rows + lower)), layout="constrained")
    cells = figure.add_gridspec(rows + lower, columns)
    for i, (name, image) in enumerate(stills.items()):
        show(figure.add_subplot(cells[i // 6, i % 6]), image, name)
    show(figure.add_subplot(cells[:rows, 6:]), sheet[::-1], "coded calibration scene, 71.4 mm")
    for i, (name, images) in enumerate(examples.items()):
        for k, image in enumerate(images):
            axes = figure.add_subplot(cells[rows + i // 3, 3 * (i % 3) + k])
            show(axes, image, f"{name} (family)" if k == 1 else "")
    return figure


def show(axes: Axes, image: np.ndarray, title: str) -> None:
    axes.imshow(image, COLORMAP, vmin=0, vmax=1, origin="lower", interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
