"""Files: both readers see the same, what we write opens in MPIFiles.jl, what MPIFiles.jl writes opens here."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr

import mpibridge as mb
from mpibridge import julia, originals
from mpibridge.calibration import calculate_snr, select_rows, system_matrix_rows
from mpibridge.errors import FileError, SettingsError
from mpibridge.julia_files import JuliaFile, convert, load_image
from mpibridge.mdf.schema import SCHEMA, TIMES
from mpibridge.preprocessing import Preprocessing
from mpibridge.signals import spectra, time_signals
from tests.mdf.strategies import Recording
from tests.mdf.test_roundtrip import LAYOUT
from tests.relative import relative_error

pytestmark = pytest.mark.julia
DATA = Path(__file__).resolve().parents[1] / "data"
SAME = 1e-6
NOT_TOLD = {"/calibration/offsetFields", "/reconstruction/isOverscanRegion", "/reconstruction/positions"}
"""Optional datasets that MPIFiles.jl has no accessor for."""


def assert_same_header(found: dict[str, Any], wanted: dict[str, Any], but: set[str] = NOT_TOLD) -> None:
    names = {path for path in {*found, *wanted} if path in SCHEMA} - but
    for name in sorted(names):
        assert name in found, f"{name} is not told"
        assert name in wanted, f"{name} is invented"
        assert np.shape(found[name]) == np.shape(wanted[name]), name
        kind = (
            "datetime64[ms]" if name in TIMES else None
        )  # MPIFiles.jl knows times, not how they were written
        np.testing.assert_array_equal(np.array(found[name], kind), np.array(wanted[name], kind), err_msg=name)


def assert_same_dataset(found: xr.Dataset, wanted: xr.Dataset) -> None:
    """Values, labels, types and header; the header of ``found`` may lack what users added."""
    wanted = wanted.drop_vars([name for name in wanted.data_vars if str(name).startswith("/")])
    assert {name: v.dtype for name, v in found.variables.items()} == {
        name: v.dtype for name, v in wanted.variables.items()
    }
    xr.testing.assert_identical(found.drop_attrs(deep=False), wanted.drop_attrs(deep=False))
    assert found.attrs["kind"] == wanted.attrs["kind"]
    assert_same_header(found.attrs, wanted.attrs)


def saved(path: Path, recording: Recording) -> Path:
    """The recording as we write it."""
    foreign = path.with_name(f"foreign-{path.name}")
    recording.save(foreign)
    mb.save(path, mb.open(foreign))
    return path


def test_text_arrays_of_our_files(tmp_path):
    """Fixed and variable length, one and two axes: the first thing that breaks between two HDF5 libraries."""
    path = saved(tmp_path / "ours.mdf", Recording())
    native = mb.open(path).attrs
    with JuliaFile(path) as file:
        found = file.header()
    assert np.array_equal(found["/acquisition/drivefield/waveform"], [["sine"], ["sine"]])
    for name in ("name", "batch", "vendor", "solute"):
        assert found[f"/tracer/{name}"].tolist() == native[f"/tracer/{name}"].tolist() == ["t"]


@pytest.mark.parametrize("folder", ["single-patch", "more"])
def test_golden_files(folder, shared):
    """Version 1 apart, whose system matrix MPIFiles.jl 0.19.2 cannot read."""
    paths = [p for p in sorted((shared / "golden" / folder).glob("*.mdf")) if not p.name.startswith("v1_")]
    assert len(paths) >= 7
    for path in paths:
        assert_same_dataset(mb.open(path, engine="julia"), mb.open(path))


def test_project_files():
    for name in ("measurement", "calibration"):
        path = DATA / f"{name}.mdf"
        assert_same_dataset(mb.open(path, engine="julia"), mb.open(path))


def drawn(seed: int, kind: str) -> Recording:
    """Any recording that MPIFiles.jl reads."""
    generator = np.random.default_rng(seed)

    def coin() -> bool:
        return bool(generator.integers(2))

    fourier = kind == "calibration" or coin()
    return Recording(
        kind=kind,
        shape=tuple(int(generator.integers(low, high)) for low, high in ((4, 8), (1, 4), (1, 4), (9, 40))),
        grid=tuple(int(n) for n in generator.integers(2, 5, 3)),
        dtype="<c8" if fourier else str(generator.choice(["<i2", "<i4", "<f4"])),
        fourier=fourier,
        fast=kind == "calibration" or coin(),
        permuted=kind == "calibration" or coin(),
        selected=fourier and coin(),
        n_background=int(generator.integers(2, 4)) if kind == "calibration" else int(generator.integers(3)),
        transfer_function=coin(),
        seed=seed,
    )


@pytest.mark.parametrize("seed", range(8))
def test_random_measurements(seed, tmp_path):
    recording = drawn(seed, "measurement")
    path = saved(tmp_path / "scan.mdf", recording)
    native = mb.open(path)
    for each in (path, tmp_path / "foreign-scan.mdf"):
        assert_same_dataset(mb.open(each, engine="julia"), mb.open(each))
    settings = Preprocessing(averages=2, background="mean" if recording.n_background else None)
    with JuliaFile(path) as file:
        for preprocessing in (None, settings):
            assert relative_error(file.spectra(preprocessing), spectra(native, preprocessing)) < SAME
            assert relative_error(file.signals(preprocessing), time_signals(native, preprocessing)) < SAME


@pytest.mark.parametrize("seed", range(6))
def test_random_calibrations(seed, tmp_path):
    path = saved(tmp_path / "calibration.mdf", drawn(seed, "calibration"))
    native = mb.open(path)
    assert_same_dataset(mb.open(path, engine="julia"), native)
    chosen = Preprocessing(snr_threshold=0.3, system_matrix_background=True)
    rows = select_rows(native, chosen)
    wanted = system_matrix_rows(native, rows, chosen).values
    with JuliaFile(path) as file:
        found = file.select_rows(chosen)
        np.testing.assert_array_equal(found.bins, rows.bins)
        np.testing.assert_array_equal(found.receivers, rows.receivers)
        matrix = file.system_matrix_rows(rows, background=True)
        assert relative_error(matrix, wanted.reshape(len(wanted), -1)) < SAME
        assert relative_error(file.snr(), calculate_snr(native)) < SAME


@pytest.mark.parametrize("seed", [1, 2])
def test_random_images(seed, tmp_path):
    generator = np.random.default_rng(seed)
    scanner, grid = "openmpi-2d", mb.Grid((7, 6, 1), (21e-3, 20e-3, 1e-3), (1e-3, -2e-3, 0))
    mb.save(tmp_path / "calibration.mdf", mb.simulate.calibration(scanner, grid, generator=generator))
    scan = mb.simulate.scan(mb.simulate.phantom(grid), scanner, generator=generator, n_frames=3)
    mb.save(tmp_path / "scan.mdf", scan)
    preprocessing = mb.Preprocessing(snr_threshold=5, min_frequency=60e3, background="mean")
    for settings, bound in (({"plugin": "kaczmarz"}, 1e-5), ({"plugin": "cgnr"}, 1e-3)):
        native, ours = (
            mb.reconstruct(
                tmp_path / "scan.mdf",
                system_matrix=tmp_path / "calibration.mdf",
                preprocessing=preprocessing,
                engine=engine,
                iterations=5,
                regularization=0.01,
                **settings,
            )
            for engine in ("native", "julia")
        )
        assert relative_error(ours.concentration, native.concentration) < bound
        assert np.any(native.concentration > 0)


def test_a_scan_that_was_changed_is_reconstructed_as_changed():
    """Software that reads files is given a copy of what is in memory, not the file it once came from."""
    scan = mb.open(DATA / "measurement.mdf").load()
    louder = scan.assign(signal=scan["signal"] * 2)
    settings = {
        "system_matrix": DATA / "calibration.mdf",
        "preprocessing": mb.Preprocessing(snr_threshold=3, min_frequency=60e3),
        "iterations": 2,
        "regularization": 0.01,
    }
    native = mb.reconstruct(louder, **settings)
    assert (
        relative_error(mb.reconstruct(louder, engine="julia", **settings).concentration, native.concentration)
        < 1e-5
    )


@pytest.mark.parametrize("name", ["written_measurement", "written_calibration", "written_sparse"])
def test_files_that_mpifiles_wrote_keep_their_header_when_we_save_them(name, more, tmp_path):
    mb.save(tmp_path / "ours.mdf", mb.open(more / f"{name}.mdf"))
    unpacked = {"/measurement/isBackgroundFrame", "/measurement/framePermutation"}  # frames, not coefficients
    but = LAYOUT | NOT_TOLD | (unpacked if name == "written_sparse" else set())
    with JuliaFile(more / f"{name}.mdf") as theirs, JuliaFile(tmp_path / "ours.mdf") as ours:
        assert_same_header(ours.header(), theirs.header(), but)


@pytest.mark.parametrize("name", ["measurement", "measurement_tf", "measurement_fourier"])
def test_conversion_of_a_measurement(name, single_patch, tmp_path):
    convert(single_patch / f"{name}.mdf", tmp_path / "converted.mdf")
    before, after = mb.open(single_patch / f"{name}.mdf"), mb.open(tmp_path / "converted.mdf")
    assert relative_error(spectra(after), spectra(before)) < SAME
    np.testing.assert_array_equal(after["is_background"], before["is_background"])
    mean = Preprocessing(background="mean")
    assert relative_error(spectra(after, mean), spectra(before, mean)) < SAME
    assert list(tmp_path.iterdir()) == [tmp_path / "converted.mdf"]


@pytest.mark.parametrize("name", ["calibration", "calibration_selected"])
def test_conversion_of_a_calibration(name, single_patch, tmp_path):
    convert(single_patch / f"{name}.mdf", tmp_path / "converted.mdf")
    before, after = mb.open(single_patch / f"{name}.mdf"), mb.open(tmp_path / "converted.mdf")
    for variable in ("system_matrix", "background", "snr", "acquisition_index", "bin"):
        np.testing.assert_array_equal(after[variable], before[variable], err_msg=variable)
    for dim in "xyz":
        np.testing.assert_array_equal(after[dim], before[dim])


def test_conversion_chooses_rows(single_patch, tmp_path):
    """A bin is kept if any receiver hears it."""
    convert(single_patch / "calibration.mdf", tmp_path / "converted.mdf", SNRThresh=5.0)
    before, after = mb.open(single_patch / "calibration.mdf"), mb.open(tmp_path / "converted.mdf")
    loud = select_rows(before, Preprocessing(snr_threshold=5))
    np.testing.assert_array_equal(after["bin"], np.unique(loud.bins))
    np.testing.assert_array_equal(
        after["system_matrix"], before["system_matrix"].isel(frequency=after["bin"].values)
    )


def test_our_image_in_mpifiles(tmp_path):
    image = mb.reconstruct(
        DATA / "measurement.mdf",
        system_matrix=DATA / "calibration.mdf",
        preprocessing=mb.Preprocessing(snr_threshold=3, min_frequency=60e3),
        iterations=3,
        regularization=0.01,
    )
    mb.save(tmp_path / "image.mdf", image)
    values, axes = load_image(tmp_path / "image.mdf")
    np.testing.assert_array_equal(values[..., 0], image.concentration)
    assert values.shape[-1] == 1
    for dim in "xyz":
        np.testing.assert_allclose(axes[dim], image[dim], atol=1e-12, err_msg=dim)
    assert len(axes["time"]) == image.sizes["frame"]  # MPIFiles.jl counts averages twice: no comparison


def test_image_of_mpireco(single_patch, expected):
    values, axes = load_image(single_patch / "reconstruction_mpireco.mdf")
    assert relative_error(values, expected("image/kaczmarz_1e-2")) < SAME
    for dim in "xyz":
        np.testing.assert_allclose(1e3 * axes[dim], expected(f"axes/{dim}_mm"), atol=1e-6)


def test_eight_threads_read_lazily(single_patch):
    for name, chunks in (("measurement", {"frame": 1, "sample": 400}), ("calibration", {"frequency": 100})):
        path = single_patch / f"{name}.mdf"
        native, lazy = mb.open(path), mb.open(path, engine="julia").chunk(chunks)
        with dask.config.set(scheduler="threads", num_workers=8):
            found = lazy.compute()
        for variable in native.data_vars:
            np.testing.assert_array_equal(found[variable], native[variable], err_msg=str(variable))


def test_only_what_is_asked_for_is_read(single_patch):
    path = single_patch / "measurement.mdf"
    part = {"frame": [7, 1, 1], "receiver": 1, "sample": slice(5, 900, 7)}
    found = mb.open(path, engine="julia")["signal"].isel(part)
    np.testing.assert_array_equal(found, mb.open(path)["signal"].isel(part))
    assert mb.open(path, engine="julia")["signal"].isel(frame=[]).shape[0] == 0


def test_missing_files(tmp_path):
    path = tmp_path / "missing.mdf"
    for use in (
        lambda: mb.open(path, engine="julia"),
        lambda: JuliaFile(path),
        lambda: load_image(path),
        lambda: convert(path, tmp_path / "target.mdf"),
    ):
        with pytest.raises(FileError, match=r"missing\.mdf"):
            use()
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_none(tmp_path):
    """Here MPIFiles.jl itself has to complain."""
    (tmp_path / "text.mdf").write_text("no HDF5")
    with pytest.raises(FileError):
        JuliaFile(tmp_path / "text.mdf")
    with pytest.raises(FileError):
        convert(tmp_path / "text.mdf", tmp_path / "target.mdf")
    assert [p.name for p in tmp_path.iterdir()] == ["text.mdf"]


def test_unknown_options_are_refused(tmp_path):
    with JuliaFile(DATA / "measurement.mdf") as file:
        for ask in (file.spectra, file.signals):
            with pytest.raises(SettingsError, match="numAverage "):
                ask(numAverage=3)
    with JuliaFile(DATA / "calibration.mdf") as file, pytest.raises(SettingsError, match="SNRthresh"):
        file.select_rows(SNRthresh=3.0)
    with pytest.raises(SettingsError, match="SNRthresh"):
        convert(DATA / "calibration.mdf", tmp_path / "target.mdf", SNRthresh=3.0)


def descriptors(path: Path) -> int:
    """How often this process holds the file open."""
    files = []
    for number in os.listdir("/proc/self/fd"):
        try:
            files.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return files.count(str(path.resolve()))


USES = {
    "ask": lambda path, folder: JuliaFile(path).__enter__().close(),
    "open": lambda path, folder: mb.open(path, engine="julia").load() is None,
    "reconstruct": lambda path, folder: (
        mb.reconstruct(path, system_matrix=DATA / "calibration.mdf", engine="julia", iterations=1) is None
    ),
    "convert": lambda path, folder: convert(path, folder / "converted.mdf"),
}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists open files there")
@pytest.mark.parametrize("use", USES)
def test_nothing_stays_open(use, tmp_path):
    path = Path(shutil.copy(DATA / "measurement.mdf", tmp_path / "scan.mdf"))
    USES[use](path, tmp_path)
    gc.collect()
    julia.call("versions")  # files are closed in the queue
    assert descriptors(path) == 0


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists open files there")
def test_loaded_images_do_not_stay_open(single_patch, tmp_path):
    path = Path(shutil.copy(single_patch / "reconstruction_mpireco.mdf", tmp_path / "image.mdf"))
    load_image(path)
    assert descriptors(path) == 0


def test_closed_files_say_so():
    with JuliaFile(DATA / "measurement.mdf") as file:
        assert file.header()["/acquisition/receiver/unit"] == "V"
    with pytest.raises(FileError, match="is closed"):
        file.header()


def test_two_files_at_once():
    """Handles are not mixed up, whichever is closed first."""
    scan, calibration = JuliaFile(DATA / "measurement.mdf"), JuliaFile(DATA / "calibration.mdf")
    scan.close()
    again = JuliaFile(DATA / "measurement.mdf")
    assert "/calibration/size" in calibration.header()
    calibration.close()
    assert "/calibration/size" not in again.header()
    again.close()


def test_what_julia_opened_is_its_own_file(single_patch, tmp_path):
    """MPIReco.jl gets the file itself, not a copy, whoever read it."""
    path = single_patch / "measurement.mdf"
    scan = mb.open(path, engine="julia")
    assert originals.as_file(tmp_path, scan) == path
    assert originals.as_file(tmp_path, scan.isel(frame=slice(2))).parent == tmp_path


def test_a_closed_file_is_closed(single_patch):
    with JuliaFile(single_patch / "calibration.mdf") as first:
        pass
    with JuliaFile(single_patch / "calibration_selected.mdf"):
        for ask in (lambda: first.read_array("/calibration/snr"), first.header):
            with pytest.raises(mb.FileError, match="is closed; open it again"):
                ask()
