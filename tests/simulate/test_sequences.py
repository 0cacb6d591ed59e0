"""Sequences: lengths of the scanners they copy, derivatives, headers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpibridge.errors import SettingsError
from mpibridge.mdf.header import Header
from mpibridge.simulate.sequences import CartesianSequence, LissajousSequence


@pytest.mark.parametrize(
    ("amplitude", "n_samples", "cycle"),
    [
        ((12e-3, 0.0, 0.0), 102, 40.8e-6),
        ((12e-3, 12e-3, 0.0), 1632, 652.8e-6),
        ((12e-3, 12e-3, 12e-3), 53856, 21.5424e-3),
        ((0.0, 0.0, 12e-3), 99, 39.6e-6),
        ((0.0, 0.0, 0.0), 102, 40.8e-6),
    ],
)
def test_periods_of_the_open_mpi_sequences(amplitude, n_samples, cycle):
    sequence = LissajousSequence(amplitude)
    assert sequence.n_samples == n_samples
    assert sequence.cycle == pytest.approx(cycle, rel=1e-12)
    np.testing.assert_allclose(np.abs(sequence.drive).max(1), amplitude, rtol=3e-3)


def test_axis_of_a_channel_and_its_phase():
    sequence = LissajousSequence((1e-3, 2e-3, 0.0), dividers=(4, 8), phase=(0.0, np.pi / 2))
    np.testing.assert_allclose(sequence.drive[0], 1e-3 * np.array([0, 1, 0, -1] * 2), atol=1e-18)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(
        sequence.drive[1], 2e-3 * np.array([1, half, 0, -half, -1, -half, 0, half]), atol=1e-17
    )
    np.testing.assert_array_equal(sequence.drive[2], 0)


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(st.integers(6, 20), st.integers(6, 20)).filter(lambda d: d[0] != d[1]),
    st.tuples(st.floats(-9, 9), st.floats(-9, 9)),
    st.integers(1, 3),
)
def test_rate_is_the_derivative_of_a_periodic_drive(dividers, phase, oversampling):
    sequence = LissajousSequence(
        (1e-3, 2e-3, 0.0), dividers=dividers, phase=phase, oversampling=oversampling, base_frequency=1e6
    )
    n = sequence.n_samples
    assert n == np.lcm(*dividers) * oversampling
    omega = 2 * np.pi * np.fft.rfftfreq(n, 1 / sequence.sample_rate)
    expected = np.fft.irfft(1j * omega * np.fft.rfft(sequence.drive), n)
    np.testing.assert_allclose(sequence.drive_rate, expected, atol=1e-8 * np.abs(expected).max())
    np.testing.assert_allclose(
        LissajousSequence((1e-3, 2e-3, 0.0), dividers=dividers, phase=phase, base_frequency=1e6).drive,
        sequence.drive[:, ::oversampling],
        atol=1e-15,
    )


def test_header_of_a_lissajous_sequence_reads_back():
    patches = ((0.0, 0.0, 0.0), (5e-3, -1e-3, 0.0))
    sequence = LissajousSequence(phase=(0.0, 3 * np.pi, 0.0), patches=patches, oversampling=2)
    header = Header(sequence.header())
    assert (header.n_periods, header.n_samples, header.cycle) == (2, 3264, pytest.approx(652.8e-6))
    np.testing.assert_array_equal(header.dividers, [102, 96, 99])
    np.testing.assert_allclose(header.strengths, np.tile([[[12e-3], [12e-3], [0.0]]], (2, 1, 1)))
    np.testing.assert_array_equal(header.offset_field, patches)
    np.testing.assert_allclose(header.frequencies, sequence.frequencies)
    assert header.frequencies[1] == pytest.approx(1531.86, rel=1e-5)
    np.testing.assert_allclose(header["/acquisition/drivefield/phase"][0, :, 0], [0, -np.pi, 0])
    assert header["/acquisition/drivefield/waveform"].tolist() == [["sine"]] * 3


def test_lines_of_a_cartesian_sequence_lie_in_equal_strips():
    sequence = CartesianSequence(axis=2, divider=50, line_axis=0, n_lines=4, span=8e-3, amplitude=7e-3)
    assert (sequence.n_periods, sequence.n_samples) == (4, 50)
    np.testing.assert_allclose(sequence.offsets, np.outer([-3e-3, -1e-3, 1e-3, 3e-3], [1, 0, 0]))
    np.testing.assert_allclose(np.abs(sequence.drive).max(1), [0, 0, 7e-3], rtol=3e-3)
    assert Header(sequence.header()).strengths[3, :, 0].tolist() == [0, 0, 7e-3]


def test_one_line_is_a_one_dimensional_scan():
    line, lissajous = CartesianSequence(), LissajousSequence((12e-3, 0.0, 0.0))
    np.testing.assert_array_equal(line.drive, lissajous.drive)
    np.testing.assert_array_equal(line.offsets, lissajous.offsets)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LissajousSequence(dividers=(96, 96, 99)), r"dividers are \(96, 96, 99\)"),
        (lambda: LissajousSequence((-1e-3, 0.0, 0.0)), "must not be negative"),
        (lambda: LissajousSequence(dividers=(102,)), "no divider for every axis"),
        (lambda: LissajousSequence(dividers=(102, 0, 99)), "whole numbers from 1 on"),
        (lambda: LissajousSequence(patches=()), "at least one focus field"),
        (lambda: LissajousSequence(phase=(0.0,)), "as many phases"),
        (lambda: LissajousSequence(base_frequency=0.0), "base_frequency is 0"),
        (lambda: LissajousSequence(oversampling=0), "oversampling is 0"),
        (lambda: CartesianSequence(line_axis=0), "two different ones"),
        (lambda: CartesianSequence(n_lines=0), "at least one line"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(SettingsError, match=message):
        make()
