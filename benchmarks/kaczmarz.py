"""How fast Kaczmarz is against a plain read of the matrix, the machine's matrix products, and MPIReco.jl.

Run: python benchmarks/kaczmarz.py

Rates are matrix bytes × sweeps × frames / time, as multiples of NumPy's one-core sum over the same matrix; the
arithmetic is 16 flop per complex entry, frame and sweep, as a share of the better sgemm of torch and NumPy. Only
ratios within one run mean anything on a shared machine, so the repetitions of everything are interleaved and
the best of each counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mpibridge.solvers import kaczmarz, prepare

SWEEPS = 3
REPEATS = 6
RUNS = 4  # of one kind in a row: the matrix is then as warm for the solver as for the read beside it
PAUSE = 0.1  # seconds before another kind: idle BLAS and OpenMP threads of the one before spin that long
# voxels, rows, frames, target × read, target share of sgemm, MPIReco.jl × read (one core)
CASES = [
    (20000, 2000, 1, 1.0, None, 0.54),
    (20000, 2000, 20, 3.3, 0.65, 0.94),
    (1000, 2000, 1, 0.8, None, 0.3),
    (1000, 2000, 100, 4.0, 0.75, 1.2),
]


def best(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of the fastest of several interleaved repetitions of every call."""
    seconds = dict.fromkeys(calls, np.inf)
    for _ in range(REPEATS):
        for name, call in calls.items():
            time.sleep(PAUSE)
            for _ in range(RUNS):
                start = time.perf_counter()
                call()
                seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def complex_normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Complex64 standard normal numbers."""
    pairs = rng.standard_normal((*shape, 2), dtype=np.float32)
    return pairs.view(np.complex64)[..., 0]


solve = partial(kaczmarz, iterations=SWEEPS, regularization=0.01)


def main() -> None:
    """Measure and print the table."""
    rng = np.random.default_rng(0)
    square = torch.randn(2048, 2048)
    out = torch.empty_like(square)
    table = Table(title=f"Kaczmarz, complex64, {SWEEPS} sweeps, {torch.get_num_threads()} cores")
    for title in ("voxels × rows", "frames", "read GB/s", "sgemm GFLOP/s", "GB/s", "× read", "target", "MPIReco",
                  "% sgemm", "target", "× read with preparation"):  # fmt: skip
        table.add_column(title, justify="right")
    for voxels, rows, frames, target, share, julia in CASES:
        matrix = complex_normal(rng, rows, voxels)
        data = complex_normal(rng, frames, rows)
        system = prepare(matrix)

        calls: dict[str, Callable[[], object]] = {
            "read": lambda a=matrix: a.view(np.float32).sum(),  # type: ignore[misc]
            "torch": lambda: torch.mm(square, square, out=out),
            "numpy": lambda: np.matmul(square.numpy(), square.numpy(), out=out.numpy()),
            "prepared": lambda s=system, d=data: solve(s, d),  # type: ignore[misc]
            "whole": lambda a=matrix, d=data: solve(a, d),  # type: ignore[misc]
        }
        for call in calls.values():
            call()  # compilation and first touch
        seconds = best(calls)
        read = matrix.nbytes / seconds["read"]
        peak = 2 * len(square) ** 3 / min(seconds["torch"], seconds["numpy"])
        work = matrix.nbytes * SWEEPS * frames
        rate = work / seconds["prepared"]
        table.add_row(
            f"{voxels} × {rows}", str(frames), f"{read / 1e9:.1f}", f"{peak / 1e9:.0f}", f"{rate / 1e9:.1f}",
            f"{rate / read:.2f}", f"{target}", f"{julia}", f"{200 * rate / peak:.0f}",
            "" if share is None else f"{100 * share:.0f}", f"{work / seconds['whole'] / read:.2f}",
        )  # fmt: skip
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
