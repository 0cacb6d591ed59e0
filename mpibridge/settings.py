"""Settings as people read and type them: the fields of a frozen dataclass with their documentation, and text to values."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from typing import Any

from mpibridge.errors import SettingsError

WORDS = {"none": None, "true": True, "false": False, "yes": True, "no": False}


@dataclass(frozen=True)
class Setting:
    """One field of a settings dataclass. text: unit, range and meaning, as its author wrote them beside it.

    comes_first: whether it goes before an option of the command line that has its name, by ``metadata={"comes_first": True}``.
    """

    name: str
    type: str
    default: Any
    text: str
    comes_first: bool = False


def describe(cls: type) -> list[Setting]:
    """The fields of a settings dataclass in order.

    The text of a field is ``metadata["help"]``, else the string below it, else the comment behind it.
    """
    written = _texts(cls)
    return [
        Setting(
            field.name,
            field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type)),
            field.default_factory() if field.default_factory is not MISSING else field.default,
            str(field.metadata.get("help") or written.get(field.name, "")),
            bool(field.metadata.get("comes_first", False)),
        )
        for field in fields(cls)
    ]


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Keywords from ``name=value`` texts. SettingsError if one has no ``=`` or a name comes twice."""
    values: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise SettingsError(f"{text!r} is no setting; write name=value")
        if name in values:
            raise SettingsError(f"{name} is set twice")
        values[name] = parse_value(value.strip())
    return values


def parse_value(text: str) -> Any:
    """A number, a word of `WORDS`, a sequence of them separated by commas, or the text itself.

    >>> parse_value("1e-3"), parse_value("none"), parse_value("0,2"), parse_value("whitening")
    (0.001, None, (0, 2), 'whitening')
    """
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return tuple(parse_value(part.strip()) for part in text.split(",")) if "," in text else text


def _texts(cls: type) -> dict[str, str]:
    """What stands beside the fields of a class in its source; empty where there is no source."""
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):
        return {}
    lines = source.splitlines()
    (definition,) = ast.parse(source).body
    statements = getattr(definition, "body", [])
    texts = {}
    for statement, following in zip(statements, [*statements[1:], None], strict=True):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            texts[statement.target.id] = " ".join(str(following.value.value).split())
        else:
            rest = lines[(statement.end_lineno or 1) - 1].encode()[statement.end_col_offset or 0 :].decode()
            texts[statement.target.id] = rest.strip().lstrip("#").strip()
    return texts
