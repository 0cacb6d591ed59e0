"""`train`: data + plugin → weights, in a folder that a killed run goes on from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mpibridge
from mpibridge import registry
from mpibridge import weights as trained
from mpibridge.device import resolve_device
from mpibridge.errors import SettingsError, WeightsError
from mpibridge.execution import build_network, execute
from mpibridge.fingerprint import file_fingerprint
from mpibridge.metrics import bootstrap, nrmse, per_image, psnr
from mpibridge.plugin import Report, TrainablePlugin, make_settings
from mpibridge.preprocessing import Preprocessing
from mpibridge.progress import reporting, silent
from mpibridge.training import job
from mpibridge.training.data import TEST, Pair, Pairs, random, take
from mpibridge.training.machine import check_machine, interruptible, logger, machine, quiet
from mpibridge.training.settings import Training
from mpibridge.training.sources import as_data

if TYPE_CHECKING:
    from mpibridge.training.module import Loop
    from mpibridge.training.record import Record

WEIGHTS = trained.FILE_NAME

CORRECTED = Preprocessing(background="mean", system_matrix_background=True)
"""Simulated pairs have no background: that of scans and of the system matrix is to be subtracted."""


def train(
    plugin: str,
    *,
    data: Any,
    out: str | Path,
    training: Training | None = None,
    preprocessing: Preprocessing | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: bool | Report | None = None,
    **settings: Any,
) -> trained.Weights:
    """Weights of a method, trained.

    data: a preset or its name, a calibration, ``(problem, target)``, or `Simulated`, `Arrays` or `Recordings` of
    `mpibridge.training`. out: folder for ``weights.safetensors``, ``history.csv`` and the checkpoint; if it holds this run
    unfinished, the run goes on, with the numbers of one that was never interrupted. preprocessing: what scans go through, None
    for `CORRECTED`; it is stored with the weights. weights: start from these. settings: the plugin's own.

    Returns the weights that did best on held-out pairs, or the last ones without such; they are moving averages unless
    ``Training(average=0)``. ``mpibridge.reconstruct(…, weights=out)`` uses them.
    Raises SettingsError (also if the loss is not finite), PluginError, WeightsError; KeyboardInterrupt says how to go on.

    >>> train("polish", data="openmpi-2d", out="runs/polish")  # doctest: +SKIP
    """
    training = Training() if training is None else training
    preprocessing = CORRECTED if preprocessing is None else preprocessing
    cls = _trainable(plugin, settings)
    for name, value, wanted in (
        ("training", training, Training),
        ("preprocessing", preprocessing, Preprocessing),
    ):
        if not isinstance(value, wanted):
            raise SettingsError(f"{name} must be mpibridge.{wanted.__name__}(…), found {value!r}")
    if not isinstance(seed, Integral) or isinstance(seed, bool) or seed < 0:
        raise SettingsError(f"seed must be a whole number of at least 0, found {seed!r}")
    where = resolve_device(device)
    check_machine(training, where)
    start = None if weights is None else _start(cls, weights, settings, Path(out))
    if start is not None:
        settings = dict(trained.with_network(cls, settings, start))
    method = cls(make_settings(cls, settings))
    pairs = as_data(data).pairs(cls, preprocessing, int(seed))
    held_out = pairs.validation(int(seed))
    if training.patience is not None and held_out is None:
        raise SettingsError("patience needs held-out pairs; the data have none (validation)")
    folder = Path(out)
    job.claim(
        folder,
        {
            "plugin": plugin,
            "settings": asdict(method.settings),
            "preprocessing": pairs.preprocessing.plain(),
            "data": pairs.description,
            "training": training.decisive(),
            "seed": int(seed),
            "weights": None if start is None else file_fingerprint(start.path),
        },
    )
    method.network = build_network(method, pairs.example, int(seed))
    if start is not None:
        start.load_into(method.network)
    with reporting(progress) as report:
        _run(method, pairs, held_out, training, folder, where, int(seed), start, report)
    return trained.read(folder)


def _run(
    method: TrainablePlugin[Any],
    pairs: Pairs,
    held_out: Pair | None,
    training: Training,
    folder: Path,
    where: str,
    seed: int,
    start: trained.Weights | None,
    report: Report,
) -> None:
    """Train, or go on; then say how good the best weights are."""
    reached = job.checkpoint(folder)
    with quiet():
        import torch
        from lightning.pytorch import Trainer
        from lightning.pytorch.callbacks import EarlyStopping

        from mpibridge.training.module import Loop
        from mpibridge.training.record import Record

        def header(record: Record) -> trained.WeightsHeader:
            step, loss = record.best
            said = {
                **{name: value for name, value in asdict(training).items() if name != "licence"},
                "package": _package(method.name),
                "step": step,
                "device": where,
                "seconds": round(record.elapsed, 1),
                "started_from": None if start is None else start.path.name,
            }
            return trained.WeightsHeader(
                plugin=method.name,
                version=mpibridge.__version__,
                settings=asdict(method.settings),
                preprocessing=pairs.preprocessing.plain(),
                acquisition=None if method.serves_any_acquisition else pairs.acquisition,
                data=pairs.description,
                training=said,
                seed=seed,
                metrics={} if loss is None else {"validation_loss": loss},
                licence=training.licence,
                created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            )

        def save(loop: Loop, record: Record) -> None:
            trained.save(folder / WEIGHTS, loop.result, header(record))

        loop = Loop(method, pairs, held_out, training, seed)
        record = Record(folder, training.steps, save, report)
        callbacks: list[Any] = [record]
        if training.patience is not None:
            callbacks.append(
                EarlyStopping(
                    "validation_loss",
                    patience=training.patience,
                    check_finite=False,  # `Record` tells which step it was
                    check_on_train_epoch_end=False,
                )
            )
        if reached is not None:
            record.load_state_dict(reached["callbacks"][record.state_key])
        remaining = training.steps - (0 if reached is None else reached["global_step"])
        done = record.stopped or remaining <= 0
        if done and "frames" in (finished := trained.read(folder)).header.metrics:
            if training.licence not in ("", finished.header.licence):
                finished.load_into(method.network)
                stated = replace(finished.header, licence=training.licence)
                trained.save(finished.path, method.network, stated)
            return
        if not done:
            n_cuda = range(torch.cuda.device_count())
            with torch.random.fork_rng(devices=n_cuda), interruptible(folder, record):
                trainer = Trainer(
                    **machine(training, where),
                    precision=training.precision,  # type: ignore[arg-type]
                    max_epochs=len(record.rows) + -(-remaining // training.validate_every),
                    gradient_clip_val=training.clip or None,
                    callbacks=callbacks,
                    logger=logger(training, folder),
                    log_every_n_steps=1,
                    default_root_dir=folder,
                    num_sanity_val_steps=0,
                    reload_dataloaders_every_n_epochs=1,
                    use_distributed_sampler=False,
                    enable_checkpointing=False,
                    enable_progress_bar=False,
                    enable_model_summary=False,
                )
                trainer.fit(
                    loop, ckpt_path=None if reached is None else folder / job.CHECKPOINT, weights_only=True
                )
            if not trainer.is_global_zero:
                trainer.strategy.barrier()
                return
        method.network = loop.network.cpu()
        final = trained.read(folder)
        final.load_into(method.network)
        metrics = _metrics(method, pairs, training, where, seed)
        full = header(record)
        trained.save(folder / WEIGHTS, method.network, replace(full, metrics={**full.metrics, **metrics}))
        if not done:
            trainer.strategy.barrier()


def _trainable(plugin: str, settings: dict[str, Any]) -> type[TrainablePlugin]:
    cls = registry.load(plugin)
    make_settings(cls, settings)
    if not issubclass(cls, TrainablePlugin):
        known = ", ".join(_trainable_names()) or "none is installed"
        raise SettingsError(f"plugin {plugin!r} has nothing to train; those that learn: {known}")
    return cls


def _package(plugin: str) -> str:
    """The package that brought a plugin, and its version."""
    name = registry.plugins()[plugin].package
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:  # registered without being installed
        return name


def _trainable_names() -> Iterator[str]:
    from mpibridge.errors import PluginError

    for name, entry in registry.plugins().items():
        try:
            if issubclass(entry.load(), TrainablePlugin):
                yield name
        except PluginError:
            continue  # whoever loads it is told


def _start(
    cls: type[TrainablePlugin], path: str | Path, settings: dict[str, Any], out: Path
) -> trained.Weights:
    """The weights to start from. The acquisition may be another one, and so may losses: that is what one tunes them for."""
    found = trained.read(path)
    if found.header.plugin != cls.name:
        raise WeightsError(f"{found.path}: weights of plugin {found.header.plugin!r}, not of {cls.name!r}")
    if found.path.resolve() == (out / WEIGHTS).resolve():
        raise SettingsError(
            f"weights={path!s} is what this run writes; leave it out to go on with the run, or choose another folder"
        )
    fixed = trained.with_network(cls, {}, found)
    for name in settings.keys() & fixed.keys() & set(cls.network_settings):
        if settings[name] != fixed[name]:
            raise WeightsError(f"{found.path}: trained with {name}={fixed[name]!r}, not {settings[name]!r}")
    return found


def _metrics(
    method: TrainablePlugin[Any], pairs: Pairs, training: Training, where: str, seed: int
) -> dict[str, float]:
    """NRMSE and PSNR (dB) of images of held-out pairs, means with 95 % bootstrap intervals over the images."""
    held_out = pairs.test(seed, training.evaluate) if training.evaluate else None
    if held_out is None:
        return {}
    shown = np.flatnonzero(held_out[1].any((1, 2, 3)))
    if not len(shown):
        return {}
    problem, target = take(held_out, shown)
    result = execute(method, problem, generator=random(seed, TEST, 1), report=silent, device=where)
    found: dict[str, float] = {"frames": len(shown)}
    for name, metric in (("nrmse", nrmse), ("psnr", psnr)):
        interval = bootstrap(per_image(metric, result.image, target), generator=random(seed, TEST, 2))
        if np.isfinite(interval.mean):
            found[name] = interval.mean
        if np.isfinite([interval.low, interval.high]).all():
            found |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return found
