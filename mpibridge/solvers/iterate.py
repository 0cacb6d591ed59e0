"""What a solver shows its callback after every iteration: one type for all solvers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Iterate:
    """State after one iteration.

    iteration: completed iterations, counted from 1.
    solution: (frame, voxel), a copy that the solver does not touch again.
    dual: (frame, row) auxiliary vector v of Kaczmarz (mpireco.md §3.9); None in the other solvers.
    """

    iteration: int
    solution: Any
    dual: Any
    _residual: Callable[[], Any] = field(repr=False, compare=False)

    @cached_property
    def residual(self) -> Any:
        """‖A x − b‖ of every frame, (frame,), in the units of the data; computed when first read."""
        return self._residual()


Callback = Callable[[Iterate], object]
