"""The weights that come with the package: found by themselves, small, from recordings to images that tell points from bars."""

import numpy as np
import pytest
import xarray as xr

import mpibridge as mb
from mpibridge import protocol, simulate, weights
from mpibridge.metrics import dip
from mpibridge.preprocessing import Preprocessing
from mpibridge.protocol import Method
from mpibridge.provenance import PROVENANCE
from mpibridge.simulate import phantoms
from mpibridge.simulate.presets import preset
from mpibridge.training import Simulated

DISTANCE = 0.7e-3
SELECTION = Preprocessing(
    min_frequency=80e3, snr_threshold=5, weighting="whitening", system_matrix_background=True
)


@pytest.fixture(scope="module")
def shipped() -> dict[str, weights.Weights]:
    """By the scanner that they serve."""
    found = [
        w for w in weights.available("cascade") if isinstance(w, weights.Weights) and w.origin == "shipped"
    ]
    return {w.header.acquisition.scanner: w for w in found}


def test_they_are_sound_small_and_licensed(shipped):
    assert set(shipped) == {"narrowband", "openmpi-2d"}
    for one in shipped.values():
        assert one.damage() is None
        assert one.path.stat().st_size <= 10e6
        assert one.header.licence == "MIT"
        assert one.header.data["inverse_crime"] is False


def test_what_the_tables_call_held_out_was_in_no_training(shipped):
    assert not {"blobs", "vessels"} & set(shipped["narrowband"].header.data["families"])
    assert not {"bars", "rings", "dots"} & set(shipped["openmpi-2d"].header.data["families"])


@pytest.fixture(scope="module")
def calibration():
    return simulate.calibration("narrowband", generator=np.random.default_rng(3))


def test_a_narrowband_scan_shows_two_points_as_two_and_their_bar_as_one(calibration):
    noise = simulate.Noise(level=4e-10, background=4e-9, drift=0.0)
    ends = [(sign * DISTANCE / 2 + 3e-5, 2e-5) for sign in (-1, 1)]
    drawn = [
        make(DISTANCE, center=(3e-5, 2e-5)).rendered(preset("narrowband").grid, 4)
        for make in (phantoms.pair, phantoms.bar_like_pair)
    ]
    scan = simulate.scan(
        xr.concat(drawn, "frame", combine_attrs="override"),
        "narrowband",
        generator=np.random.default_rng(4),
        noise=noise,
    )
    image = mb.reconstruct(scan, plugin="cascade", system_matrix=calibration)
    points, bar = (dip(image.isel(frame=frame), *ends) for frame in range(2))
    assert points < 0.5 < 0.7 < bar


def test_both_stages_do_something(calibration):
    drawn = simulate.phantoms.vessel_tree(np.random.default_rng(0), preset("narrowband").grid)
    scan = simulate.scan(drawn, "narrowband", generator=np.random.default_rng(4), n_frames=1)
    image = mb.reconstruct(scan, plugin="cascade", system_matrix=calibration)
    refined, preliminary = image.concentration.values, image.attrs[f"{PROVENANCE}/trace/preliminary"]
    assert np.linalg.norm(refined - preliminary) > 0.02 * np.linalg.norm(refined)


def test_lissajous_scans_come_out_better_than_by_tuned_kaczmarz():
    bed = protocol.Bed(
        Simulated("openmpi-2d", families=("cells", "points", "tubes")), SELECTION, ("dots",), n=24
    )
    few = Method("kaczmarz", "kaczmarz", grid={"iterations": (30, 100), "regularization": (0.03, 0.1, 0.3)})
    outcome = protocol.evaluate(bed, [few, Method("cascade", "cascade")], (20.0,))
    for group, least in (("in family", 1.0), ("unseen", 0.0)):
        ours, theirs = (
            next(s.metrics["PSNR"].mean() for s in outcome.scores if (s.method, s.group) == (name, group))
            for name in ("cascade", "kaczmarz")
        )
        assert ours > theirs + least
