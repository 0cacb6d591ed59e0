"""Files as MPIFiles.jl reads them: the same labelled datasets as the native reader, and what MPIFiles.jl computes.

Here frames, receivers and bins count from 0 and arrays have the axes of `mpibridge.model`; Julia sees neither.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from mpibridge import julia
from mpibridge.calibration import Rows
from mpibridge.errors import FileError, SettingsError
from mpibridge.mdf.legacy import repair_shapes
from mpibridge.mdf.reader import assemble
from mpibridge.mdf.schema import DATA
from mpibridge.mdf.storage import Index, positions, require_memory
from mpibridge.mdf.values import check_kinds
from mpibridge.preprocessing import Preprocessing

Stamp = tuple[int, int]
_OPEN: weakref.WeakValueDictionary[tuple[str, Stamp], JuliaFile] = weakref.WeakValueDictionary()
"""Files that are open in Julia; the arrays of a dataset share one."""


def read(path: str | Path) -> xr.Dataset:
    """Open any file that MPIFiles.jl knows (MDF, Bruker folder, IMT) as `mpibridge.mdf.reader.read` opens MDF files.

    Additions of users to the header, which MPIFiles.jl does not read, are left out.
    Raises FileError, MDFError, JuliaSetupError.
    """
    file = JuliaFile.of(path)
    header = file.header()
    check_kinds(file.path, header)
    return assemble(file.path, repair_shapes(header), dict(file.arrays))


class JuliaFile:
    """A file that is open in MPIFiles.jl, until `close` or the end of the ``with`` block.

    Options of the methods are MPIFiles' own keywords, which win over what ``preprocessing`` says.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.stamp = _stamp(self.path)
        self._handle: int = julia.call("open_file", str(self.path))
        self._close = weakref.finalize(self, julia.post, "close_file", self._handle)
        self._close.atexit = False

    @classmethod
    def of(cls, path: str | Path, stamp: Stamp | None = None) -> JuliaFile:
        """The open file of this path, opened if it is not; FileError if it is not the one of ``stamp`` any more."""
        path = Path(path).absolute()
        found = _stamp(path)
        if stamp is not None and found != stamp:
            raise FileError(f"{path} has changed since it was opened; open it again")
        file = _OPEN.get((str(path), found))
        if file is None:
            file = _OPEN[str(path), found] = cls(path)
        return file

    def __reduce__(self) -> tuple[Any, tuple[Path, Stamp]]:
        return JuliaFile.of, (self.path, self.stamp)

    def __enter__(self) -> JuliaFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file in Julia; a second time does nothing."""
        if self._close.detach():
            julia.call("close_file", self._handle)

    def header(self) -> dict[str, Any]:
        """What the file says, by MDF path; arrays have the axes of the MDF specification."""
        said = julia.loads(self._call("header"))
        return {path: _array(value) if isinstance(value, list) else value for path, value in said.items()}

    @cached_property
    def arrays(self) -> dict[str, JuliaArray]:
        """The arrays of the file by MDF path, read when they are looked at."""
        said = julia.loads(self._call("stored"))
        return {
            path: JuliaArray(self, path, tuple(reversed(entry["shape"])), np.dtype(entry["type"]))
            for path, entry in said.items()
        }

    @cached_property
    def is_fast(self) -> bool:
        """Whether the frame axis of the stored data comes last."""
        return bool(self.header().get("/measurement/isFastFrameAxis", 0))

    def spectra(self, preprocessing: Preprocessing | None = None, **options: Any) -> np.ndarray:
        """(frame, period, receiver, bin) complex64. Source: MPIFiles.jl `getMeasurementsFD`."""
        return self._call("measurement_spectra", signal_options(preprocessing) | options)

    def signals(self, preprocessing: Preprocessing | None = None, **options: Any) -> np.ndarray:
        """(frame, period, receiver, sample) float32. Source: MPIFiles.jl `getMeasurements`."""
        return self._call("time_signals", signal_options(preprocessing) | options)

    def select_rows(self, preprocessing: Preprocessing | None = None, **options: Any) -> Rows:
        """The rows of a calibration that pass the selection. Source: MPIFiles.jl `filterFrequencies`."""
        bins, receivers = self._call("filter_frequencies", filter_options(preprocessing) | options)
        return Rows(bins - 1, receivers - 1)

    def system_matrix_rows(
        self, rows: Rows, *, background: bool = False, transfer_function: bool | None = None, **options: Any
    ) -> np.ndarray:
        """(row, voxel) complex64, x fastest, periods slowest. Source: MPIFiles.jl `getSystemMatrix`."""
        chosen = {"bins": rows.bins + 1, "receivers": rows.receivers + 1}
        corrections = {"bgCorrection": background, "tfCorrection": transfer_function}
        return self._call("system_matrix_rows", chosen | corrections | options)

    def snr(self) -> np.ndarray:
        """(period, receiver, bin), computed from the frames. Source: MPIFiles.jl `calculateSystemMatrixSNR`."""
        return self._call("calculate_snr")

    def _call(self, name: str, given: Mapping[str, Any] | str | None = None) -> Any:
        """given: settings, or the text that the function wants."""
        if not self._close.alive:
            raise FileError(f"{self.path} is closed; open it again")
        arguments = () if given is None else (given if isinstance(given, str) else julia.toml(given),)
        return julia.call(name, self._handle, *arguments)

    def read_data(self, index: Index, shape: tuple[int, ...]) -> np.ndarray:
        """The part ``index`` of `/measurement/data`, axes as in the file."""
        names = ("periods", "receivers", "last", "frames") if self.is_fast else _SLOW
        lists = [positions(part, n) for part, n in zip(index, shape, strict=True)]
        if not all(len(part) for part in lists):
            return np.empty([len(part) for part in lists], self.arrays[DATA].dtype)
        return self._call("stored_data", {name: part + 1 for name, part in zip(names, lists, strict=True)})

    def read_array(self, name: str) -> np.ndarray:
        """Another array of the file, whole; it is kept."""
        if name not in self._kept:
            self._kept[name] = self._call("stored_array", name)
        return self._kept[name]

    @cached_property
    def _kept(self) -> dict[str, np.ndarray]:
        return {}


_SLOW = ("frames", "periods", "receivers", "last")


@dataclass(frozen=True)
class JuliaArray:
    """An array of a file that Julia reads on demand; a `Source` of `mpibridge.mdf.storage`. It pickles by path."""

    file: JuliaFile
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def path(self) -> str:
        return str(self.file.path)

    def read(self, index: Index) -> np.ndarray:
        """The part ``index`` (outer indexing). Raises FileError if the file has changed, MDFError if it is too large."""
        require_memory(self, index)
        if _stamp(self.file.path) != self.file.stamp:
            raise FileError(f"{self.path} has changed since it was opened; open it again")
        if self.name == DATA:
            values = self.file.read_data(index, self.shape)
        else:
            whole = self.file.read_array(self.name)
            values = whole[np.ix_(*(positions(part, n) for part, n in zip(index, self.shape, strict=True)))]
        return values.astype(self.dtype, copy=False)


def signal_options(preprocessing: Preprocessing | None) -> dict[str, Any]:
    """What `Preprocessing` says of a scan, in the keywords of MPIFiles.jl `getMeasurementsFD`; None where it is silent."""
    p = preprocessing or Preprocessing()
    if not (p.background is None or isinstance(p.background, str)):
        raise SettingsError(
            "background: MPIFiles.jl subtracts background frames of the scan itself only; "
            'pass "mean" or "interpolate"'
        )
    return frame_options(p) | {
        "bgCorrection": p.background is not None or None,
        "interpolateBG": p.background == "interpolate" or None,
    }


def frame_options(p: Preprocessing) -> dict[str, Any]:
    """The part of it that MPIReco.jl calls the same; None where `Preprocessing` asks for nothing."""
    return {
        "frames": None if p.frames is None else [frame + 1 for frame in p.frames],
        "numAverages": None if p.averages == 1 else p.averages,
        "numPeriodAverages": None if p.period_averages == 1 else p.period_averages,
        "spectralLeakageCorrection": p.spectral_leakage or None,
        "tfCorrection": p.transfer_function,
    }


def filter_options(preprocessing: Preprocessing | None) -> dict[str, Any]:
    """What `Preprocessing` says of the rows, in the keywords of MPIFiles.jl `filterFrequencies`; None where it is silent."""
    p = preprocessing or Preprocessing()
    return {
        "SNRThresh": None if p.snr_threshold is None else float(p.snr_threshold),
        "minFreq": float(p.min_frequency) or None,
        "maxFreq": None if p.max_frequency is None else float(p.max_frequency),
        "recChannels": None if p.receivers is None else [r + 1 for r in sorted(set(p.receivers))],
        "maxMixingOrder": p.mixing_order,
        "stepsize": None if p.step == 1 else p.step,
        "stopBands": [list(map(float, band)) for band in p.stop_bands] or None,
    }


def convert(source: str | Path, target: str | Path, **options: Any) -> None:
    """Write any file that MPIFiles.jl reads (Bruker folder, IMT, MDF) as MDF; all or nothing.

    options: those of MPIFiles.jl `saveasMDF`, for example ``SNRThresh=2``, ``sparsityTrafoRedFactor=0.4``.
    Raises FileError, JuliaSetupError, SettingsError for an unknown option.
    """
    source, target = Path(source).absolute(), Path(target).absolute()
    _stamp(source)
    part = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        julia.call("convert_file", str(source), str(part), julia.toml(options))
        os.replace(part, target)
    except BaseException:
        julia.later(partial(part.unlink, missing_ok=True))  # Julia may still write it
        raise


def load_image(path: str | Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """An image file: (frame, z, y, x, contrast) float32, and x, y, z in metres, time in seconds.

    Source: MPIFiles.jl `loadRecoData`.
    """
    _stamp(Path(path))
    return unpacked(julia.call("load_reconstruction", str(Path(path).absolute())))


def unpacked(result: tuple[np.ndarray, ...]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Image and axes as the Julia package returns them: millimetres become metres."""
    image, x, y, z, time = result
    return image, {"x": x / 1e3, "y": y / 1e3, "z": z / 1e3, "time": time}


def lowlevel(matrix: np.ndarray, rows: np.ndarray, **settings: Any) -> np.ndarray:
    """MPIReco.jl's solver for a given matrix: (frame, voxel).

    matrix: (row, voxel). rows: (frame, row). settings: MPIReco's own, ``reg=[{"type": "L2", "lambda": 0.01}]``,
    ``iterations``, ``solver``, ``normalizeReg``. Source: MPIReco.jl plan `LowLevel`.
    """
    S = np.ascontiguousarray(matrix, np.complex64)
    u = np.ascontiguousarray(rows, np.complex64)
    if S.ndim != 2 or u.ndim != 2 or u.shape[1] != S.shape[0]:
        raise SettingsError(f"matrix {S.shape} and rows {u.shape} do not fit: (row, voxel), (frame, row)")
    return julia.run(
        "reconstruct_lowlevel",
        S.ctypes.data,
        *S.shape,
        u.ctypes.data,
        len(u),
        julia.toml(settings),
        keep=(S, u),
    )


def _stamp(path: Path) -> Stamp:
    """Size and time of a file or folder; FileError if there is none."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise FileError(f"{path} cannot be opened ({error.strerror}); check the path") from error
    return status.st_size, status.st_mtime_ns


def _array(value: list[Any]) -> np.ndarray:
    array = np.array(value)
    return array.astype(object) if array.dtype.kind == "U" else array
