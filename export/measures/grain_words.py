"""Words that a classifier tells in recordings whose windows went through a network, beside floors."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...host.arrays import Array, Integers
from ...train.corpus.clip_table import Clip, Split
from ...train.corpus.store import Corpus
from ...train.families.grain.data import overlapped
from ...train.frames import SILENT
from ...train.metrics.clips import Judge
from ...train.sampling import random_indices
from .clips import accuracy_scale, commonest_share
from .floors import SoundSet, floors, project_onto_components, take_of
from .grains import OTHER_CLIPS, GrainSample, sequence

WORDS = 512  # recordings of a split, at most: shares to two hundredths
OVERLAP = 4  # windows over each sample, as in a report's sounds


def word_floors(
    corpus: Corpus,
    split: Split,
    training: GrainSample,
    rebuild: Callable[[Array], Array],
    judge: Judge,
    labels: Sequence[str],
    numbers: int,
    *,
    strangers: bool,
) -> dict[str, Any]:
    """Return the share of a split's rebuilt recordings that are heard as their label, beside its floors.

    ``recorded`` is that of the recordings themselves, ``clips`` their number. Principal components are of the training
    windows' samples, and recordings are rebuilt of them as of the network's windows.

    Args:
        rebuild: returns windows [windows, frame_length] as the network decodes them.
        judge: its first posteriors are of ``labels``.
        strangers: decoded windows are uncorrelated with their neighbours.
    """
    rng = np.random.default_rng(0)
    clips, training_clips = (_labelled(corpus, part, labels, rng) for part in (split, "train"))
    sounds = [np.array(corpus.samples(clip)) for clip in clips]
    length = training.samples.shape[1]
    longest = max(map(len, sounds))

    def rebuilt(answer: Callable[[Array], Array], *, strangers: bool) -> Array:
        return _padded([_overlapping(sound, length, answer, strangers) for sound in sounds], longest)

    test_labels, training_labels = (_numbers(part_clips, labels) for part_clips in (clips, training_clips))
    scale = accuracy_scale(judge, corpus.rate, test_labels, commonest_share(training_labels, test_labels))
    test_set = SoundSet(_padded(sounds, longest), OTHER_CLIPS + np.arange(len(clips)), takes=_takes(clips))
    training_set = SoundSet(
        _padded([np.array(corpus.samples(clip)) for clip in training_clips], longest),
        np.array([clip.row for clip in training_clips], np.int64),
        takes=_takes(training_clips),
    )
    if split == "train":
        test_set = SoundSet(test_set.sounds, np.array([clip.row for clip in clips], np.int64), takes=test_set.takes)
    [figures] = floors(
        {"words": scale}, training_set, test_set, numbers, rebuilt(rebuild, strangers=strangers)
    ).values()

    def share(answers: Array) -> float:
        return scale.value(scale.terms(test_set.sounds, scale.features(answers)))

    components = rebuilt(lambda windows: project_onto_components(training.samples, windows, numbers), strangers=False)
    figures["references"]["components"] = share(components)
    return {**figures, "recorded": share(test_set.sounds), "clips": len(clips)}


def _labelled(corpus: Corpus, split: Split, labels: Sequence[str], rng: np.random.Generator) -> list[Clip]:
    clips = [clip for clip in corpus.clips(split) if clip.label in labels]
    return [clips[index] for index in random_indices(len(clips), WORDS, rng)]


def _numbers(clips: Sequence[Clip], labels: Sequence[str]) -> Integers:
    return np.array([labels.index(clip.label) for clip in clips], np.int64)


def _takes(clips: Sequence[Clip]) -> list[Any]:
    return [take_of(clip) for clip in clips]


def _padded(sounds: Sequence[Array], length: int) -> Array:
    """Return sounds cut or filled with silence to a length, [sounds, samples]."""
    return np.stack([np.pad(sound[:length], (0, max(0, length - len(sound)))) for sound in sounds]).astype(np.float32)


def _overlapping(sound: Array, length: int, answer: Callable[[Array], Array], strangers: bool) -> Array:
    """Return a sound of overlapping answers to its windows; silent windows stay silent, as none was trained."""
    hop = length // OVERLAP
    windows = sequence(np.pad(sound, (length, length)), length, hop)
    is_silent = np.square(windows, dtype=np.float64).mean(1) <= SILENT**2
    answers = np.where(is_silent[:, np.newaxis], 0, answer(windows)).astype(np.float32)
    return overlapped(answers, hop, "hann", strangers)[length : length + len(sound)]
