"""Everything that the model card of `score` shows: tables, pictures, calibration of the uncertainty, measured data.

Run: python benchmarks/score.py --out runs/score          # 20 minutes on 2 cores
     python benchmarks/score.py --out runs/score --card   # and put it into the card, the README and docs/

Weights are those that are shipped, unless --prior and --signal name others. The measured data
(github.com/BUAALGH/ISBI-2026-MPI-Encoding-Array, MIT) are looked for in --encoding-array.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import encoding_array
import matplotlib.pyplot as plt
import numpy as np
import typer
from card import DPI, keep, put, table

from mpibridge import protocol, registry, simulate
from mpibridge import weights as trained
from mpibridge.errors import MPIBridgeError
from mpibridge.execution import execute, n_frames, take_frames
from mpibridge.metrics import psnr
from mpibridge.model import Grid
from mpibridge.plot.style import COLORMAP
from mpibridge.plugin import Result, SpectralProblem, make_settings
from mpibridge.preprocessing import Preprocessing
from mpibridge.progress import reporting, silent
from mpibridge.protocol import GAIN, Method
from mpibridge.simulate.presets import Preset, preset
from mpibridge.training import Simulated

HOME = Path(__file__).parent.parent
CARD, README = HOME / "plugins/mpibridge_plugins/score/README.md", HOME / "README.md"
PICTURES = HOME / "docs"
FAMILIES = ("vessels", "tumours", "blobs", "cells", "tubes", "points", "spirals", "shapes")
UNSEEN = ("bars", "rings", "dots")
SELECTION = Preprocessing(
    min_frequency=80e3, snr_threshold=5, weighting="whitening", system_matrix_background=True
)
LEVELS = (15.0, 25.0, 40.0)
"""dB; the last one is outside of what the signal network was trained for, and far below the error of the matrix."""
GUIDANCES: Mapping[str, Mapping[str, Any]] = {
    "posterior": {"guidance": "posterior"},
    "signal + data step": {"guidance": "signal"},
    "signal": {"guidance": "signal", "data_step": False},
    "regression": {"guidance": "regression"},
}


def other_matrix() -> Preset:
    """The scanner of `openmpi-2d` with another tracer, grid and noise than the weights have seen."""
    base = preset("openmpi-2d")
    particles = simulate.Particles(core_diameter=25e-9, relaxation_time=1e-6)
    return replace(
        base,
        scanner=replace(base.scanner, particles=particles),
        grid=Grid((25, 17, 1), (30e-3, 25.5e-3, 1e-3)),
        noise=simulate.Noise(level=4e-7, knee=200e3, background=4e-6),
    )


def bed(source: str | Preset, n: int) -> protocol.Bed:
    return protocol.Bed(Simulated(source, families=FAMILIES), SELECTION, UNSEEN, n=n)


class Runner:
    """`score` with given weights, on a problem."""

    def __init__(self, weights: Mapping[str, Path | None], acquisition: Any, device: str) -> None:
        self.cls = registry.load("score")
        self.weights, self.acquisition, self.device = weights, acquisition, device

    def method(self, problem: SpectralProblem, settings: Mapping[str, Any]) -> Any:
        path = self.weights["prior" if settings["guidance"] == "posterior" else "signal"]
        found = trained.find(self.cls, self.acquisition, settings, path)
        return trained.build_method(self.cls, settings, problem, found)

    def __call__(self, problem: SpectralProblem, settings: Mapping[str, Any], seed: int = 0) -> Result:
        return self.execute(self.method(problem, settings), problem, seed)

    def execute(self, method: Any, problem: SpectralProblem, seed: int = 0) -> Result:
        generator = np.random.default_rng(seed)
        return execute(method, problem, generator=generator, report=silent, device=self.device)


def calibration(run: Runner, drawn: protocol.Bed) -> list[dict[str, Any]]:
    """How the spread of the samples compares with the error of their mean, over all voxels and where there is tracer."""
    rows = []
    for level in LEVELS[:2]:
        for group in drawn.groups:
            problem, truth, _ = drawn.draw(registry.load("score"), group, level)
            for name in ("posterior", "signal + data step", "signal"):
                for exact in (False, True) if name == "posterior" else (False,):
                    draws = {"exact": True, "positive": False} if exact else {}
                    result = run(problem, {**GUIDANCES[name], **draws, "samples": 8})
                    error, std = np.abs(result.image - truth), result.std
                    peak = truth.max((1, 2, 3), keepdims=True)
                    there = truth > 0.1 * peak
                    rows.append(
                        {
                            "SNR (dB)": f"{level:g}",
                            "group": group,
                            "guidance": name + (", exact" if exact else ""),
                            "rms error": f"{rms(error / peak):.3f}",
                            "rms std": f"{rms(std / peak):.3f}",
                            "error / std": f"{rms(error / peak) / rms(std / peak):.2f}",
                            "error ≤ 2 std where there is tracer": f"{100 * np.mean(error[there] <= 2 * std[there]):.0f} %",
                            "PSNR (dB)": f"{np.mean([psnr(a, b) for a, b in zip(result.image, truth, strict=True)]):.2f}",
                        }
                    )
    return rows


def speed(run: Runner, drawn: protocol.Bed) -> list[dict[str, Any]]:
    """Milliseconds per image with network and decomposition at hand, as in a time series."""
    problem, _, _ = drawn.draw(registry.load("score"), "in family", LEVELS[0])
    rows = []
    for name, settings in GUIDANCES.items():
        method = run.method(problem, settings)
        row = {"guidance": name, "device": run.device}
        for n in (1, 64, 256):
            frames = take_frames(problem, np.arange(n) % n_frames(problem))
            run.execute(method, frames)
            started = time.perf_counter()
            run.execute(method, frames)
            row[f"ms/image, {n} at once"] = f"{1e3 * (time.perf_counter() - started) / n:.3g}"
        rows.append(row)
    return rows


def told(run: Runner, drawn: protocol.Bed) -> list[dict[str, Any]]:
    """What it matters how well the noise is known: exactly, as in the tables; from few background frames; not at all."""
    rows = []
    for level in LEVELS[:2]:
        problem, truth, _ = drawn.draw(registry.load("score"), "in family", level)
        frames = (
            np.random.default_rng(0)
            .standard_normal((4, problem.noise.shape[1], 2))
            .view(np.complex128)[..., 0]
        )
        noises = {
            "known": problem.noise,
            "standard deviation of 4 background frames": problem.noise * frames.std(0, ddof=1),
            "not told": None,
        }
        for said, noise in noises.items():
            row = {"SNR": f"{level:g} dB", "noise": said}
            for name in ("posterior", "signal + data step"):
                image = run(replace(problem, noise=noise), GUIDANCES[name]).image
                row[f"{name}, PSNR (dB)"] = (
                    f"{np.mean([psnr(a, b) for a, b in zip(image, truth, strict=True)]):.2f}"
                )
            rows.append(row)
    return rows


def summary(outcome: protocol.Outcome, levels: Sequence[float] = LEVELS, *, notes: bool = True) -> str:
    """What the protocol measured at some noise levels, in the columns that matter here; its notes below."""
    frame = protocol.table(outcome)
    rows = []
    for _, row in frame[frame["SNR (dB)"].isin(levels)].iterrows():
        low, high = row[f"{GAIN} low"], row[f"{GAIN} high"]
        rows.append(
            {
                "SNR": f"{row['SNR (dB)']:g} dB",
                "families": row["group"],
                "method": row["method"],
                "PSNR (dB)": f"{row['PSNR (dB)']:.2f}",
                "over tuned Kaczmarz (dB)": ""
                if row["method"] == protocol.BASELINE
                else f"{row[GAIN]:+.2f} [{low:+.2f}, {high:+.2f}]",
                "SSIM": f"{row['SSIM']:.3f}",
                "NRMSE": f"{row['NRMSE']:.3f}",
                "ms/image, one / batch of 64": f"{1e3 * row['s/image, one']:.3g} / {1e3 * row['s/image, batch']:.3g}",
                "memory (MiB)": f"{row['memory (MiB)']:.0f}",
            }
        )
    said = ["", *(f"- {note}" for note in protocol.notes(outcome))] if notes else []
    return table(rows) + "".join(f"{line}\n" for line in said)


def families(outcome: protocol.Outcome) -> str:
    """Gains over tuned Kaczmarz, a row per family."""
    frame = protocol.table(outcome, by_family=True)
    rows = []
    for family in dict.fromkeys(frame["group"]):
        row = {"family": family}
        for level in LEVELS[:2]:
            for name in GUIDANCES:
                chosen = frame["group"].eq(family) & frame["method"].eq(name) & frame["SNR (dB)"].eq(level)
                row[f"{name}, {level:g} dB"] = f"{frame.loc[chosen, GAIN].item():+.2f}"
        rows.append(row)
    return table(rows)


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def samples_picture(run: Runner, drawn: protocol.Bed) -> plt.Figure:
    """Truth, four samples, mean, spread and error at 15 dB: one image per group, both guidances."""
    panels = []
    for group, family in (("in family", "vessels"), ("unseen", "rings")):
        problem, truth, families = drawn.draw(registry.load("score"), group, LEVELS[0])
        chosen = families.index(family) + 1
        one = take_frames(problem, slice(chosen, chosen + 1))
        for name in ("posterior", "signal + data step"):
            settings = GUIDANCES[name]
            few = [run(one, {**settings, "samples": 1}, seed).image[0, 0] for seed in range(4)]
            result = run(one, {**settings, "samples": 16})
            mean, std, true = result.image[0, 0], result.std[0, 0], truth[chosen, 0]
            panels.append((f"{family}, {name}", true, few, mean, std, np.abs(mean - true)))
    figure, axes = plt.subplots(len(panels), 8, figsize=(13, 1.75 * len(panels)), layout="constrained")
    titles = ("truth", *(f"sample {i + 1}" for i in range(4)), "mean of 16", "std × 4", "|mean − truth| × 4")
    for i, (row, (label, true, few, mean, std, error)) in enumerate(zip(axes, panels, strict=True)):
        for ax, values, title in zip(row, (true, *few, mean, 4 * std, 4 * error), titles, strict=True):
            ax.imshow(values, origin="lower", vmin=0, vmax=true.max(), cmap=COLORMAP)
            ax.set(xticks=[], yticks=[])
            if i == 0:
                ax.set_title(title, fontsize=9)
        row[0].set_ylabel(label.replace(", ", "\n"), fontsize=8)
    return figure


def measured(run: Runner, folder: Path) -> tuple[list[dict[str, Any]], plt.Figure]:
    """Three measured phantoms: no truth is known, residuals are."""
    problem = encoding_array.problem(folder)
    matrix, rows = problem.operator.matrix, problem.rows
    kaczmarz = registry.load("kaczmarz")
    baseline = kaczmarz(make_settings(kaczmarz, encoding_array.KACZMARZ))
    found = {
        "kaczmarz": execute(baseline, problem, generator=np.random.default_rng(0), report=silent),
        "score": run(problem, {"guidance": "posterior", "samples": 16}),
        "score, model_error=0": run(problem, {"guidance": "posterior", "samples": 16, "model_error": 0.0}),
    }
    noise = (
        found["score, model_error=0"].trace["noise"]
        * np.sqrt(2 * rows.shape[1])
        / np.linalg.norm(rows, axis=1)
    )
    said = []
    for i, name in enumerate(encoding_array.PHANTOMS):
        rest = {
            method: np.linalg.norm(matrix @ result.image[i].ravel() - rows[i]) / np.linalg.norm(rows[i])
            for method, result in found.items()
        }
        said.append(
            {
                "phantom": name,
                "noise, estimated": f"{noise[i]:.3f}",
                **{f"residual of {method}": f"{value:.3f}" for method, value in rest.items()},
            }
        )
    figure, axes = plt.subplots(3, 3, figsize=(5.2, 5), layout="constrained")
    score = found["score"]
    assert score.std is not None
    for i, row in enumerate(axes):
        top = score.image[i].max()
        for ax, values, title in zip(
            row,
            (found["kaczmarz"].image[i, 0], score.image[i, 0], score.std[i, 0]),
            ("kaczmarz", "score", "std of score"),
            strict=True,
        ):
            ax.imshow(values, origin="lower", vmin=0, vmax=top, cmap=COLORMAP)
            ax.set(xticks=[], yticks=[])
            if not i:
                ax.set_title(title, fontsize=9)
        row[0].set_ylabel(encoding_array.PHANTOMS[i])
    return said, figure


def main(
    out: Annotated[Path, typer.Option(help="folder for tables, pictures and reports")],
    card: Annotated[
        bool, typer.Option(help="write them into the model card, the README and docs/, too")
    ] = False,
    prior: Annotated[Path | None, typer.Option(help="weights of the prior")] = None,
    signal: Annotated[Path | None, typer.Option(help="weights for openmpi-2d")] = None,
    n: Annotated[int, typer.Option(help="images per group and noise level")] = 100,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:0")] = "cpu",
    measured_data: Annotated[
        Path | None, typer.Option("--encoding-array", help="folder of S.mat, b1.mat, b2.mat, b3.mat")
    ] = None,
) -> None:
    """Measure `score` and write what its card shows."""
    weights = {"prior": prior, "signal": signal}
    methods = list(protocol.BASELINES.values())
    methods += [
        Method(
            name, "score", settings=settings, weights=weights["prior" if name == "posterior" else "signal"]
        )
        for name, settings in GUIDANCES.items()
    ]
    sections, figures = {}, {}
    ours, theirs = bed("openmpi-2d", n), bed(other_matrix(), n)
    with reporting(True) as report:
        outcome = protocol.evaluate(ours, methods, LEVELS, device=device, report=report)
        protocol.write(outcome, out / "openmpi-2d", ours.facts.example.grid)
        sections["protocol"] = summary(outcome)
        sections["families"] = families(outcome)
        anywhere = [m for m in methods if m.name not in GUIDANCES or m.name == "posterior"]
        elsewhere = protocol.evaluate(theirs, anywhere, LEVELS[:2], device=device, report=report)
        protocol.write(elsewhere, out / "other-matrix", theirs.facts.example.grid)
        sections["other"] = summary(elsewhere)
    run = Runner(weights, ours.facts.acquisition, device)
    sections["speed"] = table(speed(run, ours))
    sections["told"] = table(told(run, ours))
    sections["calibration"] = table(calibration(run, ours))
    figures["score-samples.png"] = samples_picture(run, ours)
    if (folder := encoding_array.folder(measured_data)) is not None:
        said, figures["score-measured.png"] = measured(run, folder)
        sections["measured"] = table(said)
    keep(out, sections, figures)
    if card:
        put(CARD, sections)
        put(README, {"protocol": summary(outcome, LEVELS[:2], notes=False)})
        for name, figure in figures.items():
            figure.savefig(PICTURES / name, dpi=DPI)


if __name__ == "__main__":
    try:
        typer.run(main)
    except MPIBridgeError as error:
        sys.exit(f"error: {error}")
