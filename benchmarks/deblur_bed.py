"""What `deblur` is measured on: phantoms and a second scene through the exact signal of `xspace-2d`, with stated noise.

SNR is the seed's: the largest voltage of all scans of the calibration scene over σ, the standard deviation of a sample. 4.95 MHz,
one period of 4 ms, no averages. Phantoms are scanned on pixels four times finer than the images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpibridge.mdf.header import Header
from mpibridge.metrics import psnr
from mpibridge.model import Grid
from mpibridge.plugin import ImageProblem
from mpibridge.simulate import phantoms, scan
from mpibridge.simulate.presets import preset
from mpibridge.training import SceneScans, scene_scans
from mpibridge.xspace import Gridding, forward, gridding

GRID = Grid((70, 70, 1), (20e-3, 20e-3, 1e-3))
"""Of the compact size."""
FINER = 4
SNRS = (5.0, 10.0, 15.0, 20.0, 30.0, 40.0, np.inf)
"""Of the test."""
N_SCANS = 3300
BEYOND = 14e-3
"""m that a corner of the field of view may lie off the calibration scene: half of its diagonal."""
CALIBRATION, SECOND, CHOICE, TEST = range(4)
"""Branches of random numbers: scans of the calibration scene, of the second scene, noise to choose settings by, noise of the tables."""
PHANTOMS = ("lambda", "forked", "tree")
"""Of the tables. The recipe was changed twice after the first two had been measured; "tree" was drawn between."""
CHOOSING = ("ell", "spiral", "dots")
"""Settings are chosen on these, with noise of their own."""


def calibration_scans(n: int = N_SCANS, grid: Grid = GRID, beyond: float = BEYOND) -> SceneScans:
    """Scans of the scene that networks are trained on: that of seed 0."""
    scene = phantoms.scene(np.random.default_rng(0))
    return scene_scans(scene, grid=grid, n=n, beyond=beyond, generator=np.random.default_rng(CALIBRATION))


def second_scene(n: int, grid: Grid = GRID) -> SceneScans:
    """Scans of another scene, which has forks, too."""
    scene = phantoms.scene(np.random.default_rng(1), forks=60)
    return scene_scans(scene, grid=grid, n=n, generator=np.random.default_rng(SECOND))


def header(grid: Grid) -> Header:
    """What a scan of `xspace-2d` says of itself."""
    empty = 0 * phantom("lambda").rendered(grid, 1)
    scanner = replace(preset("xspace-2d"), grid=grid)
    return Header(scan(empty, scanner, generator=np.random.default_rng(0), n_frames=1).attrs)


def phantom(name: str) -> phantoms.Phantom:
    """Named phantoms, and "forked", a vessel that forks twice, and "tree", one that forks three times."""
    if name == "tree":
        return phantoms.vessel_tree(np.random.default_rng(11), GRID, radius=0.8e-3, levels=3)
    if name == "forked":
        return phantoms.vessel_tree(np.random.default_rng(3), GRID, radius=0.8e-3, levels=2)
    return phantoms.named(name, GRID)


@dataclass(frozen=True)
class Bed:
    """truth: (y, x), and signals: (receiver, sample) V, of every phantom. peak: V, the largest voltage of the calibration scene."""

    gridding: Gridding
    beta: float
    truth: Mapping[str, np.ndarray]
    signals: Mapping[str, np.ndarray]
    peak: float

    def own_snr(self, name: str, snr: float) -> float:
        """Largest voltage of the phantom itself over σ."""
        return snr * float(np.abs(self.signals[name]).max()) / self.peak

    def noise(self, n: int, branch: int) -> np.ndarray:
        """(draw, receiver, sample) of deviation 1: draw i is the same however many there are."""
        shape = self.gridding.coil.shape[1:]
        return np.stack(
            [np.random.default_rng([branch, i]).standard_normal(shape, np.float32) for i in range(n)]
        )

    def measured(self, name: str, snr: float, n: int, branch: int = TEST) -> np.ndarray:
        """Signals (draw, receiver, sample) V of a phantom; one draw where there is no noise."""
        clean = self.signals[name].astype(np.float32)[None]
        return clean if np.isinf(snr) else clean + np.float32(self.peak / snr) * self.noise(n, branch)

    def problem(self, signals: np.ndarray) -> ImageProblem:
        """What plugins for images are given of signals (frame, receiver, sample)."""
        return self.gridding(signals[:, None]).problem()

    def scores(self, images: np.ndarray, name: str) -> np.ndarray:
        """PSNR in dB (eq. 3) of images (frame, y, x)."""
        return np.array([psnr(image, self.truth[name]) for image in images])


def bed(peak: float, names: Sequence[str] = (*PHANTOMS, *CHOOSING)) -> Bed:
    """Phantoms in the scanner that scanned the calibration scene. peak: as in `Bed`."""
    scanner = preset("xspace-2d").scanner
    tracer, built = scanner.particles, gridding(header(GRID), GRID, n_receivers=scanner.n_receivers)
    fine = GRID.resized(FINER)
    assert built.gradient is not None
    look_up = forward.interpolation(fine, built.position)
    volts = scanner.coils[0, 0] * tracer.saturation * tracer.beta * GRID.spacing[2]
    truth, signals = {}, {}
    for name in names:
        drawn = phantom(name).rendered(fine, 1).values[0]
        fields = forward.convolved_fields(drawn, fine, tracer.beta * float(built.gradient[0]))
        signals[name] = volts * forward.sample(fields, look_up, built.rate)
        n = GRID.size[0]
        truth[name] = drawn.reshape(n, FINER, n, FINER).mean((1, 3))
    return Bed(built, tracer.beta, truth, signals, peak)
