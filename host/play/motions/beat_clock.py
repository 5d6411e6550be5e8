"""Beat position over time, from tempo events or MIDI clock."""

from collections import deque

from ...events import Clock
from ...ramps import Ramp

FOR_EVER = 2.0**50  # samples: 700 years, and a power of two for exact division
TICKS_A_BEAT = 24  # MIDI clocks a quarter note
AVERAGED = 24  # ticks in the tempo average: one beat smooths the jitter of a USB port
LONGEST_TICK_SECONDS = 0.125  # 20 BPM; a longer gap is a pause


class Beats:
    """Quarter notes since the start, as a function of time that only jumps to 0.

    A clock tick moves the beat to the next tick's position, where it waits for a late tick.
    """

    def __init__(self, tempo_bpm: float, sample_rate: int) -> None:
        samples = 60 * sample_rate / tempo_bpm
        self._beat = Ramp(0.0, 1)
        self._beat.move(0, FOR_EVER / samples, FOR_EVER)
        self._tick_samples = samples / TICKS_A_BEAT
        self._rate, self._samples = sample_rate, Ramp(samples, 1)
        self._longest_tick = LONGEST_TICK_SECONDS * sample_rate
        self._tick_times: deque[int] = deque(maxlen=AVERAGED + 1)
        self._last_tick: float | None = None  # position, in ticks
        self._running = True

    def value(self, time: int) -> float:
        return self._beat.value(time)

    def samples(self, time: int) -> float:
        return self._samples.value(time)

    def tempo(self, time: int, bpm: float) -> None:
        """Ignored after MIDI clock."""
        if self._tick_times:
            return
        samples = 60 * self._rate / bpm
        beat = self.value(time)
        self._beat.jump(time, beat)
        self._beat.move(time, beat + FOR_EVER / samples, FOR_EVER)
        self._tick_samples = samples / TICKS_A_BEAT
        self._samples.jump(time, samples)

    def clock(self, event: Clock) -> None:
        match event.message:
            case "tick":
                self._measure_tempo(event.time)
                if self._running:
                    self._advance(event.time)
            case "start":  # the next tick is beat 0 (MIDI 1.0)
                self._running, self._last_tick = True, -1.0
                self._beat.jump(event.time, 0.0)
            case "stop":
                self._running = False
                self._beat.jump(event.time, self.value(event.time))
            case "continue":
                self._running = True

    def forget(self, time: int) -> None:
        self._beat.forget(time)
        self._samples.forget(time)

    def _measure_tempo(self, time: int) -> None:
        if self._tick_times and time - self._tick_times[-1] > self._longest_tick:
            self._tick_times.clear()
        self._tick_times.append(time)
        if len(self._tick_times) > 1:
            self._tick_samples = max(1.0, (self._tick_times[-1] - self._tick_times[0]) / (len(self._tick_times) - 1))
            self._samples.jump(time, self._tick_samples * TICKS_A_BEAT)

    def _advance(self, time: int) -> None:
        self._last_tick = self.value(time) * TICKS_A_BEAT if self._last_tick is None else self._last_tick + 1
        self._beat.move(time, (self._last_tick + 1) / TICKS_A_BEAT, self._tick_samples)
