"""Everything that the model card of `deblur` shows: the map of training and test SNR, the table beside the controls, pictures.

Run: python benchmarks/deblur.py --out runs/deblur                       # what is done is not done again
     python benchmarks/deblur.py --out runs/deblur --card                # and put it into the card and docs/
     python benchmarks/deblur.py --out runs/deblur --card --no-training  # with the models that are there

The map takes 18 models (six training SNRs, three seeds) of the same number of steps, three minutes each on one core; the ablation eight
more. Models are trained in --out and found there again.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from card import keep, put, same_as_before
from deblur_bed import BEYOND, PHANTOMS, SNRS
from deblur_checks import ablation, on_the_second_scene, speed, turned
from deblur_pictures import figure_3, figure_4
from deblur_run import STEPS, Measurement, classical, of_model, ours, recommended
from deblur_tables import (
    SEEDS,
    TRAINING_SNRS,
    artefact_table,
    chosen,
    label,
    main_table,
    targets,
    the_map,
)
from matplotlib.figure import Figure

from mpibridge import weights
from mpibridge.errors import MPIBridgeError

HOME = Path(__file__).parent.parent
CARD, PICTURES = HOME / "plugins/mpibridge_plugins/deblur/README.md", HOME / "docs"
DRAWS = 100
"""Of the noise, per point."""


def shown(made: Measurement, models: Mapping[str, weights.Weights]) -> Figure:
    """Figure 3: one draw of noise, models by test SNR."""
    levels = (5.0, 10.0, 20.0, 40.0, np.inf)
    problems = [made.bed.problem(made.bed.measured("lambda", snr, 1)) for snr in levels]
    images: dict[str, list[np.ndarray]] = {"mean image, scaled": []}
    for problem in problems:
        raw = problem.images[0, :, 0].mean(0)
        images["mean image, scaled"].append(raw / raw.max())
    for title, found in models.items():
        images[title] = [made.images(found, problem)[0] for problem in problems]
    if (ship := recommended()) is not None:
        images["recommended"] = [made.images(ship, problem)[0] for problem in problems]
        images["recommended, data consistency"] = [
            made.images(ship, problem, data_consistency=True)[0] for problem in problems
        ]
    return figure_3(made.bed.truth["lambda"], images, [f"SNR {label(snr)}" for snr in levels])


def main(
    out: Annotated[Path, typer.Option(help="folder for models, tables and pictures")],
    card: Annotated[bool, typer.Option(help="put them into the model card and docs/, too")] = False,
    only: Annotated[str | None, typer.Option(help="parts to measure, separated by commas")] = None,
    draws: Annotated[int, typer.Option(help="of the noise, per point")] = DRAWS,
    training: Annotated[bool, typer.Option(help="train the models that are missing")] = True,
) -> None:
    """Measure `deblur` and write what its card shows. Parts that lie in the folder are not measured again."""
    out.mkdir(parents=True, exist_ok=True)
    made = Measurement(out, None if only is None else set(only.split(",")), draws, training)
    digest = None if (ship := recommended()) is None else hashlib.sha256(ship.path.read_bytes()).hexdigest()
    same_as_before(out, {"draws": draws, "steps": STEPS, "beyond": BEYOND, "weights": digest})
    sections: dict[str, str] = {}
    pictures: dict[str, Figure] = {}
    results: dict[float, dict[str, Any]] = {}
    for snr in SNRS:
        found = made.part(f"deblur-{snr:g}", lambda snr=snr: ours(made, snr))
        if both := classical(made, snr) | (found or {}):
            results[snr] = both
    if results:
        for name in PHANTOMS:
            sections[f"table-{name}"] = main_table(made.bed, results, name)
        sections["chosen"] = chosen(results)
        if text := targets(results):
            sections["targets"] = text
    simple: dict[str, Callable[[], str | None]] = {
        "second": lambda: on_the_second_scene(made),
        "turned": lambda: turned(made),
        "speed": lambda: speed(made),
        "ablation": lambda: ablation(made),
    }
    for name, make in simple.items():
        if text := made.part(name, make):
            sections[name] = text
    models: dict[tuple[float, int], Any] = {}
    for seed in SEEDS:
        for snr in TRAINING_SNRS:
            found = made.part(f"model-{snr:g}-{seed}", lambda s=snr, i=seed: of_model(made, s, i))
            if found is not None:
                models[snr, seed] = found
    if models:
        scores, sections["map"], sections["law"] = the_map(models)
        sections["artefacts"] = artefact_table(models)
        pictures["deblur-figure-4.png"] = figure_4(scores, TRAINING_SNRS, [label(s) for s in SNRS])
    if made.wanted is None or "figure" in made.wanted:
        at_hand = {
            f"trained at {snr:g}": weights.read(out / f"models/{snr:g}-0")
            for snr in TRAINING_SNRS
            if (out / f"models/{snr:g}-0/done").exists()
        }
        if at_hand or recommended() is not None:
            pictures["deblur-figure-3.png"] = shown(made, at_hand)
    keep(out, sections, pictures)
    if card:
        put(CARD, sections)
        for name in pictures:
            (PICTURES / name).write_bytes((out / name).read_bytes())


if __name__ == "__main__":
    try:
        typer.run(main)
    except MPIBridgeError as error:
        sys.exit(f"error: {error}")
