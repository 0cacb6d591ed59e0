"""Commands on this machine: doctor, setup-julia."""

from __future__ import annotations

from typing import Annotated

import typer

from mpibridge.cli.application import app, say, show, tabulate


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
    tabulate(draw(findings))
    show(f"\n{recipe()}")
    if start_julia:
        show(f"\n{julia.start()}")
    if breaks_native(findings):
        raise typer.Exit(1)


@app.command("setup-julia")
def setup_julia() -> None:
    """Install Julia's packages (and Julia, if there is none), and precompile them: once, with a network."""
    from mpibridge.julia_setup import set_up

    set_up(lambda done, total, text: say(f"[{done}/{total}] {text}"))
