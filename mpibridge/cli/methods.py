"""Commands on methods: reconstruct, plugins, weights."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from mpibridge import settings
from mpibridge.cli.application import Scan, app, refuse_inputs, say, show, tabulate
from mpibridge.cli.options import PLUGIN, TakesSettings, preprocessing_flags
from mpibridge.errors import PluginError, SettingsError, WeightsError
from mpibridge.preprocessing import Preprocessing

if TYPE_CHECKING:
    from mpibridge.plugin import Plugin


@app.command(
    cls=TakesSettings,
    epilog="Example: mpibridge reconstruct scan.mdf -s calibration.mdf -o image.mdf "
    "--iterations 3 --regularization 0.01",
)
@preprocessing_flags
def reconstruct(
    scan: Scan,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="file of the image; .mdf, .nc, .nii or .nii.gz; default: SCAN-PLUGIN.mdf in this folder, if there is none yet",
        ),
    ] = None,
    system_matrix: Annotated[
        list[Path] | None,
        typer.Option("--system-matrix", "-s", help="its calibration; once per contrast or patch"),
    ] = None,
    plugin: Annotated[str, typer.Option("--plugin", "-p", help="method: see 'mpibridge plugins'")] = PLUGIN,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="a setting of the plugin: see 'mpibridge plugins NAME'"
        ),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="also draw the image, as .png, .pdf, .svg or .jpg")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="of a trained method: a file, or a folder of train; default: those of this acquisition"
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="native, or julia: classical plugins in MPIReco.jl")] = "native",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:0")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="of the random numbers, for methods that draw any")] = 0,
    *,
    preprocessing: Preprocessing,
) -> None:
    """Reconstruct a scan and write the image. The settings of the plugin are options, too."""
    from mpibridge import export, plot, registry
    from mpibridge.files import save
    from mpibridge.pipeline import reconstruct
    from mpibridge.plugin import make_settings
    from mpibridge.targets import check_target

    chosen = settings.parse_assignments(assignments or ())
    make_settings(registry.load(plugin), chosen)  # names and values, before they meet the other arguments
    background = getattr(preprocessing.background, "attrs", {}).get("source")
    calibrations = system_matrix or []
    inputs = [scan, *calibrations, *([background] if background else [])]
    if output is None:
        output = Path(f"{scan.resolve().stem}-{plugin}.mdf")
        if output.exists():
            raise SettingsError(f"{output} exists; say where the image goes with --output")
    for target, suffixes in ((output, export.SUFFIXES), (picture, plot.FORMATS)):
        if target is not None:
            refuse_inputs(target, inputs)
            check_target(target, suffixes)
    image = reconstruct(
        scan,
        plugin=plugin,
        system_matrix=calibrations[0] if len(calibrations) == 1 else calibrations or None,
        weights=weights,
        preprocessing=preprocessing if preprocessing.plain() else None,  # None: as the weights were trained
        engine=engine,
        device=device,
        seed=seed,
        progress=True,
        **chosen,
    )
    save(output, image)
    show(f"{output}: {dict(image['concentration'].sizes)}")
    if picture is not None:
        plot.image(image).savefig(picture, dpi=150)
        show(picture)


@app.command()
def plugins(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="show the settings of this one")
    ] = None,
) -> None:
    """The installed reconstruction methods, or the settings of one."""
    from mpibridge import registry
    from mpibridge.plugin import TrainablePlugin
    from mpibridge.weights import Weights, available

    if name is not None:
        cls = registry.load(name)
        show(f"{name}: {inspect.getdoc(cls) or ''}\n")
        table = Table("setting", "default", "type", "meaning", box=None, pad_edge=False)
        for setting in settings.describe(cls.Settings):
            table.add_row(setting.name, str(setting.default), setting.type, setting.text.replace("[", r"\["))
        tabulate(table)
        if issubclass(cls, TrainablePlugin):
            found = [each for each in available(name) if isinstance(each, Weights)]
            show(
                "\nweights:"
                if found
                else f"\nweights: none; 'mpibridge train {name} --data … --out …' makes them"
            )
            for each in found:
                serves = each.header.acquisition
                show(f"  {'any acquisition' if serves is None else serves} ({each.origin}): {each.path}")
        return
    table = Table("plugin", "takes", "weights", "summary", "package", box=None, pad_edge=False)
    for entry in registry.plugins().values():
        try:
            cls = entry.load()
        except PluginError as error:  # the others still work
            table.add_row(entry.name, "?", "?", str(error).replace("[", r"\["), entry.package)
            continue
        first = (inspect.getdoc(cls) or "").split("\n\n")[0]
        summary = " ".join(first.split()).split(". ")[0].rstrip(".").replace("[", r"\[")
        at_hand = (_at_hand(cls) or "none") if issubclass(cls, TrainablePlugin) else "not needed"
        table.add_row(entry.name, cls.takes.__name__, at_hand, summary, entry.package)
    tabulate(table)


@app.command()
def weights(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="only those of this plugin")] = None,
    install: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="put these into the user's store first: a file, or a folder of train"
        ),
    ] = None,
) -> None:
    """List the trained weights at hand and verify them; exit code 1 if a file is damaged.

    Whether they fit a network shows when they are used.
    """
    from mpibridge import registry
    from mpibridge import weights as trained

    if name is not None:
        registry.load(name)
    if install is not None:
        show(f"installed {trained.install(install)}")
    table = Table("plugin", "serves", "settings", "metrics", "from", "file", box=None, pad_edge=False)
    damaged = []
    for found in trained.available(name):
        try:
            if isinstance(found, WeightsError):
                raise found
            found.tensors()
        except WeightsError as error:
            damaged.append(str(error))
            continue
        header = found.header
        figures = {
            metric: value
            for metric, value in header.metrics.items()
            if not metric.endswith(("_low", "_high"))
        }
        metrics = ", ".join(f"{metric} {value:.4g}" for metric, value in figures.items())
        given = ", ".join(f"{setting}={value}" for setting, value in header.settings.items())
        serves = "any acquisition" if header.acquisition is None else str(header.acquisition)
        table.add_row(header.plugin, serves, given, metrics, found.origin, str(found.path))
    if table.row_count:
        tabulate(table)
    else:
        show(f"no weights in {trained.store()} nor in the packages of the plugins")
    for text in damaged:
        say(f"damaged: {text}")
    if damaged:
        raise typer.Exit(1)


def _at_hand(cls: type[Plugin]) -> str:
    """How many weights there are, and where: "2 shipped, 1 store"."""
    from mpibridge.weights import Weights, available

    origins = [found.origin for found in available(cls.name) if isinstance(found, Weights)]
    return ", ".join(f"{origins.count(origin)} {origin}" for origin in dict.fromkeys(origins))
