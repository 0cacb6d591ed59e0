"""Singular coordinates: the same numbers as the normal equations; weak matrices and silent data do no harm."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from mpibridge.errors import SettingsError
from mpibridge_plugins.linear import LatestModel, data_of, model_of, row_weights
from tests.score.examples import modelled, problem


def dense(given_problem, model):
    """(A, b): the whitened real system in the unit of the model, double precision."""
    matrix = (given_problem.operator.matrix * model.weights[:, None]).to(torch.complex128)
    rows = (given_problem.rows * model.weights).to(torch.complex128)
    return torch.cat([matrix.real, matrix.imag]) / model.unit, torch.cat(
        [rows.real, rows.imag], 1
    ) / model.unit


@pytest.mark.parametrize("n_rows", [20, 36, 60])  # fewer, as many, and more numbers than voxels
def test_the_model_is_the_matrix(n_rows):
    p = problem(n_rows=n_rows)
    model = modelled(p)
    A, _ = dense(p, model)
    np.testing.assert_allclose((model.left * model.values) @ model.basis.mT, A, atol=2e-5)
    np.testing.assert_allclose(model.values[0], 1.0)
    eye = torch.eye(len(model.values))
    np.testing.assert_allclose(model.left.mT @ model.left, eye, atol=2e-5)
    np.testing.assert_allclose(model.basis.mT @ model.basis, eye, atol=2e-5)


@pytest.mark.parametrize("n_rows", [20, 60])
def test_the_data_step_solves_the_normal_equations(n_rows):
    p = problem(n_rows=n_rows, sigma=2.0)
    model = modelled(p)
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
    model = modelled(p)
    data = data_of(p, model)
    n, variance = 200_000, 0.3
    noise = torch.randn(n, 12, generator=torch.Generator().manual_seed(1))
    drawn = data.repeated(n).step(torch.zeros(n, 12), variance, noise)
    A, _ = dense(p, model)
    wanted = torch.linalg.inv(A.mT @ A / data.sigma[0, 0].double() ** 2 + torch.eye(12) / variance)
    np.testing.assert_allclose(torch.cov(drawn.mT), wanted, atol=0.01 * variance)


def test_rows_are_whitened_by_the_noise():
    p = problem(n_rows=60)
    loud = torch.where(torch.arange(60) % 2 == 0, 5.0, 1.0)
    weights = modelled(replace(p, noise=p.noise * loud)).weights
    np.testing.assert_allclose(weights[1::2] / weights[::2], 5.0, rtol=0.1)
    np.testing.assert_allclose(weights.mean(), 1.0, rtol=1e-5)


def test_a_row_of_noise_alone_changes_nothing():
    p = problem((1, 4, 4), n_rows=60, n_frames=1)
    broken = replace(p, rows=p.rows.clone(), noise=p.noise.clone())
    broken.rows[0, 7] += 1e3
    broken.noise[7] = 1e3
    images = []
    for given_problem in (p, broken):
        data = data_of(given_problem, modelled(given_problem))
        images.append(data.step(torch.zeros(1, 16), 0.2) * data.scale)
    np.testing.assert_allclose(*images, atol=0.1 * images[0].max())


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-6, 1e6))
def test_the_scale_follows_the_data(factor):
    p = problem()
    more = replace(p, rows=p.rows * factor, noise=p.noise * factor)
    a, b = data_of(p, modelled(p)), data_of(more, modelled(more))
    np.testing.assert_allclose(b.scale, a.scale * factor, rtol=1e-3)
    np.testing.assert_allclose(b.y, a.y, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("factor", [1e-18, 1e12])
def test_the_unit_of_the_matrix_does_not_matter(factor):
    p = problem()
    operator = replace(p.operator, matrix=p.operator.matrix * factor)
    other = replace(p, rows=p.rows * factor, noise=p.noise * factor, operator=operator)
    a, b = data_of(p, modelled(p)), data_of(other, modelled(other))
    np.testing.assert_allclose(b.scale, a.scale, rtol=1e-3)
    np.testing.assert_allclose(b.tikhonov(b.variance), a.tikhonov(a.variance), atol=1e-3)


def test_the_truth_leaves_a_residual_of_one():
    p = problem((1, 8, 8), n_rows=400, n_frames=4, sigma=0.3)
    truth = torch.rand(4, 64, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(4, 400, 2, generator=torch.Generator().manual_seed(1)) * 0.3 / 2**0.5
    rows = truth.to(torch.complex64) @ p.operator.matrix.mT + torch.view_as_complex(noise)
    data = data_of(replace(p, rows=rows), modelled(p))
    np.testing.assert_allclose(data.residual(truth / data.scale), 1.0, atol=0.25)
    assert (data.residual(1.5 * truth / data.scale) > 3).all()


def test_noise_is_estimated_where_the_matrix_says_nothing():
    p = problem((1, 6, 6), n_rows=300, n_frames=4, sigma=0.3, noise=None)
    data = data_of(p, modelled(p))
    np.testing.assert_allclose(data.sigma * data.scale * data.model.unit, 0.3 / 2**0.5, rtol=0.1)
    zero = problem((1, 6, 6), n_rows=300, n_frames=4, sigma=0.3, noise="zero")
    np.testing.assert_array_equal(data_of(zero, modelled(zero)).sigma, data.sigma)


def test_rows_without_noise_get_the_usual_weight():
    p = problem()
    p.noise[3] = 0
    np.testing.assert_allclose(modelled(p).weights, 1.0)


@pytest.mark.parametrize(
    "case", [{"n_rows": 1}, {"rank": 2}, {"rank": 0}, {"n_rows": 2, "shape": (1, 1, 3)}], ids=str
)
def test_weak_matrices_are_finite(case):
    p = problem(**case)
    data = data_of(p, modelled(p))
    for values in (
        data.y,
        data.sigma,
        data.scale,
        data.tikhonov(data.variance),
        data.residual(data.tikhonov(data.variance)),
    ):
        assert torch.isfinite(values).all()
    assert len(data.model.values) >= 1


@pytest.mark.parametrize("offset", [0.0, 5.0])
@pytest.mark.parametrize("variance", [1e-3, 1.0, 1e3])
def test_the_positive_step_is_the_constrained_minimum(offset, variance):
    """Against SciPy's active-set solver, from data that say little to data 10⁷ times as precise as the image; also for a

    matrix with one overwhelming direction, where clipping is far off.
    """
    p = problem((1, 4, 4), n_rows=6, n_frames=2)
    p = replace(p, operator=replace(p.operator, matrix=p.operator.matrix + offset), rows=p.rows + 6 * offset)
    data = data_of(p, modelled(p))
    s, V = data.model.values.double(), data.model.basis.double()
    image = torch.randn(2, 16, generator=torch.Generator().manual_seed(0)) * 0.3
    found, cut = data.positive_step(image, variance), data.step(image, variance).clamp_min(0)
    assert (found >= 0).all()
    for frame in range(2):
        sigma = data.sigma[frame, 0].double()
        A = torch.cat([s[:, None] * V.mT / sigma, torch.eye(16) / variance**0.5]).numpy()
        b = torch.cat([data.y[frame] / sigma, image[frame] / variance**0.5]).double().numpy()
        least = nnls(A, b, maxiter=10_000)[1] ** 2
        above = [np.sum((A @ x[frame].double().numpy() - b) ** 2) - least for x in (found, cut)]
        assert above[0] < 0.01 * max(least, above[1])


def test_few_iterations_without_negative_values_come_near_the_constrained_minimum():
    """Of the way from the clipped Tikhonov image to SciPy's active-set solution, most; of a longer one, nearly all."""
    p = problem((1, 4, 4), n_rows=20, n_frames=3, sigma=2.0)
    data = data_of(p, modelled(p))
    s, V = data.model.values.double(), data.model.basis.double()
    few, many = (data.nonnegative(data.variance, n) for n in (10, 300))
    for frame in range(3):
        sigma, deviation = data.sigma[frame, 0].double(), data.variance[frame, 0].double().sqrt()
        A = torch.cat([s[:, None] * V.mT / sigma, torch.eye(16) / deviation]).numpy()
        b = torch.cat([data.y[frame].double() / sigma, torch.zeros(16, dtype=torch.float64)]).numpy()
        wanted = nnls(A, b, maxiter=10_000)[0]
        clipped = data.tikhonov(data.variance)[frame].clamp_min(0)
        away = [np.linalg.norm(x.double().numpy() - wanted) for x in (clipped, few[frame], many[frame])]
        assert away[1] < 0.5 * away[0]
        assert away[2] < 1e-2 * np.linalg.norm(wanted)
    assert few.min() == 0


def test_a_model_without_its_smallest_singular_values_is_the_nearest_of_its_rank():
    p = problem(n_rows=60)
    model = modelled(p)
    cut = model.cut(0.3)
    rank = len(cut.values)
    assert cut.values.min() > 0.3 >= model.values[rank]
    A = (model.left * model.values) @ model.basis.mT
    rest = A - (cut.left * cut.values) @ cut.basis.mT
    np.testing.assert_allclose(torch.linalg.matrix_norm(rest, 2), model.values[rank], rtol=1e-3)


def test_a_frame_is_solved_alike_in_any_company():
    p = problem((1, 4, 4), n_rows=6, n_frames=2)
    data = data_of(p, modelled(p))
    hard = replace(data, sigma=data.sigma * torch.tensor([[1.0], [1e-4]]))
    image = torch.zeros(2, 16)
    one = data_of(replace(p, rows=p.rows[:1]), data.model)
    np.testing.assert_allclose(
        hard.positive_step(image, 0.1)[0], one.positive_step(image[:1], 0.1)[0], atol=1e-5
    )


@pytest.mark.parametrize("n_frames", [2, 3, 4])
def test_few_background_frames_do_not_single_out_rows(n_frames):
    """Standard deviations of two frames scatter by orders of magnitude; no row may dominate for that."""
    drawn = np.random.default_rng(0).standard_normal((n_frames, 400, 2)).view(np.complex128)[..., 0]
    p = problem(n_rows=400)
    weights = modelled(replace(p, noise=torch.from_numpy(drawn.std(0, ddof=1)))).weights
    assert weights.max() < 4 * weights.median()


def test_the_model_error_adds_to_the_noise():
    p = problem(n_frames=1, sigma=0.2)
    model = modelled(p)
    loudness = torch.view_as_real(p.rows).square().mean().sqrt()
    small, large = data_of(p, model), data_of(p, model, 0.1)
    found = (
        large.sigma * large.scale * model.unit,
        torch.hypot(small.sigma * small.scale * model.unit, 0.1 * loudness),
    )
    np.testing.assert_allclose(large.noise * large.scale, small.noise * small.scale, rtol=1e-3)
    np.testing.assert_allclose(*found, rtol=1e-3)


def test_faint_noise_is_found_in_single_precision():
    p = problem((1, 6, 6), n_rows=300, n_frames=4, sigma=1e-3, noise=None)
    data = data_of(p, modelled(p))
    np.testing.assert_allclose(data.sigma * data.scale * data.model.unit, 1e-3 / 2**0.5, rtol=0.15)


def test_what_no_image_explains_counts_in_the_residual():
    p = problem((1, 4, 4), n_rows=40, n_frames=1, sigma=0.1)
    model = modelled(p)
    foreign = torch.randn(1, 80, generator=torch.Generator().manual_seed(0))
    foreign = foreign - foreign @ model.left @ model.left.mT
    rows = p.rows + 5 * torch.complex(foreign[:, :40], foreign[:, 40:])
    data = data_of(replace(p, rows=rows), model)
    rest = torch.linalg.lstsq(model.left * model.values, data.y[0] @ model.left.mT).solution @ model.basis.mT
    assert data.residual(rest[None]) > 30


def test_of_large_matrices_the_largest_singular_values_are_found():
    """Against the whole decomposition, for a spectrum that falls as those of system matrices do."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((n, 120)))[0] for n in (150, 140))
    matrix = torch.from_numpy(((left * 0.9 ** np.arange(120)) @ right.T)[:, :].astype(np.complex64))
    whole, part = model_of(matrix, torch.ones(150)), model_of(matrix, torch.ones(150), 30)
    assert len(part.values) == 30
    torch.testing.assert_close(part.values, whole.values[:30], rtol=1e-3, atol=0)
    assert part.unit == pytest.approx(whole.unit, rel=1e-4)
    overlap = (part.basis[:, :20].mT @ whole.basis[:, :20]).square().sum(1)
    torch.testing.assert_close(overlap, torch.ones(20), rtol=0, atol=0.02)


def test_a_matrix_is_decomposed_once_for_all_its_frames():
    known = LatestModel()
    p = problem()
    first = known.of(p)
    assert known.of(replace(p, rows=2 * p.rows, noise=2 * p.noise)) is first
    alike = replace(p, operator=replace(p.operator, matrix=p.operator.matrix.detach()))
    assert known.of(alike) is first  # the same numbers in memory
    assert known.of(replace(p, operator=replace(p.operator, matrix=p.operator.matrix.clone()))) is not first
    first = known.of(p)
    other = torch.linspace(1, 2, len(p.noise))
    assert known.of(replace(p, noise=other)) is not first


def test_a_frame_of_nothing_does_not_decide_on_the_weights():
    p = problem()
    noise = torch.linspace(1, 2, 30).repeat(3, 1)
    noise[1] = 0
    rows = p.rows.clone()
    rows[1] = 0
    expected = row_weights(replace(p, noise=noise[0]))
    torch.testing.assert_close(row_weights(replace(p, rows=rows, noise=noise)), expected)
    with pytest.raises(SettingsError, match="differ by one factor per frame"):
        row_weights(replace(p, noise=noise))
