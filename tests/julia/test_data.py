"""What MPIFiles.jl computes, asked through the door, is what it computed when it was asked directly."""

import numpy as np
import pytest

import mpibridge as mb
from mpibridge.julia_files import JuliaFile
from mpibridge.mdf.header import Header
from mpibridge.preprocessing import Preprocessing
from tests.golden.test_calibration import MATRICES, SELECTIONS
from tests.golden.test_signals import SIGNALS, SPECTRA
from tests.julia.conftest import is_fake
from tests.relative import relative_error

pytestmark = pytest.mark.julia
SAME = 1e-6


@pytest.mark.parametrize("entry", SPECTRA)
def test_spectra(entry, single_patch, expected):
    name, settings = SPECTRA[entry]
    options = {"numPeriodGrouping": 1} if entry == "grouping2" and not is_fake() else {}
    with JuliaFile(single_patch / name) as file:
        found = file.spectra(Preprocessing(**settings), **options)
    assert found.dtype == np.complex64
    assert relative_error(found, expected(f"measurement_fd/{entry}")) < SAME


@pytest.mark.parametrize("entry", SIGNALS)
def test_signals(entry, single_patch, expected):
    name, settings = SIGNALS[entry]
    with JuliaFile(single_patch / name) as file:
        found = file.signals(Preprocessing(**settings))
    assert found.dtype == np.float32
    assert relative_error(found, expected(f"measurement_td/{entry}")) < SAME


@pytest.mark.usefixtures("real_julia")
def test_options_have_the_names_of_mpifiles(single_patch, expected):
    """Amplitudes are 2/V of the transform, those of the first and the last bin 1/V; an option wins over a setting."""
    with JuliaFile(single_patch / "measurement.mdf") as file:
        n_samples = file.header()["/acquisition/receiver/numSamplingPoints"]
        found = file.spectra(Preprocessing(averages=4), numAverages=3, amplitudeScaling=True)
    scale = np.full(found.shape[-1], 2 / n_samples)
    scale[[0, -1]] /= 2
    assert relative_error(found, expected("measurement_fd/averages3") * scale) < SAME


@pytest.mark.parametrize("entry", SELECTIONS)
def test_selection(entry, single_patch, expected):
    name, settings = SELECTIONS[entry]
    with JuliaFile(single_patch / name) as file:
        rows = file.select_rows(Preprocessing(**settings))
    np.testing.assert_array_equal(rows.bins, expected(f"frequencies/{entry}/k"))
    np.testing.assert_array_equal(rows.receivers, expected(f"frequencies/{entry}/channel"))


@pytest.mark.parametrize("entry", MATRICES)
def test_system_matrix(entry, single_patch, expected):
    name, settings = MATRICES[entry]
    preprocessing = Preprocessing(**settings)
    with JuliaFile(single_patch / name) as file:
        rows = file.select_rows(preprocessing)
        found = file.system_matrix_rows(rows, background=preprocessing.system_matrix_background)
    assert found.dtype == np.complex64
    assert relative_error(found, expected(f"system_matrix/{entry}")) < SAME


def test_snr(single_patch, expected):
    with JuliaFile(single_patch / "calibration.mdf") as file:
        assert relative_error(file.snr(), expected("snr/recomputed")) < SAME
    stored = mb.open(single_patch / "calibration.mdf", engine="julia")["snr"]
    np.testing.assert_array_equal(stored, expected("header/calibSNR"))


def test_header(single_patch, expected):
    header = Header(mb.open(single_patch / "measurement.mdf", engine="julia").attrs)
    np.testing.assert_allclose(header.frequencies, expected("header/rxFrequencies"), rtol=1e-14)
    assert header.frame_period == pytest.approx(float(expected("header/acqFramePeriod")), rel=1e-12)
    np.testing.assert_array_equal(header.mixing_orders.T, expected("header/mixingFactors"))


def test_version_1(more, expected_more):
    """MPIFiles.jl 0.19.2 reads 1.0.5 measurements, but of a calibration only what surrounds its system matrix."""
    with JuliaFile(more / "v1_measurement.mdf") as file:
        assert relative_error(file.spectra(), expected_more("v1/measurement_fd")) < SAME
    with JuliaFile(more / "v1_calibration.mdf") as file:
        rows = file.select_rows(Preprocessing(snr_threshold=3, min_frequency=60e3))
    np.testing.assert_array_equal(rows.bins, expected_more("v1/k"))
    np.testing.assert_array_equal(rows.receivers, expected_more("v1/channel"))


@pytest.mark.parametrize(
    ("name", "entry"),
    [("written_calibration.mdf", "system_matrix"), ("written_sparse.mdf", "sparse_system_matrix")],
)
def test_calibration_written_by_mpifiles(name, entry, more, expected_more):
    with JuliaFile(more / name) as file:
        rows = file.select_rows(Preprocessing(snr_threshold=5))
        found = file.system_matrix_rows(rows)
    np.testing.assert_array_equal(rows.bins, expected_more("written/k"))
    np.testing.assert_array_equal(rows.receivers, expected_more("written/channel"))
    assert relative_error(found, expected_more(f"written/{entry}")) < SAME


def test_measurement_written_by_mpifiles(more, expected_more):
    with JuliaFile(more / "written_measurement.mdf") as file:
        assert relative_error(file.spectra(), expected_more("written/measurement_fd")) < SAME
