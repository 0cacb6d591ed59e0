"""`score` keeps the laws of a linear problem, and what is odd about data is no accident."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mpibridge.errors import MPIBridgeWarning, SettingsError
from mpibridge.execution import execute
from mpibridge.plugin import make_settings
from mpibridge.progress import silent
from mpibridge.testing import check_plugin
from mpibridge.weights import Weights, WeightsHeader, with_network
from mpibridge_plugins.score.network import SIGMA_DATA
from mpibridge_plugins.score.plugin import Score
from mpibridge_plugins.score.settings import SIGMA_MAX, ScoreSettings
from tests.score.examples import problem, untrained

GUIDANCES = [
    {"guidance": "posterior"},
    {"guidance": "posterior", "exact": True},
    {"guidance": "signal"},
    {"guidance": "signal", "data_step": False},
    {"guidance": "regression"},
]
odd_sizes = pytest.mark.filterwarnings("ignore:the prior of plugin 'score' has learned planes")
every_guidance = pytest.mark.parametrize("guidance", GUIDANCES, ids=str)


def run(method, given, seed=1):
    as_arrays = replace(
        given,
        rows=np.asarray(given.rows),
        operator=replace(given.operator, matrix=np.asarray(given.operator.matrix)),
        noise=None if given.noise is None else np.asarray(given.noise),
    )
    return execute(method, as_arrays, generator=np.random.default_rng(seed), report=silent)


@every_guidance
def test_same_seed_same_image_and_other_seeds_others(guidance):
    method, p = untrained(**guidance), problem()
    a, b, other = run(method, p), run(method, p), run(method, p, seed=2)
    np.testing.assert_array_equal(a.image, b.image)
    if guidance["guidance"] == "regression":
        np.testing.assert_array_equal(a.image, other.image)  # nothing is drawn
    else:
        assert np.abs(a.image - other.image).max() > 1e-4


@every_guidance
def test_no_image_depends_on_the_frames_beside_it(guidance):
    p = problem(n_frames=4)
    together = run(
        untrained(**guidance), replace(p, noise=p.noise * torch.tensor([1.0, 2.0, 5.0, 0.1])[:, None])
    )
    for i, factor in enumerate((1.0, 2.0, 5.0, 0.1)):
        rng = np.random.default_rng(1)
        rng.spawn(i)
        one = replace(p, rows=p.rows[i : i + 1].numpy(), noise=p.noise.numpy() * factor)
        one = replace(one, operator=replace(p.operator, matrix=p.operator.matrix.numpy()))
        alone = execute(untrained(**guidance), one, generator=rng, report=silent)
        np.testing.assert_allclose(together.image[i], alone.image[0], atol=2e-3 * alone.image.max())


def test_a_method_may_meet_another_noise():
    """The decomposition is kept while matrix and weights of the rows are the same, and only then."""
    p = problem(n_rows=60)
    other = replace(p, noise=p.noise * torch.logspace(-1, 1, 60))
    used = untrained(guidance="posterior")
    run(used, p)
    np.testing.assert_array_equal(run(used, other).image, run(untrained(guidance="posterior"), other).image)


def test_frames_with_noise_of_another_kind_are_refused():
    p = problem(n_rows=60)
    tilted = torch.stack([p.noise, p.noise * torch.logspace(-1, 1, 60), p.noise])
    with pytest.raises(SettingsError, match="one factor per frame"):
        run(untrained(guidance="posterior"), replace(p, noise=tilted))


class White(torch.nn.Module):
    """The denoiser of independent normal voxels with mean 0.3."""

    def forward(self, noisy, sigma, conditions=None):
        gain = SIGMA_DATA**2 / (SIGMA_DATA**2 + sigma**2)
        return 0.3 + gain.reshape(-1, 1, 1, 1) * (noisy - 0.3)


def test_exact_draws_are_draws_of_the_posterior():
    """The mean and the spread of the whole plugin against the normal equations, for images whose posterior is known."""
    p = problem((1, 8, 8), n_rows=10, n_frames=1, sigma=0.5)
    method = Score(
        ScoreSettings(guidance="posterior", exact=True, positive=False, samples=5000, steps=8, model_error=0)
    )
    method.network = White()
    found = run(method, p)
    scale, sigma = found.trace["scale"][0], found.trace["noise"][0]
    matrix = np.asarray(p.operator.matrix, np.complex128)
    A = np.concatenate([matrix.real, matrix.imag])
    rows = np.asarray(p.rows[0], np.complex128)
    b = np.concatenate([rows.real, rows.imag])
    prior = (SIGMA_DATA * scale) ** 2
    covariance = np.linalg.inv(A.T @ A / sigma**2 + np.eye(64) / prior)
    mean = covariance @ (A.T @ b / sigma**2 + 0.3 * scale / prior)
    assert (np.diag(covariance) < 0.6 * prior).any()  # the data say something
    np.testing.assert_allclose(found.image.ravel(), mean, atol=0.06 * prior**0.5)
    np.testing.assert_allclose(found.std.ravel() ** 2, np.diag(covariance), atol=0.08 * prior)


@every_guidance
def test_scaled_data_give_the_scaled_image(guidance):
    method, p = untrained(**guidance), problem()
    more = replace(p, rows=p.rows * 1e-12, noise=p.noise * 1e-12)
    a, b = run(method, p), run(method, more)
    np.testing.assert_allclose(b.image * 1e12, a.image, rtol=1e-2, atol=1e-3 * a.image.max())
    np.testing.assert_allclose(b.trace["scale"] * 1e12, a.trace["scale"], rtol=1e-3)


@every_guidance
def test_frames_of_different_scales_do_not_disturb_each_other(guidance):
    p = problem(noise=None)
    factors = torch.tensor([1e-9, 1.0, 1e9])[:, None]
    a, b = run(untrained(**guidance), p), run(untrained(**guidance), replace(p, rows=p.rows * factors))
    np.testing.assert_allclose(
        b.image / factors[..., None, None].numpy(), a.image, rtol=1e-2, atol=1e-3 * a.image.max()
    )


@every_guidance
def test_no_data_no_image(guidance):
    p = problem()
    p.rows[1] = 0
    found = run(untrained(**guidance), p)
    assert not found.image[1].any()
    assert found.image[[0, 2]].any()
    assert found.std is None or not found.std[1].any()
    assert not found.trace["residual"][1].any()
    assert found.trace["noise"][1] == 0
    assert all(np.isfinite(values).all() for values in found.trace.values())


@odd_sizes
@every_guidance
@pytest.mark.parametrize(
    "case",
    [
        {"n_rows": 1},
        {"rank": 2},
        {"rank": 0},
        {"noise": "zero"},
        {"noise": None},
        {"shape": (1, 8, 8)},
        {"shape": (1, 1, 12)},
        {"shape": (1, 2, 2), "n_rows": 2},
        {"scale": 1e20},
        {"sigma": 1e-9},
        {"sigma": 1e6},
    ],
    ids=str,
)
def test_odd_data_give_finite_images(guidance, case):
    found = run(untrained(**guidance), problem(**case))  # `execute` refuses what is not finite
    assert (found.image >= 0).all()


def test_a_huge_dynamic_range_of_rows():
    p = problem(n_rows=60)
    loud = torch.logspace(-9, 9, 60)
    matrix = p.operator.matrix * loud[:, None]
    given = replace(p, rows=p.rows * loud, operator=replace(p.operator, matrix=matrix), noise=p.noise * loud)
    assert np.isfinite(run(untrained(guidance="posterior"), given).image).all()


def test_volumes_by_slices():
    found = run(untrained(guidance="posterior"), problem((4, 8, 9)))
    assert found.image.shape == (3, 4, 8, 9)
    with pytest.raises(SettingsError, match="made for planes"):
        run(untrained(guidance="signal"), problem((4, 5, 6)))


@pytest.mark.parametrize("shape", [(1, 7, 12), (1, 1, 12), (4, 5, 6), (1, 8, 65), (2, 7, 40)])
def test_grids_that_the_prior_does_not_know_are_a_warning(shape):
    method = untrained(guidance="posterior", steps=1)
    with pytest.warns(MPIBridgeWarning, match="has learned planes of 8 to 64 voxels"):
        run(method, problem(shape, n_frames=1, n_rows=4))


def test_the_mean_of_more_samples_moves_less():
    p = problem(n_frames=40)
    few, many = (untrained(guidance="posterior", samples=n) for n in (2, 16))
    spread = [np.std([run(m, p, seed).image for seed in range(4)], axis=0).mean() for m in (few, many)]
    np.testing.assert_allclose(spread[1] / spread[0], (2 / 16) ** 0.5, rtol=0.35)


def test_the_trace_says_what_was_estimated():
    found = run(untrained(guidance="posterior", steps=4), problem())
    assert found.trace["residual"].shape == (3, 4)
    assert found.trace["noise"].shape == found.trace["scale"].shape == (3,)
    np.testing.assert_allclose(found.trace["noise"], 0.1 / 2**0.5, rtol=1e-4)
    assert found.std.shape == found.image.shape


def test_who_learns_blind_sees_no_image(monkeypatch):
    """What regression asks for: nothing but the signal comes in, whatever the truth."""
    monkeypatch.setattr("mpibridge_plugins.score.plugin.BLIND", 1.0)
    method, p, seen = untrained(), problem(), []
    network = method.network
    method.network = lambda noisy, sigma, conditions: (
        seen.append((noisy, sigma)) or network(noisy, sigma, conditions)
    )
    method.loss(p, torch.rand(3, *p.grid.shape), generator=np.random.default_rng(0))
    ((noisy, sigma),) = seen
    assert not noisy.any()
    assert (sigma == SIGMA_MAX).all()


def test_negative_values_may_stay():
    p = problem()
    assert (run(untrained(guidance="posterior", positive=False), p).image < 0).any()
    assert (run(untrained(guidance="posterior"), p).image >= 0).all()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (
            {"guidance": "gradient"},
            "guidance must be posterior, signal, regression or None, found 'gradient'",
        ),
        ({"guidance": "posterior", "network": "signal"}, "needs network='prior'"),
        ({"samples": 0}, "samples must be a whole number of at least 1, found 0"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"width": 12}, "width must be a multiple of 8, found 12"),
        ({"width": None}, "width must be a whole number"),
        ({"exact": "no"}, "exact must be true or false, found 'no'"),
        ({"model_error": -0.1}, "model_error must be a share from 0 to below 1, found -0.1"),
        ({"guidance": "regression", "samples": 4}, "asks its network once: leave samples out"),
        ({"guidance": "posterior", "data_step": False}, "needs guidance='signal'"),
        ({"data_step": False, "exact": True}, "exact=False"),
    ],
)
def test_settings_are_checked(settings, match):
    with pytest.raises(SettingsError, match=match):
        ScoreSettings(**settings)


@pytest.mark.parametrize(
    ("settings", "network", "guidance"),
    [
        ({}, "signal", "signal"),
        ({"network": "prior"}, "prior", "posterior"),
        ({"guidance": "posterior"}, "prior", "posterior"),
        ({"guidance": "regression"}, "signal", "regression"),
    ],
)
def test_guidance_and_network_go_together(settings, network, guidance):
    chosen = ScoreSettings(**settings)
    assert (chosen.network, chosen.chosen) == (network, guidance)
    assert Score(chosen).serves_any_acquisition == (network == "prior")
    assert Score.network_choice(settings) == ({"network": network} if settings else {})


def of_training(**settings) -> Weights:
    stored = asdict(ScoreSettings(**{"width": 8, **settings}))
    return Weights(Path("weights.safetensors"), WeightsHeader(plugin="score", version="0", settings=stored))


@pytest.mark.parametrize(
    ("trained", "asked", "kept"),
    [
        ({"samples": 16, "steps": 9}, {"guidance": "regression"}, {}),
        ({"data_step": False}, {"guidance": "regression"}, {}),
        ({"exact": True}, {"guidance": "regression"}, {}),
        ({"exact": True, "samples": 16}, {"data_step": False}, {"samples": 16}),
        ({"guidance": "regression"}, {"samples": 16}, {}),
        ({"samples": 16}, {"guidance": "signal"}, {"samples": 16}),
        ({"samples": 16}, {}, {"samples": 16}),
    ],
)
def test_settings_of_training_give_way_where_they_contradict_the_user(trained, asked, kept):
    found = with_network(Score, asked, of_training(model_error=0.2, **trained))
    assert make_settings(Score, found) == ScoreSettings(width=8, model_error=0.2, **asked, **kept)


def test_a_contradiction_of_the_user_stays_an_error():
    found = with_network(Score, {"guidance": "regression", "samples": 4}, of_training(samples=16))
    with pytest.raises(SettingsError, match="leave samples out"):
        make_settings(Score, found)


@pytest.mark.parametrize(
    "settings", [{"network": "prior", "samples": 2, "steps": 3}, {"guidance": "regression"}], ids=str
)
def test_the_contract_of_the_other_guidances(settings):
    check_plugin(Score, settings={"width": 8, **settings})
