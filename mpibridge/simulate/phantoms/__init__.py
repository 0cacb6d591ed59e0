"""Phantoms in continuous space, their pictures on grids, and random families of them.

from mpibridge.simulate import phantoms

grid = mb.Grid(size=(19, 19, 1), field_of_view=(0.0266, 0.0266, 0.001))
spiral = phantoms.spiral(diameter=0.025).moved(angle=0.3)
fine = spiral.rendered(grid, finer=5)        # what a scan is simulated from
truth = spiral.on(grid, finer=5)             # what a perfect image would show
images, family = phantoms.draw_images(["vessels", "tumours"], 1000, np.random.default_rng(0), grid)
"""

from mpibridge.simulate.phantoms.catalogue import PHANTOMS, named
from mpibridge.simulate.phantoms.coded_scene import Scene, scene
from mpibridge.simulate.phantoms.dots import bar_like_pair, dot_grid, pair, pairs_and_bars, points
from mpibridge.simulate.phantoms.families import FAMILIES, draw, draw_images, render
from mpibridge.simulate.phantoms.figures import bars, ell, lambda_shape, phantom, rings, spiral
from mpibridge.simulate.phantoms.frame import Family
from mpibridge.simulate.phantoms.openmpi import cone, dilution_cubes, resolution_tubes
from mpibridge.simulate.phantoms.pictures import digit, digits
from mpibridge.simulate.phantoms.shape import Phantom, on_grid
from mpibridge.simulate.phantoms.vessels import vessel_tree

__all__ = [
    "FAMILIES",
    "PHANTOMS",
    "Family",
    "Phantom",
    "Scene",
    "bar_like_pair",
    "bars",
    "cone",
    "digit",
    "digits",
    "dilution_cubes",
    "dot_grid",
    "draw",
    "draw_images",
    "ell",
    "lambda_shape",
    "named",
    "on_grid",
    "pair",
    "pairs_and_bars",
    "phantom",
    "points",
    "render",
    "resolution_tubes",
    "rings",
    "scene",
    "spiral",
    "vessel_tree",
]
