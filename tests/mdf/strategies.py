"""MDF files of every version, kind and layout, written with plain h5py, and what a reader must find in them.

`Recording` describes a file, `Recording.save` writes it, `recordings()` is the hypothesis strategy for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.fft
from hypothesis import strategies as st

TIME = "2026-01-02T03:04:05.678"
UUID = "0c254785-9b0f-4736-8c36-fc8c7f0a00bb"
DRIVE, RECEIVE = "acquisition/drivefield", "acquisition/receiver"


@dataclass(frozen=True)
class Recording:
    """One file. shape: (frames, periods, receivers, samples); grid: (x, y, z) of a calibration or image.

    dtype: of the stored numbers, with its byte order; for spectra the complex type. compound: how complex numbers are
    stored, "ri" or "real imag" (version 1 has pairs along a last axis). selected: some frequencies only.
    """

    version: str = "2.1.0"
    kind: str = "measurement"
    shape: tuple[int, int, int, int] = (4, 1, 2, 12)
    grid: tuple[int, int, int] = (3, 2, 1)
    dtype: str = "<f4"
    compound: str = "ri"
    fourier: bool = False
    fast: bool = False
    permuted: bool = False
    selected: bool = False
    sparse: str = ""
    n_background: int = 0
    chunked: bool = False
    transfer_function: bool = False
    private: bool = False
    contrasts: int = 1
    libver: str = "earliest"
    seed: int = 0

    @property
    def old(self) -> bool:
        return self.version.startswith("1")

    def save(self, path: Path) -> dict[str, np.ndarray]:
        """Write the file; returns the variables a reader must find, by name."""
        generator = np.random.default_rng(self.seed)
        with h5py.File(path, "w", libver=self.libver) as file:
            self._header(file)
            found = getattr(self, f"_{self.kind}")(file, generator)
            if self.private:
                file["_lab/notes"] = "Prüfung ✓"
                file["_lab/notes"].attrs["author"] = "nobody"
                file["study/_cost"] = np.arange(3.0)
                file["experiment"].attrs["weather"] = np.array([1, 2])
                file["_lab/large"] = generator.standard_normal((90, 100))
                found["/_lab/large"] = file["_lab/large"][()]
        return found

    def _header(self, file: h5py.File) -> None:
        frames, periods, receivers, samples = self.shape
        entries: dict[str, Any] = {"version": self.version, "uuid": UUID}
        if self.old:
            entries |= {
                "date": TIME,
                "study/name": "s",
                "study/experiment": "7",
                "study/simulation": np.int64(1),
            }
            entries |= {f"tracer/{k}": "t" for k in ("name", "batch", "vendor")} | {"tracer/volume": 1e-9}
            entries |= {
                f"scanner/{k}": "s" for k in ("facility", "operator", "manufacturer", "model", "topology")
            }
            entries |= {"acquisition/numFrames": np.int64(frames), "acquisition/time": TIME}
            entries |= {"acquisition/gradient": np.array([-1.0, -1, 2]), f"{DRIVE}/period": 1e-3}
            entries |= {f"{DRIVE}/averages": np.int64(2), f"{DRIVE}/repetitionTime": 2e-3}
            entries |= {f"{DRIVE}/strength": np.array([0.01, 0.02]), f"{DRIVE}/divider": np.array([4, 3])}
        else:
            entries |= {"time": TIME, "study/number": np.int64(1), "study/uuid": UUID, "study/time": TIME}
            entries |= {f"study/{k}": "s" for k in ("name", "description")}
            entries |= {f"experiment/{k}": "e" for k in ("name", "description", "subject")}
            entries |= {
                "experiment/number": np.int64(2),
                "experiment/uuid": UUID,
                "experiment/isSimulation": np.int8(1),
            }
            entries |= {f"tracer/{k}": np.array(["t"], object) for k in ("name", "batch", "vendor", "solute")}
            entries |= {"tracer/volume": np.array([1e-9]), "tracer/concentration": np.array([0.1])}
            entries |= {
                f"scanner/{k}": "s" for k in ("facility", "operator", "manufacturer", "name", "topology")
            }
            periods_name = "numPeriods" if self.version == "2.0.0" else "numPeriodsPerFrame"
            entries |= {
                "acquisition/numFrames": np.int64(self._n_frames()),
                f"acquisition/{periods_name}": np.int64(periods),
            }
            entries |= {"acquisition/numAverages": np.int64(2), "acquisition/startTime": TIME}
            entries |= {"acquisition/gradient": np.tile(np.diag([-1.0, -1, 2]), (periods, 1, 1, 1))}
            entries |= {f"{DRIVE}/cycle": 1e-3, f"{DRIVE}/divider": np.array([[4], [3]])}
            entries |= {
                f"{DRIVE}/strength": np.full((periods, 2, 1), 0.01),
                f"{DRIVE}/phase": np.zeros((periods, 2, 1)),
            }
            entries |= {f"{DRIVE}/waveform": np.array([["sine"], ["sine"]], object), f"{RECEIVE}/unit": "V"}
            if self.dtype[1] == "i":
                entries[f"{RECEIVE}/dataConversionFactor"] = (
                    np.arange(2.0 * receivers).reshape(receivers, 2) + 1
                )
        entries |= {f"{DRIVE}/numChannels": np.int64(2), f"{DRIVE}/baseFrequency": 2.5e6}
        entries |= {f"{RECEIVE}/numChannels": np.int64(receivers), f"{RECEIVE}/bandwidth": 1.25e6}
        entries |= {f"{RECEIVE}/numSamplingPoints": np.int64(samples)}
        for name, value in entries.items():
            text = isinstance(value, str) or np.asarray(value).dtype.kind == "O"
            file.create_dataset(name, data=value, dtype=h5py.string_dtype() if text else None)

    def _n_frames(self) -> int:
        return int(np.prod(self.grid)) + self.n_background if self.kind == "calibration" else self.shape[0]

    def _numbers(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        dtype = np.dtype(self.dtype)
        if dtype.kind == "i":
            return generator.integers(-99, 99, shape).astype(dtype.newbyteorder("="))
        values = generator.standard_normal(shape)
        if dtype.kind == "c":
            values = values + 1j * generator.standard_normal(shape)
        return values.astype(dtype.newbyteorder("="))

    def _store(self, file: h5py.File, name: str, values: np.ndarray) -> None:
        dtype = np.dtype(self.dtype)
        stored = np.ascontiguousarray(values).astype(dtype)
        if dtype.kind == "c":
            part = f"{dtype.byteorder}f{dtype.itemsize // 2}"
            if self.old:
                stored = stored.view(part).reshape(*stored.shape, 2)
            elif self.compound != "ri":
                stored = stored.view([(key, part) for key in self.compound.split()])
        options = (
            {"chunks": tuple(max(1, n // 2) for n in stored.shape), "compression": 1} if self.chunked else {}
        )
        file.create_dataset(name, data=stored, **options)

    def _flags(self, file: h5py.File, mask: np.ndarray, order: np.ndarray, bins: np.ndarray) -> None:
        fast_name = "isTransposed" if self.version == "2.0.0" else "isFastFrameAxis"
        flags = {
            "isFourierTransformed": self.fourier,
            fast_name: self.fast,
            "isFramePermutation": self.permuted,
        }
        flags |= {"isFrequencySelection": self.selected, "isBackgroundCorrected": False}
        flags |= {"isSpectralLeakageCorrected": False, "isTransferFunctionCorrected": True}
        if self.version == "2.1.0":
            flags["isSparsityTransformed"] = bool(self.sparse)
        for name, on in flags.items():
            file[f"measurement/{name}"] = np.int8(on)
        file["measurement/isBackgroundFrame"] = mask.astype(np.int8)
        if self.permuted:
            file["measurement/framePermutation"] = order + 1
        if self.selected:
            file["measurement/frequencySelection"] = bins + 1

    def _bins(self, generator: np.random.Generator) -> np.ndarray:
        every = np.arange(self.shape[3] // 2 + 1)
        return (
            np.sort(generator.choice(every, max(1, len(every) // 2), replace=False))
            if self.selected
            else every
        )

    def _transfer(
        self, file: h5py.File, generator: np.random.Generator, n_bins: int
    ) -> dict[str, np.ndarray]:
        if not self.transfer_function:
            return {}
        values = (generator.standard_normal((self.shape[2], n_bins, 2)) @ [1, 1j]).astype(np.complex128)
        file[f"{RECEIVE}/transferFunction"] = values
        return {"transfer_function": values}

    def _measurement(self, file: h5py.File, generator: np.random.Generator) -> dict[str, np.ndarray]:
        frames, periods, receivers, samples = self.shape
        bins = self._bins(generator)
        values = self._numbers(
            generator, (frames, periods, receivers, len(bins) if self.fourier else samples)
        )
        if self.old:
            self._store(
                file,
                f"measurement/data{'FD' if self.fourier else 'TD'}",
                values[:, 0] if periods == 1 else values,
            )
        else:
            self._store(file, "measurement/data", np.moveaxis(values, 0, -1) if self.fast else values)
            mask = np.isin(
                np.arange(frames), generator.choice(frames, min(self.n_background, frames - 1), replace=False)
            )
            self._flags(file, mask, generator.permutation(frames), bins)
        return {
            "spectrum" if self.fourier else "signal": values,
            **self._transfer(file, generator, len(bins)),
        }

    def _calibration(self, file: h5py.File, generator: np.random.Generator) -> dict[str, np.ndarray]:
        _, periods, receivers, samples = self.shape
        n_voxels, bins = int(np.prod(self.grid)), self._bins(generator)
        n_last = len(bins) if self.fourier else samples
        fine = self._numbers(generator, (periods, receivers, n_last, n_voxels))
        empty = self._numbers(generator, (periods, receivers, n_last, self.n_background))
        for name, value in {"size": np.array(self.grid), "fieldOfView": 0.01 * np.array(self.grid)}.items():
            file[f"calibration/{name}"] = value
        file["calibration/fieldOfViewCenter"] = np.array([0.0, 0.001, 0.002])
        file.create_dataset("calibration/method", data="robot", dtype=h5py.string_dtype())
        grid_shape = tuple(reversed(self.grid))
        if self.old:
            self._store(file, "calibration/dataFD", fine[0] if periods == 1 else fine)
            return {"system_matrix": fine.reshape(*fine.shape[:3], *grid_shape)}
        n_frames = n_voxels + self.n_background
        if self.sparse:
            kept, fine = self._compress(file, generator, fine.shape)
            mask = np.arange(kept.shape[3] + self.n_background) >= kept.shape[3]
            self._store(file, "measurement/data", np.concatenate([kept, empty], axis=3))
        else:
            mask = np.isin(np.arange(n_frames), generator.choice(n_frames, self.n_background, replace=False))
            every = np.empty((*fine.shape[:3], n_frames), fine.dtype)
            every[..., ~mask], every[..., mask] = fine, empty
            self._store(file, "measurement/data", every if self.fast else np.moveaxis(every, -1, 0))
        self._flags(file, mask, generator.permutation(n_frames), bins)
        n_bins = len(bins)
        found = self._transfer(file, generator, n_bins)
        found["snr"] = file["calibration/snr"] = generator.random((periods, receivers, n_bins))
        if not self.fourier:
            fine, empty = (self._spectra(file, values) for values in (fine, empty))
        found["system_matrix"] = fine.reshape(*fine.shape[:3], *grid_shape)
        if self.n_background:
            found["background"] = empty
        return found

    def _spectra(self, file: h5py.File, values: np.ndarray) -> np.ndarray:
        factors = file.get(f"{RECEIVE}/dataConversionFactor", np.tile([1.0, 0.0], (self.shape[2], 1)))[()]
        volts = values * factors[:, 0, None, None] + factors[:, 1, None, None]
        return np.fft.rfft(volts, axis=2).astype(np.complex64)

    def _compress(
        self, file: h5py.File, generator: np.random.Generator, shape: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Half of the coefficients of rows of that shape, and the rows they make."""
        where = np.argsort(generator.random(shape), axis=3)[..., : max(1, shape[3] // 2)]
        kept = self._numbers(generator, where.shape)
        file["measurement/subsamplingIndices"] = where + 1
        file.create_dataset("measurement/sparsityTransformation", data=self.sparse, dtype=h5py.string_dtype())
        rows = np.zeros(shape, kept.dtype)
        np.put_along_axis(rows, where, kept, 3)
        on_grid = rows.reshape(*shape[:3], *reversed(self.grid))
        kind, axes = {"DCT-II": 2, "DCT-IV": 4}[self.sparse], [a for a in (3, 4, 5) if on_grid.shape[a] > 1]
        dense = scipy.fft.idctn(on_grid, type=kind, axes=axes, norm="ortho") if axes else on_grid
        return kept, dense.reshape(shape)

    def _reconstruction(self, file: h5py.File, generator: np.random.Generator) -> dict[str, np.ndarray]:
        frames, n_voxels = self.shape[0], int(np.prod(self.grid))
        values = self._numbers(generator, (frames, n_voxels, self.contrasts))
        self._store(file, "reconstruction/data", values)
        file["reconstruction/size"] = np.array(self.grid)
        file["reconstruction/fieldOfView"] = 0.01 * np.array(self.grid)
        file["reconstruction/fieldOfViewCenter"] = np.array([0.0, 0.001, 0.002])
        images = np.moveaxis(values, -1, 0).reshape(self.contrasts, frames, *reversed(self.grid))
        return {"concentration": images if self.contrasts > 1 else images[0]}


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    """Any `Recording` that the specification allows."""
    version = draw(st.sampled_from(["1.0.5", "2.0.0", "2.0.1", "2.1.0"]))
    old = version.startswith("1")
    kind = draw(st.sampled_from(["measurement", "calibration", "reconstruction"][: 2 if old else 3]))
    sparse = (
        draw(st.sampled_from(["", "DCT-II", "DCT-IV"]))
        if kind == "calibration" and version == "2.1.0"
        else ""
    )
    fourier = (
        bool(sparse) or (old and kind == "calibration") or (kind != "reconstruction" and draw(st.booleans()))
    )
    order = draw(st.sampled_from("<>"))
    real = ("f4", "f8") if old or kind == "reconstruction" else ("i2", "i4", "f4", "f8")
    modern = not old and kind != "reconstruction"
    periods = draw(st.integers(1, 3)) if modern else 1
    return Recording(
        version=version,
        kind=kind,
        shape=(draw(st.integers(1, 5)), periods, draw(st.integers(1, 3)), draw(st.integers(2, 13))),
        grid=draw(st.tuples(*[st.integers(1, 4)] * 3)),
        dtype=order + draw(st.sampled_from(("c8", "c16") if fourier else real)),
        compound=draw(st.sampled_from(["ri", "real imag"])),
        fourier=fourier,
        fast=bool(sparse) or (modern and draw(st.booleans())),
        permuted=modern and draw(st.booleans()),
        selected=modern and fourier and draw(st.booleans()),
        sparse=sparse,
        n_background=draw(st.integers(0, 3)) if modern else 0,
        chunked=draw(st.booleans()),
        transfer_function=modern and draw(st.booleans()),
        private=not old and draw(st.booleans()),
        contrasts=draw(st.integers(1, 2)),
        libver=draw(st.sampled_from(["earliest", "latest"])),
        seed=draw(st.integers(0, 2**16)),
    )
