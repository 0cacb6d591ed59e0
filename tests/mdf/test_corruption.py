"""Damaged files: thousands of small injuries, none of which may crash, hang, or pass unnoticed where it is detectable.

Every damaged file either opens and loads completely, or is refused with an MDFError. Files of our writer carry checksums
over everything but large arrays: outside of those, an injury is refused or changes nothing.
"""

from __future__ import annotations

import multiprocessing
import traceback
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from mpibridge.errors import MDFError
from mpibridge.mdf.reader import read
from mpibridge.mdf.writer import write
from tests.mdf.strategies import Recording

MUTATIONS = 300
"""Per file."""
SECONDS = 60
"""Longer than any file, and the start of the worker, takes; a hanging library is a failure."""
FILES = {
    "measurement": Recording(dtype="<i2", shape=(3, 2, 2, 8), n_background=1, permuted=True, private=True),
    "old": Recording(version="1.0.5", kind="calibration", fourier=True, dtype="<c8", shape=(3, 1, 2, 8)),
    "calibration": Recording(
        kind="calibration", fourier=True, fast=True, dtype="<c8", n_background=2, permuted=True, selected=True,
        transfer_function=True,
    ),
    "sparse": Recording(kind="calibration", fourier=True, fast=True, dtype=">c8", sparse="DCT-II", n_background=1),
    "chunked": Recording(version="2.0.1", dtype=">f8", chunked=True, shape=(5, 1, 2, 9), libver="latest"),
    "reconstruction": Recording(kind="reconstruction", contrasts=2),
}  # fmt: skip


def injure(healthy: bytes, values: list[range], generator: np.random.Generator) -> tuple[bytes, str, range]:
    """A damaged copy, what was done, and the bytes that were touched; most of them outside of ``values``."""
    at = int(generator.integers(len(healthy)))
    while generator.random() < 0.8 and any(at in span for span in values):
        at = int(generator.integers(len(healthy)))
    kind = generator.choice(
        ["bit", "byte", "bytes", "zeros", "ones", "cut"], p=[0.25, 0.25, 0.2, 0.15, 0.05, 0.1]
    )
    if kind == "cut":
        return healthy[:at], f"cut at {at}", range(at, len(healthy))
    n = 1 if kind in ("bit", "byte") else int(generator.integers(2, 65))
    touched = range(at, min(at + n, len(healthy)))
    fresh = {
        "bit": lambda: bytes([healthy[at] ^ (1 << int(generator.integers(8)))]),
        "byte": lambda: generator.bytes(1),
        "bytes": lambda: generator.bytes(len(touched)),
        "zeros": lambda: bytes(len(touched)),
        "ones": lambda: b"\xff" * len(touched),
    }[kind]()
    return (
        healthy[: touched.start] + fresh + healthy[touched.stop :],
        f"{kind} at {at} ({len(touched)})",
        touched,
    )


def payload(path: Path) -> list[range]:
    """The bytes of the arrays that carry no checksum."""
    places = []
    with h5py.File(path) as file:

        def note(name: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset) and (offset := item.id.get_offset()) is not None:
                places.append(range(offset, offset + item.nbytes))

        file.visititems(note)
    return places


def structure(dataset: xr.Dataset) -> dict[str, tuple[object, ...]]:
    return {str(name): (v.dims, v.shape, v.dtype) for name, v in dataset.variables.items()}


def judge(
    folder: Path, name: str, ours: bool, answers: Connection, n: int = MUTATIONS, seed: int = 2026
) -> None:
    """Injure one file ``n`` times; sends (what was done, outcome) before and after each."""
    healthy, damaged = folder / f"{name}.mdf", folder / f"{name}_damaged.mdf"
    wanted = read(healthy).load().assign_attrs(source="")
    content, spans = healthy.read_bytes(), payload(healthy)
    generator = np.random.default_rng(seed)
    for _ in range(n):
        bytes_, done, touched = injure(content, spans, generator)
        damaged.write_bytes(bytes_)
        answers.send((done, "started"))
        try:
            found = read(damaged).load().assign_attrs(source="")
        except MDFError:
            answers.send((done, "refused"))
            continue
        except BaseException:  # noqa: BLE001 - whatever it is, it is the finding
            answers.send((done, traceback.format_exc()))
            continue
        same = found.identical(wanted)
        in_values = any(max(span.start, touched.start) < min(span.stop, touched.stop) for span in spans)
        if ours and not same and (structure(found) != structure(wanted) or not in_values):
            answers.send((done, "changed unnoticed"))
        else:
            answers.send((done, "unchanged" if same else "other values"))
    answers.send(None)


@pytest.mark.parametrize("ours", [True, False], ids=["written by us", "written by h5py"])
@pytest.mark.parametrize("name", FILES)
def test_damage_is_refused_or_harmless(
    name: str, ours: bool, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    FILES[name].save(tmp_path / "foreign.mdf")
    if ours:
        write(tmp_path / f"{name}.mdf", read(tmp_path / "foreign.mdf"))
    else:
        (tmp_path / "foreign.mdf").rename(tmp_path / f"{name}.mdf")
    context = multiprocessing.get_context("spawn")
    answers, theirs = context.Pipe(duplex=False)
    worker = context.Process(target=judge, args=(tmp_path, name, ours, theirs))
    worker.start()
    theirs.close()
    outcomes: Counter[str] = Counter()
    last = "nothing"
    while True:
        try:
            answer = answers.recv() if answers.poll(SECONDS) else "no answer"
        except EOFError:
            worker.join()
            pytest.fail(f"reading died with exit code {worker.exitcode} after: {last}")
        if answer == "no answer":
            worker.kill()
            pytest.fail(f"reading hangs after: {last}")
        if answer is None:
            break
        last, outcome = answer
        if outcome != "started":
            assert outcome in ("refused", "unchanged", "other values"), f"{last}: {outcome}"
            outcomes[outcome] += 1
    worker.join()
    assert sum(outcomes.values()) == MUTATIONS
    assert outcomes["refused"] > MUTATIONS // 50
    record_property("outcomes", dict(outcomes))
