"""The contract of a plugin as a test: a third party's whole test file.

from mpibridge.testing import check_plugin

def test_contract():
    check_plugin(MyMethod)
"""

from mpibridge.testing.check import check_plugin
from mpibridge.testing.examples import example

__all__ = ["check_plugin", "example"]
