"""How fast the simulator is: calibrations of the Open MPI presets, and images through the operator of ``mnist-2d``.

Run: NUMBA_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 python benchmarks/simulate.py

The times of the 37³ calibration are those of a few voxels, scaled: voxels do not know of each other, which two numbers
of voxels show. "ns" is nanoseconds per point and sample, transforms included: with one point per voxel they are most of
it. Only ratios within one run mean anything on a shared machine.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.table import Table

import mpibridge as mb
from mpibridge.simulate.narrowband import raster_operator
from mpibridge.simulate.presets import preset
from mpibridge.simulate.response import response, waveforms

N_BINS = 2000  # of the 26,929 of the 3-D sequence
BLOCK = (12, 24)  # voxels of the 37³ grid that are timed, 27 points each


def best(call: Callable[[], object], repeats: int = 3) -> float:
    """Seconds of the fastest repetition."""
    seconds = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds


def calibrations() -> Table:
    """The issue's two calibrations, and how the second grows with its voxels."""
    table = Table("what", "points per voxel", "seconds", "ns", "target", title="Calibrations")
    plane = preset("openmpi-2d")
    bins = np.arange(plane.scanner.sequence.n_bins)
    for points in (1, 3):
        seconds = best(lambda n=points: response(plane.scanner, plane.grid, bins=bins, points=n))  # type: ignore[misc]
        evaluations = plane.grid.n_voxels * points**2 * plane.scanner.sequence.n_samples
        table.add_row(
            "19 × 19, 2 receivers, 817 bins",
            str(points**2),
            f"{seconds:.3f}",
            f"{1e9 * seconds / evaluations:.1f}",
            "< 0.5 s",
        )
    space = preset("openmpi-3d")
    bins = np.linspace(100, space.scanner.sequence.n_bins - 1, N_BINS).astype(int)
    for points, substeps in ((1, 1), (1, 2), (3, 2)):
        scanner = replace(space.scanner, substeps=substeps)
        each = []
        for n in BLOCK:
            part = mb.Grid((n // 4, 2, 2), (n // 4 * 1e-3, 2e-3, 1e-3))
            each.append(
                best(lambda g=part, n=points, s=scanner: response(s, g, bins=bins, points=n), 2)
                / part.n_voxels  # type: ignore[misc]
            )
        per_point = each[-1] / points**3 / (scanner.sequence.n_samples * substeps)
        table.add_row(
            f"37³, 3 receivers, {N_BINS} bins, {substeps} substeps: {1e3 * each[0]:.1f} and {1e3 * each[1]:.1f} ms a "
            f"voxel in {BLOCK[0]} and {BLOCK[1]}",
            str(points**3),
            f"{each[1] * 37**3:.0f} (scaled)",
            f"{1e9 * per_point:.1f}",
            "",
        )
    return table


def memory() -> str:
    """Peak of what a 3-D response needs beside its result."""
    space = preset("openmpi-3d")
    grid = mb.Grid((4, 4, 4), (8e-3, 8e-3, 4e-3))
    bins = np.arange(100, 100 + N_BINS)
    tracemalloc.start()
    operator = response(space.scanner, grid, bins=bins, points=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    whole = 37**3 * 3 * N_BINS * 8
    return (
        f"37³ × 3 × {N_BINS} bins are {whole / 2**30:.2f} GiB, beside it {(peak - operator.nbytes) / 2**20:.0f} MiB "
        "and 32 bytes per point of the grid (44 MiB for 27 per voxel): 4 GB hold 3,000 bins"
    )


def operators() -> Table:
    """Images through the operator of a preset, against a plain matrix product."""
    table = Table(
        "what", "seconds", "ratio", "images per second", "target", title="1,000 images of 40 × 40, mnist-2d"
    )
    chosen = preset("mnist-2d")
    start = time.perf_counter()
    operator = response(chosen.scanner, chosen.grid)
    table.add_row(f"operator {operator.shape}, once", f"{time.perf_counter() - start:.2f}", "", "", "")
    images = np.random.default_rng(0).random((1000, *chosen.grid.shape), np.float32)
    flat = images.reshape(1000, -1)
    plain = best(lambda: flat @ operator)
    dense = best(lambda: waveforms(operator, images))
    table.add_row(
        "waveforms",
        f"{dense:.3f}",
        f"{dense / plain:.2f} × the matrix product",
        f"{1000 / dense:.0f}",
        "≥ 1,000",
    )
    raster = preset("narrowband")
    raster_operator(raster.scanner, mb.Grid((2, 1, 1), (2e-4, 1e-4, 1e-4)))
    table.add_row(
        "raster operator of narrowband, 1024 × 1024",
        f"{best(lambda: raster_operator(raster.scanner, raster.grid), 1):.2f}",
        "",
        "",
        "",
    )
    return table


def main() -> None:
    """Measure and print the tables."""
    response(preset("openmpi-1d").scanner, preset("openmpi-1d").grid)  # compiles
    console = Console()
    console.print(calibrations())
    console.print(memory())
    console.print(operators())


if __name__ == "__main__":
    main()
