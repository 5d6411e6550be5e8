"""Keys, polyphony and stealing, on voices that make no sound."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.play.voices import PARTS

from .silent import RELEASE, STEAL, held, make, state


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
    fade = np.ones(STEAL + 10, np.float32)
    first.shape(fade, 1000, STEAL)
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
