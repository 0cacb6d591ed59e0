"""Pictures of reconstructed images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mpibridge.errors import ShapeError
from mpibridge.model import GRID_DIMS, RECONSTRUCTION
from mpibridge.plot import style
from mpibridge.provenance import provenance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_PANELS, MAX_COLUMNS = 12, 6
THINNEST = 0.25
"""Of the panels of `slices` the least width and height as a share of the largest."""
Picture = xr.Dataset | xr.DataArray


def image(
    dataset: Picture,
    reference: Picture | None = None,
    *,
    frame: int | None = None,
    contrast: int = 0,
    title: str | None = None,
) -> Figure:
    """Every frame of a reconstruction; of a volume every slice along z of one frame.

    dataset: an image (a Dataset with ``concentration``, or that array): ([contrast,] frame, z, y, x) or (z, y, x).
    reference: shown as first panel with the same colours. frame: which one, from 0; None shows all of a plane (at most 12,
    evenly chosen) and the first of a volume. contrast: which of several, from 0. title: None takes it from the
    provenance, and names the contrast if there are several. ShapeError if there is nothing to show.
    """
    array = _concentration(dataset, contrast)
    n_frames = array.sizes["frame"]
    if frame is not None:
        _require_frame(array, frame)
    if array.sizes["z"] > 1:
        chosen = array.isel(frame=frame or 0)
        unit = "mm" if "z" in array.coords else "voxel"
        heights = style.positions(array, "z")
        panels = {f"z = {heights[i]:.1f} {unit}": chosen.isel(z=i) for i in _spread(array.sizes["z"])}
    else:
        frames = _spread(n_frames) if frame is None else [frame]
        panels = {f"frame {i}" if n_frames > 1 else "": array.isel(frame=i, z=0) for i in frames}
    if reference is not None:
        panels = {"reference": _middle(_of_contrast(reference, contrast)), **panels}
    return _panels(panels, _unit(dataset), _title(dataset, contrast) if title is None else title)


def compare(pictures: Mapping[str, Picture], *, frame: int = 0, contrast: int = 0, title: str = "") -> Figure:
    """One panel per picture with the same colours: a phantom and its reconstructions, say.

    pictures: by the name above the panel; of a volume the middle slice is shown, of a series ``frame``, of several
    contrasts ``contrast``, both from 0; what has one frame or contrast is shown with each. They may lie on different
    grids. title: without one, the contrast is named if there are several. ShapeError if there is nothing to show.
    """
    if not pictures:
        raise ShapeError("there is no picture to compare")
    richest = max(pictures.values(), key=_n_contrasts)
    _concentration(richest, contrast)  # refuses a contrast that no picture has
    panels = {name: _middle(_of_contrast(picture, contrast), frame) for name, picture in pictures.items()}
    units = filter(None, map(_unit, pictures.values()))
    return _panels(panels, next(units, ""), title or _contrast(richest, contrast))


def slices(
    dataset: Picture,
    *,
    frame: int = 0,
    contrast: int = 0,
    position: tuple[float, float, float] | None = None,
    title: str | None = None,
) -> Figure:
    """The three orthogonal slices of a volume through one voxel, to one scale and with the same colours.

    dataset: as for `image`, with more than one voxel along every axis. frame, contrast: which one, from 0. position: (x,
    y, z) in metres (voxel numbers where the image has no positions), the nearest voxel is taken; None goes through the
    largest value of the frame.
    ShapeError if the image is no volume or ``position`` lies outside it.
    """
    array = _concentration(dataset, contrast)
    _require_frame(array, frame)
    volume = array.isel(frame=frame)
    if min(volume.shape) < 2:
        raise ShapeError(
            f"orthogonal slices need a volume, the image has {dict(volume.sizes)}; draw it with plot.image"
        )
    at = _peak(volume) if position is None else _nearest(volume, position)
    extents = {dim: float(np.ptp(style.edges(volume, dim))) for dim in GRID_DIMS}
    longest = max(extents["x"] + extents["z"], extents["y"] + extents["z"])
    shares = {dim: max(extent / max(extents.values()), THINNEST) for dim, extent in extents.items()}
    scale = 3 * style.PANEL * max(extents.values()) / longest
    figure = style.figure(
        scale * (shares["x"] + shares["z"]) + 1.4,
        scale * (shares["y"] + shares["z"]) + 1.0,
        _title(dataset, contrast) if title is None else title,
    )
    cells = figure.add_gridspec(
        2, 2, width_ratios=(shares["x"], shares["z"]), height_ratios=(shares["y"], shares["z"])
    )
    low, high = style.limits(volume)
    unit = "mm" if all(dim in volume.coords for dim in GRID_DIMS) else "voxel"
    where = {dim: style.positions(volume, dim)[at[dim]] for dim in GRID_DIMS}
    axes = []
    for cell, vertical, horizontal in (
        (cells[0, 0], "y", "x"),
        (cells[0, 1], "y", "z"),
        (cells[1, 0], "z", "x"),
    ):
        (across,) = set(GRID_DIMS) - {vertical, horizontal}
        axis = figure.add_subplot(cell)
        panel = volume.isel({across: at[across]}).transpose(vertical, horizontal)
        mappable = style.show(axis, panel, low, high)
        axis.axhline(where[vertical], color="w", linewidth=0.6, alpha=0.7)
        axis.axvline(where[horizontal], color="w", linewidth=0.6, alpha=0.7)
        axis.set_title(f"{across} = {where[across]:.1f} {unit}", fontsize=style.TITLE)
        axes.append(axis)
    figure.colorbar(mappable, ax=axes, aspect=40, label=_label(_unit(dataset)))
    return figure


def _peak(volume: xr.DataArray) -> dict[str, int]:
    where = np.unravel_index(int(np.nanargmax(volume.values)), volume.shape)
    return dict(zip(GRID_DIMS, map(int, where), strict=True))


def _nearest(volume: xr.DataArray, position: tuple[float, float, float]) -> dict[str, int]:
    """The voxel at ``position`` (x, y, z); ShapeError outside the grid."""
    if len(position) != 3:
        raise ShapeError(f"position must be (x, y, z) in metres, found {position}")
    at = {}
    for dim, value in zip("xyz", position, strict=True):
        in_metres = dim in volume.coords
        wanted = 1e3 * value if in_metres else value
        low, high = style.edges(volume, dim)
        if not low <= wanted <= high:
            unit = "mm" if in_metres else "voxels"
            raise ShapeError(
                f"position {dim} = {wanted:g} {unit} lies outside the image, {low:g} to {high:g} {unit}"
            )
        at[dim] = int(np.abs(style.positions(volume, dim) - wanted).argmin())
    return at


def _concentration(picture: Picture, contrast: int = 0) -> xr.DataArray:
    """One contrast, (frame, z, y, x)."""
    if isinstance(picture, xr.Dataset):
        if "concentration" not in picture:
            raise ShapeError(
                f"the dataset holds {list(picture.data_vars)}, no concentration; reconstruct first"
            )
        picture = picture["concentration"]
    n_contrasts = _n_contrasts(picture)
    if not 0 <= contrast < n_contrasts:
        raise ShapeError(f"contrast {contrast} is asked for, the image has {n_contrasts} (counted from 0)")
    if "contrast" in picture.dims:
        picture = picture.isel(contrast=contrast)
    if "frame" not in picture.dims:
        picture = picture.expand_dims("frame")
    if set(picture.dims) != {"frame", *GRID_DIMS} or not picture.size:
        raise ShapeError(f"an image (frame, z, y, x) is wanted, found {dict(picture.sizes)}")
    return picture.transpose("frame", *GRID_DIMS)


def _of_contrast(picture: Picture, contrast: int) -> xr.DataArray:
    """One contrast; a picture that has only one goes with all of them."""
    return _concentration(picture, contrast if _n_contrasts(picture) > 1 else 0)


def _n_contrasts(picture: Picture) -> int:
    return int(picture.sizes.get("contrast", 1))


def _contrast(picture: Picture, contrast: int) -> str:
    """Which of several contrasts is shown, from 0; empty if there is one."""
    n = _n_contrasts(picture)
    return f"contrast {contrast} (of 0 to {n - 1})" if n > 1 else ""


def _require_frame(array: xr.DataArray, frame: int) -> None:
    if not 0 <= frame < array.sizes["frame"]:
        raise ShapeError(f"frame {frame} is asked for, the image has {array.sizes['frame']} (counted from 0)")


def _middle(array: xr.DataArray, frame: int = 0) -> xr.DataArray:
    return array.isel(frame=min(frame, array.sizes["frame"] - 1), z=array.sizes["z"] // 2)


def _spread(n: int) -> list[int]:
    return np.unique(np.linspace(0, n - 1, min(n, MAX_PANELS)).round().astype(int)).tolist()


def _unit(picture: Picture) -> str:
    """The unit of the values, empty where none is stated; reconstructions of MDF files count in delta samples."""
    array = picture["concentration"] if isinstance(picture, xr.Dataset) else picture
    usual = "1" if picture.attrs.get("kind") == RECONSTRUCTION else ""
    unit = str(array.attrs.get("units") or usual)
    return "units of the delta sample" if unit == "1" else unit


def _label(unit: str) -> str:
    return f"concentration\n({unit})" if unit else "concentration"


def _title(picture: Picture, contrast: int) -> str:
    """``plugin (setting=value, …)`` where the image says how it was made, and the contrast where there are several."""
    return ", ".join(filter(None, (_made(picture), _contrast(picture, contrast))))


def _made(picture: Picture) -> str:
    made = provenance(picture) if isinstance(picture, xr.Dataset) else {}
    if "plugin" not in made:
        return ""
    settings = made.get("settings", {})
    return f"{made['plugin']} ({', '.join(f'{name}={value}' for name, value in settings.items())})"


def _panels(panels: Mapping[str, xr.DataArray], unit: str, title: str) -> Figure:
    """Panels (y, x) in rows with one colour bar; y points up."""
    n_columns = min(MAX_COLUMNS, len(panels))
    n_rows = -(-len(panels) // n_columns)
    figure = style.figure(style.PANEL * n_columns + 1.2, style.PANEL * n_rows + 0.5, title)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    low, high = style.limits(*panels.values())
    for axis, (name, panel) in zip(axes, panels.items(), strict=False):
        mappable = style.show(axis, panel, low, high)
        axis.set_title(name, fontsize=style.TITLE)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    figure.colorbar(mappable, ax=axes.tolist(), label=_label(unit))
    return figure
