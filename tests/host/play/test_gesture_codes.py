"""The codes of notes go the ways of a file's gestures, from the knobs and within the spans, and back."""

import numpy as np
import pytest
from timbrel.host.engines.spectrum.beginnings import RESTED
from timbrel.host.events import ControlChange, NoteOff, NoteOn
from timbrel.host.model.model import Model
from timbrel.host.play import events, trajectory
from timbrel.host.play.blended_trajectory import TrajectoryBlender
from timbrel.host.play.gestures import decibels
from timbrel.host.play.trajectory import Gesture, GestureGrid, TrajectoryPace

from .gestures import HOP, MOVING, RATE, gestures


def test_codes_go_their_way_from_the_knobs_within_the_spans(make_patch, gestured, every_hop):
    patch = make_patch(gestured(), latent={"values": [0.75, 0.2]})
    _, made = events.engine_and_processor(patch)
    made.apply(NoteOn(0, 0, 60, 100))
    [voice] = made.voices
    motion = made.motion_of([voice])
    lead = 256 + 256  # as far back as the engine reads its knobs
    for hop in (0, 4, 9, 15, 16, 300):
        part = min((hop * HOP + lead) / RATE / 0.2, 1.0)
        asked = [0.95 - 0.3 * part, 0.2 + 0.1 * part]
        assert motion.latents([0], np.array([hop * HOP]))[0] == pytest.approx(asked, abs=1e-6)
    brighter, _ = make_patch(gestured(), latent={"values": [1.0, 0.2]}), None
    _, made = events.engine_and_processor(brighter)
    made.apply(NoteOn(0, 0, 60, 100))
    assert made.motion_of(list(made.voices)).latents([0], np.array([-lead]))[0][0] == 1.0


def test_a_way_is_read_from_before_its_note_while_knobs_are_not(make_patch, gestured, every_hop):
    patch = make_patch(gestured(), latent={"values": [0.75, 0.2]})
    _, made = events.engine_and_processor(patch)
    made.apply(NoteOn(8 * HOP, 0, 60, 100))
    motion = made.motion_of(list(made.voices))
    lead = 256 + 256
    for hop, seconds in ((3, 0.0), (6, 0.0), (7, (lead - HOP) / RATE), (8, lead / RATE)):
        part = seconds / 0.2
        [found] = motion.latents([0], np.array([8 * HOP]), np.array([hop * HOP]))
        assert found == pytest.approx([0.95 - 0.3 * part, 0.2 + 0.1 * part], abs=1e-6)


def test_a_note_off_leads_the_code_along_the_release(make_patch, gestured, every_hop):
    _, made = events.engine_and_processor(make_patch(gestured()))
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


def test_a_note_that_is_held_wanders_and_never_comes_back(gestured, make_patch, every_hop):
    model = gestured(gestures(wander=MOVING))
    _, made = events.engine_and_processor(make_patch(model))
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
        made.release(300 * HOP + 7, 1000)
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
        _, made = events.engine_and_processor(make_patch(gestured(), gesture=settings))
        assert made.motion_of([]).own_codes == own
        made.apply(NoteOn(0, 0, 60, 100))
        assert made.motion_of(list(made.voices)).own_codes == own
    turned = [{"number": 20, "target": "gesture.amount", "low": 0.0, "high": 1.0}]
    _, made = events.engine_and_processor(make_patch(gestured(), cc=turned))
    made.apply(NoteOn(0, 0, 60, 100))
    made.apply(ControlChange(10, 0, 20, 0))
    assert made.motion_of(list(made.voices)).own_codes  # the note goes on as it began


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
