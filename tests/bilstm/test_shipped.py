"""The weights that come with the package: digits they never saw, from a file, without a calibration."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import loadmat
from typer.testing import CliRunner

import mpibridge as mb
from mpibridge import simulate, weights
from mpibridge.cli import app
from mpibridge.errors import WeightsError
from mpibridge.metrics import per_image, ssim
from mpibridge.simulate.presets import preset

SNR = 20.0


@pytest.fixture(scope="module")
def fives(shared) -> list[np.ndarray]:
    """Two originals of the digit that nobody trained on, upright: (28, 28) uint8."""
    folder = shared / "data/mnist"
    labels = loadmat(folder / "test_labels.mat")["test_labels1"].ravel()
    images = loadmat(folder / "test_images.mat")["test_images"].transpose(2, 0, 1)
    return list(images[np.flatnonzero(labels == 5)[:2]])


def scanned(five, scanner="mnist-2d"):
    """(scan, truth) of a digit that is turned and shifted."""
    phantom = simulate.phantoms.digit(five, size=28e-3, angle=0.2, center=(1e-3, -2e-3))
    noise = simulate.Noise(snr=SNR, background=0.0, drift=0.0)
    scan = simulate.scan(
        phantom, scanner, generator=np.random.default_rng(4), noise=noise, n_frames=3, n_background=2
    )
    return scan, phantom.on(preset("mnist-2d").grid, 4).values


@pytest.fixture(scope="module")
def shipped() -> weights.Weights:
    found = [w for w in weights.available("bilstm") if isinstance(w, weights.Weights)]
    assert found, "no weights of bilstm come with the package"
    return next(w for w in found if w.origin == "shipped")


def test_they_are_sound_small_licensed_and_never_saw_a_five(shipped):
    assert shipped.damage() is None
    assert shipped.path.stat().st_size <= 10e6
    assert shipped.header.licence == "MIT"
    assert shipped.header.settings["size"] == "compact"
    assert shipped.header.data["families"] == ["digits but 5", "digits but 5, deformed"]
    assert shipped.header.settings["mirrored"] is True
    assert shipped.header.acquisition.scanner == "mnist-2d"
    assert len(shipped.header.acquisition.phases) == 3


def test_a_digit_that_was_held_out_is_seen(fives):
    for five in fives:
        scan, truth = scanned(five)
        image = mb.reconstruct(scan, plugin="bilstm").concentration
        assert per_image(ssim, image.values, np.stack([truth] * 3)).min() > 0.9
        assert float(abs(image.max() - truth.max())) < 0.25


def test_shuffled_samples_fail(fives):
    scan, truth = scanned(fives[0])
    order = np.random.default_rng(0).permutation(scan.sizes["sample"])
    shuffled = scan.copy(data={"signal": scan.signal.values[..., order]})
    image = mb.reconstruct(shuffled, plugin="bilstm").concentration
    assert per_image(ssim, image.values, np.stack([truth] * 3)).max() < 0.6


def test_from_file_to_file_without_a_calibration(fives, tmp_path):
    scan, truth = scanned(fives[0])
    source, target = tmp_path / "scan.mdf", tmp_path / "image.mdf"
    mb.save(source, scan)
    made = CliRunner().invoke(app, ["reconstruct", str(source), "--plugin", "bilstm", "-o", str(target)])
    assert made.exit_code == 0, made.output
    image = mb.open(target).concentration
    assert image.shape == (3, 1, 40, 40)
    assert per_image(ssim, image.values, np.stack([truth] * 3)).min() > 0.9


def test_another_sequence_is_refused_with_both_named(fives):
    scan, _ = scanned(fives[0], "openmpi-2d")
    with pytest.raises(WeightsError, match=re.escape("amplitudes: 0.02, 0.02, 0 T, not 0.012, 0.012, 0 T")):
        mb.reconstruct(scan, plugin="bilstm")
    base = preset("mnist-2d")
    sequence = replace(base.scanner.sequence, phase=(0.0, np.pi / 2, 0.0))
    scan, _ = scanned(fives[0], replace(base, scanner=replace(base.scanner, sequence=sequence)))
    with pytest.raises(WeightsError, match=re.escape("phases: 0, 0, 0 rad, not 0, 1.5708, 0 rad")):
        mb.reconstruct(scan, plugin="bilstm")
