"""Endless streams of (problem, target) for training: images of random families, through a linear operator, with noise.

The same generator gives the same pairs, whatever the batch size: images, noise strengths and noise have generators of
their own, and every image its own seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.model import Grid
from mpibridge.operators import SystemMatrix
from mpibridge.plugin import SpectralProblem, WaveformProblem
from mpibridge.simulate.phantoms.families import Families, chosen, draw_images, render
from mpibridge.simulate.phantoms.shape import Phantom, finer_grid
from mpibridge.simulate.presets import Preset, preset
from mpibridge.simulate.recordings import require_generator
from mpibridge.simulate.response import response

Range = tuple[float, float]


def spectral_pairs(
    operator: SystemMatrix,
    families: Families,
    *,
    generator: np.random.Generator,
    snr: Range = (10.0, 30.0),
    noise: np.ndarray | None = None,
    forward: np.ndarray | None = None,
    finer: int = 1,
    batch: int = 64,
    device: str | None = None,
    reference: Phantom | None = None,
) -> Iterator[tuple[SpectralProblem, Any]]:
    """Pairs of a linear problem with this operator and its image (frame, z, y, x) float32.

    snr: dB, drawn uniformly for every frame: 10 log₁₀ Σ|u|²/Σ|n|² over the rows; the problem's ``noise`` is (frame, row). noise: (row,) relative standard deviation
    of the rows; None: all alike. forward: (row, voxel) of a grid ``finer`` times finer, to commit no inverse crime; None
    takes the operator itself. device: arrays are torch tensors there; None leaves NumPy arrays. reference: the phantom whose
    signal the SNR is that of, so that the noise is as strong for all; None: each frame's own.
    """
    _check(snr, batch, generator)
    matrix = np.asarray(operator.matrix if forward is None else forward)
    fine = finer_grid(operator.grid, finer)
    if operator.transform is not None or matrix.shape != (operator.n_rows, fine.n_voxels):
        raise ShapeError(
            f"the forward matrix is {matrix.shape}, ({operator.n_rows} rows, {fine.n_voxels} voxels) are wanted; sparse "
            "operators are not simulated"
        )
    shape = np.ones(operator.n_rows, np.float32) if noise is None else np.asarray(noise, np.float32)
    shape = shape / np.sqrt(np.mean(shape**2))
    from mpibridge.device import to_device

    for target, signal, strength, normal in _signals(
        families, operator.grid, finer, batch, snr, generator, matrix.T, reference
    ):
        rows = signal + strength / np.sqrt(2) * shape * normal(True)
        problem = SpectralProblem(
            grid=operator.grid, rows=rows.astype(np.complex64), operator=operator, noise=strength * shape
        )
        yield (
            problem if device is None else to_device(problem, device, tensors=True),
            target if device is None else _tensor(target, device),
        )


def waveform_pairs(
    scanner: str | Preset,
    families: Families,
    *,
    generator: np.random.Generator,
    snr: Range = (20.0, 20.0),
    finer: int = 1,
    batch: int = 64,
    device: str | None = None,
    operator: np.ndarray | None = None,
    reference: Phantom | None = None,
) -> Iterator[tuple[WaveformProblem, Any]]:
    """Pairs of the voltages of a scanner with one period and the image (frame, z, y, x) float32.

    snr: dB, mean u²/σ² over receivers and samples of a frame, drawn uniformly. finer: the images are drawn and scanned on a
    grid this much finer than the preset's. operator: the `response` on that grid, if it is at hand. device, reference: as above.
    """
    _check(snr, batch, generator)
    preset_ = preset(scanner) if isinstance(scanner, str) else scanner
    if not isinstance(preset_, Preset):
        raise SettingsError(
            f"a preset or its name is wanted, found {type(scanner).__name__}; "
            "dataclasses.replace(simulate.preset(…), scanner=…) puts a scanner of your own into one"
        )
    machine, grid = preset_.scanner, preset_.grid
    if machine.sequence.n_periods != 1:
        raise SettingsError(f"{machine.name} has {machine.sequence.n_periods} periods; one is wanted")
    shape = (-1, machine.n_receivers, machine.sequence.n_samples)
    fine = finer_grid(grid, finer)
    if operator is None:
        operator = response(machine, fine)
    if operator.shape != (fine.n_voxels, shape[1] * shape[2]):
        raise ShapeError(
            f"operator is {operator.shape}; (voxel, receiver · sample) = {(fine.n_voxels, shape[1] * shape[2])} is wanted"
        )
    from mpibridge.device import to_device

    for target, signal, strength, normal in _signals(
        families, grid, finer, batch, snr, generator, operator, reference
    ):
        waveform = (signal + strength * normal(False)).astype(np.float32).reshape(shape)
        problem = WaveformProblem(
            grid=grid,
            waveform=waveform,
            sample_rate=machine.sequence.sample_rate,
            trajectory=machine.trajectory[0],
        )
        yield (
            problem if device is None else to_device(problem, device, tensors=True),
            target if device is None else _tensor(target, device),
        )


def _signals(
    families: Families,
    grid: Grid,
    finer: int,
    batch: int,
    snr: Range,
    generator: np.random.Generator,
    operator: np.ndarray,
    reference: Phantom | None,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, Callable[[bool], np.ndarray]]]:
    """Images, clean signals (frame, row), the noise's standard deviation (frame, 1), and noise of deviation 1 (√2 complex)."""
    of_images, of_snr, of_noise = generator.spawn(3)
    fine = finer_grid(grid, finer)
    functions = chosen(families)
    common = None
    if reference is not None:
        common = np.mean(np.abs(_through(operator, render([reference], fine))) ** 2)
        if not common > 0:
            raise SettingsError(f"reference {reference.name!r} gives no signal; choose another phantom")
    while True:
        images, _ = draw_images(functions, batch, of_images, fine, finer=max(1, 3 // finer))
        signal = _through(operator, images)
        power = np.mean(np.abs(signal) ** 2, axis=1, keepdims=True) if common is None else common
        strength = np.sqrt(power / 10 ** (of_snr.uniform(*snr, (batch, 1)) / 10)).astype(np.float32)

        def normal(is_complex: bool, shape: tuple[int, ...] = signal.shape) -> np.ndarray:
            if not is_complex:
                return of_noise.standard_normal(shape, np.float32)
            return of_noise.standard_normal((*shape, 2), np.float32).view(np.complex64)[..., 0]

        yield _means(images, grid), signal, strength, normal


def _through(operator: np.ndarray, images: np.ndarray) -> np.ndarray:
    """images (image, z, y, x) times operator (voxel, row)."""
    columns = images.reshape(len(images), -1)
    if operator.dtype == np.complex64 and operator.flags.c_contiguous:  # half the work of a complex product
        return (columns @ operator.view(np.float32)).view(np.complex64)
    return columns @ operator


def _means(images: np.ndarray, grid: Grid) -> np.ndarray:
    """Images (frame, z, y, x) on a grid of which ``grid`` is a coarsening."""
    nz, ny, nx = grid.shape
    blocks = images.reshape(len(images), nz, -1, ny, images.shape[2] // ny, nx, images.shape[3] // nx)
    return blocks.mean((2, 4, 6), dtype=np.float32)


def _tensor(array: np.ndarray, device: str) -> Any:
    import torch

    return torch.from_numpy(array).to(device)


def _check(snr: Range, batch: int, generator: np.random.Generator) -> None:
    require_generator(generator)
    if np.shape(snr) != (2,) or not (np.isfinite(snr).all() and snr[0] <= snr[1]):
        raise SettingsError(f"snr must be a range (low, high) in dB, found {snr!r}")
    if batch != int(batch) or batch < 1:
        raise SettingsError(f"batch must be a whole number from 1, found {batch!r}")
