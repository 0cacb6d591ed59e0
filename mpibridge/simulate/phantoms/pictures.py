"""Images as phantoms: digits, or anything else that comes as an array."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mpibridge.errors import SettingsError
from mpibridge.model import Grid
from mpibridge.simulate.phantoms.frame import Family, Frame
from mpibridge.simulate.phantoms.parts import phantom_of, pictures
from mpibridge.simulate.phantoms.shape import ORIGIN, Phantom, position, require


def digit(
    image: ArrayLike,
    *,
    size: float = 20e-3,
    height: float = 1e-3,
    angle: float = 0.0,
    center: ArrayLike = ORIGIN,
) -> Phantom:
    """One image (height, width) as a plate, row 0 at the top (+y), linear between the centres of its pixels.

    image: bytes count from 0 to 255 as 0 to 1, other numbers as they are. size: its longer edge, height: along z,
    metres. angle: radians, about its centre. The integral is the sum of the pixels times their area.
    """
    require("size", size, 0.0, open_below=True)
    require("height", height, 0.0, open_below=True)
    stack = _stack(np.asarray(image)[None])
    half = _half(stack, size, height)
    rows = pictures(position(center, "center"), half, 0, stack.shape[1:], 1.0, angle)
    return phantom_of("digit", rows, stack, float(stack.max()))


def digits(images: ArrayLike, *, size: float = 0.7, angle: float = np.pi / 6, shift: float = 0.1) -> Family:
    """A family of images (n, height, width), each drawn equally often and moved at random.

    size: longer edge as a share of the field of view (28 pixels of MNIST on 40 voxels are 0.7). angle: turns within
    ± so many radians. shift: moves within ± so much of the field of view along x and y. Source of the moves: seed 000.
    """
    require("size", size, 0.0, open_below=True)
    require("angle", angle, 0.0)
    require("shift", shift, 0.0)
    stack = _stack(np.asarray(images))
    peak = float(stack.max())

    def family(generator: np.random.Generator, grid: Grid) -> Phantom:
        frame = Frame.of(grid)
        index = int(generator.integers(len(stack)))
        place = frame.places(generator, shift)
        half = _half(stack, size * frame.length, 0.2 * frame.length)
        rows = pictures(place, half, index, stack.shape[1:], 1.0, generator.uniform(-angle, angle))
        return phantom_of("digits", rows, stack, peak)

    return family


def _stack(images: np.ndarray) -> np.ndarray:
    if images.ndim != 3 or not images.size:
        raise SettingsError(f"images must be (n, height, width), found {images.shape}")
    scale = 255 if images.dtype == np.uint8 else 1
    stack = np.ascontiguousarray(images, np.float32) / np.float32(scale)
    if not np.isfinite(stack).all() or stack.min() < 0:
        raise SettingsError(f"pixels must be finite and from 0, found {stack.min()} to {stack.max()}")
    return stack


def _half(stack: np.ndarray, size: float, height: float) -> np.ndarray:
    n_rows, n_columns = stack.shape[1:]
    pixel = size / max(n_rows, n_columns)
    return np.array([n_columns * pixel, n_rows * pixel, height]) / 2
