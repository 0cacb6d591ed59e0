"""The encoding array of Beihang University: three phantoms on 8 × 8 voxels, 40 rows (github.com/BUAALGH/ISBI-2026-MPI-Encoding-Array, MIT)."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np

from mpibridge.model import Grid
from mpibridge.operators import SystemMatrix
from mpibridge.plugin import SpectralProblem

PHANTOMS = ("b1", "b2", "b3")
GRID = Grid((8, 8, 1), (0.08, 0.08, 0.01))
KACZMARZ = {"iterations": 300, "regularization": 5e-4}
"""The sweeps and λ with which others showed these data."""


def folder(given: Path | None = None) -> Path | None:
    """Where S.mat, b1.mat, b2.mat and b3.mat are, if they are."""
    shared = Path(os.environ.get("MPIBRIDGE_SHARED", Path(__file__).parent.parent.parent / "shared"))
    place = given or shared / "data/real/encoding-array"
    return place if (place / "S.mat").exists() else None


def problem(place: Path) -> SpectralProblem:
    """The three phantoms as frames; nothing is known of the noise."""

    def stored(name: str) -> np.ndarray:
        with h5py.File(place / f"{name}.mat") as file:
            values = file[name][...]
        return (values["real"] + 1j * values["imag"]).astype(np.complex64)

    # y runs fastest
    matrix = stored("S").T.reshape(-1, *GRID.shape).swapaxes(2, 3).reshape(-1, GRID.n_voxels)
    rows = np.stack([stored(name).ravel() for name in PHANTOMS])
    return SpectralProblem(grid=GRID, rows=rows, operator=SystemMatrix(matrix, GRID))
