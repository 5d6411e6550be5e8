"""Panel protocol: JSON messages from a page; unknown or invalid ones raise an error.

A user's drag of parameters sends grab, move and drop; a typed or clicked value sends set.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ..preset.shipped import SLOTS

LONGEST_MESSAGE = 64 << 10  # bytes: a drawn path; other messages take a few hundred
MOST_TARGETS = 512  # in one message: a model of 64 latents, and several effects
MOST_POINTS = 512  # of a path: one stroke draws no more
LONGEST_TARGET = 80  # characters
LONGEST_TITLE = 64  # of a saved preset: file systems allow four times as many

MOST_PORTS = 64

Name = Annotated[str, Meta(min_length=1, max_length=255)]  # of a device
Target = Annotated[str, Meta(min_length=1, max_length=LONGEST_TARGET)]
Targets = Annotated[list[Target], Meta(max_length=MOST_TARGETS)]
Source = Annotated[str, Meta(max_length=32)]  # as pages show it: CC 74
Channel = Annotated[int, Meta(ge=1, le=16)] | None
Values = Annotated[dict[Target, float], Meta(max_length=MOST_TARGETS)]


def _tag(name: str) -> str:
    return name.removesuffix("Message").lower()


class _PageMessage(msgspec.Struct, tag_field="t", tag=_tag, forbid_unknown_fields=True): ...


class HelloMessage(_PageMessage):
    """The first message."""

    token: Annotated[str, Meta(max_length=128)]


class GrabMessage(_PageMessage):
    targets: Targets


class MoveMessage(_PageMessage):
    values: Values


class DropMessage(_PageMessage):
    targets: Targets


class SetMessage(_PageMessage):
    values: Values


class PingMessage(_PageMessage):
    """``at``: ms of the page's clock."""

    at: float


class NoteMessage(_PageMessage):
    """Velocity 0 is note off. ``at`` as in `PingMessage`."""

    key: Annotated[int, Meta(ge=0, le=127)]
    velocity: Annotated[int, Meta(ge=0, le=127)]
    at: float | None = None


class SustainMessage(_PageMessage):
    down: bool


class HoldMessage(_PageMessage):
    """Hold of all pages."""

    down: bool


class ListenMessage(_PageMessage):
    """Start or stop the shipped preset's phrase."""

    on: bool


class PanicMessage(_PageMessage): ...


class SpectrumMessage(_PageMessage):
    """Switch this page's spectrum in the meters."""

    on: bool


class DevicesMessage(_PageMessage):
    pass


class SettingsMessage(_PageMessage):
    """Omitted settings stay.

    ``ports`` are names, empty for all ports, None for none; ``channel``, 0 to 15, is heard alone, None for all.
    """

    device: Name | msgspec.UnsetType = msgspec.UNSET
    block: Annotated[int, Meta(ge=16, le=8192)] | msgspec.UnsetType = msgspec.UNSET
    lowest_latency: bool | msgspec.UnsetType = msgspec.UNSET
    ports: Annotated[list[Name], Meta(max_length=MOST_PORTS)] | msgspec.UnsetType | None = msgspec.UNSET
    channel: Annotated[int, Meta(ge=0, le=15)] | msgspec.UnsetType | None = msgspec.UNSET


class RecordMessage(_PageMessage):
    on: bool


class UndoMessage(_PageMessage): ...


class RedoMessage(_PageMessage): ...


class PresetsMessage(_PageMessage): ...


class SideMessage(_PageMessage):
    side: Literal["A", "B"]


class LearnMessage(_PageMessage):
    """Start MIDI learn; None cancels it."""

    target: Target | None


class UnlearnMessage(_PageMessage):
    """Remove a target's controllers, or ``source`` on a channel (1 to 16, None for all)."""

    target: Target
    source: Source | None = None
    channel: Channel = None


class BindingMessage(_PageMessage):
    """Set range and curve of a controller, given as in `UnlearnMessage`."""

    target: Target
    source: Source
    low: float
    high: float
    curve: float
    channel: Channel = None


class FavouriteMessage(_PageMessage):
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    on: bool


class LoadMessage(_PageMessage):
    name: Annotated[str, Meta(min_length=1, max_length=255)]


class SaveMessage(_PageMessage):
    name: Annotated[str, Meta(min_length=1, max_length=LONGEST_TITLE)]
    overwrite: bool = False


Points = Annotated[list[Annotated[list[float], Meta(max_length=256)]], Meta(min_length=2, max_length=MOST_POINTS)]


class SnapshotMessage(_PageMessage):
    """Store the controls' values in a slot, or clear it."""

    slot: Annotated[int, Meta(ge=1, le=SLOTS)]
    clear: bool = False


class PathMessage(_PageMessage):
    """Set or change the path of all latents; ``points`` None removes it."""

    points: Points | msgspec.UnsetType | None = msgspec.UNSET
    seconds: float | None = None
    beats: float | None = None
    loop: bool | None = None

    def __post_init__(self) -> None:
        length_count = (self.seconds is not None) + (self.beats is not None)
        if length_count > 1 or (isinstance(self.points, list) and not length_count):
            raise ValueError("give one of seconds and beats")


class EffectMessage(_PageMessage):
    do: Literal["add", "remove", "move", "bypass"]
    index: Annotated[int, Meta(ge=0, le=255)] = 0
    to: Annotated[int, Meta(ge=0, le=255)] = 0
    plugin: Annotated[str, Meta(max_length=64)] = ""
    on: bool = True


PageMessage = (
    HelloMessage
    | GrabMessage
    | MoveMessage
    | DropMessage
    | SetMessage
    | PingMessage
    | NoteMessage
    | SustainMessage
    | HoldMessage
    | ListenMessage
    | PanicMessage
    | SpectrumMessage
    | DevicesMessage
    | SettingsMessage
    | RecordMessage
    | UndoMessage
    | RedoMessage
    | PresetsMessage
    | SideMessage
    | LearnMessage
    | UnlearnMessage
    | BindingMessage
    | FavouriteMessage
    | LoadMessage
    | SaveMessage
    | SnapshotMessage
    | PathMessage
    | EffectMessage
)
_DECODER = msgspec.json.Decoder(PageMessage)


def read_message(text: str) -> PageMessage:
    """Raise ValueError with a line of text if invalid."""
    message: PageMessage = _DECODER.decode(text)
    return message
