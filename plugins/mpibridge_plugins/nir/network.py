"""Sinusoidal networks from coordinates to concentration, one per frame, all evaluated at once.

Source: Sitzmann et al. 2020, "Implicit neural representations with periodic activation functions" (SIREN).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mpibridge.errors import ShapeError

SHARPNESS = 10.0
"""Of the softplus: below a tenth of the image's maximum it bends towards zero."""


class Siren(nn.Module):
    """Networks from points in [−1, 1] to values, each with weights of its own.

    widths: of the layers, from the dimension of the points to 1. first, hidden: the factors ω of the first and of later
    layers. generators: of the initial weights, one per network.
    """

    def __init__(
        self,
        widths: Sequence[int],
        first: float,
        hidden: float,
        *,
        values: str = "softplus",
        generators: Sequence[np.random.Generator],
    ) -> None:
        super().__init__()
        self.first, self.hidden, self.values = first, hidden, values
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            bound = 1 / inputs if i == 0 else (6 / inputs) ** 0.5 / hidden
            for parameters, limit, shape in (
                (self.weights, bound, (inputs, outputs)),
                (self.biases, inputs**-0.5, (1, outputs)),
            ):
                start = np.stack([g.uniform(-limit, limit, shape) for g in generators])
                parameters.append(nn.Parameter(torch.from_numpy(start.astype(np.float32))))

    def forward(self, points: Tensor, which: int | None = None) -> Tensor:
        """points (network or 1, point, dimension) → (network, point), of one network alone (1, point)."""
        chosen = slice(None) if which is None else slice(which, which + 1)
        x = points.expand(len(self.weights[0][chosen]), -1, -1)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if i == len(self.weights) - 1:
                x = torch.baddbmm(bias[chosen], x, weight[chosen])
            else:
                omega = self.hidden if i else self.first
                x = torch.sin(torch.baddbmm(bias[chosen], x, weight[chosen], beta=omega, alpha=omega))
        if self.values == "softplus":
            x = functional.softplus(SHARPNESS * x) / SHARPNESS
        return x[..., 0]

    def flat(self) -> Tensor:
        """All parameters, (network, number)."""
        return torch.cat([p.detach().flatten(1) for p in self.parameters()], 1)

    @torch.no_grad()
    def load(self, flat: Tensor) -> Siren:
        """The inverse of `flat`. ShapeError if the numbers belong to another network."""
        sizes = [p[0].numel() for p in self.parameters()]
        if flat.shape != (len(self.weights[0]), sum(sizes)):
            raise ShapeError(
                f"{tuple(flat.shape)} parameters for {len(self.weights[0])} networks of {sum(sizes)}"
            )
        for parameter, part in zip(self.parameters(), flat.split(sizes, 1), strict=True):
            parameter.copy_(part.reshape(parameter.shape))
        return self
