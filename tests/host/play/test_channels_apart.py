"""One preset on all channels keeps them apart, as one instrument for each channel does."""

import contextlib

import numpy as np
import pytest
from timbrel.host.contract.model import Model
from timbrel.host.events import ControlChange, NoteOff, NoteOn, PitchBend
from timbrel.host.play.play_modes import Latch, PolyAssignment
from timbrel.host.play.rack import Rack

from ..clips import save_clips
from .silent import held, make, state
from .test_strikes import make as struck

RATE = 22050
LENGTH = 12_000
CHANNELS = (0, 1, 9)
LONG = {"attack_seconds": 0.001, "release_seconds": 0.1}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A model without phases of its own: a second of a sine."""
    sine = 0.2 * np.sin(2 * np.pi * 261.6 / 16_000 * np.arange(16_000))
    return Model(save_clips(tmp_path_factory.mktemp("apart") / "sine.onnx", sine))


def run(rack, events, sizes=(LENGTH,)):
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
    """Notes, pedals, bends, levels, glides and mode messages of three channels."""
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
        events += [PitchBend(int(random.integers(0, LENGTH)), channel, int(bend)) for bend in bends]
    return sorted(events, key=lambda event: event.time)


@pytest.mark.parametrize("play", [{}, {"mode": "mono"}, {"mode": "mono", "legato": True}])
@pytest.mark.parametrize("clip_keys", [{"trigger": "gated"}, {"trigger": "gated", "loop": True}])
@pytest.mark.parametrize("seed", [1, 2])
def test_one_preset_on_three_channels_sounds_as_three_instruments(make_patch, clip, play, clip_keys, seed):
    patch = make_patch(clip, play={"voices": 64, **play}, envelope=LONG, clip=clip_keys)
    events = performance(seed)
    apart = one_each(patch, events)
    assert np.abs(apart).max() > 0.05
    assert np.abs(one_for_all(patch, events) - apart).max() < 1e-6


def test_blocks_of_any_size_give_the_same_samples_of_several_channels(make_patch):
    patch, events = make_patch(play={"voices": 64}, envelope=LONG), performance(3)
    assert np.array_equal(one_for_all(patch, events), one_for_all(patch, events, (1, 63, 64, 480, 1000)))


def test_a_mapped_knob_moves_the_notes_of_all_channels_from_any(make_patch):
    patch = make_patch(envelope=LONG, cc=[{"number": 20, "target": "gain", "low": -60.0, "high": 0.0}])
    notes = [NoteOn(0, 0, 48, 100), NoteOn(0, 1, 55, 100)]
    knob = [ControlChange(0, 9, 20, 0)]
    assert np.abs(one_for_all(patch, notes)[:, 6000:]).max() > 0.01
    assert np.all(one_for_all(patch, [*knob, *notes])[:, 6000:] == 0)


def test_a_channel_that_begins_late_has_the_preset_as_knobs_left_it(make_patch):
    """Also in the middle of a knob's way."""
    patch = make_patch(envelope=LONG, cc=[{"number": 20, "target": "gain", "low": -60.0, "high": 0.0}])
    knob = ControlChange(2000, 0, 20, 30)
    late = one_for_all(patch, [knob, NoteOn(2100, 5, 48, 100)])
    early = one_for_all(patch, [ControlChange(0, 5, 11, 127), knob, NoteOn(2100, 5, 48, 100)])
    assert np.array_equal(late, early)
    assert not np.array_equal(late, one_for_all(patch, [NoteOn(2100, 5, 48, 100)]))


def test_two_processes_give_the_same_samples_of_several_channels(make_patch):
    patch, events = make_patch(play={"voices": 64}, envelope=LONG), performance(4)
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


@pytest.mark.parametrize("way", [PolyAssignment, Latch])
def test_choke_groups_and_latched_keys_stay_in_their_channel(way):
    voices = struck(way)
    voices.note_on(0, 42, 1.0, 0)
    voices.note_on(10, 42, 1.0, 1)
    voices.note_on(20, 46, 1.0, 1)
    assert [voice.note for voice in voices if voice.stolen_at is None and voice.down] == [(0, 42), (1, 46)]
