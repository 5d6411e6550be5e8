"""Panel protocol: JSON messages from a page; unknown or invalid messages raise an error."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

LONGEST_MESSAGE = 64 << 10  # bytes: a drawn path; other messages take a few hundred
MOST_TARGETS = 512  # in one message: a model of 64 latents, and several effects
MOST_POINTS = 512  # of a path: one stroke draws no more
LONGEST_TARGET = 80  # characters
LONGEST_TITLE = 64  # of a saved preset: file systems allow four times as many

Target = Annotated[str, Meta(min_length=1, max_length=LONGEST_TARGET)]
Targets = Annotated[list[Target], Meta(max_length=MOST_TARGETS)]
Values = Annotated[dict[Target, float], Meta(max_length=MOST_TARGETS)]


def _tag(name: str) -> str:
    return name.removesuffix("Message").lower()


class _PageMessage(msgspec.Struct, tag_field="t", tag=_tag, forbid_unknown_fields=True):
    """A page message."""


class HelloMessage(_PageMessage):
    """Login: the first message, with the token."""

    token: Annotated[str, Meta(max_length=128)]


class GrabMessage(_PageMessage):
    """The user touches parameters."""

    targets: Targets


class MoveMessage(_PageMessage):
    """The user moves held parameters."""

    values: Values


class DropMessage(_PageMessage):
    """The user releases parameters."""

    targets: Targets


class SetMessage(_PageMessage):
    """Parameter values, typed or clicked."""

    values: Values


class NoteMessage(_PageMessage):
    """Note on; note off with velocity 0."""

    key: Annotated[int, Meta(ge=0, le=127)]
    velocity: Annotated[int, Meta(ge=0, le=127)]


class SustainMessage(_PageMessage):
    """The sustain pedal."""

    down: bool


class PanicMessage(_PageMessage):
    """Stop all sound."""


class UndoMessage(_PageMessage):
    """Undo the last step."""


class RedoMessage(_PageMessage):
    """Redo the last undone step."""


class PresetsMessage(_PageMessage):
    """Request the preset list."""


class SideMessage(_PageMessage):
    """Switch to side A or B."""

    side: Literal["A", "B"]


class LearnMessage(_PageMessage):
    """Start MIDI learn for a target, or cancel it (None)."""

    target: Target | None


class UnlearnMessage(_PageMessage):
    """Remove a target's controllers."""

    target: Target


class LoadMessage(_PageMessage):
    """Load another preset."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]


class SaveMessage(_PageMessage):
    """Save the preset with its current values."""

    name: Annotated[str, Meta(min_length=1, max_length=LONGEST_TITLE)]
    overwrite: bool = False


class PathMessage(_PageMessage):
    """Set a path of codes for all latents, or remove it (None)."""

    points: (
        Annotated[list[Annotated[list[float], Meta(max_length=256)]], Meta(min_length=2, max_length=MOST_POINTS)] | None
    )
    seconds: Annotated[float, Meta(gt=0, le=3600)] | None = None
    beats: Annotated[float, Meta(ge=0.125, le=4096)] | None = None
    loop: bool = True

    def __post_init__(self) -> None:
        if self.points is not None and (self.seconds is None) == (self.beats is None):
            raise ValueError("give one of seconds and beats")


class EffectMessage(_PageMessage):
    """Add, remove, move or bypass an effect."""

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
    | NoteMessage
    | SustainMessage
    | PanicMessage
    | UndoMessage
    | RedoMessage
    | PresetsMessage
    | SideMessage
    | LearnMessage
    | UnlearnMessage
    | LoadMessage
    | SaveMessage
    | PathMessage
    | EffectMessage
)
_DECODER = msgspec.json.Decoder(PageMessage)


def read_message(text: str) -> PageMessage:
    """Parse a message.

    Raises:
        ValueError: invalid; the error text is one line.
    """
    word: PageMessage = _DECODER.decode(text)
    return word
