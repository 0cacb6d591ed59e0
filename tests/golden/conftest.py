"""MPIReco.jl's results: the stored reference and the relative error to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest


@pytest.fixture(scope="session")
def single_patch(shared: Path) -> Path:
    return shared / "golden" / "single-patch"


@pytest.fixture(scope="session")
def more(shared: Path) -> Path:
    return shared / "golden" / "more"


def _reader(path: Path) -> Callable[[str], np.ndarray]:
    def read(name: str) -> np.ndarray:
        with h5py.File(path) as file:
            if f"{name}/re" in file:
                return file[f"{name}/re"][...] + 1j * file[f"{name}/im"][...]
            return file[name][...]

    return read


@pytest.fixture(scope="session")
def expected(single_patch: Path) -> Callable[[str], np.ndarray]:
    return _reader(single_patch / "expected.h5")


@pytest.fixture(scope="session")
def expected_more(more: Path) -> Callable[[str], np.ndarray]:
    return _reader(more / "expected.h5")
