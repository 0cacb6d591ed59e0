"""The losses against what they are named after."""

import pytest
import torch

from mpibridge_plugins.cascade.losses import FLOOR, distance, unevenness
from mpibridge_plugins.cascade.settings import CascadeSettings
from mpibridge_plugins.similarity import ssim

TRUTH = torch.zeros(2, 12, 12)
TRUTH[0, 3:7, 3:7] = 1
TRUTH[1, 2:10, 5:9] = 1


def noisy(seed=0):
    return TRUTH + 0.1 * torch.randn(TRUTH.shape, generator=torch.Generator().manual_seed(seed))


def test_squares_are_relative_to_the_energy_of_the_truth():
    image = noisy()
    wanted = [
        float((a - b).square().sum() / (b.square().sum() + FLOOR * 144))
        for a, b in zip(image, TRUTH, strict=True)
    ]
    assert float(distance(image, TRUTH, CascadeSettings(loss="mse"))) == pytest.approx(sum(wanted) / 2)


def test_the_full_loss_is_the_weighted_sum_of_its_parts():
    image = noisy()

    def loss(absolute, similarity, uniformity):
        weights = {"absolute_weight": absolute, "ssim_weight": similarity, "uniformity_weight": uniformity}
        return float(distance(image, TRUTH, CascadeSettings(**weights)))

    squares = loss(0, 0, 0)
    assert squares == pytest.approx(float(distance(image, TRUTH, CascadeSettings(loss="mse"))))
    assert loss(0, 2, 0) - squares == pytest.approx(2 * (1 - float(ssim(image, TRUTH))), rel=1e-4)
    assert loss(0, 0, 2) - squares == pytest.approx(2 * float(unevenness(image, TRUTH).mean()), rel=1e-4)
    assert loss(1, 2, 3) - squares == pytest.approx(
        loss(1, 0, 0) + loss(0, 2, 0) + loss(0, 0, 3) - 3 * squares, rel=1e-4
    )
    assert float(distance(TRUTH, TRUTH, CascadeSettings())) == pytest.approx(0, abs=1e-6)


def test_unevenness_is_the_squared_coefficient_of_variation_of_a_dot():
    image = noisy()
    inside = image[0, 3:7, 3:7]
    assert float(unevenness(image, TRUTH)[0]) == pytest.approx(float(inside.var(correction=0)), rel=1e-4)
    assert torch.allclose(unevenness(0.7 * TRUTH, TRUTH), torch.zeros(2), atol=1e-6)  # too faint, yet even
    empty = torch.zeros_like(TRUTH)
    assert not unevenness(image, empty).any()
