"""Small networks are quickest on one thread, above all where others compute beside them."""

import pytest


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)
