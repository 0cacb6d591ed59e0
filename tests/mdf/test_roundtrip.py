"""Nothing is lost: whatever is read, written and read again is the same data under the same header."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from xarray.core.utils import equivalent

from mpibridge.mdf.reader import read
from mpibridge.mdf.validate import validate
from mpibridge.mdf.writer import write
from tests.mdf.strategies import Recording, recordings

LAYOUT = {
    "/version",
    "source",
    "/acquisition/numFrames",  # MPIFiles.jl counts the coefficients of a sparse file
    "/measurement/isFastFrameAxis",
    "/measurement/isFourierTransformed",
    "/measurement/isFramePermutation",
    "/measurement/isSparsityTransformed",
    "/measurement/sparsityTransformation",
}
"""What the canonical layout changes."""


def assert_nothing_lost(before: xr.Dataset, after: xr.Dataset) -> None:
    xr.testing.assert_identical(before.drop_attrs(deep=False), after.drop_attrs(deep=False))
    assert {name: v.dtype for name, v in before.variables.items()} == {
        n: v.dtype for n, v in after.variables.items()
    }
    # The factors of time data are used up when a calibration is transformed.
    used_up = before.attrs["kind"] == "calibration" and not before.attrs["/measurement/isFourierTransformed"]
    layout = LAYOUT | ({"/acquisition/receiver/dataConversionFactor"} if used_up else set())
    for name, value in before.attrs.items():
        assert name in layout or (name in after.attrs and equivalent(value, after.attrs[name])), name


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recordings())
def test_any_file_is_read_right_and_survives(recording: Recording) -> None:
    with TemporaryDirectory() as folder:
        first, second = Path(folder, "first.mdf"), Path(folder, "second.mdf")
        wanted = recording.save(first)
        before = read(first)
        assert set(before.data_vars) == set(wanted)
        for name, values in wanted.items():
            assert before[name].shape == values.shape
            assert before[name].dtype == values.dtype
            tolerance = 1e-5 if name in ("system_matrix", "background") else 0
            scale = np.abs(values).max(initial=0)
            np.testing.assert_allclose(before[name].values, values, rtol=0, atol=tolerance * scale)
        write(second, before)
        assert_nothing_lost(before, read(second))
        assert validate(second) == [] or recording.old
        loose = recording.chunked or recording.compound != "ri" or recording.version != "2.1.0"
        assert loose or validate(first) == []


@pytest.mark.parametrize("folder", ["golden/single-patch", "golden/more", "data/real/head-scanner"])
def test_genuine_files_survive(folder: str, shared: Path, tmp_path: Path) -> None:
    for path in sorted((shared / folder).glob("*.mdf")):
        if path.name == "no_measurement_group.mdf":
            continue
        before = read(path)
        write(tmp_path / path.name, before)
        assert_nothing_lost(before, read(tmp_path / path.name))
        assert validate(tmp_path / path.name) == []


def test_second_saving_changes_nothing(tmp_path: Path) -> None:
    Recording(kind="calibration", fourier=True, dtype="<c8", n_background=2, private=True).save(
        tmp_path / "a.mdf"
    )
    write(tmp_path / "b.mdf", read(tmp_path / "a.mdf"))
    write(tmp_path / "c.mdf", read(tmp_path / "b.mdf"))
    b, c = read(tmp_path / "b.mdf"), read(tmp_path / "c.mdf")
    xr.testing.assert_identical(b.assign_attrs(source=""), c.assign_attrs(source=""))
