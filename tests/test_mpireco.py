"""What the plugin `mpireco` and ``engine="julia"`` tell MPIReco.jl; the words are those of its parameters."""

from __future__ import annotations

import numpy as np
import pytest

import mpibridge as mb
from mpibridge import julia
from mpibridge.calibration import select_rows, system_matrix_rows
from mpibridge.errors import SettingsError

GRID = mb.Grid((4, 3, 1), (9e-3, 8e-3, 1e-3), (1e-3, 0.0, 0.0))
SCANNER = "openmpi-2d"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    generator = np.random.default_rng(0)
    scan = mb.simulate.scan(mb.simulate.phantom(GRID), SCANNER, generator=generator, n_frames=6)
    mb.save(folder / "scan.mdf", scan)
    mb.save(folder / "calibration.mdf", mb.simulate.calibration(SCANNER, GRID, generator=generator))
    return folder


class Ears:
    """Hears what `julia.run` is told; answers with an image of the grid that counts up."""

    def __init__(self, shape=(4, 3, 1), n_contrasts=1, n_frames=6):
        self.shape, self.n_contrasts, self.n_frames = shape, n_contrasts, n_frames

    def __call__(self, name, *arguments, watch=None, keep=None):
        self.name, (self.plan, self.scan, calibrations, text) = name, arguments
        self.calibrations = calibrations.split("\n")
        self.settings = julia.loads(text)
        watch(1, 2)
        watch(2, 1)
        nx, ny, nz = self.shape
        size = (self.n_frames, nz, ny, nx, self.n_contrasts)
        image = np.arange(np.prod(size), dtype=np.float32).reshape(size)
        return image, *(np.arange(n, dtype=float) for n in self.shape), np.arange(self.n_frames) * 1e-3


@pytest.fixture
def ears(monkeypatch):
    heard = Ears()
    monkeypatch.setattr(julia, "start", lambda: None)
    monkeypatch.setattr(julia, "run", heard)
    return heard


def reconstruct(files, plugin="mpireco", preprocessing=None, **settings):
    return mb.reconstruct(
        files / "scan.mdf",
        plugin=plugin,
        system_matrix=files / "calibration.mdf",
        preprocessing=mb.Preprocessing(**(preprocessing or {})),
        **settings,
    )


def test_the_files_themselves(files, ears):
    told = []
    image = reconstruct(files, iterations=3, progress=lambda *step: told.append(step))
    assert (ears.name, ears.plan) == ("reconstruct_plan", "SinglePatch")
    assert (ears.scan, ears.calibrations) == (str(files / "scan.mdf"), [str(files / "calibration.mdf")])
    assert ears.settings == {"solver": "Kaczmarz", "iterations": 3, "reg": [{"type": "L2", "lambda": 0.0}]}
    assert told == [(2, 18, "MPIReco.jl SinglePatch"), (4, 18, "MPIReco.jl SinglePatch")]
    assert dict(image.concentration.sizes) == {"frame": 6, "z": 1, "y": 3, "x": 4}
    np.testing.assert_array_equal(image.concentration.values.ravel(), np.arange(72))
    np.testing.assert_allclose(image.x, GRID.axis("x"))  # MPIReco.jl forgets the centre, we do not
    assert image.attrs["/reconstruction/_mpibridge/engine"] == "julia"


@pytest.mark.parametrize(
    ("preprocessing", "told"),
    [
        ({"frames": [0, 4]}, {"frames": [1, 5]}),
        ({"averages": 3, "period_averages": 1}, {"numAverages": 3}),
        ({"background": "mean"}, {"bgParams": {"interpolateBG": False}}),
        ({"background": "interpolate"}, {"bgParams": {"interpolateBG": True}}),
        ({"system_matrix_background": True}, {"bgCorrection": True}),
        ({"spectral_leakage": True}, {"spectralLeakageCorrection": True}),
        ({"transfer_function": False}, {"tfCorrection": False}),
        ({"receivers": [1]}, {"recChannels": [2]}),
        ({"receivers": [1, 0]}, {"recChannels": [1, 2]}),
        ({"min_frequency": 8e4, "max_frequency": 5e5}, {"minFreq": 8e4, "maxFreq": 5e5}),
        ({"snr_threshold": 5}, {"SNRThresh": 5.0}),
        ({"mixing_order": 12}, {"maxMixingOrder": 12}),
        ({"weighting": "whitening"}, {"weightingParams": {"kinds": ["whitening"]}}),
        (
            {"weighting": ["row_norm", "channel"], "channel_weights": [1, 0.5]},
            {"weightingParams": {"kinds": ["row_norm", "channel"], "channelWeights": [1, 0.5]}},
        ),
    ],
)
def test_preprocessing(preprocessing, told, files, ears):
    ears.n_frames = len(preprocessing.get("frames", range(6))) // preprocessing.get("averages", 1)
    reconstruct(files, preprocessing=preprocessing)
    assert {name: value for name, value in ears.settings.items() if name not in STANDARD} == told


STANDARD = ("solver", "iterations", "reg")


def test_another_grid(files, ears):
    ears.shape = (5, 6, 1)
    image = reconstruct(files, preprocessing={"grid": (1, 6, 5)})
    assert ears.settings["gridding"] == {
        "gridsize": [5, 6, 1],
        "fov": list(GRID.field_of_view),
        "center": list(GRID.center),
    }
    np.testing.assert_allclose(image.y, mb.Grid((5, 6, 1), GRID.field_of_view, GRID.center).axis("y"))


def test_an_empty_scan(files, ears, tmp_path):
    empty = mb.open(files / "scan.mdf").isel(frame=slice(2))
    reconstruct(files, preprocessing={"background": empty})
    assert ears.settings["bgParams"]["emptyMeas"].endswith(".mdf")
    reconstruct(files, preprocessing={"background": mb.open(files / "scan.mdf")})
    assert ears.settings["bgParams"] == {"emptyMeas": str(files / "scan.mdf")}


def test_what_the_filter_lacks_goes_as_rows(files, ears):
    reconstruct(files, preprocessing={"step": 5, "min_frequency": 3e4, "stop_bands": [(1e5, 2e5)]})
    rows = select_rows(
        mb.open(files / "calibration.mdf"),
        mb.Preprocessing(step=5, min_frequency=3e4, stop_bands=[(1e5, 2e5)]),
    )
    np.testing.assert_array_equal(ears.settings["rows"]["bins"], rows.bins + 1)
    np.testing.assert_array_equal(ears.settings["rows"]["receivers"], rows.receivers + 1)
    assert "stepsize" not in ears.settings
    assert "stopBands" not in ears.settings


@pytest.mark.parametrize(
    ("plugin", "settings", "told"),
    [
        (
            "kaczmarz",
            {"regularization": 0.01, "l1": 1e-4, "iterations": 2},
            {"reg": [{"type": "L2", "lambda": 0.01}, {"type": "L1", "lambda": 1e-4}]},
        ),
        ("kaczmarz", {"iterations": 2, "real": False, "positive": False}, {"enforceReal": False}),
        ("kaczmarz", {"iterations": 2, "normalization": None}, {"normalizeReg": "No"}),
        ("kaczmarz", {"iterations": 2, "normalization": "measurement"}, {"normalizeReg": "MeasurementBased"}),
        ("cgnr", {"iterations": 2}, {"solver": "CGNR", "reg": [{"type": "L2", "lambda": 0.01}]}),
        (
            "fista",
            {"iterations": 2, "step": 1e-3, "restart": "gradient"},
            {"solver": "FISTA", "rho": 1e-3, "restart": "gradient", "reg": [{"type": "L1", "lambda": 0.01}]},
        ),
        (
            "fista",
            {"iterations": 2, "momentum": "pogm", "penalty": "l2"},
            {"solver": "POGM", "reg": [{"type": "L2", "lambda": 0.01}]},
        ),
        (
            "fista",
            {"iterations": 2, "penalty": "tv"},
            {"solver": "FISTA", "reg": [{"type": "TV", "lambda": 0.01, "shape": [4, 3]}]},
        ),
        (
            "tv",
            {"iterations": 2, "l1": 1e-3},
            {
                "solver": "ADMM",
                "iterationsCG": 20,
                "reg": [
                    {"type": "TV", "lambda": 0.005, "shape": [4, 3]},
                    {"type": "L1", "lambda": 1e-3},
                ],
            },
        ),
        (
            "tv",
            {"iterations": 2, "method": "split_bregman"},
            {"solver": "SplitBregman", "iterationsInner": 5},
        ),
    ],
)
def test_classical_plugins_in_julia(plugin, settings, told, files, ears):
    reconstruct(files, plugin, engine="julia", **settings)
    assert ears.plan == "SinglePatch"
    assert ears.settings | told == ears.settings
    assert ears.settings["iterations"] == 2


def test_coupling_is_absolute_in_mpireco(files, ears):
    reconstruct(files, "tv", engine="julia", rho=0.1)
    rows = select_rows(mb.open(files / "calibration.mdf"))
    S = system_matrix_rows(mb.open(files / "calibration.mdf"), rows).values
    assert ears.settings["rho"] == pytest.approx(0.1 * np.linalg.norm(S) ** 2 / 12, rel=1e-5)


def test_sparse_plan(files, ears):
    reconstruct(files, preprocessing={"sparsity": "DCT-IV", "sparsity_reduction": 0.3})
    assert ears.plan == "SinglePatchSparse"
    assert ears.settings["sparseTrafo"] == "DCT-IV"
    assert ears.settings["redFactor"] == 0.3


def test_two_contrasts(files, ears):
    ears.n_contrasts = 2
    calibration = files / "calibration.mdf"
    image = mb.reconstruct(files / "scan.mdf", plugin="mpireco", system_matrix=[calibration, calibration])
    assert ears.calibrations == [str(calibration)] * 2
    assert image.concentration.dims == ("contrast", "frame", "z", "y", "x")
    np.testing.assert_array_equal(image.concentration.values[1].ravel(), np.arange(1, 144, 2))


def test_a_grid_of_its_own(files, ears):
    """A plan that answers on another grid is believed: millimetres of its axes."""
    ears.shape = (6, 3, 1)
    image = reconstruct(files, plan="SinglePatchHandsFree")
    assert dict(image.concentration.sizes)["x"] == 6
    np.testing.assert_allclose(image.x, np.arange(6) * 1e-3)
    assert image.attrs["grid_field_of_view"][2] == pytest.approx(1e-3)


def test_parameters_go_as_they_are(files, ears):
    reconstruct(files, parameters={"shuffleRows": True, "seed": 7, "relTol": 1e-3})
    assert (ears.settings["shuffleRows"], ears.settings["seed"], ears.settings["relTol"]) == (True, 7, 1e-3)


def test_hands_free_chooses_itself(files, ears):
    reconstruct(files, plan="SinglePatchHandsFree", parameters={"iterbounds": [1, 10]})
    assert ears.settings == {"iterbounds": [1, 10]}
    with pytest.raises(SettingsError, match="chooses λ and the iterations itself"):
        reconstruct(files, plan="SinglePatchHandsFree", iterations=3)


def test_motion_has_one_weight(files, ears):
    reconstruct(
        files, plan="MultiPatchMotion", iterations=1, regularization=0.01, parameters={"choosePeak": 4}
    )
    assert ears.settings["λ"] == 0.01
    assert (ears.settings["choosePeak"], ears.settings["frames"]) == (4, [1, 2, 3, 4, 5, 6])
    assert "reg" not in ears.settings
    with pytest.raises(SettingsError, match="Kaczmarz with an L2 penalty alone"):
        reconstruct(files, plan="MultiPatchMotion", l1=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"plan": "SinglPatch"}, "plan must be one of"),
        ({"solver": "lsqr"}, "solver must be one of"),
        ({"iterations": 0}, "iterations must be a whole number"),
        ({"regularization": -1}, "regularization must be a number of at least 0, found -1"),
        ({"rho": 0}, "rho must be a positive number, found 0"),
        ({"real": 1}, "real must be true or false, found 1"),
        ({"normalization": "rows"}, "normalization must be one of"),
        ({"parameters": [1]}, "parameters must be names and values"),
        ({"parameters": {"fov": [1e-3] * 3}}, "fov is said by preprocessing="),
        ({"parameters": {"iterations": 3}}, "iterations is said by the setting of mpibridge"),
        ({"plan": "SinglePatchHandsFree", "rho": 0.1}, "chooses λ and the iterations itself"),
        ({"plan": "MultiPatchMotion", "rho": 0.1}, "Kaczmarz with an L2 penalty alone"),
        (
            {"plan": "MultiPatchMotion", "preprocessing": {"averages": 2, "spectral_leakage": True}},
            "averages in its own way; leave out averages, spectral_leakage",
        ),
        ({"plan": "MultiPatch", "preprocessing": {"weighting": "whitening"}}, 'take "row_norm" only'),
        ({"device": "cuda"}, "MPIReco.jl runs on the CPU"),
        (
            {"preprocessing": {"sparsity": "DCT-IV"}, "plan": "SinglePatch"},
            'belongs to plan="SinglePatchSparse"',
        ),
        (
            {"preprocessing": {"sparsity": "DCT-IV", "grid": (1, 2, 2)}},
            "SinglePatchSparse keeps the calibrated grid",
        ),
        (
            {"preprocessing": {"sparsity": "DCT-IV", "step": 2}},
            "not part of MPIReco's plan SinglePatchSparse",
        ),
        ({"preprocessing": {"background": "mean"}, "plan": "MultiPatch"}, "subtract an empty scan only"),
    ],
)
def test_what_cannot_be_is_said(settings, message, files, ears):
    with pytest.raises(SettingsError, match=message):
        reconstruct(files, **settings)


def test_a_plugin_without_counterpart(files, ears, monkeypatch):
    from mpibridge_plugins.classical import Kaczmarz

    monkeypatch.setattr(Kaczmarz, "in_julia", lambda self: None)
    with pytest.raises(SettingsError, match=r"'kaczmarz' is not part of MPIReco\.jl"):
        reconstruct(files, "kaczmarz", engine="julia")
