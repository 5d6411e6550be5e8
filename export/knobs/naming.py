"""Names a model file's knobs by their effect at its landmarks."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ...host.arrays import Array
from ...host.contract.card import Card, Latent
from ...host.contract.model import Model
from ...host.maps.code_timbre import timbre_of
from ...train.sampling import evenly_spaced
from .descriptors import DESCRIPTORS, Descriptor, Timbre
from .ordering import FAINT, SURE, names
from .sensitivity import KnobEffect, turned

SOUND = (
    Descriptor("brightness", "octaves around the mean"),  # of the spectral centroid
    Descriptor("length", "ms to the middle of its energy"),
)
LESS = "less "  # prefix of a knob that lowers its descriptor
WITH_STATE = "what it moves is not measured, since frames depend on those before them"
WITHOUT_CODES = "what it moves is not measured, since the card has no codes"
MARKS = 64  # landmarks to test knobs at: shares to a hundredth, and the 64 knobs of a kit in some ten seconds


class DecodedModel:
    """As `Ground`, for a model file at its landmarks."""

    def __init__(self, model: Model) -> None:
        card = model.card
        few = evenly_spaced(len(card.landmarks), MARKS)
        marks = [card.landmarks[place] for place in few]
        self._model = model
        self.low = torch.tensor([latent.low for latent in card.latents])
        self.high = torch.tensor([latent.high for latent in card.latents])
        codes = torch.tensor([mark.latent for mark in marks])
        self.codes = torch.minimum(torch.maximum(codes, self.low), self.high)
        conditions = np.arange(len(marks)) % max(1, card.conditions)  # cycle through pitch classes or labels
        if card.partials is not None:
            conditions = np.linspace(card.partials.low, card.partials.high, len(marks)).round().astype(np.intp)
        for place, mark in enumerate(marks):
            if mark.label in card.labels:
                conditions[place] = card.labels.index(mark.label)
        self._conditions = conditions
        chroma = card.chroma
        self._timbre = (
            Timbre(card.sample_rate, card.frame_length, chroma.octave) if chroma is not None and chroma.folded else None
        )
        self._mean = float(timbre_of(card, model.decode(self.codes.numpy(), conditions), conditions).brightness.mean())

    @property
    def descriptors(self) -> Sequence[Descriptor]:
        if self._timbre is not None:
            return DESCRIPTORS
        return SOUND if _has_length(self._model.card) else SOUND[:1]

    def measure(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return descriptors, [codes, descriptors], and band levels in dB, [codes, bands]."""
        card = self._model.card
        frames = self._model.decode(codes.numpy(), self._conditions)
        levels, octaves, _ = timbre_of(card, frames, self._conditions)
        if self._timbre is not None:
            found = self._timbre(torch.from_numpy(frames), torch.from_numpy(self._conditions))
        else:
            lengths = [_middle_ms(card, frames)] if _has_length(card) else []
            found = torch.from_numpy(np.stack([octaves - self._mean, *lengths], 1))
        return found, torch.from_numpy(levels)


def explained(model: Model) -> list[Latent]:
    """Return a card's latents, each with a name or the reason for having none.

    Knobs that lower their descriptor get a prefix, as a file's cannot be inverted.
    """
    latents = model.card.latents
    nameless = [number for number, latent in enumerate(latents) if latent.name == f"latent {number}"]
    if not nameless:
        return latents
    reason = WITH_STATE if model.card.state else WITHOUT_CODES if not model.card.landmarks else ""
    if reason:
        return [
            latent.model_copy(update={"unnamed": reason}) if number in nameless else latent
            for number, latent in enumerate(latents)
        ]
    decoded = DecodedModel(model)
    return _explained(latents, nameless, turned(decoded), decoded.descriptors)


def _has_length(card: Card) -> bool:
    return card.envelope_points > 0 or card.domain == "samples"


def _middle_ms(card: Card, frames: Array) -> Array:
    power = np.square(frames[:, -card.envelope_points :] if card.envelope_points else frames).astype(np.float64)
    moments = (np.arange(power.shape[1]) + 0.5) / power.shape[1] * 1000 * card.frame_length / card.sample_rate
    middle: Array = ((power @ moments) / np.maximum(power.sum(1), 1e-20)).astype(np.float32)
    return middle


def _explained(
    latents: Sequence[Latent], nameless: Sequence[int], measured: KnobEffect, descriptors: Sequence[Descriptor]
) -> list[Latent]:
    taken = {latent.name.removeprefix(LESS) for latent in latents}
    free = np.array([one.name not in taken for one in descriptors])
    open_to = np.isin(np.arange(len(latents)), nameless)[:, None] & free
    named = names(replace(measured, share=np.where(open_to, measured.share, 0.5)))
    found = []
    for number, latent in enumerate(latents):
        if number not in nameless:
            found.append(latent)
            continue
        most = named.get(number, int(measured.score[number].argmax()))
        one, share = descriptors[most], float(measured.share[number, most])
        correlation, (low, high) = float(measured.correlation[number, most]), measured.ends[:, number, most]
        ends = f"{low:.2f} to {high:.2f} {one.unit}, correlation {correlation:.2f}"
        if number in named:
            name = one.name if share > 0.5 else f"{LESS}{one.name}"
            found.append(latent.model_copy(update={"name": name, "moves": ends, "unnamed": ""}))
        else:
            reason = _reason(one.name, share, correlation)
            moves = f"most of all {one.name}, {ends}"
            found.append(latent.model_copy(update={"moves": moves, "unnamed": reason}))
    return found


def _reason(name: str, share: float, correlation: float) -> str:
    share = max(share, 1 - share)
    if share < SURE:
        return f"{name} goes one way in {int(100 * share)}% of steps, a name needs {SURE:.0%}"
    if abs(correlation) < FAINT:
        return f"{name} correlates with it by {abs(correlation):.2f}, a name needs {FAINT:.2f}"
    return f"another knob is named {name}"
