"""Every kind of bad input is refused with an MDFError that names the file, the dataset, and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpibridge.errors import MDFError
from mpibridge.mdf.reader import read
from mpibridge.mdf.storage import StoredArray
from tests.mdf.strategies import Recording

SCAN = Recording(permuted=True, n_background=1)
SPECTRA = Recording(fourier=True, dtype="<c8", selected=True)
MATRIX = Recording(kind="calibration", fourier=True, fast=True, dtype="<c8", n_background=1, permuted=True)
SPARSE = Recording(kind="calibration", fourier=True, fast=True, dtype="<c8", sparse="DCT-IV")
IMAGE = Recording(kind="reconstruction")
RECEIVER = "/acquisition/receiver"


def assert_refused(path: Path, dataset: str | None, found: str) -> None:
    """`read` refuses the file, says so of ``dataset``, with ``found`` in the text and advice after it."""
    with pytest.raises(MDFError, match=found) as refused:
        read(path).load()
    error = refused.value
    assert Path(error.path) == path
    assert error.dataset == dataset
    assert error.todo
    assert str(path) in str(error)


def put(name: str, value: object) -> Callable[[h5py.File], None]:
    """An edit that replaces a dataset."""

    def edit(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file[name] = value

    return edit


def remove(name: str) -> Callable[[h5py.File], None]:
    return lambda file: file.__delitem__(name)


def resized(name: str, shape: tuple[int, ...], dtype: str = "f4") -> Callable[[h5py.File], None]:
    return put(name, np.zeros(shape, dtype))


@pytest.mark.parametrize(
    ("recording", "edit", "dataset", "found"),
    [
        (SCAN, remove("/version"), "/version", "is missing"),
        (SCAN, put("/version", "3.0.0"), "/version", "'3.0.0'"),
        (SCAN, put("/version", [1, 2]), "/version", "1 2"),
        (SCAN, remove("/measurement"), "/measurement", "is missing"),
        (SCAN, remove(f"{RECEIVER}/bandwidth"), f"{RECEIVER}/bandwidth", "is missing"),
        (SCAN, put(f"{RECEIVER}/bandwidth", 0.0), f"{RECEIVER}/bandwidth", "0.0"),
        (SCAN, put(f"{RECEIVER}/bandwidth", np.inf), f"{RECEIVER}/bandwidth", "inf"),
        (SCAN, put(f"{RECEIVER}/bandwidth", np.nan), f"{RECEIVER}/bandwidth", "nan"),
        (SCAN, put("/acquisition/drivefield/cycle", -1.0), "/acquisition/drivefield/cycle", "-1.0"),
        # ranks and counts
        (SCAN, resized("/measurement/data", (4, 12)), "/measurement/data", "2 axes"),
        (SCAN, resized("/measurement/data", (4, 1, 2, 12, 1)), "/measurement/data", "5 axes"),
        (SCAN, resized("/measurement/data", (0, 1, 2, 12)), "/measurement/data", "is empty"),
        (SCAN, resized("/measurement/data", (4, 2, 2, 12)), "/acquisition/numPeriodsPerFrame", "2 periods"),
        (SCAN, resized("/measurement/data", (4, 1, 3, 12)), f"{RECEIVER}/numChannels", "3 receivers"),
        (SCAN, resized("/measurement/data", (4, 1, 2, 13)), "/measurement/data", "13 samples"),
        (SCAN, put("/acquisition/numFrames", np.int64(7)), "/acquisition/numFrames", "is 7, the data have 4"),
        (SCAN, put("/acquisition/drivefield/strength", np.zeros((1, 2, 1, 1))), "/acquisition/drivefield/strength", "4 axes"),
        (SCAN, put("/acquisition/gradient", np.zeros((1, 1, 3, 2))), "/acquisition/gradient", "shape"),
        (SCAN, put(f"{RECEIVER}/dataConversionFactor", np.zeros((3, 2))), f"{RECEIVER}/dataConversionFactor", r"\(3, 2\)"),
        (SCAN, put("/measurement/isBackgroundFrame", np.zeros(3, "i1")), "/measurement/isBackgroundFrame", "3 entries"),
        (IMAGE, resized("/reconstruction/data", (4,)), "/reconstruction/data", "shape"),
        (IMAGE, put("/reconstruction/size", [2, 2, 2]), "/reconstruction/size", "6 voxels"),
        (IMAGE, put("/reconstruction/fieldOfView", [-1.0, 1, 1]), "/reconstruction/fieldOfView", "-1"),
        (MATRIX, put("/calibration/size", [2, 2, 1]), "/calibration/size", "4 voxels"),
        (MATRIX, put("/calibration/size", [-3, -2, 1]), "/calibration/size", "-3"),
        (MATRIX, put("/calibration/size", [2**40, 2**40, 2**40]), "/calibration/size", "1099511627776"),
        (MATRIX, put("/calibration/fieldOfView", [np.nan, 1, 1]), "/calibration/fieldOfView", "nan"),
        (MATRIX, put("/calibration/snr", np.ones((1, 2, 5))), "/calibration/snr", "shape"),
        (MATRIX, put("/measurement/isBackgroundFrame", np.ones(7, "i1")), "/calibration/size", "0 foreground"),
        (SPARSE, remove("/measurement/subsamplingIndices"), "/measurement/subsamplingIndices", "missing"),
        (SPARSE, put("/measurement/subsamplingIndices", np.full((1, 2, 7, 3), 9)), "/measurement/subsamplingIndices", "9"),
        (SPARSE, put("/measurement/sparsityTransformation", "wavelet"), "/measurement/sparsityTransformation", "wavelet"),
        (SPARSE, remove("/calibration/size"), "/calibration/size", "missing"),
        # selections and permutations
        (SPECTRA, put("/measurement/frequencySelection", [0, 1, 2]), "/measurement/frequencySelection", "from 0"),
        (SPECTRA, put("/measurement/frequencySelection", [1, 2, 8]), "/measurement/frequencySelection", "to 8"),
        (SPECTRA, put("/measurement/frequencySelection", [1, 2, 2]), "/measurement/frequencySelection", "twice"),
        (SPECTRA, put("/measurement/frequencySelection", [1, 2]), "/measurement/frequencySelection", "2 entries"),
        (SPECTRA, remove("/measurement/frequencySelection"), "/measurement/frequencySelection", "missing"),
        (SPECTRA, put("/measurement/isFrequencySelection", np.int8(0)), "/measurement/data", "3 frequencies"),
        (SCAN, put("/measurement/framePermutation", [1, 2, 3, 5]), "/measurement/framePermutation", "to 5"),
        (SCAN, put("/measurement/framePermutation", [1, 2, 3, 3]), "/measurement/framePermutation", "twice"),
        (SCAN, put("/measurement/framePermutation", [1, 2, 3]), "/measurement/framePermutation", "3 entries"),
        (SCAN, put("/measurement/framePermutation", [1.5, 2, 3, 4]), "/measurement/framePermutation", "1.5"),
        (SCAN, remove("/measurement/framePermutation"), "/measurement/framePermutation", "missing"),
        # types
        (SCAN, put("/measurement/isFourierTransformed", np.int8(1)), "/measurement/data", "float32"),
        (SPECTRA, put("/measurement/isFourierTransformed", np.int8(0)), "/measurement/data", "complex64"),
        (SCAN, put("/measurement/data", "text"), "/measurement/data", "element type"),
        (SCAN, put("/acquisition/numFrames", "four"), "/acquisition/numFrames", "four"),
        (SCAN, put("/acquisition/numFrames", np.float64("inf")), "/acquisition/numFrames", "inf"),
        (SCAN, put("/acquisition/numFrames", 4.5), "/acquisition/numFrames", "4.5"),
        (SCAN, put("/acquisition/numFrames", np.uint64(2**64 - 1)), "/acquisition/numFrames", "18446744073709551615"),
        (SCAN, put("/acquisition/numAverages", 1e300), "/acquisition/numAverages", "1e"),
        (SCAN, put("/acquisition/drivefield/cycle", 1 + 1j), "/acquisition/drivefield/cycle", "1j"),
        (SCAN, put("/study/name", 5), "/study/name", "5"),
        (SCAN, put("/study/name", h5py.Empty("f8")), "/study/name", "null dataspace"),
        (SCAN, put("/acquisition/drivefield/phase", np.zeros((0, 2, 1))), "/acquisition/drivefield/phase", "empty"),
        (SCAN, put(f"{RECEIVER}/numSamplingPoints", np.int64(2**60)), f"{RECEIVER}/numSamplingPoints", "1152921504606846976"),
    ],
)  # fmt: skip
def test_contradictions(
    recording: Recording, edit: Callable[[h5py.File], None], dataset: str, found: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.mdf"
    recording.save(path)
    with h5py.File(path, "a") as file:
        edit(file)
    assert_refused(path, dataset, found)


def test_no_file(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.mdf", None, "no such file")


def test_folder(tmp_path: Path) -> None:
    assert_refused(tmp_path, None, "not a file")


@pytest.mark.parametrize("content", [b"", b"JCAMP-DX", bytes(5000)])
def test_not_hdf5(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.mdf").write_bytes(content)
    assert_refused(tmp_path / "bad.mdf", None, "cannot be read as HDF5")


def test_truncated(tmp_path: Path) -> None:
    path = tmp_path / "bad.mdf"
    SCAN.save(path)
    path.write_bytes(path.read_bytes()[:-50])
    assert_refused(path, None, "truncated")


def test_data_beyond_the_end(tmp_path: Path) -> None:
    """libhdf5 2.0 notices that when the dataset is opened, older ones leave it to the reader."""
    path = tmp_path / "bad.mdf"
    SCAN.save(path)
    with h5py.File(path) as file:
        offset = file["measurement/data"].id.get_offset().to_bytes(8, "little")
    content = path.read_bytes()
    assert content.count(offset) == 1
    path.write_bytes(content.replace(offset, (len(content) - 8).to_bytes(8, "little")))
    assert_refused(path, "/measurement/data", "needs 384 bytes|invalid dataset size")


def test_never_written(tmp_path: Path) -> None:
    path = tmp_path / "bad.mdf"
    SCAN.save(path)
    with h5py.File(path, "a") as file:
        del file["measurement/data"]
        file.create_dataset("measurement/data", (4, 1, 2, 12), "f4")
    assert_refused(path, "/measurement/data", "never written")


def test_absurd_sizes_are_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "bad.mdf"
    for shape, name, found in (
        ((2**40, 1, 2, 12), "/measurement/data", "claims 1099511627776 frames"),
        ((4, 1, 2**45, 12), "/acquisition/receiver/numChannels", "35184372088832 receivers"),
    ):
        SCAN.save(path)
        with h5py.File(path, "a") as file:
            del file["measurement/data"]
            file.create_dataset("measurement/data", shape, "f4", chunks=(1, 1, 1, 12))[0, 0, 0] = 1
        assert_refused(path, name, found)


def test_more_than_the_memory_of_the_machine(tmp_path: Path) -> None:
    """A sound header over an array that was hardly written: it opens, parts can be read, the whole cannot."""
    path = tmp_path / "vast.mdf"
    Recording(shape=(4, 1, 1, 2**20)).save(path)
    with h5py.File(path, "a") as file:
        del file["measurement/data"], file["measurement/isBackgroundFrame"], file["acquisition/numFrames"]
        file.create_dataset("measurement/data", (2**24, 1, 1, 2**20), "f4", chunks=(1, 1, 1, 2**16))[0] = 1
    scan = read(path)
    assert scan["signal"][0, 0, 0, :3].values.tolist() == [1, 1, 1]
    assert_refused(path, "/measurement/data", "GiB")


def test_external_link(tmp_path: Path) -> None:
    path = tmp_path / "bad.mdf"
    SCAN.save(path)
    shutil.copy(path, tmp_path / "other.mdf")
    with h5py.File(path, "a") as file:
        del file["measurement/data"]
        file["measurement/data"] = h5py.ExternalLink("other.mdf", "/measurement/data")
    assert_refused(path, "/measurement/data", "link into another file")


def test_external_storage(tmp_path: Path) -> None:
    path = tmp_path / "bad.mdf"
    SCAN.save(path)
    (tmp_path / "raw").write_bytes(bytes(4 * 24 * 4))
    with h5py.File(path, "a") as file:
        del file["measurement/data"]
        external = [(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("measurement/data", (4, 1, 2, 12), "f4", external=external)
    assert_refused(path, "/measurement/data", "stored in another file")


def test_virtual_dataset(tmp_path: Path) -> None:
    path = tmp_path / "bad.mdf"
    SCAN.save(path)
    layout = h5py.VirtualLayout((4, 1, 2, 12), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "d", (4, 1, 2, 12))
    with h5py.File(path, "a") as file:
        del file["measurement/data"]
        file.create_virtual_dataset("measurement/data", layout)
    assert_refused(path, "/measurement/data", "virtual")


@pytest.mark.parametrize("link", ["hard", "soft"])
def test_a_group_inside_itself(link: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.mdf"
    SCAN.save(path)
    with h5py.File(path, "a") as file:
        file["measurement/_again"] = file["/"] if link == "hard" else h5py.SoftLink("/")
    assert_refused(path, "/measurement/_again", "group that contains it")


def test_link_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bad.mdf"
    SCAN.save(path)
    with h5py.File(path, "a") as file:
        file["study/_notes"] = h5py.SoftLink("/nowhere")
    assert_refused(path, "/study/_notes", "leads nowhere")


def test_endless_text_heap(tmp_path: Path) -> None:
    """libhdf5 hangs on a text heap whose first object takes no room."""
    path = tmp_path / "bad.mdf"
    SCAN.save(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"GCOL") + 16
    content[at : at + 16] = bytes(16)
    path.write_bytes(content)
    assert_refused(path, None, "damaged text heap")


def test_file_replaced_after_opening(tmp_path: Path) -> None:
    path = tmp_path / "scan.mdf"
    SCAN.save(path)
    scan = read(path)
    Recording(shape=(4, 1, 2, 14)).save(path)
    with pytest.raises(MDFError, match="changed since it was opened"):
        scan.load()
    path.unlink()
    with pytest.raises(MDFError, match="is gone"):
        scan.load()


def test_errors_travel_between_processes(tmp_path: Path) -> None:
    import pickle

    error = MDFError(tmp_path, "/version", "is missing", "add it")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    array = StoredArray(str(tmp_path / "gone"), "/x", (1,), np.dtype("f4"), 0, (1, 1))
    with pytest.raises(MDFError, match="gone"):
        array.read((slice(None),))
