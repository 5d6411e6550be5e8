"""The phrases of the current presets: eight seconds each, on keys that the preset plays."""

from io import BytesIO

import pytest
from timbrel.host.events import ControlChange, NoteOn, PitchBend
from timbrel.host.midi.files import read_performance
from timbrel.host.play.render import remarks
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import CURRENT, MIDI, shipped_presets, shipped_tunes

from .phrases import DRUM_CHANNEL, PHRASES, midi_file

RATE = 48000
RETURNING = (1, 64)  # the wheel and the pedal
PLAYED = {1, 11, 64}  # which also act unmapped, or are no knobs


def notes(performance):
    return [event for event in performance.events if isinstance(event, NoteOn)]


def test_each_current_preset_has_a_phrase():
    assert {*PHRASES} == {*CURRENT}


@pytest.mark.parametrize("name", PHRASES)
def test_its_file_is_the_one_that_the_notation_gives(name):
    midi_file(PHRASES[name], name).save(file=(written := BytesIO()))
    assert (MIDI / f"{name}.mid").read_bytes() == written.getvalue(), "run python tests/phrases.py"


@pytest.mark.parametrize("name", PHRASES)
def test_it_lasts_eight_seconds_without_warnings_and_leaves_bend_wheel_and_pedal_at_rest(name):
    performance = read_performance(MIDI / f"{name}.mid", RATE)
    assert performance.warnings == []
    assert performance.length / RATE == pytest.approx(8.0, abs=0.01)
    last = {type(event): event.value for event in performance.events if isinstance(event, PitchBend)}
    last |= {e.number: e.value for e in performance.events if isinstance(e, ControlChange) and e.number in RETURNING}
    assert not any(last.values())


@pytest.mark.parametrize("name", PHRASES)
def test_its_notes_differ_in_velocity_or_its_knobs_move(name):
    performance = read_performance(MIDI / f"{name}.mid", RATE)
    velocities = {note.velocity for note in notes(performance)}
    knobs = {event.number for event in performance.events if isinstance(event, ControlChange)}
    assert len(velocities) > 4 or knobs


@pytest.mark.parametrize("name", PHRASES)
def test_its_preset_plays_all_of_its_keys_and_maps_its_knobs_and_nothing_is_remarked(name):
    patch = open_patch(name)
    performance = read_performance(MIDI / f"{name}.mid", RATE)
    assert {note.key for note in notes(performance)} <= {*patch.tuning}
    knobs = {event.number for event in performance.events if isinstance(event, ControlChange)}
    assert knobs - PLAYED <= {entry.number for entry in patch.preset.cc}
    assert remarks(performance, name, (), kit=PHRASES[name].channel == DRUM_CHANNEL) == []


def test_every_shipped_preset_has_a_tune():
    assert shipped_tunes().keys() > shipped_presets().keys()
