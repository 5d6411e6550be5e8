"""What a controller has set, told anew: a fresh rack that hears it is as the one that heard all of it."""

from dataclasses import replace

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from timbrel.host.events import (
    ChannelPressure,
    Clock,
    ControlChange,
    MasterTuning,
    NoteOff,
    NoteOn,
    ParameterChange,
    PitchBend,
    SystemReset,
    Tempo,
)
from timbrel.host.midi.controllers import ControllerState, HeldEvents, hands_off
from timbrel.host.play.rack import Rack

RATE = 22050
SETTLED = 1000  # samples, in which all knobs have arrived
MAPS = [
    {"number": 1, "target": "latent.0", "low": 0.0, "high": 1.0},
    {"number": 2, "bits": 14, "target": "envelope.release_seconds", "low": 0.0, "high": 0.05},
    {"nrpn": 300, "target": "latent.1", "low": 0.0, "high": 1.0},
    {"pressure": "channel", "target": "pan", "low": 0.0, "high": 1.0},
]
KEYS = {"cc": MAPS, "mpe": {"pressure": "latent.0", "slide": "latent.1"}, "envelope": {"attack_seconds": 0.0}}


def cc(channel, *pairs):
    return [ControlChange(0, channel, number, value) for number, value in pairs]


def zone(master, members):
    return cc(master, (101, 0), (100, 6), (6, members))


def bend_range(channel, semitones):
    return cc(channel, (101, 0), (100, 0), (6, semitones))


CHANNEL = st.sampled_from([0, 1, 2, 7, 14, 15])
BYTE = st.integers(0, 127)
NUMBERS = [1, 2, 34, 5, 7, 10, 11, 64, 65, 66, 74, 121, 121, 123, 6, 38, 98, 99, 100, 101]
TUNING = st.sampled_from([1, 2])  # registered parameters
MASTER = st.integers(40 << 7, 80 << 7)  # not out of hearing
SAID = st.one_of(
    st.builds(lambda channel, number, value: cc(channel, (number, value)), CHANNEL, st.sampled_from(NUMBERS), BYTE),
    st.builds(lambda channel, value: [PitchBend(0, channel, value)], CHANNEL, st.integers(-8192, 8191)),
    st.builds(lambda channel, value: [ChannelPressure(0, channel, value)], CHANNEL, BYTE),
    st.builds(zone, st.sampled_from([0, 15]), st.sampled_from([0, 1, 2, 9, 13, 15])),
    st.builds(lambda channel, *v: cc(channel, (101, 0), (100, 0), (6, v[0]), (38, v[1])), CHANNEL, BYTE, BYTE),
    st.builds(lambda channel, value: cc(channel, (99, 2), (98, 44), (6, value)), CHANNEL, BYTE),
    st.builds(lambda channel, n, v, f: cc(channel, (101, 0), (100, n), (6, v), (38, f)), CHANNEL, TUNING, BYTE, BYTE),
    st.builds(lambda part, value: [MasterTuning(0, part, value)], st.sampled_from(["coarse", "fine"]), MASTER),
    st.just([SystemReset(0)]),
)


def told(events):
    desk = ControllerState()
    for event in events:
        desk.apply(event)
    return desk


def sound(patch, before, then):
    """What a rack that heard ``before`` makes of ``then``, and of a key on each kind of channel."""
    rack = Rack({0: patch}, RATE, omni=True)
    rack.process(before, SETTLED)
    keys = [event for i, channel in enumerate((0, 1, 7, 14, 15)) for event in note(SETTLED + 9, channel, 50 + 3 * i)]
    events = sorted([*then, *keys], key=lambda event: event.time)
    return rack.process(events, 6000)[0]


def note(time, channel, key):
    return [NoteOn(time, channel, key, 100), NoteOff(time + 2500, channel, key)]


@given(
    st.lists(SAID, max_size=14).map(lambda said: [event for events in said for event in events]),
    st.lists(SAID, max_size=2).map(lambda said: [event for events in said for event in events]),
    st.sampled_from(["poly", "mono"]),
)
@example(cc(0, (99, 2), (98, 44), (6, 9), (38, 50), (6, 100)), [], "poly")  # a fine half was heard once
@example([*zone(15, 9), *zone(0, 9), PitchBend(0, 14, 4000), *zone(0, 9)], [], "poly")  # no shorter a second time
@example([*cc(1, (101, 0), (100, 1), (6, 9)), MasterTuning(0, "fine", 9000), *zone(0, 5)], [], "poly")
@example([*cc(2, (101, 0), (100, 2), (6, 66), (7, 9)), SystemReset(0), *cc(2, (7, 70))], [], "mono")
@example([*bend_range(0, 12), *zone(0, 5), *bend_range(0, 7), *zone(0, 0)], [PitchBend(0, 0, 8000)], "poly")
def test_a_fresh_rack_that_hears_what_the_desk_tells_goes_on_as_the_old_one_would(make_patch, said, then, mode):
    patch = make_patch(**KEYS, play={"mode": mode, "glide_seconds": 0.02})
    then = [replace(event, time=SETTLED + 5) for event in then]
    assert np.array_equal(sound(patch, told(said).everything(), then), sound(patch, said, then))


def test_another_preset_hears_hands_and_feet_but_not_the_knobs_of_the_one_before_it():
    said = [
        *cc(0, (1, 9), (33, 5), (7, 90), (20, 64), (74, 3), (64, 127)),
        *cc(0, (99, 2), (98, 44), (6, 7)),
        *cc(1, (101, 0), (100, 0), (6, 7), (38, 20), (101, 127), (100, 127)),
        PitchBend(5, 2, 99),
        *zone(15, 3),
        *cc(14, (74, 9), (7, 1)),
    ]
    desk = told(said)
    knobs = {(20, 64), (74, 3)}
    nrpn = [(99, 2), (98, 44), (6, 7)]
    everything = desk.everything()
    desk.forget_knobs(set(range(16)) - {1})
    played = desk.everything()
    first = [(event.number, event.value) for event in played if event.channel == 0 and hasattr(event, "number")]
    assert first == [(1, 9), (33, 5), (7, 90), (64, 127), (99, 2), (98, 44)]  # selected, but not entered
    rest = [event for event in everything if event not in played]
    assert {(event.number, event.value) for event in rest} == knobs | {nrpn[2]}
    assert [event for event in played if event.channel == 14] == cc(14, (74, 9))
    assert {event.time for event in desk.everything()} == {0}


def test_a_preset_that_comes_to_one_channel_leaves_the_knobs_of_others_as_they_are():
    desk = told([*cc(0, (74, 3), (99, 2), (98, 44), (6, 7)), *cc(1, (74, 4), (7, 9))])
    desk.forget_knobs({1})
    assert desk.everything() == told([*cc(0, (74, 3), (99, 2), (98, 44), (6, 7)), *cc(1, (7, 9))]).everything()


def test_turns_are_told_until_it_is_known_where_knobs_stand_in_the_order_in_which_all_was_said():
    desk, knob, late = ControllerState(), ControlChange(5, 0, 20, 9), ControlChange(300, 0, 21, 9)
    for event in (
        ParameterChange(1, 0, "gain", 3.0),
        knob,
        ParameterChange(100, 0, "pan", 0.5),
        ParameterChange(200, 0, "gain", 1.0),
        late,
    ):
        desk.apply(event)
    turns = [ParameterChange(0, 0, "pan", 0.5), ParameterChange(0, 0, "gain", 1.0)]
    first, last = (replace(event, time=0) for event in (knob, late))
    assert desk.everything() == [first, *turns, last]
    stood = [ParameterChange(0, 0, "morph", 0.1)]
    assert desk.everything(stood, 200) == [first, *stood, turns[1], last]
    assert desk.everything(stood, 301) == [first, last, *stood]
    desk.forget_knobs({0})
    assert desk.everything() == []


def test_hands_that_are_gone_let_go_of_all_but_knobs():
    held = [*cc(0, (64, 127), (66, 127), (74, 100), (1, 60), (7, 90)), PitchBend(5, 0, 4000), NoteOn(6, 0, 60, 100)]
    holds, desk = HeldEvents(), told(held)
    for event in [*held, *hands_off()]:
        holds.apply(event)
        desk.apply(event)
    assert holds.take_releases([]) == []
    assert desk.keys == []
    assert {(e.number, e.value) for e in desk.everything() if isinstance(e, ControlChange) and e.channel == 0} == {
        *((74, 100), (1, 60), (7, 90)),
        *((pedal, 0) for pedal in (64, 66, 67, 69)),
    }


def test_what_is_kept_does_not_grow_with_what_is_said():
    random = np.random.default_rng(1)
    desk = ControllerState()
    for _ in range(20_000):
        channel, number, value = (int(random.integers(top)) for top in (16, 128, 128))
        desk.apply(ControlChange(9, channel, number, value))
        desk.apply(NoteOn(9, channel, number, 64))
        desk.apply(PitchBend(9, channel, value))
    assert len(desk.everything()) < 16 * 128 * 5
    assert len(desk.keys) <= 16 * 128
    for channel in range(16):
        desk.apply(ControlChange(9, channel, 123, 0))
    assert len(desk.keys) == 0


def test_keys_are_down_until_they_come_up_or_all_notes_of_their_zone_are_off():
    keys = [NoteOn(0, channel, 60, 1) for channel in (0, 2, 7, 14)]
    desk = told([*zone(0, 3), *zone(15, 3), *keys])
    for event, left in (
        (ControlChange(0, 2, 123, 0), keys),  # a member ends nothing
        (ControlChange(0, 0, 123, 0), keys[2:]),
        (NoteOff(0, 7, 61), keys[2:]),
        (NoteOff(0, 7, 60), keys[3:]),
        (ControlChange(0, 15, 120, 0), []),
    ):
        desk.apply(event)
        assert desk.keys == left


def held(*events):
    holds = HeldEvents()
    for event in events:
        holds.apply(event)
    return holds


def test_what_a_controller_keeps_from_rest_is_let_go_keys_first():
    keys = [NoteOn(0, 0, 60, 1), NoteOn(0, 3, 61, 1), NoteOn(0, 0, 62, 1), NoteOff(0, 0, 62)]
    pedals = cc(0, (64, 127), (66, 1), (67, 9), (69, 127), (64, 0)) + cc(3, (64, 30), (7, 20), (1, 90))
    others = [PitchBend(0, 1, 500), PitchBend(0, 2, -5), PitchBend(0, 2, 0), ChannelPressure(0, 4, 1)]
    holds = held(*pedals, *others, *keys)
    assert holds.take_releases([]) == [
        NoteOff(0, 0, 60),
        NoteOff(0, 3, 61),
        *cc(0, (66, 0), (67, 0), (69, 0)),
        *cc(3, (64, 0)),
        PitchBend(0, 1, 0),
        ChannelPressure(0, 4, 0),
    ]
    assert holds.take_releases([]) == []


def test_what_another_controller_holds_too_stays_held():
    mine = held(NoteOn(0, 0, 60, 1), NoteOn(0, 0, 64, 1), PitchBend(0, 0, 9), *cc(0, (64, 127)), *cc(1, (64, 127)))
    other = held(NoteOn(0, 0, 64, 1), PitchBend(0, 0, -9), *cc(0, (64, 127)))
    assert mine.take_releases([other, held()]) == [NoteOff(0, 0, 60), *cc(1, (64, 0))]
    assert other.take_releases([]) == [NoteOff(0, 0, 64), PitchBend(0, 0, 0), *cc(0, (64, 0))]


def test_a_reset_lets_pedals_go_and_all_notes_off_keys_on_their_channel_alone():
    begun = [NoteOn(0, 0, 60, 1), NoteOn(0, 1, 60, 1), *cc(0, (64, 9)), *cc(1, (64, 9)), PitchBend(0, 0, 9)]
    assert held(*begun, *cc(0, (121, 0))).take_releases([]) == [NoteOff(0, 0, 60), NoteOff(0, 1, 60), *cc(1, (64, 0))]
    assert held(*begun, *cc(0, (123, 0))).take_releases([]) == [
        NoteOff(0, 1, 60),
        *cc(0, (64, 0)),
        *cc(1, (64, 0)),
        PitchBend(0, 0, 0),
    ]


def test_what_one_controller_takes_over_from_another_it_lets_go():
    heir = held(NoteOn(0, 0, 60, 1))
    heir.join(held(NoteOn(0, 0, 64, 1), *cc(0, (64, 127))))
    assert heir.take_releases([]) == [NoteOff(0, 0, 60), NoteOff(0, 0, 64), *cc(0, (64, 0))]


def test_all_notes_off_leaves_the_keys_of_other_channels():
    state = ControllerState()
    for event in (NoteOn(0, 0, 60, 1), NoteOn(1, 1, 62, 1), ControlChange(2, 1, 123, 0)):
        state.apply(event)
    assert state.keys == [NoteOn(0, 0, 60, 1)]


def test_the_tempo_and_a_stopped_clock_are_kept_and_a_clock_that_runs_is_where_all_begin():
    state = ControllerState()
    for event in (Tempo(0, 90.0), Clock(1, "start"), Clock(2, "tick"), Tempo(3, 80.0), Clock(4, "stop")):
        state.apply(event)
    assert state.everything() == [Tempo(0, 80.0), Clock(0, "stop")]
    state.apply(Clock(5, "continue"))
    assert state.everything() == [Tempo(0, 80.0)]
