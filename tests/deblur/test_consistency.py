"""Data consistency: steps of the exact operator towards the data, whatever the scale of the data."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mpibridge.errors import SettingsError
from mpibridge.simulate import Particles, phantoms
from mpibridge.xspace import ImageOperator
from mpibridge_plugins.deblur.consistency import consistent, step_length
from tests.deblur.examples import GRID, images, of, problem, scan, untrained

BETA = Particles(core_diameter=25e-9).beta


@pytest.fixture(scope="module")
def operator():
    return ImageOperator(problem().gridding, BETA, margin=3)


@pytest.fixture(scope="module")
def truth():
    return torch.tensor(phantoms.ell(GRID).on(GRID, 3).values).float()


def padded(image):
    return torch.nn.functional.pad(image, (3,) * 4)


def test_the_step_is_that_of_the_largest_eigenvalue(operator):
    n = operator.grid.n_voxels
    columns = torch.eye(n).reshape(n, *operator.grid.shape[1:])
    matrix = operator.forward(columns).flatten(1)
    largest = float(torch.linalg.matrix_norm(matrix, ord=2)) ** 2
    assert step_length(operator, columns) == pytest.approx(0.95 / largest, rel=1e-2)


def test_an_image_that_explains_the_data_stays(operator, truth):
    data = 3e-7 * operator.forward(padded(truth))
    found = consistent(truth, data, operator, 5, step_length(operator, truth))
    torch.testing.assert_close(found, truth, atol=1e-3, rtol=0)


def test_steps_bring_an_image_nearer_to_data_and_truth(operator, truth):
    data = 3e-7 * operator.forward(padded(truth))
    start = torch.nn.functional.avg_pool2d(truth, 5, 1, 2)
    start = start * (truth.sum() / start.sum())
    length = step_length(operator, truth)
    errors = [float((consistent(start, data, operator, n, length) - truth).norm()) for n in (1, 5, 20, 80)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.7 * float((start - truth).norm())


def test_the_scale_of_the_data_changes_nothing_and_no_value_is_negative(operator, truth):
    generator = torch.Generator().manual_seed(0)
    data = operator.forward(padded(truth))
    data = data + 0.1 * data.max() * torch.randn(data.shape, generator=generator)
    one, other = (
        consistent(truth, factor * data, operator, 4, step_length(operator, truth)) for factor in (1, 1e-7)
    )
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    assert one.min() == 0


def test_empty_images_and_data_stay_empty(operator, truth):
    data = operator.forward(padded(truth))
    assert not consistent(0 * truth, data, operator, 3, 1.0).any()
    assert torch.equal(consistent(truth, 0 * data, operator, 3, 1.0), truth)


def test_a_scan_tells_the_plugin_all_that_it_needs():
    recorded = of(scan(phantoms.ell(GRID)))
    plain, more = (untrained(recorded, data_consistency=choice) for choice in (False, True))
    one, other = images(plain, recorded), images(more, recorded)
    operator = ImageOperator(recorded.gridding, BETA)

    def residual(image):
        shown = operator.forward(torch.tensor(image[:, 0])).numpy()
        data = recorded.images[:, :, 0]
        return np.linalg.norm(shown * (shown * data).sum() / (shown**2).sum() - data)

    assert residual(other) < residual(one)


def test_images_of_unknown_origin_are_refused():
    made = replace(problem(), gridding=None)
    with pytest.raises(SettingsError, match="data_consistency=True needs the path of the scan"):
        images(untrained(made, data_consistency=True), made)
