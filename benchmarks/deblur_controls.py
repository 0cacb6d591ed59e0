"""What `deblur` is compared with: methods that know the blur of a point, and methods that know the exact operator.

The first take every half of the scan to run along its mean direction, so that its image is a convolution: Wiener,
Richardson–Lucy, total variation. The others solve ½‖A c − s‖², c ≥ 0 with the signals of every pixel: NNLS on the field of view and on a larger domain, and
with total variation. All run in float32; what is tuned is tuned by `mpibridge.protocol.tune`, on other phantoms and other noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft as fft
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
RANK = 1200
"""Singular vectors that are kept: early stopping and total variation leave the others near 0 anyhow (`System.lost`)."""
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
    """y_i ≈ h_i ∗ c where something was measured, h_i the image of a point that is passed along the mean direction of a half."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        scanner, built = preset("xspace-2d").scanner, bed.gridding
        n, tracer = GRID.size[0], scanner.particles
        wide = enlarged(GRID, n // 2)  # lags up to the whole field of view
        point = np.zeros((2 * n, 2 * n))
        point[n, n] = 1
        assert built.gradient is not None
        strength = abs(float(built.gradient[0]))
        xx, xy, yy = forward.convolved_fields(point, wide, bed.beta * strength)
        factor = scanner.coils[0, 0] * tracer.saturation * tracer.beta * strength * GRID.spacing[2]
        kernels = [
            factor * (d[0] ** 2 * xx + 2 * d[0] * d[1] * xy + d[1] ** 2 * yy) for d in built.directions
        ]
        self.size = (2 * n, 2 * n)
        self.transfer = fft.rfft2(np.roll(np.array(kernels, np.float32), (-n, -n), (1, 2)))
        self.mask = built.covered[:, 0].astype(np.float32)

    def images(self, signals: np.ndarray) -> np.ndarray:
        """Collinear images (draw, channel, y, x)."""
        return self.bed.problem(signals.astype(np.float32)).images[:, :, 0]

    def forward(self, image: np.ndarray) -> np.ndarray:
        wide = fft.irfft2(fft.rfft2(image, self.size)[:, None] * self.transfer, self.size)
        return self.mask * wide[..., : image.shape[-2], : image.shape[-1]]

    def adjoint(self, images: np.ndarray) -> np.ndarray:
        wide = fft.rfft2(self.mask * images, self.size) * self.transfer.conj()
        return fft.irfft2(wide.sum(1), self.size)[..., : images.shape[-2], : images.shape[-1]]

    def mean(self, signals: np.ndarray, gain: float) -> np.ndarray:
        """The mean of both images, times a gain."""
        return gain * self.images(signals).mean(1)

    def wiener(self, signals: np.ndarray, noise: float, gain: float) -> np.ndarray:
        """gain · Σ H̄_i Y_i / (Σ |H_i|² + noise · its largest value), negative values cut."""
        power = (np.abs(self.transfer) ** 2).sum(0)
        wide = (fft.rfft2(self.images(signals), self.size) * self.transfer.conj()).sum(1)
        n = GRID.size[0]
        return gain * fft.irfft2(wide / (power + noise * power.max()), self.size)[:, :n, :n].clip(0)

    def richardson_lucy(self, signals: np.ndarray, iterations: float) -> np.ndarray:
        """c ← c · Hᵀ(y / H c) / Hᵀ1 from a constant; negative images count as 0. Richardson 1972, Lucy 1974."""
        images = self.images(signals).clip(0)
        ones = self.adjoint(np.ones_like(images))
        found = np.broadcast_to(
            images.sum((1, 2, 3), keepdims=True)[:, 0] / ones.sum((1, 2), keepdims=True), ones.shape
        )
        floor = 1e-6 * images.max((1, 2, 3), keepdims=True)
        for _ in range(int(iterations)):
            found = (
                found * self.adjoint(images / self.forward(found).clip(floor)) / ones.clip(1e-6 * ones.max())
            )
        return found

    def system(self, folder: Path) -> System:
        """The same convolutions as a least-squares problem."""

        def matrix() -> np.ndarray:
            n = GRID.size[0]
            points = np.eye(n * n, dtype=np.float32).reshape(-1, n, n)
            blocks = [self.forward(part).reshape(len(part), -1) for part in np.array_split(points, 50)]
            return np.concatenate(blocks).astype(np.float32).T

        def data(signals: np.ndarray) -> np.ndarray:
            return (self.mask * self.images(signals)).reshape(len(signals), -1)

        return System.of(folder / "blur.npz", matrix, data)


@dataclass(frozen=True)
class System:
    """min ½‖A c − b‖² with c ≥ 0, on the `RANK` strongest singular vectors of A.

    rows: (vector, pixel), and projector: (vector, row), of A divided by ``scale``. data: signals → (draw, row). margin: pixels of c
    beyond every edge of the image. lost: the largest eigenvalue of AᵀA that is left out, over the largest, about.
    """

    rows: np.ndarray
    projector: np.ndarray
    scale: float
    lost: float
    data: Callable[[np.ndarray], np.ndarray]
    margin: int = 0

    @classmethod
    def of(
        cls,
        file: Path,
        matrix: Callable[[], np.ndarray],
        data: Callable[[np.ndarray], np.ndarray],
        margin: int = 0,
    ) -> System:
        """The system of a matrix (row, pixel), from a file where it was left before."""
        if not file.exists():
            np.savez(file, **compressed(matrix()))
        with np.load(file) as kept:
            return cls(
                kept["rows"], kept["projector"], float(kept["scale"]), float(kept["lost"]), data, margin
            )

    def solve(self, signals: np.ndarray, iterations: float, regularization: float = 0.0) -> np.ndarray:
        """Images (draw, y, x) after so many steps of FISTA; regularization: λ of total variation, 0: none."""
        n = GRID.size[0] + 2 * self.margin
        data = self.projector @ self.data(signals).T.astype(np.float32)
        term = TV(regularization, (n, n), PROX_STEPS) if regularization else L2(0.0)
        found = fista(
            self.rows,
            np.ascontiguousarray(data.T),
            terms=[term],
            iterations=int(iterations),
            restart="gradient" if regularization else None,
        )
        inside = slice(self.margin, n - self.margin)
        return found.reshape(-1, n, n)[:, inside, inside] / self.scale


def compressed(matrix: np.ndarray) -> dict[str, Any]:
    """Randomised subspace iteration: Halko, Martinsson & Tropp 2011."""
    scale = float(np.sqrt(np.mean(matrix**2, dtype=float) * len(matrix)))
    transposed = matrix.T / np.float32(scale)
    gram = transposed @ transposed.T
    basis = np.random.default_rng(0).standard_normal((len(gram), RANK), np.float32)
    for _ in range(2):
        basis = np.linalg.qr(gram @ basis)[0]
    values, vectors = np.linalg.eigh((basis.T @ (gram @ basis)).astype(float))
    lost = values[0] / values[-1]
    sizes = np.sqrt(values.clip(1e-9 * values[-1]))[:, None]
    vectors = (basis @ vectors).T
    rows, inverse = (vectors * sizes).astype(np.float32), (vectors / sizes).astype(np.float32)
    return {"rows": rows, "projector": inverse @ transposed, "scale": scale, "lost": lost}


def exact(margin: int, folder: Path) -> System:
    """What every pixel induces at every sample (`mpibridge.simulate`), for the field of view and so many pixels more."""

    def matrix() -> np.ndarray:
        return response(preset("xspace-2d").scanner, enlarged(GRID, margin)).T

    return System.of(
        folder / f"exact-{margin}.npz", matrix, lambda signals: signals.reshape(len(signals), -1), margin
    )


ITERATIONS = (10, 20, 40, 80, 160)
LAMBDAS = tuple(10.0 ** np.arange(-3.5, -1.4, 0.5))
TV_STEPS, PROX_STEPS = 100, 5
CONTROLS = (
    "raw mean, best gain",
    "Wiener",
    "Richardson–Lucy",
    "TV deconvolution",
    "NNLS, exact, field of view",
    "NNLS, exact, larger domain",
    "NNLS + TV, exact, larger domain",
)


def controls(bed: Bed, folder: Path) -> list[Control]:
    """Every method that is compared with. folder: of the compressed operators, which take minutes to make."""
    blur, inside, outside = Blur(bed), exact(0, folder), exact(MARGIN, folder)

    def tv(system: System) -> Callable[..., np.ndarray]:
        return partial(system.solve, iterations=TV_STEPS)

    iterations, regularization = {"iterations": ITERATIONS}, {"regularization": LAMBDAS}
    choices: list[tuple[Callable[..., np.ndarray], Mapping[str, Sequence[float]]]] = [
        (blur.mean, {"gain": tuple(10.0 ** np.arange(5.5, 7.6, 0.1))}),
        (
            blur.wiener,
            {"noise": tuple(10.0 ** np.arange(-4, 0.1, 0.25)), "gain": tuple(np.arange(0.8, 2.01, 0.1))},
        ),
        (blur.richardson_lucy, iterations),
        (tv(blur.system(folder)), regularization),
        (inside.solve, iterations),
        (outside.solve, iterations),
        (tv(outside), regularization),
    ]
    return [Control(name, *choice) for name, choice in zip(CONTROLS, choices, strict=True)]
