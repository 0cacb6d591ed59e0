"""Kaczmarz sweeps in Numba: dense complex rows for a few frames, CSR rows for any number.

Both work with normalised rows s·a (s = 1/‖a‖, 0 for a row of zeros) and normalised coefficients β = ‖a‖·α, so
that neither squares nor their inverses leave the range of float32:

    β = (s·b − s·a·x − λs²·z) / (1 + λs²),   x ← x + s·β·conj(a),   z ← z + β,   v = √λ·s·z

which is the sweep of RegularizedLeastSquares.jl `Kaczmarz.jl` (mpireco.md §3.9). Imported on first use only.
"""

# mypy: allow-untyped-defs
from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

# Sums may be reordered into SIMD lanes; NaN and infinity were refused before.
_options: dict[str, Any] = {"nogil": True, "cache": True, "fastmath": True}
_TILE = (
    32768  # reals of a row treated at once: long runs from memory, image and accumulators within the L2 cache
)


@njit(**_options)
def _dot(a, p, q):
    s = t = a.dtype.type(0)
    for j in range(len(a)):
        s += a[j] * p[j]
        t += a[j] * q[j]
    return s, t


@njit(**_options)
def _dot4(a, b, c, d, p, q):
    s0 = s1 = s2 = s3 = t0 = t1 = t2 = t3 = a.dtype.type(0)
    for j in range(len(a)):
        x, y = p[j], q[j]
        s0 += a[j] * x
        t0 += a[j] * y
        s1 += b[j] * x
        t1 += b[j] * y
        s2 += c[j] * x
        t2 += c[j] * y
        s3 += d[j] * x
        t3 += d[j] * y
    return s0, t0, s1, t1, s2, t2, s3, t3


@njit(**_options)
def _axpy(y, z, a, p, q):
    for j in range(len(y)):
        x = a[j]
        y[j] += x * p
        z[j] += x * q


@njit(**_options)
def _axpy4(y, z, a, b, c, d, p, q):
    p0, p1, p2, p3 = p
    q0, q1, q2, q3 = q
    for j in range(len(y)):
        s, t, u, v = a[j], b[j], c[j], d[j]
        y[j] += s * p0 + t * p1 + u * p2 + v * p3
        z[j] += s * q0 + t * q1 + u * q2 + v * q3


@njit(**_options)
def _multiply(rows, straight, crossed, start, tau):
    """tau[r] += rows[r]·x over one tile; each matrix entry is loaded once, four rows share the loads of x."""
    stop = start + len(straight)
    n = rows.shape[0]
    for r in range(0, n - 3, 4):
        t = _dot4(
            rows[r, start:stop], rows[r + 1, start:stop], rows[r + 2, start:stop], rows[r + 3, start:stop],
            straight, crossed,
        )  # fmt: skip
        for i in range(4):
            tau[r + i, 0] += t[2 * i]
            tau[r + i, 1] += t[2 * i + 1]
    for r in range(n // 4 * 4, n):
        s, t1 = _dot(rows[r, start:stop], straight, crossed)
        tau[r, 0] += s
        tau[r, 1] += t1


@njit(**_options)
def _accumulate(p, q, rows, re, im, start):
    """p = Σ_r re[r]·rows[r] and q = Σ_r im[r]·rows[r] over one tile, in real arithmetic."""
    p[:] = 0
    q[:] = 0
    stop = start + len(p)
    n = rows.shape[0]
    for r in range(0, n - 3, 4):
        _axpy4(
            p, q,
            rows[r, start:stop], rows[r + 1, start:stop], rows[r + 2, start:stop], rows[r + 3, start:stop],
            (re[r], re[r + 1], re[r + 2], re[r + 3]), (im[r], im[r + 1], im[r + 2], im[r + 3]),
        )  # fmt: skip
    for r in range(n // 4 * 4, n):
        _axpy(p, q, rows[r, start:stop], re[r], im[r])


@njit(**_options)
def _fold(p, q, straight, crossed):
    """Add Σ conj(a)·α to x, from p = Σ a·Re α and q = Σ a·Im α with a as (re, im) pairs."""
    for j in range(len(p) // 2):
        re = p[2 * j] + q[2 * j + 1]
        im = q[2 * j] - p[2 * j + 1]
        straight[2 * j] += re
        straight[2 * j + 1] -= im
        crossed[2 * j] += im
        crossed[2 * j + 1] += re


@njit(**_options)
def _substitute(partial, gram, scale, data, penalty, total, re, im):
    """Solve a block's triangular system for β; leaves s·β in re and im, and adds β to total."""
    n = len(scale)
    rest_re = np.empty(n, np.float64)
    rest_im = np.empty(n, np.float64)
    for i in range(n):
        t_re = 0.0
        t_im = 0.0
        for c in range(len(partial)):
            t_re += partial[c, i, 0]
            t_im += partial[c, i, 1]
        ratio = penalty * scale[i] * scale[i]
        rest_re[i] = data[i].real - scale[i] * t_re - ratio * total[i].real
        rest_im[i] = data[i].imag - scale[i] * t_im - ratio * total[i].imag
    for j in range(n):
        s = scale[j]
        inverse = 1 / (1 + penalty * s * s) if s > 0 else 0.0  # rows of zeros are skipped
        b_re = rest_re[j] * inverse
        b_im = rest_im[j] * inverse
        total[j] += complex(b_re, b_im)
        re[j] = s * b_re
        im[j] = s * b_im
        g_re = gram[j, 0]
        g_im = gram[j, 1]
        # to the right of j: the whole column at once, in SIMD, not a chain of dependent sums
        for i in range(j + 1, n):
            rest_re[i] -= g_re[i] * b_re - g_im[i] * b_im
            rest_im[i] -= g_re[i] * b_im + g_im[i] * b_re


@njit(parallel=True, **_options)
def dense_sweep(rows, gram, scale, data, penalty, total, straight, crossed, chunks):
    """One sweep of one frame, in place: blocks of rows, the voxels shared among threads.

    rows: (row, 2·voxel) real view of the complex matrix. gram: (row, 2, block), the blocks' Gram matrices of
    normalised rows (`strict_grams`). scale: (row,) s. data: (row,) s·b. penalty: λ.
    total: (row,) z. straight, crossed: (2·voxel,) the image as (re, −im) and (im, re) pairs, so that products
    with a row are plain real dot products. Within a block α solves a triangular system, which is the row by
    row sweep without change (block_kaczmarz.py); the update of a block and the product of the next one need a
    single synchronisation.
    """
    n_rows, width = rows.shape
    block = gram.shape[2]
    n_blocks = (n_rows + block - 1) // block
    partial = np.zeros((chunks, block, 2), rows.dtype)
    re = np.zeros(block, rows.dtype)
    im = np.zeros(block, rows.dtype)
    for k in range(n_blocks + 1):
        first = k * block
        last = min(first + block, n_rows)
        before = max(first - block, 0)
        previous = min(first, n_rows)
        for c in prange(chunks):
            lo = width // 2 * c // chunks * 2
            hi = width // 2 * (c + 1) // chunks * 2
            p = np.empty(min(_TILE, hi - lo), rows.dtype)
            q = np.empty_like(p)
            partial[c] = 0
            for start in range(lo, hi, _TILE):
                n = min(_TILE, hi - start)
                x = straight[start : start + n]
                y = crossed[start : start + n]
                if k > 0:
                    _accumulate(p[:n], q[:n], rows[before:previous], re, im, start)
                    _fold(p[:n], q[:n], x, y)
                if k < n_blocks:
                    _multiply(rows[first:last], x, y, start, partial[c])
        if k < n_blocks:
            _substitute(
                partial,
                gram[first:last],
                scale[first:last],
                data[first:last],
                penalty,
                total[first:last],
                re,
                im,
            )


@njit(parallel=True, **_options)
def strict_grams(rows, scale, block):
    """Products s_i s_j a_i·a_jᴴ, i > j, within blocks of rows: (row j, real | imaginary part, i in block) float64.

    rows: (row, 2·voxel) real view of the complex matrix; scale: (row,).
    """
    n_rows, width = rows.shape
    gram = np.zeros((n_rows, 2, block), np.float64)
    n_blocks = (n_rows + block - 1) // block
    for k in prange(n_blocks):
        first = k * block
        last = min(first + block, n_rows)
        straight = np.empty(_TILE, rows.dtype)
        crossed = np.empty(_TILE, rows.dtype)
        tau = np.empty((block, 2), rows.dtype)
        for j in range(last - first - 1):
            row = rows[first + j]
            s = rows.dtype.type(scale[first + j])
            below = rows[first + j + 1 : last]
            tau[:] = 0
            for start in range(0, width, _TILE):
                n = min(_TILE, width - start)
                for i in range(n // 2):
                    a = s * row[start + 2 * i]
                    b = s * row[start + 2 * i + 1]
                    straight[2 * i] = a
                    straight[2 * i + 1] = b
                    crossed[2 * i] = -b
                    crossed[2 * i + 1] = a
                _multiply(below, straight[:n], crossed[:n], start, tau)
            for i in range(last - first - 1 - j):
                m = first + j + 1 + i
                gram[first + j, 0, j + 1 + i] = scale[m] * tau[i, 0]
                gram[first + j, 1, j + 1 + i] = scale[m] * tau[i, 1]
    return gram


@njit(parallel=True, nogil=True, cache=True)
def sparse_sweep(starts, columns, values, scale, data, penalty, total, solution):
    """One sweep of every frame over CSR rows, in place; the frames are shared among threads.

    starts, columns, values: CSR arrays. scale: (row,) s. data: (frame, row) s·b. penalty: (frame,) λ.
    total: (frame, row) z. solution: (frame, voxel).
    """
    for f in prange(data.shape[0]):
        x = solution[f]
        for m in range(data.shape[1]):
            s = scale[m]
            if s == 0:
                continue
            tau = values.dtype.type(0)
            for i in range(starts[m], starts[m + 1]):
                tau += values[i] * x[columns[i]]
            ratio = penalty[f] * s * s
            beta = (data[f, m] - s * tau - ratio * total[f, m]) / (1 + ratio)
            total[f, m] += beta
            step = s * beta
            for i in range(starts[m], starts[m + 1]):
                x[columns[i]] += step * np.conj(values[i])
