"""Everything that the model card of `bilstm` shows: targets, noise, controls, sensitivity, speed, pictures.

    python benchmarks/bilstm.py --out runs/bilstm/card --weights runs/bilstm/mixed --at-20-db runs/bilstm/20dB \\
        --controls runs/bilstm/controls --long runs/bilstm/long --card        # 40 minutes on one core

Weights are made by bilstm_training.py, controls by bilstm_controls.py. Test scans: three moves of every original of the digit 5.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import typer
from bilstm_digits import (
    MOVES,
    PRESET,
    READINGS,
    TEST_SEED,
    Originals,
    Scans,
    held_out_scans,
    in_order,
    scans,
)
from bilstm_methods import (
    Images,
    Kaczmarz,
    controls,
    figures,
    first,
    problem,
    row,
    run,
    with_weights,
    xspace,
)
from card import DPI, Parts, keep, put, same_as_before, table

from mpibridge import plot, reconstruct
from mpibridge.errors import MPIBridgeError, WeightsError
from mpibridge.execution import execute
from mpibridge.metrics import bootstrap
from mpibridge.plot.style import COLORMAP
from mpibridge.progress import silent
from mpibridge.simulate import Particles, phantoms, scan
from mpibridge.simulate.presets import Preset, preset
from mpibridge.simulate.sequences import LissajousSequence
from mpibridge.weights import read
from mpibridge_plugins.bilstm import path

HOME = Path(__file__).parent.parent
CARD, PICTURES = HOME / "plugins/mpibridge_plugins/bilstm/README.md", HOME / "docs"
LEVELS = (20.0, 10.0, 5.0)
SEED = {20.0: (96.8, 4.49), 10.0: (96.7, 4.55), 5.0: (96.5, 4.68)}
"""SSIM and NRMSE of the publication, per cent."""
TARGETS = {20.0: (96.5, 4.9), 10.0: (90.0, 8.0), 5.0: (82.0, 11.0)}
CURVE = tuple(float(level) for level in range(0, 51, 5))
FEW, FEWER = 192, 96
"""Test scans where nothing is aimed at, and for Kaczmarz, which takes long."""
SECONDS = (0.05, 0.01)
"""Targets per frame, one at once and 64 at once."""


def said(condition: bool) -> str:
    return "met" if condition else "**missed**"


def targets(ours: Mapping[str, Images], five: Scans, choosing: Scans) -> list[dict[str, Any]]:
    """The best weights at every SNR, by the SSIM of scans to choose with, against what was aimed at; and those that are shipped."""
    shipped = next(iter(ours))
    rows = []
    for level, (similar, error) in TARGETS.items():
        seen = {name: figures(images(choosing.at(level)), choosing.truth) for name, images in ours.items()}
        best = max(seen, key=lambda name: seen[name]["SSIM (%)"].mean())
        waveform = five.at(level)
        found = {name: figures(ours[name](waveform), five.truth) for name in (best, shipped)}
        reached = {name: values.mean() for name, values in found[best].items()}
        spread = {name: values.std() for name, values in found[best].items()}
        as_shipped = [found[shipped][name].mean() for name in ("SSIM (%)", "NRMSE by range (%)")]
        rows.append(
            {
                "SNR": f"{level:g} dB",
                "weights": best,
                "SSIM (%) of validation digits": f"{seen[best]['SSIM (%)'].mean():.2f}",
                "SSIM (%)": f"{reached['SSIM (%)']:.2f} ± {spread['SSIM (%)']:.2f}",
                "aimed at (SSIM)": f"≥ {similar:g}: {said(reached['SSIM (%)'] >= similar)}",
                "NRMSE by range (%)": f"{reached['NRMSE by range (%)']:.2f} ± {spread['NRMSE by range (%)']:.2f}",
                "aimed at (NRMSE)": f"≤ {error:g}: {said(reached['NRMSE by range (%)'] <= error)}",
                "weights that are shipped": "{:.2f} / {:.2f}".format(*as_shipped),
                "seed, SSIM / NRMSE": "{} / {}".format(*SEED[level]),
            }
        )
    return rows


def compared(
    methods: Mapping[str, Images], five: Scans, reference: str | None = None, moves: int = 1
) -> list[dict[str, Any]]:
    """Every method at every SNR; reference: the one on ridge images, whose SSIM is subtracted image by image.

    moves: scans of one original in a row.
    """
    rows = []
    for level in LEVELS:
        found = {name: images(five.at(level)) for name, images in methods.items()}
        similar = {name: figures(images, five.truth)["SSIM (%)"] for name, images in found.items()}
        for name, images in found.items():
            line = {"SNR": f"{level:g} dB", "method": name, **row(images, five.truth, moves=moves)}
            if reference is not None:
                gain = bootstrap(
                    similar[name] - similar[reference], generator=np.random.default_rng(0), n=2000
                )
                line["SSIM over ridge (points)"] = (
                    "" if name == reference else "{:+.2f} [{:+.2f}, {:+.2f}]".format(*gain)
                )
            rows.append(line)
    return rows


def classical(originals: Originals, five: Scans) -> list[dict[str, Any]]:
    """Kaczmarz, tuned; and x-space images, each with the factor and the offset that bring it nearest to its truth."""
    few, kaczmarz, gridded, rows = first(five, FEWER), Kaczmarz(originals), xspace(), []
    for level in LEVELS:
        waveform = few.at(level)
        tuned, settings = kaczmarz.at(level)
        chosen = ", ".join(f"{name} {settings[name]:g}" for name in ("iterations", "regularization"))
        chosen += "; at the edge of what was tried" if settings["at_edge"] else ""
        rows.append(
            {
                "SNR": f"{level:g} dB",
                "method": f"Kaczmarz ({chosen})",
                **row(tuned(waveform), few.truth),
            }
        )
        images = gridded(waveform)
        fits = [
            np.polyfit(image.ravel(), truth.ravel(), 1)
            for image, truth in zip(images, few.truth, strict=True)
        ]
        fitted = np.stack([np.polyval(fit, image) for fit, image in zip(fits, images, strict=True)]).clip(0)
        rows.append(
            {"SNR": f"{level:g} dB", "method": "x-space, fitted to the truth", **row(fitted, few.truth)}
        )
    return rows


def readings(ours: Mapping[str, Images], five: Scans) -> list[dict[str, Any]]:
    """SSIM / NRMSE by range / by norm in per cent for what "SNR" may mean, and the SNR as a power ratio."""
    rows = []
    power = np.mean(np.square(five.waveform, dtype=float), axis=(1, 2))
    for (name, (divisor, strength)), (trained, images) in product(READINGS.items(), ours.items()):
        line: dict[str, Any] = {"SNR read as": name, "weights": trained}
        for level in LEVELS:
            cells = row(images(five.at(level, name)), five.truth, intervals=False)
            sigma = strength(five.waveform) / 10 ** (level / divisor)
            ours = 10 * np.log10(power / sigma**2).mean()
            line[f"{level:g} dB"] = f"{' / '.join(cells.values())} (at {ours:.1f} dB)"
        rows.append(line)
    return rows


def curve(methods: Mapping[str, Images], some: Scans) -> dict[str, list[list[float]]]:
    """Mean SSIM and NRMSE by range of every method at the levels of `CURVE`."""
    return {
        name: [
            [values.mean() for values in list(figures(images(some.at(level)), some.truth).values())[:2]]
            for level in CURVE
        ]
        for name, images in methods.items()
    }


def seeds_rows(found: Mapping[str, list[list[float]]]) -> list[dict[str, Any]]:
    """From where on the rows of the seed are met."""
    rows = []
    for level, (similar, error) in SEED.items():
        line: dict[str, Any] = {"row of the seed": f"{level:g} dB: SSIM {similar}, NRMSE {error}"}
        for name, values in found.items():
            met = [at for at, (s, e) in zip(CURVE, values, strict=True) if s >= similar and e <= error]
            line[f"met by {name}"] = f"from {met[0]:g} dB on" if met else "nowhere to 50 dB"
        rows.append(line)
    return rows


def curve_picture(found: Mapping[str, list[list[float]]]) -> plt.Figure:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, column, label in zip(axes, (0, 1), ("SSIM (%)", "NRMSE by range (%)"), strict=True):
        for name, values in found.items():
            axis.plot(CURVE, [pair[column] for pair in values], marker=".", label=name)
        axis.plot(list(SEED), [pair[column] for pair in SEED.values()], "k_", ms=14, label="seed")
        axis.plot(list(TARGETS), [pair[column] for pair in TARGETS.values()], "k+", label="target")
        axis.set(xlabel="SNR, mean u²/σ² of the waveform (dB)", ylabel=label)
        axis.grid(alpha=0.3)
    axes[0].legend()
    return figure


def families(images: Images, n: int) -> list[dict[str, Any]]:
    """Images that are no digits, at 20 dB."""
    rows = []
    for family in ("vessels", "dots", "blobs", "bars"):
        other = scans(family, n)
        rows.append({"family": family, **row(images(other.at(20.0)), other.truth)})
    return rows


def sensitivity(images: Images, originals: Originals, weights: Path) -> list[dict[str, Any]]:
    """Scans of a scanner or a tracer that the weights were not trained for, at 20 dB, and whether `mpibridge.reconstruct` takes them."""
    rows = []
    for name, source in variants().items():
        five = held_out_scans(originals, source, FEW)
        rows.append(
            {
                "scan": name,
                **row(images(five.at(20.0)), five.truth, moves=MOVES),
                "mpibridge.reconstruct": answer(source, weights),
            }
        )
    return rows


def answer(source: Preset, weights: Path) -> str:
    """Whether a scan of this scanner is reconstructed."""
    scanned = scan(
        phantoms.named("spiral", source.grid),
        source,
        generator=np.random.default_rng(0),
        n_frames=1,
        n_background=2,
    )
    try:
        reconstruct(scanned, plugin="bilstm", weights=weights)
    except WeightsError:
        return "refuses"
    return "takes it"


@dataclass(frozen=True)
class Detuned(LissajousSequence):
    """The first drive field is off by a share of its frequency that the header does not tell."""

    detuning: float = 0.0

    def waveforms(self, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
        drive, rate = super().waveforms(n_samples)
        time = np.arange(n_samples) * (self.cycle / n_samples)
        omega = 2 * np.pi * self.drive_frequencies[0] * (1 + self.detuning)
        drive[0] = self.amplitude[0] * np.sin(omega * time + self.phase[0])
        rate[0] = self.amplitude[0] * omega * np.cos(omega * time + self.phase[0])
        return drive, rate


def variants() -> dict[str, Preset]:
    base = preset(PRESET)
    sequence = base.scanner.sequence

    def scanner(**changes: Any) -> Preset:
        return replace(base, scanner=replace(base.scanner, **changes))

    return {
        "as trained (25 nm)": base,
        "core of 24 nm": scanner(particles=Particles(core_diameter=24e-9)),
        "core of 22 nm": scanner(particles=Particles(core_diameter=22e-9)),
        "core of 28 nm": scanner(particles=Particles(core_diameter=28e-9)),
        "relaxation of 1 µs": scanner(particles=Particles(core_diameter=25e-9, relaxation_time=1e-6)),
        **{
            f"first frequency off by {ppm:g} ppm": scanner(
                sequence=Detuned(sequence.amplitude, sequence.dividers, sequence.phase, detuning=1e-6 * ppm)
            )
            for ppm in (100, 1000, 10_000)
        },
        **{
            f"amplitudes of {mt:g} for 20 mT": scanner(
                sequence=replace(sequence, amplitude=(1e-3 * mt, 1e-3 * mt, 0.0))
            )
            for mt in (19.6, 19.1, 18.0)
        },
        **{
            f"phase of one field {degrees:g}° off": scanner(
                sequence=replace(sequence, phase=(np.radians(degrees), *sequence.phase[1:]))
            )
            for degrees in (2.5, 5)
        },
    }


def shuffled(images: Images, five: Scans) -> list[dict[str, Any]]:
    """The trained network on samples in a random order: it must fail."""
    order = np.random.default_rng(1).permutation(five.waveform.shape[-1])
    few = first(five, FEW)
    waveform = few.at(20.0)
    return [
        {"samples": name, **row(made, few.truth, moves=MOVES)}
        for name, made in (
            ("in order", images(waveform)),
            ("shuffled", images(waveform[..., order])),
            ("an empty image", np.zeros_like(few.truth)),
        )
    ]


def surrogate(method: Any, five: Scans) -> list[dict[str, Any]]:
    """How well the values along the path are what the truth is there, against a network that had collapsed to zero."""
    some, given = first(five, FEW), problem(five.waveform[:1])
    rows = []
    for level in LEVELS:
        result = execute(method, problem(some.at(level)), generator=np.random.default_rng(0), report=silent)
        values = result.trace["values"]
        seen = path.sampling(torch.tensor(given.trajectory), given.grid, values.shape[1]).numpy()
        truth = some.truth.reshape(len(values), -1) @ seen.T
        rows.append(
            {
                "SNR": f"{level:g} dB",
                "root mean square error of the values": f"{np.sqrt(np.mean((values - truth) ** 2)):.3f}",
                "of zeros": f"{np.sqrt(np.mean(truth**2)):.3f}",
            }
        )
    return rows


def speed(methods: Mapping[str, Images], waveform: np.ndarray) -> list[dict[str, Any]]:
    """Seconds per frame with the network at hand, the best of five."""
    rows = []
    for (name, images), threads in product(methods.items(), (1, 2)):
        torch.set_num_threads(threads)
        for n, target in zip((1, 64), SECONDS, strict=True):
            images(waveform[:n])
            spent = []
            for _ in range(5):
                began = time.perf_counter()
                images(waveform[:n])
                spent.append((time.perf_counter() - began) / n)
            met = f"≤ {target:g}: {said(min(spent) <= target)}"
            rows.append(
                {
                    "images": name,
                    "CPU cores": threads,
                    "frames at once": n,
                    "s/frame": f"{min(spent):.4f}",
                    "target": met,
                }
            )
    torch.set_num_threads(1)
    return rows


def two_digits(images: Images, five: Scans, chosen: Sequence[int] = (0, 1)) -> plt.Figure:
    """Figure 2 of the seed: two test images at three SNRs beside the truth."""
    places = [MOVES * i for i in chosen] if len(five.truth) > MOVES * max(chosen) else list(chosen)
    figure, axes = plt.subplots(len(places), 1 + len(LEVELS), figsize=(8, 4.2), layout="constrained")
    for i, place in enumerate(places):
        shown = [five.truth[place, 0], *(images(five.at(level))[place, 0] for level in LEVELS)]
        for axis, image, title in zip(
            axes[i], shown, ("truth", *(f"{level:g} dB" for level in LEVELS)), strict=True
        ):
            axis.imshow(image, COLORMAP, vmin=0, vmax=shown[0].max(), origin="lower")
            axis.set(xticks=[], yticks=[])
            if i == 0:
                axis.set_title(title)
    return figure


def main(
    out: Annotated[Path, typer.Option(help="folder for tables and pictures")],
    weights: Annotated[Path, typer.Option(help="weights trained at mixed SNR: a file or a run")],
    at_20_db: Annotated[Path | None, typer.Option(help="weights trained at 20 dB")] = None,
    controls_: Annotated[Path | None, typer.Option("--controls", help="folder of trained controls")] = None,
    long: Annotated[Path | None, typer.Option(help="folder of controls that were trained for longer")] = None,
    digits: Annotated[Path | None, typer.Option(help="mnist.npz, or the folder of its .mat files")] = None,
    n: Annotated[int | None, typer.Option(help="test scans, for a quick look; default: all")] = None,
    card: Annotated[bool, typer.Option(help="write them into the model card and docs/, too")] = False,
    only: Annotated[str | None, typer.Option(help="beginnings of parts, separated by commas")] = None,
) -> None:
    """Measure `bilstm` and write what its card shows. Parts that lie in the folder are not measured again."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    originals, method = Originals.of(digits), with_weights(weights)
    five = held_out_scans(originals, n=n)
    some = Scans(five.truth[::MOVES], five.waveform[::MOVES])
    mixed, alone = run(method), run(with_weights(weights, mirrored=False))
    ours = {"5 to 25 dB": mixed} | ({} if at_20_db is None else {"20 dB": run(with_weights(at_20_db))})
    measured = {
        **{f"bilstm, trained at {name}": images for name, images in ours.items()},
        "bilstm, trained at 5 to 25 dB, without the mirrored scans": alone,
    }
    choosing = scans(in_order(originals.part("validation")), FEW, seed=2)
    makers: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "targets": lambda: targets(ours, five, choosing),
        "noise": lambda: compared(measured, five, moves=MOVES),
        "readings": lambda: readings(ours, some),
        "classical": lambda: classical(originals, five),
        "families": lambda: families(mixed, min(FEW, len(five.truth))),
        "sensitivity": lambda: sensitivity(mixed, originals, weights),
        "shuffled": lambda: shuffled(mixed, five),
        "surrogate": lambda: surrogate(method, five),
        "speed": lambda: speed({"four scans": mixed, "one scan": alone}, five.at(20.0)),
    }
    for name, folder in {"controls": controls_, "long": long}.items():
        if folder is not None:
            makers[name] = partial(against_ridge, mixed, folder, some)
    files = [read(path).path for path in (weights, at_20_db) if path is not None]
    files += [f for folder in (controls_, long) if folder for f in sorted(folder.glob("*.safetensors"))]
    same_as_before(out, {"scans": n, "seed": TEST_SEED, "weights": digests(files)})
    part = Parts(out, None if only is None else set(only.split(",")))
    sections = {name: table(rows) for name, make in makers.items() if (rows := part(name, make))}
    pictures = {"bilstm-digits.png": two_digits(mixed, five)}
    if found := part("curve", lambda: curve(ours, some)):
        sections["curve"], pictures["bilstm-curve.png"] = table(seeds_rows(found)), curve_picture(found)
    if (weights / "history.csv").exists():
        pictures["bilstm-training.png"] = plot.training(weights / "history.csv")
    keep(out, sections, pictures)
    if card:
        put(CARD, sections)
        for name, figure in pictures.items():
            figure.savefig(PICTURES / name, dpi=DPI)


def against_ridge(shipped: Images, folder: Path, some: Scans) -> list[dict[str, Any]]:
    """The weights that are shipped and the controls of a folder, beside the control that knows the operator."""
    methods = {"bilstm as shipped": shipped, **controls(folder)}
    return compared(methods, some, next((name for name in methods if name.startswith("ridge")), None))


def digests(files: Sequence[Path]) -> list[str]:
    """What files hold, as hashes."""
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


if __name__ == "__main__":
    try:
        typer.run(main)
    except MPIBridgeError as error:
        sys.exit(f"error: {error}")
