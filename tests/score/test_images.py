"""Images that a prior learns from: pooling keeps means, variation keeps what it says."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpibridge_plugins.score.images import LARGEST_BATCH, SMALLEST, _pooled, varied


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40))
def test_pooling_keeps_the_mean_and_linear_ramps(size, n):
    ramp = torch.linspace(0, 1, 2 * size + 1)[1::2].expand(1, 1, size, size)  # means over `size` intervals
    pooled = _pooled(ramp, n)
    np.testing.assert_allclose(pooled.mean(), 0.5, atol=1e-5)
    if n <= size and size % n == 0:
        np.testing.assert_allclose(pooled[0, 0, 0], torch.linspace(0, 1, 2 * n + 1)[1::2], atol=1e-5)


def test_pooling_by_a_whole_number_is_the_mean_of_blocks():
    image = torch.rand(2, 1, 12, 12)
    np.testing.assert_allclose(_pooled(image, 4), torch.nn.functional.avg_pool2d(image, 3), atol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_variation(seed):
    planes = torch.rand(64, 1, 48, 48, generator=torch.Generator().manual_seed(seed)) ** 4
    found = varied(planes, np.random.default_rng(seed))
    again = varied(planes, np.random.default_rng(seed))
    np.testing.assert_array_equal(found, again)
    n = found.shape[-1]
    assert SMALLEST <= n <= 48
    assert found.shape == (min(64, LARGEST_BATCH // n**2), 1, n, n)
    assert torch.isfinite(found).all()
    assert (found >= 0).all()
    peaks = found.amax((1, 2, 3))
    assert 0.7 < peaks.median() < 1.4


def test_empty_images_stay_empty():
    assert not varied(torch.zeros(4, 1, 16, 16), np.random.default_rng(0)).any()
