"""Train `cascade`: the weights that are shipped, those of the ablation, and those for the encoding array.

    python benchmarks/cascade_training.py --out runs/cascade                     # all of `RUNS`
    python benchmarks/cascade_training.py --out runs/cascade --only openmpi-2d --steps 300
    python benchmarks/cascade_training.py --out runs/cascade --only narrowband --steps 2000 --weights runs/cascade/full-joint

Every run has a folder of its name; one that is finished is not trained again, one that was killed goes on. OMP_NUM_THREADS=1 is best on a
CPU that others use, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import encoding_array
import score
import typer
from cascade_bed import training_data
from steps import printed

import mpibridge as mb
from mpibridge import weights as trained
from mpibridge.errors import MPIBridgeError
from mpibridge.preprocessing import Preprocessing
from mpibridge.training import CORRECTED, Simulated, Training
from mpibridge.training.data import Data

ABLATION = 500
"""Steps of every loss and way of training that are compared."""
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "full-joint": {},
    "full-apart": {"stages": "apart"},
    "mse-joint": {"loss": "mse"},
    "mse-apart": {"loss": "mse", "stages": "apart"},
}
MIRRORED = {"symmetries": 4}
"""Of simulated scanners, which are their own mirror images."""
ALIKE = Training(
    batch=16, learning_rate=1.5e-3, warmup=200, validate_every=100, average=0.998, evaluate=128, licence="MIT"
)


@dataclass(frozen=True)
class Run:
    """data: called when it is needed."""

    data: Callable[[], Data]
    training: Training
    settings: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing = CORRECTED


def finished(folder: Path) -> Path | None:
    """The weights of a run, None if it has not come to its end."""
    path = folder / trained.FILE_NAME
    return path if path.exists() and "frames" in trained.read(path).header.metrics else None


def openmpi() -> Data:
    return Simulated("openmpi-2d", families=score.FAMILIES, snr=(10.0, 30.0))


def measured() -> Data:
    """Phantoms through the measured matrix of the encoding array; the file is what a user has."""
    folder = encoding_array.folder()
    if folder is None:
        raise SystemExit(
            "the encoding array is not here; see benchmarks/encoding_array.py for where it is looked for"
        )
    return Simulated(encoding_array.calibration(folder), snr=(20.0, 40.0))


RUNS: Mapping[str, Run] = {
    **{
        name: Run(training_data, replace(ALIKE, steps=ABLATION), {**MIRRORED, **settings})
        for name, settings in VARIANTS.items()
    },
    "narrowband": Run(training_data, replace(ALIKE, steps=4000), MIRRORED),
    "openmpi-2d": Run(openmpi, replace(ALIKE, steps=3000, batch=32), MIRRORED, preprocessing=score.SELECTION),
    "encoding-array": Run(measured, replace(ALIKE, steps=1500, batch=32), {"width": 32, "model_error": 0.03}),
}


def main(
    out: Annotated[Path, typer.Option(help="folder of the runs; those that stopped go on")],
    only: Annotated[str | None, typer.Option(help="names, separated by commas")] = None,
    steps: Annotated[
        int | None, typer.Option(help="updates of the weights; default: those of `RUNS`")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="start from these")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:0")] = "cpu",
) -> None:
    """Train what is not trained yet."""

    for name in RUNS if only is None else only.split(","):
        if name not in RUNS:
            raise SystemExit(f"there is no run {name!r} (known: {', '.join(RUNS)})")
        run = RUNS[name]
        made = mb.train(
            "cascade",
            data=run.data(),
            out=out / name,
            training=run.training if steps is None else replace(run.training, steps=steps),
            preprocessing=run.preprocessing,
            weights=weights,
            device=device,
            progress=printed(name),
            **run.settings,
        )
        print(name, made.header.metrics, flush=True)


if __name__ == "__main__":
    try:
        typer.run(main)
    except MPIBridgeError as error:
        sys.exit(f"error: {error}")
