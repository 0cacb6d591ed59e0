"""`import mpibridge` is quick and brings nothing heavy along; public names are there when they are asked for."""

import json
import os
import subprocess
import sys
import time

import pytest

import mpibridge

HEAVY = ("torch", "numba", "matplotlib", "juliacall", "xarray", "scipy", "h5py")


def loaded_after(statement: str) -> set[str]:
    """Names in sys.modules of a fresh interpreter after ``statement``."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


def test_import_brings_nothing_heavy():
    assert loaded_after("import mpibridge").isdisjoint(HEAVY)


@pytest.mark.parametrize(
    ("said", "threads"),
    [({"OMP_NUM_THREADS": "1"}, 1), ({"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}, 2)],
)
def test_numba_starts_as_many_threads_as_openmp_may(said, threads):
    """It would start more, and make torch do the same: small networks then take many times as long."""
    code = "import mpibridge, numba; print(numba.config.NUMBA_NUM_THREADS)"
    unset = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=unset | said
    )
    assert int(done.stdout) == threads


@pytest.mark.parametrize(
    "statement", ["import mpibridge.cli", "import mpibridge.plot", "import mpibridge as mb; mb.Grid"]
)
def test_light_doors_stay_light(statement):
    assert loaded_after(statement).isdisjoint({"torch", "numba", "matplotlib", "juliacall", "scipy"})


def test_the_command_line_starts_with_what_it_prints_with():
    assert loaded_after("import mpibridge.cli").isdisjoint({"xarray", "pandas", "h5py", "lightning"})


def test_opening_reconstructing_and_comparing_need_neither_torch_nor_julia():
    statement = (
        "import mpibridge as mb; mb.open; mb.reconstruct; mb.save; mb.compare; mb.registry; mb.plugins()"
    )
    assert loaded_after(statement).isdisjoint({"torch", "lightning", "matplotlib", "juliacall", "skimage"})


def test_import_is_quick():
    def seconds(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - started

    import_time = min(seconds("import mpibridge") for _ in range(3)) - min(seconds("pass") for _ in range(3))
    assert import_time < 0.4


def test_every_public_name_resolves():
    assert len(set(mpibridge.__all__)) == len(mpibridge.__all__)
    for name in mpibridge.__all__:
        assert getattr(mpibridge, name) is not None
        assert name in dir(mpibridge)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'recontruct'"):
        mpibridge.recontruct  # noqa: B018
