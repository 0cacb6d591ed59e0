"""Images of MPIReco.jl on simulated and measured data."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import scipy.fft

from mpibridge.solvers import (
    L1,
    L2,
    TV,
    admm,
    block_kaczmarz,
    cgnr,
    fista,
    kaczmarz,
    pogm,
    prepare,
    split_bregman,
)
from tests.solvers import golden

KACZMARZ = {
    "kaczmarz_1e-1": {"regularization": 0.1},
    "kaczmarz_1e-2": {"regularization": 0.01},
    "kaczmarz_1e-3_20it": {"regularization": 0.001, "iterations": 20},
    "kaczmarz_lambda0": {},
    "kaczmarz_noreg": {},
    "kaczmarz_real": {"regularization": 0.01, "positive": False},
    "kaczmarz_nonorm": {"regularization": 1e-8, "normalization": None},
    "kaczmarz_measnorm": {"regularization": 1e-4, "normalization": "measurement"},
    "kaczmarz_l1": {"regularization": 0.01, "l1": 1e-4},
}


@pytest.mark.parametrize("name", KACZMARZ)
def test_kaczmarz(name):
    patch = golden.single_patch()
    settings = {"iterations": 3} | KACZMARZ[name]
    tolerance = 2e-5 if settings["iterations"] == 20 else 1e-5
    expected = patch.image(name)
    system = prepare(patch.matrix)
    frames = np.stack([kaczmarz(system, frame, **settings) for frame in patch.data])
    for image in (kaczmarz(patch.matrix, patch.data, **settings), frames,
                  block_kaczmarz(patch.matrix, patch.data, block=17, **settings)):  # fmt: skip
        assert image.dtype == np.float32
        assert golden.relative(image, expected) < tolerance


def test_kaczmarz_without_constraints():
    patch = golden.single_patch()
    image = kaczmarz(patch.matrix, patch.data, iterations=3, regularization=0.01, real=False)
    assert image.dtype == np.complex64
    assert golden.relative(image.real, patch.image("kaczmarz_complex")) < 1e-5


@pytest.mark.parametrize("name", ["rownorm", "channel", "whitening"])
def test_kaczmarz_of_weighted_rows(name):
    patch = golden.single_patch()
    spread = patch.background.std(-1, ddof=1)
    weights = {
        "rownorm": 1 / np.linalg.norm(patch.matrix, axis=1),
        "channel": np.array([1, 0.25])[patch.channel],
        "whitening": spread.min() / spread,
    }[name].astype(np.float32)
    image = kaczmarz(patch.matrix * weights[:, None], patch.data * weights, iterations=3, regularization=0.01)
    assert golden.relative(image, patch.image(f"kaczmarz_weights_{name}")) < 1e-5


def test_sparse_dct():
    patch = golden.single_patch()
    csr_array = pytest.importorskip("scipy.sparse").csr_array

    def dct(x):
        return scipy.fft.dctn(x.reshape(-1, *patch.grid), type=4, norm="ortho", axes=(1, 2)).reshape(x.shape)

    coefficients = dct(patch.matrix.real) + 1j * dct(patch.matrix.imag)
    keep = int(0.3 * coefficients.shape[1])
    smallest = -np.sort(-abs(coefficients), axis=1)[:, keep - 1 : keep]
    matrix = csr_array(np.where(abs(coefficients) >= smallest, coefficients, 0).astype(np.complex64))

    def both(x):
        return dct(x.real) + 1j * dct(x.imag)

    image = kaczmarz(matrix, patch.data, iterations=3, regularization=0.01, transform=(both, both))
    assert golden.relative(image, patch.image("sparse_dct4")) < 1e-5


def test_cgnr():
    patch = golden.single_patch()
    image = cgnr(patch.matrix, patch.data, terms=(L2(0.01),), iterations=10)
    assert golden.relative(image, patch.image("cgnr")) < 1e-3


@pytest.mark.parametrize(
    ("name", "solve", "term", "iterations"),
    [("fista_l1", fista, L1(0.01), 50), ("fista_l2", fista, L2(0.01), 50), ("pogm_l1", pogm, L1(0.01), 30)],
)
def test_proximal_gradients(name, solve, term, iterations):
    patch = golden.single_patch()
    rho = 0.9 / patch.parameter("lambda_max")
    image = solve(patch.matrix, patch.data, terms=(term,), rho=rho, iterations=iterations)
    assert golden.relative(image, patch.image(name)) < 5e-5


@pytest.mark.parametrize("name", ["admm_l1", "admm_tv", "splitbregman_l1"])
def test_alternating_directions(name):
    patch = golden.single_patch()
    common = {"rho": 0.1 * patch.parameter("normalization"), "iterations_cg": 20}
    if name == "splitbregman_l1":
        image = split_bregman(
            patch.matrix, patch.data, terms=(L1(0.01),), iterations=5, iterations_inner=5, **common
        )
    else:
        term = L1(0.01) if name == "admm_l1" else TV(5e-3, patch.grid)
        image = admm(patch.matrix, patch.data, terms=(term,), iterations=20, **common)
    assert golden.relative(image, patch.image(name)) < 2e-3


@pytest.mark.parametrize(
    ("entry", "regularization", "iterations"), [("1", 1e-2, 10), ("2", 5e-4, 300), ("3", 0, 3)]
)
@pytest.mark.parametrize("solve", [kaczmarz, block_kaczmarz])
def test_measured_encoding_array(entry, regularization, iterations, solve):
    with h5py.File(golden.path("more", "encoding_array.h5")) as file:
        matrix = (file["S/re"][...] + 1j * file["S/im"][...]).astype(np.complex64)
        data = (file["b/re"][...] + 1j * file["b/im"][...]).astype(np.complex64)
    with h5py.File(golden.path("more", "expected.h5")) as file:
        expected = file[f"encoding_array/{entry}"][...]
    image = solve(matrix, data, regularization=regularization, iterations=iterations)
    assert golden.relative(image, expected) < 1e-5
