import math

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from mpibridge.errors import SettingsError, ShapeError
from mpibridge.metrics import (
    best_shift,
    bootstrap,
    data_residual,
    dip,
    least_squares_factor,
    misalignment,
    nrmse,
    per_image,
    psnr,
    ssim,
    ssim_window,
)
from mpibridge.model import IMAGE_DIMS, Grid
from mpibridge.operators import SystemMatrix
from mpibridge.plugin import SpectralProblem

GRID = Grid((12, 10, 1), (12e-3, 15e-3, 1e-3), (1e-3, 0.0, 0.0))
VOLUME = Grid((9, 8, 6), (9e-3, 8e-3, 6e-3))
SEEDS = st.integers(0, 2**31)


def on(grid, values, dims=IMAGE_DIMS):
    return xr.DataArray(values, grid.coordinates(), dims, name="concentration")


def noise(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def blob(grid, x=0.0, y=0.0, width=1.5e-3):
    """(z, y, x): a Gaussian that is 0 at the border."""
    distance = (grid.axis("x")[None, :] - x) ** 2 + (grid.axis("y")[:, None] - y) ** 2
    return on(grid, np.exp(-distance / (2 * width**2))[None], IMAGE_DIMS[1:])


def test_nrmse_of_known_images():
    truth = np.array([[3.0, 4.0]])
    assert nrmse(truth, truth) == 0
    assert nrmse(np.zeros((1, 2)), truth) == 1
    assert nrmse([[3.0, 3.0]], truth) == pytest.approx(1 / 5)


def test_nrmse_by_range_of_known_images():
    truth = np.array([[1.0, 5.0], [2.0, 4.0]])
    assert nrmse(truth + 0.2, truth, by="range") == pytest.approx(0.2 / 4)
    assert nrmse(10 * truth + 2, 10 * truth, by="range") == pytest.approx(0.2 / 4)
    with pytest.raises(ShapeError, match="the truth is constant"):
        nrmse(truth, np.ones((2, 2)), by="range")
    with pytest.raises(SettingsError, match="by must be one of norm, range, found 'max'"):
        nrmse(truth, truth, by="max")


def test_psnr_of_known_images():
    truth = np.array([0.0, 2.0])
    assert psnr([0.2, 2.2], truth) == pytest.approx(20)  # error 0.2 everywhere, peak 2
    assert psnr([0.2, 2.2], truth, peak=20) == pytest.approx(40)
    assert psnr(truth, truth) == math.inf
    with pytest.raises(SettingsError, match="peak must be positive, found -1"):
        psnr(truth, truth, peak=-1)


def test_ssim_of_known_images():
    """Two constants differ in luminance only: SSIM = (2ab + C₁)/(a² + b² + C₁), C₁ = (0.01 L)²."""
    image, truth = np.full((9, 9), 0.5), np.full((9, 9), 1.0)
    assert ssim(image, truth, data_range=2.0) == pytest.approx((1 + 4e-4) / (1.25 + 4e-4))
    assert ssim(noise((9, 9)), noise((9, 9))) == 1
    with pytest.raises(ShapeError, match="constant"):
        ssim(image, truth)


def test_ssim_follows_its_definition():
    """Wang et al. 2004 written out, with a 7 × 7 window inside the border."""
    image, truth = noise((2, 11, 13))

    def mean(a):
        return scipy.ndimage.uniform_filter(a, 7)[3:-3, 3:-3]

    sample = 49 / 48
    a, b = mean(image), mean(truth)
    vaa, vbb, vab = (
        sample * (mean(p * q) - mean(p) * mean(q))
        for p, q in ((image, image), (truth, truth), (image, truth))
    )
    c1, c2 = (0.01 * np.ptp(truth)) ** 2, (0.03 * np.ptp(truth)) ** 2
    expected = ((2 * a * b + c1) * (2 * vab + c2) / ((a**2 + b**2 + c1) * (vaa + vbb + c2))).mean()
    assert ssim(image, truth) == pytest.approx(expected)
    assert ssim(image[None, None], truth[None, None]) == pytest.approx(expected)  # a volume of one slice


@pytest.mark.parametrize(
    ("shape", "window"), [((1, 19, 19), 7), ((1, 8, 8), 7), ((5, 6, 9), 5), ((1, 4, 9), 3), ((3, 1, 1, 3), 3)]
)
def test_ssim_window_fits(shape, window):
    assert ssim_window(shape) == window
    assert ssim(noise(shape), noise(shape)) == 1


def test_ssim_refuses_what_no_window_fits():
    with pytest.raises(ShapeError, match="at least 3 voxels"):
        ssim(noise((2, 9, 9)), noise((2, 9, 9)))
    with pytest.raises(ShapeError, match="odd and from 3 to 9 voxels, found 4"):
        ssim(noise((9, 9)), noise((9, 9)), window=4)


@given(st.floats(1e-3, 1e3), SEEDS)
def test_a_common_scale_changes_nothing(scale, seed):
    image, truth = noise((2, 1, 5, 4), seed)
    for metric in (nrmse, psnr, ssim):
        assert metric(scale * image, scale * truth) == pytest.approx(metric(image, truth))


@given(st.floats(1e-3, 1e3), SEEDS)
def test_a_fitted_factor_undoes_any_scale_and_is_the_best(scale, seed):
    image, truth = noise((2, 1, 5, 4), seed)
    for metric in (nrmse, psnr, ssim):
        assert metric(scale * image, truth, scale="least_squares") == pytest.approx(
            metric(image, truth, scale="least_squares")
        )
    factor = least_squares_factor(image, truth)
    assert nrmse(image, truth, scale="least_squares") == pytest.approx(nrmse(factor * image, truth))
    for other in (0.9, 1.1):
        assert nrmse(other * factor * image, truth) >= nrmse(factor * image, truth)


@given(SEEDS, st.permutations(range(4)))
def test_frames_in_another_order_are_the_same_images(seed, order):
    image, truth = noise((2, 4, 1, 6, 5), seed)
    for metric in (nrmse, psnr, ssim):
        assert metric(image[order], truth[order]) == pytest.approx(metric(image, truth))
        np.testing.assert_allclose(
            per_image(metric, image[order], truth[order]), per_image(metric, image, truth)[order]
        )


def test_per_image_gives_one_value_per_frame_and_contrast():
    images, truth = noise((2, 3, 1, 6, 5)), noise((1, 6, 5), 1)
    coords = dict(GRID.coordinates())
    small = Grid((5, 6, 1), (5e-3, 6e-3, 1e-3))
    coords = small.coordinates()
    both = xr.DataArray(images, coords, ("contrast", *IMAGE_DIMS))
    found = per_image(psnr, both[0], on(small, truth, IMAGE_DIMS[1:]), peak=3.0)
    assert found == pytest.approx([psnr(frame, truth, peak=3.0) for frame in images[0]])
    assert per_image(nrmse, both, both + 1).shape == (2, 3)
    assert per_image(nrmse, truth, 2 * truth) == pytest.approx([0.5])


def test_shapes_must_agree():
    with pytest.raises(ShapeError, match=r"\(2,\) and truth \(3,\)"):
        psnr([1, 2], [1, 2, 3])
    with pytest.raises(ShapeError, match="truth is 0 everywhere"):
        nrmse([1.0], [0.0])
    with pytest.raises(ShapeError, match="no voxels"):
        nrmse([], [])
    with pytest.raises(SettingsError, match=r"scale must be one of .*found 'max'"):
        nrmse([1.0], [1.0], scale="max")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_truth_with_gaps_is_refused(value):
    image, truth = noise((1, *GRID.shape)), noise((1, *GRID.shape), 1)
    truth[0, 0, 0, :3] = value
    for metric in (nrmse, psnr, ssim, least_squares_factor):
        with pytest.raises(ShapeError, match="the truth has 3 of 120 values that are NaN or infinite"):
            metric(image, truth)
    with pytest.raises(ShapeError, match="the image has 3 of 120 values"):
        least_squares_factor(truth, image)


def test_places_must_agree():
    image, truth = on(GRID, noise((2, *GRID.shape))), on(GRID, noise((1, *GRID.shape), 1))
    assert nrmse(image, truth) == nrmse(
        image.values, np.repeat(truth.values, 2, 0)
    )  # one truth for both frames
    assert nrmse(xr.Dataset({"concentration": image}), truth.isel(frame=0)) == nrmse(image, truth)
    assert nrmse(image.transpose("x", "y", "z", "frame"), truth) == nrmse(image, truth)

    tiny = truth.assign_coords(x=truth.x + 1e-7)  # 1e-4 voxels
    assert nrmse(image, tiny) == nrmse(image, truth)
    with pytest.raises(ShapeError, match=r"along x: -4.5 to 6.5 mm and -4.4 to 6.6 mm"):
        nrmse(image, truth.assign_coords(x=truth.x + 1e-4))
    moved = truth.assign_coords(x=truth.x + 1e-3, y=truth.y - 2e-3)
    with pytest.raises(
        ShapeError, match=r"along x: -4.5 to 6.5 mm and -3.5 to 7.5 mm, along y: .* and .* mm; reconstruct"
    ):
        nrmse(image, moved)
    with pytest.raises(ShapeError, match=r"along y: .*; reversed: sort both with sortby\('y'\); reconstruct"):
        nrmse(image, moved.isel(y=slice(None, None, -1)))
    with pytest.raises(ShapeError, match=r"along z: 0 to 0 mm and 2 to 2 mm"):
        nrmse(image, truth.assign_coords(z=truth.z + 2e-3))
    with pytest.raises(ShapeError, match=r"reversed: sort both with sortby\('y'\)"):
        ssim(image, truth.isel(y=slice(None, None, -1)))
    with pytest.raises(
        ShapeError, match=r"\(frame 2, z 1, y 10, x 12\) and reference \(.*x 11\) differ along x; .*on_grid"
    ):
        psnr(image, truth.isel(x=slice(1, None)))
    with pytest.raises(ShapeError, match=r"differ along frame; select frames"):
        psnr(truth, image)
    with pytest.raises(ShapeError, match="no concentration"):
        psnr(xr.Dataset({"signal": ("sample", [1.0])}), truth)
    with pytest.raises(ShapeError, match=r"found also \['sample'\]"):
        psnr(xr.DataArray([1.0], dims="sample"), truth)
    assert misalignment(image, truth) == ""
    with pytest.raises(ShapeError, match="plain arrays"):
        misalignment(image.values, truth)


def test_best_shift_finds_where_the_image_was_moved():
    truth = blob(GRID, 1e-3, 0.0)
    image = blob(GRID, 0.0, 1.5e-3)
    found = best_shift(psnr, image, truth)
    assert found.shift == pytest.approx((1e-3, -1.5e-3, 0))  # whole voxels: exact
    assert found.value > 60 > psnr(image, truth)
    between = best_shift(ssim, blob(GRID, 0.5e-3, 0.5e-3), truth)
    assert between.shift == pytest.approx((0.5e-3, -0.5e-3, 0))
    assert between.value > 0.999
    flipped = best_shift(
        nrmse, image.isel(x=slice(None, None, -1)), truth.isel(x=slice(None, None, -1)), largest=False
    )
    assert flipped.shift == pytest.approx(found.shift)  # metres, whatever the direction of the axis


@given(SEEDS)
def test_a_shift_never_makes_it_worse_and_knows_no_side(seed):
    grid = Grid((5, 4, 1), (5e-3, 4e-3, 1e-3))
    image, truth = (on(grid, v) for v in noise((2, 1, *grid.shape), seed))
    found = best_shift(psnr, image, truth, reach=1e-3, step=0.5e-3)
    assert found.value >= psnr(image, truth) - 1e-9
    mirrored = (on(grid, a.values[..., ::-1]) for a in (image, truth))
    other = best_shift(psnr, *mirrored, reach=1e-3, step=0.5e-3)
    assert other.value == pytest.approx(found.value)
    assert other.shift[0] == pytest.approx(-found.shift[0])


def test_best_shift_of_a_volume():
    values = np.zeros((1, *VOLUME.shape))
    values[0, 3, 4, 4] = 1
    image = on(VOLUME, np.roll(values, (1, -1, 2), (1, 2, 3)))
    found = best_shift(psnr, image, on(VOLUME, values), reach=2e-3, step=1e-3)
    assert found.shift == pytest.approx((-2e-3, 1e-3, -1e-3))


def test_best_shift_says_what_it_needs():
    image = on(GRID, noise((2, *GRID.shape)))
    with pytest.raises(ShapeError, match="2 along frame"):
        best_shift(psnr, image, image)
    with pytest.raises(ShapeError, match="needs positions"):
        best_shift(psnr, image.values, image)
    with pytest.raises(ShapeError, match="no positions along y"):
        best_shift(psnr, image[0].drop_vars("y"), image[0])
    with pytest.raises(SettingsError, match=r"found step 0.01"):
        best_shift(psnr, image[0], image[0], step=0.01)


def test_dip_of_known_lines():
    grid = Grid((9, 3, 1), (9e-3, 3e-3, 1e-3))
    values = np.zeros(grid.shape)
    values[0, 1] = [0, 0, 4, 2, 1, 2, 2, 0, 0]
    image = on(grid, values, IMAGE_DIMS[1:])
    assert dip(image, (-2e-3, 0), (2e-3, 0)) == pytest.approx(0.5)  # valley 1, lower peak 2
    assert dip(image, (2e-3, 0, 0), (-2e-3, 0, 0)) == pytest.approx(0.5)
    assert dip(image.isel(x=slice(None, None, -1)), (-2e-3, 0), (2e-3, 0)) == pytest.approx(0.5)
    assert dip(image, (-4e-3, 0), (2e-3, 0)) == math.inf  # nothing at the first point
    bar = on(grid, np.full(grid.shape, 3.0), IMAGE_DIMS[1:])
    assert dip(bar, (-2e-3, 0), (2e-3, 0)) == pytest.approx(1)
    assert dip(blob(grid, width=2e-3), (-1e-3, 0), (1e-3, 0)) > 1  # merged into one


@pytest.mark.parametrize("distance", [1.0, 2.0, 3.0, 4.0])
def test_dip_of_two_gaussians(distance):
    """In the middle both give exp(−(d/2)²/2), at its own place one gives 1 and the other exp(−d²/2); d in σ."""
    grid, x = Grid((401, 3, 1), (20e-3, 0.3e-3, 1e-3)), distance / 2 * 1e-3
    image = blob(grid, -x, width=1e-3) + blob(grid, x, width=1e-3)
    expected = 2 * np.exp(-(distance**2) / 8) / (1 + np.exp(-(distance**2) / 2))
    if distance < 2.5:  # one hump: the smallest value lies at the ends of the middle half
        edges = np.exp(-((distance / 4) ** 2) / 2) + np.exp(-((distance * 3 / 4) ** 2) / 2)
        expected = min(expected, edges / (1 + np.exp(-(distance**2) / 2)))
    assert dip(image, (-x, 0), (x, 0)) == pytest.approx(expected, abs=2e-3)
    assert bool(expected < 1) is (distance > 2.5)


def test_dip_says_what_it_needs():
    image = on(GRID, noise((2, *GRID.shape)))
    with pytest.raises(ShapeError, match="2 along frame"):
        dip(image, (0, 0), (1e-3, 0))
    with pytest.raises(ShapeError, match=r"voxel centres from -4.5 to 6.5 mm"):
        dip(image[0], (0, 0), (1, 0))
    with pytest.raises(ShapeError, match="coincide"):
        dip(image[0], (0, 0), (0, 0))
    with pytest.raises(ShapeError, match="coordinates z, y, x"):
        dip(image[0].drop_vars("x"), (0, 0), (1e-3, 0))


def problem(n_frames=2, n_rows=30):
    real, imaginary = noise((2, n_rows, GRID.n_voxels))
    operator = SystemMatrix((real + 1j * imaginary).astype(np.complex64), GRID)
    image = on(GRID, np.abs(noise((n_frames, *GRID.shape), 1)).astype(np.float32))
    return SpectralProblem(grid=GRID, rows=operator.forward(image.values), operator=operator), image


def test_residual_of_known_images():
    data, image = problem()
    assert data_residual(image, data) == pytest.approx([0, 0], abs=1e-5)
    assert data_residual(0 * image, data) == pytest.approx([1, 1])
    scaled = image * xr.DataArray([1.5, 0.5], dims="frame")
    assert data_residual(scaled, data) == pytest.approx([0.5, 0.5], rel=1e-5)
    assert data_residual(image.values, data) == pytest.approx([0, 0], abs=1e-5)
    assert data_residual(image.expand_dims("contrast"), data) == pytest.approx([0, 0], abs=1e-5)


def test_residual_needs_the_grid_and_the_frames_of_the_data():
    data, image = problem()
    with pytest.raises(ShapeError, match=r"another grid: .*along x"):
        data_residual(image.assign_coords(x=image.x + 1e-3), data)
    moved = Grid(GRID.size, GRID.field_of_view, (2e-3, 0.0, 0.0))
    assert data_residual(image.assign_coords(x=image.x + 1e-3), data, grid=moved) == pytest.approx(
        [0, 0], abs=1e-5
    )
    with pytest.raises(ShapeError, match="the data have 2 frames; pass the preprocessing"):
        data_residual(image[:1], data)


def test_bootstrap_agrees_with_scipy():
    values = noise(25) + 3
    ours = bootstrap(values, generator=np.random.default_rng(1), n=20_000)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours.mean == values.mean()
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert ours == bootstrap(values, generator=np.random.default_rng(1), n=20_000)
    wider = bootstrap(values, generator=np.random.default_rng(1), n=20_000, level=0.99)
    assert wider.low < ours.low < ours.high < wider.high


def test_bootstrap_covers_the_mean_as_often_as_it_says():
    generator = np.random.default_rng(0)
    intervals = [bootstrap(noise(40, seed), generator=generator, n=500) for seed in range(300)]
    covered = np.mean([low <= 0 <= high for _, low, high in intervals])
    assert 0.89 < covered < 0.98


def test_what_has_no_interval():
    generator = np.random.default_rng(0)
    assert str(bootstrap([3.0], generator=generator)) == "Interval(mean=3.0, low=nan, high=nan)"
    assert bootstrap([1.0, math.inf], generator=generator).mean == math.inf
    with pytest.raises(ShapeError, match="no values"):
        bootstrap([], generator=generator)
    with pytest.raises(SettingsError, match="found 95"):
        bootstrap([1.0, 2.0], generator=generator, level=95)
