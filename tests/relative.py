"""How far two arrays are apart."""

import numpy as np


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Relative L2 distance; the shapes must agree."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, f"{found.shape} is not {wanted.shape}"
    return float(np.linalg.norm(found.ravel() - wanted.ravel()) / np.linalg.norm(wanted.ravel()))
