"""`resample`: an image on another grid, from the function of space that its method found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from mpibridge import registry
from mpibridge.errors import SettingsError
from mpibridge.mdf.header import dataset_grid
from mpibridge.model import IMAGE_DIMS, Grid
from mpibridge.plugin import make_settings
from mpibridge.provenance import BOX, large_entries, provenance


def resample(image: xr.Dataset, grid: Grid | float | Sequence[int]) -> xr.Dataset:
    """The image (frame, z, y, x) on another grid, without another reconstruction.

    image: of a method that finds a function of space and keeps it in its trace, as `nir` does. grid: one inside the field of
    view of that image, voxels (y, x) or (z, y, x), or a factor by which there are more of them along every axis.
    SettingsError for images of other methods: ``image.interp(x=…, y=…)`` interpolates between their voxels.
    """
    made = provenance(image)
    name = made.get("plugin")
    ours = dataset_grid(image) or Grid.from_attributes(image.attrs)
    box = {key.removeprefix(BOX): value for key, value in made.items() if key.startswith(BOX)}
    target = grid if isinstance(grid, Grid) else ours.resized(grid)
    trace = {key.removeprefix("trace/"): value for key, value in made.items() if key.startswith("trace/")}
    sampled = None
    if box and name in registry.plugins():
        cls = registry.load(str(name))
        settings = {key: _as_given(value) for key, value in made.get("settings", {}).items()}
        sampled = cls(make_settings(cls, settings)).sampled(trace, Grid.from_attributes(box), target)
    if sampled is None:
        raise SettingsError(
            f"the image of plugin {name!r} keeps no function of space to sample; image.interp(x=…, y=…) interpolates "
            "between voxels, or reconstruct with plugin='nir'"
        )
    if len(sampled) != image.sizes.get("frame"):
        raise SettingsError(
            f"the image has {image.sizes.get('frame', 'no')} frames, but was found with {len(sampled)}: resample first, then "
            "select or average frames"
        )
    unit = image["concentration"].attrs
    coordinates: dict[str, Any] = {d: c for d, c in target.coordinates().items() if d in image.coords}
    if "time" in image.coords:
        coordinates["time"] = image.coords["time"]
    variables = {name: image[name] for name in large_entries(image)}
    return xr.Dataset(
        {"concentration": (IMAGE_DIMS, np.asarray(sampled, np.float32), unit), **variables},
        coordinates,
        image.attrs | target.attributes(),
    )


def _as_given(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
