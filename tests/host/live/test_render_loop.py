"""The loop gives its player's sound block by block, undisturbed, and its reports are true."""

import gc
import os
import platform
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from timbrel.host.events import Clock, ControlChange, NoteOff, NoteOn, ProgramChange
from timbrel.host.live.render_loop import RenderLoop
from timbrel.host.midi.ports import Timed
from timbrel.host.session.realtime import BLOCK_SWITCH_SECONDS, SWITCH_SECONDS

from ...patience import until
from ..fake_card import FakeSink, FakeSource
from .playing import looped, player_of


def test_a_loop_gives_the_samples_of_its_player_and_tells_each_block(make_patch, hours):
    timed = [Timed(100.05, NoteOn(0, 0, 60, 100)), Timed(100.3, NoteOff(0, 0, 60))]
    loop, sink, told = looped(make_patch, hours, timed)
    loop.run()
    sound = np.concatenate(sink.sounds, axis=1)
    events = [event for _, events in told for event in events]
    player = player_of(make_patch, 48000)
    for event in events:
        player.schedule(event)
    expected = player.block(sound.shape[1])[0]
    assert np.abs(sound).max() > 0.01
    assert np.array_equal(sound, expected)
    assert np.array_equal(sound, np.concatenate([block for block, _ in told], axis=1))
    assert loop.meters.load.count == len(sink.sounds)
    assert max(loop.meters.peaks_db()) == pytest.approx(20 * np.log10(np.abs(sound).max()))


def test_a_block_is_handed_over_before_the_next_one_is_prepared(make_patch, hours, monkeypatch):
    loop, sink, _ = looped(make_patch, hours, [])
    written = []
    monkeypatch.setattr(loop.player, "prepare", lambda: written.append(len(sink.sounds)))
    loop.run()
    assert written == list(range(1, 401))


def test_a_loop_ends_when_told_and_when_its_card_has_gone(make_patch, hours):
    loop, sink, _ = looped(make_patch, hours, [], blocks=7)
    loop.run()
    assert len(sink.sounds) == 7
    loop, sink, told = looped(make_patch, hours, [])
    loop.stop()
    loop.run()
    assert told == []


def test_program_changes_and_bank_selects_are_left_to_who_loads(make_patch, hours):
    asked = [ControlChange(0, 0, 0, 1), ControlChange(0, 0, 32, 2), ProgramChange(0, 0, 5)]
    others = [Clock(0, "tick"), ControlChange(0, 0, 70, 9)]
    loop, _, _ = looped(make_patch, hours, [Timed(100.02, event) for event in [*others, *asked]])
    loop.run()
    assert [replace(event, time=0) for event in loop.programs] == asked
    assert loop.program_arrival.wait(0)
    loop, _, _ = looped(make_patch, hours, [Timed(100.02, event) for event in others])
    loop.run()
    assert not loop.programs
    assert not loop.program_arrival.wait(0)


def test_while_a_loop_runs_nothing_is_collected_and_afterwards_all_is_as_before(make_patch, hours):
    seen = []
    loop, _, _ = looped(make_patch, hours, [], blocks=3)
    loop._on_block = lambda sound, events: seen.append(gc.isenabled())
    before = gc.isenabled(), sys.getswitchinterval()
    loop.run()
    assert seen == [False] * 3
    assert (gc.isenabled(), sys.getswitchinterval()) == before


def test_other_threads_leave_a_block_the_interpreter_lock_and_the_waiting_loop_takes_it_soon(
    make_patch, hours, monkeypatch
):
    loop, _, _ = looped(make_patch, hours, [], blocks=3)
    loop._settled = 48.0  # samples: as with JACK
    in_blocks, asleep, sleep, make_block = [], [], hours.sleep, loop.player.block

    def watched_block(count):
        in_blocks.append(sys.getswitchinterval())
        return make_block(count)

    def watched_sleep(seconds):
        asleep.append(sys.getswitchinterval())
        sleep(seconds)

    monkeypatch.setattr(loop.player, "block", watched_block)
    monkeypatch.setattr(hours, "sleep", watched_sleep)
    loop.run()
    assert in_blocks[1:] == pytest.approx([BLOCK_SWITCH_SECONDS] * 2)
    assert asleep
    assert asleep == pytest.approx([SWITCH_SECONDS] * len(asleep))


PAGES = """
import resource
import numpy as np
from timbrel.host.session.realtime import undisturbed

def taken():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        arrays = [np.ones(size, np.float32) for size in (80000, 50000)]
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

taken()
before = taken()
with undisturbed():
    taken()
    print(before, taken())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what is freed is glibc's to keep")
def test_arrays_that_come_and_go_with_each_block_find_their_memory_kept():
    tuned = ("GLIBC_TUNABLES", "MALLOC_")  # by which a machine may keep memory anyway
    plain = {name: value for name, value in os.environ.items() if not name.startswith(tuned)}
    run = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True, env=plain)
    before, meanwhile = map(int, run.stdout.split())
    assert before > 1000
    assert meanwhile < 100


def test_what_a_loop_shows_is_read_while_it_plays_and_never_disturbs_it(make_patch, hours):
    motion = [{"target": "latent.0", "shape": "sine", "depth": 0.3, "rate_hz": 3.0}]
    knob = {"number": 70, "target": "latent.1", "low": 0.0, "high": 1.0}
    timed = [Timed(100 + i / 500, ControlChange(0, 0, 70, i % 128)) for i in range(200)]
    timed += [Timed(100.01 + i / 100, NoteOn(0, 0, 40 + i, 100)) for i in range(20)]
    sink = FakeSink(hours, blocks=160)
    player = player_of(make_patch, 48000, motion=motion, cc=[knob])
    loop = RenderLoop(player, sink, [FakeSource(hours, sorted(timed, key=lambda one: one.seconds))])
    problems, looks, ended = [], [], threading.Event()

    def look():
        try:
            while not ended.is_set():
                looks.append((loop.meters.latents, player.held, player.sounding, loop.meters.load.percentiles(50)))
        except Exception as error:
            problems.append(error)

    def meet(sound, events):
        if player.now % (20 * 128) == 0:
            seen = len(looks)
            until(lambda: len(looks) > seen + 1 or problems, "a look")

    loop._on_block = meet
    other = threading.Thread(target=look)
    other.start()
    try:
        loop.run()
    finally:
        ended.set()
        other.join()
    assert problems == []
    assert len({tuple(latents) for latents, *_ in looks}) > 2
    assert all(len(latents) in (0, 2) for latents, *_ in looks)  # 0 before the first block


def test_the_limiters_work_of_late_is_told_as_the_share_of_samples_that_are_over_its_knee(make_patch, hours):
    timed = [Timed(100 + i / 1000, NoteOn(0, 0, 40 + i, 127)) for i in range(24)]
    sink = FakeSink(hours, blocks=900)  # 2.4 s, five times what is averaged over
    loop = RenderLoop(
        player_of(make_patch, 48000, play={"gain_db": 12.0, "voices": 24}), sink, [FakeSource(hours, timed)]
    )
    loop.run()
    late = np.concatenate(sink.sounds[-190:], axis=1)
    assert 0.3 < np.mean(np.abs(late) > 0.7) < 1.0
    assert loop.meters.limited == pytest.approx(np.mean(np.abs(late) > 0.7), abs=0.03)
    soft, _, _ = looped(make_patch, hours, [Timed(100, NoteOn(0, 0, 60, 100))])
    soft.run()
    assert soft.meters.limited == 0
