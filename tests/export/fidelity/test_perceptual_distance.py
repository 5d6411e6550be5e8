"""Zimtohrli judges sounds at equal loudness, by their sides where both are stereo, and only where it is installed."""

import sys

import numpy as np
import pytest
from timbrel.export.fidelity import perceptual_distance as judge
from timbrel.export.fidelity.notes import NoteSound
from timbrel.export.fidelity.perceptual_distance import perceptual_distance

from .tones import RATE, tone

installed = pytest.mark.skipif(not judge.is_installed(), reason="timbrel[judge] is not installed")


def distance(recording, rendition, rate=RATE):
    return perceptual_distance(NoteSound(recording), NoteSound(rendition), rate)["zimtohrli"]


@installed
def test_an_equal_sound_is_no_distance_away_whatever_its_level_and_rate_and_others_are_farther():
    sound, brighter, other = tone(60), tone(60, fall=0.75), tone(65, fall=0.9)
    assert distance(sound, sound) == 0
    assert distance(sound, 0.1 * sound) == pytest.approx(0, abs=1e-5)
    assert 1e-4 < distance(sound, brighter) < distance(sound, other)
    assert distance(0.01 * sound, 0.3 * brighter) == pytest.approx(distance(sound, brighter), abs=1e-5)
    low_rate = distance(tone(60, rate=22050), tone(60, rate=22050, fall=0.75), 22050)
    assert low_rate == pytest.approx(distance(sound, brighter), rel=0.3)


@installed
@pytest.mark.parametrize("samples", [2, 64, 1999, 2857, 4096, 5 * RATE])
def test_very_short_and_long_sounds_are_compared_too(samples):
    """Zimtohrli writes beyond its memory for sounds of a few of its steps."""
    sound = np.resize(tone(60), samples)
    assert distance(sound, 0.5 * sound) == pytest.approx(0, abs=1e-4)


@installed
def test_stereo_sounds_are_compared_by_left_right_mid_and_side_and_a_silent_one_is_left_out():
    left, right = tone(60), tone(60, fall=0.8)
    recording = NoteSound(left, np.stack([left, right]))
    found = perceptual_distance(recording, NoteSound(left, np.stack([left, left + 0.5 * right])), RATE)
    assert found["zimtohrli_sides"]["left"] < 1e-4 < found["zimtohrli_sides"]["right"]
    assert found["zimtohrli"] == pytest.approx(np.mean([*found["zimtohrli_sides"].values()]))
    one_sided = NoteSound(left, np.stack([left, 0 * left]))
    found = perceptual_distance(one_sided, one_sided, RATE)
    assert found["zimtohrli_sides"] == {"left": 0, "right": None, "mid": 0, "side": 0}
    assert found["zimtohrli"] == 0


@installed
def test_of_a_mono_sound_and_a_stereo_one_the_mono_mixes_are_compared():
    sound = tone(60)
    stereo = NoteSound(sound, np.stack([sound, tone(60, fall=0.9)]))
    equal_sides = NoteSound(sound, np.stack([sound, sound]))
    for pair in [(stereo, NoteSound(sound)), (NoteSound(sound), stereo), (stereo, equal_sides)]:
        assert perceptual_distance(*pair, RATE) == {"zimtohrli": 0, "zimtohrli_sides": None}


@installed
def test_a_silent_recording_has_no_distance_and_a_silent_rendition_is_far():
    sound = tone(60)
    assert distance(0 * sound, sound) is None
    assert distance(sound, 0 * sound) > 0.005


def test_without_its_extra_there_is_no_distance(monkeypatch):
    monkeypatch.setitem(sys.modules, "zimtohrli", None)
    assert perceptual_distance(NoteSound(tone(60)), NoteSound(tone(60)), RATE) == {
        "zimtohrli": None,
        "zimtohrli_sides": None,
    }
