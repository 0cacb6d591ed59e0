"""Older and loosely written files in the words of MDF 2.1: names, shapes and flags of 1.0.x and 2.0.x.

Source: MDF 1.0.5, 2.0.0, 2.0.1; MPIFiles.jl MDFFileV1 and what its v2 reader repairs (scalars for vectors,
transposed dividers, gradients as three numbers).
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

Header = dict[str, Any]
DRIVE, RECEIVE = "/acquisition/drivefield", "/acquisition/receiver"

RENAMED_IN_V2 = {
    "/acquisition/numPeriods": "/acquisition/numPeriodsPerFrame",
    "/measurement/isTransposed": "/measurement/isFastFrameAxis",
    "/measurement/isFramePermution": "/measurement/isFramePermutation",
}
"""Names of 2.0.x that differ from 2.1 (``isFramePermution`` is a misprint of two printed specifications)."""

RENAMED_IN_V1 = {
    "/date": "/time",
    "/study/simulation": "/experiment/isSimulation",
    "/study/description": "/experiment/description",
    "/study/subject": "/experiment/subject",
    "/tracer/time": "/tracer/injectionTime",
    "/scanner/model": "/scanner/name",
    "/acquisition/time": "/acquisition/startTime",
    f"{DRIVE}/period": f"{DRIVE}/cycle",
    f"{DRIVE}/averages": "/acquisition/numAverages",
    "/measurement/dataTD": "/measurement/data",
    "/measurement/dataFD": "/measurement/data",
    "/calibration/dataFD": "/measurement/data",
    "/calibration/dataTD": "/measurement/data",
    "/calibration/snrFD": "/calibration/snr",
}
DROPPED_FROM_V1 = (
    "/acquisition/framePeriod",
    "/acquisition/numPatches",
    f"{DRIVE}/repetitionTime",
    f"{DRIVE}/fieldOfView",
    f"{DRIVE}/fieldOfViewCenter",
    f"{RECEIVE}/frequencies",
    "/study/reference",
)
"""Fields of 1.0.x without a 2.1 counterpart; they are kept under ``/_mdf1``."""


def rename(header: Header, version: str) -> Header:
    """The header of a file of any ``version`` under 2.1 names; what 2.1 does not know stands under ``/_mdf1``."""
    if not version.startswith("1"):
        return {RENAMED_IN_V2.get(path, path): value for path, value in header.items()}
    return {
        f"/_mdf1{path}" if path in DROPPED_FROM_V1 else RENAMED_IN_V1.get(path, path): value
        for path, value in header.items()
    }


def complete_v1(header: Header, data_name: str) -> Header:
    """A renamed 1.0.x header with what its version implies; ``data_name`` is the dataset that holds the samples."""
    out = dict(header)
    number = str(out.pop("/study/experiment", "0"))
    out["/experiment/number"] = np.int64(number if re.fullmatch(r"-?[0-9]{1,18}", number) else 0)
    out.setdefault("/experiment/name", number)
    out.setdefault("/tracer/solute", "Fe")
    out.setdefault(f"{RECEIVE}/unit", "a.u.")
    out["/acquisition/numPeriodsPerFrame"] = np.int64(1)
    if f"{DRIVE}/strength" in out:
        strength = np.atleast_2d(np.asarray(out[f"{DRIVE}/strength"], float))[:, :, None]
        out[f"{DRIVE}/strength"] = strength
        out[f"{DRIVE}/phase"] = np.full(strength.shape, np.pi / 2)
    out[f"{DRIVE}/waveform"] = "sine"
    fourier, calibration = data_name.endswith("FD"), data_name.startswith("/calibration")
    for flag, on in (
        ("isFourierTransformed", fourier),
        ("isFastFrameAxis", calibration),
        ("isBackgroundCorrected", calibration),
    ):
        out[f"/measurement/{flag}"] = np.int8(on)
    if calibration:  # MPIFiles: the number of frames of a 1.0.x calibration is its number of positions
        out.pop("/acquisition/numFrames", None)
    return out


def repair_shapes(header: Header) -> Header:
    """Scalars and vectors where 2.1 wants arrays of a given rank; what cannot be repaired stays as it is."""
    out = dict(header)

    def change(path: str, repair: Any) -> None:
        if path in out:
            out[path] = repair(out[path])

    n_drive = int(np.ravel(out.get(f"{DRIVE}/numChannels", 0))[0])
    for path in ("batch", "concentration", "injectionTime", "name", "solute", "vendor", "volume"):
        change(f"/tracer/{path}", lambda v: np.array([v], object) if isinstance(v, str) else np.atleast_1d(v))
    change(f"{DRIVE}/divider", lambda v: _divider(v, n_drive))
    frequencies = np.shape(out.get(f"{DRIVE}/divider", [[0]]))
    change(f"{DRIVE}/waveform", lambda v: _waveform(v, frequencies))
    for path in ("strength", "phase"):
        change(f"{DRIVE}/{path}", _drive_amplitudes)
    change("/acquisition/gradient", _gradient)
    change("/acquisition/offsetField", _offset)
    n_receivers = int(np.ravel(out.get(f"{RECEIVE}/numChannels", 0))[0])
    change(f"{RECEIVE}/inductionFactor", np.atleast_1d)
    change(
        f"{RECEIVE}/dataConversionFactor",
        lambda v: np.reshape(v, (1, 2)) if np.shape(v) == (2,) and n_receivers == 1 else v,
    )
    return out


def _divider(v: Any, n_drive: int) -> Any:
    v = np.asarray(v)
    if v.ndim < 2 or (v.shape[0] == 1 and v.shape[1] == n_drive != 1):  # Bruker conversions store (1, D)
        return v.reshape(-1, 1)
    return v


def _waveform(v: Any, shape: tuple[int, ...]) -> Any:
    v = np.asarray(v, object)
    if v.size == 1:
        return np.full(shape, v.ravel()[0], object)
    return v.reshape(shape) if v.size == np.prod(shape) else v


def _drive_amplitudes(v: Any) -> Any:
    v = np.asarray(v, float)
    return v.reshape(1, -1, 1) if v.ndim < 2 else v[:, :, None] if v.ndim == 2 else v


def _gradient(v: Any) -> Any:
    v = np.asarray(v, float)
    if v.shape == (3, 3):
        return v[None, None]
    if v.ndim <= 2 and v.shape[-1:] == (3,):
        return np.stack([np.diag(row) for row in np.atleast_2d(v)])[:, None]
    return v[:, None] if v.ndim == 3 else v


def _offset(v: Any) -> Any:
    v = np.asarray(v, float)
    return v.reshape(-1, 1, 3) if v.ndim <= 2 and v.shape[-1:] == (3,) else v
