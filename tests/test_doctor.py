"""`mpibridge doctor` and the set-up of Julia, with fake Julias: small scripts that know their version."""

import importlib
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import juliapkg
import pytest
from juliapkg.find_julia import get_short_arch
from juliapkg.state import reset_state
from rich.console import Console

from mpibridge import doctor, julia, julia_setup
from mpibridge.errors import JuliaSetupError

FAKE = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
    --version) echo "julia version {version}" ;;
    *libjulia*) printf '/julia/lib/libjulia.so\\000/julia/bin' ;;
    *Pkg.add*) {add} ;;
esac
"""
"""Answers what juliapkg asks, and notes every call."""
GOOD = {
    "AbstractImageReconstruction": "0.5.5",
    "HDF5": "0.17.2",
    "MPIFiles": "0.19.2",
    "MPIReco": "0.9.7",
    "PrecompileTools": "1.2.1",
    "PythonCall": "",
    "RegularizedLeastSquares": "0.16.12",
}


def fake_julia(path, version="1.10.8", add=":"):
    """An executable that answers as Julia does; ``add``: what the shell does when packages are added."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FAKE.format(version=version, add=add, log=path.with_name("calls")))
    path.chmod(0o755)
    return str(path)


def manifest(folder, **versions):
    """The text of a manifest with the packages that are needed; None leaves one out."""
    wanted = julia_setup.requirements().packages
    lowest = {name: str(bounds.clauses[0].lo) for name, bounds in wanted.items()}
    known = {**lowest, **{name: version for name, version in GOOD.items() if version}, **versions}
    entries = [f'[[deps.{name}]]\nversion = "{version}"\n' for name, version in known.items() if version]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Manifest.toml").write_text('manifest_format = "2.0"\n' + "".join(entries))
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An account without any Julia; ``restart()`` makes juliapkg read the environment anew, as a new process does."""
    for name in list(os.environ):
        if name.startswith(("PYTHON_JULIA", "JULIA", "CONDA", "LD_LIBRARY")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    reset_state()
    yield tmp_path
    monkeypatch.undo()
    reset_state()


@pytest.fixture
def put(monkeypatch, home):
    """Sets variables as a shell does before Python starts."""

    def put(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        reset_state()

    return put


def finding(question):
    """The only line of the screen for a question."""
    found = [each for each in doctor.examine() if each.question == question]
    assert len(found) == 1, found
    return found[0]


# Which Julia, and why


def test_without_any_julia_one_would_be_downloaded(home):
    choice = julia_setup.which_julia()
    assert choice.executable is None
    assert choice.why == (
        "no Julia within 1.10.3 - 1.11; juliapkg would download one into "
        f"{home / 'venv' / 'julia_env' / 'pyjuliapkg' / 'install'}"
    )
    assert choice.installs
    assert not choice.problem
    line = finding("which Julia")
    assert line.state == "warning"
    assert "mpibridge setup-julia" in line.todo
    assert "only needed for" in line.todo


def test_a_julia_on_the_path(home):
    executable = fake_julia(home / "path" / "julia")
    choice = julia_setup.which_julia()
    assert (choice.executable, choice.version) == (executable, "1.10.8")
    assert choice.why == "it is on the PATH"
    assert not choice.resolved
    assert finding("project").state == "warning"


@pytest.mark.parametrize("version", ["1.9.4", "1.10.2", "1.12.0"])
def test_a_julia_on_the_path_of_another_version(home, version):
    executable = fake_julia(home / "path" / "julia", version)
    choice = julia_setup.which_julia()
    assert choice.executable is None
    assert choice.why.startswith(f"{executable} is Julia {version}, needed is 1.10.3 - 1.11; juliapkg would")


def test_a_julia_that_juliapkg_downloaded_wins_over_the_path(home):
    fake_julia(home / "path" / "julia")
    executable = fake_julia(
        home / "venv" / "julia_env" / "pyjuliapkg" / "install" / "bin" / "julia", "1.11.1"
    )
    choice = julia_setup.which_julia()
    assert (choice.executable, choice.version) == (executable, "1.11.1")
    assert choice.why == "juliapkg downloaded it before"


def test_juliaup_wins_over_the_path_and_gives_its_newest_within_the_bounds(home):
    fake_julia(home / "path" / "julia")
    fake_julia(home / "path" / "juliaup")
    known = {}
    for version in ("1.10.4", "1.10.8", "1.12.1"):
        name = f"julia-{version}"
        fake_julia(home / ".julia" / "juliaup" / name / "bin" / "julia", version)
        known[f"{version}+0.{get_short_arch()}.linux.gnu"] = {"Path": name}
    (home / ".julia" / "juliaup" / "juliaup.json").write_text(json.dumps({"InstalledVersions": known}))
    choice = julia_setup.which_julia()
    assert choice.version == "1.10.8"
    assert choice.executable == str(home / ".julia" / "juliaup" / "julia-1.10.8" / "bin" / "julia")
    assert "juliaup" in choice.why
    assert not (home / "path" / "calls").exists()  # neither juliaup nor the other Julia was run


def test_juliaup_without_a_julia_would_install_one(home, put):
    fake_julia(home / "path" / "juliaup")
    fake_julia(home / "path" / "julia")
    assert julia_setup.which_julia().why == (
        "juliaup has no Julia within 1.10.3 - 1.11; juliaup would install one"
    )
    put(PYTHON_JULIAPKG_OFFLINE="yes")
    assert "juliaup has no Julia" in julia_setup.which_julia().problem


def test_juliapkg_exe(home, put):
    executable = fake_julia(home / "mine" / "julia", "1.11.4")
    fake_julia(home / "path" / "julia")
    put(PYTHON_JULIAPKG_EXE=executable)
    choice = julia_setup.which_julia()
    assert (choice.executable, choice.version) == (executable, "1.11.4")
    assert choice.why == "PYTHON_JULIAPKG_EXE names it"


def test_a_flag_wins_over_the_variable(home, put, monkeypatch):
    executable = fake_julia(home / "mine" / "julia", "1.11.4")
    monkeypatch.setitem(sys._xoptions, "juliapkg-exe", executable)
    put(PYTHON_JULIAPKG_EXE="/nowhere/julia")
    choice = julia_setup.which_julia()
    assert choice.executable == executable
    assert choice.why == "-X juliapkg-exe names it"


@pytest.mark.parametrize(
    ("version", "problem"),
    [("1.9.4", "is Julia 1.9.4, needed is 1.10.3 - 1.11"), ("oops", "is Julia oops, needed is")],
)
@pytest.mark.parametrize("package", ["JULIAPKG", "JULIACALL"])
def test_a_named_julia_of_another_version_is_a_problem(home, put, package, version, problem):
    executable = fake_julia(home / "mine" / "julia", version)
    put(**{f"PYTHON_{package}_EXE": executable, f"PYTHON_{package}_PROJECT": home})
    choice = julia_setup.which_julia()
    assert f"{executable} {problem}" in choice.problem
    assert f"set PYTHON_{package}_EXE to one within 1.10.3 - 1.11" in choice.todo
    assert finding("which Julia").state == "problem"


@pytest.mark.parametrize("package", ["JULIAPKG", "JULIACALL"])
def test_a_named_file_that_is_no_julia_is_a_problem(home, put, package):
    other = home / "mine" / "julia"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\necho Python 3.11\n")
    other.chmod(0o755)
    for executable in (other, home / "nothing"):
        put(**{f"PYTHON_{package}_EXE": executable, f"PYTHON_{package}_PROJECT": home})
        assert f"names {executable}, which does not answer" in julia_setup.which_julia().problem


def test_a_julia_that_does_not_answer_is_given_up(home, put, monkeypatch):
    monkeypatch.setattr(julia_setup, "VERSION_SECONDS", 0.2)
    hanging = home / "mine" / "julia"
    hanging.parent.mkdir()
    hanging.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    hanging.chmod(0o755)
    put(PYTHON_JULIAPKG_EXE=hanging)
    started = time.monotonic()
    assert "does not answer" in julia_setup.which_julia().problem
    assert time.monotonic() - started < 10


def test_exe_and_project_together_win_over_juliapkg(home, put):
    executable = fake_julia(home / "mine" / "julia")
    put(
        PYTHON_JULIACALL_EXE=executable,
        PYTHON_JULIACALL_PROJECT=manifest(home / "own"),
        PYTHON_JULIAPKG_EXE="/nowhere/julia",
    )
    choice = julia_setup.which_julia()
    assert (choice.executable, choice.version, choice.project) == (executable, "1.10.8", str(home / "own"))
    assert choice.why == "PYTHON_JULIACALL_EXE and PYTHON_JULIACALL_PROJECT name it"
    assert choice.resolved
    assert not choice.installs
    assert finding("which Julia").state == finding("packages").state == "ok"


def test_exe_is_looked_up_on_the_path_and_bindir_will_do_as_well(home, put):
    executable = fake_julia(home / "path" / "julia")
    put(PYTHON_JULIACALL_EXE="julia", PYTHON_JULIACALL_PROJECT=home)
    assert julia_setup.which_julia().executable == executable
    os.environ.pop("PYTHON_JULIACALL_EXE")
    put(PYTHON_JULIACALL_BINDIR=home / "path")
    choice = julia_setup.which_julia()
    assert choice.executable == executable
    assert choice.why.startswith("PYTHON_JULIACALL_BINDIR and")


@pytest.mark.parametrize(("given", "lacking"), [("EXE", "PROJECT"), ("PROJECT", "EXE")])
def test_one_of_exe_and_project_alone_is_a_problem(home, put, given, lacking):
    put(**{f"PYTHON_JULIACALL_{given}": fake_julia(home / "mine" / "julia")})
    line = finding("which Julia")
    assert line.state == "problem"
    assert line.answer == (
        f"PYTHON_JULIACALL_{given} is set, PYTHON_JULIACALL_{lacking} is not: juliacall needs both or neither"
    )
    findings = doctor.examine()
    assert not doctor.breaks_native(findings)
    assert "packages" not in {each.question for each in findings}  # of which project?


def test_a_project_that_is_not_there_is_a_problem(home, put):
    put(PYTHON_JULIACALL_EXE=fake_julia(home / "mine" / "julia"), PYTHON_JULIACALL_PROJECT=home / "none")
    assert f"PYTHON_JULIACALL_PROJECT={home / 'none'} is not a folder" in julia_setup.which_julia().problem


def test_offline_without_a_julia_is_a_problem_with_the_way_out(put):
    put(PYTHON_JULIAPKG_OFFLINE="yes")
    choice = julia_setup.which_julia()
    assert choice.problem == (
        "no Julia within 1.10.3 - 1.11, and PYTHON_JULIAPKG_OFFLINE forbids to download one"
    )
    assert "PYTHON_JULIACALL_EXE and PYTHON_JULIACALL_PROJECT" in choice.todo
    assert not choice.installs


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"PYTHON_JULIAPKG_OFFLINE": "maybe"}, "PYTHON_JULIAPKG_OFFLINE must be one of"),
        ({"PYTHON_JULIAPKG_PROJECT": "relative"}, "PYTHON_JULIAPKG_PROJECT must be an absolute path"),
    ],
)
def test_what_juliapkg_refuses_is_a_problem_and_no_foreign_exception(home, variables, problem):
    code = "from mpibridge import julia_setup; print(julia_setup.which_julia().problem)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"juliapkg: {problem}" in done.stdout


def test_a_julia_that_runs_is_used_as_it_is(home, put, monkeypatch):
    executable = fake_julia(home / "mine" / "julia")
    running = type(sys)("juliacall")
    running.CONFIG = {"inited": True, "exepath": executable, "project": str(manifest(home / "own"))}
    monkeypatch.setitem(sys.modules, "juliacall", running)
    put(PYTHON_JULIACALL_EXE="/nowhere/julia")
    choice = julia_setup.which_julia()
    assert (choice.executable, choice.version, choice.project) == (executable, "1.10.8", str(home / "own"))
    assert choice.why == "juliacall runs it already in this process"


def test_the_project_is_where_juliapkg_puts_it(home, put, monkeypatch):
    assert julia_setup.which_julia().project == str(home / "venv" / "julia_env")
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    put(JULIA_DEPOT_PATH=home / "depot")
    assert julia_setup.which_julia().project == str(home / "depot" / "environments" / "pyjuliapkg")
    put(CONDA_PREFIX=home / "conda")
    assert julia_setup.which_julia().project == str(home / "conda" / "julia_env")
    put(PYTHON_JULIAPKG_PROJECT=home / "shared")
    assert julia_setup.which_julia().project == str(home / "shared")


def test_python_packages_that_contradict_each_other_are_named(home, monkeypatch):
    other = home / "site" / "other"
    other.mkdir(parents=True)
    (other / "juliapkg.json").write_text('{"julia": "1.12"}')
    monkeypatch.syspath_prepend(home / "site")
    problem = julia_setup.which_julia().problem
    assert "'julia' compat entries have empty intersection" in problem
    assert str(other / "juliapkg.json") in problem


# Packages and depot


def own_project(home, put, **versions):
    put(
        PYTHON_JULIACALL_EXE=fake_julia(home / "mine" / "julia"),
        PYTHON_JULIACALL_PROJECT=manifest(home / "own", **versions),
    )


def test_packages_of_other_versions_and_missing_ones_are_problems_with_the_command(home, put):
    own_project(home, put, MPIReco="0.9.6", HDF5=None)
    reco, hdf5 = finding("MPIReco"), finding("HDF5")
    assert reco.state == hdf5.state == "problem"
    assert reco.answer == "0.9.6 is installed, needed is =0.9.7"
    assert hdf5.answer == "not installed, needed is ^0.16, ^0.17"
    assert reco.todo == (
        f"{home / 'mine' / 'julia'} --project={home / 'own'} -e 'import Pkg; "
        'Pkg.add([Pkg.PackageSpec(name="HDF5"), Pkg.PackageSpec(name="MPIReco", version="0.9.7")])\''
    )
    assert "MPIFiles 0.19.2" in finding("packages").answer
    assert "MPIReco" not in finding("packages").answer
    assert not doctor.breaks_native(doctor.examine())


def test_pythoncall_must_have_the_version_of_juliacall(home, put):
    own_project(home, put, PythonCall="0.9.20")
    from importlib.metadata import version

    assert finding("PythonCall").answer == f"0.9.20 is installed, needed is ={version('juliacall')}"


def test_an_empty_project_is_one_warning(home, put):
    (home / "own").mkdir()
    put(PYTHON_JULIACALL_EXE=fake_julia(home / "julia"), PYTHON_JULIACALL_PROJECT=home / "own")
    line = finding("packages")
    assert line.state == "warning"
    assert line.answer.startswith("none is installed of AbstractImageReconstruction ^0.5")
    assert "Pkg.add" in line.todo


def test_the_manifest_is_the_one_that_this_julia_reads(tmp_path):
    manifest(tmp_path)
    (tmp_path / "Manifest-v1.11.toml").write_text('[[deps.MPIReco]]\nversion = "0.9.5"\n')
    assert julia_setup.installed(tmp_path, "1.11.2") == {"MPIReco": "0.9.5"}
    assert julia_setup.installed(tmp_path, "1.10.8")["MPIReco"] == "0.9.7"
    (tmp_path / "Manifest.toml").write_text('[[MPIReco]]\nversion = "0.9.4"\n[[Dates]]\n')  # format 1
    assert julia_setup.installed(tmp_path, "1.10.8") == {"MPIReco": "0.9.4"}


def test_a_broken_manifest_is_a_problem(home, put):
    own_project(home, put)
    (home / "own" / "Manifest.toml").write_text("[[deps")
    line = finding("packages")
    assert line.state == "problem"
    assert f"{home / 'own' / 'Manifest.toml'} cannot be read" in line.answer


def test_depots(home, put, monkeypatch):
    assert julia_setup.depots() == [home / ".julia"]
    put(JULIA_DEPOT_PATH=f"/scratch/mine:{home}/shared:")
    assert julia_setup.depots() == [Path("/scratch/mine"), home / "shared", home / ".julia"]
    assert finding("depot").answer.startswith("/scratch/mine:")


@pytest.fixture
def locked(home, monkeypatch):
    """A folder without the right to write to it; for root, too, who may write anywhere."""
    folder = home / "locked"
    folder.mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder and access(path, mode))
    return folder


def test_a_depot_that_cannot_be_written_to(put, locked):
    put(JULIA_DEPOT_PATH=locked / "depot")
    line = finding("depot")
    assert line.state == "warning"
    assert f"{locked / 'depot'} is not writable" in line.answer
    assert "JULIA_DEPOT_PATH" in line.todo


@pytest.mark.parametrize("offline", ["yes", "no"])
def test_a_project_that_juliapkg_cannot_lock(put, locked, offline):
    put(PYTHON_JULIAPKG_PROJECT=locked, PYTHON_JULIAPKG_OFFLINE=offline)
    line = finding("project")
    assert line.state == "problem"
    assert line.todo.startswith("set PYTHON_JULIAPKG_PROJECT to a folder")
    executable = fake_julia(locked.parent / "mine" / "julia")
    put(PYTHON_JULIAPKG_EXE=executable)
    assert finding("project").todo == (
        f"export PYTHON_JULIACALL_EXE={executable} PYTHON_JULIACALL_PROJECT={locked}"
    )
    put(PYTHON_JULIACALL_EXE=executable, PYTHON_JULIACALL_PROJECT=locked)
    assert finding("project").state == "ok"


# Threads, order, clashes


@pytest.mark.parametrize(
    ("variables", "answer", "state"),
    [
        ({}, "1 of Julia, handle_signals=no: Ctrl-C stops a call", "ok"),
        ({"JULIA_NUM_THREADS": "4"}, "4 of Julia, handle_signals=yes: Ctrl-C does not", "warning"),
        (
            {"JULIA_NUM_THREADS": "4", "PYTHON_JULIACALL_THREADS": "1"},
            "1 of Julia, handle_signals=no",
            "ok",
        ),
        (
            {"PYTHON_JULIACALL_THREADS": "auto", "PYTHON_JULIACALL_HANDLE_SIGNALS": "no"},
            "auto of Julia, handle_signals=no: Julia's garbage collector needs signals",
            "problem",
        ),
        ({"PYTHON_JULIACALL_HANDLE_SIGNALS": "yes"}, "1 of Julia, handle_signals=yes: Ctrl-C", "warning"),
    ],
)
def test_threads_and_signals(put, variables, answer, state):
    put(**variables)
    line = finding("threads")
    assert line.answer.startswith(answer)
    assert line.state == state
    assert bool(line.todo) == (state != "ok")


def test_known_clashes(put, monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert finding("clashes").state == "ok"
    put(LD_LIBRARY_PATH="/opt/hdf5/lib", JULIA_LOAD_PATH="/somewhere")
    monkeypatch.setattr(doctor, "find_spec", lambda name: name == "netCDF4" or None)
    found = [each for each in doctor.examine() if each.question == "clash"]
    for line, name in zip(found, ("LD_LIBRARY_PATH", "JULIA_LOAD_PATH", "netCDF4"), strict=True):
        assert line.answer.startswith(name)
        assert line.state == "warning"
        assert line.todo
    put(LD_LIBRARY_PATH="", JULIA_LOAD_PATH="@:/somewhere")
    assert [each.answer[:7] for each in doctor.examine() if each.question == "clash"] == ["netCDF4"]


# The native engine


def test_the_native_engine_is_fine_here(home):
    findings = doctor.examine()
    assert not doctor.breaks_native(findings)
    import h5py
    import torch

    assert finding("h5py").answer == f"{h5py.__version__} with HDF5 {h5py.version.hdf5_version}"
    assert torch.__version__ in finding("torch").answer
    assert "numba" in finding("libraries").answer


@pytest.mark.parametrize("name", ["torch", "h5py", "numba"])
def test_a_broken_package_is_a_red_line_that_breaks_the_native_engine(home, monkeypatch, name):
    import_module = importlib.import_module

    def broken(wanted):
        if wanted == name:
            raise OSError(f"lib{name}.so: undefined symbol\nmore")
        return import_module(wanted)

    monkeypatch.setattr(importlib, "import_module", broken)
    line = finding(name)
    assert line.state == "problem"
    assert line.answer == f"cannot be imported: lib{name}.so: undefined symbol"
    assert line.todo == f"pip install --force-reinstall {name}"
    assert doctor.breaks_native(doctor.examine())


def test_a_driver_without_a_gpu_in_torch_is_a_warning(home, monkeypatch):
    import torch

    assert finding("GPU").answer.startswith("none")
    fake_julia(home / "path" / "nvidia-smi")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert finding("GPU").state == "warning"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"H{index}")
    assert finding("GPU") == doctor.Finding(doctor.NATIVE, "GPU", "H0, H1")


# The screen


def test_the_screen_shows_every_line_and_no_markup():
    findings = [
        doctor.Finding("A", "one", "[bold]as it is[/bold]"),
        doctor.Finding("B", "two", "wrong", "problem", "do [this]"),
    ]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(doctor.draw(findings))
    rows = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert rows == ["A", "ok one [bold]as it is[/bold]", "B", "problem two wrong", "→ do [this]"]


GUARDED = """
import socket, sys
def network(*_, **__):
    raise SystemExit("the network was touched")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = network
from typer.testing import CliRunner
from mpibridge.cli import app
done = CliRunner().invoke(app, {arguments})
print(done.output)
assert "juliacall" not in sys.modules
sys.exit(done.exit_code)
"""


def run_guarded(home, before="", arguments=("doctor",), **variables):
    """The command in a process of its own that must neither load juliacall nor touch the network."""
    return subprocess.run(
        [sys.executable, "-c", before + GUARDED.format(arguments=list(arguments))],
        env={**os.environ, "PYTHON_JULIAPKG_PROJECT": str(home / "project"), **variables},
        capture_output=True,
        text=True,
    )


def test_doctor_starts_nothing_loads_no_julia_and_writes_nothing(home):
    fake_julia(home / "path" / "julia")
    done = run_guarded(home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1.10.8, " in done.stdout
    assert "it is on the PATH" in done.stdout
    assert "[juliapkg]" not in done.stdout + done.stderr  # what it prints while it is asked
    assert "imported before this command: none of them" in done.stdout
    assert "PYTHON_JULIAPKG_OFFLINE=yes" in done.stdout
    assert set((home / "path" / "calls").read_text().splitlines()) == {"--version"}
    assert not (home / "project").exists()


WITHOUT = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name in ("juliacall", "juliapkg") else find(name, *rest)
"""


def test_without_juliacall_doctor_says_how_to_get_it(home):
    done = run_guarded(home, before=WITHOUT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pip install juliacall; only needed for" in done.stdout
    assert "not installed" in done.stdout
    done = run_guarded(home, before=WITHOUT, arguments=("setup-julia",))
    assert done.returncode == 1
    assert "error: juliapkg: it is not installed; pip install juliacall" in done.stdout


# The set-up


@pytest.fixture
def started(monkeypatch):
    """What the lane says once it runs; counts how often it was started."""
    running = julia.Running("1.10.8", "julia", "project", "depot", 1, {"MPIReco": "0.9.7"}, 1.0, False)
    calls = []
    monkeypatch.setattr(julia, "start", lambda: calls.append(1) or running)
    return running, calls


def test_set_up_installs_and_starts_and_afterwards_nothing_is_left_to_do(home, put, started):
    running, calls = started
    project = manifest(home / "project")
    content = (project / "Manifest.toml").rename(home / "installed.toml")
    executable = fake_julia(home / "mine" / "julia", add=f"/bin/cp {content} {project}/Manifest.toml")
    put(PYTHON_JULIAPKG_EXE=executable, PYTHON_JULIAPKG_PROJECT=project)
    steps = []
    assert not julia_setup.which_julia().resolved
    assert julia_setup.set_up(lambda *step: steps.append(step)) is running
    assert [step[:2] for step in steps] == [(0, 2), (1, 2), (2, 2)]
    assert "PYTHON_JULIAPKG_EXE names it" in steps[0][2]
    assert steps[2][2] == str(running)
    assert calls == [1]
    assert 'MPIReco = "=0.9.7"' in (project / "Project.toml").read_text()
    assert julia_setup.which_julia().resolved
    assert finding("project").state == finding("packages").state == "ok"

    # The same in a job without network: offline, and nothing is added again.
    calls_before = (home / "mine" / "calls").read_text().count("Pkg.add")
    put(PYTHON_JULIAPKG_OFFLINE="yes")
    choice = julia_setup.which_julia()
    assert choice.resolved
    assert not choice.installs
    assert not choice.problem
    assert juliapkg.project() == str(project)
    assert (home / "mine" / "calls").read_text().count("Pkg.add") == calls_before == 1

    # The variables of the set-up belong to its state: without one of them juliapkg sets up anew.
    os.environ.pop("PYTHON_JULIAPKG_EXE")
    reset_state()
    assert not julia_setup.which_julia().resolved


def test_what_was_set_up_before_is_taken_without_a_search(home, put):
    executable = fake_julia(home / "path" / "julia")
    put(PYTHON_JULIAPKG_OFFLINE="yes")
    juliapkg.resolve()
    fake_julia(home / "path" / "juliaup")
    choice = julia_setup.which_julia()
    assert (choice.executable, choice.why) == (executable, "juliapkg has set it up before")
    fake_julia(home / "path" / "julia", "1.11.3")  # another Julia is there now
    assert not julia_setup.which_julia().resolved


def test_set_up_repairs_a_project_whose_manifest_is_gone(home, put, started):
    content = manifest(home / "project") / "Manifest.toml"
    kept = home / "installed.toml"
    kept.write_text(content.read_text())
    executable = fake_julia(home / "mine" / "julia", add=f"/bin/cp {kept} {content}")
    put(PYTHON_JULIAPKG_EXE=executable, PYTHON_JULIAPKG_PROJECT=home / "project")
    julia_setup.set_up(lambda *_: None)
    content.unlink()
    julia_setup.set_up(lambda *_: None)
    assert content.read_text() == kept.read_text()


def test_set_up_that_fails_says_what_and_what_next(home, put, started):
    executable = fake_julia(home / "mine" / "julia", add="exit 3")
    put(PYTHON_JULIAPKG_EXE=executable)
    with pytest.raises(
        JuliaSetupError, match=r"juliapkg: .*exit status 3.*; without a network: set up where"
    ):
        julia_setup.set_up(lambda *_: None)
    assert started[1] == []


def test_set_up_does_not_touch_a_project_of_the_user(home, put, started):
    own_project(home, put, MPIReco=None)
    with pytest.raises(
        JuliaSetupError, match=r"lacks MPIReco =0\.9\.7, and nothing is installed there.*Pkg\.add"
    ):
        julia_setup.set_up(lambda *_: None)
    own_project(home, put)
    assert julia_setup.set_up(lambda *_: None) is started[0]
    assert "Pkg" not in (home / "mine" / "calls").read_text()


def test_set_up_refuses_what_doctor_shows_in_red(put, started):
    put(PYTHON_JULIACALL_EXE="julia")
    with pytest.raises(JuliaSetupError, match=r"needs both or neither; set both, or unset it"):
        julia_setup.set_up(lambda *_: None)
    assert started[1] == []
