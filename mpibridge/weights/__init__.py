"""Trained weights: safetensors files with a JSON header, and how they are found.

They are looked for where the caller says, in the user's store, and in the ``weights`` folder of the plugin's package.
"""

from mpibridge.weights.completion import build_method, with_network, with_preprocessing
from mpibridge.weights.file import FILE_NAME, KEY, SUFFIX, Weights, WeightsHeader, read, save
from mpibridge.weights.lookup import available, find, install, store

__all__ = [
    "FILE_NAME",
    "KEY",
    "SUFFIX",
    "Weights",
    "WeightsHeader",
    "available",
    "build_method",
    "find",
    "install",
    "read",
    "save",
    "store",
    "with_network",
    "with_preprocessing",
]
