"""Every departure from MDF 2.1 is found and told truly; sound files have none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpibridge.errors import MDFError
from mpibridge.mdf.validate import CLOSED, Problem, validate
from tests.mdf.strategies import DRIVE, RECEIVE, Recording
from tests.mdf.test_bad_files import put, remove

SCAN = Recording(permuted=True, n_background=1, dtype="<i2")
SPECTRA = Recording(fourier=True, dtype="<c8", selected=True, transfer_function=True)
MATRIX = Recording(kind="calibration", fourier=True, fast=True, dtype="<c8", n_background=1, permuted=True)
SPARSE = Recording(kind="calibration", fourier=True, fast=True, dtype="<c8", sparse="DCT-IV", n_background=1)
IMAGE = Recording(kind="reconstruction")


@pytest.mark.parametrize("recording", [SCAN, SPECTRA, MATRIX, SPARSE, IMAGE], ids=lambda r: r.kind)
def test_sound_files(recording: Recording, tmp_path: Path) -> None:
    recording.save(tmp_path / "a.mdf")
    assert validate(tmp_path / "a.mdf") == []


def chunked(name: str) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        values = file[name][()]
        del file[name]
        file.create_dataset(name, data=values, chunks=True)

    return edit


@pytest.mark.parametrize(
    ("recording", "edit", "dataset", "text"),
    [
        (SCAN, remove("/scanner"), "/scanner", "is missing; the group is mandatory"),
        (SCAN, remove("/study/name"), "/study/name", "is missing; str is mandatory"),
        (SCAN, remove(f"/{DRIVE}/phase"), f"/{DRIVE}/phase", "is missing; float64 of J × D × F is mandatory"),
        (SCAN, remove("/measurement/framePermutation"), "/measurement/framePermutation", "isFramePermutation is set"),
        (SPECTRA, remove("/measurement/frequencySelection"), "/measurement/frequencySelection", "is set"),
        (SPARSE, remove("/measurement/subsamplingIndices"), "/measurement/subsamplingIndices", "is set"),
        (SCAN, remove("/version"), "/version", "is missing"),
        (SCAN, put("/version", "2.0.1"), "/version", "2.1.0 is current"),
        (SCAN, put("/version", "4.0"), "/version", "no such version"),
        # types
        (SCAN, put("/study/number", np.int32(1)), "/study/number", "is int32; int64 is wanted"),
        (SCAN, put("/study/number", "one"), "/study/number", "is str; int64 is wanted"),
        (SCAN, put("/study/name", 5), "/study/name", "is int64; str is wanted"),
        (SCAN, put(f"/{RECEIVE}/bandwidth", np.float32(1)), f"/{RECEIVE}/bandwidth", "is float32"),
        (SCAN, put("/measurement/isFastFrameAxis", np.uint8(0)), "/measurement/isFastFrameAxis", "is uint8"),
        (SCAN, put("/measurement/data", np.zeros((4, 1, 2, 12), "u2")), "/measurement/data", "is uint16"),
        (SPECTRA, put("/measurement/data", np.zeros((4, 1, 2, 3), [("re", "f4"), ("im", "f4")])), "/measurement/data",
         "compound of re and im"),
        # shapes
        (SCAN, put("/acquisition/numFrames", np.array([4])), "/acquisition/numFrames", CLOSED),
        (SCAN, put("/tracer/name", "t"), "/tracer/name", r"has shape \(\); A \(A = 1\) is wanted"),
        (SCAN, put("/acquisition/gradient", np.zeros((1, 3))), "/acquisition/gradient", "J × Y × 3 × 3"),
        (SCAN, put("/acquisition/offsetField", np.zeros((1, 3))), "/acquisition/offsetField", CLOSED),
        (SCAN, put(f"/{DRIVE}/strength", np.zeros((1, 3, 1))), f"/{DRIVE}/strength", r"\(J = 1, D = 2, F = 1\)"),
        (SCAN, put("/measurement/data", np.zeros((5, 1, 2, 12))), "/measurement/data", "N = 4"),
        (SCAN, put("/measurement/data", np.zeros((1, 2, 12, 4))), "/measurement/data", "N × J × C × V"),
        (MATRIX, put("/calibration/size", [3, 3, 1]), "/calibration/size", "6 foreground frames"),
        (IMAGE, put("/reconstruction/size", [3, 3, 1]), "/reconstruction/size", "6 voxels"),
        (SPARSE, put("/acquisition/numFrames", np.int64(4)), "/acquisition/numFrames", "are 7"),
        (SPECTRA, put(f"/{RECEIVE}/transferFunction", np.zeros((2, 7), complex)), f"/{RECEIVE}/transferFunction", "K = 3"),
        # values
        (SCAN, put("/measurement/isBackgroundCorrected", np.int8(3)), "/measurement/isBackgroundCorrected", "0 or 1"),
        (SCAN, put("/time", "2026-01-02T03:04:05.678901"), "/time", CLOSED),
        (SCAN, put("/time", "2026-01-02T03:04:05Z"), "/time", CLOSED),
        (SCAN, put("/uuid", "1234"), "/uuid", "8-4-4-4-12"),
        (SCAN, put("/measurement/framePermutation", [1, 2, 3, 9]), "/measurement/framePermutation", "1 to 9"),
        (SPECTRA, put("/measurement/frequencySelection", [1, 2, 2]), "/measurement/frequencySelection", "twice"),
        (SPARSE, put("/measurement/sparsityTransformation", "FFT"), "/measurement/sparsityTransformation", "DCT-I"),
        # names
        (SCAN, put("/study/cost", 5.0), "/study/cost", "underscore"),
        (SCAN, put("/custom/auxiliaryData/x", 5.0), "/custom", "is not part of MDF"),
        # what MPIFiles.jl cannot open
        (SCAN, chunked("/measurement/data"), "/measurement/data", CLOSED),
        (SPECTRA, chunked(f"/{RECEIVE}/transferFunction"), f"/{RECEIVE}/transferFunction", CLOSED),
        # links
        (SCAN, put("/study/_link", h5py.SoftLink("/nowhere")), "/study/_link", "leads nowhere"),
        (SCAN, put("/study/_link", h5py.ExternalLink("a", "b")), "/study/_link", "another file"),
        (SCAN, put("/study/_link", h5py.SoftLink("/")), "/study/_link", "contains it"),
        # what only the reader notices
        (MATRIX, put("/calibration/fieldOfView", [np.nan, 1, 1]), "/calibration/fieldOfView", "nan"),
    ],
)  # fmt: skip
def test_one_departure_is_one_problem(
    recording: Recording, edit: Callable[[h5py.File], None], dataset: str, text: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.mdf"
    recording.save(path)
    with h5py.File(path, "a") as file:
        edit(file)
    problems = validate(path)
    assert [problem.dataset for problem in problems] == [dataset]
    assert re.search(text, str(problems[0])), str(problems[0])


def test_name_of_the_file(tmp_path: Path) -> None:
    SCAN.save(tmp_path / "a.dat")
    (problem,) = validate(tmp_path / "a.dat")
    assert problem.dataset == "file"
    assert CLOSED in problem.expected


def test_version_1_is_not_drowned(tmp_path: Path) -> None:
    Recording(version="1.0.5").save(tmp_path / "a.mdf")
    assert [str(problem) for problem in validate(tmp_path / "a.mdf")] == [
        "/version is '1.0.5'; 2.1.0 is current: mpibridge.save writes the file anew"
    ]


def test_genuine_files(shared: Path) -> None:
    """Each line was checked by hand against the specification."""
    head = shared / "data/real/head-scanner"
    assert validate(head / "no_measurement_group.mdf") == []
    assert [p.dataset for p in validate(head / "robot_calibration_v2.0.mdf")] == [
        "/version",
        "/acquisition/numPeriods",
        "/measurement/isTransposed",
        *(f"/tracer/{name}" for name in ("batch", "concentration", "name", "solute", "vendor", "volume")),
        "/acquisition/gradient",
        "/acquisition/offsetField",
        "/acquisition/drivefield/waveform",
    ]
    assert "/matrix" in [p.dataset for p in validate(head / "phantom.h5")]
    for path in (shared / "golden/single-patch").glob("*.mdf"):
        wanted = ["/version"] if "mpireco" in path.name else []
        assert [p.dataset for p in validate(path)] == wanted, path
    assert [str(p) for p in validate(shared / "golden/more/written_sparse.mdf")] == [
        "/version is '2.0.1'; 2.1.0 is current: mpibridge.save writes the file anew",
        "/measurement/isSparsityTransformed is uint8; int8 is wanted",
        "/acquisition/numFrames is 43; foreground and background frames are 103",
    ]


def test_not_hdf5(tmp_path: Path) -> None:
    (tmp_path / "a.mdf").write_bytes(b"no HDF5")
    with pytest.raises(MDFError, match="cannot be read as HDF5"):
        validate(tmp_path / "a.mdf")


def test_a_problem_reads_as_a_line() -> None:
    assert str(Problem("/time", "is missing", "str is mandatory")) == "/time is missing; str is mandatory"
