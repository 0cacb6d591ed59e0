"""The picture of docs/xspace.md: collinear images of a point and of a λ. Run: python docs/xspace_pictures.py"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mpibridge import Grid
from mpibridge.mdf.header import Header
from mpibridge.xspace import forward, gridding, recover_fundamental, trajectory

BETA = 3.878e-18 / (1.380649e-23 * 293)  # 1/T, magnetite core of 25 nm at 293 K
GRADIENT = 3.0  # T/m
GRID = Grid((280, 280, 1), (0.02, 0.02, 0.001))
SNR = 20  # largest signal over the standard deviation of the noise of a sample
DRIVE = "/acquisition/drivefield"


def header() -> Header:
    """Seed 004: 24.75 and 25 kHz, 30 mT at 3 T/m, repeated every 4 ms; sampled at 4.95 MHz."""
    dividers, base = np.array([[200], [198]]), 4.95e6
    n_samples = int(np.lcm.reduce(dividers.ravel()))
    return Header(
        {
            "/acquisition/gradient": np.diag([GRADIENT, GRADIENT, -2 * GRADIENT])[None, None],
            "/acquisition/numPeriodsPerFrame": 1,
            f"{DRIVE}/divider": dividers,
            f"{DRIVE}/strength": np.full((1, 2, 1), 0.03),
            f"{DRIVE}/phase": np.zeros((1, 2, 1)),
            f"{DRIVE}/waveform": np.full((2, 1), "sine", object),
            f"{DRIVE}/baseFrequency": base,
            f"{DRIVE}/cycle": n_samples / base,
            "/acquisition/receiver/numSamplingPoints": n_samples,
            "/acquisition/receiver/numChannels": 2,
            "/acquisition/receiver/bandwidth": base / 2,
        }
    )


def strokes(*lines: tuple[tuple[float, float], ...], width: float) -> np.ndarray:
    """Lines through points in mm, ``width`` mm wide, as an image (y, x) of 0 and 1."""
    y, x = 1e3 * GRID.axis("y")[:, None], 1e3 * GRID.axis("x")[None]
    image = np.zeros(GRID.shape[1:])
    for points in lines:
        for (ax, ay), (bx, by) in pairwise(points):
            dx, dy = bx - ax, by - ay
            along = ((x - ax) * dx + (y - ay) * dy) / max(dx**2 + dy**2, 1e-12)
            along = np.clip(along, 0, 1)
            image[np.hypot(x - ax - along * dx, y - ay - along * dy) <= width / 2] = 1
    return image


LAMBDA = ((-4.5, 7.0), (-2.5, 7.0), (4.5, -7.0)), ((0.0, 2.0), (-4.5, -7.0))


def filtered(signals: np.ndarray, scan: Header) -> np.ndarray:
    """Signals whose receivers do not hear their own drive frequency."""
    spectra = np.fft.rfft(signals, axis=-1)
    for receiver, line in enumerate(np.round(scan.drive_frequencies * scan.cycle).astype(int)):
        spectra[:, :, receiver, line] = 0
    return np.fft.irfft(spectra, signals.shape[-1], axis=-1)


def main() -> None:
    """Draw docs/xspace.png."""
    scan = header()
    position, velocity = trajectory(scan)
    built = gridding(scan, GRID)
    look_up = forward.interpolation(GRID, position)
    noise = np.random.default_rng(0).standard_normal((1, 1, 2, scan.n_samples))
    figure = Figure(figsize=(13, 6.6), layout="constrained")
    rows = figure.subplots(2, 4)
    phantoms = {
        "point": strokes(((0.0, 0.0), (0.0, 0.0)), width=0.3),
        "λ": strokes(*LAMBDA, width=1.2),
    }
    for axes, (name, phantom) in zip(rows, phantoms.items(), strict=True):
        fields = forward.convolved_fields(phantom, GRID, BETA * GRADIENT)
        signals = forward.sample(fields, look_up, velocity)[None, None]
        signals = signals + noise * np.abs(signals).max() / SNR * (name == "λ")
        images = built(signals).images[0, :, 0]
        recovered = built(recover_fundamental(filtered(signals, scan), scan)).images[0, :, 0]
        snr = f", SNR {SNR}" if name == "λ" else ""
        last = ("45°, fundamental recovered", recovered[0])
        panels = [
            (name, phantom),
            (f"collinear 45°{snr}", images[0]),
            (f"collinear 135°{snr}", images[1]),
            last,
        ]
        for ax, (title, image) in zip(axes, panels, strict=True):
            top = phantom.max() if image is phantom else images.max()
            ax.imshow(image, origin="lower", cmap="inferno", extent=(-10, 10, -10, 10), vmin=0, vmax=top)
            ax.set_title(title)
            ax.set_xlabel("x / mm")
            ax.set_ylabel("y / mm")
    figure.savefig(Path(__file__).with_name("xspace.png"), dpi=60, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
