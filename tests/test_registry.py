"""Plugins come through entry points, are listed without being imported, and break clearly."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

from mpibridge import registry
from mpibridge.errors import PluginError


def entry(name: str, value: str, package: str) -> EntryPoint:
    made = EntryPoint(name, value, registry.GROUP)
    vars(made)["dist"] = SimpleNamespace(name=package)
    return made


def register(monkeypatch, *entries: EntryPoint) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: list(entries))


def test_built_in_plugins_are_registered():
    assert {"kaczmarz", "cgnr", "fista", "tv"} <= set(registry.plugins())
    assert registry.load("kaczmarz").name == "kaczmarz"


def test_listing_imports_no_plugin():
    code = (
        "import sys; from mpibridge import registry; print(list(registry.plugins())); "
        "sys.exit(any(m.startswith('mpibridge_plugins') for m in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_two_packages_may_not_claim_one_name(monkeypatch):
    register(monkeypatch, entry("mine", "a:A", "first"), entry("mine", "b:B", "second"))
    with pytest.raises(PluginError, match="a:A of first and b:B of second"):
        registry.plugins()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("no_such_module:Plugin", "cannot be imported from no_such_module:Plugin"),
        ("mpibridge.model:Grid", "is no subclass"),
        ("mpibridge_plugins.classical:Kaczmarz", "registered as 'mine' calls itself 'kaczmarz'"),
    ],
)
def test_a_broken_plugin_says_what_is_wrong(value, said, monkeypatch):
    register(monkeypatch, entry("mine", value, "theirs"))
    assert list(registry.plugins()) == ["mine"]
    with pytest.raises(PluginError, match=said):
        registry.load("mine")


def test_another_api_version(monkeypatch):
    cls = registry.load("kaczmarz")
    monkeypatch.setattr(cls, "api_version", 99)
    with pytest.raises(PluginError, match="plugin API 99, this mpibridge has 1"):
        registry.load("kaczmarz")
