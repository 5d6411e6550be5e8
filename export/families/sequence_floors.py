"""Floors of sequence reports: of predicted frames, and of continued recordings."""

import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ...host.arrays import Array
from ...train.corpus.store import Corpus
from ...train.families.sequence.data import Piece, cut
from ...train.families.sequence.network import RecurrentNetwork
from ...train.families.sequence.recipe import SequenceFrames, SequenceRecipe
from ...train.metrics.rhythm import envelope_correlation
from ...train.sampling import evenly_spaced
from ..measures.clips import median
from ..measures.continuations import MOST_OTHER_SOUNDS, PairMeasure, continuation_floors
from ..measures.floors import Scale, SoundSet, compare_row, floors, jackknife_deviation, mean_error, squared_errors
from ..measures.sounds import edges_db, onset_measure, rms_db
from ..reports.report import SEED, Figures

TAIL = 600  # frames after a recording's end: the post's author waited that long
PART = 100  # frames at each end of the tail, for comparison


class TailLevels(NamedTuple):
    """Levels of a tail's first and last part, in dBFS."""

    first_db: float
    last_db: float

    @property
    def rise_db(self) -> float:
        return self.last_db - self.first_db


def tail_levels(tail: Array, hop: int) -> TailLevels:
    """Return the levels of `PART` frames of ``hop`` samples at both ends of a tail, [samples]."""
    return TailLevels(rms_db(tail[: PART * hop]), rms_db(tail[-PART * hop :]))


@torch.no_grad()
def prediction_floors(
    network: RecurrentNetwork,
    recipe: SequenceRecipe,
    corpus: Corpus,
    predicted_pieces: Sequence[Piece],
    errors: Sequence[Array],
) -> Figures:
    """Return floors of next frames: of training sequences, as standardised.

    Args:
        predicted_pieces: training sequences.
        errors: mean square errors of each sequence's frames after the first, [frames].
    """
    sounds = [cut(corpus, piece, recipe.frames)[1:] for piece in predicted_pieces]
    frames = np.concatenate([network.standard(torch.from_numpy(sound)).numpy() for sound in sounds])
    clips = np.repeat(np.arange(len(sounds)), [len(sound) for sound in sounds])
    samples = np.concatenate(sounds)
    level = np.sqrt(np.square(samples, dtype=np.float64).mean())
    noise = (level * np.random.default_rng(SEED).standard_normal(samples.shape)).astype(np.float32)
    silence, noise_frames = (
        network.standard(torch.from_numpy(answers)).numpy() for answers in (np.zeros_like(samples), noise)
    )
    sound_set = SoundSet(frames, clips)
    scale = Scale("Mean square error", ".4f", np.asarray, squared_errors, mean_error)
    [floored] = floors(
        {"mean_square": scale},
        sound_set,
        sound_set,
        recipe.network.latents,
        silence=silence,
        noise=noise_frames,
    ).values()
    frame_errors = np.concatenate(errors)
    return {
        "mean_square": compare_row(
            floored, mean_error(frame_errors), jackknife_deviation(mean_error, frame_errors, clips)
        )
    }


def rhythm_floors(
    corpus: Corpus,
    training_pieces: Sequence[Piece],
    continued_pieces: Sequence[Piece],
    recordings: Sequence[Array],
    settings: SequenceFrames,
) -> Figures:
    """Return floors of continued recordings, [samples] each.

    Envelopes, onsets and edges are compared with the recordings'; answers to the time after their end are repeated.
    """
    rate, hop = settings.sample_rate, settings.hop_length

    def edges_off_db(sound: Array, target: Array) -> float:
        levels_db = [edges_db(samples, rate, hop, settings.frame_length - hop) for samples in (sound, target)]
        return abs(levels_db[0] - levels_db[1])

    def tail(sound: Array) -> TailLevels:
        return tail_levels(np.resize(sound, TAIL * hop), hop)

    measures = {
        "correlation": PairMeasure("Envelope", ".3f", lambda sound, target: envelope_correlation(target, sound, rate)),
        "onsets": PairMeasure("Onsets, F", ".2f", lambda sound, target: onset_measure(target, sound, rate)),
        "edges_db": PairMeasure("Edges off, dB", ".1f", edges_off_db, rises=False),
        "tail_db": PairMeasure(
            "Tail, dB", "+.0f", lambda sound, target: tail(sound).last_db - rms_db(target), rises=False
        ),
        "rise_db": PairMeasure("Rise, dB", "+.1f", lambda sound, _: tail(sound).rise_db, rises=False),
    }
    other_pieces = [training_pieces[index] for index in evenly_spaced(len(training_pieces), MOST_OTHER_SOUNDS)]
    return continuation_floors(
        recordings,
        np.array([piece.clip.row for piece in continued_pieces]),
        [np.array(corpus.samples(piece.clip)) for piece in other_pieces],
        np.array([piece.clip.row for piece in other_pieces]),
        None,
        measures,
    )


READ: dict[str, Callable[[Figures], float]] = {
    "correlation": operator.itemgetter("correlation"),
    "onsets": operator.itemgetter("onsets"),
    "edges_db": lambda row: abs(row["edges_db"]),
    "tail_db": lambda row: row["tail_db"][1] - row["recording_db"],
    "rise_db": lambda row: row["tail_db"][1] - row["tail_db"][0],
}


def compare_rhythms(floored: Figures, rows: Sequence[Figures]) -> Figures:
    """Return the floors of `rhythm_floors` beside medians of continuations' rows, as `compared` returns them."""
    figures_by_measure = {}
    for measure, floors_of_measure in floored.items():
        values = np.array([READ[measure](row) for row in rows])
        row_deviation = jackknife_deviation(median, values, np.arange(len(values)))
        figures_by_measure[measure] = compare_row(floors_of_measure, median(values), row_deviation)
    return figures_by_measure
