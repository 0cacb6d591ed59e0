"""What training makes small: named losses of images (frame, y, x) whose truth has a peak of 1."""

from __future__ import annotations

from torch import Tensor

from mpibridge_plugins.cascade.settings import CascadeSettings
from mpibridge_plugins.similarity import ssim

FLOOR = 0.01
"""Of the mean square of a truth: one small dot would outweigh an image full of tracer."""
FILLED = 0.5
"""Share of the peak from which on a pixel counts as filled."""


def distance(image: Tensor, truth: Tensor, settings: CascadeSettings) -> Tensor:
    """``settings.loss``, a mean over frames."""
    error = image - truth
    energy = truth.square().mean((1, 2)) + FLOOR
    squares = (error.square().mean((1, 2)) / energy).mean()
    if settings.loss == "mse":
        return squares
    absolute = (error.abs().mean((1, 2)) / (truth.abs().mean((1, 2)) + FLOOR)).mean()
    return (
        squares
        + settings.absolute_weight * absolute
        + settings.ssim_weight * (1 - ssim(image, truth))
        + settings.uniformity_weight * unevenness(image, truth).mean()
    )


def unevenness(image: Tensor, truth: Tensor) -> Tensor:
    """Variance (frame,) of the error over the filled pixels: what a dot fluctuates by, whatever its mean.

    Of a truth that is 0 or 1 it is the square of the standard deviation inside of the dots; 0 where nothing is filled.
    """
    inside = (truth >= FILLED).to(image.dtype)
    count = inside.sum((1, 2)).clamp_min(1)
    error = (image - truth) * inside
    mean = error.sum((1, 2)) / count
    return error.square().sum((1, 2)) / count - mean.square()
