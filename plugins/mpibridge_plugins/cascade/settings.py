"""Settings of `cascade`."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Real

from mpibridge.errors import SettingsError

LOSSES = ("full", "mse")
STAGES = ("joint", "apart")
SYMMETRIES = (1, 4)


@dataclass(frozen=True)
class CascadeSettings:
    """Two-stage reconstruction."""

    width: int = 48  # channels of the networks at half resolution, an even number of at least 2
    loss: str = "full"  # full (squares, absolute values, SSIM, uniformity) or mse (squares alone)
    model_error: float = 0.01  # of the system matrix, as a share of the data; adds to the noise; below 1
    symmetries: int = 1  # both stages are means over so many mirror images: 1 or 4, if the operator has them
    stages: str = "joint"  # joint: the image's loss trains both stages; apart: each stage has its own loss
    absolute_weight: float = 0.2  # full: of the absolute error, at least 0
    ssim_weight: float = 0.1  # full: of 1 − SSIM, at least 0
    uniformity_weight: float = 0.2  # full: of the variance of the error inside what is filled, at least 0
    preliminary_weight: float = 0.3  # of the preliminary image's loss where stages are joint, above 0

    def __post_init__(self) -> None:
        width = self.width
        if not isinstance(width, Integral) or isinstance(width, bool) or width < 2 or width % 2:
            raise SettingsError(f"width must be an even number of at least 2, found {width!r}")
        for name, allowed in (("loss", LOSSES), ("stages", STAGES)):
            if getattr(self, name) not in allowed:
                raise SettingsError(f"{name} must be {' or '.join(allowed)}, found {getattr(self, name)!r}")
        if self.symmetries not in SYMMETRIES or isinstance(self.symmetries, bool):
            raise SettingsError(f"symmetries must be 1 or 4, found {self.symmetries!r}")
        for name in ("absolute_weight", "ssim_weight", "uniformity_weight", "preliminary_weight"):
            value = getattr(self, name)
            if not isinstance(value, Real) or isinstance(value, bool) or not isfinite(value) or value < 0:
                raise SettingsError(f"{name} must be a number of at least 0, found {value!r}")
        error = self.model_error
        if not isinstance(error, Real) or isinstance(error, bool) or not 0 <= error < 1:
            raise SettingsError(f"model_error must be a share from 0 to below 1, found {error!r}")
        if self.preliminary_weight == 0:
            raise SettingsError("preliminary_weight must be above 0, found 0: both stages are supervised")
