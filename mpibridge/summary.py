"""What an operator asks of a file, in the units of the console: millitesla, millimetres, kilohertz, milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from mpibridge import model
from mpibridge.errors import MDFError
from mpibridge.mdf.header import Header
from mpibridge.provenance import provenance

SNR_LEVELS = (2, 5, 10)
NOT_STATED = "not stated"
Rows = list[tuple[str, str]]


def summarize(dataset: xr.Dataset) -> dict[str, Rows]:
    """Sections of (question, answer) for an opened file of any kind; the data themselves are not read, but the SNR.

    A question that the header leaves open is answered with "not stated".
    """
    header, kind = Header(dataset.attrs), dataset.attrs["kind"]
    sections = {"File": _file(header, kind)}
    if kind == model.RECONSTRUCTION:
        sections["Image"] = _image(dataset)
        if made := provenance(dataset):
            sections["Made by mpibridge"] = [(name, _plain(value)) for name, value in made.items()]
    sections["Sequence"] = _sequence(header)
    if kind != model.RECONSTRUCTION:
        sections["Recording"] = _recording(dataset, header)
        sections["Receivers"] = _receivers(dataset, header)
    if kind == model.CALIBRATION:
        sections["Calibration"] = _calibration(dataset, header)
    return sections


def _file(header: Header, kind: str) -> Rows:
    return [
        ("name", Path(header.source).name),
        ("kind", f"{kind}, MDF {_said(lambda: str(header['/version']))}"),
        ("experiment", _joined(header, "/experiment/name", "/experiment/subject")),
        ("simulated", _said(lambda: _yes(header["/experiment/isSimulation"]))),
        ("scanner", _joined(header, "/scanner/name", "/scanner/manufacturer", "/scanner/facility")),
        ("started", _said(lambda: str(header["/acquisition/startTime"]))),
        ("tracer", _said(lambda: _tracer(header))),
    ]


def _sequence(header: Header) -> Rows:
    return [
        ("drive field", _said(lambda: _numbers(header.drive_frequencies / 1e3, "kHz"))),
        ("dividers", _said(lambda: f"{_numbers(header.dividers)} of {header.base_frequency / 1e6:g} MHz")),
        ("amplitudes", _said(lambda: _numbers(header.strengths[0, :, 0] * 1e3, "mT"))),
        ("cycle", _said(lambda: f"{header.cycle * 1e3:.6g} ms")),
        ("gradient", _said(lambda: _gradient(header))),
        ("drive-field FOV", _said(lambda: _numbers(header.drive_field_of_view * 1e3, "mm", " × "))),
        ("patches", _said(lambda: str(len(np.unique(header.patch_centers.round(9), axis=0))))),
    ]


def _recording(dataset: xr.Dataset, header: Header) -> Rows:
    if "is_background" in dataset:
        n_background = int(dataset["is_background"].sum())
        n_foreground = dataset.sizes["frame"] - n_background
    else:
        n_background = dataset.sizes.get("background_frame", 0)
        n_foreground = int(np.prod([dataset.sizes[dim] for dim in model.GRID_DIMS]))
    return [
        ("frames", f"{n_foreground} + {n_background} background"),
        ("periods per frame", _said(lambda: str(header.n_periods))),
        ("averages", _said(lambda: str(header.n_averages))),
        ("frame period", _said(lambda: f"{header.frame_period * 1e3:.6g} ms")),
    ]


def _receivers(dataset: xr.Dataset, header: Header) -> Rows:
    done = [
        name
        for flag, name in (
            ("isBackgroundCorrected", "background"),
            ("isSpectralLeakageCorrected", "spectral leakage"),
            ("isTransferFunctionCorrected", "transfer function"),
        )
        if header.flag(flag)
    ]
    if "frequency" in dataset.dims:
        stored = f"{dataset.sizes['frequency']} of {_said(lambda: str(header.n_frequencies))} frequencies"
        stored += ", sparse" if header.flag("isSparsityTransformed") else ""
    else:
        stored = "time signals"
    return [
        ("receivers", _said(lambda: str(header.n_receivers))),
        ("bandwidth", _said(lambda: f"{header.bandwidth / 1e6:g} MHz")),
        ("samples per period", _said(lambda: str(header.n_samples))),
        ("unit", _said(lambda: str(header["/acquisition/receiver/unit"]))),
        ("stored as", stored),
        ("transfer function", _yes("transfer_function" in dataset)),
        ("corrected for", ", ".join(done) or "nothing"),
    ]


def _calibration(dataset: xr.Dataset, header: Header) -> Rows:
    def millimetres(values: Any) -> str:
        return _numbers(np.asarray(values, float) * 1e3, "mm", " × ")

    rows = [
        ("method", _said(lambda: str(header["/calibration/method"]))),
        ("grid", _said(lambda: _numbers(header["/calibration/size"], "voxels", " × "))),
        ("voxel", _said(lambda: millimetres(header.grid.spacing))),
        ("field of view", _said(lambda: millimetres(header.grid.field_of_view))),
        ("centre", _said(lambda: _numbers(np.asarray(header.grid.center) * 1e3, "mm"))),
        ("delta sample", _said(lambda: millimetres(header["/calibration/deltaSampleSize"]))),
    ]
    if "snr" not in dataset:
        return [*rows, ("SNR", NOT_STATED)]
    snr = dataset["snr"].values[0]
    for receiver, values in enumerate(snr):
        counts = ", ".join(f"{int((values >= level).sum())} over {level}" for level in SNR_LEVELS)
        rows.append(
            (f"SNR, receiver {receiver}", f"{counts} of {len(values)} (highest {np.nanmax(values):.4g})")
        )
    return rows


def _image(dataset: xr.Dataset) -> Rows:
    image = dataset["concentration"]
    rows = [
        ("frames", str(image.sizes["frame"])),
        ("contrasts", str(image.sizes.get("contrast", 1))),
        ("grid", _numbers([image.sizes[dim] for dim in "xyz"], "voxels", " × ")),
    ]
    if "grid_size" in dataset.attrs:
        grid = model.Grid.from_attributes(dataset.attrs)
        rows += [
            ("voxel", _numbers(np.asarray(grid.spacing) * 1e3, "mm", " × ")),
            ("field of view", _numbers(np.asarray(grid.field_of_view) * 1e3, "mm", " × ")),
            ("centre", _numbers(np.asarray(grid.center) * 1e3, "mm")),
        ]
    return rows


def _said(answer: Callable[[], str]) -> str:
    try:
        return answer()
    except MDFError:
        return NOT_STATED


def _gradient(header: Header) -> str:
    if header.get("/acquisition/gradient") is None:
        return NOT_STATED
    return _numbers(header.gradient_diagonal, "T/m")


def _tracer(header: Header) -> str:
    name, batch = (" + ".join(map(str, np.ravel(header[f"/tracer/{key}"]))) for key in ("name", "batch"))
    concentration = _numbers(np.asarray(header["/tracer/concentration"], float) * 1e3)
    return f"{name}, batch {batch}, {concentration} mmol/l"


def _joined(header: Header, *paths: str) -> str:
    return ", ".join(str(value) for path in paths if (value := header.get(path))) or NOT_STATED


def _yes(value: Any) -> str:
    return "yes" if value else "no"


def _numbers(values: ArrayLike, unit: str = "", separator: str = ", ") -> str:
    text = separator.join(f"{float(v) + 0.0:.5g}" for v in np.ravel(values))
    return f"{text} {unit}".rstrip()


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={_plain(item)}" for name, item in value.items())
    if isinstance(value, list):
        return "; ".join(map(_plain, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
