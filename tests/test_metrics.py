import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpibridge.errors import ShapeError
from mpibridge.metrics import nrmse, psnr


def test_nrmse_of_known_images():
    truth = np.array([[3.0, 4.0]])
    assert nrmse(truth, truth) == 0
    assert nrmse(np.zeros((1, 2)), truth) == 1
    assert nrmse([[3.0, 3.0]], truth) == pytest.approx(1 / 5)


def test_psnr_of_known_images():
    truth = np.array([0.0, 2.0])
    assert psnr([0.2, 2.2], truth) == pytest.approx(20)  # error 0.2 everywhere, peak 2
    assert psnr(truth, truth) == math.inf


@given(st.floats(1e-3, 1e3), st.integers(0, 2**31))
def test_both_ignore_a_common_scale(scale, seed):
    image, truth = np.random.default_rng(seed).standard_normal((2, 3, 4))
    assert nrmse(scale * image, scale * truth) == pytest.approx(nrmse(image, truth))
    assert psnr(scale * image, scale * truth) == pytest.approx(psnr(image, truth))


def test_shapes_must_agree():
    with pytest.raises(ShapeError, match=r"\(2,\) and truth \(3,\)"):
        psnr([1, 2], [1, 2, 3])
    with pytest.raises(ShapeError, match="truth is 0 everywhere"):
        nrmse([1.0], [0.0])
