"""Names the knobs of a model's file by what they move, and says of each other knob why it has no name.

All is measured at the card's landmarks, in frames that the file decodes: files of any age can be named.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...host.contract.card import Card, Latent
from ...host.contract.model import Model
from ...host.maps.sound import levels_of
from .arrange import FAINT, SURE, names
from .timbre import DESCRIPTORS, Descriptor, Timbre
from .turns import Turned, turned

Array = npt.NDArray[np.float32]

SOUND = (
    Descriptor("brightness", "octaves around the mean"),  # of the spectrum's middle
    Descriptor("length", "ms to the middle of its energy"),
)
LESS = "less "  # before what a knob lowers, in its name
WITH_STATE = "what it moves is not measured, since frames depend on those before them"
WITHOUT_CODES = "what it moves is not measured, since the card has no codes"
MARKS = 64  # landmarks at which knobs are turned: shares to a hundredth, and the 64 knobs of a kit in some ten seconds


class Decoded:
    """The knobs of a model's file at its landmarks, of which it has some, as `Ground` has those of a network."""

    def __init__(self, model: Model) -> None:
        card = model.card
        few = np.linspace(0, len(card.landmarks) - 1, min(len(card.landmarks), MARKS)).astype(np.intp)
        marks = [card.landmarks[place] for place in few]
        self._model = model
        self.low = torch.tensor([latent.low for latent in card.latents])
        self.high = torch.tensor([latent.high for latent in card.latents])
        codes = torch.tensor([mark.latent for mark in marks])
        self.codes = torch.minimum(torch.maximum(codes, self.low), self.high)
        conditions = np.arange(len(marks)) % max(1, card.conditions)  # pitch classes, or labels, in turn
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
        self._mean = float(levels_of(card, model.decode(self.codes.numpy(), conditions), conditions)[1].mean())

    @property
    def descriptors(self) -> Sequence[Descriptor]:
        """Return what `heard` measures: all that a note has, or how bright and how long other sounds are."""
        if self._timbre is not None:
            return DESCRIPTORS
        return SOUND if _has_length(self._model.card) else SOUND[:1]

    def heard(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the descriptors of codes, [codes, descriptors], and levels of bands in dB, [codes, bands]."""
        card = self._model.card
        frames = self._model.decode(codes.numpy(), self._conditions)
        levels, octaves = levels_of(card, frames, self._conditions)
        if self._timbre is not None:
            found = self._timbre(torch.from_numpy(frames), torch.from_numpy(self._conditions))
        else:
            lengths = [_middle_ms(card, frames)] if _has_length(card) else []
            found = torch.from_numpy(np.stack([octaves - self._mean, *lengths], 1))
        return found, torch.from_numpy(levels)


def explained(model: Model) -> list[Latent]:
    """Return the latents of a model's card; those without a name have one now, or the reason why they have none.

    Names are those of `names`, where the card does not have them already. A knob that lowers what it is named for says
    so in its name: the file stays what it is, and no knob can be turned over.
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
    decoded = Decoded(model)
    return _explained(latents, nameless, turned(decoded), decoded.descriptors)


def _has_length(card: Card) -> bool:
    return card.envelope_points > 0 or card.domain == "samples"


def _middle_ms(card: Card, frames: Array) -> Array:
    """Return the mean moment of each frame's energy, in ms, [frames]."""
    power = np.square(frames[:, -card.envelope_points :] if card.envelope_points else frames).astype(np.float64)
    moments = (np.arange(power.shape[1]) + 0.5) / power.shape[1] * 1000 * card.frame_length / card.sample_rate
    middle: Array = ((power @ moments) / np.maximum(power.sum(1), 1e-20)).astype(np.float32)
    return middle


def _explained(
    latents: Sequence[Latent], nameless: Sequence[int], measured: Turned, descriptors: Sequence[Descriptor]
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
    """Return why a latent is not named for the descriptor that it moves most."""
    share = max(share, 1 - share)
    if share < SURE:
        return f"{name} goes one way in {int(100 * share)}% of steps, a name needs {SURE:.0%}"
    if abs(correlation) < FAINT:
        return f"{name} correlates with it by {abs(correlation):.2f}, a name needs {FAINT:.2f}"
    return f"another knob is named {name}"
