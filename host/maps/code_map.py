"""Makes code maps of a model's codes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..arrays import Array
from ..contract.card import Card, in_deviations
from ..contract.map import NO_NOTE, CodeMap, within
from ..contract.model import Model
from .code_timbre import timbre
from .dot_places import dot_places
from .self_organising_map import eased, unfolding

SIDE = 40  # nodes a side: 15 pixels apart on a map of 600; finer is not visible
LARGEST_STEP = 0.14  # standard deviations a pixel of 600: larger steps are audible jumps in a drag
PIXELS = 600
LONG = 0.01  # share of steps that may be longer while the plane is fitted; they are shortened afterwards
DOTS = 3000  # in a file; more would overlap
BYTES = 160_000  # of the map in a file, as text
SURFACE_BYTES = 60_000  # of these, for the nodes before compression: models of many latents have fewer nodes
SOUND = 0.5  # weight of sound relative to codes: with .3, the largest step is .8 dB a pixel, not .6
SOUNDS = 8  # principal components of the levels: 97 % of their variance for gm-chroma-8
LOWEST, HIGHEST = 2.0, 98.0  # percentiles of brightness and loudness that are shown as 0 and 1


def map_of(model: Model) -> CodeMap | None:
    """The file's map, or one of its landmarks; None without either."""
    if model.map is not None:
        return shown(model, model.map)
    marks = model.card.landmarks
    if not marks:
        return None
    notes = np.array([NO_NOTE if mark.chroma is None else mark.chroma for mark in marks], np.intp)
    codes = np.array([mark.latent for mark in marks], np.float32)
    return make_code_map(model, codes, [mark.label for mark in marks], notes)


def make_code_map(model: Model, codes: Array, labels: Sequence[str], notes: npt.NDArray[np.intp]) -> CodeMap:
    """Map all codes, [codes, n_latents], at least one. Deterministic.

    Two latents are the plane, the second upward; one runs from left to right. More are fitted to codes and timbre, with
    bounded steps. ``notes``: pitch classes or `NO_NOTE`, [codes].
    """
    card = model.card
    codes = within(codes, card)
    heard = timbre(model, codes, _conditions(card, labels))
    surface = (
        _latents(card) if len(card.latents) <= 2 else _through(card, codes, None if heard is None else heard.levels)
    )
    known, label = np.unique(np.array(labels), return_inverse=True)
    bare = CodeMap(
        surface=within(surface, card),
        places=np.zeros((len(codes), 2), np.float32),
        codes=codes,
        notes=notes,
        brightness=_scaled(np.zeros(len(codes), np.float32) if heard is None else heard.brightness),
        label=label.astype(np.intp),
        labels=tuple(known.tolist()),
        loudness=_scaled(np.zeros(len(codes), np.float32) if heard is None else heard.loudness),
        scale=in_deviations(card).astype(np.float32),
    )
    return replace(bare, places=dot_places(bare))


def shown(model: Model, read: CodeMap) -> CodeMap:
    """A file's map with loudness, and places by this timbrel's method."""
    labels = [read.labels[index] for index in read.label]
    heard = timbre(model, read.codes, _conditions(model.card, labels))
    return replace(read, places=dot_places(read), loudness=read.loudness if heard is None else _scaled(heard.loudness))


def text_of(model: Model, codes: Array, labels: Sequence[str], notes: npt.NDArray[np.intp]) -> str:
    """Text of a map, at most `BYTES`, of evenly chosen codes."""
    kept = np.unique(np.linspace(0, len(codes) - 1, min(len(codes), DOTS)).astype(np.intp))
    found = make_code_map(model, codes[kept], [labels[index] for index in kept], notes[kept])
    text = found.text()
    while len(text.encode()) > BYTES:
        found = found.thinned(len(found.codes) * 9 // 10)
        text = found.text()
    return text


def _conditions(card: Card, labels: Sequence[str]) -> npt.NDArray[np.intp]:
    if card.partials is not None:
        return np.full(len(labels), round((card.partials.low + card.partials.high) / 2), np.intp)
    if card.chroma is not None:
        return np.full(len(labels), card.chroma.trained[0] if card.chroma.trained else 0, np.intp)
    number = {label: index for index, label in enumerate(card.labels)}
    return np.array([number.get(label, 0) for label in labels], np.intp)


def _latents(card: Card) -> Array:
    across = np.tile(np.array([0.0, 1.0], np.float32), (2, 1))
    parts = np.stack([across, 1 - across.T], axis=-1)[..., : len(card.latents)]
    low, high = np.array(card.spans, np.float32).T
    plane: Array = low + parts * (high - low)
    return plane


def _through(card: Card, codes: Array, heard: Array | None) -> Array:
    n = codes.shape[1]
    side = int(np.clip(np.sqrt(SURFACE_BYTES / (2 * n)), 2, SIDE))
    mean, scale = codes.mean(0), in_deviations(card)
    points = (codes - mean) * scale
    if heard is not None:
        size = np.sqrt(np.square(points).sum(1).mean())
        points = np.concatenate([points, SOUND * size * _principal(heard)], axis=1)
    longest = LARGEST_STEP * PIXELS / (side - 1)
    plane = np.zeros((side, side, n), np.float32)
    for nodes in unfolding(points.astype(np.float32), side):
        apart = [np.sqrt(np.square(np.diff(nodes[..., :n], axis=axis)).sum(-1)).ravel() for axis in (0, 1)]
        if np.mean(np.concatenate(apart) > longest) <= LONG:
            plane = nodes[..., :n]
    deviations = np.array([latent.std for latent in card.latents], np.float32)
    through: Array = mean + eased(plane, longest) * deviations
    return through


def _principal(heard: Array) -> Array:
    apart = heard - heard.mean(0)
    _, axes = np.linalg.eigh(apart.T @ apart)
    found: Array = apart @ axes[:, -SOUNDS:]
    width = np.sqrt(np.square(found).sum(1).mean())
    return found / np.float32(max(width, 1e-9))


def _scaled(numbers: Array) -> Array:
    low, high = np.percentile(numbers, (LOWEST, HIGHEST))
    if high <= low:
        return np.full(len(numbers), 0.5, np.float32)
    scaled: Array = np.clip((numbers - low) / (high - low), 0, 1).astype(np.float32)
    return scaled
