"""What a simulated scanner records: scans and calibrations, labelled as the reader labels a file."""

from __future__ import annotations

import json
import uuid
from typing import Any

import numpy as np
import xarray as xr

from mpibridge import __version__, model
from mpibridge.errors import SettingsError, ShapeError
from mpibridge.mdf.header import Header
from mpibridge.mdf.schema import FLAGS
from mpibridge.model import Grid
from mpibridge.plugin import Report
from mpibridge.progress import silent
from mpibridge.simulate.noise import Disturbance, Noise
from mpibridge.simulate.phantoms import Phantom
from mpibridge.simulate.presets import Preset, preset
from mpibridge.simulate.response import delta_samples
from mpibridge.simulate.scanner import Scanner

NOISE = "/experiment/_mpibridge/noise"
"""Where a recording says how it was disturbed: JSON, with the definition of the SNR beside its number."""
TIME = "2026-01-01T00:00:00.000"
BLOCK_BYTES = 64 * 2**20
"""Frames of a calibration are simulated in blocks of about this size."""


def scan(
    phantom: Phantom | xr.DataArray,
    scanner: str | Preset | Scanner,
    *,
    generator: np.random.Generator,
    noise: Noise | None = None,
    n_frames: int = 10,
    n_background: int = 4,
    averages: int = 10,
    grid: Grid | None = None,
    finer: int = 3,
) -> xr.Dataset:
    """A scan of a phantom, with background frames before and after it.

    phantom: in continuous space, drawn ``finer`` times finer than ``grid`` (the preset's); or concentration (z, y, x) with
    coordinates in metres, or (frame, z, y, x) for a moving one. scanner: the name of a preset, a preset or a scanner.
    Returns ``signal`` (frame, period, receiver, sample) int16 with slope and offset, as `mpibridge.open` would.
    """
    machine, calibrated = _machine(scanner)
    noise = noise or Noise()
    image = _image(phantom, grid or calibrated, finer)
    if "frame" in image.dims:
        n_frames = image.sizes["frame"]
    if n_frames < 1 or n_background < 0 or averages < 1:
        raise SettingsError(
            f"n_frames={n_frames}, n_background={n_background} and averages={averages}: at least 1, 0 and 1 are wanted"
        )
    clean = _signals(machine, image)
    spectra = np.fft.rfft(clean)
    sigma = noise.sigma(
        spectra, np.arange(spectra.shape[-1]), float(np.abs(clean).max(initial=0)), machine, averages
    )
    first = n_background // 2
    is_background = np.ones(n_frames + n_background, bool)
    is_background[first : first + n_frames] = False
    index = np.arange(len(is_background))
    volts = Disturbance(noise, sigma, machine, generator).signals(index, _ages(index))
    volts[~is_background] += clean
    numbers, slope, offset = machine.receiver.digitize(volts)
    attrs = _header(machine, model.MEASUREMENT, len(index), averages, noise, sigma, generator)
    attrs["/acquisition/receiver/dataConversionFactor"] = np.stack([slope, offset], axis=1)
    coordinates = {
        "receiver": np.arange(machine.n_receivers),
        "is_background": ("frame", is_background),
        "acquisition_index": ("frame", index),
        "time": ("frame", index * Header(attrs).frame_period, {"units": "s"}),
        "time_in_period": ("sample", machine.sequence.times, {"units": "s"}),
    }
    signal = xr.Variable(model.SIGNAL_DIMS, numbers, model.STORED_NUMBERS)
    return xr.Dataset({"signal": signal}, coordinates, attrs)


def calibration(
    scanner: str | Preset | Scanner,
    grid: Grid | None = None,
    *,
    generator: np.random.Generator,
    noise: Noise | None = None,
    averages: int = 100,
    bins: np.ndarray | tuple[int, ...] | None = None,
    report: Report = silent,
    workers: int = 1,
) -> xr.Dataset:
    """A system matrix as a robot records it: line by line in a meander, a background frame before every line and last.

    grid: None takes the preset's. bins: those to keep, 0-based; None keeps the preset's choice, or all. report: called
    with the voxels done. workers: threads. Returns ``system_matrix`` (period, receiver, frequency, z, y, x) complex64,
    ``background`` and ``snr``; the tracer of concentration 1 fills one voxel at a time.
    """
    from mpibridge.calibration import calculate_snr

    machine, calibrated = _machine(scanner)
    grid, noise = grid or calibrated, noise or Noise()
    if grid is None:
        raise SettingsError("a scanner has no grid of its own; pass grid=mpibridge.Grid(…)")
    kept = scanner.bins if bins is None and isinstance(scanner, Preset) else bins
    if isinstance(scanner, str) and bins is None:
        kept = preset(scanner).bins
    chosen = np.arange(machine.sequence.n_bins) if kept is None else np.unique(np.asarray(kept, np.int64))
    place, empty = _robot(grid)
    n_frames = grid.n_voxels + len(empty)
    shape = (machine.sequence.n_periods, machine.n_receivers, len(chosen))
    matrix = np.empty((*shape, grid.n_voxels), np.complex64)
    samples, volumes = delta_samples(grid)
    step = max(1, BLOCK_BYTES // (16 * int(np.prod(shape))))
    largest = 0.0
    for start in range(0, grid.n_voxels, step):
        part = slice(start, start + step)
        block = machine.spectra(samples[part], volumes[part], chosen, workers=workers)
        matrix[..., part] = np.moveaxis(block, 0, -1)
        if noise.definition == "maximum" and noise.snr is not None:
            largest = max(largest, float(np.abs(machine.voltage(samples[part], volumes[part])).max()))
        report(min(start + step, grid.n_voxels), grid.n_voxels, "voxels")
    sigma = noise.sigma(np.moveaxis(matrix, 2, -1), chosen, largest, machine, averages)
    disturbance = Disturbance(noise, sigma, machine, generator)
    for start in range(0, grid.n_voxels, step):
        part = slice(start, start + step)
        index = place[part]
        matrix[..., part] += np.moveaxis(disturbance.spectra(index, index / (n_frames - 1), chosen), 0, -1)
    background = disturbance.spectra(empty, empty / (n_frames - 1), chosen)
    attrs = _header(machine, model.CALIBRATION, n_frames, averages, noise, sigma, generator)
    attrs |= {
        "/calibration/deltaSampleSize": np.asarray(grid.spacing),
        "/calibration/fieldOfView": np.asarray(grid.field_of_view),
        "/calibration/fieldOfViewCenter": np.asarray(grid.center),
        "/calibration/method": "simulation",
        "/calibration/order": "xyz",
        "/calibration/size": np.asarray(grid.size),
        "/measurement/isFrequencySelection": np.int8(len(chosen) < machine.sequence.n_bins),
    }
    variables = {
        "system_matrix": (model.SYSTEM_MATRIX_DIMS, matrix.reshape(*shape, *grid.shape)),
        "background": (model.BACKGROUND_DIMS, np.moveaxis(background, 0, -1).astype(np.complex64)),
    }
    coordinates = {
        "receiver": np.arange(shape[1]),
        "acquisition_index": (model.GRID_DIMS, place.reshape(grid.shape)),
        "background_acquisition_index": ("background_frame", empty),
        "frequency": ("frequency", machine.sequence.frequencies[chosen], {"units": "Hz"}),
        "bin": ("frequency", chosen),
        **grid.coordinates(),
    }
    dataset = xr.Dataset(variables, coordinates, attrs)
    return dataset.assign(snr=calculate_snr(dataset).variable)


def _machine(scanner: str | Preset | Scanner) -> tuple[Scanner, Grid | None]:
    """The scanner of a preset and its grid."""
    if isinstance(scanner, str):
        scanner = preset(scanner)
    if isinstance(scanner, Preset):
        return scanner.scanner, scanner.grid
    if not isinstance(scanner, Scanner):
        raise SettingsError(f"a preset, its name or a Scanner is wanted, found {type(scanner).__name__}")
    return scanner, None


def _image(phantom: Phantom | xr.DataArray, grid: Grid | None, finer: int) -> xr.DataArray:
    """Concentration ([frame,] z, y, x) with the grid in its attributes."""
    if isinstance(phantom, Phantom):
        if grid is None:
            raise SettingsError("a continuous phantom is drawn on a grid; pass grid=mpibridge.Grid(…)")
        return phantom.rendered(grid, finer)
    if not isinstance(phantom, xr.DataArray) or "grid_size" not in phantom.attrs:
        raise SettingsError(
            "a phantom is a simulate.Phantom or what its `rendered` returns, with the grid in its attributes; "
            f"found {type(phantom).__name__}"
        )
    if phantom.dims not in (model.GRID_DIMS, model.IMAGE_DIMS):
        raise ShapeError(f"a phantom has (z, y, x) or (frame, z, y, x), found {phantom.dims}")
    return phantom


def _signals(scanner: Scanner, image: xr.DataArray) -> np.ndarray:
    """Clean voltages (frame, period, receiver, sample); one frame for a phantom at rest."""
    grid = Grid.from_attributes(image.attrs)
    values = image.values.reshape(-1, grid.n_voxels)
    filled = np.flatnonzero(values.any(0))
    centers = np.stack(
        [axis.ravel() for axis in np.meshgrid(*(grid.axis(dim) for dim in "zyx"), indexing="ij")[::-1]],
        axis=-1,
    )
    points = np.broadcast_to(centers[filled], (len(values), len(filled), 3))
    return scanner.voltage(points, values[:, filled] * np.prod(grid.spacing))


def _robot(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Acquisition index of every voxel (z, y, x flattened) and of the background frames: before every line, and last."""
    nx, ny, nz = grid.size
    order = np.arange(grid.n_voxels).reshape(nz, ny, nx)
    order[1::2] = order[1::2, ::-1]
    lines = order.reshape(-1, nx)
    lines[1::2] = lines[1::2, ::-1].copy()
    place = np.empty(grid.n_voxels, np.int64)
    place[lines] = np.arange(len(lines))[:, None] * (nx + 1) + 1 + np.arange(nx)
    return place, np.arange(len(lines) + 1) * (nx + 1)


def _ages(index: np.ndarray) -> np.ndarray:
    return index / max(1, index.max())


def _header(
    scanner: Scanner,
    kind: str,
    n_frames: int,
    averages: int,
    noise: Noise,
    sigma: float,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Metadata of a recording by MDF path."""
    identifiers = [str(uuid.UUID(bytes=generator.bytes(16), version=4)) for _ in range(3)]
    is_calibration = kind == model.CALIBRATION
    switched_on = ("isFastFrameAxis", "isFourierTransformed", "isFramePermutation") if is_calibration else ()
    return {
        "kind": kind,
        "/version": "2.1.0",
        "/uuid": identifiers[0],
        "/time": TIME,
        "/study/name": "simulation",
        "/study/number": np.int64(1),
        "/study/description": "mpibridge.simulate",
        "/study/uuid": identifiers[1],
        "/experiment/name": kind,
        "/experiment/number": np.int64(1),
        "/experiment/description": f"simulated by mpibridge {__version__}",
        "/experiment/subject": "delta sample" if is_calibration else "phantom",
        "/experiment/isSimulation": np.int8(1),
        "/experiment/uuid": identifiers[2],
        NOISE: json.dumps(noise.plain(sigma)),
        **{f"/tracer/{name}": np.array(["simulated"], object) for name in ("name", "batch", "vendor")},
        "/tracer/solute": np.array(["Fe"], object),
        "/tracer/concentration": np.array([scanner.particles.iron * 1e-3]),
        "/tracer/volume": np.array([0.0]),
        **{f"/scanner/{name}": "simulation" for name in ("facility", "manufacturer", "operator")},
        "/acquisition/startTime": TIME,
        "/acquisition/numAverages": np.int64(averages),
        "/acquisition/numFrames": np.int64(n_frames),
        **{f"/measurement/{flag}": np.int8(flag in switched_on) for flag in FLAGS},
        **scanner.header(),
    }
