"""Measured data of others: a genuine MDF 2.0 file, an encoding-array scanner, a head scanner's robot calibration."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

import mpibridge as mb
from mpibridge.mdf.header import Header
from tests.relative import relative_error


def header(
    *, n_samples: int, bandwidth: float, n_receivers: int, cycle: float, divider: int, base: float
) -> dict:
    """The least a header must say for a reconstruction, one drive-field channel."""
    drive, receive = "/acquisition/drivefield", "/acquisition/receiver"
    return {
        f"{receive}/numSamplingPoints": n_samples,
        f"{receive}/bandwidth": bandwidth,
        f"{receive}/numChannels": n_receivers,
        f"{receive}/unit": "V",
        f"{drive}/baseFrequency": base,
        f"{drive}/cycle": cycle,
        f"{drive}/numChannels": 1,
        f"{drive}/divider": np.array([[divider]]),
        f"{drive}/strength": np.full((1, 1, 1), 0.005),
        f"{drive}/phase": np.zeros((1, 1, 1)),
        f"{drive}/waveform": np.array([["sine"]], object),
        "/acquisition/numAverages": 1,
        "/experiment/isSimulation": np.int8(0),
    }


def calibration(
    matrix: np.ndarray, said: dict, grid: mb.Grid, background: np.ndarray | None = None
) -> xr.Dataset:
    """matrix: (receiver, frequency, voxel); background: (receiver, frequency, frame)."""
    n_bins = matrix.shape[1]
    step = 2 * said["/acquisition/receiver/bandwidth"] / said["/acquisition/receiver/numSamplingPoints"]
    n_voxels = grid.n_voxels
    n_before = 0 if background is None else background.shape[2]
    variables = {
        "system_matrix": (
            ("period", "receiver", "frequency", "z", "y", "x"),
            matrix.reshape(1, *matrix.shape[:2], *grid.shape).astype(np.complex64),
        )
    }
    coordinates = {
        **grid.coordinates(),
        "frequency": ("frequency", step * np.arange(n_bins), {"units": "Hz"}),
        "bin": ("frequency", np.arange(n_bins)),
        "acquisition_index": (("z", "y", "x"), n_before + np.arange(n_voxels).reshape(grid.shape)),
    }
    if background is not None:
        variables["background"] = (
            ("period", "receiver", "frequency", "background_frame"),
            background[None].astype(np.complex64),
        )
        coordinates["background_acquisition_index"] = ("background_frame", np.arange(n_before))
    extra = {
        "/calibration/size": np.array(grid.size),
        "/calibration/fieldOfView": np.array(grid.field_of_view),
        "/calibration/fieldOfViewCenter": np.array(grid.center),
        "/calibration/method": "robot",
        "kind": "calibration",
    }
    return xr.Dataset(variables, coordinates, said | extra)


def test_genuine_version_2_file(shared: Path):
    scan = mb.open(shared / "data/real/head-scanner/robot_calibration_v2.0.mdf")
    assert scan.attrs["kind"] == "calibration"
    assert scan.system_matrix.sizes == {"period": 1, "receiver": 1, "frequency": 77, "z": 1, "y": 1, "x": 9}
    said = Header(scan.attrs)
    assert said.n_periods == 1  # numPeriods in this file
    np.testing.assert_allclose(said.drive_frequencies, 125e6 / 4864)
    np.testing.assert_allclose(scan.x, 0.156 + 0.01 * np.arange(-4, 5), atol=1e-12)
    # Samples are converted to volts before the transform: bin 0 is the sum over a period.
    with h5py.File(said.source) as file:
        slope, offset = file["acquisition/receiver/dataConversionFactor"][0]
        volts = file["measurement/data"][:, 0, 0] * slope + offset
    assert relative_error(scan.system_matrix.values.ravel().reshape(77, 9), np.fft.rfft(volts).T) < 1e-6


@pytest.mark.parametrize(
    ("entry", "regularization", "iterations", "tolerance"),
    [("1", 1e-2, 10, 1e-5), ("2", 5e-4, 300, 2e-5), ("3", 0.0, 3, 1e-5)],
)
def test_encoding_array(entry, regularization, iterations, tolerance, shared, tmp_path):
    """A measured 8 × 8 system matrix and three phantoms, through MDF files of our writer, against MPIReco.jl."""
    folder = shared / "data/real/encoding-array"

    def stored(name: str) -> np.ndarray:
        with h5py.File(folder / f"{name}.mat") as file:
            values = file[name][...]
        return values["real"] + 1j * values["imag"]

    matrix = stored("S").T  # (row, voxel)
    phantoms = np.stack([stored(name).ravel() for name in ("b1", "b2", "b3")])
    n_rows = len(matrix)
    said = header(n_samples=2 * n_rows - 1, bandwidth=1e6, n_receivers=1, cycle=1e-4, divider=100, base=1e6)
    grid = mb.Grid((8, 8, 1), (0.08, 0.08, 0.01))
    mb.save(tmp_path / "calibration.mdf", calibration(matrix[None], said, grid))
    scan = xr.Dataset(
        {
            "spectrum": (
                ("frame", "period", "receiver", "frequency"),
                phantoms[:, None, None].astype(np.complex64),
            )
        },
        {"bin": ("frequency", np.arange(n_rows))},
        said | {"kind": "measurement"},
    )
    mb.save(tmp_path / "scan.mdf", scan)
    image = mb.reconstruct(
        tmp_path / "scan.mdf",
        system_matrix=tmp_path / "calibration.mdf",
        regularization=regularization,
        iterations=iterations,
    )
    with h5py.File(shared / "golden/more/expected.h5") as file:
        wanted = file[f"encoding_array/{entry}"][...]
    assert relative_error(image.concentration.values.reshape(wanted.shape), wanted) < tolerance


def test_head_scanner_finds_the_deltas(shared, tmp_path):
    """Line 2 of a robot calibration (9 positions and a background frame) localises the delta sample of line 1."""
    with h5py.File(shared / "data/real/head-scanner/systemMatrixNew.h5") as file:
        lines = file["matrix"][...].reshape(3, 10, 152)
    first, second = lines[0], lines[1]
    said = header(
        n_samples=152, bandwidth=1953125.0, n_receivers=1, cycle=3.8912e-5, divider=4864, base=125e6
    )
    grid = mb.Grid((9, 1, 1), (0.09, 0.01, 0.01), (0.156, -0.0112, 0.0))
    spectra = np.fft.rfft(second).T[None]
    mb.save(tmp_path / "line2.mdf", calibration(spectra[..., 1:], said, grid, spectra[..., :1]))
    scan = xr.Dataset(
        {"signal": (("frame", "period", "receiver", "sample"), first[:, None, None])},
        {"is_background": ("frame", np.arange(10) == 0)},
        said | {"kind": "measurement"},
    )
    mb.save(tmp_path / "line1.mdf", scan)
    image = mb.reconstruct(
        tmp_path / "line1.mdf",
        system_matrix=tmp_path / "line2.mdf",
        preprocessing=mb.Preprocessing(background="mean", system_matrix_background=True, min_frequency=60e3),
        iterations=30,
        regularization=1e-2,
    )
    brightest = image.concentration.values.reshape(9, 9).argmax(1)
    assert (brightest == np.arange(9)).sum() >= 8, brightest
