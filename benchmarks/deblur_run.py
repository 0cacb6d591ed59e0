"""One measurement of `deblur`: what is made once, parts that are kept as JSON, models that are trained and found again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from deblur_bed import PHANTOMS, SNRS, Bed, bed, calibration_scans
from deblur_controls import CONTROLS, Control, controls
from deblur_training import trained
from rich.console import Console
from scipy.ndimage import binary_dilation

from mpibridge import registry, weights
from mpibridge.execution import execute
from mpibridge.plugin import ImageProblem
from mpibridge.progress import silent
from mpibridge.training import SceneScans

STEPS = 1000
"""Of every model of the map and of the ablation."""


class Measurement:
    """What is made once: scans of the scene, the bed, noise. out: folder of the parts, and of the runs."""

    def __init__(self, out: Path, wanted: set[str] | None, draws: int, may_train: bool) -> None:
        self.out, self.wanted, self.draws, self.may_train = out, wanted, draws, may_train

    @cached_property
    def scans(self) -> SceneScans:
        return calibration_scans()

    @cached_property
    def bed(self) -> Bed:
        return bed(self.part("peak", lambda: self.scans.peak))

    @cached_property
    def controls(self) -> list[Control]:
        return controls(self.bed, self.out)

    def part(self, name: str, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, as JSON in the folder; None if it is not asked for or cannot be made yet."""
        file = self.out / f"{name}.json"
        if not file.exists():
            if self.wanted is not None and not name.startswith(("peak", *self.wanted)):
                return None
            started = time.perf_counter()
            value = make()
            if value is None:
                return None
            file.write_text(json.dumps(value, indent=1, ensure_ascii=False))
            Console().print(f"{name}: {time.perf_counter() - started:.0f} s")
        return json.loads(file.read_text())

    def model(
        self,
        name: str,
        snr: float | tuple[float, float],
        seed: int = 0,
        beyond: float | None = None,
        **settings: Any,
    ) -> weights.Weights | None:
        """A model of the map or of the ablation: trained, or found. beyond: None for the usual scans."""
        folder = self.out / "models" / name
        if not (folder / "done").exists():
            if not self.may_train:
                return None
            scans = self.scans if beyond is None else calibration_scans(beyond=beyond)
            trained(scans, folder, snr, STEPS, seed=seed, **settings)
            (folder / "done").touch()
        return weights.read(folder)

    def images(self, found: weights.Weights, problem: ImageProblem, **settings: Any) -> np.ndarray:
        """(draw, y, x) of the plugin."""
        method = weights.build_method(registry.load("deblur"), settings, problem, found)
        return execute(method, problem, generator=np.random.default_rng(0), report=silent).image[:, 0]

    def draws_of(self, phantom: str, snr: float, **settings: Any) -> Callable[[weights.Weights], np.ndarray]:
        """The images of weights for all draws of a phantom's noise."""
        problem = self.bed.problem(self.bed.measured(phantom, snr, self.draws))
        return lambda found: self.images(found, problem, **settings)


def recommended() -> weights.Weights | None:
    """The weights that come with the package."""
    every = (w for w in weights.available("deblur") if isinstance(w, weights.Weights))
    return next((w for w in every if w.origin == "shipped"), None)


def classical(made: Measurement, snr: float) -> dict[str, Any]:
    """PSNR of every draw by control and phantom, and the settings that were chosen, of the controls that are measured."""
    found = {
        name: made.part(f"classical-{snr:g}-{i}", lambda i=i: of_control(made, made.controls[i], snr))
        for i, name in enumerate(CONTROLS)
    }
    return {name: result for name, result in found.items() if result is not None}


def of_control(made: Measurement, control: Control, snr: float) -> dict[str, Any]:
    """Of one control."""
    tuned = control.tuned(made.bed, snr)
    scores = {}
    for name in PHANTOMS:
        images = control.run(made.bed.measured(name, snr, made.draws), **tuned.settings)
        scores[name] = made.bed.scores(images, name).tolist()
    return {"scores": scores, "settings": dict(tuned.settings), "at_edge": list(tuned.at_edge)}


def ours(made: Measurement, snr: float) -> dict[str, Any] | None:
    """The same of the recommended weights, without and with data consistency."""
    found = recommended()
    if found is None:
        return None
    rows = {"deblur": {}, "deblur, data consistency": {"data_consistency": True}}
    return {
        title: {
            "scores": {
                name: made.bed.scores(made.draws_of(name, snr, **settings)(found), name).tolist()
                for name in PHANTOMS
            }
        }
        for title, settings in rows.items()
    }


def of_model(made: Measurement, snr: float, seed: int) -> dict[str, Any] | None:
    """Of one model of the map: PSNR of every draw of the λ, and artefacts, by test SNR."""
    found = made.model(f"{snr:g}-{seed}", snr, seed)
    if found is None:
        return None
    result = {}
    for level in SNRS:
        images = made.draws_of("lambda", level)(found)
        scores = made.bed.scores(images, "lambda")
        result[f"{level:g}"] = {
            "psnr": scores.tolist(),
            "artefacts": artefacts(images, made.bed.truth["lambda"]).tolist(),
        }
    return result


def artefacts(images: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Energy more than three pixels away from the phantom, over the energy of the phantom, (draw,)."""
    outside = ~binary_dilation(truth > 0, iterations=3)
    return (images[:, outside] ** 2).sum(1) / (truth**2).sum()
