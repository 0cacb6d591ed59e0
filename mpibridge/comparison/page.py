"""The report of a comparison: one HTML file with its data inside, which needs no network."""

from __future__ import annotations

import base64
import json
import warnings
from collections.abc import Collection, Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mpibridge import __version__
from mpibridge.comparison.pictures import REFERENCE, unit
from mpibridge.errors import MPIBridgeWarning
from mpibridge.metrics import misalignment
from mpibridge.model import GRID_DIMS
from mpibridge.plot import COLORMAP
from mpibridge.provenance import PROVENANCE, provenance
from mpibridge.targets import check_target, replacing

if TYPE_CHECKING:
    from mpibridge.comparison.result import Comparison

SUFFIXES = (".html", ".htm")
LATEX_SUFFIXES = (".tex",)
FOLDER = Path(__file__).parent / "report"
SCRIPTS = ("places", "drawing", "panels", "profile", "controls", "facts")
"""The parts of the script in `FOLDER`, in the order in which they run."""
DIVERGING = "RdBu_r"
LONG = 2000
"""Letters after which a value of the header is cut."""


def write(comparison: Comparison, path: str | Path, *, title: str, max_megabytes: float) -> Path:
    """The page of a comparison at ``path``, complete or not at all. MDFError if it cannot be written there."""
    check_target(path, SUFFIXES)
    return write_text(path, page(comparison, title=title, max_megabytes=max_megabytes), SUFFIXES)


def write_text(path: str | Path, text: str, suffixes: Collection[str]) -> Path:
    """A text at ``path``, complete or not at all. MDFError if it cannot be written there."""
    with replacing(path, suffixes) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def page(comparison: Comparison, *, title: str, max_megabytes: float) -> str:
    """The HTML text. Image data beyond ``max_megabytes`` are thinned to evenly chosen frames, with a warning."""
    from html import escape

    images = dict(comparison.images)
    if comparison.reference is not None:
        images = {REFERENCE: comparison.reference, **images}
    frames, thinned = _frames(images, max_megabytes)
    target = next(iter(images.values()))
    content = {
        "title": title,
        "version": __version__,
        "unit": unit(target),
        "hasReference": comparison.reference is not None,
        "images": [
            _image(name, image, target, frames, comparison.factors.get(name, 1.0))
            for name, image in images.items()
        ],
        "table": _table(comparison),
        "notes": [*comparison.notes, *thinned],
        "colors": {"image": _colors(COLORMAP), "difference": _colors(DIVERGING)},
    }
    # "<" would end the script element where a name contains "</script>".
    data = json.dumps(content, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    parts = {"title": escape(title), "data": data}
    parts["css"] = (FOLDER / "page.css").read_text(encoding="utf-8")
    parts["js"] = "\n".join((FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    head, *rest = (FOLDER / "page.html").read_text(encoding="utf-8").split("{{")
    return head + "".join(parts[name] + after for name, after in (part.split("}}", 1) for part in rest))


def _frames(images: Mapping[str, xr.Dataset], max_megabytes: float) -> tuple[list[int] | None, list[str]]:
    """The frames that are embedded, None for all of them, and what to say about those that are left out."""
    n_frames = max(image.sizes["frame"] for image in images.values())
    of_series = [image["concentration"].size for image in images.values() if image.sizes["frame"] == n_frames]
    others = sum(image["concentration"].size for image in images.values()) - sum(of_series)
    per_frame = sum(of_series) // n_frames
    budget = max_megabytes * 1e6 * 3 / 16 - others  # numbers: four bytes each, a third more as base64
    kept = min(n_frames, max(1, int(budget // per_frame)))
    if kept == n_frames and budget >= sum(of_series):
        return None, []
    megabytes = (kept * per_frame + others) * 16 / 3 / 1e6
    said = f"The page holds {kept} of {n_frames} frames, {megabytes:.0f} MB of image data; max_megabytes decides how many."
    warnings.warn(said, MPIBridgeWarning, stacklevel=4)
    return np.unique(np.linspace(0, n_frames - 1, kept).round().astype(int)).tolist(), [said]


def _image(
    name: str, image: xr.Dataset, target: xr.Dataset, frames: list[int] | None, factor: float
) -> dict[str, Any]:
    array = image["concentration"]
    differs = misalignment(image, target)
    n_frames = array.sizes["frame"]
    # Images with fewer frames than the series keep theirs.
    chosen = list(range(n_frames)) if frames is None or frames[-1] >= n_frames else frames
    axes, has_places = _axes(image)
    array = array.isel(frame=chosen).sortby([dim for dim in GRID_DIMS if dim in array.coords])
    values = np.ascontiguousarray(array.values * factor, "<f4")
    seconds = array["time"].values.astype(float) if "time" in array.coords else None
    made, header = _history(image)
    return {
        "name": name,
        "shape": list(values.shape if values.ndim == 5 else (1, *values.shape)),
        "axes": axes,
        "hasPlaces": has_places,
        "frames": chosen,
        "seconds": None if seconds is None else [s if isfinite(s) else None for s in seconds.tolist()],
        "factor": factor,
        "difference": "" if image is target else differs,
        "isTarget": image is target,
        "made": made,
        "header": header,
        "data": base64.b64encode(values.tobytes()).decode(),
    }


def _axes(image: xr.Dataset) -> tuple[dict[str, list[float]], bool]:
    """Per axis the first voxel centre and the edge of a voxel in millimetres; voxel numbers where there are no places."""
    array = image["concentration"]
    has_places = all(dim in array.coords for dim in GRID_DIMS)
    if not has_places:
        return {dim: [0.0, 1.0] for dim in GRID_DIMS}, False
    centres = {dim: np.sort(np.atleast_1d(array[dim].values).astype(float)) * 1e3 for dim in GRID_DIMS}
    edges = {dim: (c[-1] - c[0]) / (len(c) - 1) for dim, c in centres.items() if len(c) > 1}
    extent, size = image.attrs.get("grid_field_of_view"), image.attrs.get("grid_size")
    for dim in set(GRID_DIMS) - set(edges):
        i = "xyz".index(dim)
        stated = 0.0 if extent is None or size is None else float(extent[i]) / int(size[i]) * 1e3
        edges[dim] = stated if stated > 0 else min(edges.values(), default=1.0)
    return {dim: [float(centres[dim][0]), float(edges[dim])] for dim in GRID_DIMS}, True


def _history(image: xr.Dataset) -> tuple[list[list[str]], list[list[str]]]:
    """(question, answer) on the making of an image, and its header."""
    made = [[name, _text(value)] for name, value in provenance(image).items()]
    if "source" in image.attrs:
        made.insert(0, ["file", Path(str(image.attrs["source"])).name])
    header = [
        [str(path), _text(value)]
        for path, value in image.attrs.items()
        if str(path).startswith("/") and not str(path).startswith(f"{PROVENANCE}/")
    ]
    return made, header


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} = {_text(item)}" for name, item in value.items())
    if isinstance(value, list):
        return "; ".join(map(_text, value))
    if isinstance(value, np.ndarray):
        value = " ".join(np.array2string(value, threshold=50, precision=6).split())
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONG else f"{text[:LONG]} …"


def _table(comparison: Comparison) -> dict[str, Any]:
    columns, rows = comparison.cells()
    numbers = comparison.table[columns[1:]].to_numpy(float)
    return {
        "columns": columns,
        "rows": [
            [{"text": row[0], "value": row[0]}]
            + [
                {"text": text, "value": float(v) if isfinite(v) else str(v)}
                for text, v in zip(row[1:], values, strict=True)
            ]
            for row, values in zip(rows, numbers, strict=True)
        ],
    }


def _colors(name: str) -> str:
    """256 × (red, green, blue) bytes as base64."""
    from matplotlib import colormaps

    table = colormaps[name](np.linspace(0, 1, 256), bytes=True)[:, :3]
    return base64.b64encode(np.ascontiguousarray(table).tobytes()).decode()
