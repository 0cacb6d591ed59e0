"""A small scanner like `xspace-2d`, scans of a small scene, and untrained methods for it."""

from dataclasses import replace
from functools import lru_cache

import numpy as np

import mpibridge as mb
from mpibridge import simulate
from mpibridge.execution import build_network, execute
from mpibridge.plugin import ImageProblem
from mpibridge.problems import image_problem
from mpibridge.progress import silent
from mpibridge.simulate import LissajousSequence, phantoms
from mpibridge.simulate.presets import Preset, preset
from mpibridge.training import SceneScans, scene_scans
from mpibridge.training.data import take
from mpibridge_plugins.deblur.plugin import Deblur
from mpibridge_plugins.deblur.settings import DeblurSettings

SMALL = {"folds": 1, "width": 4, "halvings": 1, "blocks": 2}
GRID = mb.Grid((20, 20, 1), (20e-3, 20e-3, 1e-3))
SILENCE = simulate.Noise(level=0.0, background=0.0, drift=0.0)


def scanner() -> Preset:
    """20 and 19 cycles instead of 100 and 99: 3800 samples."""
    base = preset("xspace-2d")
    sequence = LissajousSequence(
        (30e-3, 30e-3, 0.0), dividers=(20, 19), base_frequency=495e3, oversampling=10
    )
    return replace(base, scanner=replace(base.scanner, sequence=sequence), grid=GRID, finer=2)


def scan(phantom, noise=SILENCE, n_frames=1, seed=0):
    return simulate.scan(
        phantom,
        scanner(),
        generator=np.random.default_rng(seed),
        noise=noise,
        n_frames=n_frames,
        n_background=2,
    )


@lru_cache(maxsize=1)
def scene() -> phantoms.Scene:
    return phantoms.scene(np.random.default_rng(0), size=36e-3, resolution=144, nodes=7)


@lru_cache(maxsize=1)
def scans() -> SceneScans:
    return scene_scans(scene(), scanner(), generator=np.random.default_rng(1), n=24)


def problem() -> ImageProblem:
    """Four noisy scans of the scene."""
    made = scans()
    return take((made.problem(made.peak / 20), made.target), slice(0, 4))[0]


def of(recorded) -> ImageProblem:
    return image_problem(recorded, [], mb.Preprocessing(grid=GRID, background="mean"))


def untrained(given: ImageProblem | None = None, **settings) -> Deblur:
    """With a gain as training would leave it."""
    method = Deblur(DeblurSettings(**{**SMALL, **settings}))
    method.network = build_network(method, problem() if given is None else given)
    method.network.gain.fill_(7e5)
    return method


def images(method: Deblur, given: ImageProblem) -> np.ndarray:
    return execute(method, given, generator=np.random.default_rng(0), report=silent).image
