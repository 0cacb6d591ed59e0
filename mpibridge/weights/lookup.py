"""Which weights serve: where they are looked for, and what keeps some from serving."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mpibridge.acquisition import Acquisition
from mpibridge.errors import WeightsError
from mpibridge.plugin import SpectralProblem, TrainablePlugin
from mpibridge.registry import plugins
from mpibridge.targets import replacing
from mpibridge.weights.completion import tupled
from mpibridge.weights.file import SUFFIX, Weights, WeightsHeader, read


def store() -> Path:
    """The user's folder of weights: MPIBRIDGE_WEIGHTS, else where the system keeps a user's data."""
    if folder := os.environ.get("MPIBRIDGE_WEIGHTS"):
        return Path(folder)
    from platformdirs import user_data_path

    return user_data_path("mpibridge") / "weights"


def install(path: str | Path) -> Path:
    """Copy weights into the user's store, where `mpibridge.reconstruct` finds them; returns the file there.

    Its name tells plugin, acquisition and content, so that no weights take the place of others.
    """
    weights = read(path)
    serves = weights.header.acquisition
    content = hashlib.sha256(weights.path.read_bytes()).hexdigest()[:8]
    name = f"{weights.header.plugin}-{'any' if serves is None else serves.fingerprint}-{content}"
    # The plugin's name comes from the file: nothing in it may lead out of the store.
    name = re.sub(r"[^\w.+-]+", "_", name).lstrip(".")
    target = store() / f"{name}{SUFFIX}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target, (SUFFIX,)) as unfinished:
        unfinished.write_bytes(weights.path.read_bytes())
    return target


def available(plugin: str | None = None) -> Iterator[Weights | WeightsError]:
    """Weights in the user's store, then those that come with packages, the latest first; an error in place of a damaged file."""
    places = [("store", store())]
    for entry in plugins().values():
        if plugin is None or entry.name == plugin:
            shipped = _shipped(entry.location)
            if shipped is not None and ("shipped", shipped) not in places:
                places.append(("shipped", shipped))
    for origin, folder in places:
        sound: list[Weights] = []
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            try:
                sound.append(read(path, origin))
            except WeightsError as error:
                yield error
        for found in sorted(sound, key=lambda weights: weights.header.created, reverse=True):
            if plugin is None or found.header.plugin == plugin:
                yield found


def find(
    cls: type[TrainablePlugin],
    acquisition: Acquisition | None,
    given: Mapping[str, Any],
    path: str | Path | None = None,
    *,
    prepared: Callable[[Mapping[str, Any]], Acquisition | None] | None = None,
) -> Weights:
    """The weights for a method on an acquisition.

    given: settings that the user chose; weights of another network are passed over. path: take these. prepared: the
    acquisition under the preprocessing of weights, for a user who leaves that to them. Otherwise weights of
    this acquisition come before weights for any, the user's store before the package, and later ones before earlier ones.
    WeightsError says what was looked for, why what is there does not fit, and the command that trains.
    """

    def reasons_against(header: WeightsHeader) -> list[str]:
        return _reasons(cls, header, prepared(header.preprocessing) if prepared else acquisition, given)

    if path is not None:
        weights = read(path)
        if weights.header.plugin != cls.name:
            raise WeightsError(
                f"{weights.path}: weights of plugin {weights.header.plugin!r}, not of {cls.name!r}"
            )
        if reasons := reasons_against(weights.header):
            raise WeightsError(f"{weights.path} does not fit: {'; '.join(reasons)}")
        return weights
    refused, serves_any = [], None
    for one in available(cls.name):
        if isinstance(one, WeightsError):
            refused.append(str(one))
        elif reasons := reasons_against(one.header):
            refused.append(f"{one.path.name} ({one.origin}): {'; '.join(reasons)}")
        elif (damage := one.damage()) is not None:
            refused.append(str(damage))
        elif one.header.acquisition is not None:
            return one
        elif serves_any is None:
            serves_any = one
    if serves_any is not None:
        return serves_any
    chosen = "".join(f" --{name.replace('_', '-')} {value}" for name, value in given.items())
    source = "CALIBRATION.mdf" if cls.takes is SpectralProblem else "PRESET"
    looked = f"{cls.name!r} for {acquisition or 'an acquisition that the header does not tell'}"
    raise WeightsError(
        f"there are no weights of plugin {looked} in {store()} or in its package"
        + "".join(f"\n  {reason}" for reason in refused)
        + f"\ntrain them: mpibridge train {cls.name}{chosen} --data {source} --out runs/{cls.name}, "
        f"then pass weights='runs/{cls.name}'"
    )


def _fixed(cls: type[TrainablePlugin], header: WeightsHeader) -> list[str]:
    return [name for name in cls.network_settings if name in header.settings]


def _reasons(
    cls: type[TrainablePlugin],
    header: WeightsHeader,
    acquisition: Acquisition | None,
    given: Mapping[str, Any],
) -> list[str]:
    """Why weights do not serve, empty if they do."""
    choice = cls.network_choice(given)
    reasons = [
        f"{name}={header.settings[name]!r}, not {choice[name]!r}"
        for name in _fixed(cls, header)
        if name in choice and tupled(choice[name]) != tupled(header.settings[name])
    ]
    if header.acquisition is not None:
        if acquisition is None:
            reasons.append(f"trained for {header.acquisition}, and the header of the scan tells no sequence")
        else:
            reasons += [f"trained for {found}" for found in header.acquisition.differences(acquisition)]
    return reasons


def _shipped(location: str) -> Path | None:
    """The folder ``weights`` of the top package of ``module:Class``; its modules are not run."""
    spec = find_spec(location.split(":")[0].split(".")[0])
    folders = [] if spec is None else spec.submodule_search_locations or []
    return next((Path(folder) / "weights" for folder in folders if (Path(folder) / "weights").is_dir()), None)
