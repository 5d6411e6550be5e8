"""The kinds ``spectrum`` and ``partials``, which share an engine, and their [gesture] table.

Frames of ``spectrum`` are magnitudes without phases; those of ``partials`` are harmonics and noise bands at a note's
pitch.
"""

import math
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ..settings import Knob, SettingsSection, controls_of
from .card_fields import CardFields
from .kind import IMAGE, FramePart, Kind


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

    def frame_parts(self, card: CardFields) -> list[FramePart]:
        meaning = (
            "magnitudes |X[n]| of the transform of frame_length samples under the card's window, linear, without "
            "phases; bin n lies at n sample_rate / frame_length Hz; the largest of a training frame is 1"
        )
        return [FramePart("magnitudes", (card.frame_length // 2 + 1,), meaning)]

    def formulas(self, card: CardFields) -> list[str]:
        key_steps = (
            "key k: octave = floor(k / 12) - 1, ratio = 2^(octave - chroma.octave), chroma = one-hot of k mod 12"
            if card.chroma is not None
            else "key k: ratio = 2^((k - 60) / 12)"
        )
        return [
            f"N = frame_length = {card.frame_length}, H = hop_length = {card.hop_length}, w = window, periodic",
            key_steps,
            "C[n] = frame[0] + ... + frame[n - 1], linear between",
            "m[n] = C((n + 1/2) / ratio + 1/2) - C((n - 1/2) / ratio + 1/2), scaled to the energy of the bins of frame "
            "that stay in range",
            "m[n] = 0 below 20 Hz",
            "noise[i] = splitmix64((2020 + i) mod 2^64) / 2^63 - 1, repeated after 64 H samples",
            "phase of frame j: arg rfft(hann noise[j H : j H + N]); a host's first note begins with j = 29, at sample "
            "floor(H / 9) - N",
            "x = irfft(m e^(i phase)) w H / sum(w^2); frames start each H samples and add up",
        ]

    def plain_tables(self, card: CardFields) -> dict[str, dict[str, Any]]:
        return {"play": {"phase": "noise"}, "gesture": {"amount": 0.0}}

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

    def frame_parts(self, card: CardFields) -> list[FramePart]:
        layout = card.partials
        assert layout is not None
        heights = (
            "heights of partials 1, 2, ... of the note in a spectrum of frame_length samples under a Hann window, "
            "linear; their squares sum to 1 in training frames"
        )
        noise = (
            "noise: root mean square of |X[n]| of the same spectrum in the bins from edges_hz[b] to edges_hz[b + 1], "
            "partials left out"
        )
        return [FramePart("heights", (layout.harmonics,), heights), FramePart("noise", (layout.bands,), noise)]

    def formulas(self, card: CardFields) -> list[str]:
        loop_samples = max(65536, 64 << round(math.log2(0.0232 * card.sample_rate)))
        return [
            f"N = frame_length = {card.frame_length}, M = 2^round(log2(0.0232 sample_rate)), pitch = key",
            "f_k = k sqrt((1 + B k^2) / (1 + B)) 440 2^((key - 69) / 12) Hz",
            "B = exp(stretch[0] + stretch[1] key), 0 without stretch",
            "g = 4 / N 10^(-1.4 / 20)",
            "tone[t] = sum over k of g height_k fade_k cos(2 pi (p_k + f_k t / sample_rate))",
            "heights below 1e-4 of the largest are left out",
            "fade_k = clip((sample_rate / 2 - f_k) M / (8 sample_rate), 0, 1)",
            "noise[i] = splitmix64((2020 + i) mod 2^64) / 2^63 - 1",
            "p_k = 0.618034 f_k / f_1 + noise[k - 1] + f_k (11 M / 16) / sample_rate for a host's first note; others "
            "sound as well",
            "P(f) = noise_b^2, linear over log f between the middles of bands, geometric means of edges; the lowest "
            "band is constant to its upper edge; 0 below 20 Hz and below edges_hz[0]",
            "hiss = white noise of variance 1 through the filter g sqrt(N / 6 P(f))",
            f"a host's white noise is sqrt(3) noise[i mod {loop_samples}], from i = 131 M / 16 on",
            "a host's filter is the root of P's mean over each of M / 2 + 1 bins, smoothed twice by 1/4, 1/2, 1/4; it "
            "starts above edges_hz[1], at bin 2 or later, and P(f) itself crossfades into it from below",
            "sound = tone + hiss",
        ]

    def plain_tables(self, card: CardFields) -> dict[str, dict[str, Any]]:
        image = {"play": {IMAGE: 0.0}} if card.image else {}
        return image | {"gesture": {"amount": 0.0}}
