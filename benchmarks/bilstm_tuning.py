"""How far trained weights of `bilstm` carry to another sequence: tuned for a few minutes, and trained as long from scratch.

    python benchmarks/bilstm_tuning.py --out runs/bilstm/tuning --card       # ten minutes on one core

The sequence of Open MPI, 12 mT instead of 20, phantoms that are no digits.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from bilstm_methods import row
from card import put, table

import mpibridge as mb
from mpibridge import registry
from mpibridge import weights as trained
from mpibridge.errors import MPIBridgeError
from mpibridge.execution import build_network, execute
from mpibridge.plugin import make_settings
from mpibridge.progress import silent
from mpibridge.training import Simulated, Training

CARD = Path(__file__).parent.parent / "plugins/mpibridge_plugins/bilstm/README.md"
GRID = mb.Grid((40, 40, 1), (24e-3, 24e-3, 1e-3))
FAMILIES = ("vessels", "tumours", "dots")
PREPROCESSING = mb.Preprocessing(grid=GRID, background="mean")


def data(snr: tuple[float, float]) -> Simulated:
    return Simulated("openmpi-2d", families=FAMILIES, snr=snr, finer=2)


def measured(path: Path) -> dict[str, str]:
    """The images that weights make of pairs that are in no batch, at 20 dB."""
    cls, found = registry.load("bilstm"), trained.read(path)
    problem, truth = data((20, 20)).pairs(cls, PREPROCESSING, 0).test(0, 192)  # type: ignore[misc]
    method: Any = cls(make_settings(cls, trained.with_network(cls, {}, found)))
    method.network = build_network(method, problem)
    found.load_into(method.network)
    images = execute(method, problem, generator=np.random.default_rng(0), report=silent).image
    shown = truth.any((1, 2, 3))
    return row(images[shown], truth[shown])


def main(
    out: Annotated[Path, typer.Option(help="folder for the two runs")],
    weights: Annotated[Path | None, typer.Option(help="to start from; default: those of the package")] = None,
    steps: Annotated[int, typer.Option(help="of both runs")] = 800,
    card: Annotated[bool, typer.Option(help="write the table into the model card, too")] = False,
) -> None:
    """Tune, train from scratch, compare."""
    if weights is None:
        weights = next(w.path for w in trained.available("bilstm") if isinstance(w, trained.Weights))
    training = Training(steps=steps, batch=32, learning_rate=2e-3, evaluate=0)
    rows = []
    for name, start in (("tuned", weights), ("from scratch", None)):
        made = mb.train(
            "bilstm",
            data=data((10, 30)),
            out=out / name.replace(" ", "-"),
            training=training,
            preprocessing=PREPROCESSING,
            weights=start,
            device="cpu",
            mirrored=True,
        )
        minutes = made.header.training["seconds"] / 60
        rows.append({"weights": name, "steps": steps, "minutes": f"{minutes:.0f}", **measured(made.path)})
    print(table(rows))
    if card:
        put(CARD, {"tuning": table(rows)})


if __name__ == "__main__":
    try:
        typer.run(main)
    except MPIBridgeError as error:
        sys.exit(f"error: {error}")
