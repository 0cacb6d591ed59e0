"""What training makes small: the distance of values along the path."""

from __future__ import annotations

from torch import Tensor

EPSILON = 0.1
"""Where the Charbonnier loss turns from square to absolute. Much smaller, values that are mostly 0 become all 0."""


def charbonnier(values: Tensor, wanted: Tensor) -> Tensor:
    """Mean of √(d² + ε²) − ε. Source: Charbonnier et al. 1994."""
    return ((values - wanted).square() + EPSILON**2).sqrt().mean() - EPSILON
