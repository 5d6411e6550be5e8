"""The kind ``partials``: harmonics and noise bands at a note's pitch, without phases."""

from .card_fields import CardFields
from .spectrum import SpectrumKind


class PartialsKind(SpectrumKind):
    name = "partials"
    engines = ".spectrum"
    moved_property = "pitch"
    played = ("noise", "keep_formants", "unison", "detune_cents", "width")
    replacement_hint = " (its partials have phases of their own)"
    of_magnitudes = False
    domain = "partials"

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
