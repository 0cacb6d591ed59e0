"""The receive chain: what lies between the voltage of a coil and the stored numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpibridge.errors import FileError, MDFError, SettingsError, ShapeError

HEADROOM = 0.95
"""Share of the converter's range that the largest signal of a receiver fills."""


@dataclass(frozen=True, eq=False)
class Receiver:
    """A linear, time-invariant chain: it multiplies every bin of the spectrum. The default changes nothing.

    transfer_function: frequencies (F,) in Hz, rising, and complex values (C, F): û_ADC = a û_coil; linear in between,
    flat outside, as in MPIFiles.jl `TransferFunction`. notch: bands (low, high) in Hz, edges included, that are set to
    0. loses_fundamental: the bins of the drive frequencies are 0 in every receiver, as behind a filter against the
    feed-through. bandwidth: Hz above which nothing passes. bits: of the converter, 2 to 16; None means 16.
    SettingsError if a field is outside its range.
    """

    transfer_function: tuple[np.ndarray, np.ndarray] | None = None
    notch: tuple[tuple[float, float], ...] = ()
    loses_fundamental: bool = False
    bits: int | None = None
    bandwidth: float = np.inf

    def __post_init__(self) -> None:
        if self.transfer_function is not None:
            frequencies, values = np.asarray(self.transfer_function[0]), np.asarray(self.transfer_function[1])
            if frequencies.ndim != 1 or values.ndim != 2 or values.shape[1] != len(frequencies):
                raise SettingsError(
                    f"transfer function has frequencies {frequencies.shape} and values {values.shape}; "
                    "(F,) and (receiver, F) are wanted"
                )
            if not (np.isfinite(values).all() and (np.diff(frequencies) > 0).all()):
                raise SettingsError("a transfer function needs finite values at rising frequencies")
        if any(len(band) != 2 or not band[0] <= band[1] for band in self.notch):
            raise SettingsError(f"notch is {self.notch}; bands (low, high) in Hz are wanted")
        if self.bits is not None and self.bits not in range(2, 17):
            raise SettingsError(f"bits is {self.bits}; a whole number from 2 to 16 is wanted")
        if not self.bandwidth > 0:
            raise SettingsError(f"bandwidth is {self.bandwidth} Hz; a positive one is wanted")

    @classmethod
    def from_file(cls, path: str | Path) -> Receiver:
        """The chain of a measured transfer function in an HDF5 file as MPIFiles.jl stores it.

        Datasets: ``frequencies`` (F,) Hz, ``transferFunction`` (C, F, 2) real and imaginary part, or (C, F) complex,
        and ``inductionFactor`` (C,), with which the values are multiplied. FileError, MDFError.
        """
        import h5py

        try:
            with h5py.File(path) as file:
                found = {name: file[name][()] for name in ("frequencies", "transferFunction") if name in file}
                induction = file["inductionFactor"][()] if "inductionFactor" in file else None
        except OSError as error:
            raise FileError(f"{path}: {error}") from error
        for name in ("frequencies", "transferFunction"):
            if name not in found:
                raise MDFError(path, name, "is missing", "a transfer function of MPIFiles.jl is wanted")
        values = found["transferFunction"]
        if not np.iscomplexobj(values) and values.dtype.names is None and values.shape[-1:] == (2,):
            values = values[..., 0] + 1j * values[..., 1]
        if values.ndim != 2 or not np.iscomplexobj(values):
            raise MDFError(
                path, "transferFunction", f"is {values.dtype} {values.shape}", "(C, F, 2) is wanted"
            )
        if induction is not None:
            values = values * np.asarray(induction)[:, None]
        return cls(transfer_function=(found["frequencies"].astype(float), values))

    def gain(self, frequencies: np.ndarray, drive_frequencies: np.ndarray, n_receivers: int) -> np.ndarray:
        """Factor of every bin, (C, K) complex. frequencies: (K,) Hz, equally spaced; drive_frequencies: (D,) Hz.

        ShapeError if the transfer function has fewer receivers.
        """
        gain = self.transfer(frequencies, n_receivers)
        lost = frequencies > self.bandwidth
        for low, high in self.notch:
            lost |= (frequencies >= low) & (frequencies <= high)
        if self.loses_fundamental and len(frequencies) > 1:
            bins = np.round(np.asarray(drive_frequencies) / (frequencies[1] - frequencies[0])).astype(int)
            lost[bins[bins < len(frequencies)]] = True
        gain[:, lost] = 0
        return gain

    def transfer(self, frequencies: np.ndarray, n_receivers: int) -> np.ndarray:
        """The transfer function alone at ``frequencies``, (C, K) complex: what the header of a file states."""
        if self.transfer_function is None:
            return np.ones((n_receivers, len(frequencies)), complex)
        at, values = self.transfer_function
        if len(values) < n_receivers:
            raise ShapeError(f"a transfer function of {len(values)} receivers, the scanner has {n_receivers}")
        return np.stack([np.interp(frequencies, at, row) for row in np.asarray(values)[:n_receivers]])

    def digitize(self, volts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Stored numbers int16, and slope in V and offset in V of every receiver (C,): volts ≈ slope · number + offset.

        volts: (…, receiver, sample). The range of a receiver is set by its largest and smallest value; a receiver that
        is constant gets slope 1. Source: `/acquisition/receiver/dataConversionFactor`.
        """
        if volts.ndim < 2:
            raise ShapeError(f"volts are {volts.shape}; (…, receiver, sample) is wanted")
        others = (*range(volts.ndim - 2), volts.ndim - 1)
        low, high = volts.min(others), volts.max(others)
        half = max(1.0, np.floor(HEADROOM * (2 ** (self.bits or 16) / 2 - 1)))
        steps = 2 * half  # even, so that both ends of the range are whole numbers
        slope, offset = (high - low) / steps, (high + low) / 2
        slope = np.where(slope > 0, slope, 1.0)
        numbers = np.round((volts - offset[:, None]) / slope[:, None])
        return numbers.astype(np.int16), slope, offset
