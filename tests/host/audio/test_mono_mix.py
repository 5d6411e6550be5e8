"""The mono mix of two sides has the power of both, in every band."""

import numpy as np
import pytest
from timbrel.host.audio import mono_mix
from timbrel.host.audio.mono_mix import mix_blocks, mix_sides, mix_to_mono

from ...train.sounds import RATE, decibels, noise, sine


@pytest.mark.parametrize("length", [0, 1, 65, 1023, 1024, 4096, 40_001])
@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_equal_sides_stay_as_they_are(length, rate):
    side = noise(0)[:length]
    mixed = mix_to_mono(np.stack([side, side]), rate)
    assert len(mixed) == length
    assert mixed == pytest.approx(side, abs=1e-6)


def test_opposite_sides_give_the_louder_one():
    side = noise(0)
    assert mix_to_mono(np.stack([-side, side]), RATE) == pytest.approx(-side, abs=1e-6)
    mixed = mix_to_mono(np.stack([side, -1.01 * side]), RATE)
    assert mixed == pytest.approx(-np.sqrt((1 + 1.01**2) / 2) * side, abs=1e-6)


def test_tones_of_one_side_have_half_of_their_power():
    """A quarter is left in the mean of the sides."""
    mixed = mix_to_mono(np.stack([sine(300, 1.0), sine(1700, 1.0)]), RATE)
    for hz in (300, 1700):
        turns = np.exp(-2j * np.pi * hz * np.arange(RATE) / RATE)
        assert 2 * abs((mixed * turns).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


def test_independent_sides_keep_their_power_in_all_bands():
    left, right = noise(1, 4.0), noise(2, 4.0)
    mixed = mix_to_mono(np.stack([left, right]), RATE)
    assert decibels((left + right) / 2, left) == pytest.approx(-3, abs=0.2)
    bands = [np.square(np.abs(np.fft.rfft(sound))).reshape(-1)[1:].reshape(8, -1).mean(1) for sound in (mixed, left)]
    assert 10 * np.log10(bands[0] / bands[1]) == pytest.approx(np.zeros(8), abs=1.0)


def test_pieces_give_the_whole(monkeypatch):
    left, right = noise(1), noise(2)
    whole = mix_to_mono(np.stack([left, right]), RATE)
    monkeypatch.setattr(mono_mix, "PIECE", 3)
    assert np.array_equal(np.concatenate([*mix_sides(left, right, RATE)]), whole)
    blocks = np.split(np.stack([left, right]), [1, 700, 701, 5000], axis=1)
    assert np.array_equal(np.concatenate([*mix_blocks(blocks, RATE)]), whole)
