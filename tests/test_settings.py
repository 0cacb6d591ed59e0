from dataclasses import dataclass, field

import numpy as np
import pytest

from mpibridge import registry
from mpibridge.errors import SettingsError
from mpibridge.plugin import Plugin, make_settings
from mpibridge.settings import describe, parse_assignments, parse_value


@dataclass(frozen=True)
class Example:
    iterations: int = 10  # at least 1
    λ: float = 0.0  # relative
    band: tuple = ()
    """Hz,
    low and high."""
    name: str = field(default="a", metadata={"help": "what it is called"})


def test_describe_takes_the_authors_words():
    found = {s.name: (s.type, s.default, s.text) for s in describe(Example)}
    assert found == {
        "iterations": ("int", 10, "at least 1"),
        "λ": ("float", 0.0, "relative"),
        "band": ("tuple", (), "Hz, low and high."),
        "name": ("str", "a", "what it is called"),
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 1e-3),
        ("none", None),
        ("True", True),
        ("no", False),
        ("0,2", (0, 2)),
        ("(1e5, 2e5),", ((1e5, 2e5),)),
        ("whitening,row_norm", ("whitening", "row_norm")),
        ("mean", "mean"),
    ],
)
def test_values(text, value):
    assert parse_value(text) == value


def test_assignments():
    assert parse_assignments(["iterations=3", "l-1 = 0.5"]) == {"iterations": 3, "l_1": 0.5}
    with pytest.raises(SettingsError, match="name=value"):
        parse_assignments(["iterations"])
    with pytest.raises(SettingsError, match="twice"):
        parse_assignments(["a=1", "a=2"])


@pytest.mark.parametrize(
    ("plugin", "name", "value"),
    [
        ("kaczmarz", "iterations", "abc"),
        ("kaczmarz", "iterations", 2.5),
        ("kaczmarz", "iterations", True),
        ("kaczmarz", "iterations", None),
        ("kaczmarz", "iterations", float("inf")),
        ("cgnr", "regularization", None),
        ("cgnr", "regularization", "much"),
        ("cgnr", "regularization", float("nan")),
        ("cgnr", "regularization", True),
        ("kaczmarz", "l1", (1, 2)),
        ("kaczmarz", "real", "perhaps"),
        ("tv", "positive", 1),
        ("tv", "rho", "half"),
        ("tv", "iterations_cg", 0),
        ("fista", "step", "small"),
        ("fista", "step", 0),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(plugin, name, value):
    with pytest.raises(SettingsError, match=name) as refused:
        make_settings(registry.load(plugin), {name: value})
    assert repr(value) in str(refused.value)


def test_numbers_of_numpy_are_numbers():
    given = {"iterations": np.int64(3), "regularization": np.float32(0.5), "real": np.True_}
    settings = make_settings(registry.load("kaczmarz"), given)
    assert (settings.iterations, settings.regularization, settings.real) == (3, 0.5, True)


@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_errors_of_foreign_settings_say_whose_they_are(error):
    @dataclass(frozen=True)
    class Settings:
        size: int = 1

        def __post_init__(self):
            raise error("too large")

    foreign = type("Foreign", (Plugin,), {"name": "foreign", "Settings": Settings})
    with pytest.raises(SettingsError, match="plugin 'foreign': too large"):
        make_settings(foreign, {"size": 3})
