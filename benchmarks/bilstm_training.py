"""Train `bilstm` on all digits but 5, scanned by the preset `mnist-2d`: the weights that are shipped come from here.

    python benchmarks/bilstm_training.py --out runs/bilstm/first                     # 5 to 25 dB, 40 minutes on one CPU core
    python benchmarks/bilstm_training.py --out runs/bilstm/second --weights runs/bilstm/first --copies 4 --learning-rate 2e-3
    python benchmarks/bilstm_training.py --out runs/bilstm/20dB --snr 20 --weights runs/bilstm/second --steps 2000 --learning-rate 1e-3
    python benchmarks/bilstm_training.py --out runs/bilstm/published --size published --device cuda --batch 64

What is shipped was trained in four parts; the commands stand in the card.

A run that was killed goes on when the same command is given again. OMP_NUM_THREADS=1 is best on a CPU that others use, too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from bilstm_digits import Originals, training_data
from steps import printed

import mpibridge as mb
from mpibridge.errors import MPIBridgeError


def main(
    out: Annotated[Path, typer.Option(help="folder of the run; one that stopped goes on")],
    snr: Annotated[str, typer.Option(help="dB, one number or LOW,HIGH")] = "5,25",
    steps: Annotated[int, typer.Option(help="updates of the weights")] = 6000,
    batch: Annotated[int, typer.Option(help="frames per step")] = 32,
    learning_rate: Annotated[float, typer.Option(help="of AdamW at its highest")] = 3e-3,
    average: Annotated[float, typer.Option(help="decay of the moving average of the weights")] = 0.999,
    schedule: Annotated[str, typer.Option(help="cosine, or constant: the run may grow")] = "cosine",
    validate_every: Annotated[int, typer.Option(help="steps between checkpoints")] = 250,
    copies: Annotated[
        int, typer.Option(help="deformed copies of every original beside it, for half of the pairs")
    ] = 0,
    surrogate_weight: Annotated[float, typer.Option(help="of the loss of the values along the path")] = 0.1,
    mirrored: Annotated[bool, typer.Option(help="mirrored scans, too, and means over them")] = True,
    weights: Annotated[Path | None, typer.Option(help="start from these")] = None,
    digits: Annotated[
        Path | None, typer.Option(help="mnist.npz, or a folder of test_images.mat, test_labels.mat")
    ] = None,
    size: Annotated[str, typer.Option(help="compact or published")] = "compact",
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:0")] = "cpu",
    seed: Annotated[int, typer.Option(help="of network, data and loss")] = 0,
    without_trajectory: Annotated[bool, typer.Option(help="a network that does not know the path")] = False,
) -> None:
    """Train and say how good the weights are on originals that are in no batch."""
    low, _, high = snr.partition(",")
    settings: dict[str, Any] = {} if weights else {"size": size, "trajectory": not without_trajectory}
    settings |= {"mirrored": mirrored, "surrogate_weight": surrogate_weight}

    made = mb.train(
        "bilstm",
        data=training_data(Originals.of(digits), (float(low), float(high or low)), copies=copies),
        out=out,
        training=mb.Training(
            steps=steps,
            batch=batch,
            learning_rate=learning_rate,
            average=average,
            schedule=schedule,
            validate_every=validate_every,
            evaluate=256,
            licence="MIT",
        ),
        weights=weights,
        device=device,
        seed=seed,
        progress=printed(),
        **settings,
    )
    print(made.path, made.header.metrics)


if __name__ == "__main__":
    try:
        typer.run(main)
    except MPIBridgeError as error:
        sys.exit(f"error: {error}")
