"""Shared state of the audio process's threads, and its event sources."""

import threading
import time
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from ..audio.sound_card import Ear
from ..events import ControlChange, Event, Timing
from ..midi.ports import Inputs, Timed
from ..patch.live_options import LiveOptions
from .channel_presets import ChannelPresets
from .messages import Message, Setup
from .render_loop import EventSource, RenderLoop

MOST_HEARD = 1024  # events between two reports: eight moving controllers send 40


class ForwardedEvents:
    """Event source of the parent's events: computer keyboard and panel."""

    def __init__(self) -> None:
        self._waiting: deque[Timed] = deque()

    def play(self, events: Iterable[Event]) -> None:
        """Queue events, ignoring their times. Thread-safe."""
        now = time.perf_counter()
        self._waiting.extend(Timed(now, event) for event in events)

    def poll(self) -> list[Timed]:
        return [self._waiting.popleft() for _ in range(len(self._waiting))]


class FilteredSource:
    """An event source without some channels, 0 to 15."""

    def __init__(self, source: EventSource, channels: Collection[int]) -> None:
        self._source, self._channels = source, channels

    def poll(self) -> list[Timed]:
        return [timed for timed in self._source.poll() if getattr(timed.event, "channel", None) not in self._channels]


class TappedSource:
    """An event source that buffers its last `MOST_HEARD` events for display."""

    def __init__(self, source: EventSource) -> None:
        self._source, self._lately = source, deque[Event](maxlen=MOST_HEARD)

    def poll(self) -> list[Timed]:
        came = self._source.poll()
        self._lately.extend(timed.event for timed in came if not isinstance(timed.event, Timing))
        return came

    def lately(self) -> list[Event]:
        """Return new events except clock. Thread-safe."""
        return [self._lately.popleft() for _ in range(len(self._lately))]


@dataclass
class SessionState:
    """Shared state of the audio process's threads."""

    setup: Setup
    pipe: Connection
    hands: ForwardedEvents = field(default_factory=ForwardedEvents)
    cast: ChannelPresets = field(init=False)
    loop: RenderLoop | None = None
    ear: Ear | None = None
    inputs: Inputs | None = None
    heard: TappedSource | None = None  # MIDI input, if a panel shows it
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
        """Queue a message for the pipe's writer."""
        self.outbox.append((kind, what))
