"""`SystemMatrix`: selected rows as a linear operator between images and data, and its compositions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mpibridge.errors import ShapeError
from mpibridge.model import Grid
from mpibridge.transforms import GridTransform, grid_transform

Pair = tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]


@dataclass(frozen=True)
class SystemMatrix:
    """Data rows as a linear function of an image.

    matrix: (row, column) complex64, a NumPy array, a torch tensor or a SciPy CSR matrix; the columns are the voxels of
    ``grid`` in C order (z, y, x), one such block per contrast, or coefficients of ``transform``. scale: the factor that
    makes a relative λ absolute, where it is not that of ``matrix`` (`solvers.normalization_factor`).
    """

    matrix: Any
    grid: Grid
    n_contrasts: int = 1
    transform: GridTransform | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        if len(self.matrix.shape) != 2 or self.matrix.shape[1] != self.n_contrasts * self.grid.n_voxels:
            raise ShapeError(
                f"a system matrix for {self.n_contrasts} × {self.grid.n_voxels} voxels is (row, "
                f"{self.n_contrasts * self.grid.n_voxels}), found {tuple(self.matrix.shape)}"
            )

    @property
    def n_rows(self) -> int:
        return int(self.matrix.shape[0])

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one frame's columns: (z, y, x), or (contrast, z, y, x) for several contrasts."""
        return (self.n_contrasts, *self.grid.shape) if self.n_contrasts > 1 else self.grid.shape

    def forward(self, image: Any) -> Any:
        """Data (frame, row) of images (frame, z, y, x), or (contrast, frame, z, y, x) for several contrasts."""
        columns = self.to_columns(image)
        return (self.matrix @ self._analyse(columns).T).T

    def adjoint(self, data: Any) -> Any:
        """The adjoint of `forward`: data (frame, row) → complex images."""
        columns = (self.matrix.conj().T @ data.T).T
        return self.to_image(self._analyse_adjoint(columns))

    def to_columns(self, image: Any) -> Any:
        """Images as (frame, column)."""
        if tuple(image.shape[-3:]) != self.grid.shape or image.ndim != (5 if self.n_contrasts > 1 else 4):
            wanted = "(contrast, frame, z, y, x)" if self.n_contrasts > 1 else "(frame, z, y, x)"
            raise ShapeError(
                f"an image {wanted} on the grid {self.grid.shape} is wanted, found {tuple(image.shape)}"
            )
        if self.n_contrasts > 1:
            image = image.swapaxes(0, 1)
        return image.reshape(image.shape[0], -1)

    def to_image(self, columns: Any) -> Any:
        """(frame, column) as images; the inverse of `to_columns`."""
        image = columns.reshape(columns.shape[0], *self.image_shape)
        return image.swapaxes(0, 1) if self.n_contrasts > 1 else image

    def weighted(self, weights: np.ndarray) -> SystemMatrix:
        """Every row times its weight; weights (row,) real."""
        if weights.shape != (self.n_rows,):
            raise ShapeError(f"{weights.shape} weights for {self.n_rows} rows")
        if hasattr(self.matrix, "multiply"):  # SciPy
            return replace(
                self, matrix=self.matrix.multiply(weights[:, None]).tocsr().astype(self.matrix.dtype)
            )
        return replace(self, matrix=(self.matrix * weights[:, None]).astype(self.matrix.dtype))

    def row_norms(self) -> np.ndarray:
        """Euclidean norm of every row, (row,)."""
        if hasattr(self.matrix, "multiply"):
            return np.sqrt(np.asarray(abs(self.matrix).power(2).sum(1)).ravel())
        return np.sqrt(np.einsum("rn,rn->r", self.matrix, self.matrix.conj()).real)

    def projection_transform(self) -> Pair | None:
        """(coefficients → voxels, voxels → coefficients) on (frame, column), for projections inside a solver."""
        if self.transform is None:
            return None
        return self._on_grid(self.transform.forward), self._on_grid(self.transform.inverse)

    def _on_grid(self, apply: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        shape = (-1, self.n_contrasts, *self.grid.shape)
        return lambda columns: apply(columns.reshape(shape)).reshape(columns.shape)

    def _analyse(self, columns: np.ndarray) -> np.ndarray:
        return (
            columns
            if self.transform is None
            else self._on_grid(self.transform.inverse)(columns.astype(complex))
        )

    def _analyse_adjoint(self, columns: np.ndarray) -> np.ndarray:
        return columns if self.transform is None else self._on_grid(self.transform.forward)(columns)


def side_by_side(operators: Sequence[SystemMatrix]) -> SystemMatrix:
    """One operator for several contrasts: the columns of all, on the grid of the first.

    Raises ShapeError if grids or rows differ. Source: MPIReco.jl `MultiContrastFile`.
    """
    first = operators[0]
    for other in operators[1:]:
        if not other.grid.almost_equal(first.grid) or other.n_rows != first.n_rows:
            raise ShapeError(
                f"contrasts need one grid and the same rows: {first.grid} with {first.n_rows} rows and {other.grid} "
                f"with {other.n_rows}; Preprocessing(grid=…) brings calibrations to one grid"
            )
    if hasattr(first.matrix, "multiply"):
        import scipy.sparse as sparse

        joined: Any = sparse.hstack([o.matrix for o in operators], format="csr")
    else:
        joined = np.concatenate([o.matrix for o in operators], axis=1)
    return replace(first, matrix=joined, n_contrasts=len(operators))


def sparsify(operator: SystemMatrix, name: str, *, reduction: float, threshold: float = 0.0) -> SystemMatrix:
    """The operator on the largest coefficients of every row under a grid transform, as a CSR matrix.

    reduction: share of coefficients kept per row; threshold > 0: keep those above this share of the row's largest
    instead. Rows transform with the transpose of what makes the image from coefficients, c = B d.
    Source: MPIReco.jl `SinglePatchSparse`, transformation of `SparseSystemMatrixLoadingParameter`.
    """
    import scipy.sparse as sparse

    transform = grid_transform(name)
    transpose = transform.forward if name == "FFT" else transform.inverse
    rows = operator.matrix.reshape(operator.n_rows, *operator.grid.shape)
    coefficients = transpose(rows).reshape(operator.matrix.shape)
    size = np.abs(coefficients)
    if threshold > 0:
        keep = size > threshold * size.max(1, keepdims=True)
    else:
        n_kept = max(1, int(np.floor(reduction * size.shape[1])))
        keep = np.zeros(size.shape, bool)
        np.put_along_axis(keep, np.argpartition(-size, n_kept - 1, axis=1)[:, :n_kept], True, axis=1)
    return replace(operator, matrix=sparse.csr_matrix(np.where(keep, coefficients, 0)), transform=transform)
