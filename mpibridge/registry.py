"""Find and load plugins: entry points of the group ``mpibridge.plugins``, built-in and third-party alike."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points

from mpibridge.errors import PluginError
from mpibridge.plugin import Plugin, check_contract

GROUP = "mpibridge.plugins"


@dataclass(frozen=True)
class PluginEntry:
    """A registered plugin that has not been imported: its name, where it lives, and the package that brought it."""

    name: str
    location: str
    package: str
    _entry: EntryPoint

    def load(self) -> type[Plugin]:
        """Import the plugin. PluginError if that fails or it breaks the contract."""
        try:
            cls = self._entry.load()
        except (ImportError, AttributeError) as error:
            raise PluginError(
                f"plugin {self.name!r} of {self.package} cannot be imported from {self.location} ({error})"
            ) from error
        return check_contract(cls, self.name)


def plugins() -> dict[str, PluginEntry]:
    """Every registered plugin by name; nothing is imported. PluginError if two packages claim one name."""
    found: dict[str, PluginEntry] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        package = entry.dist.name if entry.dist is not None else "an unknown package"
        known = found.get(entry.name)
        if known is not None and known.location != entry.value:
            raise PluginError(
                f"two plugins are called {entry.name!r}: {known.location} of {known.package} and {entry.value} of "
                f"{package}; uninstall one"
            )
        found[entry.name] = PluginEntry(entry.name, entry.value, package, entry)
    return found


def load(name: str) -> type[Plugin]:
    """The plugin called ``name``. PluginError names the known ones and the nearest if there is none."""
    known = plugins()
    if name not in known:
        close = get_close_matches(name, list(known), 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise PluginError(f"there is no plugin {name!r}{hint} (installed: {', '.join(known) or 'none'})")
    return known[name].load()
