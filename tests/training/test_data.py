"""Data: batches are functions of seed and number, held-out pairs stay held out, problems are those of `reconstruct`."""

from dataclasses import replace

import numpy as np
import pytest

import mpibridge as mb
from mpibridge import simulate
from mpibridge.errors import SettingsError, ShapeError
from mpibridge.plugin import ImageProblem, SpectralProblem, WaveformProblem
from mpibridge.problems import image_problem, spectral_problem, waveform_problem
from mpibridge.simulate import Noise
from mpibridge.training import Arrays, Recordings, Simulated
from mpibridge.training.sources import as_data
from tests.cascade.examples import raster
from tests.training import learners

SMALL = replace(simulate.preset("openmpi-2d"), grid=mb.Grid((9, 8, 1), (36e-3, 32e-3, 1e-3)))
SELECTION = mb.Preprocessing(
    snr_threshold=5,
    min_frequency=80e3,
    weighting="whitening",
    system_matrix_background=True,
    background="mean",
)
QUIET = Noise(level=0.0, background=0.0, drift=0.0)


def taking(kind):
    """A class that takes this kind of problem; nothing else of it is asked for."""
    return type("Takes", (learners.Learner,), {"takes": kind})


def numbered(n=10):
    """Pairs whose every frame tells its number."""
    problem, _ = learners.pairs(n)
    problem = replace(problem, rows=np.arange(n)[:, None] * np.ones((1, 20), np.complex64))
    return problem, np.arange(n)[:, None, None, None] * np.ones((1, *problem.grid.shape), np.float32)


def test_arrays_are_split_and_drawn_without_replacement():
    pairs = Arrays(*numbered(), validation=0.3).pairs(learners.Learner, mb.Preprocessing(), 3)

    def numbers(pair):
        np.testing.assert_array_equal(pair[0].rows.real[:, 0], pair[1][:, 0, 0, 0])
        assert pair[0].noise.shape == pair[0].rows.shape
        return pair[1][:, 0, 0, 0].astype(int).tolist()

    held_out = numbers(pairs.validation(3))
    drawn = np.concatenate([numbers(pairs.batch(3, i, 4)) for i in range(7)]).reshape(4, 7)
    assert len(held_out) == 3
    for epoch in drawn:  # four rounds of seven, across the borders of batches
        assert sorted([*epoch, *held_out]) == list(range(10))
    assert len({tuple(epoch) for epoch in drawn}) > 1
    assert numbers(pairs.batch(3, 5, 4)) == drawn.ravel()[20:24].tolist()
    assert numbers(pairs.batch(4, 5, 4)) != drawn.ravel()[20:24].tolist()


@pytest.mark.parametrize("weighting", [None, "whitening", "row_norm"])
def test_simulated_problems_are_those_of_reconstruct(weighting):
    selection = replace(SELECTION, weighting=weighting)
    generator = np.random.default_rng(1)
    coloured = Noise(knee=300e3, background=0.0, drift=0.0)
    calibration = simulate.calibration(SMALL, generator=generator, noise=coloured)
    scan = simulate.scan(
        simulate.phantoms.cone(), SMALL, generator=generator, noise=coloured, n_background=100
    )
    ours = Simulated(calibration).pairs(learners.Learner, selection, 0)
    theirs = spectral_problem(scan, [calibration], selection)
    assert isinstance(ours.example, SpectralProblem)
    assert ours.example.grid == theirs.grid
    assert ours.example.operator.grid == theirs.operator.grid
    np.testing.assert_array_equal(ours.example.operator.matrix, theirs.operator.matrix)
    assert ours.example.rows.dtype == theirs.rows.dtype
    assert ours.example.rows.shape[1] == theirs.rows.shape[1]
    said = ours.example.noise[0] / ours.example.noise[0].mean()
    measured = theirs.noise / theirs.noise.mean()
    assert np.median(np.abs(said / measured - 1)) < 0.25  # nine background frames in the calibration
    assert ours.description["inverse_crime"] is True
    assert (
        ours.acquisition.differences(
            mb.training.Simulated(SMALL).pairs(learners.Learner, selection, 0).acquisition
        )
        == []
    )


@pytest.mark.parametrize("grid", [None, (1, 12, 10)])
def test_rows_of_a_preset_are_those_that_its_scanner_records(grid):
    selection = replace(SELECTION, grid=grid, background=None, mixing_order=3, min_frequency=0.0)
    phantom = simulate.phantoms.cone()
    data = Simulated(SMALL, families={"cone": lambda generator, where: phantom}, snr=(150, 150), finer=4)
    pairs = data.pairs(learners.Learner, selection, 0)
    problem, target = pairs.batch(0, 0, 1)
    assert pairs.description["inverse_crime"] is False
    drawn = phantom.rendered(problem.grid, 4)
    scan = simulate.scan(drawn, SMALL, generator=np.random.default_rng(0), noise=QUIET, n_frames=1)
    calibration = simulate.calibration(SMALL, generator=np.random.default_rng([0, 4, 0]))
    recorded = spectral_problem(scan, [calibration], selection).rows
    if grid is None:
        assert np.linalg.norm(problem.rows - recorded) < 1e-2 * np.linalg.norm(recorded)
    else:  # an interpolated calibration keeps its unit, the sample of its own voxels
        ratio = np.prod(SMALL.grid.spacing) / np.prod(problem.grid.spacing)
        assert np.linalg.norm(problem.rows - recorded * ratio) < 1e-2 * np.linalg.norm(recorded * ratio)
    fitted = problem.operator.forward(target)
    assert np.vdot(fitted, problem.rows).real / np.linalg.norm(fitted) ** 2 == pytest.approx(1, abs=0.1)


def test_rows_of_a_raster_are_those_that_its_scanner_records():
    """Every field-free point is a row; the quick operator of rasters gives what the integral over time gives."""
    small, phantom = raster(5), simulate.phantoms.points([(0.2e-3, -0.3e-3)], diameter=0.5e-3)
    data = Simulated(small, families={"one": lambda generator, where: phantom}, snr=(150, 150), finer=4)
    pairs = data.pairs(learners.Learner, mb.training.CORRECTED, 0)
    problem, _ = pairs.batch(0, 0, 1)
    drawn = phantom.rendered(problem.grid, 4)
    scan = simulate.scan(drawn, small, generator=np.random.default_rng(0), noise=QUIET, n_frames=1)
    calibration = simulate.calibration(small, generator=np.random.default_rng([0, 4, 0]))
    recorded = spectral_problem(scan, [calibration], mb.training.CORRECTED)
    np.testing.assert_array_equal(problem.operator.matrix, recorded.operator.matrix)
    assert np.linalg.norm(problem.rows - recorded.rows) < 2e-2 * np.linalg.norm(recorded.rows)


def test_the_reference_of_an_snr_stands_in_the_description():
    reference = simulate.phantoms.points([(0.0, 0.0)], diameter=8e-3)
    pairs = Simulated(SMALL, families=("blobs", "points"), reference=reference, snr=(20, 20)).pairs(
        learners.Learner, SELECTION, 0
    )
    assert pairs.description["reference"] == "points"
    problem, _ = pairs.batch(0, 0, 8)
    np.testing.assert_allclose(problem.noise, problem.noise[:1].repeat(8, 0), rtol=1e-6)


def test_batches_differ_and_repeat():
    pairs = Simulated(SMALL, families=("blobs",), validation=5).pairs(learners.Learner, SELECTION, 0)
    first, again, other = pairs.batch(1, 0, 3), pairs.batch(1, 0, 3), pairs.batch(1, 1, 3)
    np.testing.assert_array_equal(first[0].rows, again[0].rows)
    for a, b in ((first, other), (first, pairs.validation(1)), (pairs.validation(1), pairs.test(1, 5))):
        assert not np.isin(a[1].sum((1, 2, 3)), b[1].sum((1, 2, 3))).any()


def test_waveforms_and_images_are_those_of_reconstruct():
    phantom = simulate.phantoms.cone()
    selection = mb.Preprocessing(grid=(1, 10, 10))
    data = Simulated(SMALL, families={"cone": lambda generator, where: phantom}, snr=(150, 150), finer=2)
    grid = selection.target_grid(SMALL.grid)
    drawn = phantom.rendered(grid, 2)
    scan = simulate.scan(drawn, SMALL, generator=np.random.default_rng(0), noise=QUIET, n_frames=1)
    for kind, build, name in (
        (WaveformProblem, waveform_problem, "waveform"),
        (ImageProblem, image_problem, "images"),
    ):
        pairs = data.pairs(taking(kind), selection, 0)
        problem, target = pairs.batch(0, 0, 2)
        expected = build(scan, [], pairs.preprocessing)
        assert type(problem) is kind
        assert problem.grid == expected.grid == pairs.example.grid
        assert target.shape == (2, *grid.shape)
        made, recorded = getattr(problem, name)[0], getattr(expected, name)[0]
        assert np.linalg.norm(made - recorded) < 1e-2 * np.linalg.norm(recorded)
        assert getattr(pairs.example, name).shape == (1, *made.shape)
        assert pairs.acquisition.size == grid.size
    np.testing.assert_allclose(pairs.example.grid.size, (10, 10, 1))


def test_recordings_become_arrays(tmp_path):
    generator = np.random.default_rng(2)
    calibration = simulate.calibration(SMALL, generator=generator)
    files = []
    for i, phantom in enumerate((simulate.phantoms.cone(), simulate.phantoms.named("dots", SMALL.grid))):
        scan = simulate.scan(phantom, SMALL, generator=generator, n_frames=3)
        image = mb.reconstruct(scan, system_matrix=calibration, preprocessing=SELECTION, iterations=1)
        mb.save(tmp_path / f"{i}.mdf", scan)
        files.append((tmp_path / f"{i}.mdf", image if i else image.isel(frame=[0])))
    data = Recordings(files, system_matrix=calibration, validation=0)
    pairs = data.pairs(learners.Learner, SELECTION, 0)
    problem, target = pairs.batch(0, 0, 6)
    for (path, image), frames in zip(files, (range(3), range(3, 6)), strict=True):
        wanted = spectral_problem(mb.open(path), [calibration], SELECTION)
        place = [int(np.flatnonzero((problem.rows == row).all(1))[0]) for row in wanted.rows]
        assert len(set(place)) == 3
        np.testing.assert_allclose(problem.noise[place], np.tile(wanted.noise, (3, 1)), rtol=1e-6)
        images = np.broadcast_to(image.concentration.values, (3, *SMALL.grid.shape))
        np.testing.assert_array_equal(target[place], images)
        assert frames is not None
    assert pairs.acquisition.size == SMALL.grid.size
    assert [each[0]["name"] for each in pairs.description["files"]] == ["0.mdf", "1.mdf"]


@pytest.fixture(scope="module")
def recorded():
    """A calibration, a scan, and its image of one frame, which is the same nowhere mirrored or swapped."""
    generator = np.random.default_rng(2)
    calibration = simulate.calibration(SMALL, generator=generator)
    phantom = simulate.phantoms.named("dots", SMALL.grid)
    scan = simulate.scan(phantom, SMALL, generator=generator, n_frames=2)
    return calibration, scan, phantom.on(SMALL.grid).expand_dims("frame").to_dataset(name="concentration")


def targets(recorded, image, kind=SpectralProblem):
    calibration, scan, _ = recorded
    data = Recordings([(scan, image)], system_matrix=calibration, validation=0)
    return data.pairs(taking(kind), SELECTION, 0).batch(0, 0, 2)[1]


@pytest.mark.parametrize("kind", [SpectralProblem, WaveformProblem])
def test_images_of_recordings_lie_where_the_scan_does(recorded, kind, tmp_path):
    image = recorded[2]
    wanted = np.repeat(image.concentration.values, 2, 0)
    for given in (
        image,
        image.concentration[0],
        image.transpose("x", "y", "frame", "z"),
        image.isel(z=0, frame=0),
        image.drop_vars(["x", "y"]),
    ):
        np.testing.assert_allclose(targets(recorded, given, kind), wanted, rtol=1e-6)
    moved = image.assign_coords(x=image.x + 1e-3)
    for given, reason in (
        (image.isel(x=slice(None, None, -1)), "along x: .* reversed"),
        (moved, "lie at other places along x"),
        (image.isel(y=slice(1, None)), "differ along y"),
        (image.isel(frame=[0, 0, 0]), "has 3 frames, its scan gives 2"),
    ):
        with pytest.raises(ShapeError, match=rf"the image of recording 0 .*{reason}"):
            targets(recorded, given, kind)
    path = tmp_path / "moved.mdf"
    mb.save(
        path, mb.reconstruct(recorded[1], system_matrix=recorded[0], iterations=1).assign_coords(x=moved.x)
    )
    with pytest.raises(ShapeError, match=rf"{path} does not lie on the grid of its scan"):
        targets(recorded, path, kind)


def test_runs_tell_images_apart_that_were_made_in_memory(recorded):
    calibration, scan, image = recorded

    def description(image):
        data = Recordings([(scan, image)], system_matrix=calibration)
        return data.pairs(learners.Learner, SELECTION, 0).description

    assert description(image) == description(image.copy())
    assert description(image) != description(image * 2)


def test_images_of_a_scan_at_another_focus_field_lie_there(recorded):
    calibration, scan, image = recorded
    scan = scan.copy()
    offset = np.zeros((1, 1, 3))
    offset[..., 0] = 5e-3 * scan.attrs["/acquisition/gradient"][0, 0, 0, 0]
    scan.attrs["/acquisition/offsetField"] = offset
    shown = mb.reconstruct(scan, system_matrix=calibration, preprocessing=SELECTION, iterations=1)
    assert abs(float(shown.x[0] - image.x[0])) == pytest.approx(5e-3, rel=1e-6)
    np.testing.assert_array_equal(
        np.sort(targets((calibration, scan, None), shown), None), np.sort(shown.concentration.values, None)
    )
    with pytest.raises(ShapeError, match="lie at other places along x"):
        targets((calibration, scan, None), image)


def test_data_that_cannot_serve_are_told(tmp_path):
    problem, target = learners.pairs(4)
    with pytest.raises(ShapeError, match=r"target is .* is wanted"):
        Arrays(problem, target[:3])
    with pytest.raises(ShapeError, match="not finite in frame 2"):
        Arrays(problem, np.where(np.arange(4)[:, None, None, None] == 2, np.nan, target))
    with pytest.raises(
        SettingsError,
        match=r"a problem \(SpectralProblem, WaveformProblem or ImageProblem of .* found ndarray \(32, 2, 100\) and list",
    ):
        as_data((np.zeros((32, 2, 100)), [1, 2]))
    with pytest.raises(SettingsError, match="validation must"):
        Arrays(problem, target, validation=1)
    with pytest.raises(SettingsError, match="takes a WaveformProblem, found SpectralProblem"):
        Arrays(problem, target).pairs(taking(WaveformProblem), mb.Preprocessing(), 0)
    with pytest.raises(SettingsError, match="unknown families"):
        Simulated(SMALL, families=("dotz",))
    with pytest.raises(SettingsError, match="snr must be a range"):
        Simulated(SMALL, snr=(30, 10))
    calibration = simulate.calibration(SMALL, generator=np.random.default_rng(0))
    with pytest.raises(SettingsError, match="which a calibration does not give"):
        Simulated(calibration).pairs(taking(WaveformProblem), mb.Preprocessing(), 0)
    with pytest.raises(SettingsError, match="knows no grid finer"):
        Simulated(calibration, finer=2).pairs(learners.Learner, SELECTION, 0)
    with pytest.raises(NotImplementedError, match="compressed"):
        Simulated(SMALL).pairs(learners.Learner, mb.Preprocessing(sparsity="DCT-IV"), 0)
    with pytest.raises(SettingsError, match="needs a calibration"):
        Recordings([("a.mdf", "b.mdf")]).pairs(learners.Learner, mb.Preprocessing(), 0)


def test_shorthands():
    assert as_data("openmpi-2d") == Simulated("openmpi-2d")
    assert as_data(SMALL) == Simulated(SMALL)
    assert isinstance(as_data(learners.pairs(3)), Arrays)
    data = Simulated("openmpi-1d")
    assert as_data(data) is data


@pytest.mark.parametrize("kind", [SpectralProblem, WaveformProblem, ImageProblem])
def test_held_out_pairs_may_be_of_families_of_their_own(kind):
    def family(value):
        def draw(generator, where):
            return value * simulate.phantoms.cone()

        return {f"cones of {value}": draw}

    data = Simulated(SMALL, families=family(1.0), held_out=family(3.0), finer=2, validation=3)
    preprocessing = mb.Preprocessing(background="mean", system_matrix_background=True)
    pairs = data.pairs(taking(kind), preprocessing, 0)
    assert pairs.description["held_out"] == ["cones of 3.0"]
    peak = pairs.batch(0, 0, 2)[1].max()
    for held_out in (pairs.validation(0), pairs.test(0, 2)):
        assert held_out[1].max() == pytest.approx(3 * peak, rel=1e-5)
    assert "held_out" not in replace(data, held_out=None).pairs(taking(kind), preprocessing, 0).description
    with pytest.raises(SettingsError, match="unknown families"):
        replace(data, held_out=("dotz",))
