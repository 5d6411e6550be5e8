"""Meters of a player: level, load, latents and MIDI input."""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..audio.limiter import LIMIT_KNEE, limited
from ..events import ControlChange, Event, ParameterChange, Timing
from ..patch.library import Patch
from ..play.player import PlayableRack, Player
from .load_shedding import RenderLoad

Array = npt.NDArray[np.float32]
LOOK_SECONDS = 0.1  # between updates of the displayed latents: each takes time from the sound
METER_SECONDS = 0.5  # averaging time of the limiter's share
MOST_HEARD = 1024  # events between two reports: eight moving controllers send 40


class SeenBlock(NamedTuple):
    """The last measured block; ``sample_rate`` in Hz."""

    player: Player
    patch: Patch | None
    sample_rate: int
    samples: int


class Meters:
    """Measured on the rendering thread, read on others."""

    def __init__(self, channel: int) -> None:
        """``channel``: of the rack, 0 to 15, for the latents."""
        self._channel = channel
        self.load = RenderLoad()
        self.limited = 0.0  # recent share of samples that the limiter changed
        self.look_seconds = LOOK_SECONDS
        self.latents: list[float] = []
        self.seen: SeenBlock | None = None
        self.last: ControlChange | None = None
        self._rack: PlayableRack | None = None
        self._peak = 0.0
        self._unseen = 0  # samples since the last look at the latents
        self._heard: deque[Event] = deque(maxlen=MOST_HEARD)

    def add_events(self, events: Iterable[Event]) -> None:
        """Add MIDI input; skip clock and automation."""
        for event in events:
            if isinstance(event, ControlChange):
                self.last = event
            if not isinstance(event, Timing | ParameterChange):
                self._heard.append(event)

    def see(self, player: Player, sample_rate: int, sound: Array, part: float, patch: Patch | None = None) -> None:
        """Add a block, [2, n]; ``part``: rendering time relative to its duration."""
        count = sound.shape[1]
        self.load.add(part)
        peak = max(float(sound.max()), -float(sound.min()))
        self._peak = max(self._peak, peak)
        now = limited(sound) if peak > LIMIT_KNEE else 0.0
        self.limited += (now - self.limited) * min(1.0, count / (METER_SECONDS * sample_rate))
        self._unseen += count
        if player.rack is not self._rack or self._unseen >= self.look_seconds * sample_rate:
            self._rack, self._unseen = player.rack, 0
            self.latents = player.rack.current_latents(self._channel)
        self.seen = SeenBlock(player, patch, sample_rate, count)

    def take_events(self) -> list[Event]:
        """Return new MIDI input, at most the last `MOST_HEARD` events."""
        return [self._heard.popleft() for _ in range(len(self._heard))]

    def peak(self) -> float:
        """Return the peak since the last call."""
        peak, self._peak = self._peak, 0.0
        return peak
