"""Smaller measurements of `deblur`: what its choices are worth, a second scene, turned scans, seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from card import table
from deblur_bed import CHOICE, CHOOSING, FINER, GRID, header, phantom, second_scene
from deblur_run import Measurement, recommended
from deblur_tables import mean, said
from scipy.ndimage import rotate

from mpibridge import registry, weights
from mpibridge.execution import build_network, execute
from mpibridge.metrics import psnr
from mpibridge.progress import silent
from mpibridge.xspace import forward, gridding

VARIANTS: dict[str, dict[str, Any]] = {
    "ℓ1 + gradients (default)": {},
    "ℓ1 alone": {"perceptual": "none"},
    "ℓ1 + random features": {"perceptual": "random"},
    "no ℓ2 start": {"l2_steps": 0},
    "ℓ2 to the end": {"l2_steps": 10**6},
    "scans stay on the scene": {"beyond": 0.0},
    "SNR 1.5 to 30": {"snr": (1.5, 30.0)},
    "surround of 35 pixels": {"surround": 35},
    "one halving, 24 channels": {"halvings": 1, "width": 24},
}
"""Trained at SNR 10 unless said otherwise, seed 0, and judged on the phantoms and noise that settings are chosen by."""


def ablation(made: Measurement) -> str | None:
    """What the choices are worth, on phantoms and noise that settings are chosen by: PSNR in dB."""
    rows: list[dict[str, Any]] = []
    problems = {
        (n, s): made.bed.problem(made.bed.measured(n, s, 20, CHOICE))
        for n in CHOOSING
        for s in (5.0, 10.0, 20.0)
    }

    def row(title: str, found: weights.Weights, **settings: Any) -> None:
        scores = {
            (n, s): made.bed.scores(made.images(found, problem, **settings), n).mean()
            for (n, s), problem in problems.items()
        }
        rows.append(
            {"variant": title, "steps": str(found.header.training["steps"])}
            | {
                f"SNR {snr:g}": f"{np.mean([v for (_, s), v in scores.items() if s == snr]):.2f}"
                for snr in (5.0, 10.0, 20.0)
            }
        )

    for i, (title, settings) in enumerate(VARIANTS.items()):
        found = made.model("10-0" if not settings else f"variant-{i}", **({"snr": 10.0} | settings))
        if found is None:
            return None
        row(title, found)
    if (found := recommended()) is not None:
        for n in (1, 4, 8):
            row(f"recommended, symmetries={n}", found, symmetries=n)
        for n in (10, 20, 40, 80):
            row(f"recommended, consistency_steps={n}", found, data_consistency=True, consistency_steps=n)
    return table(rows)


def on_the_second_scene(made: Measurement, n: int = 40) -> str | None:
    """PSNR on crops of a second scene with forks: signal from outside of the field of view, which only some methods expect."""
    found = recommended()
    if found is None:
        return None
    scans = second_scene(n)
    truth = scans.target[:, 0]
    rows = []
    for snr in (5.0, 10.0, 20.0):
        problem = scans.problem(made.bed.peak / snr)
        images = problem.images
        row = {"SNR": f"{snr:g}"}
        results = {
            "deblur": made.images(found, problem),
            "deblur, data consistency": made.images(found, problem, data_consistency=True),
            "mean image, best factor of each": images.mean(1)[:, 0]
            * np.array(
                [(t * i).sum() / (i**2).sum() for t, i in zip(truth, images.mean(1)[:, 0], strict=True)]
            )[:, None, None],
            "all zero": 0 * truth,
        }
        for name, values in results.items():
            row[name] = said(mean([psnr(i, t) for i, t in zip(values, truth, strict=True)]))
        rows.append(row)
    return table(rows)


def turned(made: Measurement) -> str | None:
    """Largest difference, over the largest value, between the image of a turned phantom and the turned image; no noise."""
    found = recommended()
    if found is None:
        return None
    fine, built = GRID.resized(FINER), made.bed.gridding
    look_up = forward.interpolation(fine, built.position)
    assert built.gradient is not None
    drawn = phantom("lambda")

    def image(picture: np.ndarray) -> np.ndarray:
        fields = forward.convolved_fields(picture, fine, made.bed.beta * float(built.gradient[0]))
        signals = forward.sample(fields, look_up, built.rate).astype(np.float32)
        return made.images(found, made.bed.problem(signals[None]))[0]

    upright = drawn.rendered(fine, 1).values[0]
    one, rows = image(upright), []
    changes = {
        "mirrored in x": (upright[:, ::-1], one[:, ::-1]),
        "mirrored in y": (upright[::-1], one[::-1]),
        "turned by 180°": (upright[::-1, ::-1], one[::-1, ::-1]),
        "twice the concentration": (2 * upright, 2 * one),
    }
    for angle in (90, 45, 20):
        other = drawn.moved(angle=np.deg2rad(angle)).rendered(fine, 1).values[0]
        # Rows count upwards: what turns from x towards y turns the array the other way round.
        changes[f"turned by {angle}°"] = (other, rotate(one, -angle, reshape=False, order=3))
    for name, (picture, wanted) in changes.items():
        made_ = image(picture)
        rows.append(
            {
                "phantom": name,
                "largest difference / maximum": f"{abs(made_ - wanted).max() / wanted.max():.1e}",
                "‖difference‖ / ‖image‖": f"{np.linalg.norm(made_ - wanted) / np.linalg.norm(wanted):.1e}",
            }
        )
    return table(rows)


def speed(made: Measurement) -> str:
    """Seconds for one image on two threads, best of three; the published network is not trained."""
    torch.set_num_threads(2)
    rows = []
    for size, grid in (("compact", GRID), ("published", GRID.resized((280, 280)))):
        seconds: dict[str, float] = {}

        def timed(name: str, call: Callable[[], Any], seconds: dict[str, float] = seconds, n: int = 3) -> Any:
            times = []
            for _ in range(n):
                started = time.perf_counter()
                result = call()
                times.append(time.perf_counter() - started)
            seconds[name] = min(times)
            return result

        head = header(grid)
        built = timed("map, once", lambda h=head, g=grid: gridding(h, g, n_receivers=2), n=1)
        signals = made.bed.signals["lambda"].astype(np.float32)[None, None]
        problem = timed("gridding", lambda b=built, s=signals: b(s).problem())
        cls = registry.load("deblur")
        for n in (1, 4):
            method = cls(cls.Settings(size=size, symmetries=n))
            method.network = build_network(method, problem)
            timed(
                f"network, symmetries={n}",
                lambda m=method, p=problem: execute(m, p, generator=np.random.default_rng(0), report=silent),
            )
        rows.append(
            {
                "size": f"{size}, {grid.size[0]} × {grid.size[1]}",
                "threads": str(torch.get_num_threads()),
                **{f"{name} (s)": f"{value:.3f}" for name, value in seconds.items()},
            }
        )
    return table(rows)
