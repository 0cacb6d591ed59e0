"""What the recurrent network reads: the voltages of a period, band-limited and brought to even strength.

The voltage of a Lissajous period is strong where the field-free point is fast and at low frequencies. What is told of the image
at the turning points and by high harmonics would drown; so every sample of the period, and every frequency, is divided by its
usual strength. Standardising each sample contains the division by the speed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

POWERS = (0.0, 0.5, 1.0)
"""The waveform is read so many times, its spectrum divided by the usual amplitude to these powers: 1 whitens."""
SHORTEST_MEMORY = 5e-3
"""Weight of a new batch in the usual strengths, at least; so weights can be tuned for another sequence."""


def band_limited(waveform: Tensor, n: int) -> Tensor:
    """The period at ``n`` equally spaced samples, without the frequencies these cannot hold: (…, n) of (…, sample)."""
    n_samples = waveform.shape[-1]
    if n == n_samples:
        return waveform
    spectrum = torch.fft.rfft(waveform)[..., : (n + 1) // 2]
    return torch.fft.irfft(spectrum, n) * (n / n_samples)


def root_mean_square(values: Tensor, dims: tuple[int, ...]) -> Tensor:
    """√(mean of |values|²) over ``dims``, which stay as 1."""
    return values.abs().square().mean(dims, keepdim=True).sqrt()


class Features(nn.Module):
    """(frame, receiver, sample) of root mean square 1 → (frame, feature, sample), of usual strength 1.

    n_receivers, n: of the band-limited waveform. The usual strengths are learned with `update`, as running means.
    """

    spectrum: Tensor
    strength: Tensor
    batches: Tensor

    def __init__(self, n_receivers: int, n: int) -> None:
        super().__init__()
        self.register_buffer("spectrum", torch.ones(n_receivers, n // 2 + 1))
        self.register_buffer("strength", torch.ones(len(POWERS) * n_receivers, n))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, waveform: Tensor) -> Tensor:
        return self._coloured(waveform) / self.strength.sqrt()

    @torch.no_grad()
    def update(self, waveform: Tensor) -> None:
        """Learn the usual power of every frequency and sample from a batch."""
        self.batches += 1
        share = (1 / self.batches).clamp_min(SHORTEST_MEMORY)
        n = waveform.shape[-1]
        self.spectrum.lerp_((torch.fft.rfft(waveform).abs().square() / n).mean(0).clamp_min(1e-6), share)
        self.strength.lerp_(self._coloured(waveform).square().mean(0).clamp_min(1e-6), share)

    def _coloured(self, waveform: Tensor) -> Tensor:
        spectrum, n = torch.fft.rfft(waveform), waveform.shape[-1]
        parts = [torch.fft.irfft(spectrum * self.spectrum ** (-power / 2), n) for power in POWERS]
        return torch.cat(parts, 1)


def folded(features: Tensor, fold: int) -> Tensor:
    """(frame, feature, sample) → (frame, step, feature · fold): one recurrent step reads ``fold`` samples."""
    n_frames, n_features, n = features.shape
    parts = features.reshape(n_frames, n_features, n // fold, fold)
    return parts.permute(0, 2, 1, 3).reshape(n_frames, n // fold, -1)
