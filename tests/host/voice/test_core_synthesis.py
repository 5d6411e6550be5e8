"""The core plays as the numpy voice does, in any blocks, with any instructions."""

import copy
import itertools

import numpy as np
import pytest
from timbrel.host import voice_library as library
from timbrel.host.events import (
    ControlChange,
    NoteOff,
    NoteOn,
    ParameterTouch,
    PitchBend,
)
from timbrel.host.model.model import Model
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import MODELS

from .rigs import COUNT, PRESETS, needs_core, performance, rack_of, sound_of

pytestmark = needs_core

RATE = 44_100  # the model's own: resampling would hide small differences
GESTURES = {"gesture": {"variety": 1.0, "intonation": 1.0, "rate": 1.3}}
HALF = {"gesture": {"loudness": 0.4, "codes": 0.6, "variety": 0.0}}
TUNED = [{"number": 20, "target": "gesture.vibrato", "low": 0.0, "high": 2.0}]


def differences(patch, events, rate=RATE, count=COUNT, **options):
    """The core's sound less the numpy voice's, and the latter; ``options`` of the rack."""
    ours, known = (sound_of(rack_of(voice, {0: patch}, rate, **options), events, count) for voice in ("core", "numpy"))
    assert np.abs(known).max() > 0.003
    return np.abs(ours - known).max(), known


@pytest.fixture(scope="module")
def partials():
    return Model(MODELS / "gm-partials-8.onnx")


@pytest.mark.parametrize("name", PRESETS)
def test_a_performance_sounds_as_by_numpy(make_patch, partials, name):
    patch = make_patch(partials, **PRESETS[name])
    assert differences(patch, performance(1, name == "mpe"))[0] < 2e-6


@pytest.mark.parametrize("name", ["mono", "modes"])
def test_glides_of_stiff_strings_sound_as_by_numpy(make_patch, recorded, name):
    """Modes have no key of their own where gestures move no codes."""
    model, keys = copy.copy(recorded), PRESETS["mono"]["play"] | PRESETS["unison"]["play"]
    stiff = model.card.partials.model_copy(update={"stretch": (-9.0, 0.05)})
    model.card = model.card.model_copy(update={"partials": stiff})
    gesture = {"amount": 0.0} if name == "mono" else {"codes": 0.0}
    assert differences(make_patch(model, play=keys, gesture=gesture), performance(2))[0] < 2e-6


@pytest.mark.parametrize(
    "keys", [GESTURES, GESTURES | {"cc": TUNED}, GESTURES | PRESETS["chord"], PRESETS["mono"], HALF], ids=str
)
def test_recorded_gestures_sound_as_by_numpy(make_patch, recorded, keys):
    assert differences(make_patch(recorded, **keys), performance(2))[0] < 2e-6


@pytest.mark.parametrize(
    "keys",
    [
        GESTURES,
        {"play": {"image_bands": [[6.0, 0.3]] * 32}},
        {"play": {"image": 2.0}},
        {"play": {"image": 0.5, "width": 0.7, "unison": 3}},
        PRESETS["chord"],
    ],
    ids=str,
)
def test_an_image_is_heard_as_by_numpy(make_patch, recorded, in_stereo, keys):
    difference, sound = differences(make_patch(in_stereo(recorded.path), **keys), performance(2))
    assert difference < 2e-6
    assert np.abs(sound[0] - sound[1]).max() > 0.01


@pytest.mark.parametrize("name", ["gm-chroma-8", "gm-partials-8"])
def test_images_of_spectra_and_of_instruments_without_their_own_sound_as_by_numpy(make_patch, in_stereo, name):
    model = in_stereo(MODELS / f"{name}.onnx")
    for instrument in model.gestures.instruments:
        instrument.notes[0].image = instrument.notes[0].image[:0]
    difference, sound = differences(make_patch(model), performance(3))
    assert difference < 2e-6
    assert np.abs(sound[0] - sound[1]).max() > 0.003


def test_a_note_beyond_the_recorded_movement_goes_back_and_forth_as_by_numpy(make_patch, recorded):
    events = [NoteOn(10, 0, key, 90) for key in (50, 55, 67)] + [NoteOff(90_000, 0, 55)]
    assert differences(make_patch(recorded, **GESTURES), events, count=110_000)[0] < 2e-6


@pytest.mark.parametrize("keep_formants", [False, True])
def test_keys_beyond_the_recorded_ones_sound_as_by_numpy(make_patch, partials, keep_formants):
    events = [NoteOn(1000 * place, 0, key, 100) for place, key in enumerate((3, 15, 112, 124))]
    patch = make_patch(partials, play={"keep_formants": keep_formants})
    assert differences(patch, [*events, PitchBend(20_000, 0, 8191)])[0] < 1e-6


def test_a_chord_at_the_highest_keys_sounds_as_by_numpy(make_patch, partials):
    events = [NoteOn(500 * place, 0, key, 100) for place, key in enumerate((122, 125, 127))]
    assert differences(make_patch(partials, **PRESETS["chord"]), events)[0] < 2e-6


def test_a_vibrato_that_is_turned_before_its_note_sounds_as_by_numpy(make_patch, recorded):
    patch = make_patch(recorded, cc=TUNED, **GESTURES)
    events = [ControlChange(3800, 0, 20, 0), NoteOn(4000, 0, 55, 100), ControlChange(9000, 0, 20, 127)]
    assert differences(patch, events)[0] < 2e-6


def test_zones_that_change_within_a_block_sound_as_by_numpy(make_patch, partials):
    patch = make_patch(partials, mpe={"enabled": True}, envelope={"release_seconds": 0.6})
    events = [NoteOn(100 + 40 * channel, channel, 50 + 5 * channel, 100) for channel in range(1, 8)]
    for number, members in enumerate((7, 3, 15, 2, 5)):  # all within a block of 512
        time = 4100 + 80 * number
        events += [PitchBend(time, channel, 3000 * number - 6000) for channel in (0, 2, 6)]
        events += [ControlChange(time + 30, 0, control, value) for control, value in ((101, 0), (100, 6), (6, members))]
        events += [PitchBend(time + 50, 0, 4000 - 1500 * number), NoteOn(time + 60, 1 + number, 60 + number, 90)]
    difference, sound = differences(patch, sorted(events, key=lambda event: event.time), count=20_000)
    assert difference < 2e-6
    _, still = differences(patch, events[:7], count=20_000)
    assert np.abs(sound[:, 5000:] - still[:, 5000:]).max() > 0.01  # the zones' bends are heard


def test_a_voice_that_changes_zones_within_a_block_bends_as_by_numpy(make_patch, partials):
    patch = make_patch(partials, mpe={"enabled": True}, play={"mode": "mono", "legato": True})
    zones = [ControlChange(0, master, *pair) for master in (0, 15) for pair in ((101, 0), (100, 6), (6, 7))]
    bends = [PitchBend(10, 0, 6000), PitchBend(10, 15, -6000)]
    notes = [NoteOn(600, 1, 60, 100)]
    for number in range(5):  # one voice, whose frames of a block follow both masters
        notes.append(NoteOn(4200 + 70 * number, 14 if number % 2 == 0 else 1, 61 + number, 100))
    difference, sound = differences(patch, [*zones, *bends, *notes], count=12_000, omni=True)
    assert difference < 2e-6
    assert np.abs(sound - differences(patch, [*zones, *notes], count=12_000, omni=True)[1]).max() > 0.01


def test_voices_that_have_ended_are_left(make_patch, partials):
    rack = rack_of("core", {0: make_patch(partials)}, RATE)
    sound_of(rack, [NoteOn(0, 0, 60, 100), NoteOff(1000, 0, 60), NoteOn(0, 0, 64, 100)], 1024)
    assert rack.sounding == 2
    sound_of(rack, [], 60_000)
    assert rack.sounding_keys == {64}


@pytest.mark.parametrize("name", ["gm-keys", "gm-strings", "gm-hall"])
def test_shipped_presets_sound_as_by_numpy(name):
    assert differences(open_patch(name), performance(3), count=100_000)[0] < 2e-6


@pytest.mark.parametrize("sizes", [(128,), (1, 63, 1000), (16_384,), (256, 255)], ids=str)
@pytest.mark.parametrize("name", ["stealing", "mono", "chord", "mpe", "unison", "envelope"])
def test_blocks_and_preparation_change_no_bit(make_patch, partials, name, sizes):
    patch, events = make_patch(partials, **PRESETS[name]), performance(4, name == "mpe")
    whole = sound_of(rack_of("core", {0: patch}, RATE), events, COUNT)
    assert np.abs(whole).max() > 0.01
    for prepares in (False, True):
        assert np.array_equal(sound_of(rack_of("core", {0: patch}, RATE), events, COUNT, sizes, prepares), whole)


@pytest.mark.parametrize("processes", [2, 3, 9])
@pytest.mark.parametrize("name", ["knobs", "unison", "mpe"])
def test_threads_change_no_bit(make_patch, partials, name, processes):
    patch, events = make_patch(partials, **PRESETS[name]), performance(7, name == "mpe")
    whole = sound_of(rack_of("core", {0: patch}, RATE), events, COUNT)
    shared = rack_of("core", {0: patch}, RATE, processes=processes)
    assert np.array_equal(sound_of(shared, events, COUNT, (16_384, 100, 5000)), whole)
    assert len(shared._instruments[0]._engine._crew) == min(processes, 4)


@pytest.mark.parametrize("sizes", [(128,), (16_384,)], ids=str)
def test_blocks_change_no_bit_of_gestures(make_patch, recorded, sizes):
    patch, events = make_patch(recorded, **GESTURES), performance(5)
    whole = sound_of(rack_of("core", {0: patch}, RATE), events, COUNT)
    assert np.array_equal(sound_of(rack_of("core", {0: patch}, RATE), events, COUNT, sizes, prepares=True), whole)


@pytest.mark.parametrize("name", ["knobs", "unison", "formants", "wide chord"])
def test_every_instruction_set_gives_the_same_bits(make_patch, partials, monkeypatch, name):
    patch, events = make_patch(partials, **PRESETS[name]), performance(6)
    core, sounds = library.load_library(), []
    for instructions in range(core.core_instructions() + 1):
        monkeypatch.setattr(library.voice_library(), "core_instructions", lambda chosen=instructions: chosen)
        sounds.append(sound_of(rack_of("core", {0: patch}, RATE), events, COUNT))
    assert all(np.array_equal(one, other) for one, other in itertools.pairwise(sounds))


def test_several_instruments_play_at_once_on_channels_of_their_own(make_patch, partials, recorded):
    patches = {0: make_patch(partials), 5: make_patch(recorded, **GESTURES), 9: make_patch()}
    events = [NoteOn(100 * place, channel, 50 + 5 * place, 100) for place, channel in enumerate((0, 5, 9, 5, 0))]
    ours, known = (sound_of(rack, events, 20_000) for rack in (Rack(patches, RATE), rack_of("numpy", patches, RATE)))
    assert 0 < np.abs(ours - known).max() < 2e-6


def test_a_row_alone_has_the_bits_of_the_row_among_others_and_the_models_values(make_patch, partials):
    patch = make_patch(partials)
    engine = rack_of("core", {0: patch}, RATE)._instruments[0]._engine
    codes, keys = np.full((9, 8), 0.4, np.float32), np.array([43, 48, 52, 55, 60, 64, 67, 72, 76], np.int32)
    frames = engine.decoded(codes, keys)
    assert np.array_equal(frames[4], engine.decoded(codes[:1], keys[4:5])[0])
    assert np.abs(frames - partials.decode(codes, keys.astype(np.intp))).max() < 1e-5 * frames.max()


def test_a_touched_knob_holds_as_by_numpy(make_patch, partials):
    motion = [{"target": "latent.2", "shape": "sine", "depth": 0.3, "beats": 0.5}]
    events = [
        NoteOn(0, 0, 60, 100),
        ParameterTouch(5000, 0, "latent.2", True),
        ParameterTouch(20_000, 0, "latent.2", False),
    ]
    assert differences(make_patch(partials, motion=motion), events)[0] < 1e-6
