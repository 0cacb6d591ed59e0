"""Laws of the signal chain that hold for any scan; agreement with MPIFiles.jl is tested in golden/."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpibridge.errors import MDFError, MismatchError, MPIBridgeWarning, SettingsError
from mpibridge.preprocessing import Preprocessing
from mpibridge.signals import measurement_rows, spectra, time_signals
from tests import recordings
from tests.recordings import N_SAMPLES


def signals(seed: int, n_frames: int = 5, n_periods: int = 1, n_receivers: int = 2) -> np.ndarray:
    shape = (n_frames, n_periods, n_receivers, N_SAMPLES)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_spectra_are_the_unnormalised_one_sided_transform():
    data = signals(0)
    found = spectra(recordings.scan(data))
    np.testing.assert_allclose(found, np.fft.rfft(data), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.frequency, np.fft.rfftfreq(N_SAMPLES, 1 / (2 * recordings.BANDWIDTH)))
    np.testing.assert_allclose(time_signals(recordings.scan(data)), data, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), averages=st.integers(1, 4), leakage=st.booleans(), factor=st.floats(-3, 3))
def test_spectra_are_linear(seed, averages, leakage, factor):
    chain = Preprocessing(averages=averages, spectral_leakage=leakage)
    a, b = signals(seed), signals(seed + 1)
    found = spectra(recordings.scan(a + np.float32(factor) * b), chain)
    wanted = spectra(recordings.scan(a), chain) + factor * spectra(recordings.scan(b), chain)
    np.testing.assert_allclose(found, wanted, atol=2e-4)


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(5)))
def test_permuting_frames_permutes_spectra(order):
    data = signals(3)
    found = spectra(recordings.scan(data[list(order)]), Preprocessing(background=None))
    np.testing.assert_array_equal(found, spectra(recordings.scan(data)).values[list(order)])
    chosen = spectra(recordings.scan(data), Preprocessing(frames=order))
    np.testing.assert_array_equal(chosen, found)


def test_the_last_block_of_averages_may_be_shorter():
    data = signals(4, n_frames=5)
    found = time_signals(recordings.scan(data), Preprocessing(averages=2))
    wanted = np.stack([data[:2].mean(0), data[2:4].mean(0), data[4]])
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_period_averages_are_means_of_neighbours():
    data = signals(5, n_periods=6)
    found = time_signals(recordings.scan(data), Preprocessing(period_averages=3))
    np.testing.assert_allclose(found, data.reshape(5, 2, 3, 2, -1).mean(2), atol=1e-5)
    with pytest.raises(SettingsError, match="4 does not divide the 6"):
        spectra(recordings.scan(data), Preprocessing(period_averages=4))


def test_interpolated_background_removes_a_linear_drift():
    """Background frames at both ends and in the middle; the drift is linear in the stored position."""
    data = signals(6, n_frames=9)
    mask = np.zeros(9, bool)
    mask[[0, 4, 8]] = True
    data[mask] = 0
    drift = signals(7, n_frames=1)
    drifting = data + drift * np.arange(9, dtype=np.float32)[:, None, None, None]
    found = time_signals(recordings.scan(drifting, mask), Preprocessing(background="interpolate"))
    np.testing.assert_allclose(found, data[~mask], atol=1e-4)


def test_an_empty_scan_is_a_background():
    data, empty = signals(8), signals(9, n_frames=3)
    found = time_signals(
        recordings.scan(data + empty.mean(0)), Preprocessing(background=recordings.scan(empty))
    )
    np.testing.assert_allclose(found, data, atol=1e-5)
    with pytest.raises(MismatchError, match="same sequence"):
        spectra(recordings.scan(data), Preprocessing(background=recordings.scan(signals(1, n_receivers=1))))


def test_slope_and_offset_of_every_receiver():
    raw = np.random.default_rng(1).integers(-100, 100, (2, 1, 2, N_SAMPLES)).astype(np.int16)
    factors = np.array([[2.0, 1.0], [-0.5, 3.0]])
    scan = recordings.scan(raw, **{"/acquisition/receiver/dataConversionFactor": factors})
    wanted = raw * factors[:, 0, None] + factors[:, 1, None]
    np.testing.assert_allclose(time_signals(scan), wanted, rtol=1e-5, atol=1e-4)


def test_transfer_function_is_divided_out():
    data = signals(10)
    generator = np.random.default_rng(2)
    transfer = 1 + recordings.random_complex(generator, 2, N_SAMPLES // 2 + 1)
    transfer[0, 5] = 0
    induction = np.array([2.0, 0.5])
    scan = recordings.scan(data, **{"/acquisition/receiver/inductionFactor": induction})
    scan["transfer_function"] = (("receiver", "frequency"), transfer)
    wanted = np.fft.rfft(data)
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = wanted / transfer / induction[:, None]
    wanted[:, :, 0, 5] = 0
    np.testing.assert_allclose(spectra(scan), wanted, rtol=1e-4, atol=1e-4)
    plain = spectra(scan, Preprocessing(transfer_function=False))
    np.testing.assert_allclose(plain, np.fft.rfft(data), rtol=1e-4, atol=1e-4)
    corrected = scan.assign_attrs({"/measurement/isTransferFunctionCorrected": np.int8(1)})
    np.testing.assert_array_equal(spectra(corrected), plain)


def test_rows_run_over_periods_slowest():
    data = signals(11, n_periods=3)
    bins, receivers = np.array([3, 7, 4]), np.array([0, 0, 1])
    found = measurement_rows(recordings.scan(data), bins, receivers)
    every = spectra(recordings.scan(data)).values
    np.testing.assert_array_equal(found, every[:, :, receivers, bins].reshape(5, 9))


def test_what_cannot_be_done_is_said():
    data = signals(12)
    scan = recordings.scan(data)
    broken = data.copy()
    broken[3, 0, 0, 0] = np.nan
    with pytest.raises(MDFError, match=r"NaN or infinite values in frames \[3\]"):
        spectra(recordings.scan(broken))
    with pytest.raises(MDFError, match="is a calibration"):
        spectra(scan.assign_attrs(kind="calibration"))
    with pytest.raises(SettingsError, match="foreground frame 5, the scan has 5"):
        spectra(scan, Preprocessing(frames=[5]))
    with pytest.raises(MDFError, match="every frame as background"):
        spectra(recordings.scan(data, np.ones(5, bool)))
    with pytest.raises(MDFError, match="transferFunction: is missing"):
        spectra(scan, Preprocessing(transfer_function=True))
    with pytest.warns(MPIBridgeWarning, match="no background frames"):
        spectra(scan, Preprocessing(background="mean"))
    with pytest.raises(MismatchError, match="receiver 2 is wanted, the scan has 2"):
        measurement_rows(scan, np.array([1]), np.array([2]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("averages", 0),
        ("averages", 1.5),
        ("frames", []),
        ("frames", [-1]),
        ("receivers", [0.5]),
        ("averages", "2"),
        ("background", "median"),
        ("background", True),
        ("background", "empty.mdf"),
        ("snr_threshold", "5"),
        ("mixing_order", 2.5),
        ("spectral_leakage", "perhaps"),
        ("grid", (1, 20.7, 22)),
        ("grid", (20, 22)),
        ("min_frequency", -1.0),
        ("max_frequency", -1.0),
        ("snr_threshold", float("nan")),
        ("stop_bands", [(2.0, 1.0)]),
        ("weighting", "rows"),
        ("weighting", "channel"),
        ("sparsity", "wavelet"),
        ("sparsity_reduction", 0.0),
    ],
)
def test_settings_outside_their_range(name, value):
    with pytest.raises(SettingsError, match=name.split("_")[0]):
        Preprocessing(**{name: value})


def test_a_dataset_that_was_cut_is_refused():
    """Conversion factors and rows count receivers from the first of the header."""
    scan = recordings.scan(signals(13)).assign_coords(receiver=[0, 1])
    with pytest.raises(MDFError, match=r"holds the receivers \[1\] of 2; .* Preprocessing\(receivers="):
        spectra(scan.isel(receiver=[1]))
    with pytest.raises(MDFError, match=r"holds the receivers \[1, 0\] of 2"):
        spectra(scan.isel(receiver=[1, 0]))
    with pytest.raises(MDFError, match="40 samples per period, the header says 48"):
        spectra(scan.isel(sample=slice(40)))
    with pytest.raises(MDFError, match=r"isel\(frame=\[5\]\)"):
        spectra(scan.isel(frame=2))
    turned = scan.transpose("sample", "receiver", "period", "frame")
    np.testing.assert_array_equal(spectra(turned), spectra(scan))


def test_one_stop_band_need_not_be_nested():
    assert Preprocessing(stop_bands=(1e5, 2e5)).stop_bands == ((1e5, 2e5),)
