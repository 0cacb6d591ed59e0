"""`Training`: how a network is trained, whatever the method and the data."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from math import isfinite
from numbers import Integral, Real
from typing import Any

from mpibridge.errors import SettingsError

SCHEDULES = ("cosine", "constant")
LICENCE = re.compile(r"\(*[\w.:+-]+\)*( (AND|OR|WITH) \(*[\w.:+-]+\)*)*", re.ASCII)
"""An SPDX name, or several joined."""
PRECISIONS = ("32", "bf16-mixed", "16-mixed")
LOGS = ("csv", "tensorboard")
CHANGES_NOTHING = ("workers", "log", "evaluate", "licence")
"""Fields that the trained weights do not depend on."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """Settings of the loop. A step is one update of the weights; ``validate_every`` steps end with a checkpoint."""

    steps: int = 5000  # updates of the weights, at least 1
    batch: int = 16  # frames per step and process, at least 1
    learning_rate: float = 1e-3  # of AdamW at its highest, above 0
    weight_decay: float = 0.0  # of AdamW, at least 0
    warmup: int = 100  # steps in which the learning rate rises linearly, at least 0
    schedule: str = "cosine"  # learning rate after that: cosine (falls to 0 at the last step) or constant
    clip: float = 1.0  # largest norm of the gradient, at least 0; 0 clips nothing
    average: float = 0.999  # decay of the moving average of the weights, from 0 to below 1; 0: no average
    precision: str = "32"  # 32, bf16-mixed or 16-mixed (GPU only)
    devices: int = 1  # GPUs, or processes on the CPU, at least 1
    validate_every: int = 250  # steps between validations and checkpoints, at least 1
    patience: int | None = None  # validations without improvement before it stops, at least 1; none: never
    log: str = "csv"  # csv (history.csv) or tensorboard (beside it)
    workers: int = 0  # processes that prepare batches, at least 0; 0: the training process does
    evaluate: int = 32  # held-out frames reconstructed at the end for NRMSE and PSNR, at least 0
    licence: str = ""  # of the weights: an SPDX name such as MIT or CC-BY-4.0; empty: not stated

    def __post_init__(self) -> None:
        for name, least in (
            ("steps", 1),
            ("batch", 1),
            ("warmup", 0),
            ("devices", 1),
            ("validate_every", 1),
            ("patience", 1),
            ("workers", 0),
            ("evaluate", 0),
        ):
            value = getattr(self, name)
            if name == "patience" and value is None:
                continue
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise SettingsError(f"{name} must be a whole number of at least {least}, found {value!r}")
        for name in ("learning_rate", "weight_decay", "clip", "average"):
            value = getattr(self, name)
            if not isinstance(value, Real) or isinstance(value, bool) or not isfinite(value) or value < 0:
                raise SettingsError(f"{name} must be a number of at least 0, found {value!r}")
        if self.learning_rate == 0:
            raise SettingsError("learning_rate must be above 0, found 0")
        if self.average >= 1:
            raise SettingsError(f"average must lie from 0 to below 1, found {self.average}")
        if self.licence != "" and not (isinstance(self.licence, str) and LICENCE.fullmatch(self.licence)):
            raise SettingsError(
                f"licence must be an SPDX name such as MIT or CC-BY-4.0 (https://spdx.org/licenses), found {self.licence!r}"
            )
        object.__setattr__(self, "precision", str(self.precision))
        for name, allowed in (("schedule", SCHEDULES), ("precision", PRECISIONS), ("log", LOGS)):
            if getattr(self, name) not in allowed:
                raise SettingsError(f"{name} must be {' or '.join(allowed)}, found {getattr(self, name)!r}")

    def decisive(self) -> dict[str, Any]:
        """The fields that decide what the weights become; with a constant learning rate a run may grow longer."""
        values = {name: value for name, value in asdict(self).items() if name not in CHANGES_NOTHING}
        if self.schedule == "constant":
            del values["steps"]
        return values

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0, as a share of the highest."""
        from math import cos, pi

        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        if self.schedule == "constant":
            return 1.0
        share = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.5 * (1 + cos(pi * min(share, 1.0)))
