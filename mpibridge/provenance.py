"""How an image was made: the user section ``/reconstruction/_mpibridge`` of its metadata."""

from __future__ import annotations

import json
from typing import Any

import xarray as xr

PROVENANCE = "/reconstruction/_mpibridge"
"""Where `mpibridge.reconstruct` writes down what it did; MDF leaves names with an underscore to users."""

BOX = "box/"
"""Before the names of a grid's attributes: where an image lay when its method found it."""


def provenance(image: xr.Dataset) -> dict[str, Any]:
    """Plugin, settings, files, versions, … of an image by name; empty if mpibridge did not make it."""
    prefix = f"{PROVENANCE}/"
    large = {name: image[name].values for name in large_entries(image)}
    return {
        str(path).removeprefix(prefix): _decoded(value)
        for path, value in (image.attrs | large).items()
        if str(path).startswith(prefix) and "@" not in str(path)
    }


def large_entries(image: xr.Dataset) -> list[str]:
    """Names of the variables that hold what was too large for a header when the image was read."""
    return [str(name) for name in image.data_vars if str(name).startswith(f"{PROVENANCE}/")]


def _decoded(value: Any) -> Any:
    """Nested values are stored as JSON text."""
    if not (isinstance(value, str) and value[:1] in ("{", "[")):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
