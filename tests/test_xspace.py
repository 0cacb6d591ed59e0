"""X-space: the path of the field-free point, its partitions, gridding, the lost fundamental, the exact forward model."""

from dataclasses import replace

import numpy as np
import pytest

from mpibridge import Grid
from mpibridge.errors import MDFError, SettingsError, ShapeError
from mpibridge.mdf.header import Header
from mpibridge.plugin import ImageProblem
from mpibridge.xspace import (
    Partition,
    forward,
    gridded_images,
    gridding,
    partition,
    recover_fundamental,
    trajectory,
)
from mpibridge_plugins.xspace import XSpace, XSpaceSettings

BETA = 1.986e-18 / (1.380649e-23 * 293)  # 1/T: magnetite core of 20 nm, 474 kA/m, 293 K
ALONG, ACROSS = 4.161 / BETA, 9.467 / BETA  # T, full widths at half maximum of L' and of L/ξ
GRID = Grid((101, 101, 1), (0.02, 0.02, 0.001))
DRIVE = "/acquisition/drivefield"


def header(dividers, strength, *, base, phase=None, gradient=(3.0, 3.0, -6.0), offsets=None, **more):
    """Sine sequences, as a file would have them; J from the focus fields (J, 3) T."""
    offsets = np.zeros((1, 3)) if offsets is None else np.asarray(offsets)
    n_periods, n_channels = len(offsets), len(dividers)
    n_samples = int(np.lcm.reduce(dividers))
    shape = (n_periods, n_channels, 1)
    return Header(
        {
            "/acquisition/gradient": np.diag(gradient)[None, None],
            "/acquisition/offsetField": offsets[:, None],
            "/acquisition/numPeriodsPerFrame": n_periods,
            f"{DRIVE}/divider": np.array(dividers)[:, None],
            f"{DRIVE}/strength": np.broadcast_to(np.array(strength, float)[:, None], shape),
            f"{DRIVE}/phase": np.broadcast_to(np.array(phase or [0.0] * n_channels)[:, None], shape),
            f"{DRIVE}/waveform": np.full((n_channels, 1), "sine", object),
            f"{DRIVE}/baseFrequency": base,
            f"{DRIVE}/cycle": n_samples / base,
            "/acquisition/receiver/numSamplingPoints": n_samples,
            "/acquisition/receiver/numChannels": n_channels,
            "/acquisition/receiver/bandwidth": base / 2,
            **more,
        }
    )


def lissajous(finer=1, **more):
    """Seed 004: 24.75 and 25 kHz, 2 × 2 cm² at 3 T/m."""
    return header((100 * finer, 99 * finer), (0.03, 0.03), base=2.475e6 * finer, **more)


def cartesian(n_lines=61, sign=1, repeated=1, **more):
    """Lines along x, one per focus field along y."""
    offsets = np.zeros((n_lines, 3))
    offsets[:, 1] = np.linspace(-0.03, 0.03, n_lines)
    gradient = np.array([3.0, 3.0, -6.0]) * sign
    offsets = np.repeat(offsets, repeated, axis=0)
    return header((400, 400), (0.03, 0.0), base=1e7, gradient=gradient, offsets=offsets, **more)


def langevin(xi):
    """L'(ξ) and L(ξ)/ξ."""
    x = np.maximum(xi, 0.02)
    ratio = np.where(xi < 0.02, 1 / 3 - xi**2 / 45, (1 / np.tanh(x) - 1 / x) / x)
    return np.where(xi < 0.02, 1 / 3 - xi**2 / 15, 1 / x**2 - 1 / np.sinh(x) ** 2), ratio


def point_signal(scan, *points, weights=None):
    """[L' bbᵀ + (L/ξ)(I − bbᵀ)] G v of point sources: what receivers hear of them, (1, J, C, V)."""
    position, velocity = trajectory(scan)
    gradient = scan.gradient_diagonal
    total = 0
    for point, weight in zip(points, weights or np.ones(len(points)), strict=True):
        field = (np.array([*point, 0.0]) - position) * gradient
        strength = np.linalg.norm(field, axis=1, keepdims=True)
        b = field / np.maximum(strength, 1e-15)
        along, across = langevin(BETA * strength)
        change = velocity * gradient
        total = total + weight * (across * change + (along - across) * (b * change).sum(1, keepdims=True) * b)
    by_period = total.reshape(scan.n_periods, -1, 3).swapaxes(1, 2)
    return by_period[None, :, : scan.n_receivers]


def full_width(image, degrees):
    """Full width at half maximum in m of an image (y, x) on GRID through its centre."""
    from scipy.ndimage import map_coordinates

    distance = np.linspace(-9e-3, 9e-3, 3601)
    angle = np.deg2rad(degrees)
    place = np.stack([np.sin(angle) * distance, np.cos(angle) * distance]) / GRID.spacing[0] + 50
    profile = map_coordinates(image, place, order=1)
    above = np.flatnonzero(profile > profile[1800] / 2)
    assert np.all(np.diff(above) == 1)
    return distance[above[-1]] - distance[above[0]]


def noise(scan, n_frames=1, seed=0):
    shape = (n_frames, scan.n_periods, scan.n_receivers, scan.n_samples)
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.fixture(scope="module")
def lissajous_map():
    return gridding(lissajous(), GRID)


# --- the path ---------------------------------------------------------------------------------------------------


def test_point_starts_at_the_centre_and_runs_against_the_field():
    position, velocity = trajectory(lissajous())
    assert position.shape == velocity.shape == (9900, 3)
    assert np.allclose(position[0], 0)
    assert np.allclose(velocity[0, :2], -0.01 * 2 * np.pi * np.array([24.75e3, 25e3]))
    assert np.allclose(np.abs(position).max(0), [0.01, 0.01, 0], rtol=2e-3, atol=1e-12)


def test_velocity_is_the_derivative_of_the_position():
    scan = lissajous(16, phase=[0.3, -1.0])
    position, velocity = trajectory(scan)
    step = scan.cycle / scan.n_samples
    slope = (position[2:] - position[:-2]) / (2 * step)
    assert np.abs(slope - velocity[1:-1]).max() < 1e-4 * velocity.max()


def test_focus_field_and_sign_of_the_gradient_move_the_point():
    offsets = [[0, 0, 0], [3e-3, -6e-3, 12e-3]]
    scan = header((100, 99), (0.01, 0.01), base=1e6, gradient=(-1.0, -1.0, 2.0), offsets=offsets)
    first, second = trajectory(scan)[0].reshape(2, -1, 3)
    assert np.allclose(second - first, [3e-3, -6e-3, -6e-3])
    assert trajectory(scan)[1][0, 0] > 0


def test_triangle_has_constant_speed():
    scan = header((100,), (0.03,), base=1e6, **{f"{DRIVE}/waveform": np.array([["triangle"]], object)})
    position, velocity = trajectory(scan)
    assert np.allclose(np.abs(velocity[1:24, 0]), 4 * 1e4 * 0.01)
    assert position[25, 0] == pytest.approx(-0.01)


def test_missing_gradient_along_a_driven_axis_is_named():
    scan = lissajous(gradient=(3.0, 0.0, -3.0))
    with pytest.raises(MDFError, match=r"/acquisition/gradient: is \[3.0, 0.0, -3.0\].*along y.*30 mT"):
        trajectory(scan)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"/scanner/topology": "FFL"}, "field-free line"),
        ({f"{DRIVE}/waveform": np.full((2, 1), "custom", object)}, "waveform 'custom'"),
        ({"/acquisition/gradient": np.zeros((1, 2, 3, 3))}, "changes 2 times"),
        ({"/acquisition/offsetField": np.zeros((1, 2, 3))}, "changes 2 times"),
    ],
)
def test_paths_that_are_not_known_are_said(more, text):
    scan = lissajous()
    with pytest.raises(NotImplementedError, match=text):
        trajectory(Header({**scan.attrs, **more}))


# --- partitions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gradient", [(3.0, 3.0, -6.0), (-1.0, -1.0, 2.0)])
def test_lissajous_falls_into_45_and_135_degrees(gradient):
    scan = lissajous(gradient=gradient)
    first, second = partition(scan)
    assert np.allclose(first.direction, [np.sqrt(0.5), np.sqrt(0.5), 0])
    assert np.allclose(second.direction, [-np.sqrt(0.5), np.sqrt(0.5), 0])
    assert np.all(first.mask ^ second.mask)
    assert abs(first.mask.mean() - 0.5) < 0.01
    velocity = trajectory(scan)[1]
    assert np.mean(velocity[first.mask, 0] * velocity[first.mask, 1]) > 0
    assert np.mean(velocity[second.mask, 0] * velocity[second.mask, 1]) < 0


def test_each_half_covers_nine_tenths_of_the_square():
    grid = Grid((140, 140, 1), (0.02, 0.02, 0.001))
    for finer in (1, 2):
        covered = gridding(lissajous(finer), grid).covered
        assert np.all(covered.mean((1, 2, 3)) > 0.9)
        assert np.all(covered.mean((1, 2, 3)) < 0.93)
        assert covered.any(0).all()


def test_gradients_of_opposite_sign_turn_the_diagonals():
    scan = header((100, 99), (0.01, 0.01), base=1e6, gradient=(2.0, -1.0, -1.0))
    first, second = partition(scan)
    velocity = trajectory(scan)[1]
    assert np.mean(velocity[first.mask, 0] * velocity[first.mask, 1]) > 0
    assert first.direction == pytest.approx(np.array([1, 2, 0]) / np.sqrt(5))
    assert second.direction == pytest.approx(np.array([-1, 2, 0]) / np.sqrt(5))


def test_lines_are_parted_into_forward_and_backward():
    forth, back = partition(cartesian())
    velocity = trajectory(cartesian())[1]
    assert np.allclose(forth.direction, [1, 0, 0])
    assert np.allclose(back.direction, [-1, 0, 0])
    assert np.all(velocity[forth.mask, 0] > 0)
    assert np.all(velocity[back.mask, 0] <= 0)


def test_a_slow_second_drive_field_also_makes_lines():
    scan = header((100, 10000), (0.03, 0.03), base=2.5e6)
    assert [np.round(p.direction, 3).tolist() for p in partition(scan)] == [[1, 0, 0], [-1, 0, 0]]


def test_three_axes_make_four_diagonals():
    scan = header((102, 96, 99), (0.012, 0.012, 0.012), base=2.5e6, gradient=(-1.0, -1.0, 2.0))
    parts = partition(scan)
    assert len(parts) == 4
    assert np.all(sum(p.mask.astype(int) for p in parts) == 1)
    velocity = trajectory(scan)[1]
    for part in parts:
        along = velocity[part.mask] @ part.direction
        assert np.mean(along**2) > 0.6 * np.mean(np.sum(velocity[part.mask] ** 2, 1))


def test_frequencies_far_apart_make_no_diagonals():
    with pytest.raises(SettingsError, match="partitions=False"):
        partition(header((100, 50), (0.03, 0.03), base=1e6))
    with pytest.raises(SettingsError, match="no drive field moves"):
        partition(header((100, 99), (0.0, 0.0), base=1e6))


# --- gridding ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coil", ["path", "mean"])
def test_point_source_has_the_widths_of_theory_along_the_diagonals(coil):
    scan = lissajous(2)
    images = gridded_images(point_signal(scan, (0, 0)), scan, GRID, coil=coil).images
    for image, degrees in zip(images[0, :, 0], (45, 135), strict=True):
        assert full_width(image, degrees) == pytest.approx(ALONG / 3, rel=0.05)
        assert full_width(image, degrees + 90) == pytest.approx(ACROSS / 3, rel=0.05)
        assert image[50, 50] == pytest.approx(3 / 3, rel=0.03)  # G L'(0)


@pytest.mark.parametrize("sign", [1, -1])
def test_point_source_has_the_widths_of_theory_in_a_cartesian_scan(sign):
    scan = cartesian(sign=sign)
    images = gridded_images(point_signal(scan, (0, 0)), scan, GRID)
    assert images.covered.all()
    for image in images.images[0, :, 0]:
        assert image.min() >= 0
        assert full_width(image, 0) == pytest.approx(ALONG / 3, rel=0.05)
        assert full_width(image, 90) == pytest.approx(ACROSS / 3, rel=0.05)


def test_point_source_is_where_it_was():
    scan = lissajous()
    images = gridded_images(point_signal(scan, (4e-3, -2.4e-3)), scan, GRID).images[0, :, 0]
    for image in images:
        y, x = np.unravel_index(image.argmax(), image.shape)
        assert GRID.axis("x")[x] == pytest.approx(4e-3, abs=2.1e-4)
        assert GRID.axis("y")[y] == pytest.approx(-2.4e-3, abs=2.1e-4)


@pytest.mark.parametrize("scan", [lissajous(), cartesian(31), lissajous(gradient=(-1.0, -1.0, 2.0))])
def test_a_constant_image_stays_constant(scan):
    position, velocity = trajectory(scan)
    along = np.sign(scan.gradient_diagonal[0]) * velocity  # K = 1: s = ± v
    signals = along.reshape(scan.n_periods, -1, 3).swapaxes(1, 2)[None, :, :2]
    grid = Grid((64, 64, 1), (*(2 * np.abs(position).max(0)[:2]), 0.001))
    found = gridded_images(signals, scan, grid)
    assert found.images[0][found.covered] == pytest.approx(1, abs=2e-6)
    assert np.all(found.images[0][~found.covered] == 0)


def test_images_are_linear_and_frames_do_not_see_each_other(lissajous_map):
    scan = lissajous()
    one, two = noise(scan, seed=1), noise(scan, seed=2)
    both = lissajous_map(np.concatenate([one, two])).images
    assert np.allclose(both[:1], lissajous_map(one).images, rtol=1e-12, atol=1e-15)
    assert np.allclose(lissajous_map(2 * one - 3 * two).images, 2 * both[:1] - 3 * both[1:], atol=1e-12)
    assert lissajous_map(one.astype(np.float32)).images.dtype == np.float32


def test_a_row_is_the_formula():
    """k|v| / Σ k|v|² over the samples within three widths that are fast enough."""
    scan = lissajous()
    built = gridding(scan, GRID, width=4e-4)
    position, velocity = trajectory(scan)
    speed = np.linalg.norm(velocity, axis=1)
    mask = partition(scan)[1].mask & (speed >= 0.1 * speed.max())
    where = np.array([GRID.axis("x")[30], GRID.axis("y")[70]])
    distance = np.linalg.norm(position[:, :2] - where, axis=1)
    kernel = np.where(mask & (distance <= 1.2e-3), np.exp(-((distance / 4e-4) ** 2) / 2), 0)
    row = built.matrix[101 * 101 + 70 * 101 + 30].toarray()[0]
    assert row == pytest.approx(kernel * speed / (kernel * speed**2).sum(), rel=1e-5)
    assert built.covered[1, 0, 70, 30]


def test_pointing_is_the_mean_of_twice_the_direction():
    made = gridding(lissajous(), GRID)
    speed = np.linalg.norm(made.rate, axis=1)
    phi = np.arctan2(made.rate[:, 1], made.rate[:, 0])
    found = made.pointing()
    assert found.shape == (2, 2, 1, 101, 101)
    for channel, y, x in ((0, 50, 50), (1, 30, 70), (0, 80, 60)):
        row = made.matrix[channel * 101**2 + y * 101 + x].toarray().ravel()  # k |v| / Σ k |v|²
        weight = row * speed
        wanted = [(weight * np.cos(2 * phi)).sum(), (weight * np.sin(2 * phi)).sum()] / weight.sum()
        np.testing.assert_allclose(found[channel, :, 0, y, x], wanted, atol=1e-4)
    assert found[0, 1, 0, 50, 50] > 0.99 > -0.99 > found[1, 1, 0, 50, 50]
    assert not found.transpose(0, 2, 3, 4, 1)[~made.covered].any()
    assert np.hypot(found[:, 0], found[:, 1]).max() <= 1 + 1e-4


def test_slow_samples_are_dropped():
    scan = lissajous()
    speed = np.linalg.norm(trajectory(scan)[1], axis=1)
    used = np.zeros(len(speed), bool)
    used[np.unique(gridding(scan, GRID, min_speed=0.3).matrix.indices)] = True
    assert not used[speed < 0.3 * speed.max()].any()
    assert used[speed > 0.31 * speed.max()].mean() > 0.99
    slow = noise(scan).reshape(-1, 2, len(speed)) * (speed < 0.1 * speed.max())
    assert not gridded_images(slow[:, None], scan, GRID).images.any()


def test_kernel_follows_the_lines():
    """Half the gap of the lines, whatever the sampling; repeated periods are no new lines."""
    grid = Grid((81, 81, 1), (0.018, 0.018, 0.001))
    for n_lines in (21, 41):
        gap = 0.02 / (n_lines - 1)
        widths = gridding(cartesian(n_lines), grid).widths
        assert np.nanmedian(widths) == pytest.approx(gap / 2, rel=0.1)
        assert np.nanmax(widths) < 0.75 * gap
    once, thrice = (gridding(cartesian(21, repeated=n), grid).widths for n in (1, 3))
    assert np.allclose(once, thrice)
    assert np.all(
        gridding(cartesian(21), grid, width=2e-4).widths[:, 0, 40] == pytest.approx(2e-4, nan_ok=True)
    )


def test_one_partition_of_everything():
    scan = lissajous()
    found = gridded_images(point_signal(scan, (0, 0)), scan, GRID, partitions=False)
    assert found.images.shape == (1, 1, 1, 101, 101)
    assert found.covered.all()
    parts = partition(scan)
    again = gridded_images(point_signal(scan, (0, 0)), scan, GRID, partitions=parts[::-1])
    both = gridded_images(point_signal(scan, (0, 0)), scan, GRID)
    assert np.array_equal(again.images[:, ::-1], both.images)
    assert np.array_equal(again.directions[::-1], both.directions)


def test_three_dimensions():
    scan = header((102, 96, 99), (0.012, 0.012, 0.012), base=2.5e6, gradient=(-1.0, -1.0, 2.0))
    grid = Grid((11, 13, 15), (0.02, 0.02, 0.01))
    images = gridded_images(point_signal(scan, (0, 0)), scan, grid).images
    assert images.shape == (1, 4, 15, 13, 11)
    assert {np.unravel_index(i.argmax(), i.shape) for i in images[0]} == {(7, 6, 5)}


def test_tensors_give_the_same_images(lissajous_map):
    import torch

    signals = noise(lissajous(), 2).astype(np.float32)
    images = lissajous_map.to("cpu")(torch.as_tensor(signals)).images
    expected = lissajous_map(signals).images
    assert np.abs(images.numpy() - expected).max() < 1e-5 * np.abs(expected).max()
    direct = gridded_images(torch.as_tensor(signals), lissajous(), GRID, fundamental="recovered")
    expected = gridded_images(signals, lissajous(), GRID, fundamental="recovered").images
    assert np.abs(direct.images.numpy() - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("more", "error", "text"),
    [
        ({"coil": "both"}, SettingsError, "coil must be one of"),
        ({"min_speed": 1.0}, SettingsError, "share of the top speed"),
        ({"width": 0.0}, SettingsError, "positive length"),
        ({"fundamental": "lost"}, SettingsError, "fundamental must be one of"),
        ({"partitions": [Partition(np.ones(3, bool), np.ones(3))]}, ShapeError, r"a mask \(3,\)"),
        ({"partitions": []}, ShapeError, "0 partitions"),
        ({"partitions": partition(lissajous()) * 2}, ShapeError, "no sample in two of them"),
    ],
)
def test_choices_out_of_range_are_errors(more, error, text):
    with pytest.raises(error, match=text):
        gridded_images(noise(lissajous()), lissajous(), GRID, **more)


def test_data_that_do_not_fit_are_errors(lissajous_map):
    scan = lissajous()
    with pytest.raises(ShapeError, match=r"signals are \(1, 1, 2, 50\)"):
        lissajous_map(noise(scan)[..., :50])
    with pytest.raises(ShapeError, match="axes without receiver: there are 1"):
        gridded_images(noise(scan)[:, :, :1], scan, GRID)
    with pytest.raises(ShapeError, match="no sample of a partition lies in the grid"):
        gridding(scan, replace(GRID, center=(0.0, 0.0, 0.1)))


# --- the lost fundamental ---------------------------------------------------------------------------------------


def filtered(signals, scan):
    """Without the bin of each receiver's own drive frequency."""
    spectra = np.fft.rfft(signals, axis=-1)
    for receiver, bin_ in enumerate(np.round(scan.drive_frequencies * scan.cycle).astype(int)):
        spectra[:, :, receiver, bin_] = 0
    return np.fft.irfft(spectra, signals.shape[-1], axis=-1)


POINTS = ((0, 0), (3e-3, 1e-3), (-4e-3, 2e-3), (1e-3, -4e-3))


def test_losing_the_fundamental_shifts_the_signal_matrix_by_a_constant():
    scan = lissajous()
    lost = point_signal(scan, *POINTS) - filtered(point_signal(scan, *POINTS), scan)
    velocity = trajectory(scan)[1].reshape(1, -1, 3).swapaxes(1, 2)[None, :, :2]
    constants = (lost * velocity).sum(-1) / (velocity**2).sum(-1)
    assert np.abs(lost - constants[..., None] * velocity).max() < 1e-6 * np.abs(lost).max()


@pytest.mark.parametrize(("points", "bound"), [(((0, 0),), 0.07), (((8e-3, 8e-3),), 0.05), (POINTS, 0.1)])
def test_the_fundamental_comes_back(points, bound):
    scan = lissajous()
    signals = point_signal(scan, *points)
    whole = gridded_images(signals, scan, GRID).images
    raw = gridded_images(filtered(signals, scan), scan, GRID).images
    found = gridded_images(filtered(signals, scan), scan, GRID, fundamental="recovered").images
    error = np.linalg.norm(found - whole) / np.linalg.norm(whole)
    assert error < bound
    assert error < 0.15 * np.linalg.norm(raw - whole) / np.linalg.norm(whole)


def test_the_fundamental_of_lines_comes_back_in_part():
    """Every line has a constant of its own, and beside the tracer the image of a line is nowhere zero."""
    scan = cartesian(31)
    signals = point_signal(scan, (2e-3, 0))
    lost = filtered(signals, scan)
    found = recover_fundamental(lost, scan)
    assert np.linalg.norm((found - signals)[:, :, 0]) < 0.25 * np.linalg.norm((lost - signals)[:, :, 0])
    assert np.array_equal(found[:, :, 1], lost[:, :, 1])  # nothing drives y


def test_recovery_does_not_care_what_was_there():
    scan = lissajous()
    signals = point_signal(scan, *POINTS)
    one, two = recover_fundamental(signals, scan), recover_fundamental(filtered(signals, scan), scan)
    assert np.abs(one - two).max() < 1e-6 * np.abs(signals).max()
    scaled = recover_fundamental(np.concatenate([signals, 1e-6 * signals]), scan)
    assert np.allclose(scaled[0], 1e6 * scaled[1], rtol=1e-6, atol=1e-9 * np.abs(signals).max())


# --- the forward model ------------------------------------------------------------------------------------------

COARSE = Grid((70, 70, 1), (0.02, 0.02, 0.001))


def blocks(seed=0, n=70):
    return np.kron(np.random.default_rng(seed).random((14, 14)) > 0.6, np.ones((n // 14, n // 14))).astype(
        float
    )


@pytest.mark.parametrize(("order", "bound"), [(1, 5e-4), (3, 3e-5)])
def test_forward_model_is_the_direct_sum(order, bound):
    scan, image = lissajous(), blocks()
    position, velocity = trajectory(scan)
    matrix = forward.interpolation(COARSE, position, order=order)
    fields = forward.convolved_fields(image, COARSE, 3 * BETA)
    signals = forward.sample(fields, matrix, velocity)
    chosen = np.random.default_rng(1).choice(len(position), 100, replace=False)
    y, x = np.meshgrid(COARSE.axis("y"), COARSE.axis("x"), indexing="ij")
    direct = []
    for p, v in zip(position[chosen, :2], velocity[chosen, :2], strict=True):
        r = np.stack([x.ravel(), y.ravel()], 1) - p
        distance = np.linalg.norm(r, axis=1)
        along, across = langevin(3 * BETA * distance)
        r = r / np.maximum(distance, 1e-12)[:, None]
        dose = image.ravel() * COARSE.spacing[0] * COARSE.spacing[1]
        direct.append((dose * across).sum() * v + (dose * (along - across) * (r @ v)) @ r)
    error = signals[:, chosen] - np.transpose(direct)
    assert np.linalg.norm(error) < bound * np.linalg.norm(direct)


def test_gradients_of_different_size_and_padding():
    """A point source in the middle: fields are h itself, also outside the image."""
    grid = Grid((9, 11, 1), (9e-3, 11e-3, 1e-3))
    image = np.zeros((11, 9))
    image[5, 4] = 1 / 1e-6
    fields = forward.convolved_fields(image, grid, (2 * BETA, -BETA), padding=3)
    assert fields.shape == (3, 17, 15)
    y, x = -np.arange(-8, 9)[:, None] * 1e-3, 2 * np.arange(-7, 8)[None] * 1e-3
    field = np.hypot(x, y)
    along, across = langevin(BETA * field)
    safe = np.where(field > 0, field, 1) ** 2
    expected = [across + (along - across) * part / safe for part in (x * x, y * y)]
    assert fields[0] == pytest.approx(expected[0], abs=1e-9)
    assert fields[2] == pytest.approx(expected[1], abs=1e-9)
    assert fields[1] == pytest.approx((along - across) * x * y / safe, abs=1e-9)


def test_forward_model_and_adjoint_agree():
    position, velocity = trajectory(lissajous())
    matrix = forward.interpolation(COARSE, position, padding=2)
    rng = np.random.default_rng(3)
    images, signals = rng.standard_normal((2, 70, 70)), rng.standard_normal((2, 2, len(position)))
    fields = forward.convolved_fields(images, COARSE, 3 * BETA, padding=2)
    there = forward.sample(fields, matrix, velocity)
    back = forward.adjoint(signals, matrix, velocity, COARSE, 3 * BETA, padding=2)
    assert there.shape == signals.shape
    assert back.shape == images.shape
    assert np.vdot(there, signals) == pytest.approx(np.vdot(images, back), rel=1e-10)


def test_forward_model_of_tensors_has_the_same_signals_and_a_gradient():
    import torch

    from mpibridge.xspace.sparse import as_torch

    position, velocity = trajectory(lissajous())
    matrix = forward.interpolation(COARSE, position)
    image = blocks().astype(np.float32)
    expected = forward.sample(forward.convolved_fields(image, COARSE, 3 * BETA), matrix, velocity)
    tensor = torch.as_tensor(image).requires_grad_()
    speed = torch.as_tensor(velocity, dtype=torch.float32)
    signals = forward.sample(forward.convolved_fields(tensor, COARSE, 3 * BETA), as_torch(matrix), speed)
    assert np.abs(signals.detach().numpy() - expected).max() < 1e-5 * np.abs(expected).max()
    (signals**2).sum().backward()
    gradient = 2 * forward.adjoint(expected, matrix, velocity, COARSE, 3 * BETA)
    assert np.abs(tensor.grad.numpy() - gradient).max() < 1e-4 * np.abs(gradient).max()


def test_a_scene_convolved_once_serves_its_crops():
    scene, big = blocks(5, 140), Grid((140, 140, 1), (0.04, 0.04, 0.001))
    position, velocity = trajectory(lissajous())
    wide = forward.convolved_fields(scene, big, 3 * BETA)
    crop = Grid((74, 74, 1), (*(74 * s for s in big.spacing[:2]), 0.001))
    cut = forward.sample(wide[:, 33:107, 33:107], forward.interpolation(crop, position), velocity)
    whole = forward.sample(wide, forward.interpolation(big, position), velocity)
    assert cut == pytest.approx(whole, abs=1e-6 * np.abs(whole).max())


def test_gridding_the_forward_model_shows_the_image():
    """K of the forward model, seen along ±45°: the image that gridding aims at."""
    scan = lissajous()
    position, velocity = trajectory(scan)
    grid = Grid((70, 70, 1), (0.02, 0.02, 0.001))
    image = np.zeros((70, 70))
    image[20:50, 30:36] = 1
    fields = forward.convolved_fields(image, grid, 3 * BETA)
    signals = forward.sample(fields, forward.interpolation(grid, position), velocity)
    found = gridded_images(signals[None, None], scan, grid, coil="mean")
    for channel, sign in enumerate((1, -1)):
        aim = (fields[0] + fields[2]) / 2 + sign * fields[1]
        inner = (slice(30, 40), slice(30, 40))
        assert found.images[0, channel, 0][inner] == pytest.approx(aim[inner], rel=0.1)


def test_forward_model_refuses_what_does_not_fit():
    with pytest.raises(ShapeError, match="one slice is wanted"):
        forward.convolved_fields(np.zeros((5, 6)), COARSE, 3 * BETA)
    with pytest.raises(ShapeError, match="larger grid or padding"):
        forward.interpolation(replace(COARSE, center=(0.005, 0.0, 0.0)), trajectory(lissajous())[0])
    with pytest.raises(ShapeError, match="order must be"):
        forward.interpolation(COARSE, trajectory(lissajous())[0], order=2)


# --- the plugin -------------------------------------------------------------------------------------------------


def reconstruct(images, **settings):
    problem = ImageProblem(grid=Grid((3, 2, 1), (3.0, 2.0, 1.0)), images=images)
    method = XSpace(XSpaceSettings(**settings))
    return method.reconstruct(
        problem, generator=np.random.default_rng(0), report=lambda done, total, text: None
    ).image


def test_plugin_combines_the_channels():
    images = np.random.default_rng(0).standard_normal((4, 2, 1, 2, 3)).astype(np.float32)
    assert np.allclose(reconstruct(images), np.maximum(images.mean(1), 0))
    assert np.allclose(reconstruct(images, combine="sum", positive=False), images.sum(1))
    assert np.array_equal(reconstruct(images, combine=1, positive=False), images[:, 1])
    assert reconstruct(images).dtype == np.float32


def test_voxels_that_a_channel_did_not_measure_do_not_count():
    images = np.ones((1, 2, 1, 2, 3), np.float32)
    images[0, 0, 0, 0] = 0
    assert np.all(reconstruct(images) == 1)


def test_plugin_takes_tensors():
    import torch

    images = np.random.default_rng(0).standard_normal((2, 2, 1, 2, 3)).astype(np.float32)
    assert np.allclose(reconstruct(torch.as_tensor(images)).numpy(), reconstruct(images))


@pytest.mark.parametrize(
    "settings", [{"combine": "max"}, {"combine": -1}, {"combine": True}, {"positive": 2}]
)
def test_plugin_refuses_settings_out_of_range(settings):
    with pytest.raises(SettingsError, match="must be"):
        XSpaceSettings(**settings)


def test_plugin_names_a_channel_that_is_not_there():
    with pytest.raises(SettingsError, match="combine=2: the scan has 2 channels"):
        reconstruct(np.zeros((1, 2, 1, 2, 3), np.float32), combine=2)


def test_images_make_a_problem():
    scan = lissajous()
    found = gridded_images(noise(scan), scan, GRID)
    problem = found.problem()
    assert isinstance(problem, ImageProblem)
    assert problem.images is found.images
    assert problem.grid == GRID
