"""Opening a large system matrix and reading some of its rows, beside reading the same bytes with NumPy.

    python benchmarks/load.py [--gib 2] [--folder FOLDER]

Times are the best of several runs with the file in the page cache; memory is what Python asked for (tracemalloc).
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import mpibridge as mb
from mpibridge import simulate
from mpibridge.calibration import select_rows, system_matrix_rows
from mpibridge.preprocessing import Preprocessing


def best(work: Callable[[], object], repeats: int = 5) -> float:
    """Shortest time of several runs, seconds."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def peak(work: Callable[[], object]) -> int:
    """Bytes asked for at the worst moment."""
    tracemalloc.start()
    work()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def large_calibration(path: Path, gib: float) -> None:
    """A calibration of random numbers: 3 receivers, 4096 bins, as many voxels as fill ``gib``."""
    import h5py

    n_bins, n_receivers = 4096, 3
    nz = 19
    side = int(np.sqrt(gib * 2**30 / 8 / n_receivers / n_bins / nz))
    n_voxels = side * side * nz
    with h5py.File(path, "w") as file:
        for name, value in {
            "version": "2.1.0",
            "uuid": "0",
            "acquisition/numFrames": n_voxels,
            "acquisition/receiver/bandwidth": 1.25e6,
            "acquisition/receiver/numSamplingPoints": 2 * (n_bins - 1),
            "acquisition/receiver/numChannels": n_receivers,
            "measurement/isFourierTransformed": np.int8(1),
            "measurement/isFastFrameAxis": np.int8(1),
            "calibration/method": "simulation",
            "calibration/size": np.array([side, side, nz]),
            "calibration/fieldOfView": np.array([0.04, 0.04, 0.02]),
            "calibration/fieldOfViewCenter": np.zeros(3),
        }.items():
            file[name] = value
        rng = np.random.default_rng(0)
        snr = rng.exponential(2.0, (1, n_receivers, n_bins))
        file["calibration/snr"] = snr
        file["measurement/isBackgroundFrame"] = np.zeros(n_voxels, np.int8)
        data = file.create_dataset("measurement/data", (1, n_receivers, n_bins, n_voxels), np.complex64)
        block = rng.standard_normal((64, n_voxels, 2)).astype(np.float32).view(np.complex64)[..., 0]
        for receiver in range(n_receivers):
            for first in range(0, n_bins, 64):
                data[0, receiver, first : first + 64] = block


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--gib", type=float, default=2.0, help="size of the system matrix")
    arguments.add_argument("--folder", type=Path, help="where to write it (default: a temporary folder)")
    options = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        table = Table("what", "seconds", "MiB", "ratio", "target", title=f"{options.gib:g} GiB system matrix")
        path = folder / "large.mdf"
        large_calibration(path, options.gib)
        mb.open(path)  # imports
        table.add_row(
            "open",
            f"{best(lambda: mb.open(path)):.4f}",
            f"{peak(lambda: mb.open(path)) / 2**20:.1f}",
            "",
            "< 0.050 s, < 30 MB",
        )
        calibration = mb.open(path)
        threshold = float(np.quantile(calibration.snr.values, 0.95))
        rows = select_rows(calibration, Preprocessing(snr_threshold=threshold))
        sizes = calibration.system_matrix.shape
        stored = np.memmap(path, np.complex64, "r", _offset(path), (*sizes[:3], int(np.prod(sizes[3:]))))

        def plain() -> np.ndarray:
            out = np.empty((len(rows), stored.shape[3]), np.complex64)
            for i, (receiver, k) in enumerate(zip(rows.receivers, rows.bins, strict=True)):
                out[i] = stored[0, receiver, k]
            return out

        plain()
        direct = best(plain, 3)
        ours = best(lambda: system_matrix_rows(calibration, rows), 3)
        size = len(rows) * stored.shape[3] * 8
        asked = peak(lambda: system_matrix_rows(calibration, rows))
        table.add_row("the same rows with NumPy", f"{direct:.3f}", f"{size / 2**20:.0f}", "1.00", "")
        table.add_row(
            f"load {len(rows)} rows (5 %)",
            f"{ours:.3f}",
            f"{asked / 2**20:.0f}",
            f"{ours / direct:.2f} × time, {asked / size:.2f} × memory",
            "≤ 2 ×, ≤ 1.5 ×",
        )
        Console().print(table)
        Console().print(small_reconstruction(folder))
    finally:
        shutil.rmtree(folder)


def small_reconstruction(folder: Path) -> Table:
    """Selection, rows and 20 frames of a 19 × 19 calibration to images, files opened, everything warm."""
    scanner = "openmpi-2d"
    grid = mb.Grid((19, 19, 1), (0.0266, 0.0266, 0.001))
    phantom = simulate.phantom(grid, finer=2)
    mb.save(folder / "sm.mdf", simulate.calibration(scanner, grid, generator=np.random.default_rng(1)))
    mb.save(
        folder / "scan.mdf",
        simulate.scan(phantom, scanner, n_frames=20, generator=np.random.default_rng(2)),
    )
    scan = mb.open(folder / "scan.mdf", system_matrix=folder / "sm.mdf")
    matrix = mb.open(folder / "sm.mdf")
    settings = Preprocessing(
        snr_threshold=5, min_frequency=80e3, background="mean", system_matrix_background=True
    )

    def work() -> object:
        return mb.reconstruct(
            scan,
            system_matrix=matrix,
            preprocessing=settings,
            iterations=3,
            regularization=0.01,
            device="cpu",
        )

    work()
    table = Table("what", "rows", "milliseconds", "target", title="19 × 19 voxels, 20 frames, 3 sweeps, warm")
    table.add_row(
        "selection + rows + reconstruction",
        str(len(select_rows(matrix, settings))),
        f"{1e3 * best(work, 10):.1f}",
        "< 50",
    )
    return table


def _offset(path: Path) -> int:
    import h5py

    with h5py.File(path) as file:
        return file["measurement/data"].id.get_offset()


if __name__ == "__main__":
    main()
