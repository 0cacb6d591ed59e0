"""Settings of `score`, and what every guidance takes where they leave a choice."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

from mpibridge.errors import SettingsError


@dataclass(frozen=True)
class Guidance:
    """How images are drawn. network: the kind that is needed. highest: noise level that sampling starts from.

    samples, steps: the usual numbers. trust: `mpibridge_plugins.score.sampling.decoupled`.
    """

    network: str
    samples: int
    steps: int
    highest: float
    trust: float = 1.0


GUIDANCES = {
    "posterior": Guidance("prior", samples=4, steps=20, highest=0.4, trust=0.5),
    "signal": Guidance("signal", samples=8, steps=7, highest=3.0, trust=4.0),
    "regression": Guidance("signal", samples=1, steps=1, highest=10.0),
}
NETWORKS = ("prior", "signal")


@dataclass(frozen=True)
class ScoreSettings:
    """Score-based reconstruction."""

    guidance: str | None = None  # posterior, signal or regression; None: what the weights are for
    samples: int | None = None  # images drawn per frame, at least 1; None: 4 for posterior, 8 for signal
    steps: int | None = None  # evaluations per sample, at least 1; None: 20 for posterior, 7 for signal
    data_step: bool = True  # signal: meet the data in every step; False: the network alone (Heun)
    exact: bool = False  # meet the data by a draw, not by its mean: wider spread, noisier images
    positive: bool = True  # cut negative values of every sample
    network: str | None = None  # prior (of images) or signal (also sees the data); None: as guidance needs
    width: int = 64  # channels of the network's fine level, a multiple of 8

    def __post_init__(self) -> None:
        for name, allowed in (("guidance", GUIDANCES), ("network", NETWORKS)):
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise SettingsError(f"{name} must be {', '.join(allowed)} or None, found {value!r}")
        needed = "signal" if self.guidance is None else GUIDANCES[self.guidance].network
        if None not in (self.guidance, self.network) and self.network != needed:
            raise SettingsError(
                f"guidance={self.guidance!r} needs network={needed!r}, found {self.network!r}"
            )
        object.__setattr__(self, "network", self.network or needed)
        for name, least in (("samples", 1), ("steps", 1), ("width", 8)):
            value = getattr(self, name)
            if value is None and name != "width":
                continue
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise SettingsError(f"{name} must be a whole number of at least {least}, found {value!r}")
        if self.width % 8:
            raise SettingsError(f"width must be a multiple of 8, found {self.width}")

    @property
    def chosen(self) -> str:
        """The guidance that was chosen, or the one that the network is for."""
        return self.guidance or ("posterior" if self.network == "prior" else "signal")
