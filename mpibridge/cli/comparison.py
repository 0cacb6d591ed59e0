"""Commands on several images: compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpibridge.cli.application import app, refuse_inputs, show, tabulate
from mpibridge.cli.options import preprocessing_flags
from mpibridge.errors import SettingsError
from mpibridge.preprocessing import Preprocessing


@app.command(
    epilog="Example: mpibridge compare kaczmarz.mdf score.mdf --reference phantom.mdf --html report.html"
)
@preprocessing_flags
def compare(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES", help="MDF reconstructions of any software")
    ],
    names: Annotated[
        str | None, typer.Option(help="names of the images, separated by commas; else those of the files")
    ] = None,
    reference: Annotated[Path | None, typer.Option(help="MDF file of the truth")] = None,
    scan: Annotated[Path | None, typer.Option(help="the scan, for the data residual")] = None,
    system_matrix: Annotated[
        list[Path] | None,
        typer.Option("--system-matrix", "-s", help="its calibration; once per contrast or patch"),
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help="least_squares: multiply every image by its best factor")
    ] = None,
    max_shift: Annotated[
        float | None,
        typer.Option(metavar="MM", help="also the best PSNR and SSIM over shifts up to this, in mm"),
    ] = None,
    align: Annotated[
        str,
        typer.Option(
            help="positions: voxels at the same places; voxels: one by one, whatever positions the files state"
        ),
    ] = "positions",
    seed: Annotated[int, typer.Option(min=0, help="of the intervals over frames")] = 0,
    html: Annotated[Path | None, typer.Option(help="write a report to look into, one .html file")] = None,
    latex: Annotated[Path | None, typer.Option(help="write the table as .tex")] = None,
    *,
    preprocessing: Preprocessing,
) -> None:
    """Compare images: measures, and a report with differences and profiles. Preprocessing is that of the data residual."""
    from mpibridge.comparison import compare
    from mpibridge.comparison.page import LATEX_SUFFIXES, SUFFIXES, write_text
    from mpibridge.targets import check_target

    inputs = [*images, *(system_matrix or ()), *(path for path in (reference, scan) if path is not None)]
    for target, suffixes in ((html, SUFFIXES), (latex, LATEX_SUFFIXES)):
        if target is not None:
            refuse_inputs(target, inputs)
            check_target(target, suffixes)
    comparison = compare(
        images if names is None else _by_name(names, images),
        reference=reference,
        scan=scan,
        system_matrix=system_matrix or None,
        preprocessing=None if preprocessing == Preprocessing() else preprocessing,
        scale=scale,
        max_shift=None if max_shift is None else max_shift * 1e-3,
        align=align,
        seed=seed,
    )
    table = comparison.to_rich()
    table.caption = None  # the notes wrap like text, not like a table
    tabulate(table)
    for note in comparison.notes:
        show(note)
    if html is not None:
        show(comparison.to_html(html))
    if latex is not None:
        show(write_text(latex, comparison.to_latex(), LATEX_SUFFIXES))


def _by_name(names: str, images: list[Path]) -> dict[str, Path]:
    parts = [name.strip() for name in names.split(",")]
    if len(parts) != len(images) or len(set(parts)) != len(parts) or not all(parts):
        raise SettingsError(
            f"--names needs {len(images)} different names separated by commas, found {names!r}"
        )
    return dict(zip(parts, images, strict=True))
