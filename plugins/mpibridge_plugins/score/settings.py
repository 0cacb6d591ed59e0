"""Settings of `score`, and what every guidance takes where they leave a choice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral, Real

from mpibridge.errors import SettingsError

SIGMA_MIN, SIGMA_MAX = 0.02, 10.0
"""Noise levels of sampling; images lie in [0, 1] or so, so that 10 hides them wholly."""


@dataclass(frozen=True)
class Guidance:
    """How images are drawn. network: the kind that is needed. highest: noise level that sampling starts from, around a

    Tikhonov image if ``start``. samples, steps: their numbers. trust: `mpibridge_plugins.score.sampling.decoupled`.
    """

    network: str
    samples: int
    steps: int
    highest: float
    trust: float = 1.0
    start: bool = True


GUIDANCES = {
    "posterior": Guidance("prior", samples=4, steps=20, highest=0.25, trust=0.4),
    "signal": Guidance("signal", samples=8, steps=7, highest=3.0, trust=8.0),
    "regression": Guidance("signal", samples=1, steps=1, highest=SIGMA_MAX),
}
NETWORKS = ("prior", "signal")


@dataclass(frozen=True)
class ScoreSettings:
    """Score-based reconstruction."""

    guidance: str | None = None  # posterior, signal or regression; None: what the weights are for
    samples: int | None = None  # images drawn per frame, at least 1; None: 4 for posterior, 8 for signal
    steps: int | None = None  # noise levels, at least 1; None: 20 for posterior, 7 for signal
    data_step: bool = True  # meet the data at every level; False (signal): the network alone, by Heun
    exact: bool = False  # meet the data by draws, from pure noise on: wider spread, noisier images
    positive: bool = True  # leave no negative value in any sample; draws that are cut are not exact
    model_error: float = 0.05  # of the system matrix, as a share of the data; adds to the noise
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
        for name in ("data_step", "exact", "positive"):
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f"{name} must be true or false, found {getattr(self, name)!r}")
        error = self.model_error
        if not isinstance(error, Real) or isinstance(error, bool) or not 0 <= error < 1:
            raise SettingsError(f"model_error must be a share from 0 to below 1, found {error!r}")
        self._refuse_contradictions()

    def _refuse_contradictions(self) -> None:
        unmoved = {"samples": None, "steps": None, "data_step": True, "exact": False}
        if self.guidance == "regression":
            for name, usual in unmoved.items():
                if getattr(self, name) != usual:
                    raise SettingsError(f"guidance='regression' asks its network once: leave {name} out")
        if not self.data_step and (self.exact or self.chosen == "posterior"):
            raise SettingsError(
                "data_step=False leaves sampling to the network alone: it needs guidance='signal' and exact=False"
            )

    @property
    def chosen(self) -> str:
        """The guidance that was chosen, or the one that the network is for."""
        return self.guidance or ("posterior" if self.network == "prior" else "signal")

    @property
    def plan(self) -> Guidance:
        """How images are drawn, with everything that was left open."""
        usual = GUIDANCES[self.chosen]
        if self.exact:
            usual = replace(usual, highest=SIGMA_MAX, trust=1.0, start=False)
        return replace(usual, samples=self.samples or usual.samples, steps=self.steps or usual.steps)
