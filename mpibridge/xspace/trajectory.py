"""Where the field-free point is and how fast it moves: from the header of a scan.

B(r, t) = G r + B_focus + B_drive(t) vanishes at x(t) = −G⁻¹ (B_focus + B_drive(t)), which moves at
v(t) = −G⁻¹ dB_drive/dt. Drive channel l has the field Σ_f A sin(2π f t + φ) along axis l (MDF specification, sine
waveform: phase 0 starts at 0 T and rises).
"""

from __future__ import annotations

import numpy as np

from mpibridge.errors import MDFError
from mpibridge.mdf.header import Header

DRIVE = "/acquisition/drivefield"


def trajectory(header: Header) -> tuple[np.ndarray, np.ndarray]:
    """Position in m and velocity in m/s of the field-free point at every sample of a frame, both (J·V, 3).

    J periods of V samples, as the samples of a frame lie in the file; x, y, z are the axes of the drive channels 1, 2, 3.
    Raises MDFError if the gradient is zero along an axis with a drive or focus field or if there are more than three
    channels, NotImplementedError for a field-free line, for waveforms other than sine and triangle, and for gradients
    that change within a period. Source: MDF 2.1 §drivefield; MPIFiles.jl `ffPos`.
    """
    if str(header.get("/scanner/topology", "FFP")).upper() == "FFL":
        raise NotImplementedError(
            f"{header.source}: a field-free line has no point; x-space needs topology FFP"
        )
    field, rate = drive_field(header)
    gradient = gradients(header)
    total = field + focus_field(header)[:, :, None]
    inverse = np.linalg.pinv(gradient, rcond=1e-9)
    position, velocity = -inverse @ total, -inverse @ rate
    left = np.abs(total + gradient @ position).max((0, 2))
    if (bad := left > 1e-9 * max(np.abs(total).max(), 1e-30)).any():
        axes = ", ".join(axis for axis, is_bad in zip("xyz", bad, strict=True) if is_bad)
        raise MDFError(
            header.source,
            "/acquisition/gradient",
            f"is {np.diagonal(gradient[0]).tolist()} T/m and cannot shift the field-free point along {axes}, "
            f"where the drive and focus fields reach {1e3 * left.max():.3g} mT",
            "give the gradient of the selection field, or set the strength of that channel to 0",
        )
    return position.swapaxes(1, 2).reshape(-1, 3), velocity.swapaxes(1, 2).reshape(-1, 3)


def drive_field(header: Header) -> tuple[np.ndarray, np.ndarray]:
    """Drive field in T and its rate in T/s, both (J, 3, V)."""
    amplitude, frequency, phase = drive_channels(header)
    shapes = np.broadcast_to(np.asarray(header.get(f"{DRIVE}/waveform", "sine"), object), frequency.shape)
    n_periods, n_channels = amplitude.shape[:2]
    field = np.zeros((n_periods, 3, header.n_samples))
    rate = np.zeros_like(field)
    time = np.arange(header.n_samples) * header.cycle / header.n_samples
    for channel in range(n_channels):
        for f, shape in enumerate(shapes[channel]):
            height = amplitude[:, channel, f, None]
            if not height.any():
                continue
            omega = 2 * np.pi * frequency[channel, f]
            angle = omega * time + phase[:, channel, f, None]
            if str(shape) == "sine":
                field[:, channel] += height * np.sin(angle)
                rate[:, channel] += height * omega * np.cos(angle)
            elif str(shape) == "triangle":
                field[:, channel] += height * 2 / np.pi * np.arcsin(np.sin(angle))
                rate[:, channel] += height * 2 / np.pi * omega * np.sign(np.cos(angle))
            else:
                raise NotImplementedError(
                    f"{header.source}: waveform {shape!r} of drive channel {channel}; only sine and triangle have a "
                    "known trajectory"
                )
    return field, rate


def drive_channels(header: Header) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Amplitudes (J, D, F) in T, frequencies (D, F) in Hz and phases (J, D, F) in rad."""
    divider = np.asarray(header[f"{DRIVE}/divider"], float)
    n_channels, n_frequencies = divider.shape
    if n_channels > 3:
        raise MDFError(
            header.source,
            f"{DRIVE}/numChannels",
            f"is {n_channels}",
            "only x, y and z can be told apart",
        )
    shape = (header.n_periods, n_channels, n_frequencies)
    amplitude = np.broadcast_to(header.strengths, shape)
    phase = np.broadcast_to(np.asarray(header.get(f"{DRIVE}/phase", 0.0), float), shape)
    return amplitude, header.base_frequency / divider, phase


def gradients(header: Header) -> np.ndarray:
    """Jacobian of the selection field, (J, 3, 3) T/m."""
    gradient = header.gradient
    if gradient.shape[1] > 1:
        raise NotImplementedError(
            f"{header.source}: /acquisition/gradient changes {gradient.shape[1]} times within a period"
        )
    return np.broadcast_to(gradient[:, 0], (header.n_periods, 3, 3))


def focus_field(header: Header) -> np.ndarray:
    """Focus field of every period, (J, 3) T."""
    stored = np.asarray(header.get("/acquisition/offsetField", np.zeros((1, 1, 3))), float)
    if stored.shape[1] > 1:
        raise NotImplementedError(
            f"{header.source}: /acquisition/offsetField changes {stored.shape[1]} times within a period"
        )
    return np.broadcast_to(stored[:, 0], (header.n_periods, 3))


def scan_vector(header: Header, velocity: np.ndarray) -> np.ndarray:
    """G v, the field that the point leaves behind per second, T/s: (J·V, 3) like ``velocity``.

    With u = −p ∫ c dM/dt dr the received voltage is a positive matrix times G v (`mpibridge.xspace.forward`), so
    projected on G v it gives an image that is not negative, for gradients of either sign and different sizes. For equal
    positive gradients G v points along v.
    """
    by_period = velocity.reshape(header.n_periods, -1, 3)
    return (by_period @ gradients(header).swapaxes(1, 2)).reshape(-1, 3)
