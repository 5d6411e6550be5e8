"""The state that the threads of the sounding process share, and the events that its parent passes on."""

import threading
import time
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from ..audio.device import Ear
from ..events import ControlChange, Event, Timing
from ..midi.ports import Inputs, Timed
from ..patch.live_options import LiveOptions
from .channel_presets import ChannelPresets
from .loop import EventSource, Loop
from .messages import Message, Setup

MOST_HEARD = 1024  # events between two reports: eight knobs that are swept send 40


class PassedOn:
    """Events that the parent passes on: of the computer's keyboard, and of a panel."""

    def __init__(self) -> None:
        self._waiting: deque[Timed] = deque()

    def play(self, events: Iterable[Event]) -> None:
        """Play events that have just come, whatever their times; any thread may call this."""
        now = time.perf_counter()
        self._waiting.extend(Timed(now, event) for event in events)

    def poll(self) -> list[Timed]:
        """Return what came since the last call."""
        return [self._waiting.popleft() for _ in range(len(self._waiting))]


class Without:
    """A source without some of its channels (0 to 15), which nobody hears."""

    def __init__(self, source: EventSource, channels: Collection[int]) -> None:
        self._source, self._channels = source, channels

    def poll(self) -> list[Timed]:
        """Return what came in since the last call."""
        return [timed for timed in self._source.poll() if getattr(timed.event, "channel", None) not in self._channels]


class Overheard:
    """A source, with what came from it lately for whoever asks, for people: of too much, the oldest is forgotten."""

    def __init__(self, source: EventSource) -> None:
        self._source, self._lately = source, deque[Event](maxlen=MOST_HEARD)

    def poll(self) -> list[Timed]:
        """Return what came in since the last call."""
        came = self._source.poll()
        self._lately.extend(timed.event for timed in came if not isinstance(timed.event, Timing))
        return came

    def lately(self) -> list[Event]:
        """Return what came since this was asked last, but for the beat; any thread may call this."""
        return [self._lately.popleft() for _ in range(len(self._lately))]


@dataclass
class SessionState:
    """The state that the threads of the process share."""

    setup: Setup
    pipe: Connection
    hands: PassedOn = field(default_factory=PassedOn)
    cast: ChannelPresets = field(init=False)
    loop: Loop | None = None
    ear: Ear | None = None
    inputs: Inputs | None = None
    heard: Overheard | None = None  # what came by MIDI, where somebody wants to know
    device: str = ""
    rate: int = 0
    last: ControlChange | None = None
    problem: BaseException | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    outbox: deque[Message] = field(default_factory=deque)

    def __post_init__(self) -> None:
        fitting = LiveOptions(voices=self.setup.voices, controller=self.setup.controller)
        self.cast = ChannelPresets(fitting, self.setup.programs)

    def send(self, kind: Any, what: Any) -> None:
        """Leave a message for the thread that writes to the pipe."""
        self.outbox.append((kind, what))
