"""`Acquisition`: what trained weights depend on: scanner, tracer, sequence and image grid, in numbers that compare."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr

from mpibridge.errors import MDFError
from mpibridge.matching import STRENGTH_TOLERANCE
from mpibridge.mdf.header import Header
from mpibridge.model import Grid, triple

TOLERANCE = 1e-3
"""Relative difference of numbers that mean the same set-up."""
LARGEST = 1e30
"""No quantity of an acquisition is larger in SI units."""
PHASE_TOLERANCE = 0.05
"""Radians: scanners report measured phases, too."""
UNITS = {
    "frequencies": "Hz",
    "amplitudes": "T",
    "phases": "rad",
    "gradient": "T/m",
    "sample_rate": "Hz",
    "field_of_view": "m",
    "center": "m",
}


@dataclass(frozen=True)
class Acquisition:
    """How the data of a problem came about.

    frequencies: hertz, amplitudes: tesla, of the drive fields. gradient: T/m along x, y, z. samples: per period;
    sample_rate: hertz. size (voxels), field_of_view and center (metres): the image grid along x, y, z. phases: radians, of the drive fields,
    0 for one without amplitude; empty where nobody knows, and then not compared.
    """

    scanner: str
    tracer: str
    frequencies: tuple[float, ...]
    amplitudes: tuple[float, ...]
    gradient: tuple[float, ...]
    samples: int
    sample_rate: float
    periods: int
    receivers: int
    size: tuple[int, int, int]
    field_of_view: tuple[float, float, float]
    center: tuple[float, float, float]
    phases: tuple[float, ...] = ()

    @classmethod
    def of(cls, recording: xr.Dataset, grid: Grid) -> Acquisition:
        """What the header of a scan or a calibration tells, and the grid of the image. MDFError if it lacks the sequence."""
        header = Header(recording.attrs)
        return cls(
            scanner=str(header.get("/scanner/name", "")),
            tracer=" + ".join(map(str, np.ravel(header.get("/tracer/name", "")))),
            frequencies=_numbers(header.drive_frequencies),
            amplitudes=_numbers(header.strengths[0, :, 0]),
            gradient=_numbers(header.gradient_diagonal),
            samples=header.n_samples,
            sample_rate=2 * header.bandwidth,
            periods=header.n_periods,
            receivers=header.n_receivers,
            size=grid.size,
            field_of_view=grid.field_of_view,
            center=grid.center,
            phases=_phases(header),
        )

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Acquisition:
        """The inverse of `plain`; TypeError or ValueError if a name is unknown or missing or a value is none of its kind."""
        if not isinstance(values, Mapping):
            raise TypeError(f"an acquisition is a mapping, found {values!r}")
        tupled: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        found = cls(**tupled)
        for name, value in asdict(found).items():
            if not _is(cls.__annotations__[name], value):
                raise TypeError(f"{name} is {value!r}")
        _ = found.grid  # raises ShapeError, a ValueError
        return found

    def plain(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        return json.loads(json.dumps(asdict(self)))

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that name this acquisition in file names; `differences` is what decides."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def grid(self) -> Grid:
        return Grid(self.size, triple(self.field_of_view), triple(self.center))

    def differences(self, other: Acquisition) -> list[str]:
        """What sets two acquisitions apart, with both values; empty if one's weights serve the other."""
        found = []
        voxel = max(self.grid.spacing)
        for name, ours in asdict(self).items():
            theirs = getattr(other, name)
            if isinstance(ours, str):
                same = ours == theirs
            elif name == "phases":
                same = not (ours and theirs) or _same_phases(ours, theirs)
            else:
                relative = STRENGTH_TOLERANCE if name == "amplitudes" else TOLERANCE
                absolute = TOLERANCE * voxel if name in ("field_of_view", "center") else 0.0
                same = np.shape(ours) == np.shape(theirs) and np.allclose(
                    ours, theirs, rtol=relative, atol=absolute
                )
            if not same:
                unit = f" {UNITS[name]}" if name in UNITS else ""
                found.append(f"{name.replace('_', ' ')}: {_said(ours)}{unit}, not {_said(theirs)}{unit}")
        return found

    def __str__(self) -> str:
        x, y, z = self.size
        tones = ", ".join(f"{frequency / 1e3:.4g}" for frequency in self.frequencies)
        amplitudes = ", ".join(f"{amplitude * 1e3:.4g}" for amplitude in self.amplitudes)
        return (
            f"{self.scanner or 'scanner without name'}: {tones} kHz, {amplitudes} mT, {x} × {y} × {z} voxels"
        )


def acquisition_of(recording: xr.Dataset, grid: Grid) -> Acquisition | None:
    """`Acquisition.of`, or None where the header does not tell the sequence."""
    try:
        return Acquisition.of(recording, grid)
    except MDFError:
        return None


def _is(kind: str, value: Any) -> bool:
    """Whether a value is what an annotation says: text, a number, or a tuple of numbers."""
    if kind == "str":
        return isinstance(value, str)
    numbers = value if isinstance(value, tuple) else (value,)
    return isinstance(value, tuple) == kind.startswith("tuple") and all(
        isinstance(number, int | float) and -LARGEST < number < LARGEST for number in numbers
    )


def _phases(header: Header) -> tuple[float, ...]:
    """Of the first period, in (−π, π]; those of fields without amplitude mean nothing."""
    if header.phases is None:
        return ()
    phases, driven = header.phases[0, :, 0], header.strengths[0, :, 0] != 0
    if phases.shape != driven.shape:
        return ()
    return _numbers(np.angle(np.exp(1j * phases)) * driven)


def _same_phases(ours: tuple[float, ...], theirs: tuple[float, ...]) -> bool:
    return len(ours) == len(theirs) and bool(
        np.all(np.abs(np.angle(np.exp(1j * np.subtract(ours, theirs)))) <= PHASE_TOLERANCE)
    )


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(f"{value:.9g}") for value in np.ravel(values))


def _said(value: Any) -> str:
    return ", ".join(f"{v:.6g}" for v in value) if isinstance(value, tuple) else str(value) or "no name"
