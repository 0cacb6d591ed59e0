"""Gaussian weights between path and pixels: laws of means."""

import numpy as np
import pytest
import torch

from mpibridge.model import Grid
from mpibridge_plugins.bilstm import path

GRID = Grid((20, 16, 1), (40e-3, 32e-3, 1e-3), (1e-3, -2e-3, 0.0))
X, Y = (
    torch.from_numpy(np.broadcast_to(v, (16, 20)).ravel())
    for v in (GRID.axis("x")[None, :], GRID.axis("y")[:, None])
)


@pytest.fixture
def inside():
    """A path well inside of the grid, (sample, 3)."""
    phase = 2 * np.pi * np.arange(200) / 200
    points = np.stack([12e-3 * np.sin(3 * phase), 9e-3 * np.sin(4 * phase), 0 * phase], 1)
    return torch.from_numpy(points + np.array(GRID.center))


def test_a_ramp_seen_along_the_path_is_the_position(inside):
    seen = path.sampling(inside, GRID, 100).double()
    for axis, ramp in enumerate((X, Y)):
        np.testing.assert_allclose(seen @ ramp, inside[::2, axis], atol=2e-5)


def test_a_point_source_is_seen_as_a_gaussian_of_one_pixel(inside):
    image = torch.zeros(16, 20)
    image[8, 10] = 1
    squared = ((inside[:, 0] - GRID.axis("x")[10]) / GRID.spacing[0]) ** 2
    squared += ((inside[:, 1] - GRID.axis("y")[8]) / GRID.spacing[1]) ** 2
    seen = path.sampling(inside, GRID, 200) @ image.flatten()
    np.testing.assert_allclose(seen, torch.exp(-squared / 2) / (2 * np.pi), atol=2e-3)


def test_what_lies_outside_of_the_grid_is_empty(inside):
    seen = path.sampling(inside + torch.tensor([1.0, 0, 0]), GRID, 50)
    assert not seen.any()


def test_gridding_takes_means(inside):
    weights = path.gridding(inside, GRID, 200)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
    found = (weights.double() @ inside[:, 0]).reshape(16, 20)[4:12, 6:14]
    assert (found - X.reshape(16, 20)[4:12, 6:14]).abs().max() < 1.5 * GRID.spacing[0]


def test_motion_is_relative_to_the_grid_and_to_the_fastest(inside):
    motion = path.motion(inside, GRID, 100)
    middle = torch.tensor(GRID.center[:2])
    half = torch.tensor(GRID.field_of_view[:2]) / 2
    np.testing.assert_allclose(motion[:, :2], (inside[::2, :2] - middle) / half, atol=1e-6)
    assert motion[:, 2:].abs().max() == pytest.approx(1)
    assert motion[0, 2] > 0  # it starts towards +x
    assert motion[0, 3] > 0
