"""The command line from outside: what it prints, what it writes, and its exit codes."""

import os
import signal

import numpy as np
import pytest
from typer.testing import CliRunner

import mpibridge as mb
from mpibridge.cli import app

SCANNER = "openmpi-2d"
GRID = mb.Grid((7, 5, 1), (21e-3, 20e-3, 1e-3))


def call(*arguments, code=0, **environment):
    """stdout and stderr of ``mpibridge ARGUMENTS``; usage and help are wide, so that they stay in one piece."""
    result = CliRunner(env={"COLUMNS": "200", **environment}).invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A scan, its calibration, and one of another sequence."""
    folder = tmp_path_factory.mktemp("files")
    generator = np.random.default_rng(5)
    mb.save(folder / "calibration.mdf", mb.simulate.calibration(SCANNER, GRID, generator=generator))
    mb.save(folder / "scan.mdf", mb.simulate.scan(mb.simulate.phantom(GRID), SCANNER, generator=generator))
    other = mb.simulate.Scanner(sequence=mb.simulate.LissajousSequence(dividers=(96, 99)))
    mb.save(folder / "other.mdf", mb.simulate.calibration(other, GRID, generator=generator))
    return folder


def answers(text):
    """The answers of `info` by question."""
    pairs = (line.strip().split("  ", 1) for line in text.splitlines() if line.startswith("  "))
    return {question.strip(): answer.strip() for question, answer in (p for p in pairs if len(p) == 2)}


def test_simulated_files_reconstruct(tmp_path):
    out, _ = call(
        "simulate",
        "openmpi-2d",
        "--phantom",
        "ell",
        "--snr",
        "25",
        "--min-frequency",
        "80e3",
        "--grid",
        "9",
        "--frames",
        "2",
        "--seed",
        "3",
        "-o",
        tmp_path,
    )
    assert out.split() == [str(tmp_path / f"{name}.mdf") for name in ("scan", "phantom", "calibration")]
    scan = mb.open(tmp_path / "scan.mdf")
    assert '"snr": 25.0' in scan.attrs["/experiment/_mpibridge/noise"]
    call(
        "reconstruct",
        tmp_path / "scan.mdf",
        "-s",
        tmp_path / "calibration.mdf",
        "-o",
        tmp_path / "image.mdf",
        "--regularization",
        "0.01",
        "--min-frequency",
        "80e3",
        "--background",
        "mean",
        "--system-matrix-background",
    )
    image, truth = (mb.open(tmp_path / f"{name}.mdf").concentration for name in ("image", "phantom"))
    assert mb.metrics.nrmse(image.values[0], truth.values[0]) < 0.6
    np.testing.assert_allclose(image.x, truth.x)
    again = mb.simulate.command.run(
        "openmpi-2d", "ell", snr=25.0, min_frequency=80e3, voxels=9, n_frames=2, seed=3
    )
    np.testing.assert_array_equal(again["scan"].signal, scan.signal)


def test_what_cannot_be_simulated_is_said(tmp_path):
    for arguments, message in (
        (("openmpi2d",), "there is no preset 'openmpi2d'; did you mean 'openmpi-2d'"),
        (("openmpi-2d", "--phantom", "spirl"), "spirl"),
    ):
        _, err = call("simulate", *arguments, "-o", tmp_path, code=1)
        assert message in err


def test_help_lists_the_commands():
    out, _ = call("--help")
    for command in ("info", "validate", "reconstruct", "match", "plugins", "simulate", "demo"):
        assert f" {command} " in out


def test_version():
    assert call("--version")[0].strip() == f"mpibridge {mb.__version__}"


def test_info_of_a_scan(folder):
    said = answers(call("info", folder / "scan.mdf")[0])
    assert said["kind"] == "measurement, MDF 2.1.0"
    assert said["drive field"] == "24.51, 26.042, 25.253 kHz"  # the third one idles
    assert said["dividers"] == "102, 96, 99 of 2.5 MHz"
    assert said["amplitudes"] == "12, 12, 0 mT"
    assert said["cycle"] == "0.6528 ms"
    assert said["gradient"] == "-1, -1, 2 T/m"
    assert said["drive-field FOV"] == "24 × 24 × 0 mm"
    assert said["frames"] == "10 + 4 background"
    assert said["frame period"] == "6.528 ms"
    assert said["bandwidth"] == "1.25 MHz"
    assert said["samples per period"] == "1632"
    assert said["transfer function"] == "no"


def test_info_of_a_calibration(folder):
    said = answers(call("info", folder / "calibration.mdf")[0])
    assert said["frames"] == "35 + 6 background"
    assert said["grid"] == "7 × 5 × 1 voxels"
    assert said["voxel"] == "3 × 4 × 1 mm"
    assert said["field of view"] == "21 × 20 × 1 mm"
    assert said["centre"] == "0, 0, 0 mm"
    assert said["stored as"] == "817 of 817 frequencies"
    snr = mb.open(folder / "calibration.mdf")["snr"].values[0, 1]
    assert said["SNR, receiver 1"].startswith(f"{(snr >= 2).sum()} over 2, {(snr >= 5).sum()} over 5, ")


def test_info_of_files_that_others_wrote(shared):
    said = answers(call("info", shared / "golden" / "single-patch" / "reconstruction_mpireco.mdf")[0])
    assert said["kind"] == "reconstruction, MDF 2.0.1"
    assert said["frames"] == "9"
    assert said["grid"] == "15 × 13 × 1 voxels"
    said = answers(call("info", shared / "golden" / "more" / "v1_calibration.mdf")[0])
    assert said["kind"].startswith("calibration, MDF 1.0")


def test_every_file_of_the_reference_has_an_info_screen(shared):
    files = sorted((shared / "golden").rglob("*.mdf"))
    assert files
    for file in files:
        assert "Sequence" in call("info", file)[0]


def test_validate(folder, tmp_path):
    assert "no problem found" in call("validate", folder / "scan.mdf")[0]
    import h5py

    broken = tmp_path / "broken.mdf"
    broken.write_bytes((folder / "scan.mdf").read_bytes())
    with h5py.File(broken, "a") as file:
        del file["/acquisition/drivefield/phase"]
    assert "/acquisition/drivefield/phase" in call("validate", broken, code=1)[0]


def test_reconstruct_writes_the_image_that_the_library_makes(folder, tmp_path):
    image, picture = tmp_path / "image.mdf", tmp_path / "image.png"
    flags = ["--averages", 10, "--background", "mean", "--system-matrix-background", "--min-frequency", 30e3]
    call(
        *(
            "reconstruct",
            folder / "scan.mdf",
            "-s",
            folder / "calibration.mdf",
            "-o",
            image,
            "--picture",
            picture,
        ),
        *("--snr-threshold", 5, "--frames", "0,1,2", *flags),
        *("--set", "iterations=3", "--set", "regularization=1e-3"),
    )
    expected = mb.reconstruct(
        folder / "scan.mdf",
        system_matrix=folder / "calibration.mdf",
        preprocessing=mb.Preprocessing(
            averages=10,
            background="mean",
            system_matrix_background=True,
            min_frequency=30e3,
            snr_threshold=5,
            frames=(0, 1, 2),
        ),
        iterations=3,
        regularization=1e-3,
    )
    found = mb.open(image)
    np.testing.assert_array_equal(found["concentration"].values, expected["concentration"].values)
    assert float(found["concentration"].max()) > 0.1
    assert picture.read_bytes().startswith(b"\x89PNG")
    said = answers(call("info", image)[0])
    assert said["plugin"] == "kaczmarz"
    assert "iterations=3" in said["settings"]
    assert "snr_threshold=5" in said["preprocessing"]


def test_without_an_output_the_image_is_named_after_scan_and_plugin(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ("reconstruct", folder / "scan.mdf", "-s", folder / "calibration.mdf", "--iterations", "1")
    call(*command)
    assert "concentration" in mb.open(tmp_path / "scan-kaczmarz.mdf")
    assert "scan-kaczmarz.mdf exists; say where the image goes with --output" in call(*command, code=1)[1]


def test_flags_are_the_fields_of_preprocessing(folder):
    out, _ = call("reconstruct", "--help")
    for name in (
        "--frames",
        "--stop-bands",
        "--transfer-function",
        "--no-transfer-function",
        "--snr-threshold",
    ):
        assert name in out
    assert "[SNRThresh]" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "iteration=3"], "did you mean 'iterations'"),
        (["--set", "iterations=0"], "iterations"),
        (["--set", "iterations"], "name=value"),
        (["--set", "iterations=abc"], "iterations must be a whole number of at least 1, found 'abc'"),
        (["--set", "regularization=none"], "regularization must be a number of at least 0, found None"),
        (["--set", "real=perhaps"], "real must be true or false, found 'perhaps'"),
        (["--set", "seed=3"], "no setting 'seed'"),
        (["--set", "scan=3"], "no setting 'scan'"),
        (["--set", "progress=false"], "no setting 'progress'"),
        (["--iterations", "0"], "iterations must be a whole number"),
        (["--channel-weights", "1,x"], "channel_weights must be numbers separated by commas, found '1,x'"),
        (["--picture", "x.foo"], "x.foo: ends in '.foo'"),
        (["-p", "kacmarz"], "did you mean 'kaczmarz'"),
        (["--background", "median"], "median"),
        (["--stop-bands", "2e5,x"], "stop_bands"),
        (["--snr-threshold", "1e9"], "no row of the system matrix passes"),
    ],
)
def test_an_error_is_one_clear_line(folder, tmp_path, arguments, message):
    image = tmp_path / "image.mdf"
    out, err = call(
        "reconstruct", folder / "scan.mdf", "-s", folder / "calibration.mdf", "-o", image, *arguments, code=1
    )
    assert message in err
    assert err.startswith("error: ")
    assert len(err.strip().splitlines()) == 1
    assert not out
    assert not image.exists()


@pytest.fixture
def no_work(monkeypatch):
    """A reconstruction that is a mistake to start."""

    def started(*_, **__):
        raise AssertionError("the reconstruction was started")

    monkeypatch.setattr("mpibridge.pipeline.reconstruct", started)


@pytest.mark.parametrize("option", ["--output", "--picture"])
@pytest.mark.parametrize("read", ["scan", "calibration", "background"])
def test_what_is_read_is_never_written(folder, tmp_path, no_work, option, read):
    files = {name: tmp_path / f"{name}.mdf" for name in ("scan", "calibration", "background")}
    for name, path in files.items():
        path.write_bytes((folder / f"{name.replace('background', 'scan')}.mdf").read_bytes())
    content = files[read].read_bytes()
    files[read].chmod(0o444)
    link = tmp_path / "link.mdf"
    link.symlink_to(files[read])
    output = [] if option == "--output" else ["-o", tmp_path / "image.mdf"]
    for target in (files[read], link):
        _, err = call(
            *("reconstruct", files["scan"], "-s", files["calibration"], "--background", files["background"]),
            *(option, target, *output),
            code=1,
        )
        assert "is a file that is read" in err
    assert files[read].read_bytes() == content


@pytest.mark.parametrize(
    ("output", "picture", "found"),
    [
        ("none/image.mdf", None, "image.mdf: lies in a folder that does not exist"),
        ("image.txt", None, "image.txt: ends in '.txt'"),
        ("locked.mdf", None, "locked.mdf: is write-protected"),
        ("image.mdf", "none/image.png", "image.png: lies in a folder that does not exist"),
        ("image.mdf", "image.foo", "image.foo: ends in '.foo'"),
    ],
)
def test_targets_are_checked_before_the_work(folder, tmp_path, no_work, output, picture, found):
    (tmp_path / "locked.mdf").touch(0o444)
    more = [] if picture is None else ["--picture", tmp_path / picture]
    _, err = call(
        *("reconstruct", folder / "scan.mdf", "-s", folder / "calibration.mdf", "-o", tmp_path / output),
        *more,
        code=1,
    )
    assert found in err
    assert os.listdir(tmp_path) == ["locked.mdf"]


@pytest.fixture
def given(monkeypatch, folder):
    """What reaches the library: a function of the options after ``reconstruct``."""
    image = mb.reconstruct(folder / "scan.mdf", system_matrix=folder / "calibration.mdf", iterations=1)

    def given(*options):
        seen = []
        monkeypatch.setattr("mpibridge.pipeline.reconstruct", lambda *_, **known: seen.append(known) or image)
        files = ("-s", folder / "calibration.mdf", "-o", folder / "given.mdf")
        call("reconstruct", *options, folder / "scan.mdf", *files)
        return seen[0]

    return given


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--iterations", 3, "--regularization=0.01"], {"iterations": 3, "regularization": 0.01}),
        (["--no-positive", "--real"], {"positive": False, "real": True}),
        (["--positive=no", "--set", "iterations=2"], {"positive": False, "iterations": 2}),
        (["--normalization", "none"], {"normalization": None}),
        (["-p", "tv", "--iterations-cg", 4], {"iterations_cg": 4}),
        (["--plugin=fista", "--penalty", "l2", "--set", "step=0.5"], {"penalty": "l2", "step": 0.5}),
    ],
)
def test_settings_are_options(given, options, settings):
    found = given(*options)
    assert settings.items() <= found.items()


def test_an_option_of_the_command_comes_before_a_setting_of_that_name(given):
    found = given("-p", "fista", "--step", 2)
    assert found["preprocessing"].step == 2
    assert "step" not in found


def test_the_grid_of_nir_comes_before_that_of_the_calibration(given):
    for words, grid in (
        (["--grid", 116, 116], (116, 116)),
        (["--grid=2.5"], 2.5),
        (["--grid", "8,9"], (8, 9)),
    ):
        found = given("-p", "nir", *words, "--width", 8)
        assert found["grid"] == grid
        assert found["preprocessing"] is None
    assert given("-p", "kaczmarz", "--grid", "1,8,9")["preprocessing"].grid == (1, 8, 9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--iteration", 3], "No such option: --iteration (did you mean --iterations?)"),
        (["--snr-treshold", 3], "No such option: --snr-treshold (did you mean --snr-threshold?)"),
        (["--no-iterations"], "No such option: --no-iterations"),
        (["--iterations-cg", 3], "No such option: --iterations-cg"),
        (["--iterations", "-o", "again.mdf"], "Option '--iterations' requires a value"),
        (["--l1"], "Option '--l1' requires a value"),
        (["--seed", -1], "'--seed'"),
    ],
)
def test_unknown_options_are_wrong_usage(folder, tmp_path, no_work, options, message):
    files = ("-s", folder / "calibration.mdf", "-o", tmp_path / "image.mdf")
    _, err = call("reconstruct", folder / "scan.mdf", *files, *options, code=2)
    assert message in err


def test_help_shows_an_example():
    assert "--iterations 3 --regularization 0.01" in call("reconstruct", "--help")[0]


def test_a_calibration_of_another_sequence(folder, tmp_path):
    _, err = call(
        "reconstruct", folder / "scan.mdf", "-s", folder / "other.mdf", "-o", tmp_path / "i.mdf", code=1
    )
    assert "samples per period: scan 1632, calibration 3168" in err


def test_no_such_file(tmp_path):
    _, err = call("info", tmp_path / "missing.mdf", code=1)
    assert "missing.mdf" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("arguments", [["reconstruct"], ["inf"], ["info"], ["info", "a", "--set"]])
def test_wrong_usage(arguments):
    call(*arguments, code=2)


def test_warnings_are_one_line(folder, tmp_path):
    import h5py

    calibration = tmp_path / "calibration.mdf"
    calibration.write_bytes((folder / "calibration.mdf").read_bytes())
    with h5py.File(calibration, "a") as file:
        del file["/calibration/snr"]
    arguments = ["-o", tmp_path / "i.mdf", "--snr-threshold", 5, "--set", "iterations=1"]
    _, err = call("reconstruct", folder / "scan.mdf", "-s", calibration, *arguments)
    assert err.startswith("warning: ")
    assert "stores no SNR" in err
    assert len(err.strip().splitlines()) == 1


def test_match(folder):
    out, _ = call("match", folder / "scan.mdf", folder)
    lines = [line for line in out.splitlines() if ".mdf" in line]
    assert "calibration.mdf" in lines[0]
    assert " yes " in lines[0]
    assert "other.mdf" in lines[1]
    assert " no " in lines[1]
    assert "samples per period" in out


@pytest.fixture
def deep(folder, tmp_path):
    """A folder of calibrations with long names, and one that is damaged; their paths inside it."""
    deep = tmp_path / "calibrations [of all scanners]"
    names = [f"{'year' * 10}/{'month' * 10}/[{what}].mdf" for what in ("calibration", "other")]
    (deep / names[0]).parent.mkdir(parents=True)
    for name in names:
        (deep / name).write_bytes((folder / name.split("[")[1].replace("]", "")).read_bytes())
    (deep / "damaged.mdf").write_bytes(b"no HDF5")
    return deep, [*names, "damaged.mdf"]


def test_matches_for_programs_have_a_line_each(folder, deep):
    out, _ = call("match", folder / "scan.mdf", deep[0], COLUMNS="80")
    lines = out.splitlines()[1:]
    assert sorted(line.split()[0] for line in lines) == sorted(deep[1])
    (damaged,) = (line for line in lines if line.count("damaged.mdf") == 1)
    assert damaged.count("cannot be read") == 1


def test_matches_on_a_screen_show_the_whole_path(folder, deep):
    out, _ = call("match", folder / "scan.mdf", deep[0], COLUMNS="80", FORCE_COLOR="1", TERM="dumb")
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    left = "".join(line.split()[0] for line in out.splitlines()[1:] if not line.startswith(" "))
    for name in deep[1]:
        assert name in left


def test_nothing_matches(folder, tmp_path):
    (tmp_path / "other.mdf").write_bytes((folder / "other.mdf").read_bytes())
    _, err = call("match", folder / "scan.mdf", tmp_path, code=1)
    assert "no calibration" in err


def test_plugins_and_their_settings():
    out, _ = call("plugins")
    for name in mb.plugins():
        assert f"{name} " in out
    out, _ = call("plugins", "kaczmarz")
    for field in mb.registry.load("kaczmarz").Settings.__dataclass_fields__:
        assert field in out
    assert "at least 1" in out
    assert "there is no plugin" in call("plugins", "nothing", code=1)[1]


def test_demo(tmp_path):
    out, _ = call("demo", "--out", tmp_path / "demo")
    rows = {
        line.split()[0]: line.split() for line in out.splitlines() if line.startswith(tuple(mb.plugins()))
    }
    assert set(rows) == {"kaczmarz", "cgnr", "fista", "tv", "score"}
    for name, row in rows.items():
        assert float(row[-3]) < 0.55, name  # NRMSE; an empty image has 1
    for name in ("demo.png", "image.mdf", "scan.mdf", "calibration.mdf"):
        assert (tmp_path / "demo" / name).stat().st_size > 1000
    assert "reopened" in out
    assert mb.validate(tmp_path / "demo" / "image.mdf") == []


def test_ctrl_c_leaves_no_file(folder, tmp_path):
    """The keyboard's signal while the solver works."""
    former = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        _, err = call(
            *(
                "reconstruct",
                folder / "scan.mdf",
                "-s",
                folder / "calibration.mdf",
                "-o",
                tmp_path / "image.mdf",
            ),
            *("--set", "iterations=100000000"),
            code=130,
        )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    assert err.strip() == "interrupted; nothing was written"
    assert list(tmp_path.iterdir()) == []
