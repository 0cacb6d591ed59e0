"""Settings of `deblur`, and the sizes its network comes in."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import isfinite
from numbers import Integral, Real

from mpibridge.errors import SettingsError

FEATURES = ("random", "gradient", "vgg", "none")
SYMMETRIES = (1, 4, 8)


@dataclass(frozen=True)
class Size:
    """How large a network is; what the numbers mean stands in `DeblurSettings`."""

    folds: int
    width: int
    halvings: int
    blocks: int
    surround: int


SIZES = {
    "published": Size(folds=1, width=64, halvings=2, blocks=9, surround=20),
    "compact": Size(folds=2, width=32, halvings=0, blocks=9, surround=5),
}
"""The network of the seed for 280 × 280 pixels (its widths are those of the usual ResNet), and one for 70 × 70."""


@dataclass(frozen=True)
class DeblurSettings:
    """X-space images sharpened by a network."""

    size: str = "compact"  # compact (70 × 70 pixels) or published (280 × 280): what the next five are where they are None
    folds: int | None = None  # folds × folds pixels are one pixel with as many channels, at least 1
    width: int | None = None  # channels of the first convolution, at least 1; doubled by every halving
    halvings: int | None = None  # of the resolution before the blocks, at least 0
    blocks: int | None = None  # residual blocks, at least 1
    surround: int | None = None  # pixels, deviation of the Gaussian whose mean images lose, at least 1
    l2_steps: int = 200  # steps of training with squared errors before the other losses, at least 0
    perceptual: str = "gradient"  # features of the perceptual loss: random, gradient, vgg or none
    perceptual_weight: float = 1.0  # of the perceptual loss beside the absolute error, at least 0
    symmetries: int = 4  # images of so many mirrored (4) and turned (8) scans are averaged; 1: none
    data_consistency: bool = False  # then steps of the exact model; for phantoms within the field of view
    consistency_steps: int = 40  # of them, at least 1
    core_diameter: float = 25e-9  # of the tracer, m, above 0; for data consistency only

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise SettingsError(f"size must be {' or '.join(SIZES)}, found {self.size!r}")
        for name, usual in asdict(SIZES[self.size]).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, usual)
        least = {"folds": 1, "width": 1, "halvings": 0, "blocks": 1, "surround": 1}
        least |= {"l2_steps": 0, "consistency_steps": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
                raise SettingsError(f"{name} must be a whole number of at least {low}, found {value!r}")
        for name, allowed in (("perceptual", FEATURES), ("symmetries", SYMMETRIES)):
            value = getattr(self, name)
            if isinstance(value, bool) or value not in allowed:
                raise SettingsError(f"{name} must be one of {', '.join(map(str, allowed))}, found {value!r}")
        if not _is_number(self.perceptual_weight) or self.perceptual_weight < 0:
            raise SettingsError(
                f"perceptual_weight must be a number of at least 0, found {self.perceptual_weight!r}"
            )
        if not _is_number(self.core_diameter) or not self.core_diameter > 0:
            raise SettingsError(f"core_diameter must be a length in m above 0, found {self.core_diameter!r}")
        if not isinstance(self.data_consistency, bool):
            raise SettingsError(f"data_consistency must be true or false, found {self.data_consistency!r}")

    @property
    def network(self) -> Size:
        """The size that was chosen, part by part."""
        return Size(**{part.name: getattr(self, part.name) for part in fields(Size)})


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
