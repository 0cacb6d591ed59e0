"""What training makes of a network: it learns, the seed decides everything, and the weights are found again."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import mpibridge as mb
from mpibridge import registry, simulate, weights
from mpibridge.errors import SettingsError, WeightsError
from mpibridge.execution import build_network, execute
from mpibridge.progress import silent
from mpibridge.training import Arrays, Simulated, Training, train
from mpibridge.training.data import LOSS, TEST, random, take
from mpibridge.training.run import CORRECTED
from tests import third_party
from tests.training import learners

SHORT = Training(steps=20, validate_every=10, batch=8, warmup=0, evaluate=0)


@pytest.fixture(autouse=True)
def learner(monkeypatch):
    return learners.register(monkeypatch)


def history(folder):
    return np.genfromtxt(folder / "history.csv", delimiter=",", names=True)


def test_loss_falls_and_the_header_tells(tmp_path):
    training = Training(steps=300, validate_every=50, batch=16, learning_rate=3e-3, warmup=10, average=0.9)
    made = train("learner", data=learners.pairs(200), out=tmp_path, training=training, seed=4)
    found = history(tmp_path)
    np.testing.assert_array_equal(found["step"], np.arange(50, 301, 50))
    assert found["loss"][-1] < 0.5 * found["loss"][0]
    assert found["validation_loss"][-1] < 0.6 * found["validation_loss"][0]
    assert found["learning_rate"][-1] < 1e-3 * training.learning_rate * 1.1
    header = made.header
    best = int(np.argmin(found["validation_loss"]))
    assert header.training["step"] == found["step"][best]
    assert header.metrics["validation_loss"] == found["validation_loss"][best]
    assert header.metrics["nrmse_low"] < header.metrics["nrmse"] < header.metrics["nrmse_high"] < 0.9
    assert header.metrics["frames"] == header.data["validation"] == 20
    assert asdict(training).items() - {("licence", "")} <= header.training.items()
    assert header.training["package"] == "tests"  # which is not installed
    assert (header.licence, "licence" in header.training) == ("", False)
    assert (header.plugin, header.seed, header.settings["width"]) == ("learner", 4, 12)
    assert header.acquisition is None


def test_licence_is_what_the_user_states_and_changes_nothing_else(tmp_path, learner, monkeypatch):
    monkeypatch.setattr(registry.plugins()["learner"]._entry.dist, "name", "numpy")
    stated = replace(SHORT, evaluate=4, licence="CC-BY-4.0 OR MIT")
    first = train("learner", data=learners.pairs(), out=tmp_path, training=stated)
    assert first.header.licence == "CC-BY-4.0 OR MIT"
    assert first.header.training["package"] == f"numpy {np.__version__}"
    again = train("learner", data=learners.pairs(), out=tmp_path, training=replace(stated, licence=""))
    assert again.header == first.header
    other = train("learner", data=learners.pairs(), out=tmp_path, training=replace(stated, licence="0BSD"))
    assert other.header == replace(first.header, licence="0BSD")
    before, after = first.tensors(), other.tensors()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_seed_decides_every_bit(tmp_path):
    data = learners.pairs()
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    made = [
        load_file(train("learner", data=data, out=tmp_path / name, training=SHORT, seed=seed).path)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert torch.equal(torch.random.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert not torch.equal(made[0]["0.weight"], made[2]["0.weight"])


def test_first_step_is_the_loss_of_the_weights_it_starts_from(tmp_path, learner):
    data = learners.pairs()
    start = train("learner", data=data, out=tmp_path / "start", training=SHORT, width=9)
    tuned = train(
        "learner",
        data=learners.pairs(seed=7),
        out=tmp_path / "tuned",
        weights=tmp_path / "start",
        training=replace(SHORT, steps=1, validate_every=1),
        seed=5,
    )
    pairs = Arrays(*learners.pairs(seed=7)).pairs(learner, mb.Preprocessing(), 5)
    method = learner(learners.LearnerSettings(width=9))
    method.network = build_network(method, pairs.example)
    start.load_into(method.network)
    problem, target = pairs.batch(5, 0, 8)
    generator = random(5, LOSS, 0)
    with torch.random.fork_rng():
        torch.manual_seed(int(generator.integers(2**63)))
        tensors = replace(problem, rows=torch.from_numpy(problem.rows))
        expected = float(method.loss(tensors, torch.from_numpy(target), generator=generator).detach())
    assert history(tmp_path / "tuned")["loss"] == pytest.approx(expected, rel=1e-6)
    assert tuned.header.settings["width"] == 9
    assert tuned.header.training["started_from"] == "weights.safetensors"
    with pytest.raises(WeightsError, match="trained with width=9, not 12"):
        train("learner", data=data, out=tmp_path / "x", weights=tmp_path / "start", training=SHORT, width=12)
    train("learner", data=data, out=tmp_path / "y", weights=tmp_path / "start", training=SHORT, blow_up=1e-9)
    with pytest.raises(SettingsError, match="is what this run writes"):
        train("learner", data=data, out=tmp_path / "start", weights=tmp_path / "start", training=SHORT)


def test_average_follows_the_weights(tmp_path):
    """Two steps by hand: the average forgets as (1 + n)/(10 + n) while it is young."""
    data, training = learners.pairs(), replace(SHORT, schedule="constant")

    def after(steps, average):
        chosen = replace(training, steps=steps, validate_every=steps, average=average)
        out = tmp_path / f"{steps}-{average}"
        return load_file(train("learner", data=data, out=out, training=chosen).path)["0.weight"]

    first, second = after(1, 0.0), after(2, 0.0)
    one, two = after(1, 0.999), after(2, 0.999)
    start = (one - first * (1 - 2 / 11)) / (2 / 11)
    assert (start - first).abs().max() > 5e-4  # a step of AdamW
    torch.testing.assert_close(two, one * (3 / 12) + second * (1 - 3 / 12), rtol=1e-5, atol=1e-7)


def test_stops_when_it_no_longer_improves_and_keeps_the_best(tmp_path):
    data = learners.pairs(24)
    training = Training(
        steps=4000,
        validate_every=10,
        batch=8,
        learning_rate=0.03,
        warmup=0,
        patience=3,
        average=0.0,
        evaluate=0,
    )
    made = train("learner", data=data, out=tmp_path, training=training)
    losses = history(tmp_path)["validation_loss"]
    assert len(losses) < 400
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 3
    assert made.header.training["step"] == 10 * (best + 1)
    steps = []
    train("learner", data=data, out=tmp_path, training=training, progress=lambda done, *_: steps.append(done))
    assert not steps


def test_loss_that_is_not_finite_is_told_with_its_step(tmp_path):
    with pytest.raises(SettingsError, match=r"the loss is nan at step 1; lower learning_rate \(now 0.001\)"):
        train("learner", data=learners.pairs(), out=tmp_path, training=SHORT, blow_up=1e9)
    assert not (tmp_path / "last.ckpt").exists()
    with pytest.raises(SettingsError, match=r"the loss is nan at step ([2-9]|1\d)"):
        train(
            "learner",
            data=learners.pairs(),
            out=tmp_path / "later",
            training=replace(SHORT, learning_rate=0.05, steps=400, validate_every=400),
            blow_up=0.1,
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"plugin": "kaczmarz"}, "'kaczmarz' has nothing to train; those that learn: .*learner"),
        ({"widht": 3}, "no setting 'widht'; did you mean 'width'"),
        ({"training": {"steps": 3}}, r"training must be mpibridge.Training\(…\)"),
        ({"seed": -1}, "seed must be"),
        ({"data": 3}, "data must be a preset"),
        ({"data": "openmpi-2s"}, "did you mean 'openmpi-2d'"),
        ({"training": Training(precision="16-mixed")}, "16-mixed needs a GPU"),
        ({"device": "tpu"}, "device must be"),
    ],
)
def test_what_cannot_be_is_said(tmp_path, given, message):
    more = {"plugin": "learner", "data": learners.pairs(), "device": "cpu", **given}
    with pytest.raises(SettingsError, match=message):
        train(more.pop("plugin"), out=tmp_path, **more)
    assert not any(tmp_path.iterdir())


def test_patience_needs_held_out_pairs(tmp_path):
    with pytest.raises(SettingsError, match="patience needs held-out pairs"):
        train(
            "learner",
            data=Arrays(*learners.pairs(), validation=0),
            out=tmp_path,
            training=replace(SHORT, patience=2),
        )


def test_without_held_out_pairs_the_last_weights_are_kept(tmp_path):
    made = train("learner", data=Arrays(*learners.pairs(), validation=0), out=tmp_path, training=SHORT)
    assert made.header.training["step"] == 20
    assert dict(made.header.metrics) == {}
    assert np.isnan(history(tmp_path)["validation_loss"]).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("batch", 1.5),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("average", 1.0),
        ("schedule", "linear"),
        ("precision", "8"),
        ("patience", 0),
        ("clip", -1),
        ("log", "none"),
        ("licence", "free to use"),
        ("licence", None),
    ],
)
def test_training_settings_have_ranges(field, value):
    with pytest.raises(SettingsError, match=field):
        Training(**{field: value})


def test_learning_rate_warms_up_and_falls():
    training = Training(steps=110, warmup=10)
    assert training.rate(0) == pytest.approx(1 / 11)
    assert training.rate(10) == 1
    assert training.rate(60) == pytest.approx(0.5)
    assert training.rate(110) == pytest.approx(0)
    assert replace(training, schedule="constant").rate(109) == 1


def test_reconstruct_takes_what_was_trained(tmp_path, monkeypatch):
    third_party.register(monkeypatch, tmp_path / "package")
    small = replace(simulate.preset("openmpi-2d"), grid=mb.Grid((9, 9, 1), (36e-3, 36e-3, 1e-3)))
    selection = replace(CORRECTED, snr_threshold=5, min_frequency=80e3, weighting="whitening", grid=(1, 8, 8))
    training = Training(steps=60, validate_every=30, batch=8, warmup=5, evaluate=6)
    data = Simulated(small, families=("blobs", "bars"), validation=8)
    made = train(
        "polish", data=data, out=tmp_path / "run", training=training, preprocessing=selection, width=4
    )
    generator = np.random.default_rng(8)
    calibration = simulate.calibration(small, generator=generator)
    scan = simulate.scan(simulate.phantoms.cone(), small, generator=generator)
    image = mb.reconstruct(scan, plugin="polish", system_matrix=calibration, weights=tmp_path / "run")
    assert image.attrs["/reconstruction/_mpibridge/preprocessing"].count("whitening") == 1
    assert 0.2 < float(image.concentration.max()) < 3
    assert made.header.acquisition.size == (8, 8, 1)  # and reconstruct went to that grid of its own accord
    assert image.concentration.shape[1:] == (1, 8, 8)
    # The figures of the header are those of images that the plugin makes of pairs nobody trained on.
    from mpibridge_polish import Polish

    pairs = data.pairs(Polish, selection, 0)
    problem, target = take(pairs.test(0, 6), slice(0, 6))
    method = Polish(Polish.Settings(width=4))
    method.network = build_network(method, pairs.example)
    weights.read(tmp_path / "run").load_into(method.network)
    result = execute(method, problem, generator=random(0, TEST, 1), report=silent)
    errors = mb.metrics.per_image(mb.metrics.nrmse, result.image, target)
    assert made.header.metrics["nrmse"] == pytest.approx(errors.mean(), rel=1e-5)


def test_a_background_that_would_be_learnt_is_said_and_by_default_subtracted():
    small = replace(simulate.preset("openmpi-2d"), grid=mb.Grid((19, 19, 1), (38e-3, 38e-3, 1e-3)))
    data = Simulated(small, families=("blobs",), snr=(30.0, 30.0), finer=1, validation=0)
    cls = mb.registry.load("kaczmarz")
    with pytest.warns(mb.MPIBridgeWarning, match="system_matrix_background=True"):
        raw = data.pairs(cls, mb.Preprocessing(min_frequency=80e3, snr_threshold=5), 0)
    corrected = data.pairs(cls, replace(CORRECTED, min_frequency=80e3, snr_threshold=5), 0)

    def error(pairs):
        problem, target = pairs.batch(0, 0, 4)
        return np.linalg.norm(problem.operator.forward(target) - problem.rows) / np.linalg.norm(problem.rows)

    assert 3 * error(corrected) < error(raw)
