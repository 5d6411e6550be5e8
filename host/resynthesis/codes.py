"""Encodes a sound file: the code of each sounding frame, or of one clip; simplifies paths of codes."""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Doubles, Integers
from ..audio.sound_files import mono, mono_or_sides, opened
from ..engines.spectrum.harmonic_shift import filled, middle_of, moved_down, octaves_above
from ..engines.spectrum.partial_analysis import fundamentals
from ..errors import UserError
from ..kinds.table import kind_of
from ..model.card import Card, in_deviations
from ..model.encoder import SILENT, Encoder
from ..model.model import Model
from ..signal import window

CHUNK_FRAMES = 1024  # codes compared at once: limits memory for long sounds
MOST_NAMED = 3  # latents in a warning: names of ends are long


def distances(codes: Doubles, marks: Doubles) -> Doubles:
    """Distance of each code to the nearest mark, [frames]."""
    code_chunks = (codes[first : first + CHUNK_FRAMES, None] for first in range(0, len(codes), CHUNK_FRAMES))
    return np.concatenate(
        [np.sqrt(np.square(code_chunk - marks).sum(axis=2).min(axis=1)) for code_chunk in code_chunks]
    )


def landmark_codes(card: Card) -> Doubles:
    """Codes of a card's landmarks, [landmarks, n_latents]."""
    return np.array([mark.latent for mark in card.landmarks]).reshape(-1, len(card.latents))


def latents_outside(code: Doubles, card: Card) -> str:
    """Names of latents out of range, separated by commas, at most `MOST_NAMED` of them; empty without."""
    latent_names = [
        latent.name
        for latent, latent_value in zip(card.latents, code.tolist(), strict=True)
        if not latent.low <= latent_value <= latent.high
    ]
    more_text = f" and {len(latent_names) - MOST_NAMED} more" if len(latent_names) > MOST_NAMED else ""
    return ", ".join(latent_names[:MOST_NAMED]) + more_text


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
        clamped_code = np.clip(code, self._low, self._high)
        mean_distance = float(self._deviations(clamped_code[np.newaxis])[0])
        return (
            clamped_code
            if mean_distance <= self._radius
            else self._mean + (clamped_code - self._mean) * (self._radius / mean_distance)
        )

    def beyond(self, code: Doubles, step: Doubles) -> npt.NDArray[np.bool_]:
        """Mask of latents that a step would move past their range, [n_latents]."""
        return ((code <= self._low) & (step < 0)) | ((code >= self._high) & (step > 0))

    def _deviations(self, codes: Doubles) -> Doubles:
        """Distances of codes from the mean, in deviations."""
        return np.sqrt(np.square((codes - self._mean) * self._scale).sum(1))


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
    step_samples = max(1, round(STEP_SECONDS * rate))
    step_levels, total_length = _levels(blocks, step_samples)
    first_sample = (
        0
        if total_length <= length
        else min(_onset(step_levels, length // step_samples) * step_samples, total_length - 1)
    )
    return ExtractedClip(_cut(reread_blocks, np.array([first_sample]), length)[0], first_sample, total_length)


def _levels(blocks: Iterable[Array], step_samples: int) -> tuple[Array, int]:
    """RMS of a sound's steps, and its samples."""
    mean_squares, buffer, total_length = [], np.zeros(0, np.float32), 0
    for block in blocks:
        buffer, total_length = np.concatenate([buffer, block]), total_length + len(block)
        full_length = len(buffer) // step_samples * step_samples
        mean_squares.append(np.square(buffer[:full_length].reshape(-1, step_samples)).mean(axis=1))
        buffer = buffer[full_length:]
    if len(buffer):
        mean_squares.append(np.array([np.square(buffer).mean()]))
    return np.sqrt(np.concatenate([*mean_squares, np.zeros(1)])).astype(np.float32), total_length


def _onset(step_levels: Array, clip_steps: int) -> int:
    """Step at which the loudest sound begins."""
    loudest_step = int(step_levels.argmax())
    quiet_steps = np.flatnonzero(step_levels[:loudest_step] < QUIET_STEP * step_levels[loudest_step])
    onset_step = int(quiet_steps[-1]) + 1 if len(quiet_steps) else 0
    # The peak stays within the clip's first nine tenths, so that some of its decay is kept.
    return max(onset_step, loudest_step - math.floor(0.9 * clip_steps))


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
    level_batches, code_batches, buffer, read_length = [], [], np.zeros(0, np.float32), 0
    encode = _Codes(card, encoder)
    with opened(sound) as reader:
        for block in mono(reader, card.sample_rate):
            buffer, read_length = np.concatenate([buffer, block]), read_length + len(block)
            buffered_frame_count = max(0, (len(buffer) - card.frame_length) // card.hop_length + 1)
            for first_frame in range(0, buffered_frame_count, BATCH):
                frames = _frames(buffer, first_frame, min(first_frame + BATCH, buffered_frame_count), card)
                frame_levels = frames.std(axis=1)  # the deviation ignores a recording's DC offset
                level_batches.append(frame_levels)
                if np.any(frame_levels > SILENT):
                    code_batches.append(encode(frames[frame_levels > SILENT]))
            buffer = buffer[buffered_frame_count * card.hop_length :]
            if progress is not None:
                progress(min(1.0, read_length * reader.sample_rate / (max(1, reader.length) * card.sample_rate)))
    length_seconds = read_length / card.sample_rate
    if not level_batches:
        raise too_short(sound, length_seconds, card)
    frame_levels = np.concatenate(level_batches)
    if not code_batches:
        raise silent(sound)
    sounding_frames = np.flatnonzero(frame_levels > SILENT)
    sounding_is_loud = frame_levels[sounding_frames] > QUIET_FRAME * frame_levels.max()
    middle_seconds = (sounding_frames[sounding_is_loud] * card.hop_length + card.frame_length / 2) / card.sample_rate
    return CodeTrack(
        middle_seconds,
        np.concatenate(code_batches)[sounding_is_loud].astype(np.float64),
        len(frame_levels),
        length_seconds,
    )


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
        gapless_pitches = filled(pitches, self._last_pitch)
        self._last_pitch = float(gapless_pitches[-1])
        return encoder.encode(frames, gapless_pitches)


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
    sound_seconds, clip_seconds = clip.length / card.sample_rate, card.frame_length / card.sample_rate
    start_seconds = clip.first / card.sample_rate
    if clip.length < card.frame_length:
        excerpt = f"its {sound_seconds:.3g} s, and silence up to the {clip_seconds:.3g} s of the model's clips"
    elif clip.length > card.frame_length:
        excerpt = (
            f"of its {sound_seconds:.3g} s the {clip_seconds:.3g} s from {start_seconds:.2f} s on, "
            "where its loudest sound begins"
        )
    else:
        excerpt = f"its {sound_seconds:.3g} s"
    clip_row, label = clip.samples[np.newaxis], None
    no_codes = np.zeros((1, 0), np.float32)
    codes, label_shares = (no_codes, None) if encoder is None else encoder.encode_with_labels(clip_row)
    if label_shares is not None:
        label, label_share = card.labels[int(label_shares[0].argmax())], float(label_shares[0].max())
        excerpt += f", taken for {label!r} ({label_share:.0%})"
    return CodeTrack(
        np.array([start_seconds + clip_seconds / 2]),
        codes.astype(np.float64),
        1,
        sound_seconds,
        excerpt,
        label,
        clip.samples,
    )


def pieces(sound: Path, card: Card, seconds: Sequence[float] | Doubles, margin: int = 0) -> Array:
    """Frames centred at times in seconds, [frames, frame_length + 2 × margin]; zeros beyond the sound."""
    piece_length = card.frame_length + 2 * margin
    piece_starts = np.round(np.asarray(seconds) * card.sample_rate - piece_length / 2).astype(np.int64)
    with opened(sound) as reader:
        return _cut(mono(reader, card.sample_rate), piece_starts, piece_length)


def _cut(blocks: Iterable[Array], piece_starts: Integers, piece_length: int) -> Array:
    """Pieces of a sound, [pieces, piece_length], from samples on; zeros beyond it."""
    piece_rows, block_start = np.zeros((len(piece_starts), piece_length), np.float32), 0
    for block in blocks:
        block_end = block_start + len(block)
        for piece_index in np.flatnonzero((piece_starts < block_end) & (piece_starts + piece_length > block_start)):
            piece_start = int(piece_starts[piece_index])
            part_start, part_end = max(piece_start, block_start), min(piece_start + piece_length, block_end)
            piece_rows[piece_index, part_start - piece_start : part_end - piece_start] = block[
                part_start - block_start : part_end - block_start
            ]
        block_start = block_end
    return piece_rows


def part_of(sound: Path, card: Card, begin: float, end: float) -> Array:
    """Samples between two times in seconds, at the model's rate; fewer at the sound's end."""
    with opened(sound) as reader:
        part_blocks = list(_part(mono(reader, card.sample_rate), card, begin, end))
    return np.concatenate([np.zeros(0, np.float32), *part_blocks])


def sides_of(sound: Path, card: Card, begin: float, end: float) -> Array | None:
    """As `part_of`, both sides, [2, samples]; None of a mono sound."""
    with opened(sound) as reader:
        if not reader.has_sides():
            return None
        return np.concatenate(list(_part(mono_or_sides(reader, card.sample_rate), card, begin, end)), axis=1)


def _part(blocks: Iterable[Array], card: Card, begin: float, end: float) -> Iterator[Array]:
    """Yield the part of blocks, [..., n], between two times in seconds."""
    first_sample, end_sample, block_start = round(begin * card.sample_rate), round(end * card.sample_rate), 0
    for block in blocks:
        yield block[..., max(0, first_sample - block_start) : max(0, end_sample - block_start)]
        block_start += block.shape[-1]
        if block_start >= end_sample:
            break


def too_short(sound: Path, seconds: float, card: Card) -> UserError:
    return UserError(
        f"{sound} lasts {seconds:.3g} s, and a frame of model {card.name!r} "
        f"{card.frame_length / card.sample_rate:.3g} s; give a longer sound"
    )


def silent(sound: Path) -> UserError:
    return UserError(f"{sound} is silent, no frame is louder than -80 dB; give a sound that can be heard")


def _frames(samples: Array, first_frame: int, end_frame: int, card: Card) -> Array:
    """Frames of samples, a hop apart, [frames, frame_length]."""
    frame_views = np.lib.stride_tricks.sliding_window_view(samples, card.frame_length)
    return frame_views[first_frame * card.hop_length : (end_frame - 1) * card.hop_length + 1 : card.hop_length]


SAME = 0.01  # deviations: a path within this error of all codes needs no more points


def simplified(seconds: Doubles, codes: Doubles, count: int) -> list[int]:
    """Frames, increasing, to keep for a piecewise linear path through [frames, n] codes in deviations.

    Douglas and Peucker (1973, Algorithms for the reduction of the number of points), splitting the worst line first,
    until ``count`` frames are kept or all errors are within `SAME`. ``seconds``, [frames], at least two, increase.
    """

    def leg(start_frame: int, end_frame: int) -> tuple[float, int, int, int]:
        """Return a leg's negative error, its first frame, the frame of that error, and its last frame."""
        inner_frames = slice(start_frame + 1, end_frame)
        line_codes = interpolate_path(
            seconds[inner_frames], seconds[[start_frame, end_frame]], codes[[start_frame, end_frame]]
        )
        frame_errors = np.sqrt(np.square(codes[inner_frames] - line_codes).sum(axis=1))
        worst_index = int(frame_errors.argmax()) if len(frame_errors) else 0
        return (
            -float(frame_errors[worst_index]) if len(frame_errors) else 0.0,
            start_frame,
            start_frame + 1 + worst_index,
            end_frame,
        )

    leg_heap = [leg(0, len(codes) - 1)]
    vertex_frames = {0, len(codes) - 1}
    while len(vertex_frames) < count and -leg_heap[0][0] > SAME:
        _, start_frame, middle_frame, end_frame = heapq.heappop(leg_heap)
        vertex_frames.add(middle_frame)
        heapq.heappush(leg_heap, leg(start_frame, middle_frame))
        heapq.heappush(leg_heap, leg(middle_frame, end_frame))
    return sorted(vertex_frames)


def smoothed(codes: Doubles, frames: float) -> Doubles:
    """Running median of each latent over about ``frames``, [frames, n]."""
    side_frames = round(frames / 2)
    padded_codes = np.pad(codes, ((side_frames, side_frames), (0, 0)), mode="edge")
    code_windows = np.lib.stride_tricks.sliding_window_view(padded_codes, 2 * side_frames + 1, axis=0)
    median_chunks = [
        np.median(code_windows[first : first + CHUNK_FRAMES], axis=2) for first in range(0, len(codes), CHUNK_FRAMES)
    ]
    return np.concatenate(median_chunks)


def interpolate_path(seconds: Doubles, times: Doubles, path: Doubles) -> Doubles:
    """Interpolate a path linearly at times, [seconds, n]."""
    return np.stack([np.interp(seconds, times, latent_values) for latent_values in path.T], axis=1)
