"""`Arrays`: pairs of the user's own; `Recordings`: scans and the images they should give."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from mpibridge.acquisition import Acquisition, acquisition_of
from mpibridge.calibration import calibration_grid
from mpibridge.errors import SettingsError, ShapeError
from mpibridge.execution import n_frames
from mpibridge.fingerprint import fingerprint
from mpibridge.metrics.alignment import labelled, misalignment
from mpibridge.model import GRID_DIMS
from mpibridge.pipeline import PROBLEMS, placed_grid
from mpibridge.plugin import ImageProblem, SpectralProblem, TrainablePlugin, WaveformProblem
from mpibridge.preprocessing import Preprocessing
from mpibridge.reading import read
from mpibridge.training.data import (
    TRAINING,
    VALIDATION,
    Data,
    Pair,
    Pairs,
    random,
    signals,
    take,
    with_signals,
)

File = str | Path | xr.Dataset
WITH_ARRAYS = (SpectralProblem, WaveformProblem, ImageProblem)
"""Problems that networks learn from."""


@dataclass(frozen=True)
class Arrays(Data):
    """A problem with many frames, and the image of each.

    problem: of the kind the method takes, NumPy arrays. target: (frame, z, y, x). acquisition: what it was recorded with;
    None: the weights are then for whoever passes them; where it is known, scans without a calibration are reconstructed on the
    grid of the problem. licence and origin of the data are the user's to know.
    """

    problem: Any
    target: Any
    validation: float = 0.1  # share of the frames that is held out, from 0 to below 1
    acquisition: Acquisition | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.problem, WITH_ARRAYS):
            *others, last = (kind.__name__ for kind in WITH_ARRAYS)
            raise SettingsError(
                f"a problem ({', '.join(others)} or {last} of mpibridge.plugin) and its images (frame, z, y, x) are "
                f"wanted, found {_kind(self.problem)} and {_kind(self.target)}; a problem is built of arrays like "
                "WaveformProblem(grid=mpibridge.Grid(…), waveform=…, sample_rate=…, trajectory=…)"
            )
        target = np.asarray(self.target, np.float32)
        object.__setattr__(self, "target", target)
        if not 0 <= self.validation < 1:
            raise SettingsError(f"validation must lie from 0 to below 1, found {self.validation!r}")
        wanted = (n_frames(self.problem), *self.problem.grid.shape)
        if target.shape != wanted:
            raise ShapeError(
                f"target is {target.shape}, (frame, z, y, x) = {wanted} is wanted for this problem"
            )
        for name, values in {**signals(self.problem), "target": target}.items():
            if not np.isfinite(values).all():
                frame = int(np.argwhere(~np.isfinite(values))[0][0])
                raise ShapeError(
                    f"{name} holds values that are not finite in frame {frame}; leave such frames out"
                )

    def pairs(self, cls: type[TrainablePlugin], preprocessing: Preprocessing, seed: int) -> Pairs:
        if not isinstance(self.problem, cls.takes):
            raise SettingsError(
                f"plugin {cls.name!r} takes a {cls.takes.__name__}, found {type(self.problem).__name__}"
            )
        grid = self.problem.grid  # type: ignore[attr-defined]  # every problem of WITH_ARRAYS has one
        if self.acquisition is not None and cls.takes is not SpectralProblem and preprocessing.grid is None:
            preprocessing = replace(preprocessing, grid=grid)
        digest = digest_of(*signals(self.problem).values(), self.target)
        return ArrayPairs(self, preprocessing, seed, {"kind": "arrays", "sha256": digest})


class ArrayPairs(Pairs):
    """Frames in a random order, each once before any comes again. Which are held out depends on the seed alone."""

    def __init__(
        self, data: Arrays, preprocessing: Preprocessing, seed: int, description: dict[str, Any]
    ) -> None:
        total = len(data.target)
        order = random(seed, VALIDATION).permutation(total)
        n_held_out = round(data.validation * total)
        if data.validation and total > 1:
            n_held_out = min(max(n_held_out, 1), total - 1)
        self.held_out, self.kept = np.sort(order[:n_held_out]), np.sort(order[n_held_out:])
        self.pair: Pair = (data.problem, data.target)
        self.example = take(self.pair, slice(0, 1))[0]
        self.acquisition = data.acquisition
        self.preprocessing = preprocessing
        self.description = {**description, "frames": len(self.kept), "validation": n_held_out}

    def batch(self, seed: int, number: int, size: int) -> Pair:
        place = np.arange(number * size, (number + 1) * size)
        rounds, within = np.divmod(place, len(self.kept))
        orders = {r: random(seed, TRAINING, r).permutation(self.kept) for r in np.unique(rounds)}
        chosen = np.array([orders[r][i] for r, i in zip(rounds, within, strict=True)])
        return take(self.pair, chosen)

    def validation(self, seed: int) -> Pair | None:
        return take(self.pair, self.held_out) if len(self.held_out) else None


@dataclass(frozen=True)
class Recordings(Data):
    """Scans, and the images they should give.

    recordings: pairs of a scan and its image, paths or datasets (an MDF reconstruction, what `mpibridge.reconstruct`
    returns, or ``phantom.on(grid)``); the image has the frames of the scan after preprocessing, or one for all of them, and
    lies where `mpibridge.reconstruct` would put it (ShapeError). system_matrix: the calibration, for methods that need one.
    """

    recordings: Sequence[tuple[File, File | xr.DataArray]]
    system_matrix: File | None = None
    validation: float = 0.1  # share of the frames that is held out, from 0 to below 1

    def pairs(self, cls: type[TrainablePlugin], preprocessing: Preprocessing, seed: int) -> Pairs:
        if not len(self.recordings):
            raise SettingsError("there are no recordings; pass pairs (scan, image)")
        calibrations = [] if self.system_matrix is None else [_opened(self.system_matrix)]
        if cls.takes is SpectralProblem and not calibrations:
            raise SettingsError(
                f"plugin {cls.name!r} needs a calibration; pass Recordings(…, system_matrix=…)"
            )
        pairs: list[Pair] = []
        described = []
        for i, (scan, image) in enumerate((_opened(one), _opened(other)) for one, other in self.recordings):
            problem = PROBLEMS[cls.takes](scan, calibrations, preprocessing)
            name = image.attrs.get("source", f"the image of recording {i}")
            places = _places(problem, scan, calibrations)
            pairs.append((problem, _target(image, name, n_frames(problem), places)))
            described.append([fingerprint(scan), fingerprint(image)])
        first = _alike([problem for problem, _ in pairs])
        given = [_signals(problem) for problem, _ in pairs]
        joined = {name: np.concatenate([each[name] for each in given]) for name in given[0]}
        target = np.concatenate([target for _, target in pairs])
        recording = calibrations[0] if calibrations else _opened(self.recordings[0][0])
        arrays = Arrays(
            with_signals(first, joined), target, self.validation, acquisition_of(recording, first.grid)
        )
        # Images made in memory have no file that tells them apart.
        said: dict[str, Any] = {"kind": "recordings", "files": described, "images": digest_of(target)}
        if calibrations:
            said["system_matrix"] = fingerprint(calibrations[0])
        return ArrayPairs(arrays, preprocessing, seed, said)


def _alike(problems: Sequence[Any]) -> Any:
    """The first of problems that differ in their frames only. ShapeError if they differ in more."""
    first = problems[0]
    for problem in problems[1:]:
        if not problem.grid.almost_equal(first.grid):
            raise ShapeError(f"the recordings lie on {first.grid} and on {problem.grid}; choose one grid")
        if isinstance(first, SpectralProblem) and not np.array_equal(
            first.operator.matrix, problem.operator.matrix
        ):
            raise ShapeError(
                "the recordings have system matrices that differ: their rows are weighted by their own background "
                "frames; pass a calibration with background frames"
            )
        if (getattr(first, "noise", None) is None) != (getattr(problem, "noise", None) is None):
            raise ShapeError("some of the recordings have background frames and others have none")
    return first


def _signals(problem: Any) -> dict[str, np.ndarray]:
    """What differs from frame to frame, the noise of a recording among it."""
    found = signals(problem)
    if isinstance(problem, SpectralProblem) and problem.noise is not None:
        found["noise"] = np.broadcast_to(np.asarray(problem.noise, np.float32), problem.rows.shape)
    return found


def digest_of(*arrays: np.ndarray) -> str:
    """SHA-256 of the numbers."""
    digest = hashlib.sha256()
    for values in arrays:
        digest.update(np.ascontiguousarray(values).view(np.uint8).data)
    return digest.hexdigest()


def _opened(file: File | xr.DataArray) -> xr.Dataset:
    if isinstance(file, xr.DataArray):
        return file.to_dataset(name="concentration")
    return file if isinstance(file, xr.Dataset) else read(file)


def _places(problem: Any, scan: xr.Dataset, calibrations: Sequence[xr.Dataset]) -> xr.DataArray:
    """An empty image (z, y, x) where `mpibridge.reconstruct` would put that of a scan, with positions if they are known."""
    grid = problem.grid
    if isinstance(problem, SpectralProblem):
        if calibration_grid(calibrations[0]) is None:
            return xr.DataArray(np.zeros(grid.shape), dims=GRID_DIMS)
        grid = placed_grid(grid, scan, calibrations[0])
    return xr.DataArray(np.zeros(grid.shape), grid.coordinates(), GRID_DIMS)


def _target(image: xr.Dataset, name: str, frames: int, places: xr.DataArray) -> np.ndarray:
    """The image of every frame (frame, z, y, x). ShapeError if it has other frames or lies at other places."""
    if "concentration" not in image:
        raise SettingsError(
            f"{name} is no image: it holds {list(image.data_vars)}, 'concentration' is wanted"
        )
    if "contrast" in image["concentration"].dims:
        raise NotImplementedError("training on images with several contrasts")
    values = labelled(image)
    assert values is not None  # it comes from a dataset
    if reason := misalignment(values, places):
        raise ShapeError(f"{name} does not lie on the grid of its scan, the reference: {reason}")
    found = np.asarray(values.values, np.float32).reshape(-1, *places.shape)
    if len(found) not in (1, frames):
        raise ShapeError(
            f"{name} has {len(found)} frames, its scan gives {frames}: average frames (Preprocessing(averages=…)), or "
            "pass one image for all of them"
        )
    return np.ascontiguousarray(np.broadcast_to(found, (frames, *places.shape)))


def _kind(value: Any) -> str:
    return type(value).__name__ + (f" {np.shape(value)}" if isinstance(value, np.ndarray) else "")
