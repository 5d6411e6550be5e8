"""The words that a page may say, as the JSON objects in which it says them: what is none of them is refused."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

LONGEST_MESSAGE = 64 << 10  # bytes: a drawn path; all other words are a few hundred
MOST_TARGETS = 512  # in one word: a model of 64 latents, and several effects
MOST_POINTS = 512  # of a path: more are not drawn in one stroke
LONGEST_TARGET = 80  # characters
LONGEST_TITLE = 64  # of a preset that is saved: file systems take four times as much

Target = Annotated[str, Meta(min_length=1, max_length=LONGEST_TARGET)]
Targets = Annotated[list[Target], Meta(max_length=MOST_TARGETS)]
Values = Annotated[dict[Target, float], Meta(max_length=MOST_TARGETS)]


def _tag(name: str) -> str:
    """Return the field ``t`` of a message: the name of its class in small letters, without the word message."""
    return name.removesuffix("Message").lower()


class _PageMessage(msgspec.Struct, tag_field="t", tag=_tag, forbid_unknown_fields=True):
    """A word: the object's ``t`` is its name in small letters."""


class HelloMessage(_PageMessage):
    """The first word: who knows the token may play."""

    token: Annotated[str, Meta(max_length=128)]


class GrabMessage(_PageMessage):
    """A hand takes hold of targets."""

    targets: Targets


class MoveMessage(_PageMessage):
    """A hand moves what it holds."""

    values: Values


class DropMessage(_PageMessage):
    """A hand lets go."""

    targets: Targets


class SetMessage(_PageMessage):
    """Values that are typed or clicked."""

    values: Values


class NoteMessage(_PageMessage):
    """A key goes down, or comes up with velocity 0."""

    key: Annotated[int, Meta(ge=0, le=127)]
    velocity: Annotated[int, Meta(ge=0, le=127)]


class SustainMessage(_PageMessage):
    """The sustain pedal."""

    down: bool


class PanicMessage(_PageMessage):
    """All sound ends."""


class UndoMessage(_PageMessage):
    """Undo: the last step is taken back."""


class RedoMessage(_PageMessage):
    """Redo: the step that was undone last is done again."""


class PresetsMessage(_PageMessage):
    """The page asks for the list."""


class SideMessage(_PageMessage):
    """The other side of a comparison is heard."""

    side: Literal["A", "B"]


class LearnMessage(_PageMessage):
    """A target waits for a knob, or none does any more."""

    target: Target | None


class UnlearnMessage(_PageMessage):
    """A target has no knob any more."""

    target: Target


class LoadMessage(_PageMessage):
    """Another preset plays."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]


class SaveMessage(_PageMessage):
    """The preset is kept as it sounds, under a name."""

    name: Annotated[str, Meta(min_length=1, max_length=LONGEST_TITLE)]
    overwrite: bool = False


class PathMessage(_PageMessage):
    """A path among codes that all latents follow, or none any more."""

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
    """An effect comes, goes, moves, or is passed by."""

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
    """Return the word of a frame.

    Raises:
        ValueError: it is none; the message is one line.
    """
    word: PageMessage = _DECODER.decode(text)
    return word
