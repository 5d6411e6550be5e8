"""Blocks that the core renders by itself: the samples of blocks that Python asks for, until something happens."""

import ctypes
import sys

import numpy as np
import pytest
from timbrel.host.arrays import address_of
from timbrel.host.audio.output import limit
from timbrel.host.audio.sound_card import PortAudioRing
from timbrel.host.events import ControlChange, NoteOff, NoteOn, ParameterTouch, PitchBend
from timbrel.host.live import audio_process
from timbrel.host.live.audio_process import ProcessState
from timbrel.host.live.render_loop import NOTED_BLOCKS, RenderLoop
from timbrel.host.midi.arrival import Arrival
from timbrel.host.midi.ports import Timed
from timbrel.host.play import player as player_module
from timbrel.host.play.player import Player, prime
from timbrel.host.play.rack import Rack
from timbrel.host.session.messages import Setup, Sound, Take
from timbrel.host.session.realtime import BLOCK_SWITCH_SECONDS, SWITCH_SECONDS
from timbrel.host.unattended import LONGEST_BLOCK, MOST_BLOCKS, UnattendedRun, unattended_run
from timbrel.host.voice_library import CoreVoice

from .rigs import COUNT, KNOBS, PRESETS, needs_core, performance

pytestmark = needs_core

CHORD = [36, 48, 55, 60, 64, 67, 72, 100]
EVENTS = [
    *(NoteOn(700, 0, key, 120) for key in CHORD),
    *(ControlChange(5000 + 480 * step, 0, 70 + step % 8, 20 * step % 128) for step in range(40)),
    *(NoteOn(9000 + 300 * place, 0, key, 90) for place, key in enumerate((50, 57, 62))),
    *(PitchBend(14_000 + 100 * step, 0, 400 * step) for step in range(20)),
    *(NoteOff(20_000, 0, key) for key in CHORD),
]
EVENTS.sort(key=lambda event: event.time)


class Ring:
    """PortAudio's ring in memory, read as soon as it has been written, but for a block."""

    ring_address = property(lambda self: ctypes.addressof(self.fields))
    latency_seconds, stuck, underruns = 0.0, False, 0

    def __init__(self, rate, block, depth=2, size=1 << 14):
        self.rate, self.block, self.depth, self.written = rate, block, depth, 0
        self._memory = (ctypes.c_float * (2 * size))()
        self._frames = np.frombuffer(self._memory, np.float32).reshape(size, 2)
        self.fields = PortAudioRing(size, 0, 0, 2 * size - 1, size - 1, 8, ctypes.addressof(self._memory))
        self.blocks, self.runs, self.alive = [], [], True
        self.leave(block)

    @property
    def taken(self):
        return self.written - (self.fields.written - self.fields.read) % (2 * self.fields.size)

    def leave(self, samples):
        """Read all but so many samples."""
        self.fields.read = (self.fields.written - samples) % (2 * self.fields.size)

    def advance(self, count):
        """Keep the written samples, and read them."""
        self.written += count
        places = np.arange(self.fields.written - count, self.fields.written) % self.fields.size
        self.blocks.append(self._frames[places].T)
        self.runs.append(count // self.block)
        self.leave((self.depth - 1) * self.block)

    def write(self, sound):
        raise AssertionError("Python renders a block")

    def start(self):
        pass


def player_of(patch, rate, block, **options):
    rack = Rack({0: patch}, rate, live=True, **options)
    prime(rack, block)
    return Player(rack, rate)


def asked_for(player, count, block):
    """The player's sound, [2, count], in blocks that Python asks for."""
    blocks = []
    while player.now < count:
        blocks.append(player.block(block)[0])
        player.prepare()
    return np.concatenate(blocks, axis=1)[:, :count]


def lent(player, ring, arrival, count):
    """The same by runs of the core."""
    return lent_by(unattended_run(ring.rate, ring.block), player, ring, arrival, count)


def lent_by(run, player, ring, arrival, count):
    fields = run.fields
    while player.now < count:
        due = player.lend(run)
        if due is None:
            ring.blocks.append(player.block(ring.block)[0])
            player.prepare()
            continue
        fields.ring, fields.arrival, fields.written = ring.ring_address, ctypes.addressof(arrival.flag), ring.written
        fields.depth, fields.settled, fields.patience = 400, 0.0, 0.0
        run.run()
        ring.advance(run.samples)
        player.take_back(run, due)
        player.prepare()
    return np.concatenate(ring.blocks, axis=1)[:, :count]


@pytest.mark.parametrize(
    ("rate", "block"), [(48_000, 128), (44_100, 128), (96_000, 256), (48_000, LONGEST_BLOCK), (32_000, 37)]
)
def test_runs_have_the_samples_of_single_blocks(make_patch, recorded, rate, block):
    patch, count = make_patch(recorded, gesture={"variety": 1.0}, play={"gain_db": 12.0}), 30_000
    players = [player_of(patch, rate, block) for _ in range(2)]
    for player in players:
        for event in EVENTS:
            player.schedule(event)
    expected = asked_for(players[0], count, block)
    ring = Ring(rate, block)
    assert np.array_equal(lent(players[1], ring, Arrival(), count), expected)
    assert 0.7 < np.abs(expected).max() <= 1.0  # the limiter works
    assert max(ring.runs) > 2
    assert max(ring.runs) <= MOST_BLOCKS
    assert players[0].sounding == players[1].sounding


MOVED = PRESETS | {
    "path from the note": {"motion": [{"path": [[0.0] * 8, [1.0] * 8], "times": [0.0, 0.3], "start": "note"}]},
    "morph": {"morph": {"values": [0.5] * 8}, "cc": [{"number": 70, "target": "morph", "low": 0.0, "high": 1.0}]},
    "touch": {"cc": KNOBS, "motion": [{"target": "latent.0", "depth": 0.3, "rate_hz": 3.0}]},
}


@pytest.mark.parametrize("name", MOVED)
def test_whatever_moves_codes_is_in_the_samples_of_runs(make_patch, recorded, name):
    patch, touches = make_patch(recorded, **MOVED[name]), [(8000, True), (14_000, False)]
    events = performance(1, name in ("mpe", "pressure")) + [
        ParameterTouch(time, 0, "latent.0", down) for time, down in touches
    ]
    players = [player_of(patch, 44_100, 128, omni=True) for _ in range(2)]
    for player in players:
        for event in sorted(events, key=lambda event: event.time):
            player.schedule(event)
    expected, ring = asked_for(players[0], COUNT, 128), Ring(44_100, 128)
    assert np.array_equal(lent(players[1], ring, Arrival(), COUNT), expected)
    assert max(ring.runs) > 1
    assert np.abs(expected).max() > 0.003
    streams = [voice.stream for voice in players[1].rack._instruments[0]._synthesis._known]
    assert all(stream.next_hop == stream.voice.newest_hop + 1 for stream in streams)


def test_a_note_has_the_code_of_its_own_hop_where_a_knob_moves_just_before_it(make_patch, recorded):
    players = [player_of(make_patch(recorded, cc=KNOBS), 44_100, 128) for _ in range(2)]
    for number in range(12):
        time = 3000 * number + 111 * number
        for player in players:
            for index in range(8):
                player.schedule(ControlChange(time, 0, 70 + index, 127 * (number % 2)))
            player.schedule(NoteOn(time + 90 * number, 0, 50 + number, 100))
    expected = asked_for(players[0], COUNT, 128)
    assert np.array_equal(lent(players[1], Ring(44_100, 128), Arrival(), COUNT), expected)


@pytest.mark.parametrize("shape", ["linear", "spherical"])
def test_the_core_reads_the_knobs_where_a_morph_rests_at_0_and_clamps_none(make_patch, recorded, shape):
    maps = [entry | {"low": low, "high": high} for entry, (low, high) in zip(KNOBS, recorded.card.spans, strict=True)]
    maps.append({"number": 1, "target": "morph", "low": 0.0, "high": 1.0})
    maps.append({"number": 16, "target": "latent.3", "low": -5.0, "high": 5.0})  # beyond its span
    patch = make_patch(recorded, morph={"values": [0.5] * 8, "shape": shape}, cc=maps)
    wheel = {0: 127, 9300: 127, 9500: 64, 15_000: 0}  # the first one is before the note
    events = [ControlChange(time, 0, 1, value) for time, value in wheel.items()] + [NoteOn(100, 0, 60, 100)]
    events += [ControlChange(time, 0, 70 + time // 400 % 8, time // 40 % 128) for time in range(200, 38_000, 400)]
    events += [ControlChange(50, 0, 1, 0), ControlChange(50_000, 0, 16, 127), NoteOff(55_000, 0, 60)]
    players = [player_of(patch, 44_100, 128) for _ in range(2)]
    for player in players:
        for event in sorted(events, key=lambda event: event.time):
            player.schedule(event)
    expected, ring = asked_for(players[0], 60_000, 128), Ring(44_100, 128)
    run, alone = unattended_run(44_100, 128), []
    for end in range(3000, 60_001, 3000):
        lent_by(run, players[1], ring, Arrival(), end)
        alone.append(bool(run.fields.knobs))
    assert np.array_equal(np.concatenate(ring.blocks, axis=1)[:, :60_000], expected)
    assert alone[:3] == [True] * 3
    assert alone[3:5] == [False] * 2
    assert alone[6:16] == [True] * 10
    assert alone[17:] == [False] * 3


@pytest.mark.parametrize("sent_before", [False, True])
def test_codes_that_the_core_reads_from_knobs_are_those_that_python_sends(make_patch, recorded, sent_before):
    patch = make_patch(recorded, cc=KNOBS)
    synthesis = Rack({0: patch}, 44_100, live=True)._instruments[0]._synthesis
    engine, latents, on = synthesis._engine, len(patch.model.card.latents), 5000
    own, others = (engine.start_stream(60.0, on) for _ in range(2))
    for index in range(latents):
        synthesis._processor.codes.turn(4000 + 100 * index, f"latent.{index}", 1.0)
    first, others_first, last = own.next_hop, others.next_hop, 9000 // engine.knob_hop
    for stream in (own, others) if sent_before else (others,):
        engine.send_codes([stream], synthesis._processor.motion_of([], gestures=False), first)
    engine.send_codes([others], synthesis._processor.motion_of([], gestures=False), last)
    now = last * engine.knob_hop + 1
    places = np.array([own.at], np.uintp)
    end = engine._library.core_knob_codes(engine.core, address_of(places), 1, synthesis._sent_knobs(), now)
    assert end == engine.frame_of(last + 1)
    assert own.voice.newest_hop == others.voice.newest_hop == last
    slots = np.arange(max(first, others_first), last + 1) % 16
    codes = [
        np.ctypeslib.as_array(
            (ctypes.c_float * (16 * latents)).from_address(stream.at + ctypes.sizeof(CoreVoice))
        ).reshape(16, latents)[slots]
        for stream in (own, others)
    ]
    assert np.array_equal(*codes)
    assert len(np.unique(codes[0])) > 4


@pytest.mark.parametrize(("rate", "block", "swaps"), [(48_000, 128, 1), (44_100, 256, 2)])
def test_racks_that_ring_on_are_left_to_the_core_together(make_patch, recorded, rate, block, swaps, monkeypatch):
    monkeypatch.setattr(player_module, "RING_SECONDS", 0.3)
    moving = make_patch(recorded, motion=[{"target": "latent.0", "shape": "sine", "depth": 0.3, "rate_hz": 3.0}])
    players = [player_of(moving, rate, block) for _ in range(2)]
    for player in players:
        for key in CHORD[:4]:
            player.schedule(NoteOn(0, 0, key, 100))
        asked_for(player, 40 * block, block)
        for number in range(swaps):
            patch = make_patch(recorded, play={"gain_db": 6.0 - 20.0 * number, "pan": 0.5})
            player.swap(Rack({0: patch}, rate, live=True))
            begin = player.now
            for time in range(40):
                player.schedule(ControlChange(begin + 480 * time, 0, 70 + time % 8, 20 * time % 128))
            for key in CHORD[4:]:
                player.schedule(NoteOn(begin + 700, 0, key - number, 120))
            asked_for(player, begin + 12 * block, block)
        player.schedule(NoteOn(begin + 15_000, 0, 62, 100))
        for key in (*CHORD, 62):
            player.schedule(NoteOff(begin + 20_000, 0, key))
    assert len(players[0]._seats) == 1 + swaps
    begin, ring, arrival = players[0].now, Ring(rate, block), Arrival()
    lent(players[1], ring, arrival, begin + 6000)
    expected = asked_for(players[0], players[1].now, block)
    first, second = ([seat.rack.played for seat in player._seats] for player in players)
    assert first == second
    count = 90_000
    expected = np.concatenate([expected, asked_for(players[0], count, block)], axis=1)
    assert np.array_equal(lent(players[1], ring, arrival, count)[:, : expected.shape[1]], expected)
    assert np.abs(expected).max() > 0.1
    assert max(ring.runs) > 2
    assert sum(ring.runs) * block > 0.8 * (count - begin)
    assert [player.ringing for player in players] == [False, False]


def test_a_run_ends_when_an_event_arrives(make_patch, recorded):
    player, arrival = player_of(make_patch(recorded), 48_000, 128), Arrival()
    player.schedule(NoteOn(0, 0, 60, 100))
    ring = Ring(48_000, 128)
    lent(player, ring, arrival, 1024)
    assert max(ring.runs) > 1
    arrival.set()
    ring = Ring(48_000, 128)
    lent(player, ring, arrival, player.now + 512)
    assert ring.runs == [1, 1, 1, 1]  # the first block of a run is always rendered


def test_a_run_ends_where_python_is_needed_and_before_what_it_has_not_sent(make_patch, recorded):
    player, ring, arrival = player_of(make_patch(recorded), 48_000, 128), Ring(48_000, 128), Arrival()
    player.schedule(NoteOn(0, 0, 60, 100))
    lent(player, ring, arrival, 2048)
    run, block = unattended_run(48_000, 128), 120  # samples of the model in a block, at the most
    for until, known_end, blocks in ((500, 10_000, 5), (10_000, 500, 4)):
        due = player.lend(run)
        fields, begin = run.fields, run.fields.now
        fields.ring, fields.arrival, fields.written = ring.ring_address, ctypes.addressof(arrival.flag), ring.written
        fields.depth, fields.patience = 400, 0.0
        fields.needed_at, fields.known_end = begin + until, begin + known_end
        run.run()
        assert fields.now < begin + min(until + block, known_end + 1)
        assert fields.blocks == blocks
        ring.advance(run.samples)
        player.take_back(run, due)


def test_an_event_beyond_the_first_block_is_not_passed_over(make_patch, recorded):
    output = Rack({0: make_patch(recorded)}, 48_000)._instruments[0]._output
    waiting, run = output.schedule(NoteOn(5000, 0, 60, 100)), unattended_run(48_000, 128)
    events, count = output.lend(run)
    assert (events, run.fields.known_end) == ([], waiting.time)
    assert 100 < count < 200


def test_a_player_comes_to_rest_by_runs(make_patch, recorded):
    player, ring = player_of(make_patch(recorded), 48_000, 128), Ring(48_000, 128)
    for event in (NoteOn(0, 0, 60, 100), NoteOff(4000, 0, 60)):
        player.schedule(event)
    lent(player, ring, Arrival(), 40_000)
    assert not player.resting
    lent(player, ring, Arrival(), 150_000)
    assert player.resting
    assert player.sounding == 0


def test_a_run_ends_after_a_block_that_may_be_late(make_patch, recorded):
    player, ring = player_of(make_patch(recorded), 48_000, 128), Ring(48_000, 128)
    player.schedule(NoteOn(0, 0, 60, 100))
    ring.depth = 1  # nothing waits in it when the card takes a block
    ring.leave(0)
    lent(player, ring, Arrival(), 1024)
    assert set(ring.runs) == {1}


def test_a_run_waits_for_the_card_no_longer_than_its_patience(make_patch, recorded):
    player, ring, arrival = player_of(make_patch(recorded), 48_000, 128), Ring(48_000, 128), Arrival()
    player.schedule(NoteOn(0, 0, 60, 100))
    run = unattended_run(48_000, 128)
    due = player.lend(run)
    fields = run.fields
    fields.ring, fields.arrival, fields.depth = ring.ring_address, ctypes.addressof(arrival.flag), 2
    fields.patience, fields.poll_seconds, fields.forget = 0.01, 0.001, 10.0
    run.run()
    assert run.fields.blocks == 1  # with it the ring is full, and nobody reads
    player.take_back(run, due)
    assert player.now == 128


class Events:
    """Gives each event once the loop has come to a block, and rings before it."""

    def __init__(self, events, ring, arrival):
        self.events, self.ring, self.arrival = events, ring, arrival

    def poll(self):
        due = [event for event in self.events if event.time <= self.ring.written]
        self.events = [event for event in self.events if event.time > self.ring.written]
        return [Timed(0.0, event) for event in due]


def test_a_loop_leaves_all_to_the_core_and_changes_no_sample(make_patch, recorded):
    patch, count = make_patch(recorded), 12_800
    ring, arrival, taken = Ring(48_000, 128, depth=6), Arrival(), []
    source = Events(EVENTS, ring, arrival)

    def note(sound, events):
        taken.append((sound.copy(), list(events)))
        arrival.set()
        if ring.written >= count:
            loop.stop()

    player = player_of(patch, 48_000, 128)
    loop = RenderLoop(player, ring, [source], lowest_latency=True, on_block=note, arrival=arrival)
    loop.run()
    events = [event for _, some in taken for event in some]
    assert [type(event) for event in events] == [type(event) for event in EVENTS[: len(events)]]
    assert len(events) > len(CHORD)
    again = player_of(patch, 48_000, 128)
    for event in events:
        again.schedule(event)
    expected = asked_for(again, count, 128)
    assert np.abs(expected).max() > 0.01
    assert np.array_equal(np.concatenate(ring.blocks, axis=1)[:, :count], expected)
    assert np.array_equal(np.concatenate([sound for sound, _ in taken], axis=1)[:, :count], expected)
    assert loop.meters.load.count == sum(ring.runs)
    assert ring.runs[0] > 1


def test_while_the_core_runs_a_loop_asks_for_the_interpreter_lock_sooner_than_in_a_block(
    make_patch, recorded, monkeypatch
):
    ring, arrival, in_runs, in_blocks, run_core = Ring(48_000, 128), Arrival(), [], [], UnattendedRun.run

    def watched_run(run):
        in_runs.append(sys.getswitchinterval())
        run_core(run)

    def note(sound, events):
        in_blocks.append(sys.getswitchinterval())
        if ring.written >= 1280:
            loop.stop()

    monkeypatch.setattr(UnattendedRun, "run", watched_run)
    loop = RenderLoop(player_of(make_patch(recorded), 48_000, 128), ring, [], on_block=note, arrival=arrival)
    loop.run()
    assert in_runs == pytest.approx([SWITCH_SECONDS] * len(in_runs))
    assert in_blocks == pytest.approx([BLOCK_SWITCH_SECONDS] * len(in_blocks))


def test_a_block_that_is_due_goes_before_the_notes_of_those_before_it(make_patch, recorded):
    ring, written = Ring(48_000, 128, depth=2), []

    def note(sound, events):
        written.append((ring.written, sound.shape[1]))
        if ring.written >= 12 * 128:
            loop.stop()

    arrival = Arrival()
    loop = RenderLoop(player_of(make_patch(recorded), 48_000, 128), ring, [], on_block=note, arrival=arrival)
    loop.run()  # the card reads each block at once, so that one is always due
    assert written == [(4 * 128, 4 * 128), (8 * 128, 4 * 128), (12 * 128, 4 * 128)]


@pytest.mark.parametrize(("pace", "noted"), [(0.0, [NOTED_BLOCKS]), (0.6, [3])])
def test_blocks_are_noted_together_unless_one_took_long(make_patch, recorded, pace, noted):
    block, lengths = 128, []
    ring = Ring(48_000, block, depth=2)
    loop = RenderLoop(
        player_of(make_patch(recorded), 48_000, block),
        ring,
        [],
        on_block=lambda sound, _: lengths.append(sound.shape[1]),
    )
    for _ in range(20):
        loop._unaccounted.append(([pace * block / 48_000] * 3, np.zeros((2, 3 * block), np.float32), []))
        if loop._is_due():
            break
    loop._account_all()
    assert lengths == [-(-blocks // 3) * 3 * block for blocks in noted]
    assert loop._count == sum(lengths) // block


def test_blocks_are_noted_before_a_rest(make_patch, recorded, monkeypatch):
    order, ring, player = [], Ring(48_000, 128), player_of(make_patch(recorded), 48_000, 128)
    loop = RenderLoop(player, ring, [], on_block=lambda sound, _: order.append(sound.shape[1]), recording=False)
    loop._unaccounted.append(([0.0], np.zeros((2, 128), np.float32), []))

    def rest():
        order.append("rest")
        loop.stop()

    monkeypatch.setattr(Player, "resting", True)
    monkeypatch.setattr(loop, "_play_silence", rest)
    monkeypatch.setattr(loop, "_wait", lambda: False)
    loop.run()
    assert order == [128, "rest"]


def test_a_take_counts_from_the_block_that_begins_it(monkeypatch):
    """The card reads each block at once: one is always due, and those before it wait to be noted."""
    monkeypatch.setattr(audio_process, "SETTLE_SECONDS", 0.0)

    class TwoWayRing(Ring):
        def write(self, sound):
            self.written += self.block
            self.blocks.append(sound)

    ring, block = TwoWayRing(48_000, 128), 128
    state = ProcessState(Setup("gm-keys"), None, rate=ring.rate)
    patches = state.presets.opened({None: "gm-keys"})
    state.presets.activate({None: "gm-keys"}, patches)

    class Page:
        def poll(self):
            if len(ring.blocks) == 3:  # two runs wait to be noted
                audio_process._begin_take(state)
            if ring.written >= 60 * block:
                state.loop.stop()
            return []

    record = audio_process._recorder(state)
    player = player_of(patches[None], ring.rate, block)
    state.loop = RenderLoop(player, ring, [Page()], on_block=record, recording=False, arrival=state.arrival)
    state.loop.run()
    takes, sounds = ([message for message in state.outbox if isinstance(message, kind)] for kind in (Take, Sound))
    recorded_bytes = sum(len(sound.data) for sound in sounds)
    assert len(takes) == 1
    assert 0 < takes[0].time < ring.written
    assert recorded_bytes == 8 * (ring.written - takes[0].time)


def test_a_loop_whose_inputs_do_not_announce_events_looks_each_block(make_patch, recorded):
    ring = Ring(48_000, 128, depth=6)

    def note(sound, events):
        if ring.written >= 6400:
            loop.stop()

    source = Events([NoteOn(300, 0, 60, 100)], ring, Arrival())
    loop = RenderLoop(player_of(make_patch(recorded), 48_000, 128), ring, [source], on_block=note)
    loop.run()
    assert set(ring.runs) == {1}
    assert np.abs(np.concatenate(ring.blocks, axis=1)).max() > 0.01


def test_effects_and_several_instruments_are_not_left_alone(make_patch, recorded):
    run = unattended_run(48_000, 128)
    plain, reverb = make_patch(recorded), make_patch(recorded, effects=[{"plugin": "Reverb"}])
    for patches in ({0: reverb}, {0: plain, 1: plain}):
        assert Player(Rack(patches, 48_000), 48_000).lend(run) is None
    player = Player(Rack({0: plain}, 48_000), 48_000)
    player.swap(Rack({0: plain}, 48_000))
    assert player.lend(run) is None  # a change of presets
    player.block(128)
    assert player.lend(run) == []  # both
    player = Player(Rack({0: reverb}, 48_000), 48_000)
    player.swap(Rack({0: plain}, 48_000))
    player.block(128)
    assert player.lend(run) is None  # the former one has effects


def test_a_rack_that_fades_is_not_left_alone_and_afterwards_the_last_one_is(make_patch, recorded, monkeypatch):
    monkeypatch.setattr(player_module, "RING_SECONDS", 0.05)
    player, run = player_of(make_patch(recorded), 48_000, 128), unattended_run(48_000, 128)
    ring, arrival = Ring(48_000, 128), Arrival()
    player.swap(Rack({0: make_patch(recorded)}, 48_000, live=True))
    player.block(128)
    lent_by(run, player, ring, arrival, player.now + 128)
    assert run.fields.next
    while player._seats[0].fade is None:
        player.block(128)
    assert player.ringing
    assert player.lend(run) is None
    while player.ringing:
        player.block(128)
    lent_by(run, player, ring, arrival, player.now + 128)
    assert not run.fields.next


def test_blocks_too_long_and_a_missing_core_are_left_to_python(monkeypatch):
    assert unattended_run(48_000, LONGEST_BLOCK + 1) is None
    monkeypatch.setattr("timbrel.host.unattended.unlocked_library", lambda: None)
    assert unattended_run(48_000, 128) is None


def test_the_limiter_is_that_of_numpy(monkeypatch):
    rng = np.random.default_rng(0)
    loud = (10 ** rng.uniform(-3, 8, (2, 4000)) * rng.choice([-1, 1], (2, 4000))).astype(np.float32)
    loud[0, :8] = [np.nan, np.inf, -np.inf, 0.7, -0.7, -0.0, 1e6, 3e38]
    before = loud.copy()
    compiled = limit(loud)
    assert np.array_equal(loud, before, equal_nan=True)  # the sound itself is kept
    monkeypatch.setattr("timbrel.host.audio.output.voice_library", lambda: None)
    assert compiled.tobytes() == limit(loud).tobytes()
