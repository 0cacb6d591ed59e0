"""Parts of a scan along which the field-free point moves in nearly one direction.

A dense Lissajous scan of two axes runs along one diagonal while its drive fields are in phase and along the other
while they are in opposition: the sign of cos(phase difference) parts it into a 45° and a 135° half. Source: Ozaslan et
al. 2019 (PMB 64 165018), Ergun et al. 2022 (IJMPI 8, seed 004).
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

from mpibridge.errors import SettingsError
from mpibridge.mdf.header import Header
from mpibridge.xspace.trajectory import drive_channels, gradients, trajectory

SLOW = 0.25
"""A drive channel below this share of the fastest one's speed steps the lines of a Cartesian scan."""
DENSE = 1.5
"""Largest ratio of two drive frequencies of a dense Lissajous scan."""


class Partition(NamedTuple):
    """mask: (J·V,) the samples. direction: (3,) unit vector of their mean direction."""

    mask: np.ndarray
    direction: np.ndarray


def partition(header: Header) -> list[Partition]:
    """The partitions of a scan: they do not overlap and hold every sample.

    One fast axis (1-D and Cartesian scans): forward and backward lines. Two or three fast axes (dense Lissajous): two
    or four diagonals, 45° before 135°, oriented so that the last fast axis counts up. Raises SettingsError if two drive
    frequencies differ by more than a factor of 1.5, besides the errors of `trajectory`.
    """
    amplitude, frequency, phase = drive_channels(header)
    first = (
        np.arange(frequency.shape[0]),
        amplitude.max(0).argmax(1),
    )  # the strongest frequency of every channel
    height, frequency, phase = amplitude.max(0)[first], frequency[first], phase[:, first[0], first[1]]
    velocity = trajectory(header)[1]
    # Metres that the point is away from the centre when a channel is at its peak, (3, D).
    reach = -np.linalg.pinv(gradients(header)[0], rcond=1e-9)[:, : len(height)] * height
    speed = np.linalg.norm(reach, axis=0) * frequency
    if not speed.any():
        raise SettingsError(f"{header.source}: no drive field moves the field-free point")
    fast = np.flatnonzero(speed > SLOW * speed.max())
    if len(fast) == 1:
        ahead = _oriented(reach[:, fast[0]])
        forward = velocity @ ahead > 0
        return [Partition(forward, ahead), Partition(~forward, -ahead)]
    if frequency[fast].max() > DENSE * frequency[fast].min():
        raise SettingsError(
            f"{header.source}: drive frequencies {frequency[fast].tolist()} Hz do not make a dense Lissajous scan that "
            "falls into diagonals; pass partitions=False, or your own list of Partition"
        )
    time = np.arange(header.n_samples) * header.cycle / header.n_samples
    lag = 2 * np.pi * (frequency[fast[1:]] - frequency[fast[0]])[:, None] * time
    lag = lag + (phase[:, fast[1:]] - phase[:, fast[:1]])[:, :, None]  # (J, fast − 1, V)
    in_phase = np.cos(lag) >= 0
    found = []
    for signs in product((1, -1), repeat=len(fast) - 1):
        mask = (in_phase == (np.array(signs) > 0)[:, None]).all(1).ravel()
        if mask.any():
            found.append(Partition(mask, _oriented(reach[:, fast] @ np.array([1, *signs]))))
    return sorted(found, key=lambda part: tuple(part.direction < -1e-9))


def _oriented(vector: np.ndarray) -> np.ndarray:
    """The unit vector whose last component is positive."""
    unit = vector / np.linalg.norm(vector)
    return unit * np.sign(unit[np.flatnonzero(np.abs(unit) > 1e-6)[-1]])
