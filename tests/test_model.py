"""Grids."""

import numpy as np
import pytest

from mpibridge.errors import ShapeError
from mpibridge.model import Grid

PLANE = Grid((9, 8, 1), (9e-3, 8e-3, 1e-3), (1e-3, 0.0, 0.0))


@pytest.mark.parametrize(
    ("voxels", "shape"),
    [
        (2, (1, 16, 18)),
        (2.5, (1, 20, 22)),
        (np.int64(2), (1, 16, 18)),
        (0.01, (1, 2, 2)),
        ((5, 7), (1, 5, 7)),
        ((1, 5, 7), (1, 5, 7)),
    ],
)
def test_the_same_field_of_view_in_other_voxels(voxels, shape):
    found = PLANE.resized(voxels)
    assert found.shape == shape
    assert (found.field_of_view, found.center) == (PLANE.field_of_view, PLANE.center)


@pytest.mark.parametrize(
    "voxels", [0, -1, True, "fine", float("nan"), (0, 8), (2, 8, 9), (1, 8), (8,), (20.5, 20.0), (1, 2, 3, 4)]
)
def test_voxels_that_do_not_fit_are_refused(voxels):
    with pytest.raises(ShapeError, match="voxels"):
        PLANE.resized(voxels)
