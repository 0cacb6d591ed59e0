"""Simulated scans and calibrations: the labelled data that the reader would give for a file of a real scanner.

import numpy as np
import mpibridge as mb

calibration = mb.simulate.calibration("openmpi-2d", generator=np.random.default_rng(1))
scan = mb.simulate.scan(mb.simulate.phantoms.spiral(), "openmpi-2d", generator=np.random.default_rng(2))
"""

from mpibridge.simulate import command, phantoms
from mpibridge.simulate.narrowband import psf, raster_operator
from mpibridge.simulate.noise import Noise
from mpibridge.simulate.particles import Particles
from mpibridge.simulate.phantoms import Phantom, on_grid, phantom
from mpibridge.simulate.presets import PRESETS, Preset, preset
from mpibridge.simulate.receiver import Receiver
from mpibridge.simulate.recordings import calibration, scan
from mpibridge.simulate.response import delta_samples, response, waveforms
from mpibridge.simulate.scanner import Scanner, diagonal_gradient, field_free_line, focus_fields
from mpibridge.simulate.sequences import CartesianSequence, LissajousSequence, Sequence
from mpibridge.simulate.streams import spectral_pairs, waveform_pairs

__all__ = [
    "PRESETS",
    "CartesianSequence",
    "LissajousSequence",
    "Noise",
    "Particles",
    "Phantom",
    "Preset",
    "Receiver",
    "Scanner",
    "Sequence",
    "calibration",
    "command",
    "delta_samples",
    "diagonal_gradient",
    "field_free_line",
    "focus_fields",
    "on_grid",
    "phantom",
    "phantoms",
    "preset",
    "psf",
    "raster_operator",
    "response",
    "scan",
    "spectral_pairs",
    "waveform_pairs",
    "waveforms",
]
