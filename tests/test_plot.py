import numpy as np
import pytest
import xarray as xr

from mpibridge import plot
from mpibridge.errors import ShapeError
from mpibridge.model import IMAGE_DIMS, Grid

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
    }
    figure = plot.image(picture(**made))
    assert figure.get_suptitle() == "kaczmarz (iterations=3)"
    assert "concentration\n(units of the delta sample)" in [axis.get_ylabel() for axis in figure.axes]


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


def test_first_of_several_contrasts_is_shown():
    both = xr.concat([picture()["concentration"], 2 * picture()["concentration"]], "contrast")
    (axis,) = panels(plot.image(both))
    assert axis.images[0].get_array().max() == 11


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
