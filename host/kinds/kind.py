"""The questions that any kind of model answers, so that none is compared by name."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

from ..settings import Control, Fault
from ..units import Range


class KindCard(Protocol):
    """The part of a model's card that a kind looks at."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def domain(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def frame_length(self) -> int: ...
    @property
    def hop_length(self) -> int: ...
    @property
    def window(self) -> str: ...
    @property
    def envelope_points(self) -> int: ...
    @property
    def transform_length(self) -> int | None: ...
    @property
    def labels(self) -> Sequence[str]: ...
    @property
    def chroma(self) -> object | None: ...
    @property
    def partials(self) -> object | None: ...
    @property
    def state(self) -> Sequence[object]: ...
    @property
    def scaling(self) -> object | None: ...
    @property
    def latents(self) -> Sequence[Any]: ...
    @property
    def landmarks(self) -> Sequence[Any]: ...


class Keying(NamedTuple):
    """The way in which keys play voices.

    A note that ``holds`` sounds on until its key is pressed again; one that ``strikes`` sounds to its own end, however
    long its key is down. ``chokes`` has the group of each key that cuts what sounds of its group, ``gains_db`` the gain
    of each key that has one of its own.
    """

    holds: bool = False
    strikes: bool = False
    chokes: Mapping[int, str] = MappingProxyType({})
    gains_db: Mapping[int, float] = MappingProxyType({})


class Kind:
    """A kind of model: one object for each, in a file of its own. Attributes that it does not set are as here."""

    name: ClassVar[str] = ""  # in cards
    moved: ClassVar[str] = "sound"  # what keys move where a model has no chroma
    sections: ClassVar[tuple[str, ...]] = ()  # the tables of a preset that are for this kind alone
    played: ClassVar[tuple[str, ...]] = ()  # keys of [play] that are for this kind alone
    controls: ClassVar[Mapping[str, Control]] = {}  # what knobs can turn in its section, by target
    sound_key: ClassVar[tuple[str, str] | None] = None  # the table and the key of a preset that name its `sound`
    of_notes: ClassVar[Mapping[str, Control]] = {}  # of these, what a note reads when it begins and [[note]] can move
    decodes_notes: ClassVar[bool] = True  # a note's first sound is decoded at its note-on, by a code of its own
    instead: ClassVar[str] = ""  # words for messages: what it has in place of other kinds' keys of [play]
    of_magnitudes: ClassVar[bool] = False  # its frames are magnitudes, whose error means something
    carries_state: ClassVar[bool] = False  # its decoder is stepped, and takes a state from one step to the next
    enveloped: ClassVar[tuple[str, ...]] = ()  # domains whose frames may end with an envelope
    most_envelope_points: ClassVar[int] = 256  # more than are heard in a frame of a tenth of a second
    of_clips: ClassVar[bool] = False  # its frames are whole clips, of many spectra or by a label where the card says so
    attack_seconds: ClassVar[float | None] = None  # of notes where a preset says none, and the shortest; None: as usual
    takes_no_sound: ClassVar[str] = ""  # why no sound can be sent through; empty: it can
    finds_no_code: ClassVar[str] = ""  # why the code of a sound is not looked for; empty: it is

    def check(self, card: KindCard) -> None:
        """Refuse a card that contradicts its kind.

        Raises:
            ValueError: it does.
        """
        if not self.carries_state and (card.state or card.scaling):
            raise ValueError(f"state and scaling do not go with kind {card.kind!r}, whose frames stand alone")
        if not self.of_clips and (card.transform_length or card.labels):
            raise ValueError(f"transform_length and labels do not go with kind {card.kind!r}; leave them out")
        if card.partials is not None and card.kind != "partials":
            raise ValueError(f"partials do not go with kind {card.kind!r}; leave them out")
        if card.envelope_points > self.most_envelope_points:
            raise ValueError(f"envelope_points {card.envelope_points} must not exceed {self.most_envelope_points}")
        if card.envelope_points and card.domain not in self.enveloped:
            raise ValueError(
                f"envelope_points do not go with kind {card.kind!r} and domain {card.domain!r}; leave them out"
            )

    def targets(self, own: Any, card: KindCard) -> dict[str, Range]:
        """Return the targets that a preset has for this kind alone, each with its range.

        ``own`` is what `own` gives of the preset, here and below.
        """
        return {}

    def choices(self, card: KindCard) -> Mapping[str, Sequence[str]]:
        """Return the targets that choose one of several things by its number, from 0 on, with the names of these."""
        return {}

    def faults(self, own: Any, play: Any, tuning: Any, card: KindCard) -> Iterator[Fault]:
        """Give the faults of a preset's settings for this kind: contradictions among them or with the model.

        ``play`` is the preset's [play], ``tuning`` its [tuning].
        """
        yield from ()

    def own(self, sections: Any) -> Any:
        """Return the part of a preset that is for this kind alone: its table, None where that is left out."""
        return getattr(sections, self.sections[0]) if self.sections else None

    def sound(self, own: Any) -> str | None:
        """Return the name of a sound file that a preset's notes go on from; None where they begin by themselves."""
        return None

    def sound_samples(self, card: KindCard) -> int:
        """Return how much of the end of such a sound its notes can know, in samples."""
        return 0

    def ahead_seconds(self, own: Any, card: KindCard, tempo_bpm: float) -> float | None:
        """Return how far ahead of its sound a frame is made: a knob is heard after that, and at most twice that.

        None where knobs act at once.
        """
        return None

    def keying(self, own: Any, play: Any) -> Keying:
        """Return how keys play voices; ``play`` is the preset's [play]."""
        return Keying()

    def pitches(self, own: Any, tuned: Mapping[int, float]) -> Mapping[int, float]:
        """Return the pitch of each key that sounds, 69.0 for 440 Hz; ``tuned`` has those of a preset's tuning."""
        return tuned

    def label(self, own: Any) -> str | None:
        """Return the label that a preset gives the model, of what `own` returned; None if it gives none."""
        return None

    def tables(self, label: str | None, held: bool) -> Mapping[str, Any]:
        """Return the tables of a preset that is told a label, and whose notes sound as long as they are ``held``."""
        return {}

    def frames(self, card: KindCard) -> list[tuple[str, str]]:
        """Return a description of a model's frames for people: pairs of a label and a text."""
        milliseconds = 1000 / card.sample_rate
        return [
            ("kind", f"{card.kind} of {card.domain} frames, {card.sample_rate} Hz"),
            ("frame", f"{card.frame_length} samples ({card.frame_length * milliseconds:.0f} ms), {card.window} window"),
            ("hop", f"{card.hop_length} samples ({card.hop_length * milliseconds:.1f} ms)"),
        ]

    def hop_through(self, card: KindCard) -> int:
        """Return the hop between frames of a sound that is sent through a model, in samples."""
        return card.hop_length

    def window_through(self, card: KindCard) -> str:
        """Return the name of the window of frames of such a sound."""
        return card.window
