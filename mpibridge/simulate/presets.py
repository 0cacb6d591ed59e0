"""Scanners, tracers and grids of published work, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np

from mpibridge.errors import SettingsError
from mpibridge.model import Grid
from mpibridge.simulate.noise import Noise
from mpibridge.simulate.particles import Particles
from mpibridge.simulate.scanner import Scanner, diagonal_gradient, focus_fields
from mpibridge.simulate.sequences import LissajousSequence

OPEN_MPI_GRADIENT = diagonal_gradient(-1.0, -1.0, 2.0)
NARROWBAND_RASTER = Grid((32, 32, 1), (3.2e-3, 3.2e-3, 1e-3))
"""Field-free points of the preset ``narrowband``."""


@dataclass(frozen=True)
class Preset:
    """A scanner, and how it is used.

    grid: what it is calibrated on, or its images lie on. bins: those that a calibration keeps; None stands for all. finer:
    phantoms are drawn this much finer than ``grid``; not a multiple of `DELTA_POINTS`, whose places a calibration takes.
    noise: the usual disturbance. is_calibrated: whether its method needs a system matrix.
    """

    scanner: Scanner
    grid: Grid
    description: str
    bins: tuple[int, ...] | None = None
    finer: int = 4
    noise: Noise = field(default_factory=Noise)
    is_calibrated: bool = True


def openmpi_1d() -> Preset:
    """Open MPI, 1-D sequence: 12 mT along x, 102 samples in 40.8 µs; 19 voxels of 2 mm (mpireco.md 7.2, 7.3)."""
    sequence = LissajousSequence((12e-3, 0.0, 0.0))
    return Preset(
        Scanner("openmpi-1d", sequence, OPEN_MPI_GRADIENT),
        Grid((19, 1, 1), (38e-3, 2e-3, 1e-3)),
        "Open MPI data, preclinical Bruker scanner, 1-D sequence: 24.51 kHz, 12 mT, −1 T/m; 19 voxels of 2 mm",
    )


def openmpi_2d() -> Preset:
    """Open MPI, 2-D sequence: 1632 samples in 652.8 µs; 19 × 19 voxels of 2 mm, overscan of 7 mm (mpireco.md 7.2, 7.3)."""
    return Preset(
        Scanner("openmpi-2d", LissajousSequence(), OPEN_MPI_GRADIENT),
        Grid((19, 19, 1), (38e-3, 38e-3, 1e-3)),
        "Open MPI data, preclinical Bruker scanner, 2-D Lissajous: 24.51 and 26.04 kHz, 12 mT, (−1, −1, 2) T/m; "
        "19 × 19 voxels of 2 mm",
    )


def openmpi_3d() -> Preset:
    """Open MPI, 3-D sequence: 53,856 samples in 21.54 ms; 19³ voxels of 2 × 2 × 1 mm (mpireco.md 7.2, 7.3).

    Of 26,929 bins a calibration keeps the 929 from 80 kHz on where mixing orders up to 12 fall.
    """
    return Preset(
        Scanner("openmpi-3d", LissajousSequence((12e-3, 12e-3, 12e-3)), OPEN_MPI_GRADIENT),
        Grid((19, 19, 19), (38e-3, 38e-3, 19e-3)),
        "Open MPI data, preclinical Bruker scanner, 3-D Lissajous: 24.51, 26.04 and 25.25 kHz, 12 mT, (−1, −1, 2) T/m; "
        "19³ voxels of 2 × 2 × 1 mm",
        bins=mixing_bins((528, 561, 544), 53_856, order=12, first=1724),
        finer=2,
    )


def mnist_2d() -> Preset:
    """Seed 000: 24.51 and 26.04 kHz at 20 mT; 40 × 40 voxels. Core, gradient and extent are ours: 25 nm, −1 T/m, 40 mm."""
    return Preset(
        Scanner(
            "mnist-2d",
            LissajousSequence((20e-3, 20e-3, 0.0)),
            OPEN_MPI_GRADIENT,
            Particles(core_diameter=25e-9),
        ),
        Grid((40, 40, 1), (40e-3, 40e-3, 1e-3)),
        "Sequence-to-image study (von Gladiss 2026): 24.51 and 26.04 kHz, 20 mT, 25 nm, (−1, −1, 2) T/m; "
        "40 × 40 voxels over 40 mm",
    )


def xspace_2d() -> Preset:
    """Seed 004: (3, 3, −6) T/m, 24.75 and 25 kHz, 2 × 2 cm² on 280 × 280, repetition 4 ms. Core and rate are ours.

    2.475 MHz / 100 and / 99, sampled at 4.95 MHz: 19,800 samples, at most 0.45 mm apart.
    """
    return Preset(
        Scanner(
            "xspace-2d",
            LissajousSequence(
                (30e-3, 30e-3, 0.0), dividers=(100, 99), base_frequency=2.475e6, oversampling=2
            ),
            diagonal_gradient(3.0, 3.0, -6.0),
            Particles(core_diameter=25e-9),
        ),
        Grid((280, 280, 1), (20e-3, 20e-3, 1e-3)),
        "X-space deblurring (Bilkent 2022): 24.75 and 25 kHz, 30 mT, (3, 3, −6) T/m, 25 nm, 4.95 MHz; "
        "280 × 280 pixels over 2 × 2 cm²",
        finer=1,
        is_calibrated=False,
    )


def narrowband() -> Preset:
    """Seed 001: third harmonic on a raster of field-free points. All numbers are ours: the seed gives none.

    25 nm, 5 T/m, 5 mT along x at 25 kHz, 32 × 32 points of 0.1 mm, one period of 100 samples each.
    """
    gradient = diagonal_gradient(5.0, 5.0, -10.0)
    y, x = np.meshgrid(NARROWBAND_RASTER.axis("y"), NARROWBAND_RASTER.axis("x"), indexing="ij")
    centers = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
    sequence = LissajousSequence(
        (5e-3, 0.0, 0.0),
        dividers=(100,),
        phase=(np.pi / 2,),
        patches=focus_fields(gradient, centers),
    )
    return Preset(
        Scanner("narrowband", sequence, gradient, Particles(core_diameter=25e-9)),
        NARROWBAND_RASTER,
        "Narrowband study (Zhao 2026): third harmonic of 25 kHz, 5 mT, 5 T/m, 25 nm; raster and grid 32 × 32 of 0.1 mm",
        bins=(3,),
        noise=Noise(level=4e-10, background=4e-9, drift=4e-10),
    )


def mixing_bins(cycles: tuple[int, ...], n_samples: int, *, order: int, first: int) -> tuple[int, ...]:
    """Bins from ``first`` on where mixing products up to ``order`` fall; cycles: periods of every drive field in one."""
    factors = np.stack(np.meshgrid(*[np.arange(-order, order + 1)] * len(cycles), indexing="ij"), -1)
    factors = factors.reshape(-1, len(cycles))
    bins = np.unique((factors @ np.asarray(cycles))[np.abs(factors).sum(1) <= order])
    return tuple(bins[(bins >= first) & (bins <= n_samples // 2)].tolist())


PRESETS: dict[str, Callable[[], Preset]] = {
    "openmpi-1d": openmpi_1d,
    "openmpi-2d": openmpi_2d,
    "openmpi-3d": openmpi_3d,
    "mnist-2d": mnist_2d,
    "xspace-2d": xspace_2d,
    "narrowband": narrowband,
}


def preset(name: str) -> Preset:
    """The preset called ``name``. SettingsError names the known ones and the nearest if there is none."""
    if name not in PRESETS:
        close = get_close_matches(name, list(PRESETS), 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise SettingsError(f"there is no preset {name!r}{hint} (known: {', '.join(PRESETS)})")
    return PRESETS[name]()
