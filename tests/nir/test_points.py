"""Where networks are asked, and what their averages are: cases with known answers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpibridge.errors import SettingsError
from mpibridge.model import Grid
from mpibridge_plugins.nir.field import Field
from mpibridge_plugins.nir.points import axes_of, cell_sizes, enough_points, on_each_axis, points_in

from .examples import GRID, constant, mean_of_wave, plane_wave, ramp


def test_points_are_centres_of_cells_in_units_of_half_the_longest_side():
    points = points_in(GRID, (1, 1, 1)).numpy()
    assert points.shape == (72, 2)  # y, x; z has one voxel
    np.testing.assert_allclose(np.unique(points[:, 1]), (np.arange(9) - 4) / 4.5, atol=1e-6)
    np.testing.assert_allclose(np.unique(points[:, 0]), (np.arange(8) - 3.5) / 4.5, atol=1e-6)
    np.testing.assert_allclose(cell_sizes(GRID, (1, 2, 4)), [0.5 / 4.5, 0.25 / 4.5], rtol=1e-6)


def test_axes_with_one_voxel_have_no_coordinate():
    assert axes_of(Grid((5, 1, 3), (1.0, 1.0, 1.0))) == [0, 2]
    assert axes_of(Grid((1, 1, 1), (1.0, 1.0, 1.0))) == [2]
    assert on_each_axis(GRID, 3) == (1, 3, 3)


def test_a_grid_without_known_lengths_counts_voxels():
    unknown = Grid((9, 8, 1), (0.0, 0.0, 0.0))
    torch.testing.assert_close(points_in(unknown, (1, 2, 2)), points_in(GRID, (1, 2, 2)))


def test_a_grid_outside_of_the_field_of_view_is_refused():
    moved = Grid((4, 4, 1), (4e-3, 4e-3, 1e-3), (3e-3, 0.0, 0.0))
    with pytest.raises(SettingsError, match=r"along x.*nothing is known outside"):
        points_in(moved, (1, 1, 1), GRID)
    inside = Grid((4, 4, 1), (4e-3, 4e-3, 1e-3), (2e-3, 0.0, 0.0))
    assert points_in(inside, (1, 1, 1), GRID)[:, 1].max() == pytest.approx((2 + 1.5) / 4.5)


@pytest.mark.parametrize("size", [(8, 9), (16, 18), (15, 17), (5, 7), (54, 79)])
@pytest.mark.parametrize(
    ("network", "answer"),
    [
        (constant(0.7), lambda grid: np.full(grid.shape, 0.7)),
        (ramp((0.2, -0.1), 0.5), lambda grid: _ramp(grid, (0.2, -0.1), 0.5)),
        (plane_wave((3.0, -5.0), 0.4), lambda grid: mean_of_wave(grid, (3.0, -5.0), 0.4)),
    ],
    ids=["constant", "ramp", "wave"],
)
def test_known_functions_on_any_grid(network, answer, size):
    """Sampling is exact for every size, multiples of the native grid or not: voxels are averages to 1e-3."""
    grid = GRID.resized(size)
    found = Field(network, GRID).on(grid).reshape(1, *grid.shape)[0].numpy()
    np.testing.assert_allclose(found, answer(grid), rtol=0, atol=1e-3)


def _ramp(grid, slope, offset):
    y, x = (grid.axis(d) / 4.5e-3 for d in "yx")
    return (offset + slope[0] * y[:, None] + slope[1] * x[None])[None]


@given(st.integers(2, 6), st.integers(2, 6), st.integers(2, 6))
@settings(max_examples=15, deadline=None)
def test_averages_in_three_dimensions_keep_the_order_of_the_axes(nz, ny, nx):
    grid = Grid((nx, ny, nz), (nx * 1e-3, ny * 1e-3, nz * 1e-3))
    slope = np.array([0.3, 0.02, -0.1])
    network = plane_wave([1e-3 * k for k in slope], 0.0, offset=1.0, amplitude=1e3)
    half = max(grid.field_of_view) / 2
    z, y, x = (grid.axis(d) / half for d in "zyx")
    wanted = 1 + slope[0] * z[:, None, None] + slope[1] * y[:, None] + slope[2] * x
    found = Field(network, grid).on(grid, (2, 3, 1)).reshape(grid.shape)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_jittered_points_stay_in_their_cells_and_meet_averages_on_average():
    field = Field(plane_wave((3.0, -5.0), 0.4), GRID)
    generators = [np.random.default_rng(0)]
    with torch.no_grad():
        draws = torch.stack([field.stratified(2, generators)[1][0] for _ in range(400)])
    exact = mean_of_wave(GRID, (3.0, -5.0), 0.4).ravel()
    error = draws.mean(0).numpy() - exact
    assert np.abs(error).max() < 4.5 * draws.std(0).max() / 20
    once = np.abs(draws.numpy() - exact).max()
    assert 1e-3 < once < 0.4 * 5 / 4.5 / 2  # a draw differs, by less than the wave does within a cell


def test_finer_grids_are_pooled_as_in_the_seed():
    field = Field(ramp((0.2, -0.1), 0.5), GRID)
    for scale in (1, 3, 5):
        with torch.no_grad():
            _, image = field.pooled(scale, [np.random.default_rng(0)])
        np.testing.assert_allclose(image.reshape(GRID.shape), _ramp(GRID, (0.2, -0.1), 0.5), atol=1e-4)


def test_small_grids_get_more_points():
    assert enough_points(Grid((8, 100, 1), (1.0, 1.0, 1.0))) == (1, 2, 8)
