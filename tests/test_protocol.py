"""The protocol: tuning finds an interior best, tests share no image, gains are paired, everything is written."""

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest

from mpibridge import protocol, registry, weights
from mpibridge.errors import SettingsError
from mpibridge.execution import build_network, take_frames
from mpibridge.metrics import psnr
from mpibridge.model import Grid
from mpibridge.preprocessing import Preprocessing
from mpibridge.protocol import evaluation
from mpibridge.protocol.cost import Cost, Trial, peak_memory
from mpibridge.protocol.methods import Method
from mpibridge.training import Simulated, simulated
from tests import third_party

SELECTION = Preprocessing(min_frequency=80e3, snr_threshold=5, system_matrix_background=True, grid=(1, 9, 9))


def bed(**options) -> protocol.Bed:
    data = Simulated("openmpi-2d", families=("vessels", "blobs"), finer=1)
    return protocol.Bed(data, SELECTION, **{"unseen": ("bars",), "n": 4, **options})


@pytest.mark.parametrize("best", [1e-7, 0.02, 1e4])
def test_tuning_grows_until_the_best_value_lies_inside(best):
    method = Method(
        "m",
        "kaczmarz",
        grid={"regularization": (1e-2, 1e-1), "iterations": (1, 2)},
        grows=("regularization",),
    )
    found = protocol.tune(method, lambda s: -abs(np.log10(s["regularization"] / best)) + s["iterations"])
    assert abs(np.log10(found.settings["regularization"] / best)) <= 0.5
    assert found.at_edge == ("iterations",)  # the best of a grid that does not grow
    tried = [choice["regularization"] for choice, _ in found.scores]
    assert min(tried) < found.settings["regularization"] < max(tried)
    assert found.score == max(score for _, score in found.scores)


def test_tuning_gives_up_and_says_so():
    method = Method("m", "kaczmarz", grid={"regularization": (1.0, 10.0)}, grows=("regularization",))
    assert protocol.tune(method, lambda s: s["regularization"]).at_edge == ("regularization",)


def test_fixed_settings_are_kept_and_nothing_is_tuned_twice():
    calls = []

    def score(settings):
        calls.append(tuple(settings.items()))
        return -abs(settings["a"] - 2)

    found = protocol.tune(Method("m", "tv", settings={"b": 7}, grid={"a": (1, 2, 3)}, grows=("a",)), score)
    assert found.settings == {"b": 7, "a": 2}
    assert len(calls) == len(set(calls)) == 3


def test_scans_for_tuning_and_testing_share_no_image_and_noise_levels_share_theirs():
    cls = registry.load("kaczmarz")
    _, tuning, families = bed().draw(cls, "tuning", 20.0)
    problem, test, _ = bed().draw(cls, "in family", 20.0)
    louder, again, _ = bed().draw(cls, "in family", 5.0)
    assert families == ["vessels", "vessels", "blobs", "blobs"]
    assert not any(np.array_equal(a, b) for a in tuning for b in test)
    np.testing.assert_array_equal(test, again)
    clean = problem.operator.forward(test)
    for rows, level in ((problem.rows, 20.0), (louder.rows, 5.0)):
        found = 10 * np.log10(np.sum(abs(clean) ** 2, 1) / np.sum(abs(rows - clean) ** 2, 1))
        assert abs(found.mean() - level) < 1.5
    _, other, _ = bed(seed=2).draw(cls, "in family", 20.0)
    assert not np.array_equal(test, other)


@pytest.mark.parametrize("plugin", ["kaczmarz", "xspace"])
def test_a_bed_simulates_its_scanner_once_and_draws_what_a_new_one_would(plugin, monkeypatch):
    """Whatever is drawn: other scans, another noise level, and facts besides."""
    cls, calls = registry.load(plugin), []
    known = simulated.response
    monkeypatch.setattr(simulated, "response", lambda *a, **more: calls.append(a) or known(*a, **more))

    def drawn(bed, stream, snr):
        problem, truth, _ = bed.draw(cls, stream, snr)
        return problem.rows if plugin == "kaczmarz" else problem.images, truth

    wanted = [("tuning", 15.0), ("unseen", 15.0), ("unseen", 30.0), ("tuning", 15.0)]
    one = bed()
    found = [drawn(one, *stream) for stream in wanted]
    assert len(calls) == 1
    if plugin == "kaczmarz":
        assert one.facts.description["rows"] == found[0][0].shape[1]
        assert len(calls) == 1
    alone = [drawn(bed(), *stream) for stream in wanted]
    assert len(calls) == 1 + len(wanted)
    for a, b in zip(found, alone, strict=True):
        for ours, theirs in zip(a, b, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert np.abs(found[1][0] - found[2][0]).max() > 0  # another noise level


def test_what_cannot_be_compared():
    with pytest.raises(SettingsError, match=r"\['blobs'\] cannot be in the family and unseen"):
        bed(unseen=("blobs",))
    with pytest.raises(SettingsError, match="n=2 images are fewer than the 3 families"):
        bed(n=2)
    with pytest.raises(SettingsError, match="no method 'kazmarz'"):
        protocol.chosen(["kazmarz"])
    with pytest.raises(SettingsError, match="ascending"):
        Method("m", "tv", grid={"regularization": (1.0, 0.1)})


def test_without_the_baseline_nothing_is_measured():
    with pytest.raises(
        SettingsError, match=r"compared with kaczmarz, which is not among tv; pass protocol\.chosen"
    ):
        protocol.evaluate(bed(), [protocol.BASELINES["tv"]], [25.0])


def test_outcome_is_what_the_images_say(tmp_path):
    small = {"iterations": (3, 10), "regularization": (1e-2, 1e-1, 1.0)}
    methods = [
        Method("kaczmarz", "kaczmarz", grid=small),
        Method("bad", "kaczmarz", settings={"iterations": 1, "regularization": 1e3}),
    ]
    outcome = protocol.evaluate(bed(), methods, [15.0, 25.0])
    assert [(s.method, s.snr, s.group) for s in outcome.scores[:3]] == [
        ("kaczmarz", 15.0, "in family"),
        ("kaczmarz", 15.0, "unseen"),
        ("bad", 15.0, "in family"),
    ]
    score = outcome.scores[0]
    truths = outcome.truths["in family"]  # the first image of every family
    kept = [score.families.index("vessels"), score.families.index("blobs")]
    for place, image, truth in zip(kept, score.examples, truths, strict=True):
        assert score.metrics["PSNR"][place] == pytest.approx(psnr(image, truth))

    frame = protocol.table(outcome)
    gain = "gain over tuned kaczmarz (dB)"
    assert (frame.loc[frame.method == "kaczmarz", gain] == 0).all()
    worse = frame[(frame.method == "bad") & (frame.group == "in family")].iloc[0]
    mine = next(s for s in outcome.scores if (s.method, s.snr) == ("bad", 15.0)).metrics["PSNR"]
    assert worse[gain] == pytest.approx(np.mean(mine - score.metrics["PSNR"]))
    assert worse[gain] < 0
    assert worse[f"{gain} low"] <= worse[gain] <= worse[f"{gain} high"]
    assert set(protocol.table(outcome, by_family=True).group) == {
        "vessels (in family)",
        "blobs (in family)",
        "bars (unseen)",
    }

    files = protocol.write(outcome, tmp_path, Grid((9, 9, 1), (38e-3, 38e-3, 1e-3)))
    stored = json.loads(files["results"].read_text())
    assert stored["facts"]["images per group"] == 4
    assert np.mean(stored["scores"][0]["metrics"]["PSNR"]) == pytest.approx(
        score.metrics["PSNR"].mean(), abs=1e-5
    )
    assert all(cost["seconds"] > 0 and 0 <= cost["memory"] < 1e9 for cost in stored["costs"])
    assert stored["facts"]["data"]["families"] == ["vessels", "blobs"]
    assert files["picture, unseen, 15 dB"].read_bytes().startswith(b"\x89PNG")
    assert "kaczmarz" in files["report, in family, 25 dB"].read_text()
    table = files["table"].read_text()
    assert "| 25 | unseen | bad |" in table
    assert "over the best baseline (dB)" in table
    assert "memory (MiB)" in table


def test_the_best_of_a_fixed_grid_at_its_end_is_noted():
    methods = [Method("kaczmarz", "kaczmarz", grid={"iterations": (1, 2), "regularization": (1e-9, 1e-8)})]
    outcome = protocol.evaluate(bed(), methods, [25.0])
    assert "the best regularization" in protocol.markdown(outcome)


def test_memory_is_that_of_the_frames():
    problem, _, _ = bed().draw(registry.load("kaczmarz"), "tuning", 20.0)
    many = take_frames(problem, np.zeros(60_000, int))
    trial = Trial(Method("m", "kaczmarz"), None, {"iterations": 1}, 0, "cpu")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        found = alone.submit(peak_memory, trial, take_frames(problem, slice(0, 1)), many).result()
    images = 60_000 * 81 * 8  # complex columns
    assert images < found < 40 * images


def test_a_family_that_weights_know_is_not_unseen_and_other_preprocessing_is_noted(tmp_path, monkeypatch):
    cls = third_party.register(monkeypatch, tmp_path / "package")
    # A process of its own would not know a plugin that only this test knows.
    monkeypatch.setattr(evaluation, "cost", lambda trial, problem: Cost(trial.method.name, 1.0, 1.0, 0))
    here = bed()
    problem, _, _ = here.draw(cls, "tuning", 20.0)
    header = weights.WeightsHeader(
        plugin="polish",
        version="0",
        settings={"width": 16},
        preprocessing=replace(SELECTION, snr_threshold=3).plain(),
        acquisition=here.facts.acquisition,
        data={"families": ["vessels"], "snr": [10, 20], "inverse_crime": True},
    )
    network = build_network(cls(), problem)
    path = weights.save(tmp_path / "weights.safetensors", network, header)
    fast = {"iterations": 1, "regularization": 1.0}
    methods = [Method("kaczmarz", "kaczmarz", settings=fast), Method("polish", "polish", weights=path)]
    said = protocol.markdown(protocol.evaluate(here, methods, [25.0]))
    assert "polish was trained at 10 to 20 dB: 25 dB is unseen" in said
    assert "polish was trained with the inverse crime" in said
    assert "snr_threshold=5, not 3" in said
    known = replace(header, data={"families": ["vessels", "bars"]})
    weights.save(path, network, known)
    with pytest.raises(SettingsError, match=r"trained on \['bars'\], which this comparison calls unseen"):
        protocol.evaluate(here, methods, [25.0])
