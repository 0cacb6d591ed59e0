"""Frames in batches are frames all at once; what is not sound is refused, before a method runs and after."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from mpibridge import execution
from mpibridge.errors import MPIBridgeWarning, PluginError, ShapeError
from mpibridge.execution import build_network, execute, n_frames, take_frames
from mpibridge.model import Grid
from mpibridge.operators import SystemMatrix
from mpibridge.plugin import ImageProblem, Plugin, Result, SpectralProblem, TrainablePlugin, WaveformProblem
from mpibridge.progress import silent

GRID = Grid((3, 2, 1), (3e-3, 2e-3, 1e-3))
N_FRAMES, EACH = 7, 1000


@dataclass
class Notes:
    """What a method saw: frames of every batch, and the first number of each frame."""

    batches: list[int] = field(default_factory=list)
    order: list[float] = field(default_factory=list)


class Noisy(Plugin[ImageProblem]):
    """The first channel, with noise of one generator per frame."""

    name = "noisy"
    takes = ImageProblem

    def __init__(self, noise: float = 1.0) -> None:
        super().__init__()
        self.noise, self.notes = noise, Notes()

    def bytes_per_frame(self, problem):
        return EACH

    def reconstruct(self, problem, *, generator, report):
        images, n = problem.images[:, 0], n_frames(problem)
        self.notes.batches.append(n)
        self.notes.order += images[:, 0, 0, 0].tolist()
        report(0, 2, "noise")
        normal = np.stack([own.standard_normal(GRID.shape) for own in generator.spawn(n)])
        report(2, 2, "noise")
        image = images + self.noise * normal
        trace = {"peak": image.max((1, 2, 3)), "history": np.repeat(image[:, :1, 0, 0], 5, 1), "batch": n}
        return Result(image=image, std=np.abs(normal), trace=trace)


def images(n: int = N_FRAMES) -> ImageProblem:
    values = np.arange(n * 2 * GRID.n_voxels, dtype=np.float32).reshape(n, 2, *GRID.shape)
    return ImageProblem(grid=GRID, images=values)


def run(method, problem, **more):
    more = {"generator": np.random.default_rng(0), "report": silent} | more
    return execute(method, problem, **more)


@settings(max_examples=30, deadline=None)
@given(memory=st.integers(0, (N_FRAMES + 2) * EACH))
def test_batches_give_what_all_at_once_gives(memory):
    whole, method = run(Noisy(), images(), memory=10**9), Noisy()
    result = run(method, images(), memory=memory)
    np.testing.assert_array_equal(result.image, whole.image)
    np.testing.assert_array_equal(result.std, whole.std)
    for name in ("peak", "history"):
        np.testing.assert_array_equal(result.trace[name], whole.trace[name])
    assert max(method.notes.batches) == min(max(memory // EACH, 1), N_FRAMES)
    assert sum(method.notes.batches) == N_FRAMES
    assert method.notes.order == images().images[:, 0, 0, 0, 0].tolist()


def test_figures_that_are_no_arrays_become_one_per_batch():
    assert run(Noisy(), images(), memory=3 * EACH).trace["batch"].tolist() == [3, 3, 1]
    assert run(Noisy(), images(), memory=10**9).trace["batch"] == N_FRAMES


def test_contrasts_stay_first_when_batches_are_joined():
    class TwoContrasts(Noisy):
        """Every image, and its double."""

        def reconstruct(self, problem, **more):
            image = problem.rows.real[:, :6].reshape(-1, *GRID.shape)
            return Result(image=np.stack([image, 2 * image]), times=np.arange(len(image)))

    operator = SystemMatrix(np.ones((8, 12), np.complex64), GRID, n_contrasts=2)
    rows = np.arange(N_FRAMES * 8, dtype=np.float32).reshape(N_FRAMES, 8).astype(np.complex64)
    noise = np.arange(1, N_FRAMES * 8 + 1, dtype=np.float32).reshape(N_FRAMES, 8)
    problem = SpectralProblem(grid=GRID, rows=rows, operator=operator, noise=noise)
    result = run(TwoContrasts(), problem, memory=2 * EACH)
    assert result.image.shape == (2, N_FRAMES, *GRID.shape)
    np.testing.assert_array_equal(result.image[0].reshape(N_FRAMES, 6), rows.real[:, :6])
    np.testing.assert_array_equal(result.image[1], 2 * result.image[0])
    assert result.times.tolist() == [0, 1, 0, 1, 0, 1, 0]


def test_frames_are_taken_with_their_noise():
    operator = SystemMatrix(np.ones((4, 6), np.complex64), GRID)
    rows = np.arange(12).reshape(3, 4).astype(np.complex64)
    each = SpectralProblem(grid=GRID, rows=rows, operator=operator, noise=np.arange(12.0).reshape(3, 4))
    part = take_frames(each, [2, 0])
    assert n_frames(part) == 2
    np.testing.assert_array_equal(part.rows, rows[[2, 0]])
    np.testing.assert_array_equal(part.noise, each.noise[[2, 0]])
    shared = replace(each, noise=np.arange(4.0))
    np.testing.assert_array_equal(take_frames(shared, [2, 0]).noise, shared.noise)


def test_half_of_the_free_memory_is_the_budget(monkeypatch):
    monkeypatch.setattr(execution, "_free_memory", lambda device: 2 * 3 * EACH)
    method = Noisy()
    run(method, images())
    assert method.notes.batches == [3, 3, 1]


@pytest.mark.parametrize("memory", [EACH, 2 * EACH, 3 * EACH, 10**9])
def test_progress_of_batches_is_progress_of_all(memory):
    calls = []
    run(Noisy(), images(), memory=memory, report=lambda done, total, text: calls.append((done, total)))
    totals = {total for _, total in calls}
    assert len(totals) == 1
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[0][0] == 0
    assert calls[-1][0] == calls[-1][1]


OPERATOR = SystemMatrix(np.ones((4, 6), np.complex64), GRID)
SPECTRAL = SpectralProblem(
    grid=GRID, rows=np.ones((2, 4), np.complex64), operator=OPERATOR, noise=np.ones(4, np.float32)
)
WAVEFORM = WaveformProblem(
    grid=GRID, waveform=np.ones((2, 1, 5), np.float32), sample_rate=1.0, trajectory=np.zeros((5, 3))
)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("problem", "name"),
    [
        (SPECTRAL, "rows"),
        (SPECTRAL, "noise"),
        (WAVEFORM, "waveform"),
        (WAVEFORM, "trajectory"),
        (images(2), "images"),
    ],
)
def test_data_that_are_not_finite_are_refused(problem, name, value):
    broken = getattr(problem, name).copy()
    place = tuple(n - 1 for n in broken.shape)
    broken[place] = value
    with pytest.raises(ShapeError) as caught:
        run(Noisy(), replace(problem, **{name: broken}))
    assert str(caught.value).startswith(f"{name} holds ")
    assert f"at {place}, 1 values are not finite" in str(caught.value)


@pytest.mark.parametrize("stored", [np.asarray, csr_matrix])
def test_a_system_matrix_that_is_not_finite_is_refused(stored):
    matrix = OPERATOR.matrix.copy()
    matrix[1, 2] = np.nan
    with pytest.raises(ShapeError, match=r"system matrix holds .*nan.*, 1 values are not finite"):
        run(Noisy(), replace(SPECTRAL, operator=SystemMatrix(stored(matrix), GRID)))


def returning(result):
    class Returns(Noisy):
        """A result that was chosen beforehand."""

        def bytes_per_frame(self, problem):
            return 0

        def reconstruct(self, problem, **more):
            return result

    return Returns()


GOOD = np.ones((2, *GRID.shape))


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (Result(image=GOOD[:1]), r"an image \(1, 1, 2, 3\), \(2, 1, 2, 3\) was wanted"),
        (Result(image=GOOD[..., 0]), r"an image \(2, 1, 2\)"),
        (Result(image=np.stack([GOOD] * 3)), r"an image \(3, 2, 1, 2, 3\)"),
        (Result(image=GOOD, grid=Grid((4, 4, 1), (1.0, 1.0, 1.0))), r"\(2, 1, 4, 4\) was wanted"),
        (Result(image=GOOD * np.nan), r"not finite \(image\)"),
        (Result(image=GOOD, std=np.inf * GOOD), r"not finite \(std\)"),
    ],
)
def test_a_result_that_is_not_sound_is_refused(result, said):
    with pytest.raises(PluginError, match=f"plugin 'noisy' returned .*{said}"):
        run(returning(result), images(2))


def test_a_result_becomes_float32_arrays():
    tensor = torch.ones(2, *GRID.shape, dtype=torch.float64, requires_grad=True)
    result = run(returning(Result(image=tensor, std=tensor, trace={"norm": torch.ones(2)})), images(2))
    assert type(result.image) is type(result.std) is type(result.trace["norm"]) is np.ndarray
    assert result.image.dtype == result.std.dtype == np.float32


class Learned(TrainablePlugin[ImageProblem]):
    """One weight times the first channel."""

    name = "learned"
    takes = ImageProblem

    def build_network(self, problem):
        assert isinstance(problem.images, torch.Tensor)
        assert len(problem.images) == 1
        return torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout(0.5))

    def loss(self, problem, target, *, generator):
        raise NotImplementedError

    def reconstruct(self, problem, *, generator, report):
        assert isinstance(problem.images, torch.Tensor)
        problem.images.mul_(2)  # what the caller keeps must not change where it is read-only
        return Result(image=self.network(problem.images[:, 0]))


def test_networks_are_built_from_a_seed_alone():
    before = torch.get_rng_state()
    one, again, other = (build_network(Learned(), images(), seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one[0].weight, again[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)


def test_networks_run_still_and_without_gradients():
    method = Learned()
    method.network = build_network(method, images()).train()
    first, second = (run(method, images()).image for _ in range(2))
    assert not method.network.training
    assert not any(weight.requires_grad for weight in method.network.parameters())
    assert first.dtype == np.float32
    assert np.isfinite(second).all()


def test_arrays_that_are_read_only_stay_as_they_are():
    """Files are mapped read-only; torch would warn of that, and a method could write into them."""
    method, problem = Learned(), images()
    method.network = build_network(method, problem)
    kept = problem.images.copy()
    problem.images.flags.writeable = False
    result = run(method, problem)
    np.testing.assert_array_equal(problem.images, kept)
    expected = method.network(2 * torch.from_numpy(kept)[:, 0])
    np.testing.assert_allclose(result.image, expected.numpy(), rtol=1e-6)


class Crowded(Noisy):
    """A GPU with room for two frames."""

    arrays = "torch"

    def reconstruct(self, problem, *, generator, report):
        n = n_frames(problem)
        generator.spawn(n)  # an attempt that fails half-way leaves no trace in the noise
        if n > 2:
            raise torch.cuda.OutOfMemoryError("no room")
        problem = replace(problem, images=problem.images.numpy())
        return super().reconstruct(problem, generator=generator, report=report)


def test_a_gpu_without_room_gets_smaller_batches_and_says_so_once():
    method = Crowded()
    with pytest.warns(MPIBridgeWarning, match="cpu has no room for 7 frames") as caught:
        found = execute(method, images(), generator=np.random.default_rng(1), report=silent, memory=7 * EACH)
    assert len(caught) == 1
    assert method.notes.batches == [1] * N_FRAMES
    alone = execute(Crowded(), images(), generator=np.random.default_rng(1), report=silent, memory=EACH)
    np.testing.assert_array_equal(found.image, alone.image)


def test_one_frame_without_room_is_an_error():
    class Tiny(Crowded):
        def reconstruct(self, problem, *, generator, report):
            raise torch.cuda.OutOfMemoryError("no room")

    with pytest.raises(PluginError, match="no room for a single frame"), pytest.warns(MPIBridgeWarning):
        execute(Tiny(), images(), generator=np.random.default_rng(1), report=silent, memory=7 * EACH)
