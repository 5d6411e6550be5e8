"""The words that a page may say, as the JSON objects in which it says them: what is none of them is refused."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

LONGEST_WORD = 64 << 10  # bytes: a drawn path; all other words are a few hundred
MOST_TARGETS = 512  # in one word: a model of 64 latents, and several effects
MOST_POINTS = 512  # of a path: more are not drawn in one stroke
LONGEST_TARGET = 80  # characters
LONGEST_TITLE = 64  # of a preset that is saved: file systems take four times as much

Target = Annotated[str, Field(min_length=1, max_length=LONGEST_TARGET)]
Targets = Annotated[list[Target], Field(max_length=MOST_TARGETS)]
Values = Annotated[dict[Target, float], Field(max_length=MOST_TARGETS)]


class _Word(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class Hello(_Word):
    """The first word: who knows the token may play."""

    t: Literal["hello"]
    token: Annotated[str, Field(max_length=128)]


class Grab(_Word):
    """A hand takes hold of targets."""

    t: Literal["grab"]
    targets: Targets


class Move(_Word):
    """A hand moves what it holds."""

    t: Literal["move"]
    values: Values


class Drop(_Word):
    """A hand lets go."""

    t: Literal["drop"]
    targets: Targets


class Set(_Word):
    """Values that are typed or clicked."""

    t: Literal["set"]
    values: Values


class Note(_Word):
    """A key goes down, or comes up with velocity 0."""

    t: Literal["note"]
    key: Annotated[int, Field(ge=0, le=127)]
    velocity: Annotated[int, Field(ge=0, le=127)]


class Sustain(_Word):
    """The sustain pedal."""

    t: Literal["sustain"]
    down: bool


class Panic(_Word):
    """All sound ends."""

    t: Literal["panic"]


class Undo(_Word):
    """Undo: the last step is taken back."""

    t: Literal["undo"]


class Redo(_Word):
    """Redo: the step that was undone last is done again."""

    t: Literal["redo"]


class Presets(_Word):
    """The page asks for the list."""

    t: Literal["presets"]


class Side(_Word):
    """The other side of a comparison is heard."""

    t: Literal["side"]
    side: Literal["A", "B"]


class Learn(_Word):
    """A target waits for a knob, or none does any more."""

    t: Literal["learn"]
    target: Target | None


class Unlearn(_Word):
    """A target has no knob any more."""

    t: Literal["unlearn"]
    target: Target


class Load(_Word):
    """Another preset plays."""

    t: Literal["load"]
    name: Annotated[str, Field(min_length=1, max_length=255)]


class Save(_Word):
    """The preset is kept as it sounds, under a name."""

    t: Literal["save"]
    name: Annotated[str, Field(min_length=1, max_length=LONGEST_TITLE)]
    overwrite: bool = False


class Path(_Word):
    """A path among codes that all latents follow, or none any more."""

    t: Literal["path"]
    points: (
        Annotated[list[Annotated[list[float], Field(max_length=256)]], Field(min_length=2, max_length=MOST_POINTS)]
        | None
    )
    seconds: Annotated[float, Field(gt=0, le=3600)] | None = None
    beats: Annotated[float, Field(ge=0.125, le=4096)] | None = None
    loop: bool = True

    @model_validator(mode="after")
    def _lasts(self) -> "Path":
        if self.points is not None and (self.seconds is None) == (self.beats is None):
            raise ValueError("give one of seconds and beats")
        return self


class Effect(_Word):
    """An effect comes, goes, moves, or is passed by."""

    t: Literal["effect"]
    do: Literal["add", "remove", "move", "bypass"]
    index: Annotated[int, Field(ge=0, le=255)] = 0
    to: Annotated[int, Field(ge=0, le=255)] = 0
    plugin: Annotated[str, Field(max_length=64)] = ""
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
_WORDS: TypeAdapter[Word] = TypeAdapter(Annotated[Word, Field(discriminator="t")])


def read_word(text: str) -> Word:
    """Return the word of a frame.

    Raises:
        ValueError: it is none; the message is one line.
    """
    try:
        return _WORDS.validate_json(text, strict=True)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in detail["loc"])
        raise ValueError(f"{where}: {detail['msg']}" if where else str(detail["msg"])) from None
