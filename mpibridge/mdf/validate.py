"""A file against the MDF 2.1 specification, and against what MPIFiles.jl needs to open it.

Source: MDF 2.1.0; MPIFiles.jl 0.19 (data are mapped into memory, scalars are type-asserted, times go to DateTime).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpibridge import transforms
from mpibridge.errors import MDFError
from mpibridge.mdf import legacy
from mpibridge.mdf.reader import ON_DEMAND, read
from mpibridge.mdf.schema import (
    DATA,
    IMAGE,
    MANDATORY_GROUPS,
    SCHEMA,
    SUBSAMPLING,
    SUFFIXES,
    TIMES,
    TRANSFER_FUNCTION,
    VERSION,
    Entry,
    is_private,
)
from mpibridge.mdf.shapes import ShapeLetters
from mpibridge.mdf.tree import hdf5, objects, value
from mpibridge.mdf.values import check_positions

CLOSED = "MPIFiles.jl cannot open it"
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
JULIA_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3}0*)?")
SIGNED = ("int8", "int16", "int32", "int64")
TYPES = {
    "str": ("str",),
    "float": ("float64",),
    "int": ("int64",),
    "flag": ("int8",),
    "complex": ("complex128",),
    "number": (*SIGNED, "float32", "float64", "complex64", "complex128"),
}
TRANSFORMS = tuple(name for name in transforms.NAMES if name.startswith("DCT"))
GROUPS = {"", *(entry.group for entry in SCHEMA.values())}


@dataclass(frozen=True)
class Problem:
    """One departure from the specification. dataset: where, an HDF5 path, or "file". found, expected: in words."""

    dataset: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.dataset} {self.found}; {self.expected}"


def validate(path: str | Path) -> list[Problem]:
    """Every departure of a file from MDF 2.1.0, in the order of the schema; an empty list is a sound file.

    A file of an older version has one problem that says so. Entries of 2.0.x that have another name in 2.1 are named
    and then count under the new one; of 1.0.x it is only told whether, and if not why, it can be read.
    Raises MDFError if the file is not HDF5 or damaged.
    """
    path = Path(path).absolute()
    problems: list[Problem] = []
    if path.suffix.lower() not in SUFFIXES:
        expected = f"{', '.join(SUFFIXES)} are wanted: {CLOSED} otherwise"
        problems.append(Problem("file", f"has a name that ends in {path.suffix!r}", expected))
    with hdf5(path) as file:
        items = objects(file, lambda error: problems.append(_as_problem(error)))
        problems += _version(items)
        version = _version_text(items)
        if not version.startswith("1"):
            problems += _departures(items, version)
        has_data = version.startswith("1") or DATA in items or IMAGE in items
    if has_data and all(problem.dataset in ("file", "/version") for problem in problems):
        try:
            read(path)
        except MDFError as error:  # the reader knows more than the schema
            if error.dataset != "/version":
                problems.append(_as_problem(error))
    return problems


def _as_problem(error: MDFError) -> Problem:
    return Problem(error.dataset or "file", error.found, error.todo)


def _version_text(items: Mapping[str, Any]) -> str:
    item = items.get("/version")
    return str(value(item, "/version")) if isinstance(item, h5py.Dataset) else ""


def _version(items: Mapping[str, Any]) -> Iterator[Problem]:
    version = _version_text(items)
    if not version:
        yield Problem("/version", "is missing", f"{VERSION!r} is wanted: {CLOSED}")
    elif version != VERSION:
        advice = (
            "mpibridge.save writes the file anew"
            if version[:2] in ("1.", "2.")
            else "no such version is known"
        )
        yield Problem("/version", f"is {version!r}", f"{VERSION} is current: {advice}")


def _departures(items: Mapping[str, Any], version: str) -> Iterator[Problem]:
    """Departures of a 2.x file, group by group and then dataset by dataset in the order of the schema."""
    named = {}
    for name, item in items.items():
        (target,) = legacy.rename({name: None}, version)
        named[name if target in items else target] = item
        if target != name and target not in items:
            yield Problem(name, f"is a name of MDF {version}", f"{VERSION} calls it {target}")
    yield from _groups(named)
    stored = {name: item for name, item in named.items() if isinstance(item, h5py.Dataset) and name in SCHEMA}
    header: dict[str, Any] = {}
    for name, item in stored.items():
        if name not in ON_DEMAND:
            try:
                header[name] = value(item, name)
            except MDFError as error:
                yield _as_problem(error)
    letters = ShapeLetters.of(header)
    for name, entry in SCHEMA.items():
        if name not in stored:
            yield from _missing(entry, named, header)
            continue
        if (problem := _type(entry, stored[name])) is not None:
            yield problem
        if name in ON_DEMAND or (name in header and np.size(header[name])):
            shape = stored[name].shape if name in ON_DEMAND else np.shape(header[name])
            yield from _shape(entry, shape, letters)
        if name in header:
            yield from _value(entry, header, letters)
        if name in (DATA, TRANSFER_FUNCTION) and stored[name].id.get_offset() is None:
            yield Problem(name, "is not stored in one piece (chunked, compressed or empty)", f"{CLOSED}")
    yield from _products(header, letters)


def _groups(items: Mapping[str, Any]) -> Iterator[Problem]:
    for group in MANDATORY_GROUPS:
        if group not in items:
            yield Problem(group, "is missing", "the group is mandatory")
    strange: list[str] = []
    for name, item in items.items():
        if (
            name in SCHEMA
            or name in GROUPS
            or is_private(name)
            or name.startswith(tuple(f"{s}/" for s in strange))
        ):
            continue
        if isinstance(item, h5py.Group):
            strange.append(name)
        yield Problem(name, f"is not part of MDF {VERSION}", "names of one's own start with an underscore")


def _missing(entry: Entry, items: Mapping[str, Any], header: Mapping[str, Any]) -> Iterator[Problem]:
    if (
        entry.optional is True
        or (entry.group != "/" and entry.group not in items)
        or entry.path == "/version"
    ):
        return
    if isinstance(entry.optional, str):
        flag = f"/measurement/{entry.optional}"
        if flag != entry.path and np.any(header.get(flag, 0)):
            yield Problem(entry.path, "is missing", f"{entry.optional} is set")
        return
    size = " × ".join(entry.letters)
    yield Problem(
        entry.path, "is missing", f"{TYPES[entry.type][0]}{f' of {size}' if size else ''} is mandatory"
    )


def _type(entry: Entry, dataset: h5py.Dataset) -> Problem | None:
    text = h5py.check_string_dtype(dataset.dtype) is not None
    if dataset.dtype.names is not None:
        found = f"compound of {' and '.join(dataset.dtype.names)}"
    else:
        found = "str" if text else dataset.dtype.newbyteorder("=").name
    wanted = SIGNED if entry.path == SUBSAMPLING else TYPES[entry.type]
    if dataset.shape is not None and 0 in dataset.shape:
        return Problem(entry.path, f"is empty (shape {dataset.shape})", "a value is wanted")
    if found in wanted:
        return None
    expected = (
        "a number, complex ones as a compound of r and i" if entry.type == "number" else " or ".join(wanted)
    )
    return Problem(entry.path, f"is {found}", f"{expected} is wanted")


def _shape(entry: Entry, shape: tuple[int, ...], letters: ShapeLetters) -> Iterator[Problem]:
    wanted = letters.wanted(entry)
    if letters.agree(wanted, shape):
        return
    expected = f"{letters.explain(wanted)} is wanted"
    if not wanted or (
        len(shape) != len(wanted) and entry.path.endswith(("/strength", "/phase", "/offsetField"))
    ):
        expected += f": {CLOSED}"
    yield Problem(entry.path, f"has shape {shape}", expected)


def _value(entry: Entry, header: Mapping[str, Any], letters: ShapeLetters) -> Iterator[Problem]:
    name, values = entry.path, np.ravel(header[entry.path])
    if (values.dtype.kind in "OU") != (entry.type == "str"):
        return  # reported as a wrong type
    if entry.type == "flag" and not np.isin(values, (0, 1)).all():
        yield Problem(name, f"is {header[name]}", "0 or 1 is wanted")
    if name in TIMES:
        for text in {text for text in values if not JULIA_TIME.fullmatch(text)}:
            yield Problem(
                name, f"is {text!r}", f"a time yyyy-mm-ddThh:mm:ss.mmm without a zone is wanted: {CLOSED}"
            )
    if name.endswith("/uuid") and not UUID.fullmatch(values[0]):
        yield Problem(name, f"is {values[0]!r}", "an identifier of the form 8-4-4-4-12 is wanted")
    if name.endswith("/sparsityTransformation") and values[0] not in TRANSFORMS:
        yield Problem(name, f"is {values[0]!r}", f"one of {', '.join(TRANSFORMS)} is wanted")
    limits = {
        "/measurement/framePermutation": letters.sizes.get("N"),
        "/measurement/frequencySelection": letters.n_bins,
    }
    if limit := limits.get(name):
        try:
            check_positions(Path(), name, values, limit)
        except MDFError as error:
            yield _as_problem(error)


def _products(header: Mapping[str, Any], letters: ShapeLetters) -> Iterator[Problem]:
    """The sizes of grids against the numbers of their voxels, and the number of frames of sparse data."""
    n_frames, name = letters.sizes.get("N"), "/acquisition/numFrames"
    if n_frames is not None and name in header and np.any(header[name] != n_frames):
        yield Problem(name, f"is {header[name]}", f"foreground and background frames are {n_frames}")
    for name, letter, what in (
        ("/calibration/size", "O", "foreground frames"),
        ("/reconstruction/size", "P", "voxels"),
    ):
        count = letters.sizes.get(letter)
        size = np.asarray(header.get(name, ()))
        if count is None or size.shape != (3,) or size.dtype.kind not in "iu":
            continue
        if int(np.prod(size.astype(object))) != count:
            yield Problem(
                name, f"is {size.tolist()}", f"the file has {count} {what}, and the product must agree"
            )
