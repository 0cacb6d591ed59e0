"""Every registered plugin keeps the contract, by the function that third parties use."""

import numpy as np
import pytest

from mpibridge import registry
from mpibridge.errors import SettingsError
from mpibridge.plugin import make_settings
from mpibridge.testing import check_plugin

SETTINGS: dict[str, dict[str, object]] = {
    "bilstm": {"units": 8, "width": 8, "values": 2},
    "cascade": {"width": 8},
    "nir": {"width": 24, "iterations": 80},
    "score": {"width": 8, "samples": 2, "steps": 3},
}
"""What makes a plugin quick on the examples, where its defaults are not."""


@pytest.mark.filterwarnings("ignore:.*do not explain their data")  # said of fits as quick as these
@pytest.mark.parametrize("name", registry.plugins())
def test_the_contract(name):
    check_plugin(registry.load(name), settings=SETTINGS.get(name))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", ["kaczmarz", "xspace"])
def test_on_other_examples(name, seed):
    check_plugin(registry.load(name), seed=seed)


@pytest.mark.parametrize("name", registry.plugins())
def test_an_unknown_setting_is_refused(name):
    with pytest.raises(SettingsError, match=f"plugin '{name}' has no setting 'no_such_setting'"):
        make_settings(registry.load(name), {"no_such_setting": np.pi})
