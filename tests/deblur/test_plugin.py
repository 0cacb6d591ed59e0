"""`deblur` keeps the laws of its problem, learns, goes on after a kill, and refuses what its weights were not made for."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import load_file

import mpibridge as mb
from mpibridge import simulate
from mpibridge.device import to_device
from mpibridge.errors import SettingsError, WeightsError
from mpibridge.simulate import phantoms
from mpibridge.testing import check_plugin
from mpibridge.training import Training, train
from mpibridge.training.data import take
from mpibridge_plugins.deblur import losses
from mpibridge_plugins.deblur.network import normalise
from mpibridge_plugins.deblur.plugin import Deblur
from tests.deblur.examples import GRID, SMALL, images, problem, scan, scanner, scans, scene, untrained

SHORT = Training(steps=12, validate_every=4, batch=4, warmup=2, evaluate=4)


@pytest.mark.parametrize(
    "settings",
    [
        {"l2_steps": 0, "perceptual": "random"},
        {"l2_steps": 0, "perceptual": "none", "data_consistency": True, "symmetries": 8},
    ],
)
def test_the_contract_on_scans(settings):
    made = scans()
    given, target = take((made.problem(made.peak / 50), made.target), slice(0, 3))
    check_plugin(Deblur, settings={**SMALL, **settings}, problem=given, target=target)


def test_twice_the_scan_is_twice_the_image():
    method, given = untrained(), problem()
    image = images(method, given)
    assert image.max() > 0
    twice = images(method, replace(given, images=4 * given.images))
    np.testing.assert_allclose(twice, 4 * image, atol=1e-5 * twice.max())
    assert not images(method, replace(given, images=0 * given.images)).any()
    assert not images(method, replace(given, images=-abs(given.images))).any()


def test_an_image_is_the_mean_over_the_symmetries_without_negative_values():
    given = problem()
    method = untrained(symmetries=1)
    tensors = torch.tensor(given.images[:, :, 0])
    with torch.no_grad():
        alone = method.network(tensors)
        flipped = [
            method.network(tensors.flip(-1)[:, [1, 0]]).flip(-1),
            method.network(tensors.flip(-2)[:, [1, 0]]).flip(-2),
            method.network(tensors.flip(-1, -2)).flip(-1, -2),
        ]
    np.testing.assert_allclose(images(method, given)[:, 0], alone.clamp_min(0), atol=1e-6)
    mean = torch.stack([alone, *flipped]).mean(0).clamp_min(0)
    np.testing.assert_allclose(images(untrained(symmetries=4), given)[:, 0], mean, atol=1e-6)


def loss(method, given, target):
    tensors = to_device(given, "cpu", tensors=True)
    return float(method.loss(tensors, torch.tensor(target), generator=np.random.default_rng(0)).detach())


def test_the_loss_is_squared_first_and_then_absolute_and_perceptual():
    given, target = problem(), scans().target[:4]
    method = untrained()
    method.network.eval()
    with torch.no_grad():
        tensors = torch.tensor(given.images[:, :, 0])
        unit = (normalise(tensors)[1] * method.network.gain)[:, None, None]
        found, wanted = method.network(tensors) / unit, torch.tensor(target[:, 0]) / unit
    absolute = float((found - wanted).abs().mean())
    seen = float(losses.perceptual(losses.features("gradient"), found, wanted))
    assert loss(method, given, target) == pytest.approx(absolute + seen, rel=1e-5)
    half = untrained(perceptual_weight=0.5)
    half.network.eval()
    assert loss(half, given, target) == pytest.approx(absolute + seen / 2, rel=1e-5)
    plain = untrained(perceptual="none")
    plain.network.eval()
    assert loss(plain, given, target) == pytest.approx(absolute, rel=1e-5)
    # Without directions nothing is mirrored: the steps of training see the same images.
    given = replace(given, gridding=None)
    method = untrained(l2_steps=2)
    method.network.batches.fill_(0)
    first, second, third = (loss(method, given, target) for _ in range(3))
    unit = (normalise(tensors)[1] * method.network.gain)[:, None, None]
    with torch.no_grad():
        squared = (method.network(tensors) / unit - torch.tensor(target[:, 0]) / unit).square().mean()
    assert second == pytest.approx(float(squared), rel=1e-5)
    assert abs(third - second) > 1e-3
    assert first == pytest.approx(second, rel=1e-5)  # the gain is that of the only batch


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path):
    def press(done, total, text):
        if done == 7:
            raise KeyboardInterrupt

    data, settings = scans().at(20.0, validation=4), {**SMALL, "l2_steps": 5}
    with pytest.raises(KeyboardInterrupt, match="up to step 4"):
        train("deblur", data=data, out=tmp_path / "a", training=SHORT, progress=press, **settings)
    train("deblur", data=data, out=tmp_path / "a", training=SHORT, **settings)
    train("deblur", data=data, out=tmp_path / "b", training=SHORT, **settings)
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in "ab")
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (tmp_path / "a/history.csv").read_bytes() == (tmp_path / "b/history.csv").read_bytes()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deblur")
    train("deblur", data=scans().at(20.0, validation=4), out=folder, training=SHORT, **SMALL)
    return folder


def test_a_scan_needs_no_calibration_and_no_grid(trained):
    image = mb.reconstruct(scan(phantoms.ell(GRID), n_frames=2), plugin="deblur", weights=trained)
    assert image.concentration.shape == (2, 1, 20, 20)
    np.testing.assert_allclose(image.x, GRID.axis("x"))
    assert float(image.concentration.min()) >= 0


def test_the_header_says_what_was_trained_on(trained):
    said = mb.weights.read(trained).header.data
    assert (said["kind"], said["preset"], said["snr"]) == ("scene", "xspace-2d", 20.0)
    assert (said["frames"], said["validation"]) == (20, 4)


def test_another_grid_and_another_sequence_are_refused(trained):
    with pytest.raises(WeightsError, match="20"):
        mb.reconstruct(
            scan(phantoms.ell(GRID)),
            plugin="deblur",
            weights=trained,
            preprocessing=mb.Preprocessing(grid=mb.Grid((40, 40, 1), GRID.field_of_view), background="mean"),
        )
    base = scanner()
    other = replace(
        base,
        scanner=replace(base.scanner, sequence=replace(base.scanner.sequence, amplitude=(20e-3, 30e-3, 0.0))),
    )
    recorded = simulate.scan(phantoms.ell(GRID), other, generator=np.random.default_rng(0))
    with pytest.raises(WeightsError, match=r"trained for amplitudes: 0.03, 0.03 T, not 0.02, 0.03 T"):
        mb.reconstruct(recorded, plugin="deblur", weights=trained)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"size": "big"}, "size must be published or compact, found 'big'"),
        ({"folds": 0}, "folds must be a whole number of at least 1, found 0"),
        ({"width": 0}, "width must be a whole number of at least 1, found 0"),
        ({"halvings": -1}, "halvings must be a whole number of at least 0, found -1"),
        ({"surround": 0}, "surround must be a whole number of at least 1, found 0"),
        ({"l2_steps": 1.5}, "l2_steps must be a whole number of at least 0, found 1.5"),
        ({"perceptual": "lpips"}, "perceptual must be one of random, gradient, vgg, none, found 'lpips'"),
        ({"perceptual_weight": -1.0}, "perceptual_weight must be a number of at least 0, found -1.0"),
        ({"symmetries": 2}, "symmetries must be one of 1, 4, 8, found 2"),
        ({"data_consistency": 1}, "data_consistency must be true or false, found 1"),
        ({"consistency_steps": 0}, "consistency_steps must be a whole number of at least 1, found 0"),
        ({"core_diameter": 0.0}, "core_diameter must be a length in m above 0, found 0.0"),
    ],
)
def test_settings_out_of_range(settings, said):
    with pytest.raises(SettingsError, match=said):
        Deblur.Settings(**settings)


def test_a_measured_scene_trains_weights_for_its_scanner(tmp_path):
    centers, angles = scene().places(6, np.random.default_rng(4), GRID)
    wide = mb.Grid((30, 30, 1), (30e-3, 30e-3, 1e-3))
    crops = {
        grid: xr.DataArray(
            scene().crops(centers, angles, grid, finer=2),
            grid.coordinates(),
            ("frame", "z", "y", "x"),
            attrs=grid.attributes(),
        )
        for grid in (wide, GRID)
    }
    mb.save(tmp_path / "scene.mdf", scan(crops[wide]))
    mb.save(tmp_path / "scan.mdf", scan(phantoms.ell(GRID), n_frames=2))
    preprocessing = mb.Preprocessing(grid=GRID, background="mean")
    data = mb.training.Recordings([(tmp_path / "scene.mdf", crops[GRID])])
    short = replace(SHORT, steps=4)
    train("deblur", data=data, out=tmp_path / "mine", training=short, preprocessing=preprocessing, **SMALL)
    image = mb.reconstruct(tmp_path / "scan.mdf", plugin="deblur", weights=tmp_path / "mine").concentration
    assert image.shape == (2, 1, 20, 20)
    assert image.max() > 0


def test_sizes_stand_in_the_settings():
    assert asdict(Deblur.Settings(size="published"))["width"] == 64
    assert Deblur.Settings(width=3).network.width == 3


def test_volumes_and_tiny_planes_are_refused():
    volume = replace(problem(), grid=mb.Grid((8, 8, 8), (1e-2, 1e-2, 1e-2)))
    with pytest.raises(
        SettingsError, match=r"planes of at least 8 × 8 pixels, the grid \(z, y, x\) is \(8, 8, 8\)"
    ):
        Deblur().build_network(volume)
