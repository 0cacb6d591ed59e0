"""What the recurrent network reads: band limit, even strength, folding."""

import numpy as np
import pytest
import torch

from mpibridge_plugins.bilstm.features import Features, band_limited, folded
from mpibridge_plugins.bilstm.network import folded_back

N = 96


def tone(cycles, n=N):
    return torch.cos(2 * np.pi * cycles * torch.arange(n, dtype=torch.float64) / n + 0.3)


def test_band_limit_keeps_what_the_samples_hold_and_nothing_else():
    for cycles in (1, 7, 23):
        torch.testing.assert_close(band_limited(tone(cycles), 48), tone(cycles, 48))
    for cycles in (24, 25, 47):
        assert band_limited(tone(cycles), 48).abs().max() < 1e-12
    torch.testing.assert_close(band_limited(tone(5), N), tone(5))


def test_every_feature_has_its_usual_strength_after_learning():
    """Waveforms of one spectrum, modulated in time: all come out with a mean square of 1 at every sample."""
    generator = torch.Generator().manual_seed(0)
    features = Features(2, N)
    envelope = 1.5 + torch.sin(2 * np.pi * torch.arange(N) / N)

    def batch(n):
        white = torch.fft.rfft(torch.randn(n, 2, N, generator=generator))
        return envelope * torch.fft.irfft(white * torch.exp(-torch.arange(N // 2 + 1) / 10), N)

    assert not torch.isclose(features(batch(500)).square().mean((0, 2)), torch.ones(6), atol=0.2).all()
    for _ in range(60):
        features.update(batch(100))
    strength = features(batch(20_000)).square().mean(0)
    assert strength.shape == (6, N)
    assert (strength - 1).abs().max() < 0.15
    whitened = torch.fft.rfft(features(batch(2000))[:, 4:] / envelope).abs().square().mean(0)
    assert whitened[:, 40].min() > 0.05 * whitened[:, 5].max()  # the waveform has exp(−7) there


def test_a_step_reads_neighbouring_samples_and_gives_them_back():
    values = torch.arange(2 * 3 * 12, dtype=torch.float32).reshape(2, 3, 12)
    steps = folded(values, 4)
    assert steps.shape == (2, 3, 12)
    assert sorted(steps[0, 1].tolist()) == sorted(values[0, :, 4:8].flatten().tolist())
    torch.testing.assert_close(folded_back(steps, 12), values)


@pytest.mark.parametrize("n", [40, 48, 90])
def test_a_constant_keeps_its_value(n):
    torch.testing.assert_close(band_limited(torch.ones(N), n), torch.ones(n))
