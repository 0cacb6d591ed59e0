"""Scans with several focus-field positions: one large grid from the system matrices of its patches.

Source: MPIReco.jl `MultiPatch` (§ RegularMultiPatchOperator).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from mpibridge.calibration import Rows, calibration_grid, system_matrix_rows
from mpibridge.errors import MDFError, MismatchError, SettingsError
from mpibridge.gridding import interpolate
from mpibridge.mdf.header import Header
from mpibridge.model import Grid, triple
from mpibridge.operators import SystemMatrix
from mpibridge.preprocessing import Preprocessing


def patch_of_period(scan: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Distinct focus-field positions (patch, 3) in metres, in order of first appearance, and the patch of each period.

    Source: MPIFiles.jl `unflattenOffsetFieldShift`.
    """
    centers = Header(scan.attrs).patch_centers
    distinct, first, inverse = np.unique(centers, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    return distinct[order], rank[np.ravel(inverse)]


def is_patched(scan: xr.Dataset, calibrations: Sequence[xr.Dataset]) -> bool:
    """Whether calibrations must be moved to the focus-field positions of a scan.

    Not if there is one position, or if each calibration was recorded with the same positions, period by period: then its
    periods are rows like any other.
    """
    centers = Header(scan.attrs).patch_centers
    if len(patch_of_period(scan)[0]) == 1:
        return False
    others = [Header(c.attrs).patch_centers for c in calibrations]
    return not all(o.shape == centers.shape and np.allclose(o, centers, rtol=1e-6, atol=1e-9) for o in others)


def average_patches(rows: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """Rows (frame, period, row) averaged over the periods of every patch: (frame, patch, row).

    patch: (period,) of single periods; where periods are averaged already, groups must lie within one patch
    (SettingsError).
    """
    groups = patch.reshape(rows.shape[1], -1)
    if (groups != groups[:, :1]).any():
        raise SettingsError(
            f"period_averages={groups.shape[1]} mixes patches: the focus field moves after "
            f"{int(np.argmax(patch != patch[0]))} periods; average fewer"
        )
    patch = groups[:, 0]
    return np.stack([rows[:, patch == p].mean(1) for p in range(patch.max() + 1)], axis=1)


def patched_system_matrix(
    scan: xr.Dataset, calibrations: Sequence[xr.Dataset], rows: Rows, settings: Preprocessing
) -> SystemMatrix:
    """Block-sparse operator (patch · row, voxel) on the joint grid of all patches.

    Every patch takes the calibration of equal gradient and nearest focus-field position, moved to its place. Patches
    that do not fall on voxels of the joint grid are interpolated, or moved there if ``settings.round_patches``.
    """
    import scipy.sparse as sparse

    if settings.sparsity is not None:
        raise SettingsError("sparsity is for scans with one patch; this one has several: leave it at None")
    chosen, grids = _patches(scan, calibrations, settings)
    joint = joint_grid(grids)
    matrices = {c: system_matrix_rows(calibrations[c], rows, settings).values for c in set(chosen)}
    blocks, interpolated = [], False
    for c, grid in zip(chosen, grids, strict=True):
        start = (
            np.array(grid.center) - grid_half(grid) - np.array(joint.center) + grid_half(joint)
        ) / joint.spacing
        nearest = np.round(start).astype(int)
        values = matrices[c]
        if not _same_spacing(grid, joint) or not (
            settings.round_patches or np.allclose(start, nearest, rtol=1e-5, atol=1e-5)
        ):
            values, interpolated = interpolate(values, grid, _subgrid(joint, nearest, grid)), True
        blocks.append(_scatter(values, nearest, joint))
    matrix = sparse.vstack(blocks, format="csr")
    scale = None
    if not interpolated and not settings.weightings and len(set(chosen)) == 1:
        # MPIReco.jl counts one shared system matrix once per patch, over its own voxels.
        values = matrices[chosen[0]]
        scale = len(chosen) * float(np.linalg.norm(values) ** 2) / values[0].size
    return SystemMatrix(matrix, joint, scale=scale)


def patched_grid(scan: xr.Dataset, calibrations: Sequence[xr.Dataset], settings: Preprocessing) -> Grid:
    """The joint grid of all patches of a scan."""
    return joint_grid(_patches(scan, calibrations, settings)[1])


def joint_grid(grids: Sequence[Grid]) -> Grid:
    """The grid around all ``grids`` with their smallest spacing. Source: MPIFiles.jl, grid of several grids."""
    low = np.min([np.array(g.center) - np.array(g.field_of_view) / 2 for g in grids], axis=0)
    high = np.max([np.array(g.center) + np.array(g.field_of_view) / 2 for g in grids], axis=0)
    spacing = np.min([g.spacing for g in grids], axis=0)
    size = np.round((high - low) / spacing).astype(int)
    return Grid(triple(size), triple(size * spacing), triple((low + high) / 2))


def grid_half(grid: Grid) -> np.ndarray:
    """From the centre of a grid back to its first voxel's centre, metres (x, y, z)."""
    return (np.array(grid.field_of_view) - grid.spacing) / 2


def _patches(
    scan: xr.Dataset, calibrations: Sequence[xr.Dataset], settings: Preprocessing
) -> tuple[list[int], list[Grid]]:
    """For every patch the calibration that serves it, and its grid."""
    centers, _ = patch_of_period(scan)
    chosen = [_nearest(scan, calibrations, center) for center in centers]
    return chosen, [_patch_grid(calibrations[c], g, settings) for c, g in zip(chosen, centers, strict=True)]


def _nearest(scan: xr.Dataset, calibrations: Sequence[xr.Dataset], center: np.ndarray) -> int:
    gradient = Header(scan.attrs).gradient_diagonal
    fitting = [
        i
        for i, c in enumerate(calibrations)
        if np.allclose(Header(c.attrs).gradient_diagonal, gradient, rtol=1e-6)
    ]
    if not fitting:
        found = [Header(c.attrs).gradient_diagonal.tolist() for c in calibrations]
        raise MismatchError(
            f"the scan has the gradient {gradient.tolist()} T/m, the calibrations {found}; "
            "pass one that was recorded with the same gradient"
        )
    distances = [np.linalg.norm(Header(calibrations[i].attrs).patch_centers[0] - center) for i in fitting]
    return fitting[int(np.argmin(distances))]


def _patch_grid(calibration: xr.Dataset, center: np.ndarray, settings: Preprocessing) -> Grid:
    grid = calibration_grid(calibration)
    if grid is None:
        source = Header(calibration.attrs).source
        raise MDFError(
            source, "/calibration/fieldOfView", "is missing", "patches need the grid of the calibration"
        )
    grid = settings.target_grid(grid)
    moved = np.array(grid.center) - Header(calibration.attrs).patch_centers[0] + center
    return Grid(grid.size, grid.field_of_view, triple(moved))


def _same_spacing(grid: Grid, other: Grid) -> bool:
    return bool(np.allclose(grid.spacing, other.spacing, rtol=1e-5))


def _subgrid(joint: Grid, start: np.ndarray, patch: Grid) -> Grid:
    """The part of ``joint`` that begins at voxel ``start`` with the patch's size."""
    first = np.array(joint.center) - grid_half(joint) + start * joint.spacing
    extent = np.array(patch.size) * joint.spacing
    return Grid(patch.size, triple(extent), triple(first + (extent - joint.spacing) / 2))


def _scatter(values: np.ndarray, start: np.ndarray, joint: Grid) -> Any:
    """Rows (row, z, y, x) of a patch as a CSR matrix on the joint grid; voxels beyond its border are dropped."""
    import scipy.sparse as sparse

    index = []
    inside = []
    for axis, (first, n, total) in enumerate(zip(start[::-1], values.shape[1:], joint.shape, strict=True)):
        along = first + np.arange(n)
        shape = [1, 1, 1]
        shape[axis] = n
        index.append(along.reshape(shape))
        inside.append(((along >= 0) & (along < total)).reshape(shape))
    keep = (inside[0] & inside[1] & inside[2]).ravel()
    z, y, x = index
    _, ny, nx = joint.shape
    columns = np.broadcast_to((z * ny + y) * nx + x, values.shape[1:]).ravel()[keep]
    flat = values.reshape(len(values), -1)[:, keep]
    counts = np.arange(len(flat) + 1) * len(columns)
    indices = np.tile(columns.astype(np.int32), len(flat))
    return sparse.csr_matrix((flat.ravel(), indices, counts), shape=(len(flat), joint.n_voxels))
