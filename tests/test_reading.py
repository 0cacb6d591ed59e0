"""Who reads which file, and what is said where Julia is absent."""

import h5py
import numpy as np
import pytest

import mpibridge as mb
from mpibridge import julia, julia_files, originals
from mpibridge.reading import foreign_kind, read

GRID = mb.Grid((3, 2, 1), (9e-3, 8e-3, 1e-3))
SCANNER = "openmpi-2d"


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "scan.mdf"
    scan = mb.simulate.scan(mb.simulate.phantom(GRID), SCANNER, generator=np.random.default_rng(1))
    mb.save(path, scan)
    return path


@pytest.fixture
def bruker(tmp_path):
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "acqp").write_text("##TITLE=Parameter List")
    return folder


@pytest.fixture
def imt(tmp_path):
    path = tmp_path / "simulated.h5"
    with h5py.File(path, "w") as file:
        file["measurements"] = np.zeros((2, 8))
    return path


@pytest.fixture
def no_julia(monkeypatch):
    def call(name, *arguments):
        raise mb.JuliaSetupError(
            "Julia does not start: juliacall is not installed; 'mpibridge setup-julia' …"
        )

    monkeypatch.setattr(julia, "call", call)


def test_kinds(recording, bruker, imt, tmp_path):
    assert foreign_kind(recording) is None
    assert foreign_kind(bruker) == "a Bruker folder"
    assert foreign_kind(imt) == "an IMT file"
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["something"] = 1
    assert foreign_kind(other) is None
    assert foreign_kind(tmp_path / "nowhere.mdf") is None
    with pytest.raises(mb.MDFError, match="is a folder without acqp"):
        foreign_kind(tmp_path)


def test_what_only_julia_reads_is_said(bruker, imt, recording, no_julia):
    for path, kind in ((bruker, "a Bruker folder"), (imt, "an IMT file")):
        with pytest.raises(mb.JuliaSetupError, match=f"is {kind}, which only MPIFiles.jl reads.*setup-julia"):
            mb.open(path)
        with pytest.raises(mb.JuliaSetupError, match=f"is {kind}"):
            mb.reconstruct(path, system_matrix=recording)
    with pytest.raises(mb.JuliaSetupError, match="does not start"):
        mb.open(recording, engine="julia")
    with pytest.raises(mb.JuliaSetupError, match="does not start"):
        mb.convert(bruker, bruker.parent / "out.mdf")
    assert not list(bruker.parent.glob("*out*"))


def test_a_missing_file_is_said_before_julia_starts(tmp_path, no_julia):
    with pytest.raises(mb.FileError, match=r"nowhere\.mdf cannot be opened \(No such file"):
        julia_files.JuliaFile(tmp_path / "nowhere.mdf")
    with pytest.raises(mb.FileError, match=r"nowhere cannot be opened"):
        mb.convert(tmp_path / "nowhere", tmp_path / "out.mdf")
    with pytest.raises(mb.FileError):
        julia_files.load_image(tmp_path / "nowhere.mdf")


def test_unknown_engine(recording):
    with pytest.raises(mb.SettingsError, match="engine must be one of native, julia, found 'matlab'"):
        read(recording, "matlab")


def test_an_untouched_recording_is_its_own_file(recording, tmp_path):
    for scan in (mb.open(recording), mb.open(recording).assign_attrs(system_matrix="elsewhere")):
        assert originals.as_file(tmp_path, scan) == recording
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        lambda scan: scan.isel(frame=slice(3)),
        lambda scan: scan.isel(frame=slice(None, None, -1)),
        lambda scan: scan.assign(signal=scan.signal + 1),
        lambda scan: scan.load(),
        lambda scan: scan.assign_attrs({"/acquisition/receiver/bandwidth": 1e6}),
        lambda scan: scan.assign_coords(is_background=~scan.is_background),
        lambda scan: scan.drop_vars("acquisition_index"),
    ],
)
def test_a_changed_one_is_written(change, recording, tmp_path):
    changed = change(mb.open(recording))
    path = originals.as_file(tmp_path, changed)
    assert path.parent == tmp_path
    reopened = mb.open(path)
    np.testing.assert_array_equal(reopened.signal, changed.signal)
    np.testing.assert_array_equal(reopened.is_background, changed.is_background)


def test_one_made_in_memory_is_written(tmp_path):
    scan = mb.simulate.scan(mb.simulate.phantom(GRID), SCANNER, generator=np.random.default_rng(1))
    first, second = originals.as_file(tmp_path, scan), originals.as_file(tmp_path, scan)
    assert first != second
    np.testing.assert_array_equal(mb.open(first).signal, scan.signal)


def test_a_calibration_of_mdf_1_is_written_as_2(shared, tmp_path):
    old = mb.open(shared / "golden" / "more" / "v1_calibration.mdf")
    assert old.attrs["/version"].startswith("1")
    copy = mb.open(originals.as_file(tmp_path, old))
    assert copy.attrs["/version"] == "2.1.0"
    np.testing.assert_array_equal(copy.system_matrix, old.system_matrix)
