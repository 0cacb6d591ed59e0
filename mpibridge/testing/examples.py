"""Small problems with known images, one per kind, on which any method can be tried within a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from mpibridge.errors import SettingsError
from mpibridge.model import Grid
from mpibridge.operators import SystemMatrix
from mpibridge.plugin import ImageProblem, SpectralProblem, WaveformProblem
from mpibridge.simulate.phantoms.families import draw_images
from mpibridge.simulate.presets import mixing_bins, preset
from mpibridge.simulate.response import response
from mpibridge.simulate.streams import spectral_pairs, waveform_pairs

FAMILIES = ("vessels", "blobs", "rings")
SNR = 25.0
"""Signal to noise of the data, dB."""
SPECTRAL_GRID = Grid((9, 9, 1), (38e-3, 38e-3, 1e-3))
WAVEFORM_GRID = Grid((8, 8, 1), (40e-3, 40e-3, 1e-3))
IMAGE_GRID = Grid((20, 20, 1), (20e-3, 20e-3, 1e-3))
BLUR = (1.2, 0.6)
"""Standard deviations of the blur across and along a channel's direction, voxels."""


def example(kind: type, generator: np.random.Generator, n_frames: int = 3) -> tuple[Any, np.ndarray]:
    """A problem of a kind with NumPy arrays, and its image (frame, z, y, x) float32.

    `SpectralProblem`: 2-D Lissajous scan of 9 × 9 voxels, 62 rows, ``noise`` (frame, row). `WaveformProblem`: the same kind of
    scan, 8 × 8 voxels, two receivers. `ImageProblem`: 20 × 20 voxels, one channel blurred along x and one along y.
    Raises SettingsError for another kind.
    """
    if kind not in EXAMPLES:
        known = ", ".join(known.__name__ for known in EXAMPLES)
        raise SettingsError(f"there is no example of {getattr(kind, '__name__', kind)} (known: {known})")
    return EXAMPLES[kind](generator, n_frames)


def _spectral(generator: np.random.Generator, n_frames: int) -> tuple[SpectralProblem, np.ndarray]:
    operator = SystemMatrix(_system_matrix().copy(), SPECTRAL_GRID)
    return next(spectral_pairs(operator, FAMILIES, generator=generator, snr=(SNR, SNR), batch=n_frames))


@lru_cache(maxsize=1)
def _system_matrix() -> np.ndarray:
    """(row, voxel): mixing products up to order 7 above the drive frequencies, two receivers."""
    scanner = preset("openmpi-2d").scanner
    bins = mixing_bins((16, 17), scanner.sequence.n_samples, order=7, first=53)
    return np.ascontiguousarray(response(scanner, SPECTRAL_GRID, bins=bins).T)


def _waveform(generator: np.random.Generator, n_frames: int) -> tuple[WaveformProblem, np.ndarray]:
    scanner = replace(preset("mnist-2d"), grid=WAVEFORM_GRID)
    return next(waveform_pairs(scanner, FAMILIES, generator=generator, snr=(SNR, SNR), batch=n_frames))


def _images(generator: np.random.Generator, n_frames: int) -> tuple[ImageProblem, np.ndarray]:
    from scipy.ndimage import gaussian_filter

    target, _ = draw_images(FAMILIES, n_frames, generator, IMAGE_GRID)
    wide, narrow = BLUR
    images = np.stack(
        [gaussian_filter(target, (0, 0, *width)) for width in ((narrow, wide), (wide, narrow))], axis=1
    )
    noise = images.std() * 10 ** (-SNR / 20) * generator.standard_normal(images.shape, np.float32)
    return ImageProblem(grid=IMAGE_GRID, images=(images + noise).astype(np.float32)), target


EXAMPLES: Mapping[type, Callable[[np.random.Generator, int], tuple[Any, np.ndarray]]] = {
    SpectralProblem: _spectral,
    WaveformProblem: _waveform,
    ImageProblem: _images,
}
