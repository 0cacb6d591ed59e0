"""What the protocol found, as tables, JSON, pictures and a page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mpibridge.comparison import compare
from mpibridge.metrics import bootstrap
from mpibridge.model import IMAGE_DIMS, RECONSTRUCTION, Grid
from mpibridge.protocol.evaluation import METRICS, Outcome, Score
from mpibridge.protocol.methods import BASELINE, BASELINES
from mpibridge.targets import replacing

if TYPE_CHECKING:
    import pandas

UNITS = {"PSNR": " (dB)", "SSIM": "", "NRMSE": ""}
GAIN = f"gain over tuned {BASELINE} (dB)"
OVER_BEST = "over the best baseline (dB)"


def table(outcome: Outcome, *, by_family: bool = False) -> pandas.DataFrame:
    """One row per noise level, group (or family) and method: means over images with 95 % bootstrap intervals as low, high.

    The gain is the mean of paired differences of PSNR, image by image. Costs stand in every row of a method.
    """
    import pandas

    rows = []
    for score, mask, group in _parts(outcome, by_family):
        row: dict[str, Any] = {"SNR (dB)": score.snr, "group": group, "method": score.method}
        for name in METRICS:
            row |= _mean(f"{name}{UNITS[name]}", score.metrics[name][mask])
        others = [_find(outcome, score, name)[mask] for name in BASELINES if name in outcome.facts["methods"]]
        best = max(others, key=np.mean)
        row |= _mean(GAIN, score.metrics["PSNR"][mask] - _find(outcome, score, BASELINE)[mask])
        row |= _mean(OVER_BEST, score.metrics["PSNR"][mask] - best)
        cost = next(c for c in outcome.costs if c.method == score.method)
        row |= {
            "s/image, one": cost.seconds,
            "s/image, batch": cost.seconds_in_batch,
            "memory (MiB)": cost.memory / 2**20,
            "images": int(mask.sum()),
            "settings": ", ".join(f"{name}={_plain(value)}" for name, value in score.settings.items()),
        }
        rows.append(row)
    return pandas.DataFrame(rows)


def notes(outcome: Outcome) -> list[str]:
    """What a reader of the table should know."""
    said = [
        "PSNR with the peak of each truth, SSIM with its range, NRMSE by norm; nothing is scaled or shifted. Brackets: 95 % "
        "bootstrap intervals of the mean over images.",
        f"tuned settings are those with the highest mean PSNR on separate images of the same families; {GAIN.split(' (')[0]} "
        "is paired by image.",
        "memory: of a fresh process at the peak of a batch above that after one image, code compiled on first use included.",
    ]
    if outcome.facts["data"].get("inverse_crime"):
        said.append(
            "**inverse crime**: the phantoms lie on the voxels of the system matrix that reconstructs them, as a measured "
            "matrix knows no finer grid; real figures are lower"
        )
    for score in outcome.scores:
        for name in score.at_edge:
            said.append(
                f"{score.method} at {score.snr:g} dB: the best {name} ({_plain(score.settings[name])}) ends its grid"
            )
    for name, about in outcome.weights.items():
        if about["any"]:
            continue  # what has learned images alone has seen neither noise nor a system matrix
        if about["data"].get("inverse_crime"):
            said.append(f"{name} was trained with the inverse crime")
        said += [f"{name}: {text}" for text in about["otherwise"]]
        trained = about["data"].get("snr")
        outside = [s for s in outcome.facts["snr"] if trained and not trained[0] <= s <= trained[1]]
        if outside:
            levels = ", ".join(f"{s:g}" for s in outside)
            said.append(f"{name} was trained at {trained[0]:g} to {trained[1]:g} dB: {levels} dB is unseen")
    return list(dict.fromkeys(said))


def markdown(outcome: Outcome, *, by_family: bool = False) -> str:
    """The table for a README or a model card."""
    frame = table(outcome, by_family=by_family)
    columns = [
        "SNR (dB)",
        "group",
        "method",
        "PSNR (dB)",
        GAIN,
        OVER_BEST,
        "SSIM",
        "NRMSE",
        "s/image, one",
        "s/image, batch",
        "memory (MiB)",
    ]
    lines = ["| " + " | ".join([*columns, "settings"]) + " |", "|" + "---|" * (len(columns) + 1)]
    for _, row in frame.iterrows():
        cells = []
        for column in columns:
            text = _number(row[column])
            if f"{column} low" in row:
                low, high = row[f"{column} low"], row[f"{column} high"]
                text += "" if np.isnan(low) else f" [{_number(low)}, {_number(high)}]"
            cells.append(text)
        lines.append("| " + " | ".join([*cells, row["settings"]]) + " |")
    said = [] if by_family else ["", *(f"- {note}" for note in notes(outcome))]
    return "\n".join([*lines, *said]) + "\n"


def write(outcome: Outcome, folder: str | Path, grid: Grid) -> dict[str, Path]:
    """results.json, table.md, and per noise level and group a picture and a report; returns the files by what they are."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = {"results": folder / "results.json", "table": folder / "table.md"}
    with replacing(files["results"], (".json",)) as path:
        path.write_text(json.dumps(to_plain(outcome), indent=1))
    text = markdown(outcome) + "\n**By family**\n\n" + markdown(outcome, by_family=True)
    with replacing(files["table"], (".md",)) as path:
        path.write_text(text)
    for snr in outcome.facts["snr"]:
        for group in outcome.truths:
            name = f"{group.replace(' ', '-')}-{snr:g}dB"
            scores = [s for s in outcome.scores if (s.snr, s.group) == (snr, group)]
            images = {s.method: _dataset(s.examples, grid) for s in scores}
            truth = _dataset(outcome.truths[group], grid)
            files[f"report, {group}, {snr:g} dB"] = folder / f"{name}.html"
            compare(images, reference=truth).to_html(folder / f"{name}.html")
            files[f"picture, {group}, {snr:g} dB"] = folder / f"{name}.png"
            figure = _gallery({"truth": truth, **images})
            with replacing(folder / f"{name}.png", (".png",)) as path:
                figure.savefig(path, dpi=110)
    return files


def to_plain(outcome: Outcome) -> dict[str, Any]:
    """Every number of the outcome but the images, as JSON values."""
    return {
        "facts": dict(outcome.facts),
        "weights": dict(outcome.weights),
        "notes": notes(outcome),
        "scores": [
            {
                "method": s.method,
                "snr": s.snr,
                "group": s.group,
                "settings": {name: _plain(value) for name, value in s.settings.items()},
                "families": list(s.families),
                "metrics": {name: [round(float(v), 6) for v in values] for name, values in s.metrics.items()},
            }
            for s in outcome.scores
        ],
        "costs": [vars(cost) for cost in outcome.costs],
    }


def _parts(outcome: Outcome, by_family: bool) -> Iterator[tuple[Score, np.ndarray, str]]:
    for score in outcome.scores:
        families = np.array(score.families)
        if not by_family:
            yield score, np.ones(len(families), bool), score.group
            continue
        for family in dict.fromkeys(score.families):
            yield score, families == family, f"{family} ({score.group})"


def _find(outcome: Outcome, like: Score, method: str) -> np.ndarray:
    """PSNR per image of another method on the same scans."""
    same = (method, like.snr, like.group)
    return next(s for s in outcome.scores if (s.method, s.snr, s.group) == same).metrics["PSNR"]


def _mean(name: str, values: np.ndarray) -> dict[str, float]:
    mean, low, high = bootstrap(values, generator=np.random.default_rng(0))
    return {name: mean, f"{name} low": low, f"{name} high": high}


def _dataset(images: np.ndarray, grid: Grid) -> xr.Dataset:
    return xr.Dataset(
        {"concentration": (IMAGE_DIMS, images.astype(np.float32))},
        grid.coordinates(),
        {"kind": RECONSTRUCTION, **grid.attributes()},
    )


def _gallery(images: dict[str, xr.Dataset]) -> Any:
    """One row per image, one column per method, the colours of a row those of its truth."""
    from matplotlib.figure import Figure

    from mpibridge import plot

    n_rows, n_columns = next(iter(images.values())).sizes["frame"], len(images)
    figure = Figure(figsize=(1.5 * n_columns, 1.5 * n_rows + 0.3), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for column, (name, image) in enumerate(images.items()):
        for row in range(n_rows):
            top = float(images["truth"]["concentration"][row].max())
            panel = image["concentration"][row].isel(z=image.sizes["z"] // 2)
            axis = axes[row, column]
            axis.imshow(panel.values, plot.COLORMAP, vmin=0, vmax=top, origin="lower")
            axis.set_axis_off()
            if row == 0:
                axis.set_title(name, fontsize="small")
    x, y, _ = (1e3 * edge for edge in Grid.from_attributes(images["truth"].attrs).field_of_view)
    figure.supxlabel(
        f"{x:g} × {y:g} mm; the colours of a row run from 0 to the maximum of its truth", fontsize="small"
    )
    return figure


def _plain(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float | np.floating) else value


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float | np.floating) else str(value)
