"""Is a labelled array still what its header describes? Users cut and turn datasets; per-receiver values would not follow."""

from __future__ import annotations

import numpy as np
import xarray as xr

from mpibridge.errors import MDFError
from mpibridge.mdf.header import Header


def whole(dataset: xr.Dataset, name: str, dims: tuple[str, ...]) -> xr.DataArray:
    """The variable ``name`` with its axes in the order ``dims`` (lazily).

    Raises MDFError if an axis is gone, or if receivers or samples were cut away from what the header says: conversion
    factors, transfer function and row selection count receivers from the header's first.
    """
    header, array = Header(dataset.attrs), dataset[name]
    if set(array.dims) != set(dims):
        raise MDFError(
            header.source,
            name,
            f"has the dimensions {tuple(map(str, array.dims))}",
            f"{dims} are wanted; select with lists to keep an axis, for example isel(frame=[5])",
        )
    receivers = dataset.coords.get("receiver", np.arange(array.sizes["receiver"]))
    if not np.array_equal(receivers, np.arange(header.n_receivers)):
        raise MDFError(
            header.source,
            name,
            f"holds the receivers {np.asarray(receivers).tolist()} of {header.n_receivers}",
            "pass the whole dataset and choose with Preprocessing(receivers=…)",
        )
    if "sample" in array.dims and array.sizes["sample"] != header.n_samples:
        raise MDFError(
            header.source,
            name,
            f"has {array.sizes['sample']} samples per period, the header says {header.n_samples}",
            "pass the whole period and choose with Preprocessing(min_frequency=…, max_frequency=…)",
        )
    return array if array.dims == dims else array.transpose(*dims)
