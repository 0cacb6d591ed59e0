"""An acquisition is the same whoever recorded it, and whatever differs is said with both values."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mpibridge as mb
from mpibridge.acquisition import TOLERANCE, Acquisition, acquisition_of
from mpibridge.matching import STRENGTH_TOLERANCE
from mpibridge.model import Grid
from mpibridge.simulate.presets import Preset, preset
from tests import recordings

GRID = Grid((5, 4, 1), (20e-3, 16e-3, 1e-3))


def small(**more) -> Preset:
    """The one-dimensional Open MPI scanner, with changes, on a few voxels."""
    known = preset("openmpi-1d")
    return replace(known, scanner=replace(known.scanner, **more), grid=Grid((5, 1, 1), (20e-3, 4e-3, 1e-3)))


def scanned(scanner: Preset, seed: int = 0) -> Acquisition:
    phantom = mb.simulate.phantoms.draw("blobs", np.random.default_rng(seed), scanner.grid)
    scan = mb.simulate.scan(phantom, scanner, generator=np.random.default_rng(seed), n_frames=1)
    return Acquisition.of(scan, scanner.grid)


@pytest.fixture(scope="module")
def known() -> Acquisition:
    return scanned(small())


def test_two_recordings_of_one_scanner_are_alike(known):
    other = scanned(small(), seed=1)
    assert known.differences(other) == []
    assert known.fingerprint == other.fingerprint


def test_a_scan_is_like_its_calibration(known):
    calibration = mb.simulate.calibration(small(), generator=np.random.default_rng(2), averages=1)
    assert Acquisition.of(calibration, small().grid).differences(known) == []


def test_what_is_told_is_what_the_scanner_is(known):
    scanner = small().scanner
    assert known.scanner == scanner.name == "openmpi-1d"
    assert known.samples == scanner.sequence.n_samples
    assert known.sample_rate == pytest.approx(scanner.sequence.sample_rate)
    assert known.amplitudes[0] == pytest.approx(12e-3)
    assert known.frequencies[0] == pytest.approx(2.5e6 / 102)
    np.testing.assert_allclose(known.gradient, (-1, -1, 2))
    assert known.grid == small().grid
    assert str(known).startswith("openmpi-1d: 24.51")
    assert str(known).endswith("5 × 1 × 1 voxels")


def recorded(**more) -> Acquisition:
    return Acquisition.of(recordings.scan(np.zeros((1, 1, 2, recordings.N_SAMPLES)), **more), GRID)


def strengths(*values):
    return {"/acquisition/drivefield/strength": np.array(values).reshape(1, -1, 1)}


BASE = recorded(**{"/scanner/name": "one", "/tracer/name": "perimag", **strengths(0.012, 0.012)})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (strengths(0.012, 0.0132), "amplitudes: 0.012, 0.012 T, not 0.012, 0.0132 T"),
        (
            {"/acquisition/gradient": np.diag([-1.5, -1.5, 3.0])[None, None]},
            "gradient: -1, -1, 2 T/m, not -1.5, -1.5, 3 T/m",
        ),
        (
            {"/acquisition/drivefield/phase": np.array([0.0, np.pi / 2]).reshape(1, 2, 1)},
            "phases: 0, 0 rad, not 0, 1.5708 rad",
        ),
        ({"/tracer/name": "synomag"}, "tracer: perimag, not synomag"),
        ({"/scanner/name": ""}, "scanner: one, not no name"),
        (
            {"/acquisition/drivefield/divider": np.array([[8], [7]])},
            "frequencies: 300000, 400000 Hz, not 300000, 342857 Hz",
        ),
        ({"/acquisition/receiver/bandwidth": 1.25e6}, "sample rate: 2400000.0 Hz, not 2500000.0 Hz"),
        ({"/acquisition/receiver/numSamplingPoints": 96}, "samples: 48, not 96"),
        ({"/acquisition/numPeriodsPerFrame": 2}, "periods: 1, not 2"),
        ({"/acquisition/receiver/numChannels": 3}, "receivers: 2, not 3"),
    ],
)
def test_what_differs_is_said_with_both_values(change, said):
    given = {"/scanner/name": "one", "/tracer/name": "perimag", **strengths(0.012, 0.012)} | change
    assert BASE.differences(recorded(**given)) == [said]


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        (replace(GRID, size=(5, 5, 1)), "size: 5, 4, 1, not 5, 5, 1"),
        (
            replace(GRID, field_of_view=(21e-3, 16e-3, 1e-3)),
            "field of view: 0.02, 0.016, 0.001 m, not 0.021, 0.016, 0.001 m",
        ),
        (replace(GRID, center=(1e-3, 0.0, 0.0)), "center: 0, 0, 0 m, not 0.001, 0, 0 m"),
    ],
)
def test_another_grid_differs(grid, said):
    other = replace(BASE, size=grid.size, field_of_view=grid.field_of_view, center=grid.center)
    assert BASE.differences(other) == [said]


@given(st.floats(-1, 1))
def test_amplitudes_are_measured_and_scatter(share):
    near = tuple(a * (1 + 0.9 * share * STRENGTH_TOLERANCE) for a in BASE.amplitudes)
    assert BASE.differences(replace(BASE, amplitudes=near)) == []
    far = tuple(a * (1 + np.copysign(1.2 * STRENGTH_TOLERANCE, share)) for a in BASE.amplitudes)
    (said,) = BASE.differences(replace(BASE, amplitudes=far))
    assert said.startswith("amplitudes: 0.012, 0.012 T, not ")


def test_rounding_is_no_difference():
    voxel = max(GRID.spacing)
    near = replace(
        BASE,
        center=(0.5 * TOLERANCE * voxel, 0.0, 0.0),
        gradient=tuple(g * (1 + 0.5 * TOLERANCE) for g in BASE.gradient),
    )
    assert BASE.differences(near) == []
    assert BASE.differences(replace(BASE, center=(2 * TOLERANCE * voxel, 0.0, 0.0)))


def phases(*values):
    return {"/acquisition/drivefield/phase": np.array(values).reshape(1, -1, 1)}


def test_phases_are_angles_of_fields_that_are_on():
    given = {"/scanner/name": "one", "/tracer/name": "perimag", **strengths(0.012, 0.012)}
    one, whole_turn = (
        recorded(**given, **phases(-np.pi, 0.0)),
        recorded(**given, **phases(np.pi - 0.02, 6.27)),
    )
    assert one.differences(whole_turn) == []
    assert one.differences(recorded(**given, **phases(np.pi - 0.1, 0.0)))
    off = {**given, **strengths(0.012, 0.0)}
    assert recorded(**off, **phases(0.0, 1.0)).differences(recorded(**off, **phases(0.0, 2.0))) == []


def test_weights_that_do_not_tell_the_phases_serve_all():
    older = Acquisition.from_plain({k: v for k, v in BASE.plain().items() if k != "phases"})
    assert older.phases == ()
    assert older.differences(replace(BASE, phases=(1.0, 2.0))) == []


numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.text(), st.lists(numbers, min_size=1, max_size=3).map(tuple), st.tuples(*[st.integers(1, 999)] * 3))
def test_plain_values_are_the_acquisition(name, frequencies, size):
    acquisition = replace(BASE, scanner=name, frequencies=frequencies, size=size)
    stored = json.loads(json.dumps(acquisition.plain()))
    again = Acquisition.from_plain(stored)
    assert again == acquisition
    assert again.fingerprint == acquisition.fingerprint
    assert acquisition.differences(again) == []


@pytest.mark.parametrize("change", [{"colour": 1}, None])
def test_plain_values_of_something_else_are_refused(change):
    values = BASE.plain()
    values = {**values, **change} if change else {k: v for k, v in values.items() if k != "samples"}
    with pytest.raises(TypeError, match="colour" if change else "samples"):
        Acquisition.from_plain(values)


def test_a_header_without_a_sequence_tells_no_acquisition():
    scan = recordings.scan(np.zeros((1, 1, 2, recordings.N_SAMPLES)))
    assert acquisition_of(scan, GRID) is not None
    del scan.attrs["/acquisition/drivefield/divider"]
    assert acquisition_of(scan, GRID) is None
