"""Laws of the system-matrix operator and its compositions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpibridge.errors import ShapeError
from mpibridge.model import Grid
from mpibridge.operators import SystemMatrix, side_by_side, sparsify
from mpibridge.transforms import NAMES, grid_transform
from tests.recordings import random_complex

GRID = Grid((5, 4, 3), (0.05, 0.04, 0.03))
N_ROWS = 7


def dense(seed: int) -> SystemMatrix:
    matrix = random_complex(np.random.default_rng(seed), N_ROWS, GRID.n_voxels).astype(complex)
    return SystemMatrix(matrix, GRID)


OPERATORS = {
    "dense": lambda: dense(0),
    "weighted": lambda: dense(0).weighted(np.linspace(0.1, 2, N_ROWS)),
    "contrasts": lambda: side_by_side([dense(0), dense(1)]),
    "DCT-IV": lambda: sparsify(dense(0), "DCT-IV", reduction=0.3),
    "DCT-II": lambda: sparsify(dense(0), "DCT-II", reduction=0.3),
    "FFT": lambda: sparsify(dense(0), "FFT", reduction=0.3),
    "sparse, weighted": lambda: sparsify(dense(0), "DCT-II", reduction=0.5).weighted(
        np.linspace(1, 2, N_ROWS)
    ),
    "sparse contrasts": lambda: side_by_side([sparsify(dense(s), "DCT-IV", reduction=0.4) for s in (0, 1)]),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_adjoint(name):
    """⟨S c, u⟩ = ⟨c, Sᴴ u⟩, with the shapes of images and data."""
    operator, generator = OPERATORS[name](), np.random.default_rng(3)
    n_frames = 2
    shape = (
        (operator.n_contrasts, n_frames, *GRID.shape) if operator.n_contrasts > 1 else (n_frames, *GRID.shape)
    )
    image, data = random_complex(generator, *shape), random_complex(generator, n_frames, N_ROWS)
    forward, adjoint = operator.forward(image), operator.adjoint(data)
    assert forward.shape == data.shape
    assert adjoint.shape == image.shape
    np.testing.assert_allclose(np.vdot(forward, data), np.vdot(image, adjoint), rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(-3, 3), name=st.sampled_from(sorted(OPERATORS)))
def test_linearity(seed, factor, name):
    operator, generator = OPERATORS[name](), np.random.default_rng(seed)
    shape = (operator.n_contrasts, 1, *GRID.shape) if operator.n_contrasts > 1 else (1, *GRID.shape)
    a, b = random_complex(generator, *shape), random_complex(generator, *shape)
    found = operator.forward(a + factor * b)
    np.testing.assert_allclose(found, operator.forward(a) + factor * operator.forward(b), atol=1e-4)


@pytest.mark.parametrize("name", ["DCT-II", "DCT-IV", "FFT"])
def test_nothing_dropped_is_the_dense_operator(name):
    image = random_complex(np.random.default_rng(5), 2, *GRID.shape)
    found = sparsify(dense(0), name, reduction=1.0).forward(image)
    np.testing.assert_allclose(found, dense(0).forward(image), rtol=1e-5, atol=1e-5)


def test_largest_coefficients_are_kept():
    kept = sparsify(dense(0), "DCT-IV", reduction=0.25).matrix
    assert (np.diff(kept.indptr) == int(0.25 * GRID.n_voxels)).all()
    every = sparsify(dense(0), "DCT-IV", reduction=1.0).matrix.toarray()
    for row, full in zip(kept.toarray(), every, strict=True):
        assert np.abs(row[row != 0]).min() >= np.abs(full[row == 0]).max()
    strong = sparsify(dense(0), "DCT-IV", reduction=1.0, threshold=0.5).matrix.toarray()
    for row, full in zip(strong, every, strict=True):
        np.testing.assert_array_equal(row != 0, np.abs(full) > 0.5 * np.abs(full).max())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 6, 7), (1, 1, 8)])
def test_transforms_are_unitary(name, shape):
    transform = grid_transform(name)
    x = random_complex(np.random.default_rng(0), 2, *shape).astype(complex)
    coefficients = transform.forward(x)
    np.testing.assert_allclose(transform.inverse(coefficients), x, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(coefficients), np.linalg.norm(x))


def test_shapes_are_checked():
    with pytest.raises(ShapeError, match=r"\(row, 60\), found \(7, 59\)"):
        SystemMatrix(np.ones((7, 59)), GRID)
    with pytest.raises(ShapeError, match=r"\(frame, z, y, x\) on the grid \(3, 4, 5\)"):
        dense(0).forward(np.ones((1, 5, 4, 3)))
    with pytest.raises(ShapeError, match="one grid and the same rows"):
        side_by_side([dense(0), SystemMatrix(np.ones((6, 60)), GRID)])
    elsewhere = Grid(GRID.size, GRID.field_of_view, (0.01, 0.0, 0.0))
    with pytest.raises(ShapeError, match="one grid and the same rows"):
        side_by_side([dense(0), SystemMatrix(dense(1).matrix, elsewhere)])
    with pytest.raises(ShapeError, match="weights for 7 rows"):
        dense(0).weighted(np.ones(6))


def test_total_variation_along_some_axes_only():
    """Two contrasts, one all ones, one all zeros: neither varies, so nothing is to be smoothed."""
    from mpibridge.solvers import TV

    x = np.repeat([1.0, 0.0], GRID.n_voxels)[None]
    np.testing.assert_allclose(TV(0.1, (2, *GRID.shape), dims=(-3, -2, -1)).prox(x, 0.2), x)
    assert not np.allclose(TV(0.1, (2, *GRID.shape)).prox(x, 0.2), x)
