"""Kaczmarz in block triangular form: matrix products for many frames at once, on CPU and GPU.

For a block of rows B with Gram matrix G the row-by-row updates are exactly

    T α = b − A_B x − ε v,   x ← x + A_Bᴴ α,   v ← v + ε α,   T = strict lower triangle of G + diag(‖a‖² + λ)

for all frames at once: the same iterates as the row sweep, up to rounding. T is inverted once per call. That is
safe for any rows: with rows of norm one, T + Tᴴ = G + (1 + 2λ)·I ≥ I, so ‖T⁻¹‖ ≤ 2 even for λ = 0 and parallel
rows. Source: RegularizedLeastSquares.jl `Kaczmarz.jl` (mpireco.md §3.9), rewritten.
"""

from __future__ import annotations

from typing import Any

from mpibridge.solvers.iterate import Callback
from mpibridge.solvers.kaczmarz import Transform, solve
from mpibridge.solvers.normalization import Normalization
from mpibridge.solvers.system import BlockSystem, as_tensor, prepare

_TILE_BYTES = 320_000  # slice of the images that stays in a core's L2 cache between update and product


def block_kaczmarz(
    matrix: Any,
    data: Any,
    *,
    iterations: int = 10,
    regularization: Any = 0.0,
    normalization: Normalization = "system_matrix",
    real: bool = True,
    positive: bool = True,
    l1: float = 0.0,
    transform: Transform | None = None,
    scale: float | None = None,
    callback: Callback | None = None,
    block: int | None = None,
    device: Any = None,
) -> Any:
    """Regularised Kaczmarz as matrix products; the images of `kaczmarz`, for NumPy arrays and torch tensors.

    Arguments and errors are those of `kaczmarz`; besides: matrix and data may be torch tensors, and images then
    come back as a tensor on their device. block: rows per product (None: 128), without influence on the image.
    device: where to compute (None: where the matrix is; NumPy arrays on the CPU); the images come back as
    what the data was. A `BlockSystem` from `prepare` has its own block and device. The other arguments are described there.
    """
    system = matrix if isinstance(matrix, BlockSystem) else prepare(matrix, block=block, device=device)
    return solve(
        system,
        data,
        iterations=iterations,
        regularization=regularization,
        normalization=normalization,
        real=real,
        positive=positive,
        l1=l1,
        transform=transform,
        scale=scale,
        callback=callback,
        form="block",
    )


class BlockSweep:
    """Images and auxiliary variables of all frames, advanced by one sweep at a time with torch."""

    def __init__(self, system: BlockSystem, data: Any, penalty: Any) -> None:
        """system: (row, voxel); data: (frame, row) tensor; penalty: (frame,) λ, float64, on the same device."""
        import torch

        matrix = as_tensor(system.matrix)
        self._blocks = matrix.split(system.block)
        scale = as_tensor(system.scale)
        ratio = scale[:, None].square() * penalty  # λ/‖a‖², (row, frame)
        precision = matrix.real.dtype
        self._scale = scale.to(precision)[:, None]
        self._ratio = ratio.to(precision)
        self._data = self._scale * data.T
        self._total = torch.zeros_like(self._data)
        self._image = torch.zeros((matrix.shape[1], data.shape[0]), dtype=matrix.dtype, device=matrix.device)
        self._grams = system.block_grams()
        # Skipped rows have scale 0 and hence a unit diagonal, and right-hand sides that are zero.
        self._shared = bool((penalty == penalty[:1]).all())
        self._inverses: list[Any] = []
        if self._shared:
            for gram, own in zip(self._grams, self._ratio[:, :1].split(system.block), strict=True):
                identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
                triangle = gram + identity * (1 + own)
                self._inverses.append(torch.linalg.solve_triangular(triangle, identity, upper=False))
        n_frames = data.shape[0]
        fitting = _TILE_BYTES // (matrix.element_size() * n_frames)
        self._tile = max(1000, fitting) if matrix.device.type == "cpu" else matrix.shape[1]

    def _coefficients(self, index: int, rest: Any, ratio: Any) -> Any:
        """T⁻¹ of a block applied to (row, frame)."""
        if self._shared:
            return self._inverses[index] @ rest
        import torch

        # λ differs between frames, and so does the diagonal: one triangular system per frame
        gram = self._grams[index]
        triangles = gram + torch.diag_embed((1 + ratio.T).to(gram.dtype))
        return torch.linalg.solve_triangular(triangles, rest.T[:, :, None], upper=False)[:, :, 0].T

    def sweep(self) -> None:
        """All rows once."""
        step: Any = None
        start = 0
        for index, rows in enumerate(self._blocks):
            rest = self._apply(index, step, rows)
            here = slice(start, start + len(rows))
            rest = self._data[here] - self._scale[here] * rest - self._ratio[here] * self._total[here]
            beta = self._coefficients(index, rest, self._ratio[here])
            self._total[here] += beta
            step = self._scale[here] * beta
            start += len(rows)
        self._apply(len(self._blocks), step, None)

    def _apply(self, index: int, step: Any, rows: Any) -> Any:
        """Update with the block before `index`, and the product with `rows`, slice by slice of the images."""
        product: Any = None if rows is None else rows.new_zeros((len(rows), self._image.shape[1]))
        for lo in range(0, self._image.shape[0], self._tile):
            here = slice(lo, lo + self._tile)
            part = self._image[here]
            if index > 0:
                part.addmm_(self._blocks[index - 1][:, here].mH, step)
            if rows is not None:
                product.addmm_(rows[:, here], part)
        return product

    @property
    def solution(self) -> Any:
        """(frame, voxel), a view."""
        return self._image.T

    @solution.setter
    def solution(self, value: Any) -> None:
        self._image.copy_(value.T)

    @property
    def total(self) -> Any:
        """(frame, row) sums of the normalised coefficients, z of `sweeps`."""
        return self._total.T
