"""How long x-space images take: building the maps once, then every image. Run: python benchmarks/xspace.py

The scan is that of seed 004 (24.75 and 25 kHz, 2 × 2 cm² at 3 T/m) at three sampling rates; the best of several
repetitions counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mpibridge import Grid
from mpibridge.mdf.header import Header
from mpibridge.xspace import forward, gridding, recover_fundamental, trajectory

BETA_GRADIENT = 3 * 1.986e-18 / (1.380649e-23 * 293)
DRIVE = "/acquisition/drivefield"
REPEATS = 4


def header(finer: int) -> Header:
    """Seed 004, sampled at ``finer`` × 2.475 MHz."""
    base, n_samples = 2.475e6 * finer, 9900 * finer
    return Header(
        {
            "/acquisition/gradient": np.diag([3.0, 3.0, -6.0])[None, None],
            "/acquisition/numPeriodsPerFrame": 1,
            f"{DRIVE}/divider": np.array([[100], [99]]) * finer,
            f"{DRIVE}/strength": np.full((1, 2, 1), 0.03),
            f"{DRIVE}/phase": np.zeros((1, 2, 1)),
            f"{DRIVE}/waveform": np.full((2, 1), "sine", object),
            f"{DRIVE}/baseFrequency": base,
            f"{DRIVE}/cycle": n_samples / base,
            "/acquisition/receiver/numSamplingPoints": n_samples,
            "/acquisition/receiver/numChannels": 2,
            "/acquisition/receiver/bandwidth": base / 2,
        }
    )


def best(call: Callable[[], Any], repeats: int = REPEATS) -> tuple[float, Any]:
    """Seconds of the fastest repetition, and what it returned."""
    seconds, result = np.inf, None
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds, result


def main() -> None:
    """Measure and print both tables."""
    rng = np.random.default_rng(0)
    table = Table(title=f"Gridding, 45° and 135° images, float32, {torch.get_num_threads()} cores")
    for title in (
        "grid",
        "samples",
        "entries",
        "build s",
        "one frame ms",
        "100 frames ms",
        "recover fundamental ms",
    ):
        table.add_column(title, justify="right")
    for size in (70, 140, 280):
        grid = Grid((size, size, 1), (0.02, 0.02, 0.001))
        for finer in (1, 2, 4):
            scan = header(finer)
            building, built = best(lambda s=scan, g=grid: gridding(s, g), 2)  # type: ignore[misc]
            signals = rng.standard_normal((100, 1, 2, scan.n_samples), dtype=np.float32)
            one, _ = best(lambda b=built, s=signals: b(s[:1]))  # type: ignore[misc]
            many, _ = best(lambda b=built, s=signals: b(s), 2)  # type: ignore[misc]
            recovering, _ = best(lambda s=signals, h=scan: recover_fundamental(s[:1], h))  # type: ignore[misc]
            table.add_row(
                f"{size}²", str(scan.n_samples), str(built.matrix.nnz), f"{building:.2f}",
                *(f"{1e3 * s:.1f}" for s in (one, many, recovering)),
            )  # fmt: skip
    Console().print(table)

    table = Table(title="Forward model, float32: fields once, then the signals along 19,800 samples")
    for title in ("image", "kind", "fields ms", "signals ms"):
        table.add_column(title, justify="right")
    position, velocity = trajectory(header(2))
    for size in (70, 140, 280, 1000):
        pitch = 0.02 / min(size, 280)
        grid = Grid((size, size, 1), (size * pitch, size * pitch, 0.001))
        image = rng.random((size, size), dtype=np.float32)
        look_up = forward.interpolation(grid, position)
        speed = velocity.astype(np.float32)
        for kind, given in (("NumPy", image), ("torch", torch.as_tensor(image))):
            convolving, fields = best(lambda i=given, g=grid: forward.convolved_fields(i, g, BETA_GRADIENT))  # type: ignore[misc]
            fields = np.asarray(fields)
            sampling, _ = best(lambda f=fields, m=look_up, v=speed: forward.sample(f, m, v))  # type: ignore[misc]
            table.add_row(f"{size}²", kind, f"{1e3 * convolving:.1f}", f"{1e3 * sampling:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
