"""Random families of phantoms for training and testing, one by one or thousands of images at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mpibridge.errors import SettingsError
from mpibridge.model import Grid
from mpibridge.simulate.phantoms import patterns, tissue
from mpibridge.simulate.phantoms.frame import Family
from mpibridge.simulate.phantoms.parts import Parts
from mpibridge.simulate.phantoms.shape import Phantom, finer_grid
from mpibridge.simulate.phantoms.vessels import vessels

FAMILIES: Mapping[str, Family] = {
    "vessels": vessels,
    "tumours": tissue.tumours,
    "blobs": tissue.blobs,
    "cells": tissue.cells,
    "tubes": patterns.tubes,
    "bars": patterns.bars,
    "rings": patterns.rings,
    "dots": patterns.dots,
    "points": patterns.points,
    "spirals": patterns.spirals,
    "shapes": patterns.shapes,
}
"""The families that need nothing but a generator. With an array of images: ``{**FAMILIES, "digits": digits(images)}``."""
Families = Mapping[str, Family] | Sequence[str]
CHUNK = 256
"""Phantoms drawn at once: bounds the memory of their parameters."""


def draw(family: str | Family, generator: np.random.Generator, grid: Grid) -> Phantom:
    """One phantom of a family, by name or by function, in the field of view of ``grid``."""
    if isinstance(family, str):
        family = chosen([family])[family]
    return family(generator, grid)


def draw_images(
    families: Families, n: int, generator: np.random.Generator, grid: Grid, finer: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """``n`` images of families that are drawn equally often: voxel means from ``finer`` points per axis.

    families: names out of `FAMILIES`, or a mapping of names to functions. Returns images (n, z, y, x) float32 and the
    index (n,) of each one's family in the order of ``families``. Every image has its own generator, seeded by one number
    from ``generator``: how the images are split into calls changes none of them.
    """
    functions = list(chosen(families).values())
    if n != int(n) or n < 0:
        raise SettingsError(f"n must be a whole number from 0, found {n}")
    images = np.empty((n, *grid.shape), np.float32)
    index = np.empty(n, np.int64)
    for start in range(0, n, CHUNK):
        phantoms = []
        for i, seed in enumerate(generator.integers(0, 2**63, min(CHUNK, n - start)), start):
            own = np.random.default_rng(seed)
            index[i] = own.integers(len(functions))
            phantoms.append(functions[index[i]](own, grid))
        images[start : start + CHUNK] = render(phantoms, grid, finer)
    return images, index


def render(phantoms: Sequence[Phantom], grid: Grid, finer: int = 3) -> np.ndarray:
    """Voxel means (n, z, y, x) float32 of many phantoms: `Phantom.on`, quick for those that are made of parts."""
    images = np.empty((len(phantoms), *grid.shape), np.float32)
    tables: dict[int, list[int]] = {}  # those with the same images go together
    for i, phantom in enumerate(phantoms):
        if isinstance(phantom.concentration, Parts):
            tables.setdefault(id(phantom.concentration.images), []).append(i)
        else:
            images[i] = phantom.on(grid, finer).values
    for members in tables.values():
        parts = [p.concentration for i in members if isinstance((p := phantoms[i]).concentration, Parts)]
        first = np.cumsum([0, *(len(part.rows) for part in parts)])
        rows = np.concatenate([part.rows for part in parts])
        images[members] = render_rows(rows, first, parts[0].images, grid, finer)
    return images


def render_rows(rows: np.ndarray, first: np.ndarray, stack: np.ndarray, grid: Grid, finer: int) -> np.ndarray:
    """Voxel means (n, z, y, x) float32 of n phantoms; phantom i has rows first[i] to first[i + 1]."""
    from mpibridge.simulate.phantoms.drawing import on_grids

    fine = finer_grid(grid, finer)
    images = np.empty((len(first) - 1, *grid.shape), np.float32)
    x, y, z = (fine.axis(dim) for dim in "xyz")
    on_grids(rows, first, stack, x, y, z, finer, fine.size[2] // grid.size[2], images)
    return images


def chosen(families: Families) -> Mapping[str, Family]:
    """Functions by name. SettingsError if a name is unknown or there is none."""
    if isinstance(families, str):
        families = [families]
    if not len(families):
        raise SettingsError(f"no family is given, choose from {', '.join(FAMILIES)}")
    if isinstance(families, Mapping):
        return families
    if unknown := [name for name in families if name not in FAMILIES]:
        hint = '; digits need images: {"digits": digits(images)}' if "digits" in unknown else ""
        raise SettingsError(f"unknown families {unknown}, choose from {', '.join(FAMILIES)}{hint}")
    return {name: FAMILIES[name] for name in families}
