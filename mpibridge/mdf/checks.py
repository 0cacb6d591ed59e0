"""Does the header of a file agree with its data? `check_layout` refuses what cannot be read without guessing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpibridge import model
from mpibridge.errors import MDFError
from mpibridge.mdf.header import Header
from mpibridge.mdf.schema import DATA, IMAGE, SNR, SUBSAMPLING
from mpibridge.mdf.storage import StoredArray
from mpibridge.mdf.values import LONGEST, check_positions, check_ranks
from mpibridge.transforms import NAMES as TRANSFORMS


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


def check_layout(path: Path, kind: str, header: dict[str, Any], stored: dict[str, StoredArray]) -> Frames:
    """Check every count, rank, selection and permutation that reading relies on, against the stored shapes.

    Raises MDFError with the dataset, what was found and what to do.
    """
    check_ranks(path, header)
    if kind == model.RECONSTRUCTION:
        return _reconstruction(path, header, stored)
    said = Header(header)
    data = stored[DATA] = _samples(path, said, stored[DATA])
    fast = said.flag("isFastFrameAxis")
    n_frames, n_periods, n_receivers, n_last = (data.shape[3], *data.shape[:3]) if fast else data.shape
    _count(path, header, "/acquisition/numPeriodsPerFrame", n_periods, "periods")
    _count(path, header, "/acquisition/receiver/numChannels", n_receivers, "receivers")
    factors = said.conversion_factors
    if factors is not None and len(factors) != n_receivers:
        found = f"has shape {factors.shape}"
        raise MDFError(
            path, "/acquisition/receiver/dataConversionFactor", found, f"({n_receivers}, 2) is wanted"
        )
    for name in ("/acquisition/receiver/bandwidth", "/acquisition/receiver/numSamplingPoints"):
        said[name]  # raises the error that names what is missing
    _check_samples(path, header, said, n_last)
    if n_frames > LONGEST:
        raise MDFError(path, data.name, f"claims {n_frames} frames", "the file is damaged")
    if not said.flag("isSparsityTransformed"):
        _count(path, header, "/acquisition/numFrames", n_frames, "frames")
    background = header.get("/measurement/isBackgroundFrame", np.zeros(n_frames, np.int8))
    if len(background) != n_frames:
        found = f"has {len(background)} entries, the data {n_frames} frames"
        raise MDFError(path, "/measurement/isBackgroundFrame", found, "they must agree")
    mask = background.astype(bool)
    if kind == model.MEASUREMENT:
        return Frames(mask, _permutation(path, header, n_frames), np.arange(n_frames), (1, 1, n_frames))
    return _calibration(path, header, said, stored, mask)


def _samples(path: Path, said: Header, data: StoredArray) -> StoredArray:
    """The stored samples with four axes."""
    if len(data.shape) == 3:  # 1.0.x leaves the patch axis out
        data = data.with_axis(0 if said.flag("isFastFrameAxis") else 1)
    if len(data.shape) != 4:
        found = f"has {len(data.shape)} axes {data.shape}"
        raise MDFError(
            path, data.name, found, "four are wanted (frame, period, receiver, sample or frequency)"
        )
    fourier = said.flag("isFourierTransformed")
    if fourier != (data.dtype.kind == "c"):
        rule = "Fourier transformed data are complex" if fourier else "time data are real"
        raise MDFError(
            path, data.name, f"is {data.dtype}", f"{rule}: check /measurement/isFourierTransformed"
        )
    return data


def _calibration(
    path: Path, header: dict[str, Any], said: Header, stored: dict[str, StoredArray], mask: np.ndarray
) -> Frames:
    n_background = int(mask.sum())
    n_foreground = len(mask) - n_background
    sparse = said.flag("isSparsityTransformed")
    size = header.get("/calibration/size")
    shape = (1, 1, n_foreground)
    if size is not None:
        shape = _grid_shape(path, "/calibration/size", size)
        n_voxels = int(np.prod(shape))
        if sparse:
            _check_sparse(path, said, stored, mask, n_voxels)
            n_foreground = n_voxels
        elif n_voxels != n_foreground:
            found = f"is {size.tolist()} = {n_voxels} voxels, the file has {n_foreground} foreground frames"
            raise MDFError(path, "/calibration/size", found, "they must agree")
    elif sparse:
        raise MDFError(
            path, "/calibration/size", "is missing", "a sparse system matrix cannot be read without it"
        )
    if n_foreground == 0:
        found = "marks every frame as background"
        raise MDFError(path, "/measurement/isBackgroundFrame", found, "a calibration needs foreground frames")
    _check_extent(path, header, "/calibration")
    if (snr := stored.get(SNR)) is not None:
        stored[SNR] = _snr(path, said, stored[DATA].shape, snr)
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
    _, ny, nx = shape
    x = np.where((y + z) % 2 == 1, nx - 1 - x, x)
    y = np.where(z % 2 == 1, ny - 1 - y, y)
    return ((z * ny + y) * nx + x).ravel()


def _snr(path: Path, said: Header, data: tuple[int, ...], snr: StoredArray) -> StoredArray:
    """The stored SNR with three axes (period, receiver, frequency) that agree with the ``data`` shape."""
    n_periods, n_receivers, n_last = data[:3] if said.flag("isFastFrameAxis") else data[1:]
    wanted = (n_periods, n_receivers, n_last if said.flag("isFourierTransformed") else said.n_frequencies)
    if len(snr.shape) == 2:  # (C, K) in 1.0.x
        snr = snr.with_axis(0)
    if snr.shape != wanted or snr.dtype.kind == "c":
        raise MDFError(
            path, SNR, f"has shape {snr.shape} of {snr.dtype}", f"real numbers {wanted} are wanted"
        )
    return snr


def _check_sparse(
    path: Path, said: Header, stored: dict[str, StoredArray], mask: np.ndarray, n_voxels: int
) -> None:
    data, indices = stored[DATA], stored.get(SUBSAMPLING)
    if not (said.flag("isFourierTransformed") and said.flag("isFastFrameAxis")):
        found = "is set for data that are not Fourier transformed with the frame axis last"
        raise MDFError(path, "/measurement/isSparsityTransformed", found, "MDF 2.1 wants both")
    name = "/measurement/sparsityTransformation"
    if (transform := said[name]) not in TRANSFORMS:
        raise MDFError(path, name, f"is {transform!r}", f"known are {', '.join(TRANSFORMS)}")
    if indices is None or indices.dtype.kind not in "iu":
        raise MDFError(path, SUBSAMPLING, "is missing or not integer", "a sparse system matrix needs it")
    n_kept = int((~mask).sum())
    if indices.shape != (*data.shape[:3], n_kept):
        raise MDFError(
            path, SUBSAMPLING, f"has shape {indices.shape}", f"{(*data.shape[:3], n_kept)} is wanted"
        )
    if n_kept > n_voxels:
        raise MDFError(
            path, SUBSAMPLING, f"keeps {n_kept} coefficients of {n_voxels}", "check /calibration/size"
        )
    if mask[:n_kept].any():
        found = "marks frames before the coefficients"
        raise MDFError(
            path, "/measurement/isBackgroundFrame", found, "background comes last in a sparse file"
        )


def _check_samples(path: Path, header: dict[str, Any], said: Header, n_last: int) -> None:
    name = "/measurement/frequencySelection"
    if not said.flag("isFourierTransformed"):
        if n_last != said.n_samples:
            found = f"has {n_last} samples per period, the header says {said.n_samples}"
            raise MDFError(path, DATA, found, "check /acquisition/receiver/numSamplingPoints")
        if said.flag("isFrequencySelection"):
            found = "is set for time data"
            raise MDFError(path, "/measurement/isFrequencySelection", found, "it needs isFourierTransformed")
    elif said.flag("isFrequencySelection"):
        if name not in header:
            raise MDFError(path, name, "is missing", "isFrequencySelection is set")
        selection = header[name]
        if len(selection) != n_last:
            found = f"has {len(selection)} entries, the data {n_last} frequencies"
            raise MDFError(path, name, found, "they must agree")
        check_positions(path, name, selection, said.n_frequencies)
    elif n_last != said.n_frequencies:
        found = f"has {n_last} frequencies, {said.n_samples} samples give {said.n_frequencies}"
        raise MDFError(
            path, DATA, found, "set isFrequencySelection and frequencySelection if only some are stored"
        )


def _permutation(path: Path, header: dict[str, Any], n_frames: int) -> np.ndarray:
    """0-based acquisition number of every stored frame."""
    name = "/measurement/framePermutation"
    if not Header(header).flag("isFramePermutation"):
        return np.arange(n_frames)
    if name not in header:
        raise MDFError(path, name, "is missing", "isFramePermutation is set")
    order = header[name]
    if len(order) != n_frames:
        raise MDFError(path, name, f"has {len(order)} entries for {n_frames} frames", "they must agree")
    check_positions(path, name, order, n_frames)
    return order.astype(np.int64) - 1


def _reconstruction(path: Path, header: dict[str, Any], stored: dict[str, StoredArray]) -> Frames:
    image = stored[IMAGE]
    if len(image.shape) == 2:  # 1.0.x: one contrast
        image = stored[IMAGE] = image.with_axis(2)
    if len(image.shape) != 3:
        raise MDFError(path, IMAGE, f"has shape {image.shape}", "(frame, voxel, contrast) is wanted")
    n_frames, n_voxels, _ = image.shape
    if max(n_frames, n_voxels) > LONGEST:
        raise MDFError(path, IMAGE, f"claims {n_frames} frames of {n_voxels} voxels", "the file is damaged")
    size = header.get("/reconstruction/size", np.array([n_voxels, 1, 1]))
    shape = _grid_shape(path, "/reconstruction/size", size)
    if np.prod(shape) != n_voxels:
        found = f"is {size.tolist()}, the data have {n_voxels} voxels"
        raise MDFError(path, "/reconstruction/size", found, "their product must agree")
    _check_extent(path, header, "/reconstruction")
    return Frames(np.zeros(n_frames, bool), np.arange(n_frames), np.arange(n_voxels), shape)


def _grid_shape(path: Path, name: str, size: np.ndarray) -> tuple[int, int, int]:
    """(z, y, x) of a stored size (x, y, z)."""
    if np.any(size < 1) or np.prod(size.astype(object)) > LONGEST:
        raise MDFError(
            path, name, f"is {size.tolist()}", f"three positive numbers are wanted, at most {LONGEST} voxels"
        )
    nx, ny, nz = (int(n) for n in size)
    return nz, ny, nx


def _check_extent(path: Path, header: dict[str, Any], group: str) -> None:
    for name in (f"{group}/fieldOfView", f"{group}/fieldOfViewCenter"):
        if (extent := header.get(name)) is None:
            continue
        if not np.all(np.abs(extent) < 1e6) or (name.endswith("View") and np.any(extent < 0)):
            raise MDFError(
                path, name, f"is {extent}", "three lengths in metres are wanted, an extent not negative"
            )


def _count(path: Path, header: dict[str, Any], name: str, found: int, what: str) -> None:
    said = header.setdefault(name, np.int64(found))
    if int(said) != found:
        raise MDFError(path, name, f"is {int(said)}, the data have {found} {what}", "they must agree")
