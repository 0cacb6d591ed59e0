"""What tests of training share."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    """Small networks are quicker in one thread, above all where several test processes share the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
