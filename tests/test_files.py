from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

import mpibridge as mb
from mpibridge.cli import app

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


@pytest.fixture(scope="module")
def image(calibration, tmp_path_factory):
    """A reconstructed image as MDF file."""
    path = tmp_path_factory.mktemp("image") / "image.mdf"
    scan = mb.simulate.scan(mb.simulate.phantom(GRID), SCANNER, generator=np.random.default_rng(1))
    mb.save(path, mb.reconstruct(scan, system_matrix=calibration, iterations=2))
    return path


@pytest.fixture
def no_julia(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("Julia is not needed for this")

    monkeypatch.setattr("mpibridge.julia.call", refuse)


def test_conversion_of_an_image_needs_no_julia(image, tmp_path, no_julia):
    wanted = mb.open(image)["concentration"].values
    mb.convert(image, tmp_path / "a.nii.gz")
    found = np.asarray(nibabel.load(tmp_path / "a.nii.gz").dataobj)  # (x, y, z, frame)
    np.testing.assert_array_equal(found.T, wanted)
    mb.convert(image, tmp_path / "a.nc")
    mb.convert(tmp_path / "a.nc", tmp_path / "a.h5")
    np.testing.assert_array_equal(mb.open(tmp_path / "a.h5")["concentration"], wanted)
    mb.convert(image, tmp_path / "a.png", frame=0)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_mdf_without_options_is_rewritten_natively(tmp_path, no_julia):
    data = Path(__file__).parent / "data" / "measurement.mdf"
    mb.convert(data, tmp_path / "a.mdf")
    np.testing.assert_array_equal(mb.open(tmp_path / "a.mdf")["signal"], mb.open(data)["signal"])


def test_options_go_to_whoever_writes_the_target(image, folder, monkeypatch):
    asked = []
    monkeypatch.setattr("mpibridge.julia_files.convert", lambda *paths, **options: asked.append(options))
    mb.convert(folder / "calibration.mdf", folder / "b.mdf", SNRThresh=2.0)
    assert asked == [{"SNRThresh": 2.0}]
    with pytest.raises(mb.SettingsError, match="SNRThresh: NIfTI has no options"):
        mb.convert(image, folder / "b.nii", SNRThresh=2.0)
    with pytest.raises(mb.SettingsError, match=r"SNRThresh: plot\.image knows"):
        mb.convert(image, folder / "b.png", SNRThresh=2.0)


def test_what_cannot_be_converted(image, tmp_path):
    with pytest.raises(mb.FileError, match=r"nowhere\.mdf cannot be opened"):
        mb.convert(tmp_path / "nowhere.mdf", tmp_path / "a.nii")
    with pytest.raises(mb.MDFError, match=r"ends in '\.foo'"):
        mb.convert(image, tmp_path / "a.foo")
    with pytest.raises(mb.SettingsError, match="a dataset is saved whole; found a DataArray"):
        mb.save(tmp_path / "a.nii", mb.open(image)["concentration"])
    assert not list(tmp_path.iterdir())


def test_convert_from_the_shell(image, folder):
    def run(*words):
        return CliRunner().invoke(app, ["convert", *map(str, words)])

    done = run(image, folder / "a.nii")
    assert (done.exit_code, done.stdout.strip()) == (0, str(folder / "a.nii"))
    assert nibabel.load(folder / "a.nii").shape[:3] == GRID.size
    assert run(folder / "calibration.mdf", folder / "a.png", "--set", "view=snr_map").exit_code == 0
    refused = run(folder / "scan.mdf", folder / "scan.nii")
    assert refused.exit_code == 1
    assert "reconstruct first" in refused.stderr
    assert "is a file that is read" in run(image, image).stderr
