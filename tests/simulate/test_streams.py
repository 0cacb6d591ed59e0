"""Pairs for training: the problem belongs to its target, the noise is as strong as said, the batch size changes nothing."""

import itertools

import numpy as np
import pytest

import mpibridge as mb
from mpibridge import simulate
from mpibridge.errors import SettingsError, ShapeError
from mpibridge.operators import SystemMatrix
from mpibridge.simulate.phantoms.shape import finer_grid
from mpibridge.simulate.streams import spectral_pairs, waveform_pairs

GRID = mb.Grid((8, 6, 1), (20e-3, 18e-3, 1e-3))
FAMILIES = ["blobs", "bars"]


def operator(n_rows=30, grid=GRID):
    generator = np.random.default_rng(0)
    matrix = generator.standard_normal((n_rows, grid.n_voxels, 2), np.float32).view(np.complex64)[..., 0]
    return SystemMatrix(matrix, grid)


def first(stream, n):
    """The first n frames of a stream."""
    problems, targets = [], []
    while sum(map(len, targets)) < n:
        problem, target = next(stream)
        problems.append(problem.rows if hasattr(problem, "rows") else problem.waveform)
        targets.append(target)
    return np.concatenate(problems)[:n], np.concatenate(targets)[:n]


def test_batch_size_changes_nothing():
    made = operator()
    one = first(spectral_pairs(made, FAMILIES, generator=np.random.default_rng(3), batch=4), 12)
    other = first(spectral_pairs(made, FAMILIES, generator=np.random.default_rng(3), batch=7), 12)
    np.testing.assert_array_equal(one[1], other[1])
    np.testing.assert_allclose(one[0], other[0], rtol=0, atol=1e-6 * np.abs(one[0]).max())


def test_rows_are_those_of_the_image_with_noise_as_said():
    made = operator()
    stream = spectral_pairs(made, FAMILIES, generator=np.random.default_rng(1), snr=(15.0, 15.0), batch=200)
    problem, target = next(stream)
    clean = target.reshape(200, -1) @ made.matrix.T
    ratio = (np.abs(clean) ** 2).sum() / (np.abs(problem.rows - clean) ** 2).sum()
    assert 10 * np.log10(ratio) == pytest.approx(15.0, abs=0.3)
    assert problem.operator is made
    assert target.shape == (200, *GRID.shape)


def test_noise_follows_the_rows():
    made, sigma = operator(), np.linspace(1, 3, 30)
    stream = spectral_pairs(made, FAMILIES, generator=np.random.default_rng(1), noise=sigma, batch=400)
    problem, target = next(stream)
    found = np.abs(problem.rows - target.reshape(400, -1) @ made.matrix.T).std(0)
    assert np.corrcoef(found, sigma)[0, 1] > 0.95
    np.testing.assert_allclose(
        problem.noise / problem.noise[:, :1], np.tile(sigma / sigma[0], (400, 1)), rtol=1e-5
    )


def test_a_finer_forward_matrix_commits_no_inverse_crime():
    fine = finer_grid(GRID, 3)
    forward = operator(grid=fine).matrix
    stream = spectral_pairs(
        operator(), FAMILIES, generator=np.random.default_rng(1), forward=forward, finer=3, snr=(200, 200)
    )
    problem, target = next(stream)
    assert target.shape[1:] == GRID.shape
    crime = target.reshape(len(target), -1) @ operator().matrix.T
    assert np.linalg.norm(problem.rows - crime) > 0.1 * np.linalg.norm(crime)
    with pytest.raises(ShapeError, match="the forward matrix is"):
        next(spectral_pairs(operator(), FAMILIES, generator=np.random.default_rng(1), forward=forward))


def test_waveforms_are_those_of_the_scanner():
    scanner = simulate.Scanner()
    chosen = simulate.Preset(scanner, GRID, "small")
    stream = waveform_pairs(chosen, FAMILIES, generator=np.random.default_rng(2), snr=(12.0, 12.0), batch=50)
    problem, target = next(stream)
    clean = simulate.waveforms(simulate.response(scanner, GRID), target).reshape(50, 2, 1632)
    ratio = (clean**2).sum((1, 2)) / ((problem.waveform - clean) ** 2).sum((1, 2))
    np.testing.assert_allclose(10 * np.log10(ratio), 12.0, atol=0.5)
    assert problem.sample_rate == 2.5e6
    np.testing.assert_array_equal(problem.trajectory, scanner.trajectory[0])


def test_tensors_on_a_device():
    torch = pytest.importorskip("torch")
    stream = spectral_pairs(operator(), FAMILIES, generator=np.random.default_rng(1), batch=3, device="cpu")
    problem, target = next(stream)
    assert isinstance(target, torch.Tensor)
    reference = next(spectral_pairs(operator(), FAMILIES, generator=np.random.default_rng(1), batch=3))[1]
    np.testing.assert_array_equal(target.numpy(), reference)
    assert len(list(itertools.islice(stream, 2))) == 2
    assert problem.rows.shape == (3, 30)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"snr": (20.0, 10.0)}, "snr must be a range"),
        ({"batch": 0}, "batch must be"),
        ({"snr": (1.0,)}, "snr must"),
    ],
)
def test_what_cannot_be_is_said(more, message):
    with pytest.raises(SettingsError, match=message):
        next(spectral_pairs(operator(), FAMILIES, generator=np.random.default_rng(1), **more))
    with pytest.raises(SettingsError, match="periods; one is wanted"):
        next(waveform_pairs("narrowband", FAMILIES, generator=np.random.default_rng(1)))


def test_with_a_reference_the_noise_is_as_strong_for_all():
    """The SNR is that of the reference; a phantom that is brighter has a higher one."""
    made, reference = operator(), simulate.phantoms.points([(2e-3, -3e-3)], diameter=6e-3)
    streams = {
        "generator": np.random.default_rng(1),
        "snr": (15.0, 15.0),
        "batch": 200,
        "reference": reference,
    }
    problem, target = next(spectral_pairs(made, FAMILIES, **streams))
    noise = problem.rows - target.reshape(200, -1) @ made.matrix.T
    shown = simulate.phantoms.render([reference], GRID)
    power = np.mean(np.abs(made.forward(shown)) ** 2)
    found = np.mean(np.abs(noise) ** 2, axis=1)
    assert 10 * np.log10(power / found.mean()) == pytest.approx(15.0, abs=0.3)
    assert found.std() < 0.5 * found.mean()
    np.testing.assert_allclose(problem.noise, np.sqrt(power / 10**1.5), rtol=1e-5)


def test_a_reference_without_signal_is_refused():
    nothing = 0 * simulate.phantoms.points([(0.0, 0.0)])
    with pytest.raises(SettingsError, match="gives no signal; choose another phantom"):
        next(spectral_pairs(operator(), FAMILIES, generator=np.random.default_rng(0), reference=nothing))


def test_the_layout_of_the_forward_matrix_changes_nothing():
    made = operator()
    by_rows, by_voxels = (
        next(spectral_pairs(made, FAMILIES, generator=np.random.default_rng(3), batch=4, forward=forward))
        for forward in (made.matrix, np.asfortranarray(made.matrix))
    )
    np.testing.assert_array_equal(by_rows[1], by_voxels[1])
    scale = np.abs(by_rows[0].rows).max()
    np.testing.assert_allclose(by_rows[0].rows, by_voxels[0].rows, rtol=0, atol=1e-6 * scale)
