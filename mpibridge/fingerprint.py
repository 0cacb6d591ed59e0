"""What identifies a file in the provenance of an image."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

import xarray as xr

SAMPLE = 8 * 2**20
"""Files larger than twice this are identified by their two ends and their size: hashing 30 GB takes a minute."""


def fingerprint(dataset: xr.Dataset) -> dict[str, str | int]:
    """Name, MDF uuid, size and SHA-256 of the file a dataset comes from (only the uuid if it was made in memory)."""
    said: dict[str, str | int] = {"uuid": str(dataset.attrs.get("/uuid", ""))}
    source = dataset.attrs.get("source")
    if source is None or not Path(source).is_file():
        return said
    return {"name": Path(source).name, **said, **file_fingerprint(source)}


def file_fingerprint(path: str | Path) -> dict[str, str | int]:
    """Size and SHA-256 of a file."""
    status = os.stat(path)
    return {"bytes": status.st_size, **_digest(str(path), status.st_size, status.st_mtime_ns)}


@lru_cache(maxsize=256)
def _digest(path: str, size: int, modified: int) -> dict[str, str]:
    """SHA-256 of a file, of its first and last 8 MiB if it is larger than 16 MiB; ``modified`` only keys the cache."""
    whole = size <= 2 * SAMPLE
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        digest.update(file.read(size if whole else SAMPLE))
        if not whole:
            file.seek(size - SAMPLE)
            digest.update(file.read(SAMPLE))
    return {"sha256" if whole else "sha256_of_ends": digest.hexdigest()}
