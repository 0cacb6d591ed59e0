"""What tests of training share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    """Sums are rounded alike, and small networks are quicker. Numba's threads set the number anew, hence every test does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
