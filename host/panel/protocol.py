"""The words that a page may say, as the JSON objects in which it says them: what is none of them is refused."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

LONGEST_WORD = 64 << 10  # bytes: a drawn path; all other words are a few hundred
MOST_TARGETS = 512  # in one word: a model of 64 latents, and several effects
MOST_POINTS = 512  # of a path: more are not drawn in one stroke
LONGEST_TARGET = 80  # characters
LONGEST_TITLE = 64  # of a preset that is saved: file systems take four times as much

Target = Annotated[str, Meta(min_length=1, max_length=LONGEST_TARGET)]
Targets = Annotated[list[Target], Meta(max_length=MOST_TARGETS)]
Values = Annotated[dict[Target, float], Meta(max_length=MOST_TARGETS)]


class _Word(msgspec.Struct, tag_field="t", tag=str.lower, forbid_unknown_fields=True):
    """A word: the object's ``t`` is its name in small letters."""


class Hello(_Word):
    """The first word: who knows the token may play."""

    token: Annotated[str, Meta(max_length=128)]


class Grab(_Word):
    """A hand takes hold of targets."""

    targets: Targets


class Move(_Word):
    """A hand moves what it holds."""

    values: Values


class Drop(_Word):
    """A hand lets go."""

    targets: Targets


class Set(_Word):
    """Values that are typed or clicked."""

    values: Values


class Note(_Word):
    """A key goes down, or comes up with velocity 0."""

    key: Annotated[int, Meta(ge=0, le=127)]
    velocity: Annotated[int, Meta(ge=0, le=127)]


class Sustain(_Word):
    """The sustain pedal."""

    down: bool


class Panic(_Word):
    """All sound ends."""


class Undo(_Word):
    """Undo: the last step is taken back."""


class Redo(_Word):
    """Redo: the step that was undone last is done again."""


class Presets(_Word):
    """The page asks for the list."""


class Side(_Word):
    """The other side of a comparison is heard."""

    side: Literal["A", "B"]


class Learn(_Word):
    """A target waits for a knob, or none does any more."""

    target: Target | None


class Unlearn(_Word):
    """A target has no knob any more."""

    target: Target


class Load(_Word):
    """Another preset plays."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]


class Save(_Word):
    """The preset is kept as it sounds, under a name."""

    name: Annotated[str, Meta(min_length=1, max_length=LONGEST_TITLE)]
    overwrite: bool = False


class Path(_Word):
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


class Effect(_Word):
    """An effect comes, goes, moves, or is passed by."""

    do: Literal["add", "remove", "move", "bypass"]
    index: Annotated[int, Meta(ge=0, le=255)] = 0
    to: Annotated[int, Meta(ge=0, le=255)] = 0
    plugin: Annotated[str, Meta(max_length=64)] = ""
    on: bool = True


Word = (
    Hello
    | Grab
    | Move
    | Drop
    | Set
    | Note
    | Sustain
    | Panic
    | Undo
    | Redo
    | Presets
    | Side
    | Learn
    | Unlearn
    | Load
    | Save
    | Path
    | Effect
)
_WORDS = msgspec.json.Decoder(Word)


def read_word(text: str) -> Word:
    """Return the word of a frame.

    Raises:
        ValueError: it is none; the message is one line.
    """
    word: Word = _WORDS.decode(text)
    return word
