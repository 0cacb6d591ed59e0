"""Rows of a system matrix: selection, background, SNR; agreement with MPIFiles.jl is tested in golden/."""

import numpy as np
import pytest

from mpibridge.calibration import (
    Rows,
    background_deviation,
    calculate_snr,
    select_rows,
    snr,
    system_matrix_rows,
)
from mpibridge.errors import MDFError, MPIBridgeWarning, SettingsError
from mpibridge.mdf.storage import StoredArray
from mpibridge.model import Grid
from mpibridge.preprocessing import Preprocessing
from tests import recordings
from tests.recordings import random_complex

GRID = Grid((4, 3, 2), (0.04, 0.03, 0.02), (0.001, 0.0, -0.002))
N_BINS = recordings.N_SAMPLES // 2 + 1


def matrix(seed: int = 0, n_periods: int = 1) -> np.ndarray:
    return random_complex(np.random.default_rng(seed), n_periods, 2, N_BINS, *GRID.shape)


def test_rows_of_several_periods():
    data = matrix(n_periods=2)
    rows = Rows(np.array([5, 2, 9]), np.array([0, 1, 1]))
    found = system_matrix_rows(recordings.calibration(data, GRID), rows)
    np.testing.assert_array_equal(found, data[:, rows.receivers, rows.bins].reshape(6, *GRID.shape))
    np.testing.assert_array_equal(found.period, [0, 0, 0, 1, 1, 1])
    np.testing.assert_allclose(found.x, GRID.axis("x"))


def test_interpolated_background_removes_a_linear_drift():
    """Every voxel and background frame carries a drift linear in its place in the acquisition."""
    generator = np.random.default_rng(3)
    data, drift = matrix(1), random_complex(generator, 1, 2, N_BINS)
    n_frames = GRID.n_voxels + 3
    background_order = np.array([0, (n_frames - 1) // 2, n_frames - 1])
    order = np.setdiff1d(np.arange(n_frames), background_order)
    order = generator.permutation(order).reshape(GRID.shape)
    calibration = recordings.calibration(
        data + drift[..., None, None, None] * order,
        GRID,
        background=drift[..., None] * background_order,
        order=order,
        background_order=background_order,
    )
    rows = select_rows(calibration)
    found = system_matrix_rows(calibration, rows, Preprocessing(system_matrix_background=True))
    np.testing.assert_allclose(found, data[0, rows.receivers, rows.bins], atol=1e-4)


def test_background_frames_in_a_row_count_as_one():
    data = matrix(2)
    background = random_complex(np.random.default_rng(4), 1, 2, N_BINS, 2)
    order = 2 + np.arange(GRID.n_voxels).reshape(GRID.shape)
    calibration = recordings.calibration(
        data, GRID, background=background, order=order, background_order=np.array([0, 1])
    )
    found = system_matrix_rows(
        calibration, select_rows(calibration), Preprocessing(system_matrix_background=True)
    )
    wanted = data - background.mean(-1)[..., None, None, None]
    np.testing.assert_allclose(found, wanted.reshape(found.shape), atol=1e-5)


def test_snr_of_a_known_signal():
    """One voxel row lights up with 100 σ: the SNR is that signal over the mean deviation of the background."""
    generator = np.random.default_rng(5)
    data = 0.001 * matrix(6)
    data[..., 1, 1, :] += 100
    background = random_complex(generator, 1, 2, N_BINS, 50)
    found = calculate_snr(recordings.calibration(data, GRID, background=background))
    deviation = np.abs(background - background.mean(-1, keepdims=True)).mean(-1)
    np.testing.assert_allclose(
        found, np.median(np.abs(100 - background.mean(-1)) / deviation, axis=0)[None], rtol=1e-2
    )


def test_snr_is_computed_with_a_warning_if_the_file_has_none():
    background = random_complex(np.random.default_rng(7), 1, 2, N_BINS, 4)
    calibration = recordings.calibration(matrix(), GRID, background=background)
    with pytest.warns(MPIBridgeWarning, match="stores no SNR"):
        found = snr(calibration)
    np.testing.assert_array_equal(found, calculate_snr(calibration))
    with (
        pytest.warns(MPIBridgeWarning, match="stores no SNR"),
        pytest.raises(MDFError, match="snr_threshold=None"),
    ):
        snr(recordings.calibration(matrix(), GRID))


def test_selection_that_leaves_nothing_says_why():
    table = np.ones((1, 2, N_BINS))
    calibration = recordings.calibration(matrix(), GRID, snr=table)
    with pytest.raises(SettingsError, match=r"25 of 25 bins .* SNR of 3 \(highest 1\)"):
        select_rows(calibration, Preprocessing(snr_threshold=3))
    with pytest.raises(SettingsError, match="0 of 25 bins"):
        select_rows(calibration, Preprocessing(min_frequency=2e6))
    with pytest.raises(SettingsError, match="receiver 2 is asked for, the calibration has 2"):
        select_rows(calibration, Preprocessing(receivers=[2]))


def test_nan_is_refused():
    data = matrix()
    data[0, 1, 4, 0, 0, 0] = np.nan
    calibration = recordings.calibration(data, GRID)
    with pytest.raises(MDFError, match="NaN or infinite values in receiver 1"):
        system_matrix_rows(calibration, select_rows(calibration))
    kept = system_matrix_rows(calibration, select_rows(calibration, Preprocessing(receivers=[0])))
    np.testing.assert_array_equal(kept, data[0, 0])


def test_only_the_selected_rows_are_read(tmp_path, monkeypatch):
    from mpibridge.files import open as open_mdf
    from mpibridge.files import save

    save(tmp_path / "sm.mdf", recordings.calibration(matrix(), GRID))
    calibration = open_mdf(tmp_path / "sm.mdf")
    read = []
    original = StoredArray.read

    def counting(self, index):
        values = original(self, index)
        read.append(values.size)
        return values

    monkeypatch.setattr(StoredArray, "read", counting)
    rows = Rows(np.array([3, 20]), np.array([1, 1]))
    found = system_matrix_rows(calibration, rows)
    assert sum(read) == found.size


def test_a_part_of_a_calibration_is_a_calibration():
    data = matrix(8)
    calibration = recordings.calibration(data, GRID)
    part = calibration.isel(x=slice(1, 3), y=slice(0, 2))
    found = system_matrix_rows(part, select_rows(part))
    np.testing.assert_array_equal(found, data[0, ..., 0:2, 1:3].reshape(found.shape))
    np.testing.assert_allclose(found.x, GRID.axis("x")[1:3])
    with pytest.raises(MDFError, match=r"receivers \[1\] of 2"):
        system_matrix_rows(
            calibration.assign_coords(receiver=[0, 1]).isel(receiver=[1]), Rows(np.array([1]), np.array([0]))
        )


def test_bins_without_transfer_function_become_zero():
    data = matrix(9)
    transfer = np.full((2, N_BINS), 2.0 + 0j)
    transfer[:, 0] = 0
    calibration = recordings.calibration(data, GRID).assign(
        transfer_function=(("receiver", "frequency"), transfer)
    )
    found = system_matrix_rows(calibration, select_rows(calibration)).values.reshape(2, N_BINS, *GRID.shape)
    assert not found[:, 0].any()
    np.testing.assert_allclose(found[:, 1:], data[0, :, 1:] / 2)


def test_deviation_is_that_of_corrected_rows():
    """MPIReco.jl whitens with background frames that are divided by transfer function and induction factor."""
    generator = np.random.default_rng(4)
    background = random_complex(generator, 1, 2, N_BINS, 6)
    transfer, induction = random_complex(generator, 2, N_BINS), np.array([2.0, 0.5])
    made = recordings.calibration(matrix(), GRID, background=background).assign(
        transfer_function=(("receiver", "frequency"), transfer)
    )
    made.attrs["/acquisition/receiver/inductionFactor"] = induction
    rows = Rows(np.array([5, 2, 9]), np.array([0, 1, 1]))
    corrected = background / transfer[None, ..., None] / induction[None, :, None, None]
    expected = corrected[0, rows.receivers, rows.bins].std(-1, ddof=1)
    np.testing.assert_allclose(background_deviation(made, rows), expected, rtol=1e-5)
    plain = background_deviation(made, rows, Preprocessing(transfer_function=False))
    np.testing.assert_allclose(plain, background[0, rows.receivers, rows.bins].std(-1, ddof=1), rtol=1e-5)
