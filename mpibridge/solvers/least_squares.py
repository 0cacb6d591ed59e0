"""The batched least-squares problem that CGNR, FISTA, POGM, ADMM and split Bregman share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from mpibridge.errors import SettingsError
from mpibridge.solvers.arguments import check_data, check_energies, check_matrix, real_dtype
from mpibridge.solvers.iterate import Callback, Iterate
from mpibridge.solvers.normalization import Normalization, normalization_factor, row_energies

_POWER_ITERATIONS = 30
_POWER_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """‖A x − b‖² for every frame: matrix (row, voxel), data (frame, row), images (frame, voxel)."""

    matrix: Any
    data: Any
    energies: Any
    single: bool
    real: bool

    @classmethod
    def checked(cls, matrix: Any, data: Any, *, real: bool) -> LeastSquares:
        """The problem of arguments that fit together; ShapeError or SettingsError otherwise."""
        check_matrix(matrix)
        data, single = check_data(matrix, data)
        energies = row_energies(matrix)
        check_energies(matrix, energies)
        return cls(matrix, data, energies, single, real)

    @property
    def xp(self) -> Any:
        """Array namespace of the data."""
        return array_namespace(self.data)

    @property
    def eps(self) -> float:
        """Machine epsilon: the default tolerance of RegularizedLeastSquares.jl."""
        return float(self.xp.finfo(self.data.dtype).eps)

    def forward(self, x: Any) -> Any:
        """A x: (frame, voxel) → (frame, row)."""
        return x @ self.matrix.T

    def adjoint(self, y: Any) -> Any:
        """Aᴴ y: (frame, row) → (frame, voxel); the small arrays are conjugated, never the matrix."""
        return self.xp.conj(self.xp.conj(y) @ self.matrix)

    def normal(self, x: Any) -> Any:
        """AᴴA x, (frame, voxel)."""
        return self.adjoint(self.forward(x))

    def zeros(self) -> Any:
        """Images of zeros, (frame, voxel)."""
        shape = (self.data.shape[0], self.matrix.shape[1])
        return self.xp.zeros(shape, dtype=self.data.dtype, device=device(self.data))

    def weights(self, terms: Sequence[Any], kind: Normalization, averaged: Any = None) -> list[Any]:
        """Absolute weights of the terms: numbers, or (frame, 1) with "measurement" normalisation.

        averaged: what that normalisation averages if it is not the data.
        """
        data = self.data if averaged is None else averaged
        factor = normalization_factor(self.matrix, data, kind, energies=self.energies)
        return [t.weight * (factor if isinstance(factor, float) else factor[:, None]) for t in terms]

    def step(self, rho: float | None, generator: np.random.Generator | None) -> float:
        """rho itself, or 0.95 / λ_max(AᴴA) by power iteration (≤ 30 steps, relative tolerance 1e-3, as in RLS).

        generator: draws the start vector; None starts from Aᴴ1, the same in every call.
        """
        if rho is not None:
            check_positive("rho", rho)
            return float(rho)
        xp, rows = self.xp, self.matrix.shape[0]
        if generator is None:
            x = self.adjoint(xp.ones((1, rows), dtype=self.data.dtype, device=device(self.data)))
        else:
            drawn = generator.standard_normal((1, self.matrix.shape[1]))
            x = xp.astype(xp.asarray(drawn, device=device(self.data)), self.data.dtype)
        size = float(norms(x)[0])
        if size == 0:  # the rows cancel: any other start will do
            x = self.zeros()[:1] + 1
            size = float(norms(x)[0])
        largest = 0.0
        for _ in range(_POWER_ITERATIONS):
            x = self.normal(x / size)
            before, largest = largest, float(norms(x)[0])
            size = largest or 1.0
            if abs(largest - before) <= _POWER_TOLERANCE * largest:
                break
        return 0.95 / largest if largest else 1.0

    def show(self, callback: Callback | None, iteration: int, x: Any) -> None:
        """Hand a copy of the images to the callback."""
        if callback is not None:
            copy = x + 0  # an own array in either library
            shown = self.xp.real(copy) if self.real else copy
            callback(Iterate(iteration, shown, None, lambda: norms(self.forward(copy) - self.data)))

    def result(self, x: Any) -> Any:
        """Images as they are returned: real if asked for, (voxel,) for data of one frame."""
        x = self.xp.astype(self.xp.real(x), real_dtype(self.xp, x.dtype)) if self.real else x
        return x[0] if self.single else x


def norms(x: Any) -> Any:
    """2-norm of every frame, (frame,)."""
    return array_namespace(x).linalg.vector_norm(x, axis=1)


def inner(x: Any, y: Any) -> Any:
    """Re⟨x, y⟩ of every frame, (frame, 1)."""
    xp = array_namespace(x)
    return xp.sum(xp.real(xp.conj(x) * y), axis=1, keepdims=True)


def select(mask: Any, new: Any, old: Any) -> Any:
    """New values in the frames where mask, (frame,), holds, old ones elsewhere: frames stop one by one."""
    return array_namespace(new).where(mask[:, None], new, old)


def ratio(top: Any, bottom: Any) -> Any:
    """top / bottom, 0 where the bottom is 0: a frame of zeros has nothing left to do."""
    xp = array_namespace(bottom)
    return xp.where(
        bottom == 0, xp.zeros_like(bottom), top / xp.where(bottom == 0, xp.ones_like(bottom), bottom)
    )


def check_positive(name: str, value: float) -> None:
    """Raises SettingsError unless value is finite and > 0."""
    if not (math.isfinite(value) and value > 0):
        raise SettingsError(f"{name} is {value}; pass a finite number > 0, or leave it out")


def check_terms(solver: str, terms: Sequence[Any], allowed: str, n: range) -> None:
    """Raises SettingsError unless the number of terms is in n and each has a weight and a prox."""
    if len(terms) not in n or not all(hasattr(t, "prox") and hasattr(t, "weight") for t in terms):
        raise SettingsError(f"{solver} got terms {tuple(terms)}; pass {allowed}")
