"""Narrowband imaging: single harmonics of a one-axis drive field on a raster of field-free points.

With B_x(t) = b + A cos ωt the magnetisation is Σ c_k cos kωt, and integration by parts turns its coefficient into

    c_k = 2/T ∫ L_x cos kωt dt = 2A/(πk) ∫ ∂L_x/∂B_x(b + A y) U_{k−1}(y) √(1 − y²) dy,

which Gauss–Chebyshev quadrature of the second kind gives to rounding (methods-and-physics.md E.6).
"""

from __future__ import annotations

import numpy as np

from mpibridge.errors import SettingsError
from mpibridge.model import Grid
from mpibridge.simulate.particles import Particles
from mpibridge.simulate.response import delta_samples
from mpibridge.simulate.scanner import Scanner

_STEP = 1e-12
"""T: static fields that differ by less are the same one."""


def psf(
    positions: np.ndarray,
    gradient: float,
    amplitude: float,
    harmonic: int,
    particles: Particles | None = None,
) -> np.ndarray:
    """Point spread function of a harmonic along the drive field: c_k at positions relative to the field-free point.

    positions: m, any shape. gradient: T/m along the drive field; amplitude: T. Returns numbers of the same shape, the
    Fourier coefficient of M / M_saturation. Even harmonics are odd in the position, odd ones even. In space:
    `harmonic_coefficients`.
    """
    along = gradient * np.asarray(positions, float)
    return harmonic_coefficients(along[None], amplitude, harmonic, particles or Particles())[0]


def harmonic_coefficients(
    fields: np.ndarray, amplitude: float, harmonic: int, particles: Particles, *, axis: int = 0
) -> np.ndarray:
    """Fourier coefficients 2/T ∫ M/M_saturation cos kωt dt at static fields, with A cos ωt along component ``axis``.

    fields: (component, …) T. amplitude: T, positive; harmonic: k from 1 on. Returns (component, …), the components of
    the magnetisation. SettingsError if amplitude or harmonic is out of range.
    """
    if harmonic < 1 or not amplitude > 0:
        raise SettingsError(
            f"harmonic is {harmonic}, amplitude {amplitude} T; one from 1 on and a positive one are wanted"
        )
    # The nearest poles of L are at ξ = ±iπ: the error of n nodes falls as exp(−2n asinh(π/βA)).
    largest = particles.sizes[0][particles.sizes[1] > 1e-6].max()
    n_nodes = harmonic + int(np.ceil(18.5 / np.arcsinh(np.pi / (largest * amplitude))))
    angles = np.pi * np.arange(1, n_nodes + 1) / (n_nodes + 1)
    weights = 2 * amplitude / (harmonic * (n_nodes + 1)) * np.sin(harmonic * angles) * np.sin(angles)
    unit = np.zeros(len(fields))
    unit[axis] = 1
    unit = unit.reshape(-1, *[1] * (fields.ndim - 1))
    total = np.zeros(fields.shape)
    for angle, weight in zip(angles, weights, strict=True):
        total += weight * particles.magnetization_rate(fields + amplitude * np.cos(angle) * unit, unit)
    return total / particles.saturation


def raster_operator(
    scanner: Scanner, grid: Grid, harmonics: tuple[int, ...] = (3,), *, points: int = 3
) -> np.ndarray:
    """Harmonics of every voxel at every field-free point, (harmonic, receiver, raster, voxel) complex128 V.

    The raster is that of the focus fields of the sequence, one per period; voxels in C order (z, y, x). The numbers
    are those of `Scanner.spectra` at the bins ``harmonics``, receive chain included, for concentration 1: fields that
    occur several times are computed once, and no time integral is needed. points: as in `delta_samples`.
    SettingsError unless the fields are uniform and one axis has a drive field.
    """
    sequence = scanner.sequence
    if len(sequence.active_axes) != 1:
        raise SettingsError(f"the drive field runs along axes {sequence.active_axes}; one is wanted")
    if not _has_uniform_fields(scanner):
        raise SettingsError(
            "a raster operator needs uniform fields; response(scanner, grid, bins=…) takes hooks"
        )
    axis = sequence.active_axes[0]
    amplitude, phase = sequence.channels[0][axis], sequence.channels[2][axis]
    samples, amounts = delta_samples(grid, points)
    selection = samples @ np.asarray(scanner.gradient, float).T  # (voxel, point, 3)
    bins = np.asarray(harmonics, int)
    # u = −p dM/dt: sin = Re(−j exp), the amplitude is V/2 of an unnormalised spectrum, A sin(ωt + φ) leads A cos ωt.
    omega = 2 * np.pi * sequence.drive_frequencies[0]
    lead = np.exp(1j * bins * (phase - np.pi / 2))
    factors = -0.5j * sequence.n_samples * bins * omega * scanner.particles.saturation * lead
    gain = scanner.gain[:, bins]  # (receiver, harmonic)
    # All voxels are alike, so what holds for the first point of every voxel holds for the others, shifted.
    fields, where = _distinct(selection[:, 0], sequence.offsets)
    operator = np.empty((len(bins), scanner.n_receivers, *where.shape), complex)
    for h, harmonic in enumerate(bins):
        found = np.zeros(fields.shape)
        for shift in selection[0] - selection[0, 0]:
            found += harmonic_coefficients(
                fields + shift[:, None], amplitude, int(harmonic), scanner.particles, axis=axis
            )
        volts = gain[:, h, None] * factors[h] * amounts[0, 0] * (scanner.coils @ found)
        operator[h] = volts[:, where]
    return operator


def is_raster(scanner: Scanner) -> bool:
    """Whether `raster_operator` gives the response of a scanner: one drive field, many field-free points, uniform fields."""
    sequence = scanner.sequence
    return len(sequence.active_axes) == 1 and len(sequence.offsets) > 1 and _has_uniform_fields(scanner)


def _has_uniform_fields(scanner: Scanner) -> bool:
    return not (scanner.selection_field or scanner.drive_profile or scanner.receive_profile)


def _distinct(selection: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of selection (voxel, 3) and focus fields (raster, 3), each once: (3, n) T, and where (raster, voxel)."""
    key = np.zeros((len(offsets), len(selection)), np.int64)
    sums = []
    for ours, theirs in zip(offsets.T, selection.T, strict=True):
        # Few values occur along an axis: their sums are sorted, not those of every point and voxel.
        (a, place_a), (b, place_b) = (np.unique(v, return_inverse=True) for v in (ours, theirs))
        total = (a[:, None] + b).ravel()
        _, first, place = np.unique(np.round(total / _STEP), return_index=True, return_inverse=True)
        sums.append(total[first])
        key = key * len(first) + place.reshape(len(a), len(b))[np.ix_(place_a, place_b)]
    keys, where = np.unique(key, return_inverse=True)
    fields = np.unravel_index(keys, [len(values) for values in sums])
    return np.stack([values[i] for values, i in zip(sums, fields, strict=True)]), where.reshape(key.shape)
