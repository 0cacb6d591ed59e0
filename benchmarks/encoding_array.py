"""The encoding array of Beihang University: three phantoms on 8 × 8 voxels, 40 rows (github.com/BUAALGH/ISBI-2026-MPI-Encoding-Array, MIT)."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import xarray as xr

from mpibridge import simulate
from mpibridge.model import GRID_DIMS, Grid
from mpibridge.operators import SystemMatrix
from mpibridge.plugin import SpectralProblem

PHANTOMS = ("b1", "b2", "b3")
GRID = Grid((8, 8, 1), (0.08, 0.08, 0.01))
KACZMARZ = {"iterations": 300, "regularization": 5e-4}
"""The sweeps and λ with which others showed these data."""

SCANNER = simulate.preset("openmpi-1d").scanner
MEASURED = {
    "/experiment/isSimulation": np.int8(0),
    "/scanner/name": "encoding array",
    "/scanner/facility": "Beihang University",
    "/tracer/name": np.array(["not stated"], object),
}
"""What replaces the header of a simulation."""


def folder(given: Path | None = None) -> Path | None:
    """Where S.mat, b1.mat, b2.mat and b3.mat are, if they are."""
    shared = Path(os.environ.get("MPIBRIDGE_SHARED", Path(__file__).parent.parent.parent / "shared"))
    place = given or shared / "data/real/encoding-array"
    return place if (place / "S.mat").exists() else None


def calibration(place: Path) -> xr.Dataset:
    """The system matrix as a calibration that `mpibridge.save` writes: its rows are bins 1 to 40 of one receiver.

    The data tell no sequence; what the header says of one is a placeholder.
    """
    matrix = problem(place).operator.matrix
    bins = np.arange(1, len(matrix) + 1)
    made = simulate.calibration(SCANNER, GRID, generator=np.random.default_rng(0), bins=bins)
    order = np.arange(GRID.n_voxels).reshape(GRID.shape)
    return (
        made.drop_vars(["background", "background_acquisition_index", "snr"])
        .assign(
            system_matrix=(made["system_matrix"].dims, matrix.reshape(made["system_matrix"].shape)),
            acquisition_index=(GRID_DIMS, order),
        )
        .assign_attrs({**MEASURED, "/acquisition/numFrames": np.int64(GRID.n_voxels)})
    )


def scan(place: Path) -> xr.Dataset:
    """The three phantoms as frames of a scan for `calibration`."""
    rows = problem(place).rows
    nothing = xr.DataArray(np.zeros(GRID.shape), GRID.coordinates(), GRID_DIMS, attrs=GRID.attributes())
    made = simulate.scan(
        nothing, SCANNER, generator=np.random.default_rng(0), n_frames=len(rows), n_background=0, averages=1
    )
    n = made.sizes["sample"]
    spectrum = np.zeros((len(rows), n // 2 + 1), complex)
    spectrum[:, 1 : rows.shape[1] + 1] = rows
    volts = np.fft.irfft(spectrum, n).astype(np.float32)
    made["signal"] = xr.Variable(made["signal"].dims, volts.reshape(made["signal"].shape))
    made.attrs = {k: v for k, v in made.attrs.items() if not k.endswith("dataConversionFactor")} | MEASURED
    return made


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
