"""The exact signal of an image in two dimensions, fast: three convolutions and a look-up along the path.

s(t) = K(x(t)) v(t) with K = c ∗ h, h = L'(ξ) r̂r̂ᵀ + (L/ξ)(I − r̂r̂ᵀ) and ξ = β|G r|: a symmetric 2 × 2 matrix field, made
once per image and read at any number of points. Times p n m β G this is the voltage of ideal receivers with sensitivity
p (T/A) along x and y and of n particles of moment m per volume and unit of c. Source: Goodwill & Conolly 2011 (IEEE TMI
30(9)), eqs. 7-13.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from mpibridge.errors import ShapeError
from mpibridge.model import Grid

XX, XY, YY = range(3)
"""Components of the fields."""


def convolved_fields(
    image: Any, grid: Grid, beta_gradient: float | tuple[float, float], *, padding: int = 0
) -> Any:
    """K = c ∗ h at the voxel centres: (…, 3, y + 2·padding, x + 2·padding) for images (…, y, x), in m² times their unit.

    The last-but-two axis holds the components xx, xy and yy. beta_gradient: ξ per metre, βG in 1/m, one number or
    one for x and one for y. padding: voxels to add around the image, where it is 0. NumPy arrays or torch tensors,
    batched, in the precision of the image. The sum over voxels is exact (zero-padded transforms).
    """
    n_y, n_x = image.shape[-2:]
    if (n_x, n_y) != grid.size[:2] or grid.size[2] != 1:
        raise ShapeError(
            f"image is {tuple(image.shape)}, the grid {grid.shape} (z, y, x); one slice is wanted"
        )
    fft, spectrum, size = _spectrum(grid, beta_gradient, padding, image)
    wide = fft.rfftn(image, s=size, axes=(-2, -1))[..., None, :, :] * spectrum
    fields = fft.irfftn(wide, s=size, axes=(-2, -1))
    return fields[..., : n_y + 2 * padding, : n_x + 2 * padding]


def correlated_image(
    fields: Any, grid: Grid, beta_gradient: float | tuple[float, float], *, padding: int = 0
) -> Any:
    """The adjoint of `convolved_fields`: images (…, y, x) of fields (…, 3, y + 2·padding, x + 2·padding), NumPy or torch."""
    n_x, n_y = grid.size[:2]
    fft, spectrum, size = _spectrum(grid, beta_gradient, padding, fields)
    wide = fft.rfftn(fields, s=size, axes=(-2, -1)) * spectrum.conj()
    return fft.irfftn(wide.sum(-3), s=size, axes=(-2, -1))[..., :n_y, :n_x]


def _spectrum(
    grid: Grid, beta_gradient: float | tuple[float, float], padding: int, like: Any
) -> tuple[Any, Any, tuple[int, int]]:
    """Fourier module of an array, transfer functions of the three components, and the padded size (y, x)."""
    import scipy.fft
    from array_api_compat import array_namespace, device, is_numpy_namespace

    xp = array_namespace(like)
    fft: Any = scipy.fft if is_numpy_namespace(xp) else xp.fft
    scale_x, scale_y = np.broadcast_to(np.asarray(beta_gradient, float), 2).tolist()
    kernels, size = _kernels(grid, (scale_x, scale_y), padding)
    return fft, fft.rfftn(xp.asarray(kernels, dtype=like.dtype, device=device(like)), axes=(-2, -1)), size


@lru_cache(maxsize=4)
def _kernels(
    grid: Grid, beta_gradient: tuple[float, float], padding: int
) -> tuple[np.ndarray, tuple[int, int]]:
    """h times the voxel area, (3, Y, X), its centre shifted so that the first voxel of the padded field comes first."""
    from scipy.fft import next_fast_len

    from mpibridge.simulate.particles import langevin_derivative, langevin_ratio

    steps, sizes = grid.spacing[1::-1], grid.size[1::-1]
    scale_x, scale_y = beta_gradient
    lags, size = [], []
    for n, step in zip(sizes, steps, strict=True):
        total = int(next_fast_len(2 * (n + padding) - 1, real=True))
        lag = np.arange(total) - padding
        lags.append(np.where(lag > n - 1 + padding, lag - total, lag) * step)
        size.append(total)
    y, x = scale_y * lags[0][:, None], scale_x * lags[1][None, :]
    squared = x**2 + y**2
    xi = np.sqrt(squared)
    across = langevin_ratio(xi)
    along = (langevin_derivative(xi) - across) / np.where(squared > 0, squared, 1)
    kernels = np.stack([across + along * x * x, along * x * y, across + along * y * y])
    return kernels * steps[0] * steps[1], (size[0], size[1])


def interpolation(grid: Grid, position: np.ndarray, *, padding: int = 0, order: int = 3) -> Any:
    """Values between voxel centres as CSR (sample, voxel), float32: Lagrange polynomials of ``order`` 1 or 3 per axis.

    position: (sample, 2 or 3) m. The voxels are those of fields with this padding, x fastest. Raises ShapeError for
    points more than a voxel outside the centres.
    """
    import scipy.sparse

    if order not in (1, 3):
        raise ShapeError(f"order must be 1 (bilinear) or 3 (bicubic), found {order!r}")
    nodes = np.arange(order + 1)
    columns, weights = [], []
    for axis in range(2):
        n = grid.size[axis] + 2 * padding
        step = grid.spacing[axis]
        place = (position[:, axis] - grid.axis("xy"[axis])[0]) / step + padding
        if n <= order or place.min() < -1 or place.max() > n:
            raise ShapeError(
                f"the path reaches from {position[:, axis].min()} to {position[:, axis].max()} m along {'xy'[axis]}, "
                f"the fields have {n} voxels of {step} m there; use a larger grid or padding"
            )
        first = np.clip(np.floor(place).astype(int) - (order - 1) // 2, 0, n - order - 1)
        offset = place - first
        weight = np.ones((len(place), order + 1))
        for i in nodes:
            for j in nodes[nodes != i]:
                weight[:, i] *= (offset - j) / (i - j)
        columns.append(first[:, None] + nodes)
        weights.append(weight)
    n_x, n_y = (grid.size[d] + 2 * padding for d in range(2))
    column = (columns[1][:, :, None] * n_x + columns[0][:, None, :]).reshape(len(position), -1)
    weight = (weights[1][:, :, None] * weights[0][:, None, :]).reshape(len(position), -1)
    bounds = np.arange(len(position) + 1) * column.shape[1]
    return scipy.sparse.csr_matrix(
        (weight.ravel().astype(np.float32), column.ravel().astype(np.int32), bounds.astype(np.int32)),
        shape=(len(position), n_x * n_y),
    )


def sample(fields: Any, matrix: Any, velocity: Any) -> Any:
    """Signals (…, 2, sample) along a path: s_x = K_xx v_x + K_xy v_y, s_y = K_xy v_x + K_yy v_y.

    fields: (…, 3, y, x). matrix: `interpolation`, a scipy matrix for NumPy fields; for torch tensors the same as a
    sparse tensor (`mpibridge.xspace.sparse.as_torch`). velocity: (sample, 2 or 3) m/s, of the kind of the fields.
    """
    from array_api_compat import array_namespace

    flat = fields.reshape(-1, fields.shape[-2] * fields.shape[-1])
    along = (matrix @ flat.T).T.reshape(*fields.shape[:-2], -1)
    v_x, v_y = velocity[:, 0], velocity[:, 1]
    xp = array_namespace(fields)
    return xp.stack(
        [
            along[..., XX, :] * v_x + along[..., XY, :] * v_y,
            along[..., XY, :] * v_x + along[..., YY, :] * v_y,
        ],
        axis=-2,
    )


def adjoint(
    signals: np.ndarray,
    matrix: Any,
    velocity: np.ndarray,
    grid: Grid,
    beta_gradient: float | tuple[float, float],
    *,
    padding: int = 0,
) -> np.ndarray:
    """The adjoint of `convolved_fields` followed by `sample`: images (…, y, x) of signals (…, 2, sample).

    For NumPy arrays; torch tensors have their gradient. ⟨forward c, s⟩ = ⟨c, adjoint s⟩ to the precision of the arrays.
    """
    s_x, s_y = signals[..., 0, :], signals[..., 1, :]
    v_x, v_y = velocity[:, 0], velocity[:, 1]
    along = np.stack([s_x * v_x, s_x * v_y + s_y * v_x, s_y * v_y], axis=-2)
    n_x, n_y = grid.size[:2]
    flat = (matrix.T @ along.reshape(-1, along.shape[-1]).T).T
    fields = flat.reshape(*along.shape[:-1], n_y + 2 * padding, n_x + 2 * padding)
    return correlated_image(fields, grid, beta_gradient, padding=padding)
