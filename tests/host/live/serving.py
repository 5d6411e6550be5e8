"""A process that serves beside a loop that stands."""

import threading
import time
from collections import deque
from multiprocessing import Pipe
from types import SimpleNamespace

from timbrel.host.events import ProgramChange
from timbrel.host.live import audio_process
from timbrel.host.live.audio_process import ProcessState
from timbrel.host.live.render_loop import ForwardedEvents
from timbrel.host.midi.arrival import Arrival
from timbrel.host.session.messages import PresetLines, Setup, Stop
from timbrel.host.session.meters import Meters

from ...patience import PATIENCE_SECONDS, until


class StandingLoop:
    """A loop that notes which racks are swapped in."""

    def __init__(self):
        self.player, self.swapped, self.meters = self, [], Meters(0)
        self.sink = SimpleNamespace(block=128, stuck=False)
        self.forwarded, self.recording = ForwardedEvents(threading.Event()), False
        self.programs, self.program_arrival = deque(), Arrival()

    def brace(self, blocks):
        pass

    standing, resting, started = (), False, True

    def swap(self, rack, channels, told):
        self.swapped.append(rack)
        self.replaced = channels


class Served:
    """A process that serves beside a loop that stands, and its parent's end of the pipe."""

    def __init__(self, preset, channels=(), **setup):
        self._ours, theirs = Pipe()
        self.loop = StandingLoop()
        self._state = ProcessState(Setup(str(preset), **setup), theirs, loop=self.loop, rate=48000)
        names = {None: str(preset), **dict(channels)}
        self._state.presets.activate(names, self._state.presets.opened(names))
        self.looks, edited = 0, self._state.presets.edited

        def look():
            self.looks += 1
            return edited()

        self._state.presets.edited = look
        self._ends = threading.Event()
        standing = threading.Thread(target=self._ends.wait, daemon=True)
        standing.start()
        self._serving = threading.Thread(target=audio_process._serve, args=(self._state, standing), daemon=True)

    def __enter__(self):
        self._serving.start()
        return self

    def __exit__(self, *error):
        self._ours.send([Stop()])
        self._serving.join(PATIENCE_SECONDS)
        self._ends.set()
        assert not self._serving.is_alive()

    def choose(self, *presets, channel=0):
        """Program changes."""
        self._state.presets._programs = tuple(map(str, presets))
        self.loop.programs.extend(ProgramChange(0, channel, number) for number in range(len(presets)))
        self.loop.program_arrival.set()

    def names(self):
        """Presets that play, by channel."""
        return self._state.presets.names

    def told(self, seconds=PATIENCE_SECONDS):
        """The next line about the preset."""
        until = time.monotonic() + seconds
        while self._ours.poll(max(0.0, until - time.monotonic())):
            message = self._ours.recv()
            if isinstance(message, PresetLines):
                return message.lines
        return []

    def at_rest(self):
        """No line about a preset follows, for five looks at its files."""
        then = self.looks + 5
        until(lambda: self.looks >= then, "looks at files")
        return self.told(0.0) == []


def save(preset, text):
    """Write a preset as a whole: a busy machine may halt a writer for longer than the watcher waits."""
    new = preset.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(preset)


def soften(preset):
    save(preset, preset.read_text(encoding="utf-8") + "[play]\ngain_db = -6.0\n")
