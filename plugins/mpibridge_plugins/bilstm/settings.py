"""Settings of `bilstm`, and the sizes its network comes in."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import isfinite
from numbers import Integral, Real

from mpibridge.errors import SettingsError


@dataclass(frozen=True)
class Size:
    """How large a network is; what the numbers mean stands in `BiLSTMSettings`."""

    layers: int
    units: int
    decimation: int
    fold: int
    values: int
    width: int


SIZES = {
    "published": Size(layers=3, units=256, decimation=1, fold=1, values=1, width=32),
    "compact": Size(layers=2, units=64, decimation=2, fold=8, values=8, width=48),
}
"""The network of the seed (the width of its convolutions is ours), and one that a CPU trains within hours."""


@dataclass(frozen=True)
class BiLSTMSettings:
    """Sequence-to-image reconstruction."""

    size: str = "compact"  # compact or published: what the next six are where they are None
    layers: int | None = None  # of the BiLSTM, at least 1
    units: int | None = None  # of every layer and direction, at least 1
    decimation: int | None = None  # the period is band-limited to 1/decimation of its samples, at least 1
    fold: int | None = None  # samples that one recurrent step reads, at least 1
    values: int | None = None  # numbers the BiLSTM gives per sample, at least 1; the first is the surrogate
    width: int | None = None  # channels of the convolutions, at least 1
    trajectory: bool = True  # the network knows the path: as features, and where its gridding begins
    mirrored: bool = False  # trained on mirrored scans, too; images are means over them; coils on the axes
    surrogate_weight: float = 1.0  # of the Charbonnier loss of the values along the path, at least 0
    mse_weight: float = 5.0  # of the mean squared error of the image, at least 0
    ssim_weight: float = 1.0  # of 1 − SSIM of the image, at least 0

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise SettingsError(f"size must be {' or '.join(SIZES)}, found {self.size!r}")
        for name, usual in asdict(SIZES[self.size]).items():
            value = getattr(self, name)
            if value is None:
                object.__setattr__(self, name, usual)
            elif not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise SettingsError(f"{name} must be a whole number of at least 1, found {value!r}")
        for name in ("trajectory", "mirrored"):
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f"{name} must be true or false, found {getattr(self, name)!r}")
        for name in ("surrogate_weight", "mse_weight", "ssim_weight"):
            value = getattr(self, name)
            if not isinstance(value, Real) or isinstance(value, bool) or not isfinite(value) or value < 0:
                raise SettingsError(f"{name} must be a number of at least 0, found {value!r}")
        if not self.mse_weight + self.ssim_weight > 0:
            raise SettingsError(
                "mse_weight and ssim_weight are both 0: nothing would ask for an image; raise one of them"
            )

    @property
    def network(self) -> Size:
        """The size that was chosen, part by part."""
        return Size(**{part.name: getattr(self, part.name) for part in fields(Size)})
