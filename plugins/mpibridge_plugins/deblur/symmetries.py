"""Mirrored and turned scans: a dense Lissajous scan that is mirrored is one again, its 45° and 135° halves exchanged.

24.75 and 25 kHz make 99 and 100 cycles, so half a period later one axis is mirrored and the other is not: mirrored paths hold the
same points. Exchanging x and y (turning by 90°) exchanges the frequencies, which differ by 1 %.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Symmetry(NamedTuple):
    """x and y exchanged, then mirrored. channels: which image of a scan becomes the first, the second, … of the other."""

    exchange: bool
    mirror_y: bool
    mirror_x: bool
    channels: tuple[int, ...]

    def of(self, images: Tensor) -> Tensor:
        """Images (frame, channel, y, x) of the mirrored scan."""
        return self.plane(images[:, list(self.channels)])

    def plane(self, image: Tensor) -> Tensor:
        """(…, y, x) mirrored."""
        return self._mirrored(image.mT if self.exchange else image)

    def undone(self, image: Tensor) -> Tensor:
        """The inverse of `plane`."""
        image = self._mirrored(image)
        return image.mT if self.exchange else image

    def _mirrored(self, image: Tensor) -> Tensor:
        dims = [dim for dim, chosen in ((-2, self.mirror_y), (-1, self.mirror_x)) if chosen]
        return image.flip(dims) if dims else image


def group(n: int, directions: np.ndarray, *, square: bool) -> list[Symmetry]:
    """The identity and, of n = 4 mirrorings or 8 with x and y exchanged, those that a scan has.

    directions: (channel, 3), of its images. square: whether the pixels are as many along x as along y.
    """
    found = []
    for exchange, mirror_y, mirror_x in product((False, True), repeat=3):
        if (exchange and (n < 8 or not square)) or (n < 4 and (mirror_y or mirror_x)):
            continue
        moved = directions[:, [1, 0]] if exchange else directions[:, :2]
        moved = moved * [-1 if mirror_x else 1, -1 if mirror_y else 1]
        same = np.abs(moved @ directions[:, :2].T) > 1 - 1e-3  # (channel, channel of the other scan)
        if (same.sum(0) == 1).all() and (same.sum(1) == 1).all():
            found.append(Symmetry(exchange, mirror_y, mirror_x, tuple(same.argmax(0).tolist())))
    return found or [Symmetry(False, False, False, tuple(range(len(directions))))]


def drawn(
    images: Tensor, target: Tensor, among: list[Symmetry], generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Images (frame, channel, y, x) and targets (frame, y, x), each pair mirrored by one of ``among``."""
    chosen = [among[i] for i in generator.integers(0, len(among), len(images))]
    pairs = [
        (s.of(image[None]), s.plane(t[None])) for s, image, t in zip(chosen, images, target, strict=True)
    ]
    return torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs])
