"""Turns and sorts a network's latents, and names them, and those of model files, by their effect on descriptors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...host.arrays import Array, Indices
from ...host.kinds.card_fields import Latent
from ...host.model.card import Card
from ...host.model.map_layout import has_timbre, timbre_of
from ...host.model.model import Model
from ...train.corpus.store import Corpus
from ...train.families.chroma.network import ChromaAutoencoder
from ...train.families.chroma.recipe import ChromaRecipe
from ...train.families.partials.data import PartialsRows, rows
from ...train.families.partials.network import PartialsAutoencoder
from ...train.families.partials.recipe import PartialsRecipe
from ...train.sampling import evenly_spaced
from ..graphs import NARROWEST_SPAN, SEED
from ..measures.codes import SPAN
from ..measures.frames import FrameSample, draw, encode
from .code_turn import TURNED, code_turn
from .effects import (
    DESCRIPTORS,
    NAMES,
    ChromaGround,
    Descriptor,
    Ground,
    KnobEffect,
    PitchedGround,
    Timbre,
    measure_knobs,
)

Figures = dict[str, Any]

STRIDE = 179  # between the keys of successive codes, a prime: spreads a recording's codes over the range
MOST_CODES = 480  # training frames to test knobs at: shares to a hundredth, some seconds
SURE_SHARE = 0.92  # of steps on training codes, for a name: aims at nine of ten on other notes
TURNED_SHARE = 0.8  # for a turned latent's: chosen before measuring, not the best of seven descriptors by chance
FAINT_CORRELATION = 0.2  # a weaker effect is hardly audible beside the rest of the code
FIRST = 0  # brightness, which players look for first: its best knob gets its name, even if another effect is larger


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
        prefix = "" if self.name else f"most of all {self.most}, "
        return f"{prefix}{range_text(self.ends, unit, self.share, self.correlation)}"


@dataclass(frozen=True)
class OrderedLatents:
    network: Any
    knobs: list[OrderedLatent]
    ground: Ground

    @property
    def names(self) -> list[str]:
        return [knob.name or f"latent {number}" for number, knob in enumerate(self.knobs)]


def arranged(network: ChromaAutoencoder, recipe: ChromaRecipe, corpus: Corpus, tonal: bool) -> OrderedLatents | None:
    """Sort a network's latents; None if keys choose no note, codes fill no cube, or no frame sounds."""
    network_settings = network.settings
    fills_cube = network_settings.bottleneck == "sigmoid" and not network_settings.variational
    if recipe.frames.octave is None or not tonal or not network.conditioned or not fills_cube:
        return None
    sample = draw(corpus, "train", recipe.frames, True, MOST_CODES, np.random.default_rng(SEED))
    if sample is None:
        return None
    return in_order(network, lambda network: ground(network, recipe, sample))


def arranged_partials(network: PartialsAutoencoder, recipe: PartialsRecipe, corpus: Corpus) -> OrderedLatents:
    """Sort a network's latents by training rows."""
    training_rows = rows(corpus, "train", recipe.frames.model_copy(update={"rows": MOST_CODES}))
    return in_order(network, lambda network: pitched_ground(network, training_rows))


def in_order(network: Any, ground_of: Callable[[Any], Ground]) -> OrderedLatents:
    """Turn, sort and name a network's latents, which span 0 to 1.

    Brightness and noise come first, then the largest level change of mel bands per deviation. Named latents that lower
    their descriptor are inverted.
    """
    turn = code_turn(ground_of(network))
    effect = measure_knobs(ground_of(turn.of(network)))
    first_indices, sorted_indices = np.arange(len(turn.offset))[: len(TURNED)], np.argsort(-effect.change_db)
    old_indices = np.concatenate([first_indices, sorted_indices[sorted_indices >= len(TURNED)]])
    descriptor_by_latent = names(effect, _turned_names(effect))
    is_flipped = np.array(
        [
            latent_index in descriptor_by_latent and effect.rise[latent_index, descriptor_by_latent[latent_index]] < 0
            for latent_index in range(len(old_indices))
        ]
    )
    knobs = [
        _knob(effect, int(latent_index), descriptor_by_latent.get(int(latent_index)), bool(is_flipped[latent_index]))
        for latent_index in old_indices
    ]
    network = turn.sorted(old_indices, is_flipped[old_indices]).of(network)
    return OrderedLatents(network, knobs, ground_of(network))


def _turned_names(effect: KnobEffect) -> dict[int, int]:
    """Return the descriptor index of each turned latent that raises it often enough."""
    pairs = [(latent_index, NAMES.index(name)) for latent_index, name in enumerate(TURNED)]
    return {
        latent_index: descriptor_index
        for latent_index, descriptor_index in pairs[: len(effect.change_db)]
        if effect.share[latent_index, descriptor_index] >= TURNED_SHARE
        and effect.correlation[latent_index, descriptor_index] >= FAINT_CORRELATION
    }


def ground(
    network: ChromaAutoencoder, recipe: ChromaRecipe, sample: FrameSample, ends: tuple[Tensor, Tensor] | None = None
) -> Ground:
    """Return codes of at most `MOST_CODES` frames, on all keys in turn; ``ends`` default to the sample's."""
    frame_settings = recipe.frames
    assert frame_settings.fold is not None
    frame_indices = evenly_spaced(len(sample), MOST_CODES)
    codes = encode(network, sample.spectra[frame_indices], sample.pitch_classes[frame_indices])
    timbre = Timbre(frame_settings.sample_rate, frame_settings.frame_length, frame_settings.fold)
    return ChromaGround(torch.from_numpy(codes), *spans(codes, ends), network, timbre, torch.arange(len(codes)) % 12)


def pitched_ground(
    network: PartialsAutoencoder, recorded_rows: PartialsRows, ends: tuple[Tensor, Tensor] | None = None
) -> PitchedGround:
    """Return codes of at most `MOST_CODES` rows, at pitches across the recordings' range."""
    row_indices, pitches = evenly_spaced(len(recorded_rows), MOST_CODES), recorded_rows.pitches
    with torch.no_grad():
        codes = network.encode(*recorded_rows.tensors(row_indices))
    pitch_grid = torch.linspace(float(pitches.min()), float(pitches.max()), len(row_indices))
    code_pitches = pitch_grid[torch.arange(len(row_indices)) * STRIDE % len(row_indices)]
    return PitchedGround(codes, *spans(codes.numpy(), ends), network, code_pitches)


def spans(codes: Array, ends: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
    """Return knob ends, [latents] each: ``ends``, or percentiles of codes, [codes, latents]."""
    low, high = (torch.from_numpy(end).float() for end in np.percentile(codes, SPAN, axis=0)) if ends is None else ends
    return low, torch.maximum(high, low + NARROWEST_SPAN)


def names(effect: KnobEffect, turned: Mapping[int, int] = MappingProxyType({})) -> dict[int, int]:
    """Return the descriptor index of each named latent; ``turned``: those named beforehand.

    Brightness is named first, then the largest effects in deviations.
    """
    score = effect.score
    is_sure = np.maximum(effect.share, 1 - effect.share) >= SURE_SHARE
    is_sure &= np.abs(effect.correlation) >= FAINT_CORRELATION
    index_pairs = [
        divmod(int(flat_index), score.shape[1]) for flat_index in np.argsort(-score, axis=None, kind="stable")
    ]
    index_pairs.sort(key=lambda pair: pair[1] != FIRST)  # stable sort: the rest keep their order
    descriptor_by_latent = dict(turned)
    for latent_index, descriptor_index in index_pairs:
        if (
            is_sure[latent_index, descriptor_index]
            and latent_index not in descriptor_by_latent
            and descriptor_index not in descriptor_by_latent.values()
        ):
            descriptor_by_latent[latent_index] = descriptor_index
    return descriptor_by_latent


def range_text(ends: Sequence[float], unit: str, share: float, correlation: float) -> str:
    """Describe what a knob moves; ``share``: of steps that go its way."""
    low, high = ends
    return f"{low:.2f} to {high:.2f} {unit}, {int(100 * share)} % of steps, correlation {correlation:.2f}"


def _knob(effect: KnobEffect, latent_index: int, descriptor: int | None, flipped: bool) -> OrderedLatent:
    """Describe a latent; without a ``descriptor`` that names it, by the one that it moves most."""
    descriptor_index = descriptor
    if descriptor_index is None:
        descriptor_index = int(effect.score[latent_index].argmax())
    share, correlation = (
        effect.share[latent_index, descriptor_index],
        effect.correlation[latent_index, descriptor_index],
    )
    low, high = effect.ends[:, latent_index, descriptor_index]
    return OrderedLatent(
        name="" if descriptor is None else NAMES[descriptor_index],
        most=NAMES[descriptor_index],
        share=float(max(share, 1 - share)),
        correlation=float(-correlation if flipped else correlation),
        ends=(float(high), float(low)) if flipped else (float(low), float(high)),
        change_db=float(effect.change_db[latent_index]),
    )


def checked(knobs: OrderedLatents, probe: Ground, split: str) -> Figures:
    """Check names at a split's codes.

    ``holds`` is the share of quarter-range steps that move the descriptor as named; None for nameless ones.
    """
    effect = measure_knobs(probe)
    latent_rows = []
    for latent_index, knob in enumerate(knobs.knobs):
        descriptor_index = NAMES.index(knob.most)
        latent_rows.append(
            {
                "name": knob.name or None,
                "moves": knob.moves,
                "change_db": knob.change_db,
                "correlation": float(effect.correlation[latent_index, descriptor_index]),
                "training": knob.share,
                "holds": float(effect.share[latent_index, descriptor_index]) if knob.name else None,
            }
        )
    return {"split": split, "codes": len(probe.codes), "latents": latent_rows}


SOUND = (
    Descriptor("brightness", "octaves around the mean"),  # of the spectral centroid
    Descriptor("length", "ms to the middle of its energy"),
)
LESS = "less "  # prefix of a knob that lowers its descriptor
WITH_STATE = "what it moves is not measured, since frames depend on those before them"
WITHOUT_SPECTRA = "what it moves is not measured, since its kind gives no spectra of frames"
WITHOUT_CODES = "what it moves is not measured, since the card has no codes"
MARKS = 64  # landmarks to test knobs at: shares to a hundredth, and the 64 knobs of a kit in some ten seconds


@dataclass(frozen=True)
class ModelGround(Ground):
    """A model file's landmarks, decoded under ``conditions`` [codes]; its descriptors have no slopes.

    ``timbre`` measures frames on one octave's keys; without it, brightness is relative to ``mean_octaves``.
    """

    model: Model
    conditions: Indices
    timbre: Timbre | None
    mean_octaves: float

    @property
    def descriptors(self) -> Sequence[Descriptor]:
        if self.timbre is not None:
            return DESCRIPTORS
        return SOUND if _has_length(self.model.card) else SOUND[:1]

    def sound(self, codes: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        card, conditions = self.model.card, self.conditions[rows]
        frames = self.model.decode(codes.numpy(), conditions)
        levels, octaves, _ = timbre_of(card, frames, conditions)
        if self.timbre is not None:
            return self.timbre(torch.from_numpy(frames), torch.from_numpy(conditions)), torch.from_numpy(levels)
        length_columns = [_middle_ms(card, frames)] if _has_length(card) else []
        descriptors = torch.from_numpy(np.stack([octaves - self.mean_octaves, *length_columns], 1))
        return descriptors, torch.from_numpy(levels)


def model_ground(model: Model) -> ModelGround:
    """Return codes of at most `MARKS` landmarks, on all keys or labels in turn."""
    card = model.card
    marks = [card.landmarks[mark_index] for mark_index in evenly_spaced(len(card.landmarks), MARKS)]
    low, high = torch.tensor(card.spans).T
    codes = torch.clamp(torch.tensor([mark.latent for mark in marks]), low, high)
    conditions = np.arange(len(marks)) % max(1, card.conditions)
    if card.partials is not None:
        conditions = np.linspace(card.partials.low, card.partials.high, len(marks)).round().astype(np.intp)
    for mark_index, mark in enumerate(marks):
        if mark.label in card.labels:
            conditions[mark_index] = card.labels.index(mark.label)
    chroma = card.chroma
    timbre = Timbre(card.sample_rate, card.frame_length, chroma.octave) if chroma and chroma.folded else None
    octaves = timbre_of(card, model.decode(codes.numpy(), conditions), conditions).brightness
    return ModelGround(codes, low, high, model, conditions, timbre, float(octaves.mean()))


def explained(model: Model) -> list[Latent]:
    """Return a card's latents, each with a name or the reason for having none.

    Knobs that lower their descriptor get a prefix, as a file's cannot be inverted.
    """
    latents = model.card.latents
    nameless_indices = [
        latent_index for latent_index, latent in enumerate(latents) if latent.name == f"latent {latent_index}"
    ]
    if not nameless_indices:
        return latents
    reason = WITH_STATE if model.card.state else WITHOUT_CODES if not model.card.landmarks else ""
    reason = reason or ("" if has_timbre(model.card) else WITHOUT_SPECTRA)
    if reason:
        return [
            latent.model_copy(update={"unnamed": reason}) if latent_index in nameless_indices else latent
            for latent_index, latent in enumerate(latents)
        ]
    landmark_ground = model_ground(model)
    return _explained(latents, nameless_indices, measure_knobs(landmark_ground), landmark_ground.descriptors)


def _has_length(card: Card) -> bool:
    return card.envelope_points > 0 or card.domain == "samples"


def _middle_ms(card: Card, frames: Array) -> Array:
    """Return the middle of each frame's energy in ms, [frames]."""
    power = np.square(frames[:, -card.envelope_points :] if card.envelope_points else frames).astype(np.float64)
    moments_ms = (np.arange(power.shape[1]) + 0.5) / power.shape[1] * 1000 * card.frame_length / card.sample_rate
    middles_ms: Array = ((power @ moments_ms) / np.maximum(power.sum(1), 1e-20)).astype(np.float32)
    return middles_ms


def _explained(
    latents: Sequence[Latent], nameless_indices: Sequence[int], effect: KnobEffect, descriptors: Sequence[Descriptor]
) -> list[Latent]:
    """Name nameless latents by their effects, or give the reason for having no name."""
    used_names = {latent.name.removeprefix(LESS) for latent in latents}
    is_free = np.array([descriptor.name not in used_names for descriptor in descriptors])
    is_open = np.isin(np.arange(len(latents)), nameless_indices)[:, None] & is_free
    descriptor_by_latent = names(replace(effect, share=np.where(is_open, effect.share, 0.5)))
    explained_latents = []
    for latent_index, latent in enumerate(latents):
        if latent_index not in nameless_indices:
            explained_latents.append(latent)
            continue
        descriptor_index = descriptor_by_latent.get(latent_index, int(effect.score[latent_index].argmax()))
        descriptor, share = descriptors[descriptor_index], float(effect.share[latent_index, descriptor_index])
        correlation = float(effect.correlation[latent_index, descriptor_index])
        ends = effect.ends[:, latent_index, descriptor_index].tolist()
        moves = range_text(ends, descriptor.unit, max(share, 1 - share), correlation)
        if latent_index in descriptor_by_latent:
            name = descriptor.name if share > 0.5 else f"{LESS}{descriptor.name}"
            explained_latents.append(latent.model_copy(update={"name": name, "moves": moves, "unnamed": ""}))
        else:
            reason = _reason(descriptor.name, share, correlation)
            nameless_moves = f"most of all {descriptor.name}, {moves}"
            explained_latents.append(latent.model_copy(update={"moves": nameless_moves, "unnamed": reason}))
    return explained_latents


def _reason(name: str, share: float, correlation: float) -> str:
    """Return the reason for which a knob has no name."""
    share = max(share, 1 - share)
    if share < SURE_SHARE:
        return f"{name} goes one way in {int(100 * share)}% of steps, a name needs {SURE_SHARE:.0%}"
    if abs(correlation) < FAINT_CORRELATION:
        return f"{name} correlates with it by {abs(correlation):.2f}, a name needs {FAINT_CORRELATION:.2f}"
    return f"another knob is named {name}"
