"""Where a file may be written, and how it appears there: complete, or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from mpibridge.errors import MDFError


def check_target(path: str | Path, suffixes: Collection[str]) -> Path:
    """Where a file called ``path`` goes, links followed; MDFError if none can be written there.

    suffixes: of which the name has one, in lower case with the dot; ``.nii.gz`` is one, too.
    """
    target = Path(path).resolve()
    if suffix(target, suffixes) is None:
        todo = f"pass a name that ends in one of {', '.join(suffixes)}"
        raise MDFError(path, None, f"ends in {target.suffix!r}", todo)
    if target.is_dir() or not target.parent.is_dir():
        found = "is a folder" if target.is_dir() else "lies in a folder that does not exist"
        raise MDFError(path, None, found, "pass the name of a file in an existing folder")
    if target.exists() and not (target.stat().st_mode & 0o222 and os.access(target, os.W_OK)):
        raise MDFError(path, None, "is write-protected", "pass another name or change its permissions")
    if not os.access(target.parent, os.W_OK):
        raise MDFError(path, None, "lies in a folder that is write-protected", "pass another folder")
    return target


def suffix(path: str | Path, suffixes: Collection[str]) -> str | None:
    """Which of ``suffixes`` the name of a file has, None if it has none of them."""
    name = Path(path).name.lower()
    return next((each for each in suffixes if name.endswith(each) and name != each), None)


@contextmanager
def replacing(path: str | Path, suffixes: Collection[str]) -> Iterator[Path]:
    """A temporary name to write to, beside ``path`` and with its suffix; after the block the file stands at ``path``.

    If the block fails, an existing file stays as it was and nothing is left behind. Raises MDFError if no file can be
    written there.
    """
    target = check_target(path, suffixes)
    temporary = target.with_name(f".{uuid.uuid4().hex}.part.{target.name}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except (OSError, RuntimeError) as error:  # HDF5 reports a full disk as either
        raise MDFError(
            path, None, f"cannot be written ({error})", "check the folder and the space in it"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
