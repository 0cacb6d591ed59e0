"""X-space images as they are: the collinear images of a scan put together, without any system matrix."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import numpy as np

from mpibridge.errors import SettingsError
from mpibridge.plugin import ImageProblem, Plugin, Report, Result


@dataclass(frozen=True)
class XSpaceSettings:
    """How the channels of an x-space image become one image."""

    combine: str | int = "mean"  # "mean" or "sum" of all channels, or the number of one, from 0
    positive: bool = True  # cut negative values

    def __post_init__(self) -> None:
        is_channel = (
            isinstance(self.combine, Integral) and not isinstance(self.combine, bool) and self.combine >= 0
        )
        if self.combine not in ("mean", "sum") and not is_channel:
            raise SettingsError(
                f'combine must be "mean", "sum" or the number of a channel, found {self.combine!r}'
            )
        if not isinstance(self.positive, bool | np.bool_):
            raise SettingsError(f"positive must be true or false, found {self.positive!r}")


class XSpace(Plugin[ImageProblem]):
    """The mean, the sum or one of the collinear images. Source: Goodwill & Conolly 2011 (IEEE TMI 30(9)).

    A channel that did not measure a voxel holds exactly 0 there and does not count in the mean.
    """

    name = "xspace"
    takes = ImageProblem
    Settings = XSpaceSettings

    def reconstruct(self, problem: ImageProblem, *, generator: np.random.Generator, report: Report) -> Result:
        s, images = self.settings, problem.images
        if isinstance(s.combine, str):
            image = images.sum(1)
            if s.combine == "mean":
                image /= (images != 0).sum(1).clip(1, None)
        elif s.combine < images.shape[1]:
            image = images[:, s.combine]
        else:
            raise SettingsError(
                f"combine={s.combine}: the scan has {images.shape[1]} channels, counted from 0"
            )
        return Result(image=image.clip(0, None) if s.positive else image)
