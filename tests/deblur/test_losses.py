"""Perceptual features: fixed, at several scales, and refused where their weights are not."""

import sys

import pytest
import torch
from torch.nn import functional

from mpibridge.errors import SettingsError
from mpibridge_plugins.deblur.losses import WIDTH, features, perceptual, pyramid


def picture(seed=0, n=2, size=32):
    return torch.rand((n, size, size), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["random", "gradient"])
def test_equal_images_have_no_distance_and_others_have(name):
    made = features(name)
    a, b = picture(), picture(1)
    assert perceptual(made, a, a) == 0
    assert perceptual(made, a, b) > 0.01
    torch.testing.assert_close(perceptual(made, a, b), perceptual(made, b, a))
    torch.testing.assert_close(perceptual(made, 2 * a, 2 * b), 2 * perceptual(made, a, b))


def test_random_features_are_always_the_same_and_not_trained():
    one, two = features("random"), features("random")
    assert torch.equal(one.first, two.first)
    assert torch.equal(one.second, two.second)
    assert not list(one.parameters())
    torch.testing.assert_close(one.first.flatten(1).norm(dim=1), torch.ones(WIDTH))
    torch.testing.assert_close(one.second.flatten(1).norm(dim=1), torch.ones(WIDTH))


def test_random_features_by_hand():
    made, image = features("random"), picture(n=1, size=5)
    first = [
        sum((image[0, i : i + 3, j : j + 3] * f[0]).sum() for f in [w])
        for w in made.first
        for i, j in [(1, 1)]
    ]
    whole = functional.conv2d(image[:, None], made.first)
    torch.testing.assert_close(whole[0, :, 1, 1], torch.stack(first))
    torch.testing.assert_close(made(image)[0], functional.conv2d(whole.relu(), made.second).relu())


def test_a_constant_is_seen_by_no_difference():
    images = picture()
    assert perceptual(features("gradient"), images, images + 0.3) == pytest.approx(0, abs=1e-6)


def test_gradients_of_a_ramp():
    ramp = torch.arange(32.0).expand(1, 32, 32)
    for scale, found in enumerate(features("gradient")(ramp)):
        n = 32 >> scale
        torch.testing.assert_close(found[0, : n * (n - 1)], torch.full((n * (n - 1),), 2.0**scale))
        assert not found[0, n * (n - 1) :].any()


def test_small_images_have_fewer_scales():
    assert [len(pyramid(torch.zeros(1, n, n))) for n in (8, 14, 32)] == [1, 2, 3]


def test_vgg_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(SettingsError, match='"vgg" needs torchvision'):
        features("vgg")
