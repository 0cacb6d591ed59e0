"""What methods are tested on: scans of random phantoms through a measured or simulated system matrix, with stated noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from mpibridge.errors import SettingsError
from mpibridge.execution import joined_frames
from mpibridge.plugin import Plugin
from mpibridge.preprocessing import Preprocessing
from mpibridge.registry import load
from mpibridge.simulate.phantoms.families import FAMILIES, chosen
from mpibridge.training import Simulated
from mpibridge.training.data import Pairs
from mpibridge.training.simulated import SimulatedPairs

STREAMS = ("tuning", "in family", "unseen")
"""Scans to tune on, to test on, and to test on of families that nobody was trained on or tuned for."""
STRIDE = 1000
"""Seeds per stream: one for every family."""


@dataclass(frozen=True)
class Bed:
    """Scans for a comparison.

    data: where they come from; its families and SNR are those of methods that are trained or tuned. unseen: other families.
    n: images per group and noise level, equally many of every family. seed: of phantoms and noise; a simulated calibration is
    the one that methods are trained with, as a laboratory's own would be.
    """

    data: Simulated
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    unseen: Sequence[str] = ()
    n: int = 100
    seed: int = 1

    def __post_init__(self) -> None:
        families = chosen([*self.families, *self.unseen])
        if self.n < len(families):
            raise SettingsError(f"n={self.n} images are fewer than the {len(families)} families")
        if both := sorted(set(self.families) & set(self.unseen)):
            raise SettingsError(f"families {both} cannot be in the family and unseen")

    @property
    def families(self) -> Sequence[str]:
        return list(chosen(self.data.families))

    @property
    def groups(self) -> dict[str, Sequence[str]]:
        """Families of the test scans by group."""
        return {"in family": self.families} | ({"unseen": list(self.unseen)} if self.unseen else {})

    @property
    def facts(self) -> Pairs:
        """What is known of the data: acquisition, preprocessing, description."""
        return self._pairs(load("kaczmarz"))

    def draw(self, cls: type[Plugin], stream: str, snr: float) -> tuple[Any, np.ndarray, list[str]]:
        """(problem, truth (frame, z, y, x), family of every frame) of one of `STREAMS`, as ``cls`` takes it.

        snr: dB, as `mpibridge.simulate.streams` defines it for the kind of problem. The same stream has the same phantoms at
        every SNR and for every kind of problem.
        """
        families = self.families if stream == "tuning" else self.groups[stream]
        each = self.n // len(families)
        pairs = self._pairs(cls)
        drawn = []
        for family in families:
            seed = (self.seed * len(STREAMS) + STREAMS.index(stream)) * STRIDE + list(FAMILIES).index(family)
            drawn.append(pairs.test_on((family,), (snr, snr), seed, each))
        problems, truths = zip(*drawn, strict=True)
        names = [family for family in families for _ in range(each)]
        return joined_frames(problems), np.concatenate(truths), names

    def _pairs(self, cls: type[Plugin]) -> SimulatedPairs:
        if cls.takes not in self._simulated:
            data = replace(self.data, held_out=None, validation=0)
            self._simulated[cls.takes] = data.pairs(cls, self.preprocessing, self.seed)  # type: ignore[arg-type]
        return self._simulated[cls.takes]

    @cached_property
    def _simulated(self) -> dict[type, SimulatedPairs]:
        """By the problem that methods take: simulating the scanner takes seconds, and no draw changes it."""
        return {}
