"""What training makes small: mean squared errors first, then absolute errors of images and of features.

Source: Ergun et al. 2022 (seed 004), section II.II: pixel-wise ℓ1 and perceptual losses with equal weights, the latter the ℓ1
distance of the activations of the second layer of VGG. Johnson et al. 2016.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mpibridge.errors import SettingsError

SCALES = 3
"""Random features and gradients see the image at full, half and quarter resolution."""
WIDTH = 8
"""Random features per layer."""


def features(name: str) -> nn.Module:
    """The module that turns images (frame, y, x) into a list of features: "random", "gradient" or "vgg". It is not trained."""
    made: nn.Module = {"random": RandomFeatures, "gradient": Gradients, "vgg": VGG}[name]()
    return made.eval().requires_grad_(False)


def perceptual(made: nn.Module, images: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute difference of features, mean over the scales."""
    pairs = list(zip(made(images), made(wanted), strict=True))
    return torch.stack([(a - b).abs().mean() for a, b in pairs]).mean()


class RandomFeatures(nn.Module):
    """Two convolutions with fixed random filters at several scales: what remains of VGG's first layers without its weights.

    Filters have norm 1, and mean 0 in the first layer. They come from a generator of a fixed seed.
    """

    first: Tensor
    second: Tensor

    def __init__(self) -> None:
        super().__init__()
        generator = np.random.default_rng(0)
        first = generator.standard_normal((WIDTH, 1, 3, 3))
        first -= first.mean((2, 3), keepdims=True)
        second = generator.standard_normal((WIDTH, WIDTH, 3, 3))
        for name, filters in (("first", first), ("second", second)):
            norms = np.sqrt((filters**2).sum((1, 2, 3), keepdims=True))
            self.register_buffer(name, torch.tensor(filters / norms, dtype=torch.float32))

    def forward(self, images: Tensor) -> list[Tensor]:
        return [
            functional.conv2d(functional.conv2d(x, self.first).relu(), self.second).relu()
            for x in pyramid(images)
        ]


class Gradients(nn.Module):
    """Differences of neighbours along x and y at several scales."""

    def forward(self, images: Tensor) -> list[Tensor]:
        scales = pyramid(images)
        return [torch.cat([x.diff(dim=-1).flatten(1), x.diff(dim=-2).flatten(1)], 1) for x in scales]


class VGG(nn.Module):
    """Activations of the second layer of VGG-16, with torchvision's weights. SettingsError if they are not on this machine."""

    def __init__(self) -> None:
        super().__init__()
        try:
            from torchvision.models import VGG16_Weights, vgg16
        except ImportError as error:
            raise SettingsError(
                'perceptual="vgg" needs torchvision (pip install torchvision) and its weights; "random" needs neither'
            ) from error
        url = VGG16_Weights.IMAGENET1K_V1.url
        file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
        if not file.is_file():
            raise SettingsError(
                f'perceptual="vgg" needs {file}: put {url} there, or choose "random", which needs no weights'
            )
        self.layers = vgg16(weights=VGG16_Weights.IMAGENET1K_V1).features[:4]

    def forward(self, images: Tensor) -> list[Tensor]:
        mean = images.new_tensor([0.485, 0.456, 0.406])[
            :, None, None
        ]  # of ImageNet, which VGG was trained on
        deviation = images.new_tensor([0.229, 0.224, 0.225])[:, None, None]
        return [self.layers((images[:, None] - mean) / deviation)]


def pyramid(images: Tensor) -> list[Tensor]:
    """(frame, 1, y, x) at full, half, … resolution, as far as three pixels remain beside a filter of two layers."""
    scales = [images[:, None]]
    while len(scales) < SCALES and min(scales[-1].shape[-2:]) >= 14:
        scales.append(functional.avg_pool2d(scales[-1], 2))
    return scales
