"""Regularisation terms with their proximal maps, and projections, on (frame, voxel) arrays.

NumPy arrays and torch tensors alike. Source: RegularizedLeastSquares.jl `proximalMaps/` (mpireco.md §3.11).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from mpibridge.errors import SettingsError, ShapeError


def _check_weight(term: str, weight: float) -> None:
    if not (math.isfinite(weight) and weight >= 0):
        raise SettingsError(f"{term} weight is {weight}; pass a finite number ≥ 0")


@dataclass(frozen=True)
class L2:
    """weight·‖x‖². weight: relative λ ≥ 0; the solver multiplies it by the normalisation factor."""

    weight: float

    def __post_init__(self) -> None:
        _check_weight("L2", self.weight)

    def prox(self, x: Any, threshold: Any) -> Any:
        """x / (1 + 2·threshold). x: (frame, voxel); threshold: a number or (frame, 1)."""
        return x / (1 + 2 * threshold)


@dataclass(frozen=True)
class L1:
    """weight·‖x‖₁. weight: relative λ ≥ 0; the solver multiplies it by the normalisation factor."""

    weight: float

    def __post_init__(self) -> None:
        _check_weight("L1", self.weight)

    def prox(self, x: Any, threshold: Any) -> Any:
        """Soft threshold max(|x| − t, 0)·(x + ε)/(|x| + ε). x: (frame, voxel); threshold: number or (frame, 1)."""
        xp = array_namespace(x)
        size = xp.abs(x)
        tiny = xp.finfo(size.dtype).eps
        return xp.clip(size - threshold, min=0) * ((x + tiny) / (size + tiny))


@dataclass(frozen=True)
class TV:
    """Anisotropic total variation, weight·Σ|differences|.

    weight: relative λ ≥ 0. shape: grid of the voxels in C order, e.g. (z, y, x). iterations: steps of the
    dual fast gradient projection (Beck and Teboulle 2009), which approximates the proximal map. dims: axes of the
    shape along which differences count (None: all).
    """

    weight: float
    shape: tuple[int, ...]
    iterations: int = 10
    dims: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        _check_weight("TV", self.weight)
        if not self.shape or any(n < 1 for n in self.shape):
            raise SettingsError(f"TV shape is {self.shape}; pass the grid, e.g. (z, y, x), all sizes ≥ 1")
        if self.iterations < 1:
            raise SettingsError(f"TV iterations is {self.iterations}; pass at least 1")

    def prox(self, x: Any, threshold: Any) -> Any:
        """Proximal map of threshold·TV. x: (frame, voxel); threshold: a number or (frame, 1).

        Raises ShapeError if the voxels do not fill the shape.
        """
        xp = array_namespace(x)
        if x.shape[-1] != math.prod(self.shape):
            raise ShapeError(
                f"{x.shape[-1]} voxels do not fill the TV shape {self.shape}; pass the grid's shape"
            )
        image = xp.reshape(x, (x.shape[0], *self.shape))
        n = len(self.shape)
        chosen = range(n) if self.dims is None else sorted({dim % n for dim in self.dims})
        axes = [1 + dim for dim in chosen if self.shape[dim] > 1]
        weight: Any = threshold
        if hasattr(threshold, "shape") and threshold.shape:
            weight = xp.reshape(threshold, (-1,) + (1,) * len(self.shape))
        # A frame without regularisation keeps its image; the dual step would divide by zero there.
        safe = (
            xp.where(weight > 0, weight, xp.ones_like(weight)) if hasattr(weight, "shape") else weight or 1.0
        )
        last = momentum = [xp.zeros_like(d) for d in (_difference(image, axis) for axis in axes)]
        t = 1.0
        for _ in range(self.iterations):
            inner = image - weight * _divergence(xp, momentum, axes, image)
            step = [m + _difference(inner, a) / (8 * safe) for m, a in zip(momentum, axes, strict=True)]
            dual = [s / xp.clip(xp.abs(s), min=1) for s in step]
            following = (1 + math.sqrt(1 + 4 * t * t)) / 2
            pull = (t - 1) / following
            momentum = [(1 + pull) * d - pull * old for d, old in zip(dual, last, strict=True)]
            last, t = dual, following
        return xp.reshape(image - weight * _divergence(xp, last, axes, image), x.shape)


def _part(image: Any, axis: int, piece: slice) -> Any:
    return image[(slice(None),) * axis + (piece,)]


def _difference(image: Any, axis: int) -> Any:
    """x_i − x_{i+1} along an axis."""
    return _part(image, axis, slice(None, -1)) - _part(image, axis, slice(1, None))


def _divergence(xp: Any, dual: list[Any], axes: list[int], image: Any) -> Any:
    """Adjoint of the stacked differences, in the shape of the image."""
    total = xp.zeros_like(image)
    for part, axis in zip(dual, axes, strict=True):
        zero = xp.zeros_like(_part(image, axis, slice(0, 1)))
        total = total + xp.concat([part, zero], axis=axis) - xp.concat([zero, part], axis=axis)
    return total


def real_part(x: Any) -> Any:
    """x with its imaginary part set to zero, in the dtype of x."""
    xp = array_namespace(x)
    return xp.astype(xp.real(x), x.dtype) if xp.isdtype(x.dtype, "complex floating") else x


def positive(x: Any) -> Any:
    """Projection onto real, non-negative values, in the dtype of x."""
    xp = array_namespace(x)
    real = xp.real(x) if xp.isdtype(x.dtype, "complex floating") else x
    return xp.astype(xp.clip(real, min=0), x.dtype)


def projection(real: bool, positivity: bool) -> Callable[[Any], Any]:
    """The projection that MPIReco makes of its two flags: positivity without `real` does nothing (§3.8)."""
    if not real:
        return lambda x: x
    return positive if positivity else real_part
