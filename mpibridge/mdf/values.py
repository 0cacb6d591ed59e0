"""Is a value of the header of the kind that MDF wants? Text or number, whole, finite, of the right rank and size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mpibridge.errors import MDFError
from mpibridge.mdf.schema import SCHEMA, Entry

LARGEST = 2**62
"""Whole numbers beyond this are damage; sums of two still fit 64 bits."""
LONGEST = 2**28
"""Samples, frames or voxels that an axis may have; far beyond any recording, and the limit of what is asked of memory."""
SELECTIONS = (
    "/measurement/isBackgroundFrame",
    "/measurement/framePermutation",
    "/measurement/frequencySelection",
)
"""Lists with one entry per stored frame or frequency; they become coordinates."""
BOUNDS = {
    "/acquisition/receiver/bandwidth": (1e-6, 1e15, "hertz"),
    "/acquisition/drivefield/cycle": (0.0, 1e9, "seconds"),
    "/acquisition/numAverages": (0, 2**40, "recordings"),
    "/acquisition/receiver/numSamplingPoints": (1, LONGEST, "samples"),
}
"""Numbers that reading computes with, and where they stop making sense."""


def check_kinds(path: Path, header: dict[str, Any]) -> None:
    """Every known entry is text or a number as the schema says, not empty, and whole where it counts something.

    Raises MDFError with the entry and its value.
    """
    for name, value in header.items():
        if (entry := SCHEMA.get(name)) is None:
            continue
        try:
            kind = np.asarray(value).dtype.kind
        except ValueError as error:
            raise MDFError(path, name, f"is {_short(value)}", "rows of equal length are wanted") from error
        if (kind in "OUS") != (entry.type == "str") or kind == "c":
            wanted = "text is wanted" if entry.type == "str" else "a number is wanted"
            raise MDFError(path, name, f"is {_short(value)}", wanted)
        if np.size(value) == 0:
            raise MDFError(
                path, name, f"is empty (shape {np.shape(value)})", "write a value or remove the dataset"
            )
        if entry.type in ("int", "flag") and not _is_whole(np.asarray(value)):
            raise MDFError(path, name, f"is {_short(value)}", "whole numbers are wanted")


def check_ranks(path: Path, header: dict[str, Any]) -> None:
    """Every known entry has the axes of the schema, and numbers that reading computes with lie in their `BOUNDS`.

    An array of one where a scalar is wanted is made one. Raises MDFError with the entry, its shape or value.
    """
    for name, value in list(header.items()):
        if (entry := SCHEMA.get(name)) is None:
            continue
        if not entry.letters and np.size(value) == 1:
            header[name] = np.ravel(value)[0] if np.ndim(value) else value
        elif not fits(entry, np.shape(value)):
            found = f"has {np.ndim(value)} axes (shape {np.shape(value)})"
            raise MDFError(path, name, found, f"{len(entry.letters)} are wanted ({dimensions(entry)})")
    for name, (low, high, unit) in BOUNDS.items():
        if name in header and not low <= header[name] <= high:
            raise MDFError(
                path, name, f"is {_short(header[name])}", f"{low:g} to {high:g} {unit} are sensible"
            )


def fits(entry: Entry, shape: tuple[int, ...]) -> bool:
    """Has ``shape`` the rank of ``entry``, and its sizes where the schema gives numbers?"""
    return len(shape) == len(entry.letters) and all(
        not letter.isdigit() or int(letter) == n for letter, n in zip(entry.letters, shape, strict=True)
    )


def dimensions(entry: Entry) -> str:
    return " × ".join(entry.letters) or "a scalar"


def check_positions(path: Path, name: str, values: np.ndarray, limit: int) -> None:
    """``values`` are different whole numbers from 1 to ``limit``, or MDFError says what they are."""
    if values.min() < 1 or values.max() > limit:
        found = f"runs from {values.min()} to {values.max()}"
        raise MDFError(path, name, found, f"whole numbers from 1 to {limit} are allowed")
    if len(np.unique(values)) != len(values):
        raise MDFError(path, name, "names a position twice", "every position occurs once")


def _is_whole(values: np.ndarray) -> bool:
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        return False
    # |v| of the smallest int64 does not exist, hence two comparisons; infinities fail them.
    return bool(np.all(values <= LARGEST) and (values.dtype.kind in "ub" or np.all(values >= -LARGEST)))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
