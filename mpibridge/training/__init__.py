"""Training of learned methods: the data, the loop, the folder of a run.

weights = mpibridge.train("cascade", data="openmpi-2d", out="runs/cascade")
image = mpibridge.reconstruct("scan.mdf", plugin="cascade", system_matrix="calibration.mdf", weights="runs/cascade")
"""

from mpibridge.training.arrays import Arrays, Recordings
from mpibridge.training.data import Data, Pairs
from mpibridge.training.run import train
from mpibridge.training.settings import Training
from mpibridge.training.simulated import Simulated

__all__ = ["Arrays", "Data", "Pairs", "Recordings", "Simulated", "Training", "train"]
