"""Measurement spectra and signals against MPIFiles.jl (`getMeasurementsFD`, `getMeasurements`)."""

import numpy as np
import pytest

from mpibridge.mdf.header import Header
from mpibridge.mdf.reader import read
from mpibridge.preprocessing import Preprocessing
from mpibridge.signals import spectra, time_signals
from tests.relative import relative_error

SPECTRA = {
    "plain": ("measurement.mdf", {}),
    "bg": ("measurement.mdf", {"background": "mean"}),
    "bg_interpolated": ("measurement.mdf", {"background": "interpolate"}),
    "averages3": ("measurement.mdf", {"averages": 3}),
    "averages3_bg": ("measurement.mdf", {"averages": 3, "background": "mean"}),
    "averages4": ("measurement.mdf", {"averages": 4}),
    "grouping2": ("measurement.mdf", {}),  # the entry was made with numPeriodGrouping = 1
    "leakage": ("measurement.mdf", {"spectral_leakage": True}),
    "leakage_bg": ("measurement.mdf", {"spectral_leakage": True, "background": "mean"}),
    "frames": ("measurement.mdf", {"frames": [1, 4, 5]}),
    "tf": ("measurement_tf.mdf", {}),
    "tf_off": ("measurement_tf.mdf", {"transfer_function": False}),
    "tf_bg": ("measurement_tf.mdf", {"background": "mean"}),
    "fourier": ("measurement_fourier.mdf", {}),
    "fourier_bg": ("measurement_fourier.mdf", {"background": "mean"}),
}
SIGNALS = {
    "plain": ("measurement.mdf", {}),
    "bg": ("measurement.mdf", {"background": "mean"}),
    "tf": ("measurement_tf.mdf", {}),
}


@pytest.mark.parametrize("entry", SPECTRA)
def test_spectra(entry, single_patch, expected):
    name, settings = SPECTRA[entry]
    found = spectra(read(single_patch / name), Preprocessing(**settings))
    assert relative_error(found, expected(f"measurement_fd/{entry}")) < 1e-6


@pytest.mark.parametrize("entry", SIGNALS)
def test_time_signals(entry, single_patch, expected):
    name, settings = SIGNALS[entry]
    found = time_signals(read(single_patch / name), Preprocessing(**settings))
    assert relative_error(found, expected(f"measurement_td/{entry}")) < 1e-6


def test_header(single_patch, expected):
    header = Header(read(single_patch / "measurement.mdf").attrs)
    np.testing.assert_allclose(header.frequencies, expected("header/rxFrequencies"), rtol=1e-14)
    assert header.frame_period == pytest.approx(float(expected("header/acqFramePeriod")), rel=1e-12)
    np.testing.assert_array_equal(header.mixing_orders.T, expected("header/mixingFactors"))


def test_version_1_measurement(more, expected_more):
    assert (
        relative_error(spectra(read(more / "v1_measurement.mdf")), expected_more("v1/measurement_fd")) < 1e-6
    )


def test_measurement_written_by_mpifiles(more, expected_more):
    found = spectra(read(more / "written_measurement.mdf"))
    assert relative_error(found, expected_more("written/measurement_fd")) < 1e-6
