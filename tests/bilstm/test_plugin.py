"""`bilstm` keeps the laws of its problem, learns, goes on after a kill, and refuses what its weights were not made for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import mpibridge as mb
from mpibridge import simulate
from mpibridge.errors import SettingsError, ShapeError, WeightsError
from mpibridge.execution import execute
from mpibridge.progress import silent
from mpibridge.testing import check_plugin
from mpibridge.training import Simulated, Training, train
from mpibridge_plugins.bilstm import path
from mpibridge_plugins.bilstm.losses import charbonnier
from mpibridge_plugins.bilstm.plugin import BiLSTM
from tests.bilstm.examples import SMALL, pairs, scanner, untrained

SHORT = Training(steps=12, validate_every=4, batch=4, warmup=2, evaluate=4)


def images(method, problem):
    return execute(method, problem, generator=np.random.default_rng(0), report=silent).image


@pytest.mark.parametrize(
    "settings", [{"trajectory": False}, {"mirrored": True}, {"size": "published", **SMALL, "fold": 1}]
)
def test_the_contract_with_other_settings(settings):
    check_plugin(BiLSTM, settings={**SMALL, **settings})


def test_twice_the_voltage_is_twice_the_image():
    method, (problem, _) = untrained(), pairs()
    image = images(method, problem)
    assert image.max() > 0
    np.testing.assert_allclose(
        images(method, replace(problem, waveform=3.7 * problem.waveform)),
        3.7 * image,
        rtol=1e-3,
        atol=1e-5 * image.max(),
    )
    assert not images(method, replace(problem, waveform=0 * problem.waveform)).any()


def test_the_band_above_the_decimated_rate_is_not_seen():
    method, (problem, _) = untrained(decimation=4), pairs()
    high = np.cos(2 * np.pi * 300 * np.arange(1632) / 1632).astype(np.float32) * problem.waveform.std()
    np.testing.assert_allclose(
        images(method, replace(problem, waveform=problem.waveform + high)),
        images(method, problem),
        atol=1e-6 * images(method, problem).max(),
    )


def test_without_the_trajectory_nothing_depends_on_it():
    problem, _ = pairs()
    other = replace(problem, trajectory=problem.trajectory[:, [1, 0, 2]])
    for trajectory in (True, False):
        networks = []
        for p in (problem, other):
            tensors = replace(p, waveform=torch.from_numpy(p.waveform), trajectory=torch.tensor(p.trajectory))
            torch.manual_seed(0)
            networks.append(BiLSTM(BiLSTM.Settings(**SMALL, trajectory=trajectory)).build_network(tensors))
        one, two = networks
        assert torch.equal(one.motion, two.motion) is not trajectory
        assert torch.equal(one.gridding.weight, two.gridding.weight) is not trajectory


def test_another_path_or_period_is_refused():
    method, (problem, _) = untrained(), pairs()
    turned = replace(problem, trajectory=problem.trajectory[:, [1, 0, 2]])
    with pytest.raises(ShapeError, match="another path of the field-free point"):
        images(method, turned)
    half = replace(problem, waveform=problem.waveform[..., ::2], trajectory=problem.trajectory[::2])
    with pytest.raises(ShapeError, match="built for periods of 1632 samples, found 816"):
        images(method, half)


def test_a_batch_without_voltage_teaches_no_gain():
    method, (problem, target) = untrained(), pairs()
    before = method.network.gain.clone()
    method.network.update(torch.zeros(2, *problem.waveform.shape[1:]), torch.from_numpy(target[:2]))
    assert torch.equal(method.network.gain, before)


def test_a_network_that_is_tuned_forgets_the_old_strengths():
    """Weights of many batches, then voltages that rise over the period: within a thousand batches features are of strength 1."""
    problem, target = pairs()
    waveform, image = torch.from_numpy(problem.waveform), torch.from_numpy(target)
    rising = waveform * torch.linspace(1, 5, waveform.shape[-1])
    tuned, learned = untrained().network, untrained().network
    for _ in range(20):
        tuned.update(waveform, image)
        learned.update(rising, image)
    before = tuned.features.strength.clone()
    tuned.features.batches.fill_(6000)
    for _ in range(800):
        tuned.update(rising, image)
    left = tuned.features.strength - learned.features.strength
    assert left.norm() < 0.1 * (before - learned.features.strength).norm()


def test_the_loss_is_the_weighted_sum_of_its_parts():
    problem, target = pairs()
    tensors = replace(
        problem, waveform=torch.from_numpy(problem.waveform), trajectory=torch.tensor(problem.trajectory)
    )
    truth = torch.from_numpy(target)

    def loss(surrogate, mse, ssim):
        method = untrained(surrogate_weight=surrogate, mse_weight=mse, ssim_weight=ssim)
        method.network.eval()
        with torch.no_grad():
            return method, float(method.loss(tensors, truth, generator=np.random.default_rng(0)))

    method, mse = loss(0, 1, 0)
    with torch.no_grad():
        answer = method.network(tensors.waveform)
    peak = truth.amax((1, 2, 3))[:, None, None]
    assert mse == pytest.approx(float(((answer.image - truth[:, 0]) / peak).square().mean()), rel=1e-5)
    seen = (truth[:, 0] / peak).flatten(1) @ path.sampling(
        tensors.trajectory, problem.grid, method.network.n
    ).T
    assert seen.amax() > 0.2
    surrogate = loss(1, 1, 0)[1] - mse
    assert surrogate == pytest.approx(float(charbonnier(answer.values / peak[:, 0], seen)), rel=1e-4)
    assert loss(2, 3, 0.5)[1] == pytest.approx(2 * surrogate + 3 * mse + 0.5 * loss(0, 0, 1)[1], rel=1e-5)


def data(**kwargs):
    return Simulated(
        scanner(), families=("blobs", "rings"), snr=(25, 25), finer=2, **{"validation": 4, **kwargs}
    )


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path):
    def press(done, total, text):
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="up to step 4"):
        train(
            "bilstm",
            data=data(),
            out=tmp_path / "a",
            training=SHORT,
            progress=press,
            mirrored=True,
            **SMALL,
        )
    train("bilstm", data=data(), out=tmp_path / "a", training=SHORT, mirrored=True, **SMALL)
    train("bilstm", data=data(), out=tmp_path / "b", training=SHORT, mirrored=True, **SMALL)
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in "ab")
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (tmp_path / "a/history.csv").read_bytes() == (tmp_path / "b/history.csv").read_bytes()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bilstm")
    train("bilstm", data=data(), out=folder, training=SHORT, **SMALL)
    return folder


def scan(preset_):
    return simulate.scan(
        simulate.phantoms.cone(), preset_, generator=np.random.default_rng(1), n_frames=2, n_background=2
    )


def test_a_scan_needs_no_calibration_and_no_grid(trained):
    image = mb.reconstruct(scan(scanner()), plugin="bilstm", weights=trained)
    assert image.concentration.shape == (2, 1, 10, 12)
    np.testing.assert_allclose(image.x, scanner().grid.axis("x"))
    assert float(image.concentration.min()) >= 0


@pytest.mark.parametrize(
    ("changes", "ours", "theirs"),
    [
        ({"amplitude": (18e-3, 20e-3, 0.0)}, "0.02, 0.02", "0.018, 0.02"),
        ({"dividers": (104, 96, 99)}, "24509.8, 26041.7", "24038.5, 26041.7"),
    ],
)
def test_another_sequence_is_refused_with_both_named(trained, changes, ours, theirs):
    base = scanner()
    other = replace(base, scanner=replace(base.scanner, sequence=replace(base.scanner.sequence, **changes)))
    with pytest.raises(WeightsError) as refused:
        mb.reconstruct(scan(other), plugin="bilstm", weights=trained)
    assert ours in str(refused.value)
    assert theirs in str(refused.value)


def test_other_sizes_are_refused(trained):
    with pytest.raises(WeightsError, match="units=8, not 16"):
        mb.reconstruct(scan(scanner()), plugin="bilstm", weights=trained, units=16)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"size": "big"}, "size must be published or compact, found 'big'"),
        ({"units": 0}, "units must be a whole number of at least 1, found 0"),
        ({"fold": 1.5}, "fold must be a whole number of at least 1, found 1.5"),
        ({"trajectory": 1}, "trajectory must be true or false, found 1"),
        ({"mirrored": "y"}, "mirrored must be true or false, found 'y'"),
        ({"mse_weight": -1.0}, "mse_weight must be a number of at least 0, found -1.0"),
        ({"mse_weight": 0.0, "ssim_weight": 0.0}, "both 0"),
    ],
)
def test_settings_out_of_range(settings, said):
    with pytest.raises(SettingsError, match=said):
        BiLSTM.Settings(**settings)


def test_the_published_size_is_that_of_the_seed():
    published = BiLSTM.Settings(size="published")
    assert (published.layers, published.units, published.decimation, published.fold) == (3, 256, 1, 1)
    assert published.values == 1
    method = BiLSTM(published)
    problem = pairs()[0]
    network = method.build_network(
        replace(
            problem,
            waveform=torch.from_numpy(problem.waveform),
            trajectory=torch.tensor(problem.trajectory),
        )
    )
    assert network.n == 1632
    assert sum(isinstance(part, torch.nn.Conv2d) for part in network.modules()) == 7


def test_a_volume_is_refused():
    problem, _ = pairs()
    volume = replace(problem, grid=mb.Grid((4, 4, 4), (1e-2, 1e-2, 1e-2)))
    with pytest.raises(
        SettingsError, match=r"planes of at least 3 × 3 pixels, the grid \(z, y, x\) is \(4, 4, 4\)"
    ):
        BiLSTM().build_network(volume)


def test_the_trace_holds_the_values_along_the_path():
    method, (problem, _) = untrained(), pairs()
    result = execute(method, problem, generator=np.random.default_rng(0), report=silent)
    with torch.no_grad():
        expected = method.network(torch.from_numpy(problem.waveform)).values
    np.testing.assert_allclose(result.trace["values"], expected, rtol=1e-6)
    assert result.trace["values"].shape == (6, method.network.n)
