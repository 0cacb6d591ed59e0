"""Structural similarity as something to train for."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

WINDOW = 7
"""Pixels along an edge of the SSIM window, as in `mpibridge.metrics.ssim`; smaller where the image is smaller."""


def ssim(images: Tensor, wanted: Tensor) -> Tensor:
    """Mean structural similarity of images (frame, y, x) with a range of 1, as `mpibridge.metrics.ssim` has it.

    Uniform window, sample covariance, windows inside of the image only. Source: Wang et al. 2004.
    """
    size = min(WINDOW, *(n - 1 + n % 2 for n in images.shape[-2:]))
    stack = images[:, None], wanted[:, None]
    a, b = stack

    def mean(x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, size, 1)

    mean_a, mean_b = mean(a), mean(b)
    unbiased = size**2 / (size**2 - 1)
    var_a, var_b = unbiased * (mean(a * a) - mean_a**2), unbiased * (mean(b * b) - mean_b**2)
    covariance = unbiased * (mean(a * b) - mean_a * mean_b)
    c1, c2 = 0.01**2, 0.03**2
    similar = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (similar / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean()
