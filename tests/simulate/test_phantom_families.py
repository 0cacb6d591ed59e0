"""Random phantoms come from their generator alone, one by one or in bulk; images and scenes keep what they show."""

import itertools

import numpy as np
import pytest

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.model import Grid
from mpibridge.simulate import phantoms
from mpibridge.simulate.phantoms.kinds import BOX, ELLIPSOID

GRID = Grid((19, 19, 1), (26.6e-3, 26.6e-3, 1e-3), (1e-3, -2e-3, 3e-3))
VOLUME = Grid((12, 10, 8), (24e-3, 20e-3, 16e-3), (0, 1e-3, 0))
IMAGES = np.random.default_rng(3).integers(0, 256, (5, 9, 7)).astype(np.uint8)


@pytest.fixture(scope="module")
def scene():
    return phantoms.scene(np.random.default_rng(0), resolution=500)


@pytest.fixture(scope="module")
def families(scene):
    return {**phantoms.FAMILIES, "digits": phantoms.digits(IMAGES), "scene": scene.family}


@pytest.mark.parametrize("name", [*phantoms.FAMILIES, "digits", "scene"])
@pytest.mark.parametrize("grid", [GRID, VOLUME], ids=["plane", "volume"])
def test_every_family_draws_visible_phantoms_within_the_range(families, name, grid):
    images, index = phantoms.draw_images({name: families[name]}, 40, np.random.default_rng(0), grid)
    assert images.shape == (40, *grid.shape)
    assert images.dtype == np.float32
    assert not index.any()
    assert images.min() >= 0
    assert images.max() <= 1 + 1e-6
    assert (images.max(axis=(1, 2, 3)) > 0.02).mean() > 0.9
    assert len(np.unique(images.sum(axis=(1, 2, 3)))) > 35


@pytest.mark.parametrize("grid", [GRID, VOLUME], ids=["plane", "volume"])
def test_the_quick_way_shows_the_same_as_the_slow_one(families, grid):
    for name, family in families.items():
        for seed in range(4):
            phantom = phantoms.draw(family, np.random.default_rng(seed), grid)
            quick = phantoms.render([phantom], grid, 3)[0]
            np.testing.assert_allclose(quick, phantom.on(grid, 3).values, atol=1e-6, err_msg=name)
            assert quick.max() <= phantom.maximum + 1e-6


@pytest.mark.parametrize("grid", [GRID, VOLUME], ids=["plane", "volume"])
def test_pairs_and_bars_are_as_frequent_and_within_the_range(grid):
    drawn = [phantoms.pairs_and_bars(np.random.default_rng(seed), grid) for seed in range(200)]
    kinds = np.concatenate([phantom.concentration.rows[:, 0] for phantom in drawn])
    points, bars = (int((kinds == kind).sum()) for kind in (ELLIPSOID, BOX))
    assert points + bars == len(kinds)
    assert points / 2 == pytest.approx(bars, rel=0.2)
    images = phantoms.render(drawn, grid, 3)
    assert 0 <= images.min() <= images.max() <= 1 + 1e-6
    assert images.any((1, 2, 3)).all()
    assert len({len(phantom.concentration.rows) for phantom in drawn}) > 3


def test_other_phantoms_go_through_the_same_call():
    def moved(generator, grid):
        return phantoms.lambda_shape(center=grid.center).moved(
            angle=generator.uniform(-3, 3), center=grid.center
        )

    mixed = {"moved": moved, "vessels": phantoms.FAMILIES["vessels"], "digits": phantoms.digits(IMAGES)}
    images, index = phantoms.draw_images(mixed, 30, np.random.default_rng(0), GRID)
    assert set(index) == {0, 1, 2}
    own = np.random.default_rng(np.random.default_rng(0).integers(0, 2**63, 1)[0])
    first = list(mixed.values())[own.integers(3)](own, GRID)
    np.testing.assert_allclose(images[0], first.on(GRID, 3).values, atol=1e-6)


def test_same_seed_same_images_however_they_are_split(families):
    whole, index = phantoms.draw_images(families, 300, np.random.default_rng(7), GRID)
    generator = np.random.default_rng(7)
    pieces = [phantoms.draw_images(families, n, generator, GRID) for n in (1, 0, 63, 236)]
    np.testing.assert_array_equal(np.concatenate([piece[0] for piece in pieces]), whole)
    np.testing.assert_array_equal(np.concatenate([piece[1] for piece in pieces]), index)
    other, _ = phantoms.draw_images(families, 300, np.random.default_rng(8), GRID)
    assert np.abs(other - whole).max() > 0.5
    counts = np.bincount(index, minlength=len(families))
    assert counts.min() > 300 / len(families) / 3


def marks(images):
    """Numbers (n, 6) that describe images: amount, area, maximum, roughness, pieces and holes."""
    from scipy.ndimage import label

    planes = images[:, 0]
    shown = planes > 0.1 * planes.max(axis=(1, 2), keepdims=True)
    mean = planes.mean(axis=(1, 2))
    rough = np.abs(np.diff(planes, axis=-1)).mean(axis=(1, 2)) / (mean + 1e-3)
    pieces = [label(each, np.ones((3, 3)))[1] for each in shown]
    holes = [label(~each)[1] for each in shown]
    return np.stack([mean, shown.mean(axis=(1, 2)), planes.max(axis=(1, 2)), rough, pieces, holes], axis=-1)


def test_families_differ(families):
    """Some mean over 200 images tells any two families apart."""
    found = {
        name: marks(phantoms.draw_images({name: family}, 200, np.random.default_rng(1), GRID)[0])
        for name, family in families.items()
    }
    for a, b in itertools.combinations(found, 2):
        error = np.sqrt((found[a].var(axis=0) + found[b].var(axis=0)) / 200) + 1e-9
        assert (np.abs(found[a].mean(axis=0) - found[b].mean(axis=0)) / error).max() > 4, (a, b)


def test_drawing_checks_its_arguments():
    generator = np.random.default_rng(0)
    with pytest.raises(SettingsError, match=r"unknown families \['vessel'\], choose from vessels"):
        phantoms.draw("vessel", generator, GRID)
    with pytest.raises(SettingsError, match="digits need images"):
        phantoms.draw_images(["blobs", "digits"], 3, generator, GRID)
    with pytest.raises(SettingsError, match="no family"):
        phantoms.draw_images([], 3, generator, GRID)
    with pytest.raises(SettingsError, match="from 0, found -1"):
        phantoms.draw_images(["blobs"], -1, generator, GRID)
    assert phantoms.draw("blobs", generator, GRID).name == "blobs"


@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_digits_keep_the_sum_of_the_image(angle):
    grid = Grid((40, 40, 1), (40e-3, 40e-3, 1e-3))
    image = IMAGES[0]
    picture = phantoms.digit(image, size=20e-3, angle=angle, center=(1e-3, 2e-3)).on(grid, 4)
    pixel = 20e-3 / 9
    expected = image.sum() / 255 * pixel**2
    assert float(picture.sum()) * np.prod(grid.spacing[:2]) == pytest.approx(expected, rel=5e-3)


def test_digits_stand_upright():
    image = np.zeros((9, 9))
    image[0, 2] = 1  # above, left of the middle
    center = phantoms.digit(image, size=9e-3).concentration(np.array([[-2e-3, 4e-3, 0], [-2e-3, -4e-3, 0]]))
    np.testing.assert_allclose(center, [1, 0], atol=1e-6)


def test_crops_of_a_scene_agree_where_they_overlap(scene):
    grid = Grid((140, 140, 1), (20e-3, 20e-3, 1e-3))
    step = grid.spacing[0]
    image = scene.crop((3e-3, -4e-3), 0.0, grid).values[0]
    other = scene.crop((3e-3 + 20 * step, -4e-3 - 10 * step), 0.0, grid).values[0]
    np.testing.assert_allclose(image[:-10, 20:], other[10:, :-20], atol=1e-5)
    turned = scene.crop((3e-3, -4e-3), np.pi / 2, grid).values[0]
    np.testing.assert_allclose(turned, np.rot90(image, 1, axes=(0, 1)), atol=1e-5)
    wide = scene.crop((3e-3, -4e-3), 0.4, Grid((280, 280, 1), (40e-3, 40e-3, 1e-3))).values[0]
    middle = scene.crop((3e-3, -4e-3), 0.4, Grid((140, 140, 1), (20e-3, 20e-3, 1e-3), (5e-3, 0, 0))).values[0]
    np.testing.assert_allclose(wide[70:-70, 70:-70], middle, atol=1e-5)
    place = np.array([[3e-3 + 2e-3 * np.cos(0.4), -4e-3 + 2e-3 * np.sin(0.4), 0.0]])
    at = scene.crop((3e-3, -4e-3), 0.4, Grid((1, 1, 1), (1e-4, 1e-4, 1e-3)))
    assert at.values.item() == pytest.approx(
        scene.phantom.concentration(np.array([[3e-3, -4e-3, 0]]))[0], abs=1e-6
    )
    right = Grid((1, 1, 1), (1e-4, 1e-4, 1e-3), (0.0, 0.0, 0.0))
    moved = scene.crop(place[0, :2], 0.4, right).values.item()
    assert moved == pytest.approx(scene.phantom.concentration(place)[0], abs=1e-6)


def test_random_crops_lie_on_the_scene(scene):
    grid = Grid((30, 30, 1), (20e-3, 20e-3, 1e-3))
    centers, angles = scene.places(50, np.random.default_rng(0), grid)
    corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * 10e-3
    turn = np.stack([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]])
    assert np.abs(np.einsum("abn,kb->nka", turn, corners) + centers[:, None]).max() <= scene.size / 2
    crops = scene.crops(centers, angles, grid, finer=2)
    np.testing.assert_allclose(crops[7], scene.crop(centers[7], angles[7], grid, finer=2), atol=1e-6)
    assert len(np.unique(crops.sum(axis=(1, 2, 3)))) == 50
    with pytest.raises(SettingsError, match=r"diagonal of the field of view must be from 0 to 0\.0714"):
        scene.places(1, np.random.default_rng(0), Grid((3, 3, 1), (60e-3, 60e-3, 1e-3)))
    with pytest.raises(ShapeError, match="centers"):
        scene.crops(centers[:3], angles, grid)


def test_a_scene_is_one_connected_channel_of_changing_width_and_concentration(scene):
    from scipy.ndimage import distance_transform_edt, label

    image = scene.image[0]
    labels, n = label(image > 0, np.ones((3, 3)))
    assert (labels == 1).sum() == (labels > 0).sum(), n
    assert 0.25 < (image > 0).mean() < 0.55
    inside = image[image > 0]
    assert inside.max() <= 1
    assert np.percentile(inside, 90) > 1.5 * np.percentile(inside, 10)
    depth = distance_transform_edt(image > 0)
    assert depth.max() * scene.size / 500 > 0.9e-3
    again = phantoms.scene(np.random.default_rng(0), resolution=500)
    np.testing.assert_array_equal(again.image, scene.image)
    forked = phantoms.scene(np.random.default_rng(0), resolution=500, forks=30)
    assert (forked.image >= scene.image - 1e-6).all()
    assert (forked.image > 0).sum() > 1.01 * (image > 0).sum()
    with pytest.raises(SettingsError, match="width must be from 0 to"):
        phantoms.scene(np.random.default_rng(0), nodes=40)


def test_vessels_become_thinner_and_fill_volumes():
    phantom = phantoms.vessel_tree(np.random.default_rng(0), VOLUME, radius=1.5e-3)
    rows = phantom.concentration.rows
    assert (rows[:, 15] < rows[:, 14]).all()
    assert rows[0, 14] == pytest.approx(1.5e-3)
    assert np.ptp(rows[:, 10]) > 2e-3  # leaves its plane
    flat = phantoms.vessel_tree(np.random.default_rng(0), GRID).concentration.rows
    np.testing.assert_allclose(flat[:, [10, 13]], GRID.center[2])
