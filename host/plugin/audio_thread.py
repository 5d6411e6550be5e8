"""The thread that makes the samples for which a plugin asks, by the rack that `timbrel render` and `play` use."""

import math
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..errors import UserError
from ..events import Clock, Event, NoteOff, NoteOn, ParameterChange, ProgramChange, Tempo
from ..live.realtime import SOUND, hurry, hurry_no_more, undisturbed
from ..midi.decode import channel_event
from ..midi.programs import Programs
from ..play.player import LOOK_SAMPLES, Player
from ..play.rack import Rack
from .loaded import LoadedPatch, Mode, rack_of, warm_up_for
from .shared_memory import MACROS, OFFLINE, RING, EventKind, Memory, Parameter, Position, ReceivedEvent

Array = npt.NDArray[np.float32]

SLOWEST_HZ, FASTEST_HZ = 8000, 384_000  # sampling rates that hosts have
SLOWEST_BPM, FASTEST_BPM = 1.0, 1000.0
PROGRAM_CHANGE = 0xC0  # with the channel in its lower half (MIDI 1.0)
FROM_THE_BEGINNING = 1  # what a host's transport does, as native/wire.h has it
MOST_LIVE = 2048  # samples made at once live: a reset or a preset that waits comes in after them
# By so much live sound may be late and is still made up for, faster than it passes; of more, the making would take so
# long that it is late again, and what is played meanwhile matters more than what has passed.
HOPELESS_SECONDS = 0.5
TIGHT = 0.85  # of the time there is: live rendering that takes more, over some blocks, costs a voice
STRAIN_BLOCKS = 8
LONGEST_PART = 2.0  # blocks that one counts at most: no voice is to blame where the machine stood still
MOST_BY_HAND = 4096  # events of a panel that wait while the host asks for no sound; the oldest go


class Keeper(Protocol):
    """Whoever keeps what is loaded. But for `loaded_after` and `take`, nothing here may wait."""

    def loaded_after(self, loads: int) -> LoadedPatch:
        """Return what is loaded once so many messages to load have been obeyed."""
        ...

    def has(self, number: int) -> bool:
        """Return whether what the preset parameter means by a number is loaded."""
        ...

    def take(self, number: int) -> tuple[LoadedPatch, Rack] | None:
        """Load what the preset parameter means by a number, and return a rack that can play it as the host plays now.

        None, and said why, if it cannot be played.
        """
        ...

    def choose(self, number: int) -> None:
        """Have what the preset parameter means by a number loaded, and offered to `AudioThread`.

        After all that it was to load before, and not if that has loaded it.
        """
        ...

    def say(self, line: str) -> None:
        """Say a line to people."""
        ...

    def open_panel(self) -> None:
        """Show the panel."""
        ...


class Watcher(Protocol):
    """Whoever watches what is made. Nothing here may wait."""

    def see(
        self, loaded: LoadedPatch, mode: Mode, player: Player, sound: Array, events: Sequence[Event], part: float
    ) -> None:
        """See what was made of what is loaded.

        Args:
            sound: the block, [2, n].
            events: the host's in it.
            part: the share of the block's time that making it took.
        """
        ...


class AudioThread:
    """Events in, samples out, as the plugin's time goes on.

    Offline, the samples are those of `timbrel render`, whatever the blocks. Live, what is late is made up for without
    drift; where it is more than `HOPELESS_SECONDS` late, the time that has passed stays silent: notes that end in it
    are not heard, and what is held begins now.
    """

    def __init__(self, memory: Memory, keeper: Keeper) -> None:
        self._memory, self._keeper = memory, keeper
        self._waiting: deque[ReceivedEvent] = deque()  # the events of this epoch that have not been heard
        self._by_hand: deque[Event] = deque(maxlen=MOST_BY_HAND)  # events of a panel, to be played as they come
        self._offered: deque[tuple[Mode, LoadedPatch, Rack]] = deque()
        self._epoch = 0
        self._made = 0  # samples of this epoch
        self._skipped = 0  # of these, the samples that the player has not played
        self._panel_open = False
        self._programs = Programs()
        self._moved: dict[int, float] = {}  # the macros that the host has moved in this epoch, and where to
        self._strain = 0.0  # the share of the time there is that live rendering has taken of late
        self._warm: LoadedPatch | None = None  # what this thread has played unheard
        self.mode: Mode | None = None  # None before the first reset
        self.player: Player | None = None  # None where nothing can be played, and before the first reset
        self.playing: LoadedPatch | None = None
        self.watcher: Watcher | None = None
        self._bpm: float | None = None  # that the host has told in this epoch

    def run(self) -> None:
        """Make samples for ever; on the thread that is to make the sound."""
        with undisturbed():
            while True:
                rung = self._memory.rung
                if not self.work():
                    self._memory.sleep(rung)

    def work(self) -> bool:
        """Make some of the samples for which the plugin has asked; return False if there are none to make."""
        complete = self._memory.complete
        events = self._memory.take()
        last = max((place for place, event in enumerate(events) if event.kind == EventKind.RESET), default=None)
        if last is not None:
            self._waiting.clear()
            self._begin(events[last])
            events = events[last + 1 :]
        self._waiting.extend(events)
        if self.mode is None or complete.epoch != self._epoch or complete.samples <= self._made:
            return False
        if self.mode.offline:
            self._make(min(complete.samples, self._made + LOOK_SAMPLES - self._made % LOOK_SAMPLES))
        else:
            self._make_live(complete.samples)
        return True

    def offer(self, mode: Mode, loaded: LoadedPatch, rack: Rack) -> None:
        """Let another rack take new notes while those that are held ring on; any thread may call this.

        In an epoch of another mode it is not heard.
        """
        self._offered.append((mode, loaded, rack))

    def play(self, events: Iterable[Event]) -> None:
        """Play events live as they come, whatever their times; any thread may call this.

        Those that come before an epoch are not heard in it: it begins as what it plays has been turned by then.
        """
        self._by_hand.extend(events)

    def _begin(self, reset: ReceivedEvent) -> None:
        """Begin an epoch with what is loaded."""
        loaded = self._keeper.loaded_after(reset.loads)
        rate = reset.value if math.isfinite(reset.value) else 0.0
        self.mode = Mode(round(min(max(rate, SLOWEST_HZ), FASTEST_HZ)), bool(reset.number & OFFLINE))
        if self.mode.offline:
            hurry_no_more()
        else:
            hurry(SOUND)
        self._epoch, self._made, self._skipped = reset.epoch, 0, 0
        self._bpm, self._strain = None, 0.0
        self._programs = Programs()
        self._moved.clear()
        self._offered.clear()
        self._by_hand.clear()
        self.player = self.playing = None
        try:
            if not self.mode.offline and loaded is not self._warm:
                warm_up_for(loaded.patch, self.mode)
                self._warm = loaded
            self._open(loaded, rack_of(loaded.patch, self.mode))
        except UserError as error:  # such as an effect that does not know this rate
            self._keeper.say(f"{error}; nothing is heard")
        self._memory.tell_made(Position(self._epoch, 0))

    def _open(self, loaded: LoadedPatch, rack: Rack) -> None:
        """Let a rack play alone."""
        assert self.mode is not None
        self.player = Player(rack, self.mode.rate, patient=self.mode.offline)
        self._set(loaded, rack)

    def _follow(self, loaded: LoadedPatch, rack: Rack) -> None:
        """Let a rack take new notes from the next sample on."""
        if self.player is None or self.player.now == 0:  # nothing is there that could ring on
            self._open(loaded, rack)
        else:
            self.player.swap(rack)
            self._set(loaded, rack)

    def _set(self, loaded: LoadedPatch, rack: Rack) -> None:
        """Turn what a rack plays as hands have turned it, and then the host: so the next epoch begins, too."""
        assert self.player is not None
        now = self.player.now
        moved = [loaded.slots[macro].turn(now, at) for macro, at in self._moved.items() if macro < len(loaded.slots)]
        for turn in (*loaded.turns(now), *moved):
            self.player.schedule(turn)
        if self._bpm is not None:
            self.player.schedule(Tempo(now, self._bpm))
        self.playing = loaded
        self._memory.tell_latency(rack.latency_samples)

    def _make_live(self, end: int) -> None:
        """Make up to `MOST_LIVE` of the samples before ``end``, where all of them can still be made up for."""
        assert self.mode is not None
        offered = [self._offered.popleft() for _ in range(len(self._offered))]
        for mode, loaded, rack in offered[-1:]:  # the reset of an epoch may have loaded it already
            if mode == self.mode and loaded is not self.playing:
                self._follow(loaded, rack)
        if end - self._made > HOPELESS_SECONDS * self.mode.rate:
            self._skip(end)
            return
        while self._by_hand and self.player is not None:
            self._play_by_hand(self._by_hand.popleft(), self.player)
        self._keep_up(self._make(min(end, self._made + MOST_LIVE)))

    def _play_by_hand(self, event: Event, player: Player) -> None:
        """Play an event of a panel; a macro that it turns no longer stands where the host has moved it."""
        player.schedule(replace(event, time=player.now))
        if isinstance(event, ParameterChange) and self.playing is not None:
            for macro, slot in enumerate(self.playing.slots):
                if slot.target == event.target:
                    self._moved.pop(macro, None)

    def _make(self, end: int) -> float:
        """Make the samples before ``end``; offline those before another preset begins, if that is sooner.

        Return the share of their time that making them took.
        """
        assert self.mode is not None
        began, due = time.perf_counter(), list[Event]()
        while self._waiting and self._waiting[0].time < end:
            if self._changes_preset(self._waiting[0]):
                if self._waiting[0].time > self._made:
                    end = self._waiting[0].time
                    break
                if self._change_preset(self._waiting.popleft()):
                    due = [
                        event for event in due if not isinstance(event, ParameterChange)
                    ]  # these were for the one before
                continue
            due += self._events(self._waiting.popleft())
        if self.player is None:
            sound = np.zeros((2, end - self._made), np.float32)
        else:
            for event in due:
                self.player.schedule(event)
            sound, _ = self.player.block(end - self._made)
        self._memory.put(self._made, sound)
        self._made = end
        self._memory.tell_made(Position(self._epoch, end))
        if self.player is not None and not self.mode.offline:
            if self._memory.complete.samples > end:  # the next block is asked for by now
                self.player.put_off()
            else:
                self.player.prepare()
        part = (time.perf_counter() - began) * self.mode.rate / sound.shape[1]
        if (watcher := self.watcher) is not None and self.player is not None and self.playing is not None:
            watcher.see(self.playing, self.mode, self.player, sound, due, part)
        return part

    def _skip(self, end: int) -> None:
        """Leave the samples before ``end`` silent; what they would have left behind is there at the next one."""
        due: list[Event] = []
        while self._waiting and self._waiting[0].time < end:
            due += self._events(self._waiting.popleft())
        ended: set[tuple[int, int]] = set()
        heard: list[Event] = []
        for event in reversed(due):
            if isinstance(event, NoteOff):
                ended.add((event.channel, event.key))
            if not isinstance(event, NoteOn) or (event.channel, event.key) not in ended:
                heard.append(event)
        self._skipped += end - self._made
        if self.player is not None:
            for event in reversed(heard):
                self.player.schedule(replace(event, time=self.player.now))
        silent = min(end - self._made, RING)
        self._memory.put(end - silent, np.zeros((2, silent), np.float32))
        self._made = end
        self._memory.tell_made(Position(self._epoch, end))

    def _chosen(self, told: ReceivedEvent) -> int:
        """Return what an event chooses, by its number in the preset parameter; 0 of what chooses none."""
        if told.kind == EventKind.PARAMETER and told.number == Parameter.PRESET:
            return max(0, _whole(told.value))
        if told.kind == EventKind.MIDI and told.status & 0xF0 == PROGRAM_CHANGE:
            return 1 + self._programs.number(told.first & 127)
        return 0

    def _changes_preset(self, told: ReceivedEvent) -> bool:
        """Return whether an event is a change of preset that must be heard on its sample."""
        assert self.mode is not None
        number = self._chosen(told)
        return self.mode.offline and number > 0 and not self._keeper.has(number)

    def _change_preset(self, told: ReceivedEvent) -> bool:
        """Play another preset from the next sample on; return False if it cannot be played."""
        if told.kind == EventKind.PARAMETER:
            self._moved.clear()  # as the plugin does
        taken = self._keeper.take(self._chosen(told))
        if taken is not None:
            self._follow(*taken)
        return taken is not None

    def _events(self, told: ReceivedEvent) -> list[Event]:
        """Return what an event of the plugin means to a rack, in the time of the player."""
        at = told.time - self._skipped
        match told.kind:
            case EventKind.MIDI if 0x80 <= told.status < 0xF0:
                event = channel_event(at, told.status, told.first & 127, told.second & 127)
                self._programs.hear(event)
                if isinstance(event, ProgramChange):
                    self._keeper.choose(self._chosen(told))
                return [event]
            case EventKind.TEMPO if SLOWEST_BPM <= told.value <= FASTEST_BPM:
                self._bpm = told.value
                return [Tempo(at, told.value)]
            case EventKind.TRANSPORT if told.number == FROM_THE_BEGINNING and self.playing is not None:
                # A beat that no clock counts goes on at the tempo, also while the transport stands.
                bpm = self._bpm or self.playing.patch.preset.tempo_bpm
                return [Clock(at, "start"), Tempo(at, bpm)]
            case EventKind.PARAMETER if told.number < MACROS:
                self._moved[told.number] = told.value
                slots = () if self.playing is None else self.playing.slots
                return [slots[told.number].turn(at, told.value)] if told.number < len(slots) else []
            case EventKind.PARAMETER if told.number == Parameter.PRESET:
                if (number := self._chosen(told)) > 0:
                    self._moved.clear()  # as the plugin does: who chooses a preset by it gets it as it was made
                    self._keeper.choose(number)
                    if self._keeper.has(number) and self.playing is not None:
                        return self.playing.rests(at)
            case EventKind.PARAMETER if told.number == Parameter.PANEL:
                before, self._panel_open = self._panel_open, told.value >= 0.5
                if self._panel_open and not before:
                    self._keeper.open_panel()
        return []

    def _keep_up(self, part: float) -> None:
        """Give up a voice where live rendering takes more than the time there is, over some blocks."""
        self._strain += (min(part, LONGEST_PART) - self._strain) / STRAIN_BLOCKS
        if self._strain > TIGHT and self.player is not None:
            self.player.give_up_a_voice()
            self._strain = 0.5 * TIGHT  # wait and see


def _whole(value: float) -> int:
    """Return the number that a parameter with steps stands at."""
    return round(value) if math.isfinite(value) else 0
