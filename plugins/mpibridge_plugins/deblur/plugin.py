"""Plugin ``deblur``: collinear x-space images sharpened by a network that was trained on one coded calibration scene."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpibridge.errors import SettingsError
from mpibridge.plugin import ImageProblem, Report, Result, TrainablePlugin
from mpibridge.simulate import Particles
from mpibridge.xspace import Gridding, ImageOperator
from mpibridge_plugins.deblur import losses, symmetries
from mpibridge_plugins.deblur.consistency import MARGIN, consistent, step_length
from mpibridge_plugins.deblur.network import Deblurring, normalise
from mpibridge_plugins.deblur.settings import DeblurSettings, Size

CHUNK = 32
"""Frames that go through the network at once."""


class Deblur(TrainablePlugin[ImageProblem]):
    """A ResNet turns the 45° and the 135° image of a dense Lissajous scan into the concentration; negative values are cut.

    Source: Ergun et al. 2022, "Deblurring of x-space reconstructed images with deep learning" (IJMPI 8, seed 004). Weights serve
    one sequence, tracer and grid; the image is as many times larger as the images it is made of are.
    """

    name = "deblur"
    takes = ImageProblem
    Settings = DeblurSettings
    network_settings = ("size", *(part.name for part in fields(Size)))
    network: Deblurring

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self._features: torch.nn.Module | None = None
        self._model: tuple[Gridding, ImageOperator, float] | None = None

    def build_network(self, problem: ImageProblem) -> Deblurring:
        _require_plane(problem)
        return Deblurring(self.settings.network, _pointing(problem))

    def bytes_per_frame(self, problem: ImageProblem) -> int:
        """Several copies of the images; activations are those of `CHUNK` frames at any time."""
        return 8 * 4 * int(np.prod(problem.images.shape[1:]))

    def loss(self, problem: ImageProblem, target: Tensor, *, generator: np.random.Generator) -> Tensor:
        """ℓ2 in the first ``l2_steps`` steps of training, then ℓ1 + perceptual, of images and targets over the maximum of eq. 1.

        In training every scan is mirrored or turned at random, if it says in which directions it ran. Held-out pairs always count
        the second kind of loss.
        """
        images, wanted, s = problem.images[:, :, 0], target[:, 0], self.settings
        if self.network.training:
            images, wanted = symmetries.drawn(images, wanted, _group(problem, 4), generator)
            self.network.update(images, wanted)
        _, scale = normalise(images)
        unit = (torch.where(scale > 0, scale, 1.0) * self.network.gain)[:, None, None]
        found, wanted = self.network(images) / unit, wanted / unit
        if self.network.training and self.network.batches <= s.l2_steps:
            return (found - wanted).square().mean()
        loss = (found - wanted).abs().mean()
        if s.perceptual == "none" or s.perceptual_weight == 0:
            return loss
        if self._features is None:
            self._features = losses.features(s.perceptual).to(loss.device)
        return loss + s.perceptual_weight * losses.perceptual(self._features, found, wanted)

    def reconstruct(self, problem: ImageProblem, *, generator: np.random.Generator, report: Report) -> Result:
        """Images without negative values (eq. 2)."""
        _require_plane(problem)
        among = _group(problem, self.settings.symmetries)
        found: list[Tensor] = []
        with torch.no_grad():
            for part in problem.images[:, :, 0].float().split(CHUNK):
                mirrored = [s.undone(self.network(s.of(part))) for s in among]
                image = torch.stack(mirrored).mean(0).clamp_min(0)
                if self.settings.data_consistency:
                    image = consistent(image, part, *self._exact_model(problem))
                found.append(image[:, None])
                report(sum(map(len, found)), len(problem.images), "deblur")
        return Result(image=torch.cat(found))

    def _exact_model(self, problem: ImageProblem) -> tuple[ImageOperator, int, float]:
        """Operator, number and length of the steps of data consistency; made once for a scan."""
        if problem.gridding is None:
            raise SettingsError(
                "data_consistency=True needs the path of the scan, which these images do not tell: pass a scan, or "
                "ImageProblem(gridding=…) of mpibridge.xspace"
            )
        s, device = self.settings, problem.images.device
        if self._model is None or self._model[0] is not problem.gridding:
            margin = round(MARGIN * max(problem.grid.size[:2]))
            beta = Particles(core_diameter=s.core_diameter).beta
            operator = ImageOperator(problem.gridding, beta, margin=margin, device=device)
            self._model = (problem.gridding, operator, step_length(operator, problem.images))
        return self._model[1], s.consistency_steps, self._model[2]


def _pointing(problem: ImageProblem) -> Tensor:
    """Directions of the scan (channel, 2, y, x); 0 where they are not known."""
    if problem.gridding is None:
        return torch.zeros((problem.images.shape[1], 2, *problem.grid.shape[1:]))
    return torch.tensor(problem.gridding.pointing()[:, :, 0], dtype=torch.float32)


def _group(problem: ImageProblem, n: int) -> list[symmetries.Symmetry]:
    """The symmetries of a scan; the identity alone where its directions are not known."""
    if problem.gridding is None:
        n, directions = 1, np.eye(problem.images.shape[1], 3)
    else:
        directions = problem.gridding.directions
    return symmetries.group(n, directions, square=problem.grid.size[0] == problem.grid.size[1])


def _require_plane(problem: ImageProblem) -> None:
    if problem.grid.shape[0] > 1 or min(problem.grid.shape[1:]) < 8:
        raise SettingsError(
            f"plugin 'deblur' makes planes of at least 8 × 8 pixels, the grid (z, y, x) is {problem.grid.shape}; pass "
            "Preprocessing(grid=(1, ny, nx))"
        )
