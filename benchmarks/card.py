"""Tables of a model card, and how they get there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mpibridge.targets import replacing


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
