"""Scans of a coded calibration scene that is turned and shifted under the scanner, through the exact x-space model.

A scene is convolved once; the fields of every turned and shifted crop are those of the scene, turned back: with equal gradients
along x and y, K'(r) = Rᵀ K(centre + R r) R. So particles outside of the field of view are heard, as in a scanner.
Source: Ergun et al. 2022 (IJMPI 8, seed 004), section II.I; Ilbey et al. 2019 (the coded scene itself).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from mpibridge.acquisition import Acquisition, acquisition_of
from mpibridge.errors import SettingsError
from mpibridge.mdf.header import Header
from mpibridge.model import GRID_DIMS, Grid
from mpibridge.plugin import ImageProblem, Report
from mpibridge.progress import silent
from mpibridge.simulate.phantoms import Scene
from mpibridge.simulate.presets import Preset, preset
from mpibridge.simulate.recordings import scan as simulate_scan
from mpibridge.training.arrays import Arrays
from mpibridge.xspace import Gridding, forward, gridding

CHUNK = 50
"""Scans that are gridded at once."""


@dataclass(frozen=True)
class SceneScans:
    """X-space images of turned and shifted crops of a scene, and their noise, gridded apart.

    clean: (frame, channel, z, y, x) V s/m without noise. noise: the same of white noise of 1 V in every sample, one draw per
    frame. target: (frame, z, y, x), the crops. peak: V, the largest voltage of all of them. description: JSON values.
    """

    clean: np.ndarray
    noise: np.ndarray
    target: np.ndarray
    peak: float
    gridding: Gridding
    acquisition: Acquisition | None
    description: Mapping[str, Any]

    def at(self, snr: float | tuple[float, float], *, validation: int = 300) -> Arrays:
        """Data for `mpibridge.train` in which peak / σ = ``snr``, σ the noise of a sample; infinite: none.

        Of a range (low, high) every frame has another value, equally spaced on a logarithmic scale. validation: frames that
        are held out. SettingsError if that leaves none, or an SNR is not above 0.
        """
        ends = np.atleast_1d(np.asarray(snr, float))
        if ends.size > 2 or not (ends > 0).all() or (ends.size == 2 and not np.isfinite(ends).all()):
            raise SettingsError(
                f"snr is the largest voltage over σ, above 0, or a range of it; found {snr!r}"
            )
        if not 0 <= validation < len(self.target):
            raise SettingsError(
                f"validation must be from 0 to below the {len(self.target)} scans, found {validation!r}"
            )
        n = len(self.target)
        levels = np.geomspace(ends[0], ends[1], n) if ends.size == 2 else np.full(n, ends[0])
        sigma = (self.peak / levels).astype(np.float32)
        problem = ImageProblem(
            grid=self.gridding.grid,
            images=self.clean + sigma[:, None, None, None, None] * self.noise,
            gridding=self.gridding,
        )
        said = {
            **self.description,
            "snr": np.asarray(snr, float).tolist(),
            "snr_definition": "largest voltage of all scans / σ",
        }
        return Arrays(problem, self.target, validation / len(self.target), self.acquisition, said)


def scene_scans(
    scene: Scene,
    source: str | Preset = "xspace-2d",
    *,
    generator: np.random.Generator,
    n: int = 3300,
    grid: Grid | None = None,
    report: Report = silent,
) -> SceneScans:
    """``n`` scans of crops of a scene, in any orientation and wherever the field of view lies on it.

    source: a preset with equal gradients along x and y, a plain receive chain and a tracer in equilibrium. grid: of the
    images; None: the preset's. SettingsError for another scanner or a scene smaller than the field of view.
    """
    chosen = preset(source) if isinstance(source, str) else source
    grid = chosen.grid if grid is None else grid
    of_places, of_noise = generator.spawn(2)
    centers, angles = scene.places(n, of_places, grid)
    recorded = _empty_scan(chosen, grid)
    built = gridding(Header(recorded.attrs), grid, n_receivers=chosen.scanner.n_receivers)
    voltages = _Voltages(scene, chosen, built)
    shape = (n, *built.covered.shape)
    clean, noise, peak = np.empty(shape, np.float32), np.empty(shape, np.float32), 0.0
    for start in range(0, n, CHUNK):
        part = slice(start, min(start + CHUNK, n))
        volts = np.stack([voltages(c, a) for c, a in zip(centers[part], angles[part], strict=True)])
        peak = max(peak, float(np.abs(volts).max()))
        clean[part] = built(volts[:, None]).images
        noise[part] = built(of_noise.standard_normal((len(volts), *built.coil.shape), np.float32)).images
        report(part.stop, n, "scans of the scene")
    finer = max(1, round(grid.spacing[0] / (scene.size / scene.image.shape[-1])))
    said = {"kind": "scene", "preset": chosen.scanner.name, "scans": n, "scene_size": scene.size}
    return SceneScans(
        clean,
        noise,
        scene.crops(centers, angles, grid, finer),
        peak,
        built,
        acquisition_of(recorded, grid),
        said,
    )


class _Voltages:
    """Signals (receiver, sample) V of a crop of a scene."""

    def __init__(self, scene: Scene, chosen: Preset, built: Gridding) -> None:
        scanner, tracer = chosen.scanner, chosen.scanner.particles
        gradient = built.gradient
        if gradient is None or abs(gradient[0] - gradient[1]) > 1e-9 * abs(gradient[0]):
            raise SettingsError(
                "scans of a scene are simulated for equal gradients along x and y, the preset has "
                f"{np.asarray(scanner.gradient).tolist()} T/m"
            )
        if tracer.diameter_spread or tracer.relaxation_time or not np.all(scanner.gain == 1):
            raise SettingsError(
                "scans of a scene are simulated for one core size, no relaxation and a receive chain that changes nothing"
            )
        n = scene.image.shape[-1]
        sheet = Grid((n, n, 1), (scene.size, scene.size, chosen.grid.spacing[2]))
        image = np.ascontiguousarray(scene.image[0, ::-1], np.float32)
        self.fields = forward.convolved_fields(image, sheet, tracer.beta * float(gradient[0]))
        self.pitch, self.half = scene.size / n, (n - 1) / 2
        self.position, self.rate = built.position[:, :2], built.rate[:, :2]
        self.receive = scanner.coils[:, :2] * tracer.saturation * tracer.beta * sheet.spacing[2]

    def __call__(self, center: np.ndarray, angle: float) -> np.ndarray:
        from scipy.ndimage import map_coordinates

        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, -s], [s, c]])
        place = ((self.position @ turn.T + center) / self.pitch + self.half)[:, ::-1].T
        xx, xy, yy = (map_coordinates(field, place, order=1, mode="nearest") for field in self.fields)
        w_x, w_y = turn @ self.rate.T
        moment = np.stack([xx * w_x + xy * w_y, xy * w_x + yy * w_y])
        return (self.receive @ (turn.T @ moment)).astype(np.float32)


def _empty_scan(chosen: Preset, grid: Grid) -> xr.Dataset:
    empty = xr.DataArray(np.zeros(grid.shape), grid.coordinates(), GRID_DIMS, attrs=grid.attributes())
    return simulate_scan(
        empty, replace(chosen, grid=grid, finer=1), generator=np.random.default_rng(0), n_frames=1
    )
