"""Phantoms have the sizes they state, move as bodies move, and their pictures are means over voxels."""

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.model import Grid
from mpibridge.simulate import phantoms

PLANE = Grid((60, 60, 1), (30e-3, 30e-3, 1e-3))
VOLUME = Grid((60, 40, 40), (30e-3, 20e-3, 20e-3))
BUILT = {
    **{name: phantoms.named(name, PLANE) for name in phantoms.PHANTOMS},
    "points": phantoms.points([(1e-3, 2e-3), (-3e-3, 0)], values=[0.5, 0.2]),
    "digit": phantoms.digit(np.eye(5)),
    "vessel tree": phantoms.vessel_tree(np.random.default_rng(1), PLANE),
    "sum": phantoms.cone() + 0.5 * phantoms.spiral(),
}


def amount(phantom, grid, finer=1):
    """The integral of the concentration in m³, of a plane in m²."""
    spacing = grid.spacing if grid.size[2] > 1 else grid.spacing[:2]
    return float(phantom.on(grid, finer).sum()) * np.prod(spacing)


@pytest.mark.parametrize("name", BUILT)
def test_values_stay_within_the_stated_range_and_extent(name):
    phantom = BUILT[name]
    low, high = np.array(phantom.extent)
    margin = 0.3 * (high - low) + 1e-3
    points = np.random.default_rng(0).uniform(low - margin, high + margin, (40000, 3))
    points[::2, 2] = (low[2] + high[2]) / 2
    values = phantom.concentration(points)
    assert values.shape == (40000,)
    assert values.min() >= 0
    assert values.max() <= phantom.maximum * (1 + 1e-12)
    assert phantom.on(PLANE).max() > 0.5 * phantom.maximum or name in ("bars", "bar-like-pair", "sum")
    if name != "ell":  # fills all of its field of view
        outside = ((points < low - 1e-12) | (points > high + 1e-12)).any(axis=1)
        assert outside.any()
        assert not values[outside].any()


def test_open_mpi_volumes():
    cone = phantoms.cone(value=1.0)
    assert np.pi * 22 / 3 * (1 + 4.8792 + 4.8792**2) == pytest.approx(683.9, abs=0.1)
    assert amount(cone, VOLUME, 2) == pytest.approx(683.9e-9, rel=2e-3)
    assert cone.extent[1][0] - cone.extent[0][0] < 24e-3 + 2 * 4.88e-3
    tip, base = cone.concentration(np.array([[10.9e-3, 0.99e-3, 0], [-10.9e-3, 4.8e-3, 0]]))
    assert tip == base == 1
    cubes = phantoms.dilution_cubes()
    one = phantoms.dilution_cubes(values=[0, 0, 1, 0, 0, 0, 0, 0])
    assert amount(one, VOLUME, 2) == pytest.approx(8e-9)
    assert amount(cubes, VOLUME, 2) == pytest.approx(
        8e-9 * sum((44.4, 100, 29.6, 8.77, 19.7, 66.6, 13.1, 5.85)) / 100
    )
    found = cubes.concentration(np.array([[6, 6, 3], [6, -6, 3], [-6, -6, 3], [-6, 6, 3], [6, 6, -3]]) * 1e-3)
    np.testing.assert_allclose(found, [0.444, 1.0, 0.296, 0.0877, 0.197])
    assert sorted(np.round(found[:2], 3)) == [0.444, 1.0]


def test_resolution_tubes_point_where_they_should():
    tubes = phantoms.resolution_tubes(length=20e-3)
    at = np.array([[1, 0, 0]] * 5) * -10e-3
    angle, tilt = np.radians([0, 20, -30, 0, 0]), np.radians([0, 0, 0, -10, 15])
    way = np.stack([np.cos(angle) * np.cos(tilt), np.sin(angle), np.sin(tilt)], axis=-1)
    np.testing.assert_array_equal(tubes.concentration(at + 19.9e-3 * way), 0.5)
    np.testing.assert_array_equal(tubes.concentration(at + 20.6e-3 * way), 0)
    between = np.radians([10, -15])
    way = np.stack([np.cos(between), np.sin(between), [0, 0]], axis=-1)
    np.testing.assert_array_equal(tubes.concentration(at[:2] + 15e-3 * way), 0)


def test_areas_of_figures():
    ring = phantoms.rings([6e-3], width=1e-3)
    assert amount(ring, PLANE, 5) == pytest.approx(2 * np.pi * 6e-3 * 1e-3, rel=3e-3)
    disc = phantoms.points([(0, 0)], diameter=8e-3, values=0.3)
    assert amount(disc, PLANE, 5) == pytest.approx(0.3 * np.pi * 16e-6, rel=3e-3)
    bars = phantoms.bars([1e-3, 2e-3], length=5e-3, per_group=2)
    assert amount(bars, PLANE, 4) == pytest.approx(2 * 3e-3 * 5e-3, rel=1e-9)
    dots = phantoms.dot_grid((3, 2), pitch=5e-3, diameter=2e-3)
    assert amount(dots, PLANE, 5) == pytest.approx(6 * np.pi * 1e-6, rel=1e-2)


def test_spiral_has_its_width_and_pitch():
    spiral = phantoms.spiral(diameter=25e-3, inner=2e-3)
    radius = np.linspace(0, 13e-3, 26001)
    along = (
        spiral.concentration(np.stack([np.zeros_like(radius), radius, np.zeros_like(radius)], axis=-1)) > 0
    )
    edges = radius[1:][np.diff(along.astype(int)) != 0].reshape(-1, 2)
    middle, width = edges.mean(axis=1), np.diff(edges, axis=1)[:, 0]
    np.testing.assert_allclose(np.diff(middle), 4.1e-3, atol=0.05e-3)
    slope = 4.1e-3 / (2 * np.pi * middle)
    np.testing.assert_allclose(width[1:], (1.6e-3 * np.hypot(1, slope))[1:], rtol=0.02)
    turns = (12.5e-3 - 0.8e-3 - 2e-3) / 4.1e-3
    arc = 2 * np.pi * turns * (2e-3 + (12.5e-3 - 0.8e-3)) / 2
    assert amount(spiral, PLANE, 5) == pytest.approx(arc * 1.6e-3 + np.pi * 0.8e-3**2, rel=0.02)


def test_lambda_has_two_parts_and_a_fork():
    from scipy.ndimage import label

    image = phantoms.lambda_shape().on(PLANE, 3).values[0] > 0.5
    _, n_parts = label(image, np.ones((3, 3)))
    assert n_parts == 2
    rows = np.flatnonzero(image.any(axis=1))
    height = (rows[-1] - rows[0] + 1) * PLANE.spacing[1]
    assert height == pytest.approx(14e-3, abs=0.6e-3)
    per_row = [label(image[row])[1] for row in rows]
    assert per_row[1] == 2  # two feet
    assert per_row[len(rows) // 2 + 3] == 1  # one stroke above the fork


@given(st.floats(1.0, 4.0), st.floats(0.2, 1.0), st.floats(0.2, 1.0), st.floats(-3, 3))
@settings(max_examples=10, deadline=None)
def test_bar_has_the_moments_of_the_pair(ratio, first, second, angle):
    given = {"diameter": 0.3e-3, "values": (first, second), "angle": angle}
    moments = []
    for make in (phantoms.pair, phantoms.bar_like_pair):
        phantom = make(ratio * 0.3e-3, **given)
        low, high = np.array(phantom.extent)
        inside = (np.arange(400) + 0.5) / 400
        x, y = (low[i] + inside * (high[i] - low[i]) for i in range(2))
        points = np.stack([a.ravel() for a in np.meshgrid(x, y, [0.0])], axis=-1)
        weight = phantom.concentration(points)
        amount = weight.sum() * (high - low)[:2].prod() / 400**2
        along, across = (
            points[:, :2] @ [np.cos(angle), np.sin(angle)],
            points[:, :2] @ [-np.sin(angle), np.cos(angle)],
        )
        mean = np.average(along, weights=weight)
        spread = np.average((along - mean) ** 2, weights=weight), np.average(across**2, weights=weight)
        moments.append([amount * 1e7, mean * 1e4, *np.array(spread) * 1e9])
    np.testing.assert_allclose(moments[1], moments[0], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("name", ["lambda", "spiral", "cubes", "digit", "sum"])
def test_quarter_turns_and_whole_voxels_move_the_picture(name):
    phantom = BUILT[name]
    image = phantom.on(PLANE, 2).values
    turned = phantom.moved(angle=np.pi / 2).on(PLANE, 2).values
    shifted = phantom.moved((1e-3, -0.5e-3)).on(PLANE, 2).values  # two voxels and one
    limit = 5e-3 * image.sum()  # points that lie on an edge fall to either side
    assert np.abs(turned - np.rot90(image, 1, axes=(2, 1))).sum() <= limit
    inner = np.s_[:, 3:-3, 3:-3]
    assert np.abs(shifted - np.roll(image, (-1, 2), axis=(1, 2)))[inner].sum() <= limit


@given(
    st.tuples(st.floats(-4e-3, 4e-3), st.floats(-4e-3, 4e-3), st.floats(-4e-3, 4e-3)),
    st.floats(-7, 7),
    st.tuples(st.floats(-4e-3, 4e-3), st.floats(-4e-3, 4e-3)),
    st.floats(0.5, 2),
)
@settings(max_examples=30, deadline=None)
def test_a_moved_phantom_has_at_the_moved_point_what_it_had(shift, angle, center, factor):
    phantom = BUILT["ell"]  # smooth in its dot
    points = np.random.default_rng(0).uniform(3e-3, 9e-3, (200, 3))
    pivot = np.array([*center, 0.0])
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    targets = (points - pivot) @ turn.T + pivot + shift
    moved = phantom.moved(shift, angle, center)
    np.testing.assert_allclose(moved.concentration(targets), phantom.concentration(points), atol=1e-9)
    larger = phantom.scaled(factor, center)
    np.testing.assert_allclose(
        larger.concentration((points - pivot) * factor + pivot), phantom.concentration(points), atol=1e-9
    )
    low, high = np.array(moved.extent)
    inside = (np.array(phantom.extent) - pivot) @ turn.T + pivot + shift
    assert (inside >= low - 1e-12).all()
    assert (inside <= high + 1e-12).all()


def test_sums_and_multiples():
    a, b = phantoms.spiral(), phantoms.lambda_shape()
    both = 0.5 * a + b * 2
    expected = 0.5 * a.rendered(PLANE, 1) + 2 * b.rendered(PLANE, 1)
    xr.testing.assert_allclose(both.rendered(PLANE, 1), expected)
    assert both.maximum == 2.5
    assert a.on(PLANE).max() == 1  # unchanged
    with pytest.raises(SettingsError, match="from 0, found -1"):
        a * -1
    with pytest.raises(TypeError):
        a + 1


def test_pictures_are_labelled_means():
    phantom = phantoms.lambda_shape().moved((1e-3, 2e-3, 0))
    grid = Grid((12, 10, 1), (24e-3, 20e-3, 1e-3), (1e-3, 2e-3, 0))
    fine, coarse = phantom.rendered(grid, 4), phantom.on(grid, 4)
    assert dict(fine.sizes) == {"z": 1, "y": 40, "x": 48}
    assert fine.name == coarse.name == "concentration"
    assert Grid.from_attributes(fine.attrs) == Grid((48, 40, 1), grid.field_of_view, grid.center)
    assert Grid.from_attributes(coarse.attrs) == grid
    np.testing.assert_array_equal(coarse["y"], grid.axis("y"))
    assert coarse["x"].attrs["units"] == "m"
    assert coarse.values[0, 4, 6] == pytest.approx(fine.values[0, 16:20, 24:28].mean())
    np.testing.assert_array_equal(phantoms.on_grid(fine, grid), coarse)
    volume = phantoms.cone().rendered(Grid((6, 4, 4), (24e-3, 12e-3, 12e-3)), 2)
    assert volume.shape == (8, 8, 12)
    with pytest.raises(ShapeError, match="does not divide"):
        phantoms.on_grid(fine, Grid((7, 10, 1), grid.field_of_view))
    with pytest.raises(SettingsError, match="finer must be a whole number from 1, found 0"):
        phantom.on(grid, 0)


def test_the_l_of_the_demo_keeps_its_values():
    grid = Grid((7, 5, 1), (21e-3, 20e-3, 1e-3), (1e-3, -2e-3, 0.0))
    found = phantoms.phantom(grid, finer=4)
    u = ((found["x"] - 1e-3) / 21e-3).values
    v = ((found["y"] + 2e-3) / 20e-3).values[:, None]
    stem = (np.abs(u + 0.2) < 0.06) & (np.abs(v) < 0.28)
    foot = (np.abs(v + 0.22) < 0.06) & (u > -0.26) & (u < 0.16)
    dot = 0.7 * np.exp(-((u - 0.2) ** 2 + (v - 0.18) ** 2) / 0.005)
    np.testing.assert_array_equal(found.values[0], np.maximum(stem | foot, dot))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: phantoms.points([(0, 0)], diameter=0), "diameter must be above 0, found 0"),
        (lambda: phantoms.points([(0, 0, 0, 0)]), r"every position must be \(x, y, z\)"),
        (lambda: phantoms.points([(0, 0)], values=[1, 2]), "1 points need as many values"),
        (lambda: phantoms.pair(0.1e-3, diameter=0.2e-3), "distance must be from 0.0002, found 0.0001"),
        (lambda: phantoms.cone(angle=np.nan), "angle must be from 0 to 1.5, found nan"),
        (lambda: phantoms.dilution_cubes(values=[1, 2]), "eight cubes need eight values"),
        (lambda: phantoms.spiral(diameter=3e-3), "diameter must be from"),
        (lambda: phantoms.lambda_shape(width=5e-3), "width must be above 0 to"),
        (lambda: phantoms.bars([]), "at least one width"),
        (lambda: phantoms.rings([1e-4], width=1e-3), "radii must be from 0.0005, found 0.0001"),
        (lambda: phantoms.digit(np.ones(3)), r"images must be \(n, height, width\)"),
        (lambda: phantoms.digit(-np.ones((3, 3))), "pixels must be finite and from 0, found -1"),
        (lambda: phantoms.cone().moved(angle=np.inf), "angle must be"),
        (lambda: phantoms.cone().scaled(0), "factor must be above 0, found 0"),
        (lambda: phantoms.named("spirale", PLANE), "unknown phantom 'spirale', choose from ell, spiral"),
    ],
)
def test_wrong_settings_are_named_with_value_and_range(make, message):
    with pytest.raises(SettingsError, match=message):
        make()


def test_positions_must_be_triples():
    with pytest.raises(ShapeError, match=r"positions must be \(n, 3\), found \(4, 2\)"):
        phantoms.spiral().concentration(np.zeros((4, 2)))


def test_importing_phantoms_brings_nothing_heavy():
    code = (
        "import sys, mpibridge.simulate.phantoms; print({'numba', 'torch', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
