"""Notes go the ways of a file's gestures: each from its note-on, the same in any blocks, as far as a preset says."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.events import ControlChange, NoteOff, NoteOn
from timbrel.host.model.gesture import Gestures
from timbrel.host.play import events as event_processor
from timbrel.host.play.blended_trajectory import TrajectoryBlender
from timbrel.host.play.rack import Rack
from timbrel.host.play.synthesis import Synthesis
from timbrel.host.play.trajectory import Gesture, GestureGrid, TrajectoryPace
from timbrel.host.play.voices import PARTS
from timbrel.host.preset.library import Patch

from .gestures import HOP, RATE, WANDER, gestures, note

TUNE = [
    NoteOn(100, 0, 60, 100),
    NoteOn(3000, 0, 67, 40),
    NoteOff(9000, 0, 60),
    NoteOn(9500, 0, 60, 127),
    NoteOff(14_001, 0, 67),
    NoteOff(20_000, 0, 60),
]
COUNT = 30_000


def level(sound, at, width=220):
    return 10 * np.log10(np.mean(np.square(sound[at : at + width], dtype=np.float64)))


def test_of_a_note_that_is_held_for_long_what_has_passed_is_dropped(make_instrument, play, moving, every_hop):
    instrument = make_instrument(RATE, model=moving)
    play(instrument, [NoteOn(0, 0, 60, 100)], 20 * RATE, [512])
    (voice,) = instrument._processor.voices
    assert len(voice.gesture._codes) < 20  # of 1722 hops


def test_a_note_rises_as_its_gesture_does_from_its_note_on(make_instrument, play, gestured):
    flat = gestured(gestures(note(codes=[[0.0, 0.0], [0.0, 0.0]])))
    plain = gestured(gestures(note(levels=[0.0] * 4, codes=[[0.0, 0.0], [0.0, 0.0]])))
    for on in (0, 777, 12_345):
        ours, even = (play(make_instrument(RATE, m), [NoteOn(on, 0, 60, 100)], on + 9000).sum(0) for m in (flat, plain))
        for seconds in (0.02, 0.05, 0.08, 0.15):
            at = on + round(seconds * RATE)
            middle = seconds + 110 / RATE
            asked = min(0.0, -40 + 400 * middle)
            assert level(ours, at) - level(even, at) == pytest.approx(asked, abs=0.5)


def test_a_note_is_let_go_as_its_gesture_is_and_ends(make_instrument, play, gestured):
    model = gestured(gestures(note(codes=[[0.0, 0.0]] * 2, release_codes=[[0.0, 0.0]] * 2)))
    off = 8000
    sound = play(make_instrument(RATE, model), [NoteOn(0, 0, 60, 100), NoteOff(off, 0, 60)], off + RATE).sum(0)
    held = level(sound, off - 400, 400)
    for seconds in (0.05, 0.1, 0.2):
        at = off + round(seconds * RATE)
        asked = -200 * (seconds + 0.005)
        closing = 20 * np.log10(1 - seconds / 0.3) / 4
        assert level(sound, at) - held == pytest.approx(asked + closing, abs=1.0)
    assert not sound[off + round(0.301 * RATE) :].any()


def test_a_release_of_the_preset_takes_the_place_of_the_gestures(make_instrument, play, gestured):
    events = [NoteOn(0, 0, 60, 100), NoteOff(8000, 0, 60)]
    sound = play(make_instrument(RATE, gestured(), envelope={"release_seconds": 0.05}), events, 16_000).sum(0)
    assert sound[8000 + round(0.03 * RATE) :].any()
    assert not sound[8000 + round(0.051 * RATE) :].any()


def test_an_attack_of_the_preset_is_heard_beside_the_gestures(make_instrument, play, gestured):
    even = gestured(gestures(note(levels=[0.0] * 4, codes=[[0.0, 0.0]] * 2)))
    slow, own = (
        play(make_instrument(RATE, even, envelope=envelope), [NoteOn(0, 0, 60, 100)], 9000).sum(0)
        for envelope in ({"attack_seconds": 0.2}, {})
    )
    assert level(slow, 2205) - level(own, 2205) == pytest.approx(20 * np.log10(0.525), abs=0.2)


def test_no_gesture_is_the_plain_model_to_the_byte(make_instrument, play, gestured, moving, tiny):
    plain = play(make_instrument(RATE, tiny()), TUNE, COUNT)
    envelope = {"attack_seconds": 0.005, "release_seconds": 0.2}
    for settings in ({"amount": 0.0}, {"codes": 0.0, "loudness": 0.0}):
        for model in (gestured(), moving):
            none = play(make_instrument(RATE, model, gesture=settings, envelope=envelope), TUNE, COUNT)
            assert np.array_equal(none, plain)
            bare = play(make_instrument(RATE, model, gesture=settings), TUNE, COUNT)
            assert np.array_equal(bare, plain)


@pytest.mark.parametrize("mode", ["poly", "mono", "chord"])
@pytest.mark.parametrize("sizes", [[1, 7, 64, 128], [4096], [16_384], [333]])
@pytest.mark.parametrize("phase", ["coherent", "noise"])
def test_any_division_into_blocks_gives_the_same_bytes(make_instrument, play, moving, mode, sizes, phase):
    keys = {"play": {"mode": mode, "phase": phase}, "gesture": {"loudness": 0.7}}
    whole = play(make_instrument(RATE, moving, **keys), TUNE, COUNT)
    assert np.array_equal(play(make_instrument(RATE, moving, **keys), TUNE, COUNT, sizes), whole)


def test_processes_that_share_voices_give_the_same_bytes(make_patch, moving):
    def parts(which):
        engine, made = event_processor.engine_and_processor(make_patch(moving))
        return Synthesis(engine, made, parts=which).sums(TUNE, 16_000)

    whole, apart = parts(range(PARTS)), [parts([number]) for number in range(PARTS)]
    for number in range(PARTS):
        for part, sound in apart[number].items():
            assert np.array_equal(sound, whole[part])


def test_rate_is_how_many_times_as_fast(gestured, make_patch):
    def way(**settings):
        _, made = event_processor.engine_and_processor(make_patch(gestured(), gesture=settings))
        made.apply(NoteOn(0, 0, 60, 100))
        return next(iter(made.voices)).gesture

    whole, twice = way(), way(rate=2.0)
    at = round(0.05 * RATE)
    assert 20 * np.log10(whole.gain(at, 1)[0]) == pytest.approx(-20, abs=0.1)
    assert 20 * np.log10(twice.gain(at // 2, 1)[0]) == pytest.approx(-20, abs=0.1)
    assert twice.release(9000, 100)[0] == pytest.approx(whole.release(9000, 100)[0] / 2, abs=1)


@pytest.mark.parametrize(("velocity", "length"), [(40, 0.5), (64, 0.5), (82, 0.75), (100, 1.0), (127, 1.0)])
def test_a_release_lasts_as_long_as_its_velocity_says(gestured, make_instrument, make_patch, play, velocity, length):
    """The recorded note has velocity 100; the soft one's length is half of its release's, on a line between."""

    def fields(lengths):
        made = gestures(note(codes=[[0.0, 0.0]] * 2, release_codes=[[0.0, 0.0]] * 2))
        made["instruments"][0]["release_lengths"] = lengths
        return gestured(made)

    def way(lengths):
        _, made = event_processor.engine_and_processor(make_patch(fields(lengths)))
        made.apply(NoteOn(0, 0, 60, velocity))
        return next(iter(made.voices)).gesture

    own, usual = way([(64, 0.5), (100, 1.0)]), way([])
    samples = own.release(9000, 100)[0]
    assert samples == pytest.approx(length * usual.release(9000, 100)[0], abs=1)
    for part in (0.2, 0.7):
        at, usual_at = 9000 + round(part * samples), 9000 + round(part * samples / length)
        assert own.gain(at, 1)[0] == pytest.approx(usual.gain(usual_at, 1)[0], rel=0.02)
    events = [NoteOn(0, 0, 60, velocity), NoteOff(8000, 0, 60)]
    sound = play(make_instrument(RATE, fields([(64, 0.5), (100, 1.0)])), events, 16_000).sum(0)
    end = 8000 + round(0.3 * length * RATE)
    assert sound[end - round(0.01 * RATE)].any()
    assert not sound[end + round(0.001 * RATE) :].any()


def test_a_soft_note_that_was_recorded_has_its_own_release(gestured, make_patch):
    made = gestures(note(), note(velocity=64, release_levels=[0.0, -40.0, -120.0]))
    made["instruments"][0]["release_lengths"] = [(64, 0.5), (100, 1.0)]
    for velocity, seconds in ((64, 0.15), (100, 0.3)):
        _, processor = event_processor.engine_and_processor(make_patch(gestured(made)))
        processor.apply(NoteOn(0, 0, 60, velocity))
        samples = next(iter(processor.voices)).gesture.release(9000, 100)[0]
        assert samples / RATE == pytest.approx(seconds, rel=0.05)


def test_what_rings_falls_on(gestured, make_patch):
    fields = gestures(note(fall_db_second=30.0, release_levels=[], release_codes=[]))
    _, made = event_processor.engine_and_processor(make_patch(gestured(fields)))
    made.apply(NoteOn(0, 0, 60, 100))
    [voice] = made.voices
    fallen = 20 * np.log10(voice.gesture.gain(round(2.5 * RATE), 1)[0])
    assert fallen == pytest.approx(-60, abs=0.1)
    assert voice.gesture.release(3 * RATE, 4410) == (4410, False)  # the preset's own release


@pytest.mark.parametrize("key", [60, 64])
@pytest.mark.parametrize("intonation", [0.0, 0.5, 1.0])
def test_notes_are_as_far_off_their_keys_as_asked_from_in_tune_to_as_recorded(make_patch, gestured, intonation, key):
    model = gestured(gestures(note(key=60.4), note(key=63.7)))
    _, made = event_processor.engine_and_processor(make_patch(model, gesture={"intonation": intonation}))
    made.apply(NoteOn(100, 0, key, 100))
    voices = list(made.voices)
    off = {60: 0.4, 64: -0.3}[key]
    found = made.motion_of(voices).bend_semitones([0], np.array([500]))
    assert found[0] == pytest.approx(intonation * off, abs=0.01)


def test_intonation_is_heard_without_ways(make_patch, gestured):
    settings = {"amount": 0.0, "intonation": 1.0}
    _, made = event_processor.engine_and_processor(make_patch(gestured(gestures(note(key=60.4))), gesture=settings))
    made.apply(NoteOn(100, 0, 60, 100))
    assert made.motion_of(list(made.voices)).bend_semitones([0], np.array([500]))[0] == pytest.approx(0.4)


def test_knobs_turn_gestures_of_notes_to_come(make_instrument, play, gestured):
    turned = [{"number": 20, "target": "gesture.amount", "low": 0.0, "high": 1.0}]
    instrument = make_instrument(RATE, gestured(), cc=turned)
    sound = play(instrument, [ControlChange(0, 0, 20, 0), NoteOn(10, 0, 60, 100)], 4000).sum(0)
    plain = play(make_instrument(RATE, gestured(), gesture={"amount": 0.0}), [NoteOn(10, 0, 60, 100)], 4000).sum(0)
    assert np.array_equal(sound, plain)


@pytest.mark.parametrize("notes", [[], TUNE[:1]])
def test_gestures_may_come_in_while_frames_are_prepared_for_notes_to_come(make_instrument, gestured, notes):
    turned = [{"number": 20, "target": "gesture.amount", "low": 0.0, "high": 1.0}]
    for block in range(1, 20):  # within a hop of 256, whose frames are decoded a few classes at a time
        instrument = make_instrument(RATE, gestured(), cc=turned, gesture={"amount": 0.0})
        instrument.schedule([*notes, ControlChange(512 + 8 * block, 0, 20, 127)], 2000)
        blocks = []
        for _ in range(200):
            blocks.append(instrument.read(8))
            instrument.prepare()
        sound = np.concatenate(blocks, axis=1)
        assert sound.any() == bool(notes)


def test_a_rack_of_gestures_is_the_same_in_two_processes(make_patch, moving):
    sounds = []
    for processes in (1, 2):
        with contextlib.closing(Rack({0: make_patch(moving)}, RATE, processes)) as rack:
            rack.schedule(TUNE, COUNT)
            sounds.append(np.concatenate([rack.process([], 3000)[0] for _ in range(10)], axis=1))
    assert sounds[0].any()
    assert np.array_equal(*sounds)


@given(st.integers(1, 100), st.integers(0, 10), st.integers(0, 30_000), st.lists(st.integers(1, 5000), min_size=1))
def test_gains_are_finite_and_the_same_however_they_are_asked_for(speed, loudness, off, sizes):
    made = Gestures.model_validate(gestures(note(), wander=WANDER | {"level_db": 3.0}))
    mix = TrajectoryBlender(made, np.full(2, 0.5), np.ones(2)).mix(60, 100)
    whole, parts = (
        Gesture(
            5,
            mix,
            GestureGrid.of(made, np.eye(2), np.zeros((0, 1))),
            TrajectoryPace(1.0, loudness / 10, speed / 10, 0.0, 0.0, RATE, HOP, 512, True, True),
            3,
        )
        for _ in range(2)
    )
    assert whole.release(off, 4000) == parts.release(off, 4000)
    total = sum(sizes)
    asked = np.broadcast_to(whole.gain(0, total), total)
    at, given_ = 0, []
    for size in sizes:
        given_.append(np.broadcast_to(parts.gain(at, size), size))
        at += size
    assert np.array_equal(np.concatenate(given_), asked)
    assert np.isfinite(asked).all()


def test_a_preset_for_gestures_that_there_are_none_of_says_so(tiny_path, tmp_path):
    from timbrel.host.preset.library import open_patch

    preset = tmp_path / "a.toml"
    preset.write_text(f'format = 1\nmodel = "{tiny_path()}"\n[gesture]\namount = 0.5\n', encoding="utf-8")
    patch = open_patch(str(preset))
    assert isinstance(patch, Patch)
    assert any("[gesture]" in line and "has no gestures" in line for line in patch.warnings)
