"""Mirrored scans: a Lissajous path that is mirrored is often itself again, later in the period or run backwards.

For the preset `mnist-2d` (16 and 17 cycles per period) half a period later is the path mirrored in y, and the period backwards the path
turned by 180°. So the voltages of the mirrored object are known, with no further scan: they are those that were recorded, in another
order, where the receivers lie along the axes and nothing lags behind (relaxation, a transfer function) if it is run backwards.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mpibridge.model import Grid

NEAR = 1e-2
"""How far, as a share of its largest coordinate, a mirrored path may lie from the path: less than a pixel on grids of interest."""
PLANE = ((1, -1), (-1, 1), (-1, -1))
"""Signs of x and y."""


class Mirror(NamedTuple):
    """dims: of an image (…, y, x) that are flipped. order: of the period's samples. signs: (receiver,) of the voltages."""

    dims: tuple[int, ...]
    order: Tensor
    signs: Tensor

    def waveform(self, waveform: Tensor) -> Tensor:
        """Voltages (frame, receiver, sample) of the mirrored object."""
        return waveform[..., self.order.to(waveform.device)] * self.signs.to(waveform)[:, None]

    def image(self, image: Tensor) -> Tensor:
        """(…, y, x) mirrored, or mirrored back."""
        return image.flip(self.dims) if self.dims else image


def mirrors(trajectory: Tensor, grid: Grid, n_receivers: int) -> list[Mirror]:
    """The identity first, then those that a path (sample, 3) round the middle of the grid has.

    Three receivers are taken to lie along x, y and z, others along the axes that the path moves on, as many as receivers; where that
    does not fit, there is the identity alone. A voltage is the change of a flux: its sign turns with its receiver, and once more
    where the path is run backwards.
    """
    points = (trajectory.detach().cpu().double() - torch.tensor(grid.center)).numpy()
    reach, n = max(np.abs(points).max(), 1e-12), len(points)
    moving = [axis for axis in range(3) if np.ptp(points[:, axis]) > NEAR * reach]
    axes = [0, 1, 2] if n_receivers == 3 else moving
    found = [Mirror((), torch.arange(n), torch.ones(n_receivers))]
    if len(axes) != n_receivers:
        return found
    for signs, backwards in product(PLANE, (1, -1)):
        dims = tuple(dim for dim, sign in zip((-1, -2), signs, strict=True) if sign < 0)
        if any(mirror.dims == dims for mirror in found):
            continue
        mirrored = points * [*signs, 1]
        order = backwards * np.arange(n) % n
        order = np.roll(order, _delay(points[order], mirrored))
        if np.abs(points[order] - mirrored).max() <= NEAR * reach:
            of_receivers = backwards * torch.tensor([*signs, 1.0])[axes]
            found.append(Mirror(dims, torch.from_numpy(order), of_receivers))
    return found


def _delay(points: np.ndarray, other: np.ndarray) -> int:
    """Samples by which points (sample, 3) must be rolled to be most like others."""
    spectrum = np.fft.rfft(other, axis=0) * np.fft.rfft(points, axis=0).conj()
    return int(np.fft.irfft(spectrum.sum(1), len(points)).argmax())


def drawn(
    waveform: Tensor, target: Tensor, among: list[Mirror], generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Waveforms (frame, receiver, sample) and images (frame, z, y, x), each pair mirrored by one of ``among``."""
    chosen = [among[i] for i in generator.integers(0, len(among), len(waveform))]
    waveforms = [mirror.waveform(one) for mirror, one in zip(chosen, waveform, strict=True)]
    images = [mirror.image(one) for mirror, one in zip(chosen, target, strict=True)]
    return torch.stack(waveforms), torch.stack(images)
