"""What a simulated scanner records: scans and calibrations, labelled as the reader labels a file."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
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
from mpibridge.simulate.noise import Disturbance, Noise, Strength
from mpibridge.simulate.phantoms import Phantom
from mpibridge.simulate.presets import Preset, preset
from mpibridge.simulate.response import delta_samples
from mpibridge.simulate.scanner import Scanner

NOISE = "/experiment/_mpibridge/noise"
"""Where a recording says how it was disturbed: JSON, with the definition of the SNR beside its number."""
TIME = "2026-01-01T00:00:00.000"
BLOCK_BYTES = 64 * 2**20
"""Frames of a calibration are simulated in blocks of about this size."""
LARGEST_BYTES = 2**31
"""A system matrix that is larger is only made of bins that somebody chose."""
POINTS = 1024
"""Points of a phantom that are simulated at once: between them there is progress, and Ctrl-C."""


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
    finer: int | None = None,
    report: Report = silent,
    workers: int = 1,
) -> xr.Dataset:
    """A scan of a phantom, with background frames before and after it.

    phantom: in continuous space, drawn ``finer`` times finer than ``grid`` (both the preset's unless given); or
    concentration (z, y, x) with ``attrs=grid.attributes()``, or (frame, z, y, x) for a moving one. scanner: the name of a preset,
    a preset or a scanner. noise: None takes the preset's. report: called with the points done. workers: threads.
    Returns ``signal`` (frame, period, receiver, sample) int16 with slope and offset, as `mpibridge.open` would.
    """
    chosen = _chosen(scanner, generator)
    machine, noise = chosen.scanner, noise or chosen.noise
    image = _image(
        phantom,
        grid or (None if isinstance(scanner, Scanner) else chosen.grid),
        chosen.finer if finer is None else finer,
    )
    if "frame" in image.dims:
        n_frames = image.sizes["frame"]
    _require_counts(n_frames=n_frames, averages=averages, workers=workers)
    if n_background:
        _require_counts(n_background=n_background)
    clean = _signals(machine, image, report, workers)
    strength = Strength(np.arange(machine.sequence.n_bins))
    strength.add(np.fft.rfft(clean))
    strength.seen(clean)
    sigma = noise.sigma(strength, machine, averages)
    first = n_background // 2
    is_background = np.ones(n_frames + n_background, bool)
    is_background[first : first + n_frames] = False
    index = np.arange(len(is_background))
    volts = Disturbance(noise, sigma, machine, generator).signals(index, index / max(1, index[-1]))
    volts[~is_background] += clean
    numbers, slope, offset = machine.receiver.digitize(volts)
    attrs = _header(machine, model.MEASUREMENT, len(index), averages, noise, sigma, generator)
    attrs["/acquisition/receiver/dataConversionFactor"] = np.stack([slope, offset], axis=1)
    variables = {"signal": xr.Variable(model.SIGNAL_DIMS, numbers, model.STORED_NUMBERS)}
    coordinates: dict[str, Any] = {
        "receiver": np.arange(machine.n_receivers),
        "is_background": ("frame", is_background),
        "acquisition_index": ("frame", index),
        "time": ("frame", index * Header(attrs).frame_period, {"units": "s"}),
        "time_in_period": ("sample", machine.sequence.times, {"units": "s"}),
    }
    if machine.transfer_function is not None:
        variables["transfer_function"] = xr.Variable(("receiver", "frequency"), machine.transfer_function)
        coordinates |= _frequencies(machine, np.arange(machine.sequence.n_bins))
    return xr.Dataset(variables, coordinates, attrs)


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

    A scanner with focus fields is calibrated in every period; one calibration for all patches is recorded with
    `Scanner.without_focus`. grid, noise: None takes the preset's. bins: those to keep, 0-based; None keeps the preset's
    choice, or all. report: called with the voxels done. workers: threads. Returns ``system_matrix`` (period, receiver,
    frequency, z, y, x) complex64, ``background`` and ``snr``; the tracer of concentration 1 fills one voxel at a time.
    SettingsError if all bins would take more than `LARGEST_BYTES`.
    """
    from mpibridge.calibration import calculate_snr

    chosen = _chosen(scanner, generator)
    machine, noise = chosen.scanner, noise or chosen.noise
    if grid is None:
        if isinstance(scanner, Scanner):
            raise SettingsError("a scanner has no grid of its own; pass grid=mpibridge.Grid(…)")
        grid = chosen.grid
    _require_counts(averages=averages, workers=workers)
    kept = _kept(chosen.bins if bins is None else bins, machine.sequence.n_bins)
    place, empty = _robot(grid)
    last = int(empty[-1])
    shape = (machine.sequence.n_periods, machine.n_receivers, len(kept))
    size = 8 * int(np.prod(shape)) * grid.n_voxels
    if bins is None and size > LARGEST_BYTES:
        raise SettingsError(
            f"a calibration of {machine.name} on {grid.size} voxels takes {size / 2**30:.1f} GiB; choose bins, "
            f"for example bins=range({min(100, kept[-1])}, {min(200, kept[-1])}), or a coarser grid"
        )
    matrix = np.empty((*shape, grid.n_voxels), np.complex64)
    samples, volumes = delta_samples(grid)
    strength = Strength(kept)
    for part in _blocks(grid.n_voxels, 16 * int(np.prod(shape))):
        block = machine.spectra(samples[part], volumes[part], kept, workers=workers)
        strength.add(block)
        matrix[..., part] = np.moveaxis(block, 0, -1)
        report(min(part.stop, grid.n_voxels), grid.n_voxels, "voxels")
    if noise.snr is not None and noise.definition == "maximum":
        for part in _blocks(grid.n_voxels, 8 * shape[0] * shape[1] * machine.sequence.n_samples):
            strength.seen(machine.voltage(samples[part], volumes[part], workers=workers))
    sigma = noise.sigma(strength, machine, averages)
    disturbance = Disturbance(noise, sigma, machine, generator)
    for part in _blocks(grid.n_voxels, 64 * int(np.prod(shape))):
        index = place[part]
        matrix[..., part] += np.moveaxis(disturbance.spectra(index, index / last, kept), 0, -1)
    background = np.empty((*shape, len(empty)), np.complex64)
    for part in _blocks(len(empty), 64 * int(np.prod(shape))):
        index = empty[part]
        background[..., part] = np.moveaxis(disturbance.spectra(index, index / last, kept), 0, -1)
    attrs = _header(machine, model.CALIBRATION, last + 1, averages, noise, sigma, generator)
    attrs |= {
        "/tracer/volume": np.array([np.prod(grid.spacing) * 1e3]),  # litres
        "/calibration/deltaSampleSize": np.asarray(grid.spacing),
        "/calibration/fieldOfView": np.asarray(grid.field_of_view),
        "/calibration/fieldOfViewCenter": np.asarray(grid.center),
        "/calibration/method": "simulation",
        "/calibration/order": "xyz",
        "/calibration/size": np.asarray(grid.size),
        "/measurement/isFrequencySelection": np.int8(len(kept) < machine.sequence.n_bins),
    }
    variables: dict[str, Any] = {
        "system_matrix": (model.SYSTEM_MATRIX_DIMS, matrix.reshape(*shape, *grid.shape)),
        "background": (model.BACKGROUND_DIMS, background),
    }
    if machine.transfer_function is not None:
        variables["transfer_function"] = (("receiver", "frequency"), machine.transfer_function[:, kept])
    coordinates = {
        "receiver": np.arange(shape[1]),
        "acquisition_index": (model.GRID_DIMS, place.reshape(grid.shape)),
        "background_acquisition_index": ("background_frame", empty),
        **_frequencies(machine, kept),
        **grid.coordinates(),
    }
    dataset = xr.Dataset(variables, coordinates, attrs)
    return dataset.assign(snr=calculate_snr(dataset).variable)


def _kept(bins: np.ndarray | tuple[int, ...] | None, n_bins: int) -> np.ndarray:
    """Rising numbers of the bins that are kept. SettingsError."""
    chosen = np.arange(n_bins) if bins is None else np.unique(bins)
    if not len(chosen) or chosen.dtype.kind not in "iu" or chosen[0] < 0 or chosen[-1] >= n_bins:
        found = f"{chosen.dtype} from {chosen[0]} to {chosen[-1]}" if len(chosen) else "none"
        raise SettingsError(
            f"bins must be whole numbers from 0 to {n_bins - 1}, found {found}; numpy.flatnonzero makes them from a mask"
        )
    return chosen.astype(np.int64)


def _blocks(n: int, each: int) -> Iterator[slice]:
    """Slices of ``n`` things of ``each`` bytes."""
    step = max(1, BLOCK_BYTES // max(1, each))
    return (slice(start, start + step) for start in range(0, n, step))


def _frequencies(scanner: Scanner, bins: np.ndarray) -> dict[str, Any]:
    return {
        "frequency": ("frequency", scanner.sequence.frequencies[bins], {"units": "Hz"}),
        "bin": ("frequency", bins),
    }


def _chosen(scanner: str | Preset | Scanner, generator: np.random.Generator) -> Preset:
    """The preset; a scanner alone counts as one without a grid that anybody may use."""
    require_generator(generator)
    if isinstance(scanner, str):
        return preset(scanner)
    if isinstance(scanner, Preset):
        return scanner
    if not isinstance(scanner, Scanner):
        raise SettingsError(f"a preset, its name or a Scanner is wanted, found {type(scanner).__name__}")
    return Preset(scanner, Grid((1, 1, 1), (0.0, 0.0, 0.0)), scanner.name)


def require_generator(generator: np.random.Generator) -> None:
    """SettingsError if it is something else, a seed for example."""
    if not isinstance(generator, np.random.Generator):
        raise SettingsError(
            f"generator must be a numpy.random.Generator, for example numpy.random.default_rng(0), found {generator!r}"
        )


def _require_counts(**counts: int) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise SettingsError(f"{name} must be a whole number of at least 1, found {value!r}")


def _image(phantom: Phantom | xr.DataArray, grid: Grid | None, finer: int) -> xr.DataArray:
    """Concentration ([frame,] z, y, x) with the grid in its attributes."""
    if isinstance(phantom, Phantom):
        if grid is None:
            raise SettingsError("a continuous phantom is drawn on a grid; pass grid=mpibridge.Grid(…)")
        return phantom.rendered(grid, finer)
    if not isinstance(phantom, xr.DataArray) or "grid_size" not in phantom.attrs:
        without = " without a grid: pass attrs=grid.attributes()" if isinstance(phantom, xr.DataArray) else ""
        raise SettingsError(
            "a phantom is a simulate.Phantom or what its `rendered` returns, with the grid in its attributes; "
            f"found {type(phantom).__name__}{without}"
        )
    if phantom.dims not in (model.GRID_DIMS, model.IMAGE_DIMS):
        raise ShapeError(f"a phantom has (z, y, x) or (frame, z, y, x), found {phantom.dims}")
    if not np.isfinite(phantom.values).all():
        raise SettingsError("a phantom has values that are not finite: put 0 where there is no tracer")
    return phantom


def _signals(scanner: Scanner, image: xr.DataArray, report: Report, workers: int) -> np.ndarray:
    """Clean voltages (frame, period, receiver, sample); one frame for a phantom at rest."""
    grid = Grid.from_attributes(image.attrs)
    values = image.values.reshape(-1, grid.n_voxels) * np.prod(grid.spacing)
    filled = np.flatnonzero(values.any(0))
    centers = np.stack(
        [axis.ravel() for axis in np.meshgrid(*(grid.axis(dim) for dim in "zyx"), indexing="ij")[::-1]],
        axis=-1,
    )
    sequence = scanner.sequence
    total = np.zeros((len(values), sequence.n_periods, scanner.n_receivers, sequence.n_samples))

    def induced(part: np.ndarray) -> np.ndarray:
        points = np.broadcast_to(centers[part], (len(values), len(part), 3))
        return scanner.voltage(points, values[:, part])

    parts = np.array_split(filled, max(1, -(-len(filled) // POINTS)))
    with ThreadPoolExecutor(workers) as pool:
        done = 0
        for part, signal in zip(parts, pool.map(induced, parts), strict=True):
            total += signal
            done += len(part)
            report(done, len(filled), "points of the phantom")
    return total


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
        **{f"/tracer/{name}": np.array(["simulated"], object) for name in ("batch", "vendor")},
        "/tracer/name": np.array([f"magnetite, {scanner.particles.core_diameter * 1e9:.4g} nm"], object),
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
