"""Plugin ``bilstm``: an image from the voltages of one period and the path of the field-free point, without a system matrix."""

from __future__ import annotations

import warnings
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpibridge.errors import MPIBridgeWarning, SettingsError, ShapeError
from mpibridge.model import Grid
from mpibridge.plugin import Report, Result, TrainablePlugin, WaveformProblem
from mpibridge_plugins.bilstm import mirrors, path
from mpibridge_plugins.bilstm.losses import charbonnier
from mpibridge_plugins.bilstm.network import SequenceToImage
from mpibridge_plugins.bilstm.settings import BiLSTMSettings, Size
from mpibridge_plugins.similarity import ssim

CHUNK = 64
"""Frames, or their mirror images, that go through the network at once."""
PATH = 0.11
"""How far, as a share of its largest coordinate, a path may lie from that of the network: weights are taken for amplitudes that

differ by 5 % and phases that differ by 0.05 rad (`mpibridge.acquisition`).
"""


class BiLSTM(TrainablePlugin[WaveformProblem]):
    """A recurrent network reads a period as it was recorded and gives values along the path; convolutions make an image of them.

    Source: von Gladiss et al. 2026, "Sequence-to-Image Reconstruction in Magnetic Particle Imaging: A BiLSTM Proof of Concept".
    Weights serve one sequence, tracer and grid; the image is as many times larger as the voltage is.
    """

    name = "bilstm"
    takes = WaveformProblem
    Settings = BiLSTMSettings
    network_settings = ("size", *(part.name for part in fields(Size)), "trajectory")
    network: SequenceToImage

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self._known: tuple[SequenceToImage, Grid, Tensor] | None = None

    def build_network(self, problem: WaveformProblem) -> SequenceToImage:
        _require_plane(problem.grid)
        n_receivers, n_samples = problem.waveform.shape[1:]
        network = SequenceToImage(self.settings, problem.trajectory, problem.grid, n_receivers, n_samples)
        if self.settings.mirrored and len(network.mirrors) == 1:
            warnings.warn(
                "mirrored=True changes nothing: no mirror image of the path round the middle of the grid is the path again, or "
                f"{n_receivers} receivers do not fit the axes it moves on",
                MPIBridgeWarning,
                stacklevel=2,
            )
        return network

    def bytes_per_frame(self, problem: WaveformProblem) -> int:
        """The waveform in its features; activations are those of `CHUNK` frames at any time."""
        return 4 * 4 * int(np.prod(problem.waveform.shape[1:]))

    def loss(self, problem: WaveformProblem, target: Tensor, *, generator: np.random.Generator) -> Tensor:
        """Charbonnier loss of the values along the path, mean squared error and 1 − SSIM of the image, peaks of 1.

        The values should be the image as a Gaussian of one pixel sees it along the path (seed: "surrogate image").
        """
        self._require_path(problem)
        waveform = problem.waveform
        if self.network.training:
            if self.settings.mirrored:
                waveform, target = mirrors.drawn(waveform, target, self.network.mirrors, generator)
            self.network.update(waveform, target)
        answer = self.network(waveform)
        peak = target.amax((1, 2, 3))
        peak = torch.where(peak > 0, peak, 1.0)
        wanted, image = target[:, 0] / peak[:, None, None], answer.image / peak[:, None, None]
        surrogate = wanted.flatten(1) @ self._sampling(problem).T
        s = self.settings
        return (
            s.surrogate_weight * charbonnier(answer.values / peak[:, None], surrogate)
            + s.mse_weight * (image - wanted).square().mean()
            + s.ssim_weight * (1 - ssim(image, wanted))
        )

    def reconstruct(
        self, problem: WaveformProblem, *, generator: np.random.Generator, report: Report
    ) -> Result:
        """Images without negative values. trace: ``values`` (frame, sample), the image as it was read along the path, unmirrored."""
        _require_plane(problem.grid)
        self._require_path(problem)
        mirrored = self.network.mirrors if self.settings.mirrored else self.network.mirrors[:1]
        images, values = [], []
        with torch.no_grad():
            for part in problem.waveform.split(CHUNK // len(mirrored)):
                answer = self.network(torch.cat([mirror.waveform(part) for mirror in mirrored]))
                seen = answer.image[:, None].chunk(len(mirrored))
                back = [mirror.image(image) for mirror, image in zip(mirrored, seen, strict=True)]
                images.append(torch.stack(back).mean(0).clamp_min(0))
                values.append(answer.values[: len(part)])
                report(sum(map(len, images)), len(problem.waveform), "bilstm")
        return Result(image=torch.cat(images), trace={"values": torch.cat(values)})

    def _sampling(self, problem: WaveformProblem) -> Tensor:
        """`path.sampling` of the problem, computed once."""
        device, known = problem.waveform.device, self._known
        if (
            known is not None
            and known[0] is self.network
            and known[1] == problem.grid
            and known[2].device == device
        ):
            return known[2]
        found = path.sampling(problem.trajectory, problem.grid, self.network.n).to(device)
        self._known = (self.network, problem.grid, found)
        return found

    def _require_path(self, problem: WaveformProblem) -> None:
        """ShapeError unless the period is the one for which the network was built."""
        built, given = self.network.trajectory, problem.trajectory
        n_samples = problem.waveform.shape[-1]
        if n_samples != len(built) or given.shape != built.shape:
            raise ShapeError(
                f"plugin 'bilstm' was built for periods of {len(built)} samples, found {n_samples} samples and a trajectory of "
                f"{len(given)}; build the network for this sequence (build_network) and train it"
            )
        reach = built.abs().max()
        apart = (given.to(built) - built).abs().max()
        if apart > PATH * reach:
            raise ShapeError(
                f"plugin 'bilstm' was built for another path of the field-free point, {float(apart):.3g} m from the given one; "
                "build the network for this sequence (build_network) and train it"
            )


def _require_plane(grid: Grid) -> None:
    if grid.shape[0] > 1 or min(grid.shape[1:]) < 3:
        raise SettingsError(
            f"plugin 'bilstm' makes planes of at least 3 × 3 pixels, the grid (z, y, x) is {grid.shape}; pass "
            "Preprocessing(grid=(1, ny, nx))"
        )
