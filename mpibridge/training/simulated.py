"""`Simulated`: random phantoms through a scanner that is simulated, or through a system matrix that was measured."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from mpibridge.acquisition import Acquisition, acquisition_of
from mpibridge.calibration import Rows, background_deviation, calibration_grid, positions_of_bins, select_rows
from mpibridge.errors import MPIBridgeWarning, SettingsError
from mpibridge.fingerprint import fingerprint
from mpibridge.mdf.header import Header
from mpibridge.plugin import ImageProblem, SpectralProblem, TrainablePlugin, WaveformProblem
from mpibridge.preprocessing import Preprocessing
from mpibridge.problems import image_problem, row_weights, system_matrix_operator, waveform_problem
from mpibridge.reading import read
from mpibridge.signals import uses_transfer_function
from mpibridge.simulate.narrowband import is_raster, raster_operator
from mpibridge.simulate.phantoms.families import FAMILIES, Families, chosen
from mpibridge.simulate.phantoms.shape import Phantom, finer_grid
from mpibridge.simulate.presets import Preset, preset
from mpibridge.simulate.recordings import calibration as simulate_calibration
from mpibridge.simulate.recordings import scan as simulate_scan
from mpibridge.simulate.response import response
from mpibridge.simulate.streams import spectral_pairs, waveform_pairs
from mpibridge.training.data import SOURCE, TEST, TRAINING, VALIDATION, Data, Pair, Pairs, random

LARGEST_BYTES = 2**32
"""A forward matrix that is larger is only made if somebody chooses another grid or fewer rows."""
Range = tuple[float, float]
Stream = Callable[[Families, Range, np.random.Generator, int], Iterator[Pair]]
"""Pairs of phantoms of these families at this SNR, from a generator, in batches of a size."""


@dataclass(frozen=True)
class Simulated(Data):
    """Random phantoms, what a scanner would record of them, and noise.

    source: a preset or its name, whose scanner is simulated; or a calibration (path or dataset), whose system matrix is
    taken as it was measured: only for methods on spectra, and without a finer grid than its own, so that these pairs commit
    the inverse crime (the description of the data says so).
    families: of phantoms, drawn equally often (`mpibridge.simulate.phantoms`). held_out: families of the pairs that are held
    out, where others are wanted: of pictures, those that are in no batch. finer: how much finer than the image the grid is
    that phantoms are drawn and scanned on.
    """

    source: str | Path | Preset | xr.Dataset
    families: Families = tuple(FAMILIES)
    snr: Range = (10.0, 30.0)  # dB, drawn uniformly for every frame (`simulate.streams`)
    finer: int | None = None  # grid of the phantoms; none: as the preset says, 1 for a calibration
    validation: int = 256  # pairs that are held out, at least 0
    held_out: Families | None = None  # of these families; none: the same
    reference: Phantom | None = None  # whose SNR it is, one noise for all phantoms; none: each frame's own

    def __post_init__(self) -> None:
        chosen(self.families)
        if self.held_out is not None:
            chosen(self.held_out)
        if np.shape(self.snr) != (2,) or not (np.isfinite(self.snr).all() and self.snr[0] <= self.snr[1]):
            raise SettingsError(f"snr must be a range (low, high) in dB, found {self.snr!r}")
        for name, least in (("finer", 1), ("validation", 0)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or value != int(value) or value < least):
                raise SettingsError(f"{name} must be a whole number of at least {least}, found {value!r}")

    def pairs(self, cls: type[TrainablePlugin], preprocessing: Preprocessing, seed: int) -> SimulatedPairs:
        source = _source(self.source)
        if cls.takes is SpectralProblem:
            return _spectral(self, source, preprocessing)
        if not isinstance(source, Preset):
            raise SettingsError(
                f"plugin {cls.name!r} takes a {cls.takes.__name__}, which a calibration does not give; "
                "pass a preset, Arrays or Recordings"
            )
        if cls.takes not in (WaveformProblem, ImageProblem):
            raise NotImplementedError(f"simulated pairs for methods that take a {cls.takes.__name__}")
        return _waveforms(self, source, preprocessing, gridded=cls.takes is ImageProblem)

    def describe(self, source: Preset | xr.Dataset, finer: int) -> dict[str, Any]:
        """JSON values for the header of the weights."""
        said: dict[str, Any] = {
            "kind": "simulated",
            "families": list(chosen(self.families)),
            "snr": [float(edge) for edge in self.snr],
            "finer": finer,
            "validation": self.validation,
        }
        if self.held_out is not None:
            said["held_out"] = list(chosen(self.held_out))
        if self.reference is not None:
            said["reference"] = self.reference.name
        if isinstance(source, Preset):
            return said | {"preset": source.scanner.name, "description": source.description}
        return said | {"system_matrix": fingerprint(source)}


class SimulatedPairs(Pairs):
    """Pairs of a stream that starts anew for every batch. held_out: the stream of those that are in no batch."""

    def __init__(
        self,
        stream: Stream,
        data: Simulated,
        *,
        acquisition: Acquisition | None,
        preprocessing: Preprocessing,
        description: Mapping[str, Any],
        example: Any = None,
    ) -> None:
        self.stream, self.data = stream, data
        self.acquisition, self.preprocessing = acquisition, preprocessing
        self.description = description
        self.example = self._drawn(0, SOURCE, 0, 1)[0] if example is None else example

    def batch(self, seed: int, number: int, size: int) -> Pair:
        return self._drawn(seed, TRAINING, number, size)

    def validation(self, seed: int) -> Pair | None:
        return self._drawn(seed, VALIDATION, 0, self.data.validation) if self.data.validation else None

    def test(self, seed: int, size: int) -> Pair:
        return self._drawn(seed, TEST, 0, size)

    def test_on(self, families: Families, snr: Range, seed: int, size: int) -> Pair:
        """`test` with other phantoms and another noise, through the scanner that is simulated already."""
        return next(self.stream(families, snr, random(seed, TEST), size))

    def _drawn(self, seed: int, branch: int, number: int, size: int) -> Pair:
        families = self.data.families
        if branch in (VALIDATION, TEST) and self.data.held_out is not None:
            families = self.data.held_out
        return next(self.stream(families, self.data.snr, random(seed, branch, number), size))


def _source(source: Any) -> Preset | xr.Dataset:
    from mpibridge.simulate.presets import PRESETS

    if isinstance(source, Preset | xr.Dataset):
        return source
    if isinstance(source, str) and (source in PRESETS or not Path(source).suffix):
        return preset(source)
    if isinstance(source, str | Path):
        return read(source)
    raise SettingsError(f"a preset, its name or a calibration is wanted, found {type(source).__name__}")


def _spectral(data: Simulated, source: Preset | xr.Dataset, preprocessing: Preprocessing) -> SimulatedPairs:
    """Rows as `mpibridge.problems.spectral_problem` hands them over for a scan of the same calibration."""
    if preprocessing.sparsity is not None:
        raise NotImplementedError("training on a compressed system matrix (Preprocessing(sparsity=…))")
    if isinstance(source, Preset):
        # One calibration for all seeds: other noise would let other rows pass, and make another network of them.
        calibration = simulate_calibration(source, generator=random(0, SOURCE))
    else:
        calibration = source
    if not preprocessing.system_matrix_background and calibration.sizes.get("background_frame"):
        warnings.warn(
            "the calibration has background frames that stay in its system matrix, while simulated scans have no "
            "background: networks learn a matrix that is wrong; pass Preprocessing(system_matrix_background=True)",
            MPIBridgeWarning,
            stacklevel=4,
        )
    rows = select_rows(calibration, preprocessing)
    operator = system_matrix_operator(calibration, rows, preprocessing)
    finer = data.finer or (source.finer if isinstance(source, Preset) else 1)
    forward = None
    if isinstance(source, Preset):
        forward = forward_matrix(source, calibration, rows, preprocessing, operator.grid, finer)
    elif finer > 1:
        raise SettingsError(
            f"finer={finer}: a measured system matrix knows no grid finer than its own; pass finer=1 or a preset"
        )
    deviation = background_deviation(calibration, rows, preprocessing)
    weights = row_weights(operator, rows, calibration, None, preprocessing)
    if weights is not None:
        operator = operator.weighted(weights)
        forward = None if forward is None else forward * weights[:, None]
        deviation = None if deviation is None else deviation * weights
    if deviation is not None and not deviation.any():
        deviation = None
    if forward is not None:
        forward = np.asfortranarray(
            forward
        )  # its transpose is what images are multiplied with, batch by batch

    def stream(families: Families, snr: Range, generator: np.random.Generator, size: int) -> Iterator[Pair]:
        return spectral_pairs(
            operator,
            families,
            generator=generator,
            snr=snr,
            noise=deviation,
            forward=forward,
            finer=finer,
            batch=size,
            reference=data.reference,
        )

    said = data.describe(source, finer) | {"inverse_crime": forward is None, "rows": operator.n_rows}
    return SimulatedPairs(
        stream,
        data,
        acquisition=None
        if calibration_grid(calibration) is None
        else acquisition_of(calibration, operator.grid),
        preprocessing=preprocessing,
        description=said,
    )


def forward_matrix(
    source: Preset,
    calibration: xr.Dataset,
    rows: Rows,
    preprocessing: Preprocessing,
    grid: Any,
    finer: int,
) -> np.ndarray:
    """What a scan gives for concentrations on a finer grid, (row, voxel) complex64, in the units of the calibration."""
    fine = finer_grid(grid, finer)
    machine = source.scanner
    bins, where = np.unique(rows.bins, return_inverse=True)
    size = 8 * machine.sequence.n_periods * machine.n_receivers * len(bins) * fine.n_voxels
    if size > LARGEST_BYTES:
        raise SettingsError(
            f"the forward matrix of {fine.n_voxels} voxels and {len(rows)} rows takes {size / 2**30:.1f} GiB; choose "
            "a smaller finer, fewer rows or a coarser grid (Preprocessing)"
        )
    if is_raster(machine):
        values = raster_operator(machine, fine, tuple(bins.tolist()))  # (bin, receiver, period, voxel)
        matrix = values[where, rows.receivers].swapaxes(0, 1).astype(np.complex64, order="C")
        matrix = matrix.reshape(-1, fine.n_voxels)
    else:
        values = response(machine, fine, bins=bins).reshape(
            fine.n_voxels, machine.sequence.n_periods, machine.n_receivers, -1
        )
        matrix = np.ascontiguousarray(values[:, :, rows.receivers, where].reshape(fine.n_voxels, -1).T)
    if uses_transfer_function(calibration, preprocessing):
        factor = calibration["transfer_function"].values[
            rows.receivers, positions_of_bins(calibration, rows.bins)
        ]
        factor = np.tile(factor, machine.sequence.n_periods)[:, None]
        matrix = np.divide(matrix, factor, out=np.zeros_like(matrix), where=factor != 0)
    # An interpolated calibration still means samples of its own voxels: images come out in that unit.
    return matrix * np.float32(np.prod(source.grid.spacing) / np.prod(grid.spacing))


def _waveforms(
    data: Simulated, source: Preset, preprocessing: Preprocessing, *, gridded: bool
) -> SimulatedPairs:
    """Voltages, or their x-space images, as `mpibridge.problems` hands them over for a scan of the same scanner."""
    from mpibridge.xspace import gridding, recover_fundamental

    machine = source.scanner
    if machine.transfer_function is not None and preprocessing.transfer_function is not False:
        raise NotImplementedError(
            "simulated waveforms behind a transfer function that is divided out; pass transfer_function=False"
        )
    grid = preprocessing.target_grid(source.grid)
    preprocessing = replace(preprocessing, grid=grid)
    finer = data.finer or source.finer
    fine = finer_grid(grid, finer)
    n_samples = machine.n_receivers * machine.sequence.n_samples
    size = 4 * fine.n_voxels * n_samples * machine.sequence.n_periods
    if size > LARGEST_BYTES:
        raise SettingsError(
            f"the forward matrix of {fine.n_voxels} voxels takes {size / 2**30:.1f} GiB; choose a smaller finer or a "
            "coarser grid (Preprocessing(grid=(nz, ny, nx)))"
        )
    empty = xr.DataArray(np.zeros(grid.shape), grid.coordinates(), ("z", "y", "x"), attrs=grid.attributes())
    scan = simulate_scan(empty, source, generator=random(0, SOURCE), n_frames=1)
    header = Header(scan.attrs)
    operator = response(machine, fine)
    here = replace(source, grid=grid)

    def stream(families: Families, snr: Range, generator: np.random.Generator, size: int) -> Iterator[Pair]:
        return waveform_pairs(
            here,
            families,
            generator=generator,
            snr=snr,
            finer=finer,
            batch=size,
            operator=operator,
            reference=data.reference,
        )

    built: Any = gridding(header, grid, n_receivers=machine.n_receivers) if gridded else None

    def images(families: Families, snr: Range, generator: np.random.Generator, size: int) -> Iterator[Pair]:
        for problem, target in stream(families, snr, generator, size):
            volts = problem.waveform[:, None]
            if preprocessing.fundamental == "recovered":
                volts = recover_fundamental(volts, header)
            yield built(volts).problem(), target

    example = (image_problem if gridded else waveform_problem)(scan, [], preprocessing)
    return SimulatedPairs(
        images if gridded else stream,
        data,
        example=example,
        acquisition=acquisition_of(scan, grid),
        preprocessing=preprocessing,
        description=data.describe(source, finer),
    )
