"""reconstruct(): matching, provenance, laws; the numbers themselves are tested in golden/."""

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import mpibridge as mb
from mpibridge import problems, registry
from mpibridge.errors import MismatchError, MPIBridgeWarning, PluginError, SettingsError
from mpibridge.model import Grid
from mpibridge.plugin import Plugin, Result, SpectralProblem
from mpibridge.provenance import PROVENANCE
from tests import recordings
from tests.recordings import N_SAMPLES, random_complex

GRID = Grid((4, 3, 1), (0.04, 0.03, 0.01), (0.001, 0.0, 0.0))
N_FRAMES = 4


@pytest.fixture(scope="module")
def phantom() -> np.ndarray:
    """(frame, z, y, x)"""
    return np.random.default_rng(0).random((N_FRAMES, *GRID.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def calibration() -> xr.Dataset:
    matrix = random_complex(np.random.default_rng(1), 1, 2, N_SAMPLES // 2 + 1, *GRID.shape)
    matrix[:, :, [0, -1]] = 0  # real bins
    return recordings.calibration(matrix, GRID)


@pytest.fixture(scope="module")
def scan(calibration, phantom) -> xr.Dataset:
    spectra = np.einsum("pcfzyx,nzyx->npcf", calibration.system_matrix.values, phantom)
    return recordings.scan(np.fft.irfft(spectra, N_SAMPLES).astype(np.float32))


@pytest.mark.parametrize(
    ("plugin", "more"),
    [
        ("kaczmarz", {"iterations": 300}),
        ("cgnr", {"iterations": 30, "regularization": 0.0}),
        ("fista", {"iterations": 1000, "regularization": 0.0}),
        ("fista", {"iterations": 1000, "regularization": 0.0, "penalty": "tv"}),
        ("tv", {"iterations": 100, "regularization": 0.0}),
    ],
)
def test_a_noise_free_scan_gives_the_phantom(plugin, more, scan, calibration, phantom):
    image = mb.reconstruct(scan, plugin=plugin, system_matrix=calibration, **more)
    np.testing.assert_allclose(image.concentration, phantom, atol=2e-3)
    np.testing.assert_allclose(image.x, GRID.axis("x"))
    np.testing.assert_allclose(image.time, np.arange(N_FRAMES) * 2e-5)
    assert image.concentration.dims == ("frame", "z", "y", "x")
    assert image.x.attrs["units"] == image.y.attrs["units"] == "m"


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(N_FRAMES)))
def test_permuting_frames_permutes_images(order, scan, calibration):
    options = {"system_matrix": calibration, "iterations": 3, "regularization": 0.01}
    image = mb.reconstruct(scan, **options).concentration.values
    shuffled = mb.reconstruct(scan.isel(frame=list(order)), **options).concentration.values
    np.testing.assert_allclose(shuffled, image[list(order)], atol=1e-6)


def test_periods_are_rows_too(calibration, phantom):
    """Two periods per frame with two different system matrices: their rows are stacked, periods slowest."""
    second = calibration.system_matrix.values * 1j
    matrix = np.concatenate([calibration.system_matrix.values, second])
    both = recordings.calibration(matrix, GRID)
    spectra = np.einsum("pcfzyx,nzyx->npcf", matrix, phantom)
    scan = recordings.scan(np.fft.irfft(spectra, N_SAMPLES).astype(np.float32))
    image = mb.reconstruct(scan, system_matrix=both, iterations=300)
    np.testing.assert_allclose(image.concentration, phantom, atol=2e-3)
    with pytest.raises(MismatchError, match="2 periods per frame, the calibration 1"):
        mb.reconstruct(scan, system_matrix=calibration)


def test_provenance_travels_with_the_image(scan, calibration):
    preprocessing = mb.Preprocessing(min_frequency=1e5, background=None)
    image = mb.reconstruct(
        scan.assign_attrs({"/scanner/name": "desk"}),
        system_matrix=calibration,
        preprocessing=preprocessing,
        iterations=2,
        seed=7,
    )
    said = {path.removeprefix(f"{PROVENANCE}/"): value for path, value in image.attrs.items()}
    assert said["plugin"] == "kaczmarz"
    assert json.loads(said["settings"])["iterations"] == 2
    assert json.loads(said["preprocessing"]) == {"min_frequency": 1e5}
    assert said["seed"] == 7
    assert said["version"] == mb.__version__
    assert image.attrs["/scanner/name"] == "desk"
    assert not any(path.startswith("/measurement") for path in image.attrs)


def test_image_file_keeps_everything(scan, calibration, tmp_path):
    image = mb.reconstruct(scan, system_matrix=calibration, iterations=2)
    mb.save(tmp_path / "image.mdf", image)
    again = mb.open(tmp_path / "image.mdf").load()
    np.testing.assert_array_equal(again.concentration, image.concentration)
    for dim in ("x", "y", "z", "time"):
        np.testing.assert_allclose(again[dim], image[dim], atol=1e-12)
    for path, value in image.attrs.items():
        if path.startswith(PROVENANCE):
            assert again.attrs[path] == value


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("/acquisition/receiver/bandwidth", 1e6, "bandwidth: scan 1.2e.06 Hz, calibration 1e.06 Hz"),
        ("/acquisition/receiver/numSamplingPoints", 50, "samples per period: scan 48, calibration 50"),
        ("/acquisition/drivefield/divider", np.array([[8], [7]]), "drive-field frequencies"),
        ("/acquisition/drivefield/strength", np.full((1, 2, 1), 0.02), "amplitudes: scan 0.012, 0.012 T"),
    ],
)
def test_another_sequence_is_refused(path, value, said, scan, calibration):
    with pytest.raises(MismatchError, match=said):
        mb.reconstruct(scan, system_matrix=calibration.assign_attrs({path: value}))


def test_another_gradient_scales_the_positions(scan, calibration):
    half = {"/acquisition/gradient": np.diag([-0.5, -0.5, 1.0])[None, None]}
    with pytest.warns(MPIBridgeWarning, match="scaled by 2"):
        image = mb.reconstruct(scan.assign_attrs(half), system_matrix=calibration, iterations=1)
    np.testing.assert_allclose(image.x, 2 * GRID.axis("x"))


def test_focus_field_moves_the_image(scan, calibration):
    offset = np.array([[[0.005, 0.0, 0.0]]])  # T; at −1 T/m the field-free point goes to x = +5 mm
    image = mb.reconstruct(
        scan.assign_attrs({"/acquisition/offsetField": offset}), system_matrix=calibration, iterations=1
    )
    np.testing.assert_allclose(image.x, GRID.axis("x") + 0.005)


def test_transfer_function_on_one_side_only(scan, calibration):
    with_one = scan.copy()
    with_one["transfer_function"] = (("receiver", "frequency"), np.ones((2, N_SAMPLES // 2 + 1), complex))
    with pytest.warns(MPIBridgeWarning, match="divided out of the scan but not of the calibration"):
        mb.reconstruct(with_one, system_matrix=calibration, iterations=1)


def test_whitening_makes_rows_of_equal_noise(scan, calibration):
    generator = np.random.default_rng(3)
    background = random_complex(generator, 1, 2, N_SAMPLES // 2 + 1, 200)
    sigma = np.linspace(1, 10, N_SAMPLES // 2 + 1)[:, None]
    with_background = recordings.calibration(
        calibration.system_matrix.values, GRID, background=background * sigma
    )
    problem = problems.spectral_problem(scan, [with_background], mb.Preprocessing(weighting="whitening"))
    plain = problems.spectral_problem(scan, [with_background], mb.Preprocessing())
    ratio = (np.abs(problem.rows[0]) / np.maximum(np.abs(plain.rows[0]), 1e-30)).reshape(2, -1)[:, 1:-1]
    np.testing.assert_allclose(ratio / ratio[:, :1], (sigma[1] / sigma[1:-1, 0])[None].repeat(2, 0), rtol=0.4)
    with pytest.raises(SettingsError, match="background frames that differ"):
        problems.spectral_problem(scan, [calibration], mb.Preprocessing(weighting="whitening"))


def test_what_to_do_is_said(scan, calibration):
    with pytest.raises(SettingsError, match="no system matrix: pass system_matrix"):
        mb.reconstruct(scan)
    with pytest.raises(SettingsError, match="no setting 'iteratons'; did you mean 'iterations'"):
        mb.reconstruct(scan, system_matrix=calibration, iteratons=3)
    with pytest.raises(PluginError, match="no plugin 'kaczmars'; did you mean 'kaczmarz'"):
        mb.reconstruct(scan, plugin="kaczmars", system_matrix=calibration)
    with pytest.raises(SettingsError, match="iterations must be a whole number of at least 1, found 0"):
        mb.reconstruct(scan, system_matrix=calibration, iterations=0)
    with pytest.raises(SettingsError, match="device must be"):
        mb.reconstruct(scan, system_matrix=calibration, device="tpu")
    with pytest.raises(mb.MDFError, match="is a calibration"):
        mb.reconstruct(calibration, system_matrix=calibration)
    with pytest.raises(mb.MDFError, match=r"a calibration .* is wanted here"):
        mb.reconstruct(scan, system_matrix=scan)
    with pytest.raises(SettingsError, match="engine must be one of native, julia, found 'matlab'"):
        mb.reconstruct(scan, system_matrix=calibration, engine="matlab")


def test_progress_is_told_and_can_interrupt(scan, calibration):
    told = []
    mb.reconstruct(scan, system_matrix=calibration, iterations=4, progress=lambda *step: told.append(step))
    assert [step[:2] for step in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def stop(done: int, total: int, text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mb.reconstruct(scan, system_matrix=calibration, iterations=4, progress=stop)


@dataclass(frozen=True)
class RandomSettings:
    spread: float = 1.0


class RandomPlugin(Plugin[SpectralProblem]):
    """Says what it was given: the seed decides the image, the standard deviation is a setting."""

    name: ClassVar[str] = "random"
    takes = SpectralProblem
    Settings = RandomSettings

    def reconstruct(self, problem, *, generator, report):
        image = generator.random((len(problem.rows), *problem.grid.shape), dtype=np.float32)
        return Result(
            image=image, std=np.full_like(image, self.settings.spread), trace={"rows": problem.rows.shape[1]}
        )


def test_a_plugin_may_give_a_deviation_and_a_trace(scan, calibration, monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "load", lambda name: RandomPlugin)
    first = mb.reconstruct(scan, plugin="random", system_matrix=calibration, seed=3, spread=0.5)
    again = mb.reconstruct(scan, plugin="random", system_matrix=calibration, seed=3)
    other = mb.reconstruct(scan, plugin="random", system_matrix=calibration, seed=4)
    np.testing.assert_array_equal(first.concentration, again.concentration)
    assert not np.array_equal(first.concentration, other.concentration)
    assert (first.concentration_std == 0.5).all()
    assert first.attrs[f"{PROVENANCE}/trace/rows"] == 2 * (N_SAMPLES // 2 + 1)
    mb.save(tmp_path / "image.mdf", first)
    np.testing.assert_array_equal(mb.open(tmp_path / "image.mdf").concentration_std, first.concentration_std)


@pytest.fixture(scope="module")
def patches(phantom) -> xr.Dataset:
    """Two patches of two periods each; the focus field moves the field-free point by ± 10 mm along x."""
    offsets = np.array([-0.01, -0.01, 0.01, 0.01])[:, None, None] * [1.0, 0.0, 0.0]
    signal = np.random.default_rng(5).standard_normal((2, 4, 2, N_SAMPLES)).astype(np.float32)
    return recordings.scan(signal, **{"/acquisition/offsetField": offsets})


def test_patches_are_placed_on_one_grid(patches, calibration):
    image = mb.reconstruct(patches, system_matrix=calibration, iterations=2)
    np.testing.assert_allclose(image.x, np.linspace(-0.024, 0.026, 6), atol=1e-9)
    averaged = mb.Preprocessing(period_averages=2)
    again = mb.reconstruct(patches, system_matrix=calibration, preprocessing=averaged, iterations=2)
    np.testing.assert_allclose(again.concentration, image.concentration, atol=1e-5)


def test_patches_on_another_grid_cover_the_same_extent(patches, calibration):
    finer = mb.Preprocessing(grid=(1, 6, 8))
    image = mb.reconstruct(patches, system_matrix=calibration, preprocessing=finer, iterations=2)
    assert image.concentration.shape == (2, 1, 6, 12)
    np.testing.assert_allclose(image.x[[0, -1]], [-0.0265, 0.0285], atol=1e-9)


def test_what_patches_cannot_do_is_said(patches, calibration):
    with pytest.raises(SettingsError, match="sparsity is for scans with one patch"):
        mb.reconstruct(patches, system_matrix=calibration, preprocessing=mb.Preprocessing(sparsity="DCT-II"))
    with pytest.raises(SettingsError, match="period_averages=4 mixes patches"):
        mb.reconstruct(patches, system_matrix=calibration, preprocessing=mb.Preprocessing(period_averages=4))


def test_noise_is_that_of_the_averaged_rows(calibration):
    signal = np.random.default_rng(6).standard_normal((408, 1, 2, N_SAMPLES)).astype(np.float32)
    scan = recordings.scan(signal, np.arange(408) < 400)
    one = problems.spectral_problem(scan, [calibration], mb.Preprocessing()).noise
    four = problems.spectral_problem(scan, [calibration], mb.Preprocessing(averages=4)).noise
    np.testing.assert_allclose(four, one / 2)


def test_arguments_of_another_kind(scan, calibration):
    for bad in ({"seed": -1}, {"seed": "a"}, {"preprocessing": {"snr_threshold": 5}}, {"device": None}):
        with pytest.raises(SettingsError, match=next(iter(bad))):
            mb.reconstruct(scan, **({"system_matrix": calibration} | bad))
    with pytest.raises(SettingsError, match="a path or an opened dataset is wanted, found int"):
        mb.reconstruct(scan, system_matrix=5)
    with pytest.raises(SettingsError, match="found a DataArray"):
        mb.save("image.mdf", scan.signal)
