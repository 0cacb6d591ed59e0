"""What is written: the constraints of MPIFiles.jl on the raw HDF5, and that saving is all or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import mpibridge.accessor  # noqa: F401 - registers Dataset.mpi
from mpibridge.errors import MDFError
from mpibridge.mdf import layout, writer
from mpibridge.mdf.layout import FileArray
from mpibridge.mdf.reader import read
from mpibridge.mdf.schema import SCHEMA, TIMES
from mpibridge.mdf.validate import validate
from mpibridge.mdf.writer import blocks, check_target, write
from mpibridge.model import Grid
from tests.mdf.strategies import Recording

RECORDINGS = {
    "measurement": Recording(dtype="<i2", private=True, n_background=1, permuted=True, transfer_function=True),
    "spectra": Recording(fourier=True, dtype=">c16", selected=True, fast=True, chunked=True),
    "calibration": Recording(
        kind="calibration", dtype="<i2", n_background=2, shape=(1, 2, 2, 9), transfer_function=True
    ),
    "sparse": Recording(kind="calibration", fourier=True, fast=True, dtype="<c8", sparse="DCT-II", n_background=1),
    "image": Recording(kind="reconstruction", contrasts=2),
}  # fmt: skip


@pytest.fixture(params=RECORDINGS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    RECORDINGS[request.param].save(tmp_path / "foreign.mdf")
    return write(tmp_path / "ours.mdf", read(tmp_path / "foreign.mdf"))


@pytest.fixture
def scan(tmp_path: Path) -> xr.Dataset:
    Recording(private=True).save(tmp_path / "scan.mdf")
    return read(tmp_path / "scan.mdf")


def everything(path: Path) -> dict[str, Any]:
    """Path → (shape, dtype, is contiguous, offset, value) as h5py sees it."""
    found = {}
    with h5py.File(path) as file:

        def note(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                contiguous = item.id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS
                found[f"/{name}"] = (item.shape, item.dtype, contiguous, item.id.get_offset(), item[()])

        file.visititems(note)
    return found


def test_mpifiles_can_map_the_data(written: Path) -> None:
    """HDF5.jl `readmmap`: contiguous, allocated, aligned, complex numbers as a compound of r and i."""
    found = everything(written)
    for name in ("/measurement/data", "/acquisition/receiver/transferFunction", "/reconstruction/data"):
        if name in found:
            _, dtype, contiguous, offset, _ = found[name]
            assert contiguous
            assert offset % 16 == 0
            assert dtype.byteorder in "=<|"
            if dtype.kind == "c":
                with h5py.File(written) as file:
                    kind = file[name].id.get_type()
                    assert [kind.get_member_name(i) for i in range(kind.get_nmembers())] == [b"r", b"i"]


def test_scalars_ranks_types_and_times(written: Path) -> None:
    found = everything(written)
    for name, (shape, dtype, *_, value) in found.items():
        if (entry := SCHEMA.get(name)) is None or entry.type in ("number", "complex"):
            continue
        assert len(shape) == len(entry.letters), name
        if entry.type == "str":
            assert h5py.check_string_dtype(dtype) is not None
        else:
            assert dtype == {"float": np.float64, "int": np.int64, "flag": np.int8}[entry.type], name
        if name in TIMES and shape == ():
            moment = datetime.fromisoformat(value.decode())
            assert moment.tzinfo is None
            assert moment.microsecond % 1000 == 0
    assert found["/version"][4] == b"2.1.0"
    assert validate(written) == []


def test_canonical_layout_of_a_calibration(tmp_path: Path) -> None:
    recording = Recording(
        kind="calibration", fourier=True, dtype="<c8", n_background=2, permuted=True, selected=True, seed=3
    )
    wanted = recording.save(tmp_path / "a.mdf")
    before = read(tmp_path / "a.mdf")
    write(tmp_path / "b.mdf", before)
    with h5py.File(tmp_path / "b.mdf") as file:
        data, group = file["measurement/data"][()], file["measurement"]
        n_voxels = wanted["system_matrix"][0, 0, 0].size
        np.testing.assert_array_equal(
            data[..., :n_voxels].reshape(wanted["system_matrix"].shape), wanted["system_matrix"]
        )
        np.testing.assert_array_equal(data[..., n_voxels:], wanted["background"])
        assert group["isBackgroundFrame"][()].tolist() == [0] * n_voxels + [1, 1]
        assert all(
            group[name][()] == 1 for name in ("isFourierTransformed", "isFastFrameAxis", "isFramePermutation")
        )
        assert group["isFrequencySelection"][()] == 1
        np.testing.assert_array_equal(group["frequencySelection"][()], before["bin"].values + 1)
        np.testing.assert_array_equal(
            group["framePermutation"][:n_voxels], before["acquisition_index"].values.ravel() + 1
        )


def test_metadata_carry_checksums(written: Path) -> None:
    assert written.read_bytes()[8] >= 2  # version of the superblock
    assert b"TREE" not in written.read_bytes()
    assert b"GCOL" not in written.read_bytes()


def image() -> xr.Dataset:
    grid = Grid((4, 3, 1), (0.04, 0.03, 0.002), (0.001, 0.0, 0.0))
    generator = np.random.default_rng(0)
    values = generator.random((2, 1, 3, 4)).astype(np.float32)
    dims = ("frame", "z", "y", "x")
    attrs = {"/study/name": "mine", "/reconstruction/_mpibridge/plugin": "kaczmarz", **grid.attributes()}
    attrs |= {
        "/reconstruction/_mpibridge/seed": 7,
        "/reconstruction/_mpibridge/trace/residual": np.array([3.0, 2.0]),
    }
    return xr.Dataset(
        {"concentration": (dims, values), "concentration_std": (dims, values / 9)},
        {**grid.coordinates(), "time": ("frame", [0.5, 1.25], {"units": "s"})},
        attrs,
    )


def test_an_image_made_in_memory(tmp_path: Path) -> None:
    made = image()
    write(tmp_path / "image.mdf", made)
    back = read(tmp_path / "image.mdf")
    xr.testing.assert_identical(made.drop_attrs(deep=False), back.drop_attrs(deep=False))
    assert back.attrs["/reconstruction/_mpibridge/plugin"] == "kaczmarz"
    assert back.attrs["/reconstruction/_mpibridge/seed"] == 7
    assert back.attrs["/study/name"] == "mine"
    assert back.mpi.grid == Grid.from_attributes(made.attrs)
    with h5py.File(tmp_path / "image.mdf") as file:
        group = file["reconstruction"]
        assert group["data"].shape == (2, 12, 1)
        assert group["data"].dtype == np.float32
        assert group["order"].asstr()[()] == "xyz"
        assert group["size"][()].tolist() == [4, 3, 1]
        assert group["_mpibridge/standardDeviation"].shape == (2, 12, 1)
        assert group["_mpibridge/time"][()].tolist() == [0.5, 1.25]


def test_a_part_of_an_image_has_its_own_grid(tmp_path: Path) -> None:
    part = image().isel(x=slice(1, 3), frame=[1])
    write(tmp_path / "image.mdf", part)
    back = read(tmp_path / "image.mdf")
    xr.testing.assert_allclose(part.drop_attrs(), back.drop_attrs())
    np.testing.assert_allclose(back.mpi.grid.field_of_view, (0.02, 0.03, 0.002))


def test_a_scan_made_in_memory_gets_what_mdf_demands(tmp_path: Path) -> None:
    signal = np.arange(48, dtype=np.float32).reshape(2, 1, 2, 12)
    made = xr.Dataset({"signal": (("frame", "period", "receiver", "sample"), signal)})
    with pytest.raises(MDFError, match="bandwidth: would not be readable: is missing"):
        write(tmp_path / "scan.mdf", made)
    made.attrs["/acquisition/receiver/bandwidth"] = 1
    write(tmp_path / "scan.mdf", made)
    back = read(tmp_path / "scan.mdf")
    np.testing.assert_array_equal(back["signal"].values, signal)
    assert back.mpi.header.n_samples == 12
    assert back.attrs["/scanner/name"] == "n.a."
    assert [p.dataset for p in validate(tmp_path / "scan.mdf")] == ["/acquisition/drivefield"]


def test_frames_chosen_by_the_user(tmp_path: Path) -> None:
    Recording(shape=(6, 1, 2, 12), permuted=True, n_background=2, seed=1).save(tmp_path / "a.mdf")
    part = read(tmp_path / "a.mdf").isel(frame=[4, 0, 2])
    write(tmp_path / "b.mdf", part)
    back = read(tmp_path / "b.mdf")
    np.testing.assert_array_equal(back["signal"].values, part["signal"].values)
    np.testing.assert_array_equal(back["is_background"].values, part["is_background"].values)
    np.testing.assert_array_equal(
        np.argsort(back["acquisition_index"]), np.argsort(part["acquisition_index"])
    )


def test_transposed_dataset(scan: xr.Dataset, tmp_path: Path) -> None:
    write(tmp_path / "b.mdf", scan.transpose("sample", "receiver", "period", "frame", ...))
    np.testing.assert_array_equal(read(tmp_path / "b.mdf")["signal"].values, scan["signal"].values)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("2026-01-02T03:04:05.678901", "2026-01-02T03:04:05.678"),
        ("2026-01-02T03:04:05.678901Z", "2026-01-02T03:04:05.678"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05"),
        ("2026-01-02 03:04:05,5", "2026-01-02T03:04:05.5"),
        ("2026-01-02T01:04:05.25+02:00", "2026-01-01T23:04:05.25"),
        (datetime(2026, 1, 2, 3, 4, 5, 678901), "2026-01-02T03:04:05.678"),
        (datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=1))), "2026-01-02T02:04:00"),
    ],
)
def test_times_are_repaired(given: Any, stored: str, scan: xr.Dataset, tmp_path: Path) -> None:
    write(tmp_path / "b.mdf", scan.assign_attrs({"/acquisition/startTime": given}))
    assert read(tmp_path / "b.mdf").attrs["/acquisition/startTime"] == stored


@pytest.mark.parametrize(
    ("change", "dataset", "found"),
    [
        (lambda d: d.assign_attrs({"/time": "yesterday"}), "/time", "is no time"),
        (lambda d: d.assign_attrs({"/study/number": "one"}), "/study/number", "a number is wanted"),
        (lambda d: d.assign_attrs({"/study/name": "a\0b"}), "/study/name", "zero byte"),
        (lambda d: d.assign_attrs({"/study/name": "\ud800"}), "/study/name", "surrogates"),
        (lambda d: d.assign_attrs({"/_mine": {"a": 1}}), "/_mine", "dict"),
        (lambda d: d.assign_attrs({"/_mine": object()}), "/_mine", "object"),
        (lambda d: d.assign_attrs({"/_a": 1, "/_a/b": 2}), "/_a/b", "cannot be stored"),
        (lambda d: d.assign_attrs({"/_a@b": [object()]}), "/_a@b", "cannot be stored"),
        (lambda d: d.assign_attrs({"/acquisition/gradient": [[1, 2], [3]]}), "/acquisition/gradient", "equal length"),
        (lambda d: d.isel(receiver=[0]).assign_attrs({"/acquisition/receiver/dataConversionFactor": np.ones((2, 2))}),
         "/acquisition/receiver/dataConversionFactor", r"shape \(2, 2\)"),
        (lambda d: d.isel(period=0), None, "dimensions"),
        (lambda d: d.isel(frame=[]), None, "is empty"),
        (lambda d: d.astype(bool), None, "bool"),
        (lambda d: d.assign(spectrum=d["signal"]), None, "signal and spectrum"),
        (lambda d: d.drop_vars("signal"), None, "exactly one of"),
        (lambda d: d.assign(mine=1), None, "no place for the variable 'mine'"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_file(
    change: Callable[[xr.Dataset], xr.Dataset],
    dataset: str | None,
    found: str,
    scan: xr.Dataset,
    tmp_path: Path,
) -> None:
    with pytest.raises(MDFError, match=found) as refused:
        write(tmp_path / "b.mdf", change(scan))
    assert refused.value.dataset == dataset
    assert Path(refused.value.path) == tmp_path / "b.mdf"
    assert sorted(os.listdir(tmp_path)) == ["scan.mdf"]


@pytest.mark.parametrize(
    ("name", "found"),
    [("b.txt", "'.txt'"), ("b", "''"), ("none/b.mdf", "does not exist"), ("folder.mdf", "a folder")],
)
def test_where_no_file_can_be(name: str, found: str, scan: xr.Dataset, tmp_path: Path) -> None:
    (tmp_path / "folder.mdf").mkdir()
    with pytest.raises(MDFError, match=found):
        write(tmp_path / name, scan)


def test_write_protected_files_stay(scan: xr.Dataset, tmp_path: Path) -> None:
    target = write(tmp_path / "b.mdf", scan)
    content = target.read_bytes()
    target.chmod(0o444)
    with pytest.raises(MDFError, match="write-protected"):
        write(target, scan)
    assert target.read_bytes() == content


def test_targets_of_other_kinds(tmp_path: Path) -> None:
    assert check_target(tmp_path / "a.PNG", (".png", ".pdf")) == (tmp_path / "a.PNG").resolve()
    with pytest.raises(MDFError, match=r"pass a name that ends in one of \.png, \.pdf"):
        check_target(tmp_path / "a.mdf", (".png", ".pdf"))


class Interrupted:
    """Stands for an array whose reading fails after a while."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error, self.n_blocks = error, 0

    def __call__(self, array: FileArray, block: tuple[slice, ...]) -> np.ndarray:
        self.n_blocks += 1
        if self.n_blocks > 1:
            raise self.error("stop")
        return np.zeros(
            [len(range(*s.indices(n))) for s, n in zip(block, array.shape, strict=False)], array.dtype
        )


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError, ZeroDivisionError])
def test_all_or_nothing(
    error: type[BaseException], scan: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "b.mdf"
    write(target, scan)
    content = target.read_bytes()
    monkeypatch.setattr(writer, "BLOCK_BYTES", 64)
    monkeypatch.setattr(FileArray, "read", lambda self, block: interrupted(self, block))
    interrupted = Interrupted(error)
    with pytest.raises(MDFError if error is OSError else error):
        write(target, scan)
    assert interrupted.n_blocks == 2
    assert target.read_bytes() == content
    assert sorted(os.listdir(tmp_path)) == ["b.mdf", "scan.mdf"]


def test_a_file_saved_onto_itself(scan: xr.Dataset, tmp_path: Path) -> None:
    wanted = scan["signal"].values
    write(tmp_path / "scan.mdf", scan.assign_attrs({"/study/name": "renamed"}))
    back = read(tmp_path / "scan.mdf")
    np.testing.assert_array_equal(back["signal"].values, wanted)
    assert back.attrs["/study/name"] == "renamed"
    with pytest.raises(MDFError, match="changed since"):
        scan.load()


def test_a_link_stays_a_link_and_rights_stay(scan: xr.Dataset, tmp_path: Path) -> None:
    write(tmp_path / "b.mdf", scan)
    (tmp_path / "b.mdf").chmod(0o640)
    (tmp_path / "link.mdf").symlink_to("b.mdf")
    write(tmp_path / "link.mdf", scan)
    assert (tmp_path / "link.mdf").is_symlink()
    assert (tmp_path / "b.mdf").stat().st_mode & 0o777 == 0o640


def test_additions_of_users_and_attributes(scan: xr.Dataset, tmp_path: Path) -> None:
    mine = scan.assign_attrs(
        {
            "/_lab/table": np.arange(6).reshape(2, 3),
            "/_lab/names": ["a", "Ünïcode"],
            "/_lab/empty": "",
            "/_lab/on": True,
            "/_lab/nothing": np.zeros((0, 3)),
            "/_lab/long": np.zeros(6000),
            "/_lab/table@unit": "mm",
            "/_lab@responsible": ["me", "you"],
            "/study/name@lang": np.array([1.5, 2.5]),
            "plain": "not a header entry",
        }
    )
    write(tmp_path / "b.mdf", mine)
    attrs = read(tmp_path / "b.mdf").attrs
    for name, value in mine.attrs.items():
        if name.startswith("/"):
            np.testing.assert_array_equal(attrs[name], value, err_msg=name)
    assert "plain" not in attrs


@pytest.mark.parametrize("shape", [(7, 2, 3, 5), (1, 1, 9), (4, 100), (3,), (0, 4)])
@pytest.mark.parametrize("lead", [1, 3])
def test_blocks_cover_an_array_once(
    shape: tuple[int, ...], lead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "BLOCK_BYTES", 64)
    seen = np.zeros(shape, int)
    for block in blocks(shape, min(lead, len(shape)), 8):
        seen[block] += 1
    assert (seen == 1).all()


def test_only_a_block_is_held(scan: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Recording(kind="calibration", fourier=True, dtype="<c8", n_background=2).save(tmp_path / "a.mdf")
    sizes = []
    read_block = layout.FileArray.read

    def counted(self: FileArray, block: tuple[slice, ...]) -> np.ndarray:
        values = read_block(self, block)
        sizes.append(values.nbytes)
        return values

    monkeypatch.setattr(FileArray, "read", counted)
    monkeypatch.setattr(writer, "BLOCK_BYTES", 200)
    matrix = read(tmp_path / "a.mdf")
    write(tmp_path / "b.mdf", matrix)
    assert max(sizes) <= 200
    xr.testing.assert_identical(
        read(tmp_path / "b.mdf").drop_attrs(deep=False), matrix.drop_attrs(deep=False)
    )
