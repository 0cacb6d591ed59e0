"""`check_plugin`: a method against every clause of the contract."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from mpibridge.device import resolve_device
from mpibridge.errors import PluginError, SettingsError
from mpibridge.plugin import Plugin, RecordingProblem, TrainablePlugin, check_contract, make_settings
from mpibridge.testing.case import Case
from mpibridge.testing.clauses import CLAUSES, settings_round_trip
from mpibridge.testing.examples import EXAMPLES, example
from mpibridge.testing.trained import TRAINED_CLAUSES


def check_plugin(
    cls: type[Plugin[Any]],
    *,
    problem: Any = None,
    target: np.ndarray | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> None:
    """Hold a method to the contract; PluginError has a sentence for everything that is broken.

    problem: NumPy arrays of the kind that the method takes, with two frames or more; None takes `example`. target: its image
    (frame, z, y, x) float32, which methods with a network need. settings: of the plugin, for example fewer steps. device:
    "cuda" also compares the GPU's image with the CPU's. Of methods that take a `RecordingProblem` only the settings are tried.

    >>> from mpibridge import registry
    >>> check_plugin(registry.load("kaczmarz"), settings={"iterations": 3})
    """
    name: Any = getattr(cls, "name", None)
    check_contract(cls, name)
    broken = list(_of_class(cls))
    if not broken:
        broken = [f"settings: {said}" for said in _tried(settings_round_trip(cls))]
    if not broken and cls.takes is not RecordingProblem:
        make_settings(cls, settings or {})
        if problem is None:
            problem, target = example(cls.takes, np.random.default_rng(seed))
        elif not isinstance(problem, cls.takes):
            raise SettingsError(f"problem must be a {cls.takes.__name__}, found {type(problem).__name__}")
        elif target is None and issubclass(cls, TrainablePlugin):
            raise SettingsError(f"plugin {cls.name!r} is trained: pass the target of the problem, too")
        case = Case(cls, settings or {}, deepcopy(problem), target, seed, resolve_device(device))
        clauses = list(CLAUSES.items())
        if issubclass(cls, TrainablePlugin):
            clauses += TRAINED_CLAUSES.items()
        broken = [f"{title}: {said}" for title, clause in clauses for said in _tried(clause(case))]
    if broken:
        raise PluginError(f"plugin {name!r} breaks the contract\n" + "\n".join(f"  {b}" for b in broken))


def _of_class(cls: type[Plugin[Any]]) -> Iterator[str]:
    """What is wrong before anything can be tried."""
    if not isinstance(getattr(cls, "name", None), str):
        yield f"name: {cls.__name__} has no name; write name = 'what users call it'"
    if inspect.isabstract(cls):
        yield f"class: {cls.__name__} lacks {', '.join(sorted(cls.__abstractmethods__))}"
    if getattr(cls, "takes", None) not in (*EXAMPLES, RecordingProblem):
        known = ", ".join(kind.__name__ for kind in (*EXAMPLES, RecordingProblem))
        yield f"takes: {getattr(cls, 'takes', None)!r} is no problem (known: {known})"
    if cls.arrays not in ("numpy", "torch"):
        yield f'arrays: {cls.arrays!r}; "numpy" or "torch" is wanted'
    if not cls.__doc__:
        yield f"docstring: {cls.__name__} has none; 'mpibridge plugins' shows its first sentence"


def _tried(clause: Iterator[str]) -> Iterator[str]:
    """The sentences of a clause; an exception is one, too."""
    try:
        yield from clause
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises breaks its contract
        yield f"{type(error).__name__} ({error})"
