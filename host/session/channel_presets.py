"""Live presets by MIDI channel: reloads edited files, switches by program changes."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from ..events import ControlChange, Event, ProgramChange
from ..files import Stamp, stamp
from ..midi.decode import Programs, missing_program
from ..play.rack import as_played
from ..preset.library import LiveOptions, Patch, open_patch
from ..preset.shipped import Draft

Slot = int | None  # a channel (0 to 15) with its own preset; None: all others


class ChannelPresets:
    def __init__(self, fitting: LiveOptions, programs: Sequence[str]) -> None:
        """``fitting``: options of all presets; ``programs``: program 1 first."""
        self._fitting, self._programs = fitting, programs
        self.names: dict[Slot, str | Draft] = {}  # as requested
        self.patches: dict[Slot, Patch] = {}
        self.digests: dict[Slot, str] = {}
        self._files: dict[Slot, dict[Path, Stamp | None]] = {}  # stamps when opened
        self._last_stamps: dict[Slot, dict[Path, Stamp | None]] = {}  # stamps at the last scan
        self._program_counters: defaultdict[Slot, Programs] = defaultdict(Programs)

    def opened(self, names: Mapping[Slot, str | Draft]) -> dict[Slot, Patch]:
        """All patches, with those of ``names`` reopened, for `activate`.

        Raises:
            UserError: as `open_patch`.
        """
        return self.patches | {slot: self._fitting.fit(open_patch(name)) for slot, name in names.items()}

    def activate(self, names: Mapping[Slot, str | Draft], patches: Mapping[Slot, Patch]) -> None:
        """Note that these patches play, of which ``names`` were opened anew."""
        self.names |= names
        self.patches = dict(patches)
        self.digests = {slot: patch.digest for slot, patch in self.patches.items()}
        self._files |= {slot: dict(patches[slot].files) for slot in names}

    def edited(self) -> dict[Slot, str | Draft]:
        """Presets whose files changed, then stayed for one scan: a program may empty a file before writing it."""
        current_stamps = {
            slot: {
                path: stamp(path) or old_stamp for path, old_stamp in stamps_by_path.items()
            }  # a missing file is being replaced
            for slot, stamps_by_path in self._files.items()
        }
        edited_slots = [
            slot
            for slot, stamps_by_path in current_stamps.items()
            if stamps_by_path != self._files[slot] and stamps_by_path == self._last_stamps.get(slot)
        ]
        self._last_stamps = current_stamps
        self._files |= {slot: current_stamps[slot] for slot in edited_slots}
        return {slot: self.names[slot] for slot in edited_slots}

    def requested(self, events: Iterable[Event]) -> tuple[dict[Slot, str], list[str]]:
        """Presets requested by program changes, by slot, and lines for missing ones."""
        requests: dict[Slot, str] = {}
        missing_lines: list[str] = []
        for event in events:
            if not isinstance(event, ControlChange | ProgramChange):
                continue
            slot = self._slot(event.channel)
            self._program_counters[slot].apply(event)
            if isinstance(event, ProgramChange) and self._programs:
                program_index = self._program_counters[slot].number(event.program)
                if program_index < len(self._programs):
                    requests[slot] = self._programs[program_index]
                else:
                    missing_lines.append(missing_program(program_index, len(self._programs)))
        return requests, missing_lines

    def patch_of(self, channel: int) -> tuple[int, Patch]:
        """Rack channel and patch of a MIDI channel."""
        slot = self._slot(channel)
        return self.first_channel if slot is None else slot, self.patches[slot]

    def channels(self, slots: Collection[Slot]) -> set[int]:
        """MIDI channels that play the presets of these slots."""
        return {channel for channel in range(16) if self._slot(channel) in slots}

    @property
    def first_channel(self) -> int:
        """Return the channel of the preset for all others, or of the first."""
        return next(iter(by_channel(self.patches)))

    def _slot(self, channel: int) -> Slot:
        return channel if channel in self.patches else None


def by_channel(patches: Mapping[Slot, Patch]) -> dict[int, Patch]:
    """Patches by rack channel."""
    return as_played(patches[None], {slot: patch for slot, patch in patches.items() if slot is not None})
