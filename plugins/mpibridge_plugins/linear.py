"""The measured data in singular coordinates: whitened, real, and reduced once to as many numbers as they tell of the image.

The real and imaginary parts of whitened rows b and their matrix A = U diag(s) Vᵀ give y = Uᵀb = s·(Vᵀx) + n with white
noise n of known σ; every step of every sampler then costs two products with V.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mpibridge.errors import SettingsError
from mpibridge.plugin import SpectralProblem

NEGLIGIBLE = 1e-6
"""Singular values below this share of the largest tell nothing in single precision."""
UNSURE = 0.1
"""Of the typical variance of a row: background frames are few, so that some rows look quieter than they are."""
FAINTEST = 1e-5
"""Noise as a share of the data that single precision adds to any."""
ITERATIONS, TOLERANCE = 300, 1e-3
"""Of ADMM; changes are measured against the image."""
PENALTY, RELAXATION = 10.0, 1.6
"""Of ADMM; the least penalty is in units of the weight of the image that is given."""
FIRM = 30.0
"""Penalty of ADMM in the same units where it runs for a few iterations only."""
TRUNCATED = 1.5
"""Times the rank that is asked for: smaller matrices are decomposed wholly, which is no slower."""
TINY = 1e-30
OF_FRAMES = ("y", "noise", "sigma", "missed", "scale")
"""Fields of `Data` with one entry per frame."""


@dataclass(frozen=True)
class Model:
    """A whitened system matrix: s (rank,), U as left (2·row, rank), V as basis (voxel, rank), weights of the rows (row,).

    unit: what the matrix was divided by, so that the largest singular value is 1.
    """

    values: Tensor
    left: Tensor
    basis: Tensor
    weights: Tensor
    unit: float = 1.0

    @property
    def n_numbers(self) -> int:
        """Of a frame: the real and the imaginary part of every row."""
        return self.left.shape[0]

    def cut(self, share: float) -> Model:
        """Without the singular values below this share of the largest."""
        keep = max(1, int((self.values > share * self.values[0]).sum()))
        return replace(
            self,
            values=self.values[:keep],
            left=self.left[:, :keep].contiguous(),
            basis=self.basis[:, :keep].contiguous(),
        )


@dataclass(frozen=True)
class Data:
    """Frames in singular coordinates: y (frame, rank); σ of their noise alone and with the model's error, the norm of what U

    misses of them, and the scale of their image, all (frame, 1).
    """

    model: Model
    y: Tensor
    noise: Tensor
    sigma: Tensor
    missed: Tensor
    scale: Tensor

    def scaled(self, factor: Tensor) -> Data:
        """The same frames in units in which their image is ``factor`` (frame, 1) times smaller."""
        y, noise, sigma, missed = (
            values / factor for values in (self.y, self.noise, self.sigma, self.missed)
        )
        return Data(self.model, y, noise, sigma, missed, self.scale * factor)

    def repeated(self, n: int) -> Data:
        """Every frame n times in a row."""
        return replace(self, **{name: getattr(self, name).repeat_interleave(n, 0) for name in OF_FRAMES})

    def frames(self, part: slice) -> Data:
        """Some of the frames."""
        return replace(self, **{name: getattr(self, name)[part] for name in OF_FRAMES})

    @property
    def variance(self) -> Tensor:
        """Mean square of a white image, (frame, 1), that explains the energy of the data beyond their noise."""
        all_of_it = self.y.square().sum(1, keepdim=True)
        beyond = torch.maximum(all_of_it - self.y.shape[1] * self.sigma.square(), 1e-2 * all_of_it)
        return (beyond / self.model.values.square().sum()).clamp_min(TINY)

    def tikhonov(self, variance: Tensor) -> Tensor:
        """Mean (frame, voxel) of the posterior of a white image with this variance (frame, 1)."""
        s = self.model.values
        coefficients = s * self.y / (s.square() + self.sigma.square() / variance).clamp_min(TINY)
        return coefficients @ self.model.basis.mT

    def step(self, image: Tensor, variance: float | Tensor, noise: Tensor | None = None) -> Tensor:
        """The mean of the posterior of an image known as N(image, variance), (frame, voxel); with unit noise a draw of it.

        The mean minimises ‖y − s·Vᵀx‖²/σ² + ‖x − image‖²/variance. noise: (frame, voxel), standard normal.
        """
        s, basis = self.model.values, self.model.basis
        precision = s.square() * variance / self.sigma.square()  # of the data over that of the image
        gain = precision / (1 + precision)
        moved = image + (gain * (self.y / s - image @ basis)) @ basis.mT
        if noise is None:
            return moved
        shrink = (1 + precision).rsqrt() - 1
        return moved + variance**0.5 * (noise + (shrink * (noise @ basis)) @ basis.mT)

    def positive_step(self, image: Tensor, variance: float) -> Tensor:
        """The mean of `step` for an image without negative values: the minimum over x ≥ 0.

        By over-relaxed ADMM. Its penalty starts at the geometric mean of the weakest and the strongest precision, and follows
        the balance of the residuals. Source: Boyd et al. 2011, sections 3.3 and 3.4.
        """
        strongest = 1 + self.model.values[0].square() * variance / self.sigma.square()
        penalty = strongest.sqrt().clamp_min(PENALTY) / variance  # (frame, 1)
        z = self.step(image, variance).clamp_min(0)
        dual, done = torch.zeros_like(z), torch.zeros_like(self.sigma, dtype=torch.bool)
        for iteration in range(ITERATIONS):
            new, dual, x = self._iteration(z, dual, image / variance, 1 / variance, penalty)
            moved, apart = (v.norm(dim=1, keepdim=True) for v in (new - z, x - new))
            z = torch.where(done, z, new)
            done = done | (torch.maximum(moved, apart) <= TOLERANCE * z.norm(dim=1, keepdim=True))
            if done.all():
                break
            if iteration % 10 == 9:
                factor = (apart / moved.clamp_min(TINY)).sqrt().clamp(0.2, 5)
                penalty, dual = penalty * factor, dual / factor
        return z

    def nonnegative(self, variance: Tensor, iterations: int) -> Tensor:
        """Nearly the `tikhonov` image (frame, voxel) among those without negative values: so many iterations from its positive part.

        By ADMM with a fixed penalty of `FIRM` over the variance: few iterations come far, for every frame alike.
        """
        penalty = FIRM / variance
        z = self.tikhonov(variance).clamp_min(0)
        dual = torch.zeros_like(z)
        for _ in range(iterations):
            z, dual, _ = self._iteration(z, dual, 0.0, 1 / variance, penalty)
        return z

    def _iteration(
        self, z: Tensor, dual: Tensor, pull: Tensor | float, precision: Tensor | float, penalty: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One over-relaxed iteration of ADMM: z ≥ 0, the dual and x. pull: the image that is known, times its precision."""
        both = 1 / (precision + penalty)
        x = self.step(both * (pull + penalty * (z - dual)), both)
        relaxed = RELAXATION * x + (1 - RELAXATION) * z
        new = (relaxed + dual).clamp_min(0)
        return new, dual + relaxed - new, x

    def residual(self, image: Tensor) -> Tensor:
        """‖Ax − b‖ over what noise and the model's error alone would leave, (frame,): about 1 explains the data."""
        rest = self.y - self.model.values * (image @ self.model.basis)
        return torch.hypot(rest.norm(dim=1), self.missed[:, 0]) / (
            self.sigma[:, 0] * self.model.n_numbers**0.5
        )


def model_of(matrix: Tensor, weights: Tensor, rank: int | None = None) -> Model:
    """The singular value decomposition of the weighted system matrix, found in double precision, kept in single.

    matrix: (row, voxel). weights: `row_weights`. It comes from the eigenvectors of the smaller Gram matrix, which is several
    times quicker and exact enough down to `NEGLIGIBLE`. rank: of a matrix with many more rows and voxels the largest singular
    values alone, by randomised subspaces.
    """
    stacked = _stacked((matrix * weights[:, None]).mT).mT
    if rank is not None and min(stacked.shape) > TRUNCATED * rank:
        left, values, basis = _largest(stacked.float(), rank)
        unit = float(values[0]) if values[0] > TINY else 1.0
        return Model(values.clamp_min(TINY) / unit, left, basis, weights, unit)
    stacked = stacked.double()
    tall = stacked.shape[0] >= stacked.shape[1]
    squares, vectors = torch.linalg.eigh(stacked.mT @ stacked if tall else stacked @ stacked.mT)
    values = squares.clamp_min(0).sqrt().flip(0)
    rank = max(1, int((values > NEGLIGIBLE * values[0]).sum()))
    values, vectors = values[:rank].clamp_min(TINY), vectors.flip(1)[:, :rank]
    other = (stacked @ vectors if tall else stacked.mT @ vectors) / values
    left, basis = (other, vectors) if tall else (vectors, other)
    unit = float(values[0]) if values[0] > TINY else 1.0
    return Model((values / unit).float(), left.float(), basis.float(), weights, unit)


class LatestModel:
    """The model of the system matrix that was asked for last: its decomposition takes longer than many frames."""

    def __init__(self) -> None:
        self._known: tuple[Tensor, Model] | None = None

    def of(self, problem: SpectralProblem) -> Model:
        """`model_of` the problem, decomposed anew only for another matrix or other weights."""
        matrix, weights = problem.operator.matrix, row_weights(problem)
        known = self._known
        if (
            known is None
            or not _is_same(known[0], matrix)
            or not torch.allclose(known[1].weights, weights, rtol=1e-5)
        ):
            known = self._known = (matrix, model_of(matrix, weights))
        return known[1]


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same numbers in memory: every conversion of an array makes a new tensor."""
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape and one.stride() == other.stride()


def _largest(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """U (n, rank), s (rank,), V (m, rank) of the largest singular values.

    Source: Halko, Martinsson and Tropp 2011, algorithm 4.4 with one power iteration. The start is drawn with a fixed seed: the
    matrix is decomposed alike for all frames.
    """
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(matrix.shape[1], min(rank + 50, *matrix.shape), generator=generator).to(matrix)
    q = torch.linalg.qr(matrix @ start)[0]
    q = torch.linalg.qr(matrix @ torch.linalg.qr(matrix.mT @ q)[0])[0]
    small = q.mT @ matrix
    squares, vectors = torch.linalg.eigh((small @ small.mT).double())
    values = squares.clamp_min(0).sqrt().flip(0)[:rank]
    keep = max(1, int((values > NEGLIGIBLE * values[0]).sum()))
    values, vectors = values[:keep].clamp_min(TINY).float(), vectors.flip(1)[:, :keep].float()
    return q @ vectors, values, (small.mT @ vectors) / values


def require_single_image(problem: SpectralProblem, plugin: str) -> None:
    """SettingsError for what a matrix with one column per voxel does not describe."""
    if problem.operator.transform is not None:
        raise SettingsError(
            f"plugin {plugin!r} takes no compressed system matrix: pass Preprocessing(sparsity=None)"
        )
    if problem.operator.n_contrasts > 1:
        raise SettingsError(
            f"plugin {plugin!r} takes one contrast, found {problem.operator.n_contrasts}: pass one calibration"
        )


def row_weights(problem: SpectralProblem) -> Tensor:
    """What makes the noise of all rows alike, (row,), 1 on average; rows that show no noise get the usual weight.

    SettingsError if the noise of the frames differs by more than a factor: their weights would depend on each other.
    """
    if not _is_known(problem.noise):
        return torch.ones(problem.rows.shape[1], device=problem.rows.device)
    deviation = torch.atleast_2d(problem.noise).double()
    heard = (problem.rows != 0).any(1)
    if len(deviation) == len(heard) and heard.any():
        deviation = deviation[heard]  # an empty phantom without noise says nothing of the others'
    shapes = deviation / deviation.mean(1, keepdim=True).clamp_min(TINY)
    if not torch.allclose(shapes, shapes[:1].expand_as(shapes), rtol=1e-3, atol=1e-6):
        raise SettingsError(
            "noise (frame, row) must differ by one factor per frame; reconstruct frames whose noise is of another kind, or "
            "that have none, separately"
        )
    variance = shapes[0].square()
    typical = variance[variance > 0].median()
    weights = (torch.where(variance > 0, variance, typical) + UNSURE * typical).rsqrt()
    return (weights / weights.mean()).float()


def data_of(problem: SpectralProblem, model: Model, model_error: float = 0.0) -> Data:
    """The frames of a problem in singular coordinates, in units of their estimated scale.

    The noise is the problem's; where that is missing or zero, what the data show where the system matrix says little. The
    model's error, a share of the data, adds to it in quadrature. The scale is the maximum of the Tikhonov image; that of a
    frame without signal is 1.
    """
    stacked = _stacked(problem.rows * model.weights)
    unit = _or_1(stacked.abs().amax(1, keepdim=True))  # squares stay within single precision
    stacked = stacked / unit
    y = stacked @ model.left
    missed = (stacked - y @ model.left.mT).norm(dim=1, keepdim=True)
    if _is_known(problem.noise):
        deviation = (
            torch.atleast_2d(problem.noise) * model.weights / 2**0.5
        )  # of real and imaginary part each
        noise = (deviation / unit).square().mean(1, keepdim=True).sqrt().to(y.dtype)
    else:
        noise = _estimated_noise(y, missed, model)
    loudness = stacked.square().mean(1, keepdim=True).sqrt()
    sigma = torch.hypot(noise, max(model_error, FAINTEST) * loudness)
    data = Data(model, y, noise, _or_1(sigma), missed, unit / model.unit)
    return data.scaled(_or_1(data.tikhonov(data.variance).amax(1, keepdim=True)))


def _or_1(values: Tensor) -> Tensor:
    """1 where they are no use as a unit."""
    return torch.where((values > TINY) & torch.isfinite(values), values, torch.ones_like(values))


def _is_known(noise: Tensor | None) -> bool:
    return noise is not None and bool((noise > 0).any())


def _stacked(rows: Tensor) -> Tensor:
    """Real, then imaginary parts: (n, row) complex → (n, 2·row)."""
    return torch.cat([rows.real, rows.imag], 1)


def _estimated_noise(y: Tensor, missed: Tensor, model: Model) -> Tensor:
    """σ (frame, 1) from what no image explains: the part of the data that U misses, and the singular values too small for an

    image of the energy that the data show. Which those are depends on σ, so that both are found in turns.
    """
    squares, energies = model.values.square(), y.square()
    n_missed = model.n_numbers - y.shape[1]
    quiet = (torch.arange(len(squares), device=y.device) >= 0.75 * len(squares)).expand(energies.shape)
    sigma_squared = torch.zeros_like(missed)
    for _ in range(10):
        n = n_missed + quiet.sum(1, keepdim=True)
        sigma_squared = (missed.square() + (energies * quiet).sum(1, keepdim=True)) / n.clamp_min(1)
        variance = (energies.sum(1, keepdim=True) - y.shape[1] * sigma_squared).clamp_min(0) / squares.sum()
        quiet = squares * variance < sigma_squared
    one_per_cent = 1e-4 * energies.mean(1, keepdim=True)  # of data that all tell of the image
    return torch.where(n_missed + quiet.sum(1, keepdim=True) < 4, one_per_cent, sigma_squared).sqrt()
