"""What methods with a network promise besides: one function per clause, as in `mpibridge.testing.clauses`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

import mpibridge
from mpibridge import weights
from mpibridge.device import to_device
from mpibridge.execution import build_network, n_frames
from mpibridge.plugin import TrainablePlugin
from mpibridge.testing.case import TOLERANCE, Case, arrays_of
from mpibridge.testing.clauses import Clause

if TYPE_CHECKING:
    import torch

STEPS, LEARNING_RATE = 40, 1e-3
"""Of Adam, with which the loss of the example must fall."""
DRAWS = 4
"""Random numbers that a loss is averaged over where it is compared."""


def builds_networks(case: Case) -> Iterator[str]:
    """A seed gives one network, and the data of the problem do not decide what it is made of."""
    one, again = _new(case), _new(case)
    state = one.network.state_dict()
    if not _same(state, again.network.state_dict()):
        yield "the same seed built two different networks; initial weights come from torch's seeded generator"
    if any(p.device.type != "cpu" for p in one.network.parameters()):
        yield "the network was not built on the CPU; mpibridge moves it"
    last = case.frames(slice(case.n_frames - 1, None))
    other = build_network(one, last, case.seed).state_dict()
    if {n: t.shape for n, t in state.items()} != {n: t.shape for n, t in other.items()}:
        yield "another frame built a network of another shape; settings, grid and number of rows decide what it is"


def has_a_loss(case: Case) -> Iterator[str]:
    """A finite mean over frames that reaches every trainable weight and draws only from the generator."""
    import torch

    method, problem = _new(case), to_device(case.problem, "cpu", tensors=True)
    before = {name: array.copy() for name, array in arrays_of(case.problem).items()}
    target = torch.tensor(case.target)
    kept = target.clone()
    with torch.random.fork_rng(devices=[]):
        loss = method.loss(problem, target, generator=np.random.default_rng(case.seed))
        if loss.ndim or not bool(torch.isfinite(loss)):
            yield f"loss returned {loss}; one finite number is wanted"
            return
        loss.backward()
    idle = [
        name
        for name, weight in method.network.named_parameters()
        if weight.requires_grad and (weight.grad is None or not bool(torch.isfinite(weight.grad).all()))
    ]
    if idle:
        yield f"the loss has no finite gradient for {idle[0]}; freeze what is not trained, requires_grad_(False)"
    if not torch.equal(target, kept):
        yield "loss changed the target; work on a copy"
    for name, array in arrays_of(case.problem).items():
        if array.tobytes() != before[name].tobytes():
            yield f"loss changed {name} of the problem; work on a copy"
            array[...] = before[name]
    method.network.eval()
    values = [_loss(method, case, problem, torch_seed) for torch_seed in (0, 1)]
    if values[0] != values[1]:
        yield f"the same generator gave the losses {values[0]:.7g} and {values[1]:.7g}; it is the only source of randomness"
    elif values[0] == _loss(method, case, problem, 0, seed=case.seed + 1):  # draws nothing
        twice = sorted([*range(case.n_frames)] * 2)
        doubled = to_device(case.frames(twice), "cpu", tensors=True)
        if abs((found := _loss(method, case, doubled, 0)) - values[0]) > TOLERANCE * abs(values[0]):
            yield f"every frame twice made the loss {found:.6g} of {values[0]:.6g}; it is a mean over frames"


def weights_round_trip(case: Case) -> Iterator[str]:
    """Saved weights in a network that was built for another frame and with another seed give the same bits."""
    method = _new(case)
    image = case.image(_still(method))
    header = weights.WeightsHeader(
        plugin=case.cls.name,
        version=mpibridge.__version__,
        settings=json.loads(json.dumps(asdict(method.settings))),
    )
    with TemporaryDirectory(prefix="mpibridge-") as folder:
        path = weights.save(Path(folder) / weights.FILE_NAME, method.network, header)
        last = case.frames(slice(case.n_frames - 1, None))
        other = weights.build_method(
            type(method), case.settings, last, weights.read(path), seed=case.seed + 1
        )
    if not np.array_equal(image, case.image(_still(other))):
        yield "another image after the weights were saved and loaded; what a network needs is in its parameters and buffers"


def training_improves(case: Case) -> Iterator[str]:
    """A few steps of Adam lower the loss of the example."""
    import torch

    method, problem = _new(case), to_device(case.problem, "cpu", tensors=True)
    target = torch.tensor(case.target)
    before = _mean_loss(method, case, problem)
    trained = [weight for weight in method.network.parameters() if weight.requires_grad]
    if not trained:
        yield "no weight of the network is trained"
        return
    optimizer = torch.optim.Adam(trained, LEARNING_RATE)
    generator = np.random.default_rng(case.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(case.seed)
        method.network.train()
        for _ in range(STEPS):
            optimizer.zero_grad()
            method.loss(problem, target, generator=generator).backward()
            optimizer.step()
    after = _mean_loss(method, case, problem)
    if not after < before:
        yield f"{STEPS} steps of Adam took the loss from {before:.6g} to {after:.6g}; training makes it small"


def _new(case: Case) -> TrainablePlugin[Any]:
    """A method with a network as training meets it."""
    method = case.method()
    if not isinstance(method, TrainablePlugin):
        raise TypeError(f"{case.cls.__name__} is not trained")
    method.network = build_network(method, case.problem, case.seed)
    return method


def _still(method: TrainablePlugin[Any]) -> TrainablePlugin[Any]:
    method.network.eval().requires_grad_(False)
    return method


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    import torch

    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _loss(
    method: TrainablePlugin[Any], case: Case, problem: Any, torch_seed: int, seed: int | None = None
) -> float:
    """The loss of the target, its frames repeated as those of the problem are."""
    import torch

    target = torch.tensor(case.target).repeat_interleave(n_frames(problem) // case.n_frames, 0)
    generator = np.random.default_rng(case.seed if seed is None else seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed)
        return float(method.loss(problem, target, generator=generator).detach())


def _mean_loss(method: TrainablePlugin[Any], case: Case, problem: Any) -> float:
    method.network.eval()
    return float(np.mean([_loss(method, case, problem, 0, seed=case.seed + i) for i in range(DRAWS)]))


TRAINED_CLAUSES: dict[str, Clause] = {
    "networks": builds_networks,
    "loss": has_a_loss,
    "weights": weights_round_trip,
    "a small problem improves": training_improves,
}
