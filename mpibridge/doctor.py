"""What is installed, which Julia would be used and why, and what to do about what is missing; nothing is started."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from rich.table import Table
from rich.text import Text

from mpibridge import __version__, julia, julia_setup
from mpibridge.errors import JuliaSetupError
from mpibridge.julia_setup import Choice, Package

NATIVE, JULIA = "Native engine", "Julia"
"""The sections. Only what is wrong in the first keeps mpibridge from working."""
NEEDED = ("numpy", "scipy", "xarray", "dask", "numba")
"""Packages without which nothing is reconstructed; torch and h5py have lines of their own."""
NEEDED_FOR = 'only needed for engine="julia", plugin="mpireco", Bruker and IMT files'
COLORS = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@dataclass(frozen=True)
class Finding:
    """One line of the screen. todo: what to do about it, "" where nothing is to be done."""

    section: str
    question: str
    answer: str
    state: Literal["ok", "warning", "problem"] = "ok"
    todo: str = ""


def examine() -> list[Finding]:
    """Everything that the screen says, in its order."""
    imported = [name for name in ("torch", "h5py", "juliacall") if name in sys.modules]
    return [*_native(), *_julia(imported)]


def breaks_native(findings: list[Finding]) -> bool:
    """Whether something is wrong that mpibridge cannot work without; Julia it can."""
    return any(finding.section == NATIVE and finding.state == "problem" for finding in findings)


def draw(findings: list[Finding]) -> Table:
    """The findings as a table for the terminal."""
    table = Table.grid(padding=(0, 2))
    section = None
    for finding in findings:
        if finding.section != section:
            section = finding.section
            table.add_row(Text(section, "bold"))
        table.add_row(Text(finding.state, COLORS[finding.state]), finding.question, Text(finding.answer))
        if finding.todo:
            table.add_row("", "", Text(f"→ {finding.todo}", "italic"))
    return table


def recipe() -> str:
    """How a cluster whose nodes have no network comes to Julia."""
    return """\
On a cluster without network, on a login node that has one, with folders that the nodes see, too:
  export JULIA_DEPOT_PATH=/shared/julia: PYTHON_JULIAPKG_PROJECT=/shared/mpibridge
  mpibridge setup-julia
and in every job the same export and
  export PYTHON_JULIAPKG_OFFLINE=yes
If a job may not write to the project, or for a Julia of your own, name both, as doctor shows them, instead:
  export PYTHON_JULIACALL_EXE=/path/to/julia PYTHON_JULIACALL_PROJECT=/path/to/project"""


def _native() -> list[Finding]:
    return [
        Finding(NATIVE, "Python", f"{platform.python_version()}, {sys.executable}"),
        Finding(NATIVE, "mpibridge", f"{__version__}, {Path(__file__).parent}"),
        *_needed(),
        _torch(),
        _gpu(),
        _h5py(),
    ]


def _needed() -> list[Finding]:
    broken = [finding for name in NEEDED if (finding := _broken(name))]
    rest = [name for name in NEEDED if name not in {finding.question for finding in broken}]
    return [Finding(NATIVE, "libraries", ", ".join(f"{name} {_version(name)}" for name in rest)), *broken]


def _broken(name: str) -> Finding | None:
    """A red line if the package cannot be imported."""
    try:
        importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 - whatever keeps a package from loading is to be shown
        todo = f"pip install --force-reinstall {name}"
        return Finding(NATIVE, name, f"cannot be imported: {julia.first_line(error)}", "problem", todo)
    return None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "without a version"


def _torch() -> Finding:
    if broken := _broken("torch"):
        return broken
    import torch

    built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU"
    return Finding(NATIVE, "torch", f"{torch.__version__}, built {built}, {torch.get_num_threads()} threads")


def _gpu() -> Finding:
    if shutil.which("nvidia-smi") is None:
        return Finding(NATIVE, "GPU", "none: no NVIDIA driver is installed; everything runs on the CPU")
    if _broken("torch"):
        return Finding(NATIVE, "GPU", "unknown: torch cannot be imported", "warning")
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if names:
        return Finding(NATIVE, "GPU", ", ".join(names))
    todo = "install a torch for this driver (pytorch.org, 'Get started'), or go on: the CPU is used"
    return Finding(NATIVE, "GPU", "nvidia-smi is there, but torch sees no GPU", "warning", todo)


def _h5py() -> Finding:
    if broken := _broken("h5py"):
        return broken
    import h5py

    return Finding(NATIVE, "h5py", f"{h5py.__version__} with HDF5 {h5py.version.hdf5_version}")


def _julia(imported: Sequence[str]) -> list[Finding]:
    if not julia.is_installed():
        todo = f"pip install juliacall; {NEEDED_FOR}"
        return [Finding(JULIA, "juliacall", "not installed", "warning", todo)]
    choice = julia_setup.which_julia()
    return [
        Finding(JULIA, "juliacall", f"{_version('juliacall')} with juliapkg {_version('juliapkg')}"),
        _which(choice),
        _project(choice),
        _depot(),
        *_packages(choice),
        _threads(),
        _order(imported),
        *_clashes(),
    ]


def _which(choice: Choice) -> Finding:
    if choice.problem:
        return Finding(JULIA, "which Julia", choice.problem, "problem", choice.todo)
    if choice.executable is None:
        todo = f"{julia_setup.SETUP}; {NEEDED_FOR}"
        return Finding(JULIA, "which Julia", f"none yet: {choice.why}", "warning", todo)
    answer = f"{choice.version or 'version unknown'}, {choice.executable}: {choice.why}"
    return Finding(JULIA, "which Julia", answer)


def _project(choice: Choice) -> Finding:
    if choice.project is None:
        return Finding(JULIA, "project", "unknown", "warning")
    if choice.by_juliapkg and not writable(Path(choice.project)):
        answer = f"{choice.project}: not writable, and juliapkg locks a file there at every start"
        return Finding(JULIA, "project", answer, "problem", _without_juliapkg(choice))
    if choice.executable and not choice.resolved:
        answer = f"{choice.project}: not set up, or something has changed since"
        if not choice.installs:
            return Finding(JULIA, "project", f"{answer}; taken as it is, PYTHON_JULIAPKG_OFFLINE is set")
        return Finding(JULIA, "project", answer, "warning", f"{julia_setup.SETUP}; {NEEDED_FOR}")
    return Finding(JULIA, "project", choice.project + ("" if choice.executable else ": not made yet"))


def _without_juliapkg(choice: Choice) -> str:
    if choice.executable is None or not os.path.isdir(choice.project or ""):
        return "set PYTHON_JULIAPKG_PROJECT to a folder that you may write to"
    return f"export PYTHON_JULIACALL_EXE={choice.executable} PYTHON_JULIACALL_PROJECT={choice.project}"


def _depot() -> Finding:
    folders = julia_setup.depots()
    answer = os.pathsep.join(map(str, folders))
    if not writable(folders[0]):
        todo = "set JULIA_DEPOT_PATH to a folder of yours, followed by this one"
        return Finding(
            JULIA,
            "depot",
            f"{answer}: {folders[0]} is not writable, so compiled code is lost",
            "warning",
            todo,
        )
    return Finding(JULIA, "depot", answer)


def writable(folder: Path) -> bool:
    """Whether the folder, or what is there of the path to it, can be written to."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.exists(path))
    return os.access(there, os.W_OK)


def _packages(choice: Choice) -> list[Finding]:
    """One line for what fits, one for each package that does not; one for all if none is there."""
    if choice.problem:
        return []
    try:
        wanted = julia_setup.packages(choice)
    except JuliaSetupError as error:
        return [Finding(JULIA, "packages", str(error), "problem")]
    good = [package for package in wanted if package.fits]
    bad = [package for package in wanted if not package.fits]
    findings = []
    if good:
        findings = [Finding(JULIA, "packages", ", ".join(f"{each.name} {each.installed}" for each in good))]
    if all(package.installed is None for package in wanted):
        named = ", ".join(f"{package.name} {package.bounds}" for package in wanted)
        answer = f"none is installed of {named}"
        todo = f"{_get(choice, bad)}; {NEEDED_FOR}" if choice.executable else ""  # else said above
        return [Finding(JULIA, "packages", answer, "warning", todo)]
    return findings + [_misfit(package, _get(choice, bad) if package is bad[-1] else "") for package in bad]


def _misfit(package: Package, todo: str) -> Finding:
    found = f"{package.installed} is installed" if package.installed else "not installed"
    return Finding(JULIA, package.name, f"{found}, needed is {package.bounds}", "problem", todo)


def _get(choice: Choice, wanted: list[Package]) -> str:
    return julia_setup.SETUP if choice.installs else julia_setup.add_command(choice, wanted)


def _threads() -> Finding:
    """What `mpibridge.julia` starts Julia with; the user's variables win."""
    threads = julia_setup.option("juliacall", "threads")[0] or os.environ.get("JULIA_NUM_THREADS", "1")
    signals = julia_setup.option("juliacall", "handle_signals")[0] or ("no" if threads == "1" else "yes")
    answer = f"{threads} of Julia, handle_signals={signals}"
    if threads == "1":
        todo = "unset PYTHON_JULIACALL_HANDLE_SIGNALS" if signals == "yes" else ""
    else:
        todo = "unset PYTHON_JULIACALL_THREADS and JULIA_NUM_THREADS: MPIReco's solvers use one thread"
    if signals == "yes":
        return Finding(JULIA, "threads", f"{answer}: Ctrl-C does not reach Python", "warning", todo)
    if threads != "1":
        answer += ": Julia's garbage collector needs signals with several threads, and may crash"
        return Finding(JULIA, "threads", answer, "problem", todo)
    return Finding(JULIA, "threads", f"{answer}: Ctrl-C stops a call")


def _order(imported: Sequence[str]) -> Finding:
    """Source: both orders were run, with and without h5py: torch 2.13, h5py 3.16, juliacall 0.9.37, Julia 1.10.8."""
    before = ", ".join(imported) or "none of them"
    answer = f"torch, h5py and Julia work in either order; imported before this command: {before}"
    return Finding(JULIA, "import order", answer)


def _clashes() -> list[Finding]:
    """What is known to disturb Julia in a Python process, and is the case here."""
    findings = []
    if os.environ.get("LD_LIBRARY_PATH"):
        answer = f"LD_LIBRARY_PATH={os.environ['LD_LIBRARY_PATH']} puts its libraries before Julia's own"
        findings.append(
            (answer, "if Julia crashes or misses a symbol, unset it (unload the modules that set it)")
        )
    if (path := os.environ.get("JULIA_LOAD_PATH")) and not {"", "@"} & set(path.split(os.pathsep)):
        findings.append((f"JULIA_LOAD_PATH={path} hides the project", "unset it, or put '@' in front"))
    if find_spec("netCDF4"):
        answer = "netCDF4 brings a libhdf5 beside h5py's and Julia's (PythonCall.jl issue 397)"
        findings.append((answer, "if it crashes, start Julia before you import netCDF4"))
    return [Finding(JULIA, "clash", answer, "warning", todo) for answer, todo in findings] or [
        Finding(JULIA, "clashes", "none of the known ones")
    ]
