"""What the benchmark measures with: classical solvers against their definitions, the test of resolution against known images."""

import sys

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from mpibridge.simulate import phantoms, preset
from mpibridge.simulate.phantoms import render
from tests.conftest import PROJECT
from tests.score.examples import problem


@pytest.fixture(scope="module")
def bench():
    folder = str(PROJECT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        import cascade_bed
        import cascade_classical
    finally:
        sys.path.remove(folder)
    return cascade_bed, cascade_classical


@pytest.fixture(scope="module")
def singular(bench):
    """(Data, A, b of every frame) of a small problem, double precision."""
    from mpibridge_plugins.linear import data_of, model_of, row_weights

    given = problem(n_rows=30, sigma=0.5)
    data = data_of(given, model_of(given.operator.matrix, row_weights(given)))
    return data, (data.model.values[:, None] * data.model.basis.mT).double().numpy(), data.y.double().numpy()


def test_nnls_is_that_of_scipy(bench, singular):
    data, A, b = singular
    stacked = np.concatenate([A, 0.1 * np.eye(A.shape[1])])
    exact = [nnls(stacked, np.pad(y, (0, A.shape[1])))[0] for y in b]
    np.testing.assert_allclose(bench[1].nnls(data, 1e-2).numpy(), exact, atol=1e-5)


def test_richardson_lucy_comes_to_the_same_minimum(bench, singular):
    data, A, b = singular
    objective = []
    for x in bench[1].richardson_lucy(data, (1, 10, 100, 1000)):
        assert x.min() >= 0
        objective.append(((x.double().numpy() @ A.T - b) ** 2).sum(1))
    assert (np.diff(objective, axis=0) < 1e-6).all()
    exact = [nnls(A, y)[1] ** 2 for y in b]
    np.testing.assert_allclose(objective[-1], exact, atol=1e-2 * (b**2).sum() / len(b))


def test_tv_meets_the_conditions_of_a_minimum(bench, singular, monkeypatch):
    """No step in a random direction goes down, and with hardly any weight it is nnls."""
    _, classical = bench
    data, A, b = singular
    monkeypatch.setattr(classical, "PENALTY", 3e-2)
    monkeypatch.setattr(classical, "ITERATIONS", 3000)
    weight, shape = 1e-2, (9, 8)
    x = classical.tv(data, weight, shape).double()

    def objective(images):
        bends = classical.slopes(images.unflatten(1, shape).float()).norm(dim=0).sum((1, 2)).double()
        return 0.5 * ((images.numpy() @ A.T - b) ** 2).sum(1) + weight * bends.numpy()

    least = objective(x)
    rng = torch.Generator().manual_seed(0)
    for _ in range(50):
        other = (x + 0.03 * torch.randn(x.shape, generator=rng, dtype=torch.float64)).clamp_min(0)
        assert (objective(other) > least - 1e-4).all()
    unbent, exact = classical.tv(data, 1e-9, shape).numpy(), classical.nnls(data, 1e-9).numpy()
    np.testing.assert_allclose(unbent @ A.T, exact @ A.T, atol=2e-2)


def test_slopes_and_divergence_are_adjoint(bench):
    rng = torch.Generator().manual_seed(0)
    x, d = torch.randn(3, 6, 5, generator=rng), torch.randn(2, 3, 6, 5, generator=rng)
    slopes, divergence = bench[1].slopes(x), bench[1].divergence(d)
    assert slopes.shape == d.shape
    assert float((slopes * d).sum()) == pytest.approx(-float((x * divergence).sum()), rel=1e-5)


def test_true_images_are_resolved_and_bars_are_whole(bench):
    bed, _ = bench
    drawn = bed.Pairs.draw(20, "choosing", (0.3, 0.5, 0.8))
    grid = preset("narrowband").grid
    dips = bed.dips(render(drawn.points, grid, 12), drawn.places).reshape(3, 20)
    assert (dips[1:] < 0.2).all()
    assert (dips[0] <= bed.RESOLVED).mean() >= 0.95
    assert (bed.valleys(render(drawn.bars, grid, 12), drawn.ends) > bed.RESOLVED).all()


@pytest.mark.parametrize("shown", [(-0.8, 0.8), (-0.75, 0.0, 0.75), (0.0,), ()])
def test_a_bar_that_is_split_anywhere_or_hardly_seen_is_not_whole(bench, shown):
    """Dots where a bar of 0.8 mm between its points should be, 1.39 mm long; the whole bar beside them."""
    bed, _ = bench
    grid, ends = preset("narrowband").grid, np.array([[(-0.69e-3, 0.0), (0.69e-3, 0.0)]])
    dots = [phantoms.points([(0.8e-3 * x, 0.0) for x in shown], diameter=0.2e-3)] if shown else []
    image = render(dots, grid, 12) if shown else np.zeros((1, *grid.shape))
    assert bed.valleys(image, ends)[0] <= bed.RESOLVED
    assert bed.valleys(render([phantoms.bar_like_pair(0.8e-3)], grid, 12), ends)[0] > bed.RESOLVED


def test_a_bar_that_swells_is_whole_and_a_notch_splits_it(bench):
    bed, _ = bench
    grid = preset("narrowband").grid
    ends = np.array([[(-0.6e-3, 0.05e-3), (0.6e-3, 0.05e-3)]])
    image = np.zeros((1, *grid.shape))
    row, columns = int(abs(grid.axis("y") - 0.05e-3).argmin()), abs(grid.axis("x")) < 0.65e-3
    image[0, 0, row, columns] = np.linspace(0.5, 1, columns.sum())
    assert bed.valleys(image, ends)[0] > 0.99
    image[0, 0, row, int(abs(grid.axis("x") - 0.35e-3).argmin())] = 0.4
    assert bed.valleys(image, ends)[0] < 0.65


def test_peaks_elsewhere_resolve_nothing(bench):
    bed, _ = bench
    grid, places = preset("narrowband").grid, np.array([[(-0.3e-3, 0.0), (0.3e-3, 0.0)]])
    for distance, is_resolved in ((0.6e-3, True), (0.95e-3, False)):
        image = render([phantoms.pair(distance, diameter=0.3e-3)], grid, 12)
        assert (bed.dips(image, places)[0] <= bed.RESOLVED) == is_resolved


def test_pairs_and_their_bars_have_the_same_moments(bench):
    bed, _ = bench
    drawn = bed.Pairs.draw(3, "choosing", (0.4, 0.8))
    grid = preset("narrowband").grid.resized(8)
    x, y = np.meshgrid(grid.axis("x"), grid.axis("y"))
    for points, bars in zip(render(drawn.points, grid), render(drawn.bars, grid), strict=True):
        moments = []
        for image in (points[0], bars[0]):
            mass = image.sum()
            cx, cy = (image * x).sum() / mass, (image * y).sum() / mass
            second = [
                (image * (x - cx) ** 2).sum(),
                (image * (y - cy) ** 2).sum(),
                (image * (x - cx) * (y - cy)).sum(),
            ]
            moments.append([mass, *(np.array(second) / mass * 1e8)])
        np.testing.assert_allclose(*moments, rtol=0.02, atol=2e-2)
