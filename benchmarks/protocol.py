"""Any method against tuned Kaczmarz, TV and Tikhonov on the same simulated scans: table, JSON, pictures, reports.

Run: python benchmarks/protocol.py --snr 15,25 --out runs/protocol
     python benchmarks/protocol.py --data calibration.mdf --methods score --weights score=runs/score --out runs/own

The tables in README and model cards come from here. What the figures mean: docs/comparison.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from mpibridge import protocol
from mpibridge.cli.options import preprocessing_flags
from mpibridge.errors import MPIBridgeError
from mpibridge.preprocessing import Preprocessing
from mpibridge.progress import reporting
from mpibridge.training import Simulated

FAMILIES = "vessels,tumours,blobs,cells,tubes"
UNSEEN = "bars,rings,dots,points,spirals"


@preprocessing_flags
def main(
    out: Annotated[Path, typer.Option(help="folder for table, JSON, pictures and reports")],
    methods: Annotated[
        str, typer.Option(help="plugins, or tikhonov; tuned Kaczmarz is always there")
    ] = "tikhonov,tv",
    data: Annotated[str, typer.Option(help="a preset, or the MDF file of a calibration")] = "openmpi-2d",
    families: Annotated[str, typer.Option(help="that methods were trained on and are tuned for")] = FAMILIES,
    unseen: Annotated[str, typer.Option(help="that they were not")] = UNSEEN,
    snr: Annotated[str, typer.Option(help="dB of the weighted rows, per frame")] = "5,15,25",
    n: Annotated[int, typer.Option(min=1, help="images per group and noise level")] = 100,
    weights: Annotated[
        list[str] | None, typer.Option(metavar="METHOD=PATH", help="of trained methods")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:0")] = "cpu",
    seed: Annotated[int, typer.Option(min=0)] = 1,
    *,
    preprocessing: Preprocessing,
) -> None:
    """Compare methods by the protocol of mpibridge."""
    if not preprocessing.plain():
        preprocessing = Preprocessing(
            min_frequency=80e3, snr_threshold=5, weighting="whitening", system_matrix_background=True
        )
    bed = protocol.Bed(
        Simulated(data, families=tuple(families.split(","))),
        preprocessing,
        tuple(filter(None, unseen.split(","))),
        n=n,
        seed=seed,
    )
    given = dict(pair.split("=", 1) for pair in weights or ())
    taking_part = protocol.chosen(list(filter(None, methods.split(","))), given)
    with reporting(True) as report:
        outcome = protocol.evaluate(
            bed, taking_part, [float(level) for level in snr.split(",")], device=device, report=report
        )
    files = protocol.write(outcome, out, bed.facts.example.grid)
    console = Console()
    console.print(Markdown(protocol.markdown(outcome)))
    for what, path in files.items():
        console.print(f"{what}: {path}")


if __name__ == "__main__":
    try:
        typer.run(main)
    except MPIBridgeError as error:
        sys.exit(f"error: {error}")
