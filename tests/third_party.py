"""The package that plugins/README.md shows, as files and as an imported plugin: what it says is what is tested."""

from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

from mpibridge import registry

README = Path(__file__).resolve().parents[1] / "plugins" / "README.md"
MODULE = "mpibridge_polish"


def blocks(language: str) -> list[str]:
    """The README's examples in a language: in Python the plugin, its test file, and how it is trained and used."""
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


def write_package(folder: Path) -> Path:
    """The package of the README in ``folder``."""
    (folder / MODULE).mkdir(parents=True)
    (folder / "pyproject.toml").write_text(blocks("toml")[0])
    (folder / MODULE / "__init__.py").write_text(blocks("python")[0])
    return folder


def register(monkeypatch, folder: Path, value: str = f"{MODULE}:Polish") -> type:
    """Import the package of the README as if it were installed; ``mpibridge`` finds the plugin until the test ends."""
    path = write_package(folder) / MODULE / "__init__.py"
    spec = spec_from_file_location(MODULE, path, submodule_search_locations=[str(path.parent)])
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, MODULE, module)
    spec.loader.exec_module(module)
    entry = EntryPoint("polish", value, registry.GROUP)
    vars(entry)["dist"] = SimpleNamespace(name="mpibridge-polish")
    known = registry.entry_points
    monkeypatch.setattr(registry, "entry_points", lambda group: [*known(group=group), entry])
    return module.Polish
