"""Every method on every scan: fidelity per image, gains over the tuned baseline, seconds and memory."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from mpibridge import registry
from mpibridge import weights as trained
from mpibridge.errors import MPIBridgeWarning, SettingsError
from mpibridge.metrics import nrmse, per_image, psnr, ssim
from mpibridge.plugin import Report, TrainablePlugin
from mpibridge.preprocessing import Preprocessing
from mpibridge.progress import silent
from mpibridge.protocol.bed import Bed
from mpibridge.protocol.cost import Cost, Trial, cost, run_method
from mpibridge.protocol.methods import BASELINE, Method
from mpibridge.protocol.tuning import Tuned, tune

METRICS: Mapping[str, Callable[..., float]] = {"PSNR": psnr, "SSIM": ssim, "NRMSE": nrmse}
"""PSNR in dB with the peak of each truth, SSIM with the range of each truth, NRMSE by norm; nothing is scaled."""
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
    family that is called unseen or if the baseline is missing.
    """
    if BASELINE not in [method.name for method in methods]:
        names = ", ".join(method.name for method in methods)
        raise SettingsError(
            f"every method is compared with {BASELINE}, which is not among {names}; pass protocol.chosen(…), which adds it"
        )
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
            run = partial(run_method, method, at_hand.get(method.name), bed.seed, device)
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
                trial = Trial(method, at_hand.get(method.name), tuned.settings, bed.seed, device)
                costs.append(cost(trial, scans["in family"][0]))
    said = {name: _about(found, bed.preprocessing) for name, found in at_hand.items()}
    return Outcome(scores, costs, truths, said, _facts(bed, methods, snr, device))


Scans = tuple[Any, np.ndarray, list[str]]
"""A problem, the truth, and the family of every frame."""
Run = Callable[[Any, Mapping[str, Any]], np.ndarray]


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


def _about(found: trained.Weights, used: Preprocessing) -> dict[str, Any]:
    """What a reader should know of weights; ``otherwise``: in what the data differ from those of training."""
    header = found.header
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MPIBridgeWarning)
        trained.with_preprocessing(used, header)
    return {
        "file": found.path.name,
        "any": header.acquisition is None,
        "data": dict(header.data),
        "training": dict(header.training),
        "otherwise": [str(warning.message) for warning in caught],
    }


def _examples(families: Sequence[str]) -> list[int]:
    """Positions of the first `EXAMPLES` images of every family."""
    return [i for i, name in enumerate(families) if list(families[:i]).count(name) < EXAMPLES]
