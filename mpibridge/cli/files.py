"""Commands on files: info, validate, convert, match."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from mpibridge import settings
from mpibridge.cli.application import File, Scan, app, refuse_inputs, say, show, tabulate


@app.command()
def info(file: File) -> None:
    """What is in a file: kind, sequence, frames, receivers, grid, SNR, provenance."""
    from mpibridge.files import open
    from mpibridge.summary import summarize

    table = Table.grid(padding=(0, 2))
    for section, rows in summarize(open(file)).items():
        table.add_row(f"[bold]{section}[/bold]")
        for question, answer in rows:
            table.add_row(f"  {question}", answer.replace("[", r"\["))
    tabulate(table)


@app.command()
def validate(file: File) -> None:
    """Compare a file with the MDF 2.1 specification; exit code 1 if they differ."""
    from mpibridge.files import validate

    problems = validate(file)
    for problem in problems:
        show(str(problem))
    if problems:
        raise typer.Exit(1)
    show(f"{file}: no problem found")


@app.command(epilog="Example: mpibridge convert image.mdf image.nii.gz")
def convert(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="an MDF, NetCDF or IMT file, or a Bruker folder")
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="TARGET", help="file to write: .mdf, .nii, .nii.gz, .nc, .png, .pdf, .svg or .jpg"
        ),
    ],
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="for MDF an option of MPIFiles.jl saveasMDF (SNRThresh=2.0), for a picture one of plot.draw (view=slices)",
        ),
    ] = None,
) -> None:
    """Write a file in another format: MDF, NIfTI, NetCDF or a picture, as its name says.

    Bruker folders, IMT files and options of saveasMDF need Julia.
    """
    from mpibridge.files import convert

    refuse_inputs(target, [source])
    convert(source, target, **settings.parse_assignments(assignments or ()))
    show(target)


@app.command()
def match(
    scan: Scan,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="where the calibrations are")],
) -> None:
    """Find the calibration of a scan; exit code 1 if none fits."""
    from mpibridge.matching import find_calibration

    matches = find_calibration(scan, folder)
    table = Table(box=None, pad_edge=False)
    table.add_column("calibration", overflow="fold")
    for heading in ("fits", "likeness"):
        table.add_column(heading, no_wrap=True)
    table.add_column("why not", overflow="fold")
    for found in matches:
        why = "; ".join(found.reasons).replace("[", r"\[")
        path = str(found.path.relative_to(folder)).replace("[", r"\[")
        table.add_row(path, "yes" if found.fits else "no", f"{found.score:.2f}", why)
    tabulate(table)
    if not any(found.fits for found in matches):
        say(f"no calibration in {folder} fits {scan}")
        raise typer.Exit(1)
