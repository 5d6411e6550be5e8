"""Measures the effect of single knobs on decoded frames."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ...host.arrays import Doubles
from ..measures.frame_sample import ROWS
from .descriptors import Timbre, of_partials

STEP = 0.25  # of a knob's span: a typical turn, large enough to be audible
PLACES = 5  # positions of a knob from end to end, for its correlation with descriptors


@dataclass(frozen=True)
class Ground(ABC):
    """A network, test codes [codes, latents], and the knobs' ends, [latents] each."""

    network: Any
    codes: Tensor
    low: Tensor
    high: Tensor

    @abstractmethod
    def sound(self, codes: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """Return differentiable descriptors, [rows, descriptors], and mel-band levels in dB, [rows, 64]."""

    @torch.no_grad()
    def measure(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        parts = [
            self.sound(codes[at : at + ROWS], slice(at, min(at + ROWS, len(codes))))
            for at in range(0, len(codes), ROWS)
        ]
        descriptors, levels = zip(*parts, strict=True)
        return torch.cat(descriptors), torch.cat(levels)


@dataclass(frozen=True)
class ChromaGround(Ground):
    """``classes`` are pitch classes to decode on, [codes]."""

    timbre: Timbre
    classes: Tensor

    def sound(self, codes: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        classes = self.classes[rows]
        frames = self.network.decode(codes, torch.eye(12)[classes])
        return self.timbre(frames, classes), self.network.levels(frames)


@dataclass(frozen=True)
class PitchedGround(Ground):
    """``pitches`` are MIDI notes to decode at, [codes]."""

    pitches: Tensor

    def sound(self, codes: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        pitches, bands = self.pitches[rows], self.network.bands
        frames = self.network.decode(codes, pitches)
        return of_partials(bands, frames, pitches), bands(frames, pitches)


class Turnable(Protocol):
    @property
    def codes(self) -> Tensor: ...
    @property
    def low(self) -> Tensor: ...
    @property
    def high(self) -> Tensor: ...
    def measure(self, codes: Tensor) -> tuple[Tensor, Tensor]: ...


def stepped(ground: Turnable, way: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes after a step along ``way`` [latents], and the mask of whole steps, [codes]."""
    after = ground.codes + way
    inside = ((after >= ground.low) & (after <= ground.high))[:, way != 0].all(1)
    return torch.minimum(torch.maximum(after, ground.low), ground.high), inside if inside.any() else inside | True


@dataclass(frozen=True)
class KnobEffect:
    """Effects of single knobs, [latents, descriptors].

    Args:
        change_db: mean level change of bands per deviation, [latents].
        rise: mean rise per step up.
        share: of steps that move a descriptor in the knob's direction.
        correlation: Pearson's, of knob positions and descriptors.
        ends: means at a knob's low and high end, [2, latents, descriptors].
        spread: deviations of descriptors over the codes, [descriptors].
    """

    change_db: Doubles
    rise: Doubles
    share: Doubles
    correlation: Doubles
    ends: Doubles
    spread: Doubles

    @property
    def score(self) -> Doubles:
        """In deviations over the codes, [latents, descriptors]."""
        score: Doubles = np.abs(self.rise) / np.maximum(self.spread, 1e-9)
        return score


def turned(ground: Turnable) -> KnobEffect:
    """Move each knob alone, a step up and down and over its span."""
    rest, levels = ground.measure(ground.codes)
    deviation = ground.codes.std(0, correction=0)
    rows = []
    for number in range(ground.codes.shape[1]):
        changes, rises = [], []
        for side in (-STEP, STEP):
            way = torch.zeros(len(deviation))
            way[number] = side * (ground.high - ground.low)[number]
            after, whole = stepped(ground, way)
            there, at_level = ground.measure(after)
            rises.append((there - rest)[whole] * np.sign(side))
            apart = (at_level - levels)[whole].abs().mean(1)
            changes.append(apart * deviation[number] / way[number].abs())
        risen = torch.cat(rises).double()
        rows.append((torch.cat(changes).mean(), risen.mean(0), (risen > 0).double().mean(0), *_swept(ground, number)))
    parts = [torch.stack(part).double().numpy() for part in zip(*rows, strict=True)]
    change, rise, share, correlation, ends = parts
    return KnobEffect(change, rise, share, correlation, ends.swapaxes(0, 1), rest.double().std(0, correction=0).numpy())


def _swept(ground: Turnable, number: int) -> tuple[Tensor, Tensor]:
    places = torch.linspace(0, 1, PLACES)
    heard = []
    for place in places:
        codes = ground.codes.clone()
        codes[:, number] = ground.low[number] + place * (ground.high - ground.low)[number]
        heard.append(ground.measure(codes)[0].double())
    values = torch.stack(heard)  # [places, codes, descriptors]
    away = values - values.mean((0, 1))
    stands = (places - places.mean()).double()
    together = torch.einsum("p,pcd->d", stands, away)
    scale = (stands.square().sum() * values.shape[1] * away.square().sum((0, 1))).sqrt().clamp_min(1e-12)
    return together / scale, torch.stack([values[0].mean(0), values[-1].mean(0)])


def held(ground: Turnable, way: Tensor, descriptor: int) -> float:
    """Return the share of steps along ``way`` [latents], both ways, that move a descriptor in the same direction.

    Steps along one latent count only where its span has room.
    """
    single = int((way != 0).sum()) == 1
    rest, right = ground.measure(ground.codes)[0][:, descriptor], []
    for side in (-1.0, 1.0):
        after, whole = stepped(ground, side * way)
        risen = side * (ground.measure(after)[0][:, descriptor] - rest) > 0
        right.append(risen[whole] if single else risen)
    return float(torch.cat(right).double().mean())
