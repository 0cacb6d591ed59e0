"""What networks learn from: pooling keeps means, variation keeps what it says, sums are sums."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpibridge_plugins.score.augmentation import LARGEST_BATCH, SMALLEST, _pooled, superposed, varied
from tests.score.examples import problem


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


@pytest.mark.parametrize("noise", ["known", None])
def test_sums_are_scans_of_sums(noise):
    """Without noise the rows are the matrix times the image, before and after; noise adds in quadrature."""
    p = problem(n_frames=64, sigma=0.0, noise=noise)
    target = torch.rand(64, *p.grid.shape)
    rows = target.reshape(64, -1).to(torch.complex64) @ p.operator.matrix.mT
    given = replace(p, rows=rows, noise=None if noise is None else torch.ones(64, rows.shape[1]))
    mixed, images = superposed(given, target, np.random.default_rng(0))
    np.testing.assert_allclose(
        mixed.rows, images.reshape(64, -1).to(rows.dtype) @ p.operator.matrix.mT, atol=1e-3
    )
    changed = (images != target).flatten(1).any(1)
    assert 4 < changed.sum() < 24
    if noise is not None:
        assert ((mixed.noise > 1) == changed[:, None]).all()
        assert (mixed.noise <= 2**0.5).all()
