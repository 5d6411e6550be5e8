"""Floors and bounds of fidelity: second takes, notes resynthesized without a network, classifiers' chance."""

import contextlib
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from ...host.arrays import Array, Doubles, Indices
from ...host.engines.spectrum.coherent_voicing import CoherentVoicing
from ...host.engines.spectrum.frames import BATCH, PLAIN
from ...host.events import Event, NoteOff, NoteOn
from ...host.midi.files import Performance
from ...host.model.card import Card
from ...host.play.rack import Rack
from ...host.play.render import blocks
from ...host.preset.library import Patch
from ...host.signal import window
from ...train.corpus.store import Corpus
from ...train.families.partials.data import first_audible_bin, measure_levels
from ...train.families.partials.recipe import PartialsFrames
from ...train.metrics.clips import envelope_db
from ..reports.report import Figures
from .measures import held_shapes, sustain_db
from .notes import RecordedNote, SingleNote, second_take

PAIRS = 8  # of recordings
STRIKES = 4  # of each key, all compared with each other
COMMON = 0.9  # of the shorter recording's held part: releases at other times are no difference of takes
REST_SECONDS = 1.0  # between strikes


def take_variety(
    patch: Patch, corpus: Corpus, notes: Sequence[tuple[RecordedNote, int]], candidates: Sequence[SingleNote]
) -> Figures | None:
    """Return medians of the differences of takes, in shape of the held part and in level, in dB; None without takes.

    Args:
        notes: tuned recordings, and the velocities to play them with.
        candidates: notes that may be their second takes.
    """
    rate = corpus.rate
    pairs: dict[frozenset[str], tuple[RecordedNote, RecordedNote, int]] = {}
    for note, velocity in notes:
        take = second_take(corpus, note, candidates)
        if take is not None and len(pairs) < PAIRS:
            pairs.setdefault(frozenset({note.single.clip.name, take.single.clip.name}), (note, take, velocity))
    if not pairs:
        return None
    keystrokes = [
        (note.single.key, velocity, min(note.held_seconds, take.held_seconds))
        for note, take, velocity in pairs.values()
    ]
    recorded, played = [], []
    for (note, take, _), (_, _, held_seconds), strike_sounds in zip(
        pairs.values(), keystrokes, strikes(patch, keystrokes, STRIKES), strict=True
    ):
        length = round(COMMON * held_seconds * rate)
        recorded.append(_take_distance(note.sound[:length], take.sound[:length], rate))
        played += [
            _take_distance(first[:length], second[:length], rate)
            for first, second in itertools.combinations(strike_sounds, 2)
        ]
    figures: Figures = {"pairs": len(recorded)}
    for name, rows in (("recorded", recorded), ("played", played)):
        shape, level = np.median(rows, axis=0).tolist()
        figures[name] = {"shape_db": shape, "level_db": level}
    return figures


def strikes(patch: Patch, notes: Sequence[tuple[int, int, float]], count: int) -> list[list[Array]]:
    """Strike each note (key, velocity, seconds held) some times in one performance.

    Return the mono sound of each while held, [samples] at the model's rate. The first strike of all is left out, since
    it plays the nearest recording and no take.
    """
    rate = patch.model.card.sample_rate
    events: list[Event] = []
    spans: list[tuple[int, int]] = []
    start_sample = 0
    for key, velocity, seconds in [notes[0], *(note for note in notes for _ in range(count))]:
        held_samples = max(1, round(seconds * rate))
        events += [NoteOn(start_sample, 0, key, velocity), NoteOff(start_sample + held_samples, 0, key)]
        spans.append((start_sample, start_sample + held_samples))
        start_sample += held_samples + round(REST_SECONDS * rate)
    performance = Performance(events=events, length=start_sample, channels=[0], warnings=[])
    with contextlib.closing(Rack({0: patch}, rate)) as rack:
        mixes = np.concatenate([mix for _, mix, _ in blocks(rack, performance, 0.0, rate)], axis=1)
    sound = mixes.mean(0, dtype=np.float32)
    strike_sounds = [sound[begin:end] for begin, end in spans[1:]]
    return [strike_sounds[first : first + count] for first in range(0, len(strike_sounds), count)]


def _take_distance(first: Array, second: Array, rate: int) -> tuple[float, float]:
    count = min(len(first), len(second))
    levels = [float(envelope_db(sound[np.newaxis], rate)[0].max()) for sound in (first, second)]
    return sustain_db(first[:count], second[:count], rate), abs(levels[0] - levels[1])


FEWEST_ROWS = 1000  # the least that a recipe allows; unused here


class _StoredFrames:
    """A model of stored frames: the code of each is its index."""

    def __init__(self, card: Card, frames: Array) -> None:
        self.card, self._frames = card, frames

    def decode(self, latent: Array, condition: Any) -> Array:
        return self._frames[latent[:, 0].astype(np.intp)]


def can_be_stored(card: Card) -> bool:
    """Return whether a card's partials have the layout of a recipe."""
    return frames_of(card) is not None


def frames_of(card: Card) -> PartialsFrames | None:
    """Return the recipe's frames of a card of partials; None if no recipe has its layout."""
    layout = card.partials
    if layout is None:
        return None
    try:
        frames = PartialsFrames(
            sample_rate=card.sample_rate,
            frame_length=card.frame_length,
            hop_length=card.hop_length,
            harmonics=layout.harmonics,
            bands=layout.bands,
            low=layout.low,
            high=layout.high,
            stretch=layout.stretch or False,
            rows=FEWEST_ROWS,
        )
    except ValidationError:
        return None
    return frames if np.allclose(frames.edges_hz, layout.edges_hz, rtol=1e-6) else None


def from_partials(sound: Array, key: int, card: Card) -> Array:
    """Analyze an in-tune note, [samples] at the card's rate, and resynthesize it with the coherent voice: [samples].

    Each frame is analyzed from the card's frame length around its center. The card must pass `can_be_stored`.
    """
    frames, length = frames_of(card), card.frame_length
    assert frames is not None
    empty_model: Any = _StoredFrames(card, np.zeros((0, card.frame_width), np.float32))
    times = CoherentVoicing(empty_model, PLAIN)
    hop, size = times.hop_length, times.frame_length
    count = -(-(len(sound) + size) // hop)
    padded = np.pad(sound, (length // 2, length + size)).astype(np.float32)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, length)[: count * hop : hop]
    keys = np.full(count, key)
    magnitudes = np.abs(np.fft.rfft(pieces * window("hann", length)))[:, first_audible_bin(frames) :]
    strengths = np.sqrt(np.square(magnitudes).sum(1, keepdims=True))
    heights = 10 ** (measure_levels(pieces, keys.astype(np.float32), frames) / 20) * strengths
    stored: Any = _StoredFrames(card, heights.astype(np.float32))
    voicing = CoherentVoicing(stored, PLAIN)
    state, numbers = voicing.start_state(), np.arange(count, dtype=np.float32)[:, np.newaxis]
    resynthesis = np.zeros(count * hop + size, np.float32)
    for first in range(0, count, BATCH):
        batch = slice(first, first + BATCH)
        rows = voicing.make(numbers[batch], keys[batch], np.ones(len(keys[batch])), [state] * len(keys[batch]))
        for number, frame in enumerate(rows[:, 0], first):
            resynthesis[number * hop : number * hop + size] += frame
    return resynthesis[size // 2 : size // 2 + len(sound)]


FOLDS = 5  # cross-validation over keys: train on four parts, test on the fifth
FEWEST = 10  # notes, and as many keys as folds, for a result
STRENGTH = 0.1  # inverse penalty of the logistic regression: few notes, many statistics
WINDOW = 32  # frames, a third of a second: input of the network
STEPS, TRAINING_BATCH, WIDTH, RATE = 150, 32, 32, 3e-3
SEED = 0


class NotePair(NamedTuple):
    """Mel-band levels of the held parts of a recording and its rendition, [frames, 64] each."""

    key: int
    recorded: Array
    played: Array


def pair_of(key: int, recorded: Array, played: Array, rate: int) -> NotePair:
    """Measure a recording and its rendition, [samples] each, within 20 dB of their loudest frames."""
    return NotePair(key, *(held_shapes(sound, rate).astype(np.float32) for sound in (recorded, played)))


def classifier_accuracy(pairs: Sequence[NotePair]) -> dict[str, float] | None:
    """Return the accuracy of two classifiers, 0 to 1, on keys outside their training sets; None for too few notes."""
    keys = sorted({pair.key for pair in pairs})
    if len(pairs) < FEWEST or len(keys) < FOLDS:
        return None
    fold = np.array([keys.index(pair.key) % FOLDS for pair in pairs])
    right = {"statistics": 0.0, "network": 0.0}
    for number in range(FOLDS):
        training_pairs = [pair for pair, pair_fold in zip(pairs, fold, strict=True) if pair_fold != number]
        test_pairs = [pair for pair, pair_fold in zip(pairs, fold, strict=True) if pair_fold == number]
        for name, answers in (("statistics", _by_statistics), ("network", _by_network)):
            right[name] += float(np.sum(answers(training_pairs, test_pairs) == np.tile([0, 1], len(test_pairs))))
    return {name: count / (2 * len(pairs)) for name, count in right.items()}


def _statistics(levels: Array) -> Doubles:
    change = np.abs(np.diff(levels, axis=0)).mean(0) if len(levels) > 1 else np.zeros(levels.shape[1])
    return np.concatenate([levels.mean(0), levels.std(0), change]).astype(np.float64)


def _by_statistics(training_pairs: Sequence[NotePair], test_pairs: Sequence[NotePair]) -> Indices:
    from sklearn.linear_model import LogisticRegression

    training_rows, test_rows = (
        np.array([_statistics(levels) for pair in pairs for levels in (pair.recorded, pair.played)])
        for pairs in (training_pairs, test_pairs)
    )
    middle, spread = training_rows.mean(0), np.maximum(training_rows.std(0), 1e-3)
    model = LogisticRegression(C=STRENGTH, max_iter=2000)
    model.fit((training_rows - middle) / spread, np.tile([0, 1], len(training_pairs)))
    answers: Indices = model.predict((test_rows - middle) / spread)
    return answers


def _by_network(training_pairs: Sequence[NotePair], test_pairs: Sequence[NotePair]) -> Indices:
    sounds = [_long_enough(levels) for pair in training_pairs for levels in (pair.recorded, pair.played)]
    training_levels = np.concatenate(sounds)
    middle, spread = training_levels.mean(0), np.maximum(training_levels.std(0), 1e-3)
    sounds = [np.divide(levels - middle, spread) for levels in sounds]
    rng, labels = np.random.default_rng(SEED), np.tile([0.0, 1.0], len(training_pairs)).astype(np.float32)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(SEED)
        network = nn.Sequential(
            nn.Conv1d(training_levels.shape[1], WIDTH, 5),
            nn.ReLU(),
            nn.Conv1d(WIDTH, WIDTH, 5),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(WIDTH, 1),
        )
        optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.01)
        for _ in range(STEPS):
            batch_indices = rng.integers(len(sounds), size=TRAINING_BATCH)
            starts = [int(rng.integers(len(sounds[i]) - WINDOW + 1)) for i in batch_indices]
            batch = np.stack(
                [sounds[i][start : start + WINDOW] for i, start in zip(batch_indices, starts, strict=True)]
            )
            logits = network(torch.from_numpy(batch.swapaxes(1, 2).copy()))[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(labels[batch_indices]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    network.eval()
    answers = []
    with torch.no_grad():
        for pair in test_pairs:
            for levels in (pair.recorded, pair.played):
                scaled_levels = (_long_enough(levels) - middle) / spread
                answers.append(float(network(torch.from_numpy(scaled_levels.T[np.newaxis].copy()))[0, 0]) > 0)
    return np.array(answers, np.intp)


def _long_enough(levels: Array) -> Array:
    return np.resize(levels, (max(len(levels), WINDOW), levels.shape[1])).astype(np.float32)
