"""The kinds ``spectrum`` and ``partials``, which share an engine, and their [gesture] table.

Frames of ``spectrum`` are magnitudes without phases; those of ``partials`` are harmonics and noise bands at a note's
pitch.
"""

from typing import Annotated, Any, ClassVar

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
    played: ClassVar[tuple[str, ...]] = (
        "phase",
        "noise",
        "keep_formants",
        "unison",
        "detune_cents",
        "width",
        "image",
        "image_bands",
    )
    controls = of_notes = CONTROLS
    of_magnitudes = True
    domains: ClassVar[tuple[str, ...]] = ("magnitude",)

    def no_image(self, play: Any, card: CardFields) -> str:
        if reason := super().no_image(play, card):
            return reason
        return "" if play.phase == "coherent" else f"play.phase {play.phase!r} plays no stereo image; set 'coherent'"


class PartialsKind(SpectrumKind):
    name = "partials"
    engines = ".spectrum"
    moved_property = "pitch"
    played = ("noise", "keep_formants", "unison", "detune_cents", "width", "image", "image_bands")
    replacement_hint = " (its partials have phases of their own)"
    of_magnitudes = False
    domains = ("partials",)

    def check(self, card: CardFields) -> None:
        super().check(card)
        if card.partials is None:
            raise ValueError("kind 'partials' needs the layout of its frames; give partials")
        if card.chroma is not None:
            raise ValueError("chroma does not go with kind 'partials', which takes a pitch; leave it out")

    def frames(self, card: CardFields) -> list[tuple[str, str]]:
        [_, frame_entry, hop_entry], layout = super().frames(card), card.partials
        assert layout is not None
        kind_text = f"partials: {layout.harmonics} harmonics and {layout.bands} bands of noise, {card.sample_rate} Hz"
        return [("kind", kind_text), frame_entry, hop_entry]
