"""State that the audio process's threads share, and the session's status."""

import statistics
import threading
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection

from ..audio.sound_card import Ear
from ..midi.ports import Inputs, Timed
from ..preset.library import LiveOptions
from ..session.channel_presets import ChannelPresets
from ..session.messages import LiveStatus, Message, Setup, TakeEnd
from ..session.meters import Meters, last_moved, status
from ..session.view import PresetView
from .render_loop import EventSource, RenderLoop


class HeardInputs:
    """The events of MIDI inputs without some channels, 0 to 15, as the meters show them."""

    def __init__(self, inputs: EventSource, unheard: Collection[int], meters: Meters) -> None:
        self._inputs, self._unheard, self._meters = inputs, unheard, meters

    def poll(self) -> list[Timed]:
        timed_events = [
            timed_event
            for timed_event in self._inputs.poll()
            if getattr(timed_event.event, "channel", None) not in self._unheard
        ]
        self._meters.add_events(timed_event.event for timed_event in timed_events)
        return timed_events


@dataclass
class ProcessState:
    setup: Setup
    pipe: Connection
    arrival: threading.Event = field(default_factory=threading.Event)  # set with each event
    presets: ChannelPresets = field(init=False)
    view: PresetView | None = None  # of the preset of all other channels, or of the first
    loop: RenderLoop | None = None
    ear: Ear | None = None
    inputs: Inputs | None = None
    device: str = ""
    rate: int = 0
    problem: BaseException | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    outbox: deque[Message] = field(default_factory=deque)
    take_wanted: bool = False

    def __post_init__(self) -> None:
        live_options = LiveOptions(voices=self.setup.voices, controller=self.setup.controller)
        self.presets = ChannelPresets(live_options, self.setup.programs)

    def record(self, active: bool) -> None:
        """Have a take begin soon, or end the present one."""
        assert self.loop is not None
        self.take_wanted, self.loop.recording = active, False
        if not active:
            self.outbox.append(TakeEnd())


def report(state: ProcessState) -> LiveStatus:
    """The session's status: the player's, with card, ports, presets and latency."""
    render_loop = state.loop
    assert render_loop is not None
    sink, rack = render_loop.sink, render_loop.player.rack
    assert state.view is not None
    playing_status = status(state.view, state.device, render_loop.player, render_loop.meters, sink.rate, sink.block)
    seconds_by_part = {
        "card": sink.latency_seconds + (0.0 if state.ear is None else state.ear.latency_seconds),
        "ring": render_loop.ring_blocks * sink.block / sink.rate,
        "timing": max(0, render_loop.delay_samples - render_loop.ring_blocks * sink.block) / sink.rate,
        "instrument": rack.latency_samples / sink.rate,
    }
    if state.ear is not None:  # latency from input to output
        del seconds_by_part["timing"]
    return replace(
        playing_status,
        latency_ms={part: 1000 * seconds for part, seconds in seconds_by_part.items()},
        measured_ms=_measured_ms(render_loop),
        underruns=sink.underruns,
        presets={slot: patch.name for slot, patch in state.presets.patches.items()},
        digests=state.presets.digests,
        ports=state.inputs.open if state.inputs is not None else [],
        last=_last(state, render_loop),
        spectrum_db=render_loop.meters.spectrum_db() if state.setup.panel else (),
    )


def _measured_ms(loop: RenderLoop) -> float | None:
    """Mean latency of the last events, from arrival to the card's output; None before the first."""
    if not loop.measured:
        return None
    # The clock marks the card's next sample to read: a sample plays a block later.
    latency_samples = statistics.fmean(list(loop.measured)) + loop.sink.block
    return 1000 * (latency_samples / loop.sink.rate + loop.sink.latency_seconds)


def _last(state: ProcessState, loop: RenderLoop) -> str:
    """Text on the last move of a controller, empty before the first."""
    if (event := loop.meters.last) is None:
        return ""
    rack_channel, patch = state.presets.patch_of(event.channel)
    return last_moved(event, patch, loop.player.rack.latent_values(rack_channel))
