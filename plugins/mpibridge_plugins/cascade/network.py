"""The two stages: a regularised inverse with convolutions, and a residual U-Net on what it gives.

Source: Zhao et al. 2026, "Image Reconstruction Based on a Cascaded neural network for Magnetic Particle Imaging", which names the two
stages; what they are made of is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional

from mpibridge_plugins.linear import Data

LEVELS = (1e-2, 1e-1, 1.0, 10.0, 1e2, 1e3)
"""Of the ridge images: multiples of the variance that explains the data."""
ITERATIONS = 30
"""Of the image without negative values."""
GROUPS = 8
"""Of channels that are normalised together: without it the second stage grew out of bounds and fell silent."""
LEAK = 0.01
"""Slope below 0: a pixel that should be empty may be negative in training, and finds back."""

FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-1, -2))
"""Of an image (…, y, x)."""


@dataclass(frozen=True)
class Answer:
    """preliminary, image: (frame, y, x), in the scale of the data; hardly negative."""

    preliminary: Tensor
    image: Tensor


class TwoStages(nn.Module):
    """Frames in singular coordinates → images. The operator is theirs: the weights know nothing of it.

    detached: the second stage sends no gradient into the first.
    """

    def __init__(self, width: int, *, detached: bool = False) -> None:
        super().__init__()
        self.detached = detached
        self.inverse = Inverse(width)
        self.refine = UNet(1 + len(LEVELS), width)

    def forward(self, data: Data, shape: tuple[int, int], symmetries: int = 1) -> Answer:
        """shape: (y, x) of the plane. symmetries: 1, or 4 for means over what the stages make of mirrored images."""
        flips = FLIPS[:symmetries]
        with torch.no_grad():
            positive = data.nonnegative(data.variance, ITERATIONS).unflatten(1, shape)
        preliminary = mean_over(
            flips, self.inverse, torch.cat([positive[:, None], ridge_images(data, shape)], 1)
        )
        given = preliminary.detach() if self.detached else preliminary
        seen = given.flatten(1) @ data.model.basis * data.model.values
        unexplained = ridge_images(replace(data, y=data.y - seen), shape, data.variance)
        correction = mean_over(flips, self.refine, torch.cat([given[:, None], unexplained], 1))
        return Answer(preliminary, functional.leaky_relu(given + correction, LEAK))


def mean_over(flips: Sequence[tuple[int, ...]], stage: nn.Module, images: Tensor) -> Tensor:
    """What a stage makes of images and of their mirror images, mirrored back, on average."""
    answers = stage(torch.cat([images.flip(dims) for dims in flips])).chunk(len(flips))
    return torch.stack([answer.flip(dims) for answer, dims in zip(answers, flips, strict=True)]).mean(0)


def ridge_images(data: Data, shape: tuple[int, int], variance: Tensor | None = None) -> Tensor:
    """Tikhonov images (frame, level, y, x) for `LEVELS` times the variance (frame, 1), None for the data's own."""
    variance = data.variance if variance is None else variance
    s, least = data.model.values, torch.finfo(data.y.dtype).tiny
    levels = torch.tensor(LEVELS, device=data.y.device)[:, None, None]
    filters = s / (s.square() + data.sigma.square() / (levels * variance)).clamp_min(least)
    return (filters * data.y @ data.model.basis.mT).transpose(0, 1).unflatten(2, shape)


class Inverse(nn.Module):
    """First stage: images (frame, channel, y, x) → preliminary image (frame, y, x). The first of them bypasses the convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = convolution(4 * (1 + len(LEVELS)), width)
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.norm = normalisation(width)
        self.leave = convolution(width, 4)
        nn.init.zeros_(self.leave.weight)

    def forward(self, images: Tensor) -> Tensor:
        x = self.leave(functional.silu(self.norm(self.blocks(self.enter(halved(images, 2))))))
        return functional.leaky_relu(images[:, 0] + doubled(x, images), LEAK)


class UNet(nn.Module):
    """Second stage: images (frame, channel, y, x) → a correction (frame, y, x), most of it at a half and a quarter of the resolution."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.enter = convolution(4 * channels, width)
        self.down = nn.Sequential(Block(width), Block(width))
        self.narrow = convolution(width, 2 * width)
        self.coarse = nn.Sequential(Block(2 * width), Block(2 * width))
        self.join = convolution(3 * width, width)
        self.up = nn.Sequential(Block(width), Block(width))
        self.norm = normalisation(width)
        self.leave = convolution(width, 4)
        nn.init.zeros_(self.leave.weight)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.down(self.enter(halved(images, 4)))
        coarse = self.coarse(self.narrow(functional.avg_pool2d(fine, 2)))
        coarse = functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        fine = self.up(self.join(torch.cat([fine, coarse], 1)))
        return doubled(self.leave(functional.silu(self.norm(fine))), images)


class Block(nn.Module):
    """Two normalised convolutions with a bypass; untrained it changes nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([normalisation(width) for _ in range(2)])
        self.first, self.second = convolution(width, width), convolution(width, width)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(functional.silu(self.norms[0](x)))
        return x + self.second(functional.silu(self.norms[1](y)))


def normalisation(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(gcd(GROUPS, width), width)


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """3 × 3, untrained without an offset."""
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def halved(images: Tensor, multiple: int) -> Tensor:
    """2 × 2 pixels as channels, after padding with zeros to a multiple of pixels."""
    height, width = images.shape[-2:]
    padded = functional.pad(images, (0, -width % multiple, 0, -height % multiple))
    return functional.pixel_unshuffle(padded, 2).contiguous(memory_format=torch.channels_last)


def doubled(channels: Tensor, like: Tensor) -> Tensor:
    """The inverse of `halved` for one image (frame, y, x) of the size of ``like``."""
    height, width = like.shape[-2:]
    return functional.pixel_shuffle(channels, 2)[:, 0, :height, :width]
