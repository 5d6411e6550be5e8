"""The kind ``spectrum``: magnitude frames without phases; its [gesture] table."""

from typing import Annotated, ClassVar

from pydantic import Field

from ..settings import Knob, SettingsSection, controls_of
from .card_fields import CardFields
from .kind import Kind


class GestureSettings(SettingsSection):
    """The [gesture] table: playback of a model's recorded gestures, read at note-on.

    Attributes:
        codes, loudness: depth of each, multiplied by ``amount``.
        variety: difference between notes of one key and velocity.
        vibrato: depth, followed while a note sounds, multiplied by ``amount`` and ``codes`` at its note-on.
        instrument: label of the recordings; default: the one with codes nearest to the preset's.
    """

    amount: Annotated[float, Field(ge=0, le=1), Knob("of the recorded way")] = 1.0
    codes: Annotated[float, Field(ge=0, le=1), Knob("of the recorded way")] = 1.0
    loudness: Annotated[float, Field(ge=0, le=1), Knob("of the recorded way")] = 1.0
    rate: Annotated[float, Field(ge=0.1, le=10), Knob("times as fast as recorded")] = 1.0
    intonation: Annotated[float, Field(ge=0, le=1), Knob("of the recorded intonation")] = 0.0
    variety: Annotated[float, Field(ge=0, le=1), Knob("of the difference of recorded takes")] = 1.0
    vibrato: Annotated[float, Field(ge=0, le=2), Knob("of the recorded vibrato")] = 1.0
    instrument: str | None = None


class GestureSections(SettingsSection):
    gesture: GestureSettings | None = None


VIBRATO = "gesture.vibrato"
CONTROLS = controls_of(GestureSettings, "gesture")  # amount, codes, loudness, rate, intonation, variety, vibrato


class SpectrumKind(Kind):
    name = "spectrum"
    moved_property = "spectrum as a whole"
    settings: ClassVar[type[SettingsSection]] = GestureSections
    played: ClassVar[tuple[str, ...]] = ("phase", "noise", "keep_formants", "unison", "detune_cents", "width")
    controls = of_notes = CONTROLS
    of_magnitudes = True
    domain = "magnitude"

    def check(self, card: CardFields) -> None:
        super().check(card)
        if card.domain != self.domain:
            raise ValueError(
                f"domain {card.domain!r} does not go with kind {self.name!r}, whose frames are {self.domain!r}"
            )
