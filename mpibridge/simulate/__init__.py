"""Simulated scans and calibrations: the labelled data that the reader would give for a file of a real scanner.

import numpy as np
import mpibridge as mb

scanner = mb.simulate.LissajousScanner()
grid = mb.Grid(size=(19, 19, 1), field_of_view=(0.0266, 0.0266, 0.001))
phantom = mb.simulate.phantom(grid, finer=5)
calibration = mb.simulate.calibration(scanner, grid, generator=np.random.default_rng(1))
scan = mb.simulate.measurement(scanner, phantom, generator=np.random.default_rng(2))
"""

from mpibridge.simulate.lissajous import LissajousScanner
from mpibridge.simulate.particles import Particles
from mpibridge.simulate.phantoms import on_grid, phantom
from mpibridge.simulate.recordings import calibration, measurement

__all__ = ["LissajousScanner", "Particles", "calibration", "measurement", "on_grid", "phantom"]
