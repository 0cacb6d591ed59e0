"""Julia beside torch and h5py in one process, in every order; how long a user waits."""

import pytest

from tests.julia.test_files import DATA

pytestmark = pytest.mark.julia

NEIGHBOURS = """
import shutil, sys
from pathlib import Path
import numpy as np

order, data, folder = sys.argv[1].split(), Path(sys.argv[2]), Path(sys.argv[3])
for name in order:
    if name == "julia":
        from mpibridge import julia
        julia.start()
    else:
        __import__(name)
import h5py, torch
import mpibridge as mb
from mpibridge.julia_files import JuliaFile
from mpibridge.signals import spectra

def gradient():
    x, layer = torch.randn(200, 60), torch.nn.Linear(60, 40, bias=False)
    layer(x).square().sum().backward()
    wanted = 2 * layer.weight.detach() @ x.T @ x
    assert torch.allclose(layer.weight.grad, wanted, rtol=1e-3, atol=1e-2)

def image(plugin):
    found = mb.reconstruct(
        data / "measurement.mdf", system_matrix=data / "calibration.mdf", plugin=plugin, engine="julia",
        iterations=5, regularization=0.01,
        preprocessing=mb.Preprocessing(snr_threshold=3, min_frequency=60e3),
    ).concentration.values
    wanted = np.load(data / "expected.npz")["image"]
    if plugin == "kaczmarz":
        assert np.linalg.norm(found - wanted) < 1e-5 * np.linalg.norm(wanted)
    assert np.isfinite(found).all()

gradient()
image("cgnr")
gradient()
image("kaczmarz")
gradient()

path = Path(shutil.copy(data / "measurement.mdf", folder / "scan.mdf"))
for factor in (2, 3):  # h5py writes and closes, HDF5.jl reads the same file
    with h5py.File(path, "r+") as file:
        file["measurement/data"][...] *= np.float32(factor)
    with JuliaFile(path) as file:
        found = file.spectra()
    wanted = spectra(mb.open(path)).values
    assert np.linalg.norm(found - wanted) < 1e-6 * np.linalg.norm(wanted)
mb.save(folder / "ours.mdf", mb.open(path, engine="julia"))  # HDF5.jl reads while h5py writes
np.testing.assert_array_equal(mb.open(folder / "ours.mdf")["signal"], mb.open(path)["signal"])
print("all is well")
"""


@pytest.mark.parametrize(
    "order", ["torch julia", "julia torch", "h5py torch julia", "julia h5py torch", "torch julia h5py"]
)
def test_torch_and_h5py_beside_julia(order, process, tmp_path):
    assert process(NEIGHBOURS, order, DATA, tmp_path).endswith("all is well\n")


FIRST_CALL = """
import sys, time
from pathlib import Path
import numpy as np
import mpibridge as mb
from mpibridge import julia

data = Path(sys.argv[1])
started = time.perf_counter()
julia.start()
ready = time.perf_counter()
for _ in range(2):
    image = mb.reconstruct(
        data / "measurement.mdf", system_matrix=data / "calibration.mdf", engine="julia", iterations=5,
        regularization=0.01, preprocessing=mb.Preprocessing(snr_threshold=3, min_frequency=60e3),
    ).concentration.values
    done, before = time.perf_counter(), ready
    print(f"{done - before:.2f}")
    ready = done
wanted = np.load(data / "expected.npz")["image"]
assert np.linalg.norm(image - wanted) < 1e-5 * np.linalg.norm(wanted)
print(f"{ready - started:.2f}")
"""


@pytest.mark.usefixtures("real_julia")
def test_first_reconstruction(process, say):
    """Everything is compiled by now: this is what a user waits for in a new process."""
    first, second, both = process(FIRST_CALL, DATA).split()
    start = float(both) - float(first) - float(second)
    say(f"start of Julia {start:.1f} s, first reconstruction {first} s, second {second} s")
