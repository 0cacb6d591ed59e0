"""X-space images: signals divided by the speed of the field-free point, put where the point was.

from mpibridge import xspace

images = xspace.gridded_images(signals, header, grid)  # (frame, channel, z, y, x), 45° and 135° of a Lissajous scan
built = xspace.gridding(header, grid)                  # the same as a linear map that serves any number of frames

The exact forward model, from a concentration to the signals, is `mpibridge.xspace.forward`; `ImageOperator` goes on to images.
"""

from mpibridge.xspace.fundamental import recover_fundamental
from mpibridge.xspace.gridding import Gridding, XSpaceImages, gridded_images, gridding
from mpibridge.xspace.operator import ImageOperator
from mpibridge.xspace.partition import Partition, partition
from mpibridge.xspace.trajectory import trajectory

__all__ = [
    "Gridding",
    "ImageOperator",
    "Partition",
    "XSpaceImages",
    "gridded_images",
    "gridding",
    "partition",
    "recover_fundamental",
    "trajectory",
]
