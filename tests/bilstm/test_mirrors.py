"""Scans of mirrored objects are recorded scans in another order; what is computed from them is mirrored, too."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mpibridge.errors import MPIBridgeWarning
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


def with_coils(*directions):
    base = scanner()
    return replace(base, scanner=replace(base.scanner, sensitivity=directions))


def voltages(preset_, images, grid=GRID):
    waveform = images.flatten(1) @ torch.from_numpy(response(preset_.scanner, grid)).float()
    return waveform.unflatten(1, (preset_.scanner.n_receivers, -1))


@pytest.fixture(scope="module")
def images():
    """Without any symmetry: (frame, z, y, x)."""
    return torch.from_numpy(np.random.default_rng(3).random((3, *GRID.shape), np.float32) ** 4)


PATCH = with_sequence(patches=((5e-3, 3e-3, 0.0),))


@pytest.mark.parametrize(
    ("preset_", "n"),
    [
        (scanner(), 4),
        (with_sequence(phase=(np.pi / 2, 0.0, 0.0)), 2),  # backwards: the same mirror
        (with_sequence(phase=(0.3, 0.1, 0.0)), 2),  # backwards: no sample on another
        (with_sequence(amplitude=(0.0, 20e-3, 0.0)), 4),  # a line along y, one receiver
        (with_sequence(amplitude=(20e-3, 0.0, 20e-3)), 4),  # receivers along x and z
        (with_coils((1, 0, 0), (0, 1, 0), (0, 0, 1)), 4),
        (PATCH, 4),
    ],
    ids=["sine", "cosine and sine", "any phase", "along y", "x and z", "three coils", "patch"],
)
def test_the_voltages_of_a_mirrored_object_are_known(preset_, n, images):
    middle = tuple(preset_.scanner.trajectory[0].mean(0).round(6) * [1, 1, 0] + [0, 0, 2e-3])
    grid = replace(GRID, center=middle)
    found = of(preset_, grid)
    assert len(found) == n
    waveform = voltages(preset_, images, grid)
    for mirror in found:
        expected = voltages(preset_, mirror.image(images), grid)
        assert (mirror.waveform(waveform) - expected).norm() < 1e-5 * expected.norm()
    assert len({mirror.dims for mirror in found}) == n
    assert torch.equal(found[0].waveform(waveform), waveform)


def test_a_path_that_does_not_lie_round_the_middle_has_none():
    elsewhere = replace(GRID, center=(5e-3, 3e-3, 0.0))
    assert [mirror.dims for mirror in of(scanner(), elsewhere)] == [()]


def test_receivers_whose_axes_are_not_known_have_none():
    path = torch.tensor(scanner().scanner.trajectory[0])
    assert [len(mirrors(path, GRID, n)) for n in (1, 2, 3, 4)] == [1, 4, 4, 1]


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

    method = untrained(mirrored=True)
    torch.manual_seed(1)
    for parameter in method.network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    image, apart = made(method, waveform), []
    for mirror in method.network.mirrors:
        mirrored = made(method, mirror.waveform(waveform))
        assert (mirrored - mirror.image(image)).abs().max() < 1e-3 * image.max()
        with torch.no_grad():
            apart.append(mirror.image(method.network(mirror.waveform(waveform)).image))
    mean = torch.stack(apart).mean(0).clamp_min(0)
    assert (mean - image[:, 0]).abs().max() < 1e-4 * image.max()
    assert (apart[1] - apart[0]).abs().max() > 0.05 * image.max()


def test_the_presets_in_the_plane_have_all_four():
    for name in ("mnist-2d", "openmpi-2d"):
        assert len(of(preset(name), Grid((8, 8, 1), (0.02, 0.02, 1e-3)))) == 4


def test_training_mirrors_pairs_and_nothing_else():
    problem, target = pairs()
    tensors = replace(
        problem, waveform=torch.from_numpy(problem.waveform), trajectory=torch.tensor(problem.trajectory)
    )
    truth = torch.from_numpy(target)
    mirrored, plain = untrained(mirrored=True), untrained()

    def loss(method, given, wanted):
        return float(method.loss(given, wanted, generator=np.random.default_rng(7)).detach())

    for method in (mirrored, plain):
        method.network.eval()
    assert loss(mirrored, tensors, truth) == loss(plain, tensors, truth)
    for method in (mirrored, plain):
        method.network.train()
    waveform, image = drawn(tensors.waveform, truth, mirrored.network.mirrors, np.random.default_rng(7))
    expected = loss(plain, replace(tensors, waveform=waveform), image)
    assert loss(mirrored, tensors, truth) == expected
    assert loss(untrained(), tensors, truth) != expected
    for name, value in plain.network.state_dict().items():
        assert torch.equal(mirrored.network.state_dict()[name], value), name


def test_values_of_the_trace_are_those_of_the_scan():
    problem, _ = pairs()
    one, two = (
        execute(untrained(mirrored=m), problem, generator=np.random.default_rng(0), report=silent).trace
        for m in (True, False)
    )
    np.testing.assert_allclose(one["values"], two["values"], rtol=1e-5, atol=1e-9)


def test_a_path_without_mirrors_is_said():
    problem, _ = pairs()
    aside = replace(problem, grid=replace(problem.grid, center=(5e-3, 3e-3, 0.0)))
    tensors = replace(
        aside, waveform=torch.from_numpy(aside.waveform), trajectory=torch.tensor(aside.trajectory)
    )
    method = untrained(mirrored=True)
    with pytest.warns(MPIBridgeWarning, match="mirrored=True changes nothing"):
        method.network = method.build_network(tensors)
    assert execute(method, aside, generator=np.random.default_rng(0), report=silent).image.shape == (
        6,
        *GRID.shape,
    )
