"""Controls of `bilstm`: the same convolutions, losses and minutes, but images made another way than by the recurrent network.

    python benchmarks/bilstm_controls.py --out runs/bilstm/controls --minutes 15

Every control is trained for the same CPU time on the same pairs (5 to 25 dB, half of them deformed): the recurrent network itself, with
mirrored scans; ridge images of the operator of the preset (they know what `bilstm` must learn) and x-space images, mirrored, too; then,
since mirrors tell of the path and the order, the recurrent network without them, without the trajectory besides, and with the samples of
the period in a random order besides. One that is finished is not trained again.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from bilstm_digits import PRESET, Originals, training_data
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mpibridge import registry
from mpibridge.device import to_device
from mpibridge.errors import MPIBridgeError
from mpibridge.execution import build_network
from mpibridge.mdf.header import Header
from mpibridge.plugin import TrainablePlugin
from mpibridge.preprocessing import Preprocessing
from mpibridge.simulate import scan
from mpibridge.simulate.presets import preset
from mpibridge.simulate.response import response
from mpibridge.targets import replacing
from mpibridge.xspace import gridding
from mpibridge_plugins.bilstm.features import root_mean_square
from mpibridge_plugins.bilstm.mirrors import mirrors
from mpibridge_plugins.bilstm.network import Answer, Refiner

LAMBDAS = 10.0 ** -np.array([1.5, 0.5, 1.0, 2.0, 2.5, 3.0, 3.5, 4.0])
"""Of the ridge images, relative to the largest eigenvalue; the first bypasses the convolutions."""
BATCH, LEARNING_RATE, WARMUP, AVERAGE, CLIP = 32, 2e-3, 100, 0.999, 1.0
SNR, COPIES = (5.0, 25.0), 4


class OnImages(nn.Module):
    """The convolutions of `bilstm` on images that a linear map makes of the waveform. Twice the voltage gives twice the image."""

    strength: Tensor
    gain: Tensor

    def __init__(
        self, images: Callable[[Tensor], Tensor], channels: int, width: int, trajectory: Any
    ) -> None:
        super().__init__()
        self.register_buffer("trajectory", torch.as_tensor(trajectory), persistent=False)
        self.images, self.n = images, 1
        self.refine = Refiner(channels, width)
        self.register_buffer("strength", torch.ones(channels))
        self.register_buffer("gain", torch.ones(()))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, waveform: Tensor) -> Answer:
        scale = root_mean_square(waveform, (1, 2))
        images = self.images(waveform / torch.where(scale > 0, scale, 1.0))
        unit = scale * self.gain
        image = self.refine(images / self.strength[:, None, None]) * unit
        return Answer(image, torch.zeros(len(waveform), 1))

    @torch.no_grad()
    def update(self, waveform: Tensor, target: Tensor) -> None:
        """Strength of the channels and of the image: means over the batches."""
        self.batches += 1
        share = (1 / self.batches).clamp_min(1e-3)
        scale = root_mean_square(waveform, (1, 2))
        images = self.images(waveform / scale)
        self.strength.lerp_(root_mean_square(images, (2, 3)).mean((0, 2, 3)), share)
        self.gain.lerp_((root_mean_square(target, (1, 2, 3)).flatten() / scale.flatten()).mean(), share)


def ridge_images() -> Callable[[Tensor], Tensor]:
    """Images (AᵀA + λ)⁻¹Aᵀu of the preset's operator for `LAMBDAS`, on the grid of the image."""
    chosen = preset(PRESET)
    matrix = response(chosen.scanner, chosen.grid).T.astype(np.float64)  # (receiver · sample, voxel)
    squared, vectors = np.linalg.eigh(matrix.T @ matrix)
    squared = squared.clip(0)
    project = torch.from_numpy((matrix @ vectors).astype(np.float32))
    back = torch.from_numpy(vectors.T.astype(np.float32))
    filters = torch.from_numpy((1 / (squared + LAMBDAS[:, None] * squared.max())).astype(np.float32))

    def images(waveform: Tensor) -> Tensor:
        parts = (waveform.flatten(1) @ project)[:, None] * filters
        return (parts @ back).unflatten(2, chosen.grid.shape[1:])

    return images


def xspace_images() -> tuple[Callable[[Tensor], Tensor], int]:
    """Collinear images of x-space gridding, and how many there are."""
    chosen = preset(PRESET)
    empty = np.zeros(chosen.grid.shape)
    import xarray as xr

    phantom = xr.DataArray(empty, chosen.grid.coordinates(), ("z", "y", "x"), attrs=chosen.grid.attributes())
    example = scan(phantom, chosen, generator=np.random.default_rng(0), n_frames=1, n_background=0)
    built = gridding(Header(example.attrs), chosen.grid, n_receivers=chosen.scanner.n_receivers).to("cpu")

    def images(waveform: Tensor) -> Tensor:
        return built(waveform[:, None]).images[:, :, 0]

    return images, len(built.directions)


def order_of_samples(n: int) -> np.ndarray:
    """The random order of a period's samples in which "shuffled" is trained and tested."""
    return np.random.default_rng(0).permutation(n)


class Shuffled(nn.Module):
    """The network of `bilstm` on the samples of a period in a random order, always the same."""

    def __init__(self, network: Any, n_samples: int) -> None:
        super().__init__()
        self.network, self.n, self.trajectory = network, network.n, network.trajectory
        self.register_buffer("order", torch.from_numpy(order_of_samples(n_samples)))

    def forward(self, waveform: Tensor) -> Answer:
        return self.network(waveform[..., self.order])

    def update(self, waveform: Tensor, target: Tensor) -> None:
        self.network.update(waveform[..., self.order], target)


def control(name: str, example: Any) -> TrainablePlugin[Any]:
    """An untrained control: one of `CONTROLS`."""
    cls = registry.load("bilstm")
    surrogate = 0.0 if name in ("ridge", "xspace") else cls.Settings().surrogate_weight
    knows_path = name != "without trajectory"
    method = cls(cls.Settings(trajectory=knows_path, mirrored=name in MIRRORED, surrogate_weight=surrogate))
    torch.manual_seed(0)
    width = method.settings.width
    if name == "ridge":
        method.network = OnImages(ridge_images(), len(LAMBDAS), width, example.trajectory)
    elif name == "xspace":
        images, channels = xspace_images()
        method.network = OnImages(images, channels, width, example.trajectory)
    else:
        method.network = build_network(method, example)
        if name == "shuffled":
            method.network = Shuffled(method.network, example.waveform.shape[-1])
    method.network.mirrors = mirrors(torch.as_tensor(example.trajectory), example.grid, 2)
    return method


MIRRORED = ("bilstm", "ridge", "xspace")
CONTROLS = (*MIRRORED, "without mirrors", "without trajectory", "shuffled")


def trained(name: str, folder: Path, example: Any) -> TrainablePlugin[Any]:
    """A control with the weights that `main` left in a folder."""
    method = control(name, example)
    method.network.load_state_dict(load_file(folder / f"{name}.safetensors"))
    return method


def train(name: str, folder: Path, seconds: float, originals: Originals) -> None:
    """AdamW for so much CPU time; the learning rate falls as a cosine of it; a moving average is kept."""
    data = training_data(originals, SNR, validation=0, copies=COPIES)
    pairs = data.pairs(registry.load("bilstm"), Preprocessing(), 0)
    method = control(name, pairs.example)
    network, averaged = method.network.train(), deepcopy(method.network)
    template = to_device(pairs.example, "cpu", tensors=True)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=0.0)
    generator, began, step = np.random.default_rng(0), time.process_time(), 0
    while (spent := (time.process_time() - began) / seconds) < 1:
        rate = LEARNING_RATE * min(1, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * spent))
        optimizer.param_groups[0]["lr"] = rate
        problem, target = pairs.batch(0, step, BATCH)
        given = replace(template, waveform=torch.from_numpy(problem.waveform))
        loss = method.loss(given, torch.from_numpy(target), generator=generator)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        step += 1
        with torch.no_grad():
            decay = min(AVERAGE, (1 + step) / (10 + step))
            for mine, other in zip(averaged.parameters(), network.parameters(), strict=True):
                mine.lerp_(other, 1 - decay)
            for kept, seen in zip(averaged.buffers(), network.buffers(), strict=True):
                kept.copy_(seen)
        if step % 100 == 0:
            print(f"{name}: step {step}, {spent:.0%}, loss {loss.item():.4f}", flush=True)
    said = {"frames": str(step * BATCH), "cpu_seconds": f"{seconds:.0f}"}
    with replacing(folder / f"{name}.safetensors", (".safetensors",)) as path:
        save_file(averaged.state_dict(), path, said)


def main(
    out: Annotated[Path, typer.Option(help="folder for the weights")],
    minutes: Annotated[float, typer.Option(help="of CPU time for each")] = 15.0,
    digits: Annotated[Path | None, typer.Option(help="mnist.npz, or the folder of its .mat files")] = None,
    only: Annotated[str | None, typer.Option(help="names, separated by commas")] = None,
) -> None:
    """Train every control for the same time."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    originals = Originals.of(digits)
    for name in CONTROLS if only is None else only.split(","):
        if not (out / f"{name}.safetensors").exists():
            train(name, out, 60 * minutes, originals)


if __name__ == "__main__":
    try:
        typer.run(main)
    except MPIBridgeError as error:
        sys.exit(f"error: {error}")
