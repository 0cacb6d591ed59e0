"""The application: what all commands share, their errors and how they print.

Exit codes: 0; 1 for an error, one line on stderr; 2 for wrong usage; 130 after Ctrl-C.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from mpibridge import __version__
from mpibridge.errors import MDFError, MPIBridgeError, MPIBridgeWarning

ERRORS = (MPIBridgeError, NotImplementedError, OSError)
"""What a user can do something about; anything else is a bug and keeps its traceback."""
UNBOUNDED = 1_000_000
"""Columns of a line that nobody reads on a screen."""


class _Commands(TyperGroup):
    """Turns errors and warnings of the library into one line each, and Ctrl-C into exit code 130."""

    def invoke(self, ctx: Any) -> Any:
        def warn(message: Warning | str, *_: Any, **__: Any) -> None:
            say(f"warning: {message}")

        with warnings.catch_warnings():
            warnings.showwarning = warn
            warnings.simplefilter("always", MPIBridgeWarning)
            try:
                return super().invoke(ctx)
            except ERRORS as error:
                say(f"error: {error}")
                raise typer.Exit(1) from error
            except KeyboardInterrupt as interrupt:
                say("interrupted; nothing was written")
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


def say(text: str) -> None:
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


def show(text: object) -> None:
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


def tabulate(table: Table) -> None:
    """Print a table, as wide as it is if nobody watches: programs want one row per line."""
    console = Console()
    if not console.is_terminal:
        console.width = console.measure(table, options=console.options.update(width=UNBOUNDED)).maximum
    console.print(table, highlight=False)


def _version(wanted: bool) -> None:
    if wanted:
        show(f"mpibridge {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="and exit")
    ] = False,
) -> None:
    """Magnetic Particle Imaging: MDF files in, images out."""


def refuse_inputs(target: Path, inputs: Iterable[str | Path]) -> None:
    """MDFError if the file to be written is one of those that are read."""
    for source in map(Path, inputs):
        if target.exists() and source.exists() and target.samefile(source):
            raise MDFError(target, None, "is a file that is read", "pass another name")
