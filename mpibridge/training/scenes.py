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
from mpibridge.plugin import ImageProblem, Report, TrainablePlugin
from mpibridge.preprocessing import Preprocessing
from mpibridge.progress import silent
from mpibridge.simulate.phantoms import Scene
from mpibridge.simulate.presets import Preset, preset
from mpibridge.simulate.recordings import scan as simulate_scan
from mpibridge.training.arrays import digest_of
from mpibridge.training.data import TRAINING, VALIDATION, Data, Pair, Pairs, random
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

    def at(self, snr: float | tuple[float, float], *, validation: int = 300) -> SceneData:
        """Data for `mpibridge.train` in which peak / σ = ``snr``, σ the noise of a sample; infinite: none.

        Of a range (low, high) every frame has another value, drawn on a logarithmic scale. validation: scans that
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
        return SceneData(self, (float(ends[0]), float(ends[-1])), validation)

    def problem(self, sigma: float | np.ndarray) -> ImageProblem:
        """All scans, every one with its own noise. sigma: V, of a sample; one for all, or (frame,)."""
        chosen = np.arange(len(self.target))
        return self.measured(chosen, chosen, np.broadcast_to(np.asarray(sigma, np.float32), chosen.shape))

    def measured(self, scans: np.ndarray, noise: np.ndarray, sigma: np.ndarray) -> ImageProblem:
        """Some scans (frame,), each with the noise of one of them (frame,), times σ (frame,) in V."""
        loud = sigma.astype(np.float32)[:, None, None, None, None]
        images = self.clean[scans] + loud * self.noise[noise]
        return ImageProblem(grid=self.gridding.grid, images=images, gridding=self.gridding)


@dataclass(frozen=True)
class SceneData(Data):
    """Scans of a scene for training. snr: lowest and highest. validation: the last so many are held out, with their noise.

    In training every scan comes with the noise of any that is not held out, another every time, as if it was measured again.
    """

    scans: SceneScans
    snr: tuple[float, float]
    validation: int

    def pairs(self, cls: type[TrainablePlugin], preprocessing: Preprocessing, seed: int) -> Pairs:
        if cls.takes is not ImageProblem:
            raise SettingsError(f"plugin {cls.name!r} takes a {cls.takes.__name__}, found an ImageProblem")
        grid, wanted = self.scans.gridding.grid, preprocessing.grid
        if wanted is not None and not (isinstance(wanted, Grid) and wanted.almost_equal(grid)):
            raise SettingsError(
                f"the scans lie on {grid}, preprocessing wants {preprocessing.grid}; choose one"
            )
        preprocessing = replace(preprocessing, grid=grid)
        return ScenePairs(self, preprocessing)


class ScenePairs(Pairs):
    """Scans in random order, at an SNR drawn on a logarithmic scale."""

    def __init__(self, data: SceneData, preprocessing: Preprocessing) -> None:
        self.data, self.preprocessing, self.acquisition = data, preprocessing, data.scans.acquisition
        self.n_kept = len(data.scans.target) - data.validation
        self.example = self._pair(np.zeros(1, int), np.zeros(1, int), random(0, TRAINING))[0]
        low, high = data.snr
        self.description = {
            **data.scans.description,
            "sha256": digest_of(data.scans.clean, data.scans.noise, data.scans.target),
            "peak": data.scans.peak,
            "snr": low if low == high else [low, high],
            "snr_definition": "largest voltage of all scans / σ",
            "frames": self.n_kept,
            "validation": data.validation,
        }

    def batch(self, seed: int, number: int, size: int) -> Pair:
        generator = random(seed, TRAINING, number)
        scans, noise = generator.integers(0, self.n_kept, (2, size))
        return self._pair(scans, noise, generator)

    def validation(self, seed: int) -> Pair | None:
        held_out = np.arange(self.n_kept, self.n_kept + self.data.validation)
        return self._pair(held_out, held_out, random(seed, VALIDATION)) if len(held_out) else None

    def _pair(self, scans: np.ndarray, noise: np.ndarray, generator: np.random.Generator) -> Pair:
        made, (low, high) = self.data.scans, self.data.snr
        levels = np.full(len(scans), low)
        if low < high:
            levels = np.exp(generator.uniform(np.log(low), np.log(high), len(scans)))
        return made.measured(scans, noise, made.peak / levels), made.target[scans]


def scene_scans(
    scene: Scene,
    source: str | Preset = "xspace-2d",
    *,
    generator: np.random.Generator,
    n: int = 3300,
    grid: Grid | None = None,
    beyond: float = 0.0,
    report: Report = silent,
) -> SceneScans:
    """``n`` scans of crops of a scene, in any orientation and wherever the field of view lies on it.

    beyond: metres that it may hang over the edges of the scene, so that some scans show what lies around a sparse phantom: nothing.
    source: a preset with equal gradients along x and y, a plain receive chain and a tracer in equilibrium. grid: of the
    images; None: the preset's. SettingsError for another scanner or a scene smaller than the field of view.
    """
    chosen = preset(source) if isinstance(source, str) else source
    grid = chosen.grid if grid is None else grid
    of_places, of_noise = generator.spawn(2)
    centers, angles = scene.places(n, of_places, grid, beyond=beyond)
    recorded = _empty_scan(chosen, grid)
    built = gridding(Header(recorded.attrs), grid, n_receivers=chosen.scanner.n_receivers)
    voltages = _Voltages(scene, chosen, built, beyond)
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
    said = {
        "kind": "scene",
        "preset": chosen.scanner.name,
        "scans": n,
        "scene_size": scene.size,
        "beyond": beyond,
    }
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

    def __init__(self, scene: Scene, chosen: Preset, built: Gridding, beyond: float) -> None:
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
        self.pitch = scene.size / n
        further = (
            np.hypot(*np.abs(built.position[:, :2]).max(0)) - np.hypot(*built.grid.field_of_view[:2]) / 2
        )
        padding = int(np.ceil((beyond + max(0.0, further)) / self.pitch)) + 1
        self.fields = forward.convolved_fields(
            image, sheet, tracer.beta * float(gradient[0]), padding=padding
        )
        self.half = (n - 1) / 2 + padding
        self.position, self.rate = built.position[:, :2], built.rate[:, :2]
        self.receive = scanner.coils[:, :2] * tracer.saturation * tracer.beta * sheet.spacing[2]

    def __call__(self, center: np.ndarray, angle: float) -> np.ndarray:
        from scipy.ndimage import map_coordinates

        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, -s], [s, c]])
        place = ((self.position @ turn.T + center) / self.pitch + self.half)[:, ::-1].T
        xx, xy, yy = (map_coordinates(field, place, order=1) for field in self.fields)
        w_x, w_y = turn @ self.rate.T
        moment = np.stack([xx * w_x + xy * w_y, xy * w_x + yy * w_y])
        return (self.receive @ (turn.T @ moment)).astype(np.float32)


def _empty_scan(chosen: Preset, grid: Grid) -> xr.Dataset:
    empty = xr.DataArray(np.zeros(grid.shape), grid.coordinates(), GRID_DIMS, attrs=grid.attributes())
    return simulate_scan(
        empty, replace(chosen, grid=grid, finer=1), generator=np.random.default_rng(0), n_frames=1
    )
