"""Samplers against Gaussian images, whose posterior is known exactly."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mpibridge_plugins.linear import Data
from mpibridge_plugins.score.sampling import EXPLAINED, across_slices, decoupled, heun, noise_levels, turning
from tests.score.examples import modelled, problem

N = 60_000
SPREAD = 0.25


def drawing(n, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(n, size, generator=generator)


def nothing(step, image):
    pass


def test_levels_fall_by_equal_steps_of_their_seventh_root():
    levels = np.array(noise_levels(9, 10.0, 0.02))
    np.testing.assert_allclose(levels[[0, -1]], [10.0, 0.02])
    np.testing.assert_allclose(np.diff(levels ** (1 / 7), 2), 0, atol=1e-12)
    assert (np.diff(levels) < 0).all()
    assert noise_levels(1, 3.0, 0.02) == [3.0]


def measured(n=1):
    """Two complex rows of six voxels, noise as strong as the signal of a voxel; ``n`` times the same."""
    model = modelled(problem((1, 2, 3), n_rows=2, n_frames=1))
    s = model.values
    y = s * (torch.tensor([[0.9, 0.1, 0.4, 0.0, 0.6, 0.3]]) @ model.basis)
    one = torch.ones(1, 1)
    sigma = 0.25 * s.mean() * one
    return Data(model, y, sigma, sigma, 0 * one, one).repeated(n)


def white(mean):
    """The denoiser of images of independent normal voxels."""
    return lambda x, sigma: mean + SPREAD**2 / (SPREAD**2 + sigma**2) * (x - mean)


@pytest.mark.parametrize("n_steps", [5, 25])
def test_decoupled_annealing_draws_the_posterior_of_white_images(n_steps):
    """Mean and covariance, with few steps and with many: for such images every step is exact."""
    data = measured()
    mean = torch.linspace(0.1, 0.6, 6)
    found = decoupled(
        white(mean),
        drawing(N, 6),
        noise_levels(n_steps, 10.0, 0.02),
        nothing,
        data=data.repeated(N),
        spread=SPREAD,
        exact=True,
    )
    s, V = data.model.values.double(), data.model.basis.double()
    precision = (V * (s / data.sigma[0, 0]) ** 2) @ V.mT + torch.eye(6) / SPREAD**2
    covariance = torch.linalg.inv(precision)
    towards = V @ (s * data.y[0] / data.sigma[0, 0] ** 2) + mean.double() / SPREAD**2
    assert (torch.diag(covariance) < 0.7 * SPREAD**2).any()  # the data say something
    np.testing.assert_allclose(found.mean(0), covariance @ towards, atol=0.005)
    np.testing.assert_allclose(torch.cov(found.mT), covariance, atol=0.02 * SPREAD**2)


def test_steps_by_the_mean_keep_the_mean_and_lose_spread():
    """What the default does: the same centre, less variance than the posterior has."""
    data = measured(N)
    mean = torch.linspace(0.1, 0.6, 6)
    levels = noise_levels(25, 10.0, 0.02)
    options = {"data": data, "spread": SPREAD}
    by_draws = decoupled(white(mean), drawing(N, 6), levels, nothing, exact=True, **options)
    by_means = decoupled(white(mean), drawing(N, 6), levels, nothing, exact=False, **options)
    np.testing.assert_allclose(by_means.mean(0), by_draws.mean(0), atol=0.005)
    assert (by_means.var(0) < 0.8 * by_draws.var(0)).all()


def test_heun_draws_correlated_normal_images():
    root = torch.tensor([[0.3, 0.0, 0.0], [0.2, 0.1, 0.0], [-0.1, 0.1, 0.2]])
    covariance, mean = root @ root.mT, torch.tensor([0.5, 0.0, -0.2])

    def denoise(x, sigma):
        gain = covariance @ torch.linalg.inv(covariance + sigma**2 * torch.eye(3))
        return mean + (x - mean) @ gain.mT

    found = heun(denoise, drawing(N, 3), noise_levels(60, 80.0, 0.002), nothing)
    np.testing.assert_allclose(found.mean(0), mean, atol=0.01)
    np.testing.assert_allclose(torch.cov(found.mT), covariance, atol=0.004)


def test_every_step_is_watched():
    seen = []
    heun(
        white(torch.zeros(4)),
        drawing(2, 4),
        noise_levels(6, 10.0, 0.02),
        lambda i, x: seen.append((i, x.shape)),
    )
    assert seen == [(i, (2, 4)) for i in range(6)]


@pytest.mark.parametrize(
    ("shape", "n_axes"),
    [((3, 4, 5), 3), ((9, 8, 10), 3), ((1, 4, 5), 1), ((3, 1, 5), 1), ((1, 1, 5), 1), ((3, 8, 9), 1)],
)
def test_volumes_are_denoised_plane_by_plane_in_every_orientation(shape, n_axes):
    calls = []

    def smooth(planes, sigma):  # a linear denoiser that mixes the voxels of a plane
        calls.append(planes.shape[-2:])
        return planes - planes.mean((2, 3), keepdim=True)

    volume = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    found = across_slices(smooth, shape)(volume.reshape(2, -1), 0.1).reshape(volume.shape)
    assert len(calls) == n_axes
    if n_axes == 3:
        wanted = volume - sum(volume.mean(dims, keepdim=True) for dims in ((2, 3), (1, 3), (1, 2))) / 3
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 1, 5, 5), (6, 1, 4, 7)])
def test_turning_hides_nothing_from_a_symmetric_denoiser(shape):
    planes = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    turned = turning(lambda x, sigma: torch.relu(x) - x.mean((2, 3), keepdim=True), n_images=6, n_samples=3)
    for _ in range(5):
        np.testing.assert_allclose(
            turned(planes, 0.1), torch.relu(planes) - planes.mean((2, 3), keepdim=True), atol=1e-6
        )


def test_turning_averages_what_leans_to_one_side():
    """A denoiser that knows left from right: eight calls show it the image in eight ways, in any company of frames."""
    ramp = torch.arange(12.0).reshape(1, 1, 3, 4).expand(8, 1, 3, 4)

    def leaning(x, sigma):
        return torch.arange(x[0].numel(), dtype=torch.float32).reshape(1, 1, *x.shape[2:]).expand(x.shape)

    turned, alone = turning(leaning, n_images=8, n_samples=4), turning(leaning, n_images=4, n_samples=4)
    seen = [turned(ramp, 0.1) for _ in range(8)]
    assert len({tuple(x[0].flatten().tolist()) for x in seen}) == 8
    assert len({tuple(x.flatten().tolist()) for x in seen[0][:4]}) == 4
    np.testing.assert_allclose(torch.stack(seen).mean(0), 5.5)
    np.testing.assert_array_equal(seen[0][4:], alone(ramp[:4], 0.1))


@pytest.mark.parametrize("positive", [True, False])
def test_the_last_step_goes_on_until_the_data_are_explained(positive):
    """A denoiser that is sure of a wrong image: one frame is far from its data, the other's noise allows it."""
    data = measured(2)
    data = replace(data, sigma=data.sigma * torch.tensor([[0.1], [50.0]]))
    wrong = torch.tensor([0.0, 0.9, 0.0, 0.9, 0.0, 0.9]).expand(2, 6)
    found = decoupled(
        lambda x, sigma: wrong,
        drawing(2, 6),
        [0.1, 0.02],
        nothing,
        data=data,
        spread=SPREAD,
        positive=positive,
    )
    assert data.residual(wrong)[0] > 3
    assert data.residual(found)[0] <= EXPLAINED
    np.testing.assert_allclose(found[1], wrong[1], atol=1e-3)
