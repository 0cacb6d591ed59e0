"""Scans of a coded scene: what a scanner would record of its crops, particles outside of the field of view included."""

from dataclasses import replace

import numpy as np
import pytest

import mpibridge as mb
from mpibridge import simulate
from mpibridge.errors import SettingsError
from mpibridge.simulate import LissajousSequence, phantoms
from mpibridge.simulate.presets import preset
from mpibridge.simulate.scanner import diagonal_gradient
from mpibridge.training import CORRECTED, scene_scans
from mpibridge_plugins.deblur.plugin import Deblur

GRID = mb.Grid((10, 8, 1), (10e-3, 8e-3, 2e-3))
SCENE = phantoms.scene(np.random.default_rng(2), size=18e-3, resolution=90, nodes=5)


def scanner(**changes):
    sequence = LissajousSequence((15e-3, 12e-3, 0.0), dividers=(12, 11), base_frequency=297e3, oversampling=8)
    base = preset("xspace-2d")
    return replace(base, scanner=replace(base.scanner, sequence=sequence, **changes), grid=GRID)


def scans(n=3, seed=1, **changes):
    return scene_scans(SCENE, scanner(**changes), generator=np.random.default_rng(seed), n=n)


def test_they_are_those_of_the_simulator_with_the_scene_all_around():
    made, wide = scans(), mb.Grid((200, 200, 1), (40e-3, 40e-3, 2e-3))
    of_places, _ = np.random.default_rng(1).spawn(2)
    centers, angles = SCENE.places(3, of_places, GRID)
    silence = simulate.Noise(level=0.0, background=0.0, drift=0.0)
    for i, (center, angle) in enumerate(zip(centers, angles, strict=True)):
        crop = SCENE.crop(center, angle, wide)
        chosen = replace(scanner(), grid=wide, finer=1)
        recorded = simulate.scan(
            crop, chosen, generator=np.random.default_rng(0), noise=silence, n_frames=1, n_background=0
        )
        volts = mb.signals.time_signals(recorded).values
        found = made.gridding(volts).images[0]
        assert np.linalg.norm(made.clean[i] - found) < 3e-3 * np.linalg.norm(found)
        np.testing.assert_allclose(made.target[i], SCENE.crop(center, angle, GRID, 5).values, atol=1e-6)
        assert made.peak >= abs(volts).max() * 0.99


def test_noise_is_white_noise_of_one_volt_through_the_gridding():
    made = scans(n=60)
    _, of_noise = np.random.default_rng(1).spawn(2)
    white = of_noise.standard_normal((50, 1, 2, made.gridding.coil.shape[-1]), np.float32)
    np.testing.assert_allclose(made.noise[:50], made.gridding(white).images, rtol=1e-5, atol=1e-9)
    assert not np.array_equal(made.noise[0], made.noise[1])


def test_an_snr_is_the_largest_voltage_over_sigma():
    made = scans()
    quiet = made.at(np.inf, validation=1).pairs(Deblur, CORRECTED, 0).validation(0)[0]
    loud = made.at(5.0, validation=1).pairs(Deblur, CORRECTED, 0)
    np.testing.assert_array_equal(quiet.images[0], made.clean[2])
    np.testing.assert_allclose(
        loud.validation(0)[0].images - made.clean[2:],
        made.peak / 5 * made.noise[2:],
        atol=1e-6 * abs(made.clean).max(),
    )
    assert (loud.description["snr"], loud.description["frames"]) == (5.0, 2)
    assert loud.acquisition.scanner == "xspace-2d"
    np.testing.assert_allclose(made.problem(made.peak / 5).images[2:], loud.validation(0)[0].images)


def test_in_training_a_scan_has_the_noise_of_any_that_is_not_held_out():
    made = scans(n=6)
    pairs = made.at((5.0, 20.0), validation=2).pairs(Deblur, CORRECTED, 0)
    seen, levels = set(), []
    for number in range(8):
        problem, target = pairs.batch(1, number, 4)
        for image, crop in zip(problem.images, target, strict=True):
            i = next(i for i in range(6) if np.array_equal(crop, made.target[i]))
            noise = (image - made.clean[i]).ravel()
            share = [noise @ n.ravel() / (n.ravel() @ n.ravel()) for n in made.noise]
            rest = [np.linalg.norm(noise - s * n.ravel()) for s, n in zip(share, made.noise, strict=True)]
            j = int(np.argmin(rest))
            assert rest[j] < 1e-3 * np.linalg.norm(noise)
            seen.add((i, j))
            levels.append(made.peak / share[j])
    assert {i for i, _ in seen} == {j for _, j in seen} == set(range(4))
    assert len(seen) > 8
    assert 5 <= min(levels) < 8
    assert 13 < max(levels) <= 20.01
    one, two = pairs.batch(1, 3, 4), pairs.batch(1, 3, 4)
    np.testing.assert_array_equal(one[0].images, two[0].images)


def test_a_field_of_view_may_hang_over_the_edge():
    """Beyond the scene there is nothing, and what is there is heard as ever."""
    made = scene_scans(SCENE, scanner(), generator=np.random.default_rng(1), n=12, beyond=7e-3)
    of_places, _ = np.random.default_rng(1).spawn(2)
    centers, angles = SCENE.places(12, of_places, GRID, beyond=7e-3)
    i = int(abs(centers).max(1).argmax())
    assert abs(centers[i]).max() > 7e-3  # of 9 mm: the field of view is 10 × 8 mm²
    wide = mb.Grid((280, 280, 1), (56e-3, 56e-3, 2e-3))
    recorded = simulate.scan(
        SCENE.crop(centers[i], angles[i], wide),
        replace(scanner(), grid=wide, finer=1),
        generator=np.random.default_rng(0),
        noise=simulate.Noise(level=0.0, background=0.0, drift=0.0),
        n_frames=1,
        n_background=0,
    )
    found = made.gridding(mb.signals.time_signals(recorded).values).images[0]
    assert np.linalg.norm(made.clean[i] - found) < 3e-3 * np.linalg.norm(found)
    assert (made.target[i] == 0).mean() > (scans(n=12).target == 0).mean()


def test_the_same_generator_gives_the_same_scans():
    one, two, other = scans(), scans(), scans(seed=3)
    np.testing.assert_array_equal(one.clean, two.clean)
    np.testing.assert_array_equal(one.noise, two.noise)
    assert not np.array_equal(one.clean, other.clean)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gradient": diagonal_gradient(3.0, 2.0, -5.0)}, "equal gradients along x and y"),
        ({"particles": simulate.Particles(relaxation_time=1e-6)}, "no relaxation"),
        ({"particles": simulate.Particles(diameter_spread=0.1)}, "one core size"),
    ],
)
def test_other_scanners_are_refused(changes, said):
    with pytest.raises(SettingsError, match=said):
        scans(**changes)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"snr": 0.0}, "above 0, or a range of it; found 0.0"),
        ({"snr": (5.0, np.inf)}, "above 0, or a range"),
        ({"snr": 5.0, "validation": 3}, "below the 3 scans"),
    ],
)
def test_data_out_of_range_are_refused(choice, said):
    with pytest.raises(SettingsError, match=said):
        scans().at(**choice)


@pytest.mark.parametrize("grid", [GRID.resized(2), (1, 4, 4)])
def test_another_grid_than_that_of_the_scans_is_refused(grid):
    with pytest.raises(SettingsError, match="choose one"):
        scans().at(5.0, validation=1).pairs(Deblur, replace(CORRECTED, grid=grid), 0)
