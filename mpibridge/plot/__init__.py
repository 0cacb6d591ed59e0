"""Pictures: matplotlib figures in millimetres, kilohertz and microseconds. Every function returns the Figure.

`image`, `compare` and `slices` draw images; `spectrum` and `signal` scans; `snr`, `snr_map` and `system_matrix`
calibrations; `training` how a network learnt; `draw` whatever fits a dataset. No window opens and no global figure is
left behind: save with ``figure.savefig``, or end a notebook cell with it. The look is that of `style`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import xarray as xr

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.plot.calibrations import snr, snr_map, system_matrix
from mpibridge.plot.images import MAX_PANELS, compare, image, slices
from mpibridge.plot.signals import signal, spectrum
from mpibridge.plot.style import COLORMAP
from mpibridge.plot.training import training

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "COLORMAP",
    "FORMATS",
    "MAX_PANELS",
    "VIEWS",
    "compare",
    "draw",
    "image",
    "signal",
    "slices",
    "snr",
    "snr_map",
    "spectrum",
    "system_matrix",
    "training",
]

FORMATS = (".png", ".pdf", ".svg", ".jpg")
"""Suffixes of picture files."""
_SCAN: dict[str, Callable[..., Figure]] = {"spectrum": spectrum, "signal": signal}
VIEWS: dict[str, dict[str, Callable[..., Figure]]] = {
    "concentration": {"image": image, "slices": slices},
    "signal": _SCAN,
    "spectrum": _SCAN,
    "system_matrix": {"snr": snr, "snr_map": snr_map, "system_matrix": system_matrix},
}
"""What `draw` can show, by the variable that makes a dataset what it is; the first is the usual one."""


def draw(dataset: xr.Dataset, view: str | None = None, **options: Any) -> Figure:
    """What fits a dataset: its frames or slices, its spectrum, its SNR.

    view: an image has ``"image"`` and ``"slices"``, a scan ``"spectrum"`` and ``"signal"``, a calibration ``"snr"``,
    ``"snr_map"`` and ``"system_matrix"``; None takes the first. options: of the function of that name. Raises ShapeError
    if the dataset is none of these, SettingsError for an unknown view or option.
    """
    views = next((VIEWS[name] for name in VIEWS if name in dataset), None)
    if views is None:
        raise ShapeError(
            f"the dataset holds {sorted(map(str, dataset.data_vars))}, none of {', '.join(VIEWS)}"
        )
    name = next(iter(views)) if view is None else view
    if name not in views:
        raise SettingsError(f"view must be one of {', '.join(views)} here, found {name!r}")
    known = list(inspect.signature(views[name]).parameters)[1:]
    if unknown := sorted(set(options) - set(known)):
        raise SettingsError(f"{', '.join(unknown)}: plot.{name} knows {', '.join(known)}")
    return views[name](dataset, **options)
