"""Presets: the numbers of the works they are named after."""

import numpy as np
import pytest

from mpibridge.errors import SettingsError
from mpibridge.simulate.presets import PRESETS, preset


@pytest.mark.parametrize(
    ("name", "frequencies", "cycle", "n_samples", "n_receivers", "drive_extent"),
    [
        ("openmpi-1d", [24.51e3], 40.8e-6, 102, 1, (24e-3, 0, 0)),
        ("openmpi-2d", [24.51e3, 26.04e3], 652.8e-6, 1632, 2, (24e-3, 24e-3, 0)),
        ("openmpi-3d", [24.51e3, 26.04e3, 25.25e3], 21.54e-3, 53856, 3, (24e-3, 24e-3, 12e-3)),
        ("mnist-2d", [24.51e3, 26.04e3], 652.8e-6, 1632, 2, (40e-3, 40e-3, 0)),
        ("xspace-2d", [24.75e3, 25e3], 4e-3, 19800, 2, (20e-3, 20e-3, 0)),
        ("narrowband", [25e3], 40e-6, 100, 1, (5.1e-3, 3.1e-3, 0)),
    ],
)
def test_sequences(name, frequencies, cycle, n_samples, n_receivers, drive_extent):
    scanner = preset(name).scanner
    assert scanner.name == name
    np.testing.assert_allclose(scanner.sequence.drive_frequencies, frequencies, rtol=2e-4)
    assert scanner.sequence.cycle == pytest.approx(cycle, rel=1e-3)
    assert scanner.sequence.n_samples == n_samples
    assert scanner.n_receivers == n_receivers
    np.testing.assert_allclose(np.ptp(scanner.trajectory, axis=(0, 1)), drive_extent, rtol=4e-3, atol=1e-9)


def test_grids():
    grids = {name: preset(name).grid for name in PRESETS}
    assert {name: grid.size for name, grid in grids.items()} == {
        "openmpi-1d": (19, 1, 1),
        "openmpi-2d": (19, 19, 1),
        "openmpi-3d": (19, 19, 19),
        "mnist-2d": (40, 40, 1),
        "xspace-2d": (280, 280, 1),
        "narrowband": (32, 32, 1),
    }
    assert grids["openmpi-3d"].spacing == pytest.approx((2e-3, 2e-3, 1e-3))
    assert grids["narrowband"].spacing[:2] == pytest.approx((0.1e-3, 0.1e-3))


def test_raster_of_the_narrowband_preset_is_its_grid():
    """Field-free points stand on the voxels, x fastest, when the drive field is 0."""
    chosen = preset("narrowband")
    centers = -chosen.scanner.sequence.offsets / np.diag(chosen.scanner.gradient)
    y, x = np.meshgrid(chosen.grid.axis("y"), chosen.grid.axis("x"), indexing="ij")
    np.testing.assert_allclose(centers[:, 0], x.ravel(), atol=1e-15)
    np.testing.assert_allclose(centers[:, 1], y.ravel(), atol=1e-15)
    assert chosen.bins == (3,)
    np.testing.assert_allclose(chosen.scanner.sequence.frequencies[3], 75e3)


def test_nearest_name():
    with pytest.raises(SettingsError, match="there is no preset 'openmpi2d'; did you mean 'openmpi-2d'"):
        preset("openmpi2d")
    with pytest.raises(SettingsError, match="known: openmpi-1d"):
        preset("?")
