"""mpibridge: the bridge from Magnetic Particle Imaging files to images.

MDF files in, labelled xarray data, classical and learned reconstruction, MDF files out that MPIFiles.jl opens.
Everything is SI; dimensions and names are those of `mpibridge.model`.

    import mpibridge as mb

    scan = mb.open("measurement.mdf", system_matrix="calibration.mdf")
    image = mb.reconstruct(scan, plugin="kaczmarz", iterations=3, regularization=0.01)
    mb.save("image.mdf", image)
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpibridge import metrics, plot, registry, simulate, training
    from mpibridge.comparison import Comparison, compare
    from mpibridge.errors import (
        FileError,
        JuliaError,
        JuliaSetupError,
        MDFError,
        MismatchError,
        MissingField,
        MPIBridgeError,
        MPIBridgeWarning,
        PluginError,
        SettingsError,
        ShapeError,
        WeightsError,
    )
    from mpibridge.files import convert, open, save, validate
    from mpibridge.matching import find_calibration
    from mpibridge.model import Grid
    from mpibridge.pipeline import reconstruct
    from mpibridge.preprocessing import Preprocessing
    from mpibridge.registry import plugins
    from mpibridge.resampling import resample
    from mpibridge.training import Training, train

__version__ = "0.1.0"

if "numba" not in sys.modules and os.environ.get("OMP_NUM_THREADS", "").lstrip("0").isdigit():
    # Numba does not read it, starts as many threads as there are cores, and makes torch do the same.
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

__all__ = [
    "Comparison",
    "FileError",
    "Grid",
    "JuliaError",
    "JuliaSetupError",
    "MDFError",
    "MPIBridgeError",
    "MPIBridgeWarning",
    "MismatchError",
    "MissingField",
    "PluginError",
    "Preprocessing",
    "SettingsError",
    "ShapeError",
    "Training",
    "WeightsError",
    "__version__",
    "compare",
    "convert",
    "find_calibration",
    "metrics",
    "open",
    "plot",
    "plugins",
    "reconstruct",
    "registry",
    "resample",
    "save",
    "simulate",
    "train",
    "training",
    "validate",
]

_MODULE_OF = {
    "Comparison": "comparison",
    "compare": "comparison",
    "convert": "files",
    "open": "files",
    "save": "files",
    "validate": "files",
    "reconstruct": "pipeline",
    "Preprocessing": "preprocessing",
    "find_calibration": "matching",
    "plugins": "registry",
    "resample": "resampling",
    "train": "training.run",
    "Training": "training.settings",
    "Grid": "model",
    **dict.fromkeys(
        (
            "FileError",
            "JuliaError",
            "JuliaSetupError",
            "MDFError",
            "MPIBridgeError",
            "MPIBridgeWarning",
            "MismatchError",
            "MissingField",
            "PluginError",
            "SettingsError",
            "ShapeError",
            "WeightsError",
        ),
        "errors",
    ),
}
"""Where a public name lives; its module is imported when the name is first used."""
_MODULES = ("metrics", "plot", "registry", "simulate", "training")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
