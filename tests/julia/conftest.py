"""These tests need Julia: they run with the one that is there, else they are skipped and nothing is started.

With MPIBRIDGE_FAKE_JULIA, or ``pytest -p tests.julia_door tests/julia``, they run against the fake of the same door.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

from mpibridge import julia
from mpibridge.julia_setup import which_julia
from tests.golden.conftest import expected, expected_more, more, single_patch  # noqa: F401 - fixtures

PROJECT = Path(__file__).resolve().parents[2]
SUMMARY = pytest.StashKey[list[str]]()


def is_fake() -> bool:
    return bool(os.environ.get("MPIBRIDGE_FAKE_JULIA"))


def absent() -> str | None:
    """Why these tests cannot run here, None if they can; a Julia that juliacall would download first does not count."""
    if is_fake():
        return None
    if find_spec("juliacall") is None:
        return "juliacall is not installed"
    choice = which_julia()
    if choice.executable is not None and choice.problem is None:
        return None
    return f"there is no Julia ({choice.problem or choice.why}): run 'mpibridge setup-julia'"


class Absent(pytest.Module):
    """A module of tests that is skipped as a whole, unread: one line of reason instead of dozens."""

    def collect(self) -> NoReturn:
        pytest.skip(absent() or "", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return None if absent() is None else Absent.from_parent(parent, path=module_path)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(SUMMARY, []):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Have a line printed at the end of the run."""
    return pytestconfig.stash.setdefault(SUMMARY, []).append


@pytest.fixture(scope="session", autouse=True)
def running(say: Callable[[str], None]) -> julia.Running:
    """The Julia of this run."""
    if is_fake() and "tests.julia_door" not in sys.modules:
        from tests import julia_door

        julia_door.install()
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # what juliacall says at its start is not ours
        started = julia.start()
    say(f"{'the fake of ' if is_fake() else ''}{started}")
    return started


@pytest.fixture(autouse=True)
def what_julia_logs() -> Iterator[None]:
    """MPIFiles.jl warns of things that are meant here ("corrected with a Transfer Function"): those stay warnings."""
    with warnings.catch_warnings():
        warnings.filterwarnings("default", message="Julia: ")
        yield


@pytest.fixture
def real_julia() -> None:
    """For what only the real thing can show."""
    if is_fake():
        pytest.skip("the fake computes with the native engine: only MPIReco.jl itself can show this")


@pytest.fixture
def process() -> Callable[..., str]:
    """Run a script in a process of its own; what it prints."""

    def run(code: str, *arguments: object) -> str:
        door = "from tests import julia_door; julia_door.install()\n" if is_fake() else ""
        command = [sys.executable, "-c", door + code, *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(PROJECT)}
        done = subprocess.run(
            command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=1800, check=False
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    return run
