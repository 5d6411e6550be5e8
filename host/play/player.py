"""The racks that play: one at a time, or several while earlier ones ring on."""

import bisect
import itertools
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..dsp import limit
from ..events import Event, NoteOn, ParameterChange
from .controller_state import ControllerState
from .mapping import Mapper

Array = npt.NDArray[np.float32]
# New notes that begin in a short block: each costs four transforms at once, and 128 keys can be pressed together. Eight
# in each block of 128 samples took all of its time on a slow processor, four leave a quarter; ten fingers need three.
NEW_NOTES = 4
NOTE_SECONDS = 64 / 48000  # of a longer block for each new note that may begin in it
LEAVING = 3  # racks of earlier presets that may ring on: each costs processor time
FADE_SECONDS = 0.02  # over which a rack that must end fades out without a click
RING_SECONDS = 5.0  # for which the effects of an earlier preset may ring on after its last voice
LOOK_SAMPLES = 4096  # offline, between looks whether an earlier preset still sounds: they must not depend on blocks
Told = Callable[[int, int], None] | None


class Machine(Protocol):
    """A machine that is driven block by block: a `Rack`, or an `Insert` that sound goes through."""

    @property
    def listens(self) -> bool:
        """Return whether it sounds without keys, from the sound that it hears."""
        ...

    @property
    def ready(self) -> bool:
        """Return whether it can sound, as `Engine.ready`."""
        ...

    @property
    def age_ms(self) -> float | None:
        """Return how far the last note's sound was behind its knobs, as `Engine.age_ms`."""
        ...

    @property
    def played(self) -> int:
        """Return the samples that it has given, from which its time counts."""
        ...

    @property
    def latency_samples(self) -> int: ...

    @property
    def sounding(self) -> int: ...

    @property
    def knobs(self) -> Mapping[int, Mapper]: ...

    def latent_values(self, channel: int) -> list[float]: ...

    def current_latents(self, channel: int) -> list[float]: ...

    def shed(self, time: int) -> bool: ...

    def process(self, events: Sequence[Event], count: int) -> tuple[Array, dict[int, Array]]: ...

    def prepare(self) -> None: ...


@dataclass
class _Seat:
    """A rack and the sample at which it began: it counts from 0."""

    rack: Machine
    since: int
    opening: Sequence[Event] = ()  # events that it must hear before all others
    silent: int = 0  # samples since its last voice ended
    fade: int | None = None  # the sample from which it fades


class Player:
    """Racks in turn, driven block by block.

    Every event takes effect on its sample, whatever the blocks. A rack that is swapped in takes the keys that are
    pressed from then on; the one before keeps the keys that are held, until they are released and have rung out.
    """

    def __init__(self, rack: Machine, sample_rate: int, before: Sequence[Event] = (), patient: bool = False) -> None:
        """Let a rack take new notes.

        Args:
            before: the `standing` of another player.
            patient: it is driven offline, where all notes begin in time and all racks ring on. While it is `ringing`,
                a block must end at each multiple of `LOOK_SAMPLES`; then any blocks give the same samples.
        """
        self._rate, self._patient = sample_rate, patient
        self._fade = max(1, round(FADE_SECONDS * sample_rate))
        self._note_samples = NOTE_SECONDS * sample_rate
        self._seats: list[_Seat] = []
        self._next: deque[tuple[Machine, Collection[int], Told]] = deque(maxlen=1)
        self._unready: tuple[Machine, Collection[int], Told] | None = None  # taken from `_next`, and not ready yet
        self._queue: list[Event] = []
        self._strained = self._put_off = False
        self._desk = ControllerState()
        self.now = 0  # samples given
        self.shed = 0  # voices that were stolen for lack of time
        self.parts: dict[int, Array] = {}
        self._open(rack, before)

    @property
    def rack(self) -> Machine:
        """Return the rack that takes new notes."""
        return self._seats[-1].rack

    @property
    def sounding(self) -> int:
        """Return the number of voices that sound."""
        return sum(seat.rack.sounding for seat in self._seats)

    @property
    def ringing(self) -> bool:
        """Return whether racks ring on beside the one that takes new notes."""
        return len(self._seats) > 1

    @property
    def held(self) -> list[int]:
        """Return the keys that are down, 0-127, in order."""
        return sorted({note.key for note in self._desk.keys})

    def schedule(self, event: Event) -> None:
        """Take an event, its time in samples; what is late already takes effect with the next sample."""
        if event.time < self.now:
            event = replace(event, time=self.now)
        bisect.insort(self._queue, event, key=lambda waiting: waiting.time)

    @property
    def standing(self) -> list[Event]:
        """Return the events that set another player as controllers left this one; ask for them between two blocks."""
        return self._standing_events(())

    def swap(self, rack: Machine, channels: Collection[int] = range(16), told: Told = None) -> None:
        """Let another rack, at the same rate, take new notes from the next block on, once it is ready.

        Any thread may call this.

        Args:
            rack: it may have played some silence.
            channels: 0 to 15, on which its presets are others than before.
            told: called with the sample at which it begins, and how many it had played.
        """
        self._next.append((rack, channels, told))

    def give_up_a_voice(self) -> None:
        """Steal the voice that is missed least: there was no time to compute all of them."""
        for seat in self._seats:
            if seat.rack.shed(self.now - seat.since):
                self.shed += 1
                return

    def put_off(self) -> None:
        """Let new notes wait for the block after the next, if the next is short: the last has taken more than its time.

        Together they cost less than one by one. Not in two blocks in succession: where all of them take too long, notes
        begin nonetheless.
        """
        self._strained = True

    def block(self, count: int) -> tuple[Array, list[Event]]:
        """Return the next ``count`` samples, [2, count], limited; and the events that took effect in them.

        ``parts`` are then the same by channel, before the limiter.
        """
        self._take_seat()
        due = self._due(self.now + count)
        for event in due:
            self._desk.hear(event)
        last = self._seats[-1]
        opening, last.opening = last.opening, ()
        mix, parts = last.rack.process([*opening, *_counted_from(due, last.since)], count)
        self.parts = parts
        if len(self._seats) > 1:  # the limiter works on the sum, as on one rack
            ringing = [self._ring_on(seat, due, count) for seat in self._seats[:-1]]
            mix = limit(sum(map(_sum, ringing), _sum(parts)))
            for channel, part in (each for seat in ringing for each in seat.items()):
                self.parts[channel] = self.parts[channel] + part if channel in self.parts else part
            self._seats[:-1] = [seat for seat in self._seats[:-1] if not self._has_faded(seat)]
        self.now += count
        return mix, due

    def prepare(self) -> None:
        """Prepare a part of the next block, once the last one has been handed over; it changes no sample.

        Where new notes wait for that block, it will need its time for them.
        """
        if self._queue and self._queue[0].time < self.now:
            return
        for seat in self._seats:
            seat.rack.prepare()

    def _due(self, end: int) -> list[Event]:
        """Return the events before sample ``end``; of more new notes than there is time for, the later ones wait."""
        count = bisect.bisect_left(self._queue, end, key=lambda event: event.time)
        notes = (index for index in range(count) if isinstance(self._queue[index], NoteOn))
        cut = count if self._patient else next(itertools.islice(notes, self._most_notes(end - self.now), None), count)
        due = [event if event.time >= self.now else replace(event, time=self.now) for event in self._queue[:cut]]
        del self._queue[:cut]
        return due

    def _most_notes(self, samples: int) -> int:
        """Return how many notes may begin in a block."""
        self._put_off = self._strained and not self._put_off and samples < NEW_NOTES * self._note_samples
        self._strained = False
        return 0 if self._put_off else max(NEW_NOTES, int(samples / self._note_samples))

    def _take_seat(self) -> None:
        if self._next:
            self._unready = self._next.pop()
        if self._unready is None or not self._unready[0].ready:
            return
        (rack, channels, told), self._unready = self._unready, None
        if told is not None:
            told(self.now, rack.played)
        self._desk.forget_knobs(channels)
        held = self._desk.keys if rack.listens else []  # what sounds for a key stays with the rack that began it
        self._open(rack, [*self._standing_events(channels), *(replace(note, time=0) for note in held)])
        leaving = sorted((s for s in self._seats[:-1] if s.fade is None), key=lambda seat: seat.rack.sounding > 0)
        if not self._patient:
            for seat in leaving[: max(0, len(leaving) - LEAVING)]:  # those whose voices have ended first
                seat.fade = self.now
        for seat in self._seats[:-1]:
            if seat.rack.listens and seat.fade is None:  # until the new one is heard, which fades in
                seat.fade = self.now + self.rack.latency_samples

    def _open(self, rack: Machine, opening: Sequence[Event]) -> None:
        """Let a rack take new notes; ``opening`` are the events that set it as controllers stand.

        It may have been primed: then it has played some silence, and its time goes on from there.
        """
        began = rack.played
        self._seats.append(_Seat(rack, self.now - began, [replace(event, time=began) for event in opening]))
        for event in opening:
            self._desk.hear(replace(event, time=self.now))

    def _standing_events(self, others: Collection[int]) -> list[Event]:
        """Return the events that set a fresh rack as this one; on the channels ``others`` it has other presets.

        The positions of knobs do not have the newest events yet, which act one latency later.
        """
        stood = [
            ParameterChange(0, place, target, value)
            for place, knobs in self.rack.knobs.items()
            if place not in others
            for target, value in knobs.standing().items()
        ]
        return self._desk.everything(stood, self.now - self.rack.latency_samples)

    def _ring_on(self, seat: _Seat, due: Sequence[Event], count: int) -> dict[int, Array]:
        """Return the next block of a rack that takes no more notes, before the limiter, [2, count] by channel."""
        kept = [event for event in due if not isinstance(event, NoteOn)]
        parts = seat.rack.process(_counted_from(kept, seat.since), count)[1]
        passed = count
        if self._patient:
            passed = LOOK_SAMPLES if (self.now + count) % LOOK_SAMPLES == 0 else 0
        if passed:
            seat.silent = 0 if seat.rack.sounding else seat.silent + passed
        if seat.silent >= RING_SECONDS * self._rate and seat.fade is None:
            seat.fade = self.now + count
        if seat.fade is None or seat.fade >= self.now + count:
            return parts
        left = np.clip((seat.fade + self._fade - np.arange(self.now, self.now + count)) / self._fade, 0.0, 1.0)
        return {channel: part * left.astype(np.float32) for channel, part in parts.items()}

    def _has_faded(self, seat: _Seat) -> bool:
        return seat.fade is not None and self.now >= seat.fade + self._fade


def _sum(parts: Mapping[int, Array]) -> Array:
    total: Array = np.sum(list(parts.values()), axis=0)
    return total


def _counted_from(events: Sequence[Event], start: int) -> list[Event]:
    return list(events) if start == 0 else [replace(event, time=event.time - start) for event in events]
