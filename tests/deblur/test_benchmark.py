"""The data and the controls of the benchmark: an SNR is what it says, and what is compared with solves its problem."""

import sys
from importlib import import_module

import numpy as np
import pytest

from tests.conftest import PROJECT


@pytest.fixture(scope="module")
def modules():
    folder = str(PROJECT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        return {name: import_module(name) for name in ("deblur_bed", "deblur_controls", "deblur_run")}
    finally:
        sys.path.remove(folder)


@pytest.fixture(scope="module")
def bed(modules):
    return modules["deblur_bed"].bed(2e-3, ("lambda",))


def test_an_snr_is_the_peak_of_the_scene_over_sigma(bed):
    clean, noisy = bed.measured("lambda", np.inf, 3), bed.measured("lambda", 8.0, 3)
    assert len(clean) == 1
    assert (noisy - clean).std() == pytest.approx(2e-3 / 8, rel=0.02)
    largest = float(abs(clean).max())
    assert bed.own_snr("lambda", 8.0) == pytest.approx(8 * largest / 2e-3)
    assert bed.own_snr("lambda", 8.0) < 8 / 3


def test_a_draw_is_the_same_however_many_there_are(bed):
    np.testing.assert_array_equal(bed.noise(3, 2)[:2], bed.noise(2, 2))
    assert not np.array_equal(bed.noise(1, 2), bed.noise(1, 3))


def test_a_perfect_image_beats_an_empty_one(bed):
    truth = bed.truth["lambda"]
    perfect, empty = bed.scores(np.stack([truth, 0 * truth]), "lambda")
    assert np.isinf(perfect)
    assert empty == pytest.approx(10 * np.log10(truth.max() ** 2 / (truth**2).mean()))


def test_the_blur_of_a_direction_has_an_adjoint_and_is_near_the_images(modules, bed):
    blur = modules["deblur_controls"].Blur(bed)
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((1, 70, 70)), generator.standard_normal((1, 2, 70, 70))
    one, other = (blur.forward(x) * y).sum(), (x * blur.adjoint(y)).sum()
    assert one == pytest.approx(other, rel=1e-4, abs=1e-4 * np.linalg.norm(blur.forward(x)))
    images = blur.images(bed.measured("lambda", np.inf, 1))
    found = blur.forward(bed.truth["lambda"][None])
    error = np.linalg.norm(found - images) / np.linalg.norm(images)
    assert 0.02 < error < 0.25  # one direction per half is wrong, and not by a factor


def test_wiener_undoes_its_own_blur(modules, bed):
    blur = modules["deblur_controls"].Blur(bed)
    truth = np.zeros((1, 70, 70))
    truth[0, 30:40, 25:45] = 1
    uncut = np.fft.irfft2(np.fft.rfft2(truth, blur.size)[:, None] * blur.transfer, blur.size)
    blur.images = lambda signals: uncut
    errors = [np.linalg.norm(blur.wiener(truth, noise, 1.0) - truth) for noise in (1e-1, 1e-3, 1e-5)]
    assert errors == sorted(errors, reverse=True)


def test_a_compressed_system_is_the_same_problem(modules, tmp_path):
    controls = modules["deblur_controls"]
    generator = np.random.default_rng(1)
    matrix = generator.standard_normal((300, 40)).astype(np.float32)
    kept = controls.compressed(matrix)
    scaled = matrix / kept["scale"]
    np.testing.assert_allclose(kept["rows"].T @ kept["rows"], scaled.T @ scaled, atol=1e-3)
    data = generator.standard_normal(300).astype(np.float32)
    np.testing.assert_allclose(kept["rows"].T @ (kept["projector"] @ data), scaled.T @ data, atol=1e-3)


def test_artefacts_are_energy_away_from_the_phantom(modules):
    truth = np.zeros((20, 20))
    truth[8:12, 8:12] = 2
    near, far = truth.copy(), truth.copy()
    near[6, 9] = 1
    far[1, 1] = 1
    found = modules["deblur_run"].artefacts(np.stack([truth, near, far]), truth)
    np.testing.assert_allclose(found, [0, 0, 1 / 64])
