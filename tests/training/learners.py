"""A small method that uses every kind of randomness, and a small problem for it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

import mpibridge as mb
from mpibridge import registry
from mpibridge.operators import SystemMatrix
from mpibridge.plugin import Result, SpectralProblem, TrainablePlugin
from mpibridge.simulate.streams import spectral_pairs

GRID = mb.Grid((6, 5, 1), (12e-3, 10e-3, 1e-3))


@dataclass(frozen=True)
class LearnerSettings:
    width: int = 12  # hidden units
    blow_up: float = 0.0  # the loss is not finite if it falls below this


class Learner(TrainablePlugin[SpectralProblem]):
    """Rows to image by two layers with dropout; the loss draws from its generator."""

    name = "learner"
    takes = SpectralProblem
    Settings = LearnerSettings
    network_settings = ("width",)

    def build_network(self, problem):
        width = self.settings.width
        return nn.Sequential(
            nn.Linear(2 * problem.rows.shape[1], width),
            nn.BatchNorm1d(width),
            nn.SiLU(),
            nn.Dropout(0.2),
            nn.Linear(width, problem.grid.n_voxels),
        )

    def loss(self, problem, target, *, generator):
        jitter = torch.from_numpy(generator.normal(0, 0.01, target.shape).astype(np.float32))
        loss = torch.mean((self._image(problem) - target - jitter.to(target.device)) ** 2)
        return loss if loss > self.settings.blow_up else loss * float("nan")

    def reconstruct(self, problem, *, generator, report):
        return Result(image=self._image(problem))

    def _image(self, problem):
        scale = problem.rows.abs().mean(1, keepdim=True).clamp_min(1e-12)
        rows = torch.view_as_real((problem.rows / scale).contiguous()).flatten(1)
        return self.network(rows).reshape(-1, *problem.grid.shape) * scale[:, :, None, None]


def register(monkeypatch) -> type:
    """Make ``mpibridge`` find `Learner` until the test ends."""
    entry = EntryPoint("learner", f"{__name__}:Learner", registry.GROUP)
    vars(entry)["dist"] = SimpleNamespace(name="tests")
    known = registry.entry_points
    monkeypatch.setattr(registry, "entry_points", lambda group: [*known(group=group), entry])
    return Learner


def pairs(n_frames: int = 60, seed: int = 0) -> tuple[SpectralProblem, np.ndarray]:
    """A problem with many frames in NumPy arrays, and their images."""
    generator = np.random.default_rng(seed)
    matrix = generator.standard_normal((20, GRID.n_voxels, 2), np.float32).view(np.complex64)[..., 0]
    stream = spectral_pairs(
        SystemMatrix(matrix, GRID), ["blobs", "bars"], generator=generator, batch=n_frames
    )
    return next(stream)
