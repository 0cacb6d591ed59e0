from pathlib import Path

import numpy as np
import pytest

import mpibridge as mb

GRID = mb.Grid((3, 2, 1), (9e-3, 8e-3, 1e-3))
SCANNER = "openmpi-2d"


@pytest.fixture(scope="module")
def calibration():
    return mb.simulate.calibration(SCANNER, GRID, generator=np.random.default_rng(0))


@pytest.fixture
def folder(tmp_path, calibration):
    scan = mb.simulate.scan(mb.simulate.phantom(GRID), SCANNER, generator=np.random.default_rng(1))
    mb.save(tmp_path / "scan.mdf", scan)
    mb.save(tmp_path / "calibration.mdf", calibration)
    return tmp_path


def test_system_matrix_is_noted(folder, calibration, monkeypatch):
    monkeypatch.chdir(folder)
    path = str(folder / "calibration.mdf")
    assert mb.open("scan.mdf", system_matrix="calibration.mdf").attrs["system_matrix"] == path
    opened = mb.open(Path("calibration.mdf"))
    assert mb.open("scan.mdf", system_matrix=opened).attrs["system_matrix"] == path
    assert mb.open("scan.mdf", system_matrix=calibration).attrs["system_matrix"] is calibration
    assert "system_matrix" not in mb.open("scan.mdf").attrs


def test_system_matrix_must_be_a_calibration(folder):
    with pytest.raises(mb.MDFError, match=r"scan\.mdf: .* is a measurement"):
        mb.open(folder / "scan.mdf", system_matrix=folder / "scan.mdf")
    with pytest.raises(mb.MDFError, match="nowhere"):
        mb.open(folder / "scan.mdf", system_matrix=folder / "nowhere.mdf")


def test_reconstruct_uses_the_noted_one(folder):
    scan = mb.open(folder / "scan.mdf", system_matrix=folder / "calibration.mdf")
    noted = mb.reconstruct(scan, iterations=2)
    given = mb.reconstruct(folder / "scan.mdf", system_matrix=folder / "calibration.mdf", iterations=2)
    np.testing.assert_array_equal(noted["concentration"], given["concentration"])


def test_validate(folder):
    assert mb.validate(folder / "scan.mdf") == []
