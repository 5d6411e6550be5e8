"""Beats as a function of time: a tempo, or the MIDI clock."""

from collections import deque

from ..controls import Ramp
from ..events import Clock

FOR_EVER = 2.0**50  # samples: 700 years, and a power of two, so that dividing by it rounds nothing
TICKS_A_BEAT = 24  # of the MIDI clock, in a quarter note
AVERAGED = 24  # ticks over which the tempo is averaged: one beat evens out the jitter of a USB port
LONGEST_TICK_SECONDS = 0.125  # 20 BPM; a longer gap is a pause


class Beats:
    """The quarter notes since the start as a function of time, which never jumps but to 0.

    Without a MIDI clock they pass at the preset's tempo. A tick gives position and tempo: the beat moves on to where
    the next tick is expected, at the time when that is due, and waits there if it is late.
    """

    def __init__(self, tempo_bpm: float, sample_rate: int) -> None:
        samples = 60 * sample_rate / tempo_bpm
        self._line = Ramp(0.0, 1)
        self._line.move(0, FOR_EVER / samples, FOR_EVER)
        self._interval = samples / TICKS_A_BEAT
        self._longest = LONGEST_TICK_SECONDS * sample_rate
        self._heard: deque[int] = deque(maxlen=AVERAGED + 1)
        self._ticks: float | None = None  # where the last tick was, in ticks
        self._running = True

    def value(self, time: int) -> float:
        """Return the beat at one sample."""
        return self._line.value(time)

    def clock(self, event: Clock) -> None:
        """Take a message of the MIDI clock."""
        match event.message:
            case "tick":
                self._listen(event.time)
                if self._running:
                    self._advance(event.time)
            case "start":  # the next tick is beat 0 (MIDI 1.0)
                self._running, self._ticks = True, -1.0
                self._line.jump(event.time, 0.0)
            case "stop":
                self._running = False
                self._line.jump(event.time, self.value(event.time))
            case "continue":
                self._running = True

    def forget(self, time: int) -> None:
        """Drop what only matters before ``time``."""
        self._line.forget(time)

    def _listen(self, time: int) -> None:
        if self._heard and time - self._heard[-1] > self._longest:
            self._heard.clear()
        self._heard.append(time)
        if len(self._heard) > 1:
            self._interval = max(1.0, (self._heard[-1] - self._heard[0]) / (len(self._heard) - 1))

    def _advance(self, time: int) -> None:
        self._ticks = self.value(time) * TICKS_A_BEAT if self._ticks is None else self._ticks + 1
        self._line.move(time, (self._ticks + 1) / TICKS_A_BEAT, self._interval)
