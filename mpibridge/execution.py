"""Running a method on a problem: arrays to the device, frames in batches that fit its memory, the result back and checked."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mpibridge.device import to_device, to_numpy
from mpibridge.errors import MPIBridgeWarning, PluginError, ShapeError
from mpibridge.plugin import Plugin, Report, Result, SpectralProblem, TrainablePlugin

if TYPE_CHECKING:
    import torch

MEMORY_SHARE = 0.5
"""Share of the free memory that the frames of one batch may take."""
SIGNALS = ("rows", "waveform", "images")
"""Fields of problems that have one entry per frame."""


def execute(
    method: Plugin[Any],
    problem: Any,
    *,
    generator: np.random.Generator,
    report: Report,
    device: str = "cpu",
    memory: int | None = None,
) -> Result:
    """The result of ``method.reconstruct`` as NumPy arrays, float32.

    memory: bytes that a batch of frames may take; None: half of what is free on the device. Raises ShapeError if the data
    are not finite, PluginError if the result is not finite or has another shape than the problem asks for.
    """
    _require_finite(problem)
    given = to_device(problem, device, tensors=method.arrays == "torch")
    if isinstance(method, TrainablePlugin):
        method.network.to(device).eval().requires_grad_(False)
    total = n_frames(problem)
    size = _batch_size(method, given, total, device, memory)
    results: list[Result] = []
    start, halved = 0, False
    while start < total or not results:
        part = given if size >= total else take_frames(given, slice(start, start + size))
        untouched = deepcopy(generator)
        stage = _stage(report, start, size, total)
        result = _attempt(method, part, generator, stage)
        if result is not None:
            results.append(result)
            start += size
            continue
        if size == 1:
            raise PluginError(
                f"{device} has no room for a single frame of {problem.grid.shape} voxels with plugin {method.name!r}; pass "
                "device='cpu'"
            )
        if not halved:
            warnings.warn(
                f"{device} has no room for {size} frames at once: goes on with smaller batches",
                MPIBridgeWarning,
                stacklevel=2,
            )
        generator, size, halved = untouched, size // 2, True
    return _checked(method, problem, _joined(results), total)


def build_network(method: TrainablePlugin[Any], problem: Any, seed: int = 0) -> torch.nn.Module:
    """The untrained network of a method for problems like this one, on the CPU; the same seed gives the same weights."""
    import torch

    example = to_device(take_frames(problem, slice(0, 1)), "cpu", tensors=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return method.build_network(example)


def n_frames(problem: Any) -> int:
    """Frames of a problem with arrays."""
    return next(len(getattr(problem, name)) for name in SIGNALS if hasattr(problem, name))


def take_frames(problem: Any, frames: slice | Sequence[int] | np.ndarray) -> Any:
    """The same problem with some of its frames."""
    taken = {name: getattr(problem, name)[frames] for name in SIGNALS if hasattr(problem, name)}
    if isinstance(problem, SpectralProblem) and problem.noise is not None and problem.noise.ndim == 2:
        taken["noise"] = problem.noise[frames]
    return replace(problem, **taken)


def joined_frames(problems: Sequence[Any]) -> Any:
    """Problems that differ in their frames only as one: the inverse of `take_frames`."""
    first = problems[0]
    names = [name for name in SIGNALS if hasattr(first, name)]
    if isinstance(first, SpectralProblem) and first.noise is not None and first.noise.ndim == 2:
        names.append("noise")
    return replace(
        first, **{name: np.concatenate([getattr(problem, name) for problem in problems]) for name in names}
    )


def _batch_size(method: Plugin[Any], problem: Any, total: int, device: str, memory: int | None) -> int:
    each = method.bytes_per_frame(problem)
    if each <= 0:
        return max(total, 1)
    budget = MEMORY_SHARE * _free_memory(device) if memory is None else memory
    return min(max(int(budget // each), 1), max(total, 1))


def _free_memory(device: str) -> float:
    """Bytes that are free on a device."""
    if device == "cpu":
        import psutil

        return psutil.virtual_memory().available
    import torch

    return torch.cuda.mem_get_info(device)[0]


def _attempt(
    method: Plugin[Any], problem: Any, generator: np.random.Generator, report: Report
) -> Result | None:
    """The result in NumPy arrays; None if a GPU had no room left, whose memory is set free."""
    if method.arrays != "torch":
        return to_numpy(method.reconstruct(problem, generator=generator, report=report))
    import torch

    try:
        return to_numpy(method.reconstruct(problem, generator=generator, report=report))
    except torch.cuda.OutOfMemoryError:
        pass  # what failed holds its tensors until here
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _stage(report: Report, start: int, size: int, total: int) -> Report:
    """Progress of one batch as progress of all."""
    if size >= total:
        return report
    n_batches, batch = -(-total // size), start // size
    return lambda done, steps, text: report(
        batch * steps + done, n_batches * steps, f"{text} ({batch + 1}/{n_batches})"
    )


def _joined(results: Sequence[Result]) -> Result:
    """Batches of frames as one result. Arrays of the trace have the frame first; numbers become one per batch."""
    first = results[0]
    if len(results) == 1:
        return first
    axis = np.ndim(first.image) - 4
    trace = {
        name: np.concatenate([np.atleast_1d(result.trace[name]) for result in results])
        for name in first.trace
    }
    return replace(
        first,
        image=np.concatenate([result.image for result in results], axis),
        std=None if first.std is None else np.concatenate([result.std for result in results], axis),
        trace=trace,
        times=None if first.times is None else np.concatenate([result.times for result in results]),
    )


def _require_finite(problem: Any) -> None:
    arrays = {field.name: getattr(problem, field.name) for field in fields(problem)}
    matrix = getattr(arrays.pop("operator", None), "matrix", None)
    arrays["system matrix"] = getattr(matrix, "data", None) if hasattr(matrix, "multiply") else matrix
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or np.isfinite(array.sum()):
            continue
        bad = ~np.isfinite(array)
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            raise ShapeError(
                f"{name} holds {array[place]} at {place}, {int(bad.sum())} values are not finite; leave out such "
                "frames, receivers or frequencies (mpibridge.Preprocessing)"
            )


def _checked(method: Plugin[Any], problem: Any, result: Result, total: int) -> Result:
    image = np.asarray(result.image)
    grid = problem.grid if result.grid is None else result.grid
    n_contrasts = problem.operator.n_contrasts if isinstance(problem, SpectralProblem) else 1
    wanted = (total, *grid.shape)
    if image.shape != wanted and image.shape != (n_contrasts, *wanted):
        raise PluginError(f"plugin {method.name!r} returned an image {image.shape}, {wanted} was wanted")
    if result.std is not None and np.shape(result.std) != image.shape:
        raise PluginError(
            f"plugin {method.name!r} returned an image {image.shape} with a std {np.shape(result.std)}"
        )
    for name, array in (("image", image), ("std", result.std)):
        if array is not None and not np.isfinite(array).all():
            raise PluginError(f"plugin {method.name!r} returned values that are not finite ({name})")
    std = None if result.std is None else np.asarray(result.std, np.float32)
    return replace(result, image=image.astype(np.float32, copy=False), std=std)
