"""Names a model file's knobs by their effect at its landmarks, sorts them, and finds macro directions."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...host.arrays import Array, Indices
from ...host.model.card import Card, Direction, Latent
from ...host.model.code_timbre import timbre_of
from ...host.model.model import Model
from ...train.corpus.store import Corpus
from ...train.families.chroma.network import ChromaAutoencoder
from ...train.families.chroma.recipe import ChromaRecipe
from ...train.families.partials.data import rows
from ...train.families.partials.network import PartialsAutoencoder
from ...train.families.partials.recipe import PartialsRecipe
from ...train.sampling import evenly_spaced
from ..graphs import NARROWEST, SEED
from ..measures.codes import SPAN
from ..measures.frames import FrameSample, draw, encode
from .sensitivity import (
    DESCRIPTORS,
    NAMES,
    STEP,
    ChromaGround,
    Descriptor,
    Ground,
    KnobEffect,
    PitchedGround,
    Timbre,
    held,
    turned,
)

Bools = npt.NDArray[np.bool_]
Figures = dict[str, Any]

STRIDE = 179  # between the keys of successive codes, a prime: spreads a recording's codes over the range
CODES = 480  # training frames to test knobs at: shares to a hundredth, some seconds
SURE = 0.92  # of steps on training codes, for a name and a macro: aims at nine of ten on other notes
FAINT = 0.2  # correlation: a weaker effect is hardly audible beside the rest of the code
FIRST = 0  # brightness, which players look for first: its best knob gets its name, even if another effect is larger
MACROS = {"brighter": "brightness", "rougher": "noise"}  # names, and the descriptors that they raise
HALF = 0.5  # of its span, for the latent that moves most at a macro's end: from its middle, the whole range


@dataclass(frozen=True)
class OrderedLatent:
    """A latent, and its `KnobEffect` on ``most``, the descriptor that it moves most.

    ``name`` is empty without a reliable descriptor. ``share`` is 0.5 or more.
    """

    name: str
    most: str
    share: float
    correlation: float
    ends: tuple[float, float]
    change_db: float

    @property
    def moves(self) -> str:
        unit = DESCRIPTORS[NAMES.index(self.most)].unit
        what = "" if self.name else f"most of all {self.most}, "
        low, high = self.ends
        return f"{what}{low:.2f} to {high:.2f} {unit}, correlation {self.correlation:.2f}"


@dataclass(frozen=True)
class OrderedLatents:
    network: Any
    knobs: list[OrderedLatent]
    directions: list[Direction]
    ground: Ground

    @property
    def names(self) -> list[str]:
        return [knob.name or f"latent {number}" for number, knob in enumerate(self.knobs)]


def arranged(network: ChromaAutoencoder, recipe: ChromaRecipe, corpus: Corpus, tonal: bool) -> OrderedLatents | None:
    """Sort a network's latents; None if keys choose no note, codes fill no cube, or no frame sounds."""
    settings = network.settings
    in_cube = settings.bottleneck == "sigmoid" and not settings.variational
    if recipe.frames.octave is None or not tonal or not network.conditioned or not in_cube:
        return None
    sample = draw(corpus, "train", recipe.frames, True, CODES, np.random.default_rng(SEED))
    if sample is None:
        return None
    return in_order(network, lambda network: ground(network, recipe, sample))


def arranged_partials(network: PartialsAutoencoder, recipe: PartialsRecipe, corpus: Corpus) -> OrderedLatents:
    train = rows(corpus, "train", recipe.frames.model_copy(update={"rows": CODES}))
    return in_order(network, lambda network: pitched_ground(network, *train))


def in_order(network: Any, ground_of: Callable[[Any], Ground]) -> OrderedLatents:
    """Sort and name a network's latents, which span 0 to 1.

    The largest level change of mel bands per deviation comes first. Named latents that lower their descriptor are
    inverted.
    """
    measured = turned(ground_of(network))
    order = np.argsort(-measured.change_db, kind="stable")
    named = names(measured)
    flipped = np.array([number in named and measured.rise[number, named[number]] < 0 for number in range(len(order))])
    knobs = [_knob(measured, int(number), named.get(int(number)), bool(flipped[number])) for number in order]
    network = reordered(network, order, flipped[order])
    found = ground_of(network)
    return OrderedLatents(network, knobs, directions(found), found)


def ground(
    network: ChromaAutoencoder, recipe: ChromaRecipe, sample: FrameSample, ends: tuple[Tensor, Tensor] | None = None
) -> Ground:
    """Return codes of at most `CODES` frames, on all keys in turn; ``ends`` default to the sample's."""
    frames = recipe.frames
    assert frames.fold is not None
    few = evenly_spaced(len(sample), CODES)
    codes = encode(network, sample.spectra[few], sample.pitch_classes[few])
    timbre = Timbre(frames.sample_rate, frames.frame_length, frames.fold)
    return ChromaGround(network, torch.from_numpy(codes), *spans(codes, ends), timbre, torch.arange(len(codes)) % 12)


def pitched_ground(
    network: PartialsAutoencoder, levels: Array, pitches: Array, ends: tuple[Tensor, Tensor] | None = None
) -> PitchedGround:
    """Return codes of at most `CODES` rows, at pitches across the recordings' range."""
    few = evenly_spaced(len(pitches), CODES)
    with torch.no_grad():
        codes = network.encode(torch.from_numpy(levels[few]), torch.from_numpy(pitches[few]))
    notes = torch.linspace(float(pitches.min()), float(pitches.max()), len(few))
    keys = notes[torch.arange(len(few)) * STRIDE % len(few)]
    return PitchedGround(network, codes, *spans(codes.numpy(), ends), keys)


def spans(codes: Array, ends: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
    """Return knob ends, [latents] each: ``ends``, or percentiles of codes, [codes, latents]."""
    low, high = (torch.from_numpy(end).float() for end in np.percentile(codes, SPAN, axis=0)) if ends is None else ends
    return low, torch.maximum(high, low + NARROWEST)


def names(measured: KnobEffect) -> dict[int, int]:
    """Return the descriptor index of each named latent.

    Brightness is named first, then the largest effects in deviations.
    """
    score = measured.score
    sure = np.maximum(measured.share, 1 - measured.share) >= SURE
    sure &= np.abs(measured.correlation) >= FAINT
    pairs = [divmod(int(place), score.shape[1]) for place in np.argsort(-score, axis=None, kind="stable")]
    pairs.sort(key=lambda pair: pair[1] != FIRST)  # stable sort: the rest keep their order
    named: dict[int, int] = {}
    for latent, descriptor in pairs:
        if sure[latent, descriptor] and latent not in named and descriptor not in named.values():
            named[latent] = descriptor
    return named


def reordered(network: Any, order: Indices, flipped: Bools) -> Any:
    """``order`` lists old indices; ``flipped`` new latents are 1 - x."""
    network = copy.deepcopy(network)
    first, places = network.decoder[0], torch.from_numpy(np.array(order))
    assert isinstance(first, torch.nn.Linear)
    sign = torch.from_numpy(np.where(flipped, -1.0, 1.0)).float()
    with torch.no_grad():
        network.bottleneck.weight.copy_(network.bottleneck.weight[places] * sign[:, None])
        network.bottleneck.bias.copy_(network.bottleneck.bias[places] * sign)
        columns = first.weight[:, places]
        first.bias.add_(columns[:, sign < 0].sum(1))
        first.weight[:, : len(places)] = columns * sign
    return network


def directions(at: Ground) -> list[Direction]:
    """Return macro directions that hold on training codes: mean normalised gradients."""
    scale, found = at.codes.std(0, correction=0), []
    with torch.enable_grad():
        codes = at.codes.clone().requires_grad_(True)
        heard, _ = at.sound(codes, slice(None))
        heard = heard + 0 * codes.sum()  # keeps a graph, with zero slopes, where a decoder ignores its codes
        slopes = [
            torch.autograd.grad(heard[:, NAMES.index(raised)].sum(), codes, retain_graph=True)[0]
            for raised in MACROS.values()
        ]
    for (name, raised), slope in zip(MACROS.items(), slopes, strict=True):
        number = NAMES.index(raised)
        way = torch.nn.functional.normalize(slope * scale, dim=1).mean(0) * scale
        way = way * (HALF / (way.abs() / (at.high - at.low)).max().clamp_min(1e-9))
        share = held(at, way * 2 * STEP, number)
        if share >= SURE:
            latent = [round(float(value), 5) for value in way]
            found.append(Direction(name=name, latent=latent, raises=raised, holds=round(share, 4)))
    return found


def _knob(measured: KnobEffect, number: int, named: int | None, flipped: bool) -> OrderedLatent:
    most = named
    if most is None:
        most = int(measured.score[number].argmax())
    share, correlation = measured.share[number, most], measured.correlation[number, most]
    low, high = measured.ends[:, number, most]
    return OrderedLatent(
        name="" if named is None else NAMES[most],
        most=NAMES[most],
        share=float(max(share, 1 - share)),
        correlation=float(-correlation if flipped else correlation),
        ends=(float(high), float(low)) if flipped else (float(low), float(high)),
        change_db=float(measured.change_db[number]),
    )


def checked(knobs: OrderedLatents, at: Ground, split: str) -> Figures:
    """Check names and directions at a split's codes.

    ``holds`` is the share of quarter-range steps that move the descriptor as named; None for nameless ones.
    """
    measured = turned(at)
    rows = []
    for number, knob in enumerate(knobs.knobs):
        moved = NAMES.index(knob.most)
        rows.append(
            {
                "name": knob.name or None,
                "moves": knob.moves,
                "change_db": knob.change_db,
                "correlation": float(measured.correlation[number, moved]),
                "training": knob.share,
                "holds": float(measured.share[number, moved]) if knob.name else None,
            }
        )
    ways = [
        {
            "name": direction.name,
            "raises": direction.raises,
            "training": direction.holds,
            "holds": held(at, torch.tensor(direction.latent) * 2 * STEP, NAMES.index(direction.raises)),
        }
        for direction in knobs.directions
    ]
    return {"split": split, "codes": len(at.codes), "latents": rows, "directions": ways}


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
