"""The data of the benchmark: the held-out digit stays out, and an SNR is what it says."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.bilstm.examples import scanner
from tests.conftest import PROJECT


@pytest.fixture(scope="module")
def data():
    folder = str(PROJECT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        import bilstm_digits
    finally:
        sys.path.remove(folder)
    return bilstm_digits


@pytest.fixture
def originals(data, tmp_path):
    """300 pictures whose brightness is their label + 1, as a file of arrays."""
    labels = np.arange(300) % 10
    images = np.zeros((300, 28, 28), np.uint8)
    images[:, 2:26, 2:26] = (20 * (labels + 1))[:, None, None]
    np.savez(tmp_path / "digits.npz", images=images, labels=labels)
    return data.Originals.of(tmp_path / "digits.npz")


def shown(images):
    """Labels of pictures by their brightness, 0 for concentration 20/255."""
    return set(np.round(images.reshape(len(images), -1).max(1) * 255 / 20).astype(int) - 1)


def test_no_five_is_trained_on_or_chosen_by(data, originals):
    parts = {name: originals.part(name) for name in ("training", "validation", "test")}
    assert shown(parts["test"] / 255) == {5}
    for name in ("training", "validation"):
        assert shown(parts[name] / 255) == set(range(10)) - {5}
    assert sum(map(len, parts.values())) == 300
    pairs = data.training_data(originals, (300, 300), scanner(), validation=64, copies=1)
    from mpibridge import Preprocessing, registry

    drawn = pairs.pairs(registry.load("bilstm"), Preprocessing(background="mean"), 0)
    for target in (drawn.batch(0, 0, 64)[1], drawn.validation(0)[1]):
        assert not (abs(target.max((1, 2, 3)) * 255 / 20 - 6) < 0.3).any()


def test_every_held_out_original_is_scanned_at_three_places(data, originals):
    one_patch = replace(scanner(), finer=2)
    scans = data.held_out_scans(originals, one_patch)
    assert len(scans.truth) == 3 * 30
    centres = (scans.truth * np.arange(12)).sum((1, 2, 3)) / scans.truth.sum((1, 2, 3))
    assert len(np.unique(centres.round(4))) > 80
    again = data.held_out_scans(originals, one_patch, 5)
    np.testing.assert_array_equal(again.truth, scans.truth[:5])


def test_an_snr_is_what_it_says(data, originals):
    scans = data.held_out_scans(originals, scanner(), 8)
    noise = scans.at(10.0) - scans.waveform
    power = (scans.waveform**2).mean((1, 2)) / (noise**2).mean((1, 2))
    np.testing.assert_allclose(10 * np.log10(power), 10, atol=0.5)
    louder = scans.at(0.0) - scans.waveform
    np.testing.assert_allclose(louder / noise, 10**0.5, rtol=2e-2)  # the same noise, only stronger
    peak = scans.at(20.0, "largest voltage over σ") - scans.waveform
    np.testing.assert_allclose(abs(scans.waveform).max((1, 2)) / peak.std((1, 2)), 10, rtol=0.05)
    amplitudes = scans.at(20.0, "decibels of an amplitude counted as of a power") - scans.waveform
    found = 20 * np.log10(scans.waveform.std((1, 2)) / amplitudes.std((1, 2)))
    np.testing.assert_allclose(found, 40, atol=0.4)


def test_deformed_digits_vary_around_their_originals(data):
    y, x = np.mgrid[:28, :28]
    images = np.stack([255 * (abs(np.hypot(x - 13.5, y - 13.5) - 8) < 2), 0 * x]).astype(np.uint8)
    made = data.deformed(images, 20, np.random.default_rng(0))
    assert (made.shape, made.dtype) == ((40, 28, 28), np.uint8)
    np.testing.assert_array_equal(made, data.deformed(images, 20, np.random.default_rng(0)))
    assert not made[1::2].any()
    rings = made[::2].astype(float)
    assert rings.std(0).max() > 50
    assert np.corrcoef(rings.mean(0).ravel(), images[0].ravel())[0, 1] > 0.8
    height, width = (
        np.array([np.ptp(np.flatnonzero(r.max(axis) > 127)) + 1 for r in rings]) for axis in (1, 0)
    )
    assert min(height.min(), width.min()) < 18 < 22 < max(height.max(), width.max())
