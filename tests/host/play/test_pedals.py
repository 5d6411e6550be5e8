"""The sustain and sostenuto pedals, on voices that make no sound."""

import pytest

from .silent import STEAL, held, make, state


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


PEDAL, SOSTENUTO = "pedal", "sostenuto"


def strike(*steps, limit=4):
    """Voices after steps at samples 0, 10, 20 and so on: "on", "off", or a pedal that goes down or, with -, up."""
    voices = make(limit=limit)
    for number, step in enumerate(steps):
        time, name = 10 * number, step.strip("-")
        if name == "on":
            voices.note_on(time, 60, 1.0)
        elif name == "off":
            voices.note_off(time, 60)
        else:
            getattr(voices, name)(time, not step.startswith("-"))
    return [what for _, what in state(voices, 10 * len(steps))]


# As FluidSynth 2.3 plays the same strikes.
@pytest.mark.parametrize(
    ("steps", "voices"),
    [
        ((PEDAL, "on", "off", "on", "off"), ["held", "held"]),
        ((PEDAL, "on", "off", "on", "off", "on", "off"), ["held", "held", "held"]),
        ((PEDAL, "on", "on", "off"), ["held", "held"]),  # the first key press never ends
        (("on", PEDAL, "on", "off"), ["held", "held"]),
        (("on", "off", PEDAL, "on", "off"), ["released", "held"]),  # pressed too late
        (("on", "on", PEDAL, "off"), ["released", "held"]),
        (("on", SOSTENUTO, "off", "on", "off"), ["held", "held"]),
        ((SOSTENUTO, "on", "off", "on", "off"), ["released", "released"]),
        ((PEDAL, "on", "off", "on", "-" + PEDAL), ["released", "held"]),
        (("on", SOSTENUTO, "off", "on", "-" + SOSTENUTO), ["released", "held"]),
        ((PEDAL, "on", "off", "on", "off", "-" + PEDAL), ["released", "released"]),
        (("on", "off", "on", "off"), ["released", "released"]),
    ],
)
def test_a_key_struck_again_leaves_the_voice_before_to_the_pedal(steps, voices):
    assert strike(*steps) == voices


def test_a_strike_too_many_steals_the_voice_whose_key_was_struck_again_before_all_others():
    voices = make(limit=3)
    voices.pedal(0, True)
    for time, key in ((1, 48), (2, 60), (3, 60), (4, 60)):
        voices.note_on(time, key, 1.0)
    assert state(voices, 5) == [(48, "held"), (60, "stolen"), (60, "held"), (60, "held")]
    voices.note_on(6, 64, 1.0)
    assert held(voices, 7) == [48, 60, 64]


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
