"""The linear operator of a scanner on a grid: what every voxel induces, and images through it."""

from __future__ import annotations

from typing import Any

import numpy as np

from mpibridge.errors import ShapeError
from mpibridge.model import GRID_DIMS, Grid
from mpibridge.plugin import Report
from mpibridge.progress import silent
from mpibridge.simulate.scanner import CHUNK_BYTES, Scanner

DELTA_POINTS = 3
"""A delta sample fills its voxel; it is sampled at this many points per axis."""


def delta_samples(grid: Grid, points: int = DELTA_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Points (voxel, point, 3) m of a sample that fills one voxel after another, and their volumes (voxel, point) m³.

    ``points`` equidistant ones per axis; an axis of one voxel gets one, in the middle of the voxel, as a plane or a line
    of voxels stands for a thin phantom. Voxels in C order (z, y, x).
    """
    inside = (np.arange(points) + 0.5) / points - 0.5
    axes = []
    for dim in GRID_DIMS:
        i = "xyz".index(dim)
        within = inside if grid.size[i] > 1 else np.zeros(1)
        axes.append(grid.axis(dim)[:, None] + within * grid.spacing[i])
    z, y, x = axes
    shape = (len(z), len(y), len(x), z.shape[1], y.shape[1], x.shape[1])
    samples = np.stack(
        [
            np.broadcast_to(x[None, None, :, None, None, :], shape),
            np.broadcast_to(y[None, :, None, None, :, None], shape),
            np.broadcast_to(z[:, None, None, :, None, None], shape),
        ],
        axis=-1,
    ).reshape(grid.n_voxels, -1, 3)
    return samples, np.full(samples.shape[:2], np.prod(grid.spacing) / samples.shape[1])


def response(
    scanner: Scanner,
    grid: Grid,
    *,
    bins: np.ndarray | tuple[int, ...] | None = None,
    points: int = DELTA_POINTS,
    report: Report = silent,
    chunk_bytes: int = CHUNK_BYTES,
    workers: int = 1,
) -> np.ndarray:
    """What a sample of concentration 1 in every voxel induces: the operator that every linear simulation goes through.

    Returns (voxel, J · C · V) float32 V, or with ``bins`` (voxel, J · C · bin) complex64, the spectra of `Scanner.spectra`;
    reshape the last axis to (J, C, …). It is the voltage to the rounding of float32. The result apart, about
    ``chunk_bytes`` are needed per worker. points: as in `delta_samples`. report: called with the voxels done.
    """
    n_last = scanner.sequence.n_samples if bins is None else len(bins)
    shape = (scanner.sequence.n_periods, scanner.n_receivers, n_last)
    operator = np.empty((grid.n_voxels, *shape), np.float32 if bins is None else np.complex64)
    samples, volumes = delta_samples(grid, points)
    samples_per_voxel = scanner.sequence.n_periods * scanner.sequence.n_samples * scanner.steps
    each = 8 * samples_per_voxel * (3 + 3 * scanner.n_receivers)
    step = max(workers, int(workers * chunk_bytes // each))
    report(0, grid.n_voxels, "voxels")
    for first in range(0, grid.n_voxels, step):
        part = slice(first, first + step)
        memory: dict[str, Any] = {"chunk_bytes": chunk_bytes, "workers": workers}
        if bins is None:
            operator[part] = scanner.voltage(samples[part], volumes[part], **memory)
        else:
            operator[part] = scanner.spectra(samples[part], volumes[part], bins, **memory)
        report(min(first + step, grid.n_voxels), grid.n_voxels, "voxels")
    return operator.reshape(grid.n_voxels, -1)


def waveforms(operator: Any, images: Any) -> Any:
    """Signals of images through a response, (image, J · C · V) V, or their bins.

    operator: (voxel, …) of `response`, a NumPy array or a torch tensor. images: (image, z, y, x) or (image, voxel),
    concentration of the same kind and dtype. ShapeError if the voxels do not agree. One matrix product: singular
    vectors would not save work, since the operator of ``mnist-2d`` has rank 1356 of 1600 at 1e-6.
    """
    flat = images.reshape(images.shape[0], -1)
    if flat.shape[1] != operator.shape[0]:
        raise ShapeError(
            f"images {tuple(images.shape)} have {flat.shape[1]} voxels, the response {operator.shape[0]}"
        )
    return flat @ operator
