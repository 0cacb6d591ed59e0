"""The receive chain: gains, measured curves, conversion to integers."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpibridge.errors import FileError, MDFError, SettingsError, ShapeError
from mpibridge.simulate.receiver import Receiver

FREQUENCIES = np.arange(6) * 10e3


def test_nothing_is_changed_by_default():
    np.testing.assert_array_equal(Receiver().gain(FREQUENCIES, np.array([10e3]), 3), np.ones((3, 6)))


def test_transfer_function_is_linear_between_and_flat_outside():
    receiver = Receiver((np.array([10e3, 30e3]), np.array([[1.0, 3j], [5.0, 5.0]])))
    gain = receiver.gain(FREQUENCIES, np.array([]), 2)
    np.testing.assert_allclose(gain[0], [1, 1, 0.5 + 1.5j, 3j, 3j, 3j])
    np.testing.assert_allclose(gain[1], 5)
    np.testing.assert_array_equal(receiver.gain(FREQUENCIES, np.array([]), 1), gain[:1])
    with pytest.raises(ShapeError, match="of 2 receivers, the scanner has 3"):
        receiver.gain(FREQUENCIES, np.array([]), 3)


def test_lost_bins():
    receiver = Receiver(notch=((28e3, 30e3),), loses_fundamental=True, bandwidth=40e3)
    gain = receiver.gain(FREQUENCIES, np.array([10e3, 900e3]), 1)
    np.testing.assert_array_equal(gain, [[1, 0, 1, 0, 1, 0]])


@pytest.mark.parametrize("complex_numbers", [False, True])
def test_file_of_a_transfer_function(tmp_path, complex_numbers):
    values = np.array([[1 + 2j, 3 + 4j], [5 + 6j, 7 + 8j]])
    with h5py.File(tmp_path / "tf.h5", "w") as file:
        file["frequencies"] = [0.0, 1e6]
        file["transferFunction"] = values if complex_numbers else np.stack([values.real, values.imag], -1)
        file["inductionFactor"] = [1.0, 2.0]
    frequencies, found = Receiver.from_file(tmp_path / "tf.h5").transfer_function
    np.testing.assert_array_equal(frequencies, [0, 1e6])
    np.testing.assert_array_equal(found, values * [[1], [2]])


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileError, match="nothing"):
        Receiver.from_file(tmp_path / "nothing.h5")
    with h5py.File(tmp_path / "tf.h5", "w") as file:
        file["frequencies"] = [0.0]
    with pytest.raises(MDFError, match="transferFunction: is missing"):
        Receiver.from_file(tmp_path / "tf.h5")
    with h5py.File(tmp_path / "tf.h5", "a") as file:
        file["transferFunction"] = [1.0]
    with pytest.raises(MDFError, match=r"\(C, F, 2\) is wanted"):
        Receiver.from_file(tmp_path / "tf.h5")


@pytest.mark.parametrize("name", ["PreinstalledUH.h5", "Gradio1.h5"])
def test_measured_curves(name, shared):
    path = shared / "data/real/transfer-functions" / name
    receiver = Receiver.from_file(path)
    with h5py.File(path) as file:
        at, pairs = file["frequencies"][:], file["transferFunction"][:]
    gain = receiver.gain(at, np.array([]), 3)
    np.testing.assert_allclose(gain, pairs[..., 0] + 1j * pairs[..., 1], atol=1e-12)
    between = receiver.gain((at[5:7].mean(), 2e6) * np.ones(2), np.array([]), 3)
    np.testing.assert_allclose(between[:, 0], gain[:, 5:7].mean(1), atol=1e-12)
    np.testing.assert_array_equal(between[:, 1], gain[:, -1])


@given(st.integers(0, 2**31), st.integers(2, 16), st.floats(1e-9, 1e3), st.floats(-1e3, 1e3))
def test_numbers_give_the_volts_back_to_half_a_step(seed, bits, scale, shift):
    volts = scale * (np.random.default_rng(seed).standard_normal((3, 1, 2, 20)) + shift)
    numbers, slope, offset = Receiver(bits=bits).digitize(volts)
    assert numbers.dtype == np.int16
    assert 0 < np.abs(numbers.astype(int)).max() <= 2 ** (bits - 1)
    error = np.abs(numbers * slope[:, None] + offset[:, None] - volts)
    assert (error <= 0.5 * slope[:, None] * (1 + 1e-6) + 1e-12 * np.abs(volts).max()).all()
    assert np.all(np.ptp(volts, axis=(0, 1, 3)) >= slope * 0.999)


def test_receivers_have_their_own_range_and_may_be_silent():
    volts = np.stack([np.linspace(-1, 1, 5), np.linspace(0, 1e-6, 5), np.full(5, 7.0)])
    numbers, slope, offset = Receiver().digitize(volts)
    np.testing.assert_allclose(slope[:2], np.array([2, 1e-6]) / (2 * np.floor(0.95 * 32767)))
    np.testing.assert_allclose(offset, [0, 0.5e-6, 7])
    np.testing.assert_array_equal(numbers[2], 0)
    assert slope[2] == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"transfer_function": (np.zeros(2), np.zeros((1, 3)))}, r"\(F,\) and \(receiver, F\)"),
        ({"transfer_function": (np.zeros(2), np.zeros((1, 2)))}, "rising frequencies"),
        ({"notch": ((2.0, 1.0),)}, "bands"),
        ({"bits": 17}, "bits is 17"),
        ({"bandwidth": 0.0}, "bandwidth is 0"),
    ],
)
def test_settings_are_checked(fields, message):
    with pytest.raises(SettingsError, match=message):
        Receiver(**fields)
