"""`Preprocessing`: everything that happens to a scan and its calibration before a solver sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from math import isfinite
from numbers import Real
from typing import Any

import numpy as np

from mpibridge.errors import SettingsError
from mpibridge.model import Grid
from mpibridge.transforms import NAMES

WEIGHTINGS = ("channel", "whitening", "row_norm")
FUNDAMENTALS = ("as recorded", "recovered")


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Settings of `signals` and `calibration`; frames and receivers count from 0, frequencies are in hertz.

    The defaults are those of MPIReco.jl (no correction, every row). In brackets MPIReco's own keyword.
    """

    frames: Sequence[int] | None = None
    """Foreground frames to use, counted among the foreground frames; None: all [frames]."""
    averages: int = 1
    """Consecutive frames averaged; a last shorter block is kept [numAverages]."""
    period_averages: int = 1
    """Consecutive periods averaged; must divide the periods per frame [numPeriodAverages]."""
    background: Any = None
    """None, "mean" or "interpolate" of the scan's background frames, or an empty scan [bgParams]."""
    system_matrix_background: bool = False
    """Subtract the interpolated background frames of the calibration [bgCorrection]."""
    spectral_leakage: bool = False
    """Window every frame over its neighbours [spectralLeakageCorrection]."""
    transfer_function: bool | None = None
    """Divide by the transfer function; None: where the file has one [tfCorrection]."""
    receivers: Sequence[int] | None = None
    """Receive channels; None: all [recChannels]."""
    min_frequency: float = 0.0
    """Hz [minFreq]."""
    max_frequency: float | None = None
    """Hz; None: the bandwidth [maxFreq]."""
    snr_threshold: float | None = None
    """Rows of the system matrix with at least this signal-to-noise ratio [SNRThresh]."""
    mixing_order: int | None = None
    """Rows up to this mixing order [maxMixingOrder]."""
    step: int = 1
    """Every step-th bin [stepsize]."""
    stop_bands: Sequence[tuple[float, float]] = ()
    """Bands in Hz to leave out [stopBands]."""
    weighting: Any = None
    """None, "channel", "whitening", "row_norm", or a sequence of them [weightingParams]."""
    channel_weights: Sequence[float] | None = None
    """One weight per receiver for "channel" [channelWeights]."""
    grid: Grid | Sequence[int] | None = None
    """Grid to interpolate the system matrix to, or its (nz, ny, nx) over the calibrated field of view [gridding]."""
    sparsity: str | None = None
    """Transform in which rows are kept sparse: DCT-II, DCT-IV or FFT [sparseTrafo]."""
    sparsity_reduction: float = 0.1
    """Share of the coefficients kept per row [redFactor]."""
    sparsity_threshold: float = 0.0
    """If positive: keep coefficients above this share of the row's largest instead [thresh]."""
    round_patches: bool = False
    """Move patches of a multi-patch scan to whole voxels instead of interpolating [roundPatches]."""

    fundamental: str = "as recorded"
    """X-space images: "recovered" puts the drive frequencies back that the receive chain took away."""

    def __post_init__(self) -> None:
        for name in ("averages", "period_averages", "step"):
            if not _is_count(getattr(self, name)):
                raise SettingsError(
                    f"{name} must be a whole number of at least 1, found {getattr(self, name)!r}"
                )
        for name in ("system_matrix_background", "spectral_leakage", "round_patches", "transfer_function"):
            value = getattr(self, name)
            if not isinstance(value, bool | np.bool_) and not (value is None and name == "transfer_function"):
                raise SettingsError(f"{name} must be True or False, found {value!r}")
        for name in ("frames", "receivers"):
            value = getattr(self, name)
            if value is None:
                continue
            chosen = np.atleast_1d(np.asarray(value))
            if chosen.size == 0 or chosen.dtype.kind not in "iu" or chosen.ndim != 1 or chosen.min() < 0:
                raise SettingsError(f"{name} must be positions from 0, found {value!r}; None takes all")
            object.__setattr__(self, name, tuple(int(i) for i in chosen))
        if self.fundamental not in FUNDAMENTALS:
            raise SettingsError(f"fundamental must be one of {FUNDAMENTALS}, found {self.fundamental!r}")
        self._check_background()
        self._check_selection()
        for kind in self.weightings:
            if kind not in WEIGHTINGS:
                raise SettingsError(f"unknown weighting {kind!r}; known are {', '.join(WEIGHTINGS)}")
        if "channel" in self.weightings:
            given = np.asarray(() if self.channel_weights is None else self.channel_weights)
            if (
                given.dtype.kind not in "iuf"
                or given.ndim != 1
                or not given.size
                or not np.isfinite(given).all()
            ):
                raise SettingsError(
                    f'weighting="channel" needs channel_weights, one number per receiver, found {self.channel_weights!r}'
                )
        sizes: Any = self.grid
        known = sizes is None or isinstance(sizes, Grid)
        if not known and (np.shape(sizes) != (3,) or not all(_is_count(n) for n in sizes)):
            raise SettingsError(f"grid must be a Grid or voxels (nz, ny, nx), found {self.grid!r}")
        if self.sparsity is not None and self.sparsity not in NAMES:
            raise SettingsError(f"unknown sparsity {self.sparsity!r}; known are {', '.join(NAMES)}")
        share, threshold = self.sparsity_reduction, self.sparsity_threshold
        if not (_is_number(share) and 0 < share <= 1 and _is_number(threshold) and 0 <= threshold < 1):
            raise SettingsError(
                "sparsity_reduction must lie in (0, 1] and sparsity_threshold in [0, 1), found "
                f"{share!r} and {threshold!r}"
            )

    def _check_background(self) -> None:
        known = isinstance(self.background, str) and self.background in ("mean", "interpolate")
        if not (known or self.background is None or hasattr(self.background, "data_vars")):
            raise SettingsError(
                'background must be None, "mean", "interpolate" or an empty scan (mpibridge.open(path)), '
                f"found {self.background!r}"
            )

    def _check_selection(self) -> None:
        if not _is_number(self.min_frequency) or self.min_frequency < 0:
            raise SettingsError(f"min_frequency must be a frequency in hertz, found {self.min_frequency!r}")
        if self.max_frequency is not None and not (
            _is_number(self.max_frequency) and self.max_frequency >= self.min_frequency
        ):
            raise SettingsError(
                f"max_frequency must be a frequency in hertz of at least min_frequency ({self.min_frequency}), "
                f"found {self.max_frequency!r}"
            )
        if self.snr_threshold is not None and not _is_number(self.snr_threshold):
            raise SettingsError(f"snr_threshold must be a finite number, found {self.snr_threshold!r}")
        if self.mixing_order is not None and not _is_count(self.mixing_order):
            raise SettingsError(
                f"mixing_order must be a whole number of at least 1, found {self.mixing_order!r}"
            )
        if len(self.stop_bands) == 2 and all(_is_number(edge) for edge in self.stop_bands):
            object.__setattr__(self, "stop_bands", (tuple(self.stop_bands),))
        for band in self.stop_bands:
            if np.shape(band) != (2,) or not all(_is_number(edge) for edge in band) or band[0] > band[1]:
                raise SettingsError(f"stop_bands are pairs (low, high) in hertz, found {band!r}")

    @property
    def weightings(self) -> tuple[str, ...]:
        """The weightings as a tuple."""
        if self.weighting is None:
            return ()
        return tuple(self.weighting) if isinstance(self.weighting, list | tuple) else (self.weighting,)

    def target_grid(self, calibrated: Grid) -> Grid:
        """The grid of the image for a calibration on ``calibrated``."""
        if self.grid is None:
            return calibrated
        if isinstance(self.grid, Grid):
            return self.grid
        nz, ny, nx = (int(n) for n in self.grid)
        return Grid((nx, ny, nz), calibrated.field_of_view, calibrated.center)

    def plain(self) -> dict[str, Any]:
        """The settings that differ from the defaults as JSON-ready values, for provenance."""
        out = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is self.__dataclass_fields__[field.name].default:
                continue
            if hasattr(value, "attrs"):
                value = str(value.attrs.get("source", "in memory"))
            out[field.name] = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        return out

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Preprocessing:
        """The inverse of `plain`, but for a background that was an empty scan. SettingsError for an unknown name."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise SettingsError(f"Preprocessing has no {unknown[0]!r} (known: {', '.join(sorted(known))})")
        grid = values.get("grid")
        return cls(**{**values, **({"grid": Grid(**grid)} if isinstance(grid, Mapping) else {})})


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
