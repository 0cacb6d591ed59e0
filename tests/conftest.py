"""What tests share: where the reference data lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference and measured data: MPIBRIDGE_SHARED, else ``shared`` beside the project."""
    folder = Path(os.environ.get("MPIBRIDGE_SHARED", PROJECT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"the reference data are not here ({folder}); set MPIBRIDGE_SHARED to their folder")
    return folder
