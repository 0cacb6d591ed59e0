"""What `nir` is measured on: scans of fine phantoms through a coarser simulated system matrix, and the classical methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from scipy.ndimage import zoom

from mpibridge import registry, simulate
from mpibridge.calibration import background_deviation, select_rows
from mpibridge.execution import execute
from mpibridge.metrics import psnr, ssim
from mpibridge.model import Grid
from mpibridge.operators import SystemMatrix
from mpibridge.plugin import SpectralProblem, make_settings
from mpibridge.preprocessing import Preprocessing
from mpibridge.problems import row_weights, system_matrix_operator
from mpibridge.progress import silent
from mpibridge.protocol import BASELINES
from mpibridge.simulate import phantoms
from mpibridge.simulate.phantoms.shape import finer_grid
from mpibridge.simulate.presets import Preset, preset
from mpibridge.training.simulated import forward_matrix

FINER = 4
"""The phantoms, and the images that are compared with them, have 116 × 116 voxels; the system matrix 29 × 29."""
ROWS = Preprocessing(
    min_frequency=20e3,
    max_frequency=380e3,
    snr_threshold=1.5,
    weighting="row_norm",
    system_matrix_background=True,
)
"""As in the seed: Tsanda et al. 2025, section II."""
PHANTOMS = ("spiral", "tubes", "vessels", "cone", "dots")
"""None of them was used to choose settings: those are `CHOOSING`."""
CHOOSING = ("rings", "lambda", "shapes", "bars")
SEED_OF_FAMILIES = 5
"""Of the one phantom that is drawn of a family."""


def scanner() -> Preset:
    """`openmpi-2d` with a drive field that covers 29 × 29 mm."""
    base = preset("openmpi-2d")
    sequence = replace(base.scanner.sequence, amplitude=(14.5e-3, 14.5e-3, 0.0))
    particles = replace(base.scanner.particles, core_diameter=25e-9)
    return replace(
        base,
        scanner=replace(base.scanner, sequence=sequence, particles=particles),
        grid=Grid((29, 29, 1), (29e-3, 29e-3, 1e-3)),
    )


@dataclass(frozen=True)
class Bed:
    """operator: of the noisy calibration, rows of unit norm. fine: (row, voxel of the fine grid) without noise. matrix_noise: (row,).

    truth: images of the phantoms on the fine grid with a maximum of 1.
    """

    operator: SystemMatrix
    fine: np.ndarray
    matrix_noise: np.ndarray
    truth: Mapping[str, np.ndarray]

    @property
    def image_grid(self) -> Grid:
        return self.operator.grid.resized(FINER)

    def scans(self, names: Sequence[str], snr: float, seeds: Sequence[int]) -> SpectralProblem:
        """Every phantom with every noise, frame by frame. snr: dB of the power of the rows, which have unit norm."""
        rows, noise = [], []
        for name, seed in product(names, seeds):
            clean = self.fine @ self.truth[name].ravel()
            sigma = np.sqrt(np.mean(np.abs(clean) ** 2) / 10 ** (snr / 10))
            drawn = np.random.default_rng(seed).standard_normal((2, clean.size)) / 2**0.5
            rows.append(clean + sigma * (drawn[0] + 1j * drawn[1]))
            noise.append(np.full(clean.size, sigma))
        return SpectralProblem(
            grid=self.operator.grid,
            rows=np.stack(rows).astype(np.complex64),
            operator=self.operator,
            noise=np.stack(noise).astype(np.float32),
            matrix_noise=self.matrix_noise,
        )

    def scores(self, images: np.ndarray, names: Sequence[str], n_seeds: int) -> np.ndarray:
        """(phantom, seed, 2): PSNR in dB and SSIM of images (frame, z, y, x) on the fine grid."""
        found = [
            (psnr(image, self.truth[name]), ssim(image, self.truth[name]))
            for image, name in zip(images, np.repeat(names, n_seeds), strict=True)
        ]
        return np.array(found).reshape(len(names), n_seeds, 2)


def bed() -> Bed:
    source = scanner()
    grid = source.grid
    generator = np.random.default_rng(SEED_OF_FAMILIES)
    families = {
        family: phantoms.draw(family, generator, grid)
        for family in ("tubes", "vessels", "dots", "rings", "bars", "shapes")
    }
    named = {name: phantoms.named(name, grid) for name in ("spiral", "cone", "lambda")}
    truth = {}
    for name, phantom in {**named, **families}.items():
        image = phantom.on(finer_grid(grid, FINER), 3).values
        truth[name] = image / image.max()
    return _calibrated(source, ROWS, FINER, truth)


def volume() -> Bed:
    """Blobs in a volume, and a simulated 3-D calibration with three receivers; some minutes.

    Phantom and calibration have the same voxels (an inverse crime): it tells of time and memory.
    """
    source = preset("openmpi-3d")
    image = phantoms.draw_images(("blobs",), 1, np.random.default_rng(1), source.grid)[0][0]
    return _calibrated(source, replace(ROWS, max_frequency=None), 1, {"blobs": image / image.max()})


def _calibrated(source: Preset, chosen: Preprocessing, finer: int, truth: Mapping[str, np.ndarray]) -> Bed:
    calibration = simulate.calibration(source, generator=np.random.default_rng(0))
    rows = select_rows(calibration, chosen)
    operator = system_matrix_operator(calibration, rows, chosen)
    fine = forward_matrix(source, calibration, rows, chosen, operator.grid, finer)
    deviation = background_deviation(calibration, rows, chosen)
    weights = row_weights(operator, rows, calibration, None, chosen)
    assert weights is not None
    assert deviation is not None
    return Bed(
        operator.weighted(weights), fine * weights[:, None], (deviation * weights).astype(np.float32), truth
    )


def bicubic(images: np.ndarray, factor: float = FINER) -> np.ndarray:
    """Images (frame, 1, y, x) in more voxels: cubic splines through the voxel values, never negative."""
    kinds = {"order": 3, "mode": "nearest", "grid_mode": True}
    return np.stack([zoom(image[0], factor, **kinds)[None] for image in images]).clip(0)


def whitened(problem: SpectralProblem, norm: float) -> SpectralProblem:
    """Rows weighted by the noise of scan and system matrix of the frames on average, for an image of this norm."""
    weights = 1 / np.hypot(problem.noise.mean(0), norm * problem.matrix_noise)
    weights = (weights / weights.mean()).astype(np.float32)
    return replace(
        problem,
        rows=(problem.rows * weights).astype(np.complex64),
        operator=problem.operator.weighted(weights),
    )


def finely(problem: SpectralProblem) -> SpectralProblem:
    """The same rows as functions of the fine image, whose means over coarse voxels they see."""
    coarse = problem.operator
    ny, nx = coarse.grid.shape[1:]
    matrix = coarse.matrix.reshape(-1, ny, nx).repeat(FINER, 1).repeat(FINER, 2) / FINER**2
    grid = coarse.grid.resized(FINER)
    return replace(
        problem, grid=grid, operator=SystemMatrix(matrix.reshape(len(matrix), -1), grid), matrix_noise=None
    )


def run(
    plugin: str, settings: Mapping[str, Any], problem: SpectralProblem, seed: int = 0, device: str = "cpu"
) -> Any:
    cls = registry.load(plugin)
    method = cls(make_settings(cls, settings))
    return execute(method, problem, generator=np.random.default_rng(seed), report=silent, device=device)


def resampled(problem: SpectralProblem, result: Any, grid: Grid, **settings: Any) -> np.ndarray:
    """The images of stored networks on another grid."""
    cls = registry.load("nir")
    return cls(make_settings(cls, settings)).sampled(result.trace, problem.grid, grid)


SWEEPS = {"kaczmarz": (50, 150, 500, 1500), "tv": (20, 50, 200, 600)}
"""Iterations to choose from; Tikhonov is solved to convergence."""
FAINT = {"kaczmarz": (3e-4,), "tikhonov": (), "tv": (1e-4, 3e-4)}
"""λ to choose from below those of the protocol."""


def tunings(name: str) -> Iterator[Mapping[str, Any]]:
    """Settings of a classical method to choose from."""
    method = BASELINES[name]
    grid: dict[str, Any] = {"regularization": (*FAINT[name], *method.grid["regularization"])}
    if name in SWEEPS:
        grid["iterations"] = SWEEPS[name]
    for values in product(*grid.values()):
        yield {**method.settings, **dict(zip(grid, values, strict=True))}


def at_an_edge(name: str, settings: Mapping[str, Any]) -> bool:
    """Whether chosen settings lie where `tunings` ends."""
    every = list(tunings(name))
    ends = {
        key: {f(each[key] for each in every) for f in (min, max)} for key in ("regularization", "iterations")
    }
    return any(len(found) > 1 and settings[key] in found for key, found in ends.items())
