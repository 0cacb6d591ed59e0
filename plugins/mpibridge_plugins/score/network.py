"""The denoiser: a small residual U-Net on planes of any size, preconditioned as in EDM.

Source: Karras et al. 2022, "Elucidating the design space of diffusion-based generative models", table 1 and section 5.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SIGMA_DATA = 0.25
"""Standard deviation of the images that the network knows (concentration over its scale)."""
LOG_MEAN, LOG_STD = -1.2, 1.4
"""ln σ in training is normal with these."""
FEATURES = 64
"""Sines and cosines of ln σ that tell the network the noise level."""


class Denoiser(nn.Module):
    """D(x; σ): the mean of clean images given a noisy one, and given conditions if there are any.

    width: channels of the fine level, twice as many on the coarse one. conditions: images that come along as channels.
    """

    frequencies: Tensor

    def __init__(self, width: int = 64, conditions: int = 0) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Linear(FEATURES, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width), nn.SiLU()
        )
        self.register_buffer("frequencies", torch.exp(torch.linspace(0.0, math.log(100.0), FEATURES // 2)))
        self.enter = nn.Conv2d(4 * (1 + conditions), width, 3, padding=1)
        self.down = nn.ModuleList([Block(width, width, 4 * width), Block(width, width, 4 * width)])
        self.coarse = nn.ModuleList(
            [Block(width, 2 * width, 4 * width), Block(2 * width, 2 * width, 4 * width)]
        )
        self.up = nn.ModuleList([Block(3 * width, width, 4 * width), Block(width, width, 4 * width)])
        self.leave = nn.Sequential(
            nn.GroupNorm(8, width), nn.SiLU(), _silent(nn.Conv2d(width, 4, 3, padding=1))
        )

    def forward(self, noisy: Tensor, sigma: Tensor, conditions: Tensor | None = None) -> Tensor:
        """noisy (image, 1, y, x), sigma (image,), conditions (image, channel, y, x) → (image, 1, y, x)."""
        s = sigma.reshape(-1, 1, 1, 1)
        total = s**2 + SIGMA_DATA**2
        c_skip, c_out, c_in = SIGMA_DATA**2 / total, s * SIGMA_DATA / total.sqrt(), total.rsqrt()
        channels = [c_in * noisy] if conditions is None else [c_in * noisy, conditions]
        return c_skip * noisy + c_out * self._raw(torch.cat(channels, 1), sigma)

    def _raw(self, x: Tensor, sigma: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = functional.pad(x, (0, -width % 4, 0, -height % 4))
        phases = (sigma.log() / 4)[:, None] * self.frequencies
        embedding = self.embed(torch.cat([phases.cos(), phases.sin()], 1))
        fine = self.enter(functional.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last))
        for block in self.down:
            fine = block(fine, embedding)
        coarse = functional.avg_pool2d(fine, 2)
        for block in self.coarse:
            coarse = block(coarse, embedding)
        joined = torch.cat([fine, functional.interpolate(coarse, scale_factor=2.0, mode="nearest")], 1)
        for block in self.up:
            joined = block(joined, embedding)
        return functional.pixel_shuffle(self.leave(joined), 2)[..., :height, :width]


class Block(nn.Module):
    """Two convolutions with a bypass; the noise level scales and shifts the channels in between."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(8, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1)
        )
        self.modulate = nn.Linear(embedding, 2 * outputs)
        self.norm = nn.GroupNorm(8, outputs, affine=False)
        self.second = _silent(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.bypass = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulate(embedding)[..., None, None].chunk(2, 1)
        inner = functional.silu(self.norm(self.first(x)) * (1 + scale) + shift)
        return self.bypass(x) + self.second(inner)


def _silent(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with weights of zero: before any training its branch adds nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
