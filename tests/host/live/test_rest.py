"""While nothing sounds or moves, nothing is computed block by block, and the next note comes as it always does."""

import numpy as np
import pytest
from timbrel.host.events import Clock, ControlChange, NoteOff, NoteOn
from timbrel.host.live.render_loop import RenderLoop
from timbrel.host.midi.ports import Timed
from timbrel.host.play.rack import Rack
from timbrel.host.session.realtime import SWITCH_SECONDS

from ..fake_card import FakeArrival, FakeSink, FakeSource
from .playing import RATE, player_of

SECOND = [NoteOn(0, 0, 60, 100), NoteOff(0, 0, 60)]
EFFECTS = [{"plugin": "Chorus", "mix": 0.3}, {"plugin": "Reverb", "room_size": 0.3}]


def seconds_until_rest(player, most=20.0, block=512, rate=RATE):
    for index in range(round(most * rate / block)):
        if player.resting:
            return index * block / rate
        player.block(block)
    return None


def note(player, off=2000):
    player.schedule(NoteOn(player.now, 0, 60, 100))
    player.schedule(NoteOff(player.now + off, 0, 60))


@pytest.mark.parametrize("rate", [RATE, 48000, 44100, 32000])
@pytest.mark.parametrize("effects", [[], EFFECTS], ids=["bare", "effects"])
def test_a_note_after_a_rest_sounds_as_after_silent_blocks(make_patch, rate, effects):
    players = [player_of(make_patch, rate, effects=effects) for _ in range(2)]
    for player in players:
        note(player)
        assert seconds_until_rest(player, rate=rate) is not None
    for count in (128, 5000, 77, 4800, 128 * 9, 20_000):
        players[0].rest(count)
        assert np.abs(players[1].block(count)[0]).max() < 4e-5
    assert players[0].now == players[1].now
    for player in players:
        note(player)
    rested, silent = (np.concatenate([player.block(256)[0] for _ in range(60)], axis=1) for player in players)
    assert np.abs(rested).max() > 0.01
    assert np.allclose(rested, silent, rtol=0, atol=0 if rate == RATE else 2e-7)


def test_a_player_rests_a_second_after_its_last_sound_and_events_but_not_the_clock_begin_that_anew(make_patch):
    player = player_of(make_patch)
    assert seconds_until_rest(player) == pytest.approx(1.0, abs=0.05)
    for number in range(3):
        player.schedule(Clock(player.now + number, "tick"))
    assert not player.resting  # they wait
    player.block(128)
    assert player.resting
    player.schedule(ControlChange(player.now, 0, 70, 5))
    player.block(128)
    assert seconds_until_rest(player) == pytest.approx(1.0, abs=0.05)


def test_a_key_that_is_held_keeps_a_player_from_rest(make_patch):
    player = player_of(make_patch)
    player.schedule(NoteOn(0, 0, 60, 100))
    assert seconds_until_rest(player, most=3.0) is None


def test_a_key_that_is_held_without_a_sound_keeps_a_player_from_rest(make_patch):
    """Its volume may come back."""
    player = player_of(make_patch)
    player.schedule(ControlChange(0, 0, 7, 0))
    player.schedule(NoteOn(0, 0, 60, 100))
    assert seconds_until_rest(player, most=3.0) is None


def test_codes_that_move_keep_a_player_from_rest(make_patch):
    moved = {"target": "latent.0", "shape": "sine", "depth": 0.3, "rate_hz": 3.0}
    assert seconds_until_rest(player_of(make_patch, motion=[moved]), most=3.0) is None


def test_echoes_sound_until_they_are_silent(make_patch):
    player = player_of(make_patch, effects=[{"plugin": "Delay", "delay_seconds": 1.5, "feedback": 0.0, "mix": 0.5}])
    note(player)
    heard = []
    while not player.resting:
        heard.append(np.abs(player.block(512)[0]).max() > 1e-4)
    gaps = np.flatnonzero(np.diff(np.flatnonzero(heard)) > 1)
    assert len(gaps) == 1  # the note and its echo
    assert len(heard) * 512 / RATE > 1.5 + 1.5 + 1.0


def test_another_rack_ends_a_rest(make_patch):
    player = player_of(make_patch)
    seconds_until_rest(player)
    player.rest(3000)
    player.swap(Rack({0: make_patch()}, RATE, omni=True))
    assert not player.resting
    note(player)
    assert np.abs(np.concatenate([player.block(512)[0] for _ in range(8)], axis=1)).max() > 0.01
    assert player.now == pytest.approx(3000 + 8 * 512 + RATE, abs=600)


def played(make_patch, hours, timed, rests, seconds=2.8, **settings):
    """The card's sound, and how many blocks were rendered for it."""
    sink = FakeSink(hours, blocks=10**6, **settings)
    source = FakeSource(hours, timed)
    loop = RenderLoop(
        player_of(make_patch, 48000),
        sink,
        [source],
        whole_blocks=True,
        recording=not rests,
        arrival=FakeArrival(hours, source, at_end=lambda: loop.stop(), end=hours.now + seconds),
        on_block=lambda sound, events: hours.now - hours.start > seconds and loop.stop(),
    )
    hours.start = hours.now
    loop.run()
    if rests:
        assert loop._arrival.switch_intervals == pytest.approx([SWITCH_SECONDS] * len(loop._arrival.switch_intervals))
    sound = np.zeros((2, round(seconds * 48000) + 9600), np.float32)
    for place, block in zip(sink.places, sink.sounds, strict=True):
        sound[:, place : place + sink.block] = block
    return sound, len(sink.sounds), sink.underruns


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_loop_at_rest_renders_no_block_and_a_key_sounds_at_its_usual_moment(make_patch, hours, depth):
    # Keys come 0.2 ms after the card has read a block, as those of JACK.
    moments = [128 * block / 48000 + 0.0002 for block in (40, 800, 830)]
    timed = [Timed(at + off, event) for at in moments for event, off in zip(SECOND, (0.0, 0.03), strict=True)]

    def run(rests):
        return played(make_patch, hours, [Timed(t.seconds + hours.now, t.event) for t in timed], rests, depth=depth)

    rested, few, underruns = run(True)
    usual, most, _ = run(False)
    assert np.abs(usual).max() > 0.01
    onsets = [np.flatnonzero(np.abs(sound).max(axis=0) > 1e-6) for sound in (rested, usual)]
    assert np.array_equal(onsets[0][:1], onsets[1][:1])
    after = [one[one > 700 * 128][0] for one in onsets]
    assert after[0] == after[1]
    assert np.allclose(rested, usual, atol=1e-6)
    assert underruns == 0
    assert most - few > 0.6 * 48000 / 128  # blocks of the rests
