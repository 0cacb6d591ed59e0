"""A scan, its calibration and the phantom, from names and numbers: what ``mpibridge simulate`` writes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from mpibridge.errors import SettingsError
from mpibridge.model import RECONSTRUCTION, Grid, triple
from mpibridge.plugin import Report
from mpibridge.progress import silent
from mpibridge.simulate.phantoms import named
from mpibridge.simulate.presets import preset
from mpibridge.simulate.recordings import calibration, scan


def run(
    name: str,
    phantom: str,
    *,
    snr: float | None = None,
    min_frequency: float = 0.0,
    n_frames: int = 10,
    averages: int = 10,
    voxels: int | None = None,
    seed: int = 0,
    report: Report = silent,
) -> dict[str, xr.Dataset]:
    """``scan``, ``phantom`` (an image on the preset's grid) and, unless its method needs none, ``calibration`` of a preset.

    snr: dB of a frame of the scan, over bins from ``min_frequency`` Hz on; None: the usual noise. voxels: along every axis
    on which the preset's grid has more than one. seed: calibration and scan draw from generators of their own.
    Raises SettingsError for an unknown preset or phantom, and for a phantom that misses the grid.
    """
    chosen = preset(name)
    if voxels is not None:
        size = triple([voxels if n > 1 else 1 for n in chosen.grid.size])
        chosen = replace(chosen, grid=Grid(size, chosen.grid.field_of_view, chosen.grid.center))
    picture = named(phantom, chosen.grid)
    truth = picture.on(chosen.grid, chosen.finer).expand_dims("frame")
    if not truth.any():
        raise SettingsError(f"phantom {phantom!r} leaves the grid of {name} empty; choose another one")
    of_calibration, of_scan = np.random.default_rng(seed).spawn(2)
    noise = replace(chosen.noise, snr=snr, min_frequency=min_frequency)
    measured = scan(
        picture,
        chosen,
        generator=of_scan,
        noise=noise,
        n_frames=n_frames,
        averages=averages,
        report=report,
    )
    header = {
        path: value
        for path, value in measured.attrs.items()
        if path.startswith("/") and not path.startswith("/measurement/")
    }
    image = xr.Dataset(
        {"concentration": truth.variable.astype(np.float32)},
        {**chosen.grid.coordinates(), "time": ("frame", np.zeros(1), {"units": "s"})},
        header | {"kind": RECONSTRUCTION} | chosen.grid.attributes(),
    )
    made = {"scan": measured, "phantom": image}
    if chosen.is_calibrated:
        made["calibration"] = calibration(chosen, generator=of_calibration, report=report)
    return made
