"""Notes go the ways of a file's gestures: each from its note-on, the same in any blocks, as far as a preset says."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.contract.gesture import Gestures
from timbrel.host.contract.model import Model
from timbrel.host.events import ControlChange, NoteOff, NoteOn
from timbrel.host.kinds.spectrum.engine import RESTED
from timbrel.host.patch.library import Patch
from timbrel.host.play import event_processor
from timbrel.host.play.gestures import trajectory
from timbrel.host.play.gestures.blend import TrajectoryBlender
from timbrel.host.play.gestures.code_distance import decibels
from timbrel.host.play.gestures.trajectory import Gesture, GestureGrid, TrajectoryPace
from timbrel.host.play.rack import Rack
from timbrel.host.play.synthesis import Synthesis
from timbrel.host.play.voice_allocation import PARTS

from .gestures import WANDER, gestures, note, with_gestures

RATE, HOP = 22050, 256
MOVING = {"level_db": 2.0, "level_hz": 6.0, "codes": [0.05, 0.05], "codes_hz": [3.0, 5.0]}
TUNE = [
    NoteOn(100, 0, 60, 100),
    NoteOn(3000, 0, 67, 40),
    NoteOff(9000, 0, 60),
    NoteOn(9500, 0, 60, 127),
    NoteOff(14_001, 0, 67),
    NoteOff(20_000, 0, 60),
]
COUNT = 30_000


@pytest.fixture(scope="module")
def gestured(tiny_path, tmp_path_factory):
    """A function that opens the smallest model with gestures."""
    folder, made = tmp_path_factory.mktemp("gestured"), []

    def model(fields=None):
        made.append(with_gestures(tiny_path(), folder / f"{len(made)}.onnx", fields or gestures()))
        return made[-1]

    return model


@pytest.fixture(scope="module")
def moving(gestured):
    return gestured(gestures(note(), note(67.0, 40, code=[0.2, 0.7], levels=[-20.0, -3.0, 0.0, -4.0]), wander=MOVING))


@pytest.fixture
def every_hop(monkeypatch):
    """Have codes follow their ways in each hop, however little is heard of it."""
    monkeypatch.setattr(trajectory, "STILL_DB", 0.0)


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


def test_codes_go_their_way_from_the_knobs_within_the_spans(make_patch, gestured, every_hop):
    patch = make_patch(gestured(), latent={"values": [0.75, 0.2]})
    _, made = event_processor.engine_and_processor(patch)
    made.apply(NoteOn(0, 0, 60, 100))
    [voice] = made.voices
    motion = made.motion_of([voice])
    lead = 256 + 256  # as far back as the engine reads its knobs
    for hop in (0, 4, 9, 15, 16, 300):
        part = min((hop * HOP + lead) / RATE / 0.2, 1.0)
        asked = [0.95 - 0.3 * part, 0.2 + 0.1 * part]
        assert motion.latents([0], np.array([hop * HOP]))[0] == pytest.approx(asked, abs=1e-6)
    brighter, _ = make_patch(gestured(), latent={"values": [1.0, 0.2]}), None
    _, made = event_processor.engine_and_processor(brighter)
    made.apply(NoteOn(0, 0, 60, 100))
    assert made.motion_of(list(made.voices)).latents([0], np.array([-lead]))[0][0] == 1.0


def test_a_way_is_read_from_before_its_note_while_knobs_are_not(make_patch, gestured, every_hop):
    patch = make_patch(gestured(), latent={"values": [0.75, 0.2]})
    _, made = event_processor.engine_and_processor(patch)
    made.apply(NoteOn(8 * HOP, 0, 60, 100))
    motion = made.motion_of(list(made.voices))
    lead = 256 + 256
    for hop, seconds in ((3, 0.0), (6, 0.0), (7, (lead - HOP) / RATE), (8, lead / RATE)):
        part = seconds / 0.2
        [found] = motion.latents([0], np.array([8 * HOP]), np.array([hop * HOP]))
        assert found == pytest.approx([0.95 - 0.3 * part, 0.2 + 0.1 * part], abs=1e-6)


def test_a_key_is_played_no_softer_and_no_louder_than_those_around_it_were(make_patch, gestured):
    low = [note(60.0 + i % 2, 40 + 20 * (i % 2), code=[0.1 * i, 0.5]) for i in range(8)]
    high = [note(70.0 + i, 127, code=[0.5, 0.9]) for i in range(8)]
    _, made = event_processor.engine_and_processor(make_patch(gestured(gestures(*low, *high))))
    ways = made._gesturing._ways
    assert ways.mix(61, 127).offset[1] == pytest.approx(0.0, abs=1e-3)  # no high note's
    assert ways.mix(75, 127).offset[1] == pytest.approx(0.4, abs=1e-3)


def test_a_note_off_leads_the_code_along_the_release(make_patch, gestured, every_hop):
    _, made = event_processor.engine_and_processor(make_patch(gestured()))
    made.apply(NoteOn(0, 0, 60, 100))
    made.apply(NoteOff(8000, 0, 60))
    motion = made.motion_of(list(made.voices))
    before, after = motion.latents([0, 0], np.array([31 * HOP, 57 * HOP]))
    assert before == pytest.approx([0.4, 0.6])
    assert after == pytest.approx([0.2, 0.5])
    joined, along = 0.1, (8192 - 8000 + 2 * HOP) / RATE  # as it is read, so far ahead is it heard
    [leaving] = motion.latents([0], np.array([8192]))
    released = np.array([0.4, 0.6]) + along / 0.2 * np.array([-0.2, -0.1])
    assert leaving == pytest.approx(released, abs=1e-6)
    assert joined > along


PLACES = [(60, 110), (60, 30), (90, 110)]


def test_the_nearest_notes_in_key_and_velocity_are_blended(make_patch, gestured):
    loud, soft = note(velocity=110, code=[0.9, 0.5]), note(velocity=30, code=[0.1, 0.5])
    high = note(90.0, 110, code=[0.5, 0.9])
    _, made = event_processor.engine_and_processor(make_patch(gestured(gestures(loud, soft, high))))
    for key, velocity in ((60, 110), (60, 30), (60, 70), (90, 110), (75, 110), (61, 104)):
        apart = [((place - key) / 1.5) ** 2 + ((speed - velocity) / 6) ** 2 for place, speed in PLACES]
        weights = 1 / (np.array(apart) + 1e-3)  # as of Shepard's inverse squares
        offset = weights @ np.array([[0.4, 0.0], [-0.4, 0.0], [0.0, 0.4]]) / weights.sum()
        assert made._gesturing._ways.mix(key, velocity).offset == pytest.approx(offset, abs=1e-9)


def test_a_release_is_blended_of_notes_that_were_not_cut_off(make_patch, gestured):
    whole = note(64.0, release_levels=[0.0, -30.0, -90.0], release_codes=[[0.3, 0.0], [0.1, 0.2]])
    _, made = event_processor.engine_and_processor(
        make_patch(gestured(gestures(note(release_levels=[], release_codes=[]), whole)))
    )
    mix = made._gesturing._ways.mix(60, 100)
    assert mix.release_levels == pytest.approx([0.0, -30.0, -90.0])
    assert mix.release_codes == pytest.approx(np.array([[0.3, 0.0], [0.1, 0.2]]))


def test_a_key_plays_the_note_of_its_velocity(make_patch, gestured):
    loud, soft = note(velocity=110, code=[0.9, 0.5]), note(velocity=30, code=[0.1, 0.5])
    for velocity, asked in ((110, 0.4), (30, -0.4)):
        _, made = event_processor.engine_and_processor(make_patch(gestured(gestures(loud, soft))))
        made.apply(NoteOn(0, 0, 60, velocity))
        [voice] = made.voices
        assert voice.gesture.code(RATE)[0] == pytest.approx(asked - 0.1, abs=0.01)  # at its way's end, 0.1 lower


def test_the_instrument_is_that_whose_home_is_nearest_to_the_preset(make_patch, gestured):
    homes = {"dark": [0.2, 0.5], "bright": [0.8, 0.5]}
    fields = gestures(instruments=[{"label": name, "home": at, "notes": [note(code=at)]} for name, at in homes.items()])
    for values in ([0.25, 0.4], [0.7, 0.6]):
        _, made = event_processor.engine_and_processor(make_patch(gestured(fields), latent={"values": values}))
        assert made._gesturing._ways.mix(60, 100).offset == pytest.approx([0.0, 0.0])


def test_a_preset_names_the_instrument_whose_ways_its_notes_go(tmp_path, gestured):
    from timbrel.host.errors import UserError
    from timbrel.host.patch.library import open_patch

    rises = {"Oboe": [-40.0, 0.0, 0.0, 0.0], "Banjo": [0.0, -20.0, -30.0, -40.0]}
    model = gestured(
        gestures(instruments=[{"label": one, "home": [0.5, 0.5], "notes": [note(levels=rises[one])]} for one in rises])
    )
    preset = tmp_path / "a.toml"

    def levels(name):
        preset.write_text(f'format = 1\nmodel = "{model.path}"\n[gesture]\ninstrument = "{name}"\n', encoding="utf-8")
        _, made = event_processor.engine_and_processor(open_patch(str(preset)))
        return made._gesturing._ways.mix(60, 100).levels.tolist()

    assert {name: levels(name) for name in rises} == rises
    with pytest.raises(UserError, match=r"line 4: gesture.instrument 'Obo' is none of those .* did you mean 'Oboe'"):
        levels("Obo")


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


def test_a_note_that_is_held_wanders_and_never_comes_back(gestured, make_patch, every_hop):
    model = gestured(gestures(wander=MOVING))
    _, made = event_processor.engine_and_processor(make_patch(model))
    made.apply(NoteOn(0, 0, 60, 100))
    [voice] = made.voices
    seconds = np.arange(1.0, 120.0, 0.02)
    codes = np.array([voice.gesture.code(round(at * RATE / HOP) * HOP) for at in seconds]) - [-0.1, 0.1]
    assert codes.std(0) == pytest.approx([0.05, 0.05], rel=0.15)
    swing = 20 * np.log10([voice.gesture.gain(round(at * RATE), 1)[0] for at in seconds])
    assert swing.std() == pytest.approx(2.0, rel=0.15)
    for column in (*codes.T, swing):
        spectrum = np.abs(np.fft.rfft(column - column.mean(), 2 * len(column))) ** 2
        again = np.fft.irfft(spectrum)[: len(column) // 2]
        assert again[50:].max() < 0.95 * again[0]  # no second is like another
    made.apply(NoteOn(0, 0, 60, 100))
    other = list(made.voices)[-1]
    assert not np.allclose(other.gesture.code(400 * HOP), voice.gesture.code(400 * HOP))


def test_a_code_stays_until_its_way_is_heard_to_have_gone_on(moving):
    common = GestureGrid.of(moving.gestures, decibels(moving, np.array([[0.5, 0.5]])), np.zeros((0, 1)))
    hops = np.arange(400) * HOP

    def gesture():
        mix = TrajectoryBlender(moving.gestures, np.full(2, 0.5), np.ones(2)).mix(62, 80)
        made = Gesture(700, mix, common, TrajectoryPace(1.0, 1.0, 1.0, 0.0, 0.0, RATE, HOP, 512, True, True), 3)
        made.let_go(300 * HOP + 7, 1000)
        return made

    exact, codes = gesture()._codes_at(hops), np.array([gesture().code(hop) for hop in hops])
    away = np.linalg.norm((codes - exact)[2:] @ common.decibels, axis=1)
    assert 0.25 * trajectory.STILL_DB < away.max() < trajectory.STILL_DB
    turned = np.any(np.diff(codes, axis=0) != 0, axis=1)
    assert 20 < turned.sum() < 300
    assert turned[300:310].any()  # as it is let go
    asked = gesture()  # hop by hop; above each hop was asked for alone
    assert np.array_equal([asked.code(hop) for hop in hops], codes)
    last = int(np.flatnonzero(turned)[-1])  # the hop before it goes on for the last time
    asked.forget(last * HOP)
    assert np.array_equal([asked.code(hop) for hop in hops[last:]], codes[last:])


def test_distances_of_codes_are_those_of_their_spectra_in_decibels(moving):
    code, rng = np.array([0.5, 0.4]), np.random.default_rng(0)
    apart = decibels(moving, code[np.newaxis])
    for _ in range(8):
        step = 0.01 * rng.normal(size=2)
        frames = moving.decode(np.array([code, code + step], np.float32), np.zeros(2, np.intp))
        heard = frames[0] > 1e-3 * frames[0].max()
        levels = 20 * np.log10(frames[:, heard])
        assert np.linalg.norm(step @ apart) == pytest.approx(
            np.sqrt(np.mean(np.square(levels[1] - levels[0]))), rel=0.1
        )


def test_voices_without_a_gesture_of_codes_share_their_knobs(make_patch, gestured):
    for settings, own in (({}, True), ({"codes": 0.0}, False), ({"amount": 0.0}, False)):
        _, made = event_processor.engine_and_processor(make_patch(gestured(), gesture=settings))
        assert made.motion_of([]).own_codes == own
        made.apply(NoteOn(0, 0, 60, 100))
        assert made.motion_of(list(made.voices)).own_codes == own
    turned = [{"number": 20, "target": "gesture.amount", "low": 0.0, "high": 1.0}]
    _, made = event_processor.engine_and_processor(make_patch(gestured(), cc=turned))
    made.apply(NoteOn(0, 0, 60, 100))
    made.apply(ControlChange(10, 0, 20, 0))
    assert made.motion_of(list(made.voices)).own_codes  # the note goes on as it began


def test_rate_is_how_many_times_as_fast(gestured, make_patch):
    def way(**settings):
        _, made = event_processor.engine_and_processor(make_patch(gestured(), gesture=settings))
        made.apply(NoteOn(0, 0, 60, 100))
        return next(iter(made.voices)).gesture

    whole, twice = way(), way(rate=2.0)
    at = round(0.05 * RATE)
    assert 20 * np.log10(whole.gain(at, 1)[0]) == pytest.approx(-20, abs=0.1)
    assert 20 * np.log10(twice.gain(at // 2, 1)[0]) == pytest.approx(-20, abs=0.1)
    assert twice.let_go(9000, 100)[0] == pytest.approx(whole.let_go(9000, 100)[0] / 2, abs=1)


def test_what_rings_falls_on(gestured, make_patch):
    fields = gestures(note(fall_db_second=30.0, release_levels=[], release_codes=[]))
    _, made = event_processor.engine_and_processor(make_patch(gestured(fields)))
    made.apply(NoteOn(0, 0, 60, 100))
    [voice] = made.voices
    fallen = 20 * np.log10(voice.gesture.gain(round(2.5 * RATE), 1)[0])
    assert fallen == pytest.approx(-60, abs=0.1)
    assert voice.gesture.let_go(3 * RATE, 4410) == (4410, False)  # the preset's own release


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


@pytest.mark.parametrize("place", range(0, HOP, 50))
@pytest.mark.parametrize("phase", ["coherent", "noise"])
def test_a_chord_after_silence_finds_decoded_what_its_ways_begin_with(
    make_instrument, moving, every_hop, monkeypatch, phase, place
):
    instrument, decoded, decode = make_instrument(RATE, moving, play={"phase": phase}), [], Model.decode
    for _ in range(400):
        instrument.read(32)
        instrument.prepare()
    instrument.read(place)
    monkeypatch.setattr(Model, "decode", lambda *asked: decoded.append(asked) or decode(*asked))
    now = 400 * 32 + place  # fifty hops
    instrument.schedule([NoteOn(now + 20, 0, key, 100) for key in (28, 40, 60, 64, 91)], now + 50)
    instrument.read(50)
    assert not decoded
    instrument.schedule([NoteOn(now + 50, 0, 60, 30)], now + 100)  # nobody could know how softly it would be played
    instrument.read(50)
    assert decoded


def test_what_ways_begin_with_is_prepared_once_knobs_have_stood_and_never_while_they_move(
    make_instrument, moving, monkeypatch
):
    turned = [{"number": 20, "target": "latent.0", "low": 0.0, "high": 1.0}]
    instrument, rows, decode = make_instrument(RATE, moving, cc=turned), [], Model.decode
    monkeypatch.setattr(
        Model, "decode", lambda self, latent, *given: rows.append(len(latent)) or decode(self, latent, *given)
    )
    for block in range(160):  # twenty hops, in each of which the knob moves
        if block % 4 == 0:
            instrument.schedule([ControlChange(32 * block, 0, 20, block // 2 + 1)], 32 * block + 32)
        instrument.read(32)
        instrument.prepare()
    assert not rows
    for _ in range(8 * RESTED + 120):
        instrument.read(32)
        instrument.prepare()
    assert sum(rows) > 24


def test_codes_of_a_way_begin_at_one_of_four_moments_of_a_hop(gestured, every_hop):
    model = gestured()
    ways, common = (
        TrajectoryBlender(model.gestures, np.full(2, 0.5), np.ones(2)),
        GestureGrid.of(model.gestures, np.eye(2), np.zeros((0, 1))),
    )
    pace, mix = TrajectoryPace(1.0, 1.0, 1.0, 0.0, 0.0, RATE, HOP, 2 * HOP, True, True), ways.mix(60, 100)
    hops = range(30 * HOP, 40 * HOP, HOP)
    codes = [[Gesture(on, mix, common, pace, 1).code(time).tolist() for time in hops] for on in range(7000, 7000 + HOP)]
    begun = [7000 + place for place in range(HOP) if place == 0 or codes[place] != codes[place - 1]]
    assert begun[1:] == [on for on in range(7001, 7000 + HOP) if on % (HOP // 4) == HOP // 8]
    exact = np.array(codes[begun[1] + HOP // 8 - 7000])  # of a note in the middle of its moment, as recorded
    seconds = (np.array(hops) - (begun[1] + HOP // 8) + 2 * HOP) / RATE
    expected = np.interp(seconds, [0.0, 0.2], [0.2, -0.1])
    np.testing.assert_allclose(exact[:, 0], expected, atol=1e-9)


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
    assert whole.let_go(off, 4000) == parts.let_go(off, 4000)
    total = sum(sizes)
    asked = np.broadcast_to(whole.gain(0, total), total)
    at, given_ = 0, []
    for size in sizes:
        given_.append(np.broadcast_to(parts.gain(at, size), size))
        at += size
    assert np.array_equal(np.concatenate(given_), asked)
    assert np.isfinite(asked).all()


def test_a_preset_for_gestures_that_there_are_none_of_says_so(tiny_path, tmp_path):
    from timbrel.host.patch.library import open_patch

    preset = tmp_path / "a.toml"
    preset.write_text(f'format = 1\nmodel = "{tiny_path()}"\n[gesture]\namount = 0.5\n', encoding="utf-8")
    patch = open_patch(str(preset))
    assert isinstance(patch, Patch)
    assert any("[gesture]" in line and "has no gestures" in line for line in patch.warnings)
