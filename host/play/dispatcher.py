"""Event dispatcher: interprets MIDI and parameter events, for voices and for input sound."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from ..events import (
    AllOff,
    BeatSync,
    Clock,
    ControlChange,
    ControllersReset,
    DataEntry,
    Event,
    MasterTuning,
    NoteOff,
    NoteOn,
    ParameterChange,
    ParameterTouch,
    PitchBend,
    StealVoice,
    SystemReset,
    Tempo,
    ZoneSize,
)
from ..preset.tuning import pitch_of
from .controllers import CHANNELS, Mapper
from .motions import Latents
from .mpe import MpeChannels, NoteExpression


class EventDispatcher(ABC):
    """Base of `EventProcessor` and of the processor of input sound: matches each type of event, and calls handlers."""

    def __init__(self, mpe: MpeChannels, tuning: Mapping[int, float], knobs: Mapper, latents: Latents) -> None:
        """``tuning``: pitches of playable keys; others are ignored."""
        self._mpe, self._tuning, self.knobs, self._latents = mpe, tuning, knobs, latents

    def apply(self, event: Event) -> None:
        """Times must not decrease."""
        match event:
            case NoteOn(_, _, key) if pitch_of(key, self._tuning) is None:
                pass
            case NoteOn():
                self._start_note(event)
                self.knobs.apply(event)
            case NoteOff():
                self._end_note(event)
                self.knobs.apply(event)
            case ParameterChange():
                self.knobs.apply(event)
            case ParameterTouch(time, _, target, down):
                self._latents.hold(time, target, down)
            case Clock() | Tempo() | BeatSync():
                self._latents.keep_time(event)
            case StealVoice(time):
                self._steal_voice(time)
            case ZoneSize(time, master, members):
                self._begin_zone(time, master, members)
            case MasterTuning(time):
                self._mpe.tune(time, event)
            case SystemReset(time):
                self._reset_system(time)
            case _ if self._mpe.is_member(event.channel):
                self._mpe.move(event, self._touches)
            case _ if self.knobs.apply(event):
                pass  # a map replaces its standard meaning
            case PitchBend() | DataEntry():
                self._turn_wheel(event)
            case AllOff(time, channel, cut):
                self._end_notes(time, self._mpe.group(channel), cut)
            case ControllersReset(time, channel):
                self._reset(time, channel)
            case ControlChange():
                self._control(event)

    @abstractmethod
    def _start_note(self, event: NoteOn) -> None: ...

    @abstractmethod
    def _end_note(self, event: NoteOff) -> None: ...

    @abstractmethod
    def _end_notes(self, time: int, group: int, cut: bool) -> None:
        """Release a group's keys; ``cut`` ends their sound."""

    @abstractmethod
    def _touches(self, channel: int) -> list[NoteExpression]:
        """Expressions of a channel's keys that are down."""

    @abstractmethod
    def _control(self, event: ControlChange) -> None:
        """Apply a controller without a map."""

    @abstractmethod
    def _reset_switches(self, time: int, group: int, bus: int) -> None:
        """Release pedals; reset expression and the switch of the glide."""

    @abstractmethod
    def _steal_voice(self, time: int) -> None: ...

    def _turn_wheel(self, event: PitchBend | DataEntry) -> None:
        self._mpe.wheel(event.channel).apply(event)

    def _reset(self, time: int, channel: int) -> None:
        """Reset a channel's or, for a master, a zone's controllers."""
        group = self._mpe.group(channel)
        if self._mpe.zone(channel) is None:
            self._mpe.wheel(channel).turn(time, 0)
        else:
            self._mpe.reset_zone(time, group, self._touches)
        self._reset_switches(time, group, self._mpe.bus(channel))

    def _reset_system(self, time: int) -> None:
        self._mpe.reset_system(time, self._touches)
        for channel in CHANNELS:
            self.knobs.apply(ControllersReset(time, channel))
            self.knobs.apply(AllOff(time, channel, cut=False))
            self._reset_switches(time, channel, channel)
            self._end_notes(time, channel, cut=False)

    def _begin_zone(self, time: int, master: int, members: int) -> None:
        if self._mpe.zone(master) == master:
            self._reset(time, master)
            self._end_notes(time, master, cut=False)
        zones_before = list(map(self._mpe.zone, CHANNELS))
        self._mpe.set_zone(master, members)
        self._end_notes(time, master, cut=False)
        for channel in CHANNELS:
            if channel == master or self._mpe.zone(channel) != zones_before[channel]:
                self._reset_switches(time, channel, self._mpe.bus(channel))
                self._mpe.channel_wheels.reset_channel(time, channel)
