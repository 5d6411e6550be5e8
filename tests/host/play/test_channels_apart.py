"""One preset on all channels keeps them apart, as one instrument for each channel does."""

import contextlib

import numpy as np
import pytest
from timbrel.host.events import ChannelPressure, ControlChange, KeyPressure, NoteOff, NoteOn, PitchBend
from timbrel.host.model.model import Model
from timbrel.host.play.rack import Rack
from timbrel.host.play.voices import Latch, PolyAssignment

from ..clips import save_clips
from .silent import held, make, state
from .test_strikes import make as struck

RATE = 22050
LENGTH = 12_000
CHANNELS = (0, 1, 9)
LONG = {"attack_seconds": 0.001, "release_seconds": 0.1}
PRESSURE = [
    {"pressure": "channel", "target": "latent.0", "low": -1.0, "high": 1.0},
    {"pressure": "channel", "target": "gain", "low": -20.0, "high": 0.0},
    {"pressure": "key", "target": "pan", "low": -1.0, "high": 1.0},
    {"pressure": "key", "target": "latent.1", "low": -1.0, "high": 1.0},
]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A model without phases of its own: a second of a sine, to which latents add two more."""
    sine, *more = (0.2 * np.sin(2 * np.pi * hertz / 16_000 * np.arange(16_000)) for hertz in (261.6, 600, 900))
    return Model(save_clips(tmp_path_factory.mktemp("apart") / "sine.onnx", sine, np.stack(more)))


def run(rack, events, sizes=(LENGTH,)):
    events = sorted(events, key=lambda event: event.time)
    parts, at = [], 0
    while at < LENGTH:
        size = min(sizes[len(parts) % len(sizes)], LENGTH - at)
        parts.append(rack.process([event for event in events if at <= event.time < at + size], size)[1])
        at += size
    return np.concatenate([sum(part.values()) for part in parts], axis=1)


def one_for_all(patch, events, sizes=(LENGTH,)):
    return run(Rack({0: patch}, RATE, omni=True), events, sizes)


def one_each(patch, events):
    return run(Rack(dict.fromkeys(CHANNELS, patch), RATE), events)


def performance(seed):
    """Notes, pedals, bends, pressure, levels, glides and mode messages of three channels."""
    random = np.random.default_rng(seed)
    events = []
    for channel in CHANNELS:
        for _ in range(7):
            on, key = int(random.integers(0, 9000)), int(random.integers(48, 60))
            off = on + int(random.integers(1, 4000))
            events += [NoteOn(on, channel, key, int(random.integers(30, 128))), NoteOff(off, channel, key)]
        for number in (5, 7, 10, 11, 64, 65, 66, 64, 66, 7, 120, 121, 123):
            value = int(random.integers(0, 128))
            events.append(ControlChange(int(random.integers(0, LENGTH)), channel, number, value))
        bends = random.integers(-8192, 8192, 3)
        events += [
            kind(int(random.integers(0, LENGTH)), channel, *key, int(random.integers(0, 128)))
            for kind, key in [(ChannelPressure, ()), (KeyPressure, (50,)), (KeyPressure, (55,))]
            for _ in range(4)
        ]
        events += [PitchBend(int(random.integers(0, LENGTH)), channel, int(bend)) for bend in bends]
    return sorted(events, key=lambda event: event.time)


@pytest.mark.parametrize("play", [{}, {"mode": "mono"}, {"mode": "mono", "legato": True}])
@pytest.mark.parametrize("clip_keys", [{"trigger": "gated"}, {"trigger": "gated", "loop": True}])
@pytest.mark.parametrize("seed", [1, 2])
def test_one_preset_on_three_channels_sounds_as_three_instruments(make_patch, clip, play, clip_keys, seed):
    patch = make_patch(clip, play={"voices": 64, **play}, envelope=LONG, clip=clip_keys, cc=PRESSURE)
    events = performance(seed)
    apart = one_each(patch, events)
    assert np.abs(apart).max() > 0.05
    assert np.abs(one_for_all(patch, events) - apart).max() < 1e-6


def test_a_clip_that_is_tuned_down_by_an_octave_lasts_twice_as_long(make_patch, clip):
    patch, note = make_patch(clip, envelope=LONG | {"sustain": 1.0}), NoteOn(10, 1, 60, 100)
    octave = [ControlChange(0, 1, number, value) for number, value in ((101, 0), (100, 2), (6, 52))]
    for events, seconds in (([note], 1.0), ([*octave, note], 2.0)):
        rack = Rack({0: patch}, RATE, omni=True)
        sound = np.abs(rack.process(events, 3 * RATE)[0][0])
        assert np.flatnonzero(sound > 0.01)[-1] == pytest.approx(seconds * RATE, rel=0.02)


def test_blocks_of_any_size_give_the_same_samples_of_several_channels(make_patch):
    patch, events = make_patch(play={"voices": 64}, envelope=LONG, cc=PRESSURE), performance(3)
    assert np.array_equal(one_for_all(patch, events), one_for_all(patch, events, (1, 63, 64, 480, 1000)))


def test_a_mapped_knob_moves_the_notes_of_all_channels_from_any(make_patch):
    patch = make_patch(envelope=LONG, cc=[{"number": 20, "target": "gain", "low": -60.0, "high": 0.0}])
    notes = [NoteOn(0, 0, 48, 100), NoteOn(0, 1, 55, 100)]
    knob = [ControlChange(0, 9, 20, 0)]
    assert np.abs(one_for_all(patch, notes)[:, 6000:]).max() > 0.01
    assert np.all(one_for_all(patch, [*knob, *notes])[:, 6000:] == 0)


def test_pressure_of_one_channel_leaves_the_notes_of_another_as_they_are(make_patch):
    patch, notes = make_patch(envelope=LONG, cc=PRESSURE), [NoteOn(0, 0, 48, 100), NoteOn(3000, 0, 55, 100)]
    pressure = [ChannelPressure(1000, 1, 127), KeyPressure(1000, 1, 48, 127), ChannelPressure(5000, 1, 30)]
    assert np.array_equal(one_for_all(patch, [*notes, *pressure]), one_for_all(patch, notes))
    pressed = [ChannelPressure(1000, 0, 127)]
    both = one_for_all(patch, [*notes, *pressure, *pressed])
    assert np.array_equal(both, one_for_all(patch, [*notes, *pressed]))
    assert not np.array_equal(both, one_for_all(patch, notes))


def test_pressure_that_a_map_takes_from_one_channel_moves_the_notes_of_all(make_patch):
    patch = make_patch(envelope=LONG, cc=[PRESSURE[1] | {"channel": 10}])
    notes, pressure = [NoteOn(0, 0, 48, 100), NoteOn(0, 1, 55, 100)], [ChannelPressure(0, 9, 1)]
    quiet = one_for_all(patch, [*pressure, *notes])[:, 6000:]
    assert np.abs(one_for_all(patch, notes)[:, 6000:]).max() > 5 * np.abs(quiet).max() > 0


def test_a_knob_moves_what_pressure_has_moved_in_one_channel(make_patch):
    knob = {"number": 20, "target": "latent.0", "low": 0.0, "high": 1.0}
    patch = make_patch(envelope=LONG, cc=[PRESSURE[0] | {"low": 0.0}, knob])
    notes, turn = [NoteOn(0, 0, 48, 100), NoteOn(0, 1, 55, 100)], ControlChange(2000, 5, 20, 64)
    pressed = one_for_all(patch, [*notes, ChannelPressure(100, 1, 127), turn])
    plain = one_for_all(patch, [*notes, turn])
    assert not np.array_equal(pressed[:, :2000], plain[:, :2000])
    assert np.array_equal(pressed[:, 5000:], plain[:, 5000:])


def test_a_channel_that_begins_late_has_the_preset_as_knobs_left_it(make_patch):
    """Also in the middle of a knob's way."""
    patch = make_patch(envelope=LONG, cc=[{"number": 20, "target": "gain", "low": -60.0, "high": 0.0}])
    knob = ControlChange(2000, 0, 20, 30)
    late = one_for_all(patch, [knob, NoteOn(2100, 5, 48, 100)])
    early = one_for_all(patch, [ControlChange(0, 5, 11, 127), knob, NoteOn(2100, 5, 48, 100)])
    assert np.array_equal(late, early)
    assert not np.array_equal(late, one_for_all(patch, [NoteOn(2100, 5, 48, 100)]))


def test_two_processes_give_the_same_samples_of_several_channels(make_patch):
    patch, events = make_patch(play={"voices": 64}, envelope=LONG, cc=PRESSURE), performance(4)
    with contextlib.closing(Rack({0: patch}, RATE, 2, omni=True)) as rack:
        assert np.array_equal(run(rack, events, (3000,)), one_for_all(patch, events))


@pytest.mark.parametrize("mode", ["mono", "chord"])
def test_each_channel_has_a_melody_and_pedals_of_its_own(mode):
    voices = make(mode=mode)
    voices.pedal(0, True, 1)
    for time, (channel, key) in enumerate([(0, 60), (1, 64), (2, 67)]):
        voices.note_on(time, key, 1.0, channel)
    for channel, key in [(0, 60), (1, 64)]:
        voices.note_off(10, key, channel)
    assert state(voices, 11) == [(60, "released"), (64, "held"), (67, "held")]
    voices.release_all(12, 2)
    assert held(voices, 13) == [64]
    voices.silence(14, 0)
    voices.pedal(15, False, 0)
    assert held(voices, 16) == [64]
    voices.pedal(17, False, 1)
    assert held(voices, 18) == []


def test_a_mono_channel_that_was_silenced_returns_to_none_of_its_keys_that_a_pedal_holds():
    voices = make(mode="mono")
    voices.note_on(0, 60, 1.0, 0)
    voices.sostenuto(5, True, 0)
    voices.silence(10, 0)
    voices.note_on(20, 64, 1.0, 0)
    voices.note_off(30, 64, 0)
    assert held(voices, 31) == []


@pytest.mark.parametrize("way", [PolyAssignment, Latch])
def test_choke_groups_and_latched_keys_stay_in_their_channel(way):
    voices = struck(way)
    voices.note_on(0, 42, 1.0, 0)
    voices.note_on(10, 42, 1.0, 1)
    voices.note_on(20, 46, 1.0, 1)
    assert [voice.note for voice in voices if voice.stolen_at is None and voice.down] == [(0, 42), (1, 46)]
