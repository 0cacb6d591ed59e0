"""Images of MPIReco.jl through our calls are those of its own calls."""

import h5py
import numpy as np
import pytest

import mpibridge as mb
from mpibridge.errors import SettingsError
from mpibridge.julia_files import lowlevel
from tests.golden.test_images import ALTERNATING, BASE, CONTRAST, GRADIENT, IMAGES, LONG, TIGHT, VOLUME
from tests.julia.conftest import is_fake
from tests.relative import relative_error

pytestmark = pytest.mark.julia
SAME = TIGHT if is_fake() else 1e-6
"""The same software on the same numbers; another processor sums in another order. The fake is the native engine."""


def tolerance(entry: str) -> float:
    """What tests/golden allows where that order accumulates: many sweeps, conjugate gradients, ADMM."""
    settings, _, native, _, _ = IMAGES[entry]
    accumulates = settings["iterations"] >= 20 or settings.get("plugin", "kaczmarz") != "kaczmarz"
    return native if accumulates else SAME


def reconstruct(folder, scan, calibration, settings, **preprocessing):
    files = [folder / f"{name}.mdf" for name in calibration.split()]
    return mb.reconstruct(
        folder / f"{scan}.mdf",
        system_matrix=files if len(files) > 1 else files[0],
        preprocessing=mb.Preprocessing(**preprocessing),
        **settings,
    )


@pytest.mark.parametrize("entry", IMAGES)
def test_single_patch(entry, single_patch, expected):
    settings, preprocessing, _, scan, calibration = IMAGES[entry]
    image = reconstruct(single_patch, scan, calibration, settings | {"engine": "julia"}, **preprocessing)
    assert relative_error(image.concentration, expected(f"image/{entry}")[..., 0]) < tolerance(entry)


STEPS = {
    "fista_l1": {"solver": "fista", "l1": 0.01, "iterations": 50},
    "fista_l2": {"solver": "fista", "regularization": 0.01, "iterations": 50},
    "pogm_l1": {"solver": "pogm", "l1": 0.01, "iterations": 30},
}
COUPLED = {
    "admm_l1": {"solver": "admm", "l1": 0.01, "iterations": 20, "parameters": {"iterationsCG": 20}},
    "splitbregman_l1": {
        "solver": "split_bregman",
        "l1": 0.01,
        "iterations": 5,
        "parameters": {"iterationsInner": 5, "iterationsCG": 20},
    },
    "admm_tv": {"solver": "admm", "tv": 5e-3, "iterations": 20, "parameters": {"iterationsCG": 20}},
}


@pytest.mark.parametrize("entry", STEPS)
def test_proximal_gradients(entry, single_patch, expected):
    """With the step size given, nothing depends on MPIReco's random power iteration; iterations accumulate."""
    step = 0.9 / float(expected("parameters/lambda_max"))
    settings = {"plugin": "mpireco", "rho": step} | STEPS[entry]
    image = reconstruct(single_patch, "measurement", "calibration", settings, **BASE)
    assert relative_error(image.concentration, expected(f"image/{entry}")[..., 0]) < GRADIENT


@pytest.mark.parametrize("entry", COUPLED)
def test_alternating_directions(entry, single_patch, expected):
    """The coupling is relative to ‖S‖²/voxels here, absolute in MPIReco; inner iterations accumulate."""
    settings = {"plugin": "mpireco", "rho": 0.1} | COUPLED[entry]
    image = reconstruct(single_patch, "measurement", "calibration", settings, **BASE)
    assert relative_error(image.concentration, expected(f"image/{entry}")[..., 0]) < ALTERNATING


def test_fista_plugin(single_patch, expected):
    settings = {"plugin": "fista", "engine": "julia", "regularization": 0.01, "iterations": 50}
    step = 0.9 / float(expected("parameters/lambda_max"))
    image = reconstruct(single_patch, "measurement", "calibration", settings | {"step": step}, **BASE)
    assert relative_error(image.concentration, expected("image/fista_l1")[..., 0]) < GRADIENT


def test_grid(single_patch, expected):
    calibrated = mb.open(single_patch / "calibration.mdf").mpi.grid
    grid = mb.Grid((20, 11, 1), tuple(0.9 * v for v in calibrated.field_of_view), calibrated.center)
    settings = {"engine": "julia", "iterations": 3, "regularization": 0.01}
    image = reconstruct(single_patch, "measurement", "calibration", settings, **BASE, grid=grid)
    assert relative_error(image.concentration, expected("image/kaczmarz_grid")[..., 0]) < SAME
    np.testing.assert_allclose(image.x, grid.axis("x"), atol=1e-12)


def test_labels_are_those_of_the_native_engine(single_patch):
    settings = {"iterations": 1, "regularization": 0.1}
    native, ours = (
        reconstruct(single_patch, "measurement", "calibration", settings | {"engine": engine}, averages=3)
        for engine in ("native", "julia")
    )
    assert ours.concentration.dims == native.concentration.dims
    assert ours.concentration.dtype == np.float32
    for name, coordinate in native.coords.items():
        np.testing.assert_allclose(ours[name], coordinate, rtol=1e-9, atol=1e-12, err_msg=name)


def test_contrasts(more, expected_more):
    """20 sweeps accumulate, and the least regularised rows amplify: as loose as natively."""
    settings = {"engine": "julia", "iterations": 20, "regularization": 1e-3}
    image = reconstruct(more, "contrast_measurement", "contrast1 contrast2", settings, **CONTRAST)
    assert image.concentration.dims == ("contrast", "frame", "z", "y", "x")
    found = np.moveaxis(image.concentration.values, 0, -1)
    assert relative_error(found, expected_more("image/contrast/data")) < 1e-4


def test_one_contrast(more, expected_more):
    settings = {"engine": "julia", "iterations": 5, "regularization": 1e-2}
    image = reconstruct(more, "contrast_measurement", "contrast1", settings, **CONTRAST)
    assert relative_error(image.concentration, expected_more("image/contrast_single/data")[..., 0]) < SAME


@pytest.mark.parametrize("rounded", [False, True])
def test_patches(rounded, more, expected_more):
    entry = "multipatch_round" if rounded else "multipatch"
    settings = {"engine": "julia", "iterations": 10, "regularization": 1e-2}
    preprocessing = CONTRAST | {"round_patches": rounded, "frames": [0]}
    image = reconstruct(more, "multipatch_measurement", "contrast1", settings, **preprocessing)
    assert relative_error(image.concentration, expected_more(f"image/{entry}/data")[..., 0]) < SAME
    for dim in "xyz":
        np.testing.assert_allclose(1e3 * image[dim].values, expected_more(f"image/{entry}/{dim}"), atol=1e-6)


GRIDS = {
    "volume": None,
    "volume_grid": mb.Grid((9, 8, 6), (0.030 * 0.8, 0.029 * 0.8, 0.015 * 0.8), (0.0, 0.001, -0.0005)),
    "volume_extrapolated": mb.Grid((9, 8, 5), (0.030 * 9 / 7, 0.029 * 8 / 6, 0.015), (0.0, 0.001, -0.0005)),
}


@pytest.mark.parametrize("entry", GRIDS)
def test_volume(entry, more, expected_more, request):
    if entry == "volume_extrapolated":
        request.getfixturevalue("real_julia")  # the native fill is the converged one
    correction = {"background": "mean", "system_matrix_background": True} if entry == "volume" else {}
    settings = {"engine": "julia", "iterations": 10, "regularization": 1e-2}
    image = reconstruct(
        more, "volume_measurement", "volume_calibration", settings, **VOLUME, **correction, grid=GRIDS[entry]
    )
    # Outside the calibration rows come from 50 inner conjugate gradients, which accumulate.
    bound = 1e-4 if entry == "volume_extrapolated" else SAME
    assert relative_error(image.concentration, expected_more(f"image/{entry}/data")[..., 0]) < bound


@pytest.mark.usefixtures("real_julia")
def test_hands_free(more, expected_more):
    """It finds λ and the number of sweeps itself; up to 25 sweeps accumulate."""
    settings = {"plugin": "mpireco", "plan": "SinglePatchHandsFree"}
    image = reconstruct(more, "contrast_measurement", "contrast1", settings, **CONTRAST)
    assert relative_error(image.concentration, expected_more("image/handsfree/data")[..., 0]) < LONG


@pytest.mark.usefixtures("real_julia")
def test_motion_refuses_unknown_parameters(more):
    """No image is checked: there are no measurements of a moving phantom among the reference data."""
    settings = {"plugin": "mpireco", "plan": "MultiPatchMotion", "parameters": {"chosePeak": 1}}
    with pytest.raises(SettingsError, match="chosePeak"):
        reconstruct(more, "multipatch_measurement", "contrast1", settings, **CONTRAST)


@pytest.mark.parametrize("parameters", [{"shuffelRows": True}, {"lambda": 0.1}, {"sfload": "dense"}])
def test_unknown_parameters_are_refused(parameters, single_patch):
    settings = {"plugin": "mpireco", "iterations": 1, "parameters": parameters}
    with pytest.raises(SettingsError, match=next(iter(parameters))):
        reconstruct(single_patch, "measurement", "calibration", settings, **BASE)


@pytest.mark.usefixtures("real_julia")
def test_parameters_go_to_mpireco_as_they_are(single_patch, expected):
    """Shuffled rows give another iterate of the same problem: the seed decides which."""
    known = expected("image/kaczmarz_1e-2")[..., 0]
    images = []
    for seed in (1, 2, 1):
        parameters = {"shuffleRows": True, "seed": seed}
        settings = {"plugin": "mpireco", "iterations": 3, "regularization": 0.01, "parameters": parameters}
        images.append(reconstruct(single_patch, "measurement", "calibration", settings, **BASE).concentration)
    np.testing.assert_array_equal(images[0], images[2])
    assert relative_error(images[0], images[1]) > 1e-3
    assert 1e-3 < relative_error(images[0], known) < 0.5


def test_progress(single_patch):
    seen = []
    settings = {
        "engine": "julia",
        "iterations": 3000,
        "progress": lambda *state: seen.append(state),
    }
    image = reconstruct(single_patch, "measurement", "calibration", settings, **BASE)
    total = 3000 * image.sizes["frame"]
    done = [done for done, *_ in seen]
    assert {stated for _, stated, _ in seen} == {total}
    assert done == sorted(done)
    assert 0 < max(done) <= total
    assert len(set(done)) > 2, "one look per 0.1 s of a run of seconds"


LOWLEVEL = {"1": (1e-2, 10, SAME), "2": (5e-4, 300, LONG), "3": (0.0, 3, SAME)}
"""λ, sweeps, tolerance: 300 sweeps accumulate."""


@pytest.mark.parametrize("entry", LOWLEVEL)
def test_lowlevel(entry, more, expected_more):
    """Measured: the 8 × 8 encoding array."""
    weight, iterations, bound = LOWLEVEL[entry]
    with h5py.File(more / "encoding_array.h5") as file:
        S, u = (file[f"{name}/re"][...] + 1j * file[f"{name}/im"][...] for name in ("S", "b"))
    found = lowlevel(
        S, u, iterations=iterations, reg=[{"type": "L2", "lambda": weight}], normalizeReg="SystemMatrixBased"
    )
    assert relative_error(found, expected_more(f"encoding_array/{entry}")) < bound


def test_lowlevel_shapes_must_fit():
    with pytest.raises(SettingsError, match="do not fit"):
        lowlevel(np.ones((3, 2)), np.ones((4, 2)))
