"""`mpibridge train`: settings of three kinds as options, what it prints, how it stops."""

import re

import pytest
from typer.testing import CliRunner

from mpibridge import settings, weights
from mpibridge.cli import app
from mpibridge.training import Training
from tests.training import learners

COMMON = [
    "--data",
    "openmpi-1d",
    "--families",
    "bars",
    "--snr",
    "20",
    "--validation",
    "6",
    "--snr-threshold",
    "5",
]
SHORT = ["--steps", "4", "--validate-every", "2", "--batch", "3", "--evaluate", "2", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _learner(monkeypatch):
    learners.register(monkeypatch)


def run(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def of_steps(made):
    """What it says of validations where no terminal is."""
    return [line for line in made.stderr.splitlines() if line.startswith("step ")]


def test_trains_and_says_what_is_next(tmp_path):
    made = run("learner", *COMMON, *SHORT, "--out", tmp_path, "--width", "5", "--seed", "2")
    assert made.exit_code == 0, made.output
    assert f"{tmp_path}/weights.safetensors: step" in made.stdout
    assert "validation_loss" in made.stdout
    lines = of_steps(made)
    assert len(lines) == 2
    for step, line in zip((2, 4), lines, strict=True):
        assert re.fullmatch(rf"step {step}: loss \S+, validation loss \S+, \d+ s left", line)
    assert lines[1].endswith(" 0 s left")
    assert f"--plugin learner --weights {tmp_path}" in made.stdout
    header = weights.read(tmp_path).header
    assert header.settings["width"] == 5
    assert header.preprocessing == {
        "background": "mean",
        "system_matrix_background": True,
        "snr_threshold": 5.0,
    }
    assert (header.training["steps"], header.training["batch"], header.seed) == (4, 3, 2)
    assert (header.data["families"], header.data["snr"], header.data["validation"]) == (
        ["bars"],
        [20.0, 20.0],
        6,
    )
    tuned = run(*COMMON, *SHORT, "--weights", tmp_path, "--out", tmp_path / "b", "--blow-up", "0", "learner")
    assert tuned.exit_code == 0, tuned.output  # the name may come last
    assert weights.read(tmp_path / "b").header.settings["width"] == 5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["learner", "--widht", "3"], 2, "No such option: --widht (did you mean --width?)"),
        (["kaczmarz"], 1, "'kaczmarz' has nothing to train; those that learn:"),
        (["learner", "--snr", "1,2,3"], 1, "snr must be one number or LOW,HIGH in dB, found '1,2,3'"),
        (["learner", "--steps", "0"], 1, "steps must be a whole number of at least 1"),
        (["learner", "--families", "barz"], 1, "unknown families ['barz']"),
    ],
)
def test_errors_are_one_line(tmp_path, arguments, code, message):
    made = run(*arguments, "--data", "openmpi-1d", "--out", tmp_path / "run")
    assert made.exit_code == code
    assert message in " ".join(made.output.replace("│", " ").split())
    assert not (tmp_path / "run").exists()


def test_words_and_the_licence_are_options(tmp_path):
    made = run(
        *("learner", *COMMON, *SHORT, "--out", tmp_path, "--schedule", "constant"),
        *("--precision", "bf16-mixed", "--licence", "CC-BY-4.0", "--validate-every", "1"),
    )
    assert made.exit_code == 0, made.output
    header = weights.read(tmp_path).header
    assert (header.training["schedule"], header.training["precision"]) == ("constant", "bf16-mixed")
    assert header.licence == "CC-BY-4.0"
    assert [line.split(":")[0] for line in of_steps(made)] == [f"step {i}" for i in range(1, 5)]
    longer = run("learner", *COMMON, *SHORT, "--out", tmp_path, "--schedule", "constant", "--steps", "6",
                 "--precision", "bf16-mixed", "--validate-every", "1")  # fmt: skip
    assert [line.split(":")[0] for line in of_steps(longer)] == ["step 5", "step 6"]


def test_every_setting_of_the_loop_has_help():
    assert all(setting.text for setting in settings.describe(Training))


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch):
    def press(self, problem, target, *, generator):
        raise KeyboardInterrupt

    monkeypatch.setattr(learners.Learner, "loss", press)
    made = run("learner", *COMMON, *SHORT, "--out", tmp_path)
    assert made.exit_code == 130
    assert "the same call goes on from there" in made.output
