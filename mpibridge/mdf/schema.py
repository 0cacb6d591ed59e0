"""One table of every dataset of MDF 2.1.0; the reader, the writer and the validation all work from it.

Shape letters are those of the specification (C order): A tracers, N = O + E frames (O foreground,
E background), B kept coefficients, J periods per frame, Y sub-intervals, C receivers, D drive-field
channels, F frequencies per channel, V samples, K stored frequencies, Q images, P voxels, S contrasts.
Source: MDF specification 2.1.0; ``MPIFiles`` marks what MPIFiles.jl adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Type = Literal["str", "float", "int", "flag", "number", "complex"]
VERSION = "2.1.0"
DATA = "/measurement/data"
IMAGE = "/reconstruction/data"
TRANSFER_FUNCTION = "/acquisition/receiver/transferFunction"
SUBSAMPLING = "/measurement/subsamplingIndices"
SNR = "/calibration/snr"
DEVIATION = "/reconstruction/_mpibridge/standardDeviation"
"""Standard deviation of `/reconstruction/data`, of the same shape (an addition of mpibridge)."""
FRAME_TIMES = "/reconstruction/_mpibridge/time"
"""Seconds of every image of `/reconstruction/data` (an addition of mpibridge)."""
FLAGS = (
    "isBackgroundCorrected",
    "isFastFrameAxis",
    "isFourierTransformed",
    "isFramePermutation",
    "isFrequencySelection",
    "isSparsityTransformed",
    "isSpectralLeakageCorrected",
    "isTransferFunctionCorrected",
)
"""Flags of `/measurement` that say what was done to the data."""
SUFFIXES = (".mdf", ".hdf", ".h5")
"""MPIFiles.jl takes a file of any other name for one of a Bruker or IMT scanner."""


@dataclass(frozen=True)
class Entry:
    """One dataset: its HDF5 path, element type, shape letters ("" for a scalar), unit and whether it may be absent.

    optional: False, True, or the name of the flag that makes it mandatory. default: value MPIFiles.jl uses when the
    dataset is absent (None: no default). alternatives: further shapes the specification allows.
    """

    path: str
    type: Type
    shape: str = ""
    unit: str = ""
    optional: bool | str = False
    default: object = None
    alternatives: tuple[str, ...] = ()
    extension: bool = False

    @property
    def group(self) -> str:
        return self.path.rsplit("/", 1)[0] or "/"

    @property
    def letters(self) -> tuple[str, ...]:
        return tuple(self.shape.split())


def _entries() -> tuple[Entry, ...]:
    e = Entry
    drive, receive = "/acquisition/drivefield", "/acquisition/receiver"
    return (
        e("/time", "str"),
        e("/uuid", "str"),
        e("/version", "str"),
        e("/study/description", "str"),
        e("/study/name", "str"),
        e("/study/number", "int"),
        e("/study/time", "str", optional=True),
        e("/study/uuid", "str"),
        e("/experiment/description", "str"),
        e("/experiment/isSimulation", "flag"),
        e("/experiment/name", "str"),
        e("/experiment/number", "int"),
        e("/experiment/subject", "str"),
        e("/experiment/uuid", "str"),
        e("/tracer/batch", "str", "A"),
        e("/tracer/concentration", "float", "A", "mol/L"),
        e("/tracer/injectionTime", "str", "A", optional=True),
        e("/tracer/name", "str", "A"),
        e("/tracer/solute", "str", "A"),
        e("/tracer/vendor", "str", "A"),
        e("/tracer/volume", "float", "A", "L"),
        e("/scanner/boreSize", "float", unit="m", optional=True),
        e("/scanner/facility", "str"),
        e("/scanner/manufacturer", "str"),
        e("/scanner/name", "str"),
        e("/scanner/operator", "str"),
        e("/scanner/topology", "str"),
        e("/acquisition/gradient", "float", "J Y 3 3", "T/m", optional=True),
        e("/acquisition/numAverages", "int", default=1),
        e("/acquisition/numFrames", "int"),
        e("/acquisition/numPeriodsPerFrame", "int", default=1),
        e("/acquisition/offsetField", "float", "J Y 3", "T", optional=True),
        e("/acquisition/startTime", "str"),
        e(f"{drive}/baseFrequency", "float", unit="Hz"),
        e(f"{drive}/cycle", "float", unit="s"),
        e(f"{drive}/divider", "int", "D F"),
        e(f"{drive}/numChannels", "int"),
        e(f"{drive}/phase", "float", "J D F", "rad"),
        e(f"{drive}/strength", "float", "J D F", "T"),
        e(f"{drive}/waveform", "str", "D F"),
        e(f"{receive}/bandwidth", "float", unit="Hz"),
        e(f"{receive}/dataConversionFactor", "float", "C 2", optional=True),
        e(f"{receive}/inductionFactor", "float", "C", optional=True),
        e(f"{receive}/numChannels", "int"),
        e(f"{receive}/numSamplingPoints", "int"),
        e(f"{receive}/transferFunction", "complex", "C K", optional=True),
        e(f"{receive}/unit", "str", default="V"),
        e(f"{receive}/transferFunctionFileName", "str", optional=True, extension=True),
        e(
            DATA,
            "number",
            "N J C V",
            alternatives=("N J C K", "J C V N", "J C K N", "J C K BE"),
        ),
        e("/measurement/framePermutation", "int", "N", optional="isFramePermutation"),
        e("/measurement/frequencySelection", "int", "K", optional="isFrequencySelection"),
        e("/measurement/isBackgroundFrame", "flag", "N"),
        *(
            e(f"/measurement/{flag}", "flag", default=0, optional=flag == "isSparsityTransformed")
            for flag in FLAGS
        ),
        e("/measurement/sparsityTransformation", "str", optional="isSparsityTransformed"),
        e("/measurement/subsamplingIndices", "int", "J C K B", optional="isSparsityTransformed"),
        e("/calibration/deltaSampleSize", "float", "3", "m", optional=True),
        e("/calibration/fieldOfView", "float", "3", "m", optional=True),
        e("/calibration/fieldOfViewCenter", "float", "3", "m", optional=True),
        e("/calibration/method", "str"),
        e("/calibration/offsetFields", "float", "O 3", "T", optional=True),
        e("/calibration/order", "str", optional=True, default="xyz"),
        e("/calibration/positions", "float", "O 3", "m", optional=True),
        e("/calibration/size", "int", "3", optional=True),
        e("/calibration/snr", "float", "J C K", optional=True),
        e("/calibration/isMeanderingGrid", "flag", optional=True, default=0, extension=True),
        e(IMAGE, "number", "Q P S"),
        e("/reconstruction/fieldOfView", "float", "3", "m", optional=True),
        e("/reconstruction/fieldOfViewCenter", "float", "3", "m", optional=True),
        e("/reconstruction/isOverscanRegion", "flag", "P", optional=True),
        e("/reconstruction/order", "str", optional=True, default="xyz"),
        e("/reconstruction/positions", "float", "P 3", "m", optional=True),
        e("/reconstruction/size", "int", "3", optional=True),
    )


SCHEMA: dict[str, Entry] = {entry.path: entry for entry in _entries()}
"""Every dataset of MDF 2.1.0 by path."""

MANDATORY_GROUPS = (
    "/study",
    "/experiment",
    "/scanner",
    "/acquisition",
    "/acquisition/drivefield",
    "/acquisition/receiver",
)
OPTIONAL_GROUPS = ("/tracer", "/measurement", "/calibration", "/reconstruction")
TIMES = frozenset(("/time", "/study/time", "/acquisition/startTime", "/tracer/injectionTime"))
"""Datasets whose text is a time, ``yyyy-mm-ddThh:mm:ss.mmm``: MPIFiles.jl reads no more than milliseconds."""


def is_private(path: str) -> bool:
    """True for a user's addition: some part of the path starts with an underscore (MDF rule)."""
    return any(part.startswith("_") for part in path.split("/"))
