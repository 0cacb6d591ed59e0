"""`score` keeps the laws of a linear problem, and what is odd about data is no accident."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mpibridge.errors import SettingsError
from mpibridge.execution import execute
from mpibridge.progress import silent
from mpibridge.testing import check_plugin
from mpibridge_plugins.score.plugin import Score, ScoreSettings
from tests.score.examples import problem, untrained

GUIDANCES = [
    {"guidance": "posterior"},
    {"guidance": "posterior", "exact": True},
    {"guidance": "signal"},
    {"guidance": "signal", "data_step": False},
    {"guidance": "regression"},
]
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
    assert np.abs(a.image - other.image).max() > 1e-4


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
    found = run(untrained(guidance="posterior"), problem((4, 5, 6)))
    assert found.image.shape == (3, 4, 5, 6)
    with pytest.raises(SettingsError, match="made for planes"):
        run(untrained(guidance="signal"), problem((4, 5, 6)))


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


@pytest.mark.parametrize("settings", [{"network": "prior"}, {"guidance": "regression"}], ids=str)
def test_the_contract_of_the_other_guidances(settings):
    check_plugin(Score, settings={"width": 8, "samples": 2, "steps": 3, **settings})
