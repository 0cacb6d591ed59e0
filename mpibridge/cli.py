"""The command line. Exit codes: 0; 1 for an error, one line on stderr; 2 for wrong usage; 130 after Ctrl-C."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable
from dataclasses import fields
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperCommand, TyperGroup

from mpibridge import __version__, settings
from mpibridge.errors import MDFError, MPIBridgeError, MPIBridgeWarning, PluginError, SettingsError
from mpibridge.mdf.schema import SUFFIXES
from mpibridge.preprocessing import Preprocessing

ERRORS = (MPIBridgeError, NotImplementedError, OSError)
"""What a user can do something about; anything else is a bug and keeps its traceback."""


PICTURES = (".png", ".pdf", ".svg", ".jpg")
"""What `reconstruct --picture` draws."""
PLUGIN = "kaczmarz"
UNBOUNDED = 1_000_000
"""Columns of a line that nobody reads on a screen."""


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


class _TakesSettings(TyperCommand):
    """A command whose plugin's settings are options, too: ``--iterations 3`` is ``--set iterations=3``.

    A setting that is called like an option of the command itself needs ``--set``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {option for p in self.params for option in (*p.opts, *p.secondary_opts)}
        own.update(ctx.help_option_names)
        return super().parse_args(ctx, self._as_assignments(ctx, args, own))

    def _as_assignments(self, ctx: Any, args: list[str], own: set[str]) -> list[str]:
        """``args`` with every option that is a setting written as ``--set``; an unknown one is wrong usage."""
        known: dict[str, str] | None = None
        words: list[str] = []
        rest = list(args)
        while rest:
            word = rest.pop(0)
            option, equals, value = word.partition("=")
            if word == "--":
                return [*words, word, *rest]
            if not option.startswith("--") or option in own:
                words.append(word)
                continue
            if known is None:
                known = self._settings(ctx, args)
            name = option[2:].replace("-", "_")
            positive = name.removeprefix("no_")
            if known.get(name) == "bool":
                value = value if equals else "true"
            elif name in known:
                if not equals and (not rest or rest[0] in own):
                    ctx.fail(f"Option '{option}' requires a value.")
                value = value if equals else rest.pop(0)
            elif known.get(positive) == "bool" and not equals:
                name, value = positive, "false"
            else:
                options = [*own, *(f"--{name.replace('_', '-')}" for name in known)]
                close = get_close_matches(option, options, 1)
                ctx.fail(f"No such option: {option}" + (f" (did you mean {close[0]}?)" if close else ""))
            words += ["--set", f"{name}={value}"]
        return words

    def _settings(self, ctx: Any, args: list[str]) -> dict[str, str]:
        """The types of the settings of the plugin that ``args`` name."""
        from mpibridge import registry

        parser = self.make_parser(ctx)
        parser.ignore_unknown_options = True
        given, *_ = parser.parse_args(list(args))
        cls = registry.load(given.get("plugin", PLUGIN))
        return {setting.name: setting.type for setting in settings.describe(cls.Settings)}


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
                values[option.name] = _parsed(option.name, value, hints[option.name])
        command(**given, preprocessing=_preprocessing(values))

    own = [
        p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "preprocessing"
    ]
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    with_flags.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
    with_flags.__annotations__ = {p.name: p.annotation for p in (*own, *options)}
    return with_flags


def _parsed(name: str, value: Any, hint: Any) -> Any:
    """The value of an option; SettingsError if it holds a text where the field of that name takes numbers only."""
    if not isinstance(value, str):
        return value
    parsed = settings.parse_value(value)
    parts = parsed if isinstance(parsed, tuple) else (parsed,)
    if hint is not Any and str not in get_args(hint) and any(isinstance(part, str) for part in parts):
        raise SettingsError(f"{name} must be numbers separated by commas, found {value!r}")
    return parsed


def _preprocessing(values: dict[str, Any]) -> Preprocessing:
    from mpibridge.files import open

    background = values.get("background")
    if isinstance(background, str) and background not in ("mean", "interpolate"):
        values["background"] = open(background)
    try:
        return Preprocessing(**values)
    except SettingsError:
        raise
    except (TypeError, ValueError) as error:
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
            raise MDFError(target, None, "is a file that the reconstruction reads", "pass another name")


@app.command(
    cls=_TakesSettings,
    epilog="Example: mpibridge reconstruct scan.mdf -s calibration.mdf -o image.mdf "
    "--iterations 3 --regularization 0.01",
)
@_preprocessing_flags
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
