"""Offline preset changes: replays a recording's racks from their live samples."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ..arrays import Array
from ..errors import UserError, printable
from ..events import Event
from ..patch.library import Patch
from ..patch.recording_notes import Notes
from .player import PlayableRack, Player
from .rack import as_played
from .warm_up import wait_until_ready

PART = 16384  # samples of silence per call


class Successor(NamedTuple):
    time: int  # sample of the change
    patches: Mapping[int, Patch]  # by channel
    channels: Collection[int]  # with new presets
    primed: int  # samples of silence that the rack had rendered
    block: int  # samples; earlier racks rang in such blocks and faded at their starts


def successors(
    default: Patch, others: Mapping[int, Patch], notes: Notes, say: Callable[[str], None]
) -> list[Successor]:
    """Preset changes of a recording.

    ``default`` plays the channels that ``others`` lacks. ``say`` receives a message for each preset that cannot be
    opened; the previous one continues.
    """
    found = []
    for moment, swap in notes.swaps:
        try:
            opened = {loaded.slot: notes.fitting.fit(loaded.open()) for loaded in swap.presets}
        except UserError as error:
            named = ", ".join(repr(loaded.name) for loaded in swap.presets)
            say(printable(f"preset {named}, which was loaded while it was played, is not heard again: {error}"))
            continue
        default = opened.get(None, default)
        others = {**others, **{slot: patch for slot, patch in opened.items() if slot is not None}}
        channels = [channel for channel in range(16) if (channel if channel in others else None) in opened]
        found.append(Successor(moment, as_played(default, others), channels, swap.primed, swap.block))
    return found


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
            if self._successors and self._successors[0].time <= self.played:
                self._follow(self._successors.pop(0))
            until = min([end, *(successor.time for successor in self._successors[:1])])
            if self._player.ringing:
                until = min(until, self.played + self._block - self.played % self._block)
            start = count - (end - self.played)
            self._listen(until - self.played)
            mix, _ = self._player.block(until - self.played)
            mixes.append(mix)
            parts += [(channel, start, part) for channel, part in self._player.parts.items()]
        whole = {channel: np.zeros((2, count), np.float32) for channel, _, _ in parts}
        for channel, start, part in parts:
            whole[channel][:, start : start + part.shape[1]] = part
        return np.concatenate(mixes, axis=1), whole

    def _follow(self, successor: Successor) -> None:
        rack = self._make(successor.patches)
        while rack.played < successor.primed:
            rack.process([], min(PART, successor.primed - rack.played))
        wait_until_ready(rack)
        self.pause_seconds = max(self.pause_seconds, rack.pause_seconds)
        self._block = successor.block
        self._player.swap(rack, successor.channels)
