"""The letters of the specification: which size each has in one file, and whether a shape agrees with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mpibridge.mdf.schema import DATA, Entry

COUNTS = {
    "N": "/acquisition/numFrames",
    "J": "/acquisition/numPeriodsPerFrame",
    "D": "/acquisition/drivefield/numChannels",
    "C": "/acquisition/receiver/numChannels",
    "V": "/acquisition/receiver/numSamplingPoints",
}
"""The letters whose size the header tells."""


@dataclass
class ShapeLetters:
    """Sizes of the letters of one file; a letter that the header does not tell is bound by the first shape that has it.

    flags: those of `/measurement` that are set; they decide how `/measurement/data` lies. n_bins: V // 2 + 1, if V is
    known. ``B+E`` is one letter: the last axis of sparse data.
    """

    flags: frozenset[str]
    n_bins: int | None
    sizes: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> ShapeLetters:
        """header: values by path; what is no whole number is passed over."""
        sizes = {letter: n for letter, name in COUNTS.items() if (n := _whole(header.get(name))) is not None}
        prefix = "/measurement/"
        flags = frozenset(
            name.removeprefix(prefix)
            for name, value in header.items()
            if name.startswith(f"{prefix}is") and _whole(value)
        )
        n_bins = sizes["V"] // 2 + 1 if "V" in sizes else None
        selection = header.get("/measurement/frequencySelection")
        if "isFrequencySelection" in flags:
            if selection is not None:
                sizes["K"] = np.size(selection)
        elif n_bins is not None:
            sizes["K"] = n_bins
        background = np.asarray(header.get("/measurement/isBackgroundFrame", ()))
        if background.dtype.kind in "iub":
            n_background = int(np.count_nonzero(background))
            size = np.asarray(header.get("/calibration/size", ()))
            if "isSparsityTransformed" not in flags and "N" in sizes:
                sizes["O"] = sizes["N"] - n_background
            elif "isSparsityTransformed" in flags and size.shape == (3,) and size.dtype.kind in "iu":
                sizes["O"] = int(np.prod(size.astype(object)))
                sizes["N"] = sizes["O"] + n_background
        return cls(flags, n_bins, sizes)

    def wanted(self, entry: Entry) -> tuple[str, ...]:
        """The letters of a dataset under the flags of this file."""
        sparse = "isSparsityTransformed" in self.flags
        if entry.path == "/measurement/isBackgroundFrame" and sparse:
            return ("B+E",)  # MPIFiles.jl marks what is stored
        if entry.path != DATA:
            return entry.letters
        last = "K" if "isFourierTransformed" in self.flags else "V"
        frames = "B+E" if sparse else "N"
        return ("J", "C", last, frames) if "isFastFrameAxis" in self.flags else (frames, "J", "C", last)

    def agree(self, letters: tuple[str, ...], shape: tuple[int, ...]) -> bool:
        """Does ``shape`` have these letters? If so, letters that were free are bound by it."""
        if len(shape) != len(letters):
            return False
        sizes = dict(self.sizes)
        for letter, n in zip(letters, shape, strict=True):
            if (int(letter) if letter.isdigit() else sizes.setdefault(letter, n)) != n:
                return False
        self.sizes = sizes
        return True

    def explain(self, letters: tuple[str, ...]) -> str:
        """The letters, and the sizes of those that are known."""
        known = [
            f"{letter} = {self.sizes[letter]}" for letter in dict.fromkeys(letters) if letter in self.sizes
        ]
        return (" × ".join(letters) or "a scalar") + (f" ({', '.join(known)})" if known else "")


def _whole(value: Any) -> int | None:
    values = np.ravel(value)
    if value is None or values.size != 1 or values.dtype.kind not in "iub":
        return None
    return int(values[0])
