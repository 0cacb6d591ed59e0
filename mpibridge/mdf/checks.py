"""Does the header of a file agree with its data? `check_header` refuses what cannot be read without guessing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpibridge import model
from mpibridge.errors import MDFError
from mpibridge.mdf.header import Header
from mpibridge.mdf.schema import DATA, IMAGE, SCHEMA
from mpibridge.mdf.storage import StoredArray

SUBSAMPLING = "/measurement/subsamplingIndices"


@dataclass(frozen=True)
class Frames:
    """How the stored frames are to be read.

    is_background: (stored frame,). order: 0-based acquisition number of every frame of the recording, foreground
    first if the file is a calibration. sorting: positions within the foreground that put it on the grid, x fastest.
    grid_shape: (z, y, x).
    """

    is_background: np.ndarray
    order: np.ndarray
    sorting: np.ndarray
    grid_shape: tuple[int, int, int]


def check_header(path: Path, kind: str, header: dict[str, Any], stored: dict[str, StoredArray]) -> Frames:
    """Check every count, rank, selection and permutation that reading relies on, against the stored shapes.

    Raises MDFError with the dataset, what was found and what to do.
    """
    _check_types(path, header)
    if kind == model.RECONSTRUCTION:
        return _reconstruction(path, header, stored)
    said, data = Header(header), stored[DATA]
    fourier = said.flag("isFourierTransformed")
    if len(data.shape) == 3:  # 1.0.x leaves the patch axis out
        at = 0 if said.flag("isFastFrameAxis") else 1
        data = stored[DATA] = data.with_axis(at)
    if len(data.shape) != 4:
        raise MDFError(path, data.name, f"has {len(data.shape)} axes {data.shape}", "four are wanted (frame, period, receiver, sample or frequency)")  # fmt: skip
    if fourier and data.dtype.kind != "c":
        raise MDFError(path, data.name, f"is {data.dtype}", "Fourier transformed data are complex: check /measurement/isFourierTransformed")  # fmt: skip
    if not fourier and data.dtype.kind == "c":
        raise MDFError(path, data.name, f"is {data.dtype}", "time data are real: check /measurement/isFourierTransformed")  # fmt: skip
    fast = said.flag("isFastFrameAxis")
    n_frames, n_periods, n_receivers, n_last = (data.shape[3], *data.shape[:3]) if fast else data.shape
    _count(path, header, "/acquisition/numPeriodsPerFrame", n_periods, "periods")
    _count(path, header, "/acquisition/receiver/numChannels", n_receivers, "receivers")
    if not np.isfinite(said.bandwidth) or said.bandwidth <= 0:
        raise MDFError(path, "/acquisition/receiver/bandwidth", f"is {said.bandwidth}", "a positive number of hertz is wanted")  # fmt: skip
    if said.n_samples < 1:
        raise MDFError(path, "/acquisition/receiver/numSamplingPoints", f"is {said.n_samples}", "a positive number is wanted")  # fmt: skip
    _check_samples(path, header, said, n_last)
    sparse = said.flag("isSparsityTransformed")
    if not sparse:
        _count(path, header, "/acquisition/numFrames", n_frames, "frames")
    background = np.ravel(header.get("/measurement/isBackgroundFrame", np.zeros(n_frames, np.int8)))
    if len(background) != n_frames:
        raise MDFError(path, "/measurement/isBackgroundFrame", f"has {len(background)} entries, the data {n_frames} frames", "they must agree")  # fmt: skip
    mask = background.astype(bool)
    if kind == model.MEASUREMENT:
        return Frames(mask, _permutation(path, header, n_frames), np.arange(n_frames), (1, 1, n_frames))
    return _calibration(path, header, said, stored, mask)


def _calibration(
    path: Path, header: dict[str, Any], said: Header, stored: dict[str, StoredArray], mask: np.ndarray
) -> Frames:
    n_background = int(mask.sum())
    sparse = said.flag("isSparsityTransformed")
    size = header.get("/calibration/size")
    n_foreground = len(mask) - n_background
    if size is None:
        if sparse:
            raise MDFError(path, "/calibration/size", "is missing", "a sparse system matrix cannot be read without it")
        shape = (1, 1, n_foreground)
    else:
        size = np.ravel(size)
        if len(size) != 3 or np.any(size < 1) or np.any(size > 2**31):
            raise MDFError(path, "/calibration/size", f"is {size.tolist()}", "three positive numbers are wanted")
        shape = tuple(int(n) for n in size[::-1])
        n_voxels = int(np.prod(size.astype(object)))
        if sparse:
            n_background = _check_sparse(path, said, stored, mask, n_voxels)
            n_foreground = n_voxels
        elif n_voxels != n_foreground:
            raise MDFError(path, "/calibration/size", f"is {size.tolist()} = {n_voxels} voxels, the file has {n_foreground} foreground frames", "they must agree")  # fmt: skip
    if n_foreground == 0:
        raise MDFError(path, "/measurement/isBackgroundFrame", "marks every frame as background", "a calibration needs foreground frames")  # fmt: skip
    for name in ("fieldOfView", "fieldOfViewCenter"):
        extent = header.get(f"/calibration/{name}")
        if extent is not None and (np.shape(extent) != (3,) or not np.all(np.isfinite(extent))):
            raise MDFError(path, f"/calibration/{name}", f"is {extent}", "three lengths in metres are wanted")
    if np.any(np.asarray(header.get("/calibration/fieldOfView", 0.0)) < 0):
        raise MDFError(path, "/calibration/fieldOfView", f"is {header['/calibration/fieldOfView']}", "lengths are not negative")  # fmt: skip
    if (snr := stored.get("/calibration/snr")) is not None:
        _, n_receivers, n_last = stored[DATA].shape[:3] if said.flag("isFastFrameAxis") else stored[DATA].shape[1:]
        n_bins = n_last if said.flag("isFourierTransformed") else said.n_frequencies
        if snr.shape[-2:] != (n_receivers, n_bins) or len(snr.shape) not in (2, 3) or snr.shape[0] < 1:
            raise MDFError(path, "/calibration/snr", f"has shape {snr.shape}", f"(period, {n_receivers}, {n_bins}) is wanted")  # fmt: skip
    order = _permutation(path, header, n_foreground + n_background)
    if not sparse:
        order = np.concatenate([order[~mask], order[mask]])
    sorting = np.arange(n_foreground)
    if header.get("/calibration/isMeanderingGrid", 0) and not said.flag("isFramePermutation"):
        sorting = meandering(shape)
    return Frames(mask, order, sorting, shape)


def meandering(shape: tuple[int, int, int]) -> np.ndarray:
    """Acquisition position of every voxel, x fastest, when every second line runs backwards.

    shape: (z, y, x). Source: MPIFiles.jl `meanderingFramePermutation`.
    """
    z, y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    nz, ny, nx = shape
    x = np.where((y + z) % 2 == 1, nx - 1 - x, x)
    y = np.where(z % 2 == 1, ny - 1 - y, y)
    return ((z * ny + y) * nx + x).ravel()


def _check_sparse(
    path: Path, said: Header, stored: dict[str, StoredArray], mask: np.ndarray, n_voxels: int
) -> int:
    """Number of background frames of a sparsity-transformed calibration."""
    data, indices = stored[DATA], stored.get(SUBSAMPLING)
    if not (said.flag("isFourierTransformed") and said.flag("isFastFrameAxis")):
        raise MDFError(path, "/measurement/isSparsityTransformed", "is set for data that are not Fourier transformed with the frame axis last", "MDF 2.1 wants both")  # fmt: skip
    if indices is None or indices.dtype.kind not in "iu":
        raise MDFError(path, SUBSAMPLING, "is missing or not integer", "a sparse system matrix needs it")
    n_kept = int((~mask).sum())
    if indices.shape != (*data.shape[:3], n_kept):
        raise MDFError(path, SUBSAMPLING, f"has shape {indices.shape}", f"{(*data.shape[:3], n_kept)} is wanted")
    if n_kept > n_voxels:
        raise MDFError(path, SUBSAMPLING, f"keeps {n_kept} coefficients of {n_voxels}", "check /calibration/size")
    if mask[:n_kept].any():
        raise MDFError(path, "/measurement/isBackgroundFrame", "marks frames before the coefficients", "background comes last in a sparse file")  # fmt: skip
    every = indices.read((slice(None),) * 4)
    if every.min() < 1 or every.max() > n_voxels:
        raise MDFError(path, SUBSAMPLING, f"runs from {every.min()} to {every.max()}", f"1 to {n_voxels} is allowed")
    return int(mask.sum())


def _check_samples(path: Path, header: dict[str, Any], said: Header, n_last: int) -> None:
    name = "/measurement/frequencySelection"
    if not said.flag("isFourierTransformed"):
        if n_last != said.n_samples:
            raise MDFError(path, DATA, f"has {n_last} samples per period, the header says {said.n_samples}", "check /acquisition/receiver/numSamplingPoints")  # fmt: skip
        if said.flag("isFrequencySelection"):
            raise MDFError(path, "/measurement/isFrequencySelection", "is set for time data", "it needs isFourierTransformed")  # fmt: skip
    elif said.flag("isFrequencySelection"):
        if name not in header:
            raise MDFError(path, name, "is missing", "isFrequencySelection is set")
        selection = np.ravel(header[name])
        if len(selection) != n_last:
            raise MDFError(path, name, f"has {len(selection)} entries, the data {n_last} frequencies", "they must agree")  # fmt: skip
        _check_positions(path, name, selection, said.n_frequencies)
    elif n_last != said.n_frequencies:
        raise MDFError(path, DATA, f"has {n_last} frequencies, {said.n_samples} samples give {said.n_frequencies}", "set isFrequencySelection and frequencySelection if only some are stored")  # fmt: skip


def _permutation(path: Path, header: dict[str, Any], n_frames: int) -> np.ndarray:
    """0-based acquisition number of every stored frame."""
    name = "/measurement/framePermutation"
    if not Header(header).flag("isFramePermutation"):
        return np.arange(n_frames)
    if name not in header:
        raise MDFError(path, name, "is missing", "isFramePermutation is set")
    order = np.ravel(header[name])
    if len(order) != n_frames:
        raise MDFError(path, name, f"has {len(order)} entries for {n_frames} frames", "they must agree")
    _check_positions(path, name, order, n_frames)
    return order.astype(np.int64) - 1


def _check_positions(path: Path, name: str, values: np.ndarray, limit: int) -> None:
    if values.dtype.kind not in "iu" or values.min() < 1 or values.max() > limit:
        raise MDFError(path, name, f"runs from {values.min()} to {values.max()}", f"whole numbers from 1 to {limit} are allowed")  # fmt: skip
    if len(np.unique(values)) != len(values):
        raise MDFError(path, name, "names a position twice", "every position occurs once")


def _reconstruction(path: Path, header: dict[str, Any], stored: dict[str, StoredArray]) -> Frames:
    image = stored[IMAGE]
    if len(image.shape) == 2:  # 1.0.x: one contrast
        image = stored[IMAGE] = image.with_axis(2)
    if len(image.shape) != 3:
        raise MDFError(path, IMAGE, f"has shape {image.shape}", "(frame, voxel, contrast) is wanted")
    n_frames, n_voxels, _ = image.shape
    size = np.ravel(header.get("/reconstruction/size", [n_voxels, 1, 1]))
    if len(size) != 3 or np.any(size < 1) or int(np.prod(size.astype(object))) != n_voxels:
        raise MDFError(path, "/reconstruction/size", f"is {size.tolist()}, the data have {n_voxels} voxels", "their product must agree")  # fmt: skip
    for name in ("fieldOfView", "fieldOfViewCenter"):
        extent = header.get(f"/reconstruction/{name}")
        if extent is not None and (np.shape(extent) != (3,) or not np.all(np.isfinite(extent))):
            raise MDFError(path, f"/reconstruction/{name}", f"is {extent}", "three lengths in metres are wanted")
    if np.any(np.asarray(header.get("/reconstruction/fieldOfView", 0.0)) < 0):
        raise MDFError(path, "/reconstruction/fieldOfView", "is negative", "lengths are not negative")
    nz, ny, nx = (int(n) for n in size[::-1])
    return Frames(np.zeros(n_frames, bool), np.arange(n_frames), np.arange(n_voxels), (nz, ny, nx))


def _check_types(path: Path, header: dict[str, Any]) -> None:
    """Every known dataset has the kind of value and the number of axes that the schema says."""
    for name, entry in SCHEMA.items():
        if (value := header.get(name)) is None:
            continue
        is_text = isinstance(value, str) or np.asarray(value).dtype.kind in "OUS"
        if is_text != (entry.type == "str"):
            raise MDFError(path, name, f"is {value!r}"[:200], f"{'text' if entry.type == 'str' else 'a number'} is wanted")  # fmt: skip
        rank = len(entry.letters)
        if np.ndim(value) != rank and not (rank == 0 and np.size(value) == 1):
            raise MDFError(path, name, f"has {np.ndim(value)} axes (shape {np.shape(value)})", f"{rank} are wanted ({' × '.join(entry.letters) or 'a scalar'})")  # fmt: skip
        if rank == 0 and np.ndim(value):
            header[name] = value = np.ravel(value)[0]
        if entry.type in ("int", "flag") and np.any(np.asarray(value) != np.round(np.asarray(value, float))):
            raise MDFError(path, name, f"is {value!r}"[:200], "whole numbers are wanted")
        if 0 in np.shape(value):
            raise MDFError(path, name, f"is empty (shape {np.shape(value)})", "write a value or remove the dataset")


def _count(path: Path, header: dict[str, Any], name: str, found: int, what: str) -> None:
    said = header.setdefault(name, np.int64(found))
    if int(said) != found:
        raise MDFError(path, name, f"is {int(said)}, the data have {found} {what}", "they must agree")
