"""`cascade` keeps the contract on both kinds of data, the laws of its problem, learns, and serves a calibration of one's own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import mpibridge as mb
from mpibridge import simulate
from mpibridge.errors import SettingsError
from mpibridge.execution import build_network, execute
from mpibridge.model import Grid
from mpibridge.operators import SystemMatrix
from mpibridge.plugin import make_settings
from mpibridge.problems import spectral_problem
from mpibridge.progress import silent
from mpibridge.simulate.presets import preset
from mpibridge.testing import check_plugin
from mpibridge.training import Simulated, Training, train
from mpibridge_plugins.cascade.network import FLIPS, mean_over
from mpibridge_plugins.cascade.plugin import Cascade
from tests.cascade.examples import narrowband, raster, spectral, untrained

SHORT = Training(steps=12, validate_every=4, batch=4, warmup=2, evaluate=4)


def images(method, problem):
    return execute(method, problem, generator=np.random.default_rng(0), report=silent).image


@pytest.mark.parametrize("drawn", [spectral, narrowband], ids=["system matrix", "raster"])
def test_the_contract_on_both_kinds_of_data(drawn):
    problem, target = drawn()
    check_plugin(Cascade, problem=problem, target=target, settings={"width": 8})


@pytest.mark.parametrize("settings", [{"loss": "mse", "symmetries": 4}, {"stages": "apart"}])
def test_the_contract_with_other_settings(settings):
    check_plugin(Cascade, settings={"width": 8, **settings})


@pytest.mark.parametrize("drawn", [spectral, narrowband], ids=["system matrix", "raster"])
def test_twice_the_signal_is_twice_the_image(drawn):
    problem, _ = drawn()
    method = untrained(problem)
    image = images(method, problem)
    assert image.max() > 0
    louder = replace(problem, rows=4 * problem.rows, noise=4 * problem.noise)
    np.testing.assert_allclose(images(method, louder), 4 * image, atol=1e-4 * image.max())
    assert not images(method, replace(problem, rows=0 * problem.rows)).any()


def test_the_order_of_the_rows_means_nothing():
    problem, _ = spectral()
    method = untrained(problem)
    order = np.random.default_rng(0).permutation(problem.rows.shape[1])
    other = replace(
        problem,
        rows=problem.rows[:, order],
        operator=SystemMatrix(problem.operator.matrix[order], problem.grid),
        noise=problem.noise[:, order],
    )
    image = images(method, problem)
    np.testing.assert_allclose(images(method, other), image, atol=1e-3 * image.max())


def test_the_trace_holds_the_preliminary_image():
    problem, _ = narrowband()
    result = execute(untrained(problem), problem, generator=np.random.default_rng(0), report=silent)
    assert result.trace["preliminary"].shape == result.image.shape
    assert not np.allclose(result.trace["preliminary"], result.image)


def test_four_symmetries_are_means_of_both_stages():
    problem, _ = narrowband()
    one, four = untrained(problem, symmetries=1), untrained(problem, symmetries=4)
    assert np.abs(images(four, problem) - images(one, problem)).max() > 0.01 * images(one, problem).max()
    seen = []
    for stage in (four.network.inverse, four.network.refine):
        stage.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    result = execute(four, problem, generator=np.random.default_rng(0), report=silent)
    assert [len(given) for given in seen] == [16, 16]
    for given in seen:
        for part, dims in zip(given.chunk(4), FLIPS, strict=True):
            torch.testing.assert_close(part, given[:4].flip(dims))
    with torch.no_grad():
        preliminary = mean_over(FLIPS, four.network.inverse, seen[0][:4]).clamp_min(0)
    ratio = result.trace["preliminary"][:, 0] / np.maximum(preliminary.numpy(), 1e-12)
    for frame, found in zip(ratio, preliminary.numpy(), strict=True):
        bright = found > 0.1 * found.max()
        np.testing.assert_allclose(frame[bright], frame[bright][0], rtol=1e-3)


def test_more_harmonics_are_more_rows():
    """Second and third harmonic of every field-free point are rows like any others: untrained, the image is a ridge image of both."""
    phantom = simulate.phantoms.points([(0.3e-3, -0.2e-3)], diameter=0.6e-3)
    truth, likeness = phantom.on(raster().grid, 4).values.ravel(), []
    for bins in ((3,), (2, 3)):
        chosen = replace(raster(), bins=bins)
        calibration = simulate.calibration(chosen, generator=np.random.default_rng(0))
        scan = simulate.scan(phantom, chosen, generator=np.random.default_rng(1), n_frames=1)
        data = Simulated(calibration, families=("points",), validation=0)
        pairs = data.pairs(Cascade, mb.training.CORRECTED, 0)
        assert pairs.example.rows.shape[1] == 81 * len(bins)
        method = Cascade(Cascade.Settings(width=8))
        method.network = build_network(method, pairs.example)
        given = spectral_problem(scan, [calibration], mb.training.CORRECTED)
        likeness.append(np.corrcoef(images(method, given).ravel(), truth)[0, 1])
    assert min(likeness) > 0.9


def test_from_an_own_calibration_to_an_image_with_one_command_each(tmp_path):
    from typer.testing import CliRunner

    from mpibridge.cli import app

    small = replace(preset("openmpi-2d"), grid=Grid((9, 9, 1), (36e-3, 36e-3, 1e-3)))
    rng = np.random.default_rng(0)
    mb.save(tmp_path / "calibration.mdf", simulate.calibration(small, generator=rng))
    noise = simulate.Noise(snr=25, min_frequency=80e3)
    scan = simulate.scan(simulate.phantoms.cone(), small, generator=rng, noise=noise, n_frames=2)
    mb.save(tmp_path / "scan.mdf", scan)
    weights, image = tmp_path / "run", tmp_path / "image.mdf"
    few = {"min-frequency": 80e3, "snr-threshold": 5, "width": 8, "steps": 12, "batch": 4, "warmup": 2}
    options = [text for name, value in few.items() for text in (f"--{name}", str(value))]
    made = CliRunner().invoke(
        app,
        ["train", "cascade", "--data", str(tmp_path / "calibration.mdf"), "--out", str(weights), *options],
    )
    assert made.exit_code == 0, made.output
    command = ["reconstruct", str(tmp_path / "scan.mdf"), "--plugin", "cascade", "-o", str(image)]
    more = ["--system-matrix", str(tmp_path / "calibration.mdf"), "--weights", str(weights)]
    made = CliRunner().invoke(app, [*command, *more])
    assert made.exit_code == 0, made.output
    found = mb.open(image).concentration
    assert found.shape == (2, 1, 9, 9)
    assert float(found.max()) > 0


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path):
    data = Simulated(raster(6), families=("blobs",), validation=4)
    full = train("cascade", data=data, out=tmp_path / "full", training=SHORT, width=4, progress=False)
    interrupted = tmp_path / "interrupted"

    class Killed(Exception):
        pass

    def stop(done, total, text):
        if done >= 8:
            raise Killed

    with pytest.raises(Killed):
        train("cascade", data=data, out=interrupted, training=SHORT, width=4, progress=stop)
    again = train("cascade", data=data, out=interrupted, training=SHORT, width=4, progress=False)
    ours, theirs = load_file(full.path), load_file(again.path)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"width": 7}, "width must be an even number"),
        ({"loss": "l1"}, "loss must be full or mse, found 'l1'"),
        ({"stages": "both"}, "stages must be joint or apart"),
        ({"ssim_weight": -1.0}, "ssim_weight must be a number of at least 0, found -1.0"),
        ({"symmetries": True}, "symmetries must be 1 or 4, found True"),
        ({"symmetries": 2}, "symmetries must be 1 or 4, found 2"),
        ({"model_error": 1.0}, "model_error must be a share from 0 to below 1, found 1.0"),
        ({"preliminary_weight": 0}, "both stages are supervised"),
    ],
)
def test_settings_are_checked(values, said):
    with pytest.raises(SettingsError, match=said):
        make_settings(Cascade, values)


def test_volumes_are_refused():
    problem, _ = spectral()
    grid = Grid((9, 3, 3), (9e-3, 3e-3, 3e-3))
    volume = replace(problem, grid=grid, operator=SystemMatrix(problem.operator.matrix, grid))
    with pytest.raises(
        SettingsError, match=r"makes planes of at least 3 × 3 voxels, the grid \(z, y, x\) is \(3, 3, 9\)"
    ):
        images(untrained(problem), volume)
