"""Finding the calibration of a scan by what the headers say."""

import numpy as np
import pytest

import mpibridge as mb
from mpibridge.model import Grid
from tests import recordings
from tests.recordings import N_SAMPLES, random_complex

GRID = Grid((3, 2, 1), (0.03, 0.02, 0.01))


def calibration(**more):
    matrix = random_complex(np.random.default_rng(1), 1, 2, N_SAMPLES // 2 + 1, *GRID.shape)
    return recordings.calibration(matrix, GRID, **more)


@pytest.fixture
def scan(tmp_path):
    signal = np.zeros((1, 1, 2, N_SAMPLES), np.float32)
    said = {"/scanner/name": "desk", "/acquisition/startTime": "2026-01-02T03:04:05.000"}
    mb.save(tmp_path / "scan.mdf", recordings.scan(signal, **said))
    return tmp_path / "scan.mdf"


def test_the_fitting_calibration_comes_first(scan, tmp_path):
    folder = tmp_path / "calibrations"
    (folder / "old").mkdir(parents=True)
    near = {"/scanner/name": "desk", "/acquisition/startTime": "2026-01-03T00:00:00.000"}
    mb.save(folder / "near.mdf", calibration(**near))
    mb.save(folder / "old" / "far.mdf", calibration(**{"/acquisition/startTime": "2020-01-01T00:00:00.000"}))
    steep = {"/acquisition/gradient": np.diag([-2.0, -2.0, 4.0])[None, None]}
    mb.save(folder / "a_steep.mdf", calibration(**steep))
    strong = {"/acquisition/drivefield/strength": np.full((1, 2, 1), 0.02)}
    mb.save(folder / "b_strong.mdf", calibration(**steep, **strong))
    (folder / "c_broken.mdf").write_bytes(b"no file of HDF5")
    (folder / "notes.txt").write_text("not looked at")
    mb.save(folder / "scan.mdf", mb.open(scan))

    found = mb.find_calibration(scan, folder)
    assert [m.path.name for m in found] == [
        "near.mdf",
        "far.mdf",
        "a_steep.mdf",
        "b_strong.mdf",
        "c_broken.mdf",
    ]
    assert [m.fits for m in found] == [True, True, False, False, False]
    assert found[0].reasons == ()
    assert found[2].reasons == ("gradient: scan -1, -1, 2 T/m, calibration -2, -2, 4 T/m",)
    assert "amplitudes: scan 0.012, 0.012 T, calibration 0.02, 0.02 T" in found[3].reasons[0]
    assert "cannot be read" in found[4].reasons[0]


def test_what_cannot_be_searched(scan, tmp_path):
    with pytest.raises(mb.MDFError, match="is no folder"):
        mb.find_calibration(scan, tmp_path / "nowhere")
    mb.save(tmp_path / "sm.mdf", calibration())
    with pytest.raises(mb.MDFError, match="a measurement is wanted"):
        mb.find_calibration(tmp_path / "sm.mdf", tmp_path)


def test_an_opened_scan_carries_its_calibration(scan, tmp_path):
    mb.save(tmp_path / "sm.mdf", calibration())
    opened = mb.open(scan, system_matrix=tmp_path / "sm.mdf")
    image = mb.reconstruct(opened, iterations=1)
    assert image.concentration.shape == (1, *GRID.shape)
    with pytest.raises(mb.MDFError):
        mb.open(scan, system_matrix=scan)
