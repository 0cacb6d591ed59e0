"""Train `deblur` on scans of one coded calibration scene: the weights that are shipped come from here.

    python benchmarks/deblur_training.py --out runs/deblur/mixed
    python benchmarks/deblur_training.py --out runs/deblur/published --size published --device cuda --batch 4 --steps 7500

3000 scans train, 300 are held out. A run that was killed goes on when the same command is given again. OMP_NUM_THREADS=1 is best on
a CPU that others use, too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from deblur_bed import GRID, calibration_scans
from steps import printed

import mpibridge as mb
from mpibridge.errors import MPIBridgeError
from mpibridge.plugin import Report
from mpibridge.training import SceneScans

BATCH, LEARNING_RATE, WARMUP, AVERAGE = 8, 1.5e-3, 100, 0.998


def trained(
    scans: SceneScans,
    out: Path,
    snr: float | tuple[float, float],
    steps: int,
    *,
    seed: int = 0,
    batch: int = BATCH,
    device: str = "cpu",
    report: Report | None = None,
    **settings: Any,
) -> mb.weights.Weights:
    """Weights of one run. SNR: the largest voltage of all scans of the scene over σ, or a range of it."""
    return mb.train(
        "deblur",
        data=scans.at(snr),
        out=out,
        training=mb.Training(
            steps=steps,
            batch=batch,
            learning_rate=LEARNING_RATE,
            warmup=WARMUP,
            average=AVERAGE,
            validate_every=max(1, steps // 8),
            evaluate=64,
            licence="MIT",
        ),
        device=device,
        seed=seed,
        progress=report,
        **settings,
    )


def main(
    out: Annotated[Path, typer.Option(help="folder of the run; one that stopped goes on")],
    snr: Annotated[str, typer.Option(help="one number or LOW,HIGH")] = "1.5,30",
    steps: Annotated[int, typer.Option(help="updates of the weights")] = 4000,
    batch: Annotated[int, typer.Option(help="frames per step")] = BATCH,
    size: Annotated[str, typer.Option(help="compact (70 × 70) or published (280 × 280)")] = "compact",
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:0")] = "cpu",
    seed: Annotated[int, typer.Option(help="of network and loss")] = 0,
) -> None:
    """Train and say how good the weights are on held-out scans."""
    low, _, high = snr.partition(",")
    grid = GRID.resized((280, 280)) if size == "published" else GRID

    made = trained(
        calibration_scans(grid=grid),
        out,
        (float(low), float(high)) if high else float(low),
        steps,
        seed=seed,
        batch=batch,
        device=device,
        report=printed(),
        size=size,
    )
    print(made.path, made.header.metrics)


if __name__ == "__main__":
    try:
        typer.run(main)
    except MPIBridgeError as error:
        sys.exit(f"error: {error}")
