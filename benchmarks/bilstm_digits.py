"""The data of the sequence-to-image study: handwritten digits, moved at random, scanned by the preset `mnist-2d`.

Digit 5 is held out entirely: from training, and from every choice of a setting, which every tenth of the other originals serves.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from mpibridge.errors import SettingsError
from mpibridge.model import Grid
from mpibridge.simulate.phantoms import Family, Phantom, digits, draw_images
from mpibridge.simulate.phantoms.shape import finer_grid
from mpibridge.simulate.presets import Preset, preset
from mpibridge.simulate.response import response
from mpibridge.training import Simulated

PRESET = "mnist-2d"
HELD_OUT = 5
MOVES = 3
"""Random rigid moves of every test original: ±30°, ±4 of 40 pixels. In training every draw moves anew."""
BEND, BEND_WIDTH = 30.0, 4.0
"""Of `deformed`: amplitude of the random field before it is smoothed, and the deviation of the Gaussian, in pixels."""
TEST_SEED = 5005
"""Of the moves and the noise of test scans."""
FINER = 2
"""Training pairs are drawn on a grid so much finer than the image; test scans on that of the preset (4)."""


@dataclass(frozen=True)
class Originals:
    """images: (n, 28, 28) uint8; labels: (n,)."""

    images: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, source: Path | None = None) -> Originals:
        """Digits from a file of arrays or a folder.

        source: ``mnist.npz`` with images and labels (``x_train, y_train, x_test, y_test`` as Keras stores them, or ``images,
        labels``); or a folder with ``test_images.mat`` and ``test_labels.mat``; None: that of the reference data.
        """
        if source is None:
            shared = Path(os.environ.get("MPIBRIDGE_SHARED", Path(__file__).parents[2] / "shared"))
            source = shared / "data/mnist"
        if not source.exists():
            raise SettingsError(
                f"{source} does not exist; pass --digits with mnist.npz, or set MPIBRIDGE_SHARED"
            )
        if source.is_dir():
            from scipy.io import loadmat

            images = loadmat(source / "test_images.mat")["test_images"]
            labels = loadmat(source / "test_labels.mat")["test_labels1"]
            return cls(np.ascontiguousarray(images.transpose(2, 0, 1)), labels.ravel())
        with np.load(source) as file:
            if "images" in file:
                return cls(file["images"], file["labels"].ravel())
            images, labels = (
                np.concatenate([file[f"{which}_{part}"] for part in ("train", "test")]) for which in "xy"
            )
        return cls(images, labels)

    def part(self, name: str) -> np.ndarray:
        """The originals for "training", "validation" or the "test" (`HELD_OUT`)."""
        others = np.flatnonzero(self.labels != HELD_OUT)
        chosen = {
            "test": np.flatnonzero(self.labels == HELD_OUT),
            "validation": others[::10],
            "training": np.delete(others, np.s_[::10]),
        }[name]
        return self.images[chosen]


def deformed(images: np.ndarray, copies: int, generator: np.random.Generator) -> np.ndarray:
    """(copies · n, 28, 28) uint8: images sheared, scaled along x and y, and bent by a smooth random field, as handwriting varies.

    Source: Simard, Steinkraus & Platt 2003 (elastic deformations of digits).
    """
    n, height, width = images.shape
    around = np.stack(np.mgrid[:height, :width]) - np.array([height - 1, width - 1])[:, None, None] / 2
    made = np.empty((copies, *images.shape), np.uint8)
    for copy in made:
        for picture, result in zip(images, copy, strict=True):
            turn = np.diag(generator.uniform(0.85, 1.2, 2)) + generator.uniform(-0.2, 0.2, (2, 2)) * (
                1 - np.eye(2)
            )
            bend = gaussian_filter(generator.uniform(-1, 1, around.shape), (0, BEND_WIDTH, BEND_WIDTH))
            place = np.einsum("ij,jyx->iyx", turn, around) + BEND * bend
            place += np.array([height - 1, width - 1])[:, None, None] / 2
            result[:] = map_coordinates(picture, place, order=1)
    return made.reshape(copies * n, height, width)


def training_data(
    originals: Originals,
    snr: tuple[float, float],
    source: Preset | str = PRESET,
    validation: int = 256,
    copies: int = 0,
) -> Simulated:
    """Pairs without end of all digits but `HELD_OUT`; snr: dB, mean u²/σ² of the waveform. copies: `deformed`, half of all pairs."""
    name = f"digits but {HELD_OUT}"
    families = {name: digits(originals.part("training"))}
    if copies:
        bent = deformed(originals.part("training"), copies, np.random.default_rng(HELD_OUT))
        families[f"{name}, deformed"] = digits(bent)
    return Simulated(
        source,
        families=families,
        held_out={f"{name}, other originals": digits(originals.part("validation"))},
        snr=snr,
        finer=FINER,
        validation=validation,
    )


@dataclass(frozen=True)
class Scans:
    """Clean scans. truth: (frame, z, y, x); waveform: (frame, receiver, sample) V."""

    truth: np.ndarray
    waveform: np.ndarray

    def noisy(self, sigma: np.ndarray, seed: int = TEST_SEED) -> np.ndarray:
        """Waveforms with white noise of standard deviation sigma (frame,) V; a seed has the same noise at any strength."""
        normal = np.random.default_rng(seed).standard_normal(self.waveform.shape, np.float32)
        return self.waveform + sigma[:, None, None].astype(np.float32) * normal

    def at(self, snr: float, definition: str = "power") -> np.ndarray:
        """Waveforms at an SNR in dB by one of `READINGS`."""
        return self.noisy(READINGS[definition][1](self.waveform) / 10 ** (snr / READINGS[definition][0]))


Strength = Callable[[np.ndarray], np.ndarray]


def _root_mean_square(waveform: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(np.square(waveform, dtype=float), axis=(1, 2)))


def _largest_bin(waveform: np.ndarray) -> np.ndarray:
    """Largest amplitude of a frequency over the mean amplitude that white noise of deviation 1 has there."""
    n = waveform.shape[-1]
    return np.abs(np.fft.rfft(waveform)).max((1, 2)) / np.sqrt(np.pi * n / 4)


READINGS: dict[str, tuple[float, Strength]] = {
    "power": (20.0, _root_mean_square),
    "largest voltage over σ": (20.0, lambda waveform: np.abs(waveform).max((1, 2)).astype(float)),
    "decibels of an amplitude counted as of a power": (10.0, _root_mean_square),
    "largest frequency over its noise": (20.0, _largest_bin),
    "power, σ from the mean power of all images": (
        20.0,
        lambda waveform: np.full(len(waveform), np.sqrt(np.mean(np.square(waveform, dtype=float)))),
    ),
}
"""What "SNR in dB" may mean: σ = strength(waveform) / 10^(SNR / divisor). The first one is ours."""


def scans(family: str | Family, n: int, source: Preset | None = None, seed: int = 1) -> Scans:
    """``n`` clean scans of a family, drawn on the preset's fine grid: no inverse crime."""
    chosen = source or preset(PRESET)
    fine = finer_grid(chosen.grid, chosen.finer)
    named = [family] if isinstance(family, str) else {"family": family}
    images, _ = draw_images(named, n, np.random.default_rng(seed), fine, finer=1)
    volts = images.reshape(n, -1) @ response(chosen.scanner, fine)
    ny, nx = chosen.grid.shape[1:]
    blocks = images.reshape(n, 1, ny, chosen.finer, nx, chosen.finer)
    return Scans(blocks.mean((3, 5), dtype=np.float32), volts.reshape(n, chosen.scanner.n_receivers, -1))


def in_order(images: np.ndarray) -> Family:
    """Every image once, in order, and again from the first; each moved at random."""
    families = [digits(images[i : i + 1]) for i in range(len(images))]
    drawn = iter(range(10**9))

    def family(generator: np.random.Generator, grid: Grid) -> Phantom:
        return families[next(drawn) % len(families)](generator, grid)

    return family


def held_out_scans(originals: Originals, source: Preset | None = None, n: int | None = None) -> Scans:
    """`MOVES` moves of every original of the digit that nothing was trained on, or the first ``n`` of them."""
    held_out = originals.part("test")
    return scans(in_order(held_out), MOVES * len(held_out) if n is None else n, source, TEST_SEED)
