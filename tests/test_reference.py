"""Agreement with MPIReco.jl on the small files that travel with the project (the full set: golden/)."""

from pathlib import Path

import numpy as np

import mpibridge as mb
from mpibridge.calibration import select_rows
from mpibridge.signals import spectra
from tests.relative import relative_error

DATA = Path(__file__).parent / "data"
EXPECTED = np.load(DATA / "expected.npz")


def test_image():
    image = mb.reconstruct(
        DATA / "measurement.mdf",
        system_matrix=DATA / "calibration.mdf",
        preprocessing=mb.Preprocessing(snr_threshold=3, min_frequency=60e3),
        iterations=5,
        regularization=0.01,
    )
    assert relative_error(image.concentration, EXPECTED["image"]) < 1e-5


def test_spectra():
    assert relative_error(spectra(mb.open(DATA / "measurement.mdf"))[..., ::8], EXPECTED["spectra"]) < 1e-6


def test_selection():
    rows = select_rows(mb.open(DATA / "calibration.mdf"), mb.Preprocessing(snr_threshold=5))
    np.testing.assert_array_equal(rows.bins, EXPECTED["bins"])
    np.testing.assert_array_equal(rows.receivers, EXPECTED["receivers"])
