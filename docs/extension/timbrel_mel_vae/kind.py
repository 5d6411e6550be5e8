"""The kind of model whose frames are levels of mel bands, and its preset table [mel]; imports no torch."""

from typing import Annotated

import numpy as np
from pydantic import Field
from timbrel.host.arrays import Array
from timbrel.host.kinds.card_fields import CardFields, DeclaredDomain
from timbrel.host.kinds.kind import Kind
from timbrel.host.settings import Knob, SettingsSection, controls_of
from timbrel.host.spectra import mel_edges_hz

DOMAIN = "log_mel"
MEANING = "dB of each mel band's power, a sine of amplitude 1 at 0 dB; bands from low to high, Slaney's scale"
BINS = 513  # of spectra for maps and names of knobs


class MelSettings(SettingsSection):
    tilt_db: Annotated[float, Field(ge=-24, le=24), Knob("dB an octave")] = 0.0


class MelSections(SettingsSection):
    mel: MelSettings | None = None


class MelKind(Kind):
    name, engines = "mel", "timbrel_mel_vae"
    moved_property = "sound in pitch"
    settings = MelSections
    controls = controls_of(MelSettings, "mel")

    def check(self, card: CardFields) -> None:
        super().check(card)
        if not isinstance(card.domain, DeclaredDomain) or card.domain.name != DOMAIN:
            raise ValueError(f"domain {str(card.domain)!r} does not go with kind 'mel', whose frames are {DOMAIN!r}")

    def power_spectra(self, card: CardFields, frames: Array) -> Array:
        hertz = np.linspace(0, card.sample_rate / 2, BINS)
        centres_hz = mel_edges_hz(card.sample_rate, card.frame_width)[1:-1]
        return np.array([10 ** (np.interp(hertz, centres_hz, frame) / 10) for frame in frames]).reshape(-1, BINS)
