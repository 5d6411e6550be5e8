"""Audio thread of the plugin server: renders requested samples as `timbrel render`."""

import math
import time
from collections import deque
from collections.abc import Iterable

import numpy as np

from ..errors import UserError
from ..events import Clock, Event, NoteOff, NoteOn, ParameterChange, ProgramChange, Tempo, retimed
from ..midi.decode import MidiDecoder, Programs, channel_event
from ..play.player import LOOK_SAMPLES, Player
from ..play.rack import Rack
from ..session.meters import LoadShedding, Meters
from ..session.realtime import SOUND, hurry, hurry_no_more, undisturbed
from .patch_loader import ChoosePreset, LoadedPatch, LoadedRack, Mode, PatchLoader, Task, rack_of, warm_up_for
from .wire import MACROS, OFFLINE, RING, EventKind, Parameter, Position, ReceivedEvent, SharedMemory

SLOWEST_HZ, FASTEST_HZ = 8000, 384_000  # sampling rates that hosts have
SLOWEST_BPM, FASTEST_BPM = 1.0, 1000.0
PROGRAM_CHANGE = 0xC0  # with the channel in its lower half (MIDI 1.0)
FROM_THE_BEGINNING = 1  # value of the transport event, as in native/wire.h
MOST_LIVE = 2048  # samples per live render call: a pending reset or preset waits no longer than this
# Live sound up to this late is caught up, faster than real time. Beyond it, catching up would take so long that the
# sound is late again, and current playing matters more than the past.
HOPELESS_SECONDS = 0.5
MOST_PANEL_EVENTS = 4096  # panel events queued while the host requests no sound; the oldest are dropped


class AudioThread:
    """Renders samples from events in the plugin's time.

    Offline, they equal those of `timbrel render`, for any block size. Live, late sound is caught up without drift.
    Beyond `HOPELESS_SECONDS` the missed time stays silent: notes that end in it are dropped, held notes begin now.
    """

    def __init__(self, memory: SharedMemory, loader: PatchLoader) -> None:
        self._memory, self._loader = memory, loader
        self._waiting: deque[ReceivedEvent] = deque()  # of this epoch, not yet processed
        self._panel_events: deque[Event] = deque(maxlen=MOST_PANEL_EVENTS)  # from a panel, played at once
        self._offered: deque[LoadedRack] = deque()
        self._epoch = 0  # none before the first reset
        self._rendered_samples = 0  # samples of this epoch
        self._skipped_samples = 0  # of these, samples that the player has skipped
        self._panel_open = False
        self._programs, self._exclusive = Programs(), MidiDecoder()
        self._macro_values: dict[int, float] = {}  # macro to value, as moved by the host in this epoch
        self._shedding = LoadShedding()
        self._warm: LoadedPatch | None = None  # warmed up on this thread
        self.player: Player | None = None  # None while no patch can be played, and before the first reset
        self.playing: LoadedPatch | None = None
        self.meters: Meters | None = None  # of an open panel
        self._bpm: float | None = None  # from the host, in this epoch

    def run(self) -> None:
        with undisturbed():
            while True:
                ring_count = self._memory.rung
                if not self.work():
                    self._memory.sleep(ring_count)

    def work(self) -> bool:
        """Render some requested samples; False if none are due."""
        complete_position = self._memory.complete
        events = self._memory.read_events()
        last_reset_index = max(
            (event_index for event_index, event in enumerate(events) if event.kind == EventKind.RESET), default=None
        )
        if last_reset_index is not None:
            self._waiting.clear()
            self._begin(events[last_reset_index])
            events = events[last_reset_index + 1 :]
        self._waiting.extend(events)
        if complete_position.epoch != self._epoch or complete_position.samples <= self._rendered_samples:
            return False
        if self._loader.mode.offline:
            self._make(
                min(
                    complete_position.samples,
                    self._rendered_samples + LOOK_SAMPLES - self._rendered_samples % LOOK_SAMPLES,
                )
            )
        else:
            self._make_live(complete_position.samples)
        return True

    def offer(self, loaded_rack: LoadedRack) -> None:
        """Queue a rack for new notes, while held notes ring on; thread-safe. Ignored in an epoch of another mode."""
        self._offered.append(loaded_rack)

    def play(self, events: Iterable[Event]) -> None:
        """Play events live on arrival, ignoring times; thread-safe. Those from before an epoch are dropped."""
        self._panel_events.extend(events)

    def _begin(self, reset: ReceivedEvent) -> None:
        """Begin an epoch: with its mode, and a new player of the patch loaded then."""
        loaded_patch = self._loader.loaded_after(reset.loads)
        rate = reset.value if math.isfinite(reset.value) else 0.0
        mode = Mode(round(min(max(rate, SLOWEST_HZ), FASTEST_HZ)), bool(reset.number & OFFLINE))
        self._loader.mode = mode
        if mode.offline:
            hurry_no_more()
        else:
            hurry(SOUND)
        self._epoch, self._rendered_samples, self._skipped_samples = reset.epoch, 0, 0
        self._bpm, self._shedding = None, LoadShedding()
        self._programs, self._exclusive = Programs(), MidiDecoder()
        self._macro_values.clear()
        self._offered.clear()
        self._panel_events.clear()
        self.player = self.playing = None
        try:
            if not mode.offline and loaded_patch is not self._warm:
                warm_up_for(loaded_patch.patch, mode)
                self._warm = loaded_patch
            self._open(loaded_patch, rack_of(loaded_patch.patch, mode))
        except UserError as error:  # such as an effect that does not support this rate
            self._loader.requests.put(f"{error}; nothing is heard")
        self._memory.write_made(Position(self._epoch, 0))

    def _open(self, loaded: LoadedPatch, rack: Rack) -> None:
        """Play a patch with a new player."""
        mode = self._loader.mode
        self.player = Player(rack, mode.rate, patient=mode.offline)
        self._skipped_samples = self._rendered_samples  # of its epoch: it counts from 0
        self._set(loaded, rack)

    def _follow(self, loaded: LoadedPatch, rack: Rack) -> None:
        """Play another patch, while held notes ring on."""
        if self.player is None or self.player.now == 0:  # no note can ring on
            self._open(loaded, rack)
        else:
            self.player.swap(rack)
            self._set(loaded, rack)

    def _set(self, loaded: LoadedPatch, rack: Rack) -> None:
        """Set the player's macros, panel values and tempo; tell the plugin the rack's latency."""
        assert self.player is not None
        player_time = self.player.now
        macro_changes = [
            loaded.slots[macro_index].turn(player_time, macro_value)
            for macro_index, macro_value in self._macro_values.items()
            if macro_index < len(loaded.slots)
        ]
        for parameter_change in (*loaded.turns(player_time), *macro_changes):
            self.player.schedule(parameter_change)
        if self._bpm is not None:
            self.player.schedule(Tempo(player_time, self._bpm))
        self.playing = loaded
        self._memory.write_latency(rack.latency_samples)

    def _make_live(self, end: int) -> None:
        """Render late or due samples up to ``end``, with a rack that `offer` may have queued."""
        offered_racks = [self._offered.popleft() for _ in range(len(self._offered))]
        for mode, loaded_patch, rack in offered_racks[-1:]:  # the reset of an epoch may have loaded it already
            if mode == self._loader.mode and loaded_patch is not self.playing:
                self._follow(loaded_patch, rack)
        if end - self._rendered_samples > HOPELESS_SECONDS * self._loader.mode.rate:
            self._skip(end)
            return
        while self._panel_events and self.player is not None:
            self._play_panel_event(self._panel_events.popleft(), self.player)
        load_ratio = self._make(min(end, self._rendered_samples + MOST_LIVE))
        if self.player is not None:
            self._shedding.add(load_ratio, self.player)

    def _play_panel_event(self, event: Event, player: Player) -> None:
        """Play an event now; a macro that it moves no longer has the host's value."""
        player.schedule(retimed(event, player.now))
        if isinstance(event, ParameterChange) and self.playing is not None:
            for macro_index, slot in enumerate(self.playing.slots):
                if slot.target == event.target:
                    self._macro_values.pop(macro_index, None)

    def _make(self, end: int) -> float:
        """Up to ``end``, or offline to a preset change; return the share of real time."""
        mode = self._loader.mode
        begin_time, due_events = time.perf_counter(), list[Event]()
        while self._waiting and self._waiting[0].time < end:
            if self._changes_preset(self._waiting[0]):
                if self._waiting[0].time > self._rendered_samples:
                    end = self._waiting[0].time
                    break
                if self._change_preset(self._waiting.popleft()):  # the parameter changes are of the preset before
                    due_events = [
                        retimed(event, 0 if self.player is None else self.player.now)
                        for event in due_events
                        if not isinstance(event, ParameterChange)
                    ]
                continue
            due_events += self._events(self._waiting.popleft())
        if self.player is None:
            sound = np.zeros((2, end - self._rendered_samples), np.float32)
        else:
            for event in due_events:
                self.player.schedule(event)
            sound, _ = self.player.block(end - self._rendered_samples)
        self._memory.put(self._rendered_samples, sound)
        self._rendered_samples = end
        self._memory.write_made(Position(self._epoch, end))
        if self.player is not None and not mode.offline:
            if self._memory.complete.samples > end:  # the next block is due already
                self.player.put_off()
            else:
                self.player.prepare()
        load_ratio = (time.perf_counter() - begin_time) * mode.rate / sound.shape[1]
        if (meters := self.meters) is not None and self.player is not None and self.playing is not None:
            meters.add_events(due_events)
            meters.see(self.player, mode.rate, sound, load_ratio, self.playing.patch)
        return load_ratio

    def _skip(self, end: int) -> None:
        """Leave out the sound up to ``end``; play those events that still matter."""
        due_events: list[Event] = []
        while self._waiting and self._waiting[0].time < end:
            due_events += self._events(self._waiting.popleft())
        ended_keys: set[tuple[int, float]] = set()
        audible_events: list[Event] = []
        for event in reversed(due_events):
            if isinstance(event, NoteOff):
                ended_keys.add((event.channel, event.key))
            if not isinstance(event, NoteOn) or (event.channel, event.key) not in ended_keys:
                audible_events.append(event)
        self._skipped_samples += end - self._rendered_samples
        if self.player is not None:
            for event in reversed(audible_events):
                self.player.schedule(retimed(event, self.player.now))
        silent_samples = min(end - self._rendered_samples, RING)
        self._memory.put(end - silent_samples, np.zeros((2, silent_samples), np.float32))
        self._rendered_samples = end
        self._memory.write_made(Position(self._epoch, end))

    def _preset_number(self, received: ReceivedEvent) -> int:
        """The preset that an event chooses, from 1; 0 for other events."""
        if received.kind == EventKind.PARAMETER and received.number == Parameter.PRESET:
            return max(0, _round_finite(received.value))
        if received.kind == EventKind.MIDI and received.status & 0xF0 == PROGRAM_CHANGE:
            return 1 + self._programs.number(received.first & 127)
        return 0

    def _changes_preset(self, received: ReceivedEvent) -> bool:
        """Return whether an event chooses another preset offline."""
        preset_number = self._preset_number(received)
        return self._loader.mode.offline and preset_number > 0 and not self._loader.is_loaded(preset_number)

    def _change_preset(self, received: ReceivedEvent) -> bool:
        """Load the preset that an event chooses; False if it cannot be played."""
        if received.kind == EventKind.PARAMETER:
            self._macro_values.clear()  # as the plugin does
        try:
            loaded_rack = self._loader.load(self._loader.open_numbered(self._preset_number(received)))
        except UserError as error:
            self._loader.requests.put(error)
            return False
        self._loader.requests.put(Task.TELL_LOADED)
        self._follow(loaded_rack.loaded, loaded_rack.rack)
        return True

    def _events(self, received: ReceivedEvent) -> list[Event]:
        """The player's events for a received one; a choice of a preset goes to the load thread."""
        player_time = received.time - self._skipped_samples
        match received.kind:
            case EventKind.MIDI if 0x80 <= received.status < 0xF0:
                event = channel_event(player_time, received.status, received.first & 127, received.second & 127)
                self._programs.apply(event)
                if isinstance(event, ProgramChange):
                    self._loader.requests.put(ChoosePreset(self._preset_number(received)))
                return [event]
            case EventKind.EXCLUSIVE:
                exclusive_bytes = bytes([received.status, received.first, received.second][: received.number])
                return self._exclusive.feed(exclusive_bytes, player_time)
            case EventKind.TEMPO if SLOWEST_BPM <= received.value <= FASTEST_BPM:
                self._bpm = received.value
                return [Tempo(player_time, received.value)]
            case EventKind.TRANSPORT if received.number == FROM_THE_BEGINNING and self.playing is not None:
                # A beat without a clock continues at the tempo, even while the transport is stopped.
                bpm = self._bpm or self.playing.patch.preset.tempo_bpm
                return [Clock(player_time, "start"), Tempo(player_time, bpm)]
            case EventKind.PARAMETER if received.number < MACROS:
                self._macro_values[received.number] = received.value
                slots = () if self.playing is None else self.playing.slots
                return (
                    [slots[received.number].turn(player_time, received.value)] if received.number < len(slots) else []
                )
            case EventKind.PARAMETER if received.number == Parameter.PRESET:
                if (preset_number := self._preset_number(received)) > 0:
                    self._macro_values.clear()  # as the plugin does: a preset chosen here starts from its saved values
                    self._loader.requests.put(ChoosePreset(preset_number))
                    if self._loader.is_loaded(preset_number) and self.playing is not None:
                        return self.playing.rests(player_time)
            case EventKind.PARAMETER if received.number == Parameter.PANEL:
                was_open, self._panel_open = self._panel_open, received.value >= 0.5
                if self._panel_open and not was_open:
                    self._loader.requests.put(Task.OPEN_PANEL)
        return []


def _round_finite(value: float) -> int:
    return round(value) if math.isfinite(value) else 0
