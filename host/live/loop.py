"""Keeps the card's ring full: waits, renders, follows the card's clock, and tells how it goes."""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..audio.device import SPARE_BLOCKS, Sink
from ..dsp import LIMIT_KNEE, limited
from ..events import ControlChange, Event, ProgramChange, Timing
from ..midi.ports import Timed
from ..play.player import Player
from .realtime import undisturbed

if sys.platform == "linux":
    import resource

Array = npt.NDArray[np.float32]
TIGHT = 0.85  # of a block's time: rendering that takes more, over `STRAIN_BLOCKS` or so, costs a voice
STRAIN_BLOCKS = 8
LONGEST_PART = 2.0  # blocks that one counts at most: no voice is to blame where the machine stood still for twenty
LONG_WAIT = 0.1  # of the time that rendering takes, spent waiting for the interpreter; 0.01 is usual
LONG_WAIT_BLOCKS = 32  # over which that is looked at
OFTEN = 0.05  # of the blocks waited for long: a busy thread makes a tenth and more do so, a busy machine two in 100
OFTEN_BLOCKS = 256  # over which that is counted
SETTLED_SECONDS = 0.0005  # after the card took a block, events stamped with its beginning have come, nearly always
SURELY_SECONDS = 0.001  # the same, where there is the time to wait for it: with a block in the ring to spare
POLL_SECONDS = 0.0001  # between looks at the ring when a block is about to be taken
EARLY = 0.8  # of a period: how long to sleep after the card took a block
PATIENCE_BLOCKS = 4  # without one being taken, before it is asked whether the card is still there
LOOK_SECONDS = 0.1  # between looks at what people are shown
METER_SECONDS = 0.5  # over which the limiter's work is averaged
FORGET_SECONDS = 10.0  # how slowly the card's clock is followed
REMEMBERED = 4096  # blocks that the load is told of: 11 s at 128 samples and 48 kHz
PRECISE = time.get_clock_info("thread_time").resolution < 1e-5  # on Windows a tick is longer than a block


class EventSource(Protocol):
    """A source of events: MIDI inputs, or a keyboard."""

    def poll(self) -> list[Timed]:
        """Return what came in since the last call."""
        ...


class Hearing(Protocol):
    """A source of the sound that comes in, a block at a time."""

    @property
    def ready(self) -> bool:
        """Return whether the next block is there."""
        ...

    def listen(self) -> None:
        """Take the next block, for whoever looks at it now."""
        ...


@dataclass
class RenderLoad:
    """The load: the share of a block's time that rendering takes, for the last `REMEMBERED` blocks."""

    parts: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(REMEMBERED, np.float32))
    count: int = 0

    def add(self, part: float) -> None:
        """Add a block's share; 1 is all the time there is."""
        self.parts[self.count % REMEMBERED] = part
        self.count += 1

    def percentiles(self, *which: float) -> list[float]:
        """Return percentiles of the shares, 0 before the first block."""
        known = self.parts[: min(self.count, REMEMBERED)]
        return [float(value) for value in np.percentile(known, which)] if len(known) else [0.0] * len(which)


class Timeline:
    """Finds the sample that the card was taking at a moment, from what it has taken at others.

    A card takes a block at a time: what was seen says that its clock is at least there, and less than a block further.
    Within these bounds the earliest view counts, and is forgotten slowly, for clocks drift apart.
    """

    def __init__(self, sample_rate: int, block: int) -> None:
        self._rate, self._block = sample_rate, block
        self._offset: float | None = None
        self._seen = 0.0

    def saw(self, taken: int, seconds: float) -> None:
        """Note that the card had taken ``taken`` samples at ``seconds``."""
        least = taken - seconds * self._rate
        if self._offset is None:
            self._offset = least
        self._offset += (least - self._offset) * min(1.0, (seconds - self._seen) / FORGET_SECONDS)
        self._offset = min(max(self._offset, least), least + self._block)
        self._seen = seconds

    def sample(self, seconds: float) -> int:
        """Return the sample that was next to be taken at a moment."""
        return round(seconds * self._rate + (self._offset or 0.0))


class Loop:
    """Renders into a sink until it is told to stop, or the sink is gone."""

    def __init__(
        self,
        player: Player,
        sink: Sink,
        sources: Sequence[EventSource],
        lowest_latency: bool = False,
        on_block: Callable[[Array, list[Event]], None] | None = None,
        whole_blocks: bool = False,
        ear: Hearing | None = None,
        shown: int = 0,
    ) -> None:
        """Join what plays, what listens and what takes the sound.

        Args:
            lowest_latency: events take effect with the block that is made next, in place of a constant delay.
            on_block: told each block and the events that took effect in it; it must not wait.
            whole_blocks: events are stamped with the beginnings of the card's own blocks, as JACK's are: rendering
                begins a moment later, when they have come, and their delay is constant with nothing in hand.
            ear: what is heard while sound is made: a block comes for each that the sink takes.
            shown: the channel of the rack whose latents people see.
        """
        self.player, self.sink = player, sink
        self.sources = sources
        self.load = RenderLoad()
        self.peak = 0.0  # of the level since it was last asked for
        self.limited = 0.0  # share of the samples of late that the limiter bent
        # Of late; the player and its rack belong to this thread.
        self.latents, self.standing = player.rack.current_latents(shown), player.standing
        self.heard: deque[Timed] = deque(maxlen=16)  # the last events, for people
        self.measured: deque[int] = deque(maxlen=64)  # samples from events' arrivals to their effects
        self.programs: deque[Event] = deque(maxlen=64)  # program changes and bank selects, for who loads presets
        self._lowest, self._whole_blocks = lowest_latency, whole_blocks
        self._in_hand = 0 if lowest_latency or whole_blocks else sink.block
        self._settled = _settled(sink) if whole_blocks and ear is None else 0.0  # samples
        self._on_block = on_block
        self._shown = shown
        self._ear = ear
        self._timeline = Timeline(sink.rate, sink.block)
        self._latest = [0] * len(sources)  # samples of the last events that came from each
        self._asked_blocks = 0  # by which the ring is deeper for now, as `brace` says
        self._mean_seconds = 0.0  # that a block of late took
        self._mean_waited_seconds = 0.0  # of these, that it waited for the interpreter
        self._share_of_waits = 0.0  # of the blocks of late, those that waited for long
        self._spare_blocks = 0  # by which the ring is deeper for that
        self._strain = 0.0  # the mean load of late
        self._taken_at = 0.0  # when the card was last seen to take a block
        self._stand_blocks = self._look_blocks = self._blocks(LOOK_SECONDS)
        self._meter_blocks = max(1.0, METER_SECONDS * sink.rate / sink.block)
        self._ending = threading.Event()

    @property
    def delay_samples(self) -> int:
        """Return the samples from an event's arrival to its effect: constant, or at most this many."""
        return self.sink.depth * self.sink.block + self._in_hand

    @property
    def ring_blocks(self) -> int:
        """Return how many blocks the ring is ahead of the card: more than usual while others keep rendering waiting.

        What is still to be heard cannot be made ahead.
        """
        return self.sink.depth + (max(self._asked_blocks, self._spare_blocks) if self._ear is None else 0)

    def brace(self, blocks: int) -> None:
        """Keep the ring deeper by so many blocks, 0 or 1, while other threads will be busy. Any thread may call this.

        Events keep their delay, where it has a block in hand.
        """
        self._asked_blocks = blocks

    def look(self, seconds: float) -> None:
        """Look at the code that sounds every so many seconds, for people. Any thread may call this."""
        self._look_blocks = self._blocks(seconds)

    def _blocks(self, seconds: float) -> int:
        return max(1, round(seconds * self.sink.rate / self.sink.block))

    def stop(self) -> None:
        """End after the block under way. Any thread may call this."""
        self._ending.set()

    def run(self) -> None:
        """Render until stopped or until the card has gone; on the thread that is to make the sound."""
        with undisturbed():
            self.sink.start()
            while not self._ending.is_set() and self.sink.alive:
                if not self._wait():
                    continue
                began, worked, gave_way = time.perf_counter(), time.thread_time(), _gave_way()
                self._listen()
                if self._ear is not None:
                    self._ear.listen()
                sound, events = self.player.block(self.sink.block)
                self.sink.write(sound)
                if self._ear is not None or not self._lacks_block():  # after a pause the ring is filled first
                    self.player.prepare()
                seconds = time.perf_counter() - began
                self._notice(seconds, time.thread_time() - worked, _gave_way() > gave_way)
                part = seconds * self.sink.rate / self.sink.block
                self.load.add(part)
                self._keep_up(part)
                if self.load.count % self._look_blocks == 0:
                    self.latents = self.player.rack.current_latents(self._shown)
                if self.load.count % self._stand_blocks == 0:
                    self.standing = self.player.standing
                self._meter(sound)
                if self._on_block is not None:
                    self._on_block(sound, events)

    def _meter(self, sound: Array) -> None:
        """Keep what people are shown of the level."""
        peak = max(float(sound.max()), -float(sound.min()))
        self.peak = max(self.peak, peak)
        self.limited += ((limited(sound) if peak > LIMIT_KNEE else 0.0) - self.limited) / self._meter_blocks

    def _wait(self) -> bool:
        """Sleep until the card took a block and there is room for the next, a few blocks at most; return whether so."""
        sink, period = self.sink, self.sink.block / self.sink.rate
        until = time.perf_counter() + PATIENCE_BLOCKS * period
        while True:
            now, taken = time.perf_counter(), sink.taken
            self._timeline.saw(taken, now)
            if self._lacks_block(taken) and (self._ear is None or self._ear.ready):
                self._taken_at = now
                self._settle(taken)
                return True
            if now > until:
                return False
            rest = self._taken_at + EARLY * period - now  # most of a period is slept, the rest is watched
            time.sleep(rest if 0 < rest < period else POLL_SECONDS)

    def _lacks_block(self, taken: int | None = None) -> bool:
        """Return whether the ring has room for a block, with so many samples ``taken``; None: as many as now."""
        sink = self.sink
        ahead = sink.written - (sink.taken if taken is None else taken)
        return ahead <= (self.ring_blocks - 1) * sink.block

    def _settle(self, taken: int) -> None:
        """Wait until what was sent while the card took its last block has come.

        Not if the ring lacks more than that block, nor while others keep this thread waiting: it would end late.
        """
        sink = self.sink
        since = self._timeline.sample(time.perf_counter()) - taken
        if since < self._settled and not self._spare_blocks and sink.written - taken >= (sink.depth - 1) * sink.block:
            time.sleep((self._settled - since) / sink.rate)

    def _notice(self, seconds: float, worked: float, gave_way: bool) -> None:
        """Keep the ring deeper while others keep this thread waiting for much of the time: events come later then.

        A thread that wants the interpreter for itself gets it back after every few of our steps. A block that takes
        many, the first of a chord, lasts five times as long then. From a few waits, however long, nothing follows. At
        the lowest latency nothing does: who asks for it hears a gap rather than a late key.

        Args:
            seconds: that rendering a block took.
            worked: of these, seconds of a processor's time.
            gave_way: it waited for the interpreter. Whose processor is taken away lacks time, too, but that no ring
                of ours outlasts for long, and keys need not come late for it.
        """
        waited = seconds - worked if gave_way else 0.0
        self._mean_seconds += (seconds - self._mean_seconds) / LONG_WAIT_BLOCKS
        self._mean_waited_seconds += (waited - self._mean_waited_seconds) / LONG_WAIT_BLOCKS
        self._share_of_waits += ((waited > LONG_WAIT * seconds) - self._share_of_waits) / OFTEN_BLOCKS
        if (
            PRECISE
            and not self._lowest
            and self._mean_waited_seconds > LONG_WAIT * self._mean_seconds
            and self._share_of_waits > OFTEN
        ):
            self._spare_blocks = SPARE_BLOCKS
        elif self._mean_waited_seconds < LONG_WAIT / 2 * self._mean_seconds:
            self._spare_blocks = 0

    def _keep_up(self, part: float) -> None:
        """Give up voices, one at a time, while blocks take longer than there is, several of them: one is no reason.

        A deeper ring outlasts more: then nothing is given up as long as the mean block is in time.
        """
        self._strain += (min(part, LONGEST_PART) - self._strain) / STRAIN_BLOCKS
        if self._strain > (TIGHT if self.ring_blocks == self.sink.depth else 1.0):
            self.player.give_up_a_voice()
            self._strain = 0.5 * TIGHT  # wait and see

    def _listen(self) -> None:
        for index, source in enumerate(self.sources):
            for timed in source.poll():
                # What came later takes effect no earlier, though the card's clock was set back between the two.
                time_samples = max(self.player.now, self._latest[index])
                if not self._lowest:
                    # Of the block that was under way then, by the start of the ring: constant, whatever we slept.
                    since = self._timeline.sample(timed.seconds) - self.sink.block
                    if self._whole_blocks:  # stamped when they were handed on, a little after
                        since -= since % self.sink.block
                    time_samples = max(time_samples, since + self.delay_samples)
                self._latest[index] = time_samples
                self.player.schedule(replace(timed.event, time=time_samples))
                self.measured.append(time_samples - self._timeline.sample(timed.seconds))
                if isinstance(timed.event, ProgramChange) or _selects_bank(timed.event):
                    self.programs.append(timed.event)
                if not isinstance(timed.event, Timing):
                    self.heard.append(timed)


def _gave_way() -> float:
    """Return how often this thread has waited for something; where the system does not say, more often at each look."""
    if sys.platform == "linux":
        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    return time.perf_counter()


def _settled(sink: Sink) -> float:
    """Return after how many samples the events of a taken block have come, with time left to make the next one."""
    if sink.depth == 1:
        return min(SETTLED_SECONDS * sink.rate, sink.block / 4)
    return min(SURELY_SECONDS * sink.rate, sink.block / 2)


def _selects_bank(event: Event) -> bool:
    return isinstance(event, ControlChange) and event.number in (0, 32)
