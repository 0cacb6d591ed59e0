"""Plugin ``score``: reconstruction by drawing images that a network finds likely and the data allow."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mpibridge.errors import MPIBridgeWarning, SettingsError
from mpibridge.plugin import Report, Result, SpectralProblem, TrainablePlugin
from mpibridge_plugins.linear import Data, LatestModel, data_of, require_single_image
from mpibridge_plugins.score import sampling
from mpibridge_plugins.score.augmentation import LARGEST, SMALLEST, superposed, varied
from mpibridge_plugins.score.network import LOG_MEAN, LOG_STD, SIGMA_DATA, Denoiser
from mpibridge_plugins.score.settings import GUIDANCES, SIGMA_MAX, SIGMA_MIN, ScoreSettings

CONDITIONS = (1.0, 10.0)
"""The signal as the network sees it: Tikhonov images with these multiples of the variance that explains the data."""
BLIND = 0.1
"""Share of the images in training that are asked for with the signal alone: in their place stands an empty one."""


class Score(TrainablePlugin[SpectralProblem]):
    """The mean and the spread of images that a diffusion network finds likely and the data allow.

    guidance "signal": a network conditioned on the signals of one acquisition, embedded as Tikhonov images, with or without
    a data step. Source: Wang et al. 2025, "A score-based model guided by signals for MPI reconstruction". "posterior": a prior of images, any system
    matrix; the data are met in its singular vectors. "regression": the conditioned network's answer without any image, the mean
    given the data. Preconditioning and Heun sampler: Karras et al. 2022 (EDM).
    """

    name = "score"
    takes = SpectralProblem
    Settings = ScoreSettings
    network_settings = ("network", "width")

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self._model = LatestModel()

    @classmethod
    def network_choice(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        guidance = GUIDANCES.get(settings.get("guidance") or "")
        implied = {} if guidance is None else {"network": guidance.network}
        return implied | {
            name: value for name, value in super().network_choice(settings).items() if value is not None
        }

    @property
    def serves_any_acquisition(self) -> bool:
        return self.settings.network == "prior"

    def build_network(self, problem: SpectralProblem) -> nn.Module:
        conditions = 0 if self.settings.network == "prior" else len(CONDITIONS)
        return Denoiser(self.settings.width, conditions)

    def bytes_per_frame(self, problem: SpectralProblem) -> int:
        """The activations of the widest level and what the blocks keep beside them."""
        return 4 * problem.grid.n_voxels * self.settings.plan.samples * 4 * self.settings.width

    def loss(self, problem: SpectralProblem, target: Tensor, *, generator: np.random.Generator) -> Tensor:
        """Denoising score matching with EDM's weights. Source: Karras et al. 2022, eq. (8)."""
        self._require(problem)
        conditions = None
        if self.settings.network == "prior":
            planes = varied(target[:, 0, None], generator)
        else:
            problem, target = superposed(problem, target, generator)
            data = self._data(problem)
            planes = target[:, 0, None] / data.scale[:, :, None, None]
            conditions = _conditions(data, planes.shape[-2:])

        def normal(*shape: int) -> Tensor:
            return torch.from_numpy(generator.standard_normal(shape, np.float32)).to(planes.device)

        sigma = torch.exp(LOG_MEAN + LOG_STD * normal(len(planes), 1, 1, 1)).clamp(SIGMA_MIN / 2, SIGMA_MAX)
        noisy = planes + sigma * normal(*planes.shape)
        if (
            conditions is not None
        ):  # some are asked for the mean image given the data alone, as "regression" does
            blind = torch.from_numpy(generator.random((len(planes), 1, 1, 1)) < BLIND).to(planes.device)
            sigma, noisy = sigma.masked_fill(blind, SIGMA_MAX), noisy.masked_fill(blind, 0.0)
        clean = self.network(noisy, sigma.flatten(), conditions)
        weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
        return (weight * (clean - planes).square()).mean()

    def reconstruct(
        self, problem: SpectralProblem, *, generator: np.random.Generator, report: Report
    ) -> Result:
        """Mean and standard deviation over the samples.

        trace: ``residual`` after every step, (frame, step), the mean over samples of ‖Ax − b‖ as a multiple of what noise and
        the model's error leave; ``noise``, σ of the real parts of the weighted rows, and ``scale`` of the image, both (frame,).
        """
        self._require(problem)
        if self.settings.network == "prior":
            _warn_of_odd_sizes(problem.grid.shape)
        generators = generator.spawn(len(problem.rows))
        with torch.no_grad():
            return self._sampled(problem, generators, report)

    def _sampled(
        self, problem: SpectralProblem, generators: list[np.random.Generator], report: Report
    ) -> Result:
        settings, plan, shape = self.settings, self.settings.plan, problem.grid.shape
        one, n = self._data(problem), plan.samples
        data = one.repeated(n)
        levels = sampling.noise_levels(plan.steps, plan.highest, SIGMA_MIN)
        residuals: list[Tensor] = []

        def draw() -> Tensor:
            drawn = [g.standard_normal((n, problem.grid.n_voxels), np.float32) for g in generators]
            return torch.from_numpy(np.concatenate(drawn)).to(problem.rows.device)

        def watch(step: int, image: Tensor) -> None:
            residuals.append(data.residual(image).reshape(-1, n).mean(1))
            report(step + 1, len(levels), f"score, {settings.chosen}")

        denoise = self._denoiser(data, shape)
        if settings.chosen == "regression":
            images = denoise(torch.zeros_like(data.tikhonov(data.variance)), SIGMA_MAX)
            watch(0, images)
        elif not settings.data_step:
            images = sampling.heun(denoise, draw, levels, watch)
        else:
            images = sampling.decoupled(
                denoise,
                draw,
                levels,
                watch,
                data=data,
                spread=SIGMA_DATA,
                start=data.tikhonov(data.variance).clamp_min(0) if plan.start else 0.0,
                trust=plan.trust,
                exact=settings.exact,
                positive=settings.positive,
            )
        if settings.positive:
            images = images.clamp_min(0)
        silent = (one.y == 0).all(1)  # no signal: no image
        images = (
            (images * data.scale).reshape(-1, n, *shape).masked_fill(silent[:, None, None, None, None], 0.0)
        )
        return Result(
            image=images.mean(1),
            std=images.std(1) if n > 1 else None,
            trace={
                "residual": torch.stack(residuals, 1).masked_fill(silent[:, None], 0.0),
                "noise": (one.noise * one.scale * one.model.unit)[:, 0].masked_fill(silent, 0.0),
                "scale": one.scale[:, 0],
            },
        )

    def _denoiser(self, data: Data, shape: tuple[int, int, int]) -> sampling.Denoise:
        """The network on images (image, voxel), a volume slice by slice."""
        height, width = shape[1:]
        conditions = None if self.settings.network == "prior" else _conditions(data, (height, width))

        def network(x: Tensor, sigma: float) -> Tensor:
            return self.network(x, torch.full((len(x),), sigma, device=x.device), conditions)

        planes: sampling.DenoisePlanes = network
        if self.settings.network == "prior":
            planes = sampling.turning(network, len(data.y), self.settings.plan.samples)
        if shape[0] > 1:
            return sampling.across_slices(planes, shape)
        return lambda x, sigma: planes(x.reshape(-1, 1, height, width), sigma).reshape(x.shape)

    def _data(self, problem: SpectralProblem) -> Data:
        return data_of(problem, self._model.of(problem), self.settings.model_error)

    def _require(self, problem: SpectralProblem) -> None:
        """SettingsError for what the networks were not made for."""
        require_single_image(problem, self.name)
        if problem.grid.shape[0] > 1 and self.settings.network == "signal":
            raise SettingsError(
                f"the network conditioned on signals is made for planes, the grid (z, y, x) is {problem.grid.shape}; pass "
                "guidance='posterior'"
            )


def _warn_of_odd_sizes(shape: tuple[int, int, int]) -> None:
    sides = [n for axis in sampling.plane_axes(shape) for i, n in enumerate(shape) if i != axis]
    if min(sides) < SMALLEST or max(sides) > LARGEST:
        warnings.warn(
            f"the prior of plugin 'score' has learned planes of {SMALLEST} to {LARGEST} voxels along an axis, the grid (z, y, x) "
            f"is {shape}: compare with another method",
            MPIBridgeWarning,
            stacklevel=4,
        )


def _conditions(data: Data, shape: tuple[int, ...]) -> Tensor:
    """(image, condition, y, x)"""
    variance = data.variance
    return torch.stack([data.tikhonov(c * variance).reshape(-1, *shape) for c in CONDITIONS], 1)
