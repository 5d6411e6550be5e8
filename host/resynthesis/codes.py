"""Encodes a sound file: the code of each sounding frame, or of one clip; simplifies paths of codes."""

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Doubles
from ..audio.sound_files import mono, opened
from ..engines.spectrum.harmonic_shift import filled, middle_of, moved_down, octaves_above
from ..engines.spectrum.partial_analysis import fundamentals
from ..errors import UserError
from ..kinds.table import kind_of
from ..model.card import Card, in_deviations
from ..model.encoder import SILENT, Encoder
from ..model.model import Model
from ..signal import window

AT_ONCE = 1024  # codes compared at once: limits memory for long sounds


def distances(codes: Doubles, marks: Doubles) -> Doubles:
    """Distance of each code to the nearest mark, [frames]."""
    parts = (codes[first : first + AT_ONCE, None] for first in range(0, len(codes), AT_ONCE))
    return np.concatenate([np.sqrt(np.square(part - marks).sum(axis=2).min(axis=1)) for part in parts])


def landmark_codes(card: Card) -> Doubles:
    """Codes of a card's landmarks, [landmarks, n_latents]."""
    return np.array([mark.latent for mark in card.landmarks]).reshape(-1, len(card.latents))


def outside(code: Doubles, card: Card) -> str:
    """Names of latents out of range."""
    names = [
        latent.name
        for latent, value in zip(card.latents, code.tolist(), strict=True)
        if not latent.low <= value <= latent.high
    ]
    return ", ".join(names)


class Span:
    """The region of training codes: the latents' ranges, within the landmarks' radius around the mean in deviations.

    ``middle`` and ``width`` are of the ranges, [n_latents].
    """

    def __init__(self, card: Card) -> None:
        self._low, self._high = (np.array([getattr(one, end) for one in card.latents]) for end in ("low", "high"))
        self.middle, self.width = (self._low + self._high) / 2, self._high - self._low
        self._mean = np.clip([one.mean for one in card.latents], self._low, self._high)
        self._scale = in_deviations(card)
        self._radius = float(self._away(landmark_codes(card)).max(initial=0.0)) or np.inf

    def into(self, code: Doubles) -> Doubles:
        """Clamp a code to the ranges, then pull it straight towards the mean."""
        within = np.clip(code, self._low, self._high)
        away = float(self._away(within[np.newaxis])[0])
        return within if away <= self._radius else self._mean + (within - self._mean) * (self._radius / away)

    def beyond(self, code: Doubles, way: Doubles) -> npt.NDArray[np.bool_]:
        """Mask of latents that a step would move past their range, [n_latents]."""
        return ((code <= self._low) & (way < 0)) | ((code >= self._high) & (way > 0))

    def _away(self, codes: Doubles) -> Doubles:
        away: Doubles = np.sqrt(np.square((codes - self._mean) * self._scale).sum(1))
        return away


STEP_SECONDS = 0.005  # resolution of the level
QUIET_STEP = 10 ** (-40 / 20)  # of the loudest step: quieter steps precede the onset


class ExtractedClip(NamedTuple):
    samples: Array  # [frame_length]
    first: int  # sample in the sound
    length: int  # samples of the sound


def whole_clip(blocks: Iterable[Array], again: Iterable[Array], length: int, rate: int) -> ExtractedClip:
    """``length`` samples of a sound at ``rate`` Hz, padded with silence.

    A longer sound is cut at the onset of its loudest sound, after the last quiet step before the peak, and keeps the
    peak. ``blocks`` and ``again`` yield the sound, [n] a block.
    """
    step = max(1, round(STEP_SECONDS * rate))
    levels, total = _levels(blocks, step)
    first = 0 if total <= length else min(_onset(levels, length // step) * step, total - 1)
    samples, at = np.zeros(length, np.float32), 0
    for block in again:
        piece = block[max(0, first - at) : max(0, first + length - at)]
        begin = max(0, at - first)
        samples[begin : begin + len(piece)] = piece
        at += len(block)
    return ExtractedClip(samples, first, total)


def _levels(blocks: Iterable[Array], step: int) -> tuple[Array, int]:
    found, waiting, total = [], np.zeros(0, np.float32), 0
    for block in blocks:
        waiting, total = np.concatenate([waiting, block]), total + len(block)
        whole = len(waiting) // step * step
        found.append(np.square(waiting[:whole].reshape(-1, step)).mean(axis=1))
        waiting = waiting[whole:]
    if len(waiting):
        found.append(np.array([np.square(waiting).mean()]))
    return np.sqrt(np.concatenate([*found, np.zeros(1)])).astype(np.float32), total


def _onset(levels: Array, most: int) -> int:
    loudest = int(levels.argmax())
    quiet = np.flatnonzero(levels[:loudest] < QUIET_STEP * levels[loudest])
    begun = int(quiet[-1]) + 1 if len(quiet) else 0
    return max(begun, loudest - math.floor(0.9 * most))


BATCH = 64  # frames per run: larger batches are no faster
QUIET_FRAME = 10 ** (-50 / 20)  # of the loudest frame: quieter frames are tail and noise, without timbre


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
    loud = level[heard] > QUIET_FRAME * level.max()
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


SAME = 0.01  # deviations: a path within this error of all codes needs no more points


def simplified(seconds: Doubles, codes: Doubles, count: int) -> list[int]:
    """Frames, increasing, to keep for a piecewise linear path through [frames, n] codes in deviations.

    Douglas and Peucker (1973, Algorithms for the reduction of the number of points), splitting the worst line first,
    until ``count`` frames are kept or all errors are within `SAME`. ``seconds``, [frames], at least two, increase.
    """

    def leg(start: int, end: int) -> tuple[float, int, int, int]:
        between = slice(start + 1, end)
        line = drawn(seconds[between], seconds[[start, end]], codes[[start, end]])
        distances = np.sqrt(np.square(codes[between] - line).sum(axis=1))
        worst = int(distances.argmax()) if len(distances) else 0
        return -float(distances[worst]) if len(distances) else 0.0, start, start + 1 + worst, end

    legs = [leg(0, len(codes) - 1)]
    kept = {0, len(codes) - 1}
    while len(kept) < count and -legs[0][0] > SAME:
        _, start, middle, end = heapq.heappop(legs)
        kept.add(middle)
        heapq.heappush(legs, leg(start, middle))
        heapq.heappush(legs, leg(middle, end))
    return sorted(kept)


def smoothed(codes: Doubles, frames: float) -> Doubles:
    """Running median of each latent over about ``frames``, [frames, n]."""
    side = round(frames / 2)
    padded = np.pad(codes, ((side, side), (0, 0)), mode="edge")
    views = np.lib.stride_tricks.sliding_window_view(padded, 2 * side + 1, axis=0)
    parts = [np.median(views[first : first + AT_ONCE], axis=2) for first in range(0, len(codes), AT_ONCE)]
    return np.concatenate(parts)


def drawn(seconds: Doubles, times: Doubles, path: Doubles) -> Doubles:
    """Interpolate a path linearly at times, [seconds, n]."""
    return np.stack([np.interp(seconds, times, latent) for latent in path.T], axis=1)
