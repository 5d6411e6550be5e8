"""The presets that play live: one for all channels, others for some, and those that come in their place."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from ..events import ControlChange, Event, ProgramChange
from ..files import Stamp, stamp
from ..midi.programs import Programs
from ..patch.library import Patch, open_patch
from ..patch.live_options import LiveOptions
from ..play.rack import as_played
from ..shipped import Draft

Slot = int | None  # a channel (0 to 15) with a preset to itself; None: all others


class ChannelPresets:
    """Presets by slot; files that change and program changes ask for others."""

    def __init__(self, fitting: LiveOptions, programs: Sequence[str]) -> None:
        """``fitting`` goes for all of them, ``programs`` are the presets among which program changes choose."""
        self._fitting, self._programs = fitting, programs
        self.names: dict[Slot, str | Draft] = {}  # as they were asked for
        self.patches: dict[Slot, Patch] = {}
        self.digests: dict[Slot, str] = {}
        self._files: dict[Slot, dict[Path, Stamp | None]] = {}  # as they were opened
        self._seen: dict[Slot, dict[Path, Stamp | None]] = {}  # as they were looked at last
        self._counted: defaultdict[Slot, Programs] = defaultdict(Programs)

    def opened(self, names: Mapping[Slot, str | Draft]) -> dict[Slot, Patch]:
        """Return all patches, those of some slots opened anew; to be tried before they are taken.

        Raises:
            UserError: as `open_patch`.
        """
        return self.patches | {slot: self._fitting.fit(open_patch(name)) for slot, name in names.items()}

    def take(self, names: Mapping[Slot, str | Draft], patches: Mapping[Slot, Patch]) -> None:
        """Let patches that were opened play."""
        self.names |= names
        self.patches = dict(patches)
        self.digests = {slot: patch.digest for slot, patch in self.patches.items()}
        self._files |= {slot: dict(patches[slot].files) for slot in names}

    def edited(self) -> dict[Slot, str | Draft]:
        """Return the presets of which a file was written, or another took its place, and has stayed so for a look.

        A program that saves may empty a file before it writes it: what changes yet is not read.
        """
        now = {
            slot: {path: stamp(path) or before for path, before in files.items()}  # one that is gone is being replaced
            for slot, files in self._files.items()
        }
        edited = [slot for slot, files in now.items() if files != self._files[slot] and files == self._seen.get(slot)]
        self._seen = now
        self._files |= {slot: now[slot] for slot in edited}
        return {slot: self.names[slot] for slot in edited}

    def asked(self, events: Iterable[Event]) -> tuple[dict[Slot, str], list[str]]:
        """Return what programs and bank selects ask for: presets by slot, and a line for each that is missing."""
        wanted: dict[Slot, str] = {}
        lines: list[str] = []
        for event in events:
            if not isinstance(event, ControlChange | ProgramChange):
                continue
            slot = self._slot(event.channel)
            self._counted[slot].hear(event)
            if isinstance(event, ProgramChange) and self._programs:
                number = self._counted[slot].number(event.program)
                if number < len(self._programs):
                    wanted[slot] = self._programs[number]
                else:
                    lines.append(f"program {number + 1} asked for, but the set has {len(self._programs)}")
        return wanted, lines

    def heard_by(self, channel: int) -> tuple[int, Patch]:
        """Return who plays what comes on a channel: its channel in the rack, and its patch."""
        slot = self._slot(channel)
        return self.place if slot is None else slot, self.patches[slot]

    def channels(self, slots: Collection[Slot]) -> set[int]:
        """Return the channels that are played by the presets of these slots."""
        return {channel for channel in range(16) if self._slot(channel) in slots}

    @property
    def place(self) -> int:
        """The channel in the rack of the preset for all other channels, or of the first that there is."""
        return next(iter(by_channel(self.patches)))

    def _slot(self, channel: int) -> Slot:
        return channel if channel in self.patches else None


def by_channel(patches: Mapping[Slot, Patch]) -> dict[int, Patch]:
    """Patches by slot as a rack takes them that plays ``omni``."""
    return as_played(patches[None], {slot: patch for slot, patch in patches.items() if slot is not None})
