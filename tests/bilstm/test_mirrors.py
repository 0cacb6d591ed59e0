"""Scans of mirrored objects are recorded scans in another order; what is computed from them is mirrored, too."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mpibridge.execution import execute
from mpibridge.model import Grid
from mpibridge.progress import silent
from mpibridge.simulate.presets import preset
from mpibridge.simulate.response import response
from mpibridge_plugins.bilstm.mirrors import drawn, mirrors
from tests.bilstm.examples import GRID, pairs, scanner, untrained


def of(preset_, grid=GRID):
    return mirrors(torch.tensor(preset_.scanner.trajectory[0]), grid, preset_.scanner.n_receivers)


def with_sequence(**changes):
    base = scanner()
    return replace(base, scanner=replace(base.scanner, sequence=replace(base.scanner.sequence, **changes)))


@pytest.fixture(scope="module")
def images():
    """Without any symmetry: (frame, z, y, x)."""
    return torch.from_numpy(np.random.default_rng(3).random((3, *GRID.shape), np.float32) ** 4)


def voltages(preset_, images):
    waveform = images.flatten(1) @ torch.from_numpy(response(preset_.scanner, GRID)).float()
    return waveform.unflatten(1, (preset_.scanner.n_receivers, -1))


@pytest.mark.parametrize(
    ("preset_", "n"),
    [
        (scanner(), 4),
        (with_sequence(phase=(np.pi / 2, 0.0, 0.0)), 2),  # backwards: the same mirror
        (with_sequence(phase=(0.3, 0.1, 0.0)), 2),  # backwards: no sample on another
    ],
    ids=["sine", "cosine and sine", "any phase"],
)
def test_the_voltages_of_a_mirrored_object_are_known(preset_, n, images):
    found = of(preset_)
    assert len(found) == n
    waveform = voltages(preset_, images)
    for mirror in found:
        expected = voltages(preset_, mirror.image(images))
        assert (mirror.waveform(waveform) - expected).norm() < 1e-4 * expected.norm()
    assert len({mirror.dims for mirror in found}) == n
    assert torch.equal(found[0].waveform(waveform), waveform)


def test_a_path_that_does_not_lie_round_the_middle_has_none():
    elsewhere = replace(GRID, center=(5e-3, 3e-3, 0.0))
    assert [mirror.dims for mirror in of(scanner(), elsewhere)] == [()]


def test_receivers_along_no_axes_have_none():
    path = torch.tensor(scanner().scanner.trajectory[0])
    assert [len(mirrors(path, GRID, n)) for n in (1, 2, 3, 4)] == [4, 4, 4, 1]


def test_every_pair_stays_a_pair(images):
    source = scanner()
    waveform, target = drawn(
        voltages(source, images).repeat(8, 1, 1),
        images.repeat(8, 1, 1, 1),
        of(source),
        np.random.default_rng(0),
    )
    np.testing.assert_allclose(waveform, voltages(source, target), atol=1e-4 * float(waveform.abs().max()))
    assert len(np.unique(target.numpy(), axis=0)) > len(images)


def test_the_image_of_a_mirrored_scan_is_mirrored():
    problem, _ = pairs()
    waveform = torch.from_numpy(problem.waveform)

    def made(method, values):
        given = replace(problem, waveform=values.numpy())
        return torch.from_numpy(
            execute(method, given, generator=np.random.default_rng(0), report=silent).image
        )

    method, alone = untrained(mirrored=True), untrained()
    torch.manual_seed(1)
    for parameter in method.network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    alone.network.load_state_dict(method.network.state_dict())
    image = made(method, waveform)
    apart = []
    for mirror in method.network.mirrors:
        mirrored = made(method, mirror.waveform(waveform))
        assert (mirrored - mirror.image(image)).abs().max() < 1e-3 * image.max()
        apart.append(mirror.image(made(alone, mirror.waveform(waveform))))
    assert (torch.stack(apart).mean(0) - image).abs().max() < 1e-4 * image.max()
    assert (apart[1] - apart[0]).abs().max() > 0.05 * image.max()


def test_the_presets_in_the_plane_have_all_four():
    for name in ("mnist-2d", "openmpi-2d"):
        assert len(of(preset(name), Grid((8, 8, 1), (0.02, 0.02, 1e-3)))) == 4
