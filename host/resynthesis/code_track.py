"""Encodes a sound file: the code of each sounding frame, or of one clip."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..arrays import Array, Doubles
from ..audio.mono import mono, opened
from ..contract.card import Card
from ..contract.encoder import SILENT, Encoder
from ..contract.model import Model
from ..errors import UserError
from ..kinds.partials.partial_spectra import filled, middle_of
from ..kinds.spectrum.harmonic_shift import moved_down, octaves_above
from ..kinds.spectrum.pitch_detection import fundamentals
from ..kinds.table import kind_of
from ..stft import window
from .clip_extraction import whole_clip

BATCH = 64  # frames per run: larger batches are no faster
QUIET = 10 ** (-50 / 20)  # of the loudest frame: quieter frames are tail and noise, without timbre


class CodeTrack(NamedTuple):
    """Codes of sounding frames, or of a clip, [frame_length], with its predicted label.

    ``taken`` describes the clip's part of the sound.
    """

    seconds: Doubles  # [frames]: time of each frame's middle
    codes: Doubles  # [frames, n_latents]; [frames, 0] without an encoder
    found: int  # frames, silent ones included
    length_seconds: float
    taken: str = ""
    label: str | None = None
    clip: Array | None = None


def follow(sound: Path, model: Model, progress: Callable[[float], None] | None = None) -> CodeTrack:
    """Encode a sound, a frame per hop; only codes stay in memory.

    Raises:
        UserError: the sound is unreadable, silent or shorter than a frame, or the model has no encoder of its own.
        Failure: a code is not finite.
    """
    return listen(sound, model.card, Encoder(model), progress)


def listen(
    sound: Path, card: Card, encoder: Encoder | None, progress: Callable[[float], None] | None = None
) -> CodeTrack:
    """As `follow`; without an encoder, codes are [frames, 0]."""
    if kind_of(card).of_clips:
        return clip_of(sound, card, encoder)
    levels, codes, waiting, taken = [], [], np.zeros(0, np.float32), 0
    encode = _Codes(card, encoder)
    with opened(sound) as reader:
        for block in mono(reader, card.sample_rate):
            waiting, taken = np.concatenate([waiting, block]), taken + len(block)
            count = max(0, (len(waiting) - card.frame_length) // card.hop_length + 1)
            for first in range(0, count, BATCH):
                frames = _frames(waiting, first, min(first + BATCH, count), card)
                level = frames.std(axis=1)  # the deviation ignores a recording's DC offset
                levels.append(level)
                if np.any(level > SILENT):
                    codes.append(encode(frames[level > SILENT]))
            waiting = waiting[count * card.hop_length :]
            if progress is not None:
                progress(min(1.0, taken * reader.sample_rate / (max(1, reader.length) * card.sample_rate)))
    seconds = taken / card.sample_rate
    if not levels:
        raise too_short(sound, seconds, card)
    level = np.concatenate(levels)
    if not codes:
        raise silent(sound)
    heard = np.flatnonzero(level > SILENT)
    loud = level[heard] > QUIET * level.max()
    middles = (heard[loud] * card.hop_length + card.frame_length / 2) / card.sample_rate
    return CodeTrack(middles, np.concatenate(codes)[loud].astype(np.float64), len(level), seconds)


class _Codes:
    """Encodes as in training: in one octave, or with pitches, gaps filled."""

    def __init__(self, card: Card, encoder: Encoder | None) -> None:
        self._card, self._encoder = card, encoder
        self._moves = card.chroma is not None and card.chroma.folded
        self._last = middle_of(card) if card.partials is not None else 0.0

    def __call__(self, frames: Array) -> Array:
        card, encoder = self._card, self._encoder
        if encoder is None:
            return np.zeros((len(frames), 0), np.float32)
        if not self._moves and card.partials is None:
            return encoder.encode(frames)
        magnitudes = np.abs(np.fft.rfft(frames * window("hann", card.frame_length))).astype(np.float32)
        pitches = fundamentals(magnitudes, card.sample_rate)
        if self._moves:
            return encoder.encode(moved_down(frames, octaves_above(pitches, card)))
        without_gaps = filled(pitches, self._last)
        self._last = float(without_gaps[-1])
        return encoder.encode(frames, without_gaps)


def clip_of(sound: Path, card: Card, encoder: Encoder | None) -> CodeTrack:
    """Encode the clip-length part of a sound.

    Raises:
        UserError: the sound is unreadable or silent.
        Failure: the code is not finite.
    """
    with opened(sound) as reader, opened(sound) as again:
        blocks, others = (mono(one, card.sample_rate) for one in (reader, again))
        clip = whole_clip(blocks, others, card.frame_length, card.sample_rate)
    if clip.samples.std() <= SILENT:
        raise silent(sound)
    seconds, length = clip.length / card.sample_rate, card.frame_length / card.sample_rate
    begin = clip.first / card.sample_rate
    if clip.length < card.frame_length:
        taken = f"its {seconds:.3g} s, and silence up to the {length:.3g} s of the model's clips"
    elif clip.length > card.frame_length:
        taken = f"of its {seconds:.3g} s the {length:.3g} s from {begin:.2f} s on, where its loudest sound begins"
    else:
        taken = f"its {seconds:.3g} s"
    frames, label = clip.samples[np.newaxis], None
    none = np.zeros((1, 0), np.float32)
    codes, labels = (none, None) if encoder is None else encoder.encode_with_labels(frames)
    if labels is not None:
        label, share = card.labels[int(labels[0].argmax())], float(labels[0].max())
        taken += f", taken for {label!r} ({share:.0%})"
    return CodeTrack(np.array([begin + length / 2]), codes.astype(np.float64), 1, seconds, taken, label, clip.samples)


def pieces(sound: Path, card: Card, seconds: Sequence[float] | Doubles, beside: int = 0) -> Array:
    """Frames centred at times in seconds, [frames, frame_length + 2 × beside]; zeros beyond the sound."""
    length = card.frame_length + 2 * beside
    starts = np.round(np.asarray(seconds) * card.sample_rate - length / 2).astype(np.int64)
    found, at = np.zeros((len(starts), length), np.float32), 0
    with opened(sound) as reader:
        for block in mono(reader, card.sample_rate):
            for row in np.flatnonzero((starts < at + len(block)) & (starts + length > at)):
                first = max(int(starts[row]), at)
                part = block[first - at : int(starts[row]) + length - at]
                found[row, first - starts[row] : first - starts[row] + len(part)] = part
            at += len(block)
    return found


def part_of(sound: Path, card: Card, begin: float, end: float) -> Array:
    """Samples between two times in seconds, at the model's rate; fewer at the sound's end."""
    first, last, at = round(begin * card.sample_rate), round(end * card.sample_rate), 0
    found = [np.zeros(0, np.float32)]
    with opened(sound) as reader:
        for block in mono(reader, card.sample_rate):
            found.append(block[max(0, first - at) : max(0, last - at)])
            at += len(block)
            if at >= last:
                break
    return np.concatenate(found)


def too_short(sound: Path, seconds: float, card: Card) -> UserError:
    return UserError(
        f"{sound} lasts {seconds:.3g} s, and a frame of model {card.name!r} "
        f"{card.frame_length / card.sample_rate:.3g} s; give a longer sound"
    )


def silent(sound: Path) -> UserError:
    return UserError(f"{sound} is silent, no frame is louder than -80 dB; give a sound that can be heard")


def _frames(samples: Array, first: int, last: int, card: Card) -> Array:
    views = np.lib.stride_tricks.sliding_window_view(samples, card.frame_length)
    return views[first * card.hop_length : (last - 1) * card.hop_length + 1 : card.hop_length]
