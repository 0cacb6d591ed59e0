"""Progress of long work: a callable ``report(done, total, text)``, or a bar in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mpibridge.plugin import Report


def silent(done: int, total: int, text: str) -> None:
    """Report to nobody."""


@contextmanager
def reporting(progress: bool | Report | None) -> Iterator[Report]:
    """``progress`` itself if it is callable, a rich bar if it is True, else silence. The bar goes to stderr."""
    if callable(progress):
        yield progress
    elif not progress:
        yield silent
    else:
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("reconstructing", total=None)
            yield lambda done, total, text: bar.update(task, completed=done, total=total, description=text)
