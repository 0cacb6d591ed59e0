"""The network: convolution, halvings, residual blocks, doublings, convolution, on images of maximum 1 without their means.

Source: Ergun et al. 2022 (seed 004), section II.II and eqs. 1 and 2: a ResNet with 9 blocks (He et al. 2016, as Johnson et al. 2016
use it). Ours: the widths; connections around the halvings; the means that are taken away; no normalisation layers and no biases, so that
twice the images are twice the answer whatever is divided by.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mpibridge_plugins.deblur.settings import Size

SHORTEST_MEMORY = 1e-2
"""Weight of a new batch in the usual gain, at least."""


class Deblurring(nn.Module):
    """Collinear images (frame, channel, y, x) → concentration (frame, y, x), may be negative. Any positive factor passes through.

    gain: usual ratio of the maxima of the concentration and of the mean image. batches: how many were learned from.
    """

    gain: Tensor
    batches: Tensor

    def __init__(self, size: Size, channels: int) -> None:
        super().__init__()
        self.folds = size.folds
        self.factor = size.folds * 2**size.halvings
        self.register_buffer("gain", torch.ones(()))
        self.register_buffer("batches", torch.zeros(()))
        width, edge = size.width, 7 if size.folds == 1 else 5
        self.enter = convolution(channels * size.folds**2, width, edge)
        self.down = nn.ModuleList(
            [convolution(width << i, width << (i + 1), 3, stride=2) for i in range(size.halvings)]
        )
        self.blocks = nn.ModuleList([Block(width << size.halvings) for _ in range(size.blocks)])
        self.up = nn.ModuleList(
            [convolution(width << (i + 1), 4 * (width << i), 3) for i in reversed(range(size.halvings))]
        )
        self.leave = convolution(width, size.folds**2, edge)

    def forward(self, images: Tensor) -> Tensor:
        normalised, scale = normalise(images)
        return self.answer(normalised) * (scale * self.gain)[:, None, None]

    def answer(self, images: Tensor) -> Tensor:
        """T (eq. 2) of normalised images: (frame, y, x)."""
        height, width = images.shape[-2:]
        padding = (0, -width % self.factor, 0, -height % self.factor)
        padded = functional.pad(centred(images), padding, mode="replicate")
        x = functional.pixel_unshuffle(padded, self.folds).contiguous(memory_format=torch.channels_last)
        x = self.enter(x).relu()
        finer = []
        for down in self.down:
            finer.append(x)
            x = down(x).relu()
        for block in self.blocks:
            x = block(x)
        for up in self.up:
            x = (functional.pixel_shuffle(up(x), 2) + finer.pop()).relu()
        return functional.pixel_shuffle(self.leave(x), self.folds)[:, 0, :height, :width]

    @torch.no_grad()
    def update(self, images: Tensor, target: Tensor) -> None:
        """Learn the usual gain from a batch. target: (frame, y, x)."""
        self.batches += 1
        _, scale = normalise(images)
        seen = scale > 0
        if seen.any():
            share = (1 / self.batches).clamp_min(SHORTEST_MEMORY)
            self.gain.lerp_((target.amax((1, 2))[seen] / scale[seen]).mean(), share)


def normalise(images: Tensor) -> tuple[Tensor, Tensor]:
    """X (eq. 1): images over the maximum of their mean, and that maximum (frame,); 0 for frames without any."""
    scale = images.mean(1).amax((1, 2)).clamp_min(0)
    return images / torch.where(scale > 0, scale, 1.0)[:, None, None, None], scale


def centred(images: Tensor) -> Tensor:
    """Every image without its mean; both over the pixels that were measured, the others stay 0.

    The blur falls as 1/r only: particles all around a field of view raise its images nearly by a constant, which scans of a scene
    always have and those of a phantom without surroundings have not.
    """
    measured = images != 0
    mean = images.sum((2, 3), keepdim=True) / measured.sum((2, 3), keepdim=True).clamp_min(1)
    return torch.where(measured, images - mean, 0.0)


class Block(nn.Module):
    """x + convolution(relu(convolution(x))). The second begins as 0: an untrained block changes nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = convolution(width, width, 3), convolution(width, width, 3)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x).relu())


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False, padding_mode="zeros")
