"""What is known of the errors decides weights and levels, frame by frame."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mpibridge.errors import SettingsError
from mpibridge_plugins.nir.noise import alike_frames

from .examples import blobs, scan


def groups(problem, **options):
    return list(alike_frames(problem, **{"whiten": True, "rank": 500, **options}))


def test_errors_of_the_matrix_grow_with_the_image():
    """σ² + σ_S²‖x‖² per row: the level of an image k times as large, with almost no noise, is k times as high."""
    (frames,) = groups(scan(blobs(1), sigma=1e-6, matrix_noise=0.01))
    image = torch.rand(1, 72)
    weights = torch.ones_like(frames.data.y)
    assert float(frames.share) == pytest.approx(1, abs=1e-4)
    one, three = (float(frames.level(k * image, weights)) for k in (1, 3))
    assert three == pytest.approx(3 * one, rel=1e-3)


def test_the_level_is_what_noise_and_a_noisy_matrix_leave_of_the_truth():
    ratios = []
    for seed in range(40):
        images = 5 * blobs(1)
        (frames,) = groups(scan(images, sigma=0.03, matrix_noise=0.01, seed=seed))
        x = torch.from_numpy(images.reshape(1, -1)).float() / frames.data.scale
        rest = frames.data.y - frames.data.model.values * (x @ frames.data.model.basis)
        ratios.append(float(rest.norm() / frames.level(x, torch.ones_like(rest))))
    assert 0.2 < float(frames.share) < 0.95  # both count
    assert np.mean(ratios) == pytest.approx(1.08, abs=0.05)  # one standard deviation above


def test_rows_of_a_noisy_matrix_weigh_less_for_loud_frames_only():
    problem = scan(np.concatenate([blobs(1), 1000 * blobs(1)]), sigma=0.1, matrix_noise=1e-3)
    shape = torch.linspace(0, 2e-3, 90)
    faint, loud = groups(replace(problem, matrix_noise=shape))
    assert [faint.where.tolist(), loud.where.tolist()] == [[0], [1]]
    spread = [float(g.data.model.weights.max() / g.data.model.weights.min()) for g in (faint, loud)]
    assert spread[0] < 1.1
    assert spread[1] > 2


def test_alike_frames_share_a_matrix_and_together_all_do():
    images = np.concatenate([blobs(2), 300 * blobs(2)])
    problem = scan(images, sigma=0.05, matrix_noise=0.01)
    parts = groups(problem)
    assert sorted(torch.cat([p.where for p in parts]).tolist()) == [0, 1, 2, 3]
    assert len(parts) > 1
    (all_of_them,) = groups(problem, together=True)
    assert all_of_them.where.tolist() == [0, 1, 2, 3]


def test_a_frame_finds_the_same_group_alone():
    problem = scan(np.concatenate([blobs(2), 300 * blobs(2)]), sigma=0.05, matrix_noise=0.01)
    for part in groups(problem):
        for place, frame in enumerate(part.where):
            rows = problem.rows[frame : frame + 1]
            (alone,) = groups(replace(problem, rows=rows))
            torch.testing.assert_close(alone.data.sigma[0], part.data.sigma[place])
            torch.testing.assert_close(alone.share[0], part.share[place])


def test_without_whitening_rows_stay_and_the_level_still_knows_the_noise():
    problem = scan(blobs(1), sigma=0.05)
    problem = replace(problem, noise=problem.noise * torch.linspace(0.5, 3, 90))
    (plain,), (white,) = groups(problem, whiten=False), groups(problem)
    assert torch.equal(plain.data.model.weights, torch.ones(90))
    assert white.data.model.weights.std() > 0.2
    rms = float(problem.noise.square().mean().sqrt()) / 2**0.5
    assert float(plain.data.noise * plain.data.scale) * plain.data.model.unit == pytest.approx(rms, rel=1e-4)


def test_unknown_noise_is_estimated():
    told, (found,) = 0.05, groups(replace(scan(blobs(1), sigma=0.05, n_rows=200), noise=None))
    sigma = float(found.data.noise * found.data.scale * found.data.model.unit) * 2**0.5
    assert sigma == pytest.approx(told, rel=0.2)


def test_frames_with_noise_of_different_kinds_are_refused():
    problem = scan(blobs(2), sigma=0.05)
    noise = torch.ones(2, 90)
    noise[0, ::2] = 3
    with pytest.raises(SettingsError, match="must differ by one factor per frame"):
        groups(replace(problem, noise=noise))


@pytest.mark.parametrize(("sigma", "matrix_noise"), [(1e-6, 0.01), (0.03, 0.01), (0.03, 0.003)])
def test_noise_that_is_estimated_holds_the_errors_of_the_matrix_already(sigma, matrix_noise):
    """The level is the same whether the noise of the scan is known or estimated: nothing counts twice."""
    ratios = []
    for seed in range(12):
        problem = scan(5 * blobs(1), sigma=sigma, matrix_noise=matrix_noise, seed=seed, n_rows=200)
        (frames,) = groups(replace(problem, noise=None))
        x = torch.from_numpy(5 * blobs(1).reshape(1, -1)).float() / frames.data.scale
        rest = frames.data.y - frames.data.model.values * (x @ frames.data.model.basis)
        ratios.append(float(rest.norm() / frames.level(x, torch.ones_like(rest))))
    assert np.mean(ratios) == pytest.approx(1.06, abs=0.1)


def test_an_error_of_the_model_adds_to_the_noise():
    problem = scan(blobs(1), sigma=0.01)
    (without,), (with_it,) = groups(problem), groups(problem, model_error=0.1)
    loudness = float(problem.rows.abs().square().mean().sqrt()) / 2**0.5
    unit = float(with_it.data.scale) * with_it.data.model.unit
    added = float(with_it.data.sigma) ** 2 - float(without.data.sigma) ** 2
    assert added**0.5 * unit == pytest.approx(0.1 * loudness, rel=1e-2)
