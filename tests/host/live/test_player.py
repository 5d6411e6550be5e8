"""Live playing without a device: the same samples as offline, whatever the blocks and the clocks do."""

import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from timbrel.host.events import Clock, ControlChange, NoteOff, NoteOn, ParameterChange, PitchBend
from timbrel.host.midi.decode import MidiDecoder, reset_events
from timbrel.host.midi.files import Performance, read_performance
from timbrel.host.midi.recorder import Recorder
from timbrel.host.play.player import NEW_NOTES, Player
from timbrel.host.play.rack import Rack
from timbrel.host.play.render import FADE_SECONDS, blocks

from ..cover import cover
from .playing import LONG_RELEASE, PLAYED, RATE, perform, player_of

BLOCKS = [16, 63, 64, 65, 128, 480, 512, 2048, 8193]


def performance(rate, seconds=0.8):
    """Notes, knobs, wheel, pedals, turns and a clock, as a player would give them; all keys come up in the end."""
    random = np.random.default_rng(3)
    end = round(seconds * rate)
    events = []
    for _ in range(22):
        on, key = int(random.integers(0, end * 3 // 4)), int(random.integers(40, 80))
        length = int(random.choice([1, 40, 3000, end // 6]))  # some within a block, some across many
        events += [NoteOn(on, 0, key, int(random.integers(20, 128))), NoteOff(on + length, 0, key)]
    for number in (70, 71, 91, 93, 7, 10, 11, 64, 66):
        times = np.sort(random.integers(0, end, 9))
        events += [ControlChange(int(time), 0, number, int(random.integers(0, 128))) for time in times]
    events += [PitchBend(int(time), 0, int(random.integers(-8192, 8192))) for time in random.integers(0, end, 12)]
    for target, most in (("latent.0", 1.0), ("pan", 1.0), ("envelope.sustain", 1.0), ("effects.0.mix", 0.5)):
        events += [
            ParameterChange(int(time), 0, target, most * float(random.random())) for time in random.integers(0, end, 4)
        ]
    events += [Clock(0, "start"), *(Clock(round(t * rate / 44), "tick") for t in range(1, 30)), Clock(end // 2, "stop")]
    events += [event for event in reset_events(end) if event.channel == 0]
    return sorted(events, key=lambda event: event.time)


def offline(rack, events, rate, seconds):
    parts = [mix for _, mix, _ in blocks(rack, Performance(events, events[-1].time, [0], []), seconds, rate)]
    return np.concatenate(parts, axis=1)


RANDOM_MIX = np.random.default_rng(8).choice([1, 16, 63, 64, 65, 128, 480, 2048], 400).tolist()


@pytest.fixture(scope="module")
def rendered(make_patch, tiny):
    """A function that gives a rack, and the performance with its sound offline, at a rate."""
    made = {}

    def at(rate):
        patch = make_patch(tiny(sample_rate=44100), **PLAYED)
        if rate not in made:
            events = performance(rate)
            made[rate] = events, offline(Rack({0: patch}, rate, omni=True), events, rate, 0.5)
        return Rack({0: patch}, rate, omni=True), *made[rate]

    return at


@pytest.mark.parametrize(
    ("sizes", "rate"), cover(10, [*([size] for size in BLOCKS), RANDOM_MIX], [44100, 48000]), ids=lambda it: str(it)[:6]
)
def test_live_is_offline_to_the_sample_in_blocks_of_any_size(rendered, rate, sizes):
    rack, events, expected = rendered(rate)
    latency = rack.latency_samples
    sound, played = perform(Player(rack, rate), events, expected.shape[1], sizes)
    assert latency > 0
    assert played == events
    assert np.abs(expected).max() > 0.05
    whole = expected.shape[1] - max(latency, round(FADE_SECONDS * rate))  # offline, a tail that is cut fades
    assert np.array_equal(sound[:, latency : latency + whole], expected[:, :whole])


def test_a_recording_of_what_took_effect_renders_to_what_was_heard(make_patch, tmp_path):
    random = np.random.default_rng(0)
    player = player_of(make_patch, 48000, play={"voices": 16}, **LONG_RELEASE)
    sounds = []
    with Recorder(tmp_path / "take.mid", 48000) as recorder:
        for count in range(300):
            for _ in range(int(random.integers(0, 14)) if count % 9 == 0 and count < 200 else 0):  # too many, and late
                time = player.now + int(random.integers(-500, 300))
                player.schedule(NoteOn(time, int(random.integers(0, 3)), int(random.integers(30, 90)), 90))
            if count % 17 == 0:
                player.schedule(ControlChange(player.now + 5, 1, 64, 127 * (count // 17 % 2)))
                player.schedule(ControlChange(player.now + 70, 2, 123, 0))
            sound, events = player.block(128)
            sounds.append(sound)
            recorder.add(events)
        recorder.spill(player.now)
    heard = np.concatenate(sounds, axis=1)
    written = read_performance(tmp_path / "take.mid", 48000)
    rack = Rack({0: make_patch(play={"voices": 16}, **LONG_RELEASE)}, 48000, omni=True)
    again = np.concatenate([mix for _, mix, _ in blocks(rack, written, 2.0, 48000)], axis=1)
    latency = rack.latency_samples
    assert np.abs(heard).max() > 0.1
    assert np.array_equal(heard[:, latency:], again[:, : heard.shape[1] - latency])


def test_a_late_event_takes_effect_with_the_next_sample(make_patch):
    player = player_of(make_patch)
    player.block(1000)
    player.schedule(NoteOn(17, 0, 60, 100))
    _, played = player.block(100)
    assert played == [NoteOn(1000, 0, 60, 100)]


def test_events_of_one_sample_keep_the_order_in_which_they_came(make_patch):
    player = player_of(make_patch)
    events = [NoteOn(50, 0, 60, 100), NoteOff(50, 0, 60), NoteOn(50, 0, 60, 90), ControlChange(50, 0, 64, 127)]
    for event in [*events, NoteOn(20, 0, 70, 100)]:
        player.schedule(event)
    assert player.block(128)[1] == [NoteOn(20, 0, 70, 100), *events]


def test_more_new_notes_than_a_block_has_time_for_begin_in_those_that_follow(make_patch):
    player = player_of(make_patch, play={"voices": 64})
    notes = [NoteOn(3, 0, key, 100) for key in range(30, 30 + 3 * NEW_NOTES)]
    for event in [*notes, NoteOff(4, 0, 30)]:
        player.schedule(event)
    played = [player.block(128)[1] for _ in range(4)]
    assert [len(events) for events in played] == [NEW_NOTES, NEW_NOTES, NEW_NOTES + 1, 0]
    assert [event.key for events in played for event in events] == [*range(30, 30 + 3 * NEW_NOTES), 30]
    assert [{event.time for event in events} for events in played[1:]] == [{128}, {256}, set()]


@pytest.mark.parametrize(
    ("part", "begun"),  # of a short block's time that a note took
    [(0.01, [4, 4, 2]), (0.25, [3, 3, 3, 1]), (0.39, [2, 2, 2, 2, 2]), (5.0, [2, 2, 2, 2, 2])],
)
def test_as_many_notes_begin_in_a_short_block_as_fit_but_two_at_the_least(make_patch, part, begun):
    player = player_of(make_patch, 48000, play={"voices": 64})
    notes = [NoteOn(3, 0, 40 + number, 100) for number in range(10)]
    player.time_notes(notes[:5], 5 * part * 128 / 48000)
    player.time_notes([], 1.0)  # a block without notes says nothing
    player.time_notes(notes[:1], 0.0)  # nor does one note that was quick
    for note in notes:
        player.schedule(note)
    assert [len(player.block(128)[1]) for _ in begun] == begun


def test_a_note_that_was_slow_once_is_forgotten(make_patch):
    player = player_of(make_patch, 48000)
    note = NoteOn(0, 0, 60, 100)
    player.time_notes([note], 1.0)
    for _ in range(200):
        player.time_notes([note], 0.0)
    for key in range(60, 64):
        player.schedule(NoteOn(0, 0, key, 100))
    assert len(player.block(128)[1]) == 4


@pytest.mark.parametrize(("rate", "most"), [(24000, 64), (48000, 32), (96000, 16), (192000, 8)])
def test_a_long_block_has_time_for_as_many_notes_as_it_is_long_in_seconds(make_patch, rate, most):
    player = player_of(make_patch, rate, play={"voices": 64})
    notes = [NoteOn(i, 0, 30 + i, 100) for i in range(65)]
    for note in notes:
        player.schedule(note)
    assert player.block(2048)[1] == notes[:most]


def test_notes_that_are_put_off_begin_together_a_short_block_later_and_what_follows_them_stays_behind_them(make_patch):
    player = player_of(make_patch, 48000)
    events = [ControlChange(2, 0, 70, 9), NoteOn(3, 0, 60, 100), NoteOff(5, 0, 60), NoteOn(130, 0, 62, 100)]
    for event in events:
        player.schedule(event)
    player.put_off()
    assert player.block(128)[1] == events[:1]
    player.put_off()  # two blocks took too long: notes begin all the same
    assert player.block(128)[1] == [NoteOn(128, 0, 60, 100), NoteOff(128, 0, 60), events[3]]


def test_what_is_put_off_is_the_next_block_alone_and_one_that_is_short(make_patch):
    player = player_of(make_patch, 48000)
    player.put_off()
    player.block(128)
    notes = [NoteOn(time, 0, 60, 100) for time in (200, 300, 400)]
    for note in notes:
        player.schedule(note)
    assert [player.block(128)[1] for _ in range(2)] == [notes[:1], notes[1:2]]
    player.put_off()
    assert player.block(256)[1] == notes[2:]


def test_nothing_is_prepared_while_notes_wait(make_patch, monkeypatch):
    player, prepared = player_of(make_patch, 48000), []
    monkeypatch.setattr(Rack, "prepare", lambda rack: prepared.append(player.now))
    for note in (NoteOn(time, 0, 60 + time, 100) for time in range(NEW_NOTES + 1)):
        player.schedule(note)
    player.schedule(NoteOn(500, 0, 60, 100))
    for _ in range(3):
        player.block(128)
        player.prepare()
    assert prepared == [256, 384]


def test_a_voice_that_is_given_up_is_counted_and_there_may_be_none(make_patch):
    player = player_of(make_patch)
    player.give_up_a_voice()
    assert player.shed == 0
    player.schedule(NoteOn(0, 0, 60, 100))
    player.schedule(NoteOn(5, 0, 67, 100))
    player.block(500)
    player.give_up_a_voice()
    assert player.shed == 1
    player.block(500)
    assert player.sounding == 1


def test_held_keys_are_told_until_they_come_up_or_all_notes_are_off(make_patch):
    player = player_of(make_patch)
    for event in (NoteOn(0, 0, 60, 100), NoteOn(1, 0, 50, 100), NoteOn(2, 0, 70, 100), NoteOff(3, 0, 60)):
        player.schedule(event)
    player.block(64)
    assert player.held == [50, 70]
    assert player.sounding_keys == [50, 60, 70]  # 60 fades
    player.schedule(ControlChange(70, 0, 123, 0))
    player.block(64)
    assert player.held == []


def test_a_swap_by_another_thread_is_never_lost(make_patch):
    player = player_of(make_patch)
    racks = [Rack({0: make_patch()}, RATE, omni=True) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for turn in range(300):
            other = threading.Thread(target=player.swap, args=(racks[turn % 2],))
            other.start()
            while other.is_alive():
                player._take_seat()
            player._take_seat()
            assert player.rack is racks[turn % 2]
            del player._seats[:-1]
    finally:
        sys.setswitchinterval(interval)


PIECES = st.one_of(
    st.binary(max_size=12),
    st.builds(lambda key, velocity: bytes([0x90, key, velocity]), st.integers(0, 127), st.integers(0, 127)),
    st.builds(lambda number, value: bytes([0xB0, number, value]), st.integers(0, 127), st.integers(0, 127)),
    st.sampled_from(
        [
            b"\xf0\x7e\x7f\x09\x01\xf7",  # system exclusive
            b"\xf0\x43\x12",  # and one that never ends
            b"\x90\x3c",  # cut off
            b"\x40\x50\x3e\x7f",  # running status
            b"\xfe",  # active sensing
            b"\x90\xf8\x3c\xfe\x64",  # real-time bytes inside a message
            b"\xff",
            b"\xfa\xf8\xf8\xfc",
            b"\xe0\x00\x7f",
            b"\xb0\x65\x00\xb0\x64\x06\xb0\x06\x07",  # an MPE zone
        ]
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.tuples(PIECES, st.integers(1, 300), st.integers(-200, 400)), max_size=25),
    mode=st.sampled_from(["poly", "mono", "chord"]),
)
def test_no_bytes_stop_the_sound_and_after_all_notes_off_it_is_silent_within_the_release(make_patch, pieces, mode):
    player = player_of(make_patch, play={"mode": mode, "gain_db": 12.0}, envelope={"release_seconds": 0.05})
    decoder = MidiDecoder()
    for data, size, ahead in pieces:
        for event in decoder.feed(data, 0):
            player.schedule(replace(event, time=player.now + ahead))
        sound, _ = player.block(size)
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() <= 1.0
    player.block(400)
    for event in reset_events(player.now):
        player.schedule(event)
    player.block(1000)
    player.block(round(0.05 * RATE) + 50)  # and the notes that had to wait for their block
    assert np.all(player.block(500)[0] == 0)
    assert (player.sounding, player.held) == (0, [])
