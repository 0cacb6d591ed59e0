"""Every number of the worked example: shared/reference/mpireco.md, section 6."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from mpibridge.solvers import L2, block_kaczmarz, cgnr, fista, kaczmarz

A = np.array(
    [
        [1 + 1j, 2 - 1j, 0.5j, -1],
        [0.5 - 0.5j, 1 + 2j, -1j, 2],
        [-1, 1j, 1.5 - 0.5j, 0.5 + 1j],
    ]
)
B = np.array([1 + 2j, 3 - 1j, -0.5 + 0.5j])
W = np.array([1, 0.5, 2])
FREE = {"real": False, "positive": False}
REAL = {"real": True, "positive": False}
POSITIVE = {"real": True, "positive": True}
DIGITS = {"rtol": 0, "atol": 1e-10}  # ten decimals are printed

SOLVES = [
    pytest.param(lambda a, b, **kw: kaczmarz(a, b, **kw), id="rows"),
    pytest.param(lambda a, b, **kw: kaczmarz(csr_array(a), b, **kw), id="csr"),
    pytest.param(lambda a, b, **kw: block_kaczmarz(a, b, block=2, **kw), id="blocks"),
]


def numbers(text: str) -> np.ndarray:
    return np.array([complex(n.replace("−", "-").replace("i", "j")) for n in text.split(", ")])


# sweeps, constraints, x, v
SECTION_6_2 = [
    (1, FREE, "0.7799474383+0.3063597559i, 0.1717610150−0.0555898685i, −0.1046056490+0.1458206223i, 0.4885607263−0.1946812395i",
     "0.0883073390+0.1766146781i, 0.2947220190−0.0624806707i, −0.1668820599−0.0353364207i"),
    (3, FREE, "1.2394898169+0.3668615419i, 0.2621030903−0.0437710414i, −0.0118374160+0.1697012317i, 0.6316496236−0.4786446670i",
     "0.1965946879+0.2773695928i, 0.4291379031−0.1392235428i, −0.2119092171−0.0613824861i"),
    (10, FREE, "1.2956781143+0.3677774861i, 0.3223586499−0.0401786777i, 0.0113203749+0.1550812552i, 0.6302333573−0.5091565101i", None),
    (300, FREE, "1.2956052487+0.3678837114i, 0.3223366537−0.0400376987i, 0.0113424723+0.1551294398i, 0.6302716473−0.5091211140i", None),
    (1, REAL, "0.7799474383, 0.1717610150, −0.1046056490, 0.4885607263", None),
    (3, REAL, "1.2776657806, 0.0391453256, 0.1598954958, 0.8354483755", None),
    (10, REAL, "1.4711266013, 0.1023888901, 0.4334286238, 0.8432264517", None),
    (3000, REAL, "1.4785848335, 0.1014983193, 0.4202000562, 0.8426585185", None),
    (1, POSITIVE, "0.7799474383, 0.1717610150, 0, 0.4885607263",
     "0.0883073390+0.1766146781i, 0.2947220190−0.0624806707i, −0.1668820599−0.0353364207i"),
    (3, POSITIVE, "1.2848054539, 0.0571342641, 0.2003441395, 0.8248772711",
     "0.1423506663+0.3504420361i, 0.4952976656−0.1398689473i, −0.1951433076−0.1051044331i"),
    (10, POSITIVE, "1.4726636793, 0.1070662155, 0.4515277089, 0.8414765956",
     "0.2166096732+0.4478505480i, 0.5863873382−0.1279120185i, −0.1309317337−0.2321395320i"),
    (20000, POSITIVE, "1.4800682793, 0.1062408254, 0.4383895368, 0.8414128860", None),
]  # fmt: skip


@pytest.mark.parametrize("solve", SOLVES)
@pytest.mark.parametrize(("sweeps", "constraints", "image", "dual"), SECTION_6_2)
def test_section_6_2(solve, sweeps, constraints, image, dual):
    if sweeps == 20000 and solve is not SOLVES[1].values[0]:
        sweeps = 3000  # the fixed point is reached long before; only the CSR sweep is quick at this size
    last = []
    x = solve(A, B, iterations=sweeps, regularization=0.1, callback=lambda s: last.append(s), **constraints)
    np.testing.assert_allclose(x, numbers(image), **DIGITS)
    np.testing.assert_allclose(last[-1].solution[0], numbers(image), **DIGITS)
    assert last[-1].iteration == sweeps
    np.testing.assert_allclose(last[-1].residual, [np.linalg.norm(A @ x - B)], rtol=1e-12)
    if dual:
        np.testing.assert_allclose(last[-1].dual[0], numbers(dual), **DIGITS)


def test_free_limit_is_tikhonov():
    exact = np.linalg.solve(A.conj().T @ A + 0.6125 * np.eye(4), A.conj().T @ B)
    np.testing.assert_allclose(kaczmarz(A, B, iterations=300, regularization=0.1, **FREE), exact, rtol=1e-11)


# matrix, data, settings, x after 1 sweep, x after 3 sweeps
SECTION_6_3 = {
    "lambda 0": (A, B, {}, "0.8557625949, 0.1766735680, 0, 0.5063680281", "1.4744268291, 0.0320587748, 0.1899016061, 0.8806986462"),
    "lambda 0, free": (A, B, FREE, "0.8557625949+0.3456929544i, 0.1766735680−0.0446703055i, −0.1338854382+0.1286153460i, 0.5063680281−0.1944287596i",
                       "1.4228427298+0.4345565639i, 0.2755512595−0.0683582074i, −0.0499393412+0.1385820853i, 0.6849710013−0.5176169909i"),
    "no normalization": (A, B, {"regularization": 0.1, "normalization": None}, "0.8423742742, 0.1759953726, 0, 0.5035936835",
                         "1.4399493608, 0.0374645937, 0.1927588892, 0.8721540729"),
    "measurement": (A, B, {"regularization": 0.1, "normalization": "measurement"}, "0.8289576980, 0.1752341860, 0, 0.5006550596",
                    "1.4058316912, 0.0424362927, 0.1951728221, 0.8629875049"),
    "weights": (W[:, None] * A, W * B, {"regularization": 0.1}, "0.6919911762, 0.1647336120, 0, 0.3918272806",
                "1.0684130368, 0.0773495386, 0.1685318662, 0.5934432176"),
    "weights, free": (W[:, None] * A, W * B, {"regularization": 0.1, **FREE}, "0.6919911762+0.2336683031i, 0.1647336120+0.0678710521i, −0.0937624193+0.1445465564i, 0.3918272806−0.1705540974i",
                      "0.9941450328+0.2582358622i, 0.2020296546+0.1423265665i, −0.0166364720+0.1782306119i, 0.4719581201−0.3804266080i"),
    "l1": (A, B, {"regularization": 0.1, "l1": 0.02}, "0.6574474383, 0.0492610150, 0, 0.3660607263", "1.0539373766, 0, 0, 0.6098861112"),
    "diagonal": (A, B, {"regularization": np.array([0.5, 1, 2, 0.25]), "normalization": None}, "0.8123407011, 0.1443299916, 0, 0.7764648612",
                 "1.3269858210, 0.0998012394, 0.0626516433, 0.9028870391"),
    "explicit scale": (A, B, {"regularization": 0.5, "scale": 0.2, "normalization": "measurement"}, "0.8423742742, 0.1759953726, 0, 0.5035936835",
                       "1.4399493608, 0.0374645937, 0.1927588892, 0.8721540729"),
}  # fmt: skip


@pytest.mark.parametrize("solve", SOLVES)
@pytest.mark.parametrize("case", SECTION_6_3)
def test_section_6_3(solve, case):
    matrix, data, settings, once, thrice = SECTION_6_3[case]
    np.testing.assert_allclose(solve(matrix, data, iterations=1, **settings), numbers(once), **DIGITS)
    np.testing.assert_allclose(solve(matrix, data, iterations=3, **settings), numbers(thrice), **DIGITS)


def test_section_6_3_other_solvers():
    terms = (L2(0.1),)
    once = numbers("0.6679610958, 0.1821712079, 0.1214474720, 0.6375992278")
    np.testing.assert_allclose(cgnr(A, B, terms=terms, iterations=1), once, **DIGITS)
    thrice = numbers("1.2956052487, 0.3223366537, 0.0113424723, 0.6302716473")
    np.testing.assert_allclose(cgnr(A, B, terms=terms, iterations=3), thrice, **DIGITS)
    for iterations, image in [
        (1, "0.2591283863, 0.0706713781, 0.0471142521, 0.2473498233"),
        (3, "0.6776392301, 0.0926642783, 0.1519029169, 0.5490632524"),
        (2000, "1.2716093371, 0.0933397161, 0.3467326622, 0.7633152892"),
    ]:
        np.testing.assert_allclose(
            fista(A, B, terms=terms, rho=0.05, iterations=iterations), numbers(image), **DIGITS
        )


@pytest.mark.parametrize("solve", SOLVES)
def test_section_6_4(solve):
    steps = [
        ("0.1128349788+0.2256699577i", "0.3385049365+0.1128349788i, 0+0.5641748942i, 0.1128349788−0.0564174894i, −0.1128349788−0.2256699577i"),
        ("0.3765819823−0.0798348725i", "0.5667133639+0.2612085337i, 0.2169122372−0.2688239428i, 0.1926698514+0.3201644928i, 0.6403289857−0.3853397028i"),
        ("−0.2132340743−0.0451512222i", "0.7799474383+0.3063597559i, 0.1717610150−0.0555898685i, −0.1046056490+0.1458206223i, 0.4885607263−0.1946812395i"),
    ]  # fmt: skip
    tau = numbers("0, −1.1847672779−0.1128349788i, 0.8567017980+0.7872746513i")
    x = np.zeros(4)
    for n, (alpha, image) in enumerate(steps, 1):
        np.testing.assert_allclose(A[n - 1] @ x, tau[n - 1], **DIGITS)
        last = []
        x = solve(A[:n], B[:n], iterations=1, regularization=0.1, scale=6.125, callback=last.append, **FREE)
        np.testing.assert_allclose(x, numbers(image), **DIGITS)
        np.testing.assert_allclose(last[-1].dual[0, n - 1], numbers(alpha)[0] * 0.6125**0.5, **DIGITS)
