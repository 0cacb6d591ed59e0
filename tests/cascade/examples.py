"""Small scans of both kinds, and an untrained method that is not silent."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from mpibridge.model import Grid
from mpibridge.plugin import SpectralProblem
from mpibridge.simulate import focus_fields
from mpibridge.simulate.presets import Preset, preset
from mpibridge.testing.examples import example
from mpibridge.training import Simulated
from mpibridge.training.run import CORRECTED
from mpibridge_plugins.cascade.plugin import Cascade
from mpibridge_plugins.cascade.settings import CascadeSettings

FAMILIES = ("vessels", "blobs", "rings")


def raster(n: int = 9) -> Preset:
    """The preset `narrowband` with n × n field-free points over n × n voxels of 0.3 mm."""
    base = preset("narrowband")
    grid = Grid((n, n, 1), (0.3e-3 * n, 0.3e-3 * n, 1e-3))
    y, x = np.meshgrid(grid.axis("y"), grid.axis("x"), indexing="ij")
    centers = np.stack([x, y, np.zeros_like(x)], -1).reshape(-1, 3)
    machine = base.scanner
    sequence = replace(machine.sequence, patches=focus_fields(machine.gradient, centers))
    return replace(base, scanner=replace(machine, sequence=sequence), grid=grid)


@lru_cache(maxsize=1)
def narrowband() -> tuple[SpectralProblem, np.ndarray]:
    """Four rasters of third harmonics and their images."""
    pairs = Simulated(raster(), families=FAMILIES, snr=(30, 30), validation=0).pairs(Cascade, CORRECTED, 0)
    return pairs.batch(0, 0, 4)


@lru_cache(maxsize=1)
def spectral() -> tuple[SpectralProblem, np.ndarray]:
    """Four Lissajous scans."""
    return example(SpectralProblem, np.random.default_rng(1), 4)


def untrained(problem: SpectralProblem, **settings) -> Cascade:
    """The plugin with a small network of random weights, none of which is zero."""
    from mpibridge.device import to_device

    method = Cascade(CascadeSettings(**{"width": 8, **settings}))
    torch.manual_seed(0)
    method.network = method.build_network(to_device(problem, "cpu", tensors=True)).eval()
    for parameter in method.network.parameters():
        parameter.data += 0.03 * torch.randn_like(parameter)
    return method
