"""Rows on other grids: linear interpolation is exact for linear functions, extrapolation is harmonic."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpibridge.errors import ShapeError
from mpibridge.gridding import extrapolate, interpolate
from mpibridge.model import Grid

ORIGIN = Grid((6, 5, 4), (0.06, 0.05, 0.04), (0.01, 0.0, -0.005))


def linear(grid: Grid, slopes) -> np.ndarray:
    z, y, x = np.meshgrid(grid.axis("z"), grid.axis("y"), grid.axis("x"), indexing="ij")
    return (1 + slopes[0] * x + slopes[1] * y + slopes[2] * z)[None].astype(complex)


@settings(max_examples=30, deadline=None)
@given(
    slopes=st.tuples(*[st.floats(-10, 10)] * 3),
    size=st.tuples(*[st.integers(1, 9)] * 3),
    share=st.floats(0.1, 0.6),
)
def test_linear_functions_are_reproduced(slopes, size, share):
    target = Grid(size, tuple(share * v for v in ORIGIN.field_of_view), ORIGIN.center)
    found = interpolate(linear(ORIGIN, slopes), ORIGIN, target)
    np.testing.assert_allclose(found, linear(target, slopes), atol=1e-9)


def test_same_grid_is_the_identity_and_the_outside_is_zero():
    rows = np.random.default_rng(0).standard_normal((3, *ORIGIN.shape)) + 0j
    np.testing.assert_array_equal(interpolate(rows, ORIGIN, ORIGIN), rows)
    finer = Grid((12, 10, 8), ORIGIN.field_of_view, ORIGIN.center)
    found = interpolate(rows, ORIGIN, finer)
    assert not found[:, 0].any()
    assert not found[:, :, :, -1].any()
    assert found[:, 1:-1, 1:-1, 1:-1].all()
    with pytest.raises(ShapeError, match="the origin"):
        interpolate(rows, finer, ORIGIN)


@pytest.mark.parametrize("extent", [(0.08, 0.05, 0.04), (0.08, 0.07, 0.04), (0.06, 0.07, 0.06)])
def test_extrapolation_is_nearly_harmonic(extent):
    """Against a dense least-squares solution of the same equations; MPIReco's five penalised iterations stay near it."""
    rows = np.random.default_rng(1).standard_normal((2, *ORIGIN.shape)) * (1 + 1j)
    found, grid = extrapolate(rows, ORIGIN, extent)
    np.testing.assert_allclose(grid.field_of_view, extent)
    np.testing.assert_allclose(grid.spacing, ORIGIN.spacing)
    grown = [(new - old) // 2 for new, old in zip(grid.shape, ORIGIN.shape, strict=True)]
    shape = [n + 2 * bool(g) for n, g in zip(grid.shape, grown, strict=True)]
    known = np.zeros(shape, bool)
    known[tuple(slice(g + bool(g), g + bool(g) + n) for g, n in zip(grown, ORIGIN.shape, strict=True))] = True
    values = np.zeros((2, *shape), complex)
    values[:, known] = rows.reshape(2, -1)
    for axis in range(3):
        known[tuple([0, -1] if a == axis else slice(None) for a in range(3))] = True
    laplacian = np.zeros((values[0].size,) * 2)
    for index in np.ndindex(*shape):
        here = np.ravel_multi_index(index, shape)
        for axis in range(3):
            laplacian[here, here] -= 2
            for step in (-1, 1):
                there = list(index)
                there[axis] += step
                if 0 <= there[axis] < shape[axis]:
                    laplacian[here, np.ravel_multi_index(there, shape)] += 1
    right = -laplacian @ (values * known).reshape(2, -1).T
    values[:, ~known] = np.linalg.lstsq(laplacian[:, ~known.ravel()], right, rcond=None)[0].T
    wanted = values[(slice(None), *(slice(bool(g), n - bool(g)) for g, n in zip(grown, shape, strict=True)))]
    assert np.linalg.norm(found - wanted) < 0.05 * np.linalg.norm(wanted)
    inner = tuple(slice(g, g + n) for g, n in zip(grown, ORIGIN.shape, strict=True))
    np.testing.assert_array_equal(found[(slice(None), *inner)], rows)


def test_nothing_to_extrapolate():
    rows = np.ones((1, *ORIGIN.shape), complex)
    found, grid = extrapolate(rows, ORIGIN, ORIGIN.field_of_view)
    assert grid == ORIGIN
    assert found is rows
