"""Any dataset as NetCDF-4, readable by every NetCDF tool, and back as the same dataset.

NetCDF has no complex numbers, no truth values, no attributes with more than one axis and no slash in a name. Hence:

* a complex variable gets a last dimension ``complex`` of length two, labelled ``real`` and ``imag``;
* `/acquisition/startTime` is called ``mdf.acquisition.startTime``; dots and other special characters of a name are
  percent-encoded, as in web addresses;
* numbers and texts of ``attrs`` are attributes (truth values become 0 and 1), arrays are variables with the attribute
  ``role = "metadata"``;
* None says nothing and is left out; ``attrs["source"]`` is left out, too: it names the file that was opened;
  a calibration in ``attrs["system_matrix"]`` is named by the path it came from.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote

import numpy as np
import xarray as xr
from xarray.core import indexing

from mpibridge.errors import MDFError, MPIBridgeWarning
from mpibridge.mdf.layout import KIND_OF
from mpibridge.mdf.lazy import LazyArray
from mpibridge.mdf.storage import StoredArray
from mpibridge.mdf.tree import hdf5
from mpibridge.targets import replacing

SUFFIXES = (".nc",)
ENGINE: Literal["h5netcdf"] = "h5netcdf"
PLAINLY: dict[str, Any] = {
    "engine": ENGINE,
    "decode_times": False,
    "mask_and_scale": False,
    "phony_dims": "sort",  # for HDF5 files that are no NetCDF: they are refused later, and in words
}
PARTS = "complex"
"""The dimension of real and imaginary part."""
ROLE, METADATA = "role", "metadata"
BLOCK_BYTES = 64 * 2**20
"""Larger variables that stand in a file are copied block by block."""
LAZY_BYTES = 64 * 2**10
"""Larger variables are read when they are looked at."""


def write(path: str | Path, dataset: xr.Dataset) -> None:
    """Write a scan, a calibration or an image as NetCDF-4; all or nothing.

    Raises MDFError if the dataset is none of these, an attribute is neither a number nor a text nor an array of
    either, or no file can be written there.
    """
    plain = _plain(path, dataset)
    with replacing(path, SUFFIXES) as temporary:
        plain.to_netcdf(
            temporary,
            engine=ENGINE,
            encoding={name: {"_FillValue": None} for name in plain.variables},  # NaN is data, not a gap
        )


def read(path: str | Path) -> xr.Dataset:
    """Open a file that `write` wrote: the same dataset, large arrays are read when they are looked at.

    It has no ``attrs["source"]`` and so counts as one that was made in memory. Raises MDFError if the file cannot be
    read or is another kind of NetCDF.
    """
    path = Path(path).absolute()
    with hdf5(path):
        pass  # a file that is no HDF5 is refused in the same words as elsewhere
    variables: dict[str, xr.Variable] = {}
    try:
        with xr.open_dataset(path, **PLAINLY) as file:
            large = {str(name): found for name, found in file.variables.items() if _is_large(found)}
            for name, found in file.variables.items():
                if name not in large:
                    variables[_decoded(str(name))] = xr.Variable(_dims(found), _values(found), found.attrs)
            attrs = {_decoded(str(name)): value for name, value in file.attrs.items()}
            coordinates = {_decoded(str(name)) for name in file.coords}
    except (OSError, ValueError, KeyError) as error:
        raise MDFError(
            path, None, f"cannot be read as NetCDF-4 ({error})", "pass a file of mpibridge"
        ) from error
    with hdf5(path) as stored:
        for name, found in large.items():
            source = StoredArray.of(stored[name], name, pairs=_has_parts(found))
            array = LazyArray(source, tuple(range(len(source.shape))))
            variables[_decoded(name)] = xr.Variable(
                _dims(found), indexing.LazilyIndexedArray(array), found.attrs
            )
    if "kind" not in attrs:
        raise MDFError(
            path, None, "does not say what it is", "only NetCDF files that mpibridge wrote open here"
        )
    coordinates.discard(PARTS)
    variables.pop(PARTS, None)
    attrs |= {
        name: variables.pop(name).values
        for name, variable in list(variables.items())
        if variable.attrs.get(ROLE) == METADATA
    }
    dataset = xr.Dataset(variables, attrs=attrs)
    return dataset.set_coords([name for name in coordinates if name in dataset])


def _plain(path: str | Path, dataset: xr.Dataset) -> xr.Dataset:
    """The dataset in the words of NetCDF (see the top of the module)."""
    kinds = [kind for name, kind in KIND_OF.items() if name in dataset]
    if not kinds:
        found = f"holds {sorted(map(str, dataset.data_vars))}"
        raise MDFError(path, None, found, f"one of {', '.join(KIND_OF)} is wanted")
    attrs: dict[str, Any] = {"kind": kinds[0]}
    variables = {name: _parts(variable) for name, variable in dataset.variables.items()}
    for name, value in dataset.attrs.items():
        value = _value(path, str(name), value)
        if value is None or name == "source":
            continue
        if np.ndim(value) or np.iscomplexobj(value):
            axes = [f"{name}:{axis}" for axis in range(np.ndim(value))]
            variables[name] = _parts(xr.Variable(axes, value, {ROLE: METADATA}))
        else:
            attrs[_encoded(str(name))] = value
    if any(PARTS in variable.dims for variable in variables.values()):
        variables[PARTS] = xr.Variable(PARTS, np.array(["real", "imag"], object))
    names = {
        name: _encoded(str(name)) for name in (*variables, *(d for v in variables.values() for d in v.dims))
    }
    renamed = {
        names[name]: xr.Variable([names[dim] for dim in variable.dims], variable._data, variable.attrs)
        for name, variable in variables.items()
    }
    return xr.Dataset(renamed, attrs=attrs).set_coords([names[name] for name in dataset.coords])


def _parts(variable: xr.Variable) -> xr.Variable:
    """A complex variable with real and imaginary part side by side; large ones that are not in memory stay there."""
    if variable.nbytes > BLOCK_BYTES and not variable._in_memory and variable.chunks is None:
        variable = variable.chunk("auto")
    if variable.dtype.kind != "c":
        return variable
    if variable.chunks is None:
        variable = variable.load()
    parts = xr.Variable.concat([variable.real, variable.imag], PARTS)
    return parts.transpose(*variable.dims, PARTS)


def _value(path: str | Path, name: str, value: Any) -> Any:
    """An attribute as a number, a text or an array of either; None if it is left out. Raises MDFError otherwise."""
    if isinstance(value, xr.Dataset):
        if "source" in value.attrs:
            return str(value.attrs["source"])
        warnings.warn(
            f"{path}: {name} is a dataset that came from no file, it is left out; save it as a file of its own",
            MPIBridgeWarning,
            stacklevel=5,
        )
        return None
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Path):
        return str(value)
    array = np.asarray(value)
    if array.dtype.kind == "S":
        array = array.astype("U")
    if array.dtype.kind in "OU" and all(isinstance(text, str) for text in array.ravel()):
        array = array.astype(object)
    elif array.dtype.kind == "b":
        array = array.astype(np.int8)
    elif array.dtype.kind not in "iufc":
        raise MDFError(
            path, name, f"is a {type(value).__name__}", "numbers, texts and arrays of either can be written"
        )
    return (
        array
        if array.ndim or array.dtype.kind == "c"
        else array.item()
        if array.dtype == object
        else array[()]
    )


def _is_large(found: xr.Variable) -> bool:
    """Whether it stays in the file until it is looked at."""
    as_stored = found.encoding.get("dtype") == found.dtype
    return found.nbytes > LAZY_BYTES and found.dtype.kind in "iuf" and as_stored


def _has_parts(found: xr.Variable) -> bool:
    return found.dims[-1:] == (PARTS,) and found.dtype.kind == "f"


def _values(found: xr.Variable) -> np.ndarray:
    """What the variable holds, parts joined bit by bit: a sum would lose infinities."""
    if not _has_parts(found):
        return found.values
    pairs = np.ascontiguousarray(found.values)
    return pairs.view(np.result_type(pairs, np.complex64))[..., 0]


def _dims(found: xr.Variable) -> list[str]:
    """The dimensions that the variable has as labelled array."""
    return [_decoded(str(dim)) for dim in found.dims[: -1 if _has_parts(found) else None]]


def _encoded(name: str) -> str:
    """A name without slashes; no two names become one. `_decoded` is the inverse."""
    if name.startswith("/"):
        return "mdf" + quote(name, safe="/@:").replace(".", "%2E").replace("/", ".")
    return quote(name, safe="@:").replace(".", "%2E")


def _decoded(name: str) -> str:
    return unquote(name[3:].replace(".", "/") if name.startswith("mdf.") else name)
