"""A small scanner with the sequence of `mnist-2d`, and untrained methods for it."""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from mpibridge.execution import build_network
from mpibridge.model import Grid
from mpibridge.plugin import WaveformProblem
from mpibridge.simulate.presets import Preset, preset
from mpibridge.simulate.streams import waveform_pairs
from mpibridge_plugins.bilstm.plugin import BiLSTM
from mpibridge_plugins.bilstm.settings import BiLSTMSettings

SMALL = {"layers": 1, "units": 8, "decimation": 4, "fold": 8, "values": 2, "width": 8}
GRID = Grid((12, 10, 1), (40e-3, 40e-3, 1e-3))


def scanner() -> Preset:
    return replace(preset("mnist-2d"), grid=GRID, finer=2)


@lru_cache(maxsize=1)
def pairs() -> tuple[WaveformProblem, np.ndarray]:
    """Six waveforms and their images."""
    families = ("vessels", "blobs", "rings")
    return next(
        waveform_pairs(
            scanner(), families, generator=np.random.default_rng(5), snr=(30, 30), finer=2, batch=6
        )
    )


def untrained(**settings) -> BiLSTM:
    method = BiLSTM(BiLSTMSettings(**{**SMALL, **settings}))
    method.network = build_network(method, pairs()[0])
    return method
