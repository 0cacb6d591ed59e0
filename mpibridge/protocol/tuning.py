"""The best settings of a method on separate images: a grid that grows until the best one lies inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mpibridge.plugin import Report
from mpibridge.progress import silent
from mpibridge.protocol.methods import Method

MAX_GROWTH = 8
"""Values that are added to a grid at most."""
Score = Callable[[Mapping[str, Any]], float]


@dataclass(frozen=True)
class Tuned:
    """What tuning found. scores: of every choice that was tried. at_edge: settings whose best value ends the grid."""

    settings: Mapping[str, Any]
    score: float
    scores: list[tuple[dict[str, Any], float]]
    at_edge: tuple[str, ...] = ()


def tune(method: Method, score: Score, *, report: Report = silent) -> Tuned:
    """The choice of ``method.grid`` with the highest ``score(settings)``.

    A grid of a setting in ``method.grows`` grows beyond an end while the best value lies there; what ends another grid, or
    still ends one after `MAX_GROWTH` values, is said in ``at_edge``.
    """
    scores: list[tuple[dict[str, Any], float]] = []
    for growth in range(MAX_GROWTH + 1):
        tried = [choice for choice, _ in scores]
        new = [choice for choice in method.combinations() if choice not in tried]
        for done, choice in enumerate(new):
            report(done, len(new), f"tuning {method.name}")
            scores.append((choice, score({**method.settings, **choice})))
        best, value = max(scores, key=lambda pair: pair[1])
        ends = {name: _end(values, best[name]) for name, values in method.grid.items()}
        growing = {name: end for name, end in ends.items() if end and name in method.grows}
        if not growing or growth == MAX_GROWTH:
            break
        grid = {name: _grown(values, growing.get(name, 0)) for name, values in method.grid.items()}
        method = replace(method, grid=grid)
    at_edge = tuple(name for name, end in ends.items() if end)
    return Tuned({**method.settings, **best}, value, scores, at_edge)


def _end(values: Any, best: float) -> int:
    """−1 or 1 if the best value is the first or the last, else 0."""
    return -1 if best == values[0] else 1 if best == values[-1] else 0


def _grown(values: Any, end: int) -> tuple[float, ...]:
    if end < 0:
        return (values[0] * values[0] / values[1], *values)
    return (*values, values[-1] * values[-1] / values[-2]) if end else tuple(values)
