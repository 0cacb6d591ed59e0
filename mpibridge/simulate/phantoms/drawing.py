"""Values of parts at points and mean values on grids, compiled. `parts` says what a row holds; imported on first use."""

# mypy: allow-untyped-defs
from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from mpibridge.simulate.phantoms import kinds

_options: dict[str, Any] = {"nogil": True, "cache": True}
CAPSULE, CYLINDER, BOX, ELLIPSOID = kinds.CAPSULE, kinds.CYLINDER, kinds.BOX, kinds.ELLIPSOID
GAUSSIAN, ARC, LUMP, IMAGE = kinds.GAUSSIAN, kinds.ARC, kinds.LUMP, kinds.IMAGE
CUT, N_MODES = kinds.CUT, kinds.N_MODES


@njit(**_options)
def _interpolated(images, k, u, v):
    """Image k (row, column) at column u and row v, linear between pixel centres, 0 outside."""
    _, n_rows, n_columns = images.shape
    column, row = math.floor(u), math.floor(v)
    if column < -1 or row < -1 or column >= n_columns or row >= n_rows:
        return 0.0
    right, below = u - column, v - row
    value = 0.0
    for i in range(2):
        for j in range(2):
            if 0 <= row + i < n_rows and 0 <= column + j < n_columns:
                weight = (below if i else 1 - below) * (right if j else 1 - right)
                value += weight * images[k, row + i, column + j]
    return value


@njit(**_options)
def _value(part, x, y, z, images):
    """The value of one row at one point; the columns are those of `parts`."""
    kind, value = int(part[0]), part[1]
    p = part[8:]
    if kind in (CAPSULE, CYLINDER):
        ax, ay, az = p[3] - p[0], p[4] - p[1], p[5] - p[2]
        dx, dy, dz = x - p[0], y - p[1], z - p[2]
        length2 = ax * ax + ay * ay + az * az
        t = (dx * ax + dy * ay + dz * az) / length2 if length2 > 0 else 0.0
        if t < 0 or t > 1:
            if kind == CYLINDER:
                return 0.0
            t = min(max(t, 0.0), 1.0)
        dx, dy, dz = dx - t * ax, dy - t * ay, dz - t * az
        radius = p[6] + t * (p[7] - p[6])
        return value + t * (p[8] - value) if dx * dx + dy * dy + dz * dz <= radius * radius else 0.0
    dx, dy, dz = x - p[0], y - p[1], z - p[2]
    if kind == LUMP:
        angle, form = math.atan2(dy, dx), 1.0
        for k in range(N_MODES):
            form += p[7 + k] * math.cos((k + 2) * angle + p[7 + N_MODES + k])
        radius = p[3] * form
        square = (dx * dx + dy * dy) / (radius * radius) + dz * dz / (p[4] * p[4])
        if square > 1:
            return 0.0
        return p[6] if square <= p[5] * p[5] else value
    if kind == ARC:
        if abs(math.hypot(dx, dy) - p[3]) > p[4] or abs(dz) > p[5]:
            return 0.0
        away = (math.atan2(dy, dx) - p[6] + math.pi) % (2 * math.pi) - math.pi if p[7] < math.pi else 0.0
        return value if abs(away) <= p[7] else 0.0
    u, v = dx * p[6] + dy * p[7], dy * p[6] - dx * p[7]  # turned back; p[6:8] = cos, sin
    if kind == BOX:
        return value if abs(u) <= p[3] and abs(v) <= p[4] and abs(dz) <= p[5] else 0.0
    if kind == IMAGE:
        if abs(dz) > p[5]:
            return 0.0
        _, n_rows, n_columns = images.shape
        column, row = (u / p[3] + 1) * n_columns / 2 - 0.5, (1 - v / p[4]) * n_rows / 2 - 0.5
        return value * _interpolated(images, int(p[8]), column, row)
    square = (u / p[3]) ** 2 + (v / p[4]) ** 2 + (dz / p[5]) ** 2
    if kind == ELLIPSOID:
        return value if square <= 1 else 0.0
    return value * math.exp(-square / 2) if square <= CUT * CUT else 0.0  # GAUSSIAN


@njit(**_options)
def _joined(kind, old, new):
    """Solid parts cover each other, Gaussians blend as 1 − (1 − a)(1 − b): neither exceeds 1 where no part does."""
    if kind == GAUSSIAN:
        return old + new - old * new
    return max(old, new)


@njit(**_options)
def at_points(parts, images, points):
    """Values (n,) at points (n, 3)."""
    values = np.zeros(len(points))
    for part in parts:
        for i in range(len(points)):
            x, y, z = points[i]
            if part[2] <= x <= part[5] and part[3] <= y <= part[6] and part[4] <= z <= part[7]:
                values[i] = _joined(part[0], values[i], _value(part, x, y, z, images))
    return values


@njit(**_options)
def _span(axis, low, high):
    """First and one past the last index of a regular axis that may lie in [low, high]."""
    n = len(axis)
    if n == 1:
        return 0, 1
    step = axis[1] - axis[0]
    first = math.floor(min(max((low - axis[0]) / step, 0.0), n))
    last = math.ceil(min(max((high - axis[0]) / step, -1.0), n - 1.0))
    return int(first), int(last) + 1


@njit(**_options)
def on_grids(parts, first, images, x, y, z, finer, finer_z, out):
    """Mean values ``out`` (n, z, y, x) of n phantoms, parts[first[i] : first[i + 1]] each, from the fine axes."""
    fine = np.zeros((len(z), len(y), len(x)))
    _, nz, ny, nx = out.shape
    scale = 1.0 / (finer * finer * finer_z)
    for i in range(len(out)):
        fine[:] = 0
        for j in range(first[i], first[i + 1]):
            part = parts[j]
            x0, x1 = _span(x, part[2], part[5])
            y0, y1 = _span(y, part[3], part[6])
            z0, z1 = _span(z, part[4], part[7])
            for a in range(z0, z1):
                for b in range(y0, y1):
                    for c in range(x0, x1):
                        new = _value(part, x[c], y[b], z[a], images)
                        if new > 0:
                            fine[a, b, c] = _joined(part[0], fine[a, b, c], new)
        for a in range(nz):
            for b in range(ny):
                for c in range(nx):
                    total = 0.0
                    for k in range(a * finer_z, (a + 1) * finer_z):
                        for m in range(b * finer, (b + 1) * finer):
                            for n in range(c * finer, (c + 1) * finer):
                                total += fine[k, m, n]
                    out[i, a, b, c] = total * scale
