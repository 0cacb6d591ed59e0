"""Which calibration belongs to which scan: comparing what their headers say of the sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from mpibridge.errors import MDFError, MismatchError
from mpibridge.mdf.header import Header
from mpibridge.mdf.reader import read
from mpibridge.mdf.schema import SUFFIXES
from mpibridge.model import CALIBRATION, MEASUREMENT

STRENGTH_TOLERANCE = 0.05
"""Scanners report measured drive-field amplitudes, which differ by a few per cent between recordings."""


@dataclass(frozen=True)
class Match:
    """How well a calibration fits a scan. reasons: why not, empty if it fits. score: higher is nearer, at most 1."""

    path: Path
    fits: bool
    reasons: tuple[str, ...]
    score: float


def differences(scan: xr.Dataset, calibration: xr.Dataset) -> list[str]:
    """What keeps a calibration from describing a scan, each with both values; empty if nothing does.

    Compared: sampling, receivers, drive-field frequencies, cycle and amplitudes, as far as both headers tell them.
    """
    ours, theirs = Header(scan.attrs), Header(calibration.attrs)
    comparisons: tuple[tuple[str, Callable[[Header], object], float, str], ...] = (
        ("samples per period", lambda h: h.n_samples, 0, ""),
        ("bandwidth", lambda h: h.bandwidth, 1e-6, " Hz"),
        ("receivers", lambda h: h.n_receivers, 0, ""),
        ("drive-field frequencies", lambda h: h.drive_frequencies, 1e-6, " Hz"),
        ("drive-field cycle", lambda h: h.cycle, 1e-6, " s"),
        ("drive-field amplitudes", lambda h: h.strengths[0, :, 0], STRENGTH_TOLERANCE, " T"),
    )
    found = []
    for name, value, tolerance, unit in comparisons:
        try:
            a, b = np.asarray(value(ours), float), np.asarray(value(theirs), float)
        except MDFError:
            continue  # one of them does not say; nothing to compare
        if a.shape != b.shape or not np.allclose(a, b, rtol=tolerance, atol=0):
            found.append(f"{name}: scan {_plain(a)}{unit}, calibration {_plain(b)}{unit}")
    return found


def require_match(scan: xr.Dataset, calibration: xr.Dataset) -> None:
    """Raise MismatchError if the calibration was recorded with another sequence, naming both values of each point."""
    if found := differences(scan, calibration):
        raise MismatchError(
            f"{Header(scan.attrs).source} and {Header(calibration.attrs).source} were recorded differently: "
            + "; ".join(found)
            + "; pass the calibration recorded with this sequence (mpibridge match SCAN FOLDER looks for it)"
        )


def find_calibration(scan: str | Path | xr.Dataset, folder: str | Path) -> list[Match]:
    """The calibrations of a folder (and its subfolders) by how well they fit a scan, best first.

    Only headers are read. Files that are no calibration are left out; those that cannot be read come last with the
    reason. Raises MDFError if the scan is no measurement or the folder does not exist.
    """
    if not isinstance(scan, xr.Dataset):
        scan = read(scan)
    if scan.attrs.get("kind") != MEASUREMENT:
        raise MDFError(
            Header(scan.attrs).source, None, f"is a {scan.attrs.get('kind')}", "a measurement is wanted"
        )
    folder = Path(folder)
    if not folder.is_dir():
        raise MDFError(folder, None, "is no folder", "pass the folder that holds the calibrations")
    return sorted(_matches(scan, folder), key=lambda m: (not m.fits, -m.score, str(m.path)))


def _matches(scan: xr.Dataset, folder: Path) -> Iterator[Match]:
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()):
        try:
            other = read(path)
        except MDFError as error:
            why = f"cannot be read: {error.dataset} {error.found}" if error.dataset else error.found
            yield Match(path, False, (why,), float("-inf"))
            continue
        if other.attrs["kind"] == CALIBRATION:
            reasons = tuple(differences(scan, other)) + tuple(_gradients(scan, other))
            yield Match(path, not reasons, reasons, _likeness(scan, other) - len(reasons))


def _gradients(scan: xr.Dataset, calibration: xr.Dataset) -> list[str]:
    """A scan at another gradient can be reconstructed, but on a scaled grid: for finding, that is no fit."""
    a, b = (Header(d.attrs).gradient_diagonal for d in (scan, calibration))
    return (
        []
        if np.allclose(a, b, rtol=0.01)
        else [f"gradient: scan {_plain(a)} T/m, calibration {_plain(b)} T/m"]
    )


def _likeness(scan: xr.Dataset, calibration: xr.Dataset) -> float:
    """From 0 to 1: same tracer, same scanner, same drive-field amplitudes, same focus field, near in time."""
    ours, theirs = Header(scan.attrs), Header(calibration.attrs)
    same = [
        np.array_equal(ours.get(path, ""), theirs.get(path, "?"))
        for path in ("/tracer/name", "/tracer/batch", "/scanner/name", "/scanner/facility")
    ]
    try:
        same.append(np.allclose(ours.strengths[0], theirs.strengths[0], rtol=1e-3))
    except (MDFError, ValueError):
        same.append(False)
    same.append(np.allclose(ours.patch_centers[0], theirs.patch_centers[0], atol=1e-6))
    try:
        times = [np.datetime64(str(h["/acquisition/startTime"])) for h in (ours, theirs)]
        days = abs(float((times[0] - times[1]) / np.timedelta64(1, "D")))
    except (MDFError, ValueError):
        days = np.inf
    return float((sum(same) + 1 / (1 + days)) / (len(same) + 1))


def _plain(values: np.ndarray) -> str:
    return ", ".join(f"{v:.6g}" for v in np.atleast_1d(values))
