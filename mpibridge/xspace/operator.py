"""The exact linear map from a concentration to the collinear images of a scan: what data consistency asks for.

images = gridding(signals(c)), and both are linear: three convolutions K = c ∗ h (`mpibridge.xspace.forward`), then one sparse
matrix that reads K along the path, projects it on the coil and grids it. Source: Goodwill & Conolly 2011 (IEEE TMI 30(9)).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.model import Grid
from mpibridge.xspace import forward
from mpibridge.xspace.gridding import Gridding
from mpibridge.xspace.sparse import as_torch


class ImageOperator:
    """A: c (frame, y, x) ↦ collinear images (frame, channel, y, x), float32 torch tensors.

    Times p n m β (receive sensitivity, particles per area and unit of c, moment, ξ per tesla) these are V s/m. built: the
    gridding of the scan, as `gridding` makes it. beta: ξ per tesla of the tracer (`mpibridge.simulate.Particles.beta`).
    margin: pixels that c has beyond every edge of the grid of the images: particles there are heard, too. grid: that of c.
    SettingsError for a gradient that is not diagonal or changes and for a gridding of tensors, ShapeError for anything but a plane.
    """

    def __init__(self, built: Gridding, beta: float, *, margin: int = 0, device: Any = "cpu") -> None:
        import scipy.sparse

        if not scipy.sparse.issparse(built.matrix):
            raise SettingsError(
                "pass the gridding as `gridding` made it, not as `Gridding.to` moved it; device says where to"
            )
        if built.gradient is None:
            raise SettingsError(
                "the exact model of x-space images needs a diagonal gradient that is constant"
            )
        if built.grid.size[2] != 1 or min(built.grid.size[:2]) < 4:
            raise ShapeError(
                f"a plane of at least 4 × 4 pixels is wanted, the grid (z, y, x) is {built.grid.shape}"
            )
        self.grid, self.margin = enlarged(built.grid, margin), margin
        self.shape = (built.covered.shape[0], *built.grid.shape[1:])
        self._scale = (beta * float(built.gradient[0]), beta * float(built.gradient[1]))
        self._padding = _padding(built, self.grid)
        matrix = _from_fields(built, self.grid, self._padding)
        self._matrix, self._transposed = as_torch(matrix, device), as_torch(matrix.T.tocsr(), device)

    def forward(self, image: Any) -> Any:
        """A c."""
        fields = forward.convolved_fields(image, self.grid, self._scale, padding=self._padding)
        return (self._matrix @ fields.flatten(1).T).T.unflatten(1, self.shape)

    def adjoint(self, images: Any) -> Any:
        """Aᵀ of collinear images: (frame, y, x)."""
        n_x, n_y = (n + 2 * self._padding for n in self.grid.size[:2])
        fields = (self._transposed @ images.flatten(1).T).T.unflatten(1, (3, n_y, n_x))
        return forward.correlated_image(fields, self.grid, self._scale, padding=self._padding)


def enlarged(grid: Grid, margin: int) -> Grid:
    """A plane with ``margin`` more pixels of the same size beyond every edge."""
    n_x, n_y, n_z = grid.size
    d_x, d_y, _ = grid.spacing
    size = (n_x + 2 * margin, n_y + 2 * margin, n_z)
    return Grid(size, (size[0] * d_x, size[1] * d_y, grid.field_of_view[2]), grid.center)


def _padding(built: Gridding, grid: Grid) -> int:
    """Pixels that the fields need around a grid for the path to lie within their centres."""
    half = np.array(grid.field_of_view[:2]) / 2
    beyond = np.abs(built.position[:, :2] - grid.center[:2]) - half
    return max(0, int(np.ceil((beyond / grid.spacing[:2]).max() + 0.5)))


def _from_fields(built: Gridding, grid: Grid, padding: int) -> Any:
    """Sparse (channel · pixel, 3 · field pixel): the images of the fields xx, xy, yy, CSR float32."""
    import scipy.sparse

    look_up = forward.interpolation(grid, built.position, padding=padding)
    n_receivers = built.coil.shape[1]
    coil = np.zeros((len(built.position), 2))
    coil[:, : min(2, n_receivers)] = built.coil.swapaxes(1, 2).reshape(-1, n_receivers)[:, :2]
    (c_x, c_y), (w_x, w_y) = coil.T, built.rate[:, :2].T
    parts = [
        built.matrix @ scipy.sparse.diags(weights.astype(np.float32)) @ look_up
        for weights in (c_x * w_x, c_x * w_y + c_y * w_x, c_y * w_y)
    ]
    return scipy.sparse.hstack(parts, format="csr")
