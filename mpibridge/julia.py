"""The only door to Julia: one thread owns it, everybody else queues, and only text, whole numbers and arrays cross.

Julia starts when it is first needed, never at import. The functions that can be called are those that the Julia package
`MPIBridge` (folder ``julia``) exports; settings and headers cross as TOML text, frames, receivers and bins count from 1.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mpibridge.errors import (
    FileError,
    JuliaError,
    JuliaSetupError,
    MissingField,
    MPIBridgeError,
    MPIBridgeWarning,
    SettingsError,
    ShapeError,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

STACK_BYTES = 64 * 2**20
"""Julia's compiler recurses deeper than the stack of an ordinary thread."""
POLL_SECONDS = 0.1
"""How often a waiting caller looks at the progress."""
ABSENT = {
    "TypeError": r"got a value of type (Missing|Nothing)|non-boolean \((Missing|Nothing)\)",
    "MethodError": r"no method matching .*::(Missing|Nothing)\b",
    "KeyError": r'key "?/',
}
"""What errors of Julia say when a dataset of the file is not there, by kind."""
Watch = Callable[[int, int], None]
"""``watch(frame, iteration)``, called by the waiting thread; both 0 until the first frame, then frames from 1."""
_log = logging.getLogger("mpibridge")


@dataclass(frozen=True)
class Running:
    """The Julia that runs in this process: versions, where it is, and how long it took to start."""

    julia: str
    executable: str
    project: str
    depot: str
    threads: int
    packages: Mapping[str, str]
    seconds: float
    reused: bool

    def __str__(self) -> str:
        packages = ", ".join(f"{name} {version}" for name, version in sorted(self.packages.items()))
        how = "found running" if self.reused else f"started in {self.seconds:.1f} s"
        return f"Julia {self.julia} ({self.executable}, project {self.project}) {how}: {packages}"


class Lane:
    """The thread that owns Julia, and the queue in front of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._thread: int | None = None
        self._pid = os.getpid()
        self._door: Any = None
        self._posted: deque[tuple[str, tuple[str | int, ...]]] = deque()
        self.running: Running | None = None

    def start(self) -> Running:
        """Start Julia if it does not run yet, and say which it is."""
        self.call("versions")
        assert self.running is not None
        return self.running

    def call(self, name: str, *arguments: str | int) -> Any:
        """What the Julia function ``name`` returns, as plain values; arrays have the axes of C order."""
        return self._finish(self._submit(name, arguments))

    def run(self, name: str, *arguments: str | int, watch: Watch | None = None, keep: object = None) -> Any:
        """As `call`, for a function whose last argument is a progress address: Ctrl-C stops the Julia side, too.

        keep: arrays whose addresses are among the arguments; they live until Julia is done.
        """
        progress = np.zeros(3, np.int64)
        future = self._submit(name, (*arguments, progress.ctypes.data), (progress, keep))
        try:
            while watch is not None and not wait([future], POLL_SECONDS).done:
                watch(int(progress[0]), int(progress[1]))
            return self._finish(future)
        except BaseException:
            progress[2] = 1
            future.cancel()
            raise

    def later(self, work: Callable[[], object]) -> None:
        """Do ``work`` when everything asked of Julia so far is done; nobody waits."""
        if self._executor is not None:
            self._executor.submit(work)

    def post(self, name: str, *arguments: str | int) -> None:
        """As `call`, but nobody waits: it is done before the next call. For finalizers.

        A finalizer runs in any thread, the lane too, and between any two lines: it must not take a lock.
        """
        if self.running is not None:
            self._posted.append((name, arguments))

    def _submit(
        self, name: str, arguments: tuple[str | int, ...], keep: object = None
    ) -> Future[tuple[Any, dict[str, Any]]]:
        if os.getpid() != self._pid:
            if self._executor is not None:
                raise JuliaError(
                    f"Julia was started in process {self._pid}, this is process {os.getpid()}, a fork of it; start "
                    'worker processes with multiprocessing.set_start_method("spawn")'
                )
            self._pid = os.getpid()
        if threading.get_ident() == self._thread:
            raise JuliaError(
                f"{name} was called from the thread that runs Julia; call it from another thread"
            )
        with self._lock:
            if self._executor is not None:
                return self._executor.submit(self._through, name, arguments, keep)
            self._executor = ThreadPoolExecutor(1, "mpibridge-julia")
            usual = threading.stack_size(
                STACK_BYTES
            )  # of threads that start from now on: the lane, with its first task
            try:
                return self._executor.submit(self._through, name, arguments, keep)
            finally:
                threading.stack_size(usual)

    def _finish(self, future: Future[tuple[Any, dict[str, Any]]]) -> Any:
        try:
            while not wait([future], 1.0).done:  # a wait without end would not see Ctrl-C everywhere
                pass
        finally:
            future.cancel()  # what still stands in the queue; nothing if it is done
        value, report = future.result()
        if (error := report.get("error")) is not None:
            raise translated(error["kind"], error["message"], error["trace"])
        for message in dict.fromkeys(report.get("warnings", ())):
            warnings.warn(f"Julia: {message}", MPIBridgeWarning, stacklevel=4)
        return value

    def _through(
        self, name: str, arguments: tuple[str | int, ...], keep: object
    ) -> tuple[Any, dict[str, Any]]:
        """In the lane: call, and turn everything into plain values before another thread sees it.

        keep: what lives at addresses among the arguments.
        """
        self._thread = threading.get_ident()
        if self._door is None:
            self._door, self.running = _start()
        while self._posted:
            posted, given = self._posted.popleft()
            _knock(self._door, posted, *given)
        value, report = _knock(self._door, name, *arguments)
        return value, report


def _start() -> tuple[Any, Running]:
    started = time.perf_counter()
    reused = "juliacall" in sys.modules
    ours = [] if reused else _prepare_environment()
    failure: JuliaSetupError | None = None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch was imported before juliacall")
            import juliacall
        path = package_folder().as_posix()
        juliacall.Main.seval(f'raw"{path}" in LOAD_PATH || push!(LOAD_PATH, raw"{path}"); using MPIBridge')
        door = juliacall.Main.MPIBridge.through
    except JuliaSetupError:
        raise
    except Exception as error:  # noqa: BLE001 - juliapkg raises plain Exception; whatever it is, Julia is not there
        absent = isinstance(error, ModuleNotFoundError) and error.name == "juliacall"
        what = "juliacall is not installed" if absent else first_line(error)
        failure = _not_started(what, str(error))
    for name in ours:
        os.environ.pop(name, None)  # not for child processes, which may be told otherwise
    if failure is not None:  # raised here, so that no Julia object hangs on the traceback
        raise failure
    said, report = _knock(door, "versions")
    if (told := report.get("error")) is not None:
        raise _not_started(first_line(told["message"]), told["trace"])
    running = Running(**tomllib.loads(said), seconds=time.perf_counter() - started, reused=reused)
    _log.info("%s", running)
    return door, running


def _not_started(what: str, trace: str) -> JuliaSetupError:
    error = JuliaSetupError(
        f"Julia does not start: {what}; 'mpibridge setup-julia' installs it, 'mpibridge doctor' says what is missing"
    )
    error.julia_trace = trace
    return error


def _prepare_environment() -> list[str]:
    """One Julia thread, and Ctrl-C stays with Python; what the user has set wins. Returns the variables set here."""
    environment, options = os.environ, sys._xoptions
    threads = options.get("juliacall-threads") or environment.get(
        "PYTHON_JULIACALL_THREADS", environment.get("JULIA_NUM_THREADS", "1")
    )
    # Julia's garbage collector stops its threads with signals that it must then be allowed to handle.
    defaults = {
        "PYTHON_JULIACALL_HANDLE_SIGNALS": "no" if threads == "1" else "yes",
        "PYTHON_JULIACALL_AUTOLOAD_IPYTHON_EXTENSION": "no",
    }
    ours = [name for name in defaults if name not in environment]
    environment.update({name: defaults[name] for name in ours})
    return ours


def _knock(door: Any, name: str, *arguments: str | int) -> tuple[Any, dict[str, Any]]:
    """Call through the door without the GIL; (value, report) as plain Python."""
    import juliacall

    try:
        value, report = door._jl_call_nogil(name, *arguments)
        return plain(value), tomllib.loads(str(report))
    except juliacall.JuliaError as error:
        text = str(error)
        return None, {"error": {"kind": "JuliaError", "message": first_line(text), "trace": text}}


def plain(value: Any) -> Any:
    """Numbers and text as they are, tuples of them, and arrays copied into C order: Julia's first axis comes last."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return tuple(plain(part) for part in value)
    return np.ascontiguousarray(np.array(value).T)


def first_line(error: object) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else repr(error)


def translated(kind: str, message: str, trace: str) -> MPIBridgeError:
    """An error of Julia as one of ours; the trace stays on it."""
    cls: type[MPIBridgeError] = JuliaError
    text = message
    if kind == "UnknownSetting":
        cls, text = SettingsError, f"MPIReco.jl: {message}"
    elif kind == "DimensionMismatch":
        cls = ShapeError
    elif kind in ("SystemError", "IOError") or re.search("unable to (determine|open)|No such file", message):
        cls = FileError
    elif re.search(ABSENT.get(kind, "(?!)"), message.partition("Closest candidates")[0], re.DOTALL):
        cls = MissingField
        text = f"the file lacks a dataset that MPIFiles.jl needs here ({message}); 'mpibridge validate FILE' lists them"
    elif not message.startswith(kind):
        text = f"{kind}: {message}"
    error = cls(text)
    error.julia_trace = trace
    return error


def package_folder() -> Path:
    """The Julia package: inside an installed wheel, or beside the package in a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "_julia", here.parent / "julia"):
        if (folder / "Project.toml").is_file():
            return folder
    raise JuliaSetupError(
        f"the Julia package of mpibridge is neither in {here / '_julia'} nor in {here.parent / 'julia'}; install "
        "mpibridge again"
    )


loads = tomllib.loads
"""TOML text, as headers cross, to a dict."""


def toml(settings: Mapping[str, Any]) -> str:
    """Settings as TOML text; None is left out, NumPy values and tuples become plain."""
    import tomli_w

    try:
        return tomli_w.dumps(_simple(settings))
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"{dict(settings)} holds something that is no number, text, list or dict of them ({error})"
        ) from error


def _simple(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _simple(part) for key, part in value.items() if part is not None}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple | range):
        return [_simple(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def is_installed() -> bool:
    """Whether juliacall can be imported; nothing is started."""
    return "juliacall" in sys.modules or find_spec("juliacall") is not None


LANE = Lane()
"""The one lane of this process."""
call, run, later, post, start = LANE.call, LANE.run, LANE.later, LANE.post, LANE.start
