"""HDF5 underneath: open a file without trusting it, list its objects, read the small ones.

Nothing here knows MDF. Whatever HDF5 says about a broken file becomes an `MDFError`. External links, external
storage and virtual datasets are refused: a data file must not make us read other files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpibridge.errors import MDFError
from mpibridge.mdf.heaps import refuse_endless_heaps

MAX_OBJECTS = 20_000
"""More datasets and groups than any MDF file has; a corrupted or hostile file stops here."""
HEADER_BYTES = 64 * 2**20
"""Largest dataset that is read whole as metadata."""


@contextmanager
def hdf5(path: str | Path) -> Iterator[h5py.File]:
    """The file, open for reading; every failure of HDF5 inside the block is an `MDFError`."""
    path = Path(path)
    if not path.exists():
        raise MDFError(path, None, "there is no such file", "check the path")
    if not path.is_file():
        raise MDFError(
            path, None, "is not a file", "MDF data are one file; Bruker folders need the Julia engine"
        )
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except MDFError:
        raise
    except (
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        OverflowError,
        MemoryError,
        LookupError,
    ) as error:
        raise MDFError(
            path, None, f"cannot be read as HDF5 ({error})", "the file is damaged or no MDF file"
        ) from error


def objects(
    file: h5py.File, refuse: Callable[[MDFError], None] | None = None
) -> dict[str, h5py.Dataset | h5py.Group]:
    """Every group and dataset of the file by absolute path, in the order of the paths; the root is ``""``.

    refuse: what to do with a link that must not be followed (out of the file, to nowhere, to a group around it), by
    default to raise the MDFError; if it returns, the link is passed over.
    """
    refuse = refuse or _raise
    found: dict[str, h5py.Dataset | h5py.Group] = {"": file["/"]}
    stack: list[tuple[str, h5py.Group, frozenset[int]]] = [("", file["/"], frozenset())]
    while stack:
        prefix, group, above = stack.pop()
        around = above | {h5py.h5o.get_info(group.id).addr}
        for name in group:
            path = f"{prefix}/{name}"
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                refuse(
                    MDFError(
                        file.filename, path, "is a link into another file", "copy the data into this file"
                    )
                )
                continue
            item = _followed(group, name, path)
            if item is None:
                refuse(MDFError(file.filename, path, "is a link that leads nowhere", "remove or repair it"))
            elif isinstance(item, h5py.Group) and h5py.h5o.get_info(item.id).addr in around:
                refuse(
                    MDFError(file.filename, path, "is a link to a group that contains it", "remove the link")
                )
            elif isinstance(item, h5py.Group | h5py.Dataset):
                found[path] = item
                if isinstance(item, h5py.Group):
                    stack.append((path, item, around))
            if len(found) > MAX_OBJECTS:
                raise MDFError(
                    file.filename, None, f"has more than {MAX_OBJECTS} objects", "this is no MDF file"
                )
    refuse_endless_heaps(file, found.values())
    return dict(sorted(found.items()))


def _followed(group: h5py.Group, name: str, path: str) -> Any:
    """The object of a name, None if it is a soft link to nothing."""
    if isinstance(group.get(name, getlink=True), h5py.SoftLink) and group.get(name) is None:
        return None
    try:
        return group[name]
    except (KeyError, OSError, RuntimeError, ValueError, TypeError) as error:
        raise MDFError(
            group.file.filename, path, f"cannot be opened ({error})", "the file is damaged"
        ) from error


def _raise(error: MDFError) -> None:
    raise error


def attributes(item: h5py.Dataset | h5py.Group) -> dict[str, Any]:
    """The HDF5 attributes of a dataset or group as plain values, None for an empty one.

    MPIFiles.jl marks special parameters with them. References, which mean something in this one file only, are left
    out.
    """
    values = {name: _plain(item.attrs[name]) for name in item.attrs}
    return {name: value for name, value in values.items() if not isinstance(value, h5py.Reference | np.void)}


def value(dataset: h5py.Dataset, path: str) -> Any:
    """A dataset read whole: str, numpy scalar or array (texts as object arrays of str).

    Raises MDFError if it is larger than `HEADER_BYTES`, or of a type MDF does not know.
    """
    file = dataset.file.filename
    refuse_foreign(dataset, path)
    if dataset.shape is None:
        raise MDFError(file, path, "holds nothing (a null dataspace)", "write a value or remove the dataset")
    if dataset.nbytes > HEADER_BYTES:
        raise MDFError(file, path, f"claims {dataset.nbytes} bytes of metadata", "the file is damaged")
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return _plain(dataset.asstr(errors="replace")[()])
    if dataset.dtype.kind not in "biufc" and complex_dtype(dataset.dtype) is None:
        raise MDFError(
            file, path, f"has the element type {dataset.dtype}", "MDF knows numbers and texts only"
        )
    values = np.asarray(dataset[()])
    values = values.view(complex_dtype(dataset.dtype) or values.dtype)
    return values.astype(values.dtype.newbyteorder("="), copy=False)[()]


def refuse_foreign(dataset: h5py.Dataset, path: str) -> None:
    """Raise MDFError if the numbers of ``dataset`` are in other files."""
    if dataset.is_virtual or dataset.external:
        kind = "a virtual dataset" if dataset.is_virtual else "stored in another file"
        raise MDFError(dataset.file.filename, path, f"is {kind}", "copy the data into this file")


def complex_dtype(dtype: np.dtype) -> np.dtype | None:
    """The complex type of a compound (real, imag) or (r, i); h5py itself maps the latter already."""
    if dtype.names is None or len(dtype.names) != 2 or dtype.names not in (("r", "i"), ("real", "imag")):
        return None
    first, second = (dtype[name] for name in dtype.names)
    if first != second or first.kind != "f" or dtype.itemsize != 2 * first.itemsize or first.itemsize < 4:
        return None
    return np.dtype(f"{first.byteorder}c{dtype.itemsize}")


def _plain(values: Any) -> Any:
    if isinstance(values, bytes):
        return values.decode("utf-8", "replace")
    if isinstance(values, h5py.Empty):
        return None
    if isinstance(values, np.ndarray) and values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", "replace").astype(object)
    return values
