"""CGNR, FISTA, POGM, ADMM and split Bregman: limits, laws and errors."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.sparse import csr_array

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.solvers import L1, L2, TV, admm, cgnr, fista, pogm, split_bregman

FREE = {"real": False, "positive": False}
SOLVERS = {
    "cgnr": partial(cgnr, terms=(L2(0.1),), iterations=4),
    "fista": partial(fista, terms=(L1(0.1),), iterations=20),
    "fista, restart": partial(fista, terms=(L2(0.1),), iterations=20, restart="gradient"),
    "pogm": partial(pogm, terms=(L1(0.1),), iterations=20),
    "pogm, restart": partial(pogm, terms=(TV(0.1, (2, 3)),), iterations=20, restart="gradient"),
    "admm": partial(admm, terms=(L1(0.1), TV(0.05, (2, 3))), rho=1.0, iterations=20),
    "split_bregman": partial(split_bregman, terms=(L1(0.1),), rho=1.0, iterations=3),
}


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    return rng.standard_normal((10, 6, 2)).view(complex)[..., 0], rng.standard_normal((4, 10, 2)).view(
        complex
    )[..., 0]


def tikhonov(matrix, data, penalty):
    normal = matrix.conj().T @ matrix + penalty * np.eye(matrix.shape[1])
    return np.linalg.solve(normal, matrix.conj().T @ data.T).T


def test_cgnr_reaches_tikhonov_and_projects_once(problem):
    matrix, data = problem
    settings = {"terms": (L2(0.3),), "normalization": None, "iterations": 6}
    exact = tikhonov(matrix, data, 0.3)
    np.testing.assert_allclose(cgnr(matrix, data, **settings, **FREE), exact, rtol=1e-9)
    np.testing.assert_allclose(
        cgnr(matrix, data, **settings), np.maximum(exact.real, 0), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(
    "solve", [fista, pogm, partial(fista, restart="gradient"), partial(pogm, restart="gradient")]
)
def test_l2_counts_twice_in_the_proximal_gradients(problem, solve):
    matrix, data = problem
    found = solve(matrix, data, terms=(L2(0.3),), normalization=None, iterations=3000, **FREE)
    np.testing.assert_allclose(found, tikhonov(matrix, data, 0.6), rtol=1e-8)


def best(matrix, data, penalty):
    """argmin ½‖Ax − b‖² + penalty·Σx over x ≥ 0, by SciPy."""

    def value(x):
        rest = matrix @ x - data
        return np.vdot(rest, rest).real / 2 + penalty * x.sum(), (matrix.conj().T @ rest).real + penalty

    start = np.ones(matrix.shape[1])
    bounds = [(0, None)] * len(start)
    return minimize(
        value, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-16, "gtol": 1e-10}
    ).x


@pytest.mark.parametrize("solve", [fista, pogm])
def test_non_negative_l1(problem, solve):
    # Real and imaginary rows: with complex data RLS shrinks complex images before it projects them, which
    # is not the proximal map of the sum.
    matrix, data = (
        np.concatenate([part.real, part.imag], axis) for part, axis in zip(problem, (0, 1), strict=True)
    )
    found = solve(matrix, data, terms=(L1(0.5),), normalization=None, iterations=3000)
    np.testing.assert_allclose(found, [best(matrix, b, 0.5) for b in data], atol=1e-6)


def test_admm_l2_limit(problem):
    """½λ·2‖x‖²: the halved threshold makes L2 of ADMM as strong as that of Kaczmarz."""
    matrix, data = problem
    settings = {
        "normalization": None,
        "rho": 2.0,
        "iterations": 2000,
        "iterations_cg": 50,
        "tolerance_cg": 1e-14,
    }
    found = admm(matrix, data, terms=(L2(0.3),), **settings, **FREE)
    np.testing.assert_allclose(found, tikhonov(matrix, data, 0.3), rtol=1e-7)


def test_split_bregman_reaches_the_data(problem):
    """Adding the residual back removes the bias of the penalty."""
    matrix, data = problem
    settings = {"normalization": None, "rho": 2.0, "iterations_cg": 50, "tolerance_cg": 1e-14, **FREE}
    found = split_bregman(matrix, data, terms=(L2(0.3),), iterations=300, **settings)
    np.testing.assert_allclose(found, tikhonov(matrix, data, 0.0), rtol=1e-6)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("normalization", ["system_matrix", "measurement", None])
def test_frames_are_independent_and_libraries_agree(problem, name, normalization):
    matrix, data = problem
    data = np.concatenate([data, 0 * data[:1]])
    solve = partial(SOLVERS[name], normalization=normalization)
    together = solve(matrix, data)
    assert together.dtype == np.float64
    np.testing.assert_array_equal(together[-1], 0)
    alone = np.stack([solve(matrix, frame) for frame in data])
    np.testing.assert_allclose(together, alone, rtol=1e-9, atol=1e-11)
    tensors = solve(torch.from_numpy(matrix), torch.from_numpy(data))
    assert isinstance(tensors, torch.Tensor)
    np.testing.assert_allclose(tensors.numpy(), together, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(solve(csr_array(matrix), data), together, rtol=1e-9, atol=1e-11)
    assert solve(matrix.astype(np.complex64), data.astype(np.complex64)).dtype == np.float32


@pytest.mark.parametrize("name", SOLVERS)
def test_callback_sees_every_iterate(problem, name):
    matrix, data = problem
    states = []
    last = SOLVERS[name](matrix, data, callback=states.append, **FREE)
    assert [s.iteration for s in states] == list(range(1, len(states) + 1))
    np.testing.assert_array_equal(states[-1].solution, last)
    rest = np.linalg.norm(states[0].solution @ matrix.T - data, axis=1)
    np.testing.assert_allclose(states[0].residual, rest, rtol=1e-12)


def test_a_generator_starts_the_power_iteration(problem):
    matrix, data = problem
    settings = {"terms": (L2(0.1),), "iterations": 3}
    first, again = (fista(matrix, data, generator=np.random.default_rng(5), **settings) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    largest = np.linalg.norm(matrix, 2) ** 2
    exact = fista(matrix, data, rho=0.95 / largest, **settings)
    for found in (first, fista(matrix, data, **settings)):
        assert np.linalg.norm(found - exact) < 2e-2 * np.linalg.norm(exact)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda a, b: cgnr(a, b, terms=(L1(0.1),)), SettingsError, "L2 only"),
        (lambda a, b: cgnr(a, b, terms=(L2(0.1), L2(0.1))), SettingsError, "at most one"),
        (lambda a, b: fista(a, b, terms=()), SettingsError, "exactly one"),
        (lambda a, b: fista(a, b, terms=(L2(0.1),), rho=0.0), SettingsError, "rho is 0"),
        (lambda a, b: pogm(a, b, terms=(L2(0.1),), restart="yes"), SettingsError, "'yes'"),
        (lambda a, b: admm(a, b, terms=()), SettingsError, "one or more"),
        (lambda a, b: admm(a, b, terms=(L1(0.1),), iterations=-2), SettingsError, "-2"),
        (lambda a, b: cgnr(a, b[:, :3]), ShapeError, r"\(4, 3\)"),
        (lambda a, b: cgnr(a, torch.from_numpy(b)), SettingsError, "same kind"),
        (lambda a, b: cgnr(a * np.nan, b), SettingsError, "NaN"),
    ],
)
def test_errors_name_the_value(problem, call, error, message):
    with pytest.raises(error, match=message):
        call(*problem)


def test_import_is_light():
    code = "import mpibridge.solvers, sys; print([m for m in ('numba', 'torch', 'scipy', 'xarray') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
