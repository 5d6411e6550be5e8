"""Notes of partials move in pitch as their recordings did, as deep as a knob asks."""

import numpy as np
import pytest
from timbrel.host.events import ControlChange, NoteOff, NoteOn
from timbrel.host.model.gesture import MOST_POINTS, VIBRATO_CENTS, Gestures, packed
from timbrel.host.play.blended_trajectory import OPENING
from timbrel.host.play.rack import Rack
from timbrel.host.play.separate_notes import SeparateNote
from timbrel.host.preset.library import open_patch
from timbrel.host.session.view_builder import controls
from timbrel.host.units import midi_to_hz

from .gestures import banded, note, partials_with, residual
from .test_residual import AHEAD, RISING, STEP, gesture
from .test_separate_notes import alone, together

MODEL_RATE = 44_100
SLOPE = np.arange(31)  # cents
DEPTH = 30.0


def vibrato(cents):
    return packed(np.round(np.array(cents) / VIBRATO_CENTS).astype(np.int8))


def moving(cents, **changes):
    return note(residual=residual([0.0] * 3, np.zeros((40, 3))), vibrato=vibrato(cents), **changes)


def pitches(made, moments, on=1000):
    """Cents at moments after a note-on, which may lie between two."""
    return [100 * made.vibrato(on + round(STEP * moment) - AHEAD, AHEAD) for moment in moments]


def test_a_note_has_its_recordings_pitch_at_each_moment():
    made = gesture(banded(moving(SLOPE)))
    assert pitches(made, range(31)) == pytest.approx(SLOPE)
    assert pitches(made, [2.5, 7.25]) == pytest.approx([2.5, 7.25])
    assert pitches(made, [-9, -1]) == pytest.approx([0.0, 0.0])
    assert pitches(gesture(banded(moving(SLOPE)), codes=0.5), [20]) == pytest.approx([10.0])
    assert pitches(gesture(banded(moving(SLOPE)), speed=2.0), [10]) == pytest.approx([20.0])
    assert pitches(gesture(banded(note(residual=residual([0.0] * 3, RISING)))), [20]) == [0.0]


def test_a_note_that_is_held_for_longer_goes_back_and_forth_in_its_last_three_quarters():
    waves = 30 * np.sin(2 * np.pi * np.arange(120) / 15)
    found = pitches(gesture(banded(moving(waves))), range(600))
    back = 119 - round(0.25 * 119)
    assert found[119 : 119 + back + 1] == pytest.approx(found[119 + back : 119 + 2 * back + 1][::-1])
    assert np.abs(np.diff(found)).max() < 15
    assert np.std(found[200:]) == pytest.approx(30 / np.sqrt(2), rel=0.1)


def test_the_pitch_of_a_short_note_returns_to_its_key():
    found = pitches(gesture(banded(moving([20.0] * 12))), range(12 + OPENING))
    assert found[:12] == pytest.approx([20.0] * 12)
    assert np.diff(found[11:]) == pytest.approx(-20 / OPENING)
    assert found[-1] == 0


def test_another_take_has_the_pitch_of_its_own_movement():
    flat = residual([0.0] * 3, np.zeros((40, 3)))
    rising = note(61.0, residual=residual([0.0] * 3, RISING), vibrato=vibrato(SLOPE))
    fields = banded(note(60.0, residual=flat, vibrato=vibrato(-SLOPE)), rising)
    seen = set()
    for number in range(2, 20):
        made = gesture(fields, pitch=60.5, variety=1.0, note=number)
        moved = made.band_gains(1000 + 30 * STEP - AHEAD, AHEAD)[1]
        pitch = pitches(made, [30])[0]
        assert pitch == pytest.approx(30 if moved > 10 else -30)
        seen.add(round(pitch))
    assert seen == {30, -30}


def test_a_file_with_too_long_a_vibrato_is_refused():
    with pytest.raises(ValueError, match=f"vibrato of a note must have {MOST_POINTS} points at most"):
        Gestures.model_validate(banded(moving([0.5] * (MOST_POINTS + 1))))


@pytest.fixture(scope="module")
def singing(tmp_path_factory):
    """The shipped model of partials, whose notes waver by 30 cents six times a second."""
    waves = moving(DEPTH * np.sin(2 * np.pi * 6 * np.arange(120) / 100))
    return partials_with(tmp_path_factory.mktemp("singing") / "singing.onnx", waves)


def pitch_course(sound, key):
    """Cents off a key every 64 samples, from the phase of the fundamental; the first 0.1 s is left out."""
    time = np.arange(len(sound)) / MODEL_RATE
    window = np.hanning(1024) * np.ones(1024)
    turning = np.convolve(sound * np.exp(-2j * np.pi * midi_to_hz(key) * time), window / window.sum(), "same")[::64]
    turned = np.angle(turning[1:] * turning[:-1].conj()) / (2 * np.pi) * MODEL_RATE / 64
    return 1200 * np.log2(1 + turned / midi_to_hz(key))[round(0.1 * MODEL_RATE / 64) :]


def played(make_instrument, play, model, seconds=1.0, turned=(), sizes=(512,), **gesture):
    bound = [{"number": 1, "target": "gesture.vibrato", "low": 0.0, "high": 2.0}]
    instrument = make_instrument(MODEL_RATE, model=model, gesture={"variety": 0.0, **gesture}, cc=bound)
    events = [NoteOn(0, 0, 60, 100), *turned, NoteOff(round(2 * MODEL_RATE), 0, 60)]
    return play(instrument, events, round(seconds * MODEL_RATE), list(sizes)).sum(0)


def test_it_is_heard_at_its_depth_and_speed_and_at_the_recordings_time(make_instrument, play, singing):
    found = pitch_course(played(make_instrument, play, singing), 60)
    time = 0.1 + np.arange(len(found)) * 64 / MODEL_RATE
    inner = slice(0, -20)
    asked = DEPTH * np.sin(2 * np.pi * 6 * time)
    assert found[inner] == pytest.approx(asked[inner], abs=6)
    faster = pitch_course(played(make_instrument, play, singing, 0.6, rate=2.0), 60)
    assert np.sum(np.diff(np.sign(faster[:-20])) != 0) == pytest.approx(0.5 * 24, abs=2)


@pytest.mark.parametrize(("depth", "cents"), [(0.0, 0.0), (0.5, DEPTH / 2), (2.0, 2 * DEPTH)])
def test_its_depth_is_a_setting(make_instrument, play, singing, depth, cents):
    found = pitch_course(played(make_instrument, play, singing, 0.6, vibrato=depth), 60)[:-20]
    assert np.sqrt(2) * found.std() == pytest.approx(cents, rel=0.15, abs=1.0)


def test_a_knob_moves_the_vibrato_of_a_note_that_sounds(make_instrument, play, singing):
    at = round(0.5 * MODEL_RATE)
    sound = played(make_instrument, play, singing, 1.0, [ControlChange(at, 0, 1, 0)])
    found = pitch_course(sound, 60)[:-20]
    split = round(0.4 * MODEL_RATE / 64)
    assert found[: split - 20].std() > 15
    assert np.abs(found[split + 20 :]).max() < 2


def test_division_into_blocks_changes_no_bit_of_it(make_instrument, play, singing):
    turned = [ControlChange(7000, 0, 1, 30), ControlChange(15_001, 0, 1, 127)]
    whole, parts = (
        played(make_instrument, play, singing, 0.5, turned, sizes) for sizes in ([22_050], [63, 64, 65, 512, 1])
    )
    assert whole.any()
    assert np.array_equal(whole, parts)


def test_panels_have_a_knob_for_the_vibrato_that_a_model_has_and_presets_that_ask_for_another_say_so(singing, tmp_path):
    silent = partials_with(tmp_path / "silent.onnx", note())
    seen = {}
    for model in (singing, silent):
        file = tmp_path / f"{model.path.stem}.toml"
        file.write_text(f'format = 1\nmodel = "{model.path}"\n[gesture]\nvibrato = 0.5\n', encoding="utf-8")
        patch = open_patch(str(file))
        knobs = Rack({0: patch}, MODEL_RATE).knobs[0]
        targets = [one.target for one in controls(patch.preset, patch.model, knobs)]
        assert "gesture.variety" in targets
        seen[model.path.stem] = "gesture.vibrato" in targets, [line for line in patch.warnings if "vibrato" in line]
    assert seen["singing"] == (True, [])
    knob, [line] = seen["silent"]
    assert not knob
    assert "has gesture.vibrato, and model" in line


def test_notes_that_are_computed_together_have_it_as_each_alone(singing, tmp_path):
    file = tmp_path / "singing.toml"
    file.write_text(f'format = 1\nmodel = "{singing.path}"\n', encoding="utf-8")
    note = SeparateNote(60, 100, 0.7, {})
    first, _ = together(str(file), [note, note._replace(key=62)], 1.0, MODEL_RATE)
    assert np.abs(first - alone(str(file), note, 1.0, MODEL_RATE)).max() < 1e-6
    assert pitch_course(first.sum(0)[: MODEL_RATE // 2], 60)[:-20].std() > 15
