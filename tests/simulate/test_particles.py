"""The Langevin model against closed forms, high-precision values and finite differences."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpibridge.errors import SettingsError
from mpibridge.simulate.particles import BOLTZMANN, Particles, langevin_derivative, langevin_ratio

XI = [1e-300, 1e-8, 1e-3, 0.05, 0.0999999, 0.1, 0.1000001, 0.5, 1.0, 20.0, 400.0, 1e6, 1e150]


@pytest.mark.parametrize("xi", XI)
def test_functions_to_rounding_for_every_argument(xi):
    with mpmath.workdps(700):
        x = mpmath.mpf(xi)
        ratio = (mpmath.coth(x) - 1 / x) / x
        derivative = 1 / x**2 - mpmath.csch(x) ** 2
    assert float(langevin_ratio(np.array(xi))) == pytest.approx(float(ratio), rel=1e-11)
    assert float(langevin_derivative(np.array(xi))) == pytest.approx(float(derivative), rel=1e-11, abs=1e-15)


def test_value_at_zero():
    assert langevin_ratio(np.zeros(1)) == pytest.approx(1 / 3)
    assert langevin_derivative(np.zeros(1)) == pytest.approx(1 / 3)


@given(st.floats(0, 1e4))
def test_bounds(xi):
    ratio, derivative = langevin_ratio(np.array(xi)), langevin_derivative(np.array(xi))
    assert -1e-15 <= derivative <= ratio + 1e-15 <= 1 / 3 + 2e-15


@pytest.mark.parametrize(
    ("diameter", "moment", "xi_at_12mT"),
    [(15e-9, 8.38e-19, 2.48), (20e-9, 1.99e-18, 5.89), (30e-9, 6.70e-18, 19.9)],
)
def test_moments(diameter, moment, xi_at_12mT):
    particles = Particles(core_diameter=diameter)
    assert particles.moment == pytest.approx(moment, rel=2e-3)
    assert particles.beta * 12e-3 == pytest.approx(xi_at_12mT, rel=2e-3)


def test_density_of_a_hundred_millimoles_of_iron():
    assert Particles().density == pytest.approx(3.56e20, rel=5e-3)


@pytest.mark.parametrize(("function", "factor"), [(langevin_derivative, 4.161), (langevin_ratio, 9.467)])
def test_full_width_at_half_maximum(function, factor):
    """Widths of the point spread along and across the field, in kT/m."""
    particles = Particles()
    field = np.linspace(-30e-3, 30e-3, 600001)
    inside = field[function(particles.beta * np.abs(field)) >= 1 / 6]
    assert np.ptp(inside) * particles.moment / (BOLTZMANN * particles.temperature) == pytest.approx(
        factor, rel=1e-3
    )


@given(st.integers(0, 2**31), st.sampled_from([1e-6, 1e-3, 1e-2, 1.0]))
def test_rate_is_the_derivative_of_the_magnetization(seed, scale):
    generator = np.random.default_rng(seed)
    field, rate = scale * generator.standard_normal((2, 3, 5))
    particles, step = Particles(), 1e-5
    ahead, behind = (particles.magnetization(field + sign * step * rate) for sign in (1, -1))
    expected = (ahead - behind) / (2 * step)
    found = particles.magnetization_rate(field, rate)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


def test_rate_where_the_field_vanishes():
    particles = Particles()
    rate = np.array([[1.0], [2.0]])
    expected = particles.density * particles.moment * particles.beta / 3 * rate
    np.testing.assert_allclose(particles.magnetization_rate(np.zeros((2, 1)), rate), expected)


def test_settings_are_checked():
    with pytest.raises(SettingsError, match=r"core_diameter is -1\.0"):
        Particles(core_diameter=-1.0)


@pytest.mark.parametrize(
    "settings", [{"diameter_spread": -0.1}, {"diameter_spread": 0.6}, {"relaxation_time": -1e-6}]
)
def test_spread_and_relaxation_have_ranges(settings):
    with pytest.raises(SettingsError, match=next(iter(settings))):
        Particles(**settings)


@pytest.mark.parametrize("spread", [0.05, 0.1, 0.2])
def test_distribution_of_diameters_against_a_sum_over_many_sizes(spread):
    """By number: M = n ∫ p(d) m(d) L(m(d) B / kT) dd with n such that the iron is that of one size."""
    particles, logs = Particles(diameter_spread=spread), np.linspace(-7 * spread, 7 * spread, 20001)
    number = np.exp(-(logs**2) / (2 * spread**2))
    volume = np.exp(3 * logs)
    field = np.array([0.1e-3, 1e-3, 5e-3, 12e-3, 50e-3])
    xi = particles.beta * volume * field[:, None]
    expected = (langevin_ratio(xi) * xi) @ (number * volume) / np.sum(number * volume) * particles.saturation
    found = particles.magnetization(field[None])[0]
    np.testing.assert_allclose(found, expected, rtol=2e-6)
    assert particles.density * np.sum(number * volume) / np.sum(number) == pytest.approx(Particles().density)


@given(st.floats(0, 0.5))
def test_iron_alone_decides_the_saturation(spread):
    particles = Particles(diameter_spread=spread)
    far = particles.magnetization(np.array([[1e7]]))[0, 0]
    assert far == pytest.approx(Particles().density * Particles().moment, rel=1e-6)
