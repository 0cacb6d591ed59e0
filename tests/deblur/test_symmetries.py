"""Mirrored and turned scans: the group, and that a mirrored phantom gives the mirrored images of the scanner."""

import numpy as np
import pytest
import torch

from mpibridge.simulate import phantoms
from mpibridge_plugins.deblur.symmetries import drawn, group
from tests.deblur.examples import GRID, images, of, scan, untrained

DIAGONALS = np.array([[1, 1, 0], [-1, 1, 0]]) / 2**0.5
LINES = np.array([[1.0, 0, 0], [-1.0, 0, 0]])


def test_a_lissajous_scan_has_all_and_mirroring_one_axis_exchanges_its_halves():
    found = {(s.exchange, s.mirror_y, s.mirror_x): s.channels for s in group(8, DIAGONALS, square=True)}
    assert len(found) == 8
    assert found[False, False, False] == (0, 1)
    assert found[False, True, True] == (0, 1)
    assert found[False, True, False] == found[False, False, True] == (1, 0)
    assert found[True, False, False] == (0, 1)
    assert len(group(4, DIAGONALS, square=True)) == 4
    assert len(group(8, DIAGONALS, square=False)) == 4
    assert len(group(1, DIAGONALS, square=True)) == 1


def test_forward_and_backward_lines_run_along_one_direction():
    # Their directions agree up to sign, so nothing tells which image is which: the identity alone.
    assert len(group(8, LINES, square=True)) == 1


def test_the_group_is_closed_and_undone():
    x = torch.rand((1, 2, 5, 5), generator=torch.Generator().manual_seed(0))
    among = group(8, DIAGONALS, square=True)
    every = {tuple(s.of(x).flatten().tolist()) for s in among}
    assert len(every) == 8
    assert {tuple(s.of(t.of(x)).flatten().tolist()) for s in among for t in among} == every
    for s in among:
        assert torch.equal(s.undone(s.plane(x)), x)


def test_pairs_are_mirrored_together():
    x = torch.arange(2 * 2 * 9.0).reshape(2, 2, 3, 3)
    among = group(8, DIAGONALS, square=True)
    images_, target = drawn(x, x[:, 0], among, np.random.default_rng(3))
    for i in range(2):
        fits = [s for s in among if torch.equal(s.of(x[i : i + 1]), images_[i : i + 1])]
        assert len(fits) == 1
        assert torch.equal(fits[0].plane(x[i, 0]), target[i])


@pytest.fixture(scope="module")
def phantom():
    return phantoms.ell(GRID)


@pytest.mark.parametrize("n", range(8))
def test_a_mirrored_phantom_gives_mirrored_images(phantom, n):
    symmetry = group(8, DIAGONALS, square=True)[n]
    drawn_ = phantom.on(GRID, 2)
    mirrored = drawn_.copy(data=symmetry.plane(torch.tensor(drawn_.values)).numpy())
    one, other = (of(scan(p)).images[:, :, 0] for p in (drawn_, mirrored))
    wanted = symmetry.of(torch.tensor(one)).numpy()
    # Samples at the seam of the halves fall to either side; exchanging 20 and 19 cycles is a symmetry only nearly.
    assert abs(other - wanted).max() <= (0.15 if symmetry.exchange else 5e-3) * abs(one).max()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_flipping_the_scan_flips_the_image(phantom, n):
    symmetry = group(4, DIAGONALS, square=True)[n]
    drawn_ = phantom.on(GRID, 2)
    mirrored = drawn_.copy(data=symmetry.plane(torch.tensor(drawn_.values)).numpy())
    method, scans = untrained(symmetries=4), [of(scan(p)) for p in (drawn_, mirrored)]
    one, other = (images(method, s)[0, 0] for s in scans)
    assert one.max() > 0
    # The scans of this coarse path differ by 1.6e-3 where its halves meet, several times that without their surroundings.
    assert abs(other - symmetry.plane(torch.tensor(one)).numpy()).max() <= 1e-2 * one.max()
