"""The whole way in one call: simulated scanner → MDF files → images by five methods → picture, report and MDF file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from mpibridge import plot, simulate
from mpibridge.comparison import compare
from mpibridge.files import open, save
from mpibridge.metrics import nrmse, psnr
from mpibridge.model import Grid
from mpibridge.pipeline import reconstruct
from mpibridge.plugin import Report
from mpibridge.preprocessing import Preprocessing
from mpibridge.progress import silent

GRID = Grid(size=(19, 19, 1), field_of_view=(26.6e-3, 26.6e-3, 1e-3))
METHODS: Mapping[str, Mapping[str, Any]] = {
    "kaczmarz": {"iterations": 20, "regularization": 1e-3},
    "cgnr": {"iterations": 100, "regularization": 1e-3},
    "fista": {"iterations": 200, "regularization": 1e-3},
    "tv": {"iterations": 50, "regularization": 1e-3},
    "score": {},
}
"""Settings that suit this phantom: the table shows that every method works, not which one is best."""
PREPROCESSING = Preprocessing(
    averages=10, background="mean", system_matrix_background=True, min_frequency=80e3, snr_threshold=5
)


@dataclass(frozen=True)
class Outcome:
    """One method. settings: those that were given. nrmse, psnr (dB): against the phantom averaged on the grid.

    seconds: reading the rows included, compiling not.
    """

    plugin: str
    settings: Mapping[str, Any]
    nrmse: float
    psnr: float
    seconds: float
    image: xr.Dataset


@dataclass(frozen=True)
class Demo:
    """What a run left behind; ``files`` by what they are."""

    outcomes: tuple[Outcome, ...]
    files: Mapping[str, Path]


def run(folder: str | Path, *, seed: int = 0, report: Report = silent) -> Demo:
    """Simulate a scan and its calibration, reconstruct with every method of `METHODS`, write everything to ``folder``.

    The phantom lies on a grid five times finer than the calibration, noise and background are drawn from ``seed``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = {
        "calibration": "calibration.mdf",
        "scan": "scan.mdf",
        "image": "image.mdf",
        "picture": "demo.png",
        "report": "report.html",
    }
    files = {what: folder / name for what, name in names.items()}
    n_steps = len(METHODS) + 2

    report(0, n_steps, "simulating")
    scanner, generator = "openmpi-2d", np.random.default_rng(seed)
    phantom = simulate.phantom(GRID)
    truth = simulate.on_grid(phantom, GRID)
    save(files["calibration"], simulate.calibration(scanner, GRID, generator=generator))
    save(files["scan"], simulate.scan(phantom, scanner, generator=generator))

    scan = open(files["scan"], system_matrix=files["calibration"])
    outcomes = []
    for step, (plugin, settings) in enumerate(METHODS.items(), 1):
        report(step, n_steps, plugin)
        outcomes.append(_reconstruct(scan, truth, plugin, settings))

    report(n_steps - 1, n_steps, "writing")
    save(files["image"], outcomes[0].image)
    panels: dict[str, xr.Dataset | xr.DataArray] = {
        "phantom": phantom,
        **{o.plugin: o.image for o in outcomes},
    }
    plot.compare(panels, title="simulated scan, 19 × 19 voxels").savefig(files["picture"], dpi=120)
    images = {o.plugin: o.image for o in outcomes}
    compare(images, reference=truth).to_html(files["report"], title="Demo: a simulated scan by five methods")
    report(n_steps, n_steps, "done")
    return Demo(tuple(outcomes), files)


def _reconstruct(scan: xr.Dataset, truth: xr.DataArray, plugin: str, settings: Mapping[str, Any]) -> Outcome:
    again = partial(reconstruct, scan, plugin=plugin, preprocessing=PREPROCESSING, **settings)
    again()  # what compiles, compiles
    started = time.perf_counter()
    image = again()
    seconds = time.perf_counter() - started
    found = image["concentration"].values[0]
    return Outcome(plugin, settings, nrmse(found, truth.values), psnr(found, truth.values), seconds, image)
