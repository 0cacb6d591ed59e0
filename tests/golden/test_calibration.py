"""Row selection, system-matrix rows and SNR against MPIFiles.jl."""

import numpy as np
import pytest

from mpibridge.calibration import calculate_snr, select_rows, snr, system_matrix_rows
from mpibridge.mdf.reader import read
from mpibridge.preprocessing import Preprocessing
from tests.relative import relative_error

SELECTIONS = {
    "all": ("calibration.mdf", {}),
    "snr3": ("calibration.mdf", {"snr_threshold": 3}),
    "snr5_min80k": ("calibration.mdf", {"snr_threshold": 5, "min_frequency": 80e3}),
    "band": ("calibration.mdf", {"min_frequency": 60e3, "max_frequency": 500e3}),
    "channel2": ("calibration.mdf", {"snr_threshold": 2, "receivers": [1]}),
    "mixing": ("calibration.mdf", {"mixing_order": 12}),
    "step": ("calibration.mdf", {"step": 5, "min_frequency": 30e3}),
    "stop": ("calibration.mdf", {"stop_bands": [(100_000, 150_000)]}),
    "selected": ("calibration_selected.mdf", {"snr_threshold": 3, "min_frequency": 80e3}),
}
BASE = {"snr_threshold": 5, "min_frequency": 80e3}
MATRICES = {
    "plain": ("calibration.mdf", BASE),
    "bg": ("calibration.mdf", BASE | {"system_matrix_background": True}),
    "tf": ("calibration_tf.mdf", BASE),
    "tf_bg": ("calibration_tf.mdf", BASE | {"system_matrix_background": True}),
    "selected": (
        "calibration_selected.mdf",
        {"snr_threshold": 3, "min_frequency": 80e3, "system_matrix_background": True},
    ),
}


@pytest.mark.parametrize("entry", SELECTIONS)
def test_selection(entry, single_patch, expected):
    name, settings = SELECTIONS[entry]
    rows = select_rows(read(single_patch / name), Preprocessing(**settings))
    np.testing.assert_array_equal(rows.bins, expected(f"frequencies/{entry}/k"))
    np.testing.assert_array_equal(rows.receivers, expected(f"frequencies/{entry}/channel"))


@pytest.mark.parametrize("entry", MATRICES)
def test_system_matrix(entry, single_patch, expected):
    name, settings = MATRICES[entry]
    calibration, preprocessing = read(single_patch / name), Preprocessing(**settings)
    found = system_matrix_rows(calibration, select_rows(calibration, preprocessing), preprocessing)
    wanted = expected(f"system_matrix/{entry}")
    assert relative_error(found.values.reshape(wanted.shape), wanted) < 1e-6


def test_snr(single_patch, expected):
    calibration = read(single_patch / "calibration.mdf")
    np.testing.assert_array_equal(snr(calibration), expected("header/calibSNR"))
    assert relative_error(calculate_snr(calibration), expected("snr/recomputed")) < 1e-6


def test_version_1_calibration(more, expected_more):
    calibration = read(more / "v1_calibration.mdf")
    rows = select_rows(calibration, Preprocessing(snr_threshold=3, min_frequency=60e3))
    np.testing.assert_array_equal(rows.bins, expected_more("v1/k"))
    np.testing.assert_array_equal(rows.receivers, expected_more("v1/channel"))


@pytest.mark.parametrize(
    ("name", "entry"),
    [("written_calibration.mdf", "system_matrix"), ("written_sparse.mdf", "sparse_system_matrix")],
)
def test_calibration_written_by_mpifiles(name, entry, more, expected_more):
    calibration = read(more / name)
    rows = select_rows(calibration, Preprocessing(snr_threshold=5))
    np.testing.assert_array_equal(rows.bins, expected_more("written/k"))
    np.testing.assert_array_equal(rows.receivers, expected_more("written/channel"))
    wanted = expected_more(f"written/{entry}")
    assert relative_error(system_matrix_rows(calibration, rows).values.reshape(wanted.shape), wanted) < 1e-6
