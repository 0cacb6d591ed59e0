"""What a simulated scanner records: measurements and calibrations, labelled as the reader labels a file.

Noise is white in every sample. Every receiver also hears a background that is strongest at low frequencies and drifts
over the recording; background frames show nothing else. Both recordings draw their own from the generator.
"""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import xarray as xr

from mpibridge import __version__, model
from mpibridge.errors import ShapeError
from mpibridge.mdf.header import Header
from mpibridge.mdf.schema import FLAGS
from mpibridge.simulate.lissajous import LissajousScanner

NOISE = 2e-7
"""V, standard deviation of one sample of one drive-field period."""
BACKGROUND, DRIFT = 2e-6, 2e-7
"""V, root mean square of the background and of its change over a recording."""
DELTA_POINTS = 3
"""The delta sample fills its voxel; it is sampled at this many points per axis."""
TIME = "2026-01-01T00:00:00.000"


def measurement(
    scanner: LissajousScanner,
    phantom: xr.DataArray,
    *,
    generator: np.random.Generator,
    n_frames: int = 10,
    n_background: int = 4,
    averages: int = 10,
    noise: float = NOISE,
) -> xr.Dataset:
    """A scan of a phantom at rest, with background frames before and after it.

    phantom: concentration (z, y, x) with coordinates in metres and z of one voxel, best on a grid finer than that of
    any calibration. noise: V. Returns ``signal`` (frame, period, receiver, sample) int16 with slope and offset.
    """
    grid = model.Grid.from_attributes(phantom.attrs)
    _require_plane(grid)
    points = np.stack(np.meshgrid(grid.axis("y"), grid.axis("x"), indexing="ij")[::-1], axis=-1)  # (y, x, 2)
    amounts = phantom.values[0] * np.prod(grid.spacing)
    clean = scanner.voltage(points, amounts).sum(0)
    is_background = np.ones(n_frames + n_background, bool)
    first = n_background // 2
    is_background[first : first + n_frames] = False
    index = np.arange(len(is_background))
    volts = _disturbance(scanner, index, noise / np.sqrt(averages), generator)
    volts[~is_background] += clean

    low, high = volts.min((0, 2)), volts.max((0, 2))
    slope, offset = (high - low) / 60000, (high + low) / 2
    samples = np.round((volts - offset[:, None]) / slope[:, None]).astype(np.int16)
    attrs = _header(scanner, model.MEASUREMENT, len(index), averages, generator)
    attrs["/acquisition/receiver/dataConversionFactor"] = np.stack([slope, offset], axis=1)
    coordinates = {
        "receiver": np.arange(2),
        "is_background": ("frame", is_background),
        "acquisition_index": ("frame", index),
        "time": ("frame", index * Header(attrs).frame_period, {"units": "s"}),
        "time_in_period": ("sample", np.arange(scanner.n_samples) / scanner.base_frequency, {"units": "s"}),
    }
    signal = xr.Variable(model.SIGNAL_DIMS, samples[:, None], model.STORED_NUMBERS)
    return xr.Dataset({"signal": signal}, coordinates, attrs)


def calibration(
    scanner: LissajousScanner,
    grid: model.Grid,
    *,
    generator: np.random.Generator,
    averages: int = 100,
    noise: float = NOISE,
) -> xr.Dataset:
    """A system matrix as a robot records it: line by line in a meander, a background frame before every line and last.

    grid: one voxel along z. noise: V. Returns ``system_matrix`` (period, receiver, frequency, z, y, x) complex64,
    ``background`` and ``snr``; the tracer of concentration 1 fills one voxel at a time.
    """
    from mpibridge.calibration import calculate_snr

    _require_plane(grid)
    nx, ny, _ = grid.size
    clean = scanner.voltage(*_delta_samples(grid))
    lines = np.arange(nx * ny).reshape(ny, nx)
    lines[1::2] = lines[1::2, ::-1]  # voxels in the order of the robot
    place = np.empty(nx * ny, np.int64)
    place[lines] = np.arange(ny)[:, None] * (nx + 1) + 1 + np.arange(nx)
    empty = np.arange(ny + 1) * (nx + 1)
    volts = _disturbance(scanner, np.concatenate([place, empty]), noise / np.sqrt(averages), generator)
    volts[: nx * ny] += clean
    spectra = np.moveaxis(np.fft.rfft(volts, axis=-1), 0, -1)[None].astype(np.complex64)

    attrs = _header(scanner, model.CALIBRATION, len(volts), averages, generator)
    attrs |= {
        "/calibration/deltaSampleSize": np.asarray(grid.spacing),
        "/calibration/fieldOfView": np.asarray(grid.field_of_view),
        "/calibration/fieldOfViewCenter": np.asarray(grid.center),
        "/calibration/method": "simulation",
        "/calibration/order": "xyz",
        "/calibration/size": np.asarray(grid.size),
    }
    shape = spectra.shape[:-1]
    variables = {
        "system_matrix": (model.SYSTEM_MATRIX_DIMS, spectra[..., : nx * ny].reshape(*shape, *grid.shape)),
        "background": (model.BACKGROUND_DIMS, spectra[..., nx * ny :]),
    }
    coordinates = {
        "receiver": np.arange(shape[1]),
        "acquisition_index": (model.GRID_DIMS, place.reshape(grid.shape)),
        "background_acquisition_index": ("background_frame", empty),
        "frequency": ("frequency", Header(attrs).frequencies, {"units": "Hz"}),
        "bin": ("frequency", np.arange(shape[-1])),
        **grid.coordinates(),
    }
    dataset = xr.Dataset(variables, coordinates, attrs)
    return dataset.assign(snr=calculate_snr(dataset).variable)


def _require_plane(grid: model.Grid) -> None:
    if grid.size[2] != 1:
        raise ShapeError(
            f"a grid of {grid.size} voxels does not lie in the plane of the drive fields; z must be 1"
        )


def _delta_samples(grid: model.Grid) -> tuple[np.ndarray, np.ndarray]:
    """Points (voxel, point, 2) in metres, x fastest, and their volumes (voxel, point) in m³."""
    inside = (np.arange(DELTA_POINTS) + 0.5) / DELTA_POINTS - 0.5
    y, x = ((grid.axis(dim)[:, None] + inside * grid.spacing["xyz".index(dim)]) for dim in "yx")
    shape = (len(y), len(x), DELTA_POINTS, DELTA_POINTS)
    points = np.stack(
        [np.broadcast_to(x[None, :, None], shape), np.broadcast_to(y[:, None, :, None], shape)], axis=-1
    )
    points = points.reshape(grid.n_voxels, DELTA_POINTS**2, 2)
    return points, np.full(points.shape[:2], np.prod(grid.spacing) / DELTA_POINTS**2)


def _disturbance(
    scanner: LissajousScanner, index: np.ndarray, noise: float, generator: np.random.Generator
) -> np.ndarray:
    """Background, drift and noise (frame, receiver, sample) in V of frames recorded at the places ``index``."""
    n_samples = scanner.n_samples
    n_bins = n_samples // 2 + 1
    spectra = generator.standard_normal((2, 2, n_bins, 2)) @ np.array([1, 1j])
    shapes = np.fft.irfft(spectra * np.exp(-np.arange(n_bins) / 120), n_samples)
    constant, drift = shapes / shapes.std(-1, keepdims=True)
    age = (index / max(1, index.max()))[:, None, None]
    return (
        BACKGROUND * constant
        + DRIFT * drift * age
        + noise * generator.standard_normal((len(index), 2, n_samples))
    )


def _header(
    scanner: LissajousScanner, kind: str, n_frames: int, averages: int, generator: np.random.Generator
) -> dict[str, Any]:
    """Metadata of a recording by MDF path."""
    identifiers = [str(uuid.UUID(bytes=generator.bytes(16), version=4)) for _ in range(3)]
    is_calibration = kind == model.CALIBRATION
    switched_on = ("isFastFrameAxis", "isFourierTransformed", "isFramePermutation") if is_calibration else ()
    drive, receiver = "/acquisition/drivefield", "/acquisition/receiver"
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
        **{f"/tracer/{name}": np.array(["simulated"], object) for name in ("name", "batch", "vendor")},
        "/tracer/solute": np.array(["Fe"], object),
        "/tracer/concentration": np.array([scanner.particles.iron * 1e-3]),
        "/tracer/volume": np.array([0.0]),
        **{f"/scanner/{name}": "simulation" for name in ("facility", "manufacturer", "operator")},
        "/scanner/name": "two-dimensional Lissajous",
        "/scanner/topology": "FFP",
        "/acquisition/startTime": TIME,
        "/acquisition/numAverages": np.int64(averages),
        "/acquisition/numFrames": np.int64(n_frames),
        "/acquisition/numPeriodsPerFrame": np.int64(1),
        "/acquisition/gradient": np.diag(scanner.gradient)[None, None],
        "/acquisition/offsetField": np.zeros((1, 1, 3)),
        f"{drive}/numChannels": np.int64(2),
        f"{drive}/baseFrequency": np.float64(scanner.base_frequency),
        f"{drive}/cycle": np.float64(scanner.cycle),
        f"{drive}/divider": np.array(scanner.dividers)[:, None],
        f"{drive}/strength": np.array(scanner.amplitude, float).reshape(1, 2, 1),
        f"{drive}/phase": np.zeros((1, 2, 1)),
        f"{drive}/waveform": np.array([["sine"], ["sine"]], object),
        f"{receiver}/numChannels": np.int64(2),
        f"{receiver}/bandwidth": np.float64(scanner.base_frequency / 2),
        f"{receiver}/numSamplingPoints": np.int64(scanner.n_samples),
        f"{receiver}/unit": "V",
        **{f"/measurement/{flag}": np.int8(flag in switched_on) for flag in FLAGS},
    }
