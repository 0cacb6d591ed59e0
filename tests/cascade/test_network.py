"""The stages: before training the image is a ridge image, and the operator is that of the data."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpibridge_plugins.cascade.network import (
    FLIPS,
    ITERATIONS,
    LEVELS,
    TwoStages,
    doubled,
    halved,
    mean_over,
    ridge_images,
)
from mpibridge_plugins.linear import data_of
from tests.score.examples import modelled, problem

SHAPE = (9, 8)


def data(**options):
    given_problem = problem(**options)
    return data_of(given_problem, modelled(given_problem))


def test_ridge_images_solve_the_normal_equations():
    found = data(sigma=2.0)
    images = ridge_images(found, SHAPE).flatten(2).double()
    s, basis = found.model.values.double(), found.model.basis.double()
    for frame in range(3):
        for image, level in zip(images[frame], LEVELS, strict=True):
            ridge = found.sigma[frame].double().square() / (level * found.variance[frame].double())
            left = (basis * s.square()) @ basis.mT + ridge * torch.eye(72, dtype=torch.float64)
            wanted = torch.linalg.solve(left, basis @ (s * found.y[frame].double()))
            np.testing.assert_allclose(image, wanted, atol=2e-3)


def test_untrained_the_image_is_the_one_without_negative_values():
    found = data()
    torch.manual_seed(0)
    answer = TwoStages(8)(found, SHAPE)
    first = found.nonnegative(found.variance, ITERATIONS).unflatten(1, SHAPE)
    assert first.min() == 0 < first.max()
    torch.testing.assert_close(answer.preliminary, first)
    torch.testing.assert_close(answer.image, first)


def test_the_second_stage_sees_what_the_first_leaves_unexplained():
    """Data that the preliminary image explains wholly, and the same preliminary image with other data."""
    found = data(n_rows=60, sigma=1e-4)
    torch.manual_seed(0)
    network = TwoStages(8)
    seen = []
    network.refine.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    preliminary = network(found, SHAPE).preliminary.detach()
    torch.testing.assert_close(seen[0][:, 0], preliminary)
    rest = found.y - found.model.values * (preliminary.flatten(1) @ found.model.basis)
    wanted = ridge_images(replace(found, y=rest), SHAPE, found.variance)
    torch.testing.assert_close(seen[0][:, 1:], wanted, atol=1e-5, rtol=1e-4)


def test_means_over_mirror_images_mirror_with_the_image():
    torch.manual_seed(0)
    stage, images = TwoStages(8).refine, torch.rand(2, 1 + len(LEVELS), *SHAPE)
    torch.nn.init.normal_(stage.leave.weight)
    with torch.no_grad():
        alone, mean = stage(images), mean_over(FLIPS, stage, images)
        torch.testing.assert_close(mean_over(FLIPS[:1], stage, images), alone)
        flipped = [stage(images.flip(dims)).flip(dims) for dims in FLIPS]
        torch.testing.assert_close(mean, torch.stack(flipped).mean(0))
        for dims in FLIPS[1:]:
            torch.testing.assert_close(mean_over(FLIPS, stage, images.flip(dims)), mean.flip(dims))
            assert (stage(images.flip(dims)) - alone.flip(dims)).norm() > 0.1 * alone.norm()


@pytest.mark.parametrize("detached", [True, False])
def test_apart_the_second_stage_does_not_train_the_first(detached):
    torch.manual_seed(0)
    network = TwoStages(8, detached=detached)
    for parameter in network.parameters():
        parameter.data += 0.03 * torch.randn_like(parameter)
    network(data(), SHAPE).image.square().sum().backward()
    reached = [parameter.grad is not None for parameter in network.inverse.parameters()]
    assert any(reached) is not detached
    assert all(parameter.grad is not None for parameter in network.refine.parameters())


@settings(deadline=None, max_examples=20)
@given(st.integers(3, 17), st.integers(3, 17), st.sampled_from([2, 4]))
def test_halving_and_doubling_keep_every_pixel(height, width, multiple):
    images = torch.randn(2, 1, height, width)
    assert torch.equal(doubled(halved(images, multiple), images), images[:, 0])
