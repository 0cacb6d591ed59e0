"""Data as users name them: a preset, a calibration, a pair of arrays, or one of the classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from mpibridge.errors import SettingsError
from mpibridge.simulate.presets import Preset
from mpibridge.training.arrays import Arrays
from mpibridge.training.data import Data
from mpibridge.training.simulated import Simulated


def as_data(data: Any) -> Data:
    """``data`` itself, or what it stands for.

    A preset, its name, and a calibration become `Simulated`; ``(problem, target)`` becomes `Arrays`.
    """
    if isinstance(data, Data):
        return data
    if isinstance(data, str | Path | Preset | xr.Dataset):
        return Simulated(data)
    if isinstance(data, tuple) and len(data) == 2:
        return Arrays(*data)
    raise SettingsError(
        "data must be a preset or its name, a calibration, (problem, target), or Simulated, Arrays or Recordings of "
        f"mpibridge.training; found {type(data).__name__}"
    )
