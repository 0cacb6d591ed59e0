"""The lane to Julia, against a Julia that is none (`tests.julia_door`): start, threads, errors, Ctrl-C, forks, exit.

Everything that starts it runs in an interpreter of its own, because a process has one Julia for good.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpibridge import errors, julia
from tests import julia_door

PROJECT = Path(__file__).resolve().parents[1]
SOURCES = PROJECT / "julia" / "src"
PREAMBLE = """
import gc, os, signal, sys, threading, time, warnings
from tests import julia_door
julia_door.install()
from mpibridge import julia
from mpibridge.errors import JuliaError, JuliaSetupError, MPIBridgeWarning, SettingsError

def caught(kind, call, *arguments, **keywords):
    try:
        call(*arguments, **keywords)
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")

def until(happens, seconds=10):
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.005)

class Long:
    '''A reconstruction that goes on until it is cancelled, and says so.'''
    cancelled = False
    running = False

    def __call__(self, address):
        buffer = julia_door._at(address, "int64", 3)
        end = time.monotonic() + 20
        self.running = True
        while time.monotonic() < end and not self.cancelled:
            time.sleep(0.01)
            self.cancelled = bool(buffer[2])
        self.running = False
        raise julia_door.Thrown("ErrorException", "cancelled")

long = julia_door.FUNCTIONS["long"] = Long()

def interrupt_when(happens):
    '''Ctrl-C as soon as that is so; the list gets the time of it.'''
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in the background
    sent = []

    def send():
        until(happens)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=send, daemon=True).start()
    return sent

def called(name):
    return [thread for called, thread in julia_door.CALLS if called == name]
"""


def run(code: str, preamble: str = PREAMBLE, **environment: str) -> str:
    """What a script prints that runs in a fresh interpreter; it must end by itself, and well."""
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHON_JULIA", "JULIA_", "MPIBRIDGE_"))
    }
    path = os.pathsep.join([str(PROJECT), str(PROJECT / "plugins")])
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", preamble + textwrap.dedent(code)],
        cwd=PROJECT,
        env=inherited | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Exception ignored" not in done.stderr, done.stderr[-4000:]
    return done.stdout


# The start


def test_julia_starts_when_it_is_needed():
    run(
        """
        import mpibridge as mb, mpibridge.cli, mpibridge.julia_files, mpibridge_plugins.mpireco
        mb.open, mb.reconstruct
        mb.open("tests/data/measurement.mdf")
        julia.is_installed(), julia.package_folder()
        julia.post("close_file", 1)
        assert "juliacall" not in sys.modules and julia.LANE.running is None
        julia.call("versions")
        assert "juliacall" in sys.modules and julia.LANE.running.julia == "1.10.8"
        assert not called("close_file"), "a Julia that does not run has no open files"
        """
    )


def test_eight_threads_start_one_julia_and_share_its_thread():
    run(
        """
        julia_door.ON_IMPORT.append(lambda: time.sleep(0.2))
        barrier, callers, answers = threading.Barrier(8), set(), []

        def use():
            callers.add(threading.get_ident())
            barrier.wait()
            answers.extend(julia.call("versions") for _ in range(5))

        threads = [threading.Thread(target=use) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert len(answers) == 40 and len(set(answers)) == 1
        assert len(julia_door.SEVALS) == 1, julia_door.SEVALS
        lane = {thread for _, thread in julia_door.CALLS}
        assert len(callers) == 8 and len(lane) == 1 and lane.isdisjoint({*callers, threading.get_ident()})
        assert len(julia_door.CALLS) == 41, "the start asks for the versions once"
        """
    )


STACK = """
import ctypes
libc = ctypes.CDLL(None)

def stack_bytes():
    '''What the C library says of the stack of this thread.'''
    attributes, size = ctypes.create_string_buffer(256), ctypes.c_size_t()
    libc.pthread_self.restype = ctypes.c_void_p
    assert libc.pthread_getattr_np(ctypes.c_void_p(libc.pthread_self()), attributes) == 0
    assert libc.pthread_attr_getstacksize(attributes, ctypes.byref(size)) == 0
    return size.value

def of_a_new_thread():
    sizes = []
    thread = threading.Thread(target=lambda: sizes.append(stack_bytes()))
    thread.start()
    thread.join()
    return sizes[0]
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks glibc")
def test_only_the_lane_has_a_deep_stack():
    run(
        """
        julia_door.FUNCTIONS["stack"] = stack_bytes
        for usual in (0, 2**20):
            threading.stack_size(usual)
            before = of_a_new_thread()
            assert julia.call("stack") >= 64 * 2**20 > 2 * before
            assert of_a_new_thread() == before and threading.stack_size() == usual
        """,
        PREAMBLE + STACK,
    )


def test_the_start_is_one_line_in_the_log():
    said = run(
        """
        import logging
        logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(name)s %(levelname)s %(message)s")
        julia_door.ON_IMPORT.append(lambda: time.sleep(0.3))
        running = julia.start()
        julia.call("versions")
        assert running is julia.start() is julia.LANE.running
        assert 0.3 <= running.seconds < 10 and not running.reused and running.threads == 1
        assert running.packages["MPIReco"] == "0.9.7" and running.depot == "/fake/depot"
        """
    )
    line = (
        r"mpibridge INFO Julia 1\.10\.8 \(/fake/bin/julia, project /fake/Project\.toml\) started in \d\.\d s: "
        r"AbstractImageReconstruction 0\.5\.5, MPIFiles 0\.19\.2, MPIReco 0\.9\.7, RegularizedLeastSquares 0\.16\.12\n"
    )
    assert re.fullmatch(line, said)


def test_environment_of_julia():
    """Several Julia threads need signals; what the user sets wins. Every lane here finds juliacall not yet imported."""
    run(
        """
        threads, signals = "PYTHON_JULIACALL_THREADS", "PYTHON_JULIACALL_HANDLE_SIGNALS"
        for user, wanted in (
            ({}, "no"),
            ({signals: "yes"}, "yes"),
            ({threads: "4"}, "yes"),
            ({threads: "auto"}, "yes"),
            ({"JULIA_NUM_THREADS": "2"}, "yes"),
            ({threads: "1", "JULIA_NUM_THREADS": "8"}, "no"),
            ({threads: "4", signals: "no"}, "no"),
        ):
            before = dict(os.environ)
            os.environ.update(user)
            sys.modules.pop("juliacall", None)
            assert not julia.Lane().start().reused
            found = julia_door.ENVIRONMENT
            assert found[signals] == wanted, (user, found)
            assert found.get(threads) == user.get(threads)
            found.clear()
            os.environ.clear()
            os.environ.update(before)
        """
    )


def test_a_julia_that_runs_is_used_as_it_is():
    said = run(
        """
        import logging
        logging.basicConfig(level=logging.INFO, stream=sys.stdout)
        before = dict(os.environ)
        import juliacall
        assert julia.start().reused and len(julia_door.SEVALS) == 1
        assert dict(os.environ) == before and not julia_door.ENVIRONMENT
        """
    )
    assert "found running:" in said


def test_torch_before_julia_gives_no_warning():
    """juliacall warns of it; both orders were run and work, so nobody is to be alarmed."""
    run(
        """
        import torch
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            julia.start()
        assert [str(w.message) for w in said] == []
        del sys.modules["juliacall"]
        assert "torch was imported" in str(caught(UserWarning, __import__, "juliacall")), "the fake says it, too"
        """
    )


MISSING = """
import importlib.abc

class Blocker(importlib.abc.MetaPathFinder):
    '''As if juliacall were not installed.'''
    def find_spec(self, name, path=None, target=None):
        if name == "juliacall":
            raise ModuleNotFoundError("No module named 'juliacall'", name="juliacall")

blocker = Blocker()
sys.meta_path.insert(0, blocker)
"""


def test_without_juliacall_the_next_step_is_said():
    run(
        """
        for _ in range(2):
            error = caught(JuliaSetupError, julia.call, "versions")
            assert "juliacall is not installed; 'mpibridge setup-julia'" in str(error), error
            assert "'mpibridge doctor'" in str(error)
        assert julia.LANE.running is None
        sys.meta_path.remove(blocker)
        assert not julia.start().reused
        """,
        PREAMBLE + MISSING,
    )


@pytest.mark.parametrize("where", ["the import of juliacall", "the loading of MPIBridge", "the versions"])
def test_a_start_that_fails_is_told_and_tried_again(where):
    run(
        """
        failing = [True]

        def fail(*_):
            if failing[0]:
                raise FAILURE("\\nno Julia for you\\nStacktrace:\\n [1] top-level scope")

        FAILURE = julia_door.JuliaError
        seval, versions = julia_door.Main.seval, julia_door.versions
        if "juliacall" in WHERE:
            FAILURE = Exception  # juliapkg raises plain ones
            julia_door.ON_IMPORT.append(fail)
        elif "loading" in WHERE:
            julia_door.Main.seval = lambda self, code: fail() or seval(self, code)
        else:
            julia_door.FUNCTIONS["versions"] = lambda: fail() or versions()
        for _ in range(2):
            error = caught(JuliaSetupError, julia.call, "open_file", "tests/data/measurement.mdf")
            assert str(error).startswith("Julia does not start: no Julia for you; 'mpibridge setup-julia'"), error
            assert "[1] top-level scope" in error.julia_trace
            assert julia.LANE.running is None
        failing[0] = False
        assert julia.call("open_file", "tests/data/measurement.mdf") == 1
        """,
        PREAMBLE + f"\nWHERE = {where!r}\n",
    )


# Calls


def test_only_text_and_whole_numbers_cross():
    run(
        """
        caught(AssertionError, julia.call, "open_file", 1.5)
        caught(AssertionError, julia.call, "open_file", ["a"])
        error = caught(JuliaError, julia.call, "nonsense", "a", 1)
        assert str(error) == "UndefVarError: `nonsense` not defined", error
        """
    )


def test_the_lane_refuses_to_wait_for_itself():
    run(
        """
        julia_door.FUNCTIONS["twice"] = lambda: julia.call("versions")
        error = caught(JuliaError, julia.call, "twice")
        assert "versions was called from the thread that runs Julia" in str(error)
        julia.call("versions")
        """
    )


def test_what_a_finalizer_posts_is_done_before_the_next_call():
    """A finalizer may run in the lane itself, or while a lock is held: it must neither wait nor fail there."""
    run(
        """
        import weakref
        closed = []
        julia_door.FUNCTIONS["close"] = closed.append

        class File:
            def __init__(self, number):
                weakref.finalize(self, julia.post, "close", number).atexit = False

        files = [File(1), File(2)]
        julia_door.FUNCTIONS["drop"] = files.pop
        julia.call("drop")
        with julia.LANE._lock:
            files.clear()
        julia.call("versions")
        assert closed == [2, 1], closed
        assert [name for name, _ in julia_door.CALLS][-3:] == ["close", "close", "versions"]
        """
    )


@pytest.mark.parametrize(
    ("kind", "message", "cls", "text"),
    [
        (
            "UnknownSetting",
            "Could not set all `lambda` properties",
            errors.SettingsError,
            "MPIReco.jl: Could not set",
        ),
        ("DimensionMismatch", "DimensionMismatch: 3 and 4", errors.ShapeError, "DimensionMismatch: 3 and 4"),
        ("SystemError", 'SystemError: opening file "a"', errors.FileError, 'opening file "a"'),
        ("IOError", "IOError: stat(a): permission denied", errors.FileError, "permission denied"),
        ("ErrorException", "unable to determine if a is accessible", errors.FileError, "unable to determine"),
        ("ErrorException", "unable to open file", errors.FileError, "unable to open file"),
        ("Base.IOError", "open(a): No such file or directory", errors.FileError, "No such file"),
        (
            "TypeError",
            "TypeError: non-boolean (Missing) used",
            errors.MissingField,
            "lacks a dataset.*Missing",
        ),
        (
            "MethodError",
            "MethodError: no method matching length(::Nothing)",
            errors.MissingField,
            "lacks a.*Nothing",
        ),
        (
            "KeyError",
            'KeyError: key "/calibration/snr" not found',
            errors.MissingField,
            "lacks.*calibration/snr",
        ),
        ("MethodError", "MethodError: no method f(::Int64)", errors.JuliaError, "^MethodError: no method"),
        (
            "MethodError",
            "MethodError: no method matching f(::Int64)\nClosest candidates are:\n  f(::Nothing)",
            errors.JuliaError,
            "^MethodError: no method",
        ),
        ("KeyError", 'KeyError: key "lambda" not found', errors.JuliaError, "^KeyError: key"),
        ("ErrorException", "cancelled", errors.JuliaError, "^ErrorException: cancelled$"),
        (
            "BoundsError",
            "BoundsError: attempt to access",
            errors.JuliaError,
            "^BoundsError: attempt to access$",
        ),
    ],
)
def test_errors_of_julia_become_ours(kind, message, cls, text):
    error = julia.translated(kind, message, "\nStacktrace:\n [1] f")
    assert type(error) is cls
    assert re.search(text, str(error))
    assert error.julia_trace == "\nStacktrace:\n [1] f"


def test_errors_arrive_with_their_trace_and_without_julia():
    """An object of Julia on an exception would die in whatever thread drops it."""
    run(
        """
        from mpibridge.errors import MissingField

        def throw(kind, message):
            raise julia_door.Thrown(kind, message)

        def burst():
            raise julia_door.JuliaError("StackOverflowError\\nStacktrace:\\n [1] burst()")

        julia_door.FUNCTIONS.update(throw=throw, burst=burst)
        error = caught(MissingField, julia.call, "throw", "KeyError", 'KeyError: key "/acquisition" not found')
        assert "Stacktrace" in error.julia_trace and "in throw" in error.julia_trace
        other = caught(JuliaError, julia.call, "burst")
        assert str(other) == "JuliaError: StackOverflowError" and "[1] burst()" in other.julia_trace
        gc.collect()
        left = [o for o in gc.get_objects() if type(o) in (julia_door.JuliaError, julia_door.JuliaObject)]
        assert left == [], left
        for one in (error, other):
            assert one.__cause__ is None and one.__context__ is None
            frame = one.__traceback__
            while frame is not None:
                held = frame.tb_frame.f_locals.values() if frame.tb_next else ()
                assert not any(isinstance(value, julia_door.JuliaObject) for value in held), frame
                frame = frame.tb_next
        """
    )


def test_a_failed_start_leaves_no_julia_object():
    run(
        """
        julia_door.Main.seval = lambda self, code: (_ for _ in ()).throw(julia_door.JuliaError("no MPIBridge"))
        error = caught(JuliaSetupError, julia.start)
        gc.collect()
        left = [o for o in gc.get_objects() if type(o) in (julia_door.JuliaError, julia_door.JuliaObject)]
        assert left == [] and "no MPIBridge" in str(error) and error.__context__ is None
        """
    )


def test_warnings_arrive_where_the_call_was_made():
    run(
        """
        def warn():
            warnings.warn("one", UserWarning)
            warnings.warn("two", UserWarning)
            return 7

        julia_door.FUNCTIONS["warn"] = warn
        heard = []
        warnings.showwarning = lambda *given: heard.append((threading.get_ident(), *given[:2], given[3]))

        def reader():
            return julia.call("warn")

        def ask():
            assert reader() == 7
            asked.append((threading.get_ident(), sys._getframe().f_lineno - 1))

        asked = []
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = lambda *given: heard.append((threading.get_ident(), *given))
            ask()
            thread = threading.Thread(target=ask)
            thread.start()
            thread.join()
        told = [(thread, str(message), category, line) for thread, message, category, _, line, *_ in heard]
        assert told == [
            (thread, f"Julia: {text}", MPIBridgeWarning, line) for thread, line in asked for text in ("one", "two")
        ], told
        assert asked[0][0] != asked[1][0]
        """
    )


# Ctrl-C, progress, fork, end


@pytest.mark.parametrize("watch", ["None", "lambda *_: None"])
def test_ctrl_c_returns_at_once_and_stops_julia(watch):
    run(
        f"""
        julia.start()
        sent = interrupt_when(lambda: long.running)
        caught(KeyboardInterrupt, julia.run, "long", watch={watch})
        assert time.monotonic() - sent[0] < 1
        started = time.monotonic()
        assert "1.10.8" in julia.call("versions"), "the lane serves the next call"
        assert long.cancelled and time.monotonic() - started < 5
        """
    )


def test_ctrl_c_takes_a_waiting_call_out_of_the_queue():
    run(
        """
        julia.start()
        other = threading.Thread(target=lambda: caught(JuliaError, julia.run, "long", watch=stop))
        stopping = threading.Event()

        def stop(frame, iteration):
            if stopping.is_set():
                raise JuliaError("enough")

        julia_door.FUNCTIONS["second"] = lambda address: None
        other.start()
        until(lambda: long.running)
        sent = interrupt_when(lambda: julia.LANE._executor._work_queue.qsize() == 1)
        caught(KeyboardInterrupt, julia.run, "second")
        assert time.monotonic() - sent[0] < 1 and long.running
        stopping.set()
        other.join()
        julia.call("versions")
        assert called("long") and not called("second")
        """
    )


def test_arrays_live_until_julia_is_done_with_them():
    """Julia reads at an address; the caller may be gone, by Ctrl-C or because watching failed."""
    run(
        """
        import numpy as np, weakref
        array = np.ones(3)
        alive, seen, gone = weakref.ref(array), [], threading.Event()

        def patient(address):
            assert gone.wait(10)
            gc.collect()
            seen.append(alive() is not None)

        def leave(frame, iteration):
            if called("patient"):
                raise ZeroDivisionError

        julia_door.FUNCTIONS["patient"] = patient
        caught(ZeroDivisionError, julia.run, "patient", watch=leave, keep=array)
        del array
        gone.set()
        julia.call("versions")
        gc.collect()
        assert seen == [True] and alive() is None
        """
    )


def test_progress_is_seen_while_julia_works():
    run(
        """
        def steps(address):
            buffer = julia_door._at(address, "int64", 3)
            for frame in (1, 2):
                for iteration in (1, 2):
                    buffer[:2] = frame, iteration
                    until(lambda: (frame, iteration) in seen)
            return 5

        julia_door.FUNCTIONS["steps"] = steps
        seen, watchers = [], set()

        def watch(*told):
            seen.append(told)
            watchers.add(threading.get_ident())

        assert julia.run("steps", watch=watch) == 5
        assert [told for told in dict.fromkeys(seen) if told != (0, 0)] == [(1, 1), (1, 2), (2, 1), (2, 2)], seen
        assert watchers == {threading.get_ident()}
        """
    )


def test_a_reconstruction_tells_its_progress_and_can_be_cancelled():
    """The fake writes where Julia would, so that the tests above are about the real protocol."""
    run(
        """
        import numpy as np
        generator = np.random.default_rng(0)
        S = (generator.standard_normal((40, 9)) + 1j * generator.standard_normal((40, 9))).astype(np.complex64)
        image = generator.random((3, 9)).astype(np.float32)
        u = np.ascontiguousarray(image @ S.T)
        solve = ("reconstruct_lowlevel", S.ctypes.data, *S.shape, u.ctypes.data, len(u))
        found = julia.run(*solve, "iterations = 200")
        assert found.shape == (3, 9) and np.allclose(found, image, atol=1e-4)
        told, tell = [], julia_door._at

        def forever(*arguments):
            return julia_door.reconstruct_lowlevel(*arguments[:5], "iterations = 1000000", arguments[-1])

        julia_door.FUNCTIONS["forever"] = forever

        def watch(frame, iteration):
            told.append((frame, iteration))
            if iteration > 100:
                raise KeyboardInterrupt

        caught(KeyboardInterrupt, julia.run, "forever", *solve[1:], "", watch=watch)
        started = time.monotonic()
        julia.call("versions")
        assert time.monotonic() - started < 5 and told[-1][0] == 1
        """
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork_after_the_start_is_refused_and_before_it_works():
    run(
        """
        def child(work):
            pid = os.fork()
            if pid:
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            work()
            sys.exit(3)  # the usual end of a process, which must not wait for a thread that is not there

        assert child(lambda: julia.call("versions")) == 3
        assert julia.LANE.running is None
        julia.start()

        def refused():
            for call in (julia.call, julia.run):
                error = caught(JuliaError, call, "versions")
                assert f"started in process {os.getppid()}" in str(error), error
                assert 'multiprocessing.set_start_method("spawn")' in str(error)
            julia.post("versions")

        assert child(refused) == 3
        assert "1.10.8" in julia.call("versions")
        """
    )


def test_the_process_ends_after_calls_from_daemon_threads():
    run(
        """
        julia_door.FUNCTIONS["nap"] = lambda: time.sleep(0.2)

        def use():
            while True:
                julia.call("nap")

        threading.excepthook = lambda _: None  # calls after the end are refused, and that is right
        for _ in range(3):
            threading.Thread(target=use, daemon=True).start()
        until(lambda: len(called("nap")) > 2)
        """
    )


# Values


@pytest.mark.parametrize("n_axes", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["c8", "f4", "i8"])
def test_arrays_turn_around_and_are_copies(n_axes, dtype):
    shape = (2, 3, 4, 5, 6)[:n_axes]
    theirs = np.asfortranarray(np.arange(np.prod(shape)).reshape(shape).astype(dtype))
    ours = julia.plain(theirs)
    assert ours.shape == shape[::-1]
    assert ours.dtype == theirs.dtype
    assert ours.flags.c_contiguous
    assert not np.shares_memory(ours, theirs)
    for position in np.ndindex(*shape):
        assert ours[position[::-1]] == theirs[position]


def test_scalars_stay_and_tuples_are_taken_apart():
    for value in (None, True, 3, 2.5, "text"):
        assert julia.plain(value) is value
    image, (rows, name) = julia.plain((np.ones((2, 3), order="F"), (np.arange(4), "x")))
    assert image.shape == (3, 2)
    np.testing.assert_array_equal(rows, np.arange(4))
    assert name == "x"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['"', "\\", "a\nb", "\r\n", "'''", "λ µ", "\t", "#", ""]
)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans()
VALUES = st.recursive(
    NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def kinds(value):
    """The types inside: 1 is to stay whole, 1.0 a float and True a Boolean, for Julia has types."""
    if isinstance(value, dict):
        return {key: kinds(part) for key, part in value.items()}
    return [kinds(part) for part in value] if isinstance(value, list) else type(value)


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_settings_survive_as_toml(settings):
    found = julia.loads(julia.toml(settings))
    assert found == settings
    assert kinds(found) == kinds(settings)


@given(st.dictionaries(TEXT, VALUES | st.none() | st.dictionaries(TEXT, st.none() | NUMBERS), max_size=5))
def test_none_is_left_out(settings):
    def without(given):
        return {k: without(v) if isinstance(v, dict) else v for k, v in given.items() if v is not None}

    assert julia.loads(julia.toml(settings)) == without(settings)


def test_numpy_values_become_plain():
    settings = {
        "float": np.float32(0.5),
        "whole": np.int16(3),
        "flag": np.bool_(True),
        "matrix": np.arange(4.0).reshape(2, 2),
        "bins": np.arange(1, 4, dtype=np.uint8),
        "tuple": (1, np.int64(2)),
        "range": range(3),
        "tables": [{"lambda": np.float64(0.25)}],
        "path": Path("a") / "b",
    }
    wanted = {
        "float": 0.5,
        "whole": 3,
        "flag": True,
        "matrix": [[0.0, 1.0], [2.0, 3.0]],
        "bins": [1, 2, 3],
        "tuple": [1, 2],
        "range": [0, 1, 2],
        "tables": [{"lambda": 0.25}],
        "path": str(Path("a") / "b"),
    }
    found = julia.loads(julia.toml(settings))
    assert found == wanted
    assert kinds(found) == kinds(wanted)


# Two sides of one door


def exports() -> set[str]:
    lines = re.findall(r"^export (.+)$", (SOURCES / "MPIBridge.jl").read_text(), re.MULTILINE)
    return {name.strip() for line in lines for name in line.split(",")}


def names_called(path: Path) -> set[str]:
    """The functions of Julia that a module calls, or hands to a finalizer."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        words = [node.func, *node.args]
        for word, argument in pairwise(words):
            is_door = ast.unparse(word) in ("self._call", "self.call") or re.fullmatch(
                r"(julia|LANE|self\.lane)\.(call|run|post)", ast.unparse(word)
            )
            if is_door and isinstance(argument, ast.Constant):
                found.add(argument.value)
    return found


def test_the_fake_has_the_functions_of_the_julia_package():
    assert exports() - {"through"} == julia_door.FUNCTIONS.keys()


def test_python_calls_only_what_julia_exports():
    modules = [*(PROJECT / "mpibridge").rglob("*.py"), *(PROJECT / "plugins").rglob("*.py")]
    called = set().union(*map(names_called, modules))
    assert called >= {"versions", "open_file", "close_file", "header", "stored_data", "reconstruct_plan"}
    assert called <= exports()


def constant(name: str, file: str) -> tuple[str, ...]:
    """A tuple of texts in the Julia source; a splatted one stands for its entries."""
    (inner,) = re.findall(rf"^const {name} = \(([^)]*)\)", (SOURCES / file).read_text(), re.MULTILINE)
    parts = re.findall(r'"([^"]+)"|(\w+)\.\.\.', inner)
    return tuple(entry for text, other in parts for entry in ([text] if text else constant(other, file)))


@pytest.mark.parametrize(
    ("name", "file", "fake"),
    [
        ("SIGNAL_OPTIONS", "signals.jl", julia_door.SIGNAL_OPTIONS),
        ("SPECTRUM_OPTIONS", "signals.jl", julia_door.SPECTRUM_OPTIONS),
        ("FILTER_OPTIONS", "signals.jl", julia_door.FILTER_OPTIONS),
        ("MATRIX_OPTIONS", "signals.jl", julia_door.MATRIX_OPTIONS),
        ("CONVERSION_OPTIONS", "signals.jl", julia_door.CONVERSION_OPTIONS),
        ("SOLVERS", "plans.jl", tuple(julia_door.SOLVERS)),
        ("NORMALIZATIONS", "plans.jl", tuple(julia_door.NORMALIZATIONS)),
        ("OPTIONAL", "files.jl", tuple(julia_door.OPTIONAL)),
    ],
)
def test_the_fake_knows_the_options_of_the_julia_package(name, file, fake):
    assert constant(name, file) == fake


def test_files_and_images_through_the_door():
    """The whole way with both engines, on the small files of this folder."""
    run(
        """
        import numpy as np
        import mpibridge as mb
        files = [f"tests/data/{name}.mdf" for name in ("measurement", "calibration")]
        for path in files:
            ours, theirs = mb.open(path), mb.open(path, engine="julia")
            assert ours.drop_attrs().load().identical(theirs.drop_attrs().load())
        how = mb.Preprocessing(snr_threshold=3, min_frequency=60e3, background=None)
        for plugin, tolerance in (("kaczmarz", 1e-6), ("cgnr", 1e-3), ("fista", 1e-3), ("tv", 2e-2)):
            native, fake = (
                mb.reconstruct(
                    files[0], system_matrix=files[1], plugin=plugin, preprocessing=how, iterations=5, engine=engine
                ).concentration
                for engine in ("native", "julia")
            )
            assert np.linalg.norm(fake - native) <= tolerance * np.linalg.norm(native), plugin
            assert all(np.allclose(fake[dim], native[dim], atol=1e-12) for dim in native.dims), plugin
        unknown = {"plugin": "mpireco", "parameters": {"lambda": 0.1}}
        error = caught(SettingsError, mb.reconstruct, files[0], system_matrix=files[1], **unknown)
        assert "Could not set all `lambda` properties of plan: Property not found" in str(error)
        """
    )
