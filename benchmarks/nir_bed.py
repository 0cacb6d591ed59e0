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
    calibration = simulate.calibration(source, generator=np.random.default_rng(0))
    rows = select_rows(calibration, ROWS)
    operator = system_matrix_operator(calibration, rows, ROWS)
    fine = forward_matrix(source, calibration, rows, ROWS, operator.grid, FINER)
    deviation = background_deviation(calibration, rows, ROWS)
    weights = row_weights(operator, rows, calibration, None, ROWS)
    assert weights is not None
    assert deviation is not None
    generator = np.random.default_rng(SEED_OF_FAMILIES)
    families = {
        family: phantoms.draw(family, generator, operator.grid)
        for family in ("tubes", "vessels", "dots", "rings", "bars", "shapes")
    }
    named = {name: phantoms.named(name, operator.grid) for name in ("spiral", "cone", "lambda")}
    truth = {}
    for name, phantom in {**named, **families}.items():
        image = phantom.on(finer_grid(operator.grid, FINER), 3).values
        truth[name] = image / image.max()
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


def tunings(name: str) -> Iterator[Mapping[str, Any]]:
    """Settings of a classical method to choose from."""
    method = BASELINES[name]
    grid = dict(method.grid)
    if "iterations" in grid:
        grid["iterations"] = (10, 50, 150) if name == "kaczmarz" else (50, 200)
    for values in product(*grid.values()):
        yield {**method.settings, **dict(zip(grid, values, strict=True))}


def volume_scan(generator: np.random.Generator) -> SpectralProblem:
    """Blobs seen through 3000 products of cosines, with 1 % noise: the size of a 3-D calibration with three receivers."""
    grid = Grid((19, 19, 19), (19e-3, 19e-3, 19e-3))
    x = (np.arange(19) + 0.5) / 19
    orders = generator.integers(0, 12, (3000, 3))
    waves = [np.cos(np.pi * orders[:, axis, None] * x) for axis in range(3)]
    matrix = np.einsum("rz,ry,rx->rzyx", *waves).reshape(3000, -1).astype(np.complex64)
    matrix *= np.exp(2j * np.pi * generator.random((3000, 1))).astype(np.complex64)
    truth = phantoms.draw_images(("blobs",), 1, generator, grid)[0].reshape(1, -1)
    rows = truth @ matrix.T
    sigma = 0.01 * np.abs(rows).std()
    noise = generator.standard_normal((2, *rows.shape)) * sigma / 2**0.5
    return SpectralProblem(
        grid=grid,
        rows=(rows + noise[0] + 1j * noise[1]).astype(np.complex64),
        operator=SystemMatrix(matrix, grid),
        noise=np.full(3000, sigma, np.float32),
    )
