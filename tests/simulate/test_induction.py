"""The compiled loop against the NumPy form of the same model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpibridge.simulate.induction import induce
from mpibridge.simulate.particles import Particles

FIELDS = [0.0, 1e-300, 1e-12, 1e-6, 1e-3, 1.0185e-3, 2e-3, 1e-2, 0.1, 10.0, 1e4]


def induced(particles, field, rate, weights):
    """(3, sample): one group, one period; field (point, 3), rate (3, sample), no drive field."""
    total = np.zeros((1, 1, 3, rate.shape[1]))
    induce(total, np.zeros_like(rate), rate, field[None, None], weights[None], *particles.sizes)
    return particles.saturation * total[0, 0]


@pytest.mark.parametrize("strength", FIELDS)
@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_same_as_numpy_for_every_strength(strength, spread):
    particles = Particles(diameter_spread=spread)
    field = strength * np.array([2.0, -1.0, 2.0]) / 3
    rate = np.random.default_rng(0).standard_normal((3, 9))
    expected = particles.magnetization_rate(np.broadcast_to(field[:, None], rate.shape), rate)
    found = induced(particles, field[None], rate, np.ones(1))
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-11 * np.abs(expected).max())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_points_add_with_their_weights(seed):
    generator = np.random.default_rng(seed)
    field, weights = generator.normal(0, 5e-3, (4, 3)), generator.random(4)
    rate = generator.standard_normal((3, 5))
    single = [induced(Particles(), f[None], rate, w[None]) for f, w in zip(field, weights, strict=True)]
    together = induced(Particles(), field, rate, weights)
    np.testing.assert_allclose(together, sum(single), atol=1e-13 * np.abs(together).max())


def test_points_of_no_weight_are_skipped():
    total = induced(Particles(), np.full((1, 3), np.nan), np.ones((3, 2)), np.zeros(1))
    np.testing.assert_array_equal(total, 0)
