"""The network: what eqs. 1 and 2 promise, and the size of the seed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpibridge_plugins.deblur.network import Block, Deblurring, normalise, steered, without_surround
from mpibridge_plugins.deblur.settings import SIZES, Size

SMALL = Size(folds=1, width=4, halvings=1, blocks=2, surround=3)


def stack(seed=0, n=3, shape=(12, 14)):
    return torch.rand((n, 2, *shape), generator=torch.Generator().manual_seed(seed))


def pointing(shape=(12, 14)):
    angle = torch.rand((2, *shape), generator=torch.Generator().manual_seed(9)) * 2 * torch.pi
    return torch.stack([angle.cos(), angle.sin()], 1)


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = Deblurring(SMALL, pointing())
    for block in made.blocks:
        torch.nn.init.normal_(block.second.weight, std=0.1)
    return made.requires_grad_(False)


def test_images_are_divided_by_the_maximum_of_their_mean():
    images = stack()
    normalised, scale = normalise(images)
    for frame, found, factor in zip(images, normalised, scale, strict=True):
        assert factor == ((frame[0] + frame[1]) / 2).max()
        torch.testing.assert_close(found, frame / factor)


def test_frames_without_a_positive_mean_are_left_alone():
    images = torch.cat([torch.zeros(1, 2, 8, 8), -torch.ones(1, 2, 8, 8)])
    normalised, scale = normalise(images)
    assert torch.equal(normalised, images)
    assert not scale.any()


@given(st.floats(1e-9, 1e6), st.integers(0, 50))
@settings(max_examples=25, deadline=None)
def test_a_factor_passes_through(factor, seed):
    torch.manual_seed(1)
    network, images = Deblurring(SMALL, pointing()).requires_grad_(False), stack(seed)
    torch.testing.assert_close(
        network(factor * images), factor * network(images), rtol=1e-4, atol=1e-5 * factor
    )


def test_the_answer_itself_knows_no_scale(network):
    images = stack()
    torch.testing.assert_close(network.answer(3 * images), 3 * network.answer(images), rtol=1e-4, atol=1e-5)
    assert network.answer(images).abs().max() > 1e-3


@pytest.mark.parametrize("shape", [(12, 14), (11, 9), (8, 8)])
@pytest.mark.parametrize("halvings", [0, 1, 2])
@pytest.mark.parametrize("folds", [1, 2])
def test_images_keep_their_size(shape, halvings, folds):
    network = Deblurring(Size(folds=folds, width=2, halvings=halvings, blocks=1, surround=2), pointing(shape))
    assert network(stack(shape=shape)).shape == (3, *shape)


@given(st.floats(-3, 3), st.integers(0, 50))
@settings(max_examples=25, deadline=None)
def test_a_constant_changes_nothing_where_it_was_measured(constant, seed):
    torch.manual_seed(1)
    network, images = Deblurring(SMALL, pointing()).requires_grad_(False), stack(seed)
    images[:, 0, :3] = 0
    raised = torch.where(images != 0, images + constant, 0.0)
    torch.testing.assert_close(network.answer(raised), network.answer(images), rtol=1e-3, atol=1e-5)
    assert not without_surround(images, 3)[:, 0, :3].any()
    assert abs(without_surround(torch.where(images != 0, 1.0, 0.0), 3)).max() < 1e-5


def test_the_surround_is_a_gaussian_mean():
    images = stack(n=1)
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(14.0), indexing="ij")
    weight = torch.exp(-((y - 5) ** 2 + (x - 4) ** 2) / (2 * 2.0**2))
    weight[(y - 5).abs() > 7] = 0
    weight[(x - 4).abs() > 7] = 0
    wanted = images[0, 1, 5, 4] - (weight * images[0, 1]).sum() / weight.sum()
    torch.testing.assert_close(without_surround(images, 2)[0, 1, 5, 4], wanted, rtol=1e-4, atol=1e-6)


def test_images_are_steered_by_the_direction_of_the_scan():
    images, directions = stack(), pointing()
    found = steered(images, directions)
    assert found.shape == (3, 6, 12, 14)
    assert torch.equal(found[:, :2], images)
    assert torch.equal(found[:, 2:4], images[:, :1] * directions[0])
    assert torch.equal(found[:, 4:], images[:, 1:] * directions[1])


def test_the_usual_gain_is_that_of_maxima(network):
    images, target = stack(), stack(1)[:, 0]
    network.update(images, target)
    wanted = (target.amax((1, 2)) / normalise(images)[1]).mean()
    torch.testing.assert_close(network.gain, wanted)
    for _ in range(50):
        network.update(images, 2 * target)
    assert 1.9 * wanted < network.gain <= 2 * wanted
    before = network.gain.clone()
    network.update(0 * images, target)  # says nothing
    assert torch.equal(network.gain, before)


def test_the_published_network_is_that_of_the_seed():
    with torch.device("meta"):
        network = Deblurring(SIZES["published"], torch.empty(2, 2, 280, 280))
        found = network(torch.empty(1, 2, 280, 280))
    assert found.shape == (1, 280, 280)
    assert sum(isinstance(part, Block) for part in network.modules()) == 9
    assert network.blocks[0].first.weight.shape == (256, 256, 3, 3)


def test_an_untrained_block_changes_nothing():
    torch.manual_seed(0)
    x = stack().repeat(1, 2, 1, 1)
    assert torch.equal(Block(4)(x), x)
