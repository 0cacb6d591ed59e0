"""Tables of a model card, and how they get there."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.markdown import Markdown

from mpibridge.targets import replacing

DPI = 110
"""Of the pictures of a card."""


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *("| " + " | ".join(str(row[n]) for n in names) + " |" for row in rows)]) + "\n"


def put(file: Path, sections: Mapping[str, str]) -> None:
    """Replace what stands between <!-- name --> and <!-- /name --> in a text."""
    text = file.read_text()
    for name, content in sections.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{file} has no section {name!r}")
        text = pattern.sub(lambda match, content=content: match[1] + content + match[2], text)
    with replacing(file, (".md",)) as path:
        path.write_text(text)


def same_as_before(out: Path, what: Mapping[str, Any]) -> None:
    """Ends the program if the results in a folder are those of something else, such as other weights or fewer frames."""
    file = out / "of.json"
    if file.exists() and json.loads(file.read_text()) != json.loads(json.dumps(what)):
        raise SystemExit(
            f"{file} says that these results are of something else; choose another --out, or delete it and them"
        )
    file.write_text(json.dumps(what, indent=1))


class Parts:
    """Results that lie in a folder as JSON, and are made once. wanted: None for all."""

    def __init__(self, out: Path, wanted: set[str] | None) -> None:
        self.out, self.wanted = out, wanted

    def __call__(self, name: str, make: Callable[[], Any]) -> Any:
        """What ``make`` gives; None if it is not asked for and was not made before."""
        file = self.out / f"{name}.json"
        if not file.exists():
            if self.wanted is not None and not any(name.startswith(w) for w in self.wanted):
                return None
            started = time.perf_counter()
            value = make()
            with replacing(file, (".json",)) as path:
                path.write_text(json.dumps(value, indent=1, ensure_ascii=False))
            Console().print(f"{name}: {time.perf_counter() - started:.0f} s")
        return json.loads(file.read_text())


def keep(out: Path, texts: Mapping[str, str], pictures: Mapping[str, Figure]) -> None:
    """Write tables and pictures into a folder, and show the tables."""
    (out / "sections.json").write_text(json.dumps(texts, indent=1, ensure_ascii=False))
    for name, figure in pictures.items():
        figure.savefig(out / name, dpi=DPI)
    for name, text in texts.items():
        Console().print(f"[b]{name}[/b]", Markdown(text))
