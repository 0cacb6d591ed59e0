import math
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import mpibridge as mb
from mpibridge import metrics
from mpibridge.cli import app
from mpibridge.comparison.pictures import named
from mpibridge.errors import MDFError, SettingsError, ShapeError
from mpibridge.model import IMAGE_DIMS, Grid
from mpibridge.preprocessing import Preprocessing
from mpibridge.problems import spectral_problem

GRID = Grid((9, 8, 1), (18e-3, 16e-3, 1e-3))
OTHER = Grid((7, 8, 1), (14e-3, 16e-3, 1e-3))
SELECTION = Preprocessing(averages=5, background="mean", system_matrix_background=True, min_frequency=80e3)


def picture(seed=0, n_frames=4, grid=GRID, noise=0.1, factor=1.0, **attrs):
    """A blob with noise of its own in every frame."""
    x, y = grid.axis("x")[None, :], grid.axis("y")[:, None]
    blob = np.exp(-(x**2 + y**2) / (2 * 4e-3**2)) * np.ones(grid.shape)
    values = blob + noise * np.random.default_rng(seed).standard_normal((n_frames, *grid.shape))
    made = {"kind": "reconstruction", **grid.attributes(), **attrs}
    variables = {"concentration": (IMAGE_DIMS, (factor * values).astype(np.float32), {"units": "1"})}
    return xr.Dataset(variables, {**grid.coordinates(), "time": ("frame", 0.5 * np.arange(n_frames))}, made)


TRUTH = picture(n_frames=1, noise=0)


def test_table_is_that_of_the_metrics():
    a, b = picture(1, n_frames=12), picture(2, n_frames=12, noise=0.2)
    found = mb.compare({"a": a, "b": b}, reference=TRUTH)
    for name, image in (("a", a), ("b", b)):
        for label, metric in (("NRMSE", metrics.nrmse), ("PSNR (dB)", metrics.psnr), ("SSIM", metrics.ssim)):
            row = found.table.loc[name]
            assert row[label] == pytest.approx(metrics.per_image(metric, image, TRUTH).mean())
            assert row[f"{label} 95 % low"] < row[label] < row[f"{label} 95 % high"]
        assert row["maximum (delta samples)"] == pytest.approx(float(image.concentration.max()))
        assert row["mean (delta samples)"] == pytest.approx(float(image.concentration.mean()), rel=1e-5)
    assert found.table["NRMSE"]["a"] < found.table["NRMSE"]["b"]
    again = mb.compare({"a": a, "b": b}, reference=TRUTH).table
    assert again.equals(found.table)
    other = mb.compare({"a": a, "b": b}, reference=TRUTH, seed=1).table
    assert other["NRMSE"].equals(again["NRMSE"])
    assert not other["NRMSE 95 % low"].equals(again["NRMSE 95 % low"])
    assert any("peak = max |reference|" in note and "window of 7" in note for note in found.notes)
    assert "Images are compared as they are; nothing is scaled." in found.notes


def test_one_frame_has_no_interval():
    found = mb.compare({"a": picture(n_frames=1)}, reference=TRUTH)
    assert list(found.table.columns) == [
        *("NRMSE", "PSNR (dB)", "SSIM", "maximum (delta samples)", "mean (delta samples)")
    ]


def test_another_grid_has_empty_cells_and_a_reason():
    found = mb.compare({"a": picture(), "far": picture(grid=OTHER)}, reference=TRUTH)
    row = found.table.loc["far"]
    assert row[["NRMSE", "PSNR (dB)", "SSIM"]].isna().all()
    assert row["maximum (delta samples)"] > 0
    (reason,) = [note for note in found.notes if note.startswith("far: ")]
    assert "no NRMSE, PSNR (dB), SSIM" in reason
    assert "differ along x" in reason
    assert found.table.loc["a"].notna().all()
    columns, rows = found.cells()
    assert rows[1][columns.index("NRMSE")] == ""


def test_least_squares_scaling_is_done_when_asked_and_stated():
    images = {"a": picture(1), "half": picture(1, factor=0.5)}
    plain = mb.compare(images, reference=TRUTH)
    assert plain.table["NRMSE"]["half"] > plain.table["NRMSE"]["a"] + 0.1
    fitted = mb.compare(images, reference=TRUTH, scale="least_squares")
    assert fitted.table["NRMSE"]["half"] == pytest.approx(fitted.table["NRMSE"]["a"], rel=1e-5)
    assert fitted.table["factor"]["half"] == pytest.approx(2 * fitted.table["factor"]["a"], rel=1e-5)
    assert fitted.table["factor"]["a"] == pytest.approx(metrics.least_squares_factor(images["a"], TRUTH))
    assert any("multiplied by its factor" in note for note in fitted.notes)
    assert fitted.table["maximum (delta samples)"].equals(plain.table["maximum (delta samples)"])
    empty = mb.compare({"empty": 0 * picture()}, reference=TRUTH, scale="least_squares")
    assert empty.factors == {"empty": 1.0}
    assert any(note.startswith("empty: not scaled. The image is 0") for note in empty.notes)


def test_best_shift_stands_beside_the_plain_value():
    moved = picture(noise=0, n_frames=2).roll(x=1, roll_coords=False)
    found = mb.compare({"moved": moved}, reference=TRUTH, max_shift=2e-3).table.loc["moved"]
    assert found["PSNR (dB), best shift"] > found["PSNR (dB)"] + 3
    assert found["largest shift (mm)"] == pytest.approx(2)
    one = moved.isel(frame=0)
    assert found["SSIM, best shift"] == pytest.approx(
        metrics.best_shift(metrics.ssim, one, TRUTH, reach=2e-3).value
    )


def test_without_reference_differences_are_to_the_first():
    found = mb.compare({"first": picture(1), "twice": 2 * picture(1)})
    assert found.table["difference to first (relative)"].tolist() == pytest.approx([0, 1])
    assert "NRMSE" not in found.table
    assert any("no reference" in note for note in found.notes)
    assert "difference to first (relative)" not in mb.compare({"first": picture(1)}).table


def test_several_contrasts_are_averaged():
    both = xr.concat([picture(1), picture(2)], "contrast")
    truth = xr.concat([TRUTH, TRUTH], "contrast")
    found = mb.compare({"both": both}, reference=truth).table
    expected = metrics.per_image(metrics.nrmse, both, truth)
    assert expected.shape == (2, 4)
    assert found["NRMSE"]["both"] == pytest.approx(expected.mean())


def test_units_that_differ_and_values_that_are_no_numbers_are_noted():
    broken = picture()
    broken["concentration"][0, 0, 0, 0] = np.nan
    iron = picture()
    iron["concentration"].attrs["units"] = "mmol/l"
    bare = picture()["concentration"].drop_attrs()
    found = mb.compare({"broken": broken, "iron": iron, "bare": bare}, reference=TRUTH)
    assert "Units differ: broken in delta samples, iron in mmol/l, bare not stated." in found.notes
    assert "broken: 1 values are not finite." in found.notes
    assert "maximum" in found.table
    assert math.isnan(found.table["NRMSE"]["broken"])


def test_no_unit_is_claimed_of_arrays_that_state_none(tmp_path):
    bare = picture()["concentration"].drop_attrs()
    found = mb.compare({"bare": bare}, reference=TRUTH)
    assert "maximum" in found.table
    assert not any("delta" in text for text in (*found.table.columns, *found.notes))
    assert "concentration\n(mmol" not in str([axis.get_ylabel() for axis in found.plot().axes])
    mb.save(tmp_path / "image.mdf", picture())  # MDF has no field for the unit
    assert "maximum (delta samples)" in mb.compare([tmp_path / "image.mdf"]).table


def test_a_reference_with_gaps_is_said_once_with_its_reason():
    truth = TRUTH.copy(deep=True)
    truth["concentration"][0, 0, 0, :2] = np.nan
    images = {"a": picture(1), "b": picture(2)}
    found = mb.compare(images, reference=truth, scale="least_squares", max_shift=1e-3)
    assert found.table[["NRMSE", "PSNR (dB)", "SSIM"]].isna().all(axis=None)
    assert found.factors == {"a": 1.0, "b": 1.0}
    reasons = [note for note in found.notes if "NaN" in note]
    assert [note.split(".")[0] for note in reasons] == [
        *("reference: no image is scaled to it", "reference: no NRMSE, PSNR (dB), SSIM of any image")
    ]
    assert all("It has 2 of 72 values that are NaN or infinite" in note for note in reasons)
    assert not any("constant" in note for note in found.notes)
    first = mb.compare({"first": truth, "second": picture(1)})
    assert any(
        note.startswith("first: no difference to first (relative) of any image.") for note in first.notes
    )


def test_positions_are_ignored_when_asked_and_by_how_much_is_said():
    image = picture(1)
    moved = image.assign_coords(x=image.x + 0.5e-3, y=image.y - 1e-3).assign_attrs(
        grid_center=[5e-4, -1e-3, 0]
    )
    plain = mb.compare({"image": image, "moved": moved}, reference=TRUTH)
    assert math.isnan(plain.table["NRMSE"]["moved"])
    (reason,) = [note for note in plain.notes if note.startswith("moved: ")]
    assert "along x: -7.5 to 8.5 mm and -8 to 8 mm, along y: -8 to 6 mm and -7 to 7 mm; reconstruct" in reason
    assert 'align="voxels" (--align voxels)' in reason

    found = mb.compare(
        {"image": image, "moved": moved}, reference=TRUTH, align="voxels", scale="least_squares"
    )
    assert found.table.loc["moved"].equals(found.table.loc["image"])
    assert [note for note in found.notes if "positions" in note] == [
        "moved: compared voxel by voxel with reference, its positions are ignored. "
        "They differ by x 0.5 mm, y -1 mm, z 0 mm."
    ]
    assert found.images["moved"].x.equals(TRUTH.x)
    assert found.images["moved"].attrs["grid_center"] == TRUTH.attrs["grid_center"]
    assert moved.x[0] == pytest.approx(-7.5e-3)  # the image that was given stays as it was

    wider = image.assign_coords(x=2 * image.x)
    notes = mb.compare({"wider": wider}, reference=TRUTH, align="voxels").notes
    assert any("x -8 to 8 mm, y 0 mm, z 0 mm" in note for note in notes)


def test_voxels_that_do_not_belong_together_are_refused_with_any_alignment():
    backwards = picture().isel(x=slice(None, None, -1))
    for image, reason in (
        (picture(grid=OTHER), "differ along x"),
        (backwards, r"sort both with sortby('x')"),
    ):
        for align in ("positions", "voxels"):
            found = mb.compare({"image": image}, reference=TRUTH, align=align)
            assert math.isnan(found.table["NRMSE"]["image"])
            (note,) = [note for note in found.notes if note.startswith("image: ")]
            assert reason in note
            assert "align=" not in note
    with pytest.raises(SettingsError, match=r"align must be one of \('positions', 'voxels'\), found 'voxel'"):
        mb.compare({"a": picture()}, align="voxel")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A folder with a scan, its calibration, the truth and two reconstructions, as files."""
    folder = tmp_path_factory.mktemp("recorded")
    grid, generator = Grid((7, 5, 1), (21e-3, 20e-3, 1e-3)), np.random.default_rng(5)
    phantom = mb.simulate.phantom(grid)
    mb.save(folder / "calibration.mdf", mb.simulate.calibration("openmpi-2d", grid, generator=generator))
    mb.save(folder / "scan.mdf", mb.simulate.scan(phantom, "openmpi-2d", generator=generator))
    scan = mb.open(folder / "scan.mdf", system_matrix=folder / "calibration.mdf")
    for iterations in (1, 20):
        image = mb.reconstruct(scan, preprocessing=SELECTION, iterations=iterations, regularization=1e-3)
        mb.save(folder / f"sweeps{iterations}.mdf", image)
    truth = image.isel(frame=[0], drop=True)
    truth["concentration"] = truth["concentration"].copy(data=mb.simulate.on_grid(phantom, grid).values[None])
    mb.save(folder / "truth.mdf", truth)
    return folder


def test_files_are_compared_with_the_data_they_explain(recorded):
    scan = mb.open(recorded / "scan.mdf", system_matrix=recorded / "calibration.mdf")
    files = [recorded / "sweeps1.mdf", recorded / "sweeps20.mdf"]
    found = mb.compare(files, reference=recorded / "truth.mdf", scan=scan, preprocessing=SELECTION)
    assert list(found.table.index) == ["sweeps1", "sweeps20"]
    problem = spectral_problem(scan, [mb.open(recorded / "calibration.mdf")], SELECTION)
    for name, path in zip(found.table.index, files, strict=True):
        expected = metrics.data_residual(mb.open(path), problem).mean()
        assert found.table["data residual"][name] == pytest.approx(expected)
    assert found.table["data residual"]["sweeps20"] < found.table["data residual"]["sweeps1"] < 1
    assert (found.table["time (s)"] > 0).all()
    assert not any("another preprocessing" in note for note in found.notes)


def test_residual_that_cannot_be_said_has_a_reason(recorded):
    scan = mb.open(recorded / "scan.mdf", system_matrix=recorded / "calibration.mdf")
    image = mb.open(recorded / "sweeps20.mdf")
    moved = image.assign_coords(x=image.x + 1e-3)
    found = mb.compare({"image": image, "moved": moved}, scan=scan, preprocessing=SELECTION)
    assert math.isnan(found.table["data residual"]["moved"])
    assert any(
        note.startswith("moved: no data residual. The data are those of another grid") for note in found.notes
    )
    assert any("along x" in note and "--align voxels" in note for note in found.notes)
    voxels = mb.compare({"image": image, "moved": moved}, scan=scan, preprocessing=SELECTION, align="voxels")
    assert voxels.table["data residual"]["moved"] == pytest.approx(voxels.table["data residual"]["image"])
    assert (
        "moved: the data residual is taken voxel by voxel, the positions of the image are ignored. "
        "They differ from those of the calibration by x 1 mm, y 0 mm, z 0 mm."
    ) in voxels.notes
    with pytest.raises(
        SettingsError, match=r"needs the system matrix .*system_matrix=….*command line, -s FILE"
    ):
        mb.compare({"image": image}, scan=recorded / "scan.mdf")
    averaged = mb.compare({"image": image}, scan=scan, preprocessing=Preprocessing(averages=10))
    assert any("the data have 1 frames; pass the preprocessing" in note for note in averaged.notes)
    assert any("background mean, not default" in note for note in averaged.notes)


def test_reconstructions_of_other_software(shared):
    golden = shared / "golden" / "single-patch" / "reconstruction_mpireco.mdf"
    found = mb.compare({"MPIReco.jl": golden, "ours": mb.open(golden)})
    assert found.table["difference to MPIReco.jl (relative)"].tolist() == [0, 0]


def test_an_image_of_mpireco_beside_ours(shared):
    """MPIReco.jl writes the field of view's centre as 0; the calibration's is (0.5, -1) mm."""
    folder = shared / "golden" / "single-patch"
    scan = mb.open(folder / "measurement.mdf", system_matrix=folder / "calibration.mdf")
    ours = mb.reconstruct(scan, iterations=3, regularization=0.01)
    theirs = mb.open(folder / "reconstruction_mpireco.mdf").isel(frame=slice(ours.sizes["frame"]))
    label = "difference to ours (relative)"
    refused = mb.compare({"ours": ours, "theirs": theirs})
    assert math.isnan(refused.table[label]["theirs"])
    (reason,) = [note for note in refused.notes if note.startswith("theirs: ")]
    assert "along x" in reason
    assert "along y" in reason
    found = mb.compare({"ours": ours, "theirs": theirs}, align="voxels")
    assert found.table[label]["theirs"] == pytest.approx(
        metrics.per_image(metrics.nrmse, theirs.concentration.values, ours.concentration.values).mean()
    )
    assert any("They differ by x -0.5 mm, y 1 mm, z 0 mm" in note for note in found.notes)


def test_files_of_the_same_name_keep_their_folder(recorded, tmp_path):
    (tmp_path / "other").mkdir()
    copy = tmp_path / "other" / "sweeps1.mdf"
    copy.write_bytes((recorded / "sweeps1.mdf").read_bytes())
    found = mb.compare([recorded / "sweeps1.mdf", copy])
    assert list(found.table.index) == [f"{recorded.name}/sweeps1", "other/sweeps1"]
    with pytest.raises(SettingsError, match=r"sweeps1\.mdf' occurs twice; .*--names.*compare\({"):
        mb.compare([copy, tmp_path / "other" / ".." / "other" / "sweeps1.mdf"])


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a.mdf", "b.mdf"], ["a", "b"]),
        (["a.mdf", "d2/a.mdf"], ["here/a", "d2/a"]),
        (["a.mdf", "./../here/d2/a.mdf", "b.mdf"], ["here/a", "d2/a", "b"]),
        (["p/one/a.mdf", "q/one/a.mdf", "q/two/a.mdf"], ["p/one/a", "q/one/a", "two/a"]),
        (["a.mdf", "a.h5"], ["a.mdf", "a.h5"]),
        (["/a.mdf", "/d/a.mdf"], ["/a", "d/a"]),
    ],
)
def test_names_are_the_shortest_that_differ(paths, names, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert list(named(paths)) == names


def test_the_same_file_twice_can_be_compared_by_name(recorded):
    path = recorded / "sweeps1.mdf"
    assert "occurs twice" in call(path, path, code=1)[1]
    out, _ = call(path, path, "--names", "one,two")
    assert [line.split()[:2] for line in out.splitlines()[1:3]] == [["one", "0"], ["two", "0"]]


def test_what_cannot_be_compared(recorded):
    for images, error, message in (
        ({}, SettingsError, "no image to compare"),
        ([picture()], SettingsError, "pass images by name"),
        ("a.mdf", SettingsError, "pass images by name"),
        ({"scan": recorded / "scan.mdf"}, SettingsError, "'scan' is a file of a measurement"),
        ({"a": recorded / "nothing.mdf"}, MDFError, "nothing.mdf"),
        ({"a": 3}, SettingsError, "'a' is a int"),
        ({"a": picture().concentration[0, 0]}, ShapeError, "is missing"),
        ({"a": 1j * picture()}, ShapeError, "complex"),
        ({"a": xr.Dataset({"signal": ("sample", [1.0])})}, ShapeError, "no concentration"),
        ({"a": picture().isel(x=slice(0))}, ShapeError, "no voxels"),
    ):
        with pytest.raises(error, match=message):
            mb.compare(images)
    with pytest.raises(SettingsError, match="scale must be one of"):
        mb.compare({"a": picture()}, scale="maximum")
    with pytest.raises(SettingsError, match="in metres, found 3"):
        mb.compare({"a": picture()}, reference=TRUTH, max_shift=3)
    with pytest.raises(SettingsError, match="called 'reference' as well"):
        mb.compare({"reference": picture()}, reference=TRUTH)
    with pytest.raises(SettingsError, match="pass scan="):
        mb.compare({"a": picture()}, system_matrix=recorded / "calibration.mdf")


def test_texts(capsys):
    import rich

    found = mb.compare({"50 % [bold]_&<b>": picture(1), "b": picture(grid=OTHER)}, reference=TRUTH)
    value = f"{found.table['NRMSE'].iloc[0]:.4g}"
    for text in (repr(found), found.to_latex(), found._repr_html_()):
        assert value in text
    assert "50 % [bold]_&<b>" in repr(found)
    latex = found.to_latex()
    assert r"50 \% [bold]\_\&<b> & " + value in latex
    assert latex.count(r"\\") == 3
    assert r"\begin{tabular}{lrrrrr}" in latex
    assert all(line.startswith("% ") for line in latex.split(r"\begin{tabular}")[0].splitlines())
    assert "50 % [bold]_&amp;&lt;b&gt;" in found._repr_html_()
    rich.get_console().width = 200
    rich.print(found.to_rich())
    printed = capsys.readouterr().out
    assert "50 % [bold]_&<b>" in printed
    assert value in printed
    assert "differ along x" in printed.replace("\n", " ")


def test_plot_of_several_contrasts_names_the_one_it_shows():
    both = xr.concat([picture(noise=0), picture(noise=0, factor=3)], "contrast", combine_attrs="override")
    found = mb.compare({"both": both})
    for contrast, top in ((0, 1), (1, 3)):
        figure = found.plot(contrast=contrast)
        assert figure.get_suptitle() == f"contrast {contrast} (of 0 to 1)"
        assert figure.axes[0].images[0].get_array().max() == pytest.approx(top, rel=0.1)


def test_plot_shows_the_reference_and_scaled_images():
    found = mb.compare({"half": picture(noise=0, factor=0.5)}, reference=TRUTH, scale="least_squares")
    axes = [axis for axis in found.plot().axes if axis.images and axis.get_xlabel()]
    assert [axis.get_title() for axis in axes] == ["reference", "half"]
    np.testing.assert_allclose(axes[1].images[0].get_array(), axes[0].images[0].get_array(), rtol=1e-5)


def call(*arguments, code=0):
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["compare", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


def test_command(recorded, tmp_path):
    flags = ("--averages", 5, "--background", "mean", "--system-matrix-background", "--min-frequency", 80e3)
    out, _ = call(
        *(recorded / "sweeps1.mdf", recorded / "sweeps20.mdf", "--names", "one, twenty"),
        *("--reference", recorded / "truth.mdf", "--scan", recorded / "scan.mdf"),
        *("-s", recorded / "calibration.mdf", *flags, "--max-shift", 0.5),
        *("--html", tmp_path / "report.html", "--latex", tmp_path / "table.tex"),
    )
    header, one, twenty, *_ = out.splitlines()
    assert header.split()[:2] == ["image", "NRMSE"]
    assert one.startswith("one ")
    assert twenty.startswith("twenty ")
    assert "data residual" in header
    assert "Data residual = ‖S c − u‖ / ‖u‖" in out
    expected = metrics.per_image(
        metrics.nrmse, mb.open(recorded / "sweeps20.mdf"), mb.open(recorded / "truth.mdf")
    )
    assert f"{expected.mean():.4g}" in twenty
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "twenty & " in (tmp_path / "table.tex").read_text(encoding="utf-8")


def test_command_can_ignore_positions(recorded, tmp_path):
    image = mb.open(recorded / "sweeps1.mdf")
    center = [1e-3, 0.0, 0.0]
    moved = image.assign_coords(x=image.x + 1e-3).assign_attrs(grid_center=center)
    mb.save(tmp_path / "moved.mdf", moved)
    files = (recorded / "sweeps1.mdf", tmp_path / "moved.mdf")
    assert "--align voxels" in call(*files)[0].replace("\n", " ")
    out, _ = call(*files, "--align", "voxels")
    assert "They differ by x 1 mm, y 0 mm, z 0 mm" in out.replace("\n", " ")


def test_command_says_what_is_wrong(recorded, tmp_path):
    image = recorded / "sweeps1.mdf"
    for arguments, message in (
        ((image, "--names", "a,b"), "--names needs 1 different names"),
        ((recorded / "scan.mdf",), "is a file of a measurement"),
        ((image, "--html", tmp_path / "report.pdf"), "ends in '.pdf'"),
        ((image, "--html", tmp_path / "no" / "report.html"), "folder that does not exist"),
        ((image, "--averages", "2"), "pass scan=… (--scan)"),
        ((image, "--scan", recorded / "scan.mdf"), "-s FILE"),
        ((image, "--align", "centres"), "align must be one of"),
    ):
        assert message in call(*arguments, code=1)[1]
    assert not list(tmp_path.iterdir())


def test_comparing_needs_neither_torch_nor_matplotlib():
    code = (
        "import mpibridge as mb, sys; mb.compare; print({'torch', 'matplotlib', 'skimage'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
