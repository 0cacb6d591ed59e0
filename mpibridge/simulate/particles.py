"""Superparamagnetic particles in equilibrium: the Langevin model.

m = M_s π d³ / 6 is the moment of one core, ξ = m B / (k_B T) its ratio of magnetic to thermal energy, and a fluid
of n particles per cubic metre in a field B has the magnetisation M = n m L(|ξ|) B/|B| with L(ξ) = coth ξ − 1/ξ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpibridge.errors import SettingsError

BOLTZMANN = 1.380649e-23
"""J/K."""
AVOGADRO = 6.02214076e23
"""1/mol."""
MAGNETITE_DENSITY = 5180.0
"""kg/m³."""
MAGNETITE_MOLAR_MASS = 0.23153
"""kg/mol of Fe3O4, which holds three iron atoms."""
_SERIES_BELOW = 0.1
"""Under this ξ the closed forms lose digits and four terms of the series are exact to 1e-12."""


def langevin_ratio(xi: np.ndarray) -> np.ndarray:
    """L(ξ)/ξ for ξ ≥ 0, exact to rounding for every ξ; 1/3 at 0."""
    squared = np.minimum(xi, _SERIES_BELOW) ** 2
    series = 1 / 3 - squared * (1 / 45 - squared * (2 / 945 - squared / 4725))
    large = np.maximum(xi, _SERIES_BELOW)
    return np.where(xi < _SERIES_BELOW, series, (1 / np.tanh(large) - 1 / large) / large)


def langevin_derivative(xi: np.ndarray) -> np.ndarray:
    """L'(ξ) = 1/ξ² − 1/sinh² ξ = 1 − L² − 2 L/ξ for ξ ≥ 0 without overflow; 1/3 at 0."""
    squared = np.minimum(xi, _SERIES_BELOW) ** 2
    series = 1 / 3 - squared * (1 / 15 - squared * (2 / 189 - squared / 675))
    large = np.maximum(xi, _SERIES_BELOW)
    ratio = langevin_ratio(large)
    return np.where(xi < _SERIES_BELOW, series, 1 - (ratio * large) ** 2 - 2 * ratio)


@dataclass(frozen=True)
class Particles:
    """A tracer. SettingsError if a field is not positive."""

    core_diameter: float = 20e-9  # m
    saturation_magnetization: float = 474e3  # A/m, magnetite
    temperature: float = 293.0  # K
    iron: float = 100.0  # mol(Fe)/m³ = mmol/l of the sample that counts as concentration 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise SettingsError(f"{name} is {value}; a positive number is wanted")

    @property
    def core_volume(self) -> float:
        """m³."""
        return np.pi * self.core_diameter**3 / 6

    @property
    def moment(self) -> float:
        """A m² of one core."""
        return self.saturation_magnetization * self.core_volume

    @property
    def beta(self) -> float:
        """ξ per tesla."""
        return self.moment / (BOLTZMANN * self.temperature)

    @property
    def density(self) -> float:
        """Cores per cubic metre of a sample with concentration 1."""
        iron_per_core = 3 * MAGNETITE_DENSITY * self.core_volume / MAGNETITE_MOLAR_MASS * AVOGADRO
        return self.iron * AVOGADRO / iron_per_core

    def magnetization(self, field: np.ndarray) -> np.ndarray:
        """M in A/m of a sample with concentration 1. field: (component, …) T."""
        xi = self.beta * np.sqrt(np.sum(field**2, axis=0))
        return self.density * self.moment * self.beta * langevin_ratio(xi) * field

    def magnetization_rate(self, field: np.ndarray, field_rate: np.ndarray) -> np.ndarray:
        """dM/dt in A/m/s of a sample with concentration 1. field: (component, …) T; field_rate: the same, T/s.

        dM/dt = n m β [ (L/ξ)(I − bbᵀ) + L' bbᵀ ] dB/dt with b = B/|B|.
        """
        strength_squared = np.sum(field**2, axis=0)
        xi = self.beta * np.sqrt(strength_squared)
        across = langevin_ratio(xi)
        # (L' − L/ξ)/|B|² tends to −2β²/45 where the field vanishes; B (B·dB/dt) is 0 there, so any finite value will do.
        along = (langevin_derivative(xi) - across) / np.where(strength_squared > 0, strength_squared, 1)
        projection = np.sum(field * field_rate, axis=0)
        return self.density * self.moment * self.beta * (across * field_rate + along * projection * field)
