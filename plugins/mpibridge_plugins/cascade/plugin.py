"""Plugin ``cascade``: a preliminary image from a regularised inverse, and a second network that refines it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpibridge.errors import SettingsError
from mpibridge.plugin import Report, Result, SpectralProblem, TrainablePlugin
from mpibridge_plugins.cascade.losses import distance
from mpibridge_plugins.cascade.network import LEVELS, TwoStages
from mpibridge_plugins.cascade.settings import CascadeSettings
from mpibridge_plugins.linear import LatestModel, data_of, require_single_image

CHUNK = 64
"""Frames that go through the networks at once."""
SMALLEST = 2e-4
"""Singular values below this share of the largest are those of a calibration's noise."""


class Cascade(TrainablePlugin[SpectralProblem]):
    """Two networks in a row: the first makes an image of ridge images of the data, the second refines it.

    Source: Zhao et al. 2026, "Image Reconstruction Based on a Cascaded neural network for Magnetic Particle Imaging". Both are
    supervised. The operator is that of the calibration at hand, of spectra as of harmonics on a raster.
    """

    name = "cascade"
    takes = SpectralProblem
    Settings = CascadeSettings
    network_settings = ("width",)
    network: TwoStages

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        # Frames differ by rounding in the shape of their noise: training keeps to the model of its example, so that it goes on
        # after a kill to the same bits, and an image is that of its own problem whatever the network was built for.
        self._of_training, self._model = LatestModel(), LatestModel()
        self._example: SpectralProblem | None = None

    def build_network(self, problem: SpectralProblem) -> TwoStages:
        _require_plane(problem)
        self._example = problem
        return TwoStages(self.settings.width, detached=self.settings.stages == "apart")

    def bytes_per_frame(self, problem: SpectralProblem) -> int:
        """The ridge images of both stages; activations are those of `CHUNK` frames at any time."""
        return 4 * 2 * len(LEVELS) * problem.grid.n_voxels

    def loss(self, problem: SpectralProblem, target: Tensor, *, generator: np.random.Generator) -> Tensor:
        """`losses.distance` of the image and, weighted, of the preliminary one; both are divided by the peak of their truth."""
        _require_plane(problem)
        if self._example is not None:  # decomposed here and not before: who reconstructs has no use for it
            self._of_training.of(self._example)
            self._example = None
        data = data_of(problem, self._of_training.of(problem).cut(SMALLEST), self.settings.model_error)
        answer = self.network(data, problem.grid.shape[1:])
        peak = target.amax((1, 2, 3))
        peak = torch.where(peak > 0, peak, 1.0)[:, None, None]
        truth, unit = target[:, 0] / peak, data.scale[:, :, None] / peak
        weight = 1.0 if self.settings.stages == "apart" else self.settings.preliminary_weight
        return distance(answer.image * unit, truth, self.settings) + weight * distance(
            answer.preliminary * unit, truth, self.settings
        )

    def reconstruct(
        self, problem: SpectralProblem, *, generator: np.random.Generator, report: Report
    ) -> Result:
        """Images without negative values. trace: ``preliminary`` (frame, z, y, x), what the first stage gives."""
        _require_plane(problem)
        shape, total = problem.grid.shape, len(problem.rows)
        data = data_of(problem, self._model.of(problem).cut(SMALLEST), self.settings.model_error)
        silent = (data.y == 0).all(1)  # no signal: no image
        scale = torch.where(silent[:, None], 0.0, data.scale)[:, :, None]
        symmetries = self.settings.symmetries
        at_once = CHUNK // symmetries
        preliminary, images = [], []
        with torch.no_grad():
            for first in range(0, total, at_once):
                part = slice(first, first + at_once)
                answer = self.network(data.frames(part), shape[1:], symmetries)
                preliminary.append(answer.preliminary.clamp_min(0) * scale[part])
                images.append(answer.image.clamp_min(0) * scale[part])
                report(min(first + at_once, total), total, "cascade")
        return Result(
            image=torch.cat(images).reshape(-1, *shape),
            trace={"preliminary": torch.cat(preliminary).reshape(-1, *shape)},
        )


def _require_plane(problem: SpectralProblem) -> None:
    """SettingsError for what the networks were not made for."""
    require_single_image(problem, "cascade")
    shape = problem.grid.shape
    if shape[0] > 1 or min(shape[1:]) < 3:
        raise SettingsError(
            f"plugin 'cascade' makes planes of at least 3 × 3 voxels, the grid (z, y, x) is {shape}; pass "
            "Preprocessing(grid=(1, ny, nx)), or a plugin for volumes and lines such as kaczmarz"
        )
