"""The kind ``grain``: granular textures from short decoded sounds; its [grain] table."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ..settings import Fault, Knob, SettingsSection, Whole, controls_of
from ..units import Range
from .card_fields import CardFields
from .kind import FramePart, Keying, Kind

DENSITY = 100.0  # default grains per second: about four grains of 45 ms overlap
OVERLAP_THROUGH = 4  # overlap in resynthesis: windows sum to a constant at 75 %


class GrainSettings(SettingsSection):
    """The [grain] table.

    Attributes:
        length: None: the model's.
        shape: window, from Tukey with edges of 5 % (0) over Hann (0.5) to Blackman (1).
        level_jitter: ± dB.
        lowpass_hz: None: open.
        keys: ``transpose`` from middle C; ``trigger`` at the grains' own pitch; ``hold`` latches until the next press.
        seed: equal seeds make performances identical to the byte.
    """

    density: Annotated[float, Field(ge=0.1, le=2000), Knob("grains a second")] | None = None
    overlap: Annotated[float, Field(ge=0, le=0.99), Knob("of a grain's length")] | None = None
    length: Annotated[float, Field(ge=0.002, le=2), Knob("s")] | None = None
    shape: Annotated[float, Field(ge=0, le=1), Knob("Tukey, Hann, Blackman")] = 1.0
    jitter: Annotated[float, Field(ge=0, le=1), Knob("of the time between grains")] = 1.0
    pitch: Annotated[float, Field(ge=-48, le=48), Knob("semitones")] = 0.0
    spread: Annotated[float, Field(ge=0, le=1), Knob("of left to right")] = 0.0
    level_jitter: Annotated[float, Field(ge=0, le=24), Knob("dB")] = 0.0
    code_jitter: Annotated[float, Field(ge=0, le=2), Knob("deviations")] = 0.0
    lowpass_hz: Annotated[float, Field(ge=20), Knob("Hz, half the model's rate at most", highest=192_000.0)] | None = (
        None
    )
    keys: Literal["transpose", "trigger", "hold"] = "transpose"
    seed: Annotated[Whole, Field(ge=0, lt=1 << 63)] = 0

    @model_validator(mode="after")
    def _one_pace(self) -> "GrainSettings":
        if self.density is not None and self.overlap is not None:
            raise ValueError("density and overlap, which both say how often grains begin; give one of them")
        return self

    def values(self, card: CardFields) -> dict[str, float]:
        pace_by_name = {"density": DENSITY if self.density is None else self.density}
        if self.overlap is not None:
            pace_by_name = {"overlap": self.overlap}
        length_control = CONTROLS["grain.length"]
        values_by_name = pace_by_name | {
            "length": min(max(card.frame_length / card.sample_rate, length_control.low), length_control.high)
            if self.length is None
            else self.length,
            "shape": self.shape,
            "jitter": self.jitter,
            "pitch": self.pitch,
            "spread": self.spread,
            "level_jitter": self.level_jitter,
            "code_jitter": self.code_jitter,
            "lowpass_hz": card.sample_rate / 2 if self.lowpass_hz is None else self.lowpass_hz,
        }
        return {f"grain.{name}": value for name, value in values_by_name.items()}


class GrainSections(SettingsSection):
    grain: GrainSettings | None = None


CONTROLS = controls_of(GrainSettings, "grain")
LOWPASS = "grain.lowpass_hz"


class GrainKind(Kind):
    name = "grain"
    moved_property = "grains in pitch"
    settings = GrainSections
    played = ("image", "image_bands")
    controls = CONTROLS
    replacement_hint = " ([grain] has what grains can do)"
    domains = ("samples", "magnitude", "magnitude_phase")
    enveloped = ("magnitude",)
    repeats = False

    def check(self, card: CardFields) -> None:
        super().check(card)
        if card.frame_length % 2:
            raise ValueError(f"frame_length {card.frame_length} of a grain must be even")
        if card.chroma is not None:
            raise ValueError("chroma must be null with kind 'grain', whose keys move the pitch")

    def targets(self, section: GrainSettings | None, card: CardFields) -> dict[str, Range]:
        control_ranges = super().targets(section, card) | {LOWPASS: (CONTROLS[LOWPASS].low, card.sample_rate / 2)}
        return {target: control_ranges[target] for target in (section or GrainSettings()).values(card)}

    def faults(self, section: GrainSettings | None, play: Any, tuning: Any, card: CardFields) -> Iterator[Fault]:
        grain_settings = section or GrainSettings()
        if grain_settings.keys == "hold" and play.mode != "poly":
            yield Fault(
                ("grain", "keys"),
                f"grain.keys 'hold' is for play.mode 'poly', where each key is a voice, not {play.mode!r}; "
                "change one of them",
            )
        half_rate_hz = card.sample_rate / 2
        if grain_settings.lowpass_hz is not None and grain_settings.lowpass_hz > half_rate_hz:
            yield Fault(
                ("grain", "lowpass_hz"),
                f"grain.lowpass_hz {grain_settings.lowpass_hz:g} is above {half_rate_hz:g}, half the rate of model "
                f"{card.name!r}; give less, or leave it out: open",
            )

    def keying(self, section: GrainSettings | None, play: Any) -> Keying:
        return Keying(holds=section is not None and section.keys == "hold")

    def frames(self, card: CardFields) -> list[tuple[str, str]]:
        ms_per_sample, bin_count = 1000 / card.sample_rate, card.frame_length // 2 + 1
        frame_text = {
            "samples": "as samples",
            "magnitude_phase": f"of {bin_count} magnitudes and phases",
            "magnitude": f"of noise, anew each time, through {bin_count} magnitudes",
        }[str(card.domain)]
        if card.envelope_points:
            frame_text += f", under an envelope of {card.envelope_points} points"
        return [
            ("kind", f"grain, {card.sample_rate} Hz"),
            ("grain", f"{card.frame_length} samples ({card.frame_length * ms_per_sample:.0f} ms) {frame_text}"),
        ]

    def frame_parts(self, card: CardFields) -> list[FramePart]:
        bin_count = card.frame_length // 2 + 1
        magnitudes = FramePart(
            "magnitudes",
            (bin_count,),
            "|X[n]| of the transform of a grain without a window; bin n: n sample_rate / N Hz",
        )
        parts = {
            "samples": [FramePart("samples", (card.frame_length,), "sound of a grain without a window, linear")],
            "magnitude": [magnitudes],
            "magnitude_phase": [magnitudes, FramePart("phases", (bin_count,), "arg X[n], radians")],
        }[str(card.domain)]
        if card.envelope_points:
            envelope = "factors of the grain, linear from its first sample to its last"
            parts.append(FramePart("envelope", (card.envelope_points,), envelope))
        return parts

    def formulas(self, card: CardFields) -> list[str]:
        grain_steps = {
            "samples": "grain = samples, read ratio times as fast",
            "magnitude": "X[n] = |X[n / ratio]| z[n], linear between bins, z complex normal with E|z|^2 = 1, new for "
            "each grain; grain = irfft(X) envelope",
            "magnitude_phase": "grain = irfft(magnitude e^(i phase)), read ratio times as fast",
        }
        return [
            f"N = frame_length = {card.frame_length}; ratio = 2^((key - 60) / 12)",
            grain_steps[str(card.domain)],
            "w[n] = 0.42 - 0.5 cos u + 0.08 cos 2u, u = 2 pi (n + 1/2) / N",
            f"D = {DENSITY:g} grains a second; grain j starts at (j + r) / D seconds, r uniform from 0 to 1",
            "sound = sum of grains, each times w sqrt(2 / max(1, D sum(w^2) / sample_rate)) on the middle of two sides",
        ]

    def hop_through(self, card: CardFields) -> int:
        return card.frame_length // OVERLAP_THROUGH

    def window_through(self, card: CardFields) -> str:
        return "hann"
