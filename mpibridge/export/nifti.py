"""Images as NIfTI-1, which viewers and analysis software of medical imaging open.

Axes are (x, y, z, frame, contrast), those at the end left out where there is one only. The affine maps voxel numbers to
millimetres in the coordinates of the scanner: x, y and z of MDF are taken for the +x, +y and +z of NIfTI (codes 1,
"scanner"), nothing is flipped. MDF does not say how a patient lies in the scanner, so what a viewer calls left, right,
anterior or posterior is the scanner's axis, not the patient's.
Source: https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mpibridge.errors import MDFError, MPIBridgeWarning, ShapeError
from mpibridge.mdf.header import Header, dataset_grid
from mpibridge.model import GRID_DIMS, IMAGE_DIMS, Grid
from mpibridge.provenance import provenance
from mpibridge.targets import replacing

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

SUFFIXES = (".nii", ".nii.gz")
SCANNER = 1
"""NIFTI_XFORM_SCANNER_ANAT: coordinates of the scanner."""
DESCRIPTION_BYTES = 79
"""Of the header's ``descrip``, 80 with the zero that ends it."""


def write(path: str | Path, image: xr.Dataset) -> None:
    """Write an image as NIfTI-1, compressed if the name ends in ``.nii.gz``; all or nothing.

    Raises ShapeError if the dataset is no image or does not say where its voxels are, MDFError if no file can be
    written there.
    """
    import nibabel

    made = as_nifti(image)
    with replacing(path, SUFFIXES) as temporary:
        nibabel.save(made, temporary)


def as_nifti(image: xr.Dataset) -> Nifti1Image:
    """The NIfTI image of ``concentration``, float32.

    image: (frame, z, y, x) with an optional axis ``contrast``. The header has voxel sizes in millimetres, the frame
    period and the time of the first frame in seconds, the plugin as description, and the whole provenance as a comment
    in JSON. ``concentration_std`` is not written: save ``image.assign(concentration=image.concentration_std)`` as a
    second file. Raises ShapeError.
    """
    from nibabel.nifti1 import Nifti1Extension, Nifti1Image

    if "concentration" not in image:
        raise ShapeError(
            f"NIfTI holds images; the dataset holds {sorted(map(str, image.data_vars))}: reconstruct first, "
            "or write MDF or NetCDF"
        )
    array = image["concentration"]
    if set(array.dims) - {"contrast"} != set(IMAGE_DIMS):
        raise ShapeError(f"an image {IMAGE_DIMS} is wanted, found {dict(array.sizes)}")
    if array.dtype.kind == "c":
        raise ShapeError("the image is complex; NIfTI holds real numbers: write its magnitude or its parts")
    if (grid := dataset_grid(image)) is None:
        raise ShapeError(
            "the image does not say where its voxels are: give it the coordinates x, y, z in metres"
        )
    dims = [*reversed(GRID_DIMS), "frame", *(["contrast"] if "contrast" in array.dims else [])]
    values = array.transpose(*dims).values.astype(np.float32)
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    made = Nifti1Image(values, affine(grid))
    header = made.header
    header.set_sform(affine(grid), SCANNER)
    header.set_qform(affine(grid), SCANNER)
    header.set_xyzt_units("mm", "sec")
    if values.ndim > 3:
        header.set_zooms((*header.get_zooms()[:3], _frame_period(image), *[1.0] * (values.ndim - 4)))
    header["toffset"] = float(image["time"][0]) if "time" in image.coords else 0.0
    told = provenance(image)
    plugin = told.get("plugin", "")
    header["descrip"] = _cut(
        f"mpibridge {plugin} {_text(told.get('settings', {}))}".strip(), DESCRIPTION_BYTES
    )
    header["intent_name"] = b"concentration"
    if told:
        header.extensions.append(Nifti1Extension("comment", json.dumps(told, default=_number).encode()))
    return made


def affine(grid: Grid) -> np.ndarray:
    """Voxel numbers (x, y, z, 1) → millimetres, (4, 4)."""
    first = [grid.axis(dim)[0] for dim in "xyz"]
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag(_edges(grid))
    matrix[:3, 3] = 1e3 * np.array(first)
    return matrix


def _edges(grid: Grid) -> np.ndarray:
    """Voxel edges (x, y, z) in millimetres; NIfTI has none of length zero."""
    edges = 1e3 * np.array(grid.spacing)
    if edges.max() <= 0:
        raise ShapeError(f"the voxels have the edges {grid.spacing} m: give the image a field of view")
    if edges.min() <= 0:
        thickness = edges[edges > 0].min()
        warnings.warn(
            f"the image does not say how thick its voxels are along {'xyz'[int(edges.argmin())]}: "
            f"{thickness:g} mm is written, the smallest of the others",
            MPIBridgeWarning,
            stacklevel=3,
        )
        edges = np.where(edges > 0, edges, thickness)
    return edges


def _frame_period(image: xr.Dataset) -> float:
    """Seconds from frame to frame: the mean of what ``time`` says, else what the header says, else 0 (unknown)."""
    if "time" in image.coords and image.sizes["frame"] > 1:
        return float(image["time"][-1] - image["time"][0]) / (image.sizes["frame"] - 1)
    try:
        return Header(image.attrs).frame_period
    except MDFError:
        return 0.0


def _number(value: object) -> object:
    """A NumPy number as JSON knows it, anything else as text."""
    return value.item() if isinstance(value, np.generic) else str(value)


def _text(settings: object) -> str:
    if not isinstance(settings, dict):
        return ""
    return " ".join(f"{name}={value}" for name, value in settings.items())


def _cut(text: str, length: int) -> bytes:
    """ASCII text of at most ``length`` bytes."""
    return text.encode("ascii", "replace")[:length]
