"""Which Julia would be used and why, found without starting or downloading anything; and the set-up that installs it.

juliacall takes, in this order: a Julia that runs already; PYTHON_JULIACALL_EXE with PYTHON_JULIACALL_PROJECT; else what
juliapkg says: PYTHON_JULIAPKG_EXE, the Julia it set up before, the one it downloaded before, juliaup's, ``julia`` on the
PATH, a download. Source: juliacall 0.9.37 ``__init__.py``; juliapkg 0.1.28 ``state.py``, ``deps.py``, ``find_julia.py``.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mpibridge import julia
from mpibridge.errors import JuliaSetupError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

VERSION_SECONDS = 20
"""How long a ``julia --version`` may take; the first call on a network drive is slow."""
OWN_BOUNDS = Path(__file__).with_name("juliapkg.json")
"""What juliapkg reads about this package."""
SETUP = "run 'mpibridge setup-julia' (it needs the network)"
TWO_WAYS = (
    "set up where there is a network, or name a Julia by PYTHON_JULIACALL_EXE and PYTHON_JULIACALL_PROJECT"
)


@dataclass(frozen=True)
class Choice:
    """The Julia that would be started.

    executable, version, project: None where nothing is there yet; why: what decided; by_juliapkg: juliapkg looks after
    the project, and locks a file there at every start; installs: it may install what is missing; resolved: nothing is
    left to install as far as it knows; problem: why Julia will not start; todo: what to do about that.
    """

    why: str
    executable: str | None = None
    version: str | None = None
    project: str | None = None
    by_juliapkg: bool = False
    installs: bool = False
    resolved: bool = False
    problem: str = ""
    todo: str = ""


@dataclass(frozen=True)
class Package:
    """A Julia package that is needed, and the version in the project (None: it is not there)."""

    name: str
    bounds: str
    installed: str | None
    fits: bool


@dataclass(frozen=True)
class Requirements:
    """Bounds that every Python package of this environment puts on Julia and its packages; ``Compat`` of juliapkg."""

    julia: Any
    packages: Mapping[str, Any]


def which_julia() -> Choice:
    """The Julia that juliacall would start in this process; problems are in the answer, nothing is raised."""
    try:
        return _running() or _named() or _of_juliapkg()
    except JuliaSetupError as error:
        return Choice("juliapkg cannot choose one", problem=str(error), todo="correct that, then ask again")


def option(package: str, name: str) -> tuple[str | None, str]:
    """What the user set for juliacall or juliapkg, and where: ``-X package-name`` wins over PYTHON_PACKAGE_NAME."""
    flag, variable = f"{package}-{name}".replace("_", "-"), f"PYTHON_{package}_{name}".upper()
    if flag in sys._xoptions:
        return str(sys._xoptions[flag]), f"-X {flag}"
    return os.environ.get(variable), variable


def julia_version(executable: str) -> str | None:
    """What ``executable --version`` says; None if that is no Julia."""
    try:
        done = subprocess.run(
            [executable, "--version"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=VERSION_SECONDS,
            encoding="utf8",
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout.split()
    return words[2] if done.returncode == 0 and words[:2] == ["julia", "version"] and len(words) > 2 else None


def requirements() -> Requirements:
    """Bounds of all ``juliapkg.json`` of this environment; JuliaSetupError if they contradict each other."""
    with _asking():
        from juliapkg.compat import Compat
        from juliapkg.deps import find_requirements

        bounds, specs = find_requirements()
        found = {spec.name: Compat.parse(spec.version or "0 - 999") for spec in specs}
    if not found.keys() >= json.loads(OWN_BOUNDS.read_text())["packages"].keys():
        raise JuliaSetupError(
            f"juliapkg does not find {OWN_BOUNDS}: the folder above it must be in sys.path; install mpibridge with pip"
        )
    return Requirements(bounds, found)


def packages(choice: Choice) -> list[Package]:
    """The Julia packages that are needed, beside those of the project's manifest."""
    found = installed(Path(choice.project), choice.version) if choice.project else {}
    return [
        Package(name, str(bounds), found.get(name), name in found and _inside(found[name], bounds))
        for name, bounds in sorted(requirements().packages.items())
    ]


def installed(project: Path, version: str | None) -> dict[str, str]:
    """Version by name of the packages in a project's manifest; {} without a manifest.

    Source: Julia's ``base/loading.jl``, ``manifest_names``, and the manifest formats 1 and 2 of Pkg.jl.
    """
    series = ".".join((version or "").split(".")[:2])
    names = (
        f"JuliaManifest-v{series}.toml",
        f"Manifest-v{series}.toml",
        "JuliaManifest.toml",
        "Manifest.toml",
    )
    path = next((project / name for name in names if os.path.isfile(project / name)), None)
    if path is None:
        return {}
    try:
        manifest = tomllib.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise JuliaSetupError(f"{path} cannot be read ({error}); delete it and {SETUP}") from error
    entries = manifest.get("deps", manifest)
    return {
        name: entry[0]["version"]
        for name, entry in entries.items()
        if isinstance(entry, list) and "version" in entry[0]
    }


def depots() -> list[Path]:
    """Where Julia keeps packages and compiled code; it writes into the first. An empty entry is the default one."""
    default = Path.home() / ".julia"
    entries = os.environ.get("JULIA_DEPOT_PATH", "").split(os.pathsep)
    return [Path(entry).expanduser() if entry else default for entry in entries]


def add_command(choice: Choice, wanted: list[Package]) -> str:
    """The shell command that adds packages to a project that juliapkg does not look after."""
    specs = []
    for package in wanted:
        version = package.bounds.lstrip("=^~").replace(" ", "")  # as Pkg writes it
        known = "" if "," in version else f', version="{version}"'  # several ranges: the others decide
        specs.append(f'Pkg.PackageSpec(name="{package.name}"{known})')
    script = f"import Pkg; Pkg.add([{', '.join(specs)}])"
    return f"{choice.executable} --project={choice.project} -e '{script}'"


def set_up(report: Callable[[int, int, str], None]) -> julia.Running:
    """Install what is missing, precompile it and start Julia; ``report(done, total, text)`` hears of each step.

    Raises JuliaSetupError, with what to do, if Julia or its packages cannot be had.
    """
    choice = which_julia()
    if choice.problem:
        raise JuliaSetupError(f"{choice.problem}; {choice.todo}")
    which = f"Julia {choice.version}, {choice.executable}" if choice.executable else "no Julia yet"
    report(0, 2, f"{which}: {choice.why}; project {choice.project}")
    missing = [package for package in packages(choice) if not package.fits]
    if choice.installs:
        _resolve(force=bool(missing))
    elif missing:
        names = ", ".join(f"{package.name} {package.bounds}" for package in missing)
        raise JuliaSetupError(
            f"the project {choice.project} lacks {names}, and nothing is installed there; "
            f"where there is a network: {add_command(choice, missing)}"
        )
    report(1, 2, "precompiling and starting, minutes the first time")
    running = julia.start()
    report(2, 2, str(running))
    return running


def _resolve(force: bool) -> None:
    """Let juliapkg install; what it says goes to stderr, as Pkg's own lines do."""
    with _asking(said=sys.stderr, todo=f"without a network: {TWO_WAYS}"):
        import juliapkg

        juliapkg.resolve(force=force)


def _running() -> Choice | None:
    config = getattr(sys.modules.get("juliacall"), "CONFIG", {})
    if not config.get("inited"):
        return None
    executable, project = config.get("exepath"), config.get("project")
    version = julia_version(executable) if executable else None
    return Choice("juliacall runs it already in this process", executable, version, project, resolved=True)


def _named() -> Choice | None:
    """The Julia that the user gave to juliacall itself; juliapkg is not asked then."""
    (executable, where), (project, project_where) = (option("juliacall", name) for name in ("exe", "project"))
    home, home_where = option("juliacall", "home")
    if home is None:
        home, home_where = os.environ.get("PYTHON_JULIACALL_BINDIR"), "PYTHON_JULIACALL_BINDIR"
    if executable is None and home is not None:
        executable, where = str(Path(home) / "julia"), home_where
    if executable is None and project is None:
        return None
    choice = Choice(f"{where} and {project_where} name it", executable, project=project, resolved=True)
    if executable is None or project is None:
        given, lacking = (project_where, where) if executable is None else (where, project_where)
        return replace(
            choice,
            problem=f"{given} is set, {lacking} is not: juliacall needs both or neither",
            todo="set both, or unset it",
        )
    if not os.path.isdir(project):
        return replace(
            choice, problem=f"{project_where}={project} is not a folder", todo=f"correct {project_where}"
        )
    found = shutil.which(executable)
    version = julia_version(found) if found else None
    return _judged(replace(choice, executable=found or executable, version=version), where)


def _judged(choice: Choice, where: str) -> Choice:
    """With a problem if what the user named in ``where`` is no Julia, or not one within the bounds."""
    bounds = requirements().julia
    if choice.version is None:
        return replace(
            choice,
            problem=f"{where} names {choice.executable}, which does not answer 'julia version' to --version",
            todo=f"set {where} to the file bin/julia of a Julia within {bounds}",
        )
    if not _inside(choice.version, bounds):
        return replace(
            choice,
            problem=f"{choice.executable} is Julia {choice.version}, needed is {bounds}",
            todo=f"set {where} to one within {bounds}",
        )
    return choice


def _of_juliapkg() -> Choice:
    """The Julia that juliapkg would take."""
    bounds = requirements().julia
    with _asking():
        from juliapkg.deps import can_skip_resolve, load_meta
        from juliapkg.state import STATE

        named, offline, meta = STATE["override_executable"], STATE["offline"], load_meta()
        # Asked here first, because juliapkg waits without end for a Julia that does not answer.
        answers = meta is not None and julia_version(meta["executable"]) == meta["version"]
        resolved = answers and bool(can_skip_resolve())
    choice = Choice("", project=STATE["project"], by_juliapkg=True, installs=not offline, resolved=resolved)
    if named:
        where = option("juliapkg", "exe")[1]
        found = shutil.which(named)
        version = julia_version(found) if found else None
        return _judged(
            replace(choice, why=f"{where} names it", executable=found or named, version=version), where
        )
    if resolved:
        why = "juliapkg has set it up before"
        return replace(choice, why=why, executable=meta["executable"], version=meta["version"])
    return _search(choice, bounds, STATE["install"])


def _search(choice: Choice, bounds: Any, folder: str) -> Choice:
    """What juliapkg would find on this computer, or download into ``folder``.

    Of two that both are within the bounds it may take the newer one, which only the network knows, instead.
    """
    downloaded = shutil.which(str(Path(folder, "bin", "julia")))
    version = julia_version(downloaded) if downloaded else None
    if version and _inside(version, bounds):
        return replace(choice, why="juliapkg downloaded it before", executable=downloaded, version=version)
    if shutil.which("juliaup"):
        with _asking():
            from juliapkg.find_julia import ju_find_julia_noinstall

            if found := ju_find_julia_noinstall(bounds):
                why = f"juliaup has it, the newest there within {bounds}"
                return replace(choice, why=why, executable=str(found[0]), version=str(found[1]))
        return _none(choice, f"juliaup has no Julia within {bounds}", "juliaup would install one")
    on_path = shutil.which("julia")
    version = julia_version(on_path) if on_path else None
    if version and _inside(version, bounds):
        return replace(choice, why="it is on the PATH", executable=on_path, version=version)
    found_there = (
        f"{on_path} is Julia {version}, needed is {bounds}" if version else f"no Julia within {bounds}"
    )
    return _none(choice, found_there, f"juliapkg would download one into {folder}")


def _none(choice: Choice, found: str, next_step: str) -> Choice:
    if choice.installs:
        return replace(choice, why=f"{found}; {next_step}")
    problem = f"{found}, and {option('juliapkg', 'offline')[1]} forbids to download one"
    return replace(choice, why=found, problem=problem, todo=TWO_WAYS)


def _inside(version: str, bounds: Any) -> bool:
    from juliapkg.compat import Version

    try:
        return bounds is None or Version.parse(version) in bounds
    except ValueError:
        return False


@contextmanager
def _asking(said: Any = None, todo: str = "") -> Iterator[None]:
    """What juliapkg prints goes to ``said`` (or nowhere), what it raises becomes a JuliaSetupError."""
    try:
        with redirect_stdout(io.StringIO() if said is None else said):
            yield
    except Exception as error:
        text = " ".join(str(error).split())  # lists of contradictory bounds have several lines
        what = "it is not installed; pip install juliacall" if isinstance(error, ImportError) else text
        raise JuliaSetupError(f"juliapkg: {what}" + (f"; {todo}" if todo else "")) from error
