"""The scanner: what every simulation of magnetic particle imaging must satisfy (methods-and-physics.md E.7)."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.mdf.header import Header
from mpibridge.simulate.particles import BOLTZMANN, Particles
from mpibridge.simulate.presets import PRESETS, preset
from mpibridge.simulate.receiver import Receiver
from mpibridge.simulate.scanner import Scanner, diagonal_gradient, field_free_line, focus_fields
from mpibridge.simulate.sequences import CartesianSequence, LissajousSequence
from tests.relative import relative_error

CENTER, ONE = np.zeros((1, 1, 3)), np.ones((1, 1))
PATCHES = ((0.0, 0.0, 0.0), (4e-3, -2e-3, 0.0), (0.0, 3e-3, 1e-3))


def at(x, y=0.0, z=0.0):
    return np.array([[[x, y, z]]])


def some_points(seed, n_groups=1, n_points=4):
    generator = np.random.default_rng(seed)
    return generator.uniform(-12e-3, 12e-3, (n_groups, n_points, 3)), generator.random((n_groups, n_points))


def test_parity_at_the_centre():
    """Receiver x has even bins only, y odd ones only: k = 16 m_x + 17 m_y with one odd order and one even."""
    x, y = np.abs(Scanner().spectra(CENTER, ONE)[0, 0])
    assert x[1::2].max() < 1e-11 * x.max()
    assert y[0::2].max() < 1e-11 * y.max()


def test_small_fields_scale_with_the_power_of_the_harmonic():
    weak, strong = (
        np.abs(Scanner(sequence=LissajousSequence((a, 0.0, 0.0))).spectra(CENTER, ONE)[0, 0, 0])
        for a in (1e-5, 2e-5)
    )
    assert strong[1] / weak[1] == pytest.approx(2, rel=1e-3)
    assert strong[3] / weak[3] == pytest.approx(8, rel=1e-3)


def test_signal_vanishes_far_from_the_field_free_point():
    near, far, farther = (np.abs(Scanner().voltage(at(r, r, r), ONE)).max() for r in (0.0, 10.0, 100.0))
    assert far < 1e-3 * near
    assert farther == pytest.approx(far / 10, rel=1e-2)  # saturated particles only turn: L/ξ → 1/ξ


def test_static_field_induces_nothing():
    scanner = Scanner(sequence=LissajousSequence((0.0, 0.0, 0.0), patches=PATCHES))
    np.testing.assert_array_equal(scanner.voltage(at(3e-3, 3e-3), ONE), np.zeros((1, 3, 3, 102)))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 10))
def test_linear_in_the_concentration_and_additive(seed, factor):
    scanner = Scanner(particles=Particles(relaxation_time=1e-6))
    points, amounts = some_points(seed)
    together = scanner.voltage(points, amounts)
    apart = scanner.voltage(points.reshape(4, 1, 3), amounts.reshape(4, 1))
    scaled = scanner.voltage(points, factor * amounts)
    np.testing.assert_allclose(scaled, factor * together, atol=1e-12 * np.abs(scaled).max())
    np.testing.assert_allclose(apart.sum(0, keepdims=True), together, atol=1e-12 * np.abs(together).max())


@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_voltage_is_minus_the_flux_change_in_volts(spread):
    """Against −p ΔV dM/dt with the rate taken from the magnetisation's spectrum instead of the Jacobian."""
    scanner = Scanner(
        sequence=LissajousSequence(
            (5e-3, 7e-3, 6e-3), dividers=(16, 24, 12), oversampling=8, patches=PATCHES
        ),
        particles=Particles(diameter_spread=spread),
        sensitivity=((50e-6, 0.0, 0.0), (1e-6, -2e-6, 3e-6)),
    )
    sequence, position, volume = scanner.sequence, np.array([2e-3, -5e-3, 1e-3]), 4e-9
    omega = 2 * np.pi * np.fft.rfftfreq(sequence.n_samples, 1 / sequence.sample_rate)
    found = scanner.voltage(position.reshape(1, 1, 3), np.full((1, 1), volume))[0]
    for offset, signal in zip(sequence.offsets, found, strict=True):
        field = sequence.drive + (np.array([-1, -1, 2]) * position + offset)[:, None]
        flux = np.array(scanner.sensitivity) @ scanner.particles.magnetization(field)
        expected = -volume * np.fft.irfft(1j * omega * np.fft.rfft(flux), sequence.n_samples)
        np.testing.assert_allclose(signal, expected, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("gradient", [1.0, 3.0])
def test_width_of_the_signal_along_the_scan(gradient):
    """A point induces v L'(ξ): full width 4.161 kT/(m G) along the path, E.1."""
    sequence = CartesianSequence(divider=102, oversampling=200, amplitude=gradient * 12e-3)
    scanner = Scanner(sequence=sequence, gradient=diagonal_gradient(gradient, gradient, -2 * gradient))
    position, rate = scanner.trajectory[0, :, 0], sequence.drive_rate[0]
    signal = scanner.voltage(CENTER, ONE)[0, 0, 0] / rate
    forward = rate > 0.2 * rate.max()
    inside = np.abs(position[forward][np.abs(signal[forward]) >= np.abs(signal).max() / 2])
    particles = scanner.particles
    expected = 4.161 * BOLTZMANN * particles.temperature / (particles.moment * gradient)
    assert 2 * inside.max() == pytest.approx(expected, rel=1e-2)


def test_relaxation_tends_to_equilibrium_and_is_debyes_equation():
    """The relaxed signal fulfils u + τ du/dt = u_eq; the difference to u_eq is of the order of τ."""
    points, amounts = some_points(1)
    equilibrium = Scanner().voltage(points, amounts)
    relaxed = [Scanner(particles=Particles(relaxation_time=tau)) for tau in (1e-6, 1e-11, 1e-12)]
    omega = 2j * np.pi * Scanner().sequence.frequencies
    restored = relaxed[0].spectra(points, amounts) * (1 + omega * 1e-6)
    assert relative_error(restored[..., :816], Scanner().spectra(points, amounts)[..., :816]) < 1e-12
    errors = [relative_error(s.voltage(points, amounts), equilibrium) for s in relaxed]
    assert errors[0] > 0.1
    assert errors[1] == pytest.approx(10 * errors[2], rel=1e-2)
    assert errors[2] < 1e-5
    np.testing.assert_array_equal(
        Scanner(particles=Particles(relaxation_time=0.0)).voltage(points, amounts), equilibrium
    )


@pytest.mark.parametrize("name", PRESETS)
def test_quadrature_in_time_is_converged(name):
    scanner, grid = preset(name).scanner, preset(name).grid
    generator = np.random.default_rng(3)
    edge = np.array(grid.field_of_view) / 2 * (np.array(grid.size) > 1)
    points = np.concatenate([CENTER, edge[None, None], generator.uniform(-edge, edge, (2, 1, 3))])
    found = scanner.voltage(points, np.ones((4, 1)))
    finer = replace(scanner, substeps=2 * scanner.steps).voltage(points, np.ones((4, 1)))
    assert np.abs(found - finer).max() < 1e-6 * np.abs(finer).max()


def test_substeps_keep_what_the_sampling_rate_resolves():
    coarse, fine = LissajousSequence(oversampling=1), LissajousSequence(oversampling=4)
    tracer = Particles(core_diameter=30e-9)
    direct = Scanner(sequence=fine, particles=tracer).spectra(CENTER, ONE)[..., :817] / 4
    found = Scanner(sequence=coarse, particles=tracer, substeps=4).spectra(CENTER, ONE)
    np.testing.assert_allclose(found[..., :816], direct[..., :816], atol=1e-12 * np.abs(direct).max())
    aliased = Scanner(sequence=coarse, particles=tracer, substeps=1).spectra(CENTER, ONE)
    assert relative_error(aliased, found) > 1e-4


@pytest.mark.parametrize("chunk_bytes", [1, 300_000, 2**40])
@pytest.mark.parametrize("workers", [1, 2])
def test_chunks_and_workers_leave_the_numbers(chunk_bytes, workers):
    scanner = Scanner(sequence=LissajousSequence(patches=PATCHES), particles=Particles(relaxation_time=1e-6))
    points, amounts = some_points(2, n_groups=5, n_points=2)
    whole = scanner.voltage(points, amounts)
    found = scanner.voltage(points, amounts, chunk_bytes=chunk_bytes, workers=workers)
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-13 * np.abs(whole).max())
    bins = np.array([816, 0, 53])
    spectra = scanner.spectra(points, amounts, bins, chunk_bytes=chunk_bytes, workers=workers)
    np.testing.assert_allclose(spectra, np.fft.rfft(whole)[..., bins], atol=1e-12 * np.abs(spectra).max())


@pytest.mark.parametrize("name", ["openmpi-1d", "openmpi-2d", "mnist-2d"])
def test_spectra_are_those_of_the_voltage(name):
    chain = Receiver((np.array([0.0, 2e6]), np.array([[1, 1j], [2, 1j]])), notch=((0.0, 20e3),))
    scanner = replace(preset(name).scanner, receiver=chain)
    points, amounts = some_points(3)
    expected = np.fft.rfft(scanner.voltage(points, amounts))
    found = scanner.spectra(points, amounts)
    np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max())
    assert np.abs(found[..., 0]).max() == 0


def test_the_receive_chain_multiplies_the_spectrum():
    scanner = Scanner(receiver=Receiver(loses_fundamental=True, notch=((100e3, 110e3),), bandwidth=1e6))
    points, amounts = some_points(4)
    spectra, ideal = scanner.spectra(points, amounts), Scanner().spectra(points, amounts)
    frequencies = scanner.sequence.frequencies
    gone = (frequencies > 1e6) | ((frequencies > 100e3) & (frequencies < 110e3))
    gone[[16, 17]] = True
    assert np.abs(ideal[..., gone]).max() > 0
    np.testing.assert_array_equal(spectra[..., gone], 0)
    np.testing.assert_array_equal(spectra[..., ~gone], ideal[..., ~gone])


def test_field_free_point_and_focus_field():
    centers = np.array([[1e-3, 2e-3, -3e-3], [0.0, 0.0, 0.0]])
    gradient = diagonal_gradient(-1.0, -1.0, 2.0)
    sequence = LissajousSequence((12e-3, 8e-3, 0.0), patches=focus_fields(gradient, centers))
    scanner = Scanner(sequence=sequence, gradient=gradient)
    np.testing.assert_allclose(scanner.trajectory[1, :, :2], sequence.drive[:2].T, atol=1e-17)
    np.testing.assert_allclose(
        scanner.trajectory[0] - scanner.trajectory[1], np.tile(centers[0], (1632, 1)), atol=1e-17
    )
    field = scanner.trajectory @ np.array(gradient).T + sequence.drive.T + sequence.offsets[:, None]
    np.testing.assert_allclose(field, 0, atol=1e-17)
    np.testing.assert_allclose(Header(scanner.header()).patch_centers, centers, atol=1e-18)


@settings(max_examples=15, deadline=None)
@given(st.floats(-np.pi, np.pi), st.floats(-20e-3, 20e-3), st.floats(0.5, 5))
def test_signal_along_a_field_free_line_is_the_same(angle, shift, gradient):
    scanner = Scanner(gradient=field_free_line(gradient, angle))
    along = np.array([np.cos(angle), np.sin(angle), 0.0])
    across = np.array([-np.sin(angle), np.cos(angle), 0.0])
    here, there, beside = (
        scanner.voltage(p[None, None], ONE)
        for p in (2e-3 * across, 2e-3 * across + shift * along, 9e-3 * across)
    )
    np.testing.assert_allclose(there, here, atol=1e-9 * np.abs(here).max())
    assert relative_error(beside, here) > 0.1
    np.testing.assert_allclose(scanner.trajectory @ along, 0, atol=1e-15)
    assert scanner.header()["/scanner/topology"] == "FFL"


def test_hooks_of_uniform_fields_change_nothing():
    scanner = Scanner(sequence=LissajousSequence(patches=PATCHES))
    gradient, coils = np.array(scanner.gradient), scanner.coils
    hooked = replace(
        scanner,
        selection_field=lambda r: r @ gradient.T,
        drive_profile=lambda r: np.tile(np.eye(3), (len(r), 1, 1)),
        receive_profile=lambda r: np.tile(coils, (len(r), 1, 1)),
    )
    points, amounts = some_points(5, n_groups=2)
    wanted = scanner.voltage(points, amounts)
    np.testing.assert_allclose(hooked.voltage(points, amounts), wanted, atol=1e-13 * np.abs(wanted).max())


def test_every_hook_acts_where_its_point_is():
    half = replace(Scanner(), receive_profile=lambda r: (1 + 100 * r[:, :1, None]) * Scanner().coils)
    position = at(2e-3, 1e-3)
    np.testing.assert_allclose(half.voltage(position, ONE), 1.2 * Scanner().voltage(position, ONE))

    turned = replace(
        Scanner(), drive_profile=lambda r: np.tile([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]], (len(r), 1, 1))
    )
    swapped = Scanner(sequence=LissajousSequence(dividers=(96, 102, 99)))
    np.testing.assert_allclose(
        turned.voltage(position, ONE), swapped.voltage(position, ONE), rtol=1e-9, atol=1e-9
    )

    moved = replace(Scanner(), selection_field=lambda r: (r - [1e-3, 0, 0]) @ np.diag([-1.0, -1.0, 2.0]))
    np.testing.assert_allclose(moved.voltage(position, ONE), Scanner().voltage(at(1e-3, 1e-3), ONE))


def test_default_receivers_are_those_of_the_active_axes():
    assert Scanner().n_receivers == 2
    np.testing.assert_array_equal(
        Scanner(sequence=CartesianSequence(axis=2, line_axis=0)).coils, [[0, 0, 50e-6]]
    )
    assert Scanner(sensitivity=((1.0, 0.0, 0.0),) * 4).voltage(CENTER, ONE).shape == (1, 1, 4, 1632)


def test_header_reads_back():
    chain = Receiver((np.array([0.0, 1.25e6]), np.array([[0, 1], [1j, 1j]])))
    scanner = Scanner("name", receiver=chain, sequence=LissajousSequence(patches=PATCHES))
    header = Header(scanner.header())
    assert (header.n_receivers, header.n_periods) == (2, 3)
    np.testing.assert_array_equal(header.gradient, np.tile(np.diag([-1.0, -1.0, 2.0]), (3, 1, 1, 1)))
    np.testing.assert_allclose(
        scanner.transfer_function, [np.linspace(0, 1, 817), np.full(817, 1j)], atol=1e-15
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gradient": diagonal_gradient(1.0, 1.0, 1.0)}, "trace 3 T/m"),
        ({"gradient": ((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 0.0))}, "not symmetric"),
        ({"gradient": ((1.0, 0.0), (0.0, -1.0))}, "3 × 3"),
        ({"sensitivity": ((1.0, 2.0),)}, r"\(receiver, 3\)"),
        ({"substeps": -1}, "substeps is -1"),
    ],
)
def test_settings_are_checked(fields, message):
    with pytest.raises(SettingsError, match=message):
        Scanner(**fields)


def test_shapes_are_checked():
    with pytest.raises(ShapeError, match=r"points are \(1, 1, 3\) and amounts \(2, 1\)"):
        Scanner().voltage(CENTER, np.ones((2, 1)))
    with pytest.raises(ShapeError, match="from 0 to 816"):
        Scanner().spectra(CENTER, ONE, np.array([817]))
    with pytest.raises(ShapeError, match=r"receive_profile gave \(3, 2\)"):
        Scanner(receive_profile=lambda r: np.ones((3, 2))).voltage(CENTER, ONE)


@pytest.mark.parametrize(
    ("scanner", "steps"),
    [
        (Scanner(), 1),
        (Scanner(particles=Particles(core_diameter=22e-9)), 2),
        (Scanner(particles=Particles(core_diameter=35e-9)), 3),
        (Scanner(particles=Particles(core_diameter=25e-9, diameter_spread=0.2)), 9),
        (Scanner(sequence=LissajousSequence((12e-3, 0, 0), dividers=(20,))), 3),
        (Scanner(sequence=LissajousSequence((12e-3, 12e-3, 0), dividers=(51, 48, 99))), 2),
    ],
)
def test_steps_suffice(scanner, steps):
    """Nobody has to choose them: the voltage is that of a much finer simulation, and none is done in vain."""
    points = np.random.default_rng(0).uniform(-8e-3, 8e-3, (20, 1, 3)) * [1, 1, 0]
    points[0] = 0
    fine = replace(scanner, substeps=24).voltage(points, np.ones((20, 1)))
    error = np.abs(scanner.voltage(points, np.ones((20, 1))) - fine).max() / np.abs(fine).max()
    assert scanner.steps == steps
    assert error < 1e-6


def test_steps_follow_a_replaced_tracer():
    assert replace(Scanner(), particles=Particles(core_diameter=30e-9)).steps == 3


def test_without_focus():
    scanner = Scanner(sequence=LissajousSequence(patches=PATCHES)).without_focus
    assert scanner.sequence.n_periods == 1
    np.testing.assert_array_equal(scanner.sequence.offsets, np.zeros((1, 3)))
    with pytest.raises(SettingsError, match="CartesianSequence has no patches"):
        Scanner(sequence=CartesianSequence(axis=0)).without_focus  # noqa: B018
