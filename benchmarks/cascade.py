"""Everything that the model card of `cascade` shows: resolution, fidelity and uniformity in narrowband imaging, Lissajous scans, measured data.

Run: python benchmarks/cascade.py --out runs/cascade/card --runs runs/cascade          # what is done is not done again
     python benchmarks/cascade.py --out runs/cascade/card --runs runs/cascade --card   # and put it into the card and docs/

Weights come from `benchmarks/cascade_training.py --out runs/cascade`. The measured data
(github.com/BUAALGH/ISBI-2026-MPI-Encoding-Array, MIT) are looked for in --encoding-array.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import encoding_array
import matplotlib.pyplot as plt
import numpy as np
import score
import torch
import typer
from card import DPI, Parts, put, same_as_before, table
from cascade_bed import LEVELS, SEEDS, Pairs, Raster, raster
from cascade_methods import Cascade, chosen, fidelity, resolution
from cascade_pictures import figures_1_and_2, measured, rates_picture
from cascade_tables import (
    SHIPPED,
    ablated,
    ablation_table,
    fidelity_table,
    intervals_table,
    noise_table,
    resolution_table,
    settings_table,
    weights_table,
)
from cascade_training import VARIANTS, finished
from rich.console import Console
from rich.markdown import Markdown

from mpibridge import protocol, registry
from mpibridge import weights as trained
from mpibridge.errors import MPIBridgeError
from mpibridge.execution import execute, take_frames
from mpibridge.progress import reporting, silent
from mpibridge.protocol import Method

HOME = Path(__file__).parent.parent
CARD, PICTURES = HOME / "plugins/mpibridge_plugins/cascade/README.md", HOME / "docs"
LISSAJOUS = (15.0, 25.0)
"""dB."""


def speed_table(made: Raster, drawn: Pairs, weights: Path) -> str:
    """Milliseconds per image with network and decomposition at hand, as in a series; the median of five runs on one thread."""
    torch.set_num_threads(1)
    problem, rows = made.scans(drawn.points[:64], LEVELS[0], 1).problem, []
    for symmetries in (4, 1):
        settings = {"symmetries": symmetries}
        method = trained.build_method(registry.load("cascade"), settings, problem, trained.read(weights))
        row: dict[str, Any] = {"grid": "32 × 32, 1024 rows", "device": "cpu, one thread", **settings}
        for n in (1, 64):
            part, seconds = take_frames(problem, slice(0, n)), []
            for _ in range(6):
                started = time.perf_counter()
                execute(method, part, generator=np.random.default_rng(0), report=silent)
                seconds.append(time.perf_counter() - started)
            row[f"ms/image, {n} at once"] = f"{1e3 * np.median(seconds[1:]) / n:.2g}"
        rows.append(row)
    return table(rows)


def lissajous(weights: Path, out: Path, n: int) -> str:
    """The scans of the card of `score`: the same phantoms, noise and system matrix."""
    base = protocol.BASELINES["kaczmarz"]
    grid = {**base.grid, "iterations": (3, 10, 30, 100, 300, 1000, 3000)}
    methods = [replace(base, grid=grid), Method("cascade", "cascade", weights=weights)]
    bed = score.bed("openmpi-2d", n)
    with reporting(True) as report:
        outcome = protocol.evaluate(bed, methods, LISSAJOUS, report=report)
        protocol.write(outcome, out / "openmpi-2d", bed.facts.example.grid)
    return score.summary(outcome, LISSAJOUS)


def main(
    out: Annotated[Path, typer.Option(help="folder for results, tables and pictures")],
    runs: Annotated[Path, typer.Option(help="folder of cascade_training.py")],
    card: Annotated[bool, typer.Option(help="put them into the model card and docs/, too")] = False,
    only: Annotated[str | None, typer.Option(help="beginnings of parts, separated by commas")] = None,
    pairs: Annotated[int, typer.Option(help="of every distance")] = 50,
    images: Annotated[int, typer.Option(help="of every held-out family, and dots")] = 40,
    n: Annotated[int, typer.Option(help="Lissajous scans per group and noise level")] = 100,
    measured_data: Annotated[
        Path | None, typer.Option("--encoding-array", help="folder of S.mat, b1.mat, b2.mat, b3.mat")
    ] = None,
) -> None:
    """Measure `cascade` and write what its card shows. Parts that lie in the folder are not measured again."""
    out.mkdir(parents=True, exist_ok=True)
    part = Parts(out, None if only is None else set(only.split(",")))
    made, drawn = raster(), Pairs.draw(pairs, "test")
    names = {SHIPPED: "narrowband", **{ablated(name): name for name in VARIANTS}}
    weights = {label: Cascade(path) for label, name in names.items() if (path := finished(runs / name))}
    others = {name: path for name in ("openmpi-2d", "encoding-array") if (path := finished(runs / name))}
    paths = {name: method.path for name, method in weights.items()} | others
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}
    same_as_before(out, {"seeds": SEEDS, "pairs": pairs, "images": images, "scans": n, "weights": digests})
    sections = {"weights": weights_table(paths)}

    def pictured(name: str, figure: plt.Figure) -> None:
        figure.savefig(out / f"cascade-{name}.png", dpi=DPI)

    settings, resolved, faithful = {}, {}, {}
    for snr in LEVELS:
        tuned = part(f"tuning-{snr:g}", lambda snr=snr: chosen(made, snr))
        if tuned is None:
            continue
        settings[snr] = tuned
        a = part(f"resolution-{snr:g}", lambda snr=snr: resolution(made, drawn, snr, settings[snr], weights))
        b = part(f"fidelity-{snr:g}", lambda snr=snr: fidelity(made, snr, images, settings[snr], weights))
        resolved |= {} if a is None else {snr: a}
        faithful |= {} if b is None else {snr: b}
    if settings:
        sections["settings"] = settings_table(settings)
    if resolved:
        few = {snr: {k: v for k, v in found.items() if "apart" not in k} for snr, found in resolved.items()}
        sections["resolution"] = resolution_table(few, drawn.distance)
        sections["intervals"] = intervals_table(
            {snr: {k: v for k, v in found.items() if k != "truth"} for snr, found in few.items()},
            drawn.distance,
        )
        shown = {snr: {k: v for k, v in found.items() if "," not in k} for snr, found in few.items()}
        pictured("rates", rates_picture(shown, drawn.distance))
    if faithful:
        few = {snr: {k: v for k, v in found.items() if "apart" not in k} for snr, found in faithful.items()}
        sections["fidelity"] = fidelity_table(few)
    if resolved and faithful:
        sections["ablation"] = ablation_table(resolved, faithful, drawn.distance)
    for snr in settings:
        name = f"figures-{snr:g}"
        shown = {k: v for k, v in weights.items() if "apart" not in k}

        def both(snr: float = snr, shown: Mapping[str, Cascade] = shown) -> str:
            for i, figure in enumerate(figures_1_and_2(made, snr, settings[snr], shown), 1):
                pictured(f"figure-{i}-{snr:g}dB", figure)
            return ""

        part(name, both)
    folder = encoding_array.folder(measured_data)
    parts: dict[str, Callable[[], str]] = {
        "noise": lambda: noise_table(made, drawn, weights[SHIPPED]),
        "speed": lambda: speed_table(made, drawn, weights[SHIPPED].path),
    }
    if "openmpi-2d" in others:
        parts["lissajous"] = lambda: lissajous(others["openmpi-2d"], out, n)
    if folder is not None and "encoding-array" in others:

        def of_measured() -> str:
            figure, rows = measured(folder, others["encoding-array"])
            pictured("measured", figure)
            return table(rows)

        parts["measured"] = of_measured
    for name, make in parts.items():
        if text := part(name, make):
            sections[name] = text
    for name, text in sections.items():
        Console().print(f"[b]{name}[/b]", Markdown(text))
    if card:
        put(CARD, sections)
        for file in out.glob("cascade-*.png"):
            (PICTURES / file.name).write_bytes(file.read_bytes())


if __name__ == "__main__":
    try:
        typer.run(main)
    except MPIBridgeError as error:
        sys.exit(f"error: {error}")
