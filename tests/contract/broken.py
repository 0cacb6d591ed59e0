"""A sound method without and one with a network, and versions of them that break one clause each."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from mpibridge.plugin import Plugin, Result, SpectralProblem, TrainablePlugin


@dataclass(frozen=True)
class PowerSettings:
    """Of both methods."""

    regularization: float = 0.03  # λ relative to ‖S‖²/voxels
    power: tuple[float, ...] = (1.0,)  # of the image


class Classical(Plugin[SpectralProblem]):
    """Regularised least squares."""

    name = "classical"
    takes = SpectralProblem
    Settings = PowerSettings

    def reconstruct(self, problem, *, generator, report):
        report(0, 1, "solving")
        image = self.solved(problem)
        report(1, 1, "solving")
        return Result(image=image, std=np.abs(image), trace={"peak": image.max((1, 2, 3)), "rows": 62})

    def solved(self, problem) -> np.ndarray:
        matrix = np.concatenate([problem.operator.matrix.real, problem.operator.matrix.imag])
        rows = np.concatenate([problem.rows.real, problem.rows.imag], axis=1)
        normal = matrix.T @ matrix
        normal += self.settings.regularization * np.trace(normal) / len(normal) * np.eye(len(normal))
        # One frame at a time: a product of other size rounds in another way.
        columns = np.stack([np.linalg.solve(normal, matrix.T @ row) for row in rows])
        return problem.operator.to_image(columns.astype(np.float32))


class Remembers(Classical):
    """Its second image is another one."""

    calls = 0

    def reconstruct(self, problem, **more):
        self.calls += 1
        return Result(image=self.solved(problem) * self.calls)


class Shares(Classical):
    """Instances see each other's work."""

    seen: ClassVar[dict[int, int]] = {}

    def reconstruct(self, problem, **more):
        first = self.seen.setdefault(id(self), len(self.seen))
        return Result(image=self.solved(problem) * (1 + first))


class DrawsGlobally(Classical):
    """Noise from nobody's generator."""

    def reconstruct(self, problem, **more):
        image = self.solved(problem)
        return Result(image=image + np.random.rand(*image.shape))


class DrawsFromPython(Classical):
    """A global generator is used, though the image doesn't show it."""

    def reconstruct(self, problem, **more):
        random.random()
        return Result(image=self.solved(problem))


class SeedsTorch(Classical):
    """A global seed."""

    def reconstruct(self, problem, **more):
        torch.manual_seed(0)
        return Result(image=self.solved(problem))


class WritesRows(Classical):
    """Scales the data in place."""

    def reconstruct(self, problem, **more):
        problem.rows[...] *= 2
        image = self.solved(problem) / 2
        problem.rows[...] /= 2
        problem.rows[0, 0] += np.complex64(1e-7)
        return Result(image=image)


class WritesMatrix(Classical):
    """Leaves a row of the system matrix out in place."""

    def reconstruct(self, problem, **more):
        problem.operator.matrix[0] = 0
        return Result(image=self.solved(problem))


class Prints(Classical):
    """Says what it does."""

    def reconstruct(self, problem, **more):
        print("solving")  # noqa: T201
        return Result(image=self.solved(problem))


class Transposes(Classical):
    """Axes in another order."""

    def reconstruct(self, problem, **more):
        return Result(image=np.moveaxis(self.solved(problem), 0, -1))


class Complex(Classical):
    """A complex image."""

    def reconstruct(self, problem, **more):
        return Result(image=self.solved(problem).astype(np.complex64))


class Tensors(Classical):
    """Tensors where arrays were given."""

    def reconstruct(self, problem, **more):
        return Result(image=torch.from_numpy(self.solved(problem)))


class NotFinite(Classical):
    """A value that is no number."""

    def reconstruct(self, problem, **more):
        image = self.solved(problem)
        image[:, 0, 0, 0] = np.nan
        return Result(image=image)


class NegativeStd(Classical):
    """A standard deviation below 0."""

    def reconstruct(self, problem, **more):
        image = self.solved(problem)
        return Result(image=image, std=-np.abs(image))


class OtherStd(Classical):
    """A standard deviation of another shape."""

    def reconstruct(self, problem, **more):
        image = self.solved(problem)
        return Result(image=image, std=np.abs(image[:, 0]))


class StepsFirst(Classical):
    """A trace whose first axis is no frame."""

    def reconstruct(self, problem, **more):
        return Result(image=self.solved(problem), trace={"residual": np.zeros(7)})


class GoesBack(Classical):
    """Progress that shrinks."""

    def reconstruct(self, problem, *, generator, report):
        report(2, 3, "solving")
        report(1, 3, "solving")
        return Result(image=self.solved(problem))


class Overshoots(Classical):
    """More than everything is done."""

    def reconstruct(self, problem, *, generator, report):
        report(4, 3, "solving")
        return Result(image=self.solved(problem))


class SaysNumbers(Classical):
    """Progress without words."""

    def reconstruct(self, problem, *, generator, report):
        report(1, 1, 1)
        return Result(image=self.solved(problem))


class SeesTheBatch(Classical):
    """A threshold relative to the largest voxel of all frames."""

    def reconstruct(self, problem, **more):
        image = self.solved(problem)
        return Result(image=np.where(image > 0.3 * image.max(), image, 0))


class SubtractsTheMean(Classical):
    """The mean of the frames is taken for background."""

    def reconstruct(self, problem, **more):
        image = self.solved(problem)
        return Result(image=image - 0.1 * image.mean(0, keepdims=True))


class FirstFrameDiffers(Classical):
    """The first frame of a batch is treated in another way."""

    def reconstruct(self, problem, **more):
        image = self.solved(problem)
        image[0] *= 1.1
        return Result(image=image)


class DrawsInRounds(Classical):
    """Random numbers of all frames, round by round: they depend on the batch."""

    def reconstruct(self, problem, *, generator, report):
        image = self.solved(problem)
        for _ in range(2):
            image = image + 0.01 * generator.standard_normal(image.shape, np.float32)
        return Result(image=image)


class DividesByZero(Classical):
    """Nothing divided by its maximum."""

    def reconstruct(self, problem, **more):
        image = self.solved(problem)
        peak = image.max((1, 2, 3), keepdims=True)
        with np.errstate(invalid="ignore"):
            return Result(image=image / peak * peak)


class Empty(Classical):
    """No image at all."""

    def reconstruct(self, problem, **more):
        return Result(image=0 * self.solved(problem))


class Raises(Classical):
    """Fails."""

    def reconstruct(self, problem, **more):
        raise KeyError("no such thing")


@dataclass
class Mutable:
    """Not frozen."""

    width: int = 1  # of something


@dataclass(frozen=True)
class Unexplained:
    """A field without a word."""

    width: int = 1


@dataclass(frozen=True)
class Needed:
    """A field without a default."""

    width: int  # of something


@dataclass(frozen=True)
class Unwritable:
    """A default that JSON has no word for."""

    taps: Any = field(default_factory=lambda: np.ones(3))  # of a filter


@dataclass(frozen=True)
class Forgetful:
    """A default that comes back as something else."""

    taps: list[float] = field(default_factory=lambda: [1.0])  # of a filter; a tuple would come back


class WithMutable(Classical):
    """Settings that anyone may change."""

    Settings = Mutable


class WithUnexplained(Classical):
    """Settings that nobody understands."""

    Settings = Unexplained


class WithNeeded(Classical):
    """Settings without defaults."""

    Settings = Needed


class WithUnwritable(Classical):
    """Settings that cannot be stored."""

    Settings = Unwritable


class WithForgetful(Classical):
    """Settings that change when stored."""

    Settings = Forgetful


class Unfinished(Plugin[SpectralProblem]):
    """Nothing to run."""

    name = "unfinished"
    takes = SpectralProblem


class Unplaced(Classical):
    """A problem of its own."""

    takes = PowerSettings  # type: ignore[assignment]


class Lists(Classical):
    """Arrays of its own."""

    arrays = "list"


class Silent(Classical):
    __doc__ = None


class Learned(TrainablePlugin[SpectralProblem]):
    """Back projection, weighted by a network."""

    name = "learned"
    takes = SpectralProblem
    Settings = PowerSettings
    network_settings = ("power",)

    def build_network(self, problem):
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 1, 3, padding=1))

    def loss(self, problem, target, *, generator):
        return torch.mean((self.polished(problem) - target) ** 2)

    def reconstruct(self, problem, *, generator, report):
        return Result(image=self.polished(problem))

    def polished(self, problem) -> torch.Tensor:
        image = problem.operator.adjoint(problem.rows).real
        image = image / problem.operator.matrix.abs().square().sum(0).mean()
        return image + self.network(image[:, 0, None])[:, 0, None]


class UnknownNetworkSetting(Learned):
    """Stores what it does not have."""

    network_settings = ("width",)


class ReturnsArrays(Learned):
    """Arrays where tensors were given."""

    def reconstruct(self, problem, **more):
        return Result(image=self.polished(problem).numpy())


class BuildsAtRandom(Learned):
    """Initial weights from elsewhere."""

    def build_network(self, problem):
        network = super().build_network(problem)
        nn.init.constant_(network[0].bias, np.random.default_rng().random())
        return network


class BuildsFromData(Learned):
    """As many channels as the data say."""

    def build_network(self, problem):
        width = int(problem.rows[-1, 0].real.abs() * 1e12) % 97 + 1
        return nn.Sequential(nn.Conv2d(1, width, 1), nn.Conv2d(width, 1, 1))


class LossPerFrame(Learned):
    """One number per frame."""

    def loss(self, problem, target, *, generator):
        return torch.mean((self.polished(problem) - target) ** 2, (1, 2, 3))


class LossIsSum(Learned):
    """A sum over frames."""

    def loss(self, problem, target, *, generator):
        return torch.sum((self.polished(problem) - target) ** 2)


class LossIsNaN(Learned):
    """No number."""

    def loss(self, problem, target, *, generator):
        return super().loss(problem, target, generator=generator) * torch.nan


class LossDrawsGlobally(Learned):
    """Noise from torch's own generator."""

    def loss(self, problem, target, *, generator):
        return super().loss(problem, target + 0.1 * torch.randn(target.shape), generator=generator)


class LossWritesTarget(Learned):
    """Scales the target in place."""

    def loss(self, problem, target, *, generator):
        target.mul_(2)
        return super().loss(problem, target / 2, generator=generator)


class LossWritesRows(Learned):
    """Changes the data in place."""

    def loss(self, problem, target, *, generator):
        problem.rows[0, 0] = 0
        return super().loss(problem, target, generator=generator)


class IdleWeights(Learned):
    """A layer that nothing reaches."""

    def build_network(self, problem):
        network = super().build_network(problem)
        network.register_parameter("idle", nn.Parameter(torch.zeros(3)))
        return network


class HiddenState(Learned):
    """A scale that no file of weights holds."""

    def build_network(self, problem):
        network = super().build_network(problem)
        network.scale = float(torch.rand(()))
        return network

    def polished(self, problem):
        return super().polished(problem) * self.network.scale


class LearnsNothing(Learned):
    """A loss that training makes larger."""

    def loss(self, problem, target, *, generator):
        sign = -1 if self.network.training else 1
        return sign * super().loss(problem, target, generator=generator)


class Frozen(Learned):
    """No weight is trained."""

    def build_network(self, problem):
        return super().build_network(problem).requires_grad_(False)

    def loss(self, problem, target, *, generator):
        return super().loss(problem, target, generator=generator) + torch.zeros((), requires_grad=True)
