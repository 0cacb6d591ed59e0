"""Commands on learning: train."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mpibridge import settings
from mpibridge.cli.application import app, say, show
from mpibridge.cli.options import TakesSettings, preprocessing_flags, settings_flags
from mpibridge.errors import SettingsError
from mpibridge.plugin import Report
from mpibridge.preprocessing import Preprocessing
from mpibridge.training.settings import Training


@app.command(
    cls=TakesSettings,
    epilog="Example: mpibridge train NAME --data openmpi-2d --out runs/NAME --steps 20000 --snr-threshold 5",
)
@preprocessing_flags
@settings_flags(Training, "training", lambda values: Training(**values))
def train(
    plugin: Annotated[str, typer.Argument(metavar="NAME", help="method: see 'mpibridge plugins'")],
    data: Annotated[
        str, typer.Option("--data", "-d", help="a preset of the simulator, or MDF file of a calibration")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder of the run; one that stopped goes on")],
    families: Annotated[
        str | None,
        typer.Option(help="phantoms to draw, separated by commas, e.g. vessels,blobs; default: all"),
    ] = None,
    snr: Annotated[
        str, typer.Option(metavar="LOW,HIGH", help="dB, drawn uniformly for every frame")
    ] = "10,30",
    finer: Annotated[
        int | None, typer.Option(help="phantoms are drawn on a grid this much finer; default: the preset's")
    ] = None,
    validation: Annotated[int, typer.Option(help="pairs that are held out")] = 256,
    weights: Annotated[
        Path | None, typer.Option(help="start from these: a file, or the folder of a run")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="a setting of the plugin: see 'mpibridge plugins NAME'"
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:0")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="of network, data and loss")] = 0,
    *,
    preprocessing: Preprocessing,
    training: Training,
) -> None:
    """Train a method and write its weights. The settings of the plugin are options, too.

    Phantoms are random; a preset scans them with a simulated scanner, a calibration with its system matrix.
    Data of your own: mpibridge.train in Python.

    A run that was stopped goes on when the same command is given again.
    """
    from mpibridge.training import Simulated
    from mpibridge.training.run import CORRECTED, train

    drawn: dict[str, Any] = {"snr": _range(snr), "finer": finer, "validation": validation}
    if families is not None:
        drawn["families"] = tuple(name.strip() for name in families.split(","))
    try:
        made = train(
            plugin,
            data=Simulated(data, **drawn),
            out=out,
            training=training,
            preprocessing=replace(
                CORRECTED, **{name: getattr(preprocessing, name) for name in preprocessing.plain()}
            ),
            weights=weights,
            device=device,
            seed=seed,
            progress=True if Console(stderr=True).is_terminal else _lines(),
            **settings.parse_assignments(assignments or ()),
        )
    except KeyboardInterrupt as interrupt:
        say(str(interrupt) or "stopped; nothing was trained yet")
        raise typer.Exit(130) from interrupt
    figures = ", ".join(f"{name} {value:.4g}" for name, value in made.header.metrics.items())
    show(
        f"{made.path}: step {made.header.training['step']} of {training.steps}"
        + (f", {figures}" if figures else "")
    )
    show(f"mpibridge reconstruct SCAN.mdf -s CALIBRATION.mdf --plugin {plugin} --weights {out} -o image.mdf")


def _lines() -> Report:
    """A line per validation, for logs: a bar is only seen in a terminal."""
    first: tuple[int, float] | None = None

    def report(done: int, total: int, text: str) -> None:
        nonlocal first
        now = time.monotonic()
        if text.startswith(f"step {done}:"):
            if first is not None:
                text += f", {(total - done) * (now - first[1]) / (done - first[0]):.0f} s left"
            say(text)
        first = first or (done, now)

    return report


def _range(text: str) -> tuple[float, float]:
    found = settings.parse_value(text)
    ends = found if isinstance(found, tuple) else (found, found)
    if len(ends) != 2 or not all(isinstance(end, int | float) for end in ends):
        raise SettingsError(f"snr must be one number or LOW,HIGH in dB, found {text!r}")
    return float(ends[0]), float(ends[1])
