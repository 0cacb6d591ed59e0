"""Recordings as files, for software that reads files: the original where a dataset is untouched, a copy where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from xarray.core import indexing

from mpibridge.julia import LANE
from mpibridge.mdf.lazy import LazyArray
from mpibridge.mdf.writer import write
from mpibridge.model import CALIBRATION
from mpibridge.reading import ENGINES, read


def as_file(folder: Path, dataset: xr.Dataset) -> Path:
    """The file that holds exactly this dataset: the one it was opened from, or a copy in ``folder``."""
    source = Path(dataset.attrs.get("source", folder / "none"))
    if source.exists() and not _is_old(dataset):
        engines = ENGINES if LANE.running is not None else ENGINES[:1]  # whoever read it
        if any(_is_as_read(dataset, read(source, engine)) for engine in engines):
            return source
    return write(folder / f"{len(list(folder.iterdir()))}.mdf", dataset)


def _is_old(dataset: xr.Dataset) -> bool:
    """A calibration of MDF 1, which MPIFiles.jl 0.19.2 cannot read; a copy is MDF 2.1."""
    return dataset.attrs.get("kind") == CALIBRATION and str(dataset.attrs.get("/version", "")).startswith("1")


def _is_as_read(dataset: xr.Dataset, fresh: xr.Dataset) -> bool:
    """Whether nothing was changed, cut or loaded since the file was opened; nothing is read."""
    ours = {path: value for path, value in dataset.attrs.items() if path.startswith("/")}
    theirs = {path: value for path, value in fresh.attrs.items() if path.startswith("/")}
    return (
        ours.keys() == theirs.keys()
        and all(np.array_equal(value, theirs[path]) for path, value in ours.items())
        and dataset.variables.keys() == fresh.variables.keys()
        and all(_is_same(dataset.variables[name], fresh.variables[name]) for name in fresh.variables)
    )


def _is_same(ours: xr.Variable, theirs: xr.Variable) -> bool:
    if ours.dims != theirs.dims or ours.shape != theirs.shape:
        return False
    stored = _stored(theirs)
    if stored is None:
        return np.array_equal(ours.values, theirs.values)
    mine = _stored(ours)
    return (
        mine is not None
        and (mine.source, mine.axes, mine.table_axis) == (stored.source, stored.axes, stored.table_axis)
        and np.array_equal(mine.table, stored.table)  # type: ignore[arg-type]
    )


def _stored(variable: xr.Variable) -> LazyArray | None:
    """The whole array of the file behind a variable, None if it is something else by now."""
    data = variable._data
    if not isinstance(data, indexing.LazilyIndexedArray) or not isinstance(data.array, LazyArray):
        return None
    whole = indexing.BasicIndexer((slice(None),) * variable.ndim)
    return data.array if data.key.tuple == whole.tuple else None
