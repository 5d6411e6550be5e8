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

CHUNK_FRAMES = 1024  # codes compared at once: limits memory for long sounds


def distances(codes: Doubles, marks: Doubles) -> Doubles:
    """Distance of each code to the nearest mark, [frames]."""
    parts = (codes[first : first + CHUNK_FRAMES, None] for first in range(0, len(codes), CHUNK_FRAMES))
    return np.concatenate([np.sqrt(np.square(part - marks).sum(axis=2).min(axis=1)) for part in parts])


def landmark_codes(card: Card) -> Doubles:
    """Codes of a card's landmarks, [landmarks, n_latents]."""
    return np.array([mark.latent for mark in card.landmarks]).reshape(-1, len(card.latents))


def latents_outside(code: Doubles, card: Card) -> str:
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
        self._low, self._high = (np.array([getattr(latent, end) for latent in card.latents]) for end in ("low", "high"))
        self.middle, self.width = (self._low + self._high) / 2, self._high - self._low
        self._mean = np.clip([latent.mean for latent in card.latents], self._low, self._high)
        self._scale = in_deviations(card)
        self._radius = float(self._deviations(landmark_codes(card)).max(initial=0.0)) or np.inf

    def into(self, code: Doubles) -> Doubles:
        """Clamp a code to the ranges, then pull it straight towards the mean."""
        clamped = np.clip(code, self._low, self._high)
        deviations = float(self._deviations(clamped[np.newaxis])[0])
        return (
            clamped if deviations <= self._radius else self._mean + (clamped - self._mean) * (self._radius / deviations)
        )

    def beyond(self, code: Doubles, step: Doubles) -> npt.NDArray[np.bool_]:
        """Mask of latents that a step would move past their range, [n_latents]."""
        return ((code <= self._low) & (step < 0)) | ((code >= self._high) & (step > 0))

    def _deviations(self, codes: Doubles) -> Doubles:
        deviations: Doubles = np.sqrt(np.square((codes - self._mean) * self._scale).sum(1))
        return deviations


STEP_SECONDS = 0.005  # resolution of the level
QUIET_STEP = 10 ** (-40 / 20)  # of the loudest step: quieter steps precede the onset


class ExtractedClip(NamedTuple):
    samples: Array  # [frame_length]
    first: int  # sample in the sound
    length: int  # samples of the sound


def whole_clip(blocks: Iterable[Array], reread_blocks: Iterable[Array], length: int, rate: int) -> ExtractedClip:
    """``length`` samples of a sound at ``rate`` Hz, padded with silence.

    A longer sound is cut at the onset of its loudest sound, after the last quiet step before the peak, and keeps the
    peak. ``blocks`` and ``reread_blocks`` yield the sound, [n] a block.
    """
    step = max(1, round(STEP_SECONDS * rate))
    levels, total = _levels(blocks, step)
    first = 0 if total <= length else min(_onset(levels, length // step) * step, total - 1)
    samples, block_start = np.zeros(length, np.float32), 0
    for block in reread_blocks:
        piece = block[max(0, first - block_start) : max(0, first + length - block_start)]
        begin = max(0, block_start - first)
        samples[begin : begin + len(piece)] = piece
        block_start += len(block)
    return ExtractedClip(samples, first, total)


def _levels(blocks: Iterable[Array], step: int) -> tuple[Array, int]:
    mean_squares, buffer, total = [], np.zeros(0, np.float32), 0
    for block in blocks:
        buffer, total = np.concatenate([buffer, block]), total + len(block)
        full_length = len(buffer) // step * step
        mean_squares.append(np.square(buffer[:full_length].reshape(-1, step)).mean(axis=1))
        buffer = buffer[full_length:]
    if len(buffer):
        mean_squares.append(np.array([np.square(buffer).mean()]))
    return np.sqrt(np.concatenate([*mean_squares, np.zeros(1)])).astype(np.float32), total


def _onset(levels: Array, clip_steps: int) -> int:
    loudest = int(levels.argmax())
    quiet = np.flatnonzero(levels[:loudest] < QUIET_STEP * levels[loudest])
    onset = int(quiet[-1]) + 1 if len(quiet) else 0
    # The peak stays within the clip's first nine tenths, so that some of its decay is kept.
    return max(onset, loudest - math.floor(0.9 * clip_steps))


BATCH = 64  # frames per run: larger batches are no faster
QUIET_FRAME = 10 ** (-50 / 20)  # of the loudest frame: quieter frames are tail and noise, without timbre


class CodeTrack(NamedTuple):
    """Codes of sounding frames, or of a clip, [frame_length], with its predicted label.

    ``excerpt`` describes the clip's part of the sound.
    """

    seconds: Doubles  # [frames]: time of each frame's middle
    codes: Doubles  # [frames, n_latents]; [frames, 0] without an encoder
    frame_count: int  # frames, silent ones included
    length_seconds: float
    excerpt: str = ""
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
    levels, codes, buffer, read_length = [], [], np.zeros(0, np.float32), 0
    encode = _Codes(card, encoder)
    with opened(sound) as reader:
        for block in mono(reader, card.sample_rate):
            buffer, read_length = np.concatenate([buffer, block]), read_length + len(block)
            count = max(0, (len(buffer) - card.frame_length) // card.hop_length + 1)
            for first in range(0, count, BATCH):
                frames = _frames(buffer, first, min(first + BATCH, count), card)
                level = frames.std(axis=1)  # the deviation ignores a recording's DC offset
                levels.append(level)
                if np.any(level > SILENT):
                    codes.append(encode(frames[level > SILENT]))
            buffer = buffer[count * card.hop_length :]
            if progress is not None:
                progress(min(1.0, read_length * reader.sample_rate / (max(1, reader.length) * card.sample_rate)))
    seconds = read_length / card.sample_rate
    if not levels:
        raise too_short(sound, seconds, card)
    level = np.concatenate(levels)
    if not codes:
        raise silent(sound)
    sounding_frames = np.flatnonzero(level > SILENT)
    loud = level[sounding_frames] > QUIET_FRAME * level.max()
    middles = (sounding_frames[loud] * card.hop_length + card.frame_length / 2) / card.sample_rate
    return CodeTrack(middles, np.concatenate(codes)[loud].astype(np.float64), len(level), seconds)


class _Codes:
    """Encodes as in training: in one octave, or with pitches, gaps filled."""

    def __init__(self, card: Card, encoder: Encoder | None) -> None:
        self._card, self._encoder = card, encoder
        self._folds_octaves = card.chroma is not None and card.chroma.folded
        self._last_pitch = middle_of(card) if card.partials is not None else 0.0

    def __call__(self, frames: Array) -> Array:
        card, encoder = self._card, self._encoder
        if encoder is None:
            return np.zeros((len(frames), 0), np.float32)
        if not self._folds_octaves and card.partials is None:
            return encoder.encode(frames)
        magnitudes = np.abs(np.fft.rfft(frames * window("hann", card.frame_length))).astype(np.float32)
        pitches = fundamentals(magnitudes, card.sample_rate)
        if self._folds_octaves:
            return encoder.encode(moved_down(frames, octaves_above(pitches, card)))
        without_gaps = filled(pitches, self._last_pitch)
        self._last_pitch = float(without_gaps[-1])
        return encoder.encode(frames, without_gaps)


def clip_of(sound: Path, card: Card, encoder: Encoder | None) -> CodeTrack:
    """Encode the clip-length part of a sound.

    Raises:
        UserError: the sound is unreadable or silent.
        Failure: the code is not finite.
    """
    with opened(sound) as reader, opened(sound) as second_reader:
        blocks, reread_blocks = (mono(source, card.sample_rate) for source in (reader, second_reader))
        clip = whole_clip(blocks, reread_blocks, card.frame_length, card.sample_rate)
    if clip.samples.std() <= SILENT:
        raise silent(sound)
    seconds, length = clip.length / card.sample_rate, card.frame_length / card.sample_rate
    start_seconds = clip.first / card.sample_rate
    if clip.length < card.frame_length:
        excerpt = f"its {seconds:.3g} s, and silence up to the {length:.3g} s of the model's clips"
    elif clip.length > card.frame_length:
        excerpt = (
            f"of its {seconds:.3g} s the {length:.3g} s from {start_seconds:.2f} s on, where its loudest sound begins"
        )
    else:
        excerpt = f"its {seconds:.3g} s"
    frames, label = clip.samples[np.newaxis], None
    no_codes = np.zeros((1, 0), np.float32)
    codes, labels = (no_codes, None) if encoder is None else encoder.encode_with_labels(frames)
    if labels is not None:
        label, share = card.labels[int(labels[0].argmax())], float(labels[0].max())
        excerpt += f", taken for {label!r} ({share:.0%})"
    return CodeTrack(
        np.array([start_seconds + length / 2]), codes.astype(np.float64), 1, seconds, excerpt, label, clip.samples
    )


def pieces(sound: Path, card: Card, seconds: Sequence[float] | Doubles, margin: int = 0) -> Array:
    """Frames centred at times in seconds, [frames, frame_length + 2 × beside]; zeros beyond the sound."""
    length = card.frame_length + 2 * margin
    starts = np.round(np.asarray(seconds) * card.sample_rate - length / 2).astype(np.int64)
    frames, block_start = np.zeros((len(starts), length), np.float32), 0
    with opened(sound) as reader:
        for block in mono(reader, card.sample_rate):
            for row in np.flatnonzero((starts < block_start + len(block)) & (starts + length > block_start)):
                first = max(int(starts[row]), block_start)
                part = block[first - block_start : int(starts[row]) + length - block_start]
                frames[row, first - starts[row] : first - starts[row] + len(part)] = part
            block_start += len(block)
    return frames


def part_of(sound: Path, card: Card, begin: float, end: float) -> Array:
    """Samples between two times in seconds, at the model's rate; fewer at the sound's end."""
    first, last, block_start = round(begin * card.sample_rate), round(end * card.sample_rate), 0
    blocks = [np.zeros(0, np.float32)]
    with opened(sound) as reader:
        for block in mono(reader, card.sample_rate):
            blocks.append(block[max(0, first - block_start) : max(0, last - block_start)])
            block_start += len(block)
            if block_start >= last:
                break
    return np.concatenate(blocks)


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
        inner = slice(start + 1, end)
        line = interpolate_path(seconds[inner], seconds[[start, end]], codes[[start, end]])
        distances = np.sqrt(np.square(codes[inner] - line).sum(axis=1))
        worst = int(distances.argmax()) if len(distances) else 0
        return -float(distances[worst]) if len(distances) else 0.0, start, start + 1 + worst, end

    legs = [leg(0, len(codes) - 1)]
    vertices = {0, len(codes) - 1}
    while len(vertices) < count and -legs[0][0] > SAME:
        _, start, middle, end = heapq.heappop(legs)
        vertices.add(middle)
        heapq.heappush(legs, leg(start, middle))
        heapq.heappush(legs, leg(middle, end))
    return sorted(vertices)


def smoothed(codes: Doubles, frames: float) -> Doubles:
    """Running median of each latent over about ``frames``, [frames, n]."""
    side = round(frames / 2)
    padded = np.pad(codes, ((side, side), (0, 0)), mode="edge")
    views = np.lib.stride_tricks.sliding_window_view(padded, 2 * side + 1, axis=0)
    parts = [np.median(views[first : first + CHUNK_FRAMES], axis=2) for first in range(0, len(codes), CHUNK_FRAMES)]
    return np.concatenate(parts)


def interpolate_path(seconds: Doubles, times: Doubles, path: Doubles) -> Doubles:
    """Interpolate a path linearly at times, [seconds, n]."""
    return np.stack([np.interp(seconds, times, latent) for latent in path.T], axis=1)
