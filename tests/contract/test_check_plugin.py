"""check_plugin accepts sound methods and catches every breach, each by its own clause."""

import re
from dataclasses import replace

import numpy as np
import pytest

from mpibridge.errors import PluginError, SettingsError
from mpibridge.execution import n_frames
from mpibridge.plugin import ImageProblem, RecordingProblem, SpectralProblem, WaveformProblem
from mpibridge.testing import check_plugin, example
from mpibridge.testing.clauses import CLAUSES
from mpibridge.testing.trained import TRAINED_CLAUSES
from tests.contract import broken

BROKEN = {
    broken.WithMutable: "settings: Mutable is no frozen dataclass",
    broken.WithUnexplained: "settings: Unexplained.width is not explained",
    broken.WithNeeded: r"settings: TypeError \(.*width",
    broken.WithUnwritable: r"settings: TypeError \(.*ndarray",
    broken.WithForgetful: r"settings: Forgetful\(taps=\[1.0\]\) came back from JSON as",
    broken.UnknownNetworkSetting: r"settings: network_settings names \['width'\]",
    broken.Unfinished: "class: Unfinished lacks reconstruct",
    broken.Unplaced: "takes: .*PowerSettings.* is no problem",
    broken.Lists: "arrays: 'list'",
    broken.Silent: "docstring: Silent has none",
    broken.Remembers: "same seed, same bits: .* on the second run",
    broken.Shares: "same seed, same bits: .* from another instance",
    broken.DrawsGlobally: "leaves the rest alone: reconstruct touched global random numbers, NumPy's",
    broken.DrawsFromPython: "leaves the rest alone: reconstruct touched global random numbers, Python's",
    broken.SeedsTorch: "leaves the rest alone: reconstruct touched global random numbers, torch's",
    broken.WritesRows: "leaves the rest alone: reconstruct changed rows",
    broken.WritesMatrix: "leaves the rest alone: reconstruct changed operator.matrix",
    broken.Prints: r"leaves the rest alone: reconstruct printed 'solving\\n'",
    broken.Transposes: r"images: image is \(1, 9, 9, 3\), \(frame, z, y, x\) = \(3, 1, 9, 9\)",
    broken.Complex: "images: image is complex64",
    broken.Tensors: "images: image is a Tensor, the problem holds NumPy arrays",
    broken.ReturnsArrays: "images: image is on ndarray, the problem's tensors on cpu",
    broken.NotFinite: "images: image holds values that are not finite",
    broken.NegativeStd: r"images: std is \(3, 1, 9, 9\) from -",
    broken.OtherStd: r"images: std is \(3, 9, 9\)",
    broken.StepsFirst: r"images: trace\['residual'\] is \(7,\)",
    broken.GoesBack: r"progress: progress went \[\(2, 3\), \(1, 3\)\]",
    broken.Overshoots: r"progress: progress went \[\(4, 3\)\]",
    broken.SaysNumbers: "progress: report was given 1 as its text",
    broken.SeesTheBatch: "frames are independent: a louder first frame",
    broken.SubtractsTheMean: "frames are independent: frames in two batches",
    broken.FirstFrameDiffers: "frames are independent: images of permuted frames",
    broken.DrawsInRounds: "frames are independent: frames in two batches",
    broken.DividesByZero: "finite numbers: frames of zeros",
    broken.Empty: "a small problem improves: the error of the image is 1 of the truth",
    broken.Raises: r"same seed, same bits: KeyError \('no such thing'\)",
    broken.BuildsAtRandom: "networks: the same seed built two different networks",
    broken.BuildsFromData: "networks: another frame built a network of another shape",
    broken.LossPerFrame: "loss: loss returned .*; one finite number",
    broken.LossIsNaN: "loss: loss returned .*nan.*; one finite number",
    broken.LossIsSum: "loss: every frame twice made the loss",
    broken.LossDrawsGlobally: "loss: the same generator gave the losses",
    broken.LossWritesTarget: "loss: loss changed the target",
    broken.LossWritesRows: "loss: loss changed rows",
    broken.IdleWeights: "loss: the loss has no finite gradient for idle",
    broken.HiddenState: "weights: another image after the weights were saved",
    broken.LearnsNothing: "a small problem improves: 40 steps of Adam took the loss from",
    broken.Frozen: "a small problem improves: no weight of the network is trained",
}


@pytest.mark.parametrize("cls", [broken.Classical, broken.Learned])
def test_sound_methods_pass(cls):
    check_plugin(cls)


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_a_breach_is_caught(cls):
    with pytest.raises(PluginError, match="breaks the contract") as caught:
        check_plugin(cls)
    assert re.search(rf"^  {BROKEN[cls]}", str(caught.value), re.MULTILINE), caught.value


def test_every_clause_is_broken_by_somebody():
    titles = {said.split(":")[0] for said in BROKEN.values()}
    needs_a_gpu = {"devices agree"}
    assert {*CLAUSES, *TRAINED_CLAUSES} - needs_a_gpu <= titles


def test_every_breach_is_said():
    class Careless(broken.Prints):
        """Prints, and returns half the frames."""

        def reconstruct(self, problem, **more):
            result = super().reconstruct(problem, **more)
            return replace(result, image=result.image[:1])

    with pytest.raises(PluginError) as caught:
        check_plugin(Careless)
    assert {"leaves the rest alone", "images"} <= {
        line.strip().split(":")[0] for line in str(caught.value).splitlines()[1:]
    }


def test_data_that_are_not_finite_must_be_refused(monkeypatch):
    """The core refuses them for every method; without it the clause finds out."""
    from mpibridge import execution

    monkeypatch.setattr(execution, "_require_finite", lambda problem: None)
    with pytest.raises(PluginError, match="finite numbers: "):
        check_plugin(broken.Classical)


def test_two_devices_must_agree(monkeypatch):
    """The clause on devices, with a second CPU in the place of a GPU."""
    from mpibridge.testing import clauses
    from mpibridge.testing.case import Case

    problem, target = example(SpectralProblem, np.random.default_rng(0))
    calls = iter([1.0, 1.0 + 1e-3])
    run = clauses.execute

    def drifting(method, problem, *, device, **more):
        result = run(method, problem, **more)
        return replace(result, image=result.image * next(calls))

    monkeypatch.setattr(clauses, "execute", drifting)
    case = Case(broken.Learned, {}, problem, target, 0, "cpu:0")
    assert "the images of the CPU and of cpu:0 differ by" in next(clauses.devices_agree(case))


@pytest.mark.parametrize("kind", [SpectralProblem, WaveformProblem, ImageProblem])
def test_examples_are_sound(kind):
    problem, target = example(kind, np.random.default_rng(1), n_frames=4)
    again, _ = example(kind, np.random.default_rng(1), n_frames=4)
    assert isinstance(problem, kind)
    assert n_frames(problem) == 4
    assert target.shape == (4, *problem.grid.shape)
    assert target.dtype == np.float32
    assert (target.max((1, 2, 3)) > 0).all()
    for name in ("rows", "waveform", "images"):
        if hasattr(problem, name):
            np.testing.assert_array_equal(getattr(problem, name), getattr(again, name))


def test_the_noise_of_the_spectral_example_is_what_it_says():
    problem, target = example(SpectralProblem, np.random.default_rng(0), n_frames=200)
    residual = problem.rows - problem.operator.forward(target)
    np.testing.assert_allclose(np.mean(np.abs(residual / problem.noise) ** 2), 1, rtol=0.05)


def test_arguments_are_checked():
    problem, target = example(SpectralProblem, np.random.default_rng(0))
    check_plugin(broken.Learned, problem=problem, target=target)
    check_plugin(broken.Classical, problem=problem)
    with pytest.raises(SettingsError, match="plugin 'learned' is trained: pass the target"):
        check_plugin(broken.Learned, problem=problem)
    with pytest.raises(SettingsError, match="must be a SpectralProblem, found ImageProblem"):
        check_plugin(broken.Classical, problem=example(ImageProblem, np.random.default_rng(0))[0])
    with pytest.raises(SettingsError, match="no setting 'regularisation'; did you mean 'regularization'"):
        check_plugin(broken.Classical, settings={"regularisation": 1})
    with pytest.raises(SettingsError, match="no example of RecordingProblem"):
        example(RecordingProblem, np.random.default_rng(0))
    with pytest.raises(PluginError, match="is no subclass"):
        check_plugin(broken.PowerSettings)


def test_settings_reach_the_method():
    with pytest.raises(PluginError, match="a small problem improves: the error of the image is"):
        check_plugin(broken.Classical, settings={"regularization": 1e9})
