"""Training of learned methods: the data, the loop, the folder of a run.

weights = mpibridge.train("polish", data="openmpi-2d", out="runs/polish")
image = mpibridge.reconstruct("scan.mdf", plugin="polish", system_matrix="calibration.mdf", weights="runs/polish")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpibridge.training.arrays import Arrays, Recordings
    from mpibridge.training.data import Data, Pairs
    from mpibridge.training.run import CORRECTED, train
    from mpibridge.training.scenes import SceneScans, scene_scans
    from mpibridge.training.settings import Training
    from mpibridge.training.simulated import Simulated

__all__ = [
    "CORRECTED",
    "Arrays",
    "Data",
    "Pairs",
    "Recordings",
    "SceneScans",
    "Simulated",
    "Training",
    "scene_scans",
    "train",
]

_MODULE_OF = {
    "Arrays": "arrays",
    "CORRECTED": "run",
    "Data": "data",
    "Pairs": "data",
    "Recordings": "arrays",
    "SceneScans": "scenes",
    "Simulated": "simulated",
    "Training": "settings",
    "scene_scans": "scenes",
    "train": "run",
}
"""Where a name lives: the command line needs the settings and nothing heavy."""


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
