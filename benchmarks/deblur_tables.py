"""Tables of the card of `deblur`, from figures of every draw of noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from card import table
from deblur_bed import SNRS, Bed
from scipy import stats

from mpibridge.metrics import Interval, bootstrap, psnr

TRAINING_SNRS = (5.0, 10.0, 15.0, 20.0, 30.0, 40.0)
SEEDS = (0, 1, 2)
MODERATE = (10.0, 15.0)
"""Where models generalise best, as the seed says."""
AIMS = {5.0: 3.0, 10.0: 4.0, 20.0: 4.0}
"""dB over Richardson–Lucy and Wiener."""


def said(interval: Interval, sign: str = "") -> str:
    if not np.isfinite(interval.low):
        return f"{interval.mean:{sign}.2f}"
    return f"{interval.mean:{sign}.2f} [{interval.low:{sign}.2f}, {interval.high:{sign}.2f}]"


def mean(values: Sequence[float] | np.ndarray) -> Interval:
    return bootstrap(values, generator=np.random.default_rng(0))


def label(snr: float) -> str:
    return "∞" if np.isinf(snr) else f"{snr:g}"


def main_table(bed: Bed, results: Mapping[float, Mapping[str, Any]], phantom: str) -> str:
    """Mean PSNR in dB by method and test SNR, with 95 % intervals over the draws of noise."""
    empty = psnr(np.zeros_like(bed.truth[phantom]), bed.truth[phantom])
    rows = [{"method": "all zero", **{f"SNR {label(s)}": f"{empty:.2f}" for s in results}}]
    names = dict.fromkeys(name for result in results.values() for name in result)
    for name in names:
        row = {"method": name}
        for snr, result in results.items():
            row[f"SNR {label(snr)}"] = said(mean(result[name]["scores"][phantom])) if name in result else ""
        rows.append(row)
    own = {f"SNR {label(s)}": label(round(bed.own_snr(phantom, s), 1)) for s in results}
    return table([{"method": "*own SNR of the phantom*", **own}, *rows])


def chosen(results: Mapping[float, Mapping[str, Any]]) -> str:
    """Settings of the controls; one at the edge of its range is marked."""
    rows = []
    for name in dict.fromkeys(name for result in results.values() for name in result):
        found = {snr: result[name] for snr, result in results.items() if "settings" in result.get(name, {})}
        if not found:
            continue
        row = {"control": name, "setting": ", ".join(next(iter(found.values()))["settings"])}
        for snr in results:
            edge = " (edge)" if snr in found and found[snr]["at_edge"] else ""
            values = found[snr]["settings"].values() if snr in found else ()
            row[f"SNR {label(snr)}"] = ", ".join(f"{value:.3g}" for value in values) + edge
        rows.append(row)
    return table(rows) if rows else ""


def targets(results: Mapping[float, Mapping[str, Any]]) -> str:
    """What was aimed at, on the λ: gains in dB, draw by draw."""
    rows = []
    for name in ("deblur", "deblur, data consistency"):
        for other in ("Wiener", "Richardson–Lucy", "NNLS, exact, larger domain"):
            row = {"gain of": name, "over": other}
            for snr, aim in AIMS.items():
                found = results.get(snr, {})
                if name in found and other in found:
                    one, two = (np.array(found[each]["scores"]["lambda"]) for each in (name, other))
                    gain, least = mean(one - two), 0.0 if other.startswith("NNLS") else aim
                    verdict = "met" if gain.mean >= least else "**missed**"
                    is_aim = snr < 20 or not other.startswith("NNLS")
                    row[f"SNR {label(snr)}"] = said(gain, "+") + (
                        f" (≥ {least:g}: {verdict})" if is_aim else ""
                    )
                else:
                    row[f"SNR {label(snr)}"] = "not measured"
            rows.append(row)
    return table(rows)


def the_map(models: Mapping[tuple[float, int], Mapping[str, Any]]) -> tuple[np.ndarray, str, str]:
    """Mean PSNR (training, test), the table of it with the range over seeds, and what it says of the seed's law."""
    every = np.full((len(TRAINING_SNRS), len(SEEDS), len(SNRS)), np.nan)
    for (snr, seed), found in models.items():
        for k, level in enumerate(SNRS):
            every[TRAINING_SNRS.index(snr), SEEDS.index(seed), k] = np.mean(found[f"{level:g}"]["psnr"])
    scores = np.array([[np.nanmean(c) if np.isfinite(c).any() else np.nan for c in r.T] for r in every])
    of_all = every[:, :, np.isfinite(SNRS)].mean(2)  # (training, seed)
    moderate = of_all[[TRAINING_SNRS.index(s) for s in MODERATE]].mean(0)
    rows, law = [], []
    for i, snr in enumerate(TRAINING_SNRS):
        seeds = np.isfinite(every[i, :, 0])
        if not seeds.any():
            continue
        row = {"trained at": f"{snr:g}", "models": str(int(seeds.sum()))}
        for k, level in enumerate(SNRS):
            values = every[i, seeds, k]
            spread = f" ({values.min():.2f} … {values.max():.2f})" if len(values) > 1 else ""
            row[f"test {label(level)}"] = f"{values.mean():.2f}{spread}"
        rows.append(row)
        finite = of_all[i, seeds]
        law.append(
            {
                "trained at": f"{snr:g}",
                "mean PSNR over test SNR 5 to 40 (dB)": f"{finite.mean():.2f}",
                "of every seed": ", ".join(f"{value:.2f}" for value in finite),
                "trained at 10 and 15, less this": "" if snr in MODERATE else paired(moderate - of_all[i]),
                "worst test SNR (dB)": f"{every[i, seeds][:, np.isfinite(SNRS)].mean(0).min():.2f}",
            }
        )
    return scores, table(rows), table(law)


def paired(gain: np.ndarray) -> str:
    """Mean of differences, one per seed, and its 95 % interval by Student's t."""
    gain = gain[np.isfinite(gain)]
    if len(gain) < 2:
        return "not measured"
    reach = stats.t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain))
    return f"{gain.mean():+.2f} [{gain.mean() - reach:+.2f}, {gain.mean() + reach:+.2f}]"


def artefact_table(models: Mapping[tuple[float, int], Mapping[str, Any]]) -> str:
    """Energy outside of the dilated λ by training SNR, per cent of the energy of the λ, means over seeds and draws."""
    rows = []
    for snr in TRAINING_SNRS:
        found = [m for (level, _), m in models.items() if level == snr]
        if found:
            row = {"trained at": f"{snr:g}", "models": str(len(found))}
            for level in SNRS:
                values = [np.mean(m[f"{level:g}"]["artefacts"]) for m in found]
                row[f"test {label(level)}"] = f"{100 * np.mean(values):.1f}"
            rows.append(row)
    return table(rows)
