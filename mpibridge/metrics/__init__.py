"""How good an image is: against a reference, against the data it was made from, and between two points.

Images are Datasets with ``concentration``, arrays with the labels of `mpibridge.model`, or plain arrays. Nothing is scaled,
shifted or resampled unless it is asked for. Formulas: docs/comparison.md.
"""

from mpibridge.metrics.alignment import aligned, misalignment
from mpibridge.metrics.fidelity import least_squares_factor, nrmse, per_image, psnr, ssim, ssim_window
from mpibridge.metrics.intervals import Interval, bootstrap
from mpibridge.metrics.residual import data_residual
from mpibridge.metrics.resolution import dip
from mpibridge.metrics.shifts import BestShift, best_shift

__all__ = [
    "BestShift",
    "Interval",
    "aligned",
    "best_shift",
    "bootstrap",
    "data_residual",
    "dip",
    "least_squares_factor",
    "misalignment",
    "nrmse",
    "per_image",
    "psnr",
    "ssim",
    "ssim_window",
]
