"""How notes are held, stolen and ended, and that nothing that is played clicks."""

import numpy as np
import pytest
import scipy.signal
from timbrel.host.events import ControlChange, NoteOff, NoteOn, PitchBend
from timbrel.host.signal import sounding_note

from .performances import LARGE, MAPS, level_db


def test_the_pedal_holds_a_note_until_it_comes_up(make_instrument, play):
    keys = {"envelope": {"release_seconds": 0.01}}
    pedal = [ControlChange(50, 0, 64, 64), NoteOn(100, 0, 60, 100), NoteOff(500, 0, 60), ControlChange(6000, 0, 64, 63)]
    sound = play(make_instrument(**keys), pedal, 9000)
    assert level_db(sound[:, 4000:6000]) > -40
    assert np.all(sound[:, 6000 + 222 :] == 0)


def test_all_sound_off_is_quick_and_all_notes_off_is_a_release(make_instrument, play):
    keys = {"envelope": {"release_seconds": 0.1}}
    note = [NoteOn(0, 0, 60, 100)]
    cut = play(make_instrument(**keys), [*note, ControlChange(3000, 0, 120, 0)], 6000)
    released = play(make_instrument(**keys), [*note, ControlChange(3000, 0, 123, 0)], 6000)
    by_key = play(make_instrument(**keys), [*note, NoteOff(3000, 0, 60)], 6000)
    assert np.all(cut[:, 3000 + 111 :] == 0)
    assert np.array_equal(released, by_key)
    assert level_db(by_key[:, 3000:3500]) > -50


def test_no_more_than_the_limit_of_voices_sound_once_stolen_ones_have_faded(make_instrument):
    instrument = make_instrument(play={"voices": 3})
    for index in range(20):
        instrument.process([NoteOn(500 * index, 0, 40 + index, 100)], 500)
        assert instrument.sounding <= 4
    instrument.process([], 500)
    assert instrument.sounding == 3


def test_a_stolen_voice_is_the_one_that_was_released_longest_ago(make_instrument, play, tiny):
    events = [NoteOn(0, 0, 60, 100), NoteOn(1, 0, 67, 100), NoteOff(2, 0, 60), NoteOn(20_000, 0, 64, 100)]
    keys = {"play": {"voices": 2}, "envelope": {"release_seconds": 30.0}}
    sound = play(make_instrument(44100, tiny(**LARGE), **keys), events, 80_000)[0, 24_000:]
    hz, power = scipy.signal.welch(sound, 44100, nperseg=16384)
    power_at = [power[np.abs(hz - 440 * 2 ** ((key - 69) / 12)).argmin()] for key in (60, 64, 67)]
    assert power_at[0] < 1e-3 * min(power_at[1:])


def test_mono_returns_to_the_held_note(make_instrument, play, tiny):
    events = [NoteOn(0, 0, 60, 100), NoteOn(20_000, 0, 67, 100), NoteOff(40_000, 0, 67)]
    sound = play(make_instrument(44100, tiny(**LARGE), play={"mode": "mono"}), events, 60_000)[0]
    notes = [sounding_note(sound[start + 2000 : start + 19_000], 44100) for start in (0, 20_000, 40_000)]
    assert notes == pytest.approx([60, 67, 60], abs=0.25)


def click_db(make_instrument, play, model, keys, before, events, at):
    """Energy above 10 kHz around a sample, relative to the energy of 0.1 s around it."""
    sound = play(make_instrument(44100, model, **keys), [*before, *events], at + 20_000)[0].astype(np.float64)
    high = scipy.signal.sosfiltfilt(scipy.signal.butter(12, 10_000, "high", fs=44100, output="sos"), sound)
    around = slice(at - 2205, at + 2205)
    return 10 * np.log10(np.sum(high[around] ** 2) / np.sum(sound[around] ** 2))


NOTES = [NoteOn(0, 0, 60, 127), NoteOn(0, 0, 64, 127)]
CLICKS = {
    "note-off": ({}, NOTES, [NoteOff(20_011, 0, 60), NoteOff(20_011, 0, 64)]),
    "stealing": ({"play": {"voices": 2}}, NOTES, [NoteOn(20_011, 0, 67, 127)]),
    "stealing many": (
        {"play": {"voices": 2}},
        NOTES,
        [NoteOn(20_011 + 50 * i, 0, 55 + i, 127) for i in range(8)],
    ),
    "mono": ({"play": {"mode": "mono"}}, NOTES, [NoteOn(20_011, 0, 67, 127), NoteOff(20_500, 0, 67)]),
    "legato": ({"play": {"mode": "mono", "legato": True}}, NOTES, [NoteOn(20_011, 0, 67, 20)]),
    "glide": ({"play": {"mode": "mono", "glide_seconds": 0.01}}, NOTES, [NoteOn(20_011, 0, 72, 127)]),
    "chord": ({"play": {"mode": "chord"}}, NOTES, [NoteOn(20_011, 0, 67, 20), NoteOff(20_011, 0, 60)]),
    "the same key": ({}, NOTES, [NoteOn(20_011, 0, 60, 127)]),
    "all sound off": ({}, NOTES, [ControlChange(20_011, 0, 120, 0)]),
    "volume": ({}, NOTES, [ControlChange(20_011, 0, 7, 0)]),
    "pan": ({}, NOTES, [ControlChange(20_011, 0, 10, 127)]),
    "latent": ({"cc": MAPS}, NOTES, [ControlChange(20_011, 0, 16, 127)]),
    "bend": ({}, NOTES, [PitchBend(20_011, 0, 8191)]),
    "pedal": (
        {},
        [*NOTES, ControlChange(1, 0, 64, 127), NoteOff(2000, 0, 60), NoteOff(2000, 0, 64)],
        [ControlChange(20_011, 0, 64, 0)],
    ),
}


@pytest.mark.parametrize("what", CLICKS)
def test_nothing_that_is_played_clicks(make_instrument, play, tiny, what):
    keys, before, events = CLICKS[what]
    keys = {"envelope": {"attack_seconds": 0.005, "release_seconds": 0.01}} | keys
    model = tiny(brightest_hz=4000.0, **LARGE)
    assert click_db(make_instrument, play, model, keys, before, events, 20_011) < -60


def test_the_measure_of_clicks_hears_a_click(make_instrument, play, tiny, monkeypatch):
    from timbrel.host.play import voices

    monkeypatch.setattr(voices, "STEAL_SECONDS", 0.0)  # one sample
    keys, before, events = CLICKS["stealing"]
    model = tiny(brightest_hz=4000.0, **LARGE)
    assert click_db(make_instrument, play, model, keys, before, events, 20_011) > -60
