"""How well an image explains the data it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mpibridge.errors import ShapeError
from mpibridge.metrics.alignment import Image, labelled, misalignment

if TYPE_CHECKING:
    from mpibridge.model import Grid
    from mpibridge.plugin import SpectralProblem


def data_residual(image: Image, problem: SpectralProblem, *, grid: Grid | None = None) -> np.ndarray:
    """‖S c − u‖₂ / ‖u‖₂ of every frame, (frame,): 0 explains the data wholly, 1 is as good as an empty image.

    image: (frame, z, y, x), with ``contrast`` first for several. problem: rows u (frame, row) and system matrix S of the
    same rows, as `mpibridge.problems.spectral_problem` makes them, weights included. grid: where the voxels of the problem
    lie in the scanner; None takes ``problem.grid``. A residual below that of the noise is overfitting, not quality.
    ShapeError if the image lies on another grid, the numbers of frames differ, or a frame has no data but zeros.
    """
    import xarray as xr

    array = labelled(image)
    values = np.asarray(image if array is None else array.values)
    if values.ndim == 3:
        values = values[None]
    if array is not None:
        grid = problem.grid if grid is None else grid
        places = xr.DataArray(np.empty(grid.shape), grid.coordinates(), ("z", "y", "x"))
        found = array.isel({dim: 0 for dim in ("contrast", "frame") if dim in array.dims}, drop=True)
        if reason := misalignment(found, places):
            raise ShapeError(f"the data are those of another grid: {reason}")
    if values.ndim == 5 and problem.operator.n_contrasts == 1 and len(values) == 1:
        values = values[0]
    n_frames = len(problem.rows)
    if values.ndim not in (4, 5) or values.shape[-4] != n_frames:
        raise ShapeError(
            f"the image is {values.shape}, the data have {n_frames} frames; pass the preprocessing "
            "(averages, frames) that the image was made with"
        )
    data = np.asarray(problem.rows)
    explained = problem.operator.forward(values.astype(np.complex64))
    norms = np.linalg.norm(data, axis=1)
    if not norms.all():
        raise ShapeError(
            f"frame {int(np.argmin(norms))} of the data is 0: a relative residual does not exist"
        )
    return np.linalg.norm(explained - data, axis=1) / norms
