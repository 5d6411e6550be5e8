"""The messages between the process that sounds and its parent: light to import, so that playing starts soon."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..events import Event
from ..shipped import Draft

if TYPE_CHECKING:
    from ..patch.controllers import Controller


@dataclass(frozen=True)
class Setup:
    """The presets to play, and the card and ports to play them on."""

    preset: str | Draft
    channels: tuple[tuple[int, str | Draft], ...] = ()  # channels (0 to 15) that have a preset to themselves
    silent: tuple[int, ...] = ()  # channels that are not heard
    device: str | None = None
    null: bool = False
    input: str | None = None  # what is heard goes through the preset's model
    rate: int | None = None
    block: int = 128
    depth: int = 2
    voices: int | None = None
    midi_ports: tuple[str, ...] = ()
    midi_api: str | None = None
    midi: bool = True
    lowest_latency: bool = False
    programs: tuple[str, ...] = ()
    controller: "Controller | None" = None
    recording: bool = False
    panel: bool = False  # somebody wants to know what comes by MIDI
    before: Sequence[Event] = ()  # what leaves a player where that of a process that has ended was


@dataclass
class LiveStatus:
    """The figures that the parent shows."""

    device: str
    rate: int
    block: int
    latency_ms: dict[str, float]  # computed, by its parts
    measured_ms: float | None  # from the arrival of the last events to their samples at the card; None before the first
    load: tuple[float, float]
    underruns: int
    voices: int
    shed: int
    held: list[int]
    latents: list[float]
    spans: list[tuple[float, float]]  # of the latents
    peak_db: float
    limited: float  # share of the samples of late that the limiter bent
    presets: dict[int | None, str]  # names by channel (0 to 15); None: for all others
    ports: list[str]
    last: str
    digests: Mapping[int | None, str] = field(default_factory=dict)  # of the presets, by channel as those
    age_ms: float | None = None  # of the last note's sound, where sounds are decoded ahead of notes
    names: Sequence[str] = ()  # of the latents, empty where one has none
    macros: Sequence[tuple[str, float]] = ()  # their names, and where they stand, 0 to 1
    ahead_ms: float | None = None  # by which frames are made ahead, where they follow from one another
    channel: int = 0  # of the rack, on which the preset that is shown plays
    values: Mapping[str, float] = field(default_factory=dict)  # of all that it can turn: where its own knobs head
    waiting: Mapping[tuple[str, str], float] = field(default_factory=dict)  # see `Mapper.waiting`


# To the process that sounds: "events" to play as they come, whatever their times; "pace", the seconds between reports;
# "load", presets by slot; or "stop", with nothing.
Command = tuple[str, Any]
# From it. "report" comes at the pace asked; "heard" are the events that came by MIDI since the last one, for a panel.
# For it alone are "sheet", what the preset on show is, and "refused": presets by slot that cannot be played, and why.
Kind = Literal["ready", "report", "playing", "set", "say", "preset", "lost", "error", "sound", "events", "swapped"]
Message = tuple[Kind | Literal["heard", "sheet", "refused"], Any]
