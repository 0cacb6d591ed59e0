"""`Comparison`: what was found, as a table for the terminal, for pandas, for a paper, and as a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from mpibridge.comparison.pictures import REFERENCE
from mpibridge.comparison.scores import HIGH, LOW

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure
    from rich.table import Table

LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


@dataclass(frozen=True, repr=False, eq=False)
class Comparison:
    """Images, and what can be said about them.

    images: by name, as they were given; compared voxel by voxel, at the positions of the reference. reference: None if
    there was none; differences are then to the first image. table: a pandas DataFrame, one row per image, units in the
    names of the columns, ``nan`` where nothing can be said; means over frames, beside them the bounds of their intervals.
    notes: what the columns mean, and why cells are empty. factors: by which images were multiplied before they were
    compared; 1 unless `compare` was asked to scale.
    """

    images: Mapping[str, xr.Dataset]
    reference: xr.Dataset | None
    table: pandas.DataFrame
    notes: tuple[str, ...]
    factors: Mapping[str, float]

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """The table as text: its columns, and its rows, with intervals in brackets behind their mean; empty for nan."""
        table = self.table
        columns = [c for c in table.columns if not c.endswith((LOW, HIGH))]
        rows = []
        for name, row in table.iterrows():
            texts = []
            for column in columns:
                text = _number(row[column])
                low, high = (row.get(column + end, float("nan")) for end in (LOW, HIGH))
                texts.append(text if isnan(low) or not text else f"{text} [{_number(low)}, {_number(high)}]")
            rows.append([str(name), *texts])
        return ["image", *columns], rows

    def to_rich(self) -> Table:
        """The table for a terminal; print it with `rich.print`. The notes stand below it."""
        from rich.markup import escape
        from rich.table import Table

        columns, rows = self.cells()
        caption = "\n".join(map(escape, self.notes))
        table = Table(box=None, pad_edge=False, caption=caption, caption_justify="left", caption_style="dim")
        for column in columns:
            table.add_column(
                escape(column), justify="left" if column == "image" else "right", overflow="fold"
            )
        for row in rows:
            table.add_row(*map(escape, row))
        return table

    def to_latex(self) -> str:
        """The table for a paper: a ``tabular`` with the rules of the package booktabs; the notes as comments before it."""
        columns, rows = self.cells()
        lines = [" & ".join(map(_latex, row)) + r" \\" for row in (columns, *rows)]
        notes = [f"% {note}" for note in self.notes]
        begin = rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}"
        body = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", r"\end{tabular}"]
        return "\n".join([*notes, begin, *body]) + "\n"

    def plot(self, *, frame: int = 0, contrast: int = 0, title: str = "") -> Figure:
        """The reference and the images side by side in the same colours, times their factors (`mpibridge.plot.compare`)."""
        from mpibridge import plot

        panels: dict[str, xr.Dataset | xr.DataArray] = (
            {} if self.reference is None else {REFERENCE: self.reference}
        )
        for name, image in self.images.items():
            panels[name] = image["concentration"] * self.factors[name]
            panels[name].attrs = image["concentration"].attrs
        return plot.compare(panels, frame=frame, contrast=contrast, title=title)

    def to_html(
        self, path: str | Path, *, title: str = "Comparison of images", max_megabytes: float = 64
    ) -> Path:
        """Write one page that holds everything and needs no network: images, differences, profiles, table, provenance.

        max_megabytes: of image data in the page; more are thinned to evenly chosen frames, with a warning. The file appears
        when it is complete. MDFError if it cannot be written.
        """
        from mpibridge.comparison.page import write

        return write(self, path, title=title, max_megabytes=max_megabytes)

    def __repr__(self) -> str:
        columns, rows = self.cells()
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0]), *(t.rjust(w) for t, w in zip(row[1:], widths[1:], strict=True))]
            )
            for row in (columns, *rows)
        ]
        return "\n".join([*(line.rstrip() for line in lines), "", *self.notes])

    def _repr_html_(self) -> str:
        from html import escape

        def row(cells: list[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        columns, rows = self.cells()
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        body = "".join(row(cells, "td") for cells in rows)
        return f"<table><thead>{row(columns, 'th')}</thead><tbody>{body}</tbody></table><ul>{notes}</ul>"


def _number(value: float) -> str:
    return "" if isnan(value) else f"{value:.4g}".replace("inf", "∞")


def _latex(text: str) -> str:
    escaped = "".join(LATEX.get(c, c) for c in text)
    for symbol, command in (("∞", r"$\infty$"), ("‖", r"$\|$"), ("−", "$-$")):
        escaped = escaped.replace(symbol, command)
    return escaped
