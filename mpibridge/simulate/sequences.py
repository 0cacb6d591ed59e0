"""What the fields of a scanner do during a frame: Lissajous and Cartesian sequences.

A frame is J drive-field periods of V samples. Within a period up to three orthogonal sine fields run,
B_d(t) = A_d sin(2π f_b t / divider_d + φ_d); from period to period a focus field steps.
Source: MDF `/acquisition/drivefield`; mpireco.md 1.2 and 7.2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpibridge.errors import SettingsError
from mpibridge.model import Triple


@dataclass(frozen=True, kw_only=True)
class Sequence(ABC):
    """The contract: leaves say ``amplitude``, ``dividers``, ``phase`` and ``offsets``, the rest follows.

    SettingsError if a field is outside its range.
    """

    base_frequency: float = 2.5e6  # Hz
    oversampling: int = 1  # samples per period of the base frequency

    def __post_init__(self) -> None:
        if not self.base_frequency > 0:
            raise SettingsError(f"base_frequency is {self.base_frequency} Hz; a positive one is wanted")
        if self.oversampling < 1 or self.oversampling != int(self.oversampling):
            raise SettingsError(f"oversampling is {self.oversampling}; a whole number from 1 on is wanted")
        channels = self.channels
        if any(d < 1 or d != int(d) for d in channels[1]):
            raise SettingsError(f"dividers are {channels[1]}; whole numbers from 1 on are wanted")
        if not all(a >= 0 and np.isfinite(a) for a in channels[0]):
            raise SettingsError(f"amplitudes are {channels[0]} T; they must not be negative")
        if not all(np.isfinite(p) for p in channels[2]):
            raise SettingsError(f"phases are {channels[2]} rad; finite ones are wanted")

    @property
    @abstractmethod
    def channels(self) -> tuple[tuple[float, ...], tuple[int, ...], tuple[float, ...]]:
        """Amplitude in T, divider and phase in rad of every drive-field channel; channel i drives axis i of x, y, z."""

    @property
    @abstractmethod
    def offsets(self) -> np.ndarray:
        """Focus field of every period, (J, 3) T."""

    @property
    def active_axes(self) -> tuple[int, ...]:
        """Axes with a drive field: 0, 1, 2 for x, y, z."""
        return tuple(i for i, a in enumerate(self.channels[0]) if a > 0)

    @property
    def drive_frequencies(self) -> np.ndarray:
        """Hz of the active axes."""
        return np.array([self.base_frequency / self.channels[1][i] for i in self.active_axes])

    @property
    def n_samples(self) -> int:
        """V: samples of a period, the least common multiple of the active dividers times the oversampling.

        Without any drive field a period is that of the first channel.
        """
        active = [self.channels[1][i] for i in self.active_axes or (0,)]
        return int(np.lcm.reduce(active)) * self.oversampling

    @property
    def sample_rate(self) -> float:
        """Hz."""
        return self.base_frequency * self.oversampling

    @property
    def cycle(self) -> float:
        """Seconds of one period."""
        return self.n_samples / self.sample_rate

    @property
    def n_periods(self) -> int:
        """J: periods of a frame."""
        return len(self.offsets)

    @property
    def n_bins(self) -> int:
        """K: bins of the one-sided spectrum of a period, V // 2 + 1."""
        return self.n_samples // 2 + 1

    @property
    def frequencies(self) -> np.ndarray:
        """Hz of every bin, (K,)."""
        return np.arange(self.n_bins) * (self.sample_rate / self.n_samples)

    @property
    def times(self) -> np.ndarray:
        """Seconds of every sample since the period began, (V,)."""
        return np.arange(self.n_samples) / self.sample_rate

    @property
    def drive(self) -> np.ndarray:
        """Drive field, (3, V) T."""
        return self.waveforms(self.n_samples)[0]

    @property
    def drive_rate(self) -> np.ndarray:
        """Time derivative of the drive field, (3, V) T/s."""
        return self.waveforms(self.n_samples)[1]

    def waveforms(self, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
        """Drive field in T and its derivative in T/s at ``n_samples`` equal steps of the period, both (3, n_samples)."""
        drive, rate = np.zeros((2, 3, n_samples))
        time = np.arange(n_samples) * (self.cycle / n_samples)
        for i in self.active_axes:
            amplitude, divider, phase = (values[i] for values in self.channels)
            omega = 2 * np.pi * self.base_frequency / divider
            drive[i] = amplitude * np.sin(omega * time + phase)
            rate[i] = amplitude * omega * np.cos(omega * time + phase)
        return drive, rate

    def header(self) -> dict[str, Any]:
        """What MDF says of the sequence, by MDF path; the divider and strength of idle channels are kept."""
        amplitude, dividers, phase = self.channels
        drive, receiver, n_channels = "/acquisition/drivefield", "/acquisition/receiver", len(amplitude)
        shape = (self.n_periods, n_channels, 1)
        return {
            "/acquisition/numPeriodsPerFrame": np.int64(self.n_periods),
            "/acquisition/offsetField": self.offsets[:, None],
            f"{drive}/numChannels": np.int64(n_channels),
            f"{drive}/baseFrequency": np.float64(self.base_frequency),
            f"{drive}/cycle": np.float64(self.cycle),
            f"{drive}/divider": np.array(dividers, np.int64)[:, None],
            f"{drive}/strength": np.broadcast_to(np.array(amplitude, float)[:, None], shape).copy(),
            f"{drive}/phase": np.broadcast_to(_wrapped(phase)[:, None], shape).copy(),
            f"{drive}/waveform": np.full((n_channels, 1), "sine", object),
            f"{receiver}/bandwidth": np.float64(self.sample_rate / 2),
            f"{receiver}/numSamplingPoints": np.int64(self.n_samples),
        }


@dataclass(frozen=True)
class LissajousSequence(Sequence):
    """Sine fields of different frequencies along up to three axes; one period per focus field in ``patches``.

    A one-axis sequence with ``patches`` is a raster of lines, and with a small amplitude a raster of points, as in
    narrowband imaging. The defaults are the two-dimensional Open MPI sequence: 1632 samples, 652.8 µs.
    """

    amplitude: Triple = (12e-3, 12e-3, 0.0)  # T along x, y, z
    dividers: tuple[int, ...] = (102, 96, 99)  # of the base frequency, one per channel
    phase: tuple[float, ...] = (0.0, 0.0, 0.0)  # rad, one per channel
    patches: tuple[Triple, ...] = ((0.0, 0.0, 0.0),)  # T, focus field of every period

    def __post_init__(self) -> None:
        if (
            len(self.amplitude) != 3
            or not 1 <= len(self.dividers) <= 3
            or len(self.phase) < len(self.dividers)
        ):
            raise SettingsError(
                f"amplitude {self.amplitude}, dividers {self.dividers} and phase {self.phase}: three amplitudes and "
                "as many phases as dividers, one to three, are wanted"
            )
        if any(self.amplitude[len(self.dividers) :]):
            raise SettingsError(
                f"amplitude {self.amplitude} T has no divider for every axis: {self.dividers}"
            )
        if not self.patches or any(len(patch) != 3 for patch in self.patches):
            raise SettingsError(
                f"patches are {self.patches}; at least one focus field (x, y, z) in T is wanted"
            )
        super().__post_init__()
        active = [self.dividers[i] for i in self.active_axes]
        if len(set(active)) < len(active):
            raise SettingsError(f"dividers are {self.dividers}; those of the active axes must differ")

    @property
    def channels(self) -> tuple[tuple[float, ...], tuple[int, ...], tuple[float, ...]]:
        n = len(self.dividers)
        return tuple(self.amplitude[:n]), self.dividers, self.phase[:n]

    @property
    def offsets(self) -> np.ndarray:
        return np.array(self.patches, float)


@dataclass(frozen=True)
class CartesianSequence(Sequence):
    """One fast drive axis; every line is one period, and the focus field steps from line to line.

    The focus field of the lines runs from −span/2 to span/2 along ``line_axis``, half a step inside both ends, so that
    the lines lie in the middle of equal strips. With one line it is a one-dimensional scan.
    """

    amplitude: float = 12e-3  # T
    divider: int = 102  # of the base frequency
    phase: float = 0.0  # rad
    axis: int = 0  # of the drive field: 0, 1, 2 for x, y, z
    n_lines: int = 1
    line_axis: int = 1  # of the focus field
    span: float = 24e-3  # T

    def __post_init__(self) -> None:
        if {self.axis, self.line_axis} - {0, 1, 2} or self.axis == self.line_axis:
            raise SettingsError(
                f"axis {self.axis} and line_axis {self.line_axis} must be two different ones of 0, 1, 2"
            )
        if self.n_lines < 1 or not self.span >= 0:
            raise SettingsError(
                f"n_lines is {self.n_lines}, span {self.span} T; at least one line and no negative span are wanted"
            )
        super().__post_init__()

    @property
    def channels(self) -> tuple[tuple[float, ...], tuple[int, ...], tuple[float, ...]]:
        idle = self.axis
        return (0.0,) * idle + (self.amplitude,), (self.divider,) * (idle + 1), (0.0,) * idle + (self.phase,)

    @property
    def offsets(self) -> np.ndarray:
        fields = np.zeros((self.n_lines, 3))
        fields[:, self.line_axis] = self.span * ((np.arange(self.n_lines) + 0.5) / self.n_lines - 0.5)
        return fields


def _wrapped(phase: tuple[float, ...]) -> np.ndarray:
    """Phases in [−π, π), as MDF wants them."""
    return (np.array(phase, float) + np.pi) % (2 * np.pi) - np.pi
