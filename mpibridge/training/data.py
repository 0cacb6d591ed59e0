"""What a network learns from: pairs of a problem and the image it should give, batch by batch.

Batches are numbered. Which pairs are in one is a function of the seed and its number alone, so that a run that was killed
goes on as if nothing had happened, and several processes share the work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mpibridge.acquisition import Acquisition
from mpibridge.execution import SIGNALS
from mpibridge.plugin import SpectralProblem, TrainablePlugin
from mpibridge.preprocessing import Preprocessing

TRAINING, VALIDATION, TEST, LOSS, SOURCE = range(5)
"""What random numbers are for; each has a branch of the seed."""
Pair = tuple[Any, np.ndarray]
"""A problem, and its images (frame, z, y, x) float32."""


class Pairs(ABC):
    """Pairs of one kind of problem.

    example: a problem with one frame, in NumPy arrays. acquisition: what it was recorded with, None if nobody knows.
    preprocessing: what a scan goes through before the trained method. description: JSON values that say what the data are.
    """

    example: Any
    acquisition: Acquisition | None
    preprocessing: Preprocessing
    description: Mapping[str, Any]

    @abstractmethod
    def batch(self, seed: int, number: int, size: int) -> Pair:
        """Batch ``number`` of a run with this seed, counted from 0."""

    @abstractmethod
    def validation(self, seed: int) -> Pair | None:
        """Pairs that are in no batch, the same at every call; None if there are none."""

    def test(self, seed: int, size: int) -> Pair | None:
        """At most ``size`` pairs for the figures of the finished weights: those of `validation` if there are no others."""
        held_out = self.validation(seed)
        return None if held_out is None else take(held_out, slice(0, size))


class Data(ABC):
    """Where pairs come from, as the user says it."""

    @abstractmethod
    def pairs(self, cls: type[TrainablePlugin], preprocessing: Preprocessing, seed: int) -> Pairs:
        """The pairs for a method. SettingsError if it cannot learn from these data."""


def random(seed: int, branch: int, number: int = 0) -> np.random.Generator:
    """The generator of a seed for one purpose."""
    return np.random.default_rng([seed, branch, number])


def signals(problem: Any) -> dict[str, np.ndarray]:
    """What differs from frame to frame: it travels with every batch, the rest of the problem is on the device already."""
    found = {name: getattr(problem, name) for name in SIGNALS if hasattr(problem, name)}
    if isinstance(problem, SpectralProblem) and problem.noise is not None and problem.noise.ndim == 2:
        found["noise"] = problem.noise
    return found


def with_signals(problem: Any, given: Mapping[str, Any]) -> Any:
    """The inverse of `signals` on any problem with the same operator."""
    return replace(problem, **given)


def take(pair: Pair, frames: slice | np.ndarray) -> Pair:
    """Some frames of a pair."""
    problem, target = pair
    taken = {name: values[frames] for name, values in signals(problem).items()}
    return with_signals(problem, taken), target[frames]
