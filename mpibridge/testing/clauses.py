"""What every method promises, one function per clause: each yields a sentence for everything that does not hold."""

from __future__ import annotations

import io
import json
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any

import numpy as np

from mpibridge.errors import ShapeError
from mpibridge.execution import execute
from mpibridge.plugin import Plugin, SpectralProblem, TrainablePlugin, make_settings
from mpibridge.progress import silent
from mpibridge.settings import describe
from mpibridge.testing.case import Case, arrays_of, as_array, differ, signals_of

Clause = Callable[[Case], Iterator[str]]
LIKENESS = 0.5
"""Correlation that the image of a method without a fixed scale must have with the truth."""

UNUSUAL_SEED = 20_231_117
"""No method seeds global random numbers with this one."""


def settings_round_trip(cls: type[Plugin[Any]]) -> Iterator[str]:
    """Settings are a frozen dataclass whose defaults hold, whose fields are explained, and which JSON can hold."""
    kind = cls.Settings
    if not (is_dataclass(kind) and kind.__dataclass_params__.frozen):  # type: ignore[attr-defined]
        yield f"{kind.__name__} is no frozen dataclass; write @dataclass(frozen=True)"
        return
    yield from (
        f"{kind.__name__}.{setting.name} is not explained; write its unit, range and meaning in a comment behind it"
        for setting in describe(kind)
        if not setting.text
    )
    default = kind()
    again = make_settings(cls, tupled(json.loads(json.dumps(asdict(default)))))
    if again != default:
        yield f"{default} came back from JSON as {again}"
    if issubclass(cls, TrainablePlugin) and (
        unknown := set(cls.network_settings) - {f.name for f in fields(kind)}
    ):
        yield f"network_settings names {sorted(unknown)}, which {kind.__name__} does not have"


def tupled(value: Any) -> Any:
    """A value out of JSON with tuples for its lists, as settings have them."""
    if isinstance(value, dict):
        return {name: tupled(inner) for name, inner in value.items()}
    return tuple(map(tupled, value)) if isinstance(value, list) else value


def same_seed_same_bits(case: Case) -> Iterator[str]:
    """One seed, one image: on a second run, and from another instance that did other things before."""
    method, other = case.method(), case.method()
    image = case.image(method)
    if not np.array_equal(image, case.image(method)):
        yield (
            "the same seed gave another image on the second run; the generator is the only source of randomness, and "
            "reconstruct leaves nothing behind"
        )
    case.image(other, generator=np.random.default_rng(case.seed + 1))
    if not np.array_equal(image, case.image(other)):
        yield "the same seed gave another image from another instance; instances share nothing"


def leaves_the_rest_alone(case: Case) -> Iterator[str]:
    """The arrays of the problem and the global random numbers are as before, and nothing was printed."""
    method, arrays = case.method(), arrays_of(case.problem)
    before = {name: array.copy() for name, array in arrays.items()}
    said = io.StringIO()
    with _own_global_numbers() as touched, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with redirect_stdout(said), redirect_stderr(said):
            case.run(method)
    for name, array in arrays.items():
        if array.tobytes() != before[name].tobytes():
            yield f"reconstruct changed {name} of the problem; work on a copy"
            array[...] = before[name]
    for whose in touched:
        yield f"reconstruct touched global random numbers, {whose}'s; draw from the generator"
    if said.getvalue():
        yield f"reconstruct printed {said.getvalue()[:60]!r}; call report(done, total, text)"


@contextmanager
def _own_global_numbers() -> Iterator[list[str]]:
    """Global random numbers in a state of their own; afterwards the list names those that were used or seeded."""
    import torch

    def states() -> dict[str, bytes]:
        numbers = np.random.get_state(legacy=False)["state"]
        return {
            "Python": repr(random.getstate()).encode(),
            "NumPy": numbers["key"].tobytes() + bytes(str(numbers["pos"]), "ascii"),
            "torch": torch.get_rng_state().numpy().tobytes(),
        }

    kept = random.getstate(), np.random.get_state()
    touched: list[str] = []
    with torch.random.fork_rng(devices=[]):
        random.seed(UNUSUAL_SEED)
        np.random.seed(UNUSUAL_SEED)
        torch.manual_seed(UNUSUAL_SEED)
        before = states()
        try:
            yield touched
        finally:
            after = states()
            random.setstate(kept[0])
            np.random.set_state(kept[1])
    touched += [name for name in before if before[name] != after[name]]


def returns_images(case: Case) -> Iterator[str]:
    """Shape, numbers, kind of array and device of a result are those of the problem."""
    method = case.method()
    yield from _placed(method, case, "cpu")
    result = case.run(method)
    image, grid = as_array(result.image), case.problem.grid if result.grid is None else result.grid
    wanted = (case.n_frames, *grid.shape)
    contrasts = case.problem.operator.n_contrasts if isinstance(case.problem, SpectralProblem) else 1
    if image.shape not in (wanted, (contrasts, *wanted)):
        yield f"image is {image.shape}, (frame, z, y, x) = {wanted} is wanted"
    if not np.issubdtype(image.dtype, np.floating):
        yield f"image is {image.dtype}, real floating-point numbers are wanted"
    elif not np.isfinite(image).all():
        yield "image holds values that are not finite"
    if result.std is not None:
        std = as_array(result.std)
        if std.shape != image.shape or not np.all(std >= 0):
            yield f"std is {std.shape} from {std.min():.3g} on; numbers of at least 0 in the shape of the image are wanted"
    for name, value in result.trace.items():
        shape = as_array(value).shape
        if shape and shape[0] != case.n_frames:
            yield f"trace[{name!r}] is {shape}; an array has one entry per frame, {case.n_frames} here, first"


def _placed(method: Plugin[Any], case: Case, device: str) -> Iterator[str]:
    result = case.run(method, device=device)
    for name, value in (("image", result.image), ("std", result.std)):
        if value is None:
            continue
        if method.arrays == "torch" or device != "cpu":
            found = str(value.device) if hasattr(value, "detach") else type(value).__name__
            if not found.startswith(device):
                yield f"{name} is on {found}, the problem's tensors on {device}; tensors stay where they are"
        elif not isinstance(value, np.ndarray):
            yield f"{name} is a {type(value).__name__}, the problem holds NumPy arrays"


def reports_progress(case: Case) -> Iterator[str]:
    """Progress only grows, and stays within the total."""
    seen: list[tuple[int, int, str]] = []
    case.run(case.method(), report=lambda done, total, text: seen.append((done, total, text)))
    shares = [done / total if total > 0 else -1.0 for done, total, _ in seen]
    if any(not 0 <= share <= 1 for share in shares) or shares != sorted(shares):
        yield f"progress went {[call[:2] for call in seen][:6]} …; done grows from 0 to total"
    if any(not isinstance(text, str) for *_, text in seen):
        yield f"report was given {seen[0][2]!r} as its text"


def frames_are_independent(case: Case) -> Iterator[str]:
    """No image depends on the other frames of its batch; batches that share a generator are as good as one."""
    method, cut = case.method(), max(1, case.n_frames - 1)
    image = case.image(method)
    generator = np.random.default_rng(case.seed)
    parts = [
        case.image(method, case.frames(part), generator=generator)
        for part in (slice(0, cut), slice(cut, None))[: min(case.n_frames, 2)]
    ]
    if said := differ(image, np.concatenate(parts)):
        yield (
            f"frames in two batches that share a generator and all at once differ {said}; let no frame see the others, "
            "and take one generator per frame, generator.spawn(n_frames)"
        )
    louder = replace(
        case.problem,
        **{name: np.concatenate([10 * a[:1], a[1:]]) for name, a in signals_of(case.problem).items()},
    )
    if said := differ(image[1:], case.image(method, louder)[1:]):
        yield f"a louder first frame changed the images of the others {said}"
    other = case.image(method, generator=np.random.default_rng(case.seed + 1))
    order = [*range(1, case.n_frames), 0]
    if np.array_equal(image, other) and (
        said := differ(image[order], case.image(method, case.frames(order)))
    ):
        yield f"images of permuted frames differ from permuted images {said}"


def finite_numbers(case: Case) -> Iterator[str]:
    """Frames of zeros give finite images, and data that are not finite are refused."""
    zero = replace(case.problem, **{name: 0 * a for name, a in signals_of(case.problem).items()})
    if not np.isfinite(case.image(case.method(), zero)).all():
        yield "frames of zeros gave values that are not finite; is something divided by a maximum or a norm?"
    broken = {name: a.copy() for name, a in signals_of(case.problem).items()}
    for array in broken.values():
        array[0].flat[0] = np.nan
    try:
        execute(
            case.method(),
            replace(case.problem, **broken),
            generator=np.random.default_rng(case.seed),
            report=silent,
        )
    except ShapeError:
        return
    yield f"{', '.join(broken)} with a value that is not finite gave an image instead of a ShapeError"


def devices_agree(case: Case) -> Iterator[str]:
    """The image of another device is that of the CPU, and was there until the end."""
    if case.device == "cpu":
        return
    on_cpu, there = (
        execute(
            case.method(),
            case.problem,
            generator=np.random.default_rng(case.seed),
            report=silent,
            device=device,
        )
        for device in ("cpu", case.device)
    )
    if said := differ(on_cpu.image, there.image):
        yield f"the images of the CPU and of {case.device} differ {said}"
    method = case.method()
    if isinstance(method, TrainablePlugin):
        method.network.to(case.device)
    yield from _placed(method, case, case.device)


def small_problem_improves(case: Case) -> Iterator[str]:
    """The image of a method without training is nearer to the truth than no image at all.

    Spectral methods are held to the scale of the truth; others have none, so a correlation of `LIKENESS` is enough.
    """
    if case.target is None or issubclass(case.cls, TrainablePlugin):
        return
    image = case.image(case.method())
    if image.shape != case.target.shape:
        return
    if issubclass(case.cls.takes, SpectralProblem):
        error = np.linalg.norm(image - case.target) / np.linalg.norm(case.target)
        if not error < 1:
            yield f"the error of the image is {error:.3g} of the truth; an image of zeros has 1"
        return
    likeness = float(np.corrcoef(image.ravel(), case.target.ravel())[0, 1]) if np.ptp(image) > 0 else 0.0
    if not likeness > LIKENESS:
        yield f"image and truth correlate by {likeness:.3g}; more than {LIKENESS} is wanted"


CLAUSES: dict[str, Clause] = {
    "leaves the rest alone": leaves_the_rest_alone,  # first: what comes later compares runs on the same arrays
    "same seed, same bits": same_seed_same_bits,
    "images": returns_images,
    "progress": reports_progress,
    "frames are independent": frames_are_independent,
    "finite numbers": finite_numbers,
    "devices agree": devices_agree,
    "a small problem improves": small_problem_improves,
}
