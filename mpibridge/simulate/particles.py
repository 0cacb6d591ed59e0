"""Superparamagnetic particles in equilibrium: the Langevin model.

m = M_s π d³ / 6 is the moment of one core, ξ = m B / (k_B T) its ratio of magnetic to thermal energy, and a fluid
of n particles per cubic metre in a field B has the magnetisation M = n m L(|ξ|) B/|B| with L(ξ) = coth ξ − 1/ξ
(vector Langevin; methods-and-physics.md E.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

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
_NODES = 15
"""Of the distribution of diameters: M and its slope are exact to 1e-6 for a spread up to 0.2, to 1e-3 for 0.5."""


def langevin_ratio(xi: np.ndarray) -> np.ndarray:
    """L(ξ)/ξ for ξ ≥ 0, exact to rounding for every ξ; 1/3 at 0."""
    squared = np.minimum(xi, _SERIES_BELOW) ** 2
    series = 1 / 3 - squared * (1 / 45 - squared * (2 / 945 - squared / 4725))
    large = np.maximum(xi, _SERIES_BELOW)
    return np.where(xi < _SERIES_BELOW, series, (1 / np.tanh(large) - 1 / large) / large)


def langevin_derivative(xi: np.ndarray) -> np.ndarray:
    """L'(ξ) = 1/ξ² − 1/sinh² ξ for ξ ≥ 0 without overflow; 1/3 at 0."""
    squared = np.minimum(xi, _SERIES_BELOW) ** 2
    series = 1 / 3 - squared * (1 / 15 - squared * (2 / 189 - squared / 675))
    large = np.maximum(xi, _SERIES_BELOW)
    inverse_sinh = 2 * np.exp(-large) / -np.expm1(-2 * large)
    return np.where(xi < _SERIES_BELOW, series, (1 / large - inverse_sinh) * (1 / large + inverse_sinh))


@dataclass(frozen=True)
class Particles:
    """A tracer. SettingsError if a field is outside its range.

    diameter_spread: σ of ln d of a log-normal distribution of core diameters, counted by number of cores and with the
    median ``core_diameter``; the iron stays the same. relaxation_time: τ of Debye's model dM/dt = (M_eq − M)/τ, which
    the scanner applies to the whole signal as its low-pass 1/(1 + iωτ); the methods here are those of equilibrium.
    """

    core_diameter: float = 20e-9  # m
    saturation_magnetization: float = 474e3  # A/m, magnetite
    temperature: float = 293.0  # K
    iron: float = 100.0  # mol(Fe)/m³ = mmol/l of the sample that counts as concentration 1
    diameter_spread: float = 0.0  # 0 … 0.5
    relaxation_time: float = 0.0  # s

    def __post_init__(self) -> None:
        for name in ("core_diameter", "saturation_magnetization", "temperature", "iron"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} is {getattr(self, name)}; a positive number is wanted")
        if not 0 <= self.diameter_spread <= 0.5:
            raise SettingsError(f"diameter_spread is {self.diameter_spread}; 0 to 0.5 is wanted")
        if not 0 <= self.relaxation_time < np.inf:
            raise SettingsError(f"relaxation_time is {self.relaxation_time} s; 0 or more is wanted")

    @property
    def core_volume(self) -> float:
        """m³ of the median core."""
        return np.pi * self.core_diameter**3 / 6

    @property
    def moment(self) -> float:
        """A m² of the median core."""
        return self.saturation_magnetization * self.core_volume

    @property
    def beta(self) -> float:
        """ξ per tesla of the median core."""
        return self.moment / (BOLTZMANN * self.temperature)

    @property
    def density(self) -> float:
        """Cores per cubic metre of a sample with concentration 1."""
        mean_volume = self.core_volume * np.exp(4.5 * self.diameter_spread**2)
        iron_per_core = 3 * MAGNETITE_DENSITY * mean_volume / MAGNETITE_MOLAR_MASS * AVOGADRO
        return self.iron * AVOGADRO / iron_per_core

    @property
    def saturation(self) -> float:
        """A/m of a sample with concentration 1 in an infinite field: the same for every size of core."""
        return self.saturation_magnetization * self.iron * MAGNETITE_MOLAR_MASS / (3 * MAGNETITE_DENSITY)

    @cached_property
    def sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """ξ per tesla and share of the iron of the core sizes that stand for the distribution, both (size,).

        ln d is normal by number around ln ``core_diameter``, so by iron (d³) around ln ``core_diameter`` + 3σ² with
        the same σ; the sizes are the Gauss–Hermite nodes of the latter.
        """
        if self.diameter_spread == 0:
            return np.array([self.beta]), np.ones(1)
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        beta = self.beta * np.exp(3 * (3 * self.diameter_spread**2 + self.diameter_spread * nodes))
        return beta, weights / weights.sum()

    def magnetization(self, field: np.ndarray) -> np.ndarray:
        """M in A/m of a sample with concentration 1. field: (component, …) T."""
        strength = np.sqrt(np.sum(field**2, axis=0))
        betas, shares = self.sizes
        ratio = sum(
            share * beta * langevin_ratio(beta * strength) for beta, share in zip(betas, shares, strict=True)
        )
        return self.saturation * ratio * field

    def magnetization_rate(self, field: np.ndarray, field_rate: np.ndarray) -> np.ndarray:
        """dM/dt in A/m/s of a sample with concentration 1. field: (component, …) T; field_rate: the same, T/s.

        dM/dt = n m β [ (L/ξ)(I − bbᵀ) + L' bbᵀ ] dB/dt with b = B/|B|.
        """
        strength = np.sqrt(np.sum(field**2, axis=0))
        direction = field / np.where(strength > 0, strength, 1)
        across, along = np.zeros_like(strength), np.zeros_like(strength)
        for beta, share in zip(*self.sizes, strict=True):
            ratio = langevin_ratio(beta * strength)
            across += share * beta * ratio
            along += share * beta * (langevin_derivative(beta * strength) - ratio)
        projection = np.sum(direction * field_rate, axis=0)
        return self.saturation * (across * field_rate + along * projection * direction)
