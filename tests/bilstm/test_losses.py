"""The losses against what they are named after."""

import numpy as np
import pytest
import torch

from mpibridge import metrics
from mpibridge_plugins.bilstm.losses import EPSILON, charbonnier
from mpibridge_plugins.similarity import ssim


@pytest.mark.parametrize("shape", [(40, 40), (5, 9)])
def test_ssim_is_that_of_the_metrics(shape):
    rng = np.random.default_rng(0)
    truth = rng.random((3, *shape), np.float32)
    truth[:, 0, 0], truth[:, 0, 1] = 0, 1  # a range of 1
    image = truth + 0.2 * rng.standard_normal(truth.shape).astype(np.float32)
    expected = metrics.per_image(metrics.ssim, image[:, None], truth[:, None]).mean()
    found = ssim(torch.from_numpy(image), torch.from_numpy(truth))
    assert float(found) == pytest.approx(expected, abs=1e-5)


def test_charbonnier_is_square_when_small_and_absolute_when_large():
    zero = torch.zeros(4)
    assert float(charbonnier(zero, zero)) == pytest.approx(0, abs=1e-8)
    small, large = 0.01 * EPSILON, 1000 * EPSILON
    assert float(charbonnier(zero + small, zero)) == pytest.approx(small**2 / (2 * EPSILON), rel=1e-2)
    assert float(charbonnier(zero - large, zero)) == pytest.approx(large - EPSILON, rel=1e-3)
