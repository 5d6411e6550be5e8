"""The kind ``spectrum``: frames of magnitudes, whose phases a voice finds."""

from typing import Any, ClassVar

from .kind import Kind, Shape


class Spectrum(Kind):
    """Models that give magnitudes, one frame a hop."""

    name = "spectrum"
    moved = "spectrum as a whole"
    played = ("phase", "noise", "keep_formants", "unison", "detune_cents", "width")
    plain: ClassVar[dict[str, Any]] = {"phase": "noise"}
    of_magnitudes = True

    def check(self, card: Shape) -> None:
        """See `Kind.check`."""
        super().check(card)
        if card.domain != "magnitude":
            raise ValueError(f"domain {card.domain!r} does not go with kind 'spectrum', whose frames are 'magnitude'")
