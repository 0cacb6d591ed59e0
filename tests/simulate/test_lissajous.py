"""The scanner: what every simulation of magnetic particle imaging must satisfy."""

import numpy as np
import pytest

from mpibridge.errors import SettingsError
from mpibridge.simulate import LissajousScanner

CENTER = np.zeros((1, 1, 2))
ONE = np.ones((1, 1))


def spectrum(scanner, points=CENTER, amounts=ONE):
    return np.fft.rfft(scanner.voltage(points, amounts)[0])


def test_sequence_of_the_preclinical_scanner():
    scanner = LissajousScanner()
    assert scanner.n_samples == 1632
    assert scanner.cycle == pytest.approx(652.8e-6)
    drive, rate = scanner.drive
    np.testing.assert_allclose(np.abs(drive).max(1), 12e-3, rtol=2e-3)
    spectral = np.fft.irfft(2j * np.pi * np.fft.rfftfreq(1632, 1 / 2.5e6) * np.fft.rfft(drive), 1632)
    np.testing.assert_allclose(rate, spectral, atol=1e-9 * np.abs(rate).max())


def test_parity_at_the_centre():
    """Receiver x has even bins only, y odd ones only: k = 16 m_x + 17 m_y with one odd order and one even."""
    x, y = np.abs(spectrum(LissajousScanner()))
    assert x[1::2].max() < 1e-11 * x.max()
    assert y[0::2].max() < 1e-11 * y.max()


def test_small_fields_scale_with_the_power_of_the_harmonic():
    weak, strong = (np.abs(spectrum(LissajousScanner(amplitude=(a, 0.0)))[0]) for a in (1e-5, 2e-5))
    assert strong[16] / weak[16] == pytest.approx(2, rel=1e-3)
    assert strong[48] / weak[48] == pytest.approx(8, rel=1e-3)


def test_signal_vanishes_far_from_the_field_free_point():
    scanner = LissajousScanner()
    near, far, farther = (
        np.abs(scanner.voltage(np.full((1, 1, 2), r), ONE)).max() for r in (0.0, 10.0, 100.0)
    )
    assert far < 1e-3 * near
    assert farther == pytest.approx(far / 10, rel=1e-2)  # saturated particles only turn: L/ξ → 1/ξ


def test_static_field_induces_nothing():
    scanner = LissajousScanner(amplitude=(0.0, 0.0))
    np.testing.assert_array_equal(scanner.voltage(np.full((1, 1, 2), 3e-3), ONE), 0)


def test_linear_in_the_concentration_and_additive():
    generator = np.random.default_rng(1)
    scanner = LissajousScanner()
    points, amounts = generator.uniform(-12e-3, 12e-3, (1, 4, 2)), generator.random((1, 4))
    together = scanner.voltage(points, amounts)
    apart = scanner.voltage(points.reshape(4, 1, 2), amounts.reshape(4, 1))
    np.testing.assert_allclose(scanner.voltage(points, 2 * amounts), 2 * together)
    np.testing.assert_allclose(apart.sum(0, keepdims=True), together, atol=1e-12 * np.abs(together).max())


def test_voltage_is_minus_the_flux_change_in_volts():
    """Against −p ΔV dM/dt with the rate taken from the magnetisation's spectrum instead of the Jacobian."""
    scanner = LissajousScanner()
    position, volume = np.array([2e-3, -5e-3]), 4e-9
    field = scanner.drive[0] + np.array(scanner.gradient[:2])[:, None] * position[:, None]
    magnetization = scanner.particles.magnetization(field)
    omega = 2 * np.pi * np.fft.rfftfreq(1632, 1 / 2.5e6)
    expected = -50e-6 * volume * np.fft.irfft(1j * omega * np.fft.rfft(magnetization), 1632)
    found = scanner.voltage(position.reshape(1, 1, 2), np.full((1, 1), volume))[0]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dividers": (96, 96)}, r"dividers are \(96, 96\)"),
        ({"amplitude": (-1e-3, 0.0)}, "must not be negative"),
        ({"gradient": (0.0, 1.0, 1.0)}, "x and y must not be 0"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(SettingsError, match=message):
        LissajousScanner(**settings)
