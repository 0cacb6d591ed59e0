"""How sure a mean over images is."""

from __future__ import annotations

from math import nan
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mpibridge.errors import SettingsError, ShapeError

DRAWS_AT_ONCE = 2**22
"""Values drawn at once: 32 MiB."""


class Interval(NamedTuple):
    """A mean, and the bounds between which it lies at the stated level; ``nan`` where one image says nothing about it."""

    mean: float
    low: float
    high: float


def bootstrap(
    values: ArrayLike, *, generator: np.random.Generator, level: float = 0.95, n: int = 10_000
) -> Interval:
    """Mean of ``values`` (image,) and its percentile bootstrap interval: quantiles of ``n`` means of redrawn images.

    It covers what varies between these images and nothing else: frames of one phantom vary by noise only. With a handful
    of images it is too narrow. One image, or a value that is not finite, has no interval.
    ShapeError without values, SettingsError for a level outside (0, 1) or n < 1.
    Source: Efron & Tibshirani 1993, chapter 13.
    """
    values = np.asarray(values, float).ravel()
    if not values.size:
        raise ShapeError("there are no values to take the mean of")
    if not 0 < level < 1 or n < 1:
        raise SettingsError(f"level must lie between 0 and 1 and n be at least 1, found {level} and {n}")
    mean = float(values.mean())
    if len(values) == 1 or not np.isfinite(values).all():
        return Interval(mean, nan, nan)
    block = max(1, DRAWS_AT_ONCE // len(values))
    means = [
        values[generator.integers(0, len(values), (min(block, n - done), len(values)))].mean(1)
        for done in range(0, n, block)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high))
