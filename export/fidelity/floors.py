"""Floors and bounds of fidelity: second takes, notes resynthesized without a network, classifiers and MP3."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from ...host.arrays import Array, Doubles, Indices
from ...host.audio.sound_files import mp3_bytes, read_sound
from ...host.engines.spectrum.coherent_voicing import CoherentVoicing
from ...host.engines.spectrum.frames import BATCH, PLAIN
from ...host.events import Event, NoteOff, NoteOn
from ...host.model.card import Card
from ...host.preset.library import Patch
from ...host.signal import window
from ...host.spectra import envelope_db
from ...train.corpus.store import Corpus
from ...train.families.partials.data import first_audible_bin, measure_levels
from ...train.families.partials.recipe import PartialsFrames
from ..reports.report import Figures
from .dynamics import in_mono, performed_sides
from .images import differences_of_sides
from .measures import BANDS, HIGHEST_HZ, bands_below, held_shapes, sustain_db
from .notes import NoteSound, RecordedNote, SingleNote, second_take

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
    take_pairs: dict[frozenset[str], tuple[RecordedNote, RecordedNote, int]] = {}
    for note, velocity in notes:
        take = second_take(corpus, note, candidates)
        if take is not None and len(take_pairs) < PAIRS:
            take_pairs.setdefault(frozenset({note.single.clip.name, take.single.clip.name}), (note, take, velocity))
    if not take_pairs:
        return None
    keystrokes = [
        (note.single.key, velocity, min(note.held_seconds, take.held_seconds))
        for note, take, velocity in take_pairs.values()
    ]
    recorded_distances, played_distances = [], []
    for (note, take, _), (_, _, held_seconds), strike_sounds in zip(
        take_pairs.values(), keystrokes, strikes(patch, keystrokes, STRIKES), strict=True
    ):
        compared_samples = round(COMMON * held_seconds * rate)
        recorded_distances.append(_take_distance(note.sound[:compared_samples], take.sound[:compared_samples], rate))
        played_distances += [
            _take_distance(first_strike[:compared_samples], second_strike[:compared_samples], rate)
            for first_strike, second_strike in itertools.combinations(strike_sounds, 2)
        ]
    figures: Figures = {"pairs": len(recorded_distances)}
    for side, take_distances in (("recorded", recorded_distances), ("played", played_distances)):
        median_shape_db, median_level_db = np.median(take_distances, axis=0).tolist()
        figures[side] = {"shape_db": median_shape_db, "level_db": median_level_db}
    return figures


def strikes(patch: Patch, notes: Sequence[tuple[int, int, float]], count: int) -> list[list[Array]]:
    """Strike each note (key, velocity, seconds held) some times in one performance.

    Return the mono sound of each while held, [samples] at the model's rate. The first strike of all is left out, since
    it plays the nearest recording and no take.
    """
    rate = patch.model.card.sample_rate
    events: list[Event] = []
    strike_spans: list[tuple[int, int]] = []
    start_sample = 0
    for key, velocity, held_seconds in [notes[0], *(note for note in notes for _ in range(count))]:
        held_samples = max(1, round(held_seconds * rate))
        events += [NoteOn(start_sample, 0, key, velocity), NoteOff(start_sample + held_samples, 0, key)]
        strike_spans.append((start_sample, start_sample + held_samples))
        start_sample += held_samples + round(REST_SECONDS * rate)
    sound = in_mono(performed_sides(patch, events, start_sample), rate)
    strike_sounds = [sound[start:stop] for start, stop in strike_spans[1:]]
    return [strike_sounds[first_index : first_index + count] for first_index in range(0, len(strike_sounds), count)]


def _take_distance(first: Array, second: Array, rate: int) -> tuple[float, float]:
    """Return the differences of two sounds in shape of the held part and in level, in dB."""
    sample_count = min(len(first), len(second))
    levels_db = [float(envelope_db(sound[np.newaxis], rate)[0].max()) for sound in (first, second)]
    return sustain_db(first[:sample_count], second[:sample_count], rate), abs(levels_db[0] - levels_db[1])


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
        frame_settings = PartialsFrames(
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
    return frame_settings if np.allclose(frame_settings.edges_hz, layout.edges_hz, rtol=1e-6) else None


def from_partials(sound: Array, key: int, card: Card) -> Array:
    """Analyze an in-tune note, [samples] at the card's rate, and resynthesize it with the coherent voice: [samples].

    Each frame is analyzed from the card's frame length around its center. The card must pass `can_be_stored`.
    """
    frame_settings, frame_length = frames_of(card), card.frame_length
    assert frame_settings is not None
    empty_model: Any = _StoredFrames(card, np.zeros((0, card.frame_width), np.float32))
    empty_voicing = CoherentVoicing(empty_model, PLAIN)
    hop, voiced_length = empty_voicing.hop_length, empty_voicing.frame_length
    frame_count = -(-(len(sound) + voiced_length) // hop)
    padded_sound = np.pad(sound, (frame_length // 2, frame_length + voiced_length)).astype(np.float32)
    analysis_frames = np.lib.stride_tricks.sliding_window_view(padded_sound, frame_length)[: frame_count * hop : hop]
    frame_keys = np.full(frame_count, key)
    magnitudes = np.abs(np.fft.rfft(analysis_frames * window("hann", frame_length)))[
        :, first_audible_bin(frame_settings) :
    ]
    frame_strengths = np.sqrt(np.square(magnitudes).sum(1, keepdims=True))
    partial_heights = (
        10 ** (measure_levels(analysis_frames, frame_keys.astype(np.float32), frame_settings) / 20) * frame_strengths
    )
    stored_model: Any = _StoredFrames(card, partial_heights.astype(np.float32))
    voicing = CoherentVoicing(stored_model, PLAIN)
    voice_state, frame_codes = voicing.start_state(), np.arange(frame_count, dtype=np.float32)[:, np.newaxis]
    resynthesis = np.zeros(frame_count * hop + voiced_length, np.float32)
    for batch_start in range(0, frame_count, BATCH):
        batch_slice = slice(batch_start, batch_start + BATCH)
        voiced_frames = voicing.make(
            frame_codes[batch_slice],
            frame_keys[batch_slice],
            np.ones(len(frame_keys[batch_slice])),
            [voice_state] * len(frame_keys[batch_slice]),
        )
        for frame_index, frame in enumerate(voiced_frames[:, 0], batch_start):
            resynthesis[frame_index * hop : frame_index * hop + voiced_length] += frame
    return resynthesis[voiced_length // 2 : voiced_length // 2 + len(sound)]


FOLDS = 5  # cross-validation over keys: train on four parts, test on the fifth
FEWEST = 10  # notes, and as many keys as folds, for a result
STRENGTH = 0.1  # inverse penalty of the logistic regression: few notes, many statistics
WINDOW = 32  # frames, a third of a second: input of the network
STEPS, TRAINING_BATCH, WIDTH, RATE = 150, 32, 32, 3e-3
SEED = 0


class NotePair(NamedTuple):
    """Levels of the held parts of a recording and its rendition in dB, [frames, bands] each.

    By `pair_of` shares of mel bands, by `sides_pair_of` differences of the sides.
    """

    key: int
    recorded: Array
    played: Array


def pair_of(key: int, recorded: Array, played: Array, rate: int) -> NotePair:
    """Measure a recording and its rendition, [samples] each, within 20 dB of their loudest frames.

    Levels are shares of the power in these bands.
    """
    band_count = bands_below(HIGHEST_HZ, rate, BANDS)
    pair_levels = []
    for sound in (recorded, played):
        levels = held_shapes(sound, rate)[:, :band_count]
        levels -= 10 * np.log10((10 ** (levels / 10)).sum(1, keepdims=True))
        pair_levels.append(levels.astype(np.float32))
    return NotePair(key, *pair_levels)


def sides_pair_of(key: int, recorded: Array, played: Array, rate: int) -> NotePair:
    """As `pair_of`, of differences of the sides, [2, samples] each."""
    return NotePair(key, differences_of_sides(recorded, rate), differences_of_sides(played, rate))


def as_mp3(sound: NoteSound, rate: int) -> NoteSound | None:
    """Encode a sound as MP3 of 112 kbit/s, and decode it; None where `mp3_bytes` cannot."""
    channels = sound.mono[np.newaxis] if sound.sides is None else sound.sides
    mp3_data = mp3_bytes(channels, rate)
    if mp3_data is None:
        return None
    decoded_channels = read_sound(Path("recording.mp3"), mp3_data)[0][:, : channels.shape[1]]
    if sound.sides is None:
        return NoteSound(decoded_channels[0])
    return NoteSound(in_mono(decoded_channels, rate), decoded_channels)


def classifier_accuracy(pairs: Sequence[NotePair]) -> dict[str, float] | None:
    """Return the accuracy of two classifiers, 0 to 1, on keys outside their training sets; None for too few notes."""
    keys = sorted({pair.key for pair in pairs})
    if len(pairs) < FEWEST or len(keys) < FOLDS:
        return None
    pair_folds = np.array([keys.index(pair.key) % FOLDS for pair in pairs])
    right_counts = {"statistics": 0.0, "network": 0.0}
    for test_fold in range(FOLDS):
        training_pairs = [pair for pair, pair_fold in zip(pairs, pair_folds, strict=True) if pair_fold != test_fold]
        test_pairs = [pair for pair, pair_fold in zip(pairs, pair_folds, strict=True) if pair_fold == test_fold]
        for classifier_name, classify in (("statistics", _by_statistics), ("network", _by_network)):
            right_counts[classifier_name] += float(
                np.sum(classify(training_pairs, test_pairs) == np.tile([0, 1], len(test_pairs)))
            )
    return {classifier_name: right_count / (2 * len(pairs)) for classifier_name, right_count in right_counts.items()}


def _statistics(levels: Array) -> Doubles:
    """Return means, deviations and mean changes of bands over frames, [3 x bands]."""
    mean_changes = np.abs(np.diff(levels, axis=0)).mean(0) if len(levels) > 1 else np.zeros(levels.shape[1])
    return np.concatenate([levels.mean(0), levels.std(0), mean_changes]).astype(np.float64)


def _by_statistics(training_pairs: Sequence[NotePair], test_pairs: Sequence[NotePair]) -> Indices:
    """Classify test notes by logistic regression on statistics; 1 is a rendition, [2 x test pairs]."""
    from sklearn.linear_model import LogisticRegression

    training_statistics, test_statistics = (
        np.array([_statistics(levels) for pair in pairs for levels in (pair.recorded, pair.played)])
        for pairs in (training_pairs, test_pairs)
    )
    means, deviations = training_statistics.mean(0), np.maximum(training_statistics.std(0), 1e-3)
    regression = LogisticRegression(C=STRENGTH, max_iter=2000)
    regression.fit((training_statistics - means) / deviations, np.tile([0, 1], len(training_pairs)))
    predicted_labels: Indices = regression.predict((test_statistics - means) / deviations)
    return predicted_labels


def _by_network(training_pairs: Sequence[NotePair], test_pairs: Sequence[NotePair]) -> Indices:
    """Classify test notes by a small network on levels; 1 is a rendition, [2 x test pairs]."""
    note_levels = [_long_enough(levels) for pair in training_pairs for levels in (pair.recorded, pair.played)]
    training_levels = np.concatenate(note_levels)
    mean_levels, deviations = training_levels.mean(0), np.maximum(training_levels.std(0), 1e-3)
    note_levels = [np.divide(levels - mean_levels, deviations) for levels in note_levels]
    rng, sound_labels = np.random.default_rng(SEED), np.tile([0.0, 1.0], len(training_pairs)).astype(np.float32)
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
            batch_indices = rng.integers(len(note_levels), size=TRAINING_BATCH)
            window_starts = [int(rng.integers(len(note_levels[i]) - WINDOW + 1)) for i in batch_indices]
            batch_levels = np.stack(
                [
                    note_levels[i][window_start : window_start + WINDOW]
                    for i, window_start in zip(batch_indices, window_starts, strict=True)
                ]
            )
            logits = network(torch.from_numpy(batch_levels.swapaxes(1, 2).copy()))[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(sound_labels[batch_indices]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    network.eval()
    predicted_labels = []
    with torch.no_grad():
        for pair in test_pairs:
            for levels in (pair.recorded, pair.played):
                scaled_levels = (_long_enough(levels) - mean_levels) / deviations
                predicted_labels.append(float(network(torch.from_numpy(scaled_levels.T[np.newaxis].copy()))[0, 0]) > 0)
    return np.array(predicted_labels, np.intp)


def _long_enough(levels: Array) -> Array:
    """Repeat levels up to the length of the network's window."""
    return np.resize(levels, (max(len(levels), WINDOW), levels.shape[1])).astype(np.float32)
