"""Data consistency: a few steps of least squares with the exact operator, from where the network ended.

Accelerated projected gradients (Beck & Teboulle 2009) on ½‖s A c − y‖², c ≥ 0; stopped early, they move what the data determine and
leave the rest to the network.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mpibridge.xspace import ImageOperator

POWER_ITERATIONS = 30
MARGIN = 0.15
"""Of the field of view beyond every edge, where the steps may put particles, too."""


def step_length(operator: ImageOperator, like: Tensor) -> float:
    """0.95 over the largest eigenvalue of AᵀA, by power iteration from a constant image."""
    vector = like.new_ones((1, *operator.grid.shape[1:]))
    for _ in range(POWER_ITERATIONS):
        vector = vector / vector.norm()
        vector = operator.adjoint(operator.forward(vector))
    return 0.95 / float(vector.norm())


def consistent(image: Tensor, images: Tensor, operator: ImageOperator, steps: int, length: float) -> Tensor:
    """Images (frame, y, x) after so many steps towards collinear images (frame, channel, y, x).

    s, one per frame, is the factor that brings the model of the network's image nearest to the data: a scan does not tell how sensitive
    its receivers are. A frame whose image is empty stays empty. length: `step_length`.
    """
    margin = operator.margin
    start = functional.pad(image, (margin,) * 4)
    seen = operator.forward(start)
    power = seen.square().sum((1, 2, 3))
    factor = (seen * images).sum((1, 2, 3)).clamp_min(0) / torch.where(power > 0, power, 1.0)
    shown = factor > 0
    data = operator.adjoint(images / torch.where(shown, factor, 1.0)[:, None, None, None])
    found, ahead, momentum = start, start, 1.0
    for _ in range(steps):
        rest = operator.adjoint(operator.forward(ahead)) - data
        new = (ahead - length * rest).clamp_min(0)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = new + (momentum - 1) / following * (new - found)
        found, momentum = new, following
    n_y, n_x = image.shape[-2:]
    inside = found[:, margin : margin + n_y, margin : margin + n_x]
    return torch.where(shown[:, None, None], inside, image)
