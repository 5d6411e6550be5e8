"""What each controller does to the sound: levels, pan, knobs, bends, and the reset of them all."""

import numpy as np
import pytest
from timbrel.host.events import ControlChange, NoteOff, NoteOn, PitchBend
from timbrel.host.signal import sounding_note

from .performances import LARGE, MAPS, SHARP, level_db, rpn


@pytest.mark.parametrize("velocity", [1, 32, 64, 100, 127])
def test_velocity_is_heard_by_its_square(make_instrument, play, velocity):
    loud = play(make_instrument(), [NoteOn(0, 0, 60, 127)], 6000)
    sound = play(make_instrument(), [NoteOn(0, 0, 60, velocity)], 6000)
    assert level_db(sound) - level_db(loud) == pytest.approx(40 * np.log10(velocity / 127), abs=0.01)


def test_a_voice_is_levelled_by_the_loudness_of_its_card(analytic, make_instrument, play, tmp_path):
    from timbrel.host.model.model import Model

    made = analytic()
    plain = made.card()
    levels = []
    for away in (0.0, 7.0):
        card = plain | {"loudness_lufs": plain["loudness_lufs"] + away}
        model = Model(made.save(tmp_path / f"{away}.onnx", card=card))
        levels.append(level_db(play(make_instrument(model=model), [NoteOn(0, 0, 60, 127)], 20_000)))
    assert levels[0] - levels[1] == pytest.approx(7.0, abs=0.01)
    assert levels[0] == pytest.approx(-20, abs=5)  # LUFS are not RMS, but near


@pytest.mark.parametrize(("pan", "left", "right"), [(-1.0, 1.0, 0.0), (0.0, 0.5**0.5, 0.5**0.5), (1.0, 0.0, 1.0)])
def test_the_presets_pan_holds_from_the_first_sample_by_equal_power(make_instrument, play, pan, left, right):
    middle = play(make_instrument(envelope=SHARP), [NoteOn(0, 0, 60, 127)], 4000)[0] / np.float32(0.5**0.5)
    sound = play(make_instrument(envelope=SHARP, play={"pan": pan}), [NoteOn(0, 0, 60, 127)], 4000)
    assert sound[0] == pytest.approx(left * middle, abs=1e-6)
    assert sound[1] == pytest.approx(right * middle, abs=1e-6)


@pytest.mark.parametrize(("gain_db", "change"), [(-60.0, -200.0), (-12.0, -12.0), (12.0, 12.0)])
def test_the_presets_gain_holds_from_the_first_sample(make_instrument, play, gain_db, change):
    plain = play(make_instrument(envelope=SHARP), [NoteOn(0, 0, 60, 127)], 200)
    sound = play(make_instrument(envelope=SHARP, play={"gain_db": gain_db}), [NoteOn(0, 0, 60, 127)], 200)
    if change == -200.0:
        assert np.all(sound == 0)  # the lowest gain is none
    else:
        assert level_db(sound) - level_db(plain) == pytest.approx(change, abs=0.01)


def settled(make_instrument, play, events, keys=None):
    """Left and right levels of a held note, once every ramp has ended; relative to the note alone, in dB."""
    note = [NoteOn(0, 0, 60, 100)]
    alone = play(make_instrument(**(keys or {})), note, 8000)[:, 4000:]
    sound = play(make_instrument(**(keys or {})), note + events, 8000)[:, 4000:]
    return [level_db(a) - level_db(b) for a, b in zip(sound, alone, strict=True)]


@pytest.mark.parametrize("value", [0, 64, 100, 127])
def test_volume_follows_the_square_of_its_value_and_rests_at_100(make_instrument, play, value):
    found = settled(make_instrument, play, [ControlChange(10, 0, 7, value)])
    if value == 0:
        assert max(found) < -100
    else:
        assert found == pytest.approx([40 * np.log10(value / 100)] * 2, abs=0.01)


def test_expression_multiplies_volume_and_rests_at_127(make_instrument, play):
    events = [ControlChange(10, 0, 11, 64), ControlChange(11, 0, 7, 50)]
    expected = 40 * np.log10(64 / 127) + 40 * np.log10(50 / 100)
    assert settled(make_instrument, play, events) == pytest.approx([expected] * 2, abs=0.01)
    assert settled(make_instrument, play, [ControlChange(10, 0, 11, 127)]) == pytest.approx([0, 0], abs=1e-6)


@pytest.mark.parametrize(("value", "left", "right"), [(0, 3.01, -200), (1, 3.01, -200), (64, 0, 0), (127, -200, 3.01)])
def test_pan_goes_from_left_to_right(make_instrument, play, value, left, right):
    found = settled(make_instrument, play, [ControlChange(10, 0, 10, value)])
    for level, expected in zip(found, (left, right), strict=True):
        assert level < -100 if expected == -200 else level == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("pan", "value", "heard", "silent"), [(1.0, 127, 1, 0), (0.6, 127, 1, 0), (-1.0, 0, 0, 1)])
def test_a_presets_pan_and_a_controllers_end_at_the_side_together(make_instrument, play, pan, value, heard, silent):
    keys = {"play": {"pan": pan}, "envelope": SHARP}
    note = [ControlChange(0, 0, 10, value), NoteOn(4000, 0, 60, 127)]
    sound = play(make_instrument(**keys), note, 8000)[:, 4000:]
    side = play(make_instrument(play={"pan": float(np.sign(pan))}, envelope=SHARP), [NoteOn(4000, 0, 60, 127)], 8000)
    assert sound[heard] == pytest.approx(side[heard, 4000:], abs=1e-6)
    assert np.abs(sound[silent]).max() < 1e-6


def test_0_and_1_of_a_controllers_pan_are_the_same_place_wherever_the_preset_stands(make_instrument, play):
    keys = {"play": {"pan": 0.5}, "envelope": SHARP}
    sounds = [
        play(make_instrument(**keys), [ControlChange(0, 0, 10, value), NoteOn(4000, 0, 60, 127)], 8000)
        for value in (0, 1)
    ]
    assert np.array_equal(*sounds)


def test_a_controller_that_the_preset_maps_loses_its_usual_meaning(make_instrument, play):
    keys = {"cc": [{"number": 7, "target": "pan", "low": 0.0, "high": 1.0}]}
    found = settled(make_instrument, play, [ControlChange(10, 0, 7, 127)], keys)
    assert found[1] == pytest.approx(3.01, abs=0.02)
    assert found[0] < -100


def test_one_controller_may_turn_several_things(make_instrument, play):
    keys = {
        "cc": [
            {"number": 20, "target": "pan", "low": 0.0, "high": 1.0},
            {"number": 20, "target": "gain", "low": 0.0, "high": -6.0},
        ]
    }
    found = settled(make_instrument, play, [ControlChange(10, 0, 20, 127)], keys)
    assert found[1] == pytest.approx(3.01 - 6, abs=0.02)


def test_a_knob_turns_its_latent_and_glides_there(make_instrument):
    instrument = make_instrument(cc=MAPS)
    instrument.process([ControlChange(5, 0, 16, 127), ControlChange(5, 0, 17, 64)], 100)
    assert instrument.latent_values() == pytest.approx([1.0, 1 - (64 / 127) ** 2])


@pytest.mark.parametrize("value", [0, 32, 127])
def test_a_turned_latent_sounds_as_a_preset_that_rests_there(make_instrument, play, analytic, value):
    keys = {"cc": MAPS}
    rest = make_instrument(latent={"values": [value / 127, 0.5]})
    note = [NoteOn(3000, 0, 60, 100)]
    turned = play(make_instrument(**keys), [ControlChange(0, 0, 16, value), *note], 9000)
    assert np.array_equal(turned, play(rest, note, 9000))


@pytest.mark.parametrize(
    ("controls", "semitones"),
    [
        ([], 2),
        (rpn(0, 12), 12),
        (rpn(0, 24), 24),
        (rpn(0, 6, 50), 6.5),
        (rpn(0, 12) + rpn(1, 3), 3),
        ([*rpn(0, 5), ControlChange(1, 0, 101, 127), ControlChange(1, 0, 100, 127), ControlChange(2, 0, 6, 24)], 5),
        ([*rpn(0, 5), ControlChange(1, 0, 99, 1), ControlChange(1, 0, 98, 8), ControlChange(2, 0, 6, 24)], 5),
        ([*rpn(0, 5), ControlChange(1, 0, 99, 1), ControlChange(2, 0, 6, 24)], 5),
        ([*rpn(0, 5), ControlChange(1, 0, 98, 8), ControlChange(2, 0, 6, 24)], 5),
        ([*rpn(0, 5), ControlChange(1, 0, 101, 0), ControlChange(1, 0, 100, 5), ControlChange(2, 0, 6, 24)], 5),
        ([*rpn(0, 5), ControlChange(1, 0, 121, 0), ControlChange(2, 0, 6, 24)], 5),
        ([ControlChange(0, 0, 6, 24), ControlChange(0, 0, 38, 50)], 2),
        ([ControlChange(0, 0, 100, 0), ControlChange(0, 0, 6, 24)], 2),
        ([ControlChange(0, 0, 101, 0), ControlChange(0, 0, 6, 24)], 2),
    ],
    ids=[
        "default",
        "12",
        "24",
        "cents",
        "twice",
        "null",
        "nrpn",
        "nrpn 99",
        "nrpn 98",
        "another rpn",
        "reset",
        "no rpn",
        "half an rpn",
        "the other half",
    ],
)
def test_the_bend_range_is_set_by_its_registered_parameter_alone(make_instrument, play, tiny, controls, semitones):
    events = [*controls, PitchBend(3, 0, 4096), NoteOn(3000, 0, 60, 100)]
    sound = play(make_instrument(44100, tiny(**LARGE)), events, 40_000)
    assert sounding_note(sound[0, 4000:], 44100) == pytest.approx(60 + semitones / 2, abs=0.25)


@pytest.mark.parametrize(("cents", "semitones"), [(0, 1.0), (99, 1.99), (127, 1.99)])
def test_the_fine_part_of_the_bend_range_is_in_cents(make_instrument, play, tiny, cents, semitones):
    events = [*rpn(0, 1, cents), PitchBend(3, 0, 8191), NoteOn(3000, 0, 72, 100)]
    sound = play(make_instrument(44100, tiny(**LARGE)), events, 90_000)
    assert sounding_note(sound[0, 4000:], 44100) == pytest.approx(72 + semitones, abs=0.12)


def test_a_preset_sets_the_bend_range_and_a_controller_replaces_it_whole(make_instrument, play, tiny):
    instrument = make_instrument(44100, tiny(**LARGE), play={"bend_range_semitones": 3.5})
    sound = play(instrument, [PitchBend(0, 0, -8192), NoteOn(3000, 0, 60, 100)], 40_000)
    assert sounding_note(sound[0, 4000:], 44100) == pytest.approx(56.5, abs=0.25)
    instrument = make_instrument(44100, tiny(**LARGE), play={"bend_range_semitones": 3.5})
    sound = play(instrument, [*rpn(0, 7), PitchBend(1, 0, -8192), NoteOn(3000, 0, 60, 100)], 40_000)
    assert sounding_note(sound[0, 4000:], 44100) == pytest.approx(53, abs=0.25)


@pytest.mark.parametrize("key", [0, 60, 127])
@pytest.mark.parametrize("bend", [-8192, 8191])
def test_the_widest_bend_of_the_lowest_and_highest_keys_is_played(make_instrument, play, key, bend):
    events = [*rpn(0, 127, 99), NoteOn(0, 0, key, 100), PitchBend(500, 0, bend)]
    sound = play(make_instrument(), events, 9000)
    assert np.all(np.isfinite(sound))
    assert np.array_equal(play(make_instrument(), events, 9000, [100]), sound)


def test_a_bend_range_that_is_set_while_bent_moves_the_note(make_instrument, play, tiny):
    events = [PitchBend(0, 0, 8191), NoteOn(0, 0, 60, 100), *rpn(1000, 12)]
    sound = play(make_instrument(44100, tiny(**LARGE)), events, 60_000)
    assert sounding_note(sound[0, 10_000:], 44100) == pytest.approx(72, abs=0.25)


def test_reset_all_controllers_leaves_volume_and_pan_and_resets_the_rest(make_instrument, play, tiny):
    moved = [ControlChange(0, 0, 7, 50), ControlChange(0, 0, 10, 127)]
    reset = [PitchBend(0, 0, 8191), ControlChange(0, 0, 11, 10), ControlChange(0, 0, 64, 127)]
    note = [NoteOn(9000, 0, 60, 100), NoteOff(12_000, 0, 60)]
    model = tiny(**LARGE)
    expected = play(make_instrument(44100, model), [*moved, *note], 40_000)
    sound = play(make_instrument(44100, model), [*moved, *reset, ControlChange(2000, 0, 121, 0), *note], 40_000)
    assert np.array_equal(sound, expected)
    assert np.all(sound[:, 30_000:] == 0)
