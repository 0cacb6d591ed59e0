"""What is kept of a run: its history, the best weights, and the checkpoint it goes on from."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, Trainer

from mpibridge.errors import SettingsError
from mpibridge.plugin import Report
from mpibridge.training.job import CHECKPOINT
from mpibridge.training.module import Loop

HISTORY = "history.csv"
COLUMNS = ("step", "loss", "validation_loss", "learning_rate")


class Record(Callback):
    """Writes at the end of every epoch, first the weights if they are the best so far, then history and checkpoint.

    Every file appears whole or not at all. A run that is killed between two of them writes the same ones again.
    save: called with the loop and the record when its network is to be saved.
    rows: step, mean loss since the row before, loss on the held-out pairs (None without), learning rate of the last step.
    """

    def __init__(
        self, folder: Path, steps: int, save: Callable[[Loop, Record], None], report: Report
    ) -> None:
        self.folder, self.steps, self.save, self.report = folder, steps, save, report
        self.rows: list[list[float | None]] = []
        self.best: list[float | None] = []
        self.seconds = 0.0
        self.stopped = False
        self._started = 0.0
        self._rate = 0.0

    @property
    def state_key(self) -> str:
        return "record"

    def state_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "best": self.best,
            "seconds": self.elapsed,
            "stopped": self.stopped,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.best = state_dict["rows"], state_dict["best"]
        self.seconds, self.stopped = state_dict["seconds"], state_dict["stopped"]

    @property
    def elapsed(self) -> float:
        """Seconds of training, those of earlier calls included."""
        return self.seconds + (time.perf_counter() - self._started if self._started else 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._started = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx + 1 < trainer.num_training_batches:  # that of the last one knows the validation, too
            self._report(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        losses, step = pl_module.losses(), trainer.global_step
        if not np.isfinite(losses).all():
            bad = int(np.flatnonzero(~np.isfinite(losses))[0])
            raise SettingsError(
                f"the loss is {losses[bad]} at step {step - len(losses) + bad + 1}; lower learning_rate (now "
                f"{pl_module.training_settings.learning_rate}), clip the gradient, or look at the data"
            )
        found = trainer.callback_metrics.get("validation_loss")
        validation = None if found is None else float(found)
        if validation is not None and not np.isfinite(validation):
            raise SettingsError(f"the loss on the held-out pairs is {validation} after step {step}")
        self.rows.append([step, float(losses.mean(dtype=np.float64)), validation, self._rate])
        self.stopped = trainer.should_stop
        best = self.best[1] if self.best else None
        if validation is None or best is None or validation < best:
            self.best = [step, validation]
            if trainer.is_global_zero:
                self.save(pl_module, self)
        if trainer.is_global_zero:
            self._write_history()
        unfinished = self.folder / f".{CHECKPOINT}"
        trainer.save_checkpoint(unfinished)
        if trainer.is_global_zero:
            unfinished.replace(self.folder / CHECKPOINT)
        self._report(trainer)

    def _report(self, trainer: Trainer) -> None:
        said = "training"
        if self.rows:
            step, loss, validation, _ = self.rows[-1]
            said = f"step {step}: loss {loss:.4g}"
            said += "" if validation is None else f", validation loss {validation:.4g}"
        self.report(trainer.global_step, self.steps, said)

    def _write_history(self) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([["" if value is None else value for value in row] for row in self.rows])
        unfinished = self.folder / f".{HISTORY}"
        unfinished.write_text(text.getvalue())
        unfinished.replace(self.folder / HISTORY)
