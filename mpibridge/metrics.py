"""How far an image is from the truth. Both arrays have the same shape; the scale of neither is changed."""

from __future__ import annotations

from math import inf, log10

import numpy as np
from numpy.typing import ArrayLike

from mpibridge.errors import ShapeError


def nrmse(image: ArrayLike, truth: ArrayLike) -> float:
    """‖image − truth‖₂ / ‖truth‖₂ over all voxels and frames; 0 is perfect, 1 is an empty image.

    ShapeError if the shapes differ or the truth is 0 everywhere.
    """
    image, truth = _pair(image, truth)
    scale = float(np.linalg.norm(truth.ravel()))
    if scale == 0:
        raise ShapeError("the truth is 0 everywhere: a relative error of it does not exist")
    return float(np.linalg.norm((image - truth).ravel())) / scale


def psnr(image: ArrayLike, truth: ArrayLike) -> float:
    """Peak signal-to-noise ratio 20 log₁₀(max |truth| / RMSE) in dB; infinite for equal arrays.

    ShapeError if the shapes differ.
    """
    image, truth = _pair(image, truth)
    error = float(np.sqrt(np.mean((image - truth) ** 2)))
    peak = float(np.abs(truth).max())
    if error == 0:
        return inf
    return 20 * log10(peak / error) if peak else -inf


def _pair(image: ArrayLike, truth: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(image, float), np.asarray(truth, float)
    if first.shape != second.shape or not first.size:
        raise ShapeError(f"image {first.shape} and truth {second.shape} must have the same shape, and voxels")
    return first, second
