"""Simulated data are labelled as the reader labels files, say what the physics says, and are as noisy as asked."""

import json

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import mpibridge as mb
from mpibridge import files, simulate
from mpibridge.errors import SettingsError, ShapeError
from mpibridge.model import Grid
from mpibridge.simulate import LissajousSequence, Noise, Scanner, command, phantoms
from mpibridge.simulate.recordings import NOISE

GRID = Grid((7, 5, 1), (21e-3, 20e-3, 1e-3), (1e-3, -2e-3, 0.0))
SCANNER = Scanner()
QUIET = Noise(level=0.0, background=0.0, drift=0.0)


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def calibration():
    return simulate.calibration(SCANNER, GRID, generator=generator(1))


@pytest.fixture(scope="module")
def scan():
    return simulate.scan(simulate.phantom(GRID), SCANNER, generator=generator(2))


def volts(scan):
    slope, offset = scan.attrs["/acquisition/receiver/dataConversionFactor"].T
    return scan["signal"].values * slope[:, None] + offset[:, None]


@pytest.mark.parametrize("name", ["calibration", "scan"])
def test_same_as_after_saving_and_opening(name, request, tmp_path):
    made = request.getfixturevalue(name)
    files.save(tmp_path / "file.mdf", made)
    read = files.open(tmp_path / "file.mdf")
    xr.testing.assert_equal(read.load(), made)
    assert {v: read[v].attrs for v in read.variables} == {v: made[v].attrs for v in made.variables}
    assert {v: read[v].dtype for v in read.variables} == {v: made[v].dtype for v in made.variables}
    assert set(made.attrs) <= set(read.attrs)
    for path in set(made.attrs) - {"/uuid", "/time"}:
        np.testing.assert_array_equal(read.attrs[path], made.attrs[path], err_msg=path)
    assert files.validate(tmp_path / "file.mdf") == []


def test_everything_comes_from_the_generator(calibration, scan):
    again = simulate.calibration(SCANNER, GRID, generator=generator(1))
    xr.testing.assert_equal(again, calibration)
    assert again.attrs["/uuid"] == calibration.attrs["/uuid"]
    xr.testing.assert_equal(simulate.scan(simulate.phantom(GRID), SCANNER, generator=generator(2)), scan)
    other = simulate.scan(simulate.phantom(GRID), SCANNER, generator=generator(3))
    assert not other["signal"].equals(scan["signal"])


def test_columns_are_the_signals_of_delta_samples(calibration):
    """Minus the background, a column is the spectrum of a sample at the coordinates of its voxel."""
    column = calibration["system_matrix"].isel(z=0, y=3, x=5)
    position = np.array([[[column["x"].item(), column["y"].item(), 0.0]]])
    volume = np.full((1, 1), np.prod(GRID.spacing))
    expected = np.fft.rfft(SCANNER.voltage(position, volume)[0, 0])
    found = (column - calibration["background"].mean("background_frame")).values[0]
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error < 0.1  # a sample of 3 × 4 mm is not a point
    for flipped in ([-1, 1, 1], [1, -1, 1]):
        wrong = np.fft.rfft(SCANNER.voltage(position * flipped, volume)[0, 0])
        assert np.linalg.norm(found - wrong) > 5 * error * np.linalg.norm(expected)


def test_robot_visits_every_place_once_in_a_meander(calibration):
    order = calibration["acquisition_index"].values[0]
    empty = calibration["background_acquisition_index"].values
    assert sorted([*order.ravel(), *empty]) == list(range(7 * 5 + 6))
    np.testing.assert_array_equal(np.diff(order[0]), 1)
    np.testing.assert_array_equal(np.diff(order[1]), -1)
    np.testing.assert_array_equal(empty, np.arange(6) * 8)


def test_background_frames_hold_no_signal(scan):
    power = volts(scan).std(axis=(1, 2, 3))
    assert power[scan["is_background"].values].max() < 0.5 * power[~scan["is_background"].values].min()
    assert scan["is_background"].values.tolist() == [True] * 2 + [False] * 10 + [True] * 2


def test_scan_is_the_sum_of_its_points():
    """Without noise and background a scan of one fine voxel is that voxel's signal."""
    phantom = simulate.phantom(GRID) * 0
    phantom.attrs = simulate.phantom(GRID).attrs
    phantom[0, 3, 20] = 2.0
    where = phantom[0, 3, 20]
    scan = simulate.scan(phantom, SCANNER, generator=generator(), n_frames=1, n_background=1, noise=QUIET)
    grid = Grid.from_attributes(phantom.attrs)
    points = np.array([[[where["x"].item(), where["y"].item(), 0.0]]])
    expected = SCANNER.voltage(points, np.full((1, 1), 2.0 * np.prod(grid.spacing)))[0, 0]
    frame, empty = volts(scan)[:, 0]
    np.testing.assert_allclose(frame, expected, atol=1e-4 * np.abs(expected).max())  # 16 bits
    np.testing.assert_allclose(empty, 0, atol=1e-4 * np.abs(expected).max())
    assert np.abs(expected).max() > 0


def test_phantom_is_finer_than_the_grid_and_has_no_symmetry():
    phantom = simulate.phantom(GRID, finer=4)
    assert dict(phantom.sizes) == {"z": 1, "y": 20, "x": 28}
    image = phantom.values[0]
    for other in (image[::-1], image[:, ::-1], image[::-1, ::-1]):
        assert np.abs(image - other).max() > 0.5


def test_mean_over_voxels():
    phantom = simulate.phantom(GRID, finer=4)
    coarse = simulate.on_grid(phantom, GRID)
    assert coarse.values.sum() * 16 == pytest.approx(phantom.values.sum())
    np.testing.assert_allclose(coarse["x"], GRID.axis("x"))
    assert coarse.values[0, 2, 3] == pytest.approx(phantom.values[0, 8:12, 12:16].mean())
    with pytest.raises(ShapeError, match="does not divide"):
        simulate.on_grid(phantom, Grid((6, 5, 1), GRID.field_of_view))


def test_power_is_the_ratio_of_the_waveform():
    picture = simulate.phantom(GRID)
    clean = volts(
        simulate.scan(picture, SCANNER, generator=generator(), noise=QUIET, n_frames=1, n_background=0)
    )
    noise = Noise(snr=10.0, background=0.0, drift=0.0)
    noisy = volts(
        simulate.scan(picture, SCANNER, generator=generator(), noise=noise, n_frames=40, n_background=0)
    )
    ratio = (clean**2).mean() / (noisy - clean).var()
    assert 10 * np.log10(ratio) == pytest.approx(10.0, abs=0.1)


def test_power_of_the_selected_rows():
    picture = simulate.phantom(GRID)
    clean = volts(
        simulate.scan(picture, SCANNER, generator=generator(), noise=QUIET, n_frames=1, n_background=0)
    )
    noise = Noise(snr=15.0, min_frequency=80e3, background=0.0, drift=0.0)
    noisy = volts(
        simulate.scan(picture, SCANNER, generator=generator(), noise=noise, n_frames=40, n_background=0)
    )
    rows = SCANNER.sequence.frequencies >= 80e3
    signal, disturbance = (np.abs(np.fft.rfft(u)[..., rows]) ** 2 for u in (clean, noisy - clean))
    assert 10 * np.log10(signal.mean() / disturbance.mean()) == pytest.approx(15.0, abs=0.1)
    assert (
        json.loads(simulate.scan(picture, SCANNER, generator=generator(), noise=noise).attrs[NOISE])["snr"]
        == 15
    )


def test_maximum_over_sigma():
    noise = Noise(snr=20.0, definition="maximum", background=0.0, drift=0.0)
    scan = simulate.scan(simulate.phantom(GRID), SCANNER, generator=generator(), noise=noise, n_frames=2)
    empty = volts(scan)[scan["is_background"].values]
    clean = volts(simulate.scan(simulate.phantom(GRID), SCANNER, generator=generator(), noise=QUIET))
    assert np.abs(clean).max() / empty.std() == pytest.approx(20.0, rel=0.03)
    assert json.loads(scan.attrs[NOISE])["sigma"] == pytest.approx(empty.std(), rel=0.03)


def test_amplitude_is_the_snr_of_a_calibration():
    noise = Noise(snr=300.0, definition="amplitude", min_frequency=80e3, background=0.0, drift=0.0)
    snr = simulate.calibration("openmpi-2d", generator=generator(), noise=noise).snr
    assert float(snr.values[..., snr["frequency"] >= 80e3].max()) == pytest.approx(300, rel=0.1)


def test_colour_falls_with_frequency():
    noise = Noise(level=1e-6, knee=2e5, background=0.0, drift=0.0)
    picture = simulate.phantom(GRID)
    scan = simulate.scan(picture, SCANNER, generator=generator(), noise=noise, n_frames=1, n_background=200)
    power = (np.abs(np.fft.rfft(volts(scan)[scan["is_background"].values])) ** 2).mean((0, 1, 2))
    f = SCANNER.sequence.frequencies
    for low, high in ((1e4, 3e4), (1e5, 2e5), (8e5, 1.2e6)):
        band = (f > low) & (f < high)
        expected = (1e-6**2 / 10 * 1632 * (1 + 2e5 / f[band])).mean()
        assert power[band].mean() == pytest.approx(expected, rel=0.1)


def test_background_drifts_and_spikes_stand_at_the_drive_harmonics():
    noise = Noise(level=0.0, background=2e-6, drift=4e-6, spikes=1e-3)
    scan = simulate.scan(simulate.phantom(GRID), SCANNER, generator=generator(), noise=noise, n_background=9)
    empty = volts(scan)[scan["is_background"].values][:, 0]
    assert (empty[-1] - empty[0]).std() == pytest.approx(4e-6, rel=0.1)
    spectrum = np.abs(np.fft.rfft(empty[0, 0])) / 816
    assert spectrum[[16, 17]] == pytest.approx([1e-3, 1e-3], rel=0.05)
    assert spectrum[[32, 34]] == pytest.approx([5e-4, 5e-4], rel=0.05)
    assert np.median(spectrum) < 1e-6


def test_recorded_background_is_added(scan):
    empty = scan.isel(frame=scan["is_background"].values)
    noise = Noise(level=0.0, background=0.0, drift=0.0, recorded=empty)
    with_it = simulate.scan(
        simulate.phantom(GRID), SCANNER, generator=generator(), noise=noise, n_background=4
    )
    found = volts(with_it)[with_it["is_background"].values]
    recorded = volts(empty)
    np.testing.assert_allclose(found[:2], recorded[:2], atol=2e-8)
    np.testing.assert_allclose(found[2:], recorded[[0, 1]], atol=2e-8)
    other = Scanner(sequence=LissajousSequence(dividers=(96, 99)))
    with pytest.raises(ShapeError, match="the recorded background has"):
        simulate.scan(simulate.phantom(GRID), other, generator=generator(), noise=noise)


@given(step=st.integers(1, 40))
@settings(max_examples=5, deadline=None)
def test_how_a_calibration_is_split_changes_nothing(step, calibration):
    from mpibridge.simulate import recordings

    whole = recordings.BLOCK_BYTES
    try:
        recordings.BLOCK_BYTES = step * 16 * 2 * 817
        again = simulate.calibration(SCANNER, GRID, generator=generator(1))
    finally:
        recordings.BLOCK_BYTES = whole
    scale = float(np.abs(calibration.system_matrix).max())
    np.testing.assert_allclose(again.system_matrix, calibration.system_matrix, rtol=0, atol=1e-6 * scale)


def test_selected_bins(calibration, tmp_path):
    bins = np.array([53, 60, 61, 700])
    made = simulate.calibration(SCANNER, GRID, generator=generator(1), bins=bins, noise=QUIET)
    whole = simulate.calibration(SCANNER, GRID, generator=generator(1), noise=QUIET)
    np.testing.assert_array_equal(made["bin"], bins)
    np.testing.assert_allclose(made.system_matrix, whole.system_matrix[:, :, bins], rtol=1e-6)
    noisy = simulate.calibration(SCANNER, GRID, generator=generator(1), bins=bins)
    files.save(tmp_path / "selected.mdf", noisy)
    reopened = files.open(tmp_path / "selected.mdf")
    np.testing.assert_array_equal(reopened["bin"], bins)
    np.testing.assert_array_equal(reopened.system_matrix, noisy.system_matrix)
    assert files.validate(tmp_path / "selected.mdf") == []


def test_volumes_are_visited_in_a_meander():
    grid = Grid((3, 2, 2), (9e-3, 8e-3, 4e-3))
    made = simulate.calibration("openmpi-2d", grid, generator=generator(), bins=(60, 61))
    order = made["acquisition_index"].values
    np.testing.assert_array_equal(order[0, 0], [1, 2, 3])
    np.testing.assert_array_equal(order[0, 1], [7, 6, 5])
    np.testing.assert_array_equal(order[1, 1], [9, 10, 11])
    np.testing.assert_array_equal(order[1, 0], [15, 14, 13])
    np.testing.assert_array_equal(made["background_acquisition_index"], [0, 4, 8, 12, 16])


def test_a_moving_phantom():
    first = phantoms.points([(0, 0)], diameter=3e-3).rendered(GRID)
    second = phantoms.points([(5e-3, 0)], diameter=3e-3).rendered(GRID)
    moving = xr.concat([first, second], "frame")
    moving.attrs = first.attrs
    made = simulate.scan(moving, SCANNER, generator=generator(), noise=QUIET, n_background=0)
    for frame, still in enumerate((first, second)):
        alone = simulate.scan(still, SCANNER, generator=generator(), noise=QUIET, n_frames=1, n_background=0)
        np.testing.assert_allclose(
            volts(made)[frame], volts(alone)[0], atol=2e-4 * np.abs(volts(alone)).max()
        )


@pytest.mark.parametrize("name", ["openmpi-1d", "openmpi-2d", "mnist-2d", "narrowband"])
def test_presets_record_files_that_open(name, tmp_path):
    chosen = simulate.preset(name)
    made = {
        "calibration": simulate.calibration(name, generator=generator()),
        "scan": simulate.scan(phantoms.named("dots", chosen.grid), name, generator=generator(), n_frames=2),
    }
    for kind, dataset in made.items():
        files.save(tmp_path / f"{kind}.mdf", dataset)
        assert files.validate(tmp_path / f"{kind}.mdf") == []
        xr.testing.assert_equal(files.open(tmp_path / f"{kind}.mdf").load(), dataset)


BLOB = phantoms.Phantom(
    "two smooth blobs",
    lambda p: (
        np.exp(-((p[:, 0] - 3e-3) ** 2 + (p[:, 1] + 2e-3) ** 2) / (2 * 3e-3**2))
        + 0.7 * np.exp(-((p[:, 0] + 4e-3) ** 2 + (p[:, 1] - 3e-3) ** 2) / (2 * 2.5e-3**2))
    ),
    ((-0.0133,) * 3, (0.0133,) * 3),
)


def reopened(folder, **datasets):
    for name, dataset in datasets.items():
        files.save(folder / f"{name}.mdf", dataset)
        assert files.validate(folder / f"{name}.mdf") == []
    return [folder / f"{name}.mdf" for name in datasets]


def test_a_smooth_phantom_comes_back(tmp_path):
    """Saved, reopened and reconstructed at 30 dB in the chosen rows: NRMSE ≤ 0.15."""
    grid = Grid((19, 19, 1), (26.6e-3, 26.6e-3, 1e-3))
    noise = Noise(snr=30.0, min_frequency=80e3)
    made = simulate.scan(BLOB, "openmpi-2d", generator=generator(1), noise=noise, grid=grid, n_frames=1)
    calibrated = simulate.calibration("openmpi-2d", grid, generator=generator(2))
    scan, calibration = reopened(tmp_path, scan=made, calibration=calibrated)
    image = mb.reconstruct(
        scan,
        system_matrix=calibration,
        preprocessing=mb.Preprocessing(
            background="mean", system_matrix_background=True, min_frequency=80e3, snr_threshold=5
        ),
        iterations=50,
        regularization=0.01,
    )
    assert mb.metrics.nrmse(image.concentration.values[0], BLOB.on(grid).values) < 0.15


def test_a_measured_transfer_function_is_divided_out(shared, tmp_path):
    """Saved with the curve of a real receive chain, bins selected: the image is that of an ideal chain."""
    chain = simulate.Receiver.from_file(shared / "data" / "real" / "transfer-functions" / "Gradio1.h5")
    grid = Grid((11, 11, 1), (24e-3, 24e-3, 1e-3))
    images = {}
    for name, scanner in (("ideal", Scanner()), ("measured", Scanner(receiver=chain))):
        made = simulate.scan(BLOB, scanner, generator=generator(1), noise=QUIET, grid=grid, n_frames=1)
        calibrated = simulate.calibration(
            scanner, grid, generator=generator(2), noise=QUIET, bins=range(53, 250)
        )
        scan, calibration = reopened(tmp_path, scan=made, calibration=calibrated)
        assert ("transfer_function" in files.open(scan)) == (name == "measured")
        xr.testing.assert_equal(files.open(scan).load(), made)
        xr.testing.assert_equal(files.open(calibration).load(), calibrated)
        images[name] = mb.reconstruct(scan, system_matrix=calibration, iterations=30, regularization=1e-3)
    plain = mb.Preprocessing(transfer_function=False)
    wrong = mb.reconstruct(
        scan, system_matrix=calibration, iterations=30, regularization=1e-3, preprocessing=plain
    )
    ideal = images["ideal"].concentration.values
    assert mb.metrics.nrmse(images["measured"].concentration.values, ideal) < 0.02
    assert mb.metrics.nrmse(wrong.concentration.values, ideal) > 0.02


def several_positions():
    """Scanners whose focus field moves, the calibration's grid, and the scanner the calibration is recorded with."""
    grid = Grid((9, 9, 1), (26e-3, 26e-3, 1e-3))
    gradient = simulate.diagonal_gradient(-1.0, -1.0, 2.0)
    patches = simulate.focus_fields(gradient, np.array([[-5e-3, 0, 0], [5e-3, 0, 0]]))
    two = Scanner(sequence=LissajousSequence(patches=patches))
    lines = Scanner(sequence=simulate.CartesianSequence(n_lines=9))
    return {
        "patches, one calibration": (two, two.without_focus, grid),
        "patches, each calibrated": (two, two, grid),
        "Cartesian lines": (lines, lines, grid),
    }


@pytest.mark.parametrize("case", several_positions())
def test_several_focus_fields_reconstruct(case, tmp_path):
    scanner, calibrated_with, grid = several_positions()[case]
    made = simulate.scan(BLOB, scanner, generator=generator(1), noise=QUIET, grid=grid, n_frames=1)
    calibrated = simulate.calibration(calibrated_with, grid, generator=generator(2), noise=QUIET)
    scan, calibration = reopened(tmp_path, scan=made, calibration=calibrated)
    image = mb.reconstruct(scan, system_matrix=calibration, iterations=60, regularization=1e-4)
    found = image.concentration.isel(frame=0, z=0)
    truth = BLOB.on(grid)
    there = found.interp(x=truth.x, y=truth.y, kwargs={"fill_value": 0.0})
    assert np.corrcoef(there.values.ravel(), truth.values.ravel())[0, 1] > 0.9


def test_the_narrowband_raster_reconstructs():
    """1024 points of one bin each: rows of one calibration, not patches."""
    made = simulate.preset("narrowband")
    picture = phantoms.points([(0.4e-3, -0.3e-3), (-0.6e-3, 0.5e-3)], diameter=0.4e-3)
    image = mb.reconstruct(
        simulate.scan(picture, made, generator=generator(1), n_frames=1),
        system_matrix=simulate.calibration(made, generator=generator(2)),
        preprocessing=mb.Preprocessing(background="mean"),
        iterations=20,
        regularization=1e-2,
    )
    found, truth = image.concentration.values.ravel(), picture.on(made.grid).values.ravel()
    assert np.corrcoef(found, truth)[0, 1] > 0.7


def test_noise_is_as_strong_as_said_below_the_knee():
    noise = Noise(snr=20.0, knee=2e5, background=0.0, drift=0.0)
    picture = simulate.phantom(GRID)
    clean, noisy = (
        volts(simulate.scan(picture, SCANNER, generator=generator(), noise=n, n_frames=40, n_background=0))
        for n in (QUIET, noise)
    )
    assert 10 * np.log10((clean**2).mean() / (noisy - clean).var()) == pytest.approx(20.0, abs=0.1)


def test_what_is_filtered_out_does_not_feed_through():
    filtered = Scanner(receiver=simulate.Receiver(loses_fundamental=True))
    noise = Noise(level=0.0, background=0.0, drift=0.0, spikes=1e-3)
    made = simulate.scan(simulate.phantom(GRID), filtered, generator=generator(), noise=noise)
    spectrum = np.abs(np.fft.rfft(volts(made)[made["is_background"].values][0, 0, 0])) / 816
    assert spectrum[[16, 17]].max() < 1e-6
    assert spectrum[[32, 34]] == pytest.approx([5e-4, 5e-4], rel=0.05)


def test_a_matrix_that_fills_the_memory_is_refused():
    with pytest.raises(
        SettingsError, match=r"xspace-2d on \(280, 280, 1\) voxels takes 11\.6 GiB; choose bins"
    ):
        simulate.calibration("xspace-2d", generator=generator())


@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_numbers_of_numpy_are_numbers(kind):
    made = scanned(noise=Noise(snr=kind(20), min_frequency=kind(80e3), level=kind(0)))
    assert json.loads(made.attrs[NOISE])["snr"] == 20.0


def test_amplitude_counts_the_noise_of_its_own_bin():
    """Below the knee as above it: the strongest bin over the mean amplitude of its noise."""
    noise = Noise(snr=500.0, definition="amplitude", knee=1e5, min_frequency=80e3, background=0.0, drift=0.0)
    clean, noisy = (np.fft.rfft(volts(scanned(noise=n, n_frames=60, n_background=0))) for n in (QUIET, noise))
    ratio = np.abs(clean[0]) / np.abs(noisy - clean).mean(0)
    first = round(80e3 / SCANNER.sequence.frequencies[1]) + 1
    assert ratio[..., first:].max() == pytest.approx(500, rel=0.25)


def scanned(factor=1.0, **settings):
    """A scan of the L; its phantom is drawn when ``finer`` is said."""
    if "finer" in settings:
        return simulate.scan(phantoms.cone(), "openmpi-2d", generator=generator(), **settings)
    return simulate.scan(factor * simulate.phantom(GRID), SCANNER, generator=generator(), **settings)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate.scan(np.zeros((1, 5, 7)), "openmpi-2d", generator=generator()), "a phantom is a"),
        (lambda: simulate.scan(phantoms.spiral(), SCANNER, generator=generator()), "pass grid="),
        (lambda: simulate.calibration(SCANNER, generator=generator()), "pass grid="),
        (lambda: simulate.calibration("openmpi2d", generator=generator()), "did you mean 'openmpi-2d'"),
        (lambda: simulate.calibration(3, GRID, generator=generator()), "a preset, its name or a Scanner"),
        (
            lambda: simulate.scan(phantoms.spiral(), "openmpi-2d", generator=generator(), n_frames=0),
            "n_frames must be",
        ),
        (lambda: simulate.calibration(SCANNER, GRID, generator=generator(), averages=0), "averages must be"),
        (
            lambda: simulate.calibration(SCANNER, GRID, generator=0),
            "generator must be a numpy.random.Generator",
        ),
        (
            lambda: simulate.calibration(SCANNER, GRID, generator=generator(), bins=np.arange(817) > 53),
            "bins must be whole numbers from 0 to 816, found bool from False to True",
        ),
        (lambda: simulate.calibration(SCANNER, GRID, generator=generator(), bins=[53.7]), "bins must be"),
        (lambda: simulate.calibration(SCANNER, GRID, generator=generator(), bins=[]), "bins must be"),
        (lambda: simulate.calibration(SCANNER, GRID, generator=generator(), workers=0), "workers must be"),
        (lambda: scanned(n_background=2.5), "n_background must be"),
        (lambda: scanned(finer=0), "finer must be"),
        (lambda: scanned(np.nan), "not finite"),
        (lambda: scanned(0.0, noise=Noise(snr=20)), "an SNR of 20 of a signal that is 0"),
        (lambda: Noise(level=-1.0), "level must be"),
        (lambda: Noise(snr=0.0, definition="maximum"), "snr must be"),
        (lambda: Noise(snr=1.0, definition="decibel"), "definition must be one of power"),
    ],
)
def test_what_cannot_be_is_said(call, message):
    with pytest.raises(SettingsError, match=message):
        call()


@pytest.mark.parametrize("name", ["ell", "spiral", "lambda", "bars", "rings"])
def test_the_truth_of_a_line_is_what_was_scanned(name):
    """The truth is the mean of the points of the scan, on 19 × 1 voxels of a plane phantom too."""
    truth = command.run("openmpi-1d", name, n_frames=1)["phantom"]["concentration"].values
    chosen = simulate.preset("openmpi-1d")
    drawn = phantoms.named(name, chosen.grid).rendered(chosen.grid, chosen.finer).values
    assert truth.any()
    assert truth.mean() == pytest.approx(drawn.mean(), rel=1e-5)


def test_a_phantom_that_misses_the_grid_is_refused():
    with pytest.raises(SettingsError, match="'dots' leaves the grid of openmpi-1d empty"):
        command.run("openmpi-1d", "dots")


def test_every_preset_has_a_spiral():
    for name in simulate.PRESETS:
        grid = simulate.preset(name).grid
        assert phantoms.named("spiral", grid).on(grid, 3).values.any()
