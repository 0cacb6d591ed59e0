"""What a comparison measures: columns of values per frame, and notes on what they mean and why some are missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mpibridge.comparison.pictures import FIRST, REFERENCE, ignorable, placed, unit
from mpibridge.errors import SettingsError, ShapeError
from mpibridge.metrics import (
    best_shift,
    bootstrap,
    data_residual,
    least_squares_factor,
    misalignment,
    nrmse,
    per_image,
    psnr,
    ssim,
    ssim_window,
)
from mpibridge.metrics.fidelity import gaps
from mpibridge.model import GRID_DIMS
from mpibridge.preprocessing import Preprocessing
from mpibridge.provenance import provenance
from mpibridge.reading import read

if TYPE_CHECKING:
    import pandas

STEP = 0.5e-3
"""Metres between the shifts that are tried."""
LEVEL = 95
"""Percent: the level of the intervals."""
LOW, HIGH = f" {LEVEL} % low", f" {LEVEL} % high"
WHOLE = ("factor", "maximum", "mean", "time (s)", "largest shift (mm)")
"""Columns, by how they begin, that have no interval."""
WAY_OUT = ', or compare voxel by voxel whatever the positions: align="voxels" (--align voxels)'


class Scores:
    """Columns under construction: by label and image the values per frame; empty where there is none.

    images: by name, loaded. definitions: what the columns mean. reasons: why cells are empty.
    """

    def __init__(self, images: Mapping[str, xr.Dataset]) -> None:
        self.images = images
        self.columns: dict[str, dict[str, np.ndarray]] = {}
        self.definitions: list[str] = []
        self.reasons: list[str] = []

    @property
    def notes(self) -> list[str]:
        return list(dict.fromkeys([*self.definitions, *self.reasons]))

    def define(self, text: str) -> None:
        self.definitions.append(text)

    def say(self, name: str, lacks: str, reason: object = "") -> None:
        text = str(reason)
        said = f" {text[:1].upper()}{text[1:]}." if text else ""
        self.reasons.append(f"{name}: {lacks}.{said}")

    def measure(self, label: str, name: str, values: Callable[[], Any], todo: str = "") -> None:
        """Add a value, or the reason why there is none, and what can be done besides."""
        column = self.columns.setdefault(label, {})
        try:
            column[name] = np.atleast_1d(values())
        except ShapeError as reason:
            self.say(name, f"no {label}", f"{reason}{todo}")


def on_voxels(scores: Scores, target: xr.Dataset, target_name: str) -> dict[str, xr.Dataset]:
    """The images at the positions of the target, with a note of what was ignored; those of another grid as they are."""
    array = target["concentration"]
    found = {}
    for name, image in scores.images.items():
        found[name] = image
        if offsets := ignorable(image["concentration"], array):
            scores.say(
                name,
                f"compared voxel by voxel with {target_name}, its positions are ignored",
                f"they differ by {offsets}",
            )
            grid = {key: value for key, value in target.attrs.items() if str(key).startswith("grid_")}
            kept = {key: value for key, value in image.attrs.items() if not str(key).startswith("grid_")}
            found[name] = placed(image["concentration"], array).to_dataset().assign_attrs(kept | grid)
    return found


def factors(
    scores: Scores, images: Mapping[str, xr.Dataset], target: xr.Dataset, target_name: str
) -> dict[str, float]:
    """The least-squares factor of every image; 1, with a note, where there is none."""
    found: dict[str, float] = {}
    if reason := gaps(target["concentration"].values):
        scores.say(target_name, "no image is scaled to it", f"it has {reason}")
        return dict.fromkeys(images, 1.0)
    for name, image in images.items():
        try:
            found[name] = least_squares_factor(image, target)
        except ShapeError as reason:
            found[name] = 1.0
            scores.say(name, "not scaled", reason)
    return found


def fidelity(
    scores: Scores,
    images: Mapping[str, xr.DataArray],
    truth: xr.DataArray,
    labels: Mapping[str, str] | None = None,
    *,
    truth_name: str = REFERENCE,
    max_shift: float | None = None,
) -> None:
    """NRMSE, PSNR and SSIM of every frame, and their best values over shifts; labels: {label: "first"} only the NRMSE."""
    metrics: dict[str, Callable[..., float]] = {"NRMSE": nrmse, "PSNR (dB)": psnr, "SSIM": ssim}
    if labels:
        metrics = {label: nrmse for label, which in labels.items() if which == FIRST}
    scores.columns.update({label: {} for label in metrics})
    shifted = {} if max_shift is None else {k: v for k, v in metrics.items() if v is not nrmse}
    unusable = gaps(truth.values)
    if unusable:
        scores.say(
            truth_name,
            f"no {', '.join(metrics)} of any image",
            f"it has {unusable}; replace them to compare with it",
        )
    for name, image in {} if unusable else images.items():
        if reason := misalignment(image, truth):
            todo = (
                WAY_OUT if ignorable(image, truth) and not misalignment(placed(image, truth), truth) else ""
            )
            scores.say(name, f"no {', '.join(metrics)}", f"{reason}{todo}")
            continue
        for label, metric in metrics.items():
            scores.measure(label, name, partial(_per_frame, metric, image, truth))
        for label, metric in shifted.items():
            _measure_shifted(scores, label, name, metric, image, truth, float(max_shift or 0))
    if labels:
        return
    scores.define(
        f"NRMSE = ‖image − reference‖ / ‖reference‖; PSNR with peak = max |reference|; SSIM with {_window(truth)}, range "
        "= max − min of the reference. Each per frame, then the mean over frames."
    )
    if shifted:
        scores.define(
            f"Best shift: the largest value over shifts of the image up to ±{1e3 * float(max_shift or 0):g} mm along every axis in "
            f"steps of {1e3 * STEP:g} mm (cubic splines, frame by frame). It flatters: a maximum over many, and moving smooths noise."
        )


def residuals(
    scores: Scores, scan: xr.Dataset, system_matrix: Any, preprocessing: Preprocessing, *, align: str
) -> None:
    """‖S c − u‖ / ‖u‖ of every image as it was reconstructed. SettingsError without a system matrix."""
    from mpibridge.pipeline import placed_grid
    from mpibridge.problems import spectral_problem

    given = scan.attrs.get("system_matrix") if system_matrix is None else system_matrix
    if given is None:
        raise SettingsError(
            "the data residual needs the system matrix of the scan: pass system_matrix=…, or open the scan with it; "
            "on the command line, -s FILE"
        )
    several: Sequence[Any] = given if isinstance(given, list | tuple) else [given]
    calibrations = [read(c) if isinstance(c, str | Path) else c for c in several]
    problem = spectral_problem(scan, calibrations, preprocessing)
    grid = placed_grid(problem.grid, scan, calibrations[0])
    places = xr.DataArray(np.empty(grid.shape), grid.coordinates(), GRID_DIMS)
    for name, image in scores.images.items():
        array, todo = image["concentration"], ""
        if offsets := ignorable(array, places):
            if align == "voxels":
                scores.say(
                    name,
                    "the data residual is taken voxel by voxel, the positions of the image are ignored",
                    f"they differ from those of the calibration by {offsets}",
                )
                array = placed(array, places)
            else:
                todo = WAY_OUT
        if differs := _other_preprocessing(image, preprocessing):
            scores.say(
                name,
                "the data residual is taken with another preprocessing than the image",
                f"it has {differs}",
            )
        scores.measure("data residual", name, partial(data_residual, array, problem, grid=grid), todo)
    scores.define(
        f"Data residual = ‖S c − u‖ / ‖u‖ over {problem.operator.n_rows} rows with one preprocessing for all, of images that "
        "are not scaled. A residual below that of the noise is overfitting."
    )


def magnitudes(scores: Scores) -> None:
    """Maximum and mean of every image as it is, and the seconds that its making took."""
    units = {name: unit(image) for name, image in scores.images.items()}
    stated = set(units.values())
    suffix = f" ({next(iter(stated))})" if len(stated) == 1 and "" not in stated else ""
    if len(stated) > 1:
        said = [f"{name} {f'in {unit}' if unit else 'not stated'}" for name, unit in units.items()]
        scores.define(f"Units differ: {', '.join(said)}.")
    for name, image in scores.images.items():
        values = image["concentration"].values
        if not np.isfinite(values).all():
            scores.say(name, f"{int((~np.isfinite(values)).sum())} values are not finite")
        scores.columns.setdefault(f"maximum{suffix}", {})[name] = np.array([float(values.max())])
        scores.columns.setdefault(f"mean{suffix}", {})[name] = np.array([float(values.mean())])
        if "seconds" in (made := provenance(image)):
            scores.columns.setdefault("time (s)", {})[name] = np.array([float(made["seconds"])])


def tabulated(scores: Scores, generator: np.random.Generator) -> pandas.DataFrame:
    """One row per image; means over frames, beside them their intervals where any image has several frames."""
    import pandas

    table = pandas.DataFrame(index=pandas.Index(list(scores.images), name="image"))
    n_frames = 1
    for label, column in scores.columns.items():
        several = max((len(values) for values in column.values()), default=1)
        intervals = {name: bootstrap(v, generator=generator, level=LEVEL / 100) for name, v in column.items()}
        table[label] = pandas.Series({name: i.mean for name, i in intervals.items()}, dtype=float)
        if several > 1 and not label.startswith(WHOLE):
            n_frames = max(n_frames, several)
            table[label + LOW] = pandas.Series({name: i.low for name, i in intervals.items()}, dtype=float)
            table[label + HIGH] = pandas.Series({name: i.high for name, i in intervals.items()}, dtype=float)
    if n_frames > 1:
        scores.define(
            f"In brackets: {LEVEL} % bootstrap intervals of the mean over {n_frames} frames. Frames of one object differ by noise "
            "and motion only; the intervals say nothing about other objects."
        )
    return table


def _measure_shifted(
    scores: Scores,
    label: str,
    name: str,
    metric: Callable[..., float],
    image: xr.DataArray,
    truth: xr.DataArray,
    max_shift: float,
) -> None:
    if "contrast" in image.dims:
        scores.say(name, "no best shift", "it has several contrasts; compare them one by one")
        return

    def frame(array: xr.DataArray, i: int) -> xr.DataArray:
        return array.isel(frame=min(i, array.sizes["frame"] - 1), drop=True)

    try:
        found = [
            best_shift(metric, frame(image, i), frame(truth, i), reach=max_shift, step=min(STEP, max_shift))
            for i in range(image.sizes["frame"])
        ]
    except ShapeError as reason:
        scores.say(name, f"no {label} at the best shift", reason)
        return
    lengths = np.array([max(1e3 * float(np.linalg.norm(shift)) for _, shift in found)])
    scores.columns.setdefault(f"{label}, best shift", {})[name] = np.array([value for value, _ in found])
    column = scores.columns.setdefault("largest shift (mm)", {})
    column[name] = np.maximum(column.get(name, lengths), lengths)


def _per_frame(metric: Callable[..., float], image: xr.DataArray, truth: xr.DataArray) -> np.ndarray:
    """The mean over contrasts of every frame's value, (frame,)."""
    values = per_image(metric, image, truth)
    return values.reshape(-1, values.shape[-1]).mean(0)


def _other_preprocessing(image: xr.Dataset, preprocessing: Preprocessing) -> str:
    """What an image was reconstructed with, where it differs from ``preprocessing``."""
    made = provenance(image).get("preprocessing")
    if not isinstance(made, dict):
        return ""
    here = json.loads(json.dumps(preprocessing.plain(), default=str))
    differing = [name for name in {**made, **here} if made.get(name) != here.get(name)]
    return ", ".join(
        f"{name} {made.get(name, 'default')}, not {here.get(name, 'default')}" for name in differing
    )


def _window(truth: xr.DataArray) -> str:
    try:
        return f"a uniform window of {ssim_window(truth.shape)} voxels"
    except ShapeError:
        return "a uniform window"
