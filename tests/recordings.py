"""Small scans and calibrations in memory, with the header a reconstruction needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from mpibridge.model import Grid

N_SAMPLES, BANDWIDTH = 48, 1.2e6


def header(n_receivers: int = 2, n_periods: int = 1, **more: Any) -> dict[str, Any]:
    drive, receive = "/acquisition/drivefield", "/acquisition/receiver"
    return {
        f"{receive}/numSamplingPoints": N_SAMPLES,
        f"{receive}/bandwidth": BANDWIDTH,
        f"{receive}/numChannels": n_receivers,
        f"{receive}/unit": "V",
        f"{drive}/baseFrequency": 2 * BANDWIDTH,
        f"{drive}/cycle": N_SAMPLES / (2 * BANDWIDTH),
        f"{drive}/numChannels": 2,
        f"{drive}/divider": np.array([[8], [6]]),
        f"{drive}/strength": np.full((1, 2, 1), 0.012),
        f"{drive}/phase": np.zeros((1, 2, 1)),
        f"{drive}/waveform": np.full((2, 1), "sine", object),
        "/acquisition/numPeriodsPerFrame": n_periods,
        "/acquisition/numAverages": 1,
        "/acquisition/gradient": np.diag([-1.0, -1.0, 2.0])[None, None],
        **more,
    }


def scan(signal: np.ndarray, background: np.ndarray | None = None, **more: Any) -> xr.Dataset:
    """A measurement from signals (frame, period, receiver, sample)."""
    mask = np.zeros(len(signal), bool) if background is None else np.asarray(background, bool)
    return xr.Dataset(
        {"signal": (("frame", "period", "receiver", "sample"), signal)},
        {"is_background": ("frame", mask)},
        header(signal.shape[2], signal.shape[1], kind="measurement", **more),
    )


def calibration(
    matrix: np.ndarray,
    grid: Grid,
    *,
    background: np.ndarray | None = None,
    order: np.ndarray | None = None,
    background_order: np.ndarray | None = None,
    snr: np.ndarray | None = None,
    **more: Any,
) -> xr.Dataset:
    """A calibration from spectra (period, receiver, frequency, z, y, x) on the full spectrum."""
    bins = np.arange(matrix.shape[2])
    variables = {"system_matrix": (("period", "receiver", "frequency", "z", "y", "x"), matrix)}
    order = np.arange(grid.n_voxels).reshape(grid.shape) if order is None else order
    coordinates = {
        **grid.coordinates(),
        "bin": ("frequency", bins),
        "frequency": ("frequency", bins * 2 * BANDWIDTH / N_SAMPLES, {"units": "Hz"}),
        "acquisition_index": (("z", "y", "x"), order),
    }
    if background is not None:
        variables["background"] = (("period", "receiver", "frequency", "background_frame"), background)
        if background_order is None:
            background_order = grid.n_voxels + np.arange(background.shape[3])
        coordinates["background_acquisition_index"] = ("background_frame", background_order)
    if snr is not None:
        variables["snr"] = (("period", "receiver", "frequency"), snr)
    said = header(matrix.shape[1], matrix.shape[0], kind="calibration") | {
        "/calibration/size": np.array(grid.size),
        "/calibration/fieldOfView": np.array(grid.field_of_view),
        "/calibration/fieldOfViewCenter": np.array(grid.center),
        "/calibration/method": "simulation",
    }
    return xr.Dataset(variables, coordinates, said | more)


def random_complex(generator: np.random.Generator, *shape: int) -> np.ndarray:
    return (generator.standard_normal(shape) + 1j * generator.standard_normal(shape)).astype(np.complex64)
