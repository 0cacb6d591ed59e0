"""The denoiser: planes of any size, images independent of each other, the limits of its preconditioning."""

import numpy as np
import pytest
import torch

from mpibridge_plugins.score.network import SIGMA_DATA, Denoiser
from tests.score.examples import untrained


@pytest.mark.parametrize("shape", [(8, 8), (19, 19), (9, 14), (64, 64), (1, 19), (3, 5)])
@pytest.mark.parametrize("kind", ["prior", "signal"])
def test_planes_of_any_size(shape, kind):
    network = untrained(network=kind).network
    conditions = torch.rand(2, 2, *shape) if kind == "signal" else None
    found = network(torch.rand(2, 1, *shape), torch.tensor([0.1, 2.0]), conditions)
    assert found.shape == (2, 1, *shape)
    assert torch.isfinite(found).all()


def test_images_of_a_batch_do_not_see_each_other():
    network = untrained(network="prior").network
    images, sigma = torch.rand(3, 1, 10, 12), torch.tensor([0.1, 0.5, 2.0])
    alone = [network(images[i : i + 1], sigma[i : i + 1]) for i in range(3)]
    np.testing.assert_allclose(network(images, sigma).detach(), torch.cat(alone).detach(), atol=1e-5)


def test_before_training_it_is_the_best_linear_denoiser_of_white_images():
    images = torch.rand(2, 1, 8, 8)
    for sigma in (0.01, 1.0):
        wanted = SIGMA_DATA**2 / (SIGMA_DATA**2 + sigma**2) * images
        np.testing.assert_allclose(Denoiser(8)(images, torch.full((2,), sigma)).detach(), wanted, atol=1e-6)


def test_without_noise_it_changes_nothing():
    network = untrained(network="prior").network
    images = torch.rand(2, 1, 8, 8)
    np.testing.assert_allclose(network(images, torch.full((2,), 1e-6)).detach(), images, atol=1e-4)


def test_the_noise_level_matters():
    network = untrained(network="prior").network
    images = torch.zeros(1, 1, 8, 8) + 0.5
    low, high = (network(images, torch.tensor([sigma])).detach() for sigma in (0.1, 1.0))
    assert not np.allclose(low, high, atol=1e-2)
