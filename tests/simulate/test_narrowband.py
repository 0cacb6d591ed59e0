"""Harmonics on a raster: the Chebyshev formula against integrals over time, and known values of E.6."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from mpibridge.errors import SettingsError
from mpibridge.model import Grid
from mpibridge.simulate.narrowband import harmonic_coefficients, is_raster, psf, raster_operator
from mpibridge.simulate.particles import Particles
from mpibridge.simulate.presets import preset
from mpibridge.simulate.receiver import Receiver
from mpibridge.simulate.response import delta_samples, response
from mpibridge.simulate.scanner import Scanner, field_free_line
from mpibridge.simulate.sequences import LissajousSequence


def integral(fields, amplitude, harmonic, particles, axis):
    """2/T ∫ M cos kωt dt by the trapezoidal rule over one period, exact to rounding with enough samples."""
    phase = 2 * np.pi * np.arange(4096) / 4096
    total = np.repeat(fields[..., None], 4096, axis=-1)
    total[axis] += amplitude * np.cos(phase)
    return (
        2 * np.mean(particles.magnetization(total) * np.cos(harmonic * phase), axis=-1) / particles.saturation
    )


def test_known_values_of_the_third_harmonic():
    """20 nm, 12 mT: −.173 at the centre, .089 at ±10.5 mT, zero crossings at ±6.4 mT (6.5 in E.6)."""

    def value(field):
        return float(psf(np.array(field), 1.0, 12e-3, 3))

    assert value(0.0) == pytest.approx(-0.173, abs=5e-4)
    assert value(10.5e-3) == pytest.approx(0.089, abs=5e-4)
    assert brentq(value, 4e-3, 9e-3) == pytest.approx(6.41e-3, abs=0.01e-3)
    assert brentq(value, -9e-3, -4e-3) == pytest.approx(-6.41e-3, abs=0.01e-3)
    fields = np.linspace(0, 20e-3, 401)
    lobe = fields[np.argmax(psf(fields, 1.0, 12e-3, 3))]
    assert lobe == pytest.approx(10.5e-3, abs=0.2e-3)
    assert float(psf(np.array(10.5e-3 / 5), 5.0, 12e-3, 3)) == pytest.approx(value(10.5e-3))


@pytest.mark.parametrize("harmonic", [1, 2, 3, 4, 7])
@pytest.mark.parametrize(("diameter", "amplitude"), [(20e-9, 12e-3), (30e-9, 20e-3), (15e-9, 1e-4)])
def test_chebyshev_is_the_integral_over_time(harmonic, diameter, amplitude):
    particles = Particles(core_diameter=diameter)
    fields = np.linspace(-25e-3, 25e-3, 41)
    found = psf(fields, 1.0, amplitude, harmonic, particles)
    expected = integral(fields[None], amplitude, harmonic, particles, 0)[0]
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=1e-8 * np.abs(psf(fields, 1.0, amplitude, 1)).max()
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(0, 2))
def test_all_components_in_space(seed, harmonic, axis):
    fields = np.random.default_rng(seed).normal(0, 6e-3, (3, 4))
    particles = Particles(diameter_spread=0.1)
    found = harmonic_coefficients(fields, 12e-3, harmonic, particles, axis=axis)
    np.testing.assert_allclose(found, integral(fields, 12e-3, harmonic, particles, axis), rtol=0, atol=1e-10)


@given(st.integers(1, 6), st.floats(-20e-3, 20e-3))
def test_parity(harmonic, position):
    ahead, behind = psf(np.array([position, -position]), 1.0, 12e-3, harmonic)
    assert behind == pytest.approx(-ahead if harmonic % 2 == 0 else ahead, abs=1e-13)


def test_third_harmonic_integrates_to_zero():
    """So it must be normalised by its maximum, never by its sum."""
    fields = np.linspace(-2, 2, 40001)
    values = psf(fields, 1.0, 12e-3, 3)
    assert abs(values.sum()) < 1e-3 * np.abs(values).sum()


@pytest.mark.parametrize("phase", [0.0, 0.7, np.pi / 2])
def test_raster_operator_is_the_spectrum_of_the_scanner(phase):
    generator = np.random.default_rng(0)
    sequence = LissajousSequence(
        (5e-3, 0.0, 0.0),
        dividers=(100,),
        phase=(phase,),
        patches=tuple(map(tuple, generator.normal(0, 3e-3, (7, 3)))),
    )
    scanner = Scanner(
        sequence=sequence,
        gradient=field_free_line(3.0, 0.4),
        particles=Particles(relaxation_time=2e-6),
        sensitivity=((50e-6, 0.0, 0.0), (10e-6, 40e-6, -5e-6)),
        receiver=Receiver((np.array([0.0, 1e6]), np.array([[1, 1j], [2, -1]]))),
    )
    grid = Grid((3, 2, 2), (3e-3, 2e-3, 1e-3), (1e-3, 0.0, 0.0))
    expected = scanner.spectra(
        *delta_samples(grid), np.array([2, 3, 5])
    )  # (voxel, raster, receiver, harmonic)
    found = raster_operator(scanner, grid, (2, 3, 5))
    assert found.shape == (3, 2, 7, 12)
    np.testing.assert_allclose(found.transpose(3, 2, 1, 0), expected, atol=1e-8 * np.abs(expected).max())
    for h in range(3):
        np.testing.assert_allclose(
            found[h].transpose(2, 1, 0), expected[..., h], atol=1e-8 * np.abs(expected[..., h]).max()
        )


def test_raster_of_the_preset_is_a_convolution():
    """Voxels and field-free points of equal pitch: every diagonal is constant, and equals the response at bin 3."""
    chosen = preset("narrowband")
    operator = raster_operator(chosen.scanner, chosen.grid, points=1)[0, 0].reshape(32, 32, 32, 32)
    np.testing.assert_allclose(
        operator[1:, 3:, 1:, 3:], operator[:-1, :-3, :-1, :-3], rtol=0, atol=1e-12 * abs(operator).max()
    )
    corner = Grid((2, 1, 1), (0.2e-3, 0.1e-3, 1e-3), (-1.5e-3, -1.55e-3, 0.0))
    np.testing.assert_allclose(corner.axis("x"), chosen.grid.axis("x")[:2])
    found = response(chosen.scanner, corner, bins=np.array([3]), points=1)
    np.testing.assert_allclose(
        found, operator.reshape(1024, 1024)[:, :2].T, atol=2e-7 * np.abs(operator).max()
    )
    largest = np.abs(operator[16, 16]).argmax()
    assert largest == 16 * 32 + 16


def test_settings_are_checked():
    grid = Grid((1, 1, 1), (1e-3, 1e-3, 1e-3))
    with pytest.raises(SettingsError, match=r"axes \(0, 1\); one is wanted"):
        raster_operator(Scanner(), grid)
    hooked = replace(preset("narrowband").scanner, selection_field=lambda r: r)
    with pytest.raises(SettingsError, match="uniform fields"):
        raster_operator(hooked, grid)
    with pytest.raises(SettingsError, match="harmonic is 0"):
        psf(np.zeros(1), 1.0, 1e-3, 0)


def test_a_raster_is_one_drive_field_and_many_field_free_points():
    base = preset("narrowband").scanner
    assert is_raster(base)
    assert not is_raster(replace(base, selection_field=lambda r: r))
    assert not is_raster(base.without_focus)
    assert not is_raster(preset("openmpi-2d").scanner)
