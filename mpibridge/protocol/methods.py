"""Who takes part: a plugin with fixed settings, or with a grid of settings of which the best on separate images counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from mpibridge.errors import SettingsError
from mpibridge.registry import plugins


@dataclass(frozen=True)
class Method:
    """A plugin under a name.

    settings: fixed ones. grid: values in ascending order of those that are tuned; with ``grows`` the values go on beyond
    an end (by the ratio of the last two) while the best one lies there. weights: of a trained plugin, a file, a folder, or
    None to look for them.
    """

    name: str
    plugin: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Sequence[float]] = field(default_factory=dict)
    grows: Sequence[str] = ()
    weights: str | Path | None = None

    def __post_init__(self) -> None:
        for name, values in self.grid.items():
            if list(values) != sorted(set(values)) or len(values) < 2:
                raise SettingsError(
                    f"{self.name}: {name} is tuned over at least two values in ascending order, found {values}"
                )

    def combinations(self) -> list[dict[str, Any]]:
        """Every choice of the tuned settings; one empty choice if there is nothing to tune."""
        return [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]


BASELINE = "kaczmarz"
"""Gains are over this one."""
LAMBDAS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
BASELINES: Mapping[str, Method] = {
    "kaczmarz": Method(
        "kaczmarz",
        "kaczmarz",
        grid={"iterations": (3, 10, 30, 100, 300), "regularization": LAMBDAS},
        grows=("regularization",),
    ),
    "tikhonov": Method(
        "tikhonov",
        "fista",
        settings={"penalty": "l2", "iterations": 300, "restart": "gradient"},
        grid={"regularization": LAMBDAS},
        grows=("regularization",),
    ),
    "tv": Method(
        "tv",
        "fista",
        settings={"penalty": "tv", "restart": "gradient"},
        grid={"iterations": (30, 100, 300), "regularization": LAMBDAS},
        grows=("regularization",),
    ),
}
"""Tikhonov and TV are solved with positivity in every iteration (accelerated proximal gradients), Tikhonov to convergence. The
plugin ``tv`` follows MPIReco.jl, which cuts negative values at the end only, and is weaker."""


def chosen(names: Sequence[str], weights: Mapping[str, str | Path] | None = None) -> list[Method]:
    """The `BASELINES`, then methods by name: any plugin with its default settings."""
    weights = weights or {}
    methods = []
    for name in dict.fromkeys([*BASELINES, *names]):
        if name in BASELINES:
            methods.append(BASELINES[name])
        elif name in plugins():
            methods.append(Method(name, name, weights=weights.get(name)))
        else:
            known = ", ".join(dict.fromkeys([*BASELINES, *plugins()]))
            raise SettingsError(f"there is no method {name!r} (known: {known})")
    return methods
