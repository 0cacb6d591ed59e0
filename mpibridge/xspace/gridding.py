"""Images from velocity-compensated signals: scattered samples to a grid, as one sparse matrix.

The voltage s(t) is (image matrix at x(t)) · w(t), w = G v; projected on the direction of w and divided by the speed it
is the collinear x-space image at x(t). Images are normalised convolutions of it, weighted by the square of the speed because
the noise of the quotient grows with 1/|v|: image(r) = Σ_t k(r − x_t) |v_t| s_t / Σ_t k(r − x_t) |v_t|², k a Gaussian.
Source: Goodwill & Conolly 2010 (IEEE TMI 29(11)), 2011 (IEEE TMI 30(9)); Ozaslan et al. 2019 (PMB 64 165018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mpibridge.errors import MDFError, SettingsError, ShapeError
from mpibridge.mdf.header import Header
from mpibridge.model import Grid
from mpibridge.plugin import ImageProblem
from mpibridge.preprocessing import FUNDAMENTALS
from mpibridge.xspace.fundamental import recover_fundamental
from mpibridge.xspace.kernel import kernel_weights
from mpibridge.xspace.partition import Partition, partition
from mpibridge.xspace.sparse import as_torch
from mpibridge.xspace.trajectory import gradients, scan_vector, trajectory

SLOW_PART = 0.3
"""Largest component of the direction of motion that may go without a receiver (slow axis of a Cartesian scan)."""
COILS = ("path", "mean")


@dataclass(frozen=True)
class XSpaceImages:
    """Collinear images of a scan.

    images: (frame, channel, z, y, x) in V s/m; 0 where nothing was measured. directions: (channel, 3) unit vectors, the
    mean direction of every partition. covered: (channel, z, y, x), where something was measured. gridding: the map that
    made them.
    """

    images: Any
    directions: np.ndarray
    covered: np.ndarray
    grid: Grid
    gridding: Gridding

    def problem(self) -> ImageProblem:
        """What a plugin for images is given."""
        return ImageProblem(grid=self.grid, images=self.images, gridding=self.gridding)


@dataclass(frozen=True)
class Gridding:
    """The linear map from the signals of a scan to its images, for any number of frames.

    matrix: sparse (channel · voxel, J·V), scipy CSR or torch CSR. coil: (J, C, V), the unit vector that signals are
    projected on. widths: (channel, z, y, x) m, standard deviation of the kernel. position: (J·V, 3) m, where the samples
    were taken, and rate: (J·V, 3) T/s, `scan_vector` there. gradient: (3,) T/m, the diagonal of the selection field's, or None
    if it has other entries or changes. Others: as `XSpaceImages`.
    """

    matrix: Any
    coil: Any
    position: np.ndarray
    rate: np.ndarray
    gradient: np.ndarray | None
    directions: np.ndarray
    covered: np.ndarray
    widths: np.ndarray
    grid: Grid

    def __call__(self, signals: Any) -> XSpaceImages:
        """Images of signals (frame, J, C, V) V; ShapeError if they do not fit. Linear: noise may be gridded apart."""
        if len(signals.shape) != 4 or tuple(signals.shape[1:]) != tuple(self.coil.shape):
            raise ShapeError(
                f"signals are {tuple(signals.shape)}, (frame, {', '.join(map(str, self.coil.shape))}) for "
                "(frame, period, receiver, sample) is wanted"
            )
        projected = (signals * self.coil).sum(2).reshape(signals.shape[0], -1)
        images = (self.matrix @ projected.T).T
        return XSpaceImages(
            images.reshape(-1, *self.covered.shape), self.directions, self.covered, self.grid, self
        )

    def pointing(self) -> np.ndarray:
        """(channel, 2, z, y, x): means of cos 2φ and sin 2φ as images weight them, φ the angle of `rate`; 0 where not covered."""
        w_x, w_y = self.rate[:, :2].T
        speed = np.hypot(w_x, w_y)
        moving = np.where(speed > 0, speed, np.inf)
        cos, sin, total = (
            np.asarray(self.matrix @ part).reshape(self.covered.shape)
            for part in ((w_x**2 - w_y**2) / moving, 2 * w_x * w_y / moving, speed)
        )
        return np.stack([cos, sin], 1) / np.where(total > 0, total, np.inf)[:, None]

    def to(self, device: Any) -> Gridding:
        """The same map for float32 torch tensors on ``device``."""
        import torch

        coil = torch.as_tensor(self.coil, dtype=torch.float32, device=device)
        return replace(self, matrix=as_torch(self.matrix, device), coil=coil)


def gridded_images(
    signals: Any,
    header: Header,
    grid: Grid,
    *,
    partitions: bool | Sequence[Partition] = True,
    coil: str = "path",
    min_speed: float = 0.1,
    width: float | None = None,
    fundamental: str = "as recorded",
) -> XSpaceImages:
    """Collinear images of a scan. signals: (frame, J, C, V) V, receivers along x, y, z in this order.

    fundamental: "recovered" puts back the drive frequencies that the receive chain filtered out
    (`recover_fundamental`). Other choices and errors: `gridding`, which is worth building once for several calls.

    >>> images = gridded_images(time_signals(scan).values, Header(scan.attrs), grid).problem()  # doctest: +SKIP
    """
    if fundamental not in FUNDAMENTALS:
        raise SettingsError(f"fundamental must be one of {FUNDAMENTALS}, found {fundamental!r}")
    built = gridding(
        header,
        grid,
        n_receivers=signals.shape[2] if len(signals.shape) == 4 else None,
        partitions=partitions,
        coil=coil,
        min_speed=min_speed,
        width=width,
    )
    if not isinstance(signals, np.ndarray):
        built = built.to(signals.device)
    return built(recover_fundamental(signals, header) if fundamental == "recovered" else signals)


def gridding(
    header: Header,
    grid: Grid,
    *,
    n_receivers: int | None = None,
    partitions: bool | Sequence[Partition] = True,
    coil: str = "path",
    min_speed: float = 0.1,
    width: float | None = None,
) -> Gridding:
    """The map from signals to images of a scan.

    partitions: True for one image per `partition`, False for one image of all samples, or a list that does not
    overlap. coil: signals are projected on the momentary direction of motion ("path", the virtual collinear coil) or on
    the mean direction of the partition ("mean"). min_speed: slower samples are dropped, as a share of the top speed.
    width: standard deviation of the Gaussian in m; None: half the local gap between lines or samples, at least half a
    voxel (`kernel.local_gap`). A voxel is covered if a sample lies within 2.5 widths.

    Raises SettingsError for choices out of range, MDFError for a header without trajectory, ShapeError if an axis that
    the point moves along has no receiver or no sample lies in the grid.
    """
    if coil not in COILS:
        raise SettingsError(f"coil must be one of {COILS}, found {coil!r}")
    if not 0 <= min_speed < 1:
        raise SettingsError(f"min_speed is a share of the top speed, 0 to below 1, found {min_speed!r}")
    if width is not None and not width > 0:
        raise SettingsError(f"width must be a positive length in metres or None, found {width!r}")
    position, velocity = trajectory(header)
    speed = np.linalg.norm(velocity, axis=1)
    if not speed.max() > 0:
        raise MDFError(header.source, "/acquisition/drivefield/strength", "is 0: nothing moves")
    parts = _partitions(header, partitions, velocity)
    pointing = _directions(header, velocity, parts, coil)
    n_receivers = header.n_receivers if n_receivers is None else n_receivers
    if np.abs(pointing[:, n_receivers:][speed > min_speed * speed.max()]).max(initial=0) > SLOW_PART:
        raise ShapeError(
            f"the field-free point moves along axes without receiver: there are {n_receivers} for x, y, z in this order"
        )
    unit = np.zeros((len(pointing), n_receivers))
    unit[:, : min(3, n_receivers)] = pointing[:, :n_receivers]
    fresh = _first_of_its_kind(position, header.n_periods)
    rows = [
        kernel_weights(
            position, speed, part.mask & (speed >= min_speed * speed.max()) & (speed > 0), fresh, grid, width
        )
        for part in parts
    ]
    import scipy.sparse

    return Gridding(
        matrix=scipy.sparse.vstack([matrix for matrix, _ in rows], format="csr"),
        coil=unit.reshape(header.n_periods, -1, n_receivers).swapaxes(1, 2).astype(np.float32),
        position=position,
        rate=scan_vector(header, velocity),
        gradient=_diagonal(gradients(header)),
        directions=np.array([part.direction for part in parts]),
        covered=np.stack([np.diff(matrix.indptr).reshape(grid.shape) > 0 for matrix, _ in rows]),
        widths=np.stack([widths.reshape(grid.shape) for _, widths in rows]),
        grid=grid,
    )


def _partitions(
    header: Header, partitions: bool | Sequence[Partition], velocity: np.ndarray
) -> Sequence[Partition]:
    if isinstance(partitions, bool):
        if partitions:
            return partition(header)
        principal = np.linalg.svd(velocity, full_matrices=False)[2][0]
        return [Partition(np.ones(len(velocity), bool), principal)]
    counts = np.zeros(len(velocity), int)
    for mask, _ in partitions:
        if mask.shape != counts.shape:
            raise ShapeError(
                f"a partition has a mask {mask.shape}, the scan {counts.shape} samples in its periods"
            )
        counts += mask
    if not len(partitions) or counts.max() > 1:
        raise ShapeError(f"{len(partitions)} partitions: there must be one, and no sample in two of them")
    return partitions


def _directions(header: Header, velocity: np.ndarray, parts: Sequence[Partition], coil: str) -> np.ndarray:
    """Unit vectors (J·V, 3) that signals are projected on: along G v, or along ± the mean of the partition."""
    along = scan_vector(header, velocity)
    if coil == "mean":
        for mask, direction in parts:
            mean = scan_vector(header, np.broadcast_to(direction, velocity.shape))[mask]
            along[mask] = mean * np.sign((along[mask] * mean).sum(1, keepdims=True))
    length = np.linalg.norm(along, axis=1, keepdims=True)
    return np.divide(along, length, out=np.zeros_like(along), where=length > 0)


def _diagonal(every: np.ndarray) -> np.ndarray | None:
    """(3,) of Jacobians (J, 3, 3) if all are the same and diagonal."""
    diagonal = np.diagonal(every[0])
    same = np.allclose(every, np.diag(diagonal), rtol=0, atol=1e-9 * np.abs(every).max())
    return diagonal.copy() if same else None


def _first_of_its_kind(position: np.ndarray, n_periods: int) -> np.ndarray:
    """(J·V,) False in periods that repeat the path of an earlier one."""
    rounded = np.round(position.reshape(n_periods, -1) * 1e7)
    keep = np.zeros((n_periods, rounded.shape[1] // 3), bool)
    keep[np.unique(rounded, axis=0, return_index=True)[1]] = True
    return keep.ravel()
