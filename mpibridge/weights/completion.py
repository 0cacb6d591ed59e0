"""What weights bring to a method: its network, and the settings and the preprocessing of training that a user left to them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from mpibridge.errors import MPIBridgeWarning, SettingsError
from mpibridge.execution import build_network
from mpibridge.plugin import Plugin, TrainablePlugin, make_settings
from mpibridge.preprocessing import Preprocessing
from mpibridge.weights.file import Weights, WeightsHeader

FREE = ("frames", "averages", "period_averages", "background", "spectral_leakage")
"""What may be done to a scan without another system matrix than in training."""

M = TypeVar("M", bound=Plugin[Any])


def build_method(
    cls: type[M], settings: Mapping[str, Any], problem: Any, weights: Weights | None, *, seed: int = 0
) -> M:
    """A method that is ready for problems like this one.

    settings: those that the user chose. weights: the network is theirs, and they complete the settings; None for a method
    that is not trained. seed: of what is not in the weights. Raises SettingsError, and WeightsError if the network is another.
    """
    if weights is None or not issubclass(cls, TrainablePlugin):
        return cls(make_settings(cls, settings))
    method = cls(make_settings(cls, with_network(cls, settings, weights)))
    method.network = build_network(method, problem, seed)
    weights.load_into(method.network)
    return method


def with_network(
    cls: type[TrainablePlugin], settings: Mapping[str, Any], weights: Weights
) -> Mapping[str, Any]:
    """Settings of the user completed by those of training.

    One of training that is sound but contradicts the user, as a number of samples does if one image is asked for, gives way;
    those of the network never do.
    """
    known = {f.name for f in fields(cls.Settings)}
    stored = {name: tupled(value) for name, value in weights.header.settings.items() if name in known}
    network = {name: value for name, value in stored.items() if name in cls.network_settings}
    chosen = {
        name: value
        for name, value in settings.items()
        if value is not None or name not in cls.network_settings  # None leaves the network to the weights
    }

    def contradicts(alone: Mapping[str, Any]) -> bool:
        sound = {**network, **alone}
        return _accepted(cls, sound) and not _accepted(cls, {**sound, **chosen})

    standing = {name: value for name, value in stored.items() if not contradicts({name: value})}
    return standing | network | chosen


def with_preprocessing(given: Preprocessing | None, header: WeightsHeader) -> Preprocessing:
    """What the user chose, completed by what the weights were trained with.

    A choice that makes another problem of it than in training is a warning. Weights for any acquisition say nothing of the
    grid.
    """
    stored = Preprocessing.from_plain(header.preprocessing)
    if header.acquisition is None:
        stored = replace(stored, grid=None)
    if given is None:
        return stored
    chosen = {name: getattr(given, name) for name in given.plain()}
    told, told_now = stored.plain(), given.plain()
    other = [name for name in chosen if name not in FREE and _plain(told.get(name)) != _plain(told_now[name])]
    if header.acquisition is not None and other:
        differences = ", ".join(f"{name}={told_now[name]!r}, not {getattr(stored, name)!r}" for name in other)
        warnings.warn(f"the weights were trained otherwise: {differences}", MPIBridgeWarning, stacklevel=4)
    return replace(stored, **chosen)


def tupled(value: Any) -> Any:
    """Lists, which JSON makes of tuples, as tuples."""
    return tuple(map(tupled, value)) if isinstance(value, list | tuple) else value


def _accepted(cls: type[TrainablePlugin], settings: Mapping[str, Any]) -> bool:
    try:
        make_settings(cls, settings)
    except SettingsError:
        return False
    return True


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))
