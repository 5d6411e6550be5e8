"""Render loop: keeps the sound card's ring buffer full, measures CPU load."""

import ctypes
import itertools
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np

from ..arrays import Array
from ..audio.sound_card import SPARE_BLOCKS, Ear, Sink
from ..events import ControlChange, Event, ProgramChange, retimed
from ..midi.arrival import Arrival
from ..midi.ports import Timed
from ..play.player import Player
from ..session.meters import LOOK_SECONDS, TIGHT, LoadShedding, Meters
from ..session.realtime import undisturbed, waiting
from ..unattended import MOST_BLOCKS, UnattendedRun, unattended_run

if sys.platform == "linux":
    import resource

LONG_WAIT = 0.1  # of the rendering time, spent waiting for the interpreter lock; 0.01 is usual
LONG_WAIT_BLOCKS = 32  # averaging length of the waits
OFTEN = 0.05  # of the blocks with long waits: a busy thread causes 10 % and more, a busy machine 2 %
OFTEN_BLOCKS = 256  # averaging length of their share
SLOW = 0.8  # of a block's length: rendering that takes more leaves nothing for the next block
SETTLED_SECONDS = 0.0005  # after the card read a block, nearly all events stamped with its start have arrived
SURELY_SECONDS = 0.001  # the same, with a spare block in the ring and so more time to wait
POLL_SECONDS = 0.0001  # between polls of the ring when the card is later than its clock
READ_SECONDS = 0.00005  # from the moment when a block is due until the card has read it
REST_LOOK_SECONDS = 0.2  # between looks at the card, at rest
PATIENCE_BLOCKS = 4  # without progress, before checking that the card still exists
MOST_UNACCOUNTED = 4  # runs of the core that wait to be noted, while the ring lacks blocks
NOTED_BLOCKS = 16  # of runs that wait otherwise, unless a block took half its length: noting costs a block's time
FORGET_SECONDS = 10.0  # time constant of the card's clock
PRECISE = time.get_clock_info("thread_time").resolution < 1e-5  # on Windows a tick is longer than a block


class EventSource(Protocol):
    def poll(self) -> list[Timed]: ...


class ForwardedEvents:
    """Source of the computer keyboard's and the panel's events."""

    def __init__(self, arrival: Arrival) -> None:
        """``arrival`` is set with each event."""
        self._waiting: deque[Timed] = deque()
        self._arrival = arrival

    def play(self, events: Iterable[Event]) -> None:
        """Queue events, ignoring their times. Thread-safe."""
        now = time.perf_counter()
        self._waiting.extend(Timed(now, event) for event in events)
        self._arrival.set()

    def poll(self) -> list[Timed]:
        return [self._waiting.popleft() for _ in range(len(self._waiting))]


class Timeline:
    """Maps times in seconds to the card's sample position.

    A card reads whole blocks, so each observation bounds its position to within one block. The earliest within these
    bounds counts, with slow decay: clocks drift.
    """

    def __init__(self, sample_rate: int, block: int) -> None:
        self._rate, self._block = sample_rate, block
        self._offset: float | None = None
        self._last_seconds = 0.0

    def observe(self, played_samples: int, seconds: float) -> None:
        """Note how many samples the card has read at a time."""
        lowest_offset_samples = played_samples - seconds * self._rate
        if self._offset is None:
            self._offset = lowest_offset_samples
        self._offset += (lowest_offset_samples - self._offset) * min(
            1.0, (seconds - self._last_seconds) / FORGET_SECONDS
        )
        self._offset = min(max(self._offset, lowest_offset_samples), lowest_offset_samples + self._block)
        self._last_seconds = seconds

    def lend(self, run: UnattendedRun) -> None:
        """Let the core observe for a while."""
        run.fields.offset, run.fields.observed, run.fields.forget = (
            self._offset or 0.0,
            self._last_seconds,
            FORGET_SECONDS,
        )

    def take_back(self, run: UnattendedRun) -> None:
        """Go on with its observations."""
        self._offset, self._last_seconds = run.fields.offset, run.fields.observed

    def sample(self, seconds: float) -> int:
        """The card's sample position at a time."""
        return round(seconds * self._rate + (self._offset or 0.0))

    def seconds(self, sample: int) -> float:
        """The time when the card reaches a sample."""
        return (sample - (self._offset or 0.0)) / self._rate


class RenderLoop:
    def __init__(
        self,
        player: Player,
        sink: Sink,
        inputs: Sequence[EventSource],
        lowest_latency: bool = False,
        on_block: Callable[[Array, list[Event]], None] | None = None,
        whole_blocks: bool = False,
        ear: Ear | None = None,
        meters: Meters | None = None,
        recording: bool = True,
        arrival: Arrival | None = None,
    ) -> None:
        """Connect player, inputs and sink.

        Args:
            lowest_latency: events take effect with the next block, without a constant delay.
            on_block: receives each block and its events; must not block.
            whole_blocks: events have the starts of the card's blocks, as in JACK. Rendering waits for them: their delay
                is constant without a block of reserve.
            recording: whether each block counts, also of silence; any thread may change it.
            arrival: set when an input has an event, or the player another rack; None: the loop looks each block.
        """
        self.player, self.sink = player, sink
        self.meters = Meters(0) if meters is None else meters
        self.standing = player.standing  # a copy for other threads; the player and its rack belong to this thread
        self.measured: deque[int] = deque(maxlen=64)  # samples from an event's arrival to its effect
        self.programs: deque[Event] = deque(maxlen=64)  # program changes and bank selects, for the preset loader
        self.program_arrival = Arrival()  # set with each of them
        self._lowest, self._whole_blocks = lowest_latency, whole_blocks
        self._reserve_samples = 0 if lowest_latency or whole_blocks else sink.block
        self._settled = _settled(sink) if whole_blocks and ear is None else 0.0  # samples
        self._on_block, self.recording = on_block, recording
        self._ear = ear
        self._arrival = arrival or Arrival()
        self.forwarded = ForwardedEvents(self._arrival)
        self._sources = [*inputs, self.forwarded]
        self._look_seconds = sink.block / sink.rate if arrival is None else REST_LOOK_SECONDS
        self._timeline = Timeline(sink.rate, sink.block)
        self._run: UnattendedRun | None = None
        if ear is None and sink.ring_address is not None:
            self._run = unattended_run(sink.rate, sink.block)
        self._run_blocks = 1 if arrival is None or sink.depth == 1 else MOST_BLOCKS  # most, unless Python looks sooner
        self._latest = [0] * len(self._sources)  # time in samples of each source's last event
        self._braced_blocks = 0  # added to the ring's depth by `brace`
        self._mean_seconds = 0.0  # rendering time of recent blocks
        self._mean_waited_seconds = 0.0  # of it, waiting for the interpreter lock
        self._share_of_waits = 0.0  # share of recent blocks with a long wait
        self._share_of_slow = 0.0  # share of recent blocks that took nearly their own length
        self._spare_blocks = 0  # added to the ring's depth because of such waits and blocks
        self._shedding = LoadShedding()
        self._stand_blocks = max(1, round(LOOK_SECONDS * sink.rate / sink.block))
        self._count = 0  # blocks rendered
        self._unaccounted: list[tuple[list[float], Array, list[Event]]] = []  # arguments of `_account`
        self.started = False  # the card's driver has returned
        self._ending = threading.Event()

    @property
    def delay_samples(self) -> int:
        """The events' delay: constant, or an upper bound at the lowest latency."""
        return self.sink.depth * self.sink.block + self._reserve_samples

    @property
    def ring_blocks(self) -> int:
        """The ring's depth, larger while other threads delay rendering, or it often takes a block's time.

        Constant with audio input, which cannot be rendered ahead.
        """
        return self.sink.depth + (max(self._braced_blocks, self._spare_blocks) if self._ear is None else 0)

    def brace(self, blocks: int) -> None:
        """Deepen the ring by ``blocks``, 0 or 1, while other threads are busy; thread-safe.

        Events keep their delay if it has a block in reserve.
        """
        self._braced_blocks = blocks

    def stop(self) -> None:
        """Stop after the current block. Thread-safe."""
        self._ending.set()
        self._arrival.set()

    def run(self) -> None:
        """Render on the calling thread, until stopped or the card is gone."""
        with undisturbed():
            self.sink.start()
            self.started = True
            while not self._ending.is_set() and self.sink.alive:
                if self.player.resting and not self.recording:
                    self._account_all()
                    self._play_silence()
                if not self._wait():
                    continue
                begin_time, begin_cpu_time, begin_wait_count = time.perf_counter(), time.thread_time(), _gave_way()
                self._listen()
                if self._ear is not None:
                    self._ear.listen()
                events = None if self._run is None else self.player.lend(self._run)
                if self._run is not None and events is not None:
                    python_seconds = time.perf_counter() - begin_time
                    self.player.time_notes(events, python_seconds)
                    self._notice(python_seconds, time.thread_time() - begin_cpu_time, _gave_way() > begin_wait_count)
                    self._leave_alone(self._run, events)
                    first_seconds, *block_seconds = self._run.seconds
                    seconds = [python_seconds + first_seconds, *block_seconds]
                    self._unaccounted.append((seconds, self._run.sound.copy(), events))
                    if len(self._unaccounted) >= MOST_UNACCOUNTED or (self._is_due() and not self._lacks_block()):
                        self._account_all()
                    continue
                self._account_all()  # a take that begins with this block counts from it
                sound, events = self.player.block(self.sink.block)
                self.sink.write(sound)
                if self._ear is not None or not self._lacks_block():  # after a stall, fill the ring first
                    self.player.prepare()
                rendering_seconds = time.perf_counter() - begin_time
                self.player.time_notes(events, rendering_seconds)
                self._notice(rendering_seconds, time.thread_time() - begin_cpu_time, _gave_way() > begin_wait_count)
                self._unaccounted.append(([rendering_seconds], sound, events))
                self._account_all()
            self._account_all()

    def _is_due(self) -> bool:
        """Return whether the blocks that wait for it should be noted."""
        seconds = [block_seconds for run_seconds, _, _ in self._unaccounted for block_seconds in run_seconds]
        return len(seconds) >= NOTED_BLOCKS or max(seconds) > self.sink.block / self.sink.rate / 2

    def _account_all(self) -> None:
        """Note the blocks that wait for it, together: a block that is due goes before."""
        if not self._unaccounted:
            return
        seconds, sounds, events = zip(*self._unaccounted, strict=True)
        self._unaccounted.clear()
        sound = sounds[0] if len(sounds) == 1 else np.concatenate(sounds, axis=1)
        self._account([*itertools.chain(*seconds)], sound, [*itertools.chain(*events)])

    def _leave_alone(self, run: UnattendedRun, events: list[Event]) -> None:
        """Have the core fill the ring, with ``events`` in its first block, until more arrive or Python is needed.

        Other threads have the interpreter meanwhile, and none of them makes a block late.
        """
        sink, fields = self.sink, run.fields
        self._timeline.lend(run)
        fields.ring, fields.arrival = sink.ring_address, ctypes.addressof(self._arrival.flag)
        fields.written, fields.depth, fields.most = sink.written, self.ring_blocks, min(fields.most, self._run_blocks)
        fields.settled = 0.0 if self._spare_blocks else self._settled
        fields.read_seconds, fields.poll_seconds = READ_SECONDS, POLL_SECONDS
        fields.patience = PATIENCE_BLOCKS * sink.block / sink.rate
        with waiting():
            run.run()
        sink.advance(run.samples)
        self._timeline.take_back(run)
        self.player.take_back(run, events)
        if not self._lacks_block():
            self.player.prepare()

    def _account(self, seconds: Sequence[float], sound: Array, events: list[Event]) -> None:
        """Note rendered blocks: the time that each took, their sound and events."""
        sink, first_count = self.sink, self._count
        # A deeper ring outlasts more, so there the mean block must be late.
        limit = TIGHT if self.ring_blocks == sink.depth else 1.0
        *load_ratios, last_ratio = [block_seconds * sink.rate / sink.block for block_seconds in seconds]
        for load_ratio in load_ratios:
            self.meters.load.add(load_ratio)
        for load_ratio in (*load_ratios, last_ratio):
            self._shedding.add(load_ratio, self.player, limit)
        self._count += len(seconds)
        if self._count // self._stand_blocks != first_count // self._stand_blocks:
            self.standing = self.player.standing
        self.meters.see(self.player, sink.rate, sound, last_ratio)
        if self._on_block is not None:
            self._on_block(sound, events)

    def _play_silence(self) -> None:
        """Play silence from a deep ring, without a thought for each block, until an event arrives.

        The samples of it that the card has not read are then left out, so that the event is not late.
        """
        sink, player, rendered_samples = self.sink, self.player, self.sink.written
        while not self._ending.is_set() and sink.alive and player.resting and not self.recording:
            sink.fill_with_silence()
            with waiting():
                self._arrival.wait(self._look_seconds)
            self._arrival.clear()
            played_samples = sink.taken
            self._timeline.observe(played_samples, time.perf_counter())
            if self._listen():
                break
            if (
                played_samples - player.now > REST_LOOK_SECONDS / 2 * sink.rate
            ):  # fewer and longer computations cost less
                self._pass(played_samples - player.now)
        sink.leave_out_silence(rendered_samples)
        self._pass(sink.written - player.now)

    def _wait(self) -> bool:
        """Wait until a block is needed, and can be rendered; False if the card made no progress."""
        sink, block_seconds = self.sink, self.sink.block / self.sink.rate
        deadline = time.perf_counter() + PATIENCE_BLOCKS * block_seconds
        while True:
            now, played_samples = time.perf_counter(), sink.taken
            self._timeline.observe(played_samples, now)
            if self._lacks_block(played_samples) and (self._ear is None or self._ear.ready):
                self._settle(played_samples)
                return True
            if now > deadline:
                return False
            lacking_samples = sink.written - (self.ring_blocks - 1) * sink.block  # read when it needs the block
            sleep_seconds = self._timeline.seconds(lacking_samples) + READ_SECONDS - now
            with waiting():
                time.sleep(sleep_seconds if 0 < sleep_seconds < block_seconds else POLL_SECONDS)

    def _lacks_block(self, played_samples: int | None = None) -> bool:
        """Return whether the ring has room for a block."""
        sink = self.sink
        queued_samples = sink.written - (sink.taken if played_samples is None else played_samples)
        return queued_samples <= (self.ring_blocks - 1) * sink.block

    def _settle(self, played_samples: int) -> None:
        """Wait for events sent while the card read its last block, unless this one would end too late."""
        sink = self.sink
        elapsed_samples = self._timeline.sample(time.perf_counter()) - played_samples
        if (
            elapsed_samples < self._settled
            and not self._spare_blocks
            and sink.written - played_samples >= (sink.depth - 1) * sink.block
        ):
            with waiting():
                time.sleep((self._settled - elapsed_samples) / sink.rate)

    def _notice(self, rendering_seconds: float, cpu_seconds: float, gave_way: bool) -> None:
        """Deepen the ring while blocks are often slow, or other threads delay this one often; events are then later.

        A thread that competes for the interpreter lock regains it every few bytecodes: long blocks, such as a chord's
        first, take five times as long. A single wait or slow block changes nothing. At the lowest latency a gap is
        better than a late note. A thread that never ``gave_way`` to the lock was preempted; no ring outlasts that.
        """
        waited_seconds = rendering_seconds - cpu_seconds if gave_way else 0.0
        self._mean_seconds += (rendering_seconds - self._mean_seconds) / LONG_WAIT_BLOCKS
        self._mean_waited_seconds += (waited_seconds - self._mean_waited_seconds) / LONG_WAIT_BLOCKS
        self._share_of_waits += ((waited_seconds > LONG_WAIT * rendering_seconds) - self._share_of_waits) / OFTEN_BLOCKS
        block_seconds = self.sink.block / self.sink.rate
        self._share_of_slow += ((rendering_seconds > SLOW * block_seconds) - self._share_of_slow) / OFTEN_BLOCKS
        waits_often = (
            PRECISE and self._mean_waited_seconds > LONG_WAIT * self._mean_seconds and self._share_of_waits > OFTEN
        )
        if not self._lowest and (waits_often or self._share_of_slow > OFTEN):
            self._spare_blocks = SPARE_BLOCKS
        elif self._mean_waited_seconds < LONG_WAIT / 2 * self._mean_seconds and self._share_of_slow < OFTEN / 4:
            self._spare_blocks = 0

    def _pass(self, samples: int) -> None:
        """Let samples pass without rendering them."""
        if samples <= 0:
            return
        self.player.rest(samples)
        for _ in range(samples // self.sink.block):
            self.meters.load.add(0.0)
        self.meters.see_silence(self.player, self.sink.rate, samples)

    def _listen(self) -> bool:
        """Schedule new events; return whether there were some."""
        self._arrival.expect()
        has_events = False
        for source_index, source in enumerate(self._sources):
            for timed_event in source.poll():
                has_events = True
                # Keep the order of events even if the clock estimate moved back between two of them.
                effect_sample = max(self.player.now, self._latest[source_index])
                if not self._lowest:
                    # Count from the start of the block that was playing then: a delay independent of our sleep.
                    block_start_sample = self._timeline.sample(timed_event.seconds) - self.sink.block
                    if self._whole_blocks:  # their stamps are slightly after the block's start
                        block_start_sample -= block_start_sample % self.sink.block
                    effect_sample = max(effect_sample, block_start_sample + self.delay_samples)
                self._latest[source_index] = effect_sample
                self.player.schedule(retimed(timed_event.event, effect_sample))
                self.measured.append(effect_sample - self._timeline.sample(timed_event.seconds))
                if isinstance(timed_event.event, ProgramChange) or _selects_bank(timed_event.event):
                    self.programs.append(timed_event.event)
                    self.program_arrival.set()
        return has_events


def _gave_way() -> float:
    """Voluntary waits, or an increasing number where the system counts none."""
    if sys.platform == "linux":
        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    return time.perf_counter()


def _settled(sink: Sink) -> float:
    """Samples to wait for a block's events."""
    if sink.depth == 1:
        return min(SETTLED_SECONDS * sink.rate, sink.block / 4)
    return min(SURELY_SECONDS * sink.rate, sink.block / 2)


def _selects_bank(event: Event) -> bool:
    return isinstance(event, ControlChange) and event.number in (0, 32)
