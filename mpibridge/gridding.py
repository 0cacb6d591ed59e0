"""System-matrix rows on another grid: linear interpolation inside the calibration, harmonic extrapolation outside."""

from __future__ import annotations

import itertools

import numpy as np

from mpibridge.errors import ShapeError
from mpibridge.model import GRID_DIMS, Grid


def interpolate(rows: np.ndarray, origin: Grid, target: Grid) -> np.ndarray:
    """Rows (row, z, y, x) interpolated linearly from ``origin`` to ``target``.

    Zero outside the hull of the origin's voxel centres, so the outer half voxels of the calibrated field of view
    become zero. Source: MPIFiles.jl `interpolate`; nodes are compared with a tolerance of 1e-9 voxels (MPIFiles
    compares exactly, where one rounding error can blank a border plane).
    """
    if rows.shape[1:] != origin.shape:
        raise ShapeError(f"rows have the grid {rows.shape[1:]}, the origin {origin.shape} (z, y, x)")
    out = rows
    for axis, dim in enumerate(GRID_DIMS, start=1):
        weights = _weights(origin.axis(dim), target.axis(dim)).astype(rows.real.dtype)
        if weights.shape[0] != weights.shape[1] or not np.array_equal(weights, np.eye(len(weights))):
            out = np.moveaxis(np.tensordot(out, weights, axes=(axis, 1)), -1, axis)
    return np.ascontiguousarray(out, dtype=rows.dtype)


def _weights(origin: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(target, origin) weights of linear interpolation along one axis."""
    weights = np.zeros((len(target), len(origin)))
    if len(origin) == 1:
        weights[np.abs(target - origin[0]) <= 1e-12, 0] = 1
        return weights
    place = (target - origin[0]) / (origin[1] - origin[0])
    inside = np.flatnonzero((place >= -1e-9) & (place <= len(origin) - 1 + 1e-9))
    place = np.clip(place[inside], 0, len(origin) - 1)
    low = np.minimum(place.astype(int), len(origin) - 2)
    weights[inside, low] = 1 - (place - low)
    weights[inside, low + 1] = place - low
    return weights


def extrapolate(rows: np.ndarray, grid: Grid, field_of_view: tuple[float, float, float]) -> tuple[np.ndarray, Grid]:
    """Rows (row, z, y, x) continued harmonically to at least ``field_of_view`` (metres), and their grid.

    Outside voxels solve the Laplace equation with the calibration as inner and zero as outer boundary, approximately:
    as MPIReco.jl does it by five ADMM iterations with a small L1 penalty. Source: MPIReco.jl `extrapolateSM`,
    method 1. Only axes on which ``field_of_view`` is larger grow, by whole voxels on both sides.
    """
    old = np.array(grid.field_of_view)
    margin = np.floor((np.array(field_of_view) - old) * grid.size / (2 * old) + 0.5).astype(int).clip(0)
    ez, ey, ex = margin[::-1]
    if not margin.any():
        return rows, grid
    shell = [1 if e else 0 for e in (ez, ey, ex)]
    shape = [n + 2 * e + 2 * s for n, e, s in zip(grid.shape, (ez, ey, ex), shell, strict=True)]
    known = np.zeros(shape, bool)
    inner = tuple(slice(e + s, n + e + s) for n, e, s in zip(grid.shape, (ez, ey, ex), shell, strict=True))
    known[inner] = True
    boundary = np.zeros(shape, bool)
    for axis, s in enumerate(shell):
        if s:
            boundary[tuple(slice(None) if a != axis else [0, -1] for a in range(3))] = True
    unknown = ~known & ~boundary
    laplacian = _laplacian(shape)
    work = unknown | _neighbours(unknown)
    matrix = laplacian[work.ravel()][:, unknown.ravel()]
    values = np.zeros((len(rows), *shape), rows.dtype)
    values[(slice(None), *inner)] = rows
    right = -(laplacian[work.ravel()] @ values.reshape(len(rows), -1).T)
    solution = _admm(matrix, right.real) + 1j * _admm(matrix, right.imag)
    values.reshape(len(rows), -1)[:, unknown.ravel()] = solution.T
    cut = tuple(slice(s, n - s) for n, s in zip(shape, shell, strict=True))
    size = tuple(int(n + 2 * e) for n, e in zip(grid.size, margin, strict=True))
    spacing = np.array(grid.spacing)
    wider = Grid(size, tuple((old + 2 * margin * spacing).tolist()), grid.center)
    return np.ascontiguousarray(values[(slice(None), *cut)]), wider


def _laplacian(shape: list[int]):
    """Five- or seven-point Laplacian as a CSR matrix, −2 per axis on the diagonal and no boundary rows."""
    import scipy.sparse as sparse

    total = sparse.csr_matrix((int(np.prod(shape)),) * 2)
    for axis, n in enumerate(shape):
        if n == 1:
            continue
        second = sparse.diags([np.ones(n - 1), -2 * np.ones(n), np.ones(n - 1)], [-1, 0, 1])
        factors = [second if a == axis else sparse.identity(m) for a, m in enumerate(shape)]
        total = total + sparse.kron(sparse.kron(factors[0], factors[1]), factors[2])
    return sparse.csr_matrix(total)


def _neighbours(mask: np.ndarray) -> np.ndarray:
    """Voxels that touch the mask by a face, an edge or a corner."""
    padded = np.pad(mask, 1)
    out = np.zeros_like(mask)
    for shift in itertools.product((0, 1, 2), repeat=3):
        out |= padded[tuple(slice(s, s + n) for s, n in zip(shift, mask.shape, strict=True))]
    return out & ~mask


def _admm(matrix, right: np.ndarray, *, penalty: float = 0.01, rho: float = 0.1) -> np.ndarray:
    """Five ADMM iterations of ½‖Ax − b‖² with an L1 penalty, at most ten CG steps each; (unknown, row)."""
    gram, target = matrix.T @ matrix, matrix.T @ right
    x = np.zeros_like(target)
    z, u = x.copy(), x.copy()
    for _ in range(5):
        x = _conjugate_gradient(lambda v: gram @ v + rho * v, target + rho * (z - u), x, steps=10, tolerance=1e-5)
        shifted = x + u
        z = np.sign(shifted) * np.maximum(np.abs(shifted) - penalty / (2 * rho), 0)
        u = shifted - z
    return x


def _conjugate_gradient(apply, target: np.ndarray, x: np.ndarray, *, steps: int, tolerance: float) -> np.ndarray:
    residual = target - apply(x)
    direction, square = residual.copy(), (residual**2).sum(0)
    goal = tolerance**2 * square
    for _ in range(steps):
        active = square > goal
        if not active.any():
            break
        step = apply(direction)
        alpha = np.where(active, square / np.where(active, (direction * step).sum(0), 1), 0)
        x = x + alpha * direction
        residual = residual - alpha * step
        new = (residual**2).sum(0)
        direction = residual + np.where(active, new / np.where(active, square, 1), 0) * direction
        square = new
    return x
