"""Simulated data are labelled as the reader labels files, and say what the physics says."""

import numpy as np
import pytest
import xarray as xr

from mpibridge import files, simulate
from mpibridge.errors import ShapeError
from mpibridge.model import Grid

GRID = Grid((7, 5, 1), (21e-3, 20e-3, 1e-3), (1e-3, -2e-3, 0.0))
SCANNER = simulate.LissajousScanner()


@pytest.fixture(scope="module")
def calibration():
    return simulate.calibration(SCANNER, GRID, generator=np.random.default_rng(1))


@pytest.fixture(scope="module")
def scan():
    return simulate.measurement(SCANNER, simulate.phantom(GRID), generator=np.random.default_rng(2))


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
    again = simulate.calibration(SCANNER, GRID, generator=np.random.default_rng(1))
    xr.testing.assert_equal(again, calibration)
    assert again.attrs["/uuid"] == calibration.attrs["/uuid"]
    other = simulate.measurement(SCANNER, simulate.phantom(GRID), generator=np.random.default_rng(3))
    assert not other["signal"].equals(scan["signal"])


def test_columns_are_the_signals_of_delta_samples(calibration):
    """Minus the background, a column is the spectrum of a sample at the coordinates of its voxel."""
    column = calibration["system_matrix"].isel(z=0, y=3, x=5)
    position = np.array([[[column["x"].item(), column["y"].item()]]])
    expected = np.fft.rfft(SCANNER.voltage(position, np.full((1, 1), np.prod(GRID.spacing)))[0])
    found = (column - calibration["background"].mean("background_frame")).values[0]
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error < 0.1  # a sample of 3 × 4 mm is not a point
    for flipped in ([[-1, 1]], [[1, -1]]):
        wrong = np.fft.rfft(SCANNER.voltage(position * flipped, np.full((1, 1), np.prod(GRID.spacing)))[0])
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
    scan = simulate.measurement(
        SCANNER, phantom, generator=np.random.default_rng(0), n_frames=1, n_background=1, noise=0.0
    )
    grid = Grid.from_attributes(phantom.attrs)
    points = np.array([[[where["x"].item(), where["y"].item()]]])
    expected = SCANNER.voltage(points, np.full((1, 1), 2.0 * np.prod(grid.spacing)))[0]
    frame, empty = volts(scan)[:, 0]
    found = frame - empty
    tolerance = 3e-7  # V: the drift between the two frames
    np.testing.assert_allclose(found, expected, atol=5 * tolerance)
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


def test_only_planes():
    with pytest.raises(ShapeError, match="z must be 1"):
        simulate.calibration(SCANNER, Grid((3, 3, 3), (1e-2,) * 3), generator=np.random.default_rng(0))
