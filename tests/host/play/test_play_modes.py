"""Mono, legato, glides, chords and tunings, on voices that make no sound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.play.envelope import envelope_levels

from .silent import STEAL, held, make, state


def test_mono_sounds_the_last_key_and_returns_to_those_still_held():
    voices = make(mode="mono")
    for time, key in enumerate((60, 64, 67)):
        voices.note_on(time, key, key / 100)
    assert held(voices, 3) == [67]
    voices.note_off(10, 64)
    assert held(voices, 10) == [67]
    voices.note_off(20, 67)
    assert held(voices, 20) == [60]
    assert [v.gain.target for v in voices if v.stolen_at is None] == [0.6]
    voices.note_off(30, 60)
    assert held(voices, 30) == []
    assert state(voices, 1000) == [(60, "released")]


def test_mono_sounds_one_voice_at_a_time_but_for_five_milliseconds():
    voices = make(mode="mono")
    voices.note_on(0, 60, 1.0)
    voices.note_off(100, 60)
    voices.note_on(200, 62, 1.0)
    assert state(voices, 200) == [(60, "stolen"), (62, "held")]
    assert state(voices, 200 + STEAL) == [(62, "held")]


def test_mono_forgets_a_key_that_came_up_while_another_sounded():
    voices = make(mode="mono")
    voices.note_on(0, 60, 1.0)
    voices.note_on(1, 62, 1.0)
    voices.note_off(2, 60)
    voices.note_off(3, 62)
    assert held(voices, 4) == []


def test_mono_under_the_pedal_keeps_the_last_note_and_returns_when_the_pedal_comes_up():
    voices = make(mode="mono")
    voices.note_on(0, 60, 1.0)
    voices.pedal(1, True)
    voices.note_on(2, 62, 1.0)
    voices.note_off(3, 62)
    assert held(voices, 4) == [62]
    voices.pedal(5, False)
    assert held(voices, 6) == [60]
    voices.pedal(7, False)
    voices.note_off(8, 60)
    assert held(voices, 9) == []


def test_mono_does_not_strike_again_a_key_that_is_down_when_the_pedal_comes_up():
    voices = make(mode="mono")
    voices.note_on(0, 60, 1.0)
    voices.pedal(1, True)
    voices.pedal(500, False)
    assert [(voice.envelope.on, voice.stolen_at) for voice in voices] == [(0, None)]


@pytest.mark.parametrize("retired", [True, False])
def test_mono_returns_to_a_held_key_also_when_the_last_note_had_died_away(retired):
    voices = make(mode="mono", sustain=0.0)
    voices.note_on(0, 60, 1.0)
    voices.note_on(500, 62, 1.0)
    if retired:
        voices.retire(1000)
    voices.note_off(1000, 62)
    assert held(voices, 1000) == [60]


def pitches(voices, times):
    """Pitch of the voice that sounds at each time."""
    return [[v for v in voices if v.stolen_at is None][-1].stream.pitch.value(time) for time in times]


def pitch_classes(voices, time):
    chord = int([v for v in voices if v.stolen_at is None][-1].stream.chord.value(time))
    return {n for n in range(12) if chord >> n & 1}


def test_legato_leads_one_voice_from_key_to_key_and_strikes_only_the_first():
    voices = make(mode="mono", legato=True)
    voices.note_on(0, 60, 1.0)
    voices.note_on(1000, 67, 0.5)
    voices.note_off(2000, 67)
    (voice,) = voices
    assert (voice.envelope.on, voice.envelope.off, voice.key) == (0, None, 60)
    assert pitches(voices, [0, 999, 1000, 1999, 2000]) == [60, 60, 67, 67, 60]
    assert voice.gain.target == 1.0
    voices.note_off(3000, 60)
    assert voice.envelope.off == 3000
    voices.note_on(3001, 62, 1.0)
    assert state(voices, 3001) == [(60, "stolen"), (62, "held")]


def test_legato_goes_to_the_level_of_the_new_key_without_a_step():
    voices = make(mode="mono", legato=True)
    voices.note_on(0, 60, 1.0)
    voices.note_on(1000, 67, 0.25)
    level = envelope_levels([next(iter(voices)).envelope], 900, 2000)[0]
    next(iter(voices)).shape(level, 900, STEAL)
    assert (level[0], level[-1]) == (1.0, 0.25)
    assert np.abs(np.diff(level)).max() < 0.75 / 880


def test_a_key_that_only_the_pedal_holds_is_not_tied_to_the_next():
    voices = make(mode="mono", legato=True)
    voices.note_on(0, 60, 1.0)
    voices.pedal(10, True)
    voices.note_off(20, 60)
    voices.note_on(30, 62, 1.0)
    assert state(voices, 30) == [(60, "stolen"), (62, "held")]


@pytest.mark.parametrize("legato", [True, False])
def test_a_glide_is_a_straight_line_of_semitones_that_begins_where_the_last_one_was(legato):
    voices = make(mode="mono", legato=legato)
    voices.glide_samples = 1000
    voices.note_on(0, 60, 1.0)
    assert pitches(voices, [0, 500]) == [60, 60]
    voices.note_on(2000, 72, 1.0)
    assert pitches(voices, [2000, 2250, 2500, 3000, 9000]) == pytest.approx([60, 63, 66, 72, 72])
    assert sum(v.stolen_at is None for v in voices) == 1
    voices.note_on(4000, 62, 1.0)
    voices.note_on(4500, 77, 1.0)  # in the middle of the way from 72 to 62
    assert pitches(voices, [4500, 4600, 5500]) == pytest.approx([67, 68, 77])


def test_without_legato_the_voice_that_fades_keeps_its_pitch():
    voices = make(mode="mono")
    voices.glide_samples = 1000
    voices.note_on(0, 60, 1.0)
    voices.note_on(2000, 72, 1.0)
    old, new = voices
    assert [old.stream.pitch.value(t) for t in (2000, 2100)] == [60, 60]
    assert (old.stolen_at, new.envelope.on) == (2000, 2000)


def test_a_chord_has_the_pitch_classes_of_the_keys_that_are_held_and_the_octave_of_the_lowest():
    voices = make(mode="chord")
    voices.note_on(0, 64, 1.0)
    voices.note_on(100, 60, 0.5)
    voices.note_on(200, 79, 0.25)
    voices.note_off(300, 60)
    (voice,) = voices
    found = [pitch_classes(voices, time) for time in (0, 99, 100, 200, 299, 300)]
    assert found == [{4}, {4}, {0, 4}, {0, 4, 7}, {0, 4, 7}, {4, 7}]
    assert pitches(voices, [0, 100, 200, 300]) == [64, 60, 60, 64]
    assert voice.gain.target == 0.25
    voices.note_off(400, 79)
    assert voice.envelope.off is None
    voices.note_off(500, 64)
    assert (voice.envelope.on, voice.envelope.off) == (0, 500)
    assert pitch_classes(voices, 9999) == {4}


def test_a_chord_under_the_pedal_keeps_its_keys_and_a_new_one_strikes():
    voices = make(mode="chord")
    voices.note_on(0, 60, 1.0)
    voices.pedal(10, True)
    voices.note_off(20, 60)
    assert pitch_classes(voices, 20) == {0}
    voices.note_on(30, 67, 1.0)
    assert pitch_classes(voices, 30) == {0, 7}
    assert state(voices, 30) == [(60, "stolen"), (67, "held")]
    voices.pedal(40, False)
    assert pitch_classes(voices, 40) == {7}


def test_the_same_pitch_class_twice_counts_once():
    voices = make(mode="chord")
    for time, key in enumerate((60, 72, 48)):
        voices.note_on(time, key, 1.0)
    assert (pitch_classes(voices, 5), pitches(voices, [5])) == ({0}, [48])


WIDE = {key: 60 + 1.46 * (key - 60) for key in range(128)}  # about the steps of Bohlen and Pierce


def test_a_voice_begins_at_the_tuned_pitch_of_its_key_and_is_still_known_by_the_key():
    voices = make(tuning=WIDE)
    voices.note_on(0, 62, 1.0)
    voice = next(iter(voices))
    assert (voice.key, voice.stream.key) == (62, WIDE[62])
    voices.note_off(10, 62)
    assert state(voices, 10) == [(62, "released")]


def test_a_glide_goes_between_tuned_pitches():
    voices = make(mode="mono", legato=True, tuning=WIDE)
    voices.glide_samples = 1000
    voices.note_on(0, 60, 1.0)
    voices.note_on(5000, 70, 1.0)
    pitch = next(iter(voices)).stream.pitch
    assert [pitch.value(time) for time in (5000, 5500, 6000)] == pytest.approx([60, (60 + WIDE[70]) / 2, WIDE[70]])


@given(st.dictionaries(st.integers(0, 127), st.floats(0, 127, allow_subnormal=False), min_size=1, max_size=6))
def test_a_chord_has_the_nearest_pitch_classes_and_the_lowest_pitch_of_its_keys(tuning):
    voices = make(mode="chord", tuning=tuning)
    for key in tuning:
        voices.note_on(0, key, 1.0)
    stream = next(iter(voices)).stream
    sounding = int(stream.chord.value(0))
    classes = [n for n in range(12) if sounding >> n & 1]
    apart = [[abs((pitch - n + 6) % 12 - 6) for n in classes] for pitch in tuning.values()]
    assert max(min(row) for row in apart) <= 0.5
    assert len(classes) <= len(tuning)
    assert stream.pitch.value(0) == min(tuning.values())
