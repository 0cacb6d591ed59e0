"""`Preprocessing`: everything that happens to a scan and its calibration before a solver sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from mpibridge.errors import SettingsError
from mpibridge.model import Grid
from mpibridge.transforms import NAMES

WEIGHTINGS = ("channel", "whitening", "row_norm")


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

    def __post_init__(self) -> None:
        for name in ("averages", "period_averages", "step"):
            if (value := getattr(self, name)) < 1 or value != int(value):
                raise SettingsError(f"{name} must be a whole number of at least 1, found {value!r}")
        for name in ("frames", "receivers"):
            value = getattr(self, name)
            if value is None:
                continue
            chosen = np.atleast_1d(np.asarray(value))
            if chosen.size == 0 or chosen.dtype.kind not in "iu" or chosen.ndim != 1 or chosen.min() < 0:
                raise SettingsError(f"{name} must be positions from 0, found {value!r}; None takes all")
            object.__setattr__(self, name, tuple(int(i) for i in chosen))
        if isinstance(self.background, str) and self.background not in ("mean", "interpolate"):
            raise SettingsError(
                f'background must be None, "mean", "interpolate" or an empty scan, found {self.background!r}'
            )
        if not np.isfinite(self.min_frequency) or self.min_frequency < 0:
            raise SettingsError(f"min_frequency must be a frequency in hertz, found {self.min_frequency!r}")
        if self.max_frequency is not None and not self.max_frequency >= self.min_frequency:
            raise SettingsError(
                f"max_frequency ({self.max_frequency} Hz) must not lie below min_frequency ({self.min_frequency} Hz)"
            )
        if self.snr_threshold is not None and not np.isfinite(self.snr_threshold):
            raise SettingsError(f"snr_threshold must be a finite number, found {self.snr_threshold!r}")
        for band in self.stop_bands:
            if len(tuple(band)) != 2 or not band[0] <= band[1]:
                raise SettingsError(f"stop_bands are pairs (low, high) in hertz, found {band!r}")
        for kind in self.weightings:
            if kind not in WEIGHTINGS:
                raise SettingsError(f"unknown weighting {kind!r}; known are {', '.join(WEIGHTINGS)}")
        if "channel" in self.weightings and self.channel_weights is None:
            raise SettingsError('weighting="channel" needs channel_weights, one number per receiver')
        if self.sparsity is not None and self.sparsity not in NAMES:
            raise SettingsError(f"unknown sparsity {self.sparsity!r}; known are {', '.join(NAMES)}")
        if not 0 < self.sparsity_reduction <= 1 or not 0 <= self.sparsity_threshold < 1:
            raise SettingsError(
                "sparsity_reduction must lie in (0, 1] and sparsity_threshold in [0, 1), found "
                f"{self.sparsity_reduction!r} and {self.sparsity_threshold!r}"
            )

    @property
    def weightings(self) -> tuple[str, ...]:
        """The weightings as a tuple."""
        if self.weighting is None:
            return ()
        return (self.weighting,) if isinstance(self.weighting, str) else tuple(self.weighting)

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
