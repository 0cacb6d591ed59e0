"""The network: convolution, halvings, residual blocks, doublings, convolution, on images of maximum 1 without their surroundings.

Source: Ergun et al. 2022 (seed 004), section II.II and eqs. 1 and 2: a ResNet with 9 blocks (He et al. 2016, as Johnson et al. 2016
use it). Ours: the widths; connections around the halvings; the local means that are taken away; the direction of the scan in every
pixel; no normalisation layers and no biases, so that twice the images are twice the answer whatever is divided by.
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

    pointing: (channel, 2, y, x), cos 2φ and sin 2φ of the direction of the scan (`mpibridge.xspace.Gridding.pointing`).
    gain: usual ratio of the maxima of the concentration and of the mean image. batches: how many were learned from.
    """

    pointing: Tensor
    gain: Tensor
    batches: Tensor

    def __init__(self, size: Size, pointing: Tensor) -> None:
        super().__init__()
        self.folds, self.surround = size.folds, size.surround
        self.factor = size.folds * 2**size.halvings
        self.register_buffer("pointing", pointing)
        self.register_buffer("gain", torch.ones(()))
        self.register_buffer("batches", torch.zeros(()))
        width, edge = size.width, 7 if size.folds == 1 else 5
        self.enter = convolution(3 * len(pointing) * size.folds**2, width, edge)
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
        given = steered(without_surround(images, self.surround), self.pointing)
        padded = functional.pad(given, padding, mode="replicate")
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


def without_surround(images: Tensor, deviation: float) -> Tensor:
    """Every image less its mean over a Gaussian around each pixel; both over the pixels that were measured, the others stay 0.

    The blur falls as 1/r only: particles all around a field of view raise its images smoothly, which scans of a scene always have and
    those of a phantom without surroundings have not. deviation: of the Gaussian, in pixels.
    """
    measured = images != 0
    near = blurred(images, deviation) / blurred(measured.to(images), deviation).clamp_min(1e-6)
    return torch.where(measured, images - near, 0.0)


def blurred(images: Tensor, deviation: float) -> Tensor:
    """Images (frame, channel, y, x) through a Gaussian of a deviation in pixels; around them is 0."""
    reach, channels = int(3 * deviation) + 1, images.shape[1]
    distance = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.softmax(-0.5 * (distance / deviation) ** 2, 0)
    along_y = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    images = functional.conv2d(images, along_y, padding=(reach, 0), groups=channels)
    return functional.conv2d(images, along_y.mT, padding=(0, reach), groups=channels)


def steered(images: Tensor, pointing: Tensor) -> Tensor:
    """Images, and each times cos 2φ and sin 2φ: (frame, 3 · channel, y, x).

    The direction of a scan differs from pixel to pixel, the blur with it, and a convolution alone is the same everywhere.
    """
    return torch.cat([images, (images[:, :, None] * pointing).flatten(1, 2)], 1)


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
