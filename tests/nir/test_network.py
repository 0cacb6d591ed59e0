"""The networks: each its own, started as their paper says, and stored as numbers."""

import pytest
import torch

from mpibridge.errors import ShapeError

from .examples import plane_wave, siren


def test_starts_as_in_its_paper():
    network = siren([2, 256, 256, 1], n=3, first=30.0, hidden=30.0)
    first, hidden, last = (weight.detach() for weight in network.weights)
    assert first.abs().max() <= 1 / 2
    assert first.std() == pytest.approx(0.5 / 3**0.5, rel=0.05)
    for weight in (hidden, last):
        bound = (6 / 256) ** 0.5 / 30
        assert weight.abs().max() <= bound
        assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_the_sines_keep_their_spread_from_layer_to_layer():
    """What that start is for: arguments of hidden sines have a standard deviation of about 1."""
    network = siren([2, 512, 512, 512, 1], first=30.0, hidden=30.0)
    x = torch.rand(1, 2000, 2) * 2 - 1
    layers = [(w.detach(), b.detach()) for w, b in zip(network.weights, network.biases, strict=True)]
    for i, (weight, bias) in enumerate(layers[:-1]):
        argument = 30 * torch.baddbmm(0 * bias, x, weight)
        if i:
            assert argument.std() == pytest.approx(1, rel=0.15)
        x = torch.sin(argument + 30 * bias)


def test_networks_of_frames_know_nothing_of_each_other():
    together = siren([2, 16, 16, 1], n=3, values="softplus")
    points = torch.rand(3, 40, 2) * 2 - 1
    values = together(points)
    assert values.shape == (3, 40)
    assert (values > 0).all()
    for i in range(3):
        alone = siren([2, 16, 16, 1], values="softplus").load(together.flat()[i : i + 1])
        torch.testing.assert_close(alone(points[i : i + 1])[0], values[i])
        torch.testing.assert_close(together(points[i : i + 1], i)[0], values[i])


def test_the_same_generator_the_same_network():
    assert torch.equal(siren([3, 8, 1], n=2, seed=4).flat(), siren([3, 8, 1], n=2, seed=4).flat())
    assert not torch.equal(siren([3, 8, 1], seed=4).flat(), siren([3, 8, 1], seed=5).flat())


def test_numbers_of_another_network_are_refused():
    with pytest.raises(ShapeError, match=r"\(1, 7\) parameters for 1 networks of 5"):
        siren([2, 1, 1]).load(torch.zeros(1, 7))


def test_a_wave_is_that_wave():
    p = torch.rand(1, 50, 2) * 2 - 1
    wanted = 0.5 + 0.4 * torch.sin(2.0 * p[0, :, 0] - 1.0 * p[0, :, 1] + 0.3)
    torch.testing.assert_close(plane_wave((2.0, -1.0), 0.3, first=7.0)(p)[0], wanted, rtol=0, atol=1e-5)
