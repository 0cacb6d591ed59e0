"""Settings as options of the command line: one flag per field of a settings dataclass, and the settings of a plugin."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from difflib import get_close_matches
from functools import wraps
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand

from mpibridge import settings
from mpibridge.errors import SettingsError
from mpibridge.preprocessing import Preprocessing

PLUGIN = "kaczmarz"
PREPROCESSING = frozenset(field.name for field in fields(Preprocessing))


class TakesSettings(TyperCommand):
    """A command whose plugin's settings are options, too: ``--iterations 3`` is ``--set iterations=3``.

    The plugin is what the option or the argument called ``plugin`` says. A setting that is called like an option of the
    command itself needs ``--set``, unless it is called like a field of `Preprocessing` and comes first (`Setting`). Several
    numbers may follow: ``--grid 116 116`` is ``--set grid=116,116``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {option for p in self.params for option in (*p.opts, *p.secondary_opts)}
        own.update(ctx.help_option_names)
        return super().parse_args(ctx, self._as_assignments(ctx, args, own))

    def _as_assignments(self, ctx: Any, args: list[str], own: set[str]) -> list[str]:
        """``args`` with every option that is a setting written as ``--set``; an unknown one is wrong usage."""
        known: dict[str, settings.Setting] | None = None
        words: list[str] = []
        rest = list(args)
        while rest:
            word = rest.pop(0)
            option, equals, value = word.partition("=")
            if word == "--":
                return [*words, word, *rest]
            name = option[2:].replace("-", "_")
            if not option.startswith("--") or (option in own and name not in PREPROCESSING):
                words.append(word)
                continue
            if known is None:
                known = self._settings(ctx, args)
            if option in own and not (name in known and known[name].comes_first):
                words.append(word)
                continue
            positive = name.removeprefix("no_")
            if name in known and known[name].type == "bool":
                value = value if equals else "true"
            elif name in known:
                if not equals and (not rest or rest[0] in own):
                    ctx.fail(f"Option '{option}' requires a value.")
                value = value if equals else rest.pop(0)
                while (
                    known[name] not in ("int", "float") and _is_number(value) and rest and _is_number(rest[0])
                ):
                    value = f"{value},{rest.pop(0)}"
            elif positive in known and known[positive].type == "bool" and not equals:
                name, value = positive, "false"
            else:
                options = [*own, *(f"--{name.replace('_', '-')}" for name in known)]
                close = get_close_matches(option, options, 1)
                ctx.fail(f"No such option: {option}" + (f" (did you mean {close[0]}?)" if close else ""))
            words += ["--set", f"{name}={value}"]
        return words

    def _settings(self, ctx: Any, args: list[str]) -> dict[str, settings.Setting]:
        """The settings of the plugin that ``args`` name."""
        from mpibridge import registry

        parser = self.make_parser(ctx)
        parser.ignore_unknown_options = True
        given, rest, _ = parser.parse_args(list(args))
        # An argument may stand behind options that are not known yet, with their values in its place.
        words = [word for word in (given.get("plugin"), *rest, PLUGIN) if isinstance(word, str)]
        cls = registry.load(next((word for word in words if word in registry.plugins()), words[0]))
        return {setting.name: setting for setting in settings.describe(cls.Settings)}


def _is_number(text: str) -> bool:
    """Of a text, or of several numbers separated by commas."""
    try:
        [float(part) for part in text.split(",")]
    except ValueError:
        return False
    return True


def preprocessing_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` one option per field of `Preprocessing`; it receives them as ``preprocessing``."""
    return settings_flags(Preprocessing, "preprocessing", _preprocessing)(command)


def settings_flags(
    cls: type, name: str, build: Callable[[dict[str, Any]], Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option per field of a settings dataclass; it receives ``name``, built of those that were given."""
    hints = get_type_hints(cls)
    texts = {setting.name: setting.text for setting in settings.describe(cls)}
    options = []
    for field in fields(cls):
        kinds = [kind for kind in get_args(hints[field.name]) or (hints[field.name],) if kind is not NoneType]
        kind: Any = kinds[0] if kinds[0] in (bool, int, float) else str
        default = field.default if field.default != () else None
        annotation = Annotated[
            kind | None,
            typer.Option(help=texts[field.name].replace("[", r"\["), rich_help_panel=cls.__name__),
        ]
        options.append(
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
        )

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_flags(**given: Any) -> None:
            values = {}
            for option in options:
                value = given.pop(option.name)
                if value != option.default:
                    values[option.name] = _parsed(option.name, value, hints[option.name])
            command(**given, **{name: build(values)})

        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != name]
        own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        with_flags.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
        with_flags.__annotations__ = {p.name: p.annotation for p in (*own, *options)}
        return with_flags

    return decorate


def _parsed(name: str, value: Any, hint: Any) -> Any:
    """The value of an option; SettingsError if it holds a text where the field of that name takes numbers only."""
    if not isinstance(value, str) or hint is str:
        return value
    parsed = settings.parse_value(value)
    parts = parsed if isinstance(parsed, tuple) else (parsed,)
    if hint is not Any and str not in get_args(hint) and any(isinstance(part, str) for part in parts):
        raise SettingsError(f"{name} must be numbers separated by commas, found {value!r}")
    return parsed


def _preprocessing(values: dict[str, Any]) -> Preprocessing:
    from mpibridge.files import open

    background = values.get("background")
    if isinstance(background, str) and background not in ("mean", "interpolate"):
        values["background"] = open(background)
    try:
        return Preprocessing(**values)
    except SettingsError:
        raise
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{values} are no preprocessing settings: {error}") from error
