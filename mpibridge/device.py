"""Where the numbers live: NumPy arrays on the CPU, torch tensors on a GPU and for learned methods."""

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


def to_device(problem: P, device: str, *, tensors: bool = False) -> P:
    """The problem with its arrays on ``device``: torch tensors on a GPU, and on the CPU if ``tensors``.

    Sparse system matrices stay on the CPU as they are, which alone handles them.
    """
    if not isinstance(device, str):
        raise SettingsError(f'device must be "auto", "cpu", "cuda" or "cuda:0", found {device!r}')
    operator = getattr(problem, "operator", None)
    is_sparse = operator is not None and hasattr(operator.matrix, "multiply")
    if (device == "cpu" and not tensors) or is_sparse:
        return problem
    import torch

    def move(array: Any) -> Any:
        if isinstance(array, np.ndarray):
            array = torch.from_numpy(np.require(array, requirements=["C", "W"]))
        return array.to(device) if isinstance(array, torch.Tensor) else array

    moved: dict[str, Any] = {
        field.name: move(getattr(problem, field.name))
        for field in fields(problem)
        if field.name != "operator"
    }
    if operator is not None:
        moved["operator"] = replace(operator, matrix=move(operator.matrix))
    return replace(problem, **moved)


def to_numpy(result: Result) -> Result:
    """The result with its arrays in the CPU's memory."""

    def fetch(array: Any) -> Any:
        return array.detach().cpu().numpy() if hasattr(array, "detach") else array

    trace = {name: fetch(value) for name, value in result.trace.items()}
    return replace(
        result, image=fetch(result.image), std=fetch(result.std), trace=trace, times=fetch(result.times)
    )
