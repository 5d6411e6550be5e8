"""Notes move in bands as their recordings did, one take unlike the next, the same in any blocks and each time."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper
from timbrel.host.contract.gesture import GESTURE_KEY, Gestures, packed
from timbrel.host.contract.model import Model
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.play.gestures.blend import OPENING, TrajectoryBlender
from timbrel.host.play.gestures.trajectory import Gesture, GestureGrid, TrajectoryPace
from timbrel.host.shipped import MODELS

from .gestures import banded, note, residual

RATE, HOP, AHEAD = 10_000, 100, 50
STEP = 100  # samples between moments
RISING = np.outer(np.arange(40), [0.0, 0.5, -0.5])  # dB: 20 after 40 moments


def gesture(fields, velocity=100, pitch=60, on=1000, variety=0.0, note=1, codes=1.0, speed=1.0):
    made = Gestures.model_validate(fields)
    ways = TrajectoryBlender(made, np.full(2, 0.5), np.ones(2))
    common = GestureGrid.of(made, np.eye(2), ways.takes)
    pace = TrajectoryPace(codes, 1.0, speed, 0.0, variety, RATE, HOP, 200, True, True)
    return Gesture(on, ways.mix(pitch, velocity), common, pace, note)


def gains(made, moments, on=1000):
    """Gains at moments after a note-on."""
    return np.array([made.band_gains(on + STEP * moment - AHEAD, AHEAD) for moment in moments])


def test_a_note_has_its_recordings_mean_and_movement():
    made = gesture(banded(note(residual=residual([3.0, 0.0, -2.0], RISING))))
    assert made.bands == 3
    assert gains(made, range(40)) == pytest.approx(np.array([3.0, 0.0, -2.0]) + RISING)
    assert gains(made, [-9, -1]) == pytest.approx(np.array([[3.0, 0.0, -2.0]] * 2))
    half = gesture(banded(note(residual=residual([3.0, 0.0, -2.0], RISING))), codes=0.5)
    assert gains(half, [20]) == pytest.approx(gains(made, [20]) / 2)
    twice = gesture(banded(note(residual=residual([3.0, 0.0, -2.0], RISING))), speed=2.0)
    assert gains(twice, [10]) == pytest.approx(gains(made, [20]))


def test_a_note_that_is_held_for_longer_goes_back_and_forth():
    made = gesture(banded(note(residual=residual([0.0] * 3, RISING))))
    found = gains(made, range(400))[:, 1]
    back = 39 - round(0.25 * 39)
    assert found[39 : 39 + back + 1] == pytest.approx(RISING[39 - back :, 1][::-1])
    assert found[39 + back : 39 + 2 * back + 1] == pytest.approx(RISING[39 - back :, 1])
    assert np.abs(np.diff(found)).max() == pytest.approx(0.5)
    for few in (0, 1, 2, OPENING):
        short = gains(gesture(banded(note(residual=residual([1.0] * 3, RISING[:few])))), range(30))
        assert short == pytest.approx(np.ones((30, 3)) + RISING[np.minimum(np.arange(30), max(few - 1, 0))])


def test_a_release_moves_as_recorded_from_the_first_frame_after_it():
    released = packed(np.array([0, 8, 0, 0, 16, 0], np.int8))
    made = gesture(banded(note(residual=residual([1.0] * 3, RISING), release_residual=released)))
    made.let_go(2000, 1000)
    assert made.band_gains(1999, 0) == pytest.approx([1.0, 1.0 + RISING[10, 1], 1.0 + RISING[10, 2]])
    assert made.band_gains(2000, 0) == pytest.approx([1.0, 5.0, 1.0])
    assert made.band_gains(2000 + STEP, 0) == pytest.approx([1.0, 9.0, 1.0])
    assert made.band_gains(2000 + 90 * STEP, 0) == pytest.approx([1.0, 9.0, 1.0])
    bare = gesture(banded(note(residual=residual([1.0] * 3, RISING))))
    bare.let_go(2000, 1000)
    assert bare.band_gains(2000, 0) == pytest.approx([1.0] * 3)


def test_between_two_notes_means_and_attacks_blend_and_later_movement_is_the_nearer_ones():
    low = note(60.0, residual=residual([4.0, 0.0, 0.0], RISING))
    high = note(62.0, residual=residual([0.0, 0.0, 0.0], -RISING))
    middle = gains(gesture(banded(low, high), pitch=61), range(40))
    assert middle[0] == pytest.approx([2.0, 0.0, 0.0], abs=0.01)
    assert middle[OPENING // 2] == pytest.approx([2.0, 0.0, 0.0], abs=0.01)
    nearer = gains(gesture(banded(low, high), pitch=61.2), range(40))
    assert nearer[OPENING:, 1:] == pytest.approx(-RISING[OPENING:, 1:], abs=0.01)


def test_takes_differ_in_movement_level_and_gains_and_repeat():
    notes = [note(60.0 + i, residual=residual([0.0] * 3, RISING * (i + 1) / 4)) for i in range(4)]
    takes = [[2.0, 1.0, -1.0, 0.0], [-2.0, 1.0, 1.0, 3.0]]
    first = gains(gesture(banded(*notes, takes=takes), variety=1.0, note=1), range(40))
    plain = gains(gesture(banded(*notes, takes=takes), variety=0.0, note=7), range(40))
    assert np.array_equal(first, plain)
    struck = [gesture(banded(*notes, takes=takes), variety=1.0, note=number) for number in range(2, 402)]
    ends = np.array([gains(one, [0, 39]) for one in struck])
    moved = ends[:, 1, 1] - ends[:, 0, 1]
    for one in (5.0, 10.0, 14.5, 19.5):  # each note's movement is some take's
        assert np.mean(np.abs(moved - one) < 0.5) == pytest.approx(0.25, abs=0.1)
    assert ends[:, 0].std(0) == pytest.approx(np.sqrt(np.mean(np.square(takes), 0) / 2)[1:], rel=0.15)
    louder = np.array([20 * np.log10(one.gain(3000, 1)[0]) for one in struck])
    assert louder.max() == pytest.approx(1.0, abs=1e-3)  # the room that levels leave
    # Half the differences' square: of two independent takes.
    assert np.percentile(louder, 16) == pytest.approx(-np.sqrt(2), rel=0.15)
    again = gesture(banded(*notes, takes=takes), variety=1.0, note=9)
    assert np.array_equal(gains(again, range(40)), gains(struck[7], range(40)))


@pytest.fixture(scope="module")
def lively(tmp_path_factory):
    """The shipped model of partials, with gestures of this file."""
    made = onnx.load(MODELS / "gm-partials-8.onnx")
    known = {entry.key: entry.value for entry in made.metadata_props}
    old = json.loads(known[GESTURE_KEY])
    latents = len(old["directions"][0])
    rng = np.random.default_rng(0)
    moves = 6 * rng.standard_normal((60, 3)).cumsum(0) / 8
    own = {"code": [0.5] * latents, "codes": [[0.0] * 2] * 2, "release_codes": [[0.0] * 2] * 2}
    notes = [
        note(48.0 + 4 * i, residual=residual([i - 2.0, 0.0, 2.0], moves * (i % 2 * 2 - 1)), **own) for i in range(6)
    ]
    fields = banded(*notes, takes=[[1.0, 2.0, -2.0, 1.0]])
    fields["directions"] = [[0.1] + [0.0] * (latents - 1), [0.0] * (latents - 1) + [0.1]]
    fields["instruments"][0]["home"] = [0.5] * latents
    helper.set_model_props(made, known | {GESTURE_KEY: json.dumps(fields)})
    path = tmp_path_factory.mktemp("lively") / "lively.onnx"
    onnx.save(made, path)
    return Model(path)


TUNE = [
    NoteOn(100, 0, 60, 100),
    NoteOn(3000, 0, 67, 40),
    NoteOff(9000, 0, 60),
    NoteOn(9500, 0, 60, 100),
    NoteOff(14_001, 0, 67),
    NoteOff(20_000, 0, 60),
]


@pytest.mark.parametrize("sizes", [[128], [63, 64, 65], [512, 1, 4096]], ids=str)
def test_division_into_blocks_changes_no_bit(make_instrument, play, lively, sizes):
    whole = play(make_instrument(44_100, model=lively), TUNE, 30_000)
    parts = play(make_instrument(44_100, model=lively), TUNE, 30_000, sizes)
    assert whole.any()
    assert np.array_equal(whole, parts)


def test_strikes_of_one_key_differ_unless_variety_is_none(make_instrument, play, lively):
    apart = 26_460  # whole hops, so that both notes begin alike
    events = [event for at in (0, apart) for event in (NoteOn(at, 0, 60, 100), NoteOff(at + 9000, 0, 60))]
    found = {}
    for variety in (0.0, 1.0):
        sound = play(make_instrument(44_100, model=lively, gesture={"variety": variety}), events, 2 * apart).sum(0)
        spectra = [np.abs(np.fft.rfft(sound[at + 4096 : at + 8192] * np.hanning(4096))) for at in (0, apart)]
        first, then = (20 * np.log10(each[20:800].reshape(39, 20).max(1)) for each in spectra)
        found[variety] = np.abs(first - then).mean()
    assert found[1.0] > 1.5 * found[0.0]  # noise differs anyway
