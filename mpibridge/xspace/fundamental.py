"""The first harmonic that a receive chain filters out together with the direct feed-through of the drive field.

Without it the image loses one constant per receiver and period: the voltage is s = K(x(t)) w(t), K = c ∗ h and w = G v.
K depends on the position alone and w_c runs like cos(2π f_c t + φ_c), so the part of s_c at f_c is in phase with w_c;
filtering it out turns K_cc into K_cc − α_c everywhere (to 1e-6 for the Lissajous scan of seed 004).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mpibridge.mdf.header import Header
from mpibridge.xspace.trajectory import scan_vector, trajectory

CELLS = {1: 20, 2: 10, 3: 6}
"""Cells per axis that the image matrix is found in, by the number of driven axes."""


def recover_fundamental(signals: Any, header: Header) -> Any:
    """Signals (frame, J, C, V) with the drive frequency of every receiver put back.

    The lost constants α are the least (in sum) for which no collinear image is negative: nᵀ (K + diag α) n ≥ 0 for every
    direction n and in every cell of a coarse grid, with K from least squares on the samples of the cell. That is a
    small linear program. It is exact where some cell holds no tracer along some n; a field of view full of tracer comes
    out too dark, as with any rule that takes the border or the darkest point for zero.
    Source: one explicit unknown per filtered signal and a non-negative image, Konkle et al. 2015 (PLoS ONE 10
    e0140137), here for the matrix image of Goodwill & Conolly 2011, which a Lissajous scan measures as a whole.
    """
    position, velocity = trajectory(header)
    n_periods = header.n_periods
    vector = scan_vector(header, velocity).reshape(n_periods, -1, 3)
    top = np.abs(vector).max()
    driven = [c for c in range(min(3, signals.shape[2])) if np.abs(vector[..., c]).max() > 1e-3 * top]
    if not driven:
        return signals
    points = position.reshape(n_periods, -1, 3)[..., driven]
    waves = vector[..., driven] / top
    volts = signals if isinstance(signals, np.ndarray) else signals.detach().cpu().numpy()
    added = np.zeros(volts.shape, volts.dtype)
    for j in range(n_periods):
        constants = _constants(volts[:, j, driven], points[j], waves[j])
        added[:, j, driven] = constants[:, :, None] * waves[j].T
    return signals + (added if signals is volts else signals.new_tensor(added))


def _constants(signals: np.ndarray, points: np.ndarray, waves: np.ndarray) -> np.ndarray:
    """α (frame, axis) of one period. signals: (frame, axis, V); points, waves: (V, axis)."""
    import scipy.sparse
    from scipy.optimize import linprog

    n_axes = points.shape[1]
    low, extent = points.min(0), np.maximum(np.ptp(points, axis=0), 1e-12)
    index = np.minimum((points - low) / extent * CELLS[n_axes], CELLS[n_axes] - 1).astype(int)
    cell = np.ravel_multi_index(tuple(index.T), (CELLS[n_axes],) * n_axes)
    within = scipy.sparse.csr_matrix((np.ones(len(cell)), (cell, np.arange(len(cell)))))
    pairs = [(a, b) for a in range(n_axes) for b in range(a, n_axes)]
    design = np.zeros((len(waves), n_axes, len(pairs)))  # s = design · (K_ab of all pairs)
    for q, (a, b) in enumerate(pairs):
        design[:, a, q] = waves[:, b]
        design[:, b, q] = waves[:, a]
    normal = within @ np.einsum("vaq,var->vqr", design, design).reshape(len(waves), -1)
    normal = normal.reshape(-1, len(pairs), len(pairs))
    size = np.linalg.eigvalsh(normal)
    good = size[:, 0] > 1e-3 * size[:, -1].max()
    angles = _sphere(n_axes)
    squares = np.stack([angles[:, a] * angles[:, b] * (1 if a == b else 2) for a, b in pairs])
    constants = np.zeros(signals.shape[:2])
    for frame, signal in enumerate(signals):
        right = within @ np.einsum("vaq,av->vq", design, signal)
        matrix = np.linalg.solve(normal[good], right[good][..., None])[..., 0]
        darkest = (matrix @ squares).min(0)
        scale = np.abs(darkest).max() or 1.0
        found = linprog(np.ones(n_axes), -(angles**2), darkest / scale, bounds=(None, None))
        constants[frame] = found.x * scale
    return constants


def _sphere(n_axes: int) -> np.ndarray:
    """Unit vectors, evenly spread over the half circle or half sphere, (n, axis)."""
    if n_axes == 1:
        return np.ones((1, 1))
    if n_axes == 2:
        angle = np.arange(64) * np.pi / 64
        return np.stack([np.cos(angle), np.sin(angle)], 1)
    z = (np.arange(200) + 0.5) / 200
    turn = np.arange(200) * np.pi * (3 - np.sqrt(5))
    return np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], 1)
