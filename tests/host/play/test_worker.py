"""Voices that several processes share: the same bits as in one, and nothing left behind."""

import contextlib
import functools
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from timbrel.host import interrupts
from timbrel.host.errors import Failure, UserError
from timbrel.host.events import (
    ChannelPressure,
    Clock,
    ControlChange,
    KeyPressure,
    NoteOff,
    NoteOn,
    PitchBend,
    ProgramChange,
)
from timbrel.host.play import rack as rack_module
from timbrel.host.play import voice_worker
from timbrel.host.play.rack import Rack
from timbrel.host.play.voices import PARTS
from timbrel.host.preset.library import open_patch

from ...patience import until
from ..cover import cover

RATE = 22050
COUNT = 16_000
KNOBS = [
    {"number": 16, "target": "latent.0", "low": 0.0, "high": 1.0},
    {"number": 17, "target": "gain", "low": -30.0, "high": 3.0},
]
EFFECTS = [{"plugin": "Chorus"}, {"plugin": "LowpassFilter"}]
TURNED = [{"number": 18, "target": "effects.1.cutoff_frequency_hz", "low": 200.0, "high": 8000.0}]
PRESSED = [
    {"pressure": "channel", "target": "latent.1", "low": 0.0, "high": 1.0},
    {"pressure": "key", "target": "pan", "low": -1.0, "high": 1.0},
]
LFO = {"target": "latent.0", "shape": "saw", "depth": 0.3, "beats": 0.5}
KEYS = {
    "knobs": {"cc": KNOBS},
    "stealing": {"cc": KNOBS, "play": {"voices": 3}},
    "mono": {"cc": KNOBS, "play": {"mode": "mono", "legato": True, "glide_seconds": 0.05}},
    "chord": {"play": {"mode": "chord"}},
    "wide": {"play": {"unison": 3, "width": 1.0}},
    "noise": {"play": {"phase": "noise"}},
    "causal": {"play": {"phase": "causal"}},
    "effects": {"cc": KNOBS + TURNED, "effects": EFFECTS},
    "pressures": {
        "cc": PRESSED,
        "motion": [LFO],
    },
    "fingers": {"mpe": {"enabled": True, "slide": "latent.0"}},
    "notes": {"note": [{"source": "velocity", "target": "latent.0", "low": -0.4, "high": 0.4}], "cc": KNOBS},
}


def performance(seed, count=COUNT, channels=(0,)):
    """Everything that can be played, at random."""
    rng = np.random.default_rng(seed)
    events = []
    for channel in channels:
        for _ in range(13):
            on, key = int(rng.integers(count)), int(rng.integers(40, 90))
            events += [NoteOn(on, channel, key, int(rng.integers(1, 128))), NoteOff(on + 9000, channel, key)]
            events.append(KeyPressure(on + 50, channel, key, int(rng.integers(128))))
        for at in rng.integers(count, size=32).tolist():
            value = int(rng.integers(128))
            events.append(ControlChange(at, channel, int(rng.choice([16, 17, 18, 64, 74, 123])), value))
            events.append(PitchBend(at, channel, 64 * value - 4096))
            events.append(ChannelPressure(at, channel, value))
        events.append(ProgramChange(100, channel, 3))
    events += [Clock(at, "tick") for at in range(0, count, 700)]
    return sorted((event for event in events if event.time < count), key=lambda event: event.time)


def played(rack, events, sizes=(4096,), ahead=0, count=COUNT, leaving=()):
    """(The mix, each channel).

    Events are heard up to ``ahead`` samples early; before each of the blocks ``leaving`` a worker is told to leave.
    """
    mixes, parts, at, heard, turn = [], [], 0, 0, 0
    with contextlib.closing(rack):
        while at < count:
            size = min(sizes[turn % len(sizes)], count - at)
            until = at + size + ahead
            if turn in leaving:
                rack._crew._active.pop().leave()
            rack.schedule([event for event in events if heard <= event.time < until], until)
            mix, channels = rack.process([], size)
            mixes.append(mix)
            parts.append({channel: part.copy() for channel, part in channels.items()})
            at, heard, turn = at + size, until, turn + 1
    return np.concatenate(mixes, axis=1), {c: np.concatenate([part[c] for part in parts], axis=1) for c in parts[0]}


def alike(first, second):
    return np.array_equal(first[0], second[0]) and all(np.array_equal(first[1][c], second[1][c]) for c in first[1])


@pytest.fixture(scope="module", autouse=True)
def numpy_voice():
    """The core shares its voices among threads instead."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rack_module, "core_for", lambda patch: None)
        yield


@pytest.fixture
def lone():
    """No process is left when a test ends."""
    yield
    assert not multiprocessing.active_children()


@pytest.fixture(scope="module")
def whole(make_patch):
    """A function that gives (events, the sound of them in one process), made once."""

    @functools.cache
    def sound(name):
        events = performance(1, channels=(0, 1, 2) if "mpe" in KEYS[name] else (0,))
        return events, played(Rack({0: make_patch(**KEYS[name])}, RATE), events)

    return sound


@pytest.mark.parametrize(("name", "processes"), cover(10, list(KEYS), [2, PARTS]))
def test_processes_change_no_bit(make_patch, whole, lone, name, processes):
    events, expected = whole(name)
    assert np.abs(expected[0]).max() > 0.01
    rack = Rack({0: make_patch(**KEYS[name])}, RATE, processes)
    how = {} if processes == 2 else {"sizes": (999, 8193, 1), "ahead": 5000}
    assert alike(played(rack, events, **how), expected)


@pytest.mark.parametrize("rate", [RATE, 48000, 8000])
def test_channels_of_several_rates_and_effects_stay_in_time(make_patch, tiny, lone, rate):
    patches = {0: make_patch(cc=KNOBS), 5: make_patch(tiny(sample_rate=44100), effects=EFFECTS)}
    events = performance(2, channels=(0, 5))
    whole = played(Rack(patches, rate), events)
    assert min(np.abs(part).max() for part in whole[1].values()) > 0.001
    for ahead in (0, 4096):
        assert alike(played(Rack(patches, rate, 3), events, (4096, 100), ahead), whole)


@pytest.fixture
def told(monkeypatch):
    """Processes leave only when a test says so."""
    monkeypatch.setattr(voice_worker, "PAYS", 0.0)


@pytest.mark.parametrize(("name", "processes"), cover(10, list(KEYS), [PARTS, 2]))
def test_processes_that_leave_hand_over_every_bit(make_patch, whole, lone, told, name, processes):
    events, expected = whole(name)
    rack = Rack({0: make_patch(**KEYS[name])}, RATE, processes)
    how = {"sizes": (1000,), "leaving": [13]}
    if processes == PARTS:
        how = {"sizes": (999, 4096, 1), "ahead": 5000, "leaving": [2, 5, 8]}
    assert alike(played(rack, events, **how), expected)


def test_processes_leave_channels_of_several_rates_in_time(make_patch, tiny, lone, told):
    patches = {0: make_patch(cc=KNOBS), 5: make_patch(tiny(sample_rate=44100), effects=EFFECTS)}
    events = performance(7, channels=(0, 5))
    whole = played(Rack(patches, 48000), events)
    assert alike(played(Rack(patches, 48000, 3), events, (1500,), ahead=4096, leaving=[0, 9]), whole)


@pytest.mark.parametrize(
    ("pays", "held_up", "stay"), [(9.0, 0.0, False), (0.0, 0.0, True), (9.0, 1e9, True)], ids=["no", "pays", "idle"]
)
def test_processes_leave_if_they_do_not_pay_and_are_held_up(make_patch, lone, monkeypatch, pays, held_up, stay):
    """As on a busy machine; on one that gives them more than a processor; and where there is little to do."""
    for name, value in {"WATCHED_SECONDS": 0.0, "WATCHED_BLOCKS": 2, "PAYS": pays, "HELD_UP": held_up}.items():
        monkeypatch.setattr(voice_worker, name, value)
    left = spied(monkeypatch)
    events = performance(8)
    whole = played(Rack({0: make_patch(cc=KNOBS)}, RATE), events)
    assert alike(played(Rack({0: make_patch(cc=KNOBS)}, RATE, 3), events, (1000,), ahead=4096), whole)
    assert len(left) == (0 if stay else 2)


def spied(monkeypatch):
    """The workers that were told to leave."""
    left, leave = [], voice_worker.Worker.leave
    monkeypatch.setattr(voice_worker.Worker, "leave", lambda self: left.append(self) or leave(self))
    return left


def test_processes_stay_where_phases_are_refined(make_patch, lone, monkeypatch):
    """Those depend on which voices and frames are refined together, so when to leave would be heard."""
    for name, value in {"WATCHED_SECONDS": 0.0, "WATCHED_BLOCKS": 0, "PAYS": 9.0, "HELD_UP": 0.0}.items():
        monkeypatch.setattr(voice_worker, name, value)
    left = spied(monkeypatch)
    patches = {0: make_patch(), 1: make_patch(play={"phase": "best", "voices": 2})}
    played(Rack(patches, RATE, 2), performance(10, 8000, (0, 1)), (500,), count=8000)
    assert not left


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="holds a process up by giving all one processor")
def test_processes_that_share_one_processor_leave(make_patch, lone, monkeypatch):
    left = spied(monkeypatch)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        events, block = performance(9, 4 * RATE), 16384
        with contextlib.closing(Rack({0: make_patch(play={"unison": 8})}, RATE, 2)) as rack:
            rack.schedule(events, 3 * block)
            for number in itertools.count(1):
                rack.process([], block)
                if left:
                    break
                rack.schedule([], (number + 3) * block)
    finally:
        os.sched_setaffinity(0, before)
    assert len(left) == 1


def test_a_worker_never_overwrites_what_is_not_read_yet(make_patch, lone, monkeypatch):
    """However far ahead events are known, as where another channel's effects hold back long."""
    monkeypatch.setattr(voice_worker, "MAX_BLOCK", 1024)  # room for 4096 samples
    events = performance(5)
    whole, _ = played(Rack({0: make_patch(cc=KNOBS)}, RATE), events, (1000,))
    with contextlib.closing(Rack({0: make_patch(cc=KNOBS)}, RATE, 2)) as rack:
        rack.schedule(events, COUNT)
        [ahead], [channel] = rack._crew._active, rack._instruments[0]._elsewhere
        while ahead.computed[0] < channel._requested:  # it does all that it would do ahead
            ahead.listen()
        mixes = [rack.process([], 1000)[0] for _ in range(0, COUNT, 1000)]
    assert np.array_equal(np.concatenate(mixes, axis=1), whole)


@pytest.mark.parametrize("name", ["lakeside-soundscape", "lakeside-knobs", "lakeside-walk", "lakeside-learned"])
def test_grains_are_the_same_in_blocks_and_processes_too(lone, told, name):
    patches = {0: open_patch(name)}
    events = [NoteOn(500 * number, 0, 50 + number, 100) for number in range(5)]
    whole = played(Rack(patches, 44100), events)
    assert np.abs(whole[0]).max() > 0.01
    assert alike(played(Rack(patches, 44100), events, (128,)), whole)
    assert alike(played(Rack(patches, 44100, 2), events, ahead=4096), whole)
    assert alike(played(Rack(patches, 44100, 3), events, (1000,), ahead=2000, leaving=[3, 11]), whole)


def test_a_process_that_is_begun_anew_gives_the_same_bits(make_patch, lone, monkeypatch):
    """As it is where processes cannot be forked."""
    monkeypatch.setattr(voice_worker, "START", "spawn")
    events = performance(3)
    whole = played(Rack({0: make_patch(cc=KNOBS)}, RATE), events)
    assert alike(played(Rack({0: make_patch(cc=KNOBS)}, RATE, 2), events), whole)


def test_where_the_system_allows_no_process_one_does_all(make_patch, lone, monkeypatch):
    events = performance(4)
    whole = played(Rack({0: make_patch(cc=KNOBS)}, RATE), events)
    begin, begun = voice_worker.Worker, []

    def scarce(*arguments):
        if len(begun) == 1:
            raise BlockingIOError("Resource temporarily unavailable")
        begun.append(begin(*arguments))
        return begun[-1]

    monkeypatch.setattr(voice_worker, "Worker", scarce)
    assert alike(played(Rack({0: make_patch(cc=KNOBS)}, RATE, 3), events), whole)


def test_who_waits_for_a_process_that_was_killed_is_told(make_patch, lone):
    rack = Rack({0: make_patch()}, RATE, 2)
    with contextlib.closing(rack):
        rack.process([NoteOn(0, 0, 60, 100)], 1000)
        for child in multiprocessing.active_children():
            child.kill()
            child.join()
        with pytest.raises(Failure, match=r"a process .* ended, .* try again"):
            rack.process([], 9000)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="terminals do not hang up here")
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_what_stops_all_processes_ends_those_that_share_the_voices_through_the_rack_alone(
    make_patch, lone, monkeypatch, capfd, name
):
    """However early it comes: before the process does anything, and while it plays."""
    work, number = voice_worker._work, getattr(signal, name)

    def stopped(*arguments):
        signal.raise_signal(number)
        work(*arguments)

    monkeypatch.setattr(voice_worker, "_work", stopped)
    events = [event for event in performance(6) if event.time]
    whole = played(Rack({0: make_patch(cc=KNOBS)}, RATE), events)
    with interrupts.listening():
        rack = Rack({0: make_patch(cc=KNOBS)}, RATE, 2)
        [child] = multiprocessing.active_children()
        rack.schedule([], 1)
        until(rack._crew._active[0]._connection.poll, "its first sample")
        os.kill(child.pid, number)
        assert alike(played(rack, events), whole)
    assert capfd.readouterr() == ("", "")


class Odd(Exception):
    """Cannot be sent: it takes two arguments, and is made anew of one."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (Failure("the model fell over"), Failure, "the model fell over"),
        (MemoryError(), MemoryError, ""),
        (OSError(5, "Input/output error", "a.scl"), OSError, "[Errno 5] Input/output error: 'a.scl'"),
        (ZeroDivisionError("by nought"), ZeroDivisionError, "by nought"),
        (Odd("this", "that"), RuntimeError, "Odd: this and that"),
    ],
    ids=["ours", "memory", "the system's", "a fault", "one that cannot be sent"],
)
def test_what_goes_wrong_in_a_process_is_raised_where_its_sums_are_awaited(
    make_patch, lone, monkeypatch, capfd, error, kind, words
):
    monkeypatch.setattr(voice_worker, "Synthesis", lambda *arguments, **keys: Broken(error))
    with contextlib.closing(Rack({0: make_patch()}, RATE, 2)) as rack:
        with pytest.raises(kind) as raised:
            rack.process([NoteOn(0, 0, 60, 100)], 9000)
        assert str(raised.value) == words
        assert kind is RuntimeError or any("in sums" in note for note in raised.value.__notes__)
    assert capfd.readouterr() == ("", "")


class Broken:
    """A synthesis that fails when it is to sound."""

    def __init__(self, error):
        self.error = error

    def sums(self, events, count):
        raise self.error


def test_a_process_that_fails_before_it_sounds_is_told_too(make_patch, lone, monkeypatch, capfd):
    def refuse(*arguments, **keys):
        raise Failure("no room for tables")

    monkeypatch.setattr(voice_worker, "Synthesis", refuse)
    rack = Rack({0: make_patch()}, RATE, 2)
    with contextlib.closing(rack), pytest.raises(Failure, match="no room for tables"):
        rack.process([NoteOn(0, 0, 60, 100)], 9000)
    assert capfd.readouterr() == ("", "")


def test_a_rack_that_is_stopped_while_it_is_made_leaves_no_process(make_patch, lone, monkeypatch):
    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(rack_module, "_instrument", stopped)
    with pytest.raises(KeyboardInterrupt):
        Rack({0: make_patch()}, RATE, 3)


def test_a_preset_that_is_refused_leaves_no_process(make_patch, lone):
    wrong = make_patch(effects=[{"plugin": "Chorus", "no_such": 1.0}])
    with pytest.raises(UserError, match="no_such"):
        Rack({0: make_patch(), 1: wrong}, RATE, 2)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for a process in /proc")
def test_a_process_ends_when_the_one_that_began_it_is_killed(tmp_path):
    script = """
        import multiprocessing, os
        from timbrel.host.preset.library import open_patch
        from timbrel.host.play.rack import Rack

        racks = [Rack({0: open_patch("gm-pad")}, 44100, 3) for _ in range(2)]
        for rack in racks:
            rack.process([], 1000)
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), 9)
    """
    command, numpy_voice = [sys.executable, "-c", textwrap.dedent(script)], os.environ | {"TIMBREL_VOICE": "numpy"}
    run = subprocess.run(command, env=numpy_voice, capture_output=True, text=True, check=False)
    children = [int(pid) for pid in run.stdout.split()]
    assert len(children) == 4
    until(lambda: not any(running(pid) for pid in children), "their end")


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
