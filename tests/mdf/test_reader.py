"""What the reader finds, against the bytes of the file as h5py alone sees them."""

from __future__ import annotations

import pickle
from pathlib import Path

import dask
import h5py
import numpy as np
import pytest
import xarray as xr

from mpibridge.errors import MDFError
from mpibridge.mdf.engine import MDFBackend
from mpibridge.mdf.reader import read
from mpibridge.mdf.storage import StoredArray
from mpibridge.model import Grid
from tests.mdf.strategies import Recording

MATRIX = Recording(kind="calibration", fourier=True, fast=True, dtype="<c8", n_background=2, permuted=True)
GOLDEN = [
    *("single-patch/calibration", "single-patch/calibration_selected", "single-patch/calibration_tf"),
    *("single-patch/measurement", "single-patch/measurement_fourier", "single-patch/measurement_tf"),
    *("single-patch/reconstruction_mpireco", "more/contrast1", "more/contrast2", "more/contrast_measurement"),
    *("more/multipatch_measurement", "more/volume_calibration", "more/volume_measurement"),
    *("more/written_calibration", "more/written_measurement"),
]


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_files(name: str, shared: Path) -> None:
    path = shared / "golden" / f"{name}.mdf"
    dataset = read(path)
    with h5py.File(path) as file:
        assert dataset.attrs["/uuid"] == file["uuid"].asstr()[()]
        strength = file["acquisition/drivefield/strength"][()]
        np.testing.assert_array_equal(dataset.attrs["/acquisition/drivefield/strength"], strength)
        if dataset.attrs["kind"] == "reconstruction":
            image = dataset["concentration"].values
            np.testing.assert_array_equal(image.reshape(len(image), -1), file["reconstruction/data"][..., 0])
            return
        data = file["measurement/data"][()]
        if dataset.attrs["kind"] == "measurement":
            main = dataset["spectrum" if "spectrum" in dataset else "signal"]
            np.testing.assert_array_equal(main.values, data)
            assert main.dtype == data.dtype
        else:
            n_voxels = dataset["system_matrix"][0, 0, 0].size
            matrix = dataset["system_matrix"].values
            np.testing.assert_array_equal(matrix.reshape(*matrix.shape[:3], -1), data[..., :n_voxels])
            np.testing.assert_array_equal(dataset["background"].values, data[..., n_voxels:])
            np.testing.assert_array_equal(dataset["snr"].values, file["calibration/snr"][()])
            order = np.r_[
                dataset["acquisition_index"].values.ravel(), dataset["background_acquisition_index"].values
            ]
            np.testing.assert_array_equal(order + 1, file["measurement/framePermutation"][()])
        if "transfer_function" in dataset:
            stored = file["acquisition/receiver/transferFunction"][()]
            np.testing.assert_array_equal(dataset["transfer_function"].values, stored)
        if "measurement/frequencySelection" in file:
            np.testing.assert_array_equal(
                dataset["bin"].values + 1, file["measurement/frequencySelection"][()]
            )


def test_grid_of_a_golden_calibration(shared: Path) -> None:
    calibration = read(shared / "golden/single-patch/calibration.mdf")
    grid = Grid((15, 13, 1), (0.0264, 0.0242, 0.001), (0.0005, -0.001, 0.0))
    assert grid.almost_equal(calibration.mpi.grid)
    np.testing.assert_allclose(np.diff(calibration["x"]), 0.0264 / 15)


def test_golden_version_1(shared: Path) -> None:
    for name, variable in (("v1_measurement", "spectrum"), ("v1_calibration", "system_matrix")):
        path = shared / "golden/more" / f"{name}.mdf"
        dataset = read(path)
        with h5py.File(path) as file:
            pairs = file["measurement/dataFD" if variable == "spectrum" else "calibration/dataFD"][()]
        values = dataset[variable].values.reshape(pairs.shape[:-1])
        np.testing.assert_array_equal(values, pairs[..., 0] + 1j * pairs[..., 1])
        assert dataset.attrs["/experiment/number"] == 7
        assert dataset.attrs["/scanner/name"] == "M1"
        assert dataset.attrs["/time"] == "2016-02-03T04:05:06.000"
        np.testing.assert_array_equal(
            dataset.attrs["/acquisition/drivefield/phase"], np.full((1, 2, 1), np.pi / 2)
        )


def test_robot_calibration_of_a_real_scanner(shared: Path) -> None:
    """Time data of version 2.0 with the names and loose shapes of that time."""
    path = shared / "data/real/head-scanner/robot_calibration_v2.0.mdf"
    calibration = read(path)
    with h5py.File(path) as file:
        slope, offset = file["acquisition/receiver/dataConversionFactor"][0]
        volts = file["measurement/data"][:, 0, 0] * slope + offset
    spectra = np.fft.rfft(volts, axis=1).T
    matrix = calibration["system_matrix"].values[0, 0, :, 0, 0]
    np.testing.assert_allclose(matrix, spectra, atol=1e-6 * np.abs(spectra).max())
    assert calibration.attrs["/acquisition/gradient"].shape == (1, 1, 3, 3)


def test_a_file_without_measurement(shared: Path) -> None:
    with pytest.raises(MDFError, match="header without data"):
        read(shared / "data/real/head-scanner/no_measurement_group.mdf")


@pytest.mark.parametrize(
    ("name", "entry"), [("written_sparse", "sparse_system_matrix"), ("written_calibration", "system_matrix")]
)
def test_selected_and_sparse_files_against_julia(name: str, entry: str, shared: Path) -> None:
    """`getSystemMatrix` of MPIFiles.jl, SNR 5, of files that `saveasMDF` wrote. Shape (row, voxel)."""
    calibration = read(shared / f"golden/more/{name}.mdf")
    with h5py.File(shared / "golden/more/expected.h5") as file:
        written = file["written"]
        k, channel = written["k"][()], written["channel"][()]
        wanted = written[f"{entry}/re"][()] + 1j * written[f"{entry}/im"][()]
    position = np.searchsorted(calibration["bin"].values, k)
    rows = calibration["system_matrix"].values[0, channel, position].reshape(len(k), -1)
    assert np.linalg.norm(rows - wanted) < 1e-6 * np.linalg.norm(wanted)


@pytest.mark.parametrize("compound", ["ri", "real imag"])
@pytest.mark.parametrize("dtype", ["<c8", ">c8", "<c16", ">c16"])
def test_complex_numbers(compound: str, dtype: str, tmp_path: Path) -> None:
    wanted = Recording(fourier=True, dtype=dtype, compound=compound).save(tmp_path / "a.mdf")["spectrum"]
    found = read(tmp_path / "a.mdf")["spectrum"]
    np.testing.assert_array_equal(found.values, wanted)
    assert found.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<i4", ">i4", "i1", "<i8", ">f4", ">f8"])
@pytest.mark.parametrize("chunked", [False, True])
def test_real_numbers(dtype: str, chunked: bool, tmp_path: Path) -> None:
    wanted = Recording(dtype=dtype, chunked=chunked).save(tmp_path / "a.mdf")["signal"]
    found = read(tmp_path / "a.mdf")["signal"]
    np.testing.assert_array_equal(found.values, wanted)
    assert found.dtype.isnative
    assert found.dtype == wanted.dtype


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("fast", [False, True])
def test_any_part_of_any_layout(fast: bool, chunked: bool, tmp_path: Path) -> None:
    recording = Recording(shape=(9, 2, 3, 20), fast=fast, chunked=chunked)
    wanted = recording.save(tmp_path / "a.mdf")["signal"]
    found = read(tmp_path / "a.mdf")["signal"]
    for key in (
        np.s_[3], np.s_[1:8:3, 1], np.s_[:, :, [2, 0], 5:], np.s_[[8, 1, 1], :, :, [3, 19, 4]],
        np.s_[::-1, 0, :, ::-2], np.s_[2:2], np.s_[-1, -1, -1, -1],
    ):  # fmt: skip
        outer = found[key].values
        expected = xr.DataArray(wanted, dims=found.dims)[key].values
        np.testing.assert_array_equal(outer, expected)


def test_block_of_user_bytes_in_front(tmp_path: Path) -> None:
    """HDF5 allows a block before its own first byte; offsets count from the start of the file."""
    wanted = Recording().save(tmp_path / "a.mdf")["signal"]
    with h5py.File(tmp_path / "a.mdf") as old, h5py.File(tmp_path / "b.mdf", "w", userblock_size=512) as new:
        for name in old:
            old.copy(name, new)
    np.testing.assert_array_equal(read(tmp_path / "b.mdf")["signal"].values, wanted)


def test_opening_reads_no_voxel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [MATRIX, Recording(), Recording(kind="reconstruction"), Recording(
        kind="calibration", fourier=True, fast=True, dtype="<c8", sparse="DCT-II", transfer_function=True
    )]  # fmt: skip
    for i, recording in enumerate(files):
        recording.save(tmp_path / f"{i}.mdf")

    def read_nothing(self: StoredArray, index: object) -> np.ndarray:
        raise AssertionError(f"{self.name} was read")

    monkeypatch.setattr(StoredArray, "read", read_nothing)
    for i in range(len(files)):
        dataset = read(tmp_path / f"{i}.mdf")
        assert repr(dataset)
        with pytest.raises(AssertionError, match="was read"):
            dataset.load()


def test_a_dataset_crosses_processes(tmp_path: Path) -> None:
    wanted = MATRIX.save(tmp_path / "a.mdf")["system_matrix"]
    packed = pickle.dumps(read(tmp_path / "a.mdf"))
    assert len(packed) < 20_000
    np.testing.assert_array_equal(pickle.loads(packed)["system_matrix"].values, wanted)


def test_xarray_opens_it_in_chunks_with_threads(tmp_path: Path) -> None:
    wanted = Recording(shape=(16, 2, 3, 40), chunked=True, dtype="<i2").save(tmp_path / "a.mdf")["signal"]
    scan = xr.open_dataset(tmp_path / "a.mdf", engine=MDFBackend, chunks={"frame": 2}, drop_variables="time")
    assert scan["signal"].chunks[0] == (2,) * 8
    assert "time" not in scan
    with dask.config.set(scheduler="threads", num_workers=8):
        np.testing.assert_array_equal(scan["signal"].mean("frame").values, wanted.mean(0))
    assert scan.mpi.kind == "measurement"
    assert scan.mpi.header.n_samples == 40


def test_the_engine_claims_mdf_files_only() -> None:
    backend = MDFBackend()
    assert backend.guess_can_open("a.mdf")
    assert backend.guess_can_open(Path("B.MDF"))
    assert not backend.guess_can_open("a.h5")
    assert not backend.guess_can_open(b"\x89HDF")


def test_the_accessor(tmp_path: Path) -> None:
    MATRIX.save(tmp_path / "a.mdf")
    matrix = read(tmp_path / "a.mdf")
    assert matrix.mpi.grid == Grid((3, 2, 1), (0.03, 0.02, 0.01), (0.0, 0.001, 0.002))
    np.testing.assert_allclose(matrix.mpi.frequencies, np.arange(7) * 2.5e6 / 12)
    Recording().save(tmp_path / "b.mdf")
    scan = read(tmp_path / "b.mdf")
    np.testing.assert_allclose(scan.mpi.frequencies, matrix.mpi.frequencies)
    with pytest.raises(MDFError, match="calibration/size"):
        _ = scan.mpi.grid
    with pytest.raises(MDFError, match="what it is"):
        _ = scan.drop_attrs().mpi.kind


def test_part_of_a_grid_is_a_grid(tmp_path: Path) -> None:
    MATRIX.save(tmp_path / "a.mdf")
    part = read(tmp_path / "a.mdf").isel(x=slice(1, 3), y=[1])
    grid = part.mpi.grid
    assert grid.size == (2, 1, 1)
    np.testing.assert_allclose(grid.spacing, (0.01, 0.01, 0.01))
    np.testing.assert_allclose(grid.axis("x"), part["x"])
    with pytest.raises(MDFError, match="unequal steps"):
        _ = read(tmp_path / "a.mdf").assign_coords(x=[0.0, 1.0, 5.0]).mpi.grid


def test_references_are_left_out_and_empty_attributes_kept(tmp_path: Path) -> None:
    Recording().save(tmp_path / "a.mdf")
    with h5py.File(tmp_path / "a.mdf", "a") as file:
        file["measurement/data"].attrs["scale"] = file["acquisition"].ref
        file["measurement/data"].attrs["nothing"] = h5py.Empty("f4")
    attrs = read(tmp_path / "a.mdf").attrs
    assert "/measurement/data@scale" not in attrs
    assert attrs["/measurement/data@nothing"] is None
