"""Who takes part in narrowband imaging: classical methods with the best settings of separate scans, and trained weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cascade_bed import HELD_OUT, OF_TRAINING, RESOLVED, SEEDS, Pairs, Raster, dips, valleys
from cascade_classical import CLASSICAL

from mpibridge import registry
from mpibridge import weights as trained
from mpibridge.execution import build_network, execute
from mpibridge.metrics import per_image, psnr
from mpibridge.plugin import Result, SpectralProblem
from mpibridge.progress import silent

CHOOSING = (0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8)
"""mm: distances that settings are chosen on, as many pairs of each as `N_PAIRS`."""
N_PAIRS, N_IMAGES = 8, 4
"""Pairs of every distance, and images of every family of training, for choosing."""
PURPOSES = ("resolution", "images")


class Cascade:
    """The plugin with weights. It keeps the decomposition of the last system matrix."""

    def start(self, problem: SpectralProblem) -> np.ndarray:
        """Images (frame, z, y, x) without training: what the first stage begins with."""
        made = trained.read(self.path).header.settings
        plugin = registry.load("cascade")
        method = plugin(plugin.Settings(width=made["width"], model_error=made["model_error"]))
        method.network = build_network(method, problem)
        return execute(method, problem, generator=np.random.default_rng(0), report=silent).image

    def __init__(self, path: Path) -> None:
        self.path = path
        self._method: Any = None

    def run(self, problem: SpectralProblem) -> Result:
        if self._method is None:
            self._method = trained.build_method(
                registry.load("cascade"), {}, problem, trained.read(self.path)
            )
        return execute(self._method, problem, generator=np.random.default_rng(0), report=silent)


def chosen(made: Raster, snr: float) -> dict[str, Any]:
    """Settings of every classical method at one noise level, and what was tried.

    For "resolution" they have the highest mean over distances of the share of pairs that are resolved minus that of bars that are
    split; for "images" the highest mean PSNR of the families of training.
    """
    drawn, seed = Pairs.draw(N_PAIRS, "choosing", CHOOSING), SEEDS["choosing"]
    points, bars = made.scans(drawn.points, snr, seed), made.scans(drawn.bars, snr, seed + 1)
    images = made.families(OF_TRAINING, N_IMAGES, snr, "choosing")
    found = {}
    for name, method in CLASSICAL.items():
        of_points, of_bars, of_images = (
            list(method.images(scans.problem)) for scans in (points, bars, images)
        )
        tried = []
        for (settings, a), (_, b), (_, c) in zip(of_points, of_bars, of_images, strict=True):
            resolved = dips(a, drawn.places) <= RESOLVED
            split = valleys(b, drawn.ends) <= RESOLVED
            tried.append(
                {
                    "settings": settings,
                    "resolution": float(resolved.mean() - split.mean()),
                    "images": float(per_image(psnr, c, images.truth).mean()),
                }
            )
        best = {purpose: max(tried, key=lambda t: t[purpose])["settings"] for purpose in PURPOSES}
        edges = {purpose: method.at_edge(settings) for purpose, settings in best.items()}
        found[name] = {"best": best, "at_edge": edges, "tried": tried}
    return found


def every(
    problem: SpectralProblem, settings: Mapping[str, Any], weights: Mapping[str, Cascade], purpose: str
) -> dict[str, np.ndarray]:
    """Images (frame, z, y, x) of all methods by name; of the first weights their start and first stage, too."""
    images = {name: CLASSICAL[name].best(problem, settings[name]["best"][purpose]) for name in CLASSICAL}
    for i, (name, method) in enumerate(weights.items()):
        result = method.run(problem)
        if i == 0:
            images[f"{name}, untrained"] = method.start(problem)
            images[f"{name}, first stage"] = result.trace["preliminary"]
        images[name] = result.image
    return images


def resolution(
    made: Raster, drawn: Pairs, snr: float, settings: Mapping[str, Any], weights: Mapping[str, Cascade]
) -> dict[str, Any]:
    """Dips of pairs and of their bars, by method and, last, of the true images."""
    seed = SEEDS["test"]
    points, bars = made.scans(drawn.points, snr, seed), made.scans(drawn.bars, snr, seed + 1)
    of_points, of_bars = (every(s.problem, settings, weights, "resolution") for s in (points, bars))
    of_points["truth"], of_bars["truth"] = points.truth, bars.truth
    return {
        name: {
            "pairs": dips(of_points[name], drawn.places).tolist(),
            "bars": valleys(of_bars[name], drawn.ends).tolist(),
        }
        for name in of_points
    }


def fidelity(
    made: Raster, snr: float, n: int, settings: Mapping[str, Any], weights: Mapping[str, Cascade]
) -> dict[str, Any]:
    """PSNR of blobs and vessels, ``n`` of each, and the coefficient of variation inside dots, by method."""
    scans = made.families(HELD_OUT, n, snr, "test")
    images = every(scans.problem, settings, weights, "images")
    dots = made.scans(discs(n), snr, SEEDS["test"] + 2)
    filled = dots.truth > 0.999
    found: dict[str, Any] = {}
    for name, values in every(dots.problem, settings, weights, "images").items():
        inside = [image[mask] for image, mask in zip(values, filled, strict=True)]
        found[name] = {
            "psnr": per_image(psnr, images[name], scans.truth).tolist(),
            "variation": [float(v.std() / v.mean()) if v.mean() > 0.1 else np.inf for v in inside],
            "mean": [float(v.mean()) for v in inside],
        }
    return found


def discs(n: int) -> list[Any]:
    """Dots of 0.5 to 0.9 mm with concentration 1."""
    from mpibridge.simulate import phantoms

    generator = np.random.default_rng(SEEDS["test"] + 3)
    return [
        phantoms.points([generator.uniform(-0.8e-3, 0.8e-3, 2)], diameter=generator.uniform(0.5e-3, 0.9e-3))
        for _ in range(n)
    ]
