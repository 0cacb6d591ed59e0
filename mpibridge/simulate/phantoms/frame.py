"""Where random phantoms are drawn: the field of view of a grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mpibridge.model import Grid
from mpibridge.simulate.phantoms.shape import Phantom

Family = Callable[[np.random.Generator, Grid], Phantom]
"""Draws one phantom of its kind from the generator, in the field of view of the grid."""


@dataclass(frozen=True)
class Frame:
    """Lengths in metres. center: (3,). spread: (3,) field of view, 0 along y and z with one voxel. length: shorter edge in x, y.

    A line has the length of its only edge.
    """

    center: np.ndarray
    spread: np.ndarray
    length: float

    @classmethod
    def of(cls, grid: Grid) -> Frame:
        spread = np.array(grid.field_of_view)
        if grid.size[2] == 1:
            spread[2] = 0
            if grid.size[1] == 1 < grid.size[0]:
                spread[1] = 0
        length = float(spread[:2][spread[:2] > 0].min())
        return cls(np.array(grid.center), spread, length)

    @property
    def is_plane(self) -> bool:
        return not self.spread[2]

    def places(self, generator: np.random.Generator, share: float, n: int = 1) -> np.ndarray:
        """Positions (n, 3) uniform within ± share of the field of view round its centre; of a plane within the plane."""
        return self.center + generator.uniform(-share, share, (n, 3)) * self.spread

    def directions(self, generator: np.random.Generator, n: int = 1) -> np.ndarray:
        """Unit vectors (n, 3), uniform over all directions; of a plane within the plane."""
        azimuth = generator.uniform(-np.pi, np.pi, n)
        sine = np.zeros(n) if self.is_plane else generator.uniform(-1, 1, n)
        cosine = np.sqrt(1 - sine**2)
        return np.stack([np.cos(azimuth) * cosine, np.sin(azimuth) * cosine, sine], axis=-1)
