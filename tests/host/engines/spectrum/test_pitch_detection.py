"""Pitches of frames of harmonics, between bins."""

import numpy as np
import pytest
from timbrel.host.engines.spectrum.partial_analysis import fundamentals, sharpened
from timbrel.host.signal import window
from timbrel.host.units import midi_to_hz

RATE, FRAME = 44_100, 4096


def test_harmonics_on_either_side_of_a_bin_give_the_pitch_to_a_cent():
    notes = 48 + 0.37 * np.arange(60)
    turns = 2 * np.pi * np.array([[midi_to_hz(note)] for note in notes]) * np.arange(FRAME) / RATE
    sound = sum(np.cos(number * turns) / number for number in range(1, 9))
    magnitudes = np.abs(np.fft.rfft(sound * window("hann", FRAME))).astype(np.float32)
    assert fundamentals(magnitudes, RATE) == pytest.approx(notes, abs=0.01)
    assert sharpened(notes + 0.1, magnitudes, RATE) == pytest.approx(notes, abs=0.01)
