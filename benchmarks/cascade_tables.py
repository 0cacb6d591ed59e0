"""The tables of the card of `cascade`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from card import table
from cascade_bed import HELD_OUT, RESOLVED, SEEDS, Pairs, Raster, dips, valleys
from cascade_methods import PURPOSES, Cascade
from cascade_training import ABLATION, VARIANTS
from scipy.special import ndtr, ndtri

from mpibridge import weights as trained
from mpibridge.metrics import bootstrap

SUCCESS, WHOLE = 0.9, 0.95
"""Shares of pairs that are resolved and of bars that stay whole, from which on a separation counts as resolved."""
NOISES = (25.0, 30.0, 35.0, 40.0, 45.0, 50.0, 55.0, 60.0)
"""dB, for the weights alone."""
SHIPPED = "cascade"
"""The name of the weights that come with the package."""


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of n. Source: Wilson 1927."""
    z = 1.96
    middle, reach = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (middle - reach) / (1 + z**2 / n), (middle + reach) / (1 + z**2 / n)


def shares(found: Mapping[str, Any], distance: np.ndarray) -> dict[float, tuple[float, float, int]]:
    """Shares of resolved pairs and of whole bars, and their number, by distance in mm."""
    points, bars = (np.array(found[kind]) for kind in ("pairs", "bars"))
    return {
        float(1e3 * d): (
            float((points[distance == d] <= RESOLVED).mean()),
            float((bars[distance == d] > RESOLVED).mean()),
            int((distance == d).sum()),
        )
        for d in np.unique(distance)
    }


def separation(by_distance: Mapping[float, tuple[float, float, int]]) -> str:
    """The smallest distance at which enough pairs are resolved and enough bars whole; whether it is so at all larger ones."""
    good = [d for d, (pairs, bars, _) in by_distance.items() if pairs >= SUCCESS and bars >= WHOLE]
    if not good:
        return "none"
    above = [d for d in by_distance if d >= good[0]]
    return f"{good[0]:g} mm" + ("" if len(above) == len(good) else ", not at all larger ones")


def resolution_table(results: Mapping[float, Mapping[str, Any]], distance: np.ndarray) -> str:
    rows = []
    for snr, methods in results.items():
        for name, found in methods.items():
            by_distance = shares(found, distance)
            rows.append(
                {
                    "SNR": f"{snr:g} dB",
                    "method": name,
                    **{f"{d:g} mm": f"{100 * p:.0f} / {100 * b:.0f}" for d, (p, b, _) in by_distance.items()},
                    "separation": separation(by_distance),
                }
            )
    return table(rows)


def intervals_table(results: Mapping[float, Mapping[str, Any]], distance: np.ndarray) -> str:
    """95 % intervals of the shares that decide."""
    rows = []
    for snr, methods in results.items():
        for name, found in methods.items():
            row: dict[str, Any] = {"SNR": f"{snr:g} dB", "method": name}
            for d, (pairs, bars, n) in shares(found, distance).items():
                if 0.3 <= d <= 0.6:
                    cells = ("{:.0f}–{:.0f}".format(*(100 * v for v in wilson(s, n))) for s in (pairs, bars))
                    row[f"{d:g} mm"] = " / ".join(cells)
            rows.append(row)
    return table(rows)


def noise_table(made: Raster, drawn: Pairs, method: Cascade) -> str:
    """At which noise which separation is resolved by the weights that are shipped, and by an observer who knows both alternatives."""
    rows, seed = [], SEEDS["test"] + 10
    for snr in NOISES:
        points, bars = made.scans(drawn.points, snr, seed), made.scans(drawn.bars, snr, seed + 1)
        found = {
            "pairs": dips(method.run(points.problem).image, drawn.places),
            "bars": valleys(method.run(bars.problem).image, drawn.ends),
        }
        by_distance = shares(found, drawn.distance)
        observed = ndtr(made.told_apart(drawn, snr) - ndtri(WHOLE))
        ideal = {1e3 * d: observed[drawn.distance == d].mean() for d in np.unique(drawn.distance)}
        seen = [d for d, share in ideal.items() if share >= SUCCESS]
        rows.append(
            {
                "SNR": f"{snr:g} dB",
                **{
                    f"{d:g} mm": f"{100 * p:.0f} / {100 * b:.0f}"
                    for d, (p, b, _) in by_distance.items()
                    if d <= 0.6
                },
                "separation": separation(by_distance),
                "observer who knows both": f"{seen[0]:g} mm" if seen else "none",
            }
        )
    return table(rows)


def fidelity_table(results: Mapping[float, Mapping[str, Any]]) -> str:
    """PSNR of held-out families and its gain over the classical method that is best for each; coefficient of variation inside dots."""
    rows = []
    for snr, methods in results.items():
        psnr = {name: np.array(found["psnr"]).reshape(len(HELD_OUT), -1) for name, found in methods.items()}
        classical = [name for name in methods if not name.startswith(SHIPPED)]
        best = [max(classical, key=lambda name: psnr[name][i].mean()) for i in range(len(HELD_OUT))]
        for name, found in methods.items():
            row = {"SNR": f"{snr:g} dB", "method": name}
            for i, family in enumerate(HELD_OUT):
                row[f"PSNR of {family} (dB)"] = f"{psnr[name][i].mean():.2f}"
                gain = psnr[name][i] - psnr[best[i]][i]
                over = "" if name in classical else _interval(gain, "+.2f")
                row[f"{family}: over the best classical"] = "best" if name == best[i] else over
            row["variation inside dots"] = _interval(np.array(found["variation"]), ".3f")
            row["mean inside dots"] = f"{np.mean(found['mean']):.3f}"
            rows.append(row)
    return table(rows)


def ablation_table(
    made_of: Mapping[float, Mapping[str, Any]],
    images: Mapping[float, Mapping[str, Any]],
    distance: np.ndarray,
) -> str:
    rows = []
    for name in VARIANTS:
        label = ablated(name)
        for snr in made_of:
            if label not in made_of[snr]:
                continue
            by_distance, found = shares(made_of[snr][label], distance), images[snr][label]
            close = [(p, b) for d, (p, b, _) in by_distance.items() if 0.3 <= d <= 0.6]
            loss, stages = name.split("-")
            rows.append(
                {
                    "SNR": f"{snr:g} dB",
                    "loss": loss,
                    "stages": stages,
                    "pairs resolved, 0.3 to 0.6 mm": f"{100 * np.mean([p for p, _ in close]):.0f} %",
                    "bars whole": f"{100 * np.mean([b for _, b in close]):.0f} %",
                    "sum of both": f"{100 * np.mean([p + b for p, b in close]):.0f} %",
                    "separation": separation(by_distance),
                    "PSNR, held out (dB)": _interval(np.array(found["psnr"]), ".2f"),
                    "variation inside dots": _interval(np.array(found["variation"]), ".3f"),
                }
            )
    return table(sorted(rows, key=lambda row: row["SNR"]))


def ablated(name: str) -> str:
    return f"{SHIPPED}, {name.replace('-', ', ')}, {ABLATION} steps"


def weights_table(weights: Mapping[str, Path]) -> str:
    """What weights were trained with, as their headers tell."""
    rows = []
    for name, path in weights.items():
        header = trained.read(path).header
        said, data = header.training, header.data
        rows.append(
            {
                "weights": name,
                "loss, stages": f"{header.settings['loss']}, {header.settings['stages']}",
                "steps × frames": f"{said['steps']} × {said['batch']}",
                "learning rate": f"{said['learning_rate']:g}",
                "SNR in training (dB)": "{:g} to {:g}".format(*data["snr"]),
                "started from": said["started_from"] or "the beginning",
                "seconds": f"{said['seconds']:.0f}",
                "size (MB)": f"{path.stat().st_size / 1e6:.1f}",
            }
        )
    return table(rows)


def settings_table(settings: Mapping[float, Mapping[str, Any]]) -> str:
    rows = []
    for snr, methods in settings.items():
        for name, found in methods.items():
            row: dict[str, Any] = {"SNR": f"{snr:g} dB", "method": name}
            for purpose in PURPOSES:
                said = ", ".join(f"{k} = {v:.3g}" for k, v in found["best"][purpose].items())
                edge = " (**ends its range**)" if found["at_edge"][purpose] else ""
                score_ = max(t[purpose] for t in found["tried"])
                row[f"for {purpose}"] = f"{said}{edge}: {score_:.2f}"
            rows.append(row)
    return table(rows)


def _interval(values: np.ndarray, form: str) -> str:
    found = bootstrap(values, generator=np.random.default_rng(0))
    return f"{found.mean:{form}} [{found.low:{form}}, {found.high:{form}}]"
