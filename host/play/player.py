"""Player: warms up, and renders the current rack and earlier ones that ring after preset changes."""

import bisect
import itertools
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from ..arrays import Array
from ..audio.output import limit
from ..errors import UserError, printable
from ..events import Clock, Event, LatchEnd, NoteOn, ParameterChange, Tempo, Timing, nearest_key, retimed
from ..midi.controllers import ControllerState, ends_all_notes
from ..preset.library import Patch
from ..preset.motions import TEMPO_BPM
from ..preset.recording_notes import Notes
from ..unattended import MOST_BLOCKS, UnattendedRun
from .controllers import Mapper
from .motion_sources import Beats
from .rack import as_played

# Most and fewest new notes in a short block: each costs Python at once, and 128 keys may come together. Between these,
# as many begin as take a part of the block's time, by the time that the last ones took.
NEW_NOTES, FEWEST_NOTES = 4, 2
NOTES_PART = 0.8
NOTE_MEMORY = 0.95  # of the longest time of a note, from block with notes to block with notes
NOTE_SECONDS = 64 / 48000  # of a longer block for each new note
LEAVING = 3  # most earlier racks that ring: each costs processor time
FADE_SECONDS = 0.02  # fade-out of an earlier rack, without a click
RING_SECONDS = 5.0  # time for effects of an earlier preset to ring after its last voice
SILENCE = 10 ** (-90 / 20)  # a tail ends below this level: the last bits of 16-bit sound, and noise of most reverbs
LOOK_SAMPLES = 4096  # offline interval of silence checks on earlier racks, independent of blocks
OnStart = Callable[[int, int], None] | None


class PlayableRack(Protocol):
    """A `Rack`, or an `EffectRack` for input sound."""

    @property
    def listens(self) -> bool:
        """Return whether it plays from input sound."""

    @property
    def ready(self) -> bool: ...

    @property
    def age_ms(self) -> float | None:
        """As `Engine.age_ms`."""

    @property
    def played(self) -> int:
        """Samples rendered so far."""

    @property
    def latency_samples(self) -> int: ...

    @property
    def rest_seconds(self) -> float:
        """Silence after which no sound follows without an event; infinite for input sound and while codes move."""

    @property
    def sounding(self) -> int: ...

    @property
    def sounding_keys(self) -> Collection[int]: ...

    @property
    def knobs(self) -> Mapping[int, Mapper]: ...

    def latent_values(self, channel: int) -> list[float]: ...

    def current_latents(self, channel: int) -> list[float]: ...

    def modulated_values(self, channel: int) -> dict[str, float]: ...

    def shed(self, time: int) -> bool: ...

    def latches(self, press: NoteOn) -> bool:
        """Return whether a key is latched, so that this press ends it."""

    def process(self, events: Sequence[Event], count: int) -> tuple[Array, dict[int, Array]]: ...

    def prepare(self) -> None: ...

    def rest(self, count: int) -> None:
        """As `process` without events after `rest_seconds` of silence, for less work."""

    @property
    def lends(self) -> bool:
        """Return whether the core can render for a while."""

    def lend(self, run: UnattendedRun, events: Sequence[Event]) -> None:
        """Let the core render for a while, if it `lends`; ``events``: of its first block."""

    def take_back(self, run: UnattendedRun) -> None:
        """Go on where the core stopped."""


class _Swap(NamedTuple):
    """A rack that waits for its turn: the arguments of `Player.swap`, and those of swaps that it took the place of."""

    rack: PlayableRack
    channels: frozenset[int]
    calls_on_start: tuple[Callable[[int, int], None], ...]

    def in_place_of(self, earlier: "_Swap | None") -> "_Swap":
        if earlier is None:
            return self
        return _Swap(self.rack, earlier.channels | self.channels, (*earlier.calls_on_start, *self.calls_on_start))


@dataclass
class _Seat:
    rack: PlayableRack
    since: int
    opening: Sequence[Event] = ()  # events to apply before all others
    silent: int = 0  # samples since its last voice ended
    fade: int | None = None  # first sample of its fade


class Player:
    """A new rack plays new keys; the previous one keeps held keys and rings out."""

    def __init__(
        self, rack: PlayableRack, sample_rate: int, before: Sequence[Event] = (), patient: bool = False
    ) -> None:
        """``before``: another player's `standing`; ``patient``, offline, begins all notes and lets racks end.

        While `ringing`, blocks must then end at multiples of `LOOK_SAMPLES`, so that their sizes change no sample.
        """
        self._rate, self._patient = sample_rate, patient
        self._fade = max(1, round(FADE_SECONDS * sample_rate))
        self._note_samples = NOTE_SECONDS * sample_rate
        self._seats: list[_Seat] = []
        self._next: deque[_Swap] = deque()
        self._unready: _Swap | None = None  # from `_next`, not ready yet
        self._queue: list[Event] = []
        self._strained = self._put_off = False
        self._seconds_of_note = 0.0  # the most of the last ones
        self._controllers = ControllerState()
        self._beats: Beats | None = None  # of a clock or tempo from outside, once there was one
        self.now = 0  # samples rendered
        self.shed = 0  # voices stolen after underruns
        self.parts: dict[int, Array] = {}
        self._quiet = 0  # samples since the last sound or event
        self._open(rack, before)

    @property
    def rack(self) -> PlayableRack:
        return self._seats[-1].rack

    @property
    def sounding(self) -> int:
        return sum(seat.rack.sounding for seat in self._seats)

    @property
    def sounding_keys(self) -> list[int]:
        """Keys of all voices, 0-127, sorted."""
        return sorted({key for seat in tuple(self._seats) for key in seat.rack.sounding_keys})

    @property
    def ringing(self) -> bool:
        return len(self._seats) > 1

    @property
    def held(self) -> list[int]:
        """Keys, 0-127, sorted."""
        return sorted({nearest_key(note.key) for note in self._controllers.keys})

    def schedule(self, event: Event) -> None:
        """A late event takes effect at the next sample."""
        event = retimed(event, max(event.time, self.now))
        bisect.insort(self._queue, event, key=lambda waiting: waiting.time)

    @property
    def standing(self) -> list[Event]:
        """Events for another player's controller state; read between blocks."""
        return self._standing_events(())

    def swap(self, rack: PlayableRack, channels: Collection[int] = range(16), on_start: OnStart = None) -> None:
        """Change to a rack of the same rate, once it is ready; a later one takes its place until then. Thread-safe.

        ``channels``: those with a new preset, 0 to 15. ``on_start`` receives the first sample of the rack, or of the
        one in its place, and its samples rendered before.
        """
        self._next.append(_Swap(rack, frozenset(channels), () if on_start is None else (on_start,)))

    def give_up_a_voice(self) -> None:
        """Steal a voice after an underrun."""
        for seat in self._seats:
            if seat.rack.shed(self.now - seat.since):
                self.shed += 1
                return

    def put_off(self) -> None:
        """After a slow block, delay new notes past a short next one: notes cost less together.

        Two successive blocks never delay notes, so they begin even under constant overload.
        """
        self._strained = True

    def time_notes(self, events: Iterable[Event], seconds: float) -> None:
        """Learn from the time that a block's events took how many notes a short block may begin."""
        if count := sum(isinstance(event, NoteOn) for event in events):
            self._seconds_of_note = max(seconds / count, NOTE_MEMORY * self._seconds_of_note)

    def block(self, count: int) -> tuple[Array, list[Event]]:
        """Next samples, [2, count], limited, and their events; ``parts`` holds them unlimited by channel."""
        self._take_seat()
        due_events, events, *ringing_events = self._take_events(count)
        mix, parts = self.rack.process(events, count)
        self.parts = parts
        if len(self._seats) > 1:  # one limiter for the sum, as for one rack
            ringing = [
                self._ring_on(seat, seat_events, count)
                for seat, seat_events in zip(self._seats[:-1], ringing_events, strict=True)
            ]
            mix = limit(sum(map(_sum, ringing), _sum(parts)))
            for channel, part in (seat_parts for seat in ringing for seat_parts in seat.items()):
                self.parts[channel] = self.parts[channel] + part if channel in self.parts else part
            self._seats[:-1] = [seat for seat in self._seats[:-1] if not self._has_faded(seat)]
        self.now += count
        if not self._patient:
            self._watch_silence(mix, due_events)
        return mix, due_events

    @property
    def resting(self) -> bool:
        """Return whether nothing sounds, moves or waits: `rest` may then take the place of blocks."""
        waiting = self._queue or self._next or self._unready is not None
        return self._quiet > 0 and not waiting and self._quiet >= self.rack.rest_seconds * self._rate

    def rest(self, count: int) -> None:
        """Let ``count`` samples pass; only while `resting`.

        The next sounds are those of silent blocks; where sound is resampled, they differ by some 1e-7.
        """
        self.rack.rest(count)
        self.now += count

    def lend(self, run: UnattendedRun) -> list[Event] | None:
        """Let the core render a block, and more until the next event; return the block's events, None if it cannot."""
        *ringing, last = self._seats
        if self._next or self._unready is not None or any(seat.fade is not None for seat in ringing):
            return None
        if not all(seat.rack.lends for seat in self._seats):
            return None
        due_events, events, *ringing_events = self._take_events(run.fields.block)
        free_blocks = (self._queue[0].time - self.now) // run.fields.block if self._queue else MOST_BLOCKS
        run.fields.most = min(max(1, free_blocks), MOST_BLOCKS)
        run, *ringing_runs = run.chained(len(self._seats))
        last.rack.lend(run, events)
        for seat, ringing_run, seat_events in zip(ringing, ringing_runs, ringing_events, strict=True):
            seat.rack.lend(ringing_run, seat_events)
        return due_events

    def take_back(self, run: UnattendedRun, due_events: Sequence[Event]) -> None:
        """Go on where the core stopped; ``due``: of `lend`. `parts` is empty."""
        self.parts = {}
        self.now += run.samples
        *ringing, last = self._seats
        run, *ringing_runs = run.chained(len(self._seats))
        last.rack.take_back(run)
        for seat, ringing_run in zip(ringing, ringing_runs, strict=True):
            seat.rack.take_back(ringing_run)
            self._note_silence(seat, run.samples, self.now)
        self._watch_silence(run.sound, due_events)

    def prepare(self) -> None:
        """Does nothing while new notes wait, which need its time."""
        if self._queue and self._queue[0].time < self.now:
            return
        for seat in self._seats:
            seat.rack.prepare()

    def _take_events(self, count: int) -> list[list[Event]]:
        """Take the next ``count`` samples' events; return them, then those of the current rack and of each that rings.

        The latter are in the rack's samples.
        """
        due_events = self._due(self.now + count)
        for event in due_events:
            self._controllers.apply(event)
            if isinstance(event, Clock | Tempo):
                self._beats = self._beats or Beats(TEMPO_BPM, self._rate)
                self._beats.apply(event)
                self._beats.forget(event.time)
        *ringing, last = self._seats
        opening, last.opening = last.opening, ()
        own_events, ringing_events = _dealt(due_events, [seat.rack for seat in ringing])
        return [
            due_events,
            [*opening, *_counted_from(own_events, last.since)],
            *(_counted_from(events, seat.since) for seat, events in zip(ringing, ringing_events, strict=True)),
        ]

    def _watch_silence(self, mix: Array, due_events: Sequence[Event]) -> None:
        silent = (
            len(self._seats) == 1
            and not self.rack.sounding
            and all(isinstance(event, Timing) for event in due_events)
            and float(np.abs(mix).max()) < SILENCE
        )
        self._quiet = self._quiet + mix.shape[1] if silent else 0

    def _due(self, end: int) -> list[Event]:
        count = bisect.bisect_left(self._queue, end, key=lambda event: event.time)
        notes = (index for index in range(count) if isinstance(self._queue[index], NoteOn))
        cut = count if self._patient else next(itertools.islice(notes, self._most_notes(end - self.now), None), count)
        due_events = [retimed(event, max(event.time, self.now)) for event in self._queue[:cut]]
        del self._queue[:cut]
        return due_events

    def _most_notes(self, samples: int) -> int:
        self._put_off = self._strained and not self._put_off and samples < NEW_NOTES * self._note_samples
        self._strained = False
        if self._put_off:
            return 0
        most_seconds = NOTES_PART * samples / self._rate
        fitting = int(most_seconds / self._seconds_of_note) if self._seconds_of_note else NEW_NOTES
        return max(min(max(fitting, FEWEST_NOTES), NEW_NOTES), int(samples / self._note_samples))

    def _take_seat(self) -> None:
        while self._next:
            self._unready = self._next.popleft().in_place_of(self._unready)
        if self._unready is None or not self._unready.rack.ready:
            return
        (rack, channels, calls_on_start), self._unready = self._unready, None
        primed_samples = rack.played
        self._controllers.forget_knobs(channels)
        held_notes = self._controllers.keys if rack.listens else []  # a rack keeps the notes that it started
        beats = [] if self._beats is None else [self._beats.sync(self.now)]
        self._open(rack, [*beats, *self._standing_events(channels), *(retimed(note, 0) for note in held_notes)])
        for on_start in calls_on_start:
            on_start(self.now, primed_samples)
        leaving = sorted((s for s in self._seats[:-1] if s.fade is None), key=lambda seat: seat.rack.sounding > 0)
        if not self._patient:
            for seat in leaving[: max(0, len(leaving) - LEAVING)]:  # silent ones first
                seat.fade = self.now
        for seat in self._seats[:-1]:
            if seat.rack.listens and seat.fade is None:  # the new one fades in after its latency
                seat.fade = self.now + self.rack.latency_samples

    def _open(self, rack: PlayableRack, opening: Sequence[Event]) -> None:
        began = rack.played
        self._seats.append(_Seat(rack, self.now - began, [retimed(event, began) for event in opening]))
        for event in opening:
            self._controllers.apply(retimed(event, self.now))

    def _standing_events(self, other_channels: Collection[int]) -> list[Event]:
        """Knob values lag the newest events by the latency."""
        knob_events = [
            ParameterChange(0, place, target, value)
            for place, knobs in self.rack.knobs.items()
            if place not in other_channels
            for target, value in knobs.standing().items()
        ]
        return self._controllers.everything(knob_events, self.now - self.rack.latency_samples)

    def _ring_on(self, seat: _Seat, events: Sequence[Event], count: int) -> dict[int, Array]:
        parts = seat.rack.process(events, count)[1]
        if not self._patient:
            self._note_silence(seat, count, self.now + count)
        elif (self.now + count) % LOOK_SAMPLES == 0:
            self._note_silence(seat, LOOK_SAMPLES, self.now + count)
        if seat.fade is None or seat.fade >= self.now + count:
            return parts
        left = np.clip((seat.fade + self._fade - np.arange(self.now, self.now + count)) / self._fade, 0.0, 1.0)
        return {channel: part * left.astype(np.float32) for channel, part in parts.items()}

    def _note_silence(self, seat: _Seat, passed: int, now: int) -> None:
        """Let a rack without voices fade from sample ``now`` on, once its effects had time to ring."""
        seat.silent = 0 if seat.rack.sounding else seat.silent + passed
        if seat.silent >= RING_SECONDS * self._rate and seat.fade is None:
            seat.fade = now

    def _has_faded(self, seat: _Seat) -> bool:
        return seat.fade is not None and self.now >= seat.fade + self._fade


def _dealt(events: Sequence[Event], ringing: Sequence[PlayableRack]) -> tuple[list[Event], list[list[Event]]]:
    """Return the events of the current rack, and of each that rings on, which begins no notes.

    A press that ends a latched key of a rack that rings begins no note. After a message that ends all notes, presses
    of the same block begin notes.
    """
    own_events, ringing_events = list[Event](), [list[Event]() for _ in ringing]
    ended = set[tuple[int, int, float]]()  # number of a ringing rack, channel and key
    has_latches = True
    for event in events:
        enders = list[int]()
        has_latches = has_latches and not ends_all_notes(event)
        if has_latches and isinstance(event, NoteOn):
            places = [(number, event.channel, event.key) for number in range(len(ringing))]
            enders = [place[0] for place in places if place not in ended and ringing[place[0]].latches(event)]
            ended |= {places[number] for number in enders}
        if not enders:
            own_events.append(event)
        for number, rack_events in enumerate(ringing_events):
            if number in enders:
                assert isinstance(event, NoteOn)
                rack_events.append(LatchEnd(event.time, event.channel, event.key))
            elif not isinstance(event, NoteOn):
                rack_events.append(event)
    return own_events, ringing_events


def _sum(parts: Mapping[int, Array]) -> Array:
    total: Array = np.sum(list(parts.values()), axis=0)
    return total


def _counted_from(events: Sequence[Event], start: int) -> list[Event]:
    return [retimed(event, event.time - start) for event in events]


PRIMING_BLOCKS = 8  # the second and third still decode, later ones idle
WARM_KEYS = range(36, 96, 5)  # all pitch classes: each has its own tables
WARM_BLOCKS = 60
READY_SECONDS = 0.002  # between checks whether a rack is ready


def wait_until_ready(rack: PlayableRack) -> None:
    while not rack.ready:
        time.sleep(READY_SECONDS)


def prime(machine: PlayableRack, block: int) -> None:
    """Render silence until the codes of likely first notes are decoded, too slow in real time."""
    for _ in range(PRIMING_BLOCKS):
        machine.process([], block)
        machine.prepare()


def warm_up(machine: PlayableRack, block: int, channels: Iterable[int]) -> None:
    """Render soft notes to fill caches of this thread and process; ``machine`` is useless afterwards."""
    channels = list(channels)
    for count in range(WARM_BLOCKS):
        keys = [WARM_KEYS[count // 2]] if count % 2 == 0 and count // 2 < len(WARM_KEYS) else []
        machine.process([NoteOn(count * block, channel, key, 1) for key in keys for channel in channels], block)
        machine.prepare()


PART = 16384  # samples of silence per call


class Successor(NamedTuple):
    time: int  # sample of the change
    patches: Mapping[int, Patch]  # by channel
    channels: Collection[int]  # with new presets
    primed: int  # samples of silence that the rack had rendered
    block: int  # samples; earlier racks rang in such blocks and faded at their starts


def successors(
    default: Patch, channel_patches: Mapping[int, Patch], notes: Notes, say: Callable[[str], None]
) -> list[Successor]:
    """Preset changes of a recording.

    ``default`` plays the channels that ``others`` lacks. ``say`` receives a message for each preset that cannot be
    opened; the previous one continues.
    """
    changes = []
    for moment, swap in notes.swaps:
        try:
            opened = {loaded.slot: notes.fitting.fit(loaded.open()) for loaded in swap.presets}
        except UserError as error:
            names_text = ", ".join(repr(loaded.name) for loaded in swap.presets)
            say(printable(f"preset {names_text}, which was loaded while it was played, is not heard again: {error}"))
            continue
        default = opened.get(None, default)
        channel_patches = {**channel_patches, **{slot: patch for slot, patch in opened.items() if slot is not None}}
        channels = [channel for channel in range(16) if (channel if channel in channel_patches else None) in opened]
        changes.append(Successor(moment, as_played(default, channel_patches), channels, swap.primed, swap.block))
    return changes


class OfflineRack(PlayableRack, Protocol):
    @property
    def pause_seconds(self) -> float:
        """As `EffectChain.pause_seconds`."""


class Succession:
    """A rack and its successors, as one rack."""

    def __init__(
        self,
        rack: OfflineRack,
        successors: Sequence[Successor],
        sample_rate: int,
        make: Callable[[Mapping[int, Patch]], OfflineRack],
        *,
        live: bool = False,
        listen: Callable[[int], None] = lambda count: None,
    ) -> None:
        """``make`` returns a successor's rack; ``live``: the recording was live; ``listen`` receives each block's
        length ahead.
        """
        self._player, self._successors = Player(rack, sample_rate, patient=not live), list(successors)
        self._make, self._listen = make, listen
        self._block = 1
        self.latency_samples, self.pause_seconds = rack.latency_samples, rack.pause_seconds

    @property
    def played(self) -> int:
        return self._player.now

    @property
    def sounding(self) -> int:
        return self._player.sounding

    def close(self) -> None: ...

    def schedule(self, events: Sequence[Event], until: int) -> None:
        for event in events:
            self._player.schedule(event)

    def process(self, events: Sequence[Event], count: int) -> tuple[Array, dict[int, Array]]:
        self.schedule(events, self.played + count)
        end = self.played + count
        mixes: list[Array] = []
        parts: list[tuple[int, int, Array]] = []
        while self.played < end:
            while self._successors and self._successors[0].time <= self.played:
                self._follow(self._successors.pop(0))
            block_end = min([end, *(successor.time for successor in self._successors[:1])])
            if self._player.ringing:
                block_end = min(block_end, self.played + self._block - self.played % self._block)
            start = count - (end - self.played)
            self._listen(block_end - self.played)
            mix, _ = self._player.block(block_end - self.played)
            mixes.append(mix)
            parts += [(channel, start, part) for channel, part in self._player.parts.items()]
        channel_sounds = {channel: np.zeros((2, count), np.float32) for channel, _, _ in parts}
        for channel, start, part in parts:
            channel_sounds[channel][:, start : start + part.shape[1]] = part
        return np.concatenate(mixes, axis=1), channel_sounds

    def _follow(self, successor: Successor) -> None:
        rack = self._make(successor.patches)
        while rack.played < successor.primed:
            rack.process([], min(PART, successor.primed - rack.played))
        wait_until_ready(rack)
        self.pause_seconds = max(self.pause_seconds, rack.pause_seconds)
        self._block = successor.block
        self._player.swap(rack, successor.channels)
