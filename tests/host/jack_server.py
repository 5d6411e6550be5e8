"""A JACK server without a card, and a client that plays to what is tested and records it."""

import contextlib
import ctypes
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from ..patience import PATIENCE_SECONDS, until

try:
    import jack
except (ImportError, OSError):  # the package, or the system's library
    jack = None

TOGETHER = 0.005  # seconds
LAST_CALL_SECONDS = 1.0
LEAVING_SECONDS = 0.05  # from a thread's last callback to its end
PARENT_ENDED = 1  # prctl's PR_SET_PDEATHSIG
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def end_with_parent():
    """Have the system interrupt this process when its parent has ended, however it ends (Linux)."""
    if LIBC is not None:
        LIBC.prctl(PARENT_ENDED, signal.SIGINT)


class JackServer:
    """A JACK server of its own, without a card; every client of this process and its children uses it."""

    rate, block = 48000, 128

    def __init__(self, name, refuse=pytest.skip):
        """``refuse`` receives the reason if the server does not start: `pytest.skip` or `pytest.fail`."""
        self.name, self._refuse = name, refuse
        self.start()

    def start(self):
        """Come up, or come back."""
        driver = ["-d", "dummy", "-r", str(self.rate), "-p", str(self.block)]
        command = ["jackd", "--no-realtime", "-n", self.name, *driver]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=end_with_parent
        )
        until(lambda: self._process.poll() is not None or self._answers(), "the JACK server's answer")
        if self._process.poll() is not None:
            self._refuse("jackd does not start: other tests use it, or JACK's list of servers in /dev/shm is full")

    def _answers(self):
        with contextlib.suppress(jack.JackOpenError):
            jack.Client("probe", no_start_server=True).close()
            return True
        return False

    @property
    def pid(self):
        return self._process.pid

    @contextlib.contextmanager
    def standing_still(self):
        """Answer nobody for a while, as a driver that hangs."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def kill(self):
        """Be gone at once, as a driver that crashes."""
        self._process.kill()
        self._process.wait()

    def end(self):
        """Leave in order."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait()


class Process:
    """A client's process callback, whose thread ends of itself before its client is closed.

    JACK cancels a client's thread wherever it is: also where it waits for the interpreter's lock, which nobody gets
    from then on. A callback that fails ends its thread in order.
    """

    def __init__(self, client, work):
        """Have ``work`` called with each block's number of frames."""
        self._work, self._ends, self._last = work, False, threading.Event()
        client.set_process_callback(self._called)

    def _called(self, count):
        ends = self._ends
        self._work(count)  # the last time as well: what lies in a port's buffer is heard until its client has closed
        if ends:
            self._last.set()
            raise jack.CallbackExit

    def end(self):
        """Have the thread end; a server that is gone calls nobody."""
        self._ends = True
        if self._last.wait(LAST_CALL_SECONDS):
            time.sleep(LEAVING_SECONDS)


class JackRig:
    """A JACK client that plays MIDI at exact frames and records two channels from its first one on."""

    def __init__(self, server, seconds):
        self._client = jack.Client("rig", no_start_server=True)
        self._midi = self._client.midi_outports.register("out")
        self._ears = [self._client.inports.register(name) for name in ("left", "right")]
        length = round(seconds * server.rate) // server.block * server.block
        self.sound = np.full((2, length), np.nan, np.float32)  # its pages are there before they are recorded to
        self.now = 0
        self.lost = []  # frames at which JACK itself was late, or the whole machine
        self._waiting, self._cycles = [], []  # when each of the server's cycles came, and its first frame
        self._watched_since = 0.0
        self._rewinds = threading.Event()
        self._calls = Process(self._client, self._process)
        self._client.set_xrun_callback(lambda delay: self.lost.append(self.now))

    def __enter__(self):
        self._client.activate()
        return self

    def __exit__(self, *error):
        self._calls.end()
        self._client.deactivate()
        self._client.close()

    def _process(self, count):
        self._midi.clear_buffer()
        if self._rewinds.is_set():
            self.now = 0
            for kept in (self._waiting, self._cycles, self.lost):
                kept.clear()
            self._rewinds.clear()
        end = self.now + count
        self._cycles.append((time.perf_counter(), self.now))
        while self._waiting and self._waiting[0][0] < end:
            frame, data = self._waiting.pop(0)
            self._midi.write_midi_event(max(0, frame - self.now), data)
        if end <= self.sound.shape[1]:
            for row, ear in zip(self.sound, self._ears, strict=True):
                row[self.now : end] = ear.get_array()
        self.now = end

    def connect(self, midi="timbrel-midi-in:in", audio=("timbrel:out_0", "timbrel:out_1"), seconds=PATIENCE_SECONDS):
        """Wait for the ports and plug in."""
        until = time.monotonic() + seconds
        while not all(self._present(name) for name in (midi, *audio)):
            assert time.monotonic() < until, f"no ports {midi}, {audio}: {[p.name for p in self._client.get_ports()]}"
            time.sleep(0.02)
        self._client.connect(self._midi, midi)
        for name, ear in zip(audio, self._ears[: len(audio)], strict=True):
            self._client.connect(name, ear)
        settled = time.monotonic() + 2
        while time.monotonic() < settled and (not self.lost or self.now - self.lost[-1] < 24_000):
            time.sleep(0.05)  # a server is late while its clients come

    def midi_inputs(self):
        """The names of timbrel's MIDI inputs, of whichever processes: of several, later ones have a number."""
        return {port.name for port in self._client.get_ports("timbrel-midi-in", is_midi=True)}

    def _present(self, name):
        return any(port.name == name for port in self._client.get_ports())

    def play(self, events, ahead=1000):
        """Send (frame, bytes) from ``ahead`` frames after now on; returns the frame from which they count."""
        start = self.now + ahead
        self._waiting = sorted([*self._waiting, *((start + frame, data) for frame, data in events)], key=lambda e: e[0])
        return start

    def rewind(self):
        """Record from the tape's beginning again: a slow machine tries as often as it must."""
        self._rewinds.set()
        until(lambda: not self._rewinds.is_set(), "a cycle of the JACK server")

    def begin_to_watch(self):
        """Forget what was lost before."""
        self.lost.clear()
        self._watched_since = time.perf_counter()

    def stood_still(self, moments):
        """The machine stood still until these moments, by time.perf_counter: each counts as one at which JACK was late.

        Those of several processors, at once, are one.
        """
        times, frames = zip(*self._cycles, strict=True)
        moments = sorted(moment for moment in moments if moment > self._watched_since)
        alone = [moment for moment, before in zip(moments, [0.0, *moments], strict=False) if moment - before > TOGETHER]
        self.lost += [round(frame) for frame in np.interp(alone, times, frames)]

    def lost_seconds(self):
        """When it was late, or stood still, by time.perf_counter."""
        times, frames = zip(*self._cycles, strict=True)
        return np.interp(self.lost, frames, times).tolist()

    def wait(self, frame):
        """Until a frame has been recorded."""
        assert frame <= self.sound.shape[1], "the rig's tape is too short"
        while self.now < frame:
            time.sleep(0.01)
