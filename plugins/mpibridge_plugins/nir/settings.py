"""Settings of `nir`, and what each recipe takes where they leave a choice."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from math import isfinite
from numbers import Integral, Real
from typing import Any

from mpibridge.errors import SettingsError
from mpibridge.model import Grid


@dataclass(frozen=True)
class Recipe:
    """How a network is made and fitted; the fields are those of `NIRSettings`."""

    width: int = 128
    depth: int = 3
    first: float = 7.0
    hidden: float = 7.0
    values: str = "softplus"
    rate: float = 1e-3
    schedule: str = "cosine"
    iterations: int = 400
    sampling: str = "stratified"
    points: int = 2
    whiten: bool = True
    balance: float = 100.0
    stop: str = "discrepancy"


RECIPES = {
    "mpibridge": Recipe(),
    "seed": Recipe(
        width=256,
        depth=4,
        first=30.0,
        hidden=30.0,
        values="linear",
        rate=1e-4,
        schedule="constant",
        iterations=70_000,
        sampling="scales",
        points=5,
        whiten=False,
        balance=0.0,
        stop="none",
    ),
}
"""What a recipe says of everything that is left open. "seed": Tsanda et al. 2025; width, depth and frequencies, which the paper

leaves open, as in SIREN's. Its rows have unit norm: pass Preprocessing(weighting="row_norm"). It differs in that scales come in
turns, not by chance (frames that are fitted together share them), and that the square of the norm is made small, relative to that of the data.
"""
LARGEST_FACTOR = 32
CHOICES = {
    "recipe": tuple(RECIPES),
    "values": ("softplus", "linear"),
    "sampling": ("stratified", "scales"),
    "schedule": ("cosine", "constant"),
    "stop": ("discrepancy", "held_out", "none"),
}


@dataclass(frozen=True)
class NIRSettings:
    """Neural implicit representation; what is None is as the recipe says."""

    grid: Any = field(
        default="native",
        metadata={
            "help": "of the image: native, a factor, or voxels (y, x) or (z, y, x)",
            "comes_first": True,
        },
    )
    recipe: str = "mpibridge"  # mpibridge, or seed: the settings of the paper (hours on a CPU)
    width: int | None = None  # sines per layer; None: 128 (seed: 256)
    depth: int | None = None  # layers of sines, at least 1; None: 3 (seed: 4)
    first: float | None = None  # ω of the first layer, > 0; None: 7 (seed: 30)
    hidden: float | None = None  # ω of later layers, > 0; None: 7 (seed: 30)
    values: str | None = None  # softplus (never negative) or linear; None: softplus (seed: linear)
    rate: float | None = None  # learning rate of Adam, > 0; None: 1e-3 (seed: 1e-4)
    schedule: str | None = None  # of the rate: cosine or constant; None: cosine (seed: constant)
    iterations: int | None = None  # per frame at most, at least 1; None: 400 (seed: 70000)
    sampling: str | None = None  # stratified: jittered points; scales: finer grids (seed); None: stratified
    points: int | None = None  # per voxel and axis; of scales the largest, ≥ 1; None: 2 (seed: 5)
    whiten: bool | None = None  # rows by the noise of scan and system matrix; None: True (seed: False)
    balance: float | None = None  # lifts faint singular values, ≥ 0; 0: as the seed; None: 100 (seed: 0)
    stop: str | None = None  # discrepancy, held_out or none; None: discrepancy (seed: none)
    model_error: float = 0.03  # of the system matrix beyond its noise, as a share of the data, 0 to below 1
    rank: int = 2000  # singular values that count, at least 1
    dynamic: bool = False  # one network for all frames, with time as a coordinate
    frame_step: float = 1.0  # dynamic: how far apart neighbouring frames are, in voxels, > 0
    keep_network: bool = True  # beside the image, so that it can be sampled on other grids

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            if value not in allowed and not (value is None and name != "recipe"):
                raise SettingsError(f"{name} must be {' or '.join(allowed)}, found {value!r}")
        for name in ("width", "depth", "iterations", "points", "rank"):
            value = getattr(self, name)
            if value is None and name != "rank":
                continue
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise SettingsError(f"{name} must be a whole number of at least 1, found {value!r}")
        for name in ("first", "hidden", "rate", "balance", "frame_step"):
            value = getattr(self, name)
            if value is None and name != "frame_step":
                continue
            low_enough = _is_number(value) and (value >= 0 if name == "balance" else value > 0)
            if not low_enough:
                raise SettingsError(
                    f"{name} must be a number {'of at least 0' if name == 'balance' else 'above 0'}, found {value!r}"
                )
        if not (_is_number(self.model_error) and 0 <= self.model_error < 1):
            raise SettingsError(f"model_error must be a share from 0 to below 1, found {self.model_error!r}")
        for name in ("whiten", "dynamic", "keep_network"):
            value = getattr(self, name)
            if not isinstance(value, bool) and not (value is None and name == "whiten"):
                raise SettingsError(f"{name} must be true or false, found {value!r}")
        _require_grid(self.grid)

    @property
    def plan(self) -> Recipe:
        """How the network is made and fitted, every choice made."""
        chosen = {f.name: getattr(self, f.name) for f in fields(Recipe)}
        return replace(RECIPES[self.recipe], **{n: v for n, v in chosen.items() if v is not None})

    def image_grid(self, native: Grid) -> Grid:
        """Where the image lies: in the field of view of the calibration. ShapeError for a size that does not fit."""
        return native if isinstance(self.grid, str) else native.resized(self.grid)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(float(value))


def _require_grid(grid: Any) -> None:
    sizes = tuple(grid) if isinstance(grid, tuple | list) else ()
    whole = all(isinstance(n, Integral) and not isinstance(n, bool) and int(n) >= 1 for n in sizes)
    is_factor = _is_number(grid) and grid > 0
    if is_factor and grid > LARGEST_FACTOR:
        raise SettingsError(
            f"grid={grid!r} is a factor, of {LARGEST_FACTOR} at most; voxels are two or three numbers (y, x) or (z, y, x)"
        )
    if grid != "native" and not is_factor and not (len(sizes) in (2, 3) and whole):
        raise SettingsError(
            f"grid must be native, a factor above 0, or voxels (y, x) or (z, y, x), found {grid!r}"
        )
