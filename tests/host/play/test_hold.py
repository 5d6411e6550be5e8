"""A hand on a target: no motion moves it while it holds, and nothing leaps when it takes hold or lets go."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.events import Clock, NoteOff, NoteOn, ParameterChange, ParameterTouch
from timbrel.host.midi.controllers import ControllerState, HeldEvents, Zones
from timbrel.host.play import events as event_processor
from timbrel.host.play.motions import RETURN_SECONDS, Latents
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.motions import MorphTarget
from timbrel.host.resynthesis.processor import Processor

from .motions import MOTIONS, PATH, RAMP, RATE, TIMED_PATH, WALKING, lfo, path_of, ticks

BACK = round(RETURN_SECONDS * RATE)
MOVING = {"path": [{"path": PATH, "rate_hz": 0.5}], "times": [TIMED_PATH], "walk": [WALKING], "several": MOTIONS}
TAKEN, TURNED, LEFT = 5000, 9000, 15_000
STEP = 20  # samples between looks, of which these are multiples
NOTE_PATH = {"path": [[0.0, 0.2], [1.0, 0.2], [0.4, 0.9]], "times": [0.0, 0.5, 1.0], "start": "note"}


@pytest.mark.parametrize("motions", MOVING.values(), ids=MOVING)
def test_a_target_rests_while_it_is_held_goes_where_it_is_turned_and_comes_back_to_its_motion(make_latents, motions):
    alone, held = make_latents(*motions), make_latents(*motions)
    held.hold(TAKEN, "latent.0", True)
    held.turn(TURNED, "latent.0", 0.625)
    held.hold(LEFT, "latent.0", False)
    alone.turn(TURNED, "latent.0", 0.625)  # the knob of motions that are added to it
    times = np.arange(0, LEFT + BACK + 3000, STEP)
    moved, found = path_of(alone, times), path_of(held, times)
    assert np.array_equal(found[:, 1], moved[:, 1])  # the latent that nobody holds
    free, hand = moved[:, 0], found[:, 0]
    assert np.array_equal(hand[times < TAKEN], free[times < TAKEN])
    assert hand[(times >= TAKEN) & (times <= TURNED)] == pytest.approx(free[times == TAKEN][0], abs=1e-12)
    assert np.all(hand[(times >= TURNED + RAMP) & (times <= LEFT)] == 0.625)
    assert np.array_equal(hand[times >= LEFT + BACK], free[times >= LEFT + BACK])
    assert np.ptp(free) > 0.2
    fastest = np.abs(np.diff(free)).max()
    assert np.abs(np.diff(hand)).max() <= fastest + 1.01 * STEP / RAMP
    back = hand[(times >= LEFT - STEP) & (times <= LEFT + BACK)]
    assert np.abs(np.diff(back)).max() <= fastest + 1.01 * STEP / BACK


def test_a_glide_from_what_sounds_is_straight_wherever_the_knob_was(make_latents):
    """On a path the knob itself stands elsewhere: nothing is heard of that."""
    latents = make_latents({"path": PATH, "rate_hz": 0.5})
    before = latents.row(TAKEN)[0]
    latents.hold(TAKEN, "latent.0", True)
    latents.turn(TAKEN, "latent.0", 0.95)
    found = path_of(latents, range(TAKEN, TAKEN + RAMP + 1))[:, 0]
    assert found == pytest.approx(np.linspace(before, 0.95, RAMP + 1), abs=1e-12)


def test_who_takes_a_target_again_before_it_is_back_takes_it_where_it_is(make_latents):
    latents = make_latents({"path": PATH, "rate_hz": 0.5})
    for time, down in ((1000, True), (4000, False), (6000, True), (7000, True)):
        latents.hold(time, "latent.0", down)
    found = path_of(latents, range(0, 9000, STEP))[:, 0]
    assert np.abs(np.diff(found)).max() < 0.001 * STEP
    assert found[6000 // STEP :] == pytest.approx(found[6000 // STEP], abs=1e-12)


def test_a_morph_that_is_held_rests_and_leads_where_it_is_turned(tiny, make_preset):
    motion = make_preset(motion=[{"target": "morph", "low": 0.0, "high": 1.0, "rate_hz": 1.0}]).motion
    latents = Latents([0.0, 1.0], tiny().card, motion, morph=MorphTarget([1.0, 0.0], "linear"))
    before = latents.morph(TAKEN)
    latents.hold(TAKEN, "morph", True)
    assert latents.morph(TURNED) == pytest.approx(before)
    latents.turn(TURNED, "morph", 0.25)
    latents.hold(LEFT, "morph", False)
    assert [latents.morph(time) for time in (TURNED + RAMP, LEFT)] == pytest.approx([0.25, 0.25])
    assert latents.row(LEFT) == pytest.approx((0.25, 0.75))
    steps = np.diff([latents.morph(time) for time in range(LEFT - 1, LEFT + BACK)])
    assert np.abs(steps).max() < 2 * np.pi / RATE + 1.01 / BACK


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 12_000),
        st.one_of(
            st.builds(
                ParameterTouch, st.just(0), st.just(0), st.sampled_from(["latent.0", "latent.1", "pan"]), st.booleans()
            ),
            st.builds(
                ParameterChange,
                st.just(0),
                st.just(0),
                st.sampled_from(["latent.0", "latent.1"]),
                st.floats(0, 1, allow_subnormal=False),
            ),
        ),
    ),
    min_size=1,
    max_size=12,
)


@given(EVENTS)
def test_where_nothing_moves_a_hand_changes_nothing(make_latents, drawn):
    alone, held = make_latents(), make_latents()
    for time, event in sorted(drawn, key=lambda entry: entry[0]):
        if isinstance(event, ParameterChange):
            alone.turn(time, event.target, event.value)
            held.turn(time, event.target, event.value)
        else:
            held.hold(time, event.target, event.down)
    times = np.arange(0, 24_000, 97)
    assert np.array_equal(held.codes_at(times), alone.codes_at(times))


# ---- in sound

COUNT = 25_000


def performance(seed=7, count=COUNT):
    """Notes, a clock, and hands that hold, turn and let go, at random."""
    drawn, events = np.random.default_rng(seed), []
    for _ in range(12):
        on, key = int(drawn.integers(count)), int(drawn.integers(40, 80))
        events += [NoteOn(on, 0, key, 100), NoteOff(on + 9000, 0, key)]
    for target in ("latent.0", "latent.1", "morph", "gain"):
        for at in drawn.integers(count, size=8).tolist():
            events.append(ParameterTouch(at, 0, target, bool(drawn.integers(2))))
            events.append(ParameterChange(at + int(drawn.integers(2000)), 0, target, float(drawn.random())))
    events += [*ticks(0, 459, count // 459), Clock(13_000, "start")]
    return sorted((event for event in events if event.time < count), key=lambda event: event.time)


def sound(rack, events, count=COUNT, sizes=(4096,)):
    blocks, at, turn = [], 0, 0
    with contextlib.closing(rack):
        while at < count:
            size = min(sizes[turn % len(sizes)], count - at)
            blocks.append(rack.process([event for event in events if at <= event.time < at + size], size)[0])
            at, turn = at + size, turn + 1
    return np.concatenate(blocks, axis=1)


MOVED = {
    "several": {"motion": MOTIONS, "morph": {"values": [0.9, 0.1]}},
    "morph": {"motion": [{"target": "morph", "depth": 0.5, "beats": 1.0}], "morph": {"values": [0.9, 0.1]}},
    "walk": {"motion": [WALKING]},
    "note": {"motion": [NOTE_PATH], "note": [{"source": "velocity", "target": "latent.0", "low": 0.0, "high": 0.2}]},
}


@pytest.mark.parametrize("keys", MOVED.values(), ids=MOVED)
def test_any_division_into_blocks_and_processes_gives_the_same_samples(make_patch, keys):
    events = performance()
    whole = sound(Rack({0: make_patch(**keys)}, RATE), events)
    free = sound(
        Rack({0: make_patch(**keys)}, RATE), [event for event in events if not isinstance(event, ParameterTouch)]
    )
    assert not np.array_equal(free, whole)
    assert np.array_equal(sound(Rack({0: make_patch(**keys)}, RATE), events, sizes=(1, 64, 65, 999, 8193)), whole)
    assert np.array_equal(sound(Rack({0: make_patch(**keys)}, RATE, 2), events), whole)


def test_notes_on_paths_of_their_own_go_where_the_hand_is_and_come_back(make_patch):
    _, made = event_processor.engine_and_processor(make_patch(motion=[NOTE_PATH], latent={"values": [0.9, 0.9]}))
    _, free = event_processor.engine_and_processor(make_patch(motion=[NOTE_PATH], latent={"values": [0.9, 0.9]}))
    events = [NoteOn(0, 0, 60, 100), NoteOn(4000, 0, 64, 100)]
    held = [
        ParameterTouch(TAKEN, 0, "latent.0", True),
        ParameterChange(TAKEN, 0, "latent.0", 0.75),
        ParameterTouch(LEFT, 0, "latent.0", False),
    ]
    for event in (*events, *held):
        made.apply(event)
    for event in events:
        free.apply(event)

    def codes(which, times):
        voices = list(which.voices)
        motion = which.motion_of(voices)
        return np.array([motion.latents([0, 1], np.full(2, time)) for time in times])

    times = np.arange(TAKEN - 5 * STEP, LEFT + BACK + 5 * STEP, STEP)
    found, moved = codes(made, times), codes(free, times)
    assert np.array_equal(found[times < TAKEN], moved[times < TAKEN])
    assert np.array_equal(found[..., 1], moved[..., 1])
    assert np.all(found[(times >= TAKEN + RAMP) & (times <= LEFT), :, 0] == 0.75)
    assert np.array_equal(found[times >= LEFT + BACK], moved[times >= LEFT + BACK])
    assert np.abs(np.diff(found[..., 0], axis=0)).max() < 1.5 * STEP / RAMP


def test_a_hand_holds_the_preset_of_its_channel_also_while_an_mpe_zone_has_it():
    zones = Zones({0: True, 4: True})
    hold = ParameterTouch(0, 4, "latent.0", True)
    assert zones.route(hold) == [(4, hold)]


def test_a_hand_rests_the_motion_of_what_goes_through_a_model(make_preset):
    shipped = open_patch("gm-chroma-8")
    patch = replace(shipped, preset=make_preset(motion=[lfo(rate_hz=8.0, depth=3.0)]))
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, (30, 1000)).astype(np.float32)

    def code(*events):
        processor = Processor(patch, 44_100)
        for block in noise:
            processor.process(events, block[np.newaxis])
            events = ()
        return processor.codes.last

    held, free = code(ParameterTouch(0, 0, "latent.0", True)), code()
    assert held[0] != free[0]
    assert held[1:] == free[1:]


# ---- what is held


def test_a_fresh_rack_is_left_where_hands_hold_and_none_where_they_let_go():
    desk = ControllerState()
    hold, turn = ParameterTouch(5, 0, "latent.0", True), ParameterChange(6, 0, "latent.0", 0.5)
    for event in (
        hold,
        turn,
        ParameterTouch(7, 0, "latent.1", True),
        ParameterTouch(8, 0, "latent.1", False),
        ParameterTouch(9, 3, "morph", True),
    ):
        desk.apply(event)
    expected = [
        ParameterTouch(0, 0, "latent.0", True),
        ParameterChange(0, 0, "latent.0", 0.5),
        ParameterTouch(0, 3, "morph", True),
    ]
    assert desk.everything() == expected
    desk.forget_knobs({0})
    assert desk.everything() == expected[2:]


def test_who_leaves_lets_go_of_all_targets_but_those_that_another_holds():
    mine, other = HeldEvents(), HeldEvents()
    for target in ("latent.0", "latent.1"):
        mine.apply(ParameterTouch(0, 2, target, True))
    mine.apply(ParameterTouch(3, 2, "morph", True))
    mine.apply(ParameterTouch(4, 2, "morph", False))
    other.apply(ParameterTouch(0, 2, "latent.1", True))
    assert mine.take_releases([other]) == [ParameterTouch(0, 2, "latent.0", False)]
    assert mine.take_releases([]) == []
