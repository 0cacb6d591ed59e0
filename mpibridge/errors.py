"""Every exception of mpibridge: what failed, the value found, and what to do next."""

from __future__ import annotations

from pathlib import Path


class MPIBridgeError(Exception):
    """Base of every error that mpibridge raises on purpose. julia_trace: the stack of Julia, if it failed there."""

    julia_trace: str = ""


class MDFError(MPIBridgeError):
    """A file that is not the MDF file it should be.

    path: the file; dataset: the HDF5 path inside it (None if the whole file is meant); found: what is
    there; todo: what the reader of the message can do.
    """

    def __init__(self, path: str | Path, dataset: str | None, found: str, todo: str = "") -> None:
        self.path, self.dataset, self.found, self.todo = str(path), dataset, found, todo
        where = f"{self.path}: {dataset}" if dataset else self.path
        super().__init__(f"{where}: {found}" + (f"; {todo}" if todo else ""))

    def __reduce__(self) -> tuple[type[MDFError], tuple[str, str | None, str, str]]:
        return type(self), (self.path, self.dataset, self.found, self.todo)


class ShapeError(MPIBridgeError, ValueError):
    """Arrays whose shapes do not fit each other; the message names both."""


class SettingsError(MPIBridgeError, ValueError):
    """A setting that is unknown or outside its range; the message lists what is allowed."""


class MismatchError(MPIBridgeError, ValueError):
    """A scan and a calibration that were not recorded with the same sequence; both values are named."""


class PluginError(MPIBridgeError):
    """A plugin that is unknown, cannot be imported, or breaks the contract."""


class WeightsError(MPIBridgeError):
    """Trained weights that are not there, are damaged, or belong to another method, network or acquisition."""


class JuliaSetupError(MPIBridgeError):
    """Julia or its packages are not there, or do not start; ``mpibridge doctor`` says more."""


class JuliaError(MPIBridgeError):
    """Julia code failed; ``julia_trace`` says where."""


class FileError(MPIBridgeError, OSError):
    """A file that does not exist or that MPIFiles.jl cannot open."""


class MissingField(MPIBridgeError):
    """A file lacks a dataset that MPIFiles.jl needs for this."""


class MPIBridgeWarning(UserWarning):
    """Something was done that a careful reader of the result should know."""
