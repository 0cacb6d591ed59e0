"""Every method on every scan: fidelity per image, gains over the tuned baseline, seconds and memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mpibridge import registry
from mpibridge import weights as trained
from mpibridge.errors import SettingsError
from mpibridge.execution import build_network, execute, n_frames, take_frames
from mpibridge.metrics import nrmse, per_image, psnr, ssim
from mpibridge.plugin import Plugin, Report, TrainablePlugin, make_settings
from mpibridge.progress import silent
from mpibridge.protocol.bed import Bed
from mpibridge.protocol.methods import Method
from mpibridge.protocol.tuning import Tuned, tune

METRICS: Mapping[str, Callable[..., float]] = {"PSNR": psnr, "SSIM": ssim, "NRMSE": nrmse}
"""PSNR in dB with the peak of each truth, SSIM with the range of each truth, NRMSE by norm; nothing is scaled."""
BATCH = 64
"""Frames of the second timing."""
SAMPLE_SECONDS = 2e-3
EXAMPLES = 1
"""Images per family that are kept for pictures."""


@dataclass(frozen=True)
class Score:
    """One method on one group of scans. metrics: by name, one value per image. families: of the images."""

    method: str
    snr: float
    group: str
    settings: Mapping[str, Any]
    families: Sequence[str]
    metrics: Mapping[str, np.ndarray]
    examples: np.ndarray
    """(image, z, y, x) of the first images of every family."""
    at_edge: Sequence[str] = ()


@dataclass(frozen=True)
class Cost:
    """Seconds per image of one frame and in a batch of `BATCH` frames, and bytes that the batch took at its peak."""

    method: str
    seconds: float
    seconds_in_batch: float
    memory: int


@dataclass(frozen=True)
class Outcome:
    """What a run of the protocol found. examples: truths by group. weights: what trained methods used. facts: of the run."""

    scores: list[Score]
    costs: list[Cost]
    truths: Mapping[str, np.ndarray]
    weights: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def evaluate(
    bed: Bed,
    methods: Sequence[Method],
    snr: Sequence[float],
    *,
    device: str = "cpu",
    report: Report = silent,
) -> Outcome:
    """Tune every method on the tuning scans of each noise level, then measure it on the test scans.

    Raises WeightsError if a trained method has no weights for this acquisition, SettingsError if its weights were trained on a
    family that is called unseen.
    """
    scores: list[Score] = []
    costs: list[Cost] = []
    truths: dict[str, np.ndarray] = {}
    at_hand = {m.name: found for m in methods if (found := _weights(m, bed)) is not None}
    for level in snr:
        drawn: dict[tuple[type, str], Scans] = {}
        for done, method in enumerate(methods):
            report(done, len(methods), f"{method.name} at {level:g} dB")
            cls = registry.load(method.plugin)
            scans = {}
            for stream in ("tuning", *bed.groups):
                if (cls.takes, stream) not in drawn:
                    drawn[cls.takes, stream] = bed.draw(cls, stream, level)
                scans[stream] = drawn[cls.takes, stream]
            run = _runner(method, at_hand.get(method.name), bed.seed, device)
            tuned = _tuned(method, run, scans["tuning"], report)
            for group in bed.groups:
                problem, truth, families = scans[group]
                images = run(problem, tuned.settings)
                kept = _examples(families)
                truths[group] = truth[kept]
                scores.append(
                    Score(
                        method.name,
                        float(level),
                        group,
                        tuned.settings,
                        families,
                        {name: per_image(metric, images, truth) for name, metric in METRICS.items()},
                        images[kept],
                        tuned.at_edge,
                    )
                )
            if level == snr[0]:
                costs.append(_cost(method.name, scans["in family"][0], lambda p: run(p, tuned.settings)))  # noqa: B023
    said = {name: _about(found) for name, found in at_hand.items()}
    return Outcome(scores, costs, truths, said, _facts(bed, methods, snr, device))


Scans = tuple[Any, np.ndarray, list[str]]
"""A problem, the truth, and the family of every frame."""
Run = Callable[[Any, Mapping[str, Any]], np.ndarray]


def _runner(method: Method, found: trained.Weights | None, seed: int, device: str) -> Run:
    cls = registry.load(method.plugin)

    def run(problem: Any, settings: Mapping[str, Any]) -> np.ndarray:
        plugin: Plugin[Any] = cls(make_settings(cls, settings))
        if isinstance(plugin, TrainablePlugin) and found is not None:
            plugin = type(plugin)(make_settings(cls, trained.with_network(type(plugin), settings, found)))
            plugin.network = build_network(plugin, problem)
            found.load_into(plugin.network)
        result = execute(plugin, problem, generator=np.random.default_rng(seed), report=silent, device=device)
        return result.image

    return run


def _tuned(method: Method, run: Run, scans: Scans, report: Report) -> Tuned:
    """The settings with the highest mean PSNR on the tuning scans."""
    if not method.grid:
        return Tuned(dict(method.settings), np.nan, [])
    problem, truth, _ = scans

    def score(settings: Mapping[str, Any]) -> float:
        return float(per_image(psnr, run(problem, settings), truth).mean())

    return tune(method, score, report=report)


def _weights(method: Method, bed: Bed) -> trained.Weights | None:
    cls = registry.load(method.plugin)
    if not issubclass(cls, TrainablePlugin):
        return None
    found = trained.find(cls, bed.facts.acquisition, method.settings, method.weights)
    known = found.header.data.get("families", ())
    if both := sorted(set(known) & set(bed.unseen)):
        raise SettingsError(
            f"{found.path} was trained on {both}, which this comparison calls unseen; name other families"
        )
    return found


def _facts(bed: Bed, methods: Sequence[Method], snr: Sequence[float], device: str) -> dict[str, Any]:
    import platform

    import mpibridge

    return {
        "data": dict(bed.facts.description),
        "acquisition": None if bed.facts.acquisition is None else bed.facts.acquisition.plain(),
        "preprocessing": bed.preprocessing.plain(),
        "families": bed.groups,
        "images per group": bed.n,
        "snr": [float(level) for level in snr],
        "seed": bed.seed,
        "methods": {method.name: method.plugin for method in methods},
        "device": device,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "version": mpibridge.__version__,
    }


def _about(found: trained.Weights) -> dict[str, Any]:
    header = found.header
    return {"file": found.path.name, "data": dict(header.data), "training": dict(header.training)}


def _examples(families: Sequence[str]) -> list[int]:
    """Positions of the first `EXAMPLES` images of every family."""
    return [i for i, name in enumerate(families) if list(families[:i]).count(name) < EXAMPLES]


def _cost(name: str, problem: Any, run: Callable[[Any], object]) -> Cost:
    one, many = take_frames(problem, slice(0, 1)), take_frames(problem, slice(0, BATCH))
    run(one)  # what compiles, compiles
    seconds = min(_timed(run, one) for _ in range(3))
    with _peak_memory() as peak:
        in_batch = _timed(run, many) / n_frames(many)
    return Cost(name, seconds, in_batch, peak[0])


def _timed(run: Callable[[Any], object], problem: Any) -> float:
    start = time.perf_counter()
    run(problem)
    return time.perf_counter() - start


@contextmanager
def _peak_memory() -> Iterator[list[int]]:
    """Largest growth of the process in bytes while the context is open, sampled every 2 ms; set when it closes."""
    import psutil

    process = psutil.Process()
    before, peak, closed = process.memory_info().rss, [0], threading.Event()

    def watch() -> None:
        while not closed.wait(SAMPLE_SECONDS):
            peak[0] = max(peak[0], process.memory_info().rss - before)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        closed.set()
        watcher.join()
