"""The plugin in a host: eight instances, what a block costs the host, and minutes over JACK's dummy driver.

Rows end with what is asked. Instances play gm-keys. The waits are of the core's own call for a block, in a host that
asks for it when its time comes, while eight notes are held and all macros move; beside them, what it costs to wake a
process that does nothing. Over JACK jalv plays LV2 plugins by
turns: timbrel, and one of a few lines that makes a tone: what that one misses is the machine's. Late blocks are counted
several times a second, and those told apart that came soon after a moment at which the machine stood still; all count.
"""

import argparse
import contextlib
import ctypes
import functools
import mmap
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from jack_rig import RATE, SERVER_PRIORITY, Rig, Stalls, beside, in_words, jack_server, may_hurry, need
from timbrel.host.plugin.wire import FUTEX_WAIT, FUTEX_WAKE, SYS_FUTEX
from timbrel.host.session.realtime import SOUND, hurry, hurry_no_more

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "host" / "plugin"))
from native import MACROS, library, make, opened  # noqa: E402

INSTANCES = 8
NOTES = range(48, 72, 3)
WAIT_SECONDS = 120.0
SETTLING_SECONDS = 2.0
KINDS = ((128, 2), (256, 1))  # samples of a block, and the blocks of latency that the plugin takes there
CLIENT = "hosted"
COUNT_SECONDS = 0.1  # between looks at how many blocks came late
STALL_SECONDS = 0.001
BARE = "urn:timbrel:bare"


class Bundle:
    """A plugin's folder whose interpreter is this one."""

    def __init__(self, path):
        self.path = path
        path.mkdir(exist_ok=True)
        (path / "interpreter").write_text(f"{sys.executable}\n")


def row(name, figures, asked=""):
    """Print a row as the documents have them."""
    print(f"    {name:<40}{figures}{f'   (asked: {asked})' if asked else ''}".rstrip(), flush=True)


def wait_for(happens, what):
    """Wait until something is so."""
    until = time.monotonic() + WAIT_SECONDS
    while not happens():
        if time.monotonic() > until:
            sys.exit(f"{what} within {WAIT_SECONDS:g} s: that has not happened")
        time.sleep(0.002)


def is_ready(core):
    """Return whether a core's server has told it the presets."""
    return core.preset_name(1, bytes(64))


def servers():
    """The processes of servers that this one has begun."""
    return [child for child in psutil.Process().children() if "timbrel.host.plugin" in child.cmdline()]


def instances(lib, bundle):
    """Eight of them: ready, in memory, and closed."""
    with contextlib.ExitStack() as stack:
        began = time.perf_counter()
        cores = [stack.enter_context(opened(lib, bundle)) for _ in range(INSTANCES)]
        wait_for(lambda: all(map(is_ready, cores)), "eight instances ready")
        row(f"{INSTANCES} instances ready", f"{time.perf_counter() - began:.2f} s", "5 s together")
        for core in cores:
            core.activate(float(RATE), 256)
        for what, notes, asked in (("silent", (), "60 MB each"), ("eight notes", NOTES, "")):
            for core in cores:
                for note in notes:
                    core.midi(0, bytes([0x90, note, 90]), 3)
            for _ in range(round(SETTLING_SECONDS * RATE / 256)):
                for core in cores:
                    core.run(256)
                time.sleep(256 / RATE)
            sizes = [server.memory_full_info().pss / 1e6 for server in servers()]
            row(f"memory (PSS), {what}", f"{max(sizes):.0f} MB at most, {sum(sizes):.0f} MB together", asked)
        began = time.perf_counter()
    took = time.perf_counter() - began
    row(f"{INSTANCES} instances closed", f"{took:.2f} s, {len(servers())} processes left", "0.5 s, none")


class Sleeper:
    """A process that sleeps on a futex as a server does, and does nothing when it is woken."""

    def __init__(self):
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        word = ctypes.c_uint32.from_buffer(self._memory)
        number, self._word = SYS_FUTEX[platform.machine()], ctypes.byref(word)
        self._futex = functools.partial(ctypes.CDLL(None).syscall, ctypes.c_long(number), self._word)
        self._process = os.fork()
        while self._process == 0:
            if may_hurry():
                hurry(SOUND)
            self._futex(FUTEX_WAIT, ctypes.c_uint32(0), None)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)

    def wake(self):
        """Wake it."""
        self._futex(FUTEX_WAKE, 1)


def timed(call):
    """Return the microseconds that a call takes."""
    began = time.perf_counter()
    call()
    return 1e6 * (time.perf_counter() - began)


def waits(lib, bundle, block, blocks, seconds):
    """Measure what a block costs the host, and how many come late."""
    with opened(lib, bundle) as core, Sleeper() as sleeper:
        wait_for(lambda: is_ready(core), "an instance ready")
        core.activate(float(RATE), block)
        if may_hurry():
            hurry(SERVER_PRIORITY)  # as a host's thread of sound has it
        first, last = (round(one * RATE / block) for one in (SETTLING_SECONDS, SETTLING_SECONDS + seconds))
        sides, took, wakes, late = [(ctypes.c_float * block)() for _ in range(2)], [], [], 0
        run = functools.partial(core.lib.core_run, core.core, *sides, block)
        due = time.perf_counter()
        for number in range(last):
            if number == 1:
                for note in NOTES:
                    core.midi(0, bytes([0x90, note, 90]), 3)
            if number == first:
                took, wakes, late = [], [], core.late()
            for macro in range(MACROS):
                core.set(0, macro, 0.5 + 0.4 * np.sin(0.01 * number + macro))
            pair = [(took, run), (wakes, sleeper.wake)]
            for times, call in pair if number % 2 else reversed(pair):  # the first finds the processor half asleep
                times.append(timed(call))
            due = max(due + block / RATE, time.perf_counter() - block / RATE)
            time.sleep(max(0.0, due - time.perf_counter()))
        late = core.late() - late
    hurry_no_more()
    for name, times, asked in (("waits", took, "p99.9 50 µs"), ("a bare wake", wakes, "")):
        at = ", ".join(f"p{one} {np.percentile(times, one):.0f}" for one in (50, 99, 99.9))
        row(f"{block} samples, {blocks} ahead: {name}", f"{at} µs", asked)
    row(f"{block} samples, {blocks} ahead: late", f"{late} of {len(took)} blocks, {late / len(took):.3%}")


def bare(folder):
    """Compile the plugin that makes a tone, as LV2."""
    bundle = folder / "bare.lv2"
    bundle.mkdir()
    source = Path(__file__).with_name("bare.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", bundle / "bare.so", source, "-lm"], check=True)
    names = "@prefix lv2: <http://lv2plug.in/ns/lv2core#> .\n@prefix atom: <http://lv2plug.in/ns/ext/atom#> .\n"
    events = 'a lv2:InputPort, atom:AtomPort ; atom:bufferType atom:Sequence ; lv2:index 0 ; lv2:symbol "events" ; '
    events += "atom:supports <http://lv2plug.in/ns/ext/midi#MidiEvent>"
    sides = (f'a lv2:OutputPort, lv2:AudioPort ; lv2:index {i} ; lv2:symbol "out{i}" ; lv2:name "{i}"' for i in (1, 2))
    ports = " ] , [ ".join((f'{events} ; lv2:name "events"', *sides))
    told = f'<{BARE}> a lv2:Plugin ; lv2:binary <bare.so> ; <http://usefulinc.com/ns/doap#name> "bare" ; '
    (bundle / "manifest.ttl").write_text(f"{names}{told}lv2:port [ {ports} ] .\n")


def hosted(uri, folder, seconds):
    """Let jalv play a plugin for so long.

    Returns:
        The xruns of the server; the moments, by time.perf_counter, at which blocks had come late that the plugin
        counts, one a block; and those at which the machine had stood still.
    """
    environment = os.environ | {"LV2_PATH": f"{folder}:/usr/lib/lv2", "XDG_STATE_HOME": str(folder)}
    command = ["jalv", "-n", CLIENT, uri]
    notes = [(RATE + 100 * number, bytes([0x90, note, 90])) for number, note in enumerate(NOTES)]
    moves = [(2 * RATE + n * RATE // 50, bytes([0xB0, 70 + n % 8, n % 128])) for n in range(round(50 * seconds))]
    with (folder / "said").open("w+") as said:
        host = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT)
        try:
            with Rig(notes + moves) as rig:
                rig.ports(CLIENT, is_audio=True, is_output=True)
                time.sleep(SETTLING_SECONDS + 3)
                before, watch = rig.xruns, Stalls(STALL_SECONDS)
                asked = [ask_for_outputs(host)]
                rig.start(CLIENT, CLIENT)
                while asked[-1] < asked[0] + seconds:
                    time.sleep(COUNT_SECONDS)
                    asked.append(ask_for_outputs(host))
                xruns, stalls = rig.xruns - before, watch.end()
        finally:
            host.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                host.wait(WAIT_SECONDS)
            host.kill()
        told = late_of(said)
    # The bare plugin counts nothing, and what was asked last may be cut off by the end.
    late = [moment for moment, new in zip(asked[1:], np.diff(told), strict=False) for _ in range(new)]
    return xruns, late, stalls


def ask_for_outputs(host):
    """Have jalv print what the plugin's output ports say, which comes when it ends at the latest; return when."""
    host.stdin.write(b"monitors\n")
    host.stdin.flush()
    return time.perf_counter()


def late_of(said):
    """The counts of late blocks that a host has printed, in order."""
    said.seek(0)
    return [int(float(count)) for count in re.findall(r"^late = ([0-9.]+)$", said.read(), re.MULTILINE)]


def over_jack(folder, seconds):
    """Late blocks and xruns of the plugin, and xruns of the bare one, for each size of block."""
    for block, blocks in KINDS:
        with jack_server(block, may_hurry()):
            theirs, _, _ = hosted(BARE, folder, seconds)
            ours, late, stalls = hosted("urn:timbrel:instrument", folder, seconds)
        count = seconds * RATE / block
        name = f"{block} samples, {blocks} ahead, {seconds:g} s:"
        row(f"{name} late", f"{len(late)} of {count:.0f} blocks, {len(late) / count:.4%}", "0.01 %")
        row(f"{name} late", in_words(len(late), beside(late, stalls), len(stalls), may_hurry()))
        row(f"{name} xruns", f"{ours}, {theirs} of a bare plugin", "10 more at most")


def main():
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="over JACK, for each plugin and size of block")
    parser.add_argument("--paced", type=float, default=60.0, help="seconds for which the host's waits are measured")
    options = parser.parse_args()
    need("cc", "make")
    with tempfile.TemporaryDirectory(prefix="timbrel-") as name:
        folder = Path(name)
        make("core", folder / "build")
        lib, bundle = library(folder / "build" / "core" / "libcore.so"), Bundle(folder / "plugin")
        instances(lib, bundle)
        for block, blocks in KINDS:
            waits(lib, bundle, block, blocks, options.paced)
        need("jackd", "jalv")
        make("lv2", folder / "build")
        shutil.copytree(folder / "build" / "timbrel.lv2", folder / "timbrel.lv2")
        Bundle(folder / "timbrel.lv2")
        bare(folder)
        over_jack(folder, options.seconds)


if __name__ == "__main__":
    main()
