"""The linear operator of a scanner: the same as simulating, for every grid and in any chunks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpibridge.errors import ShapeError
from mpibridge.model import Grid
from mpibridge.simulate.particles import Particles
from mpibridge.simulate.presets import preset
from mpibridge.simulate.response import delta_samples, response, waveforms
from mpibridge.simulate.scanner import Scanner
from mpibridge.simulate.sequences import LissajousSequence
from tests.relative import relative_error

PATCHES = LissajousSequence(dividers=(24, 16, 9), patches=((0.0, 0.0, 0.0), (4e-3, 1e-3, 0.0)))
SCANNER = Scanner(sequence=PATCHES, particles=Particles(relaxation_time=1e-6))
GRID = Grid((4, 3, 2), (20e-3, 15e-3, 4e-3), (1e-3, 0.0, 0.0))


@settings(max_examples=15, deadline=None)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)),
    st.tuples(st.floats(1e-3, 1e-1), st.floats(1e-3, 1e-1), st.floats(1e-3, 1e-1)),
    st.integers(1, 4),
)
def test_delta_samples_fill_their_voxels(size, extent, points):
    grid = Grid(size, extent, (1e-3, -2e-3, 3e-3))
    samples, volumes = delta_samples(grid, points)
    assert samples.shape == (grid.n_voxels, points ** sum(n > 1 for n in size), 3)
    np.testing.assert_allclose(volumes.sum(1), np.prod(grid.spacing))
    z, y, x = np.meshgrid(*(grid.axis(dim) for dim in "zyx"), indexing="ij")
    centers = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=-1)
    np.testing.assert_allclose(samples.mean(1), centers, atol=1e-12)
    reach = np.abs(samples - centers[:, None]).max((0, 1))
    wanted = np.where(np.array(size) > 1, np.array(grid.spacing) / 2 * (1 - 1 / points), 0)
    np.testing.assert_allclose(reach, wanted, atol=1e-12)


@pytest.mark.parametrize("chunk_bytes", [1, 2**26])
def test_time_form_is_the_voltage_of_every_image(chunk_bytes):
    images = np.random.default_rng(0).random((5, *GRID.shape))
    samples, volumes = delta_samples(GRID)
    points = np.broadcast_to(samples.reshape(1, -1, 3), (5, samples.shape[0] * samples.shape[1], 3))
    amounts = (images.reshape(5, -1, 1) * volumes).reshape(5, -1)
    expected = SCANNER.voltage(points, amounts)
    operator = response(SCANNER, GRID, chunk_bytes=chunk_bytes)
    assert operator.dtype == np.float32
    found = waveforms(operator, images.astype(np.float32)).reshape(expected.shape)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


def test_bins_are_the_spectra_of_the_time_form():
    bins = np.array([7, 2, 20])
    time = response(SCANNER, GRID).reshape(GRID.n_voxels, 2, 2, PATCHES.n_samples)
    found = response(SCANNER, GRID, bins=bins)
    assert found.dtype == np.complex64
    expected = np.fft.rfft(time.astype(float))[..., bins].reshape(GRID.n_voxels, -1)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


def test_operator_of_mnist_is_exact():
    """A coarse copy of the preset's grid: the digits' operator against direct sums, 1e-5."""
    chosen = preset("mnist-2d")
    grid = Grid((8, 8, 1), chosen.grid.field_of_view)
    image = np.random.default_rng(1).random((1, 8, 8))
    samples, volumes = delta_samples(grid)
    direct = chosen.scanner.voltage(
        samples.reshape(1, -1, 3), (image.reshape(-1, 1) * volumes).reshape(1, -1)
    )
    found = waveforms(response(chosen.scanner, grid), image.astype(np.float32))
    assert relative_error(found[0], direct.ravel()) < 1e-5


def test_column_of_a_voxel_is_a_delta():
    operator = response(SCANNER, GRID, points=2)
    image = np.zeros((1, *GRID.shape), np.float32)
    image[0, 1, 2, 3] = 1
    np.testing.assert_array_equal(waveforms(operator, image)[0], operator[(1 * 3 + 2) * 4 + 3])
    at = np.array([[[GRID.axis("x")[3], GRID.axis("y")[2], GRID.axis("z")[1]]]])
    single = response(SCANNER, GRID, points=1)[-1]
    expected = SCANNER.voltage(at, np.full((1, 1), np.prod(GRID.spacing))).ravel()
    np.testing.assert_allclose(single, expected, atol=1e-6 * np.abs(expected).max())


def test_progress_ends_with_all_voxels():
    calls = []
    response(SCANNER, GRID, chunk_bytes=1, workers=2, report=lambda *call: calls.append(call))
    assert calls[0] == (0, 24, "voxels")
    assert calls[-1] == (24, 24, "voxels")
    assert [done for done, _, _ in calls] == list(range(0, 25, 2))


def test_torch_images_go_through():
    torch = pytest.importorskip("torch")
    operator = response(SCANNER, GRID)
    images = np.random.default_rng(0).random((2, *GRID.shape), np.float32)
    found = waveforms(torch.from_numpy(operator), torch.from_numpy(images))
    np.testing.assert_allclose(
        found.numpy(), waveforms(operator, images), rtol=1e-4, atol=1e-6 * np.abs(operator).max()
    )


def test_shapes_are_checked():
    with pytest.raises(ShapeError, match="have 25 voxels, the response 24"):
        waveforms(np.zeros((24, 3)), np.zeros((1, 5, 5)))
