"""What disturbs a recording: white or coloured noise, a drifting background, spikes at the harmonics, recorded background.

Model (methods-and-physics.md E.3): u + σ(f) e + b (1 + drift), with everything but e common to all frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.simulate.scanner import Scanner

DEFINITIONS = ("power", "maximum", "amplitude")
BACKGROUND_DECAY = 184e3
"""Hz after which the amplitude of the simulated background has fallen to 1/e."""
N_SPIKES = 10
"""Harmonics of every drive frequency that show as spikes."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How a recording is disturbed. Voltages are those of one period behind the receive chain.

    snr fixes the white noise of a recorded (averaged) frame, instead of ``level``, by one of three definitions:

    * "power": 10 log₁₀ of the power of signal over noise, in dB, over the bins from ``min_frequency`` on of all
      receivers; with 0 Hz this is mean u²/σ² of the waveform
    * "maximum": largest voltage over σ
    * "amplitude": largest ratio, from ``min_frequency`` on, of the amplitude of a bin to the mean amplitude of its noise; for
      a calibration about the largest SNR that MPIFiles.jl computes

    SettingsError if a field is outside its range.
    """

    level: float = 2e-7
    """V, σ of one sample of a single period; averages make it smaller."""
    snr: float | None = None
    """Signal-to-noise ratio of a frame; None takes ``level``."""
    definition: str = "power"
    """What ``snr`` means: "power" (dB), "maximum" or "amplitude" (ratios)."""
    min_frequency: float = 0.0
    """Hz: the rows that ``snr`` counts."""
    knee: float = 0.0
    """Hz: below it the power of the noise rises as 1/f; 0: white."""
    background: float = 2e-6
    """V, root mean square of a background that all frames share, strongest at low frequencies; no part of ``snr``."""
    drift: float = 2e-7
    """V, root mean square of its change from the first frame to the last."""
    spikes: float = 0.0
    """V, amplitude of the feed-through of the drive fields; its harmonics fall as 1/order."""
    recorded: xr.Dataset | None = None
    """An empty scan of the same sequence, whose frames are added one after another."""

    def __post_init__(self) -> None:
        for name in ("level", "min_frequency", "knee", "background", "drift", "spikes"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise SettingsError(f"{name} must be a number of at least 0, found {value!r}")
            object.__setattr__(self, name, float(value))
        if self.definition not in DEFINITIONS:
            raise SettingsError(
                f"definition must be one of {', '.join(DEFINITIONS)}, found {self.definition!r}"
            )
        if self.snr is not None and not (
            np.isfinite(self.snr) and (self.definition == "power" or self.snr > 0)
        ):
            raise SettingsError(f"snr must be a number (a positive one for a ratio), found {self.snr!r}")
        if self.snr is not None:
            object.__setattr__(self, "snr", float(self.snr))

    def sigma(self, strength: Strength, scanner: Scanner, averages: int) -> float:
        """Standard deviation in V of one sample of a recorded frame, before the knee lifts low frequencies."""
        if self.snr is None:
            return self.level / np.sqrt(averages)
        if not strength.amplitude.any():
            raise SettingsError(
                f"an SNR of {self.snr:g} of a signal that is 0: is the phantom empty in the field of view?"
            )
        frequencies, n_samples = scanner.sequence.frequencies, scanner.sequence.n_samples
        colour = self.colour(frequencies) ** 2
        if self.definition == "maximum":
            weights = _weights(np.arange(len(frequencies)), n_samples)
            return strength.largest / self.snr / float(np.sqrt(colour @ weights / weights.sum()))
        counted = frequencies[strength.bins] >= self.min_frequency
        if not counted.any():
            raise SettingsError(
                f"min_frequency={self.min_frequency} Hz leaves no bin up to {frequencies[strength.bins].max():.0f} Hz"
            )
        bins = strength.bins[counted]
        weights = _weights(bins, n_samples)
        if self.definition == "amplitude":
            largest = float((strength.amplitude[counted] / np.sqrt(colour[bins])).max())
            return largest / (self.snr * np.sqrt(np.pi * n_samples / 4))
        lifted = float(np.sqrt(colour[bins] @ weights / weights.sum()))
        power = float(strength.power[counted] @ weights) / weights.sum() / n_samples
        return float(np.sqrt(power / 10 ** (self.snr / 10))) / lifted

    def colour(self, frequencies: np.ndarray) -> np.ndarray:
        """Amplitude of the noise over that of white noise, (K,): √(1 + knee/f), at 0 Hz as in the first bin."""
        floor = frequencies[1] if len(frequencies) > 1 else 1.0
        return np.sqrt(1 + self.knee / np.maximum(frequencies, floor))

    def plain(self, sigma: float) -> dict[str, Any]:
        """What is written beside the data: the definition with the number, and σ of a frame's samples in V."""
        said = {name: value for name, value in vars(self).items() if name not in ("recorded", "snr", "level")}
        said |= {"level": self.level} if self.snr is None else {"snr": self.snr}
        said["recorded"] = (
            None if self.recorded is None else str(self.recorded.attrs.get("source", "in memory"))
        )
        return said | {"sigma": sigma}


class Strength:
    """How strong clean spectra on the ``bins`` (n,) are, collected block by block.

    power: mean |û|² of every bin; amplitude: its largest |û|; largest: the largest voltage that was `seen`.
    """

    def __init__(self, bins: np.ndarray) -> None:
        self.bins, self.largest = bins, 0.0
        self.amplitude, self._sum, self._count = np.zeros(len(bins)), np.zeros(len(bins)), 0

    @property
    def power(self) -> np.ndarray:
        return self._sum / max(1, self._count)

    def add(self, spectra: np.ndarray) -> None:
        """spectra: (…, bin), unnormalised."""
        magnitude = np.abs(spectra.reshape(-1, len(self.bins)))
        self.amplitude = np.maximum(self.amplitude, magnitude.max(0, initial=0))
        self._sum += np.square(magnitude, out=magnitude).sum(0, dtype=float)
        self._count += len(magnitude)

    def seen(self, volts: np.ndarray) -> None:
        self.largest = max(self.largest, float(np.abs(volts).max(initial=0)))


class Disturbance:
    """A `Noise` of known strength, drawn frame by frame: how frames are split into calls changes nothing.

    Background and spikes are drawn once, for all frames.
    """

    def __init__(self, noise: Noise, sigma: float, scanner: Scanner, generator: np.random.Generator) -> None:
        sequence = scanner.sequence
        self.noise, self.sigma, self.generator = noise, sigma, generator
        self.n_samples = sequence.n_samples
        self.shape = (sequence.n_periods, scanner.n_receivers)
        self.frequencies = sequence.frequencies
        n_bins = len(self.frequencies)
        shapes = generator.standard_normal((2, scanner.n_receivers, n_bins, 2)) @ np.array([1, 1j])
        shapes *= np.exp(-self.frequencies / BACKGROUND_DECAY)
        constant, self.drift = shapes / _root_mean_square(shapes, self.n_samples)[..., None]
        self.constant = noise.background * constant
        self.drift = noise.drift * self.drift
        phases = np.exp(2j * np.pi * generator.random((scanner.n_receivers, N_SPIKES)))
        for frequency in sequence.drive_frequencies:
            for order in range(1, N_SPIKES + 1):
                place = round(order * frequency / self.frequencies[1])
                if place < n_bins:  # what the receive chain filters out does not feed through
                    passes = scanner.gain[:, place] != 0
                    strength = noise.spikes * self.n_samples / (2 * order)
                    self.constant[:, place] += passes * strength * phases[:, order - 1]
        self.recorded = (
            None if noise.recorded is None else _recorded(noise.recorded, self.shape, self.n_samples)
        )

    def signals(self, index: np.ndarray, ages: np.ndarray) -> np.ndarray:
        """(frame, period, receiver, sample) V of the frames ``index``, recorded at ``ages`` from 0 (first) to 1 (last)."""
        import scipy.fft

        white = self.generator.standard_normal((len(index), *self.shape, self.n_samples))
        if self.noise.knee > 0:
            white = scipy.fft.irfft(
                scipy.fft.rfft(white) * self.noise.colour(self.frequencies), self.n_samples
            )
        shapes = scipy.fft.irfft(np.stack([self.constant, self.drift]), self.n_samples)
        out = self.sigma * white + shapes[0] + shapes[1] * ages[:, None, None, None]
        if self.recorded is not None:
            out += self.recorded[index % len(self.recorded)]
        return out

    def spectra(self, index: np.ndarray, ages: np.ndarray, bins: np.ndarray) -> np.ndarray:
        """The unnormalised spectra of such signals on ``bins``, (frame, period, receiver, bin) V."""
        normal = self.generator.standard_normal((len(index), *self.shape, len(bins), 2)) @ np.array([1, 1j])
        normal = normal * np.sqrt(self.n_samples / 2)
        real = (bins == 0) | (2 * bins == self.n_samples)
        normal[..., real] = np.sqrt(2) * normal[..., real].real
        shapes = self.constant[:, bins] + self.drift[:, bins] * ages[:, None, None, None]
        out = self.sigma * self.noise.colour(self.frequencies)[bins] * normal + shapes
        if self.recorded is not None:
            out += np.fft.rfft(self.recorded[index % len(self.recorded)])[..., bins]
        return out


def _weights(bins: np.ndarray, n_samples: int) -> np.ndarray:
    """How often a bin of a one-sided spectrum counts in the power of the signal."""
    return np.where((bins == 0) | (2 * bins == n_samples), 1.0, 2.0)


def _root_mean_square(spectra: np.ndarray, n_samples: int) -> np.ndarray:
    """Of the signals whose full one-sided spectra are given, (…,)."""
    weights = _weights(np.arange(spectra.shape[-1]), n_samples)
    return np.sqrt(np.abs(spectra) ** 2 @ weights) / n_samples


def _recorded(empty: xr.Dataset, shape: tuple[int, int], n_samples: int) -> np.ndarray:
    """Frames of an empty scan, (frame, period, receiver, sample) V. ShapeError if the sequence is another."""
    from mpibridge.frames import load, recorded
    from mpibridge.preprocessing import Preprocessing

    volts = load(empty, np.arange(recorded(empty).sizes["frame"]), Preprocessing())
    if volts.shape[1:] != (*shape, n_samples):
        raise ShapeError(
            f"the recorded background has (period, receiver, sample) {volts.shape[1:]}, the scanner {(*shape, n_samples)}"
        )
    return volts
