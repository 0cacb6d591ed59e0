"""The contract of a reconstruction method: what it is given (a problem), what it returns, how it is built.

A plugin owns its network, loss, reconstruction and settings. It opens no file, prints nothing and plots nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

from mpibridge.errors import PluginError, SettingsError
from mpibridge.model import Grid
from mpibridge.operators import SystemMatrix
from mpibridge.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch
    import xarray as xr

API_VERSION = 1
Report = Callable[[int, int, str], None]
"""``report(done, total, text)``: how far the work is."""


@dataclass(frozen=True, kw_only=True)
class SpectralProblem:
    """Data that are a linear function of the image.

    rows: (frame, row) complex64. operator: the (weighted) system matrix of the same rows. noise: standard deviation of
    every row, weighted like the rows, (row,) or, where frames differ, (frame, row); None if nobody measured it.
    matrix_noise: standard deviation of the entries of every row of the system matrix, (row,), weighted alike; None if
    nobody measured it or the matrix was interpolated.
    """

    grid: Grid
    rows: Any
    operator: SystemMatrix
    noise: Any = None
    matrix_noise: Any = None


@dataclass(frozen=True, kw_only=True)
class WaveformProblem:
    """The voltages of drive-field periods, without a system matrix.

    waveform: (frame, receiver, sample) volts. sample_rate: hertz. trajectory: (sample, 3) field-free point in metres.
    """

    grid: Grid
    waveform: Any
    sample_rate: float
    trajectory: Any


@dataclass(frozen=True, kw_only=True)
class ImageProblem:
    """Preliminary images, for example of x-space gridding: images (frame, channel, z, y, x).

    gridding: the `mpibridge.xspace.Gridding` that made them of the signals and knows the path of the scan, from which
    `mpibridge.xspace.ImageOperator` makes their exact model; None for images of another origin.
    """

    grid: Grid
    images: Any
    gridding: Any = None


@dataclass(frozen=True, kw_only=True)
class RecordingProblem:
    """Recordings as they are, for software that does the preprocessing itself.

    as_file: the path of a file (MDF, or a Bruker folder) that holds a dataset; written if there is none. frames: the
    chosen foreground frames, from 0. n_patches: focus-field positions of the scan. spectral: builds the
    `SpectralProblem` of the same recordings, which takes time.
    """

    grid: Grid
    scan: xr.Dataset
    system_matrices: Sequence[xr.Dataset]
    preprocessing: Preprocessing
    frames: Sequence[int]
    n_patches: int
    as_file: Callable[[xr.Dataset], Path]
    spectral: Callable[[], SpectralProblem]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a method found.

    image: (frame, z, y, x) or (contrast, frame, z, y, x) float32; std: the same shape, or None. trace: figures by name,
    numbers or arrays whose first axis is the frame. grid: where the image lies if that is not the problem's grid. times: seconds of the frames if they are not the scan's.
    """

    image: Any
    std: Any = None
    trace: Mapping[str, Any] = field(default_factory=dict)
    grid: Grid | None = None
    times: Any = None


@dataclass(frozen=True)
class NoSettings:
    """The settings of a plugin that has none."""


P = TypeVar("P", SpectralProblem, WaveformProblem, ImageProblem, RecordingProblem)


class Plugin(ABC, Generic[P]):
    """A reconstruction method. name: what users call it. takes: the problem it solves. Settings: a frozen dataclass.

    arrays: "numpy" for NumPy arrays on the CPU and torch tensors on a GPU, "torch" for tensors everywhere.
    """

    name: ClassVar[str]
    takes: ClassVar[type]
    Settings: ClassVar[type] = NoSettings
    arrays: ClassVar[str] = "numpy"
    api_version: ClassVar[int] = API_VERSION

    def __init__(self, settings: Any = None) -> None:
        self.settings = self.Settings() if settings is None else settings

    @abstractmethod
    def reconstruct(self, problem: P, *, generator: np.random.Generator, report: Report) -> Result:
        """The image of a problem; arrays of the kind and on the device of the problem's.

        ``generator`` is the only source of randomness. A method that draws random numbers takes one generator per frame,
        ``generator.spawn(n_frames)``: then no image depends on how frames are put together. Of frames without noise or
        signal it makes finite images.
        """

    def bytes_per_frame(self, problem: P) -> int:
        """Memory that one more frame takes while it is reconstructed; 0 if any number goes at once."""
        return 0

    def sampled(self, trace: Mapping[str, Any], here: Grid, grid: Grid) -> np.ndarray | None:
        """The image (frame, z, y, x) on another grid, from what the trace of a result holds; None if that is no function of space.

        here: the grid of the image, in whose field of view the other one lies. What ``dataset.mpi.resample`` asks for.
        """
        return None

    def in_julia(self) -> Plugin[RecordingProblem] | None:
        """The same method as MPIReco.jl runs it, for ``engine="julia"``; None if there is none."""
        return None


class TrainablePlugin(Plugin[P], ABC):
    """A method with a network whose weights are trained. network: built by `build_network`, trained or loaded by mpibridge.

    network_settings: names of the settings that decide what the network is: they are stored with the weights, and who gives
    another value asks for other weights. All other settings are free.
    """

    arrays = "torch"
    network_settings: ClassVar[tuple[str, ...]] = ()
    network: torch.nn.Module

    @classmethod
    def network_choice(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What settings that a user chose say of the network: those of `network_settings` among them."""
        return {name: settings[name] for name in cls.network_settings if name in settings}

    @property
    def serves_any_acquisition(self) -> bool:
        """Whether weights serve every scanner, tracer and grid, as those of a prior on images do."""
        return False

    @abstractmethod
    def build_network(self, problem: P) -> torch.nn.Module:
        """An untrained network for problems like this one. Its initial weights come from torch's seeded generator."""

    @abstractmethod
    def loss(self, problem: P, target: torch.Tensor, *, generator: np.random.Generator) -> torch.Tensor:
        """What training makes small, a mean over frames. target: (frame, z, y, x) on the device of the problem."""


def make_settings(cls: type[Plugin], values: Mapping[str, Any]) -> Any:
    """``cls.Settings`` from keywords.

    SettingsError lists the known names and suggests the nearest to an unknown one, or says what a value is not.
    """
    known = [f.name for f in fields(cls.Settings)]
    for name in values:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise SettingsError(
                f"plugin {cls.name!r} has no setting {name!r}{hint} (known: {', '.join(known) or 'none'})"
            )
    try:
        return cls.Settings(**values)
    except SettingsError:
        raise
    except (TypeError, ValueError) as error:
        raise SettingsError(f"settings of plugin {cls.name!r}: {error}") from error


def check_contract(cls: Any, name: str) -> type[Plugin]:
    """``cls`` if it is a plugin of this API version called ``name``; PluginError otherwise."""
    if not (isinstance(cls, type) and issubclass(cls, Plugin)):
        raise PluginError(f"plugin {name!r}: {cls!r} is no subclass of mpibridge.plugin.Plugin")
    if cls.api_version != API_VERSION:
        raise PluginError(
            f"plugin {name!r} is written for plugin API {cls.api_version}, this mpibridge has {API_VERSION}; "
            "install versions that fit"
        )
    if getattr(cls, "name", None) != name:
        raise PluginError(f"the plugin registered as {name!r} calls itself {getattr(cls, 'name', None)!r}")
    return cls
