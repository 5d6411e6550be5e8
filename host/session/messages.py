"""Messages between the audio process and its parent. Light import."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..events import Event
from ..preset.shipped import Draft

if TYPE_CHECKING:
    from ..preset.library import Controller
    from ..preset.recording_notes import Swap
    from .view import PresetView

REPORT_SECONDS = 0.1  # between reports


@dataclass(frozen=True)
class Setup:
    preset: str | Draft
    channels: tuple[tuple[int, str | Draft], ...] = ()  # channels (0 to 15) with their own presets
    silent: tuple[int, ...] = ()  # muted channels
    only: int | None = None  # the channel heard alone, beside those with their own presets
    device: str | None = None
    null: bool = False
    without_card: bool = False  # it may start without a card, and then plays to nowhere
    card_fault: str = ""  # the reason for which it does
    input: str | None = None  # audio input to process with the preset's model
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
    report_seconds: float = REPORT_SECONDS  # until `Pace` changes it
    panel: bool = False  # a panel shows MIDI input
    state_events: Sequence[Event] = ()  # events that restore the player state of an ended process
    loading: Mapping[int | None, str | Draft] = field(default_factory=dict)  # presets that it had yet to load

    @property
    def unheard(self) -> set[int]:
        """Channels whose MIDI is left out."""
        muted_channels = set() if self.only is None else set(range(16)) - {self.only} - dict(self.channels).keys()
        return muted_channels | set(self.silent)


@dataclass
class LiveStatus:
    device: str
    latents: list[float]
    spans: list[tuple[float, float]]  # of the latents
    presets: dict[int | None, str]  # names by channel (0 to 15); None: all others
    rate: int = 0
    block: int = 0
    latency_ms: dict[str, float] = field(default_factory=dict)  # computed, by component
    measured_ms: float | None = None  # from arrival to the card's output, of the last events; None before the first
    load: tuple[float, float] = (0.0, 0.0)
    underruns: int = 0
    voices: int = 0
    shed: int = 0
    held: list[int] = field(default_factory=list)
    peaks_db: tuple[float, float] = (-math.inf, -math.inf)  # left and right
    limited: float = 0.0  # recent share of samples that the limiter changed
    ports: list[str] = field(default_factory=list)
    last: str = ""
    digests: Mapping[int | None, str] = field(default_factory=dict)  # of the presets, by channel as above
    age_ms: float | None = None  # of the last note's sound, if sounds are decoded ahead of notes
    names: Sequence[str] = ()  # of the latents, empty for unnamed ones
    macros: Sequence[tuple[str, float]] = ()  # names and positions, 0 to 1
    ahead_ms: float | None = None  # lookahead of dependent frames
    channel: int = 0  # rack channel of the displayed preset
    values: Mapping[str, float] = field(default_factory=dict)  # target values of its controls
    moved: Mapping[str, float] = field(default_factory=dict)  # sounding values of modulated targets, of the last voice
    sounding: Sequence[int] = ()  # keys of all voices, sorted
    waiting: Mapping[tuple[str, str], float] = field(default_factory=dict)  # see `Mapper.waiting`
    spectrum_db: Sequence[int] = ()  # see `Meters.spectrum_db`; for panels only


@dataclass(frozen=True)
class SessionView:
    ports: tuple[str, ...] | None  # parts of the names of MIDI ports; empty: all; None: no port
    midi_api: str | None
    channel: int | None  # as `Setup.only`
    block: int
    lowest_latency: bool
    card_fault: str = ""  # as `Setup.card_fault`
    restarting: bool = False  # with new settings
    recording: Literal["off", "coming", "on", "option"] = "off"  # option: since the start, by --record
    start_time: float = 0.0  # when it began, by time.monotonic
    files: tuple[str, ...] = ()  # names of the last recording


# Messages, in the order of a session. Most have one value; a message is sent whole, or not at all.


@dataclass(frozen=True)
class Ready:
    """The audio process plays from now on."""

    status: LiveStatus


@dataclass(frozen=True)
class Report:
    status: LiveStatus


@dataclass(frozen=True)
class DriverCall:
    """A call of a card's driver begins, which may take so many seconds; None: it has ended."""

    seconds: float | None


@dataclass(frozen=True)
class Playing:
    """Presets by slot that play from now on."""

    presets: Mapping[int | None, str | Draft]


@dataclass(frozen=True)
class Refused:
    """Presets by slot that failed to load, and the reasons; None: another's request."""

    presets: Mapping[int | None, str | Draft | None]
    lines: Sequence[str]


@dataclass(frozen=True)
class PresetLines:
    lines: Sequence[str]


@dataclass(frozen=True)
class Standing:
    """Events that restore the player's state."""

    events: Sequence[Event]


@dataclass(frozen=True)
class View:
    """The view of the displayed preset; ``repeated``: the same, to a panel process that was restarted."""

    view: "PresetView"
    repeated: bool = False


@dataclass(frozen=True)
class Heard:
    """MIDI events since the last report, for the panel."""

    events: Sequence[Event]


@dataclass(frozen=True)
class Say:
    line: str


@dataclass(frozen=True)
class Warn:
    """A line that stays."""

    line: str


@dataclass(frozen=True)
class Lost:
    """The card is gone."""

    reason: str


@dataclass(frozen=True)
class Fault:
    """The audio process ends; ``no_card``: of a setup `without_card`."""

    lines: Sequence[str]
    exit_status: int
    no_card: bool = False


@dataclass(frozen=True)
class Events:
    """To the audio process: play at once, ignoring their times. From it: recorded."""

    events: Sequence[Event]


@dataclass(frozen=True)
class Sound:
    """Recorded samples, [samples, 2] float32."""

    data: bytes


@dataclass(frozen=True)
class Swapped:
    """A rack was swapped in at a sample of a recording."""

    time: int
    swap: "Swap"


@dataclass(frozen=True)
class Take:
    """The start of a recording."""

    time: int  # first sample
    swap: "Swap"  # a fresh rack with all presets
    standing: Sequence[Event]  # events that restore its state
    latency_samples: int  # of the instrument


@dataclass(frozen=True)
class TakeEnd:
    """A recording has ended; ``fault``: the reason for which it never began."""

    fault: str | None = None


@dataclass(frozen=True)
class Session:
    view: SessionView


Recorded = Sound | Events | Swapped
# From the audio process, or from the parent to the panel.
Message = (
    Ready
    | Report
    | DriverCall
    | Playing
    | Refused
    | PresetLines
    | Standing
    | View
    | Heard
    | Say
    | Warn
    | Lost
    | Fault
    | Recorded
    | Take
    | TakeEnd
    | Session
)


@dataclass(frozen=True)
class Pace:
    """The seconds between reports."""

    seconds: float


@dataclass(frozen=True)
class Load:
    """Presets by slot."""

    presets: Mapping[int | None, str | Draft]


@dataclass(frozen=True)
class Record:
    active: bool


@dataclass(frozen=True)
class Stop: ...


@dataclass(frozen=True)
class Settings:
    """Changes of the session, for the parent: see `changed` in host/live/session.py."""

    changes: Mapping[str, Any]


@dataclass(frozen=True)
class Log:
    """A line of the panel process's log, for the parent."""

    line: str


Command = Events | Pace | Load | Record | Stop | Settings | Log  # to the audio process, or from a panel
