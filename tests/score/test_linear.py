"""Singular coordinates: the same numbers as the normal equations; weak matrices and silent data do no harm."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from mpibridge_plugins.score.linear import data_of, model_of
from tests.score.examples import problem


def dense(given_problem, model):
    """(A, b): the whitened real system, double precision."""
    matrix = (given_problem.operator.matrix * model.weights[:, None]).to(torch.complex128)
    rows = (given_problem.rows * model.weights).to(torch.complex128)
    return torch.cat([matrix.real, matrix.imag]), torch.cat([rows.real, rows.imag], 1)


@pytest.mark.parametrize("n_rows", [20, 36, 60])  # fewer, as many, and more numbers than voxels
def test_the_model_is_the_matrix(n_rows):
    p = problem(n_rows=n_rows)
    model = model_of(p)
    A, _ = dense(p, model)
    np.testing.assert_allclose((model.left * model.values) @ model.basis.mT, A, atol=2e-4)
    eye = torch.eye(len(model.values))
    np.testing.assert_allclose(model.left.mT @ model.left, eye, atol=2e-5)
    np.testing.assert_allclose(model.basis.mT @ model.basis, eye, atol=2e-5)


@pytest.mark.parametrize("n_rows", [20, 60])
def test_the_data_step_solves_the_normal_equations(n_rows):
    p = problem(n_rows=n_rows)
    model = model_of(p)
    data = data_of(p, model)
    A, b = dense(p, model)
    image, variance = torch.randn(3, 72, generator=torch.Generator().manual_seed(0)), 0.3
    for frame in range(3):
        sigma, scale = data.sigma[frame, 0].double(), data.scale[frame, 0].double()
        left = A.mT @ A / sigma**2 + torch.eye(72) / variance
        right = A.mT @ (b[frame] / scale) / sigma**2 + image[frame].double() / variance
        wanted = torch.linalg.solve(left, right)
        np.testing.assert_allclose(data.step(image, variance)[frame], wanted, atol=2e-3)


def test_draws_of_the_data_step_have_the_posterior_covariance():
    p = problem((1, 3, 4), n_rows=4, n_frames=1, sigma=2.0)
    model = model_of(p)
    data = data_of(p, model)
    n, variance = 200_000, 0.3
    noise = torch.randn(n, 12, generator=torch.Generator().manual_seed(1))
    drawn = data.repeated(n).step(torch.zeros(n, 12), variance, noise)
    A, _ = dense(p, model)
    wanted = torch.linalg.inv(A.mT @ A / data.sigma[0, 0].double() ** 2 + torch.eye(12) / variance)
    np.testing.assert_allclose(torch.cov(drawn.mT), wanted, atol=0.01 * variance)


def test_rows_are_whitened_by_the_noise():
    p = problem(n_rows=60, n_frames=1)
    loud = torch.where(torch.arange(60) % 2 == 0, 5.0, 1.0)
    given_problem = replace(p, rows=p.rows * loud, noise=p.noise * loud)
    louder = replace(given_problem, operator=replace(p.operator, matrix=p.operator.matrix * loud[:, None]))
    a, b = data_of(p, model_of(p)), data_of(louder, model_of(louder))
    image = torch.rand(1, 72)
    np.testing.assert_allclose(
        a.step(image, 0.2) * a.scale, b.step(image, 0.2) * b.scale, rtol=0.2, atol=2e-2
    )
    np.testing.assert_allclose(
        a.sigma * a.scale / a.model.values[0], b.sigma * b.scale / b.model.values[0], rtol=1e-4
    )


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-6, 1e6))
def test_the_scale_follows_the_data(factor):
    p = problem()
    more = replace(p, rows=p.rows * factor, noise=p.noise * factor)
    a, b = data_of(p, model_of(p)), data_of(more, model_of(more))
    np.testing.assert_allclose(b.scale, a.scale * factor, rtol=1e-3)
    np.testing.assert_allclose(b.y, a.y, rtol=1e-3, atol=1e-3)


def test_the_truth_leaves_a_residual_of_one():
    p = problem((1, 8, 8), n_rows=400, n_frames=4, sigma=0.3)
    truth = torch.rand(4, 64, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(4, 400, 2, generator=torch.Generator().manual_seed(1)) * 0.3 / 2**0.5
    rows = truth.to(torch.complex64) @ p.operator.matrix.mT + torch.view_as_complex(noise)
    data = data_of(replace(p, rows=rows), model_of(p))
    np.testing.assert_allclose(data.residual(truth / data.scale), 1.0, atol=0.25)
    assert (data.residual(1.5 * truth / data.scale) > 3).all()


def test_noise_is_estimated_where_the_matrix_says_nothing():
    p = problem((1, 6, 6), n_rows=300, n_frames=4, sigma=0.3, noise=None)
    data = data_of(p, model_of(p))
    np.testing.assert_allclose(data.sigma * data.scale, 0.3 / 2**0.5, rtol=0.1)
    zero = problem((1, 6, 6), n_rows=300, n_frames=4, sigma=0.3, noise="zero")
    np.testing.assert_array_equal(data_of(zero, model_of(zero)).sigma, data.sigma)


def test_rows_without_noise_get_the_usual_weight():
    p = problem()
    p.noise[3] = 0
    np.testing.assert_allclose(model_of(p).weights, 1.0)


@pytest.mark.parametrize(
    "case", [{"n_rows": 1}, {"rank": 2}, {"rank": 0}, {"n_rows": 2, "shape": (1, 1, 3)}], ids=str
)
def test_weak_matrices_are_finite(case):
    p = problem(**case)
    data = data_of(p, model_of(p))
    for values in (
        data.y,
        data.sigma,
        data.scale,
        data.tikhonov(data.variance),
        data.residual(data.tikhonov(data.variance)),
    ):
        assert torch.isfinite(values).all()
    assert len(data.model.values) >= 1


@pytest.mark.parametrize(("offset", "remaining"), [(0.0, 0.01), (5.0, 0.2)])
def test_the_positive_step_nears_the_constrained_minimum(offset, remaining):
    """Against SciPy's active-set solver; also for a matrix with one overwhelming direction, where clipping is far off."""
    p = problem((1, 4, 4), n_rows=6, n_frames=2)
    p = replace(p, operator=replace(p.operator, matrix=p.operator.matrix + offset), rows=p.rows + 6 * offset)
    data = data_of(p, model_of(p))
    s, V = data.model.values.double(), data.model.basis.double()
    image, variance = torch.randn(2, 16, generator=torch.Generator().manual_seed(0)) * 0.3, 1e-3
    found, cut = data.positive_step(image, variance), data.step(image, variance).clamp_min(0)
    assert (found >= 0).all()
    for frame in range(2):
        sigma = data.sigma[frame, 0].double()
        A = torch.cat([s[:, None] * V.mT / sigma, torch.eye(16) / variance**0.5]).numpy()
        b = torch.cat([data.y[frame] / sigma, image[frame] / variance**0.5]).double().numpy()
        least = nnls(A, b)[1] ** 2
        above = [np.sum((A @ x[frame].double().numpy() - b) ** 2) - least for x in (found, cut)]
        assert above[0] < remaining * above[1]
