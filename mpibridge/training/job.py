"""The folder of a run: which run it holds, and where that one stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from mpibridge.errors import SettingsError, WeightsError

JOB, CHECKPOINT = "job.json", "last.ckpt"
UNREADABLE = (RuntimeError, UnpicklingError, EOFError, OSError, ValueError, KeyError)
"""What torch raises for a file that is cut off, changed, or holds objects."""


def claim(folder: Path, job: Mapping[str, Any]) -> None:
    """Make ``folder`` that of a run, or find that it is. SettingsError if it holds another one."""
    path = folder / JOB
    wanted = json.loads(json.dumps(job))
    if path.exists():
        try:
            found = json.loads(path.read_text())
        except ValueError as error:
            raise SettingsError(f"{path} is damaged ({error}); choose another folder for this run") from error
        if difference := _difference(found, wanted):
            raise SettingsError(
                f"{folder} holds another run: {difference}; choose another folder, or delete this one"
            )
        return
    if (folder / CHECKPOINT).exists():
        raise SettingsError(f"{folder} holds a {CHECKPOINT} of something else; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{JOB}"
    unfinished.write_text(json.dumps(wanted, indent=1, sort_keys=True))
    unfinished.replace(path)


def checkpoint(folder: Path) -> dict[str, Any] | None:
    """Where the run in ``folder`` stands, None if it has not come to a checkpoint. WeightsError if that is damaged.

    Reading it runs no code: it is refused if it holds anything but tensors and plain values.
    """
    import torch

    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"{path} is damaged ({first}); delete {folder} and train again; {folder / 'weights.safetensors'} still "
            "holds the best weights up to that checkpoint, to start from with weights=…"
        ) from error


def _difference(found: Any, wanted: Any, name: str = "") -> str | None:
    """The first value that differs, in words."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            said = _difference(found.get(key), wanted.get(key), f"{name}.{key}" if name else key)
            if said:
                return said
        return None
    return None if found == wanted else f"{name} is {found!r} there and {wanted!r} here"
