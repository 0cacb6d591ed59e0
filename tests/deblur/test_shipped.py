"""The weights that come with the package: a λ they never saw, from a file, without a calibration."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import mpibridge as mb
from mpibridge import simulate, weights
from mpibridge.cli import app
from mpibridge.errors import WeightsError
from mpibridge.metrics import psnr
from mpibridge.simulate.presets import preset

GRID = mb.Grid((70, 70, 1), (20e-3, 20e-3, 1e-3))
OWN_SNR = 4.2
"""Largest voltage of the λ over σ: SNR 20 of the card."""


@pytest.fixture(scope="module")
def shipped() -> weights.Weights:
    found = [
        w for w in weights.available("deblur") if isinstance(w, weights.Weights) and w.origin == "shipped"
    ]
    assert found, "no weights of deblur come with the package"
    return found[0]


@pytest.fixture(scope="module")
def phantom():
    return simulate.phantoms.named("lambda", GRID)


@pytest.fixture(scope="module")
def scan(phantom):
    noise = simulate.Noise(snr=OWN_SNR, definition="maximum", background=0.0, drift=0.0)
    return simulate.scan(
        phantom,
        replace(preset("xspace-2d"), grid=GRID),
        generator=np.random.default_rng(7),
        noise=noise,
        n_frames=2,
        n_background=2,
    )


def test_they_are_sound_small_licensed_and_saw_one_scene(shipped):
    assert shipped.damage() is None
    assert shipped.path.stat().st_size <= 10e6
    assert shipped.header.licence == "MIT"
    assert shipped.header.settings["size"] == "compact"
    assert shipped.header.data["kind"] == "scene"
    assert (shipped.header.data["frames"], shipped.header.data["validation"]) == (3000, 300)
    assert shipped.header.acquisition.scanner == "xspace-2d"


def test_a_lambda_is_sharper_than_its_x_space_image(scan, phantom):
    truth = phantom.on(GRID, 4).values
    image = mb.reconstruct(scan, plugin="deblur").concentration
    raw = mb.reconstruct(
        scan, plugin="xspace", preprocessing=mb.Preprocessing(grid=GRID, background="mean")
    ).concentration
    assert image.shape == (2, 1, 70, 70)
    for frame in range(2):
        assert psnr(image.values[frame], truth) > psnr(raw.values[frame], truth, scale="least_squares") + 1
    assert 0.5 < float(image.max()) < 1.5


def test_from_file_to_file_without_a_calibration(scan, tmp_path):
    source = tmp_path / "scan.mdf"
    mb.save(source, scan)
    for plugin, shape in (("deblur", (2, 1, 70, 70)), ("xspace", (2, 1, 64, 64))):
        target = tmp_path / f"{plugin}.mdf"
        done = CliRunner().invoke(app, ["reconstruct", str(source), "--plugin", plugin, "-o", str(target)])
        assert done.exit_code == 0, done.output
        assert mb.open(target).concentration.shape == shape


def test_a_mirrored_scan_gives_the_mirrored_image_to_a_thousandth(phantom):
    drawn = phantom.on(GRID, 4)
    silence = simulate.Noise(level=0.0, background=0.0, drift=0.0)
    one, other = (
        mb.reconstruct(
            simulate.scan(
                drawn.copy(data=picture),
                replace(preset("xspace-2d"), grid=GRID),
                generator=np.random.default_rng(0),
                noise=silence,
                n_frames=1,
                n_background=2,
            ),
            plugin="deblur",
        ).concentration.values[0]
        for picture in (drawn.values, drawn.values[:, ::-1])
    )
    assert one.max() > 0.5
    assert abs(other - one[:, ::-1]).max() <= 1e-3 * one.max()


def test_another_grid_is_refused(scan):
    with pytest.raises(WeightsError, match="size"):
        mb.reconstruct(
            scan, plugin="deblur", preprocessing=mb.Preprocessing(grid=GRID.resized(4), background="mean")
        )
