"""Proximal maps against their definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear, minimize_scalar

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.solvers import L1, L2, TV, positive, real_part

law = settings(max_examples=20, deadline=None, derandomize=True)


def differences(shape):
    """Matrix of all x_i − x_{i+1} along every axis, built entry by entry."""
    index = np.arange(np.prod(shape)).reshape(shape)
    rows = []
    for axis in range(len(shape)):
        left, right = (np.take(index, range(k, shape[axis] - 1 + k), axis).ravel() for k in (0, 1))
        for a, b in zip(left, right, strict=True):
            rows.append(np.eye(index.size)[a] - np.eye(index.size)[b])
    return np.array(rows).reshape(-1, index.size)


@law
@given(st.integers(0, 10**6), st.floats(0, 3))
def test_l1_and_l2_minimise_their_definition(seed, threshold):
    x = np.random.default_rng(seed).standard_normal((1, 4))
    for term, penalty in ((L1(1.0), abs), (L2(1.0), np.square)):
        found = term.prox(x, threshold)
        for value, start in zip(found[0], x[0], strict=True):
            best = minimize_scalar(
                lambda z, s=start, p=penalty: (z - s) ** 2 / 2 + threshold * p(z), bounds=(-6, 6), method="bounded",
                options={"xatol": 1e-10},
            )  # fmt: skip
            assert value == pytest.approx(best.x, abs=1e-5)


@law
@given(st.integers(0, 10**6), st.floats(0.01, 2), st.sampled_from([(5,), (3, 4), (2, 3, 2), (1, 4, 1)]))
def test_tv_minimises_its_definition(seed, threshold, shape):
    """The dual of the prox is a bounded least-squares problem, which SciPy solves without our iteration."""
    x = np.random.default_rng(seed).standard_normal((1, int(np.prod(shape))))
    d = differences(shape)
    dual = lsq_linear(d.T, x[0], (-threshold, threshold), tol=1e-14).x
    found = TV(1.0, shape, iterations=2000).prox(x, threshold)
    np.testing.assert_allclose(found[0], x[0] - d.T @ dual, atol=1e-5)


def test_tv_of_complex_frames_with_their_own_thresholds():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 12)) + 1j * rng.standard_normal((3, 12))
    term = TV(1.0, (3, 4))
    thresholds = np.array([[0.3], [0.0], [1.5]])
    found = term.prox(x, thresholds)
    for frame in (0, 2):
        np.testing.assert_allclose(
            found[frame], term.prox(x[frame : frame + 1], thresholds[frame, 0])[0], rtol=1e-12
        )
    np.testing.assert_array_equal(found[1], x[1])
    np.testing.assert_array_equal(term.prox(x, 0.0), x)


@pytest.mark.parametrize("term", [L1(1.0), L2(1.0), TV(1.0, (3, 4))])
def test_tensors_give_the_same(term):
    x = np.random.default_rng(1).standard_normal((2, 12)) * (1 + 2j)
    thresholds = np.array([[0.3], [1.5]])
    found = term.prox(torch.from_numpy(x), torch.from_numpy(thresholds))
    np.testing.assert_allclose(found.numpy(), term.prox(x, thresholds), rtol=1e-12, atol=1e-14)


def test_projections():
    x = np.array([[1 + 2j, -1 + 1j, -0.5j]], np.complex64)
    np.testing.assert_array_equal(real_part(x), np.array([[1, -1, 0]], np.complex64))
    np.testing.assert_array_equal(positive(x), np.array([[1, 0, 0]], np.complex64))
    assert positive(x).dtype == real_part(x).dtype == np.complex64
    np.testing.assert_array_equal(positive(x.real), [[1, 0, 0]])


def test_errors_name_the_value():
    with pytest.raises(SettingsError, match="-1"):
        L1(-1.0)
    with pytest.raises(SettingsError, match="nan"):
        L2(float("nan"))
    with pytest.raises(SettingsError, match=r"\(0, 3\)"):
        TV(1.0, (0, 3))
    with pytest.raises(SettingsError, match="iterations is 0"):
        TV(1.0, (2, 3), iterations=0)
    with pytest.raises(ShapeError, match=r"7 voxels .*\(2, 3\)"):
        TV(1.0, (2, 3)).prox(np.ones((1, 7)), 0.1)
