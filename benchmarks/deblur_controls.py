"""What `deblur` is compared with: methods that know the blur of a point, and methods that know the exact operator.

The first take the image of a point in the centre for that of every point, as deconvolution does: Wiener, Richardson–Lucy, total
variation. The others solve ½‖A c − s‖², c ≥ 0 with the signals of every pixel: NNLS on the field of view and on a larger domain, and
with total variation. All run in float32; what is tuned is tuned by `mpibridge.protocol.tune`, on other phantoms and other noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from deblur_bed import CHOICE, CHOOSING, GRID, Bed

from mpibridge.protocol import Tuned, tune
from mpibridge.protocol.methods import Method
from mpibridge.simulate.presets import preset
from mpibridge.simulate.response import response
from mpibridge.solvers import fista
from mpibridge.solvers.prox import L2, TV
from mpibridge.xspace import forward
from mpibridge.xspace.operator import enlarged

MARGIN = 10
"""Pixels beyond every edge of the larger domain: 2.9 mm."""
RIDGE = 1e-7
"""Relative to the largest diagonal entry of AᵀA: lets float64 factorise it."""
DRAWS = 4
"""Of the noise, by which settings are chosen."""


@dataclass(frozen=True)
class Control:
    """run: signals (draw, receiver, sample) V → images (draw, y, x). grid: what is tuned; it grows beyond its ends."""

    name: str
    run: Callable[..., np.ndarray]
    grid: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def tuned(self, bed: Bed, snr: float) -> Tuned:
        """The settings with the highest mean PSNR on `CHOOSING`."""
        scans = {name: bed.measured(name, snr, DRAWS, CHOICE) for name in CHOOSING}

        def score(settings: Mapping[str, Any]) -> float:
            found = [bed.scores(self.run(s, **settings), name).mean() for name, s in scans.items()]
            return float(np.mean(found))

        return tune(Method(self.name, "xspace", grid=self.grid, grows=tuple(self.grid)), score)


class Blur:
    """The images of a point as kernels: y_i ≈ h_i ∗ c, where something was measured."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        tracer, built = preset("xspace-2d").scanner.particles, bed.gridding
        n = GRID.size[0]
        point = np.zeros((n, n))
        point[n // 2, n // 2] = 1
        assert built.gradient is not None
        fields = forward.convolved_fields(point, GRID, bed.beta * float(built.gradient[0]))
        volts = preset("xspace-2d").scanner.coils[0, 0] * tracer.saturation * tracer.beta * GRID.spacing[2]
        signals = volts * forward.sample(fields, forward.interpolation(GRID, built.position), built.rate)
        kernels = self.images(signals[None])[0]
        self.size = (2 * n, 2 * n)
        wide = np.zeros((len(kernels), *self.size), np.float32)
        wide[:, :n, :n] = kernels
        self.transfer = np.fft.rfft2(np.roll(wide, (-(n // 2), -(n // 2)), (1, 2)))
        self.mask = built.covered[:, 0].astype(np.float32)

    def images(self, signals: np.ndarray) -> np.ndarray:
        """Collinear images (draw, channel, y, x)."""
        return self.bed.problem(signals.astype(np.float32)).images[:, :, 0]

    def forward(self, image: np.ndarray) -> np.ndarray:
        wide = np.fft.irfft2(np.fft.rfft2(image, self.size)[:, None] * self.transfer, self.size)
        return self.mask * wide[..., : image.shape[-2], : image.shape[-1]]

    def adjoint(self, images: np.ndarray) -> np.ndarray:
        wide = np.fft.rfft2(self.mask * images, self.size) * self.transfer.conj()
        return np.fft.irfft2(wide.sum(1), self.size)[..., : images.shape[-2], : images.shape[-1]]

    def mean(self, signals: np.ndarray, gain: float) -> np.ndarray:
        """The mean of both images, times a gain."""
        return gain * self.images(signals).mean(1)

    def wiener(self, signals: np.ndarray, noise: float) -> np.ndarray:
        """Σ H̄_i Y_i / (Σ |H_i|² + noise · its largest value), negative values cut."""
        power = (np.abs(self.transfer) ** 2).sum(0)
        wide = (np.fft.rfft2(self.images(signals), self.size) * self.transfer.conj()).sum(1)
        n = GRID.size[0]
        return np.fft.irfft2(wide / (power + noise * power.max()), self.size)[:, :n, :n].clip(0)

    def richardson_lucy(self, signals: np.ndarray, iterations: float) -> np.ndarray:
        """c ← c · Hᵀ(y / H c) / Hᵀ1 from a constant; negative images count as 0. Richardson 1972, Lucy 1974."""
        images = self.images(signals).clip(0)
        ones = self.adjoint(np.ones_like(images))
        found = np.broadcast_to(
            images.sum((1, 2, 3), keepdims=True)[:, 0] / ones.sum((1, 2), keepdims=True), ones.shape
        )
        floor = 1e-6 * images.max()
        for _ in range(int(iterations)):
            found = (
                found * self.adjoint(images / self.forward(found).clip(floor)) / ones.clip(1e-6 * ones.max())
            )
        return found

    @cached_property
    def system(self) -> System:
        n = GRID.size[0]
        points = np.eye(n * n, dtype=np.float32).reshape(-1, n, n)
        blocks = [self.forward(part).reshape(len(part), -1) for part in np.array_split(points, 50)]
        matrix = np.concatenate(blocks).astype(np.float32).T
        return System(matrix, lambda signals: (self.mask * self.images(signals)).reshape(len(signals), -1), 0)


class System:
    """min ½‖A c − b‖² with c ≥ 0, through the Cholesky factor R of AᵀA: ‖A c − b‖² = ‖R c − R⁻ᵀAᵀb‖² + what c does not change.

    matrix: (row, pixel). data: signals → (draw, row). margin: pixels of c beyond every edge of the image.
    """

    def __init__(self, matrix: np.ndarray, data: Callable[[np.ndarray], np.ndarray], margin: int) -> None:
        import scipy.linalg

        self.data, self.margin = data, margin
        self.scale = float(np.sqrt(np.mean(matrix**2, dtype=float) * len(matrix)))
        self.transposed = matrix.T / self.scale
        gram = (self.transposed @ self.transposed.T).astype(float)
        gram[np.diag_indices_from(gram)] += RIDGE * gram.diagonal().max()
        self.factor = scipy.linalg.cholesky(gram, overwrite_a=True)
        self.rows = self.factor.astype(np.float32)

    def solve(self, signals: np.ndarray, iterations: float, regularization: float = 0.0) -> np.ndarray:
        """Images (draw, y, x) after so many steps of FISTA; regularization: λ of total variation, 0: none."""
        import scipy.linalg

        n = GRID.size[0] + 2 * self.margin
        projected = self.transposed @ self.data(signals).T.astype(np.float32)
        data = scipy.linalg.solve_triangular(self.factor, projected.astype(float), trans="T")
        term = TV(regularization, (n, n)) if regularization else L2(0.0)
        found = fista(
            self.rows,
            np.ascontiguousarray(data.T.astype(np.float32)),
            terms=[term],
            iterations=int(iterations),
            restart="gradient" if regularization else None,
        )
        inside = slice(self.margin, n - self.margin)
        return found.reshape(-1, n, n)[:, inside, inside] / self.scale


def exact(margin: int) -> System:
    """What every pixel induces at every sample (`mpibridge.simulate`), for the field of view and so many pixels more."""
    matrix = response(preset("xspace-2d").scanner, enlarged(GRID, margin)).T
    return System(matrix, lambda signals: signals.reshape(len(signals), -1), margin)


ITERATIONS = (5, 10, 20, 40, 80)
LAMBDAS = tuple(10.0 ** np.arange(-5, -0.9, 0.5))


def controls(bed: Bed, *, larger: bool = True) -> list[Control]:
    """Every method that is compared with; those that know the operator take minutes to set up."""
    blur, inside = Blur(bed), exact(0)
    found = [
        Control("raw mean, best gain", blur.mean, {"gain": tuple(10.0 ** np.arange(5.5, 7.6, 0.1))}),
        Control("Wiener", blur.wiener, {"noise": tuple(10.0 ** np.arange(-4, 0.1, 0.25))}),
        Control("Richardson–Lucy", blur.richardson_lucy, {"iterations": (2, 5, *ITERATIONS[1:])}),
        Control("TV deconvolution", partial(blur.system.solve, iterations=200), {"regularization": LAMBDAS}),
        Control("NNLS, exact, field of view", inside.solve, {"iterations": ITERATIONS}),
        Control(
            "NNLS + TV, exact, field of view",
            partial(inside.solve, iterations=200),
            {"regularization": LAMBDAS},
        ),
    ]
    if larger:
        outside = exact(MARGIN)
        found.append(Control("NNLS, exact, larger domain", outside.solve, {"iterations": ITERATIONS}))
    return found
