"""Functions of space whose averages over voxels are known, networks that are these functions, and scans of them."""

import numpy as np
import torch

from mpibridge.model import Grid
from mpibridge.operators import SystemMatrix
from mpibridge.plugin import SpectralProblem
from mpibridge_plugins.nir.network import Siren

GRID = Grid((9, 8, 1), (9e-3, 8e-3, 1e-3))
"""Axes of different lengths: y has 8 voxels, x has 9; half the longest side is 4.5 mm."""
TINY = 1e-3


def siren(widths, n=1, *, seed=0, first=7.0, hidden=7.0, values="linear"):
    generators = np.random.default_rng(seed).spawn(n)
    return Siren(widths, first, hidden, values=values, generators=generators)


def plane_wave(wave, phase, *, offset=0.5, amplitude=0.4, first=1.0):
    """The network offset + amplitude · sin(wave · p + phase): one sine. wave: (z, y, x) or (y, x)."""
    network = siren([len(wave), 1, 1], first=first)
    numbers = [*(k / first for k in wave), amplitude, phase / first, offset]  # weights first, then biases
    return network.load(torch.tensor([numbers], dtype=torch.float32))


def constant(value):
    return plane_wave((0.0, 0.0), 0.0, offset=value, amplitude=0.0)


def ramp(slope, offset):
    """offset + slope · p, to 1e-6: a sine of tiny arguments."""
    return plane_wave([TINY * k for k in slope], 0.0, offset=offset, amplitude=1 / TINY)


def mean_of_wave(grid, wave, phase, *, offset=0.5, amplitude=0.4):
    """Exact averages (z, y, x) of that wave over the voxels of a grid in the field of view of `GRID`."""
    edges = [  # in units of half the longest side
        2 * (np.arange(n + 1) / n - 0.5) * length / max(grid.field_of_view[:2])
        for n, length in ((grid.size[1], grid.field_of_view[1]), (grid.size[0], grid.field_of_view[0]))
    ]
    (ky, kx), total = wave, np.exp(1j * phase)
    for k, e, axis in ((ky, edges[0], 0), (kx, edges[1], 1)):
        width = np.diff(e)
        one = np.exp(1j * k * (e[:-1] + width / 2)) * np.sinc(k * width / 2 / np.pi)
        total = total * (one[:, None] if axis == 0 else one[None, :])
    return (offset + amplitude * np.imag(total))[None]


def scan(images, *, sigma=0.0, matrix_noise=None, seed=0, n_rows=90, grid=GRID, tensors=True):
    """Images (frame, z, y, x) through a random matrix whose rows have unit norm. matrix_noise: σ of its entries."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / 2**0.5

    true = normal(n_rows, grid.n_voxels) / grid.n_voxels**0.5
    flat = np.asarray(images, float).reshape(len(images), -1)
    rows = flat @ true.T + sigma * normal(len(flat), n_rows)
    known = true if matrix_noise is None else true + matrix_noise * normal(*true.shape)
    keep = torch.from_numpy if tensors else (lambda array: array)
    return SpectralProblem(
        grid=grid,
        rows=keep(rows.astype(np.complex64)),
        operator=SystemMatrix(keep(known.astype(np.complex64)), grid),
        noise=keep(np.full(n_rows, sigma, np.float32)) if sigma else None,
        matrix_noise=None if matrix_noise is None else keep(np.full(n_rows, matrix_noise, np.float32)),
    )


def blobs(n=2, grid=GRID):
    """Smooth images (frame, z, y, x) between 0 and 1."""
    y, x = np.meshgrid(np.linspace(-1, 1, grid.size[1]), np.linspace(-1, 1, grid.size[0]), indexing="ij")
    places = [(0.3, -0.2), (-0.4, 0.4), (0.0, 0.5), (-0.5, -0.5)]
    return np.stack([np.exp(-((y - a) ** 2 + (x - b) ** 2) / 0.15)[None] for a, b in places[:n]])
