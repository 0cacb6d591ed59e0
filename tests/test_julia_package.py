"""The Julia package travels with the Python one: equal bounds, and both are found where the wheel is installed."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from juliapkg.compat import Compat, Version

import mpibridge

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).resolve().parents[1]
STDLIBS = {"Dates", "LinearAlgebra", "Logging", "Random", "Statistics", "TOML"}
"""Those of Julia's own packages that may be used here; they come with it and have no bounds."""


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((PROJECT / "julia" / "Project.toml").read_text())


@pytest.fixture(scope="module")
def bounds():
    return json.loads((PROJECT / "mpibridge" / "juliapkg.json").read_text())


def test_the_bounds_are_written_twice_and_equal(project, bounds):
    packages = {name: package["version"] for name, package in bounds["packages"].items()}
    assert {**packages, "julia": bounds["julia"]} == project["compat"]


def test_every_package_that_is_no_stdlib_is_installed_with_its_uuid(project, bounds):
    deps = {name: uuid for name, uuid in project["deps"].items() if name not in STDLIBS}
    assert deps == {name: package["uuid"] for name, package in bounds["packages"].items()}


def test_only_registered_packages_with_two_sided_bounds(bounds):
    for name, package in bounds["packages"].items():
        assert set(package) == {"uuid", "version"}, name
        assert Compat.parse(package["version"])
        assert Version.parse("998.0.0") not in Compat.parse(package["version"]), name


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("1.10.2", False),
        ("1.10.3", True),
        ("1.10.8", True),
        ("1.11.0", True),
        ("1.11.9", True),
        ("1.12.0", False),
    ],
)
def test_which_julias_fit(bounds, version, fits):
    assert (Version.parse(version) in Compat.parse(bounds["julia"])) is fits


def run(*command, cwd, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the sdist: what is not in that is not in the wheel."""
    pytest.importorskip("hatchling", reason="needs hatchling: pip install -e '.[dev]'")
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=PROJECT)
    (sdist,) = folder.glob("*.tar.gz")
    run(*PIP, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", folder, sdist, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_wheel_contains_the_julia_package(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    sources = {path.relative_to(PROJECT / "julia") for path in (PROJECT / "julia" / "src").rglob("*.jl")}
    assert Path("src/MPIBridge.jl") in sources
    for source in {*sources, Path("Project.toml")}:
        assert f"mpibridge/_julia/{source.as_posix()}" in packed
    assert "mpibridge/juliapkg.json" in packed


def test_the_wheel_works_outside_the_checkout(wheel, tmp_path):
    target, project = tmp_path / "site", tmp_path / "project"
    run(*PIP, "install", "--no-index", "--no-deps", "--target", target, wheel, cwd=tmp_path)
    variables = {
        "PYTHONPATH": str(target),
        "PYTHON_JULIAPKG_PROJECT": str(project),
        "PATH": str(tmp_path),  # no Julia
    }
    code = "import mpibridge; from mpibridge import julia; print(mpibridge.__file__, julia.package_folder())"
    where, folder = run("-c", code, cwd=tmp_path, **variables).split()
    assert Path(where).parent == target / "mpibridge"
    assert Path(folder) == target / "mpibridge" / "_julia"
    for name in ("Project.toml", "src/MPIBridge.jl"):
        assert (Path(folder) / name).read_bytes() == (PROJECT / "julia" / name).read_bytes()

    screen = run("-m", "mpibridge", "doctor", cwd=tmp_path, **variables)
    assert f"{mpibridge.__version__}, {target / 'mpibridge'}" in screen
    assert "none yet: no Julia within 1.10.3 - 1.11" in screen
    code = "from juliapkg.deps import deps_files; print(deps_files())"
    assert str(target / "mpibridge" / "juliapkg.json") in run("-c", code, cwd=tmp_path, **variables)
