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
from mpibridge.training import scene_scans

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
    quiet, loud = made.at(np.inf, validation=1), made.at(5.0, validation=1)
    np.testing.assert_array_equal(quiet.problem.images, made.clean)
    np.testing.assert_allclose(
        loud.problem.images - made.clean, made.peak / 5 * made.noise, atol=1e-6 * abs(made.clean).max()
    )
    assert loud.validation == pytest.approx(1 / 3)
    assert loud.description["snr"] == 5.0
    assert loud.acquisition.scanner == "xspace-2d"


def test_a_range_of_snr_has_another_in_every_frame():
    made = scans()
    found = made.at((5.0, 20.0), validation=1).problem.images
    for i, snr in enumerate((5.0, 10.0, 20.0)):
        wanted = made.at(snr, validation=1).problem.images[i]
        np.testing.assert_allclose(found[i], wanted, atol=1e-6 * abs(wanted).max())


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
