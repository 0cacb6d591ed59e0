"""Small linear problems, and denoisers that are known in closed form."""

import numpy as np
import torch

from mpibridge.model import Grid
from mpibridge.operators import SystemMatrix
from mpibridge.plugin import SpectralProblem
from mpibridge_plugins.linear import Model, model_of, row_weights
from mpibridge_plugins.score.plugin import Score, ScoreSettings


def problem(
    shape=(1, 9, 8), n_rows=30, n_frames=3, *, sigma=0.1, noise="known", seed=0, scale=1.0, rank=None
) -> SpectralProblem:
    """Images of smooth blobs through a random matrix, torch tensors. noise: known, None or zero."""
    rng = np.random.default_rng(seed)
    n = int(np.prod(shape))
    matrix = rng.standard_normal((n_rows, n)) + 1j * rng.standard_normal((n_rows, n))
    if rank is not None:
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        matrix = (left * (values * (np.arange(len(values)) < rank))) @ right
    images = scale * np.clip(rng.standard_normal((n_frames, n)), 0, None)
    rows = images @ matrix.T
    rows += scale * sigma * (rng.standard_normal(rows.shape) + 1j * rng.standard_normal(rows.shape)) / 2**0.5
    grid = Grid(shape[::-1], tuple(1e-3 * n for n in shape[::-1]))
    deviation = {"known": np.full(n_rows, scale * sigma), "zero": np.zeros(n_rows), None: None}[noise]
    return SpectralProblem(
        grid=grid,
        rows=torch.from_numpy(rows.astype(np.complex64)),
        operator=SystemMatrix(grid=grid, matrix=torch.from_numpy(matrix.astype(np.complex64))),
        noise=None if deviation is None else torch.from_numpy(deviation),
    )


def modelled(given: SpectralProblem) -> Model:
    return model_of(given.operator.matrix, row_weights(given))


def untrained(seed=0, **settings) -> Score:
    """The plugin with a small network of random weights (none of which is zero)."""
    few = {} if settings.get("guidance") == "regression" else {"steps": 3, "samples": 2}
    method = Score(ScoreSettings(**{"width": 8, **few, **settings}))
    torch.manual_seed(seed)
    method.network = method.build_network(problem()).eval()
    for parameter in method.network.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    return method
