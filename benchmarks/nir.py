"""Everything that the model card of `nir` shows: tables, pictures, when it stops, how long it takes, measured data.

Run: python benchmarks/nir.py --out runs/nir          # an hour and a half on one core; what is done is not done again
     python benchmarks/nir.py --out runs/nir --card   # and put it into the card and docs/
     python benchmarks/nir.py --out runs/nir --only series --device cuda   # 100 frames on a GPU

The measured data (github.com/BUAALGH/ISBI-2026-MPI-Encoding-Array, MIT) are looked for in --encoding-array.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import encoding_array
import matplotlib.pyplot as plt
import numpy as np
import torch
import typer
from card import Parts, put, table
from nir_bed import (
    CHOOSING,
    PHANTOMS,
    Bed,
    at_an_edge,
    bed,
    bicubic,
    finely,
    resampled,
    run,
    tunings,
    volume,
    whitened,
)
from nir_pictures import figure_1, measured, phantoms_picture
from rich.console import Console
from rich.markdown import Markdown

from mpibridge.errors import MPIBridgeError
from mpibridge.metrics import bootstrap, psnr
from mpibridge.plugin import SpectralProblem
from mpibridge.protocol import BASELINES

HOME = Path(__file__).parent.parent
CARD, PICTURES = HOME / "plugins/mpibridge_plugins/nir/README.md", HOME / "docs"
LEVELS = (15.0, 20.0, 25.0, 30.0)
"""dB after row normalisation."""
SEEDS = (1, 2, 3)
"""Of the noise."""
ORACLE = (50, 100, 150, 200, 300, 400)
"""Iterations among which the best stop is looked for, with the truth in view."""
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "plain least squares, ω 7 and 15": {"balance": 0.0, "first": 7.0, "hidden": 15.0},
    "ω 30 and 30": {"first": 30.0, "hidden": 30.0},
    "one point per voxel": {"points": 1},
    "linear values": {"values": "linear"},
    "rows not whitened": {"whiten": False},
    "width 64": {"width": 64},
}
METHODS = {
    "Kaczmarz λ 0.5 × 150 (seed), bicubic": "seed",
    "Kaczmarz tuned, bicubic": "kaczmarz",
    "Tikhonov ≥ 0 tuned, bicubic": "tikhonov",
    "TV ≥ 0 tuned, bicubic": "tv",
    "NIR 29 × 29, bicubic": "native",
    "NIR 116 × 116": "nir",
}
CLASSICAL = ("seed", "kaczmarz", "tikhonov", "tv")


def classical(made: Bed, snr: float) -> dict[str, Any]:
    """PSNR and SSIM (phantom, seed, 2) at 116 × 116 of the classical methods at one noise level, and how they were tuned.

    They have the best of all settings for every phantom and level, with rows as normalised and whitened.
    """
    problem, n = made.scans(PHANTOMS, snr, SEEDS), len(SEEDS)
    at_seed = run("kaczmarz", {"iterations": 150, "regularization": 0.5}, problem)
    scores = {"seed": made.scores(bicubic(at_seed.image), PHANTOMS, n).tolist()}
    norm = float(np.linalg.norm(at_seed.image.reshape(len(problem.rows), -1), axis=1).mean())
    chosen = {}
    for name in BASELINES:
        every, settings = [], []
        for kind, given in (("row norm", problem), ("whitened", whitened(problem, norm))):
            for values in tunings(name):
                image = run(BASELINES[name].plugin, values, given).image
                every.append(made.scores(bicubic(image), PHANTOMS, n))
                settings.append({"rows": kind, **values})
        tried = np.array(every)  # (setting, phantom, seed, 2)
        best = tried[..., 0].mean(2).argmax(0)
        scores[name] = tried[best, np.arange(len(PHANTOMS))].tolist()
        inside = np.array([not at_an_edge(name, each) for each in settings])
        over = tried[..., 0].mean(2).max(0) - tried[inside, ..., 0].mean(2).max(0)
        chosen[name] = [
            {**settings[i], "over_the_best_inside": float(gain)} for i, gain in zip(best, over, strict=True)
        ]
    return {"scores": scores, "chosen": chosen}


def chosen_settings(results: dict[float, Any]) -> str:
    """λ × iterations with which each classical method is shown: the best of each phantom and level.

    At an edge of what was tried: how many dB it has over the best settings that are at none.
    """
    rows = []
    for snr, result in results.items():
        for name, found in result["chosen"].items():
            row = {"SNR (dB)": f"{snr:g}", "method": name}
            for phantom, each in zip(PHANTOMS, found, strict=True):
                gain = each["over_the_best_inside"]
                edge = f", edge {gain:+.2f}" if gain > 0 else ""
                row[phantom] = f"{each['regularization']:g} × {each['iterations']}{edge}"
            rows.append(row)
    return table(rows)


def ours(made: Bed, snr: float) -> dict[str, Any]:
    """The same of `nir`, at 116 × 116 and at 29 × 29 with bicubic interpolation, and how its fits ended."""
    problem, n = made.scans(PHANTOMS, snr, SEEDS), len(SEEDS)
    fit = run("nir", {}, problem)
    return {
        "scores": {
            "native": made.scores(bicubic(fit.image), PHANTOMS, n).tolist(),
            "nir": made.scores(resampled(problem, fit, made.image_grid), PHANTOMS, n).tolist(),
        },
        "iterations": fit.trace["iterations"].tolist(),
        "reached": fit.trace["reached"].tolist(),
    }


def main_table(results: dict[float, Any]) -> str:
    """PSNR in dB / SSIM, means over phantoms (but for the spiral's own column) and noises."""
    rows = []
    for title, name in METHODS.items():
        row: dict[str, Any] = {"method": title}
        for part, which in (("spiral", slice(0, 1)), ("others", slice(1, None))):
            for snr, result in results.items():
                psnr, ssim = np.array(result["scores"][name])[which].mean((0, 1))
                row[f"{part}, {snr:g} dB"] = f"{psnr:.2f} / {ssim:.3f}"
        rows.append(row)
    return table(rows)


def on_the_fine_grid(made: Bed) -> str:
    """TV solved on 116 × 116 voxels, through the mean over every coarse one: the same data and grid as NIR, another prior."""
    rows = []
    for snr in (20.0, 25.0):
        problem = made.scans(PHANTOMS, snr, SEEDS[:1])
        n = len(PHANTOMS)
        norm = float(
            np.linalg.norm(
                run("kaczmarz", {"iterations": 50, "regularization": 0.1}, problem).image.reshape(n, -1),
                axis=1,
            ).mean()
        )
        scores = []
        for values in tunings("tv"):
            if values["iterations"] == 200 and values["regularization"] >= 1e-3:
                image = run("fista", values, finely(whitened(problem, norm))).image
                scores.append(made.scores(image, PHANTOMS, 1)[:, 0])
        every = np.array(scores)  # (λ, phantom, 2)
        best = every[every[..., 0].argmax(0), np.arange(n)]
        fit = run("nir", {}, problem)
        found = made.scores(resampled(problem, fit, made.image_grid), PHANTOMS, 1)[:, 0]
        for name, each in (("TV ≥ 0 on 116 × 116, best λ", best), ("NIR 116 × 116", found)):
            rows.append(
                {
                    "SNR (dB)": f"{snr:g}",
                    "method": name,
                    **{p: f"{v[0]:.2f} / {v[1]:.3f}" for p, v in zip(PHANTOMS, each, strict=True)},
                }
            )
    return table(rows)


def gains(results: dict[float, Any]) -> str:
    """PSNR of NIR at 116 × 116 over the best classical method of every phantom, and over its own native image."""
    rows = []
    for snr, result in results.items():
        scores = {name: np.array(values)[..., 0] for name, values in result["scores"].items()}
        classical = np.stack([scores[name] for name in CLASSICAL])
        best = np.take_along_axis(classical, classical.mean(2).argmax(0)[None, :, None], 0)[0]
        over, own = scores["nir"] - best, scores["nir"] - scores["native"]
        interval = bootstrap(over[1:].mean(1), generator=np.random.default_rng(0))
        rows.append(
            {
                "SNR (dB)": f"{snr:g}",
                **{name: f"{gain.mean():+.2f}" for name, gain in zip(PHANTOMS, over, strict=True)},
                "mean without the spiral (95 %)": f"{over[1:].mean():+.2f} ({interval.low:+.2f} … {interval.high:+.2f})",
                "116 × 116 over 29 × 29 + bicubic": f"{own.mean():+.2f} ({own.min():+.2f} … {own.max():+.2f})",
                "level reached": f"{np.mean(result['reached']):.0%}",
                "iterations": f"{np.median(result['iterations']):.0f}",
            }
        )
    return table(rows)


def stopping(made: Bed) -> str:
    """PSNR lost against the best number of iterations, on phantoms and noises of the table."""
    rows = []
    for snr in LEVELS:
        problem = made.scans(PHANTOMS, snr, SEEDS[:1])

        def scored(problem: SpectralProblem = problem, **settings: Any) -> tuple[np.ndarray, Any]:
            fit = run("nir", settings, problem)
            images = resampled(problem, fit, made.image_grid)
            return made.scores(images, PHANTOMS, 1)[:, 0, 0], fit.trace

        every = np.stack([scored(stop="none", iterations=n)[0] for n in ORACLE])
        row: dict[str, Any] = {
            "SNR (dB)": f"{snr:g}",
            "best numbers of iterations": ", ".join(str(ORACLE[i]) for i in every.argmax(0)),
        }
        for rule in ("discrepancy", "held_out"):
            psnr, trace = scored(stop=rule)
            lost = every.max(0) - psnr
            row[f"{rule}: lost (dB), mean / worst"] = f"{lost.mean():.2f} / {lost.max():.2f}"
            row[f"{rule}: iterations"] = ", ".join(f"{n:.0f}" for n in trace["iterations"])
        rows.append(row)
    return table(rows)


def ablation(made: Bed) -> str:
    """What the choices are worth, on the phantoms that they were made with: PSNR and SSIM against the default."""
    problem = made.scans(CHOOSING, 20.0, SEEDS[:1])
    scores = {}
    for name, settings in VARIANTS.items():
        images = resampled(problem, run("nir", settings, problem), made.image_grid, **settings)
        scores[name] = made.scores(images, CHOOSING, 1)[:, 0]
    default = scores["default"]
    return table(
        [
            {
                "variant": name,
                **{p: f"{v[0]:.2f} / {v[1]:.3f}" for p, v in zip(CHOOSING, found, strict=True)},
                "mean change": ""
                if name == "default"
                else f"{(found - default)[:, 0].mean():+.2f} / {(found - default)[:, 1].mean():+.3f}",
            }
            for name, found in scores.items()
        ]
    )


def speed(problem: SpectralProblem, truth: np.ndarray | None = None) -> str:
    """Seconds and memory of a frame beside Kaczmarz in the same run; with a truth also how near the images are."""
    row: dict[str, Any] = {
        "frame": f"{' × '.join(map(str, problem.grid.shape))}, {problem.rows.shape[1]} rows"
    }
    seconds = {}
    for title, plugin, settings in (
        ("Kaczmarz, 150 sweeps", "kaczmarz", {"iterations": 150, "regularization": 0.5}),
        ("nir", "nir", {}),
    ):
        run(plugin, {**settings, "iterations": 1}, problem)
        started = time.perf_counter()
        result = run(plugin, settings, problem)
        seconds[plugin] = time.perf_counter() - started
        row[f"{title} (s)"] = f"{seconds[plugin]:.2f}"
        if truth is not None:
            row[f"{title}, PSNR (dB)"] = f"{psnr(result.image[0], truth):.2f}"
    row["ratio"] = f"{seconds['nir'] / seconds['kaczmarz']:.0f}"
    row["iterations"] = f"{result.trace['iterations'][0]:.0f}"
    row["residual / level"] = f"{result.trace['residual'][0]:.2f}"
    row["peak memory of the process (GiB)"] = (
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f}"
    )
    row["threads"] = torch.get_num_threads()
    return table([row])


def volume_speed(made: Bed) -> str:
    return speed(made.scans(("blobs",), 25.0, SEEDS[:1]), made.truth["blobs"])


def series(made: Bed, device: str, n: int = 100) -> str:
    """Seconds of a series of frames."""
    one = made.scans(("spiral",), 25.0, range(n))
    started = time.perf_counter()
    fit = run("nir", {}, one, device=device)
    seconds = time.perf_counter() - started
    return table(
        [
            {
                "device": device,
                "frames": n,
                "seconds": f"{seconds:.1f}",
                "iterations, mean": f"{fit.trace['iterations'].mean():.0f}",
            }
        ]
    )


def seed_recipe(made: Bed, iterations: int) -> str:
    """The paper's recipe, as far as the time allows, beside the default on the same scan."""
    problem = made.scans(("spiral",), 20.0, SEEDS[:1])
    rows = []
    for name, settings in (
        ("default", {}),
        ("seed", {"recipe": "seed", "iterations": iterations}),
    ):
        started = time.perf_counter()
        fit = run("nir", settings, problem)
        seconds = time.perf_counter() - started
        images = resampled(problem, fit, made.image_grid, **settings)
        psnr, ssim = made.scores(images, ("spiral",), 1)[0, 0]
        rows.append(
            {
                "recipe": name,
                "iterations": f"{fit.trace['iterations'][0]:.0f}",
                "PSNR (dB) / SSIM, spiral, 20 dB": f"{psnr:.2f} / {ssim:.3f}",
                "residual / level": f"{fit.trace['residual'][0]:.3f}",
                "seconds": f"{seconds:.0f}",
            }
        )
    return table(rows)


def main(
    out: Annotated[Path, typer.Option(help="folder for tables and pictures")],
    card: Annotated[bool, typer.Option(help="put them into the model card and docs/, too")] = False,
    only: Annotated[str | None, typer.Option(help="beginnings of parts, separated by commas")] = None,
    iterations: Annotated[int, typer.Option(help="of the seed's recipe, which has 70000")] = 1000,
    device: Annotated[str, typer.Option(help="of the series: cpu, cuda or cuda:0")] = "cpu",
    frames: Annotated[int, typer.Option(help="of the series")] = 100,
    measured_data: Annotated[
        Path | None, typer.Option("--encoding-array", help="folder of S.mat, b1.mat, b2.mat, b3.mat")
    ] = None,
) -> None:
    """Measure `nir` and write what its card shows. Parts that lie in the folder are not measured again."""
    out.mkdir(parents=True, exist_ok=True)
    made = bed()
    part = Parts(out, None if only is None else set(only.split(",")))
    sections: dict[str, str] = {}

    def drawn(name: str, make: Callable[[], tuple[plt.Figure, str]]) -> Callable[[], str]:
        def with_picture() -> str:
            figure, text = make()
            figure.savefig(out / f"nir-{name}.png", dpi=110)
            return text

        return with_picture

    results = {}
    for snr in LEVELS:
        theirs = part(f"classical-{snr:g}", lambda snr=snr: classical(made, snr))
        found = part(f"nir-{snr:g}", lambda snr=snr: ours(made, snr))
        if theirs and found:
            results[snr] = theirs | found | {"scores": theirs["scores"] | found["scores"]}
    if results:
        sections["table"], sections["gains"] = main_table(results), gains(results)
        sections["chosen"] = chosen_settings(results)
    folder = encoding_array.folder(measured_data)
    parts: dict[str, Callable[[], str]] = {
        "stopping": lambda: stopping(made),
        "fine": lambda: on_the_fine_grid(made),
        "ablation": lambda: ablation(made),
        "figure-1": drawn("figure-1", lambda: figure_1(made)),
        "speed": lambda: speed(made.scans(("spiral",), 20.0, SEEDS[:1])),
        "volume": lambda: volume_speed(volume()),
        "seed": lambda: seed_recipe(made, iterations),
        "series": lambda: series(made, device, frames),
        "phantoms": drawn("phantoms", lambda: (phantoms_picture(made), "")),
    }
    if folder is not None:
        parts["measured"] = drawn("measured", lambda: measured(folder)[::-1])
    for name, make in parts.items():
        text = part(name, make)
        if text:
            sections[name] = text
    for name, text in sections.items():
        Console().print(f"[b]{name}[/b]", Markdown(text))
    if card:
        put(CARD, sections)
        for file in out.glob("nir-*.png"):
            (PICTURES / file.name).write_bytes(file.read_bytes())


if __name__ == "__main__":
    try:
        typer.run(main)
    except MPIBridgeError as error:
        sys.exit(f"error: {error}")
