"""Keys that strike: what they begin sounds to its own end, and cuts what sounds of its group."""

import pytest
from timbrel.host.play.voices import PolyAssignment, Struck

from .silent import RATE, STEAL, SilentFactory, held, state

HATS = {42: "hats", 44: "hats", 46: "hats", 50: "toms"}


def make(way=Struck, limit=8, over=None):
    return way(limit, HATS, RATE, SilentFactory(over=over, attack=0, decay=1, sustain=1.0))


def test_a_key_that_comes_up_changes_nothing_and_all_notes_off_lets_go():
    voices = make()
    voices.note_on(0, 60, 1.0)
    voices.note_off(100, 60)
    voices.pedal(200, True)
    voices.pedal(300, False)
    assert held(voices, 400) == [60]
    voices.release_all(500)
    assert state(voices, 600) == [(60, "released")]


def test_the_same_key_again_lets_go_of_what_it_struck():
    voices = make()
    voices.note_on(0, 60, 1.0)
    voices.note_on(100, 60, 1.0)
    assert state(voices, 200) == [(60, "released"), (60, "held")]


@pytest.mark.parametrize("way", [PolyAssignment, Struck])
def test_the_same_key_again_under_the_pedal_leaves_the_strike_before_but_cuts_its_group(way):
    voices = make(way)
    voices.pedal(0, True)
    for time, key in ((1, 60), (2, 60), (3, 42), (4, 42)):
        voices.note_on(time, key, 1.0)
    assert state(voices, 5) == [(60, "held"), (60, "held"), (42, "stolen"), (42, "held")]
    voices.pedal(6, False)
    assert state(voices, 7)[:2] == [(60, "released"), (60, "held")]


@pytest.mark.parametrize("way", [PolyAssignment, Struck])
def test_a_key_cuts_its_group_and_no_other(way):
    voices = make(way)
    for time, key in enumerate((42, 50, 60)):
        voices.note_on(time, key, 1.0)
    voices.note_on(1000, 46, 1.0)
    assert state(voices, 1001) == [(42, "stolen"), (50, "held"), (60, "held"), (46, "held")]
    assert state(voices, 1000 + STEAL) == [(50, "held"), (60, "held"), (46, "held")]
    voices.note_on(2000, 46, 1.0)
    assert state(voices, 2001)[-2:] == [(46, "stolen"), (46, "held")]


def test_two_of_a_group_on_one_sample_leave_the_later():
    voices = make()
    voices.note_on(5, 42, 1.0)
    voices.note_on(5, 46, 1.0)
    assert state(voices, 5) == [(46, "held")]


def test_a_sound_that_is_over_leaves_its_place_to_others():
    voices = make(limit=2, over=1000)
    voices.note_on(0, 60, 1.0)
    voices.note_on(10, 61, 1.0)
    assert voices.count(999) == 2
    assert voices.count(1000) == 1
    voices.note_on(1005, 62, 1.0)
    assert not any(voice.stolen_at for voice in voices)
    voices.retire(1010)
    assert [voice.key for voice in voices] == [62]
