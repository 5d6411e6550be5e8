"""A shipped model of partials as it is played: tunings, glides and fingers go where they are sent."""

import numpy as np
import pytest
from timbrel.host.events import NoteOff, NoteOn, PitchBend
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch
from timbrel.host.units import midi_to_hz

RATE = 44100
PRESET = """format = 1
model = "gm-partials-8"
[gesture]
amount = 0.0
[envelope]
attack_seconds = 0.005
"""
MEANTONE = """quarter-comma meantone
12
76.049
193.157
310.265
386.314
503.422
579.471
696.578
772.627
889.735
1006.843
1082.892
2/1
"""


@pytest.fixture
def played(tmp_path):
    """A function that plays events for two seconds with further tables of the preset: mono, [samples]."""

    def play(tables, *events):
        (tmp_path / "meantone.scl").write_text(MEANTONE, encoding="ascii")
        (tmp_path / "played.toml").write_text(PRESET + tables, encoding="utf-8")
        rack = Rack({0: open_patch(str(tmp_path / "played.toml"))}, RATE)
        sound, _ = rack.process(list(events), 2 * RATE)
        return sound.mean(0)

    return play


def cents_from(sound, note):
    """Return the distance of the fundamental from a note, in cents; it is searched within 60."""
    spectrum = np.log(np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 4 * len(sound))) + 1e-12)
    bin_hz = RATE / (4 * len(sound))
    low, high = (int(midi_to_hz(note + away) / bin_hz) for away in (-0.6, 0.6))
    top = low + int(np.argmax(spectrum[low:high]))
    left, middle, right = spectrum[top - 1 : top + 2]
    exact = top + 0.5 * (left - right) / (left - 2 * middle + right)
    return 1200 * np.log2(exact * bin_hz / midi_to_hz(note))


@pytest.mark.parametrize(("key", "cents"), [(60, 0.0), (64, 386.314), (67, 696.578), (73, 76.049)])
def test_a_scale_tunes_its_keys(played, key, cents):
    sound = played('[tuning]\nscale = "meantone.scl"\n', NoteOn(0, 0, key, 100))
    assert cents_from(sound[RATE // 2 :], 12 * (key // 12) + cents / 100) == pytest.approx(0, abs=1.0)


def test_a_glide_passes_the_middle_and_ends_on_its_key(played):
    events = [NoteOn(0, 0, 60, 100), NoteOn(RATE // 2, 0, 67, 100), NoteOff(RATE // 2 + 9, 0, 60)]
    sound = played('[play]\nmode = "mono"\nlegato = true\nglide_seconds = 1.0\n', *events)
    middle = RATE - RATE // 20, RATE + RATE // 20  # half a second after the second key
    assert cents_from(sound[slice(*middle)], 63.5) == pytest.approx(0, abs=20.0)
    assert cents_from(sound[-RATE // 3 :], 67) == pytest.approx(0, abs=1.0)


def test_a_finger_bends_its_own_key_alone(played):
    events = [NoteOn(0, 1, 60, 100), NoteOn(0, 2, 67, 100), PitchBend(0, 1, round(8192 * 2 / 48))]
    sound = played("[mpe]\nenabled = true\n", *events)[RATE // 2 :]
    assert cents_from(sound, 62) == pytest.approx(0, abs=1.0)
    assert cents_from(sound, 67) == pytest.approx(0, abs=1.0)
