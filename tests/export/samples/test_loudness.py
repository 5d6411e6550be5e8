"""Loudness of spectra, beside pyloudnorm's filters and the standard's own example."""

import numpy as np
import pyloudnorm
import pytest
from timbrel.export.samples.loudness import loudness_lufs


@pytest.mark.parametrize("rate", [44100, 48000])
def test_a_full_scale_sine_has_the_loudness_of_the_standard(rate: int) -> None:
    sine = np.sin(2 * np.pi * 997 * np.arange(4 * rate) / rate).astype(np.float32)
    assert loudness_lufs(sine[np.newaxis], rate) == pytest.approx(-3.01, abs=0.02)
    assert loudness_lufs(np.stack([sine, sine]), rate) == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
@pytest.mark.parametrize("hertz", [40, 130.8, 1000, 5000])
def test_decaying_notes_are_as_loud_as_by_filters(rate: int, hertz: float) -> None:
    seconds = np.arange(3 * rate) / rate
    rng = np.random.default_rng(5)
    sound = np.exp(-3 * seconds) * (np.sin(2 * np.pi * hertz * seconds) + 0.1 * rng.standard_normal(len(seconds)))
    meter = pyloudnorm.Meter(rate, filter_class="DeMan")
    expected = meter.integrated_loudness(0.3 * sound)
    assert loudness_lufs((0.3 * sound[np.newaxis]).astype(np.float32), rate) == pytest.approx(expected, abs=0.1)


def test_silence_and_very_short_sounds_have_none() -> None:
    assert loudness_lufs(np.zeros((1, 44100), np.float32), 44100) is None
    assert loudness_lufs(np.ones((1, 4410), np.float32), 44100) is None
