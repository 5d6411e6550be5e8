"""A JACK server without a card, the process that sounds, and a client that plays it and listens, sample by sample."""

import contextlib
import ctypes
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from timbrel.host.live import audio_process
from timbrel.host.live.render_loop import RenderLoop
from timbrel.host.live.session import HUGE_PAGES
from timbrel.host.session.messages import Fault, Lost, Ready, Report, Stop
from timbrel.host.session.meters import RenderLoad

RATE = 48000
SERVER = "timbrel_bench"  # always the same: JACK has room for eight names, and keeps that of a server that was killed
CARD = "system (jack"  # the dummy driver's, as PortAudio names it
KNOBS = range(70, 78)
MOVE_SAMPLES = RATE // 50  # between moves of a knob: as fast as a hand makes them
PATIENCE_SECONDS = 10.0
SERVER_PRIORITY = 10  # JACK's own choice
STALL_PRIORITY = 3  # before whoever sounds
# Between the moments at which the machine must show that it still runs. A virtual machine whose processors are woken
# every millisecond runs a quarter slower; a stall that is too short for these to meet it counts as none.
STALL_SECONDS = 0.004
AT_MOST_SECONDS = 0.3  # from a stall to the report of the underrun that it made
MOST_BLOCKS = 2**21  # of a run: 23 minutes of 32 samples


def end_with_parent():
    """Have the system interrupt this process when its parent has ended, however it ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG


def need(*programs):
    """Leave, with a line, where a program is missing."""
    for program in programs:
        if shutil.which(program) is None:
            print(f"left out: {program} is missing; install it (Debian: apt install jackd2 fluidsynth)")
            sys.exit(0)


def may_hurry():
    """Return whether a JACK server may have realtime priority here."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(SERVER_PRIORITY))
    except PermissionError:
        return False
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return True


@contextlib.contextmanager
def jack_server(block, realtime=False):
    """A server with the dummy driver, which clients of this process and its children then use."""
    os.environ |= {"JACK_DEFAULT_SERVER": SERVER, "JACK_NO_START_SERVER": "1"}
    priority = ["--realtime", f"-P{SERVER_PRIORITY}"] if realtime else ["--no-realtime"]
    command = ["jackd", *priority, "-n", SERVER, "-d", "dummy", "-r", str(RATE), "-p", str(block)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, preexec_fn=end_with_parent, **quiet) as server:
        try:
            wait = ["jack_wait", "-s", SERVER, "-w", "-t", str(round(PATIENCE_SECONDS))]
            if subprocess.run(wait, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
                sys.exit(f"the JACK server does not come up; see what it says: {' '.join(command)}")
            yield
        finally:
            server.send_signal(signal.SIGINT)  # by which it leaves JACK's list of servers


class Rig:
    """A JACK client: sends MIDI at exact frames, which count from `start`, and records what it is connected to."""

    def __init__(self, events, seconds=0.0):
        """``events``: (frame, bytes). ``seconds``: how much is recorded."""
        import jack

        self.client = jack.Client("rig", servername=os.environ["JACK_DEFAULT_SERVER"])
        self.midi = self.client.midi_outports.register("out")
        self.ear = self.client.inports.register("in")
        self.sound = np.zeros(round(seconds * RATE), np.float32)
        self.events = sorted(events)
        self.frame, self.sent = 0, 0
        self._ends, self._end_call, self._caller = False, jack.CallbackExit, None  # the thread that calls, by number
        self._ahead = 0  # frames that ours are ahead of the server's
        self.lost = []  # (first, end) frames that JACK lost between two of its periods
        self._base = None  # JACK's frame at ours of 0
        self.missed = []  # when xruns were told: the frame, and by time.perf_counter
        self.heard = None  # when the first sound came, by time.perf_counter
        self.client.set_process_callback(self._process)
        self.client.set_xrun_callback(self._missed)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._end_calls()
        self.client.deactivate()
        self.client.close()

    def _end_calls(self):
        """Let the thread that calls `_process` end by itself.

        JACK cancels it at any instruction: within Python it would keep the interpreter's lock for ever.
        """
        self._ends, until = True, time.monotonic() + PATIENCE_SECONDS
        while self._caller and Path(f"/proc/self/task/{self._caller}").exists() and time.monotonic() < until:
            time.sleep(0.005)

    def start(self, audio, midi=None):
        """Connect to the first output and, if named, the first MIDI input of the clients so named, and begin."""
        self.client.activate()
        self.client.connect(self.ports(audio, is_audio=True, is_output=True)[0], self.ear)
        if midi is not None:
            self.client.connect(self.midi, self.ports(midi, is_midi=True, is_input=True)[0])
        self.frame = self.sent = 0
        self._base, self.lost = None, []

    @property
    def now(self):
        """The frame that the server is at, within its cycle."""
        return self.client.frame_time + self._ahead

    def ports(self, name, **kind):
        """Those of a client, once they are there."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not (found := self.client.get_ports(f"^{name}:", **kind)):
            if time.monotonic() > until:
                sys.exit(f"no JACK port of {name} appeared in {PATIENCE_SECONDS:g} s")
            time.sleep(0.005)
        return found

    def wait_for(self, frame):
        while self.frame < frame:
            time.sleep(0.05)

    @property
    def xruns(self):
        return len(self.missed)

    def _process(self, count):
        self._caller = threading.get_native_id()
        if self._ends:
            raise self._end_call
        self.midi.clear_buffer()
        if self._base is None:
            self._base = self.client.last_frame_time - self.frame
        start = (self.client.last_frame_time - self._base) % 2**32
        if start > self.frame:
            self.lost.append((self.frame, start))
        end = start + count
        self._ahead = start - self.client.last_frame_time
        while self.sent < len(self.events) and self.events[self.sent][0] < end:
            frame, message = self.events[self.sent]
            self.midi.write_midi_event(max(0, frame - start), message)
            self.sent += 1
        ear = self.ear.get_array()
        if self.heard is None and ear.any():
            self.heard = time.perf_counter()
        if end <= len(self.sound):
            self.sound[start:end] = ear
        self.frame = end

    def _missed(self, delay):
        self.missed.append((self.frame, time.perf_counter()))


class Stalls:
    """Moments at which a processor was not there for a thread that only sleeps, and that goes before all others.

    A virtual machine is not always given its processors. What is missed then no program could have done. Without
    realtime rights a watch goes before nobody, and the load of what is measured makes stalls, too: `in_words` says so.
    """

    def __init__(self, seconds):
        """``seconds``: how late is a stall."""
        context = multiprocessing.get_context("spawn")
        self._watches = []
        for processor in sorted(os.sched_getaffinity(0)):
            ours, theirs = context.Pipe()
            process = context.Process(target=_stalls, args=(theirs, processor, seconds), daemon=True)
            process.start()
            theirs.close()
            self._watches.append((ours, process))

    def so_far(self):
        """When the stalls of all processors ended, by time.perf_counter."""
        return self._ask("tell")

    def end(self):
        """As `so_far`, and stop."""
        moments = self._ask("stop")
        for _, process in self._watches:
            process.join(PATIENCE_SECONDS)
        return moments

    def _ask(self, word):
        for pipe, _ in self._watches:
            pipe.send(word)
        return [moment for pipe, _ in self._watches for moment in pipe.recv()]


def _stalls(pipe, processor, seconds):
    os.sched_setaffinity(0, {processor})
    audio_process.hurry(STALL_PRIORITY)
    moments, word = [], ""
    while word != "stop":
        if pipe.poll():
            word = pipe.recv()
            pipe.send(moments)
        before = time.perf_counter()
        time.sleep(STALL_SECONDS)
        after = time.perf_counter()
        if after - before > STALL_SECONDS + seconds:
            moments.append(after)


def beside(moments, stalls):
    """How many of some moments came soon after a stall."""
    return sum(any(0 <= moment - stall <= AT_MOST_SECONDS for stall in stalls) for moment in moments)


def in_words(late, excused, stalls, first):
    """How many of those that came late came beside no stall, and whose the stalls are.

    Args:
        late, excused, stalls: how many came late, how many of these soon after a stall, and how many stalls there were.
        first: whether the watch could go before all others.
    """
    whose = "of the machine" if first else "of the machine or of this load itself, as the watch has no realtime rights"
    return f"{late - excused} of them beside no stall ({stalls} stalls {whose})"


class Sounding:
    """The process that sounds, as `timbrel play` starts it; it keeps every block's load."""

    def __init__(self, setup, folder):
        os.environ.setdefault(*HUGE_PAGES)
        self._loads = Path(folder) / "loads"
        self.missed = []  # when each underrun was told, by time.perf_counter
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_sound, args=(theirs, setup, self._loads))
        self._process.start()
        theirs.close()
        self.report = self._wait_until_ready()

    def watch(self, seconds):
        """Take reports for a while; the last of them."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._pipe.poll(0.05):
                self._take(self._pipe.recv())
        return self.report

    def memory(self):
        """Kinds of resident memory in MB."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii").splitlines()
        fields = (line.split() for line in lines if line.startswith("Rss"))
        return {name.rstrip(":"): int(kilobytes) / 1024 for name, kilobytes, _ in fields}

    def end(self):
        """Stop it; the load of each block."""
        self._pipe.send([Stop()])
        self._process.join(PATIENCE_SECONDS)
        loads = np.fromfile(self._loads, np.float32)
        return loads[: np.count_nonzero(loads)]

    def _wait_until_ready(self):
        while True:
            message = self._pipe.recv()
            if isinstance(message, Ready):
                return message.status
            self._take(message)

    def _take(self, message):
        match message:
            case Report(status):
                self.missed += [time.perf_counter()] * (status.underruns - self.report.underruns)
                self.report = status
            case Fault() | Lost():
                sys.exit(f"the process that sounds: {message}")


class _EveryLoad(RenderLoad):
    """Forgets nothing: writes each load where the parent finds it, however the process ends."""

    def __init__(self, path):
        super().__init__()
        self._all = np.memmap(path, np.float32, "w+", shape=(MOST_BLOCKS,))

    def add(self, part):
        super().add(part)
        self._all[self.count - 1] = part


class _KeptLoop(RenderLoop):
    """Keeps every load."""

    path = Path()

    def run(self):
        self.meters.load = _EveryLoad(self.path)
        super().run()


def _sound(pipe, setup, path):
    _KeptLoop.path, audio_process.RenderLoop = path, _KeptLoop
    audio_process.run(pipe, setup)


def moving_knobs(first, seconds):
    """All knobs turn, from a frame on, each at a speed of its own."""
    for move in range(round(seconds * RATE / MOVE_SAMPLES)):
        for index, number in enumerate(KNOBS):
            value = round(63.5 + 60 * math.sin(move / 30 * (1 + index / 3)))
            yield first + move * MOVE_SAMPLES, bytes([0xB0, number, value])
