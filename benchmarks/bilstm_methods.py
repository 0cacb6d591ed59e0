"""What `bilstm` is compared with on its test scans: itself, its controls, Kaczmarz, x-space; and the figures of merit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import bilstm_controls
import numpy as np
from bilstm_digits import PRESET, Originals, Scans, in_order, scans
from safetensors import safe_open

from mpibridge import protocol, registry
from mpibridge import weights as trained
from mpibridge.execution import execute
from mpibridge.metrics import bootstrap, nrmse, per_image, ssim
from mpibridge.operators import SystemMatrix
from mpibridge.plugin import SpectralProblem, WaveformProblem, make_settings
from mpibridge.progress import silent
from mpibridge.simulate.presets import preset
from mpibridge.simulate.response import response

Images = Callable[[np.ndarray], np.ndarray]
"""Images (frame, z, y, x) of waveforms (frame, receiver, sample)."""
KACZMARZ_BINS = 400
"""Frequencies per receiver that Kaczmarz is given: those at which the operator is strongest."""


def problem(waveform: np.ndarray) -> WaveformProblem:
    """Voltages as `mpibridge.reconstruct` would hand them over for a scan of the preset."""
    chosen = preset(PRESET)
    return WaveformProblem(
        grid=chosen.grid,
        waveform=waveform,
        sample_rate=chosen.scanner.sequence.sample_rate,
        trajectory=chosen.scanner.trajectory[0],
    )


def run(method: Any) -> Images:
    return lambda waveform: (
        execute(method, problem(waveform), generator=np.random.default_rng(0), report=silent).image
    )


def with_weights(path: Path, **settings: Any) -> Any:
    """`bilstm` with the weights of a file or of the folder of a run. settings: others than those of the weights."""
    example = problem(np.zeros((1, 2, 1632), np.float32))
    return trained.build_method(registry.load("bilstm"), settings, example, trained.read(path))


def controls(folder: Path) -> dict[str, Images]:
    """The trained controls that a folder holds, by name and how long they were trained."""
    example = problem(np.zeros((1, 2, 1632), np.float32))
    found = {}
    for name in bilstm_controls.CONTROLS:
        if (path := folder / f"{name}.safetensors").exists():
            with safe_open(path, "numpy") as file:
                spent = file.metadata()
            said = f"{name} ({float(spent['cpu_seconds']) / 60:.0f} min, {int(spent['frames']):,} frames)"
            found[said] = run(bilstm_controls.trained(name, folder, example))
    return found


class Kaczmarz:
    """Kaczmarz with the noise-free matrix of the preset: it knows the operator. Tuned per SNR on validation digits."""

    def __init__(self, originals: Originals, n_tuning: int = 16) -> None:
        chosen = preset(PRESET)
        matrix = response(chosen.scanner, chosen.grid).reshape(chosen.grid.n_voxels, 2, -1)
        spectra = np.fft.rfft(matrix)
        strength = np.linalg.norm(spectra, axis=(0, 1))
        self.bins = np.sort(np.argsort(strength)[-KACZMARZ_BINS:])
        rows = spectra[..., self.bins].reshape(len(matrix), -1).T.astype(np.complex64)
        self.operator = SystemMatrix(np.ascontiguousarray(rows), chosen.grid)
        self.tuning = scans(in_order(originals.part("validation")), n_tuning, seed=2)
        self.cls = registry.load("kaczmarz")

    def _images(self, waveform: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
        rows = np.fft.rfft(waveform)[..., self.bins].reshape(len(waveform), -1).astype(np.complex64)
        spectral = SpectralProblem(grid=self.operator.grid, rows=rows, operator=self.operator)
        method = self.cls(make_settings(self.cls, settings))
        return execute(method, spectral, generator=np.random.default_rng(0), report=silent).image

    def at(self, snr: float) -> tuple[Images, Mapping[str, Any]]:
        """The method with the settings of highest mean SSIM at an SNR in dB, these, and which of them end their range."""
        noisy = self.tuning.at(snr)

        def score(settings: Mapping[str, Any]) -> float:
            return float(per_image(ssim, self._images(noisy, settings), self.tuning.truth).mean())

        grid = {
            "iterations": (300, 1000, 3000),
            "regularization": (3e-2, 1e-1, 3e-1, 1.0),
        }
        found = protocol.tune(replace(protocol.BASELINES["kaczmarz"], grid=grid), score)
        return lambda waveform: self._images(waveform, found.settings), {
            **found.settings,
            "at_edge": found.at_edge,
        }


def xspace() -> Images:
    """The mean of the x-space images, each with the factor that brings it nearest to its truth: it has no scale of its own."""
    images, _ = bilstm_controls.xspace_images()
    import torch

    return lambda waveform: images(torch.from_numpy(waveform)).mean(1, keepdim=True).clamp_min(0).numpy()


METRICS: Mapping[str, Callable[..., float]] = {
    "SSIM (%)": ssim,
    "NRMSE by range (%)": partial(nrmse, by="range"),
    "NRMSE by norm (%)": nrmse,
}
"""SSIM with the range of each truth and a window of 7 pixels; nothing is scaled or shifted."""


def figures(images: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric of every image, in per cent."""
    return {name: 100 * per_image(metric, images, truth) for name, metric in METRICS.items()}


def row(images: np.ndarray, truth: np.ndarray, *, moves: int = 1, intervals: bool = True) -> dict[str, str]:
    """Means over images with 95 % bootstrap intervals, as cells of a table.

    moves: images of one original in a row, which count as one in the interval.
    """
    cells = {}
    for name, values in figures(images, truth).items():
        originals = values[: len(values) // moves * moves].reshape(-1, moves).mean(1)
        mean, low, high = bootstrap(originals, generator=np.random.default_rng(0), n=2000)
        cells[name] = f"{mean:.2f}" + (f" [{low:.2f}, {high:.2f}]" if intervals else "")
    return cells


def first(scans_: Scans, n: int) -> Scans:
    """The first scans."""
    return Scans(scans_.truth[:n], scans_.waveform[:n])
