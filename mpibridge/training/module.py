"""The loop as Lightning sees it: a method, its network, the moving average of its weights, and the batches."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader, Dataset

from mpibridge.device import to_device
from mpibridge.plugin import TrainablePlugin
from mpibridge.training.data import LOSS, VALIDATION, Pair, Pairs, random, signals, with_signals
from mpibridge.training.settings import Training

Batch = tuple[dict[str, Any], Any]
"""What differs from frame to frame, and the images."""


class Loop(LightningModule):
    """One step: a batch, the loss of the method, AdamW. Random numbers of a step depend on the seed and its number.

    averaged: the moving average of the network, which is validated and saved; None if nothing is averaged.
    """

    averaged: torch.nn.Module | None

    def __init__(
        self,
        method: TrainablePlugin[Any],
        pairs: Pairs,
        held_out: Pair | None,
        training: Training,
        seed: int,
    ) -> None:
        super().__init__()
        self.network = method.network
        self.averaged = deepcopy(method.network).requires_grad_(False) if training.average else None
        self.training_settings, self.seed = training, seed
        self._method, self._pairs, self._held_out = method, pairs, held_out
        self._template: Any = None
        self._losses: list[torch.Tensor] = []

    @property
    def result(self) -> torch.nn.Module:
        """The network that is validated and saved."""
        return self.network if self.averaged is None else self.averaged

    def setup(self, stage: str) -> None:
        self._template = to_device(self._pairs.example, str(self.device), tensors=True)

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        loss = self._loss(
            self.network, batch, LOSS, self.global_step * self.trainer.world_size + self.global_rank
        )
        self._losses.append(loss.detach())
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        if self.averaged is None:
            return
        # A young average forgets quickly, or it would hold on to the untrained weights.
        steps = self.global_step
        decay = min(self.training_settings.average, (1 + steps) / (10 + steps))
        ours: list[torch.Tensor] = list(self.averaged.parameters())
        theirs = [parameter.detach() for parameter in self.network.parameters()]
        if ours:
            torch._foreach_lerp_(ours, theirs, 1 - decay)
        for mine, other in zip(self.averaged.buffers(), self.network.buffers(), strict=True):
            mine.copy_(other)

    def validation_step(self, batch: Batch, index: int) -> None:
        loss = self._loss(self.result, batch, VALIDATION, index)
        self.log(
            "validation_loss",
            loss,
            on_epoch=True,
            batch_size=len(batch[1]),
            sync_dist=self.trainer.world_size > 1,
        )

    def losses(self) -> np.ndarray:
        """Losses of the steps since the last call, means over the processes."""
        found = torch.stack(self._losses).float()
        self._losses = []
        gathered: Any = self.all_gather(found)
        return gathered.reshape(-1, len(found)).mean(0).cpu().numpy()

    def configure_optimizers(self) -> Any:
        training = self.training_settings
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, training.rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def train_dataloader(self) -> DataLoader:
        every, first = self.training_settings.validate_every, self.global_step
        last = min(first + every, self.training_settings.steps)
        batches = Batches(
            self._pairs,
            self.seed,
            self.training_settings.batch,
            range(
                first * self.trainer.world_size + self.global_rank,
                last * self.trainer.world_size,
                self.trainer.world_size,
            ),
        )
        return DataLoader(batches, batch_size=None, num_workers=self.training_settings.workers)

    def val_dataloader(self) -> Any:
        if self._held_out is None:
            return []
        problem, target = self._held_out
        given, size = signals(problem), self.training_settings.batch
        parts = [slice(i, i + size) for i in range(0, len(target), size)]
        batches = [({name: values[part] for name, values in given.items()}, target[part]) for part in parts]
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

    def _loss(self, network: torch.nn.Module, batch: Batch, branch: int, number: int) -> torch.Tensor:
        given, target = batch
        generator = random(self.seed, branch, number)
        self._seed_torch(int(generator.integers(2**63)))
        self._method.network = network
        return self._method.loss(with_signals(self._template, given), target, generator=generator)

    def _seed_torch(self, seed: int) -> None:
        """For dropout and the like; whoever runs the loop restores the generators.

        torch.manual_seed would also queue calls, with their stack, for every kind of device that is not in use.
        """
        torch.random.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)


class Batches(Dataset):
    """Batches by number; what is the same in all of them stays where it is."""

    def __init__(self, pairs: Pairs, seed: int, size: int, numbers: range) -> None:
        self.pairs, self.seed, self.size, self.numbers = pairs, seed, size, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, i: int) -> Batch:
        problem, target = self.pairs.batch(self.seed, self.numbers[i], self.size)
        return signals(problem), target
