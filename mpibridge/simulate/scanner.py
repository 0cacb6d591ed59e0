"""A scanner: its fields, its coils and the tracer in it, and the voltages they induce.

u_c(t) = −∫ p_c(r) · dM/dt dr with the receive profile p_c in T/A (methods-and-physics.md E.1), M from `particles`,
B(r, t) = selection field + focus field + drive field. Debye relaxation is the low-pass 1/(1 + iωτ) on the bins of the
spectrum, exact for a signal that repeats: every period of a sequence of several is taken as if it repeated for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.simulate.particles import Particles
from mpibridge.simulate.receiver import Receiver
from mpibridge.simulate.sequences import LissajousSequence, Sequence

Matrix = tuple[tuple[float, float, float], ...]
Hook = Callable[[np.ndarray], np.ndarray]
SENSITIVITY = 50e-6
"""T/A of the default receive coils."""
ALIASED, MOST_STEPS = 1e-6, 32
"""The share of a signal that may alias when a scanner chooses its steps, and where it stops."""
CHUNK_BYTES = 64 * 2**20
"""Temporary memory of a simulation per thread, about."""


def diagonal_gradient(x: float, y: float, z: float) -> Matrix:
    """A field-free-point gradient in T/m along the axes."""
    return (x, 0.0, 0.0), (0.0, y, 0.0), (0.0, 0.0, z)


def field_free_line(gradient: float, angle: float) -> Matrix:
    """Gradient matrix in T/m of a field-free line in the plane z = 0, at ``angle`` (rad) from the x axis.

    G (n nᵀ − z zᵀ) with n across the line in the plane: ``gradient`` in T/m across it, none along it.
    """
    x, y = -np.sin(angle), np.cos(angle)
    return (
        (gradient * x * x, gradient * x * y, 0.0),
        (gradient * x * y, gradient * y * y, 0.0),
        (0.0, 0.0, -gradient),
    )


def focus_fields(gradient: Matrix, centers: np.ndarray) -> tuple[tuple[float, float, float], ...]:
    """Focus fields in T that bring the field-free point to ``centers`` (n, 3) m: the ``patches`` of a sequence."""
    fields = -(np.asarray(centers, float) @ np.asarray(gradient, float).T) + 0.0
    return tuple((x, y, z) for x, y, z in fields.tolist())


@dataclass(frozen=True, eq=False)
class Scanner:
    """Everything that makes a voltage. The defaults are those of the two-dimensional Open MPI sequence.

    gradient: Jacobian of the selection field, symmetric and of trace 0. sensitivity: (C, 3) T/A of uniform receive
    coils; None stands for one coil along every axis that has a drive field. substeps: the field is computed at this
    multiple of the sampling rate and an ideal anti-aliasing filter brings the signal back to it; 0 chooses (`steps`) for
    the ideal drive field: say how many where a drive_profile is much stronger.

    Hooks take points (n, 3) in m. selection_field: (n, 3) T, instead of gradient times point. drive_profile: (n, 3, 3),
    the local drive field is that matrix times `Sequence.drive`. receive_profile: (n, C, 3) T/A, instead of
    ``sensitivity``, which still says how many receivers there are. SettingsError if a field is outside its range.
    """

    name: str = "simulated"
    sequence: Sequence = field(default_factory=LissajousSequence)
    gradient: Matrix = ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 2.0))  # T/m
    particles: Particles = field(default_factory=Particles)
    sensitivity: tuple[tuple[float, ...], ...] | None = None  # T/A
    receiver: Receiver = field(default_factory=Receiver)
    substeps: int = 0
    selection_field: Hook | None = None
    drive_profile: Hook | None = None
    receive_profile: Hook | None = None

    def __post_init__(self) -> None:
        gradient = np.asarray(self.gradient, float)
        if gradient.shape != (3, 3) or not np.isfinite(gradient).all():
            raise SettingsError(f"gradient is {self.gradient}; 3 × 3 numbers in T/m are wanted")
        tolerance = 1e-9 * np.abs(gradient).max()
        if abs(np.trace(gradient)) > tolerance:
            raise SettingsError(
                f"gradient has trace {np.trace(gradient):g} T/m; a static magnetic field has no divergence: it must be 0"
            )
        if np.abs(gradient - gradient.T).max() > tolerance:
            raise SettingsError(
                f"gradient {self.gradient} T/m is not symmetric, as a field without currents is"
            )
        if self.coils.ndim != 2 or self.coils.shape[1] != 3 or not len(self.coils):
            raise SettingsError(f"sensitivity is {self.sensitivity}; (receiver, 3) in T/A is wanted")
        if self.substeps < 0 or self.substeps != int(self.substeps):
            raise SettingsError(f"substeps is {self.substeps}; a whole number from 1 on, or 0, is wanted")

    @cached_property
    def coils(self) -> np.ndarray:
        """Sensitivity of the uniform receive coils, (C, 3) T/A."""
        if self.sensitivity is not None:
            return np.asarray(self.sensitivity, float)
        return SENSITIVITY * np.eye(3)[list(self.sequence.active_axes or (0, 1, 2))]

    @cached_property
    def steps(self) -> int:
        """At how many times per sample the field is computed.

        L' has double poles at ξ = ± iπ, so the spectrum of a voltage falls as a exp(−a) with a = 2π² f / |dξ/dt|, and what
        aliases lies from (steps − ½) sampling rates on. The least number for which that is below `ALIASED`.
        """
        if self.substeps:
            return self.substeps
        betas, shares = self.particles.sizes
        weights = shares * betas / (shares @ betas)  # of the sizes at the field-free point
        rate = np.linalg.norm(self.sequence.drive_rate, axis=0).max() / self.sequence.sample_rate
        for steps in range(1, MOST_STEPS):
            decay = 2 * np.pi**2 * (steps - 0.5) / np.maximum(betas * rate, 1e-9)
            if weights @ (decay * np.exp(-decay)) <= ALIASED:
                return steps
        return MOST_STEPS

    @property
    def n_receivers(self) -> int:
        """C."""
        return len(self.coils)

    @cached_property
    def gain(self) -> np.ndarray:
        """Factor of every bin of the spectrum, (C, K) complex: relaxation and receive chain."""
        frequencies = self.sequence.frequencies
        gain = self.receiver.gain(frequencies, self.sequence.drive_frequencies, self.n_receivers)
        return gain / (1 + 2j * np.pi * frequencies * self.particles.relaxation_time)

    @cached_property
    def trajectory(self) -> np.ndarray:
        """Field-free point (J, V, 3) m: where gradient · r + focus + drive field is 0.

        Along directions without gradient, as along a field-free line, it is 0: the point of the line that is nearest
        to the centre. Of uniform fields: the hooks are not asked.
        """
        total = self.sequence.offsets[:, None] + self.sequence.drive.T
        return -total @ np.linalg.pinv(np.asarray(self.gradient, float), hermitian=True).T

    def voltage(
        self, points: np.ndarray, amounts: np.ndarray, *, chunk_bytes: int = CHUNK_BYTES, workers: int = 1
    ) -> np.ndarray:
        """Noise-free signals behind the receive chain, (group, J, C, V) V.

        points: (group, point, 3) m. amounts: (group, point), concentration times volume in m³; ShapeError if they do
        not fit each other. chunk_bytes: temporary memory per worker, about. workers: threads; the numbers stay the same.
        """
        n = self.sequence.n_samples
        signals = np.empty((len(points), self.sequence.n_periods, self.n_receivers, n))

        def work(groups: slice, periods: slice) -> None:
            induced = self._induced(points[groups], amounts[groups], periods)
            if self.steps > 1 or not np.all(self.gain == 1):
                import scipy.fft

                induced = scipy.fft.irfft(self._received(induced), n, axis=-1, overwrite_x=True)
            signals[groups, periods] = induced

        self._run(work, points, amounts, chunk_bytes, workers)
        return signals

    def spectra(
        self,
        points: np.ndarray,
        amounts: np.ndarray,
        bins: np.ndarray | tuple[int, ...] | None = None,
        *,
        chunk_bytes: int = CHUNK_BYTES,
        workers: int = 1,
    ) -> np.ndarray:
        """One-sided, unnormalised spectra of `voltage`, (group, J, C, bin) V, complex128.

        bins: those to keep, 0-based in V // 2 + 1; None keeps all. The rest as in `voltage`.
        """
        kept = np.arange(self.sequence.n_bins) if bins is None else np.asarray(bins)
        if kept.ndim != 1 or (len(kept) and not 0 <= kept.min() <= kept.max() < self.sequence.n_bins):
            raise ShapeError(f"bins must be numbers from 0 to {self.sequence.n_bins - 1}, found {bins}")
        spectra = np.empty((len(points), self.sequence.n_periods, self.n_receivers, len(kept)), complex)

        def work(groups: slice, periods: slice) -> None:
            induced = self._induced(points[groups], amounts[groups], periods)
            spectra[groups, periods] = self._received(induced, None if bins is None else kept)

        self._run(work, points, amounts, chunk_bytes, workers)
        return spectra

    def header(self) -> dict[str, Any]:
        """What MDF says of the sequence, the selection field and the receivers, by MDF path."""
        n_periods, receiver = self.sequence.n_periods, "/acquisition/receiver"
        line = np.linalg.matrix_rank(np.asarray(self.gradient)) == 2
        entries = self.sequence.header() | {
            "/scanner/name": self.name,
            "/scanner/topology": "FFL" if line else "FFP",
            "/acquisition/gradient": np.tile(np.asarray(self.gradient, float), (n_periods, 1, 1, 1)),
            f"{receiver}/numChannels": np.int64(self.n_receivers),
            f"{receiver}/unit": "V",
        }
        if self.receiver.transfer_function is not None:
            entries[f"{receiver}/inductionFactor"] = np.ones(self.n_receivers)
        return entries

    @property
    def transfer_function(self) -> np.ndarray | None:
        """(C, K) complex that a recording states, None if the receive chain has none."""
        if self.receiver.transfer_function is None:
            return None
        return self.receiver.transfer(self.sequence.frequencies, self.n_receivers)

    @property
    def without_focus(self) -> Scanner:
        """The same scanner with its focus field off: what one calibration for all patches is recorded with."""
        if not isinstance(self.sequence, LissajousSequence):
            raise SettingsError(f"{type(self.sequence).__name__} has no patches to take away")
        return replace(self, sequence=replace(self.sequence, patches=((0.0, 0.0, 0.0),)))

    def _run(
        self,
        work: Callable[[slice, slice], None],
        points: np.ndarray,
        amounts: np.ndarray,
        chunk_bytes: int,
        workers: int,
    ) -> None:
        """Call ``work`` on slices of groups and of periods whose temporary arrays fit into ``chunk_bytes``."""
        if points.ndim != 3 or points.shape[2] != 3 or amounts.shape != points.shape[:2]:
            raise ShapeError(
                f"points are {points.shape} and amounts {amounts.shape}; "
                "(group, point, 3) and (group, point) are wanted"
            )
        n_groups, n_periods = len(points), self.sequence.n_periods
        samples = self.sequence.n_samples * self.steps
        each = (
            8 * samples * (3 + 3 * self.n_receivers) + 24 * points.shape[1]
        )  # induced, received, its transform
        at_once = max(1, chunk_bytes // each)
        slices = list(_slices(n_groups, n_periods, at_once, workers))
        if workers == 1:
            for groups, periods in slices:
                work(groups, periods)
            return
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda part: work(*part), slices))

    def _induced(self, points: np.ndarray, amounts: np.ndarray, periods: slice) -> np.ndarray:
        """Coil voltages (group, period, C, V · steps) before the receive chain."""
        from mpibridge.simulate.induction import induce

        drive, rate = self.sequence.waveforms(self.sequence.n_samples * self.steps)
        offsets = self.sequence.offsets[periods]
        fields = self._selection(points)[:, None] + offsets[:, None]
        weights = self.particles.saturation * np.ascontiguousarray(amounts, float)
        betas, shares = self.particles.sizes
        shape = (len(points), len(offsets), 3, drive.shape[1])
        if self.drive_profile is None and self.receive_profile is None:
            total = np.zeros(shape)
            induce(total, drive, rate, fields, weights, betas, shares)
            return -self.coils @ total
        flat = points.reshape(-1, 3)
        unit = np.broadcast_to(np.eye(3), (len(flat), 3, 3))
        profile = self._ask("drive_profile", flat, (3, 3), unit).reshape(*points.shape[:2], 3, 3)
        coils = np.broadcast_to(self.coils, (len(flat), self.n_receivers, 3))
        coils = self._ask("receive_profile", flat, coils.shape[1:], coils).reshape(*points.shape[:2], -1, 3)
        induced = np.zeros((*shape[:2], self.n_receivers, shape[3]))
        for g, p in zip(*np.nonzero(weights), strict=True):
            total = np.zeros((1, *shape[1:]))
            local = (profile[g, p] @ drive, profile[g, p] @ rate)
            single = np.ascontiguousarray(fields[g, :, p])[None, :, None]
            induce(total, *local, single, weights[g, p].reshape(1, 1), betas, shares)
            induced[g] -= coils[g, p] @ total[0]
        return induced

    def _selection(self, points: np.ndarray) -> np.ndarray:
        """Selection field (group, point, 3) T."""
        if self.selection_field is None:
            return points @ np.asarray(self.gradient, float).T
        return self._ask("selection_field", points.reshape(-1, 3), (3,), points).reshape(points.shape)

    def _ask(self, name: str, points: np.ndarray, shape: tuple[int, ...], default: np.ndarray) -> np.ndarray:
        """The answer of a hook, (point, …); ``default`` if there is no hook."""
        hook = getattr(self, name)
        if hook is None:
            return default
        answer = np.asarray(hook(points), float)
        if answer.shape != (len(points), *shape):
            raise ShapeError(
                f"{name} gave {answer.shape} for {len(points)} points; {(len(points), *shape)} is wanted"
            )
        return answer

    def _received(self, induced: np.ndarray, bins: np.ndarray | None = None) -> np.ndarray:
        """Spectra (…, C, bin) behind the receive chain."""
        import scipy.fft

        kept = np.arange(self.sequence.n_bins) if bins is None else bins
        spectra = scipy.fft.rfft(induced, axis=-1, overwrite_x=True)[..., kept]
        spectra *= self.gain[:, kept] / self.steps
        real = (kept == 0) | (2 * kept == self.sequence.n_samples)  # of a real signal
        spectra[..., real] = spectra[..., real].real
        return spectra


def _slices(n_groups: int, n_periods: int, at_once: int, workers: int) -> Iterator[tuple[slice, slice]]:
    """Slices of groups and periods with at most ``at_once`` pairs each, and work for all workers if there is enough."""
    n_together = min(at_once, -(-n_groups * n_periods // workers))
    step = max(1, n_together // n_periods)
    inner = n_periods if n_together >= n_periods else max(1, n_together)
    for first in range(0, n_groups, step):
        for start in range(0, n_periods, inner):
            yield slice(first, min(first + step, n_groups)), slice(start, min(start + inner, n_periods))
