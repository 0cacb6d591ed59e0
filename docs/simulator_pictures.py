"""Draw docs/phantoms.png, every phantom and random family, and docs/presets.png, every preset at work.

python docs/simulator_pictures.py [FOLDER]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from mpibridge import simulate
from mpibridge.frames import load
from mpibridge.mdf.header import Header
from mpibridge.model import Grid
from mpibridge.plot import COLORMAP
from mpibridge.preprocessing import Preprocessing
from mpibridge.simulate import Noise, Phantom, Preset, phantoms
from mpibridge.xspace import gridded_images

GRID = Grid((160, 160, 1), (28e-3, 28e-3, 1e-3))
VOLUME = Grid((112, 112, 112), (28e-3, 28e-3, 28e-3))
PER_FAMILY = 3
FIVE = ((-8, -8), (7, -7), (0, 1), (-6, 8), (9, 9))
VALUES = (1.0, 0.8, 0.6, 0.9, 0.4)
"""Positions in millimetres and concentrations of the points."""
QUIET = Noise(level=0.0, background=0.0, drift=0.0)
SNR = 20.0
"""dB, power of the waveform over that of the white noise."""
LONGEST, HIGHEST = 4000, 700.0
"""Samples of a path, kHz of a spectrum: what is shown."""
CLEAN, NOISY, EMPTY = "#111111", "#d1495b", "#2a6fb0"


def main(folder: Path) -> None:
    """Draw both pictures."""
    draw_phantoms(folder / "phantoms.png")
    draw_presets(folder / "presets.png")


def draw_phantoms(path: Path) -> None:
    """Every phantom by name, every random family, and the coded calibration scene."""
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
    draw(stills, examples, scene.image[0, ::4, ::4]).savefig(path, dpi=75)


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


@dataclass(frozen=True)
class Row:
    """What is shown of a preset.

    piece: shown samples (first, last, period). orders: mixing orders of the rows of the system matrix. finer: how much finer
    than the grid the phantom is scanned; None leaves it to the preset.
    """

    phantom: Phantom
    piece: tuple[int, int, int] = (0, 330, 0)
    orders: tuple[tuple[int, ...], ...] = ()
    finer: int | None = None


def rows() -> dict[str, Row]:
    """The preset's name → its row."""
    line = phantoms.points([(-8e-3, 0), (0, 0), (6e-3, 0)], diameter=2e-3, values=(1.0, 0.6, 0.8))
    dots = phantoms.points([(-0.9e-3, -0.6e-3), (0.8e-3, 0.9e-3), (0.6e-3, -0.8e-3)], diameter=0.3e-3)
    digit, letter = phantoms.digit(glyph(), size=34e-3), phantoms.lambda_shape(size=13e-3, width=1.2e-3)
    return {
        "openmpi-1d": Row(line, (0, 102, 0), ((2,), (3,), (5,), (8,)), 9),
        "openmpi-2d": Row(phantoms.spiral(diameter=23e-3), orders=((2, 1), (3, 2), (0, 5))),
        "openmpi-3d": Row(phantoms.cone(), orders=((2, 1, 0), (3, 2, 2), (0, 5, 2))),
        "mnist-2d": Row(digit, orders=((3, 2), (6, 5), (0, 11))),
        "xspace-2d": Row(letter, (2600, 3400, 0)),
        "narrowband": Row(dots, (0, 100, 15 * 32 + 16)),
    }


def draw_presets(path: Path) -> None:
    """One band per preset: path, voltage, spectrum, phantom, and what the preset is for."""
    every = rows()
    figure = Figure(figsize=(13.5, 2.55 * len(every)), layout="constrained")
    cells = figure.add_gridspec(len(every), 1)
    for i, (name, row) in enumerate(every.items()):
        draw_preset(figure.add_subfigure(cells[i]), name, simulate.preset(name), row)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=84)
    Image.open(drawn).convert("RGB").quantize(224).save(path, optimize=True)


def draw_preset(band: SubFigure, name: str, chosen: Preset, row: Row) -> None:
    """The band of one preset: a clean scan and a noisy one of the same phantom."""
    noisy, empty = volts(row, chosen, replace(chosen.noise, snr=SNR))
    background = volts(row, chosen, replace(chosen.noise, level=0.0))[1]
    clean = volts(row, chosen, QUIET)[0]
    band.suptitle(name, fontsize=12, fontweight="bold", x=0.01, ha="left")
    band.text(0.115, 0.98, chosen.description, fontsize=10, va="top")
    cells = band.add_gridspec(1, 7, width_ratios=(1, 1.5, 1.5, 0.9, 0.9, 0.9, 0.9))
    draw_path(band.add_subplot(cells[0]), chosen)
    draw_voltage(band.add_subplot(cells[1]), chosen, row, clean, noisy)
    draw_spectrum(band.add_subplot(cells[2]), chosen, row, noisy, background)
    if name == "openmpi-1d":
        draw_curves(band.add_subplot(cells[3:5]), band.add_subplot(cells[5:]), chosen, row)
        return
    pictures, signed = images(name, chosen, row, noisy - empty)
    across = 1e3 * np.array(chosen.grid.field_of_view[:2]) / 2
    truth = row.phantom.rendered(chosen.grid, row.finer or chosen.finer).values
    truth = truth[len(truth) // 2]
    for i, (title, picture) in enumerate({"phantom": truth, **pictures}.items()):
        axes = band.add_subplot(cells[3 + i])
        both = signed and i > 0
        top = np.abs(picture).max() if both or i == 0 else max(p.max() for p in pictures.values())
        low, colours = (-top, "RdBu_r") if both else (0, COLORMAP)
        box = (-across[0], across[0], -across[1], across[1])
        axes.imshow(picture, colours, vmin=low, vmax=top, origin="lower", extent=box, interpolation="nearest")
        label(axes, title, "x / mm", "y / mm" if i == 0 else "")
        axes.xaxis.set_major_locator(MaxNLocator(3, symmetric=True))
        axes.yaxis.set_major_locator(MaxNLocator(3, symmetric=True))


def volts(row: Row, chosen: Preset, noise: Noise) -> tuple[np.ndarray, np.ndarray]:
    """The voltages (period, receiver, sample) of a frame with the phantom and of an empty one."""
    scan = simulate.scan(
        row.phantom,
        chosen,
        generator=np.random.default_rng(0),
        noise=noise,
        n_frames=1,
        n_background=1,
        finer=row.finer,
    )
    frames = load(scan, np.arange(2), Preprocessing())
    return frames[0], frames[1]


def draw_path(axes: Axes, chosen: Preset) -> None:
    """The field-free point over the grid of the calibration."""
    grid, trajectory = chosen.grid, 1e3 * chosen.scanner.trajectory
    fx, fy = 1e3 * np.array(grid.field_of_view[:2])
    if grid.size[1] == 1:
        time = 1e6 * chosen.scanner.sequence.times
        for edge in np.linspace(-fx / 2, fx / 2, grid.size[0] + 1):
            axes.axvline(edge, color="0.85", linewidth=0.6)
        axes.plot(trajectory[0, :, 0], time, color=CLEAN, linewidth=1.2)
        label(axes, "path", "x / mm", "t / µs")
        return
    if max(grid.size) <= 40:
        xs, ys = (np.linspace(-f / 2, f / 2, n + 1) for f, n in zip((fx, fy), grid.size, strict=False))
        lines = [[(x, -fy / 2), (x, fy / 2)] for x in xs] + [[(-fx / 2, y), (fx / 2, y)] for y in ys]
        axes.add_collection(LineCollection(lines, colors="0.88", linewidths=0.5))
    title = "path"
    if len(trajectory) > 1:
        centers = trajectory.mean(1)
        axes.plot(centers[:, 0], centers[:, 1], ".", color="0.45", markersize=1.2)
        middle = len(trajectory) // 2 + grid.size[0] // 2
        axes.plot(trajectory[middle, :, 0], trajectory[middle, :, 1], color=NOISY, linewidth=1.8)
        title = "raster, one period"
    else:
        n = min(LONGEST, len(trajectory[0]))
        if n < len(trajectory[0]):
            title = f"path, first {1e3 * chosen.scanner.sequence.times[n]:.1f} ms"
        axes.plot(*trajectory[0, :n, :2].T, color=CLEAN, linewidth=0.5)
    axes.set(xlim=(-fx / 2, fx / 2), ylim=(-fy / 2, fy / 2), aspect="equal")
    label(axes, title, "x / mm", "y / mm")


def draw_voltage(axes: Axes, chosen: Preset, row: Row, clean: np.ndarray, noisy: np.ndarray) -> None:
    """A piece of a period of the first receiver."""
    first, last, period = row.piece
    time = 1e6 * chosen.scanner.sequence.times[first:last]
    unit, name = (1e3, "mV") if np.abs(clean).max() > 3e-4 else (1e6, "µV")
    axes.plot(time, unit * noisy[period, 0, first:last], color=NOISY, linewidth=0.8, label="noisy")
    axes.plot(time, unit * clean[period, 0, first:last], color=CLEAN, linewidth=1.0, label="clean")
    axes.margins(x=0)
    label(axes, f"voltage, receiver x, {SNR:g} dB", "t / µs", f"u / {name}")


def draw_spectrum(axes: Axes, chosen: Preset, row: Row, noisy: np.ndarray, background: np.ndarray) -> None:
    """Amplitude of every bin of the first receiver: the noisy scan, and the background in it."""
    sequence, period = chosen.scanner.sequence, row.piece[2]
    kilohertz = 1e-3 * sequence.frequencies
    shown = (kilohertz > 0) & (kilohertz <= HIGHEST)
    marker = "." if shown.sum() < 100 else ""
    for signal, color, name in ((noisy, NOISY, "scan"), (background, EMPTY, "background")):
        amplitude = 2e6 * np.abs(np.fft.rfft(signal[period, 0]))[shown] / sequence.n_samples
        axes.semilogy(kilohertz[shown], amplitude, marker=marker, color=color, linewidth=0.7, label=name)
    axes.margins(x=0)
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, 1e-6 * top), 8 * top)
    axes.legend(fontsize=8, loc="upper right", frameon=False, ncols=2, borderaxespad=0.1, handlelength=1)
    label(axes, "spectrum, receiver x", "f / kHz", "2|û|/V / µV")


def draw_curves(left: Axes, right: Axes, chosen: Preset, row: Row) -> None:
    """Of a line: the phantom, and rows of the system matrix as curves."""
    x = 1e3 * chosen.grid.axis("x")
    truth = row.phantom.on(chosen.grid, row.finer or chosen.finer).values.ravel()
    left.stairs(truth, np.append(x - 1, x[-1] + 1), color=CLEAN, fill=True, alpha=0.8)
    label(left, "phantom", "x / mm", "relative")
    for (order,), color in zip(row.orders, (CLEAN, NOISY, EMPTY, "#edae49"), strict=True):
        matrix = simulate.response(chosen.scanner, chosen.grid, bins=(order,))[:, 0]
        curve = turned(matrix)
        right.plot(x, curve / np.abs(curve).max(), color=color, linewidth=1.3, label=f"{order}")
    right.legend(title="harmonic", fontsize=8, title_fontsize=8, frameon=False, loc="upper right")
    right.set_xlim(x[0], x[-1] + 10)
    label(right, "rows of the system matrix", "x / mm", "relative")


def images(name: str, chosen: Preset, row: Row, noisy: np.ndarray) -> tuple[dict[str, np.ndarray], bool]:
    """What the preset is for, (y, x) by title, and whether the numbers have a sign."""
    scanner, grid = chosen.scanner, chosen.grid
    if name == "xspace-2d":
        found = gridded_images(noisy[None], Header(scanner.header()), grid).images[0, :, 0]
        return {"collinear 45°": found[0], "collinear 135°": found[1], "mean": found.mean(0)}, False
    if name == "narrowband":
        third = turned(np.fft.rfft(noisy[:, 0])[:, 3]).reshape(grid.shape[1:])
        middle = grid.n_voxels // 2 + grid.size[0] // 2
        point = turned(simulate.raster_operator(scanner, grid)[0, 0, :, middle]).reshape(grid.shape[1:])
        return {"third harmonic": third, "of a point": point}, True
    base = scanner.sequence.n_samples // np.array(scanner.sequence.channels[1][: len(row.orders[0])])
    bins = np.array([np.dot(order, base) for order in row.orders])
    plane = Grid((*grid.size[:2], 1), (*grid.field_of_view[:2], 1e-3))
    matrix = simulate.response(scanner, plane, bins=tuple(bins)).reshape(
        *plane.shape[1:], scanner.n_receivers, len(bins)
    )
    names = [f"order ({', '.join(map(str, order))})" for order in row.orders]
    return {title: turned(strongest(matrix[..., i])) for i, title in enumerate(names)}, True


def strongest(row: np.ndarray) -> np.ndarray:
    """Of a row (…, receiver) the receiver that hears most."""
    return row[..., np.argmax(np.linalg.norm(row.reshape(-1, row.shape[-1]), axis=0))]


def turned(values: np.ndarray) -> np.ndarray:
    """The real part after the phase that all values share is taken out; the largest value is positive."""
    real = (values * np.exp(-0.5j * np.angle((values**2).sum()))).real
    return real * np.sign(real.ravel()[np.abs(real).argmax()])


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Small words and few ticks."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x, fontsize=9, labelpad=1)
    axes.set_ylabel(y, fontsize=9, labelpad=1)
    axes.tick_params(labelsize=8)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
