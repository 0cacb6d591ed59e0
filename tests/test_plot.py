import numpy as np
import pandas
import pytest
import xarray as xr

import mpibridge.accessor  # noqa: F401 - registers Dataset.mpi
from mpibridge import plot, simulate
from mpibridge.calibration import Rows, system_matrix_rows
from mpibridge.errors import FileError, SettingsError, ShapeError
from mpibridge.mdf.header import Header
from mpibridge.model import IMAGE_DIMS, Grid
from mpibridge.preprocessing import Preprocessing
from mpibridge.signals import spectra, time_signals

GRID = Grid((4, 3, 1), (8e-3, 9e-3, 1e-3), (1e-3, 0.0, 0.0))


def picture(grid=GRID, n_frames=1, **attrs):
    values = np.arange(n_frames * grid.n_voxels, dtype=np.float32).reshape(n_frames, *grid.shape)
    return xr.Dataset({"concentration": (IMAGE_DIMS, values)}, grid.coordinates(), attrs)


def panels(figure):
    return [axis for axis in figure.axes if axis.images and axis.get_xlabel()]


def test_axes_are_millimetres_with_the_outer_half_voxels_and_y_up():
    (axis,) = panels(plot.image(picture()))
    (shown,) = axis.images
    np.testing.assert_allclose(shown.get_extent(), [-3, 5, -4.5, 4.5])
    assert shown.origin == "lower"
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("x (mm)", "y (mm)")
    np.testing.assert_array_equal(shown.get_array(), np.arange(12).reshape(3, 4))


def test_colour_bar_has_the_unit_and_title_the_provenance():
    made = {
        "/reconstruction/_mpibridge/plugin": "kaczmarz",
        "/reconstruction/_mpibridge/settings": '{"iterations": 3}',
        "kind": "reconstruction",
    }
    figure = plot.image(picture(**made))
    assert figure.get_suptitle() == "kaczmarz (iterations=3)"
    assert "concentration\n(units of the delta sample)" in labels(figure)


def labels(figure):
    return [axis.get_ylabel() for axis in figure.axes]


def test_colour_bar_claims_no_unit_that_nobody_stated():
    bare = picture()["concentration"]
    for figure in (
        plot.image(bare),
        plot.compare({"bare": bare}),
        plot.slices(picture(VOLUME)["concentration"]),
    ):
        assert "concentration" in labels(figure)
    mixed = plot.compare({"bare": bare, "iron": bare.assign_attrs(units="mmol/l")})
    assert "concentration\n(mmol/l)" in labels(mixed)


def test_frames_slices_and_reference():
    assert len(panels(plot.image(picture(n_frames=3)))) == 3
    assert len(panels(plot.image(picture(n_frames=40)))) == plot.MAX_PANELS
    assert len(panels(plot.image(picture(n_frames=3), frame=1))) == 1
    volume = plot.image(picture(Grid((4, 3, 2), (8e-3, 9e-3, 4e-3)), n_frames=3), frame=2)
    assert [axis.get_title() for axis in panels(volume)] == ["z = -1.0 mm", "z = 1.0 mm"]
    with_reference = panels(plot.image(picture(), reference=10 * picture()["concentration"]))
    assert [axis.get_title() for axis in with_reference] == ["reference", ""]
    limits = {axis.images[0].get_clim() for axis in with_reference}
    assert limits == {(0.0, 110.0)}  # the same colours in both


def test_compare_takes_pictures_on_different_grids():
    fine = Grid((8, 6, 1), GRID.field_of_view, GRID.center)
    axes = panels(plot.compare({"phantom": picture(fine)["concentration"], "kaczmarz": picture()}))
    assert [axis.get_title() for axis in axes] == ["phantom", "kaczmarz"]
    np.testing.assert_allclose(axes[0].images[0].get_extent(), axes[1].images[0].get_extent())


def test_several_contrasts_are_named_and_chosen():
    one = picture()["concentration"]
    both = xr.concat([one, 2 * one], "contrast")
    deep = xr.concat([picture(VOLUME), 2 * picture(VOLUME)], "contrast")
    for contrast in (0, 1):
        named = f"contrast {contrast} (of 0 to 1)"
        for figure in (plot.image(both, contrast=contrast), plot.compare({"a": both}, contrast=contrast)):
            (axis,) = panels(figure)
            assert axis.images[0].get_array().max() == 11 * (1 + contrast)
            assert figure.get_suptitle() == named
        figure = plot.slices(deep, contrast=contrast)
        assert panels(figure)[0].images[0].get_array().max() == 119 * (1 + contrast)
        assert figure.get_suptitle() == named
    made = {"/reconstruction/_mpibridge/plugin": "kaczmarz", "/reconstruction/_mpibridge/settings": "{}"}
    assert (
        plot.image(both.to_dataset(name="concentration").assign_attrs(made))
        .get_suptitle()
        .endswith(", contrast 0 (of 0 to 1)")
    )
    assert plot.image(both, title="mine").get_suptitle() == "mine"
    # what has one contrast is shown beside each of the others
    for figure in (plot.compare({"one": one, "both": both}, contrast=1), plot.image(both, one, contrast=1)):
        assert [axis.images[0].get_array().max() for axis in panels(figure)] == [11, 22]
    assert plot.image(one).get_suptitle() == ""
    for draw in (
        lambda: plot.image(both, contrast=2),
        lambda: plot.slices(deep, contrast=-1),
        lambda: plot.compare({"one": one, "both": both}, contrast=2),
    ):
        with pytest.raises(ShapeError, match=r"contrast (2|-1) is asked for, the image has 2"):
            draw()


def test_saved_without_a_display(tmp_path):
    path = tmp_path / "image.png"
    plot.image(picture()).savefig(path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_shown():
    with pytest.raises(ShapeError, match="no concentration"):
        plot.image(xr.Dataset({"signal": ("sample", [1.0])}))
    with pytest.raises(ShapeError, match="frame 1 is asked for, the image has 1"):
        plot.image(picture(), frame=1)
    with pytest.raises(ShapeError, match="no picture"):
        plot.compare({})


VOLUME = Grid((6, 5, 4), (12e-3, 10e-3, 4e-3), (0.0, 1e-3, 2e-3))


@pytest.fixture
def volume():
    """One bright voxel at x = 3, y = -1, z = 2.5 mm."""
    made = picture(VOLUME) * 0
    made["concentration"][{"frame": 0, "x": 4, "y": 1, "z": 2}] = 2.0
    return made


def test_slices_go_through_the_largest_value(volume):
    axes = panels(plot.slices(volume))
    assert [axis.get_title() for axis in axes] == ["z = 2.5 mm", "x = 3.0 mm", "y = -1.0 mm"]
    assert [(axis.get_xlabel(), axis.get_ylabel()) for axis in axes] == [
        ("x (mm)", "y (mm)"),
        ("z (mm)", "y (mm)"),
        ("x (mm)", "z (mm)"),
    ]
    for axis in axes:
        (shown,) = axis.images
        assert shown.get_array().max() == 2
        assert shown.get_clim() == (0, 2)
        horizontal, vertical = axis.get_lines()  # the crosshair goes through the bright voxel
        left, right, bottom, top = shown.get_extent()
        row, column = np.unravel_index(shown.get_array().argmax(), shown.get_array().shape)
        height, width = shown.get_array().shape
        assert vertical.get_xdata()[0] == pytest.approx(left + (right - left) * (column + 0.5) / width)
        assert horizontal.get_ydata()[0] == pytest.approx(bottom + (top - bottom) * (row + 0.5) / height)


def test_slices_through_a_position(volume):
    axes = panels(plot.slices(volume, position=(-5e-3, 5e-3, 0.6e-3)))
    assert [axis.get_title() for axis in axes] == ["z = 0.5 mm", "x = -5.0 mm", "y = 5.0 mm"]
    assert {axis.images[0].get_array().max() for axis in axes} == {0}
    with pytest.raises(ShapeError, match=r"position x = 7 mm lies outside the image, -6 to 6 mm"):
        plot.slices(volume, position=(7e-3, 0, 0))
    with pytest.raises(ShapeError, match=r"need a volume.*plot\.image"):
        plot.slices(picture())
    with pytest.raises(ShapeError, match="frame 3 is asked for, the image has 1"):
        plot.slices(volume, frame=3)


@pytest.fixture(scope="module")
def recordings():
    generator = np.random.default_rng(0)
    grid = Grid((5, 4, 1), (20e-3, 16e-3, 1e-3))
    calibration = simulate.calibration("openmpi-2d", grid, generator=generator)
    scan = simulate.scan(
        simulate.phantom(grid), "openmpi-2d", generator=generator, n_frames=3, n_background=2
    )
    return calibration, scan


def curves(axis):
    return {line.get_label(): line.get_xydata() for line in axis.get_lines()}


def test_spectrum_is_the_mean_magnitude_beside_the_background(recordings):
    _, scan = recordings
    figure = plot.spectrum(scan, mixing_order=3, max_frequency=300e3)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["receiver 0", "receiver 1"]
    assert (figure.axes[1].get_xlabel(), figure.axes[1].get_ylabel()) == ("frequency (kHz)", "|û| (V)")
    assert figure.axes[1].get_xlim() == (0, 300)
    wanted = spectra(scan)
    empty = scan.assign_coords(is_background=~scan["is_background"])
    for receiver, axis in enumerate(figure.axes):
        shown = curves(axis)
        np.testing.assert_allclose(shown["foreground, 3 frames"][:, 0], wanted["frequency"] / 1e3)
        for label, values in (("foreground, 3 frames", wanted), ("background, 2 frames", spectra(empty))):
            mean = np.abs(values.values[:, 0, receiver]).mean(0)
            np.testing.assert_allclose(shown[label][:, 1], mean, rtol=1e-5)
        orders = Header(scan.attrs).mixing_orders[:, 3]
        assert len(shown["mixing order ≤ 3"]) == ((orders >= 0) & (orders <= 3)).sum()
    assert len(plot.spectrum(scan, receivers=[1]).axes) == 1
    with pytest.raises(SettingsError, match=r"receivers must be some of the 2 .* found \[2\]"):
        plot.spectrum(scan, receivers=[2])


def test_signal_is_one_period_in_volts(recordings):
    _, scan = recordings
    figure = plot.signal(scan, frame=1)
    (line,) = figure.axes[1].get_lines()
    wanted = time_signals(scan).values[1, 0, 1]
    np.testing.assert_allclose(line.get_ydata(), wanted)
    np.testing.assert_allclose(line.get_xdata(), 1e6 * scan["time_in_period"])
    assert figure.axes[1].get_xlabel() == "time (µs)"
    with pytest.raises(SettingsError, match="period 1 is asked for, a frame has 1"):
        plot.signal(scan, period=1)


def test_snr_over_frequency(recordings):
    calibration, _ = recordings
    figure = plot.snr(calibration, threshold=5)
    for axis, wanted in zip(figure.axes, calibration["snr"].values[0], strict=True):
        assert axis.get_yscale() == "log"
        ratio, line = axis.get_lines()
        np.testing.assert_array_equal(ratio.get_ydata(), wanted)
        assert line.get_label() == f"{(wanted >= 5).sum()} of 817 bins reach 5"


def test_snr_over_mixing_factors(recordings):
    calibration, _ = recordings
    (axis, *_) = panels(plot.snr_map(calibration, max_order=10))
    (shown,) = axis.images
    table = Header(calibration.attrs).mixing_orders
    (where,) = np.flatnonzero((table[:, :3] == (2, 1, 0)).all(axis=1))  # the bin of 2 fx + fy
    assert shown.get_array()[10 + 1, 10 + 2] == pytest.approx(calibration["snr"].values[0, 0, where])
    assert shown.get_extent() == [-10.5, 10.5, -10.5, 10.5]
    line = Grid((5, 1, 1), (20e-3, 1e-3, 1e-3))
    one = simulate.calibration("openmpi-1d", line, generator=np.random.default_rng(1))
    with pytest.raises(SettingsError, match=r"two drive fields, the header says 1; draw plot\.snr"):
        plot.snr_map(one)


def test_rows_of_the_system_matrix(recordings):
    calibration, _ = recordings
    figure = plot.system_matrix(calibration, 2)
    magnitudes, phases = panels(figure)[:2], panels(figure)[2:]
    ratio = calibration["snr"].values[0]
    receiver, where = np.unravel_index(ratio.argmax(), ratio.shape)
    frequency = calibration["frequency"].values[where]
    title = magnitudes[0].get_title()
    assert title.startswith(f"{frequency / 1e3:.2f} kHz, receiver {receiver}\nm = (")
    assert title.endswith(f"SNR {ratio.max():.0f}")
    rows = Rows(np.array([where]), np.array([receiver]))
    wanted = system_matrix_rows(calibration, rows, Preprocessing(system_matrix_background=True)).values[0, 0]
    shown = magnitudes[0].images[0].get_array()
    np.testing.assert_allclose(shown, np.abs(wanted) / np.abs(wanted).max(), rtol=1e-5)
    np.testing.assert_allclose(phases[0].images[0].get_array(), np.angle(wanted), rtol=1e-5)
    with pytest.raises(SettingsError, match="rows must be 1 to 8, found 9"):
        plot.system_matrix(calibration, 9)
    bare = calibration.drop_vars(["snr", "background", "background_acquisition_index"])
    strongest = np.abs(calibration["system_matrix"].values).max(axis=(0, 3, 4, 5))
    frequency = calibration["frequency"].values[strongest.max(axis=0).argmax()]
    assert panels(plot.system_matrix(bare, 1))[0].get_title().startswith(f"{frequency / 1e3:.2f} kHz")


def test_training_curves(tmp_path):
    nan = np.nan
    history = {
        "step": [0, 1, 2, 3],
        "loss": [1.0, 0.5, 0.3, 0.2],
        "validation_loss": [nan, 0.6, nan, 0.7],
        "learning_rate": [1e-3, 1e-3, 1e-4, 1e-4],
    }
    pandas.DataFrame(history).to_csv(tmp_path / "history.csv", index=False)
    for given in (history, pandas.DataFrame(history), tmp_path / "history.csv"):
        above, below = plot.training(given).axes
        shown = curves(above)
        np.testing.assert_array_equal(shown["loss"], np.transpose([history["step"], history["loss"]]))
        np.testing.assert_array_equal(shown["validation loss"], [[1, 0.6], [3, 0.7]])
        assert "best: 0.6 at step 1" in shown
        assert (above.get_yscale(), below.get_xlabel()) == ("log", "step")
    (only,) = plot.training({"step": [0, 1], "loss": [1.0, -1.0]}).axes
    assert only.get_yscale() == "linear"
    with pytest.raises(ShapeError, match=r"columns \['epoch', 'loss'\]; step and loss"):
        plot.training({"epoch": [0], "loss": [1.0]})
    with pytest.raises(ShapeError, match=r"different lengths: {'step': 2, 'loss': 1}"):
        plot.training({"step": [0, 1], "loss": [1.0]})
    with pytest.raises(FileError, match=r"nowhere\.csv"):
        plot.training(tmp_path / "nowhere.csv")


def test_draw_takes_what_fits(recordings, volume):
    calibration, scan = recordings
    assert plot.draw(scan).axes[0].get_ylabel() == "|û| (V)"
    assert plot.draw(scan, "signal", frame=2).axes[0].get_ylabel() == "u (V)"
    assert plot.draw(calibration).axes[0].get_ylabel() == "SNR"
    assert len(panels(plot.draw(volume))) == 4
    assert len(panels(plot.draw(volume, "slices"))) == 3
    with pytest.raises(SettingsError, match="view must be one of image, slices here, found 'snr'"):
        plot.draw(volume, "snr")
    with pytest.raises(SettingsError, match=r"frames: plot\.image knows reference, frame, contrast, title"):
        plot.draw(volume, frames=3)
    with pytest.raises(ShapeError, match=r"holds \['a'\], none of"):
        plot.draw(xr.Dataset({"a": 1}))


def test_the_same_pictures_from_the_dataset(recordings, volume):
    calibration, scan = recordings
    assert scan.mpi.plot().axes[0].get_ylabel() == "|û| (V)"
    assert calibration.mpi.plot("snr", threshold=5).axes[0].get_ylabel() == "SNR"
    axes = panels(volume.mpi.plot_slices(position=(-5e-3, 5e-3, 0.5e-3)))
    assert axes[0].get_title() == "z = 0.5 mm"


def test_a_line_of_voxels_fills_its_panel():
    (axis,) = panels(plot.image(picture(Grid((4, 1, 1), (8e-3, 1e-3, 1e-3), (0.0, 5e-3, 0.0)))))
    assert axis.get_aspect() == "auto"
    np.testing.assert_allclose(axis.get_yticks(), [5])
