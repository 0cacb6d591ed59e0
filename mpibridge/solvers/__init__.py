"""Solvers of A x = b for images: arrays in, arrays out.

`kaczmarz` is MPIReco's default; `block_kaczmarz` is the same for torch tensors and GPUs; `prepare` saves their
preparation in repeated calls with one matrix. `cgnr`, `fista`, `pogm`, `admm` and `split_bregman` follow
RegularizedLeastSquares.jl. Numba, torch and SciPy load when a solve needs them.
"""

from mpibridge.solvers.admm import admm, split_bregman
from mpibridge.solvers.block_kaczmarz import block_kaczmarz
from mpibridge.solvers.cgnr import cgnr
from mpibridge.solvers.fista import fista, pogm
from mpibridge.solvers.iterate import Iterate
from mpibridge.solvers.kaczmarz import kaczmarz
from mpibridge.solvers.normalization import normalization_factor
from mpibridge.solvers.prox import L1, L2, TV, positive, real_part
from mpibridge.solvers.system import BlockSystem, prepare

__all__ = [
    "L1",
    "L2",
    "TV",
    "BlockSystem",
    "Iterate",
    "admm",
    "block_kaczmarz",
    "cgnr",
    "fista",
    "kaczmarz",
    "normalization_factor",
    "pogm",
    "positive",
    "prepare",
    "real_part",
    "split_bregman",
]
