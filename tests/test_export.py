"""What other software finds in the files we write for it, and what comes back from them."""

import json

import h5netcdf
import h5py
import nibabel
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import mpibridge as mb
from mpibridge.export import netcdf, nifti
from mpibridge.model import IMAGE_DIMS

GRID = mb.Grid((5, 4, 3), (10e-3, 12e-3, 15e-3), (1e-3, -2e-3, 5e-3))


@pytest.fixture
def image():
    """Three frames of a volume; every voxel has a value of its own."""
    values = np.arange(3 * GRID.n_voxels, dtype=np.float32).reshape(3, *GRID.shape)
    attrs = {
        "kind": "reconstruction",
        "/uuid": "852d18cc",
        "/reconstruction/_mpibridge/plugin": "kaczmarz",
        "/reconstruction/_mpibridge/settings": '{"iterations": 3, "positive": true}',
        "/reconstruction/_mpibridge/seed": np.int64(7),
        **GRID.attributes(),
    }
    coordinates = {**GRID.coordinates(), "time": ("frame", [0.5, 0.75, 1.0], {"units": "s"})}
    deviation = (IMAGE_DIMS, np.sqrt(values))
    return xr.Dataset(
        {"concentration": (IMAGE_DIMS, values, {"units": "1"}), "concentration_std": deviation},
        coordinates,
        attrs,
    )


@pytest.fixture(scope="module")
def recordings():
    generator = np.random.default_rng(0)
    grid = mb.Grid((3, 2, 1), (9e-3, 8e-3, 1e-3))
    calibration = mb.simulate.calibration("openmpi-2d", grid, generator=generator)
    return calibration, mb.simulate.scan(mb.simulate.phantom(grid), "openmpi-2d", generator=generator)


# NIfTI


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
def test_nifti_has_the_geometry_in_millimetres(name, image, tmp_path):
    mb.save(tmp_path / name, image)
    found = nibabel.load(tmp_path / name)
    assert found.shape == (5, 4, 3, 3)
    assert found.get_data_dtype() == np.float32
    values = np.asarray(found.dataobj)
    for frame, z, y, x in ((0, 0, 0, 0), (1, 2, 0, 4), (2, 1, 3, 2)):
        assert values[x, y, z, frame] == image["concentration"].values[frame, z, y, x]
        millimetres = 1e3 * np.array([image["x"][x], image["y"][y], image["z"][z]])
        np.testing.assert_allclose((found.affine @ [x, y, z, 1])[:3], millimetres, atol=1e-5)
    header = found.header
    np.testing.assert_allclose(header.get_zooms(), (2, 3, 5, 0.25))
    assert header.get_xyzt_units() == ("mm", "sec")
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    np.testing.assert_allclose(header.get_qform(), found.affine, atol=1e-5)
    assert float(header["toffset"]) == 0.5
    assert nibabel.aff2axcodes(found.affine) == ("R", "A", "S")


def test_nifti_says_how_the_image_was_made(image):
    header = nifti.as_nifti(image).header
    assert bytes(header["descrip"]).rstrip(b"\0") == b"mpibridge kaczmarz iterations=3 positive=True"
    (comment,) = header.extensions
    told = json.loads(comment.get_content())
    assert told == {"plugin": "kaczmarz", "settings": {"iterations": 3, "positive": True}, "seed": 7}
    long = image.assign_attrs({"/reconstruction/_mpibridge/plugin": "é" * 100})
    assert len(bytes(nifti.as_nifti(long).header["descrip"]).rstrip(b"\0")) == 79


def test_nifti_of_one_frame_and_of_several_contrasts(image):
    assert nifti.as_nifti(image.isel(frame=[1])).shape == (5, 4, 3)
    both = xr.concat([image, 2 * image], "contrast", combine_attrs="override")
    made = nifti.as_nifti(both)
    assert made.shape == (5, 4, 3, 3, 2)
    np.testing.assert_array_equal(made.dataobj[..., 1], 2 * made.dataobj[..., 0])
    assert nifti.as_nifti(both.isel(frame=[0])).shape == (5, 4, 3, 1, 2)


def test_nifti_of_a_part_lies_where_the_part_lies(image):
    part = nifti.as_nifti(image.isel(x=slice(2, 5), z=[1, 2]))
    np.testing.assert_allclose(
        part.affine[:3, 3], 1e3 * np.array([image["x"][2], image["y"][0], image["z"][1]])
    )


def test_nifti_without_a_thickness_says_what_it_takes():
    grid = mb.Grid((4, 3, 1), (8e-3, 9e-3, 0.0))
    flat = xr.Dataset(
        {"concentration": (IMAGE_DIMS, np.ones((1, *grid.shape)))}, grid.coordinates(), grid.attributes()
    )
    with pytest.warns(mb.MPIBridgeWarning, match="thick its voxels are along z: 2 mm is written"):
        made = nifti.as_nifti(flat)
    np.testing.assert_allclose(np.diag(made.affine), [2, 3, 2, 1])


def test_nifti_takes_images_only(image, recordings, tmp_path):
    with pytest.raises(mb.ShapeError, match=r"holds \['signal'\]: reconstruct first"):
        mb.save(tmp_path / "a.nii", recordings[1])
    with pytest.raises(mb.ShapeError, match="does not say where its voxels are"):
        mb.save(tmp_path / "a.nii", image.drop_vars(["x", "y", "z"]))
    with pytest.raises(mb.ShapeError, match="complex"):
        mb.save(tmp_path / "a.nii", image.assign(concentration=image["concentration"] * 1j))
    assert not list(tmp_path.iterdir())


# NetCDF


def without_source(dataset):
    made = dataset.copy()
    made.attrs.pop("source")
    return made


def assert_same(found, wanted):
    xr.testing.assert_identical(found.load(), wanted)
    for name, variable in wanted.variables.items():
        assert found[name].dtype == variable.dtype, name
    for name, value in wanted.attrs.items():
        assert np.shape(found.attrs[name]) == np.shape(value), name


@pytest.mark.parametrize("which", ["calibration", "scan", "spectrum", "image"])
def test_what_netcdf_gives_back(which, recordings, image, tmp_path):
    calibration, scan = recordings
    signal = scan["signal"]
    spectrum = scan.drop_vars(["signal", "time_in_period"]).assign(
        spectrum=(
            ("frame", "period", "receiver", "frequency"),
            np.fft.rfft(signal.values).astype(np.complex64),
            {"units": "V"},
        )
    )
    wanted = {"calibration": calibration, "scan": scan, "spectrum": spectrum, "image": image}[which]
    mb.save(tmp_path / "a.nc", wanted)
    found = mb.open(tmp_path / "a.nc")
    assert_same(found, wanted)
    assert found.mpi.kind == wanted.mpi.kind


@pytest.mark.parametrize("which", [0, 1])
def test_from_mdf_to_netcdf_and_back(which, recordings, tmp_path):
    mb.save(tmp_path / "a.mdf", recordings[which])
    mb.convert(tmp_path / "a.mdf", tmp_path / "a.nc")
    mb.convert(tmp_path / "a.nc", tmp_path / "b.mdf")
    first, second = mb.open(tmp_path / "a.mdf"), mb.open(tmp_path / "b.mdf")
    assert_same(mb.open(tmp_path / "a.nc"), without_source(first.load()))
    assert_same(without_source(second), without_source(first))
    assert mb.validate(tmp_path / "b.mdf") == []


def test_a_scan_from_netcdf_is_reconstructed(recordings, tmp_path):
    for name, dataset in zip(("calibration", "scan"), recordings, strict=True):
        mb.save(tmp_path / f"{name}.nc", dataset)
    scan = mb.open(tmp_path / "scan.nc", system_matrix=tmp_path / "calibration.nc")
    found = mb.reconstruct(scan, iterations=2)
    wanted = mb.reconstruct(recordings[1], system_matrix=recordings[0], iterations=2)
    np.testing.assert_array_equal(found["concentration"], wanted["concentration"])


def test_other_tools_find_plain_numbers_and_names(recordings, tmp_path):
    """No complex type, no slash, nothing that needs a flag to be read."""
    calibration, _ = recordings
    mb.save(tmp_path / "a.nc", calibration)
    with h5netcdf.File(
        tmp_path / "a.nc", decode_vlen_strings=True
    ) as file:  # refuses what is no valid NetCDF
        matrix = file.variables["system_matrix"]
        assert matrix.dimensions == ("period", "receiver", "frequency", "z", "y", "x", "complex")
        assert matrix.dtype == np.float32
        np.testing.assert_array_equal(matrix[..., 1], calibration["system_matrix"].values.imag)
        assert list(file.variables["complex"][:]) == ["real", "imag"]
        assert file.attrs["mdf.study.name"] == "simulation"
        assert file.attrs["kind"] == "calibration"
        assert file.variables["mdf.acquisition.gradient"].shape == (1, 1, 3, 3)
        assert file.variables["x"].attrs["units"] == "m"
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as plain:
        assert plain["system_matrix"].sel(complex="real").dtype == np.float32
        assert plain["snr"].dims == ("period", "receiver", "frequency")


def test_attributes_of_every_kind(image, tmp_path):
    odd = {
        "/_lab/flag": True,
        "/_lab/none": None,
        "/_lab/empty text": "",
        "/_lab/tuple": (1, 2),
        "/_lab/texts": np.array([["a", "ß"], ["", "d"]], object),
        "/_lab/complex": 1 + 2j,
        "/_lab/complexes": np.array([[1j, 2]], np.complex64),
        "/_lab/infinite": np.array([complex(1, np.inf)]),
        "/_lab/large": np.arange(30_000.0).reshape(3, -1),
        "/_lab/one": np.array([3]),
        "/_lab/v1.0 100%": np.float32(0.5),
        "/_lab/data@units": "µs",
        "plain.name": "kept",
    }
    mb.save(tmp_path / "a.nc", image.assign_attrs(odd))
    found = mb.open(tmp_path / "a.nc").attrs
    assert found["/_lab/flag"] == 1
    assert "/_lab/none" not in found
    for name in odd.keys() - {"/_lab/none", "/_lab/flag"}:
        assert np.array_equal(found[name], odd[name]), name
        assert np.shape(found[name]) == np.shape(odd[name]), name
    with pytest.raises(mb.MDFError, match=r"/_lab/what: is a object; numbers, texts"):
        mb.save(tmp_path / "b.nc", image.assign_attrs({"/_lab/what": object()}))


def test_the_system_matrix_of_a_scan_is_named(recordings, tmp_path):
    calibration, scan = recordings
    mb.save(tmp_path / "calibration.mdf", calibration)
    path = str(tmp_path / "calibration.mdf")
    for noted in (path, mb.open(path)):
        mb.save(tmp_path / "scan.nc", scan.assign_attrs(system_matrix=noted))
        assert mb.open(tmp_path / "scan.nc").attrs["system_matrix"] == path
    with pytest.warns(mb.MPIBridgeWarning, match="system_matrix is a dataset that came from no file"):
        mb.save(tmp_path / "scan.nc", scan.assign_attrs(system_matrix=calibration))
    assert "system_matrix" not in mb.open(tmp_path / "scan.nc").attrs


def test_large_arrays_are_read_and_written_in_parts(recordings, tmp_path, monkeypatch):
    calibration, _ = recordings
    mb.save(tmp_path / "a.mdf", calibration)
    lazy = mb.open(tmp_path / "a.mdf")
    monkeypatch.setattr(netcdf, "BLOCK_BYTES", 1000)
    assert netcdf._parts(lazy["system_matrix"].variable).chunks is not None
    mb.save(tmp_path / "a.nc", lazy)
    monkeypatch.setattr(netcdf, "LAZY_BYTES", 1000)
    found = mb.open(tmp_path / "a.nc")
    assert not found["system_matrix"].variable._in_memory
    part = {"receiver": 1, "frequency": [7, 3], "x": slice(1, None)}
    np.testing.assert_array_equal(found["system_matrix"].isel(part), calibration["system_matrix"].isel(part))
    assert_same(found, calibration)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_names_come_back(name):
    for each in (name, f"/{name}", f"/{name}/.{name}@{name}"):
        encoded = netcdf._encoded(each)
        assert "/" not in encoded
        assert netcdf._decoded(encoded) == each


def test_netcdf_of_others_is_refused(tmp_path):
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(mb.MDFError, match="only NetCDF files that mpibridge wrote"):
        mb.open(tmp_path / "a.nc")
    (tmp_path / "b.nc").write_text("no HDF5")
    with pytest.raises(mb.MDFError, match=r"b\.nc: cannot be read as HDF5"):
        mb.open(tmp_path / "b.nc")
    with h5py.File(tmp_path / "c.nc", "w") as file:
        file["a"] = [1, 2]
    with pytest.raises(mb.MDFError, match=r"c\.nc"):
        mb.open(tmp_path / "c.nc")
    with pytest.raises(mb.MDFError, match="nowhere"):
        mb.open(tmp_path / "nowhere.nc")
    with pytest.raises(mb.MDFError, match="one of signal, spectrum, system_matrix, concentration is wanted"):
        mb.save(tmp_path / "d.nc", xr.Dataset({"a": ("x", [1.0])}))


# Pictures, and every format


@pytest.mark.parametrize(
    ("name", "start"),
    [("a.png", b"\x89PNG"), ("a.PDF", b"%PDF"), ("a.svg", b"<?xml"), ("a.jpg", b"\xff\xd8")],
)
def test_pictures(name, start, image, tmp_path):
    mb.save(tmp_path / name, image)
    assert (tmp_path / name).read_bytes().startswith(start)


def test_unknown_suffixes_are_refused_with_the_known_ones(image, tmp_path):
    for name in ("a.gif", "a", "a.gz", ".nii"):
        with pytest.raises(mb.MDFError, match=r"ends in .*\.mdf, \.hdf, \.h5, \.nii, \.nii\.gz, \.nc, \.png"):
            mb.save(tmp_path / name, image)


@pytest.mark.parametrize("name", ["a.mdf", "a.nii.gz", "a.nc", "a.png"])
def test_all_or_nothing(name, image, tmp_path, monkeypatch):
    target = tmp_path / name
    target.write_bytes(b"before")
    target.chmod(0o640)

    def fail(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as broken:
        for where in ("nibabel.save", "matplotlib.figure.Figure.savefig", "xarray.Dataset.to_netcdf"):
            broken.setattr(where, fail)
        broken.setattr("mpibridge.mdf.writer._write", fail)
        with pytest.raises(mb.MDFError, match=r"cannot be written \(disk full\); check the folder"):
            mb.save(target, image)
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]
    mb.save(target, image)
    assert target.read_bytes() != b"before"
    assert target.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [target]
