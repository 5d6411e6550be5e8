"""A note is found under the note before, against sounds whose parts are known."""

import numpy as np
import pytest
from timbrel.host.units import midi_to_hz
from timbrel.train.corpus.note_segmentation import is_multiple, level_without, pitch_without, rise

RATE, HOP = 44100, 256
FRAMES = RATE // HOP


def tone(note, begin=0.0, vibrato=0.0):
    """One second of eight partials from ``begin`` seconds on; ``vibrato`` in semitones, at 5.5 Hz."""
    time = np.arange(RATE) / RATE
    hertz = midi_to_hz(note) * 2 ** (vibrato * np.sin(2 * np.pi * 5.5 * time) / 12)
    turns = np.cumsum(hertz) / RATE
    wave = sum(np.sin(2 * np.pi * k * turns) / k for k in range(1, 9))
    return np.where(time >= begin, 0.2 * wave, 0).astype(np.float32)


@pytest.mark.parametrize("note", [38.0, 57.3, 76.0])
def test_a_note_leaves_nothing_without_itself_and_another_one_its_own_level(note):
    old, new = tone(note, vibrato=0.15), tone(note + 3, begin=0.5) / 4
    level = level_without(old + new, RATE, HOP, 0, FRAMES, note)
    alone = 10 * np.log10(np.mean(old**2))
    before, after = level[20:80], level[94:160]
    assert np.median(before) < alone - 22
    assert np.median(after) == pytest.approx(alone - 20 * np.log10(4) + 3, abs=3)  # 3 dB: a difference of two
    onset = rise(level[20:], 60, 0) + 20
    assert onset * HOP / RATE == pytest.approx(0.5, abs=0.015)


def test_a_rise_starts_after_the_last_low_frame_and_a_flat_level_has_none():
    level = np.concatenate([np.full(20, -60.0), np.linspace(-60, -20, 21), np.full(20, -20.0)])
    assert 20 <= rise(level, 30, 7) <= 30  # a quarter of the rise, from 32 dB below the peak
    dipping = level.copy()
    dipping[45:48] = -35.0  # within the note
    assert rise(dipping, 30, 7) == rise(level, 30, 7)
    assert rise(np.full(40, -30.0), 10, 7) == 7


def test_multiples_are_whole_and_not_below():
    assert is_multiple(60.0, 60.0)
    assert is_multiple(72.1, 60.0)
    assert is_multiple(79.0, 60.0)
    assert not is_multiple(67.0, 60.0)
    assert not is_multiple(48.0, 60.0)


def test_the_pitch_of_a_common_period_is_the_remainders_and_other_pitches_stay():
    old, new = tone(59.0), tone(55.0)
    assert pitch_without(old + new, RATE, HOP, 20, 46, 43.0, 59.0) == pytest.approx(55.0, abs=0.2)
    assert pitch_without(old + new, RATE, HOP, 20, 46, 55.0, 59.0) == 55.0
    assert pitch_without(old + tone(45.0), RATE, HOP, 20, 46, 45.0, 59.0) == 45.0
