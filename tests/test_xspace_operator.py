"""The exact operator from a concentration to collinear images: against the simulator, and its laws."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpibridge import Grid, simulate
from mpibridge.errors import SettingsError, ShapeError
from mpibridge.mdf.header import Header
from mpibridge.signals import time_signals
from mpibridge.simulate import LissajousSequence, Preset, Scanner
from mpibridge.simulate.scanner import SENSITIVITY, diagonal_gradient
from mpibridge.xspace import ImageOperator, gridding
from mpibridge.xspace.operator import enlarged

GRID = Grid((16, 12, 1), (16e-3, 12e-3, 1e-3))
GRADIENT = (2.0, -3.0, 1.0)
SEQUENCE = LissajousSequence((16e-3, 18e-3, 0.0), dividers=(16, 15), base_frequency=400e3, oversampling=6)
SCANNER = Scanner("oblong", SEQUENCE, diagonal_gradient(*GRADIENT))
SILENCE = simulate.Noise(level=0.0, background=0.0, drift=0.0)
MARGIN = 3


def scan(image, grid):
    chosen = Preset(SCANNER, grid, "", finer=1)
    return simulate.scan(
        image, chosen, generator=np.random.default_rng(0), noise=SILENCE, n_frames=1, n_background=0
    )


def built(grid=GRID):
    import xarray as xr

    empty = xr.DataArray(np.zeros(grid.shape), grid.coordinates(), ("z", "y", "x"), attrs=grid.attributes())
    return gridding(Header(scan(empty, grid).attrs), grid, n_receivers=2)


def drawn(grid, seed=0):
    import xarray as xr

    values = np.random.default_rng(seed).random(grid.shape)
    return xr.DataArray(values, grid.coordinates(), ("z", "y", "x"), attrs=grid.attributes())


@pytest.mark.parametrize("margin", [0, MARGIN])
@pytest.mark.parametrize("gridded_on", [GRID, Grid((12, 10, 1), (12e-3, 10e-3, 1e-3))])
def test_images_are_those_of_the_simulated_scan(margin, gridded_on):
    """Also for gradients of both signs, and for a path that leaves the grid."""
    maps = built(gridded_on)
    beta = SCANNER.particles.beta
    operator = ImageOperator(maps, beta, margin=margin)
    image = drawn(operator.grid)
    wanted = maps(time_signals(scan(image, operator.grid)).values).images[0, :, 0]
    factor = SENSITIVITY * SCANNER.particles.saturation * beta * GRID.spacing[2]
    found = factor * operator.forward(torch.tensor(image.values).float())[0].numpy()
    assert np.linalg.norm(found - wanted) < 1e-2 * np.linalg.norm(wanted)


@pytest.fixture(scope="module")
def operator():
    return ImageOperator(built(), SCANNER.particles.beta, margin=MARGIN)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_adjoint_is_one(operator, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((2, *operator.grid.shape[1:]), generator=generator)
    y = torch.randn((2, *operator.shape), generator=generator)
    forward, back = operator.forward(x), operator.adjoint(y)
    assert forward.shape == y.shape == (2, 2, 12, 16)
    assert back.shape == x.shape == (2, 18, 22)
    one, other = float((forward * y).sum()), float((x * back).sum())
    assert abs(one - other) <= 1e-4 * float(forward.norm() * y.norm())


def test_it_is_linear_and_takes_frames_one_by_one(operator):
    a, b = torch.rand((2, *operator.grid.shape[1:]), generator=torch.Generator().manual_seed(1))
    both = operator.forward(torch.stack([a, b]))
    sum_ = operator.forward((2 * a - 3 * b)[None])[0]
    torch.testing.assert_close(sum_, 2 * both[0] - 3 * both[1], rtol=0, atol=1e-5 * float(both.abs().max()))
    torch.testing.assert_close(operator.forward(b[None])[0], both[1], rtol=1e-5, atol=0)


def test_a_larger_domain_keeps_pixels_and_places():
    wide = enlarged(GRID, MARGIN)
    assert wide.shape == (1, 18, 22)
    np.testing.assert_allclose(wide.axis("x")[MARGIN:-MARGIN], GRID.axis("x"), atol=1e-12)
    np.testing.assert_allclose(wide.axis("y")[MARGIN:-MARGIN], GRID.axis("y"), atol=1e-12)


def test_what_has_no_exact_model_is_refused():
    maps = built()
    with pytest.raises(SettingsError, match="diagonal gradient"):
        ImageOperator(replace(maps, gradient=None), 1.0)
    with pytest.raises(SettingsError, match=r"not as `Gridding.to` moved it"):
        ImageOperator(maps.to("cpu"), 1.0)
    with pytest.raises(ShapeError, match=r"the grid \(z, y, x\) is \(2, 12, 16\)"):
        ImageOperator(replace(maps, grid=Grid((16, 12, 2), (1.0, 1.0, 1.0))), 1.0)
