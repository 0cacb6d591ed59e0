"""A run that is killed, interrupted or called again goes on as if nothing had happened; nothing else is taken for it."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from safetensors.torch import load_file

from mpibridge.errors import SettingsError, WeightsError
from mpibridge.training import Training, train
from tests.training import interrupted, learners

SHORT = Training(steps=20, validate_every=10, batch=8, warmup=0, evaluate=4)


@pytest.fixture(autouse=True)
def _learner(monkeypatch):
    learners.register(monkeypatch)


def same_weights(one, other):
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    return all(bool((first[name] == second[name]).all()) for name in first)


def rows(folder):
    path = folder / "history.csv"
    return path.read_text().count("\n") - 1 if path.exists() else 0


def test_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen([sys.executable, "-m", "tests.training.interrupted", str(killed)])
    deadline = time.monotonic() + 120
    while rows(killed) < 4 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(os.getpid() % 50 / 1000)  # another moment in every run of this test
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 4 <= rows(killed) < 30
    before = (killed / "history.csv").read_text()
    steps = []
    interrupted.run(str(killed), progress=lambda done, *_: steps.append(done))
    assert 60 < steps[0] < steps[-1] == 600
    interrupted.run(str(whole))
    after = (killed / "history.csv").read_text()
    assert after.startswith(before)
    assert after == (whole / "history.csv").read_text()
    assert rows(whole) == 30
    assert same_weights(killed / "weights.safetensors", whole / "weights.safetensors")


def test_ctrl_c_says_how_to_go_on(tmp_path):
    def press(done, total, text):
        if done == 15:
            raise KeyboardInterrupt

    data, before = learners.pairs(), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="up to step 10, and the same call goes on"):
        train("learner", data=data, out=tmp_path / "a", training=SHORT, progress=press)
    assert signal.getsignal(signal.SIGINT) is before
    steps = []
    train(
        "learner", data=data, out=tmp_path / "a", training=SHORT, progress=lambda done, *_: steps.append(done)
    )
    assert steps == list(range(11, 21))
    train("learner", data=data, out=tmp_path / "b", training=SHORT)
    assert (tmp_path / "a/history.csv").read_bytes() == (tmp_path / "b/history.csv").read_bytes()
    assert same_weights(tmp_path / "a/weights.safetensors", tmp_path / "b/weights.safetensors")


def test_finished_run_is_not_run_again_but_may_grow(tmp_path):
    data, steps = learners.pairs(), []
    constant = replace(SHORT, schedule="constant")
    first = train("learner", data=data, out=tmp_path / "a", training=constant)
    written = first.path.stat().st_mtime_ns
    again = train(
        "learner",
        data=data,
        out=tmp_path / "a",
        training=constant,
        progress=lambda done, *_: steps.append(done),
    )
    assert not steps
    assert again.path.stat().st_mtime_ns == written
    longer = replace(constant, steps=30)
    train("learner", data=data, out=tmp_path / "a", training=longer)
    train("learner", data=data, out=tmp_path / "b", training=longer)
    assert rows(tmp_path / "a") == 3
    assert (tmp_path / "a/history.csv").read_bytes() == (tmp_path / "b/history.csv").read_bytes()


def test_folder_of_another_run_is_refused(tmp_path):
    data = learners.pairs()
    train("learner", data=data, out=tmp_path, training=replace(SHORT, steps=2, validate_every=2))
    for more, difference in (
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"width": 5}, "settings.width is 12 there and 5 here"),
        ({"data": learners.pairs(seed=1)}, "data.sha256 is"),
        ({"training": replace(SHORT, batch=3)}, "training.batch is 8 there and 3 here"),
    ):
        given = {"data": data, "training": replace(SHORT, steps=2, validate_every=2), **more}
        with pytest.raises(SettingsError, match=f"holds another run: {difference}"):
            train("learner", out=tmp_path, **given)


def test_damaged_checkpoint_is_told(tmp_path):
    data = learners.pairs()
    train("learner", data=data, out=tmp_path, training=replace(SHORT, steps=2, validate_every=2))
    path = tmp_path / "last.ckpt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(WeightsError, match=r"last\.ckpt is damaged .*delete"):
        train("learner", data=data, out=tmp_path, training=replace(SHORT, steps=2, validate_every=2))


def test_checkpoint_with_code_is_not_run(tmp_path):
    import torch

    data = learners.pairs()
    train("learner", data=data, out=tmp_path, training=replace(SHORT, steps=2, validate_every=2))
    torch.save({"harm": os.system}, tmp_path / "last.ckpt")
    with pytest.raises(WeightsError, match="damaged"):
        train("learner", data=data, out=tmp_path, training=replace(SHORT, steps=2, validate_every=2))
