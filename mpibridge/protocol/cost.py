"""What a method costs: seconds per image, and memory in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from mpibridge import registry
from mpibridge import weights as trained
from mpibridge.execution import execute, n_frames, take_frames
from mpibridge.progress import silent
from mpibridge.protocol.methods import Method

BATCH = 64
"""Frames of a batch."""
REPEATS = 3


@dataclass(frozen=True)
class Cost:
    """Seconds per image of one frame and in a batch of `BATCH` frames; bytes that the batch takes.

    memory: what a fresh process, or the GPU, holds at its peak above what it held after one frame, code that is compiled on
    first use included.
    """

    method: str
    seconds: float
    seconds_in_batch: float
    memory: int


@dataclass(frozen=True)
class Trial:
    """A method with its settings, ready to run anywhere."""

    method: Method
    weights: trained.Weights | None
    settings: Mapping[str, Any]
    seed: int
    device: str

    def run(self, problem: Any) -> np.ndarray:
        return run_method(self.method, self.weights, self.seed, self.device, problem, self.settings)


def run_method(
    method: Method,
    found: trained.Weights | None,
    seed: int,
    device: str,
    problem: Any,
    settings: Mapping[str, Any],
) -> np.ndarray:
    """Images (frame, z, y, x) of a problem."""
    plugin = trained.build_method(registry.load(method.plugin), settings, problem, found)
    generator = np.random.default_rng(seed)
    return execute(plugin, problem, generator=generator, report=silent, device=device).image


def cost(trial: Trial, problem: Any) -> Cost:
    """The cost of a method on the first frames of a problem."""
    one, many = take_frames(problem, slice(0, 1)), take_frames(problem, slice(0, BATCH))
    trial.run(one)  # what compiles, compiles
    seconds = min(_timed(trial, one) for _ in range(REPEATS))
    in_batch = _timed(trial, many) / n_frames(many)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        memory = alone.submit(peak_memory, trial, one, many).result()
    return Cost(trial.method.name, seconds, in_batch, memory)


def peak_memory(trial: Trial, one: Any, many: Any) -> int:
    """Bytes at the peak of ``many`` frames above those after ``one``; meant for a process that did nothing else."""
    trial.run(one)
    if trial.device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats(trial.device)
        before = torch.cuda.memory_allocated(trial.device)
        trial.run(many)
        return torch.cuda.max_memory_allocated(trial.device) - before
    before = _high_water(reset=True)
    trial.run(many)
    return max(0, _high_water() - before)


def _high_water(*, reset: bool = False) -> int:
    """Bytes of memory this process held at its peak; reset: since now. Elsewhere than on Linux the peak is never reset."""
    status, references = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not references.exists():
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if reset:
        references.write_text("5")  # proc(5): the peak becomes what is held now
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def _timed(trial: Trial, problem: Any) -> float:
    start = time.perf_counter()
    trial.run(problem)
    return time.perf_counter() - start
