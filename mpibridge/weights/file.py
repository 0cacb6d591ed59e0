"""A file of weights: safetensors with a JSON header that says what they are. Reading one never runs code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpibridge.acquisition import Acquisition
from mpibridge.errors import WeightsError
from mpibridge.targets import replacing

if TYPE_CHECKING:
    import torch

SUFFIX = ".safetensors"
FILE_NAME = f"weights{SUFFIX}"
"""What `mpibridge.train` writes into its folder."""
KEY = "mpibridge"
"""Entry of the safetensors metadata that holds the header as JSON."""
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class WeightsHeader:
    """What weights are.

    plugin: method they belong to; version: of mpibridge that trained them. settings: of the plugin, preprocessing: what
    differed from the defaults in training. acquisition: what they serve; None serves every one. data: what they were trained
    on; training: how. metrics: figures on held-out data. licence: SPDX name, empty if not stated.
    """

    plugin: str
    version: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    acquisition: Acquisition | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    licence: str = ""
    created: str = ""
    format: int = FORMAT

    def to_json(self) -> str:
        """The header as text. TypeError if a value is no JSON value."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "acquisition"}
        acquisition = None if self.acquisition is None else self.acquisition.plain()
        return json.dumps(values | {"acquisition": acquisition}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> WeightsHeader:
        """The inverse of `to_json`. ValueError, TypeError or KeyError for anything else."""
        values = json.loads(text)
        if values["format"] != FORMAT:
            raise ValueError(f"format {values['format']}; this mpibridge reads {FORMAT}")
        acquisition = values.pop("acquisition")
        known = None if acquisition is None else Acquisition.from_plain(acquisition)
        header = cls(**values, acquisition=known)
        if not isinstance(header.plugin, str):
            raise TypeError(f"plugin must be a name, found {header.plugin!r}")
        for name in ("settings", "preprocessing", "data", "training", "metrics"):
            if not isinstance(getattr(header, name), dict):
                raise TypeError(f"{name} must be a mapping, found {getattr(header, name)!r}")
        return header


@dataclass(frozen=True)
class Weights:
    """A file of weights whose header was read. origin: "given", "store" or "shipped"."""

    path: Path
    header: WeightsHeader
    origin: str = "given"

    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors by name, on the CPU. WeightsError if the file is damaged or numbers are not finite."""
        import torch
        from safetensors.torch import load_file

        tensors = _checked(self.path, lambda: load_file(self.path))
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise WeightsError(f"{self.path}: {name} holds values that are not finite; train again")
        return tensors

    def damage(self) -> WeightsError | None:
        """What is wrong with the tensors, None if nothing is; whether they fit a network shows when they are loaded."""
        try:
            self.tensors()
        except WeightsError as error:
            return error
        return None

    def load_into(self, network: torch.nn.Module) -> None:
        """Set the weights of a network. WeightsError if names or shapes are not what the network needs."""
        tensors = self.tensors()
        wanted = dict(network.state_dict())
        if missing := sorted(wanted.keys() - tensors.keys()):
            raise WeightsError(f"{self.path}: {missing[0]!r} is missing; {self._advice()}")
        if extra := sorted(tensors.keys() - wanted.keys()):
            raise WeightsError(f"{self.path}: the network has no {extra[0]!r}; {self._advice()}")
        for name, tensor in tensors.items():
            if tensor.shape != wanted[name].shape:
                raise WeightsError(
                    f"{self.path}: {name} is {tuple(tensor.shape)}, the network needs {tuple(wanted[name].shape)}; "
                    f"{self._advice()}"
                )
        network.load_state_dict(tensors)

    def _advice(self) -> str:
        header = self.header
        told = f"settings {dict(header.settings)}, preprocessing {dict(header.preprocessing)}"
        serves = "any acquisition" if header.acquisition is None else str(header.acquisition)
        return f"they were trained for {serves} with {told}"


def read(path: str | Path, origin: str = "given") -> Weights:
    """The weights in a file, or in the folder that `mpibridge.train` wrote. WeightsError if they are not sound."""
    from safetensors import safe_open

    path = Path(path)
    if path.is_dir():
        path = path / FILE_NAME
    if not path.is_file():
        raise WeightsError(f"{path}: there are no weights; 'mpibridge weights' lists those at hand")

    def metadata() -> Mapping[str, str]:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}

    text = _checked(path, metadata).get(KEY)
    if text is None:
        raise WeightsError(f"{path}: no weights of mpibridge, their header is missing")
    try:
        return Weights(path, WeightsHeader.from_json(text), origin)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise WeightsError(f"{path}: the header of these weights is not readable ({error})") from error


def save(path: str | Path, network: torch.nn.Module, header: WeightsHeader) -> Path:
    """Write weights to a file, all or nothing; missing folders are made. MDFError if it cannot be written."""
    from safetensors.torch import save as packed

    path = Path(path)
    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, (SUFFIX,)) as unfinished:
        unfinished.write_bytes(packed(tensors, {KEY: header.to_json()}))
    return path


def _checked(path: Path, read_it: Any) -> Any:
    """What ``read_it`` returns; WeightsError if the file is no sound safetensors file."""
    from safetensors import SafetensorError

    try:
        return read_it()
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: no sound safetensors file ({error}); copy it or train again") from error
