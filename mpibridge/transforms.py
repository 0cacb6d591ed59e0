"""Unitary transforms in which rows of a system matrix are sparse, over the last three axes (z, y, x).

Source: MDF 2.1 `sparsityTransformation` (orthonormal DCT-I … DCT-IV); MPIReco.jl SinglePatchSparse (DCT-II, DCT-IV,
FFT). Singleton axes are left alone, which is the identity for every transform here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mpibridge.errors import SettingsError

NAMES = ("DCT-I", "DCT-II", "DCT-III", "DCT-IV", "FFT")


@dataclass(frozen=True)
class GridTransform:
    """coefficients = forward(voxels), voxels = inverse(coefficients); arrays (…, z, y, x) of complex64."""

    name: str
    forward: Callable[[np.ndarray], np.ndarray]
    inverse: Callable[[np.ndarray], np.ndarray]


def grid_transform(name: str) -> GridTransform:
    """The transform called ``name``; SettingsError lists the names if there is none."""
    import scipy.fft

    if name not in NAMES:
        raise SettingsError(f"unknown sparsity transformation {name!r}; known are {', '.join(NAMES)}")
    if name == "FFT":
        return GridTransform(
            name, _keep_dtype(_centred(scipy.fft.fftn)), _keep_dtype(_centred(scipy.fft.ifftn))
        )
    kind = ("DCT-I", "DCT-II", "DCT-III", "DCT-IV").index(name) + 1

    def dct(transform: Callable[..., np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        def apply(x: np.ndarray) -> np.ndarray:
            axes = [axis for axis in (-3, -2, -1) if x.shape[axis] > 1]
            return transform(x, type=kind, norm="ortho", axes=axes) if axes else x

        return apply

    return GridTransform(name, _keep_dtype(dct(scipy.fft.dctn)), _keep_dtype(dct(scipy.fft.idctn)))


def _centred(transform: Callable[..., np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    axes = (-3, -2, -1)

    def apply(x: np.ndarray) -> np.ndarray:
        return np.fft.fftshift(transform(np.fft.ifftshift(x, axes), axes=axes, norm="ortho"), axes)

    return apply


def _keep_dtype(transform: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    def apply(x: np.ndarray) -> np.ndarray:
        return np.asarray(transform(x)).astype(x.dtype, copy=False)

    return apply
