"""`compare`: images of one scan by several methods, side by side: a table, a figure, and a report to look into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from mpibridge.comparison.pictures import ALIGNS, FIRST, REFERENCE, Given, load, named
from mpibridge.comparison.result import Comparison
from mpibridge.comparison.scores import Scores, factors, fidelity, magnitudes, on_voxels, residuals, tabulated
from mpibridge.errors import SettingsError
from mpibridge.metrics.fidelity import SCALES
from mpibridge.preprocessing import Preprocessing
from mpibridge.reading import read

__all__ = ["Comparison", "compare"]


def compare(
    images: Mapping[str, Given] | Sequence[str | Path],
    *,
    reference: Given | None = None,
    scan: str | Path | xr.Dataset | None = None,
    system_matrix: str | Path | xr.Dataset | Sequence[str | Path | xr.Dataset] | None = None,
    preprocessing: Preprocessing | None = None,
    scale: str | None = None,
    max_shift: float | None = None,
    align: str = "positions",
    seed: int = 0,
) -> Comparison:
    """Images by name against a reference, or against the first of them.

    images: Datasets with ``concentration``, arrays labelled (frame, z, y, x), or MDF reconstructions of any software; a
    list of paths takes the names of the files, with folders where they are alike. reference: the truth, with one frame or
    as many as the images. scan, system_matrix (None: the one the scan was opened with), preprocessing: add the data
    residual, of all images on the same rows. scale: None, or "least_squares" to multiply every image by the factor that
    fits it best to the reference; the table states it. max_shift: metres; adds the best PSNR and SSIM over shifts up to
    it, in steps of 0.5 mm. align: "positions" compares images whose voxels lie at the same places; "voxels" those with
    the same numbers of voxels whatever positions they state, and the notes say which were ignored. seed: of the bootstrap
    intervals over frames.

    What cannot be said of an image (its grid differs, …) stays empty, and `Comparison.notes` gives the reason.
    Raises SettingsError for no image, a name that occurs twice or a file without an image, ShapeError for what is none,
    MDFError, MismatchError (scan and system matrix do not belong together).

    >>> report = compare({"score": a, "kaczmarz": b}, reference=phantom)  # doctest: +SKIP
    >>> report.to_html("report.html")  # doctest: +SKIP
    """
    if scale not in SCALES:
        raise SettingsError(f"scale must be one of {SCALES}, found {scale!r}")
    if align not in ALIGNS:
        raise SettingsError(f"align must be one of {ALIGNS}, found {align!r}")
    if max_shift is not None and not 0 < max_shift < 1:
        raise SettingsError(f"max_shift must be a positive length in metres, found {max_shift}")
    if scan is None and (system_matrix is not None or preprocessing is not None):
        raise SettingsError(
            "system_matrix and preprocessing serve the data residual: pass scan=… (--scan) with them"
        )
    pictures = {name: load(name, given) for name, given in named(images).items()}
    truth = None if reference is None else load(REFERENCE, reference)
    if truth is not None and REFERENCE in pictures:
        raise SettingsError(f"an image is called {REFERENCE!r} as well as the reference; call it otherwise")
    target_name, target = next(iter(pictures.items())) if truth is None else (REFERENCE, truth)

    scores = Scores(pictures)
    shown = on_voxels(scores, target, target_name) if align == "voxels" else pictures
    fitted = factors(scores, shown, target, target_name) if scale else dict.fromkeys(pictures, 1.0)
    scaled = {name: shown[name]["concentration"] * factor for name, factor in fitted.items()}
    if truth is None and len(pictures) > 1:
        label = f"difference to {target_name} (relative)"
        fidelity(scores, scaled, target["concentration"], {label: FIRST}, truth_name=target_name)
        scores.define(
            f"{label} = ‖image − first‖ / ‖first‖; there is no reference, so nothing says which image is better."
        )
    elif truth is not None:
        fidelity(scores, scaled, target["concentration"], max_shift=max_shift)
    if scale:
        scores.columns["factor"] = {name: np.array([factor]) for name, factor in fitted.items()}
        scores.define(
            "Every image is multiplied by its factor: least squares to the reference, one for all frames."
        )
    else:
        scores.define("Images are compared as they are; nothing is scaled.")
    if scan is not None:
        opened = scan if isinstance(scan, xr.Dataset) else read(scan)
        residuals(scores, opened, system_matrix, preprocessing or Preprocessing(), align=align)
    magnitudes(scores)
    table = tabulated(scores, np.random.default_rng(seed))
    return Comparison(shown, truth, table, tuple(scores.notes), fitted)
