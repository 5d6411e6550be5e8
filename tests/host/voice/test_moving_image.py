"""The stereo image as a knob: it moves sounding notes in the core as by numpy, in any blocks, without clicks."""

import itertools
import math

import numpy as np
import pytest
from timbrel.host import voice_library as library
from timbrel.host.events import ControlChange, NoteOff, NoteOn, ParameterChange
from timbrel.host.preset.shipped import MODELS

from .rigs import needs_core, rack_of, sound_of

pytestmark = needs_core

RATE = 44_100
COUNT = 24_000
KNOB = {"cc": [{"number": 79, "target": "image", "low": 0.0, "high": 2.0}]}
MACRO = {"macro": [{"name": "sides", "targets": [{"target": "image", "low": -1.0, "high": 1.0}]}]}
MOVED = ("image", "gesture.vibrato")
PRESETS = {
    "as recorded": {},
    "wide": {"play": {"width": 0.7, "unison": 3}},
    "from mono": {"play": {"image": 0.0}},
    "from mono, wide": {"play": {"image": 0.0, "width": 0.4}},
    "chord": {"play": {"mode": "chord"}},
    "without noise": {"play": {"noise": 0.0, "image": 0.7}},
}


def performance():
    """Notes in the course of moves of the image: slow and fast ones, to both ends, and to 1 again."""
    events = [NoteOn(1500 * number, 0, 41 + 7 * number, 70 + 8 * number) for number in range(6)]
    events += [NoteOff(9000 + 1700 * number, 0, 41 + 7 * number) for number in range(4)]
    events += [ControlChange(1000 + 150 * step, 0, 79, 2 * step) for step in range(64)]
    events += [ControlChange(12_000 + 97 * step, 0, 79, 120 - 3 * step) for step in range(41)]
    events += [ParameterChange(time, 0, "image", amount) for time, amount in ((17_001, 2.0), (18_500, 0.0))]
    events += [ParameterChange(20_000, 0, "image", 1.0), NoteOn(21_500, 0, 64, 90)]
    return sorted(events, key=lambda event: event.time)


@pytest.fixture(scope="module")
def stereo(recorded, in_stereo):
    return in_stereo(recorded.path)


def sound(patch, events, voice="core", count=COUNT, **options):
    return sound_of(rack_of(voice, {0: patch}, RATE), events, count, **options)


@pytest.mark.parametrize("name", PRESETS)
def test_a_moving_image_sounds_as_by_numpy(make_patch, stereo, name):
    patch = make_patch(stereo, **PRESETS[name], **KNOB)
    ours, known = (sound(patch, performance(), voice) for voice in ("core", "numpy"))
    assert np.abs(ours - known).max() < 1e-6
    assert np.abs(known[0] - known[1]).max() > 0.01


@pytest.mark.parametrize("name", ["gm-chroma-8", "gm-partials-8"])
def test_images_of_spectra_and_of_instruments_without_their_own_move_as_by_numpy(make_patch, in_stereo, name):
    model = in_stereo(MODELS / f"{name}.onnx")
    for instrument in model.gestures.instruments:
        instrument.notes[0].image = instrument.notes[0].image[:0]
    patch = make_patch(model, **KNOB)
    ours, known = (sound(patch, performance(), voice) for voice in ("core", "numpy"))
    assert np.abs(ours - known).max() < 1e-6
    assert np.abs(known[0] - known[1]).max() > 0.003


@pytest.mark.parametrize("sizes", [(128,), (1, 63, 1000), (16_384,), (256, 255)], ids=str)
@pytest.mark.parametrize("name", ["as recorded", "from mono, wide", "chord"])
def test_blocks_and_preparation_change_no_bit(make_patch, stereo, name, sizes):
    patch = make_patch(stereo, **PRESETS[name], **KNOB)
    whole = sound(patch, performance())
    for prepares in (False, True):
        assert np.array_equal(sound(patch, performance(), sizes=sizes, prepares=prepares), whole)


def test_threads_change_no_bit(make_patch, stereo):
    patch = make_patch(stereo, **KNOB)
    shared = rack_of("core", {0: patch}, RATE, processes=3)
    assert np.array_equal(sound_of(shared, performance(), COUNT, (16_384, 100, 5000)), sound(patch, performance()))


def test_every_instruction_set_gives_the_same_bits(make_patch, stereo, monkeypatch):
    patch = make_patch(stereo, play={"width": 0.3}, **KNOB)
    core, sounds = library.load_library(), []
    for instructions in range(core.core_instructions() + 1):
        monkeypatch.setattr(library.voice_library(), "core_instructions", lambda chosen=instructions: chosen)
        sounds.append(sound(patch, performance()))
    assert all(np.array_equal(one, other) for one, other in itertools.pairwise(sounds))


@pytest.mark.parametrize("width", [0.0, 0.5])
@pytest.mark.parametrize("amount", [0.0, 0.3, 2.0])
def test_a_knob_that_was_turned_before_its_note_sounds_as_a_preset_with_that_image(make_patch, stereo, amount, width):
    note = [NoteOn(4000, 0, 55, 100), NoteOn(4100, 0, 62, 80)]
    known = sound(make_patch(stereo, play={"image": amount, "width": width}), note)
    found = sound(make_patch(stereo, play={"width": width}), [ParameterChange(1000, 0, "image", amount), *note])
    assert np.abs(found - known).max() < 1e-6
    if amount == width == 0.0:
        assert np.array_equal(found[0], found[1])
    else:
        assert np.abs(found[0] - found[1]).max() > 0.01


def test_a_knob_that_came_back_leaves_no_trace(make_patch, stereo):
    patch, note = make_patch(stereo), [NoteOn(4000, 0, 55, 100), NoteOff(9000, 0, 55)]
    moves = [ParameterChange(time, 0, "image", amount) for time, amount in ((500, 2.0), (1500, 0.2), (2700, 1.0))]
    assert np.array_equal(sound(patch, [*moves, *note]), sound(patch, note))


def test_a_macro_moves_the_image_and_stays_in_its_range(make_patch, stereo):
    note = [NoteOn(4000, 0, 55, 100)]
    patch = make_patch(stereo, play={"image": 1.5}, **MACRO)
    widest = sound(patch, [ParameterChange(1000, 0, "macro.0", 1.0), *note])
    assert np.abs(widest - sound(make_patch(stereo, play={"image": 2.0}), note)).max() < 1e-6
    half = sound(patch, [ParameterChange(1000, 0, "macro.0", 0.0), *note])
    assert np.abs(half - sound(make_patch(stereo, play={"image": 0.5}), note)).max() < 1e-6


def test_where_the_image_rests_nothing_is_computed_for_it_again(make_patch, stereo):
    """A voice keeps the curves of the last amount that is not the preset's."""
    rack = rack_of("core", {0: make_patch(stereo)}, RATE)
    sound_of(rack, [NoteOn(0, 0, 60, 100)], 4096)
    [stream] = rack._instruments[0]._synthesis._streams
    assert math.isnan(stream.voice.moved_amount)
    sound_of(rack, [ParameterChange(0, 0, "image", 1.5)], 4096)
    assert stream.voice.moved_amount == 1.5


def test_moves_of_the_past_are_forgotten(make_patch, stereo):
    """Also while no note sounds, and those of the vibrato."""
    for voice in ("core", "numpy"):
        rack = rack_of(voice, {0: make_patch(stereo)}, RATE)
        events = [ParameterChange(time, 0, target, time % 3 / 2) for time in range(0, 40_000, 200) for target in MOVED]
        sound_of(rack, [NoteOn(10_000, 0, 60, 100), *events], 40_000)
        parameters = rack._instruments[0]._processor._parameters
        assert all(len(parameters._ramps[target].segments) < 40 for target in MOVED)


def largest_bend(sides):
    """Largest second difference of both sides around the move: of a click it is large, of smooth sounds small."""
    return np.abs(np.diff(sides[:, 11_500:14_500].astype(np.float64), 2)).max()


def test_a_ramp_of_the_image_clicks_no_more_than_one_of_the_gain(make_patch, stereo):
    """A low note without noise, compared with itself at values between; some bend more than both ends."""
    patch, note = make_patch(stereo, play={"noise": 0.0}, gesture={"amount": 0.0}), NoteOn(0, 0, 36, 100)
    ratios = {}
    for target, before, after in [
        ("gain", -60.0, 0.0),
        ("gain", 0.0, -60.0),
        ("image", 0.0, 2.0),
        ("image", 2.0, 0.0),
        ("image", 1.0, 0.0),
    ]:
        begin = [ParameterChange(0, 0, target, before), note]
        ramp = sound(patch, [*begin, ParameterChange(12_500, 0, target, after)])
        steady = [sound(patch, [ParameterChange(0, 0, target, to), note]) for to in np.linspace(before, after, 9)]
        ratios.setdefault(target, []).append(largest_bend(ramp) / max(map(largest_bend, steady)))
    assert max(ratios["gain"]) == pytest.approx(1.0, abs=0.02)
    assert max(ratios["image"]) < 1.05
    ramp[:, 12_500 + np.abs(ramp[0, 12_500:13_500]).argmax() :] *= 1.02  # a click that the measure tells
    assert largest_bend(ramp) / max(map(largest_bend, steady)) > 1.05
