"""A two-dimensional field-free-point scanner whose point runs along a Lissajous curve."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import gcd

import numpy as np

from mpibridge.errors import SettingsError
from mpibridge.simulate.particles import Particles


@dataclass(frozen=True)
class LissajousScanner:
    """Two sine drive fields, a static gradient and two ideal receivers along x and y; the tracer included.

    The defaults are those of the preclinical scanner of the Open MPI data: 1632 samples, 652.8 µs a period.
    SettingsError if a field is outside its range.
    """

    amplitude: tuple[float, float] = (12e-3, 12e-3)  # T, along x and y
    gradient: tuple[float, float, float] = (-1.0, -1.0, 2.0)  # T/m, not 0 along x and y
    dividers: tuple[int, int] = (102, 96)  # of the base frequency, different from each other
    base_frequency: float = 2.5e6  # Hz, also the sampling rate
    sensitivity: float = 50e-6  # T/A, field of a receive coil per ampere, the same everywhere
    particles: Particles = field(default_factory=Particles)

    def __post_init__(self) -> None:
        if self.dividers[0] == self.dividers[1] or min(self.dividers) < 4:
            raise SettingsError(f"dividers are {self.dividers}; two different ones from 4 on are wanted")
        if min(self.amplitude) < 0 or self.base_frequency <= 0:
            raise SettingsError(
                f"amplitude {self.amplitude} T must not be negative, base frequency {self.base_frequency} Hz not 0"
            )
        if 0 in self.gradient[:2]:
            raise SettingsError(f"gradient is {self.gradient} T/m; x and y must not be 0")

    @property
    def n_samples(self) -> int:
        """V: samples of one drive-field period, the least common multiple of the dividers."""
        first, second = self.dividers
        return first * second // gcd(first, second)

    @property
    def cycle(self) -> float:
        """Seconds of one period."""
        return self.n_samples / self.base_frequency

    @cached_property
    def drive(self) -> tuple[np.ndarray, np.ndarray]:
        """Drive field A sin(2π f t) in T and its rate in T/s, both (2, V)."""
        amplitude = np.asarray(self.amplitude)[:, None]
        omega = 2 * np.pi * self.base_frequency / np.asarray(self.dividers, float)[:, None]
        phase = omega * np.arange(self.n_samples) / self.base_frequency
        return amplitude * np.sin(phase), amplitude * omega * np.cos(phase)

    def voltage(self, points: np.ndarray, amounts: np.ndarray) -> np.ndarray:
        """Noise-free receive signals of groups of point samples, (group, 2, V) V.

        u(t) = −p Σ c dM/dt ΔV. points: (group, point, 2) m in the plane of the drive fields. amounts: (group, point)
        concentration times volume, m³.
        """
        drive, rate = self.drive
        selection = np.asarray(self.gradient[:2]) * points
        signals = np.zeros((len(points), 2, self.n_samples))
        for signal, offset, weights in zip(signals, selection, amounts, strict=True):
            total = offset.T[:, :, None] + drive[:, None]
            change = self.particles.magnetization_rate(total, np.broadcast_to(rate[:, None], total.shape))
            signal[:] = -self.sensitivity * np.einsum("p,cpv->cv", weights, change)
        return signals
