"""Messages between the audio process and its parent. Light import."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..events import Event
from ..preset.shipped import Draft

if TYPE_CHECKING:
    from ..preset.library import Controller
    from ..preset.recording_notes import Swap


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
    panel: bool = False  # a panel shows MIDI input
    before: Sequence[Event] = ()  # events that restore the player state of an ended process
    loading: Mapping[int | None, str | Draft] = field(default_factory=dict)  # presets that it had yet to load

    @property
    def unheard(self) -> set[int]:
        """Channels whose MIDI is left out."""
        others = set() if self.only is None else set(range(16)) - {self.only} - dict(self.channels).keys()
        return others | set(self.silent)


@dataclass
class LiveStatus:
    device: str
    rate: int
    block: int
    latency_ms: dict[str, float]  # computed, by component
    measured_ms: float | None  # from event arrival to the card's output, for the last events; None before the first
    load: tuple[float, float]
    underruns: int
    voices: int
    shed: int
    held: list[int]
    latents: list[float]
    spans: list[tuple[float, float]]  # of the latents
    peaks_db: tuple[float, float]  # left and right
    limited: float  # recent share of samples that the limiter changed
    presets: dict[int | None, str]  # names by channel (0 to 15); None: all others
    ports: list[str]
    last: str
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
class Take:
    """The start of a recording."""

    time: int  # first sample
    swap: "Swap"  # a fresh rack with all presets
    standing: Sequence[Event]  # events that restore its state
    latency_samples: int  # of the instrument


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
    since: float = 0.0  # when it began, by time.monotonic
    files: tuple[str, ...] = ()  # names of the last recording


# To the audio process: "events" to play at once, ignoring their times; "pace", the seconds between reports;
# "load", presets by slot; "record", whether to; "stop", without data. From the panel to the parent: "settings", the
# changes of `changed` in host/live/session.py; "record".
Command = tuple[str, Any]
# From it: "report" at the set pace; "driver", the seconds that it lets a card's driver take, and None afterwards; "no
# card", an "error" of a setup `without_card`. For the panel: "heard", MIDI events since the last report; "view", the
# view of the displayed preset, "again" the same after the panel's process was restarted; "refused", presets by slot
# that failed to load, and reasons; "take", a recording begins, "taken", it has ended, with the reason it never began,
# if any. From the parent to the panel: "session", its `SessionView`; "warn", a line that stays.
Kind = Literal[
    "ready", "report", "driver", "playing", "set", "say", "preset", "lost", "error", "sound", "events", "swapped"
]
Message = tuple[Kind | Literal["no card", "heard", "view", "refused", "take", "taken"], Any]
