"""`nir` from problem to image, and from file to any grid."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import mpibridge as mb
from mpibridge.cli import app
from mpibridge.errors import MPIBridgeWarning, SettingsError, ShapeError
from mpibridge.execution import execute, take_frames
from mpibridge.metrics import psnr
from mpibridge.model import Grid
from mpibridge.operators import SystemMatrix
from mpibridge.progress import silent
from mpibridge_plugins.nir.plugin import NIR
from mpibridge_plugins.nir.settings import RECIPES, NIRSettings

from .examples import GRID, blobs, scan

QUICK = {"width": 24, "iterations": 120}
pytestmark = pytest.mark.filterwarnings("ignore:.*do not explain their data")  # fits as quick as these


def run(problem, seed=0, **settings):
    method = NIR(NIRSettings(**{**QUICK, **settings}))
    return execute(method, problem, generator=np.random.default_rng(seed), report=silent)


def test_no_image_depends_on_the_frames_beside_it():
    problem = scan(np.concatenate([blobs(2), 50 * blobs(1)]), sigma=0.05, matrix_noise=0.01, tensors=False)
    together = run(problem)
    for i in range(3):
        generator = np.random.default_rng(0)
        generator.spawn(i)
        method = NIR(NIRSettings(**QUICK))
        alone = execute(method, take_frames(problem, slice(i, i + 1)), generator=generator, report=silent)
        np.testing.assert_allclose(alone.image[0], together.image[i], atol=0.02 * together.image[i].max())


def test_images_scale_with_the_signal():
    problem = scan(blobs(1), sigma=0.05, tensors=False)
    louder = replace(problem, rows=1e4 * problem.rows, noise=1e4 * problem.noise)
    one, other = run(problem).image, run(louder).image
    np.testing.assert_allclose(other, 1e4 * one, rtol=0, atol=1e4 * 0.01 * one.max())


def test_a_frame_without_signal_has_no_image():
    problem = scan(blobs(2), sigma=0.05, tensors=False)
    problem.rows[1] = 0
    result = run(problem)
    assert (result.image[1] == 0).all()
    assert result.image[0].max() > 0.5


@pytest.mark.parametrize("stop", ["discrepancy", "held_out", "none"])
def test_the_trace_says_how_it_ended(stop):
    result = run(scan(blobs(2), sigma=0.3, tensors=False), stop=stop, iterations=200)
    trace = result.trace
    assert {len(values) for values in trace.values()} == {2}
    ended = {"none": {"iterations"}}.get(stop, {stop, "iterations"})
    assert set(trace["stopped_by"]) <= ended
    np.testing.assert_array_equal(trace["reached"], trace["residual"] <= 1)
    if stop != "none":
        assert (trace["stopped_by"] == stop).any()
        assert trace["iterations"].min() < 200


def test_another_grid_is_that_of_the_same_network():
    problem = scan(blobs(2), sigma=0.02, tensors=False)
    native, finer = run(problem), run(problem, grid=(19, 30))
    assert finer.grid == GRID.resized((19, 30))
    assert finer.image.shape == (2, 1, 19, 30)
    method = NIR(NIRSettings(**QUICK))
    again = method.sampled(native.trace, GRID, finer.grid)
    np.testing.assert_allclose(again, finer.image, atol=1e-5)
    assert run(problem, grid=2.0).image.shape == (2, 1, 16, 18)


def test_finer_images_are_nearer_to_a_fine_truth_than_voxels_repeated():
    fine = GRID.resized((32, 36))
    truth = blobs(2, fine)
    coarse = truth.reshape(2, 1, 8, 4, 9, 4).mean((3, 5))
    result = run(scan(coarse, sigma=0.01, tensors=False), grid=4, width=64, iterations=300)
    repeated = coarse.repeat(4, 2).repeat(4, 3)
    assert psnr(result.image, truth) > psnr(repeated, truth) + 2


def test_volumes():
    grid = Grid((6, 5, 4), (6e-3, 5e-3, 4e-3))
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in grid.shape), indexing="ij")
    truth = np.exp(-((z - 0.3) ** 2 + y**2 + (x + 0.2) ** 2))[None]
    result = run(
        scan(truth, sigma=0.01, n_rows=150, grid=grid, tensors=False), width=48, iterations=250, grid=2
    )
    assert result.image.shape == (1, 8, 10, 12)
    native = result.image.reshape(1, 4, 2, 5, 2, 6, 2).mean((2, 4, 6))
    assert psnr(native, truth) > 25


def test_one_network_for_a_series():
    """A blob that moves: each frame has noise of its own, and what frames have in common is learned from all."""
    x = np.linspace(-1, 1, 9)
    truth = np.stack(
        [
            np.exp(-((x[None] - p) ** 2 + np.linspace(-1, 1, 8)[:, None] ** 2) / 0.2)[None]
            for p in np.linspace(-0.3, 0.3, 12)
        ]
    )
    problem = scan(truth, sigma=0.25, tensors=False)
    alone = run(problem, iterations=250, width=48)
    shared = run(problem, iterations=250, width=48, dynamic=True)
    assert shared.trace["network"].shape[0] == 1
    assert psnr(shared.image, truth) > psnr(alone.image, truth)
    method = NIR(NIRSettings(**{**QUICK, "width": 48, "dynamic": True}))
    np.testing.assert_allclose(method.sampled(shared.trace, GRID, GRID), shared.image, atol=1e-5)


def test_the_recipe_of_the_seed():
    plan = NIRSettings(recipe="seed").plan
    assert (plan.rate, plan.iterations, plan.width, plan.values) == (1e-4, 70_000, 256, "linear")
    assert plan == RECIPES["seed"]
    assert NIRSettings(recipe="seed", width=64).plan == replace(plan, width=64)
    result = run(scan(blobs(1), sigma=0.01, tensors=False), recipe="seed", depth=2, rate=1e-3)
    assert np.corrcoef(result.image.ravel(), blobs(1).ravel())[0, 1] > 0.8
    assert result.trace["stopped_by"].tolist() == ["iterations"]


def test_linear_values_may_be_negative():
    problem = scan(blobs(2)[:1] - blobs(2)[1:], sigma=0.01, tensors=False)
    assert run(problem, values="linear").image.min() < -0.1
    assert run(problem).image.min() >= 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"width": 0}, "width must be a whole number of at least 1, found 0"),
        ({"rate": -1.0}, "rate must be a number above 0, found -1.0"),
        ({"balance": -1.0}, "balance must be a number of at least 0"),
        ({"stop": "soon"}, "stop must be discrepancy or held_out or none, found 'soon'"),
        ({"recipe": None}, "recipe must be mpibridge or seed, found None"),
        ({"grid": "fine"}, "grid must be native, a factor above 0"),
        ({"grid": (116,)}, "grid must be native, a factor above 0"),
        ({"grid": 0}, "grid must be native, a factor above 0"),
        ({"grid": 116}, "grid=116 is a factor, of 32 at most; voxels are two or three numbers"),
        ({"dynamic": 1}, "dynamic must be true or false, found 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(SettingsError, match=said):
        NIRSettings(**settings)


def test_problems_that_are_no_single_image_are_refused():
    problem = scan(blobs(1), sigma=0.01, tensors=False)
    with pytest.raises(ShapeError, match="an axis of one voxel must stay one"):
        run(problem, grid=(2, 8, 9))
    matrix = np.concatenate([problem.operator.matrix] * 2, 1)
    two = replace(problem, operator=SystemMatrix(matrix, GRID, n_contrasts=2))
    with pytest.raises(SettingsError, match="takes one contrast, found 2"):
        run(two)
    few = replace(
        problem,
        rows=problem.rows[:, :4],
        operator=SystemMatrix(problem.operator.matrix[:4], GRID),
        noise=None,
    )
    with pytest.raises(SettingsError, match="needs more than 5 rows, found 4"):
        run(few, stop="held_out")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nir")
    generator = np.random.default_rng(3)
    grid = Grid((9, 8, 1), (24e-3, 22e-3, 1e-3))
    mb.save(folder / "calibration.mdf", mb.simulate.calibration("openmpi-2d", grid, generator=generator))
    phantom = mb.simulate.phantom(grid)
    mb.save(folder / "scan.mdf", mb.simulate.scan(phantom, "openmpi-2d", generator=generator, n_frames=2))
    return folder


def test_one_command_from_file_to_a_fine_image(files):
    image = files / "image.mdf"
    words = f"reconstruct {files}/scan.mdf -s {files}/calibration.mdf --plugin nir --grid 116 116 -o {image}"
    words += " --iterations 60 --width 24 --min-frequency 80e3 --snr-threshold 3"
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 0, result.output
    found = mb.open(image)
    assert dict(found.sizes)["x"] == dict(found.sizes)["y"] == 116
    assert found.mpi.grid.almost_equal(Grid((116, 116, 1), (24e-3, 22e-3, 1e-3)))


def test_an_image_is_sampled_anew_from_its_file(files, tmp_path):
    options = {
        "system_matrix": files / "calibration.mdf",
        "preprocessing": mb.Preprocessing(min_frequency=80e3),
    }
    fine = mb.reconstruct(files / "scan.mdf", plugin="nir", grid=(30, 40), **QUICK, **options)
    mb.save(tmp_path / "native.mdf", mb.reconstruct(files / "scan.mdf", plugin="nir", **QUICK, **options))
    stored = mb.open(tmp_path / "native.mdf")
    again = stored.mpi.resample((30, 40))
    np.testing.assert_allclose(
        again.concentration, fine.concentration, atol=1e-5 * float(fine.concentration.max())
    )
    np.testing.assert_allclose(again.x, fine.x)
    assert again.time.equals(stored.time)
    mb.save(tmp_path / "small.mdf", again.mpi.resample((3, 4)))  # and from there back: nothing is lost
    back = mb.open(tmp_path / "small.mdf").mpi.resample((30, 40))
    np.testing.assert_allclose(back.concentration, again.concentration, atol=1e-6)
    detail = Grid((20, 20, 1), (6e-3, 6e-3, 1e-3), (2e-3, 1e-3, 0.0))
    near = mb.resample(stored, detail)
    smooth = again.concentration.interp(x=near.x, y=near.y)
    assert float(abs(near.concentration - smooth).max()) < 0.1 * float(smooth.max())


def test_images_without_a_function_of_space_are_refused(files):
    options = {"system_matrix": files / "calibration.mdf"}
    plain = mb.reconstruct(files / "scan.mdf", iterations=1, **options)
    without = mb.reconstruct(
        files / "scan.mdf", plugin="nir", keep_network=False, width=8, iterations=2, **options
    )
    for image in (plain, without):
        with pytest.raises(SettingsError, match=r"keeps no function of space.*image\.interp"):
            image.mpi.resample(2)


def test_a_shifted_scan_is_placed_where_it_was_seen(files):
    """The grid that a method chooses moves with the focus field, as the calibration's does."""
    scan = mb.open(files / "scan.mdf")
    moved = scan.assign_attrs(
        {
            "/acquisition/offsetField": np.broadcast_to(
                [3e-3, 0, 0], np.shape(scan.attrs["/acquisition/offsetField"])
            )
        }
    )
    options = {"plugin": "nir", "system_matrix": files / "calibration.mdf", "width": 8, "iterations": 2}
    native, fine = (mb.reconstruct(moved, grid=grid, **options) for grid in ("native", (16, 18)))
    assert abs(float(native.x.mean())) > 1e-3
    assert float(fine.x.mean()) == pytest.approx(float(native.x.mean()))
    np.testing.assert_allclose(native.mpi.resample((16, 18)).x, fine.x)


def test_a_detail_of_an_image_is_sampled_as_that_detail(files):
    options = {"system_matrix": files / "calibration.mdf", "plugin": "nir", **QUICK}
    image = mb.reconstruct(files / "scan.mdf", preprocessing=mb.Preprocessing(min_frequency=80e3), **options)
    whole, detail = image.mpi.resample((16, 18)), image.isel(x=slice(0, 4)).mpi.resample((16, 8))
    np.testing.assert_allclose(detail.x, whole.x[:8], rtol=1e-6)
    np.testing.assert_allclose(
        detail.concentration, whole.concentration[..., :8], atol=0.02 * float(whole.concentration.max())
    )
    for some in (image.isel(frame=0), image.isel(frame=[0]), image.mean("frame", keep_attrs=True)):
        with pytest.raises(SettingsError, match="was found with 2: resample first"):
            some.mpi.resample(2)


def test_images_are_kept_as_netcdf_too(files, tmp_path):
    options = {"system_matrix": files / "calibration.mdf", "plugin": "nir", "width": 8, "iterations": 2}
    with pytest.warns(
        MPIBridgeWarning, match="2 of 2 images do not explain their data.*subtract the background"
    ):
        image = mb.reconstruct(files / "scan.mdf", **options)
    mb.save(tmp_path / "image.nc", image)
    again = mb.open(tmp_path / "image.nc").mpi.resample(2)
    np.testing.assert_allclose(again.concentration, image.mpi.resample(2).concentration, atol=1e-6)


def test_a_series_has_one_outcome_and_brighter_frames_stay_brighter():
    truth = blobs(1) * np.exp(-np.arange(10) / 5)[:, None, None, None]
    problem = scan(truth, sigma=0.02, tensors=False)
    result = run(problem, dynamic=True, width=48, iterations=200)
    assert np.ptp(result.trace["scale"]) < 1e-5
    assert len(set(result.trace["iterations"].tolist())) == 1
    assert len(set(result.trace["stopped_by"].tolist())) == 1
    assert psnr(result.image, truth) > 22


def test_frames_without_signal_do_not_keep_the_others_waiting():
    problem = scan(blobs(1), sigma=0.05, matrix_noise=0.01, tensors=False)
    silent = replace(problem, rows=0 * problem.rows, noise=None)
    result = run(silent)
    assert (result.image == 0).all()
    assert result.trace["iterations"][0] < 100
    assert all(np.isfinite(result.trace[name]).all() for name in ("residual", "scale"))
