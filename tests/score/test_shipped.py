"""The weights that come with the package: found by themselves, small, and better than tuned Kaczmarz."""

from dataclasses import replace

import numpy as np
import pytest

import mpibridge as mb
from mpibridge import protocol, registry, simulate, weights
from mpibridge.errors import SettingsError
from mpibridge.execution import execute
from mpibridge.metrics import per_image, psnr
from mpibridge.model import Grid
from mpibridge.operators import SystemMatrix
from mpibridge.plugin import SpectralProblem, make_settings
from mpibridge.preprocessing import Preprocessing
from mpibridge.progress import silent
from mpibridge.simulate.presets import preset
from mpibridge.training import Simulated

SELECTION = Preprocessing(
    min_frequency=80e3, snr_threshold=5, weighting="whitening", system_matrix_background=True
)
SCORE = registry.load("score")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """(scan, calibration) of the preset the signal network was trained for."""
    rng = np.random.default_rng(3)
    calibration = simulate.calibration("openmpi-2d", generator=rng)
    noise = simulate.Noise(snr=20, min_frequency=80e3)
    scan = simulate.scan(simulate.phantoms.cone(), "openmpi-2d", generator=rng, noise=noise, n_frames=2)
    return scan, calibration


def test_they_are_sound_small_and_licensed():
    shipped = [
        w for w in weights.available("score") if isinstance(w, weights.Weights) and w.origin == "shipped"
    ]
    assert {w.header.settings["network"] for w in shipped} == {"prior", "signal"}
    assert sum(w.path.stat().st_size for w in shipped) <= 20e6
    for found in shipped:
        assert found.damage() is None
        assert found.header.licence == "MIT"
        assert not {"bars", "rings", "dots"} & set(found.header.data["families"])


def said(image) -> str:
    return image.attrs["/reconstruction/_mpibridge/weights"]


def test_weights_for_the_calibration_come_before_the_prior(recorded):
    scan, calibration = recorded
    assert "score-openmpi-2d" in said(mb.reconstruct(scan, plugin="score", system_matrix=calibration))
    prior = mb.reconstruct(scan, plugin="score", system_matrix=calibration, guidance="posterior")
    assert "score-prior" in said(prior)
    assert (prior["concentration_std"] >= 0).all()


def test_another_grid_gets_the_prior(recorded):
    scan, calibration = recorded
    selection = Preprocessing(
        grid=(1, 12, 15), min_frequency=80e3, background="mean", system_matrix_background=True
    )
    image = mb.reconstruct(scan, plugin="score", system_matrix=calibration, preprocessing=selection)
    assert "score-prior" in said(image)
    assert image.concentration.shape == (2, 1, 12, 15)


def test_guidance_without_weights_says_what_to_train(recorded):
    scan, calibration = recorded
    selection = Preprocessing(grid=(1, 12, 15))
    with pytest.raises(
        mb.errors.WeightsError, match="mpibridge train score --guidance signal --data CALIBRATION"
    ):
        mb.reconstruct(
            scan, plugin="score", system_matrix=calibration, preprocessing=selection, guidance="signal"
        )


def test_without_a_calibration_it_says_what_to_pass(recorded):
    with pytest.raises(SettingsError, match="no system matrix: pass system_matrix"):
        mb.reconstruct(recorded[0], plugin="score")


def score_image(problem, settings, acquisition=None):
    method = weights.build_method(SCORE, settings, problem, weights.find(SCORE, acquisition, settings))
    return execute(method, problem, generator=np.random.default_rng(0), report=silent).image


def gain_over_kaczmarz(problem, truth, ours) -> float:
    """dB over Kaczmarz with the settings that are best for these very images."""
    kaczmarz = registry.load("kaczmarz")

    def score(chosen):
        solver = kaczmarz(make_settings(kaczmarz, chosen))
        image = execute(solver, problem, generator=np.random.default_rng(0), report=silent).image
        return per_image(psnr, image, truth).mean()

    best = protocol.tune(protocol.BASELINES["kaczmarz"], score).score
    return float(per_image(psnr, ours, truth).mean() - best)


def gain(bed, settings, group, level=20.0) -> float:
    problem, truth, _ = bed.draw(SCORE, group, level)
    return gain_over_kaczmarz(problem, truth, score_image(problem, settings, bed.facts.acquisition))


@pytest.mark.parametrize(
    ("settings", "seen", "unseen"),
    [({"guidance": "posterior"}, 3.0, 1.5), ({"guidance": "signal"}, 4.0, 1.5)],
)
def test_they_beat_tuned_kaczmarz(settings, seen, unseen):
    data = Simulated("openmpi-2d", families=("vessels", "tumours", "blobs", "spirals"))
    bed = protocol.Bed(data, SELECTION, ("bars", "rings", "dots"), n=18, seed=7)
    assert gain(bed, settings, "in family") > seen
    assert gain(bed, settings, "unseen") > unseen


@pytest.mark.parametrize("guidance", ["posterior", "signal"])
def test_with_little_noise_the_error_of_the_matrix_is_not_fitted(guidance):
    """The phantoms are four times finer than the matrix: at 45 dB that is the larger error by far."""
    bed = protocol.Bed(
        Simulated("openmpi-2d", families=("vessels", "blobs", "spirals")), SELECTION, n=12, seed=7
    )
    assert gain(bed, {"guidance": guidance}, "in family", level=45.0) > 0


def test_the_prior_serves_a_matrix_it_never_saw():
    """Another tracer, grid and voxel shape, coloured noise."""
    base = preset("openmpi-2d")
    other = replace(
        base,
        scanner=replace(base.scanner, particles=simulate.Particles(core_diameter=25e-9)),
        grid=Grid((22, 14, 1), (30e-3, 24e-3, 1e-3)),
        noise=simulate.Noise(knee=200e3),
    )
    bed = protocol.Bed(Simulated(other, families=("vessels", "blobs", "tumours")), SELECTION, n=9, seed=7)
    assert gain(bed, {"guidance": "posterior"}, "in family") > 2.0


def test_a_volume_is_better_than_tuned_kaczmarz():
    """Random phantoms on 9 × 10 × 11 voxels through 150 random rows: fewer numbers than voxels."""
    grid = Grid((11, 10, 9), (11e-3, 10e-3, 9e-3))
    rng = np.random.default_rng(7)
    truth, _ = simulate.phantoms.draw_images(["vessels", "blobs", "tubes"], 3, rng, grid)
    matrix = rng.standard_normal((150, grid.n_voxels, 2)).astype(np.float32).view(np.complex64)[..., 0]
    rows = truth.reshape(len(truth), -1) @ matrix.T
    sigma = 0.1 * np.sqrt(np.mean(np.abs(rows) ** 2))
    rows += sigma * rng.standard_normal((*rows.shape, 2)).view(np.complex128)[..., 0] / 2**0.5
    problem = SpectralProblem(
        grid=grid,
        rows=rows.astype(np.complex64),
        operator=SystemMatrix(matrix, grid),
        noise=np.full(150, sigma, np.float32),
    )
    ours = score_image(problem, {"guidance": "posterior", "samples": 2})
    assert gain_over_kaczmarz(problem, truth, ours) > 1


def test_measured_data_are_explained(shared):
    """Encoding-array phantoms: no truth, but the image must fit about as well as regularised Kaczmarz does."""
    import h5py

    def stored(name):
        with h5py.File(shared / f"data/real/encoding-array/{name}.mat") as file:
            values = file[name][...]
        return (values["real"] + 1j * values["imag"]).astype(np.complex64)

    grid = Grid((8, 8, 1), (0.08, 0.08, 0.01))
    matrix, rows = np.ascontiguousarray(stored("S").T), np.stack([stored(f"b{i}").ravel() for i in (1, 2, 3)])
    matrix = matrix.reshape(-1, 8, 8).swapaxes(1, 2).reshape(-1, 64)  # y runs fastest
    problem = SpectralProblem(grid=grid, rows=rows, operator=SystemMatrix(matrix, grid))

    def residual(image):
        return np.linalg.norm(image.reshape(3, -1) @ matrix.T - rows, axis=1) / np.linalg.norm(rows, axis=1)

    assert (
        residual(score_image(problem, {"guidance": "posterior"})) < 0.06
    ).all()  # as far as the matrix is trusted
    trusting = score_image(problem, {"guidance": "posterior", "model_error": 0.0})
    assert (residual(trusting) < 0.015).all()  # what non-negative least squares reaches is 0.008
