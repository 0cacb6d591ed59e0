"""When a fit ends: at the level of the errors, at the best prediction, or when its iterations are over."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from mpibridge_plugins.nir.fitting import COOLING, EVERY, PATIENCE, HeldOut, discrepancy, fit, misfit_weights
from mpibridge_plugins.nir.noise import Frames, alike_frames

from .examples import GRID, blobs, scan, siren


def frames_of(images, **options) -> Frames:
    (frames,) = alike_frames(scan(images, **options), whiten=True, rank=500)
    return frames


class Steps:
    """Stands for networks whose images come nearer to the truth by a constant factor per iteration."""

    def __init__(self, truth, factor=0.95):
        self.truth, self.factor, self.iteration = truth, factor, 0
        self.network = siren([2, 4, 1], n=len(truth))

    def sample(self):
        self.iteration += 1
        anchored = sum(p.flatten(1).sum(1) for p in self.network.parameters())[:, None] * 0
        return slice(None), self.look() + anchored

    def look(self):
        return self.truth * (1 - self.factor**self.iteration)


def run(steps, frames, rule, iterations=400):
    return fit(
        steps.network,
        frames,
        steps.sample,
        steps.look,
        weights=misfit_weights(frames, 0.0),
        rate=1e-3,
        iterations=iterations,
        rule=rule,
        report=lambda done: None,
    )


def truth_in(frames, images):
    return torch.from_numpy(images.reshape(len(images), -1)).float() / frames.data.scale


def test_the_discrepancy_principle_stops_where_the_noise_begins():
    """On the way from nothing to an image that explains noise and all, at the first question after the level is passed."""
    frames = frames_of(blobs(2), sigma=0.02)
    data = frames.data
    steps = Steps((data.y / data.model.values) @ data.model.basis.mT)
    found = run(steps, frames, discrepancy)
    assert found.stopped.all()
    assert (found.iterations < 400).all()
    at = [int(n) - COOLING for n in found.iterations]
    weights = misfit_weights(frames, 0.0)
    for i, n in enumerate(at):
        assert n % EVERY == 0

        def residual(iteration, i=i):
            image = steps.truth[i] * (1 - steps.factor**iteration)
            rest = frames.data.y[i] - frames.data.model.values * (image @ frames.data.model.basis)
            return float(rest.norm()), float(frames.level(image[None].expand(2, -1), weights)[i])

        now, level = residual(n)
        assert now <= level
        before, level = residual(n - EVERY)
        assert before > level  # and not a question earlier


def test_the_level_is_what_the_noise_leaves_of_the_truth():
    """One standard deviation below its expectation: about five of six scans of the truth lie above it."""
    above, ratios = 0, []
    for seed in range(60):
        images = blobs(1)
        frames = frames_of(images, sigma=0.05, seed=seed)
        x = truth_in(frames, images)
        rest = frames.data.y - frames.data.model.values * (x @ frames.data.model.basis)
        ratio = float(rest.norm() / frames.level(x, torch.ones_like(frames.data.y)))
        above, ratios = above + (ratio > 1), [*ratios, ratio]
    assert 42 <= above <= 58
    assert np.mean(ratios) == pytest.approx(1.08, abs=0.04)


def test_without_noise_the_level_is_never_reached_and_it_says_so():
    images = blobs(2)
    frames = frames_of(images, sigma=1e-7)
    found = run(Steps(truth_in(frames, images), factor=0.99), frames, discrepancy, iterations=50)
    assert not found.stopped.any()
    assert (found.residual > 1).all()
    assert (found.iterations == 50).all()


def test_a_frame_that_stopped_rests_while_the_others_go_on():
    """The parameters of a network whose frame may stop at once move no more after cooling; those of another do."""
    images = blobs(2)
    frames = frames_of(images, sigma=0.02)
    network = siren([2, 16, 16, 1], n=2)
    points = torch.rand(2, 72, 2) * 2 - 1
    seen = []

    def sample():
        seen.append(network.flat())
        return slice(None), network(points)

    def only_the_first(image, residual):
        return torch.tensor([True, False])

    fit(
        network,
        frames,
        sample,
        lambda: network(points),
        weights=misfit_weights(frames, 100.0),
        rate=1e-3,
        iterations=150,
        rule=only_the_first,
        report=lambda done: None,
    )
    moved = [(after - before).abs().amax(1) for before, after in pairwise(seen)]
    rested = EVERY + COOLING
    assert moved[EVERY + 1][0] > 0
    assert all(m[0] == 0 for m in moved[rested:])
    assert all(m[1] > 0 for m in moved[rested:-1])


def test_held_out_rows_stop_when_they_are_predicted_no_better():
    misfits = iter([5.0, 4.0, 3.0, 2.9, *[3.0] * 20])
    rule = HeldOut(lambda image: torch.tensor([next(misfits), 1.0]))
    nothing = torch.zeros(2)
    answers = [rule(nothing, nothing).tolist() for _ in range(4 + PATIENCE)]
    assert [first for first, _ in answers].index(True) == 3 + PATIENCE
    assert answers[PATIENCE][1]


def test_balance_lifts_faint_coordinates_down_to_the_noise():
    frames = frames_of(blobs(1), sigma=0.05)
    s = frames.data.model.values
    weights = misfit_weights(frames, 1.0)[0]
    assert (weights.diff() >= 0).all()  # singular values fall
    lifted = weights * s
    assert float(lifted[0] / lifted[5]) < float(s[0] / s[5])
    assert torch.equal(misfit_weights(frames, 0.0), torch.ones_like(frames.data.y))


def test_known_images_come_back_from_noiseless_scans():
    """Fitted, then sampled: native voxels to 1 % of the maximum, other grids, with their rims, to 3 %."""
    from mpibridge.execution import execute
    from mpibridge.progress import silent
    from mpibridge_plugins.nir.plugin import NIR
    from mpibridge_plugins.nir.settings import NIRSettings

    from .examples import mean_of_wave

    waves = [((0.0, 0.0), 0.3), ((1.5, -1.0), 0.4)]
    images = np.stack([mean_of_wave(GRID, *wave) for wave in waves])
    problem = scan(images, n_rows=200, tensors=False)
    method = NIR(NIRSettings(stop="none", iterations=500, width=64))
    result = execute(method, problem, generator=np.random.default_rng(0), report=silent)
    np.testing.assert_allclose(result.image, images, atol=0.01)
    for size in ((16, 18), (13, 11)):
        grid = GRID.resized(size)
        found = method.sampled(result.trace, GRID, grid)
        np.testing.assert_allclose(found, [mean_of_wave(grid, *wave) for wave in waves], atol=0.03)
