"""The method of plugins/README.md as a stranger's package: built, installed elsewhere, trained and used from outside."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mpibridge as mb
from mpibridge import weights
from mpibridge.model import Grid
from mpibridge.simulate.phantoms import draw
from mpibridge.simulate.presets import preset
from tests import third_party

PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")
STEPS = 20
"""Of training, instead of the README's."""


class Site:
    """A folder with installed packages, one to work in, and a store of weights, all apart from the project."""

    def __init__(self, folder: Path) -> None:
        self.source = third_party.write_package(folder / "source")
        self.packages, self.work, self.store = folder / "site", folder / "work", folder / "store"
        self.work.mkdir()

    def run(self, *command: object) -> str:
        """What a Python process prints that works in ``work``."""
        path = os.pathsep.join(filter(None, [str(self.packages), os.environ.get("PYTHONPATH")]))
        variables = {"PYTHONPATH": path, "MPIBRIDGE_WEIGHTS": str(self.store), "COLUMNS": "200"}
        variables["OMP_NUM_THREADS"] = "1"  # quickest for what is small
        done = subprocess.run(
            [sys.executable, "-W", "error::UserWarning:mpibridge", *map(str, command)],
            cwd=self.work,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def install(self) -> None:
        """Build the package as it is now and install it."""
        self.run(
            *PIP, "install", "--no-index", "--no-deps", "--no-build-isolation", "--upgrade", "--target",
            self.packages, self.source,
        )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Site:
    pytest.importorskip("hatchling", reason="needs hatchling: pip install -e '.[dev]'")
    site = Site(tmp_path_factory.mktemp("third party"))
    site.install()
    known = preset("openmpi-2d")
    small = replace(known, grid=Grid((7, 7, 1), known.grid.field_of_view))
    generator = np.random.default_rng(0)
    phantom = draw("blobs", generator, small.grid)
    mb.save(site.work / "scan.mdf", mb.simulate.scan(phantom, small, generator=generator, n_frames=2))
    bins = np.arange(53, 200)
    calibration = mb.simulate.calibration(small, generator=generator, bins=bins)
    mb.save(site.work / "calibration.mdf", calibration)
    return site


@pytest.fixture(scope="module")
def trained(site) -> Path:
    """The folder that the README's lines leave behind after a few steps."""
    lines, n_changed = re.subn(r"steps=\d+", f"steps={STEPS}, evaluate=4", third_party.blocks("python")[2])
    assert n_changed == 1
    site.run("-c", lines)
    return site.work / "runs" / "polish"


def test_it_is_listed_with_its_package(site):
    code = "import mpibridge as mb; entry = mb.plugins()['polish']; print(entry.package, entry.location)"
    assert site.run("-c", code).split() == ["mpibridge-polish", "mpibridge_polish:Polish"]


def test_it_is_not_in_the_project():
    """What this file tests comes from the installed package alone."""
    assert "polish" not in mb.plugins()


def test_its_own_tests_pass(site):
    """The README's test file, run as its author would."""
    (site.source / "tests").mkdir()
    test = site.source / "tests" / "test_polish.py"
    test.write_text(third_party.blocks("python")[1])
    assert "1 passed" in site.run("-m", "pytest", "-W", "error", "-p", "no:cacheprovider", test)


def test_it_trains_saves_loads_and_reconstructs(site, trained):
    header = weights.read(trained).header
    assert header.plugin == "polish"
    assert header.settings == {"width": 8, "regularization": 0.03}
    assert header.training["steps"] == STEPS
    assert header.acquisition.size == (7, 7, 1)
    image = mb.open(site.work / "image.mdf")
    assert image.concentration.shape == (2, 1, 7, 7)
    assert np.isfinite(image.concentration).all()
    assert image.concentration.max() > 0


IMAGE = """
import mpibridge as mb
from mpibridge.provenance import PROVENANCE
image = mb.reconstruct("scan.mdf", plugin="polish", system_matrix="calibration.mdf")
print(image.attrs[f"{PROVENANCE}/weights"])
mb.save("again.mdf", image)
"""
INSTALL = f"""
import mpibridge as mb
from mpibridge import weights
try:
    mb.reconstruct("scan.mdf", plugin="polish", system_matrix="calibration.mdf")
except mb.WeightsError as error:
    assert "mpibridge train polish" in str(error), error
else:
    raise AssertionError("there were weights before any were installed")
weights.install("runs/polish")
{IMAGE}
"""


def same_image(site: Site) -> bool:
    again, first = (mb.open(site.work / name).concentration for name in ("again.mdf", "image.mdf"))
    return np.array_equal(again, first)


def test_installed_weights_are_found(site, trained):
    assert json.loads(site.run("-c", INSTALL))["origin"] == "store"
    assert same_image(site)
    for path in site.store.iterdir():
        path.unlink()


def test_weights_travel_with_the_package(site, trained):
    folder = site.source / third_party.MODULE / "weights"
    folder.mkdir()
    (folder / "mine.safetensors").write_bytes((trained / "weights.safetensors").read_bytes())
    site.install()
    said = json.loads(site.run("-c", IMAGE))
    assert (said["name"], said["origin"]) == ("mine.safetensors", "shipped")
    assert same_image(site)
    screen = site.run("-m", "mpibridge", "plugins", "polish")
    assert "Tikhonov's image, polished plane by plane" in screen
    assert "channels of the hidden layers, at least 1; part of the network" in screen
    assert "(shipped)" in screen
