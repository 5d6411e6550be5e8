"""Trains classifiers to distinguish an instrument's notes from recordings; chance is 50 %."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ...host.arrays import Array, Doubles, Indices
from .measures import held_shapes

FOLDS = 5  # cross-validation over keys: train on four parts, test on the fifth
FEWEST = 10  # notes, and as many keys as folds, for a result
STRENGTH = 0.1  # inverse penalty of the logistic regression: few notes, many statistics
WINDOW = 32  # frames, a third of a second: input of the network
STEPS, BATCH, WIDTH, RATE = 150, 32, 32, 3e-3
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
        known = [pair for pair, of in zip(pairs, fold, strict=True) if of != number]
        asked = [pair for pair, of in zip(pairs, fold, strict=True) if of == number]
        for name, answers in (("statistics", _by_statistics), ("network", _by_network)):
            right[name] += float(np.sum(answers(known, asked) == np.tile([0, 1], len(asked))))
    return {name: count / (2 * len(pairs)) for name, count in right.items()}


def _statistics(levels: Array) -> Doubles:
    change = np.abs(np.diff(levels, axis=0)).mean(0) if len(levels) > 1 else np.zeros(levels.shape[1])
    return np.concatenate([levels.mean(0), levels.std(0), change]).astype(np.float64)


def _by_statistics(known: Sequence[NotePair], asked: Sequence[NotePair]) -> Indices:
    from sklearn.linear_model import LogisticRegression

    told, others = (
        np.array([_statistics(levels) for pair in pairs for levels in (pair.recorded, pair.played)])
        for pairs in (known, asked)
    )
    middle, spread = told.mean(0), np.maximum(told.std(0), 1e-3)
    model = LogisticRegression(C=STRENGTH, max_iter=2000)
    model.fit((told - middle) / spread, np.tile([0, 1], len(known)))
    answers: Indices = model.predict((others - middle) / spread)
    return answers


def _by_network(known: Sequence[NotePair], asked: Sequence[NotePair]) -> Indices:
    sounds = [_long_enough(levels) for pair in known for levels in (pair.recorded, pair.played)]
    every = np.concatenate(sounds)
    middle, spread = every.mean(0), np.maximum(every.std(0), 1e-3)
    sounds = [np.divide(levels - middle, spread) for levels in sounds]
    rng, labels = np.random.default_rng(SEED), np.tile([0.0, 1.0], len(known)).astype(np.float32)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(SEED)
        network = nn.Sequential(
            nn.Conv1d(every.shape[1], WIDTH, 5),
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
            drawn = rng.integers(len(sounds), size=BATCH)
            starts = [int(rng.integers(len(sounds[i]) - WINDOW + 1)) for i in drawn]
            batch = np.stack([sounds[i][at : at + WINDOW] for i, at in zip(drawn, starts, strict=True)])
            given = network(torch.from_numpy(batch.swapaxes(1, 2).copy()))[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(given, torch.from_numpy(labels[drawn]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    network.eval()
    found = []
    with torch.no_grad():
        for pair in asked:
            for levels in (pair.recorded, pair.played):
                whole = (_long_enough(levels) - middle) / spread
                found.append(float(network(torch.from_numpy(whole.T[np.newaxis].copy()))[0, 0]) > 0)
    return np.array(found, np.intp)


def _long_enough(levels: Array) -> Array:
    return np.resize(levels, (max(len(levels), WINDOW), levels.shape[1])).astype(np.float32)
