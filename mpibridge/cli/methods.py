"""Commands on methods: reconstruct, plugins."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from mpibridge import settings
from mpibridge.cli.application import Scan, app, refuse_inputs, show, tabulate
from mpibridge.cli.options import PLUGIN, TakesSettings, preprocessing_flags
from mpibridge.errors import PluginError
from mpibridge.mdf.schema import SUFFIXES
from mpibridge.preprocessing import Preprocessing

PICTURES = (".png", ".pdf", ".svg", ".jpg")
"""What `reconstruct --picture` draws."""


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
            refuse_inputs(target, inputs)
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
        show(f"{name}: {inspect.getdoc(cls) or ''}\n")
        table = Table("setting", "default", "type", "meaning", box=None, pad_edge=False)
        for setting in settings.describe(cls.Settings):
            table.add_row(setting.name, str(setting.default), setting.type, setting.text.replace("[", r"\["))
    tabulate(table)
