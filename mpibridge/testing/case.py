"""A method on a problem, and the few things that every clause does with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from mpibridge.device import to_device
from mpibridge.execution import SIGNALS, build_network, n_frames, take_frames
from mpibridge.plugin import Plugin, Report, Result, TrainablePlugin, make_settings
from mpibridge.progress import silent

TOLERANCE = 1e-4
"""What rounding may change, relative to the largest value of an image: float32, other batches, another device."""


@dataclass(frozen=True)
class Case:
    """A method with its settings, and a problem of NumPy arrays with its image. target: (frame, z, y, x), None if unknown."""

    cls: type[Plugin[Any]]
    settings: Mapping[str, Any]
    problem: Any
    target: np.ndarray | None
    seed: int
    device: str

    @property
    def n_frames(self) -> int:
        return n_frames(self.problem)

    def method(self) -> Plugin[Any]:
        """A new instance, its network untrained and always the same."""
        method = self.cls(make_settings(self.cls, self.settings))
        if isinstance(method, TrainablePlugin):
            method.network = build_network(method, self.problem, self.seed).eval().requires_grad_(False)
        return method

    def run(
        self,
        method: Plugin[Any],
        problem: Any = None,
        *,
        generator: np.random.Generator | None = None,
        report: Report = silent,
        device: str = "cpu",
    ) -> Result:
        """What the method returns for arrays of its kind, untouched by `execution.execute`."""
        given = to_device(
            self.problem if problem is None else problem, device, tensors=method.arrays == "torch"
        )
        generator = np.random.default_rng(self.seed) if generator is None else generator
        return method.reconstruct(given, generator=generator, report=report)

    def image(self, method: Plugin[Any], problem: Any = None, **more: Any) -> np.ndarray:
        """The image of `run` with the frame first: (frame, …)."""
        image = as_array(self.run(method, problem, **more).image)
        return np.moveaxis(image, image.ndim - 4, 0)

    def frames(self, chosen: slice | list[int]) -> Any:
        """The problem with some of its frames."""
        return take_frames(self.problem, chosen)


def as_array(values: Any) -> np.ndarray:
    """NumPy's view of an array or a tensor."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def differ(one: np.ndarray, other: np.ndarray) -> str:
    """How two images differ beyond rounding; empty if they do not."""
    if one.shape != other.shape:
        return f"{one.shape} and {other.shape}"
    distance, scale = np.max(np.abs(one - other), initial=0), np.max(np.abs(one), initial=0)
    return (
        "" if distance <= TOLERANCE * scale else f"by {distance:.3g} where the largest value is {scale:.3g}"
    )


def arrays_of(problem: Any) -> dict[str, np.ndarray]:
    """The NumPy arrays of a problem by name, the system matrix among them."""
    values = {field.name: getattr(problem, field.name) for field in fields(problem)}
    if (operator := values.pop("operator", None)) is not None:
        values["operator.matrix"] = operator.matrix
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def signals_of(problem: Any) -> dict[str, np.ndarray]:
    """The arrays of a problem that have one entry per frame and come from the scanner."""
    return {name: getattr(problem, name) for name in SIGNALS if hasattr(problem, name)}
