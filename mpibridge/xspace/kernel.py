"""The Gaussian of the gridding: how wide it is where, and the rows of the matrix that it makes."""

from __future__ import annotations

from typing import Any

import numpy as np

from mpibridge.errors import ShapeError
from mpibridge.model import Grid

CUTOFF = 3.0
"""Kernels end at so many widths."""
REACH = 2.5
"""A voxel is covered if a sample lies within so many widths."""


def kernel_weights(
    position: np.ndarray,
    speed: np.ndarray,
    mask: np.ndarray,
    fresh: np.ndarray,
    grid: Grid,
    width: float | None,
) -> tuple[Any, np.ndarray]:
    """Rows k|v|/Σk|v|² of one image as CSR float32 (voxel, J·V), empty where not covered, and widths (voxel,) m.

    position: (J·V, 3) m. speed: (J·V,) m/s. mask: the samples to use. fresh: those that count for the gap, because
    they repeat no earlier period. width: in m, or None for half the local gap.
    """
    import scipy.sparse
    from scipy.spatial import cKDTree

    axes = [d for d in range(3) if grid.size[d] > 1] or [int(np.ptp(position, axis=0).argmax())]
    flat = [d for d in range(3) if d not in axes]
    thickness = np.maximum(np.array(grid.field_of_view) / 2, 1e-9)
    inside = (np.abs(position - grid.center) <= thickness * 1.2)[:, flat].all(1)
    used = np.flatnonzero(mask & inside)
    voxels = np.stack(np.meshgrid(*(grid.axis(dim) for dim in "zyx"), indexing="ij"), -1).reshape(-1, 3)
    voxels, points = voxels[:, ::-1][:, axes], position[used][:, axes]
    spacing = np.array(grid.spacing)[axes]
    if not len(used):
        raise ShapeError(
            f"no sample of a partition lies in the grid centred at {grid.center} m with a field of view of "
            f"{grid.field_of_view} m"
        )
    if width is None:
        gap = local_gap(voxels, points, fresh[used], spacing)
        widths = np.maximum(gap, spacing.min()) / 2
    else:
        widths = np.full(len(voxels), width)
    tree = cKDTree(points)
    reach = tree.query(voxels)[0] <= REACH * widths
    found = tree.query_ball_point(voxels[reach], CUTOFF * widths[reach], return_sorted=False)
    counts = np.zeros(len(voxels), np.int64)
    counts[reach] = [len(f) for f in found]
    columns = np.concatenate([np.asarray(f, np.int64) for f in found]) if len(found) else np.zeros(0, int)
    row = np.repeat(np.arange(len(voxels)), counts)
    squared = sum((voxels[row, a] - points[columns, a]) ** 2 for a in range(len(axes)))
    kernel = np.exp(-squared / (2 * widths[row] ** 2))
    fast = speed[used][columns]
    total = np.bincount(row, kernel * fast**2, len(voxels))
    matrix = scipy.sparse.csr_matrix(
        (
            (kernel * fast / total[row]).astype(np.float32),
            used[columns].astype(np.int32),
            np.append(0, np.cumsum(counts)).astype(np.int32),
        ),
        shape=(len(voxels), len(position)),
    )
    return matrix, np.where(reach, widths, np.nan)


def local_gap(voxels: np.ndarray, points: np.ndarray, fresh: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Distance between neighbouring lines or samples around every voxel in m, (voxel,).

    It is the largest of the line gap (area per path length), the sample gap (root of the area per sample) and half the
    step from sample to sample; in three dimensions volume and its roots, on a line the step alone. Path length and samples are counted in cells of two mean gaps and smoothed over three cells. Cells that reach
    beyond the scan look too empty: no gap counts as larger than that of 95 % of the samples.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates

    n_axes = points.shape[1]
    lengths = np.linalg.norm(np.diff(points, axis=0, prepend=points[:1]), axis=1)
    typical = np.median(lengths)
    lengths = np.where(lengths > 5 * typical, typical, lengths)  # a jump between the pieces of a partition
    points, lengths = points[fresh], lengths[fresh]
    low = points.min(0) - 1e-9
    extent = np.maximum(np.ptp(points, axis=0) + 2e-9, spacing)
    volume = float(np.prod(extent))

    def gap(volume: float, n_samples: Any, length: Any) -> Any:
        samples = (volume / np.maximum(n_samples, 1e-3)) ** (1 / n_axes)
        if n_axes == 1:
            return samples
        lines = (volume / np.maximum(length, 1e-3 * typical)) ** (1 / (n_axes - 1))
        step = length / np.maximum(n_samples, 1e-3)
        return np.maximum(np.maximum(lines, samples), step / 2)

    mean = gap(volume, len(points), lengths.sum())
    cells = np.maximum(1, np.floor(extent / (2 * mean))).astype(int)
    bounds = [(a, a + e) for a, e in zip(low, extent, strict=True)]
    counted = (np.histogramdd(points, cells, bounds, weights=w)[0] for w in (None, lengths))
    n_samples, length = (gaussian_filter(c, 1.0, mode="nearest", truncate=2.0) for c in counted)
    local = gap(volume / cells.prod(), n_samples, length)
    at = tuple(np.minimum(((points - low) / (extent / cells)).astype(int), cells - 1).T)
    place = (voxels - low) / (extent / cells) - 0.5
    values = np.minimum(local, np.quantile(local[at], 0.95))
    return map_coordinates(values, place.T, order=1, mode="nearest")
