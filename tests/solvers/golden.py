"""Rows and data of the golden files, in plain NumPy: no part of mpibridge is used to make them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest

_PROJECT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("MPIBRIDGE_SHARED", _PROJECT.parent / "shared"))
N_SAMPLES = 1632  # per period of the single-patch scanner


def path(*parts: str) -> Path:
    """A golden file; skips the test where there is none."""
    file = SHARED.joinpath("golden", *parts)
    if not file.exists():
        pytest.skip(f"{file} is missing: set MPIBRIDGE_SHARED to the folder that holds golden/")
    return file


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """Relative L2 distance of a to b, shapes flattened."""
    return float(np.linalg.norm(np.ravel(a) - np.ravel(b)) / np.linalg.norm(np.ravel(b)))


@dataclass(frozen=True)
class SinglePatch:
    """matrix (row, voxel) and data (frame, row) complex64 of the base settings; grid (y, x); channel (row,)."""

    matrix: np.ndarray
    data: np.ndarray
    grid: tuple[int, int]
    channel: np.ndarray
    background: np.ndarray

    def image(self, name: str) -> np.ndarray:
        """What MPIReco.jl computed, (frame, voxel)."""
        with h5py.File(path("single-patch", "expected.h5")) as file:
            image = file[f"image/{name}"][..., 0]
        return image.reshape(len(image), -1)

    def parameter(self, name: str) -> float:
        """A number that MPIReco.jl's run used."""
        with h5py.File(path("single-patch", "expected.h5")) as file:
            return float(file[f"parameters/{name}"][()])


@cache
def single_patch() -> SinglePatch:
    """Base settings: SNR ≥ 5, f ≥ 80 kHz, system matrix and measurement background corrected."""
    with h5py.File(path("single-patch", "calibration.mdf")) as file:
        nx, ny, nz = file["calibration/size"][...]
        n_voxels = nx * ny * nz
        spectra = file["measurement/data"][0]  # (channel, k, frame)
        snr = file["calibration/snr"][0]
        position = file["measurement/framePermutation"][...] - 1
        spacing = 2 * file["acquisition/receiver/bandwidth"][()] / N_SAMPLES
    frequency = np.arange(spectra.shape[1]) * spacing
    channel, k = np.nonzero((snr >= 5) & (frequency >= frequency[np.searchsorted(frequency, 80e3)]))
    empty = spectra[..., n_voxels:]
    place = position[:n_voxels] / (len(position) - 1) * (empty.shape[-1] - 1)
    left = np.minimum(place.astype(int), empty.shape[-1] - 2)
    share = place - left
    matrix = spectra[..., :n_voxels] - (empty[..., left] * (1 - share) + empty[..., left + 1] * share)
    with h5py.File(path("single-patch", "measurement.mdf")) as file:
        slope, offset = file["acquisition/receiver/dataConversionFactor"][...].T[:, None, :, None]
        signal = file["measurement/data"][:, 0].astype(np.float32) * slope + offset
        is_empty = file["measurement/isBackgroundFrame"][...].astype(bool)
    rows = np.fft.rfft(signal[~is_empty] - signal[is_empty].mean(0))[:, channel, k]
    return SinglePatch(
        matrix[channel, k].astype(np.complex64),
        rows.astype(np.complex64),
        (int(ny), int(nx)),
        channel,
        empty[channel, k],
    )
