"""Distance to a reference: NRMSE, PSNR, SSIM, and the one factor that brings two scales together."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log10
from typing import Any

import numpy as np

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.metrics.alignment import Image, aligned

WINDOW = 7
"""Voxels along an edge of the SSIM window, that of scikit-image; smaller where the image is smaller."""
SCALES = (None, "least_squares")
NORMALISATIONS = ("norm", "range")


def nrmse(image: Image, truth: Image, *, by: str = "norm", scale: str | None = None) -> float:
    """‖image − truth‖₂ / ‖truth‖₂ over all voxels and frames; 0 is perfect, 1 is an empty image.

    by: "range" gives the root mean square error over max − min of the truth instead, which some papers report; of
    images that are mostly empty it is about a third. scale: "least_squares" multiplies the image by `least_squares_factor` first. ShapeError if the images do not agree
    (`aligned`), the truth is 0 everywhere (constant, by range), or not finite everywhere.
    """
    if by not in NORMALISATIONS:
        raise SettingsError(f"by must be one of {', '.join(NORMALISATIONS)}, found {by!r}")
    image, truth = _pair(image, truth, scale)
    norm = (
        float(np.linalg.norm(truth.ravel())) if by == "norm" else float(np.ptp(truth)) * np.sqrt(truth.size)
    )
    if norm == 0:
        raise ShapeError(
            f"the truth is {'0 everywhere' if by == 'norm' else 'constant'}: a relative error of it does not exist"
        )
    return float(np.linalg.norm((image - truth).ravel()) / norm)


def psnr(image: Image, truth: Image, *, peak: float | None = None, scale: str | None = None) -> float:
    """Peak signal-to-noise ratio 20 log₁₀(peak / RMSE) in dB over all voxels and frames; infinite for equal images.

    peak: None takes max |truth|. scale: as in `nrmse`. ShapeError if the images do not agree, or the truth
    is not finite everywhere.
    """
    image, truth = _pair(image, truth, scale)
    if peak is not None and not peak > 0:
        raise SettingsError(f"peak must be positive, found {peak}")
    error = float(np.sqrt(np.mean((image - truth) ** 2)))
    top = float(np.abs(truth).max()) if peak is None else float(peak)
    if error == 0:
        return inf
    return 20 * log10(top / error) if top else -inf


def ssim(
    image: Image,
    truth: Image,
    *,
    window: int | None = None,
    data_range: float | None = None,
    scale: str | None = None,
) -> float:
    """Structural similarity, mean over voxels and then over frames and contrasts; 1 is perfect.

    Plain arrays are (y, x), (z, y, x), (frame, z, y, x) or (contrast, frame, z, y, x). Volumes take a cubic window; an axis
    of one voxel is dropped. window: odd number of voxels, None takes `ssim_window`. data_range: None takes max − min of each
    frame's truth. scale: as in `nrmse`. ShapeError if the images do not agree, are too small, or a truth is constant or
    not finite everywhere.
    Source: Wang et al. 2004, as scikit-image `structural_similarity` computes it (uniform window, sample covariance).
    """
    from skimage.metrics import structural_similarity

    images, truths = _pair(image, truth, scale)
    window = ssim_window(images.shape) if window is None else window
    values = []
    for one, other in zip(_volumes(images), _volumes(truths), strict=True):
        span = float(np.ptp(other)) if data_range is None else float(data_range)
        if not span > 0:
            raise ShapeError("the truth is constant, its range 0: pass data_range")
        if window % 2 == 0 or not 3 <= window <= min(one.shape):
            raise ShapeError(f"window must be odd and from 3 to {min(one.shape)} voxels, found {window}")
        values.append(structural_similarity(one, other, win_size=window, data_range=span))
    return float(np.mean(values))


def ssim_window(shape: tuple[int, ...]) -> int:
    """`WINDOW`, or the largest odd number that fits the shortest axis (z, y, x) longer than one voxel.

    ShapeError if that axis has fewer than three voxels.
    """
    axes = [n for n in shape[-3:] if n > 1]
    if len(axes) < 1 or min(axes) < 3:
        raise ShapeError(f"SSIM needs at least 3 voxels along every axis, found {tuple(shape)}")
    return min(WINDOW, min(axes) - 1 + min(axes) % 2)


def least_squares_factor(image: Image, truth: Image) -> float:
    """The factor a that makes ‖a·image − truth‖₂ smallest, ⟨image, truth⟩ / ⟨image, image⟩, over all voxels and frames.

    ShapeError if the image is 0 everywhere, or one of them is not finite everywhere.
    """
    image, truth = _pair(image, truth, None)
    if reason := gaps(image):
        raise ShapeError(f"the image has {reason}: no factor brings it to the truth")
    energy = float(np.vdot(image, image))
    if energy == 0:
        raise ShapeError("the image is 0 everywhere: no factor brings it to the truth")
    return float(np.vdot(image, truth)) / energy


def per_image(metric: Callable[..., float], image: Image, truth: Image, **options: Any) -> np.ndarray:
    """``metric(image, truth, **options)`` of every frame, (frame,), or (contrast, frame) if there are contrasts.

    Each frame has its own peak, range and factor. An image without frames is one.

    >>> import numpy as np
    >>> per_image(nrmse, [[[[1.0]]], [[[0.5]]]], [[[[1.0]]], [[[1.0]]]])
    array([0. , 0.5])
    """
    images, truths = aligned(image, truth)
    frames = images.shape[:-3] or (1,)
    pairs = zip(_volumes(images, drop=False), _volumes(truths, drop=False), strict=True)
    return np.array([metric(one, other, **options) for one, other in pairs]).reshape(frames)


def gaps(values: np.ndarray) -> str:
    """How many values are NaN or infinite, in words; empty if none is."""
    n = int(values.size - np.count_nonzero(np.isfinite(values)))
    return f"{n} of {values.size} values that are NaN or infinite" if n else ""


def _pair(image: Image, truth: Image, scale: str | None) -> tuple[np.ndarray, np.ndarray]:
    if scale not in SCALES:
        raise SettingsError(f"scale must be one of {SCALES}, found {scale!r}")
    first, second = aligned(image, truth)
    if reason := gaps(second):
        raise ShapeError(f"the truth has {reason}: nothing can be measured against it; replace them")
    return (first if scale is None else first * least_squares_factor(first, second)), second


def _volumes(images: np.ndarray, *, drop: bool = True) -> list[np.ndarray]:
    """Every frame as (z, y, x); drop: without the axes of one voxel."""
    volumes = images.reshape(-1, *images.shape[-3:]) if images.ndim >= 3 else images[None]
    return [volume.squeeze() if drop else volume for volume in volumes]
