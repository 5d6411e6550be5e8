"""State shared by the audio process's threads, and its event sources."""

import threading
import time
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from ..audio.sound_card import Ear
from ..events import Event
from ..midi.ports import Inputs, Timed
from ..patch.live_options import LiveOptions
from ..session.channel_presets import ChannelPresets
from ..session.messages import Message, Setup
from ..session.meters import Meters
from .render_loop import EventSource, RenderLoop


class ForwardedEvents:
    """Source of the computer keyboard's and the panel's events."""

    def __init__(self, arrival: threading.Event | None = None) -> None:
        """``arrival`` is set with each event."""
        self._waiting: deque[Timed] = deque()
        self._arrival = arrival or threading.Event()

    def play(self, events: Iterable[Event]) -> None:
        """Queue events, ignoring their times. Thread-safe."""
        now = time.perf_counter()
        self._waiting.extend(Timed(now, event) for event in events)
        self._arrival.set()

    def poll(self) -> list[Timed]:
        return [self._waiting.popleft() for _ in range(len(self._waiting))]


class FilteredSource:
    """A source without some channels, 0 to 15."""

    def __init__(self, source: EventSource, channels: Collection[int]) -> None:
        self._source, self._channels = source, channels

    def poll(self) -> list[Timed]:
        return [timed for timed in self._source.poll() if getattr(timed.event, "channel", None) not in self._channels]


class MeteredSource:
    def __init__(self, source: EventSource, meters: Meters) -> None:
        self._source, self._meters = source, meters

    def poll(self) -> list[Timed]:
        came = self._source.poll()
        self._meters.add_events(timed.event for timed in came)
        return came


@dataclass
class ProcessState:
    setup: Setup
    pipe: Connection
    arrival: threading.Event = field(default_factory=threading.Event)  # set with each event
    forwarded: ForwardedEvents = field(init=False)
    presets: ChannelPresets = field(init=False)
    loop: RenderLoop | None = None
    ear: Ear | None = None
    inputs: Inputs | None = None
    device: str = ""
    rate: int = 0
    problem: BaseException | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    outbox: deque[Message] = field(default_factory=deque)
    recording: bool = field(init=False)  # whether blocks and events are sent to the parent
    take_wanted: bool = False

    def __post_init__(self) -> None:
        self.forwarded = ForwardedEvents(self.arrival)
        self.recording = self.setup.recording
        fitting = LiveOptions(voices=self.setup.voices, controller=self.setup.controller)
        self.presets = ChannelPresets(fitting, self.setup.programs)

    def record(self, on: bool) -> None:
        """Have a take begin soon, or end the present one."""
        self.take_wanted, self.recording = on, False
        if not on:
            self.send("taken", None)

    def send(self, kind: Any, data: Any) -> None:
        self.outbox.append((kind, data))
