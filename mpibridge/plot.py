"""Pictures of reconstructed images: matplotlib figures in millimetres. Every function returns the Figure.

No window opens and no global figure is left behind: save with ``figure.savefig``, or end a notebook cell with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mpibridge.errors import ShapeError
from mpibridge.model import GRID_DIMS
from mpibridge.provenance import provenance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORMAP = "inferno"
MAX_PANELS, MAX_COLUMNS = 12, 6
Picture = xr.Dataset | xr.DataArray


def image(
    dataset: Picture, reference: Picture | None = None, *, frame: int | None = None, title: str | None = None
) -> Figure:
    """Every frame of a reconstruction; of a volume every slice along z of one frame.

    dataset: an image (a Dataset with ``concentration``, or that array): (frame, z, y, x) or (z, y, x); of several
    contrasts the first is shown. reference: shown as first panel with the same colours. frame: which one, from 0; None
    shows all of a plane (at most 12, evenly chosen) and the first of a volume. title: None takes it from the provenance.
    ShapeError if there is nothing to show.
    """
    array = _concentration(dataset)
    n_frames = array.sizes["frame"]
    if frame is not None and not 0 <= frame < n_frames:
        raise ShapeError(f"frame {frame} is asked for, the image has {n_frames} (counted from 0)")
    if array.sizes["z"] > 1:
        chosen = array.isel(frame=frame or 0)
        panels = {
            f"z = {1e3 * _axis(array, 'z')[i]:.1f} mm": chosen.isel(z=i) for i in _spread(array.sizes["z"])
        }
    else:
        frames = _spread(n_frames) if frame is None else [frame]
        panels = {f"frame {i}" if n_frames > 1 else "": array.isel(frame=i, z=0) for i in frames}
    if reference is not None:
        panels = {"reference": _middle(_concentration(reference)), **panels}
    return _figure(panels, _unit(array), _title(dataset) if title is None else title)


def compare(pictures: Mapping[str, Picture], *, frame: int = 0, title: str = "") -> Figure:
    """One panel per picture with the same colours: a phantom and its reconstructions, say.

    pictures: by the name above the panel; of a volume the middle slice is shown, of a series ``frame``. They may lie
    on different grids. ShapeError if there is none.
    """
    if not pictures:
        raise ShapeError("there is no picture to compare")
    arrays = {name: _concentration(picture) for name, picture in pictures.items()}
    panels = {name: _middle(array, frame) for name, array in arrays.items()}
    return _figure(panels, _unit(next(iter(arrays.values()))), title)


def _concentration(picture: Picture) -> xr.DataArray:
    if isinstance(picture, xr.Dataset):
        if "concentration" not in picture:
            raise ShapeError(
                f"the dataset holds {list(picture.data_vars)}, no concentration; reconstruct first"
            )
        picture = picture["concentration"]
    if "contrast" in picture.dims:
        picture = picture.isel(contrast=0)
    if "frame" not in picture.dims:
        picture = picture.expand_dims("frame")
    if set(picture.dims) != {"frame", *GRID_DIMS} or not picture.size:
        raise ShapeError(f"an image (frame, z, y, x) is wanted, found {dict(picture.sizes)}")
    return picture.transpose("frame", *GRID_DIMS)


def _middle(array: xr.DataArray, frame: int = 0) -> xr.DataArray:
    return array.isel(frame=min(frame, array.sizes["frame"] - 1), z=array.sizes["z"] // 2)


def _spread(n: int) -> list[int]:
    return np.unique(np.linspace(0, n - 1, min(n, MAX_PANELS)).round().astype(int)).tolist()


def _axis(array: xr.DataArray, dim: str) -> np.ndarray:
    """Voxel centres in metres, or voxel numbers where the image has no positions."""
    return array[dim].values if dim in array.coords else np.arange(array.sizes[dim], dtype=float)


def _unit(array: xr.DataArray) -> str:
    unit = str(array.attrs.get("units", "1"))
    return "units of the delta sample" if unit == "1" else unit


def _title(picture: Picture) -> str:
    """``plugin (setting=value, …)`` where the image says how it was made."""
    made = provenance(picture) if isinstance(picture, xr.Dataset) else {}
    if "plugin" not in made:
        return ""
    settings = made.get("settings", {})
    return f"{made['plugin']} ({', '.join(f'{name}={value}' for name, value in settings.items())})"


def _figure(panels: Mapping[str, xr.DataArray], unit: str, title: str) -> Figure:
    """Panels (y, x) in rows with one colour bar; y points up."""
    from matplotlib.figure import Figure

    n_columns = min(MAX_COLUMNS, len(panels))
    n_rows = -(-len(panels) // n_columns)
    figure = Figure(figsize=(2.6 * n_columns + 1.2, 2.6 * n_rows + 0.5), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    low = min(0.0, *(float(panel.min()) for panel in panels.values()))
    high = max(float(panel.max()) for panel in panels.values())
    for axis, (name, panel) in zip(axes, panels.items(), strict=False):
        mappable = _draw(axis, panel, low, high if high > low else low + 1)
        axis.set_title(name, fontsize="medium")
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    figure.colorbar(mappable, ax=axes.tolist(), label=f"concentration\n({unit})")
    if title:
        figure.suptitle(title, wrap=True)
    return figure


def _draw(axis: Axes, panel: xr.DataArray, low: float, high: float):  # type: ignore[no-untyped-def]
    positions = {dim: _axis(panel, dim) for dim in "xy"}
    in_metres = "x" in panel.coords
    scale, unit = (1e3, "mm") if in_metres else (1.0, "voxel")
    edges: list[float] = []
    for dim in "xy":
        values = positions[dim] * scale
        half = (values[-1] - values[0]) / (len(values) - 1) / 2 if len(values) > 1 else 0.5
        edges += [values[0] - half, values[-1] + half]
        getattr(axis, f"set_{dim}label")(f"{dim} ({unit})")
    extent = (edges[0], edges[1], edges[2], edges[3])
    return axis.imshow(panel.values, COLORMAP, vmin=low, vmax=high, origin="lower", extent=extent)
