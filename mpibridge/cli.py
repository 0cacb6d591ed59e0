"""The command line. Exit codes: 0; 1 for an error, one line on stderr; 2 for wrong usage; 130 after Ctrl-C."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from mpibridge import __version__, settings
from mpibridge.errors import MDFError, MPIBridgeError, MPIBridgeWarning, PluginError
from mpibridge.mdf.schema import SUFFIXES
from mpibridge.options import PLUGIN, TakesSettings, preprocessing_flags
from mpibridge.preprocessing import Preprocessing

ERRORS = (MPIBridgeError, NotImplementedError, OSError)
"""What a user can do something about; anything else is a bug and keeps its traceback."""


UNBOUNDED = 1_000_000
"""Columns of a line that nobody reads on a screen."""
PICTURES = (".png", ".pdf", ".svg", ".jpg")
"""What `reconstruct --picture` draws."""


class _Commands(TyperGroup):
    """Turns errors and warnings of the library into one line each, and Ctrl-C into exit code 130."""

    def invoke(self, ctx: Any) -> Any:
        def warn(message: Warning | str, *_: Any, **__: Any) -> None:
            _say(f"warning: {message}")

        with warnings.catch_warnings():
            warnings.showwarning = warn
            warnings.simplefilter("always", MPIBridgeWarning)
            try:
                return super().invoke(ctx)
            except ERRORS as error:
                _say(f"error: {error}")
                raise typer.Exit(1) from error
            except KeyboardInterrupt as interrupt:
                _say("interrupted; nothing was written")
                raise typer.Exit(130) from interrupt


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Magnetic Particle Imaging: MDF files in, images out.",
)
File = Annotated[Path, typer.Argument(metavar="FILE", help="an MDF file")]
Scan = Annotated[Path, typer.Argument(metavar="SCAN", help="MDF file of a measurement")]


def _say(text: str) -> None:
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


def _show(text: object) -> None:
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


def _tabulate(table: Table) -> None:
    """Print a table, as wide as it is if nobody watches: programs want one row per line."""
    console = Console()
    if not console.is_terminal:
        console.width = console.measure(table, options=console.options.update(width=UNBOUNDED)).maximum
    console.print(table, highlight=False)


def _version(wanted: bool) -> None:
    if wanted:
        _show(f"mpibridge {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="and exit")
    ] = False,
) -> None:
    """Magnetic Particle Imaging: MDF files in, images out."""


@app.command()
def info(file: File) -> None:
    """What is in a file: kind, sequence, frames, receivers, grid, SNR, provenance."""
    from mpibridge.files import open
    from mpibridge.summary import summarize

    table = Table.grid(padding=(0, 2))
    for section, rows in summarize(open(file)).items():
        table.add_row(f"[bold]{section}[/bold]")
        for question, answer in rows:
            table.add_row(f"  {question}", answer.replace("[", r"\["))
    _tabulate(table)


@app.command()
def validate(file: File) -> None:
    """Compare a file with the MDF 2.1 specification; exit code 1 if they differ."""
    from mpibridge.files import validate

    problems = validate(file)
    for problem in problems:
        _show(str(problem))
    if problems:
        raise typer.Exit(1)
    _show(f"{file}: no problem found")


def _refuse_inputs(target: Path, inputs: Iterable[str | Path]) -> None:
    """MDFError if the file to be written is one of those that are read."""
    for source in map(Path, inputs):
        if target.exists() and source.exists() and target.samefile(source):
            raise MDFError(target, None, "is a file that is read", "pass another name")


@app.command(
    cls=TakesSettings,
    epilog="Example: mpibridge reconstruct scan.mdf -s calibration.mdf -o image.mdf "
    "--iterations 3 --regularization 0.01",
)
@preprocessing_flags
def reconstruct(
    scan: Scan,
    system_matrix: Annotated[
        list[Path], typer.Option("--system-matrix", "-s", help="its calibration; once per contrast or patch")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="MDF file of the image")],
    plugin: Annotated[str, typer.Option("--plugin", "-p", help="method: see 'mpibridge plugins'")] = PLUGIN,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="a setting of the plugin: see 'mpibridge plugins NAME'"
        ),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help=f"also draw the image, as {', '.join(PICTURES)}")
    ] = None,
    engine: Annotated[str, typer.Option(help="native, or julia: classical plugins in MPIReco.jl")] = "native",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:0")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="of the random numbers, for methods that draw any")] = 0,
    *,
    preprocessing: Preprocessing,
) -> None:
    """Reconstruct a scan and write the image as MDF. The settings of the plugin are options, too."""
    from mpibridge import plot, registry
    from mpibridge.files import save
    from mpibridge.mdf.writer import check_target
    from mpibridge.pipeline import reconstruct
    from mpibridge.plugin import make_settings

    chosen = settings.parse_assignments(assignments or ())
    make_settings(registry.load(plugin), chosen)  # names and values, before they meet the other arguments
    background = getattr(preprocessing.background, "attrs", {}).get("source")
    inputs = [scan, *system_matrix, *([background] if background else [])]
    for target, suffixes in ((output, SUFFIXES), (picture, PICTURES)):
        if target is not None:
            _refuse_inputs(target, inputs)
            check_target(target, suffixes)
    image = reconstruct(
        scan,
        plugin=plugin,
        system_matrix=system_matrix[0] if len(system_matrix) == 1 else system_matrix,
        preprocessing=preprocessing,
        engine=engine,
        device=device,
        seed=seed,
        progress=True,
        **chosen,
    )
    save(output, image)
    _show(f"{output}: {dict(image['concentration'].sizes)}")
    if picture is not None:
        plot.image(image).savefig(picture, dpi=150)
        _show(picture)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="a Bruker folder, an IMT or an MDF file")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="MDF file to write")],
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="an option of MPIFiles.jl saveasMDF, e.g. SNRThresh=2.0"
        ),
    ] = None,
) -> None:
    """Write a Bruker folder, an IMT file or any MDF file as MDF, by MPIFiles.jl (needs Julia)."""
    from mpibridge.files import convert

    _refuse_inputs(target, [source])
    convert(source, target, **settings.parse_assignments(assignments or ()))
    _show(target)


@app.command()
def match(
    scan: Scan,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="where the calibrations are")],
) -> None:
    """Find the calibration of a scan; exit code 1 if none fits."""
    from mpibridge.matching import find_calibration

    matches = find_calibration(scan, folder)
    table = Table(box=None, pad_edge=False)
    table.add_column("calibration", overflow="fold")
    for heading in ("fits", "likeness"):
        table.add_column(heading, no_wrap=True)
    table.add_column("why not", overflow="fold")
    for found in matches:
        why = "; ".join(found.reasons).replace("[", r"\[")
        path = str(found.path.relative_to(folder)).replace("[", r"\[")
        table.add_row(path, "yes" if found.fits else "no", f"{found.score:.2f}", why)
    _tabulate(table)
    if not any(found.fits for found in matches):
        _say(f"no calibration in {folder} fits {scan}")
        raise typer.Exit(1)


@app.command()
def plugins(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="show the settings of this one")
    ] = None,
) -> None:
    """The installed reconstruction methods, or the settings of one."""
    from mpibridge import registry

    if name is None:
        table = Table("plugin", "takes", "summary", "package", box=None, pad_edge=False)
        for entry in registry.plugins().values():
            try:
                cls = entry.load()
            except PluginError as error:  # the others still work
                table.add_row(entry.name, "?", str(error).replace("[", r"\["), entry.package)
                continue
            summary = (inspect.getdoc(cls) or "").split(". ")[0]
            table.add_row(entry.name, cls.takes.__name__, summary, entry.package)
    else:
        cls = registry.load(name)
        _show(f"{name}: {inspect.getdoc(cls) or ''}\n")
        table = Table("setting", "default", "type", "meaning", box=None, pad_edge=False)
        for setting in settings.describe(cls.Settings):
            table.add_row(setting.name, str(setting.default), setting.type, setting.text.replace("[", r"\["))
    _tabulate(table)


@app.command()
def simulate(
    preset: Annotated[str, typer.Argument(metavar="PRESET", help="a scanner by name, e.g. openmpi-2d")],
    phantom: Annotated[
        str, typer.Option(help="ell, spiral, lambda, bars, rings, dots, tubes, cubes, …")
    ] = "ell",
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for the files")] = Path("simulated"),
    snr: Annotated[
        float | None,
        typer.Option(help="of a frame in dB (power of the bins that count); default: usual noise"),
    ] = None,
    min_frequency: Annotated[float, typer.Option(min=0, help="Hz: bins that the SNR counts")] = 0.0,
    frames: Annotated[int, typer.Option(min=1)] = 10,
    averages: Annotated[int, typer.Option(min=1, help="periods averaged in a frame")] = 10,
    grid: Annotated[
        int | None,
        typer.Option(min=1, help="voxels along every axis that the preset resolves; default: its own"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of noise and background")] = 0,
) -> None:
    """Simulate a scanner: write a scan of a phantom, its calibration and the phantom itself as MDF files."""
    from mpibridge.files import save
    from mpibridge.progress import reporting
    from mpibridge.simulate import command

    with reporting(True) as report:
        made = command.run(
            preset,
            phantom,
            snr=snr,
            min_frequency=min_frequency,
            n_frames=frames,
            averages=averages,
            voxels=grid,
            seed=seed,
            report=report,
        )
    out.mkdir(parents=True, exist_ok=True)
    for name, dataset in made.items():
        save(out / f"{name}.mdf", dataset)
        _show(out / f"{name}.mdf")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="folder for the files")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="of noise and background")] = 0,
) -> None:
    """Simulate a scan and its calibration, reconstruct with four methods, compare with the phantom."""
    from mpibridge.demo import run
    from mpibridge.files import open
    from mpibridge.progress import reporting

    with reporting(True) as report:
        done = run(out, seed=seed, report=report)
    table = Table("plugin", "settings", "NRMSE", "PSNR (dB)", "seconds", box=None, pad_edge=False)
    for outcome in done.outcomes:
        given = ", ".join(f"{name}={value:g}" for name, value in outcome.settings.items())
        figures = (f"{outcome.nrmse:.3f}", f"{outcome.psnr:.1f}", f"{outcome.seconds:.2f}")
        table.add_row(outcome.plugin, given, *figures)
    _tabulate(table)
    for what, path in done.files.items():
        _show(f"{what}: {path}")
    reopened = open(done.files["image"])
    _show(f"reopened {done.files['image']}: {reopened.attrs['kind']} {dict(reopened['concentration'].sizes)}")


@app.command()
def doctor(
    start_julia: Annotated[
        bool, typer.Option("--start-julia", help="also start it, and say what runs")
    ] = False,
) -> None:
    """What is installed, which Julia would be used and why, and what to do about what is missing.

    Nothing is started or downloaded. Exit code 1 if something is wrong that mpibridge cannot work without.
    """
    from mpibridge import julia
    from mpibridge.doctor import breaks_native, draw, examine, recipe

    findings = examine()
    _tabulate(draw(findings))
    _show(f"\n{recipe()}")
    if start_julia:
        _show(f"\n{julia.start()}")
    if breaks_native(findings):
        raise typer.Exit(1)


@app.command("setup-julia")
def setup_julia() -> None:
    """Install Julia's packages (and Julia, if there is none), and precompile them: once, with a network."""
    from mpibridge.julia_setup import set_up

    set_up(lambda done, total, text: _say(f"[{done}/{total}] {text}"))
