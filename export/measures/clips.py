"""Floors of clips: of reconstructions, and of clips of random codes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...host.arrays import Array, Doubles, Integers
from ...host.resynthesis.distance import RANGE_DB, distance_db, distances_db, sounding_frames
from ...host.spectra import CLIP_BANDS, log_mel
from ...train.corpus.clip_table import Split
from ...train.corpus.store import Corpus
from ...train.metrics.clips import (
    Judge,
    attack_seconds,
    envelope_distance_db,
    inception_score,
    pairwise,
    scored_indices,
    silent_shares,
)
from .floors import Rows, Scale, SoundSet, energies, energy_ratio, floors, mean_error, set_scale, take_of


class ClipSet(NamedTuple):
    """Clips of a split, [clips, samples], their names, and label numbers, [clips]."""

    split: Split
    clips: Array
    names: Sequence[str]
    labels: Integers


def scaled(decoded: Array, recordings: Array) -> Array:
    """Return decoded clips with the energies of their recordings, [clips, samples] each."""
    root_energies = [np.sqrt(np.square(clips, dtype=np.float64).sum(1)) for clips in (recordings, decoded)]
    gains = root_energies[0] / np.maximum(root_energies[1], 1e-12)
    scaled_clips: Array = (decoded * gains[:, None]).astype(np.float32)
    return scaled_clips


def median(terms: Rows) -> float:
    return float(np.median(terms))


def log_mel_scale(rate: int) -> Scale:
    """Return the scale of median log-mel distances."""
    return Scale("Log-mel distance, dB", ".2f", lambda clips: log_mel(clips, rate), distance_db, median)


def decoded_scales(rate: int, of_samples: bool) -> dict[str, Scale]:
    """Return the scales of decoded clips, as reports measure them; errors of samples only with ``of_samples``."""

    def attack_errors(targets: Array, answers: Array) -> Array:
        errors_ms: Array = 1000 * np.abs(attack_seconds(targets, rate) - attack_seconds(answers, rate))
        return errors_ms

    def envelope_errors(targets: Array, answers: Array) -> Array:
        return envelope_distance_db(targets, scaled(answers, targets), rate)

    scales = {
        "log_mel_db": log_mel_scale(rate),
        "attack_ms": Scale("Attack, ms", ".2f", np.asarray, attack_errors, median, spans=False),
        "envelope_db": Scale("Loudness, dB", ".2f", np.asarray, envelope_errors, median, spans=False),
    }
    if of_samples:
        scales["relative_error"] = Scale("Relative error", ".3f", np.asarray, energies, energy_ratio)
    return scales


def random_scales(rate: int, judge: Judge | None, labels: Integers | None, chance: float | None) -> dict[str, Scale]:
    """Return the scales of clips of random codes, with ``labels`` asked for and their ``chance`` to be heard."""
    scales = {
        "frechet": set_scale("Fréchet distance, dB²", ".0f", lambda clips: log_mel(clips, rate), _frames),
        "diversity": _diversity_scale(rate),
        "silence": Scale(
            "Silent time, off",
            ".1%",
            lambda clips: silent_shares(clips, rate),
            lambda targets, answers: np.stack([targets, answers], 1),
            lambda terms: abs(float(np.diff(terms.mean(0))[0])),
            spans=False,
            compares_sets=True,
        ),
    }
    if judge is None:
        return scales
    scales["features"] = set_scale(
        "Fréchet distance on features", ".1f", lambda clips: judge(clips, rate).features, np.asarray
    )
    if labels is not None:
        scales["accuracy"] = accuracy_scale(judge, rate, labels, chance)
    return scales


def _diversity_scale(rate: int) -> Scale:
    """Return the scale of the mean distance of all pairs of clips, over that of recordings: 0 of one clip repeated."""

    def terms(targets: Rows, answers: Rows) -> Rows:
        numbers = np.broadcast_to(np.arange(len(targets))[:, np.newaxis], (len(targets), 2))[..., np.newaxis]
        distances = np.stack([distances_db(levels, levels) for levels in (targets, answers)], 1)
        return np.concatenate([numbers, distances], 2)

    def value(rows: Rows) -> float:
        columns = 1 + rows[:, 0, 0].astype(np.int64)  # of the clips that are left, of all
        recorded_db, generated_db = (pairwise(rows[:, side, columns]) for side in range(2))
        return generated_db / max(recorded_db, 1e-9)

    return Scale(
        "Diversity, of recordings",
        ".2f",
        lambda clips: log_mel(clips, rate),
        terms,
        value,
        rises=True,
        compares_sets=True,
    )


def score_scale(judge: Judge, rate: int) -> Scale:
    """Return the scale of inception scores."""
    return Scale(
        "Inception score",
        ".2f",
        lambda clips: judge(clips, rate).posteriors,
        lambda targets, answers: answers,
        inception_score,
        rises=True,
        spans=False,
        compares_sets=True,
        chance=1.0,
    )


def accuracy_scale(judge: Judge, rate: int, labels: Integers, chance: float | None) -> Scale:
    """Return the scale of clips that a classifier takes for their label, [clips]."""
    return Scale(
        "Heard as their label",
        ".1%",
        lambda clips: judge(clips, rate).posteriors,
        lambda targets, answers: answers.argmax(1) == labels,
        mean_error,
        rises=True,
        spans=False,
        chance=chance,
    )


def commonest_share(training: Integers, test: Integers) -> float:
    """Return the share of test labels that the commonest label of training is right about."""
    return float(np.mean(test == np.bincount(training).argmax()))


def clip_floors(
    corpus: Corpus,
    training: ClipSet,
    test: ClipSet,
    numbers: int,
    decoded: Array | None,
    generated: Array | None,
    *,
    of_samples: bool = False,
    judge: Judge | None = None,
    scored: Array | None = None,
    labelled: bool = False,
) -> dict[str, Any]:
    """Return `floors` of decoded clips, if the network decodes any, and of random clips, [clips, samples], if given.

    There are as many random clips as test clips.

    Args:
        numbers: of a code.
        of_samples: decoded clips should match sample by sample.
        judge: hears random clips.
        scored: of the inception score, [clips, samples]. Its floors answer as many recordings of both sets.
        labelled: the generator receives labels.
    """
    training_set, test_set = sound_set(corpus, training), sound_set(corpus, test)
    floor_figures: dict[str, Any] = {}
    if decoded is not None:
        floor_figures = floors(decoded_scales(corpus.rate, of_samples), training_set, test_set, numbers, decoded)
    if generated is None:
        return floor_figures
    labels = test.labels if labelled else None
    chance = commonest_share(training.labels, test.labels) if labelled else None
    scales = random_scales(corpus.rate, judge, labels, chance)
    floor_figures |= floors(scales, training_set, test_set, numbers, generated)
    if judge is None or scored is None:
        return floor_figures
    sounds = np.concatenate([test_set.sounds, training_set.sounds])
    clips = np.concatenate([test_set.clips, training_set.clips])
    indices = scored_indices(len(sounds), len(scored))
    scales = {"score": score_scale(judge, corpus.rate)}
    return floor_figures | floors(scales, training_set, SoundSet(sounds[indices], clips[indices]), numbers, scored)


def sound_set(corpus: Corpus, clips: ClipSet) -> SoundSet:
    """Return clips as a set of sounds."""
    clips_by_name = {clip.name: clip for clip in corpus.clips(clips.split)}
    recordings = [clips_by_name[name] for name in clips.names]
    rows = np.array([clip.row for clip in recordings], np.int64)
    return SoundSet(clips.clips, rows, takes=[take_of(clip) for clip in recordings])


def _frames(levels: Rows) -> Doubles:
    """Return frames that sound, [frames, bands]; two at the lowest level without any."""
    frames = sounding_frames(levels)
    return frames if len(frames) > 1 else np.full((2, CLIP_BANDS), -RANGE_DB)
