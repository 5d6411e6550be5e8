"""Measures of the sequence study: a network's continuations with each memory, and their floors."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...host.arrays import Array, Integers
from ...host.signal import window
from ...train.corpus.store import Corpus
from ...train.families.sequence.data import cut, joined, pieces
from ...train.families.sequence.network import RecurrentNetwork, following
from ...train.families.sequence.recipe import SequenceRecipe
from ...train.metrics.rhythm import envelope_correlation
from ...train.run import Run, trained
from ...train.sampling import evenly_spaced
from ..families.sequence import MEASURED, predictions, recording
from ..families.sequence_floors import TAIL, TailLevels, tail_levels
from ..measures.sounds import mel_levels, onset_measure, rms_db
from ..reports.report import Figures
from .sequence_sounds import FORMANTS_HZ, KICKS, LOOP, VOWELS

GROWN, CONSTANT, TRIMMED, FIRST = MEMORIES = ("grown", "constant", "trimmed", "first output")
MEMORY_FRAMES, TRIMMED_FRAMES = 16, 4  # the post gives no numbers: a quarter of its loop, and a quarter of that
SEED_FRAMES = 1  # the post's seed
SHOWN = 12  # recordings to continue
HIGH_HZ = 2000.0  # the noise of kicks: an 808's have only their click above it
LEAST_POWER = 1e-12
VOWEL_COUNT = len(FORMANTS_HZ)
VOWEL_RUN = 3  # frames that a vowel must last to count

DRAWS = 19  # noises and shifts of a floor: shifts are twentieths of a recording
Spread = tuple[float, float]  # mean and deviation


class SoundMeasure(NamedTuple):
    """``function`` takes a recording, a sound as long, rate and frame length.

    ``rises``: the larger, the better, or the smaller; None of figures that are neither good nor bad, without floors.
    """

    label: str
    form: str
    function: Callable[[Array, Array, int, int], float]
    rises: bool | None = True


def onset_f(recorded: Array, sound: Array, rate: int, _: int) -> float:
    return onset_measure(recorded, sound, rate)


def envelope(recorded: Array, sound: Array, rate: int, _: int) -> float:
    return envelope_correlation(recorded, sound, rate)


def high_db(recorded: Array, sound: Array, rate: int, _: int) -> float:
    """Return the share of the energy above `HIGH_HZ`, over the recording's, in dB."""
    return _high_share_db(sound, rate) - _high_share_db(recorded, rate)


def _high_share_db(sound: Array, rate: int) -> float:
    bin_powers = np.square(np.abs(np.fft.rfft(sound.astype(np.float64))))
    high_power = bin_powers[np.fft.rfftfreq(len(sound), 1 / rate) >= HIGH_HZ].sum()
    return 10 * float(np.log10((high_power + LEAST_POWER) / (bin_powers.sum() + LEAST_POWER)))


def vowel_agreement(recorded: Array, sound: Array, rate: int, frame_length: int) -> float:
    """Return the share of frames with the recording's vowel."""
    frame_vowels = vowels_of(recorded, sound, rate, frame_length)
    return float(np.mean(frame_vowels == np.arange(len(frame_vowels)) * VOWEL_COUNT // len(frame_vowels)))


def vowel_count(recorded: Array, sound: Array, rate: int, frame_length: int) -> float:
    """Return how many different vowels a sound has, each for `VOWEL_RUN` frames at least."""
    frame_vowels = vowels_of(recorded, sound, rate, frame_length)
    run_starts = np.flatnonzero(np.diff(frame_vowels, prepend=-1))
    run_lengths = np.diff(run_starts, append=len(frame_vowels))
    return float(len(np.unique(frame_vowels[run_starts[run_lengths >= VOWEL_RUN]])))


def vowels_of(recorded: Array, sound: Array, rate: int, frame_length: int) -> Integers:
    """Return each frame's vowel, from 0: that of the recorded frame of the nearest mel levels.

    The recording's vowels are as long; frames after the last one, as of silence, do not count.
    """
    frame_count = len(recorded) // frame_length // VOWEL_COUNT * VOWEL_COUNT
    both_frames = (samples[: frame_count * frame_length].reshape(-1, frame_length) for samples in (recorded, sound))
    recorded_levels, levels = (
        mel_levels(np.abs(np.fft.rfft(frames * window("hann", frame_length))), rate) for frames in both_frames
    )
    nearest_frames = np.square(levels[:, None] - recorded_levels[None]).sum(2).argmin(1)
    vowels: Integers = nearest_frames * VOWEL_COUNT // frame_count
    return vowels


ENVELOPE = SoundMeasure("Envelope", ".3f", envelope)
# By experiment; the first one decides.
MEASURES: dict[str, dict[str, SoundMeasure]] = {
    LOOP: {"onsets": SoundMeasure("Onsets, F", ".2f", onset_f), "envelope": ENVELOPE},
    KICKS: {"envelope": ENVELOPE, "high_db": SoundMeasure("High, dB", "+.1f", high_db, rises=None)},
    VOWELS: {
        "agreement": SoundMeasure("Vowels that agree", "percent", vowel_agreement),
        "vowels": SoundMeasure("Different vowels", ".1f", vowel_count, rises=None),
    },
}


def tail_db(recorded: Array, sound: Array, _: int, frame_length: int) -> float:
    """Return the level at the end of a tail of a repeated sound, over the recording's, in dB."""
    return _repeated_tail(sound, frame_length).last_db - rms_db(recorded)


def rise_db(recorded: Array, sound: Array, _: int, frame_length: int) -> float:
    return _repeated_tail(sound, frame_length).rise_db


def _repeated_tail(sound: Array, frame_length: int) -> TailLevels:
    return tail_levels(np.resize(sound, TAIL * frame_length), frame_length)


# Of the sound after the end; floors' answers are repeated there.
TAILS = {
    "tail_db": SoundMeasure("Tail, dB", "+.0f", tail_db, rises=False),
    "rise_db": SoundMeasure("Rise, dB", "+.1f", rise_db, rises=False),
}


def spread(values: Sequence[float]) -> Spread:
    """Return mean and sample deviation; 0 for a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def floors(
    role: str, recordings: Sequence[Array], continued_recordings: Sequence[Array], rate: int, frame_length: int
) -> dict[str, Figures]:
    """Return the floors of measures, medians over continued recordings, and deviations over draws.

    Floors, by name: ``silence``; white ``noise`` at the recording's level; its first frame ``repeated``; the
    recording ``shifted`` in time, or, of several recordings, ``another`` one.
    """
    rng = np.random.default_rng(0)
    draws_by_floor: dict[str, list[list[Array]]] = {
        "silence": [[np.zeros_like(recorded) for recorded in continued_recordings]],
        "noise": [
            [rms(recorded) * rng.standard_normal(len(recorded), np.float32) for recorded in continued_recordings]
            for _ in range(DRAWS)
        ],
        "repeated": [[np.resize(recorded[:frame_length], len(recorded)) for recorded in continued_recordings]],
    }
    shares = np.arange(1, DRAWS + 1) / (DRAWS + 1)
    if len(recordings) == 1:
        draws_by_floor["shifted"] = [[np.roll(recordings[0], int(share * len(recordings[0])))] for share in shares]
    else:
        # As many places on in the list, a different number in each draw.
        places = [[candidate is recorded for candidate in recordings].index(True) for recorded in continued_recordings]
        steps = np.unique(np.maximum(1, (shares * len(recordings)).astype(np.int64)))
        draws_by_floor["another"] = [
            [recordings[(place + step) % len(recordings)] for place in places] for step in steps.tolist()
        ]
    floor_figures = {}
    for name, measure in (MEASURES[role] | TAILS).items():
        if measure.rises is None:
            continue
        spreads = {
            floor: spread(
                [
                    float(
                        np.median(
                            [
                                measure.function(recorded, sound, rate, frame_length)
                                for recorded, sound in zip(continued_recordings, sounds, strict=True)
                            ]
                        )
                    )
                    for sounds in draws
                ]
            )
            for floor, draws in draws_by_floor.items()
        }
        floor_figures[name] = {
            "label": measure.label,
            "form": measure.form,
            "rises": measure.rises,
            "floors": {floor: mean for floor, (mean, _) in spreads.items()},
            "deviations": {floor: deviation for floor, (_, deviation) in spreads.items()},
            "references": {},
        }
    return floor_figures


def rms(sound: Array) -> float:
    return float(np.sqrt(np.square(sound, dtype=np.float64).mean()))


def read_counts(memory: str, seed: int, count: int) -> Iterator[int]:
    """Yield the number of frames that are read for each frame from ``seed`` to ``count``.

    grown: all; constant: the last `MEMORY_FRAMES`; trimmed: it grows to these, and then starts again from
    `TRIMMED_FRAMES`.
    """
    read_count = seed
    for _ in range(seed, count):
        yield read_count
        read_count += 1
        if memory == CONSTANT:
            read_count = min(read_count, MEMORY_FRAMES)
        elif memory == TRIMMED and read_count > MEMORY_FRAMES:
            read_count = TRIMMED_FRAMES


@torch.no_grad()
def continued(network: RecurrentNetwork, seed: Tensor, codes: Tensor, count: int, memory: str) -> Tensor:
    """Return a seed [1, frames, width] and its continuation, [1, count, width].

    Each new frame is the last output for the frames in the memory, from rest; "first output": for ever the output that
    follows the first frame, as when the post took the wrong end of the network's outputs.
    """
    if memory == GROWN:
        return network.continued(seed, codes, count)  # the state that is carried has read all frames
    frames = list(seed.unbind(1))
    if memory == FIRST:
        first_output = network.predict(F.pad(seed, (0, 0, 1, 0)), codes)[0][:, 1]
        return torch.stack([*frames, *[first_output] * (count - len(frames))], 1)
    for read_count in read_counts(memory, len(frames), count):
        known_frames = F.pad(torch.stack(frames[-read_count:], 1), (0, 0, 1, 0))  # as in training, silence is first
        frames.append(network.predict(known_frames, codes)[0][:, -1])
    return torch.stack(frames, 1)


@torch.no_grad()
def measure_run(run: Run, corpus: Corpus, role: str) -> tuple[Figures, dict[str, Array]]:
    """Return a run's figures, medians over recordings, and the sounds that follow from its first recording's frame."""
    network, _, step = trained(run, "best")
    recipe = run.recipe
    assert isinstance(network, RecurrentNetwork)
    assert isinstance(recipe, SequenceRecipe)
    rate, hop = recipe.frames.sample_rate, recipe.frames.hop_length
    all_pieces = pieces(corpus, "train", recipe.frames)
    piece_indices = evenly_spaced(len(all_pieces), SHOWN).tolist()
    rows, sounds = [], {}
    for memory in MEMORIES:
        tail = TAIL if memory == GROWN else 0
        figures_by_scaling: dict[bool, list[Figures]] = {True: [], False: []}
        for piece_index in piece_indices:
            piece = all_pieces[piece_index]
            recorded = recording(corpus, piece, recipe)
            recorded_frames = network.standard(torch.from_numpy(cut(corpus, piece, recipe.frames)))[None]
            codes = network.codes(torch.tensor([piece_index]))
            frames = continued(network, recorded_frames[:, :SEED_FRAMES], codes, piece.frames + tail, memory)[0]
            for restored, piece_rows in figures_by_scaling.items():
                sound = joined(network.standard.to_samples(frames, restored=restored).numpy(), hop)
                if memory == GROWN and piece_index == piece_indices[0]:
                    sounds["restored" if restored else "unrestored"] = sound
                piece_rows.append(
                    {
                        name: measure.function(recorded, sound[: len(recorded)], rate, hop)
                        for name, measure in MEASURES[role].items()
                    }
                    | _tail_figures(recorded, sound[len(recorded) :], hop)
                )
        read_share = np.mean(list(read_counts(memory, SEED_FRAMES, int(all_pieces.frame_counts.max()))))
        rows += [
            {"memory": memory, "restored": restored, "read_frames": 1.0 if memory == FIRST else float(read_share)}
            | {name: _median([row[name] for row in piece_rows]) for name in piece_rows[0]}
            for restored, piece_rows in figures_by_scaling.items()
        ]
    figures = {
        "steps": step,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "mean_square": next_frame_error(network, recipe, corpus),
        "mean_square_floors": frame_floors(network, recipe, corpus),
        "rows": rows,
    }
    return figures, sounds


@torch.no_grad()
def next_frame_error(network: RecurrentNetwork, recipe: SequenceRecipe, corpus: Corpus) -> float:
    """Return the mean square error of standardised next frames, given all before."""
    predicted = predictions(network, recipe, corpus, pieces(corpus, "train", recipe.frames), MEASURED)
    return float(torch.cat([errors[following(errors, counts)] for _, counts, errors in predicted]).mean())


@torch.no_grad()
def frame_floors(network: RecurrentNetwork, recipe: SequenceRecipe, corpus: Corpus) -> dict[str, float]:
    """Return mean square errors of next frames that need no network: the mean frame, and the frame before."""
    mean_errors, previous_errors = [], []
    for piece in pieces(corpus, "train", recipe.frames):
        frames = network.standard(torch.from_numpy(cut(corpus, piece, recipe.frames)))
        mean_errors.append(frames[1:].square())
        previous_errors.append((frames[1:] - frames[:-1]).square())
    return {
        "the mean frame": float(torch.cat(mean_errors).mean()),
        "the frame before": float(torch.cat(previous_errors).mean()),
    }


def _tail_figures(recorded: Array, tail: Array, hop: int) -> Figures:
    """Return the level of the last part of a tail over the recording's, and its rise since the first part, in dB."""
    if not len(tail):
        return {"tail_db": None, "rise_db": None}
    levels = tail_levels(tail, hop)
    return {"tail_db": levels.last_db - rms_db(recorded), "rise_db": levels.rise_db}


def _median(values: Sequence[float | None]) -> float | None:
    known_values = [value for value in values if value is not None]
    return float(np.median(known_values)) if known_values else None
