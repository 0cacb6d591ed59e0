"""The network: a bidirectional LSTM along the path, a linear gridding, seven convolutions.

Source: von Gladiss et al. 2026, "Sequence-to-image reconstruction in MPI", figure 1; the widths of the convolutions, the bypass round
them and the folding of several samples into a step are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mpibridge.model import Grid
from mpibridge_plugins.bilstm import path
from mpibridge_plugins.bilstm.features import (
    SHORTEST_MEMORY,
    Features,
    band_limited,
    folded,
    root_mean_square,
)
from mpibridge_plugins.bilstm.mirrors import mirrors
from mpibridge_plugins.bilstm.settings import BiLSTMSettings

LEAK = 0.01
"""Slope below 0 in training: a pixel that should be empty may be negative, and finds back."""


@dataclass(frozen=True)
class Answer:
    """image: (frame, y, x), in units of the target, may be negative. values: (frame, sample) along the path, in the same."""

    image: Tensor
    values: Tensor


class SequenceToImage(nn.Module):
    """(frame, receiver, sample) volts → image. Twice the voltage gives twice the image."""

    motion: Tensor
    trajectory: Tensor
    gain: Tensor

    def __init__(
        self, settings: BiLSTMSettings, trajectory: Tensor, grid: Grid, n_receivers: int, n_samples: int
    ) -> None:
        super().__init__()
        size = settings.network
        self.n = size.fold * max(1, n_samples // (size.decimation * size.fold))
        self.fold, self.shape = size.fold, grid.shape[1:]
        self.mirrors = mirrors(trajectory, grid, n_receivers)
        self.features = Features(n_receivers, self.n)
        self.register_buffer("gain", torch.ones(()))
        motion = path.motion(trajectory, grid, self.n) if settings.trajectory else torch.zeros(self.n, 0)
        # Not among the weights: tuned for another sequence, the network reads the path of that one.
        self.register_buffer("trajectory", trajectory.detach().clone(), persistent=False)
        self.register_buffer("motion", folded(motion.T[None], size.fold), persistent=False)
        inputs = len(self.features.strength) * size.fold + self.motion.shape[-1]
        self.reader = nn.LSTM(inputs, size.units, size.layers, batch_first=True, bidirectional=True)
        self.values = nn.Linear(2 * size.units, size.fold * size.values)
        self.gridding = nn.Linear(self.n, grid.n_voxels, bias=False)
        if settings.trajectory:
            self.gridding.weight.data.copy_(path.gridding(trajectory, grid, self.n))
        self.refine = Refiner(size.values, size.width)

    def forward(self, waveform: Tensor) -> Answer:
        waveform, scale = self._normalised(waveform)
        features = folded(self.features(waveform), self.fold)
        motion = self.motion.expand(len(features), -1, -1)
        hidden, _ = self.reader(torch.cat([features, motion], 2))
        values = folded_back(self.values(hidden), self.n)  # (frame, value, sample)
        gridded = self.gridding(values).unflatten(2, self.shape)
        unit = scale * self.gain
        return Answer(self.refine(gridded) * unit, values[:, 0] * unit[:, 0])

    @torch.no_grad()
    def update(self, waveform: Tensor, target: Tensor) -> None:
        """Learn how strong voltages and images are from a batch. target: (frame, z, y, x)."""
        waveform, scale = self._normalised(waveform)
        self.features.update(waveform)
        share = (1 / self.features.batches).clamp_min(SHORTEST_MEMORY)
        heard = scale.flatten() > 0
        if heard.any():
            ratio = root_mean_square(target, (1, 2, 3)).flatten()[heard] / scale.flatten()[heard]
            self.gain.lerp_(ratio.mean(), share)

    def _normalised(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Band-limited, with a root mean square of 1, and what it was (frame, 1, 1); 0 where there is no voltage."""
        waveform = band_limited(waveform.float(), self.n)
        scale = root_mean_square(waveform, (1, 2))
        return waveform / torch.where(scale > 0, scale, 1.0), scale


def folded_back(values: Tensor, n: int) -> Tensor:
    """(frame, step, value · fold) → (frame, value, sample): the inverse of `folded`."""
    n_frames, steps = values.shape[:2]
    return values.reshape(n_frames, steps, -1, n // steps).permute(0, 2, 1, 3).reshape(n_frames, -1, n)


class Refiner(nn.Module):
    """Seven convolutions on images (frame, channel, y, x) → (frame, y, x), most at half the resolution; the first channel bypasses them."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.enter = convolution(4 * channels, width)
        self.fine = nn.ModuleList([convolution(width, width), convolution(width, width)])
        self.down = convolution(width, 2 * width)
        self.coarse = convolution(2 * width, 2 * width)
        self.up = convolution(3 * width, width)
        self.leave = convolution(width, 4)
        nn.init.zeros_(self.leave.weight)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        padded = functional.pad(images, (0, -width % 4, 0, -height % 4))
        x = functional.pixel_unshuffle(padded, 2).contiguous(memory_format=torch.channels_last)
        x = self.enter(x)
        x = x + self.fine[1](functional.silu(self.fine[0](functional.silu(x))))
        coarse = self.down(functional.avg_pool2d(functional.silu(x), 2))
        coarse = coarse + self.coarse(functional.silu(coarse))
        joined = torch.cat([x, functional.interpolate(coarse, scale_factor=2.0, mode="nearest")], 1)
        x = x + self.up(functional.silu(joined))
        correction = functional.pixel_shuffle(self.leave(functional.silu(x)), 2)[..., :height, :width]
        return functional.leaky_relu(images[:, 0] + correction[:, 0], LEAK)


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)
