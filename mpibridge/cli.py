"""The command line. Exit codes: 0; 1 for an error, one line on stderr; 2 for wrong usage; 130 after Ctrl-C."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from mpibridge import __version__, settings
from mpibridge.errors import MPIBridgeError, MPIBridgeWarning, PluginError, SettingsError
from mpibridge.preprocessing import Preprocessing

ERRORS = (MPIBridgeError, NotImplementedError, OSError)
"""What a user can do something about; anything else is a bug and keeps its traceback."""


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


def _preprocessing_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` one option per field of `Preprocessing`; it receives them as ``preprocessing``."""
    hints = get_type_hints(Preprocessing)
    texts = {setting.name: setting.text for setting in settings.describe(Preprocessing)}
    options = []
    for field in fields(Preprocessing):
        kinds = [kind for kind in get_args(hints[field.name]) or (hints[field.name],) if kind is not NoneType]
        kind: Any = kinds[0] if kinds[0] in (bool, int, float) else str
        default = field.default if field.default != () else None
        annotation = Annotated[
            kind | None,
            typer.Option(help=texts[field.name].replace("[", r"\["), rich_help_panel="Preprocessing"),
        ]
        options.append(
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
        )

    @wraps(command)
    def with_flags(**given: Any) -> None:
        values = {}
        for option in options:
            value = given.pop(option.name)
            if value != option.default:
                values[option.name] = settings.parse_value(value) if isinstance(value, str) else value
        command(**given, preprocessing=_preprocessing(values))

    own = [
        p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "preprocessing"
    ]
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    with_flags.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
    with_flags.__annotations__ = {p.name: p.annotation for p in (*own, *options)}
    return with_flags


def _preprocessing(values: dict[str, Any]) -> Preprocessing:
    from mpibridge.files import open

    background = values.get("background")
    if isinstance(background, str) and background not in ("mean", "interpolate"):
        values["background"] = open(background)
    try:
        return Preprocessing(**values)
    except TypeError as error:
        raise SettingsError(f"{values} are no preprocessing settings: {error}") from error


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
    Console().print(table, highlight=False)


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


@app.command()
@_preprocessing_flags
def reconstruct(
    scan: Scan,
    system_matrix: Annotated[
        list[Path], typer.Option("--system-matrix", "-s", help="its calibration; once per contrast or patch")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="MDF file of the image")],
    plugin: Annotated[
        str, typer.Option("--plugin", "-p", help="method: see 'mpibridge plugins'")
    ] = "kaczmarz",
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="a setting of the plugin: see 'mpibridge plugins NAME'"
        ),
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="also draw the image, as .png or .pdf")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:0")] = "auto",
    seed: Annotated[int, typer.Option(help="of the random numbers, for methods that draw any")] = 0,
    *,
    preprocessing: Preprocessing,
) -> None:
    """Reconstruct a scan and write the image as MDF."""
    from mpibridge import plot
    from mpibridge.files import save
    from mpibridge.pipeline import reconstruct

    image = reconstruct(
        scan,
        plugin=plugin,
        system_matrix=system_matrix[0] if len(system_matrix) == 1 else system_matrix,
        preprocessing=preprocessing,
        device=device,
        seed=seed,
        progress=True,
        **settings.parse_assignments(assignments or ()),
    )
    save(output, image)
    _show(f"{output}: {dict(image['concentration'].sizes)}")
    if picture is not None:
        plot.image(image).savefig(picture, dpi=150)
        _show(picture)


@app.command()
def match(
    scan: Scan,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="where the calibrations are")],
) -> None:
    """Find the calibration of a scan; exit code 1 if none fits."""
    from mpibridge.matching import find_calibration

    matches = find_calibration(scan, folder)
    table = Table("calibration", "fits", "likeness", "why not", box=None, pad_edge=False)
    for found in matches:
        why = "; ".join(found.reasons).replace("[", r"\[")
        table.add_row(str(found.path), "yes" if found.fits else "no", f"{found.score:.2f}", why)
    Console().print(table, highlight=False)
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
    Console().print(table, highlight=False)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="folder for the files")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="of noise and background")] = 0,
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
    Console().print(table, highlight=False)
    for what, path in done.files.items():
        _show(f"{what}: {path}")
    reopened = open(done.files["image"])
    _show(f"reopened {done.files['image']}: {reopened.attrs['kind']} {dict(reopened['concentration'].sizes)}")
