"""Laws of Kaczmarz that hold for any matrix, and its errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.solvers import block_kaczmarz, kaczmarz, prepare

FREE = {"real": False, "positive": False, "regularization": 0.05, "iterations": 3}
law = settings(max_examples=25, deadline=None, derandomize=True)


@st.composite
def problems(draw, dtypes=("complex64", "complex128"), max_frames=6):
    """A matrix (row, voxel), some of its rows zero or nearly parallel, and data (frame, row)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, voxels, frames = (
        draw(st.integers(1, 40)),
        draw(st.integers(1, 90)),
        draw(st.integers(1, max_frames)),
    )

    def normal(*shape):
        values = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
        dtype = np.dtype(draw(st.shared(st.sampled_from(dtypes), key="dtype")))
        return (values if dtype.kind == "c" else values.real).astype(dtype)

    matrix = normal(rows, voxels) * rng.lognormal(0, 2, (rows, 1)).astype(np.float32)
    if draw(st.booleans()):
        matrix[rng.integers(rows)] = 0
    if draw(st.booleans()):
        matrix[-1] = matrix[0] * (1 + 1e-3)
    return matrix, normal(frames, rows)


def close(a, b, matrix, factor=1):
    """Equal up to rounding of the matrix's precision."""
    tolerance = (1e-4 if matrix.real.dtype == np.float32 else 1e-11) * factor
    assert np.linalg.norm(a - b) <= tolerance * max(np.linalg.norm(b), 1e-30)


@law
@given(problems(), st.integers(1, 50))
def test_blocks_of_any_size_agree_with_rows_and_csr(problem, block):
    matrix, data = problem
    rows = np.stack([kaczmarz(matrix, frame, **FREE) for frame in data])
    close(block_kaczmarz(matrix, data, block=block, **FREE), rows, matrix)
    close(kaczmarz(csr_array(matrix), data, **FREE), rows, matrix)


@law
@given(problems(dtypes=("float32", "float64", "complex128")))
def test_literal_sweep(problem):
    """Against the sweep as it is written in mpireco.md §3.9, in double precision."""
    matrix, data = problem
    a = matrix.astype(complex)
    norms = (abs(a) ** 2).sum(1)
    penalty = 0.05 * norms.sum() / a.shape[1]
    expected = []
    for b in data:
        x, v = np.zeros(a.shape[1], complex), np.zeros(len(a), complex)
        for _ in range(3):
            for m in np.flatnonzero(norms):
                alpha = (b[m] - a[m] @ x - penalty**0.5 * v[m]) / (norms[m] + penalty)
                x += alpha * a[m].conj()
                v[m] += alpha * penalty**0.5
            x = np.maximum(x.real, 0).astype(complex)
        expected.append(x.real)
    image = kaczmarz(matrix, data, iterations=3, regularization=0.05)
    assert image.dtype == matrix.real.dtype
    assert (image >= 0).all()
    close(image, np.array(expected), matrix)


@law
@given(problems())
def test_linear_without_projections(problem):
    matrix, data = problem
    both = kaczmarz(matrix, data[:1] + data[-1:], **FREE)
    close(both, kaczmarz(matrix, data[:1], **FREE) + kaczmarz(matrix, data[-1:], **FREE), matrix, 10)


@law
@given(problems(), st.randoms(use_true_random=False), st.sampled_from(["system_matrix", "measurement"]))
def test_permuted_frames_give_permuted_images(problem, random, normalization):
    matrix, data = problem
    order = random.sample(range(len(data)), len(data))
    image = kaczmarz(matrix, data, iterations=2, regularization=0.1, normalization=normalization)
    turned = kaczmarz(matrix, data[order], iterations=2, regularization=0.1, normalization=normalization)
    close(turned, image[order], matrix)


@law
@given(problems(dtypes=("complex128",)), st.sampled_from([kaczmarz, block_kaczmarz]))
def test_rows_of_zeros_are_skipped(problem, solve):
    matrix, data = problem
    more = np.insert(matrix, [0, len(matrix)], 0, axis=0)
    garbage = np.insert(data, [0, data.shape[1]], 7, axis=1)
    last = []
    image = solve(more, garbage, regularization=0.1, callback=last.append)
    close(image, solve(matrix, data, regularization=0.1), matrix)
    np.testing.assert_array_equal(last[-1].dual[:, [0, -1]], 0)


@law
@given(problems(dtypes=("complex128",)))
def test_diagonal_tikhonov_with_equal_weights_is_the_scalar(problem):
    matrix, data = problem
    if not matrix.any():
        return
    weights = np.full(matrix.shape[1], 0.2)
    for form in (matrix, csr_array(matrix)):
        close(
            kaczmarz(form, data, regularization=weights), kaczmarz(matrix, data, regularization=0.2), matrix
        )


@pytest.mark.parametrize("solve", [kaczmarz, block_kaczmarz])
def test_limit_is_tikhonov(solve):
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((12, 8)) + 1j * rng.standard_normal((12, 8))
    data = rng.standard_normal((5, 12)) + 1j * rng.standard_normal((5, 12))
    penalty = 0.3
    exact = np.linalg.solve(matrix.conj().T @ matrix + penalty * np.eye(8), matrix.conj().T @ data.T).T
    found = solve(
        matrix, data, iterations=3000, regularization=penalty, normalization=None, real=False, positive=False
    )
    np.testing.assert_allclose(found, exact, rtol=1e-9)


@pytest.mark.parametrize("frames", [1, 20])
def test_large_enough_for_threads_and_tiles(frames):
    """More voxels than a tile and more entries than one thread takes; against complex128."""
    rng = np.random.default_rng(2)
    matrix = rng.standard_normal((70, 5003, 2)).view(complex)[..., 0]
    data = rng.standard_normal((frames, 70, 2)).view(complex)[..., 0]
    expected = kaczmarz(csr_array(matrix), data, iterations=2, regularization=0.1)
    system = prepare(matrix.astype(np.complex64))
    for _ in range(2):  # the second call takes what the first has kept
        image = kaczmarz(system, data.astype(np.complex64), iterations=2, regularization=0.1)
        assert np.linalg.norm(image - expected) < 1e-5 * np.linalg.norm(expected)


def test_threads_do_not_change_the_image():
    import numba

    rng = np.random.default_rng(3)
    matrix = rng.standard_normal((60, 4001, 2)).view(complex)[..., 0]
    data = rng.standard_normal((60, 2)).view(complex)[..., 0]
    many = kaczmarz(matrix, data, regularization=0.1)
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        one = kaczmarz(matrix, data, regularization=0.1)
    finally:
        numba.set_num_threads(before)
    np.testing.assert_allclose(many, one, rtol=1e-10, atol=1e-13)


def test_tensors_in_tensors_out():
    rng = np.random.default_rng(4)
    matrix = rng.standard_normal((9, 14, 2)).view(complex)[..., 0]
    data = rng.standard_normal((5, 9, 2)).view(complex)[..., 0]
    image = block_kaczmarz(torch.from_numpy(matrix), torch.from_numpy(data), regularization=0.1)
    assert isinstance(image, torch.Tensor)
    np.testing.assert_allclose(
        image.numpy(), kaczmarz(matrix, data, regularization=0.1), rtol=1e-10, atol=1e-13
    )
    image = block_kaczmarz(matrix, data, regularization=0.1, device="cpu")
    assert isinstance(image, np.ndarray)


@pytest.mark.parametrize("frames", [1, 5])
def test_transform_moves_the_projections(frames):
    """With a unitary transform the image is that of the untransformed matrix."""
    rng = np.random.default_rng(5)
    matrix = rng.standard_normal((9, 16, 2)).view(complex)[..., 0]
    data = rng.standard_normal((frames, 9, 2)).view(complex)[..., 0]
    turn = np.linalg.qr(rng.standard_normal((16, 16, 2)).view(complex)[..., 0])[0]
    seen = []

    def forward(x):
        seen.append(type(x))
        return x @ turn.T

    pair = (forward, lambda x: x @ turn.conj())
    expected = kaczmarz(matrix, data, regularization=0.1, l1=0.01)
    for form in (matrix @ turn, csr_array(matrix @ turn)):
        image = kaczmarz(form, data, regularization=0.1, l1=0.01, transform=pair)
        np.testing.assert_allclose(image, expected, rtol=1e-9, atol=1e-12)
    assert set(seen) == {np.ndarray}


def test_positive_without_real_does_nothing():
    rng = np.random.default_rng(6)
    matrix = rng.standard_normal((9, 14, 2)).view(complex)[..., 0]
    free = kaczmarz(matrix, matrix[:, 0], real=False, positive=False)
    np.testing.assert_array_equal(kaczmarz(matrix, matrix[:, 0], real=False, positive=True), free)


def test_arguments_stay_untouched_and_may_be_read_only():
    rng = np.random.default_rng(7)
    matrix = rng.standard_normal((9, 14, 2)).view(complex)[..., 0].copy()
    data = rng.standard_normal((5, 9, 2)).view(complex)[..., 0].copy()
    kept = matrix.copy(), data.copy()
    matrix.setflags(write=False)
    data.setflags(write=False)
    kaczmarz(matrix, data)
    kaczmarz(matrix, data[0])
    np.testing.assert_array_equal(matrix, kept[0])
    np.testing.assert_array_equal(data, kept[1])


@pytest.mark.parametrize("unit", [1e-13, 1e13])
@pytest.mark.parametrize("frames", [1, 5])
def test_units_of_the_matrix_do_not_matter(unit, frames):
    rng = np.random.default_rng(8)
    matrix = rng.standard_normal((20, 30, 2)).view(complex)[..., 0]
    data = rng.standard_normal((frames, 20, 2)).view(complex)[..., 0]
    expected = kaczmarz(matrix, data, regularization=0.1)
    found = kaczmarz(
        (unit * matrix).astype(np.complex64), (unit * data).astype(np.complex64), regularization=0.1
    )
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


def test_a_callback_may_stop_the_solve():
    def stop(state):
        if state.iteration == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kaczmarz(np.eye(3, dtype=complex), np.ones(3, complex), callback=stop)


BAD = [
    ({"data": np.ones(4, complex)}, ShapeError, r"\(4,\)"),
    ({"matrix": np.ones(3, complex)}, ShapeError, r"\(3,\)"),
    ({"data": np.ones(3, np.complex64)}, SettingsError, "complex64"),
    ({"matrix": np.ones((3, 2), int)}, SettingsError, "int64"),
    ({"matrix": [[1.0]]}, SettingsError, "list"),
    ({"matrix": np.array([[1, 2], [np.nan, 0], [0, 1]], complex)}, SettingsError, "row 1"),
    ({"matrix": csr_array(np.array([[1, 2], [0, 0], [np.inf, 1]], complex))}, SettingsError, "row 2"),
    (
        {"matrix": np.full((3, 2), 1e-30, np.complex64), "data": np.ones(3, np.complex64)},
        SettingsError,
        "too small",
    ),
    ({"data": np.array([1, np.nan, 1], complex)}, SettingsError, "row 1"),
    ({"iterations": -1}, SettingsError, "-1"),
    ({"regularization": -0.5}, SettingsError, "-0.5"),
    ({"l1": float("nan")}, SettingsError, "nan"),
    ({"scale": -2.0}, SettingsError, "-2"),
    ({"normalization": "matrix"}, SettingsError, "'matrix'"),
    ({"regularization": np.ones(5)}, ShapeError, r"\(5,\)"),
    ({"regularization": np.array([1.0, 0.0])}, SettingsError, "smallest weight"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_errors_name_the_value(change, error, message):
    arguments = {"matrix": np.ones((3, 2), complex), "data": np.ones(3, complex)} | change
    with pytest.raises(error, match=message):
        kaczmarz(arguments.pop("matrix"), arguments.pop("data"), **arguments)


def test_block_must_hold_a_row():
    with pytest.raises(SettingsError, match="block is 0"):
        block_kaczmarz(np.eye(2, dtype=complex), np.ones(2, complex), block=0)
