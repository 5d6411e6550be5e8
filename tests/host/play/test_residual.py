"""Notes move in bands as their recordings did, one take unlike the next, the same in any blocks and each time."""

import numpy as np
import pytest
from timbrel.host.events import NoteOff, NoteOn
from timbrel.host.kinds.spectrum import GestureSettings
from timbrel.host.model.gesture import Gestures, packed
from timbrel.host.model.model import Model
from timbrel.host.play.blended_trajectory import OPENING, TrajectoryBlender
from timbrel.host.play.gestures import GestureBlend, GesturePlayer
from timbrel.host.play.trajectory import TAKE, Gesture, GestureGrid, TrajectoryPace, drawn_take
from timbrel.host.preset.shipped import MODELS
from timbrel.host.signal import normals, uniforms

from .gestures import banded, note, partials_with, residual

RATE, HOP, AHEAD = 10_000, 100, 50
STEP = 100  # samples between moments
RISING = np.outer(np.arange(40), [0.0, 0.5, -0.5])  # dB: 20 after 40 moments


def gesture(fields, velocity=100, pitch=60, on=1000, variety=0.0, note=1, codes=1.0, speed=1.0, loudness=1.0):
    made = Gestures.model_validate(fields)
    ways = TrajectoryBlender(made, np.full(2, 0.5), np.ones(2))
    common = GestureGrid.of(made, np.eye(2), ways.takes)
    pace = TrajectoryPace(codes, loudness, speed, 0.0, variety, RATE, HOP, 200, True, True)
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


def test_the_first_movement_is_that_of_short_windows_and_fades_into_the_other():
    early = np.outer(np.cos(np.arange(33)), [0.0, 8.0, -4.0]).round()
    fields = banded(note(residual=residual([3.0, 0.0, -2.0], RISING), onset=packed_rows(early)))
    fields["onset_seconds"] = STEP / 2 / RATE
    made, mean = gesture(fields), np.array([3.0, 0.0, -2.0])
    for moment in range(40):
        found = made.band_gains(1000 + STEP * moment // 2 - AHEAD, AHEAD)
        coarse = RISING[int(moment / 2 + 0.5)]
        share = min((33 - moment) / 7, 1.0) if moment < 33 else 0.0
        expected = coarse * (1 - share) + early[min(moment, 32)] * share
        assert found == pytest.approx(mean + expected, abs=1e-5)
    quiet = gesture(fields, loudness=0.0)
    assert gains(quiet, [0, 2]) == pytest.approx(np.array([mean, mean]))
    fast = gesture(fields, speed=2.0)
    assert gains(fast, [2]) == pytest.approx(gains(made, [4]))


def test_the_level_moves_around_the_grids_as_recorded_and_comes_to_rest():
    def moving(steps, loudness=1.0, speed=1.0):
        fields = banded(note(residual=residual([0.0] * 3, RISING), loudness=packed(steps)))
        return gesture(fields, loudness=loudness, speed=speed)

    steps = np.round(2 * np.concatenate([np.zeros(10), 2 * np.cos(0.5 * np.arange(30)) - 2, [-4.0]])).astype(np.int8)
    still = np.zeros(0, np.int8)
    ours, known = (20 * np.log10(moving(of).gain(1000, 80 * STEP)) for of in (steps, still))
    fading = np.concatenate([steps / 2, steps[-1] / 2 * np.linspace(1, 0, OPENING + 1)[1:], np.zeros(100)])
    for moment in (0, 5, 12, 20, 33, 39, 45, 60, 75):
        assert (ours - known)[moment * STEP] == pytest.approx(fading[moment], abs=0.3)
    ours, known = (20 * np.log10(moving(of, speed=2.0).gain(1000, 40 * STEP)) for of in (steps, still))
    assert (ours - known)[10 * STEP] == pytest.approx(fading[20], abs=0.3)
    half = moving(np.full(40, -8, np.int8), 0.5).gain(3000, 1) / moving(still, 0.5).gain(3000, 1)
    assert half == pytest.approx(10 ** (-0.5 * 4 / 20))
    assert 20 * np.log10(moving(np.full(40, 20, np.int8)).gain(3000, 1)[0]) == pytest.approx(1.0, abs=1e-3)  # the room


@pytest.mark.parametrize("number", [1, 2])  # the second draws a take, whose attack is its own
def test_an_attacks_noise_goes_with_its_level(number):
    fields = banded(note(residual=residual([3.0, 0.0, -2.0], RISING + 10)))
    mean, moved = np.array([3.0, 0.0, -2.0]), RISING + 10
    for loudness in (0.0, 0.5, 1.0):
        found = gains(gesture(fields, loudness=loudness, note=number, variety=1.0), range(40)) - mean
        kept = np.clip(2 * np.arange(40) / OPENING - 1, 0, 1)[:, np.newaxis]
        assert found == pytest.approx(moved * (kept + (1 - kept) * loudness), abs=1e-5)


def test_a_note_that_is_held_for_longer_goes_back_and_forth_where_its_slow_course_ended():
    time = np.arange(160)
    trill, fall = 4.0 * np.where(time // 4 % 2, 1.0, -1.0), -0.1 * time
    moved = np.outer(trill + fall, [0.0, 1.0, -0.5])
    found = gains(gesture(banded(note(residual=residual([0.0] * 3, moved)))), range(900))[:, 1]
    back = 159 - round(0.25 * 159)
    assert found[159 : 159 + back + 1] == pytest.approx(found[159 + back : 159 + 2 * back + 1][::-1])
    later = found[160:]
    assert later.mean() == pytest.approx(fall[150], abs=1.2)
    assert np.abs(np.convolve(later, np.ones(40) / 40, "valid") - later.mean()).max() < 2.0  # no slow swell
    assert later.std() == pytest.approx(4.0, rel=0.2)
    assert np.abs(np.diff(found)).max() < 9


def test_a_short_movement_comes_to_rest():
    for few in (0, 1, 2, OPENING):
        short = gains(gesture(banded(note(residual=residual([1.0] * 3, RISING[:few])))), range(60))
        last = max(few - 1, 0)
        left = np.clip(1 - (np.arange(60) - last) / OPENING, 0, 1)[:, np.newaxis]
        assert short == pytest.approx(1 + RISING[np.minimum(np.arange(60), last)] * left)


def test_a_release_leads_from_the_movement_at_the_note_off_to_the_recorded_one():
    released = np.outer(np.arange(30) + 3.0, [0.0, 1.0, 0.0])
    made = gesture(banded(note(residual=residual([1.0] * 3, RISING), release_residual=packed_rows(released))))
    made.release(2000, 1000)
    assert made.band_gains(1999, 0) == pytest.approx(1 + RISING[10])
    for moment in range(30):  # the difference fades within a tenth of a second, ten moments
        left = max(1 - moment / 10, 0)
        found = made.band_gains(2000 + moment * STEP, 0)
        assert found == pytest.approx(1 + released[moment] + left * (RISING[10] - released[0]))
    assert made.band_gains(2000 + 90 * STEP, 0) == pytest.approx(1 + released[-1])
    bare = gesture(banded(note(residual=residual([1.0] * 3, RISING))))
    bare.release(2000, 1000)
    assert bare.band_gains(2000, 0) == pytest.approx(1 + RISING[10])
    assert bare.band_gains(3000, 0) == pytest.approx([1.0] * 3)


def test_a_release_is_that_of_notes_that_have_one():
    released = packed_rows([[0.0, 6.0, 0.0]] * 30)
    ringing = note(60.0, release_levels=[], release_codes=[], fall_db_second=40.0, residual=residual([0.0] * 3, RISING))
    let_go = note(61.0, residual=residual([0.0] * 3, RISING), release_residual=released)
    also = note(59.0, residual=residual([0.0] * 3, RISING), release_residual=released)
    made = gesture(banded(ringing, let_go, also), pitch=60.6)
    made.release(2000, 1000)
    assert made.band_gains(4500, 0)[1] == pytest.approx(6.0)


def packed_rows(rows):
    return packed(np.round(2 * np.array(rows)).astype(np.int8))


def test_between_two_notes_means_and_attacks_blend_and_later_movement_is_the_nearer_ones():
    low = note(60.0, residual=residual([4.0, 0.0, 0.0], RISING))
    high = note(62.0, residual=residual([0.0, 0.0, 0.0], -RISING))
    middle = gains(gesture(banded(low, high), pitch=61), range(40))
    assert middle[0] == pytest.approx([2.0, 0.0, 0.0], abs=0.01)
    assert middle[OPENING // 2] == pytest.approx([2.0, 0.0, 0.0], abs=0.01)
    nearer = gains(gesture(banded(low, high), pitch=61.2), range(40))
    assert nearer[OPENING:, 1:] == pytest.approx(-RISING[OPENING:, 1:], abs=0.01)


def test_a_short_note_keeps_its_last_moment_in_a_blend():
    low = note(60.0, residual=residual([0.0] * 3, RISING))
    high = note(62.0, residual=residual([0.0] * 3, RISING[:4]))
    found = gesture(banded(low, high), pitch=61).opening[:OPENING]
    assert found == pytest.approx((RISING[:OPENING] + RISING[np.minimum(np.arange(OPENING), 3)]) / 2, abs=0.01)


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
    moves = 6 * np.random.default_rng(0).standard_normal((60, 3)).cumsum(0) / 8
    notes = [note(48.0 + 4 * i, residual=residual([i - 2.0, 0.0, 2.0], moves * (i % 2 * 2 - 1))) for i in range(6)]
    return partials_with(tmp_path_factory.mktemp("lively") / "lively.onnx", *notes, takes=[[1.0, 2.0, -2.0, 1.0]])


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


def test_takes_have_no_movement_of_short_notes():
    notes = [note(60.0, residual=residual([0.0] * 3, RISING)), note(61.0, residual=residual([0.0] * 3, RISING[:9]))]
    for number in range(2, 12):
        struck = gesture(banded(*notes), pitch=60.6, variety=1.0, note=number)
        assert gains(struck, [35])[0, 1] == pytest.approx(RISING[35, 1])


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


def test_a_note_has_the_modes_of_the_nearest_recording():
    bell = [[2.76, 0, 0.9], [5.4, 5, 0.0]]
    fields = banded(note(60.0, modes=bell), note(64.0))
    assert gesture(fields, pitch=61).modes == pytest.approx(np.array(bell))
    assert gesture(fields, pitch=63.9).modes is None
    assert gesture(fields, pitch=61).decoded_key is None


def test_a_transposed_instrument_plays_the_nearest_key_alone():
    moved = {"codes": [[0.4, 0.0], [0.4, 0.0]]}
    low = note(60.1, 100, residual=residual([4.0, 0.0, 0.0], RISING), modes=[[2.76, 0, 0.9]])
    soft = note(60.0, 40, residual=residual([-4.0, 0.0, 0.0], RISING))
    fields = banded(low, soft, note(63.0, residual=residual([0.0, 9.0, 0.0], RISING), **moved))
    fields["instruments"][0]["transposed"] = True
    for pitch in (55, 60, 61.4):
        made = gesture(fields, pitch=pitch)
        assert made.decoded_key == 60
        assert gains(made, [0]) == pytest.approx(np.array([[4.0, 0.0, 0.0]]), abs=0.02)
        assert made.modes is not None
    there = gesture(fields, pitch=62)
    assert there.decoded_key == 63
    assert gains(there, [0]) == pytest.approx(np.array([[0.0, 9.0, 0.0]]))
    assert gesture(fields, velocity=40, pitch=61).modes is None  # the soft strike has none
    assert gesture(fields, pitch=61, codes=0.0).decoded_key is None
    rings = banded(note(60.0, release_levels=[], release_codes=[]), note(63.0))
    rings["instruments"][0]["transposed"] = True
    assert gesture(rings, pitch=60).release(3000, 500)[0] > 500  # the release of the key beside it


def test_another_take_of_a_transposed_note_is_one_of_its_key():
    fields = banded(
        note(60.0, residual=residual([0.0] * 3, RISING)), note(61.0, residual=residual([0.0] * 3, 2 * RISING))
    )
    fields["instruments"][0]["transposed"] = True
    for number in range(2, 12):
        assert gains(gesture(fields, pitch=60, variety=1.0, note=number), [39])[0] == pytest.approx(RISING[39])


def test_a_release_is_that_of_the_transposed_key_if_it_has_one():
    def released(fall):
        return note(60.0, release_levels=[0.0, -fall, -3 * fall])

    fields = banded(released(20.0), note(61.0, release_levels=[], release_codes=[]), note(62.0))
    fields["instruments"][0]["notes"][2] |= {"release_levels": [0.0, -2.0, -6.0]}
    fields["instruments"][0]["transposed"] = True
    assert gesture(fields, pitch=60).release(3000, 500)[0] == pytest.approx(0.3 * RATE, abs=2)


def test_codes_that_are_decoded_ahead_are_those_of_the_transposed_key():
    model = Model(MODELS / "gm-partials-8.onnx")
    fields = banded(note(60.0, code=[0.5] * 8), note(67.0, code=[0.5] * 8))
    fields["directions"] = [[1.0, *[0.0] * 7], [0.0, 1.0, *[0.0] * 6]]
    fields["instruments"][0] |= {"transposed": True, "home": [0.5] * 8}
    made = Gestures.model_validate(fields)
    blend = GestureBlend.of(model, made, GestureSettings(), [0.5] * 8)
    player = GesturePlayer(model.card, blend, GestureSettings(), 200, (True, True), {})
    assert {pitch for pitch, _ in player.first_codes()} == {60.0, 67.0}


def test_a_note_that_fades_while_held_has_its_recorded_release_too():
    held = gesture(banded(note(60.0, fall_db_second=30.0)))
    level = [20 * np.log10(held.gain(1000 + at, 1)[0]) for at in (5000, 15_000)]
    assert level == pytest.approx([0.0, -30.0], abs=0.1)
    assert held.release(16_000, 500) == (pytest.approx(0.3 * RATE, abs=2), True)


@pytest.mark.parametrize("note", [2, 31, 32, 1000])
def test_a_take_that_is_drawn_among_others_is_that_of_the_note_alone(note):
    choice, weights = drawn_take(note, 5)
    assert choice == uniforms(TAKE, note, 0, 1, 1)[0, 0]
    drawn = uniforms(TAKE, note, 1, 1, 6).reshape(2, 3)  # Box and Muller's radius and angle
    radius = np.sqrt(-2 * np.log1p(-drawn[0]))
    known = np.concatenate([radius * np.cos(2 * np.pi * drawn[1]), radius * np.sin(2 * np.pi * drawn[1])])
    assert weights == pytest.approx(known[:5], rel=1e-6)
    assert np.array_equal(weights, normals(TAKE, note, 1, 5))
