"""Racks that come and go while keys are held: what they hear, what goes on, and when the old ones leave."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from timbrel.host.audio.output import LIMIT_KNEE
from timbrel.host.events import (
    ChannelPressure,
    ControlChange,
    KeyPressure,
    LatchEnd,
    NoteOff,
    NoteOn,
    ParameterChange,
    PitchBend,
    SystemReset,
)
from timbrel.host.midi.decode import MidiDecoder
from timbrel.host.play.player import FADE_SECONDS, LEAVING, RING_SECONDS, Player
from timbrel.host.play.rack import Rack
from timbrel.host.play.voices import Latch

from .playing import LONG_RELEASE, PLAYED, RATE, perform, player_of


class Swapped:
    """A player on one rack, and what it gives with and without another that is swapped in."""

    def __init__(self, make_patch, first, second, rate=RATE):
        self.make_patch, self.first, self.second, self.rate = make_patch, first, second, rate

    def rack(self, which):
        return Rack({0: self.make_patch(**which)}, self.rate, omni=True)

    def sound(self, events, at, count, size=100):
        player = Player(self.rack(self.first), self.rate)
        before, _ = perform(player, [e for e in events if e.time < at], at, [size])
        if at < count:
            player.swap(self.rack(self.second))
        sounds = [before]
        waiting = [event for event in events if event.time >= at]
        while player.now < count:
            while waiting and waiting[0].time < player.now + size:
                player.schedule(waiting.pop(0))
            sounds.append(player.block(size)[0])
        return np.concatenate(sounds, axis=1)


def test_held_notes_go_on_as_if_nothing_had_been_swapped(make_patch):
    pair = Swapped(make_patch, LONG_RELEASE, {"latent": {"values": [0.9, 0.1]}})
    events = [NoteOn(0, 0, 60, 100), ControlChange(3000, 0, 7, 60), NoteOff(7000, 0, 60)]
    assert np.array_equal(pair.sound(events, 4000, 15_000), pair.sound(events, 15_000, 15_000))


def test_racks_that_ring_on_are_prepared_too(make_patch):
    racks = [Rack({0: make_patch(**LONG_RELEASE)}, RATE, omni=True) for _ in range(2)]
    player = Player(racks[0], RATE)
    perform(player, [NoteOn(0, 0, 60, 100)], 1000, [100])
    player.swap(racks[1])
    player.block(100)
    prepared = []
    for rack in racks:
        rack.prepare = lambda rack=rack: prepared.append(rack)
    player.prepare()
    assert prepared == racks


def test_new_notes_sound_on_the_new_rack_alone_as_if_it_had_played_from_its_start(make_patch):
    second = {"latent": {"values": [0.9, 0.1]}, **LONG_RELEASE}
    pair = Swapped(make_patch, LONG_RELEASE, second)
    sound = pair.sound([NoteOn(4050, 0, 64, 100), NoteOff(6000, 0, 64)], 4000, 9000)
    alone = pair.rack(second).process([NoteOn(50, 0, 64, 100), NoteOff(2000, 0, 64)], 5000)[0]
    assert np.all(sound[:, :4000] == 0)
    assert np.array_equal(sound[:, 4000:], alone)


def test_a_rack_that_was_primed_goes_on_from_there(make_patch):
    primed, alone = (Rack({0: make_patch(**LONG_RELEASE)}, RATE, omni=True) for _ in range(2))
    for rack in (primed, alone):
        rack.process([], 1000)
    player = player_of(make_patch)
    player.block(500)
    player.schedule(ControlChange(600, 0, 7, 50))
    player.block(500)
    player.swap(primed)
    player.schedule(NoteOn(1030, 0, 64, 100))
    player.schedule(NoteOff(2000, 0, 64))
    heard = np.concatenate([player.block(500)[0] for _ in range(4)], axis=1)
    expected = alone.process([ControlChange(1000, 0, 7, 50), NoteOn(1030, 0, 64, 100), NoteOff(2000, 0, 64)], 2000)[0]
    assert np.array_equal(heard, expected)


def test_a_new_rack_knows_wheels_levels_and_pedals(make_patch):
    wheel = {"number": 1, "target": "latent.0", "low": 0.0, "high": 1.0}
    pair = Swapped(make_patch, LONG_RELEASE, {"cc": [wheel], **LONG_RELEASE})
    moved = [
        ControlChange(100, 0, 7, 50),
        ControlChange(200, 0, 1, 127),
        PitchBend(300, 0, 4000),
        ControlChange(400, 0, 64, 127),
    ]
    sound = pair.sound([*moved, NoteOn(5000, 0, 64, 100), NoteOff(6000, 0, 64)], 4000, 9000)
    rack = pair.rack(pair.second)
    rack.process([replace(event, time=0) for event in (moved[0], moved[1], moved[3], moved[2])], 1000)
    alone = rack.process([NoteOn(1000, 0, 64, 100), NoteOff(2000, 0, 64)], 4000)[0]
    assert np.array_equal(sound[:, 5000:], alone)


WHEEL = {"number": 1, "target": "latent.0", "low": 0.0, "high": 1.0}
MOVED = [
    ControlChange(100, 0, 64, 127),
    ControlChange(100, 0, 66, 127),
    ControlChange(100, 0, 11, 20),
    ControlChange(100, 0, 1, 90),
    PitchBend(100, 0, 4000),
]


def rpn(time, channel, number, *data):
    """A registered parameter and its coarse and fine value."""
    values = zip((101, 100, 6, 38), (0, number, *data), strict=False)
    return [ControlChange(time, channel, controller, value) for controller, value in values]


@pytest.mark.parametrize(
    "told",
    [
        [*MOVED, ControlChange(200, 0, 121, 0)],
        [*MOVED, *MidiDecoder().feed(b"\xff", 200)],
        [*MOVED, ControlChange(200, 0, 121, 0), PitchBend(300, 0, -8000), ControlChange(300, 0, 7, 40)],
        [*rpn(100, 0, 0, 7, 50), PitchBend(200, 0, 4096)],
        [*rpn(100, 0, 0, 7), ControlChange(150, 0, 38, 30), *rpn(160, 0, 127, 127), PitchBend(200, 0, 4096)],
        [*rpn(100, 0, 6, 5), *rpn(110, 0, 0, 9), *rpn(120, 2, 0, 24), PitchBend(200, 0, 4096), PitchBend(200, 1, 999)],
        [*rpn(100, 15, 6, 9), *rpn(110, 0, 6, 9), PitchBend(200, 15, 8000), PitchBend(200, 0, 4096)],
        [*rpn(100, 0, 6, 15), ControlChange(150, 1, 74, 9), ChannelPressure(150, 1, 99), *rpn(200, 0, 6, 0)],
        [*rpn(100, 0, 6, 15), ControlChange(150, 1, 74, 9), ChannelPressure(150, 1, 99)],
    ],
    ids=["reset", "system", "later", "range", "cents", "zone", "zones", "ended", "finger"],
)
def test_a_new_rack_stands_where_it_would_had_it_heard_all_that_was_played(make_patch, told):
    second = {"cc": [WHEEL], "mpe": {"slide": "latent.1", "pressure": "latent.0"}, **LONG_RELEASE}
    pair = Swapped(make_patch, LONG_RELEASE, second)
    notes = [NoteOn(5000, channel, 50 + channel, 90) for channel in (0, 1, 9, 15)]
    notes += [NoteOff(6000, note.channel, note.key) for note in notes]
    sound = pair.sound([*told, *notes], 4000, 9000)
    rack = pair.rack(second)
    rack.process([replace(event, time=0) for event in told], 1000)
    expected = rack.process([replace(event, time=event.time - 4000) for event in notes], 4000)[0]
    assert np.array_equal(sound[:, 5000:], expected)


def test_what_a_new_rack_is_told_neither_ends_what_an_old_one_holds_nor_is_it_recorded(make_patch):
    pair = Swapped(make_patch, LONG_RELEASE, LONG_RELEASE)
    zone = [*rpn(100, 0, 6, 5), PitchBend(110, 0, 3000), ControlChange(120, 0, 64, 127)]
    events = [*zone, NoteOn(500, 1, 60, 100), NoteOn(500, 2, 64, 100), NoteOff(900, 2, 64)]
    assert np.array_equal(pair.sound(events, 4000, 9000), pair.sound(events, 9000, 9000))
    player = Player(pair.rack(pair.first), RATE)
    perform(player, events, 1000, [100])
    player.swap(pair.rack(pair.second))
    assert player.block(100)[1] == []


def test_a_player_that_opens_with_what_the_last_one_stood_at_goes_on_as_that_one_would(make_patch):
    knobs = [ControlChange(9, 0, 70, 100), ControlChange(9, 0, 10, 20), PitchBend(10, 0, 3000), *rpn(11, 0, 0, 7)]
    bent, note = PitchBend(2000, 0, 4000), NoteOn(2000, 0, 60, 100)
    first = player_of(make_patch, **PLAYED)
    before, _ = perform(first, [*knobs, bent, note], 6000, [128])
    then = player_of(make_patch, **PLAYED)
    perform(then, knobs, 1000, [128])
    again = Player(Rack({0: make_patch(**PLAYED)}, RATE, omni=True), RATE, then.standing)
    assert again.standing == then.standing
    assert again.held == []
    sound, played = perform(again, [bent, note], 6000, [128])
    assert played == [bent, note]  # a recording has the rest from before
    assert np.array_equal(sound[:, 2000:], before[:, 2000:])


@pytest.mark.parametrize("takeover", ["jump", "pickup", "scale"])
def test_a_player_that_goes_on_has_its_targets_where_knobs_and_steps_had_put_them(make_patch, takeover):
    maps = [
        {"number": 20, "target": "latent.0", "low": 0.0, "high": 1.0, "takeover": takeover},
        {"nrpn": 300, "target": "latent.1", "low": 0.0, "high": 1.0},
        {"pressure": "key", "target": "pan", "low": 0.0, "high": 1.0},
    ]
    turned = [ControlChange(5, 0, 20, value) for value in (40, 70, 90, 60)]
    steps = [ControlChange(7, 0, number, value) for number, value in ((99, 2), (98, 44), (96, 0), (96, 0), (96, 0))]
    pressed = [NoteOn(8, 0, 60, 100), KeyPressure(9, 0, 60, 127)]
    first = player_of(make_patch, cc=maps)
    perform(first, [*turned, *steps, *pressed], 1000, [100])
    again = Player(Rack({0: make_patch(cc=maps)}, RATE, omni=True), RATE, first.standing)
    perform(again, [], 1000, [100])
    stood = first.rack.latent_values(0)
    assert stood != [0.5, 0.5]
    assert again.rack.latent_values(0) == stood
    assert again.rack.knobs[0].standing() == {"latent.0": stood[0], "latent.1": stood[1]}
    for player in (first, again):  # the knob goes on from where it stands
        perform(player, [ControlChange(1100, 0, 20, 50)], 1000, [100])
    assert again.rack.latent_values(0) == pytest.approx(first.rack.latent_values(0))


MAPS = [
    {"number": 20, "target": "latent.0", "low": 0.0, "high": 1.0},
    {"number": 21, "target": "effects.0.mix", "low": 0.0, "high": 1.0},
    {"nrpn": 300, "target": "latent.1", "low": 0.0, "high": 1.0},
]
MIXED = {"cc": MAPS, "effects": [{"plugin": "Chorus", "mix": 0.3}]}
TIME, BYTE = st.integers(0, 2999), st.integers(0, 127)
TARGET = st.sampled_from(["latent.0", "latent.1", "gain", "effects.0.mix", "none"])
VALUE = st.floats(-1, 2, allow_subnormal=False)
MOVES = st.one_of(
    st.builds(lambda *event: [ControlChange(*event)], TIME, st.just(0), st.sampled_from([20, 21]), BYTE),
    st.builds(lambda *event: [ParameterChange(*event)], TIME, st.just(0), TARGET, VALUE),
    st.builds(
        lambda time, value: [ControlChange(time, 0, n, v) for n, v in ((99, 2), (98, 44), (6, value))], TIME, BYTE
    ),
)


def stands(player):
    """Where all that was turned stands once nothing is under way."""
    perform(player, [], 1000, [100])
    return player.rack.knobs[0].standing()


ENTER = [ControlChange(5, 0, 99, 2), ControlChange(5, 0, 98, 44), ControlChange(5, 0, 6, 100)]
STEPS = [ControlChange(50, 0, 96, 0), ControlChange(60, 0, 96, 0)]


@given(st.lists(MOVES, max_size=12), st.lists(st.integers(1, 59), max_size=2, unique=True))
@example([[ParameterChange(990, 0, "latent.0", 0.9)]], [20])  # not yet heard where it stands
@example([[ParameterChange(500, 0, "latent.0", 0.2)], [ControlChange(990, 0, 20, 127)]], [20])
@example(
    [[ControlChange(5, 0, 20, 127)], [ParameterChange(500, 0, "latent.0", 0.2)]], [20]
)  # the knob says less than it did
@example([ENTER, STEPS], [20])
@example([[ParameterChange(500, 0, "latent.0", 0.2)]], [20, 21])
def test_knobs_stand_after_swaps_where_they_would_without(make_patch, moves, swaps):
    events = sorted((event for move in moves for event in move), key=lambda event: event.time)
    swapped, plain = (player_of(make_patch, **MIXED) for _ in range(2))
    assert swapped.rack.latency_samples > 100  # what came in two blocks is on its way
    for block in range(60):
        if block in swaps:
            swapped.swap(Rack({0: make_patch(**MIXED)}, RATE, omni=True), ())
        for player in (swapped, plain):
            for event in events:
                if 50 * block <= event.time < 50 * block + 50:
                    player.schedule(event)
            player.block(50)
    again = Player(Rack({0: make_patch(**MIXED)}, RATE, omni=True), RATE, swapped.standing)
    assert again.standing == Player(again.rack, RATE, again.standing).standing  # before a block is heard, too
    assert stands(swapped) == stands(plain)
    assert stands(again) == stands(plain)


def test_turns_of_a_preset_that_is_gone_are_gone_with_it(make_patch):
    player = player_of(make_patch, **MIXED)
    perform(
        player,
        [
            ParameterChange(5, 0, "latent.0", 0.9),
            ParameterChange(6, 0, "none", 0.9),
            ParameterChange(950, 0, "gain", 3.0),
        ],
        1000,
        [100],
    )
    assert {event.target for event in player.standing if isinstance(event, ParameterChange)} == {"latent.0", "gain"}
    player.swap(Rack({0: make_patch(**MIXED)}, RATE, omni=True))
    assert stands(player) == {}
    assert player.standing == []


def test_a_preset_that_comes_to_one_channel_leaves_the_knobs_of_other_channels_where_they_stand(make_patch):
    rack = Rack({0: make_patch(**PLAYED), 4: make_patch(**PLAYED)}, RATE, omni=True)
    player = Player(rack, RATE)
    perform(player, [ControlChange(9, channel, 70, 100) for channel in (0, 4)], 1000, [100])
    player.swap(Rack({0: make_patch(**PLAYED), 4: make_patch(**PLAYED)}, RATE, omni=True), {4})
    perform(player, [], 2000, [100])
    assert [player.rack.latent_values(channel)[0] for channel in (0, 4)] == [pytest.approx(100 / 127), 0.5]


class Standing:
    """A rack that notes what it hears; it sounds as long as something is heard, as what sound goes through does."""

    latency_samples, sounding, played, ready = 0, 0, 0, True

    def __init__(self, listens):
        self.knobs = {}
        self.listens, self.heard = listens, []

    def process(self, events, count):
        self.heard += events
        return np.zeros((2, count), np.float32), {0: np.zeros((2, count), np.float32)}

    def prepare(self):
        pass

    def latches(self, press):
        return False


@pytest.mark.parametrize("listens", [False, True])
def test_keys_that_are_held_are_those_of_a_new_rack_only_where_it_sounds_without_them(listens):
    player = Player(Standing(listens), RATE)
    keys = [NoteOn(1, 3, 64, 90), NoteOn(2, 0, 60, 80), NoteOn(3, 0, 67, 80), NoteOff(4, 0, 67)]
    perform(player, keys, 100, [100])
    rack = Standing(listens)
    player.swap(rack)
    player.block(100)
    assert rack.heard == ([NoteOn(0, 3, 64, 90), NoteOn(0, 0, 60, 80)] if listens else [])


def test_a_rack_that_is_not_ready_waits_while_the_one_before_plays_on_and_the_newest_is_taken():
    player = Player(first := Standing(False), RATE)
    late, later = Standing(False), Standing(False)
    late.ready = later.ready = False
    player.swap(late)
    player.block(100)
    player.swap(later)
    player.schedule(NoteOn(100, 0, 60, 80))
    player.block(100)
    assert player.rack is first
    assert first.heard == [NoteOn(100, 0, 60, 80)]
    late.ready = later.ready = True
    player.schedule(NoteOn(200, 0, 61, 80))
    player.block(100)
    assert player.rack is later
    assert later.heard == [NoteOn(0, 0, 61, 80)]
    assert late.heard == []


def test_a_rack_in_the_place_of_one_that_waited_has_its_channels_and_calls_its_start_too():
    player, calls = Player(Standing(False), RATE), []
    late, later = Standing(False), Standing(False)
    late.ready = later.ready = False
    player.block(100)
    player.schedule(ControlChange(100, 2, 20, 9))
    player.schedule(ControlChange(100, 5, 20, 9))
    player.schedule(ControlChange(100, 7, 20, 9))
    player.swap(late, {2}, lambda *told: calls.append(("late", *told)))
    player.block(100)
    player.swap(later, {5}, lambda *told: calls.append(("later", *told)))
    player.swap(later, {5})
    late.ready = later.ready = True
    player.block(100)
    assert calls == [("late", 200, 0), ("later", 200, 0)]
    assert [event.channel for event in later.heard if isinstance(event, ControlChange)] == [7]


@pytest.mark.parametrize("second_keys", ["hold", "transpose"])
def test_a_press_ends_a_latched_key_of_an_earlier_preset_and_begins_no_other(make_patch, second_keys):
    """Racks of one preset with keys that latch, and of another."""
    racks = []
    for keys in ("hold", second_keys):
        rack = Rack({0: make_patch(**LONG_RELEASE)}, RATE, omni=True)
        if keys == "hold":
            latching(rack)
        racks.append(rack)
    player = Player(racks[0], RATE)
    perform(player, [NoteOn(0, 0, 60, 100), NoteOff(200, 0, 60)], 1000, [100])
    player.swap(racks[1])
    perform_on(player, [NoteOn(2000, 0, 64, 100), NoteOff(2100, 0, 64)], 3000)
    perform_on(player, [NoteOn(3000, 0, 60, 100), NoteOff(3100, 0, 60)], 4000)
    (voice,) = racks[0]._instruments[0]._processor.voices
    assert voice.envelope.off is not None
    assert [voice.key for voice in racks[1]._instruments[0]._processor.voices] == [64]
    perform_on(player, [NoteOn(5000, 0, 60, 100)], 6000)
    assert 60 in [voice.key for voice in racks[1]._instruments[0]._processor.voices]


@pytest.mark.parametrize("end", [ControlChange(110, 0, 123, 0), ControlChange(110, 3, 120, 0), SystemReset(110), None])
def test_a_press_after_a_message_that_ends_all_notes_begins_a_note(end):
    before, after = Standing(False), Standing(False)
    before.sounding, before.latches = True, lambda press: True
    player = Player(before, RATE)
    player.block(100)
    player.swap(after)
    events = [ControlChange(105, 0, 1, 9), *([end] if end else []), NoteOn(120, 0, 60, 100)]
    perform_on(player, events, 200)
    assert any(isinstance(event, NoteOn) for event in after.heard) is (end is not None)
    assert any(isinstance(event, LatchEnd) for event in before.heard) is (end is None)


def latching(rack):
    """Have the keys of a rack latch."""
    voices = rack._instruments[0]._processor.voices
    latch = Latch(16, {}, RATE, voices._factory)
    for holder in (rack._instruments[0]._processor, rack._instruments[0]._synthesis):
        for name in ("voices", "_voices"):
            if getattr(holder, name, None) is voices:
                setattr(holder, name, latch)


def perform_on(player, events, end):
    for event in events:
        player.schedule(event)
    while player.now < end:
        player.block(100)


def test_no_sample_jumps_when_loud_racks_come_and_go(make_patch):
    loud = {"play": {"gain_db": 12.0}, **LONG_RELEASE}
    pair = Swapped(make_patch, loud, loud)
    events = [NoteOn(0, 0, 60 + 4 * i, 127) for i in range(4)]
    plain = pair.sound(events, 20_000, 20_000)
    assert np.abs(plain).max() > LIMIT_KNEE + 0.1
    assert np.array_equal(pair.sound(events, 6000, 20_000), plain)


def test_only_so_many_racks_ring_on_and_the_oldest_fades_without_a_click(make_patch):
    player = player_of(make_patch, **LONG_RELEASE)
    sounds = []
    for turn in range(LEAVING + 2):
        if turn:
            player.swap(Rack({0: make_patch(**LONG_RELEASE)}, RATE, omni=True))
        player.schedule(NoteOn(player.now, 0, 48 + 5 * turn, 100))
        for _ in range(20):
            sounds.append(player.block(100)[0])
    assert player.sounding == LEAVING + 1
    alone, _ = perform(player_of(make_patch, **LONG_RELEASE), [NoteOn(0, 0, 48, 100)], 12_000, [100])
    fade = round(FADE_SECONDS * RATE)
    sound, swapped_at = np.concatenate(sounds, axis=1), 2000 * (LEAVING + 1)
    others = sum(
        np.pad(
            Rack({0: make_patch(**LONG_RELEASE)}, RATE, omni=True).process(
                [NoteOn(0, 0, 48 + 5 * turn, 100)], sound.shape[1] - 2000 * turn
            )[0],
            ((0, 0), (2000 * turn, 0)),
        )
        for turn in range(1, LEAVING + 2)
    )
    left = np.clip((swapped_at + fade - np.arange(sound.shape[1])) / fade, 0, 1)
    expected = others + left * np.pad(alone, ((0, 0), (0, sound.shape[1])))[:, : sound.shape[1]]
    assert np.abs(expected).max() < LIMIT_KNEE
    assert sound[:, : swapped_at + 2000] == pytest.approx(expected[:, : swapped_at + 2000], abs=1e-6)


def test_a_rack_whose_voices_have_ended_leaves_before_one_that_is_held(make_patch):
    player = player_of(make_patch, **LONG_RELEASE)
    player.schedule(NoteOn(0, 0, 60, 100))
    for _ in range(3 * LEAVING):
        player.block(1000)
        player.swap(Rack({0: make_patch(**LONG_RELEASE)}, RATE, omni=True))
    for _ in range(2):
        player.block(1000)
    assert player.sounding == 1
    assert len(player._seats) == LEAVING + 1


def test_a_rack_leaves_once_its_effects_have_had_time_to_ring_out(make_patch):
    player = player_of(make_patch, **LONG_RELEASE)
    player.schedule(NoteOn(0, 0, 60, 100))
    player.block(1000)
    player.swap(Rack({0: make_patch()}, RATE, omni=True))
    player.block(1000)
    player.schedule(NoteOff(player.now, 0, 60))
    for _ in range(round((RING_SECONDS - 1) * RATE / 1000)):
        player.block(1000)
    assert len(player._seats) == 2
    for _ in range(round(2 * RATE / 1000)):
        player.block(1000)
    assert len(player._seats) == 1
