"""Commands without a scanner: simulate, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from mpibridge.cli.application import app, show, tabulate


@app.command()
def simulate(
    preset: Annotated[str, typer.Argument(metavar="PRESET", help="a scanner by name, e.g. openmpi-2d")],
    phantom: Annotated[
        str, typer.Option(help="ell, spiral, lambda, bars, rings, dots, tubes, cubes, …")
    ] = "ell",
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for the files")] = Path("simulated"),
    snr: Annotated[
        float | None,
        typer.Option(help="of a frame in dB (power of the bins that count); default: usual noise"),
    ] = None,
    min_frequency: Annotated[float, typer.Option(min=0, help="Hz: bins that the SNR counts")] = 0.0,
    frames: Annotated[int, typer.Option(min=1)] = 10,
    averages: Annotated[int, typer.Option(min=1, help="periods averaged in a frame")] = 10,
    grid: Annotated[
        int | None,
        typer.Option(min=1, help="voxels along every axis that the preset resolves; default: its own"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of noise and background")] = 0,
) -> None:
    """Simulate a scanner: write a scan of a phantom, its calibration and the phantom itself as MDF files."""
    from mpibridge.files import save
    from mpibridge.progress import reporting
    from mpibridge.simulate import command

    with reporting(True) as report:
        made = command.run(
            preset,
            phantom,
            snr=snr,
            min_frequency=min_frequency,
            n_frames=frames,
            averages=averages,
            voxels=grid,
            seed=seed,
            report=report,
        )
    out.mkdir(parents=True, exist_ok=True)
    for name, dataset in made.items():
        save(out / f"{name}.mdf", dataset)
        show(out / f"{name}.mdf")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="folder for the files")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="of noise and background")] = 0,
) -> None:
    """Simulate a scan and its calibration, reconstruct with five methods, compare with the phantom."""
    from mpibridge.demo import run
    from mpibridge.files import open
    from mpibridge.progress import reporting

    with reporting(True) as report:
        done = run(out, seed=seed, report=report)
    table = Table("plugin", "settings", "NRMSE", "PSNR (dB)", "seconds", box=None, pad_edge=False)
    for outcome in done.outcomes:
        given = ", ".join(f"{name}={value:g}" for name, value in outcome.settings.items())
        figures = (f"{outcome.nrmse:.3f}", f"{outcome.psnr:.1f}", f"{outcome.seconds:.2f}")
        table.add_row(outcome.plugin, given, *figures)
    tabulate(table)
    for what, path in done.files.items():
        show(f"{what}: {path}")
    reopened = open(done.files["image"])
    show(f"reopened {done.files['image']}: {reopened.attrs['kind']} {dict(reopened['concentration'].sizes)}")
