"""What Lightning is told of the machine, and what it is kept from saying and doing."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpibridge.errors import SettingsError
from mpibridge.training.settings import Training

if TYPE_CHECKING:
    from mpibridge.training.record import Record


def check_machine(training: Training, where: str) -> None:
    """SettingsError for what this machine, or what is installed, cannot do."""
    if training.precision == "16-mixed" and where == "cpu":
        raise SettingsError("precision 16-mixed needs a GPU; bf16-mixed and 32 work on the CPU")
    if training.log == "tensorboard" and not (find_spec("tensorboard") or find_spec("tensorboardX")):
        raise SettingsError('log="tensorboard" needs the package tensorboard: pip install tensorboard')


def machine(training: Training, where: str) -> dict[str, Any]:
    """Lightning's words for devices."""
    if where == "cpu":
        places: Any = training.devices
    else:
        places = [int(where.partition(":")[2])] if training.devices == 1 else training.devices
    return {
        "accelerator": "cpu" if where == "cpu" else "gpu",
        "devices": places,
        "strategy": "ddp" if training.devices > 1 else "auto",
    }


def logger(training: Training, folder: Path) -> Any:
    """Lightning's logger; none for the history alone, which `record` writes."""
    if training.log != "tensorboard":
        return False
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, name="tensorboard", version="")


@contextmanager
def interruptible(folder: Path, record: Record) -> Iterator[None]:
    """Ctrl-C as KeyboardInterrupt that says how to go on: Lightning makes an exit of it and switches Ctrl-C off."""
    main = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as left:
        if not isinstance(left.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, main)
        step = record.rows[-1][0] if record.rows else 0
        raise KeyboardInterrupt(
            f"stopped; {folder} holds the run up to step {step}, and the same call goes on from there"
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's advice: it is about loaders, loggers and devices, which are chosen here on purpose."""
    with warnings.catch_warnings():  # of what it imports
        warnings.simplefilter("ignore")
        import lightning.pytorch  # noqa: F401 - sets the levels of its loggers
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [one.level for one in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning(\.|$)")
        for one in loggers:
            one.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for one, level in zip(loggers, levels, strict=True):
                one.setLevel(level)
