from dataclasses import dataclass, field

import pytest

from mpibridge.errors import SettingsError
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
