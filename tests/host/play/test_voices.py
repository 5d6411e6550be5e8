"""Keys, pedal, polyphony and stealing, on voices that make no sound."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.play.envelope import Envelope
from timbrel.host.play.keying import Poly, Solo
from timbrel.host.play.voices import PARTS

RATE = 44100
STEAL = 220  # 5 ms
RELEASE = 4000
EQUAL = {key: float(key) for key in range(128)}


def make(limit=4, mode="poly", sustain=1.0, legato=False, release=RELEASE, tuning=EQUAL):
    makers = {
        "begin": lambda key, time: SimpleNamespace(key=key, on=time, pitch=None, chord=None),
        "shape": lambda time: Envelope(on=time, attack=10, decay=100, sustain=sustain, release=1),
        "release": lambda: release,
        "touch": lambda channel: None,
        "zone": lambda channel: None,
        "tuning": tuning,
    }
    return Poly(limit, RATE, **makers) if mode == "poly" else Solo(legato, mode == "chord", RATE, **makers)


def state(voices, time):
    """What each key does at a sample: held, released, stolen; ended voices left out."""
    found = []
    for voice in voices:
        end = voice.envelope.end
        if end is not None and time >= end:
            continue
        if voice.stolen_at is None:
            found.append((voice.key, "held" if voice.envelope.off is None else "released"))
        elif time < voice.stolen_at + STEAL:
            found.append((voice.key, "stolen"))
    return found


def held(voices, time):
    return [key for key, what in state(voices, time) if what == "held"]


def test_a_key_holds_its_voice_until_it_comes_up():
    voices = make()
    voices.note_on(0, 60, 1.0)
    voices.note_off(500, 60)
    assert state(voices, 500) == [(60, "released")]
    voices.retire(500 + RELEASE - 1)
    assert len(voices) == 1
    voices.retire(500 + RELEASE)
    assert len(voices) == 0


def test_voices_are_spread_evenly_over_the_parts_in_which_they_are_added_up():
    voices = make(limit=64)
    for key in range(3 * PARTS):
        voices.note_on(key, 40 + key, 1.0)
    assert Counter(voice.part for voice in voices) == dict.fromkeys(range(PARTS), 3)
    freed = [voice for voice in voices if voice.part == 1]
    for voice in freed:
        voices.note_off(100, voice.key)
    for key in range(3):
        voices.note_on(200 + RELEASE, 90 + key, 1.0)
    assert [voice.part for voice in voices if voice.key >= 90] == [1, 1, 1]


def test_a_note_off_without_note_on_does_nothing():
    for mode in ("poly", "mono"):
        voices = make(mode=mode)
        voices.note_off(0, 60)
        voices.note_on(10, 61, 1.0)
        voices.note_off(20, 60)
        assert state(voices, 30) == [(61, "held")]


def test_the_same_key_again_releases_its_first_voice_and_one_note_off_ends_both():
    voices = make()
    voices.note_on(0, 60, 1.0)
    voices.note_on(100, 60, 1.0)
    assert state(voices, 100) == [(60, "released"), (60, "held")]
    voices.note_off(200, 60)
    assert [voice.envelope.off for voice in voices] == [100, 200]
    voices.note_off(300, 60)
    assert [voice.envelope.off for voice in voices] == [100, 200]


def test_the_voice_released_longest_ago_gives_way_first():
    voices = make(limit=3)
    for time, key in enumerate((60, 62, 64)):
        voices.note_on(time, key, 1.0)
    voices.note_off(100, 62)
    voices.note_off(101, 60)
    voices.note_on(200, 65, 1.0)
    assert state(voices, 200) == [(60, "released"), (62, "stolen"), (64, "held"), (65, "held")]
    voices.note_on(201, 67, 1.0)
    assert state(voices, 201) == [(60, "stolen"), (62, "stolen"), (64, "held"), (65, "held"), (67, "held")]


def test_where_none_is_released_the_oldest_gives_way():
    voices = make(limit=3)
    for time, key in enumerate((60, 62, 64, 65, 67)):
        voices.note_on(time, key, 1.0)
    assert held(voices, 10) == [64, 65, 67]


def test_a_stolen_voice_is_gone_after_five_milliseconds_and_its_note_off_means_nothing():
    voices = make(limit=1)
    voices.note_on(0, 60, 1.0)
    voices.note_on(1000, 62, 1.0)
    voices.note_off(1001, 60)
    first = next(iter(voices))
    fade = first.level(1000, STEAL + 10, STEAL)
    left = np.clip(1 - np.arange(STEAL + 10) / STEAL, 0, 1)
    assert fade == pytest.approx(left**3, abs=1e-6)  # its end is flat: a straight line's corner would click
    assert np.all(fade[STEAL:] == 0)
    voices.retire(1000 + STEAL)
    assert state(voices, 1000 + STEAL) == [(62, "held")]


def test_a_voice_stolen_at_its_own_sample_never_was():
    voices = make(limit=1)
    for key in (60, 62, 64):
        voices.note_on(5, key, 1.0)
    assert [voice.key for voice in voices] == [64]


def test_a_voice_that_ended_does_not_count_against_the_limit():
    voices = make(limit=1)
    voices.note_on(0, 60, 1.0)
    voices.note_off(10, 60)
    voices.note_on(10 + RELEASE, 62, 1.0)
    assert [voice.stolen_at for voice in voices] == [None, None]


@pytest.mark.parametrize("retired", [True, False])
def test_a_voice_that_died_away_by_itself_does_not_count_though_its_key_comes_up_later(retired):
    voices = make(limit=1, sustain=0.0)
    voices.note_on(0, 60, 1.0)
    if retired:
        voices.retire(500)
    voices.note_off(1000, 60)
    voices.note_on(1001, 62, 1.0)
    assert all(voice.stolen_at is None for voice in voices)


def test_the_pedal_holds_what_is_released_and_lets_it_go_when_it_comes_up():
    voices = make()
    voices.note_on(0, 60, 1.0)
    voices.note_on(1, 64, 1.0)
    voices.pedal(10, True)
    voices.note_off(20, 60)
    assert held(voices, 20) == [60, 64]
    voices.pedal(30, False)
    assert state(voices, 30) == [(60, "released"), (64, "held")]
    assert next(iter(voices)).envelope.off == 30


def test_the_pedal_after_the_note_off_is_too_late():
    voices = make()
    voices.note_on(0, 60, 1.0)
    voices.note_off(10, 60)
    voices.pedal(11, True)
    assert state(voices, 12) == [(60, "released")]


def test_a_key_struck_again_under_the_pedal_is_held_by_the_key_again():
    voices = make()
    voices.pedal(0, True)
    voices.note_on(1, 60, 1.0)
    voices.note_off(2, 60)
    voices.note_on(3, 60, 1.0)
    voices.pedal(4, False)
    assert held(voices, 5) == [60]
    voices.note_off(6, 60)
    assert held(voices, 7) == []


@pytest.mark.parametrize("mode", ["poly", "mono"])
def test_all_notes_off_waits_for_the_pedal_and_all_sound_off_does_not(mode):
    voices = make(mode=mode)
    voices.note_on(0, 60, 1.0)
    voices.pedal(1, True)
    voices.release_all(2)
    assert state(voices, 3) == [(60, "held")]
    voices.pedal(4, False)
    assert state(voices, 5) == [(60, "released")]
    voices.note_on(6, 62, 1.0)
    voices.pedal(7, True)
    voices.silence(8)
    assert held(voices, 9) == []
    voices.retire(8 + STEAL)
    assert (62, "released") not in state(voices, 8 + STEAL)


@pytest.mark.parametrize("mode", ["poly", "mono"])
def test_after_all_notes_off_nothing_is_held_that_could_come_back(mode):
    voices = make(mode=mode)
    voices.note_on(0, 60, 1.0)
    voices.note_on(1, 62, 1.0)
    voices.release_all(10)
    assert held(voices, 10) == []
    voices.note_off(11, 62)
    voices.pedal(12, True)
    voices.pedal(13, False)
    assert held(voices, 14) == []


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
    level = next(iter(voices)).level(900, 2000, STEAL)
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


@pytest.mark.parametrize("mode", ["poly", "mono", "chord"])
def test_the_sostenuto_pedal_holds_what_was_down_and_nothing_that_came_later(mode):
    voices = make(mode=mode)
    voices.note_on(0, 60, 1.0)
    voices.sostenuto(10, True)
    voices.note_off(20, 60)
    assert held(voices, 20) == [60]
    voices.note_on(30, 64, 1.0)
    voices.sostenuto(35, True)  # already down: what it holds stays
    voices.note_off(40, 64)
    assert held(voices, 40) == [60]
    voices.sostenuto(50, False)
    assert held(voices, 50) == []


def test_a_key_that_sostenuto_holds_rings_on_however_often_it_is_struck():
    voices = make()
    voices.note_on(0, 60, 1.0)
    voices.sostenuto(10, True)
    voices.note_off(20, 60)
    voices.note_on(30, 60, 1.0)
    voices.note_off(40, 60)
    assert state(voices, 40) == [(60, "released"), (60, "held")]


def test_what_one_pedal_lets_go_the_other_still_holds():
    voices = make()
    voices.note_on(0, 60, 1.0)
    voices.sostenuto(1, True)
    voices.pedal(2, True)
    voices.note_off(3, 60)
    voices.sostenuto(4, False)
    assert held(voices, 4) == [60]
    voices.sostenuto(5, True)  # the key is up: nothing to hold
    voices.pedal(6, False)
    assert held(voices, 6) == []


def test_the_same_key_on_two_channels_is_two_notes():
    voices = make()
    voices.note_on(0, 60, 1.0, channel=1)
    voices.note_on(1, 60, 1.0, channel=2)
    assert held(voices, 1) == [60, 60]
    voices.note_off(2, 60, channel=1)
    assert [voice.envelope.off for voice in voices] == [2, None]


def test_the_voice_that_is_shed_is_the_one_released_longest_ago_else_the_oldest_and_fades():
    voices = make(limit=8)
    for time, key in enumerate((60, 62, 64)):
        voices.note_on(time, key, 1.0)
    voices.note_off(10, 64)
    voices.note_off(11, 62)
    for time in (20, 21, 22, 23):
        voices.shed(time)
    assert {voice.key: voice.stolen_at for voice in voices} == {64: 20, 62: 21, 60: 22}
    assert voices.victim(23) is None


def test_a_mono_voice_that_was_shed_comes_back_with_the_next_key():
    voices = make(mode="mono", legato=True)
    voices.note_on(0, 60, 1.0)
    voices.shed(10)
    voices.note_on(20, 62, 1.0)
    assert held(voices, 20) == [62]


ACTIONS = st.lists(
    st.tuples(
        st.integers(0, 300),
        st.one_of(
            st.tuples(st.just("on"), st.integers(60, 66)),
            st.tuples(st.just("off"), st.integers(60, 66)),
            st.tuples(st.sampled_from(["pedal", "sostenuto"]), st.booleans()),
            st.tuples(st.sampled_from(["release", "silence", "shed"]), st.just(0)),
        ),
    ),
    max_size=40,
)


def act(voices, time, what, value):
    match what:
        case "on":
            voices.note_on(time, value, 1.0)
        case "off":
            voices.note_off(time, value)
        case "pedal":
            voices.pedal(time, value)
        case "sostenuto":
            voices.sostenuto(time, value)
        case "shed":
            voices.shed(time)
        case "release":
            voices.release_all(time)
        case "silence":
            voices.silence(time)


@given(
    ACTIONS,
    st.integers(1, 4),
    st.sampled_from(["poly", "mono", "chord"]),
    st.sampled_from([0.0, 1.0]),
    st.booleans(),
)
def test_whatever_is_played_the_limit_holds_nothing_hangs_and_forgetting_ended_voices_changes_nothing(
    actions, limit, mode, sustain, legato
):
    kept, swept = (make(limit, mode, sustain, legato) for _ in range(2))
    time = 0
    for wait, (what, value) in actions:
        time += wait
        swept.retire(time)
        act(kept, time, what, value)
        act(swept, time, what, value)
        assert state(kept, time) == state(swept, time)
        assert sum(what != "stolen" for _, what in state(kept, time)) <= (limit if mode == "poly" else 1)
    for voices in (kept, swept):
        voices.pedal(time, False)
        voices.sostenuto(time, False)
        for key in range(60, 67):
            voices.note_off(time, key)
        assert held(voices, time) == []
        voices.retire(time + max(RELEASE, STEAL))
        assert len(voices) == 0


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
