"""Where the numbers live: NumPy arrays on the CPU, torch tensors on a GPU."""

from __future__ import annotations

import shutil
from dataclasses import fields, replace
from typing import Any

import numpy as np

from mpibridge.errors import SettingsError
from mpibridge.plugin import P, Result


def resolve_device(device: str) -> str:
    """ "cpu" or "cuda:i" for ``device`` "auto", "cpu", "cuda" or "cuda:i".

    "auto" takes a GPU where there is one; torch is asked only where an NVIDIA driver is installed. Raises SettingsError
    for an unknown name or a GPU that is not there.
    """
    if not isinstance(device, str):
        raise SettingsError(f'device must be "auto", "cpu", "cuda" or "cuda:0", found {device!r}')
    if device == "cpu" or (device == "auto" and shutil.which("nvidia-smi") is None):
        return "cpu"
    name, _, index = device.partition(":")
    if name not in ("auto", "cuda") or (index and not index.isdigit()):
        raise SettingsError(f'device must be "auto", "cpu", "cuda" or "cuda:0", found {device!r}')
    import torch

    n_devices = torch.cuda.device_count()
    if device == "auto":
        return "cuda:0" if n_devices else "cpu"
    if int(index or 0) >= n_devices:
        raise SettingsError(
            f'device={device!r}, but torch sees {n_devices} GPUs; device="cpu" works everywhere'
        )
    return f"cuda:{int(index or 0)}"


def to_device(problem: P, device: str) -> P:
    """The problem with its arrays on ``device``; sparse system matrices stay on the CPU, which alone handles them."""
    if not isinstance(device, str):
        raise SettingsError(f'device must be "auto", "cpu", "cuda" or "cuda:0", found {device!r}')
    operator = getattr(problem, "operator", None)
    if device == "cpu" or (operator is not None and hasattr(operator.matrix, "multiply")):
        return problem
    import torch

    def move(array: np.ndarray) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    moved: dict[str, Any] = {
        field.name: move(value)
        for field in fields(problem)
        if isinstance(value := getattr(problem, field.name), np.ndarray)
    }
    if operator is not None:
        moved["operator"] = replace(operator, matrix=move(operator.matrix))
    return replace(problem, **moved)


def to_numpy(result: Result) -> Result:
    """The result with its arrays in the CPU's memory."""

    def fetch(array: Any) -> Any:
        return array.detach().cpu().numpy() if hasattr(array, "detach") else array

    trace = {name: fetch(value) for name, value in result.trace.items()}
    return replace(result, image=fetch(result.image), std=fetch(result.std), trace=trace)
