"""Values that are set while nothing sounds are there at the first note; while notes sound, they glide."""

import numpy as np
import pytest
from timbrel.host.events import (
    ControlChange,
    DataEntry,
    MasterTuning,
    NoteOff,
    NoteOn,
    ParameterChange,
    PitchBend,
)
from timbrel.host.midi.controllers import BEND_RANGE
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import current_presets
from timbrel.host.ramps import RAMP_SECONDS, Ramp

RATE = 44_100
KNOB = {"cc": [{"number": 70, "target": "latent.0", "low": 0.0, "high": 1.0}]}


@pytest.fixture
def processor(make_patch):
    def make(**keys):
        return ChannelInstrument(make_patch(**keys), RATE)._processor

    return make


def apply(processor, *events):
    for event in events:
        processor.apply(event)


@pytest.mark.parametrize("time", [0, 10, 70_001])
@pytest.mark.parametrize("note_first", [False, True])
def test_what_is_set_at_the_first_notes_moment_is_there_with_it(processor, time, note_first):
    playing, note = processor(**KNOB), NoteOn(time, 0, 60, 100)
    settings = [ControlChange(time, 0, 7, 0), PitchBend(time, 0, 8191), ControlChange(time, 0, 70, 127)]
    apply(playing, *([note, *settings] if note_first else [*settings, note]))
    assert playing.level(0).left.value(time) == playing.level(0).right.value(time) == 0.0
    assert playing.bend(0).value(time) == pytest.approx(2.0, abs=1e-3)
    hop = playing._layers.codes._hop
    assert playing.latents_at(time - time % hop)[0] == 1.0


def test_what_is_set_just_before_the_first_note_has_come_to_rest_with_it(processor):
    playing = processor(**KNOB)
    apply(playing, ControlChange(900, 0, 11, 0), ControlChange(950, 0, 70, 0), NoteOn(1000, 0, 60, 100))
    assert playing.level(0).left.value(1000) == 0.0
    assert playing.latents_at(1000)[0] == 0.0


@pytest.mark.parametrize("released", [False, True])
def test_while_a_note_sounds_values_glide(processor, released):
    playing = processor(**KNOB, envelope={"release_seconds": 1.0, "sustain": 1.0})
    apply(playing, NoteOn(0, 0, 60, 100), ControlChange(10, 0, 70, 0))
    if released:
        apply(playing, NoteOff(5000, 0, 60))
    apply(playing, ControlChange(6000, 0, 7, 0), PitchBend(6000, 0, 8191), ControlChange(6000, 0, 70, 127))
    apply(playing, NoteOn(6000, 0, 64, 100))
    half = 6000 + round(0.5 * RAMP_SECONDS * playing._rate)
    assert playing.level(0).left.value(half) == pytest.approx(0.5 * playing.level(0).left.value(6000), rel=0.02)
    assert playing.bend(0).value(half) == pytest.approx(1.0, rel=0.02)
    assert playing.latents_at(half)[0] == pytest.approx(0.5, rel=0.02)


def test_once_the_last_note_has_ended_values_are_set_at_once_again(processor):
    playing = processor(envelope={"release_seconds": 0.05, "sustain": 1.0})
    apply(playing, NoteOn(0, 0, 60, 100), NoteOff(5000, 0, 60))
    end = 5000 + round(0.05 * playing._rate)
    apply(playing, ControlChange(end - 1, 0, 7, 20))
    assert playing.level(0).left.value(end) > 1.2 * playing.level(0).left.target
    apply(playing, PitchBend(end, 0, -8192))
    assert playing.level(0).left.value(end) == playing.level(0).left.target
    assert playing.bend(0).value(end) == -2.0


def test_wheels_of_zones_tunings_ranges_and_knobs_of_panels_are_set_at_once_too(processor):
    playing = processor(mpe={"enabled": True})
    apply(playing, PitchBend(0, 0, 8191), MasterTuning(0, "coarse", 65 << 7))
    assert playing._mpe._zones[0].wheel.bend.value(0) == pytest.approx(3.0, abs=1e-3)
    playing = processor()
    apply(playing, PitchBend(0, 0, 8191), DataEntry(0, 0, True, BEND_RANGE, "coarse", 12))
    apply(playing, ParameterChange(0, 0, "gain", -20.0), NoteOn(0, 0, 60, 100))
    assert playing.bend(0).value(0) == pytest.approx(12.0, abs=2e-3)
    assert playing.level(0).left.value(0) == playing.level(0).left.target


def test_vibrato_and_image_are_set_at_once_too():
    playing = ChannelInstrument(open_patch("string-ensemble"), RATE)._processor
    apply(playing, ParameterChange(500, 0, "image", 0.0), ParameterChange(500, 0, "gesture.vibrato", 2.0))
    assert [playing._parameters._ramps[target].value(500) for target in ("image", "gesture.vibrato")] == [0.0, 2.0]


def test_a_channel_that_is_silent_beside_another_has_its_own_level_and_bend_at_once(processor):
    playing = processor(envelope={"sustain": 1.0})
    apply(playing, NoteOn(0, 0, 60, 100), ControlChange(3000, 1, 7, 0), PitchBend(3000, 1, 8191))
    apply(playing, ControlChange(3000, 0, 7, 0), NoteOn(3000, 1, 60, 100))
    assert playing.level(1).left.value(3000) == 0.0
    assert playing.bend(1).value(3000) == pytest.approx(2.0, abs=1e-3)
    assert playing.level(0).left.value(3000) > 0.1


@pytest.mark.parametrize("retired", [False, True])
def test_codes_of_a_note_that_has_ended_in_the_same_hop_stay(processor, retired):
    playing = processor(**KNOB, envelope={"release_seconds": 0.005, "sustain": 1.0})
    hop = playing._layers.codes._hop
    start = 10 * hop
    apply(playing, NoteOn(start + 1, 0, 60, 100), NoteOff(start + 2, 0, 60))
    time = start + 3 + round(0.005 * playing._rate)
    assert time < start + hop
    if retired:
        playing.voices.retire(time)
        assert len(playing.voices) == 0
    before = playing.latents_at(start)[0]
    apply(playing, ControlChange(time, 0, 70, 127), NoteOn(time, 0, 62, 100))
    assert playing.latents_at(start)[0] == before
    assert playing.latents_at(time)[0] == 1.0


def test_a_ramp_settles_where_it_is_on_its_way_and_stays_where_it_rests():
    ramp = Ramp(0.0, 100)
    ramp.move(50, 1.0)
    ramp.move(60, 2.0)
    ramp.settle(40)
    assert [ramp.value(time) for time in (39, 40, 41, 200)] == [0.0, 2.0, 2.0, 2.0]
    segments = list(ramp.segments)
    ramp.settle(300)
    assert ramp.segments == segments


@pytest.mark.parametrize("name", current_presets())
def test_a_channel_at_volume_0_is_silent_from_its_first_note_on(name):
    patch = open_patch(name)
    key = patch.preset.keys[0].key if patch.preset.keys else 60
    instrument = ChannelInstrument(patch, RATE)
    instrument.schedule([ControlChange(0, 0, 7, 0), NoteOn(0, 0, key, 127)], 4096)
    assert not np.any(instrument.read(4096))
