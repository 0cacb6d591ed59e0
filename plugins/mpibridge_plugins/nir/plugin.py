"""Plugin `nir`: a small network from coordinates to concentration, fitted to one measurement, sampled on any grid."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpibridge.errors import MPIBridgeWarning, SettingsError
from mpibridge.model import Grid
from mpibridge.operators import SystemMatrix
from mpibridge.plugin import Plugin, Report, Result, SpectralProblem
from mpibridge_plugins.linear import require_single_image
from mpibridge_plugins.nir.field import TOGETHER, Field, frame_times
from mpibridge_plugins.nir.fitting import Fit, HeldOut, Rule, discrepancy, fit, misfit_weights
from mpibridge_plugins.nir.network import Siren
from mpibridge_plugins.nir.noise import Frames, alike_frames
from mpibridge_plugins.nir.points import axes_of, on_each_axis
from mpibridge_plugins.nir.settings import NIRSettings, Recipe

HELD_OUT = 10
"""Every tenth row is held out."""
MISFIT = 2.0
"""Times the level: a residual beyond tells of more than a fit that ended early."""


class NIR(Plugin[SpectralProblem]):
    """A network φ (SIREN) from coordinates to concentration per frame, with Dφ fitted to its data: argmin ‖W(S Dφ(p) − u)‖.

    D is the mean over voxels; W whitens noise and errors of the system matrix, and lifts faint singular values; it is 1 in the
    seed. Without training data, for every calibration. Source: Tsanda et al. 2025, "Neural implicit representations for
    grid-agnostic MPI reconstructions", eq. (1).
    """

    name = "nir"
    takes = SpectralProblem
    Settings = NIRSettings
    arrays = "torch"

    @property
    def _chosen(self) -> tuple[NIRSettings, Recipe]:
        return self.settings, self.settings.plan

    def bytes_per_frame(self, problem: SpectralProblem) -> int:
        """What backpropagation keeps of the points of one frame; the frames of a shared network go together."""
        settings, plan = self._chosen
        if settings.dynamic:
            return 0
        points = int(np.prod(on_each_axis(problem.grid, plan.points))) * problem.grid.n_voxels
        return 4 * points * plan.width * 3 * (plan.depth + 1)

    def reconstruct(
        self, problem: SpectralProblem, *, generator: np.random.Generator, report: Report
    ) -> Result:
        """The image on the grid of the settings.

        trace, all (frame, …): ``iterations``; ``residual`` as a multiple of what noise and the errors of the system matrix would
        leave, with or without the weights of the fit, whichever is larger; whether that level was ``reached``, 1 or 0;
        ``stopped_by``: discrepancy, held_out or iterations; ``scale`` of the image, and ``network``, the parameters.
        """
        require_single_image(problem, self.name)
        settings, plan = self._chosen
        generators = generator.spawn(len(problem.rows))
        seen, unseen = _split(problem, plan.stop == "held_out")
        parts = list(
            alike_frames(
                seen,
                whiten=plan.whiten,
                rank=settings.rank,
                together=settings.dynamic,
                model_error=settings.model_error,
            )
        )
        fits = []
        for i, frames in enumerate(parts):
            own = [generators[int(frame)] for frame in frames.where]
            fits.append(self._fitted(frames, problem.grid, unseen, own, _part(report, i, len(parts), plan)))
        order = torch.argsort(torch.cat([frames.where for frames in parts]))
        scale = torch.cat(
            [frames.data.scale[:, 0].masked_fill((frames.data.y == 0).all(1), 0) for frames in parts]
        )
        found = {
            name: torch.cat([getattr(result, name) for result in fits])
            for name in ("iterations", "residual", "stopped")
        }
        networks = torch.cat([result.parameters for result in fits])
        trace: dict[str, Any] = {name: values[order] for name, values in found.items()}
        stopped = trace.pop("stopped").cpu().numpy()
        if plan.stop == "discrepancy":
            _warn_of_misfits(trace["residual"])
        trace["reached"] = (trace["residual"] <= 1).to(torch.int8)
        trace["stopped_by"] = np.where(stopped, plan.stop, "iterations")
        trace |= {"scale": scale[order], "network": networks if settings.dynamic else networks[order]}
        grid = settings.image_grid(problem.grid)
        image = self._images(trace["network"], trace["scale"], problem.grid, grid)
        if not settings.keep_network:
            del trace["network"]
        return Result(image=image, trace=trace, grid=None if grid == problem.grid else grid)

    def sampled(self, trace: Mapping[str, Any], here: Grid, grid: Grid) -> np.ndarray | None:
        """The image (frame, z, y, x) of the stored networks on a grid in the field of view ``here``."""
        if "network" not in trace:
            return None
        networks, scale = (
            torch.from_numpy(np.array(trace[name], np.float32)) for name in ("network", "scale")
        )
        return self._images(torch.atleast_2d(networks), torch.atleast_1d(scale), here, grid).numpy()

    def _images(self, networks: Tensor, scale: Tensor, native: Grid, grid: Grid) -> Tensor:
        """(frame, z, y, x) of networks (frame or 1, number)."""
        without = [np.random.default_rng(0)] * len(networks)  # what they draw is overwritten
        field = self._field(native, len(scale), without)
        field.network.to(networks.device).load(networks)
        return (field.on(grid) * scale[:, None]).reshape(-1, *grid.shape)

    def _field(self, native: Grid, n_frames: int, generators: Sequence[np.random.Generator]) -> Field:
        """Untrained networks. generators: one per network."""
        settings, plan = self._chosen
        widths = [len(axes_of(native)) + settings.dynamic, *[plan.width] * plan.depth, 1]
        network = Siren(widths, plan.first, plan.hidden, values=plan.values, generators=generators)
        return Field(
            network, native, frame_times(native, n_frames, settings.frame_step) if settings.dynamic else None
        )

    def _fitted(
        self,
        frames: Frames,
        grid: Grid,
        unseen: SpectralProblem | None,
        generators: list[np.random.Generator],
        report: Callable[[int], None],
    ) -> Fit:
        settings, plan = self._chosen
        drawing = generators[:1] if settings.dynamic else generators
        field = self._field(grid, len(frames.where), drawing)
        field.network.to(frames.data.y.device)
        # of a series an iteration sees some frames
        looks = ceil(len(frames.where) / TOGETHER) if settings.dynamic else 1
        scales = 0

        def sample() -> tuple[Tensor | slice, Tensor]:
            nonlocal scales
            if plan.sampling == "stratified":
                return field.stratified(plan.points, drawing)
            scales += 1  # in turns, not by chance: frames that are fitted together share them
            return field.pooled(1 + (scales - 1) % plan.points, drawing)

        return fit(
            field.network,
            frames,
            sample,
            lambda: field.on(grid, on_each_axis(grid, max(2, plan.points))),
            weights=misfit_weights(frames, plan.balance),
            rate=plan.rate,
            iterations=plan.iterations * looks,
            schedule=plan.schedule,
            rule=_rule(plan.stop, frames, unseen),
            report=lambda iteration: report(iteration // looks),
        )


def _rule(stop: str, frames: Frames, unseen: SpectralProblem | None) -> Rule | None:
    if stop == "discrepancy":
        return discrepancy
    if unseen is None:
        return None
    matrix, wanted = unseen.operator.matrix, unseen.rows[frames.where]

    def misfit(image: Tensor) -> Tensor:
        return ((image * frames.data.scale).to(matrix.dtype) @ matrix.mT - wanted).norm(dim=1)

    return HeldOut(misfit)


def _split(problem: SpectralProblem, hold_out: bool) -> tuple[SpectralProblem, SpectralProblem | None]:
    """The rows of the fit and, if some are held out, the others."""
    if not hold_out:
        return problem, None
    held = torch.zeros(problem.rows.shape[1], dtype=torch.bool, device=problem.rows.device)
    held[HELD_OUT // 2 :: HELD_OUT] = True
    if not held.any():
        raise SettingsError(
            f"stop='held_out' needs more than {HELD_OUT // 2} rows, found {len(held)}; pass stop='discrepancy'"
        )

    def some(mask: Tensor) -> SpectralProblem:
        def of(values: Any) -> Any:
            return None if values is None else values[..., mask]

        operator = SystemMatrix(problem.operator.matrix[mask], problem.grid)
        return replace(
            problem,
            rows=problem.rows[:, mask],
            operator=operator,
            noise=of(problem.noise),
            matrix_noise=of(problem.matrix_noise),
        )

    return some(~held), some(held)


def _warn_of_misfits(residual: Tensor) -> None:
    apart = residual > MISFIT
    if apart.any():
        warnings.warn(
            f"{int(apart.sum())} of {len(apart)} images do not explain their data: the residual is up to {float(residual.max()):.1f} times what noise "
            "and system matrix leave; subtract the background (Preprocessing(background='mean', "
            "system_matrix_background=True)), leave out noisy rows (snr_threshold), pass more iterations or balance=0",
            MPIBridgeWarning,
            stacklevel=2,
        )


def _part(report: Report, i: int, n: int, plan: Recipe) -> Callable[[int], None]:
    """Progress of one group of frames as progress of all."""
    text = f"nir ({i + 1}/{n})" if n > 1 else "nir"
    return lambda iteration: report(i * plan.iterations + iteration, n * plan.iterations, text)
