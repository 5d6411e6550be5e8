"""The kind ``spectrum``: frames of magnitudes, whose phases a voice finds; and the [gesture] table of its presets."""

from typing import Annotated, ClassVar

from pydantic import Field

from ...settings import Knob, SettingsSection, controls_of
from ...units import Range
from ..kind import Kind, KindCard


class GestureSettings(SettingsSection):
    """The [gesture] table: how far notes go along the ways of the recordings, of a model whose file has gestures.

    ``amount`` is that of both ways, codes and loudness; ``codes`` and ``loudness`` are parts of it for each. ``rate``
    is how many times as fast as recorded. ``intonation`` is how far notes are off their keys: 0 in tune, 1 as recorded.
    A note reads them when it begins.

    ``instrument`` is the label of those recordings whose ways notes go, where there are several instruments; the one
    whose codes lie nearest to the preset's by default.
    """

    amount: Annotated[float, Field(ge=0, le=1), Knob("of the recorded way")] = 1.0
    codes: Annotated[float, Field(ge=0, le=1), Knob("of the recorded way")] = 1.0
    loudness: Annotated[float, Field(ge=0, le=1), Knob("of the recorded way")] = 1.0
    rate: Annotated[float, Field(ge=0.1, le=10), Knob("times as fast as recorded")] = 1.0
    intonation: Annotated[float, Field(ge=0, le=1), Knob("of the recorded intonation")] = 0.0
    instrument: str | None = None


CONTROLS = controls_of(GestureSettings, "gesture")  # amount, codes, loudness, rate, intonation


class SpectrumKind(Kind):
    """Models that give magnitudes, one frame a hop."""

    name = "spectrum"
    moved = "spectrum as a whole"
    sections = ("gesture",)
    played: ClassVar[tuple[str, ...]] = ("phase", "noise", "keep_formants", "unison", "detune_cents", "width")
    controls = of_notes = CONTROLS
    of_magnitudes = True
    domain = "magnitude"

    def check(self, card: KindCard) -> None:
        """See `Kind.check`."""
        super().check(card)
        if card.domain != self.domain:
            raise ValueError(
                f"domain {card.domain!r} does not go with kind {self.name!r}, whose frames are {self.domain!r}"
            )

    def targets(self, own: GestureSettings | None, card: KindCard) -> dict[str, Range]:
        """See `Kind.targets`."""
        return {name: (control.low, control.high) for name, control in self.controls.items()}
