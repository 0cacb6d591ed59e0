"""System-matrix rows on another grid: linear interpolation inside the calibration, harmonic extrapolation outside."""

from __future__ import annotations

from typing import Any

import numpy as np

from mpibridge.errors import ShapeError
from mpibridge.model import GRID_DIMS, Grid, triple


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
    nodes = np.round(place)
    place = np.where(np.abs(place - nodes) < 1e-9, nodes, place)
    inside = np.flatnonzero((place >= 0) & (place <= len(origin) - 1))
    place = place[inside]
    low = np.minimum(place.astype(int), len(origin) - 2)
    weights[inside, low] = 1 - (place - low)
    weights[inside, low + 1] = place - low
    return weights


def extrapolate(
    rows: np.ndarray, grid: Grid, field_of_view: tuple[float, float, float]
) -> tuple[np.ndarray, Grid]:
    """Rows (row, z, y, x) continued harmonically to at least ``field_of_view`` (metres), and their grid.

    New voxels solve the discrete Laplace equation in the least-squares sense, with the calibration known and the
    outermost shell zero: one voxel beyond the new border, on an axis that does not grow its first and last plane.
    Only axes on which ``field_of_view`` is larger grow, by whole voxels on both sides.
    Source: MPIReco.jl `extrapolateSM`, method 1: five ADMM iterations with an L1 penalty, real and imaginary apart.
    """
    old = np.array(grid.field_of_view)
    margin = np.floor((np.array(field_of_view) - old) * grid.size / (2 * old) + 0.5).astype(int).clip(0)
    if not margin.any():
        return rows, grid
    pad = [(int(e) + 1,) * 2 if e else (0, 0) for e in margin[::-1]]
    values = np.pad(rows, [(0, 0), *pad])
    known = np.pad(np.ones(grid.shape, bool), pad)
    for axis, n in enumerate(known.shape):
        if n > 1:
            known[tuple(slice(None) if a != axis else [0, -1] for a in range(3))] = True
    values.reshape(len(rows), -1)[:, ~known.ravel()] = _harmonic(values, known)
    cut = tuple(slice(1, -1) if e else slice(None) for e in margin[::-1])
    size = triple(np.array(grid.size) + 2 * margin)
    wider = Grid(size, triple(old + 2 * margin * grid.spacing), grid.center)
    return np.ascontiguousarray(values[(slice(None), *cut)]), wider


def _harmonic(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The unknown voxels (row, unknown) of ``values`` (row, z, y, x), continued from the known ones."""
    from mpibridge.solvers import L1, admm

    laplacian = _laplacian(known.shape)
    unknown = ~known.ravel()
    touched = np.asarray(abs(laplacian[:, unknown]).sum(1)).ravel() > 0
    matrix = laplacian[touched][:, unknown].tocsr()
    right = -(laplacian[touched][:, ~unknown] @ values.reshape(len(values), -1)[:, ~unknown].T).T
    parts = [
        admm(
            matrix,
            np.ascontiguousarray(part, dtype=float),
            terms=(L1(0.01),),
            iterations=5,
            rho=0.1,
            iterations_cg=10,
            normalization=None,
            real=False,
            positive=False,
        )
        for part in (right.real, right.imag)
    ]
    return parts[0] + 1j * parts[1]


def _laplacian(shape: tuple[int, ...]) -> Any:
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
