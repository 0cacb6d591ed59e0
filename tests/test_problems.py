"""What plugins on waveforms and x-space images are given: no calibration needed, the grid where it is known."""

import numpy as np
import pytest

import mpibridge as mb
from mpibridge import simulate
from mpibridge.errors import MPIBridgeWarning, SettingsError
from mpibridge.problems import image_problem, spectral_problem, waveform_problem
from mpibridge.simulate import Noise, phantoms

GRID = mb.Grid((48, 48, 1), (20e-3, 20e-3, 1e-3))
POINT = phantoms.points([(3e-3, -2e-3)], diameter=1e-3)


@pytest.fixture(scope="module")
def scan():
    """A dense Lissajous scan of a point, (3, −2) mm from the centre."""
    noise = Noise(snr=50.0, definition="maximum")
    return simulate.scan(
        POINT, "xspace-2d", grid=GRID, finer=1, n_frames=2, generator=np.random.default_rng(0), noise=noise
    )


def test_an_image_without_calibration(scan):
    image = mb.reconstruct(
        scan, plugin="xspace", preprocessing=mb.Preprocessing(background="mean", grid=GRID)
    )
    assert dict(image.concentration.sizes) == {"frame": 2, "z": 1, "y": 48, "x": 48}
    peak = image.concentration.isel(frame=0).argmax(...)
    assert float(image.x[peak["x"]]) == pytest.approx(3e-3, abs=0.5e-3)
    assert float(image.y[peak["y"]]) == pytest.approx(-2e-3, abs=0.5e-3)
    assert image.attrs["/reconstruction/_mpibridge/plugin"] == "xspace"
    assert image.attrs["/reconstruction/_mpibridge/systemMatrix"] == "[]"


def test_it_is_saved_and_opens(scan, tmp_path):
    image = mb.reconstruct(scan, plugin="xspace", preprocessing=mb.Preprocessing(grid=GRID, frames=[0]))
    mb.save(tmp_path / "image.mdf", image)
    np.testing.assert_array_equal(mb.open(tmp_path / "image.mdf").concentration, image.concentration)
    assert mb.validate(tmp_path / "image.mdf") == []


def test_the_grid_is_the_drive_field_unless_told(scan):
    nobody = image_problem(scan, [], mb.Preprocessing()).grid
    assert nobody.size == (64, 64, 1)
    np.testing.assert_allclose(nobody.field_of_view[:2], 20e-3)
    assert image_problem(scan, [], mb.Preprocessing(grid=(1, 30, 40))).grid.shape == (1, 30, 40)
    calibration = simulate.calibration(
        simulate.preset("xspace-2d").scanner,
        mb.Grid((3, 4, 1), (9e-3, 8e-3, 1e-3)),
        bins=(5, 6),
        generator=np.random.default_rng(1),
    )
    assert image_problem(scan, [calibration], mb.Preprocessing()).grid.size == (3, 4, 1)


def test_channels_are_the_directions(scan):
    images = image_problem(scan, [], mb.Preprocessing(grid=GRID)).images
    assert images.shape == (2, 2, 1, 48, 48)
    assert np.abs(images[0, 0] - images[0, 1]).max() > 0.1 * np.abs(images).max()


def test_the_fundamental_is_put_back():
    """Behind a filter that takes the drive frequencies away, the recovered image is nearer to the one before it."""
    from dataclasses import replace

    preset = simulate.preset("xspace-2d")
    filtered = replace(preset.scanner, receiver=simulate.Receiver(loses_fundamental=True))
    quiet = Noise(level=0.0, background=0.0, drift=0.0)
    images = {}
    for name, scanner, fundamental in (
        ("whole", preset.scanner, "as recorded"),
        ("lost", filtered, "as recorded"),
        ("recovered", filtered, "recovered"),
    ):
        scan = simulate.scan(
            POINT,
            scanner,
            grid=GRID,
            finer=1,
            n_frames=1,
            n_background=0,
            noise=quiet,
            generator=np.random.default_rng(0),
        )
        preprocessing = mb.Preprocessing(grid=GRID, fundamental=fundamental)
        images[name] = image_problem(scan, [], preprocessing).images
    error = {n: np.linalg.norm(images[n] - images["whole"]) / np.linalg.norm(images["whole"]) for n in images}
    assert error["lost"] > 0.4
    assert error["recovered"] < 0.2


def test_choices_of_rows_say_nothing_to_methods_without_rows(scan):
    chosen = mb.Preprocessing(receivers=(0,), min_frequency=80e3, grid=GRID)
    with pytest.warns(MPIBridgeWarning, match="no rows of a system matrix: receivers, min_frequency"):
        mb.reconstruct(scan, plugin="xspace", preprocessing=chosen)


def test_waveforms_and_path():
    scan = simulate.scan(
        phantoms.named("dots", simulate.preset("openmpi-2d").grid),
        "openmpi-2d",
        generator=np.random.default_rng(0),
    )
    problem = waveform_problem(scan, [], mb.Preprocessing(background="mean", averages=5))
    assert problem.waveform.shape == (2, 2, 1632)
    assert problem.sample_rate == 2.5e6
    np.testing.assert_allclose(problem.trajectory, simulate.Scanner().trajectory[0], atol=1e-12)
    assert problem.grid.size == (64, 64, 1)


def test_what_cannot_be_is_said(scan):
    raster = simulate.scan(
        phantoms.named("dots", simulate.preset("narrowband").grid),
        "narrowband",
        generator=np.random.default_rng(0),
    )
    with pytest.raises(SettingsError, match="1024 periods per frame, one is wanted"):
        waveform_problem(raster, [], mb.Preprocessing())
    with pytest.raises(SettingsError, match="leave it at 1"):
        image_problem(scan, [], mb.Preprocessing(period_averages=2))
    with pytest.raises(SettingsError, match="fundamental must be one of"):
        mb.Preprocessing(fundamental="maybe")
    with pytest.raises(SettingsError, match="not part of MPIReco"):
        mb.reconstruct(scan, plugin="xspace", engine="julia")


def test_the_noise_of_the_matrix_is_that_of_its_background_frames():
    """Weighted as the rows are; of an interpolated matrix nobody knows it."""
    generator = np.random.default_rng(0)
    grid = mb.Grid((5, 4, 1), (24e-3, 20e-3, 1e-3))
    calibration = simulate.calibration("openmpi-2d", grid, generator=generator)
    scan = simulate.scan(simulate.phantom(grid), "openmpi-2d", generator=generator)
    plain = spectral_problem(scan, [calibration], mb.Preprocessing(min_frequency=80e3))
    frames = calibration["background"].values[0][:, calibration["frequency"].values >= 80e3]
    np.testing.assert_allclose(plain.matrix_noise, frames.std(-1, ddof=1).ravel(), rtol=1e-4)
    weighted = spectral_problem(
        scan, [calibration], mb.Preprocessing(min_frequency=80e3, weighting="row_norm")
    )
    norms = np.linalg.norm(plain.operator.matrix, axis=1)
    np.testing.assert_allclose(weighted.matrix_noise, plain.matrix_noise / norms, rtol=1e-4)
    finer = spectral_problem(scan, [calibration], mb.Preprocessing(min_frequency=80e3, grid=(1, 8, 10)))
    assert finer.matrix_noise is None
