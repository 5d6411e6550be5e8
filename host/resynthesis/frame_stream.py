"""Streams sound through encoder and decoder: bends codes and overlap-adds decoded frames."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Doubles, Spectrum, Times
from ..audio.sound_files import LOUDEST
from ..engines.engine import FrameAnalysis, codec_of, hop_of
from ..engines.spectrum.harmonic_shift import HarmonicShift, PartialSpectra, moved_down, octaves_above
from ..engines.spectrum.partial_analysis import fundamentals
from ..errors import Failure
from ..kinds.table import kind_of
from ..model.card import Card
from ..model.encoder import SILENT, Encoder
from ..model.model import Model
from ..signal import chroma, window
from .side_frames import FrameImages, first_difference, mix_frames

BATCH = 64  # frames in one run of the encoder or decoder: larger batches are no faster
STEPS_OF_HOP = 4  # a frame is computed within a quarter of a hop, which spreads its load over live blocks


class Bend(Protocol):
    """Transforms codes, once for each frame, in order of time."""

    def codes(self, codes: Array, sounding: npt.NDArray[np.bool_], times: Times) -> Array:
        """Transformed codes, [rows, n_latents]; ``times``: frames' middles, in samples."""

    def pitches(self, detected_pitches: Doubles, times: Times) -> Doubles:
        """Pitches to synthesize: fractional MIDI notes, [rows], NaN for none."""


@dataclass
class Fit:
    """Distance of decoded frames from the input, without silent ones."""

    error: float = 0.0
    energy: float = 0.0
    squares: float = 0.0
    frames: int = 0

    @property
    def convergence(self) -> float:
        """Norm of the magnitude difference, relative to the input's."""
        return math.sqrt(self.error / self.energy) if self.energy else 0.0

    @property
    def mean_square(self) -> float:
        """Mean squared error at a maximum of 1 (Colonel & Keene 2020)."""
        return self.squares / max(1, self.frames)


@dataclass
class _Job:
    """A batch of frames: ``start`` is the sample where the first begins, ``times`` are the frames' middles.

    ``frames``: [rows, channels, frame_length]. ``sides``: spectra of the last rows, with an image, [rows, 2, bins].
    """

    start: int
    frames: Array
    times: Times
    sides: Spectrum | None = None
    analysis: FrameAnalysis | None = None
    pitches: Doubles = field(default_factory=lambda: np.zeros(0))  # from `Bend.pitches`
    decoded: Array | None = None


def latency_of(card: Card) -> int:
    """Samples at the model's rate: a frame and its decoding time."""
    return card.frame_length + hop_of(card) // STEPS_OF_HOP


class FrameStream:
    """In constant memory; decoded frames get the input's pitch and level."""

    def __init__(
        self, model: Model, bend: Bend, phase: str, start: int = 0, channels: int = 1, note: int | None = None
    ) -> None:
        """Open the encoder.

        Args:
            phase: of spectra, ``original`` or ``own``.
            start: time of the first input sample; earlier ones are silence.
            channels: of the sound, 1, or 2 sides: frames have their image from the first on whose sides differ by more
                than -60 dB, earlier ones are the mean.
            note: MIDI note of a sound transposed to a training note, and not shifted back. None: shifts harmonics from
                the detected pitches to those of ``bend``.

        Raises:
            UserError: the model has no encoder, or its kind or frames do not support this or ``phase``.
        """
        card = model.card
        self._model, self._bend = model, bend
        self._encoder = Encoder(model)
        self._codec = codec_of(card, phase)
        self._length, self._hop = card.frame_length, hop_of(card)
        self._midi_note, self._partial_spectra = note, PartialSpectra(card) if card.partials is not None else None
        shifts_harmonics = note is None and card.chroma is not None and card.window == "hann"
        self._harmonic_shift = HarmonicShift(card) if shifts_harmonics else None
        self._detects_pitch = shifts_harmonics or (note is None and self._partial_spectra is not None)
        self._analysis_window = window(kind_of(card).window_through(card), self._length)
        self._next_start = start + self._hop - self._length  # start of the next frame, in samples
        self._waiting_sound = np.zeros((channels, self._length - self._hop), np.float32)
        self._images = FrameImages(card.sample_rate, self._length, phase == "own") if channels == 2 else None
        self._has_image = False  # a frame had one
        self._jobs: deque[_Job] = deque()
        self._origin = start - latency_of(card)  # sample time of the start of `_pending`
        self._pending = np.zeros((channels, 0), np.float32)
        self.heard_any = False  # a frame that was sounding
        self.fit: Fit | None = None  # accumulates distances if set

    @property
    def earliest(self) -> int:
        """Middle of the first frame whose code may still change, in samples."""
        return (self._jobs[0].start if self._jobs else self._next_start) + self._length // 2

    def process(self, sound: Array) -> Array:
        """[channels, count] for the same, late by `latency_of`; runs one of a batch's three steps, or all due ones.

        Raises:
            Failure: codes are not finite, or decoded frames exceed `LOUDEST`.
        """
        self._waiting_sound, count = np.concatenate([self._waiting_sound, sound], axis=1), sound.shape[1]
        ready_count = max(0, (self._waiting_sound.shape[1] - self._length) // self._hop + 1)
        if ready_count:
            frame_views = np.lib.stride_tricks.sliding_window_view(self._waiting_sound, self._length, axis=1)
            frame_views = frame_views[:, :: self._hop].swapaxes(0, 1)
            for first_frame in range(0, ready_count, BATCH):
                batch_start = self._next_start + first_frame * self._hop
                frames = frame_views[first_frame : first_frame + BATCH]
                middle_times = batch_start + self._hop * np.arange(len(frames), dtype=np.int64) + self._length // 2
                self._jobs.append(_Job(batch_start, frames, middle_times))
            self._waiting_sound = self._waiting_sound[:, ready_count * self._hop :]
            self._next_start += ready_count * self._hop
        if self._jobs:
            self._step()
        block_end = self._origin + count
        while self._jobs and self._jobs[0].start < block_end:
            self._step()
        self._make_room(count)
        output, self._pending = self._pending[:, :count], self._pending[:, count:]
        self._origin = block_end
        return output

    def _step(self) -> None:
        """Run the oldest batch's next step: encoding, decoding, or synthesis and overlap-add."""
        job = self._jobs[0]
        if job.analysis is None:
            self._encode(job)
        elif job.decoded is None:
            self._decode(job, job.analysis)
        else:
            decoded, bin_offsets = job.decoded, None
            if self._harmonic_shift is not None:
                decoded, bin_offsets = self._harmonic_shift.apply(decoded, job.pitches, job.analysis.octaves_down)
            elif self._partial_spectra is not None:
                decoded, bin_offsets = self._partial_spectra.apply(
                    decoded, job.pitches, self._voiced_pitches(job.pitches, job.analysis)
                )
            frames = self._codec.make(decoded, job.analysis, bin_offsets)
            if self.fit is not None:
                self._measure(decoded, frames, job.analysis)
            for row, frame in enumerate(self._faded_frames(frames, job, job.analysis)):
                self._add(job.start + row * self._hop, frame)
            self._jobs.popleft()

    def _faded_frames(self, frames: Array, job: _Job, analysis: FrameAnalysis) -> Iterator[Array]:
        """Yield windowed frames, [1, frame_length], or [2, frame_length] for those with an image."""
        mono_count = len(frames) if job.sides is None else len(frames) - len(job.sides)
        yield from self._codec.fade(frames[:mono_count], filtered=False)[:, np.newaxis]
        if self._images is not None and job.sides is not None:
            mixes = analysis.spectra[mono_count:]
            yield from self._codec.fade(self._images.restore(frames[mono_count:], mixes, job.sides), filtered=True)

    def _mix(self, job: _Job) -> tuple[Array, Array, Spectrum]:
        """Mix the channels of a batch's frames, and keep the spectra of sides.

        Returns:
            Frames, windowed frames and their spectra: [rows, frame_length] twice, and [rows, bins].
        """
        mono_count, analysis_window = len(job.frames), self._analysis_window
        if self._images is not None:
            mono_count = 0 if self._has_image else first_difference(job.frames)
            self._has_image = mono_count < len(job.frames)
        frames = job.frames[:, 0] if self._images is None else job.frames.mean(axis=1)
        windowed_frames = frames * analysis_window
        spectra: Spectrum = np.fft.rfft(windowed_frames).astype(np.complex64, copy=False)
        if mono_count < len(frames):
            mixed = mix_frames(job.frames[mono_count:], analysis_window)
            frames[mono_count:], windowed_frames[mono_count:] = mixed.frames, mixed.windowed
            spectra[mono_count:], job.sides = mixed.spectra, mixed.sides
        return frames, windowed_frames, spectra

    def _encode(self, job: _Job) -> None:
        """Analyse and encode a batch."""
        frames, windowed_frames, spectra = self._mix(job)
        magnitudes = np.abs(spectra)
        strongest_classes = chroma(magnitudes, self._model.card.sample_rate, self._length).argmax(1)
        sounding = frames.std(axis=1) > SILENT
        self.heard_any |= bool(sounding.any())
        detected_pitches, octaves_down, encoder_frames = (
            np.full(len(sounding), np.nan),
            np.zeros(len(sounding), np.intp),
            frames,
        )
        if self._detects_pitch:
            detected_pitches = np.where(sounding, fundamentals(magnitudes, self._model.card.sample_rate), np.nan)
        elif self._midi_note is not None:
            detected_pitches[:] = self._midi_note
        if self._harmonic_shift is not None:
            octaves_down = octaves_above(detected_pitches, self._model.card)
            encoder_frames = moved_down(encoder_frames, octaves_down)
        gapless_pitches = (
            detected_pitches
            if self._partial_spectra is None
            else self._partial_spectra.filled_pitches(detected_pitches)
        )
        encoder_codes = self._encoder.encode(
            encoder_frames, strongest_classes if self._partial_spectra is None else gapless_pitches
        )
        bent_codes = self._bend.codes(encoder_codes, sounding, job.times)
        levels = self._codec.level(windowed_frames, magnitudes)
        job.analysis = FrameAnalysis(
            sounding,
            levels,
            spectra,
            magnitudes,
            strongest_classes,
            bent_codes,
            detected_pitches,
            octaves_down,
            gapless_pitches,
        )

    def _decode(self, job: _Job, analysis: FrameAnalysis) -> None:
        """Decode a batch's codes, at its pitches."""
        job.pitches = self._bend.pitches(analysis.pitches, job.times)
        if self._partial_spectra is not None:
            job.decoded = self._model.decode(
                analysis.codes, self._voiced_pitches(job.pitches, analysis).astype(np.float32)
            )
        else:
            nearest_classes = np.floor(job.pitches + 0.5) % 12
            pitch_classes = np.where(np.isnan(job.pitches), analysis.strongest, nearest_classes).astype(np.intp)
            job.decoded = self._model.decode(analysis.codes, pitch_classes)
        if not max(job.decoded.max(), -job.decoded.min()) <= LOUDEST:
            raise Failure(f"{self._model.path} gives frames that are no sound, or beyond all; export the model again")

    def _voiced_pitches(self, pitches: Doubles, analysis: FrameAnalysis) -> Doubles:
        """Pitches, or the encoder's where there is none."""
        return np.where(np.isnan(pitches), analysis.encoder_pitches, pitches)

    def _measure(self, decoded: Array, frames: Array, analysis: FrameAnalysis) -> None:
        """Add the distance of a batch's decoded frames to the fit."""
        assert self.fit is not None
        sounding = analysis.sounding
        decoded_magnitudes, squared_errors = self._codec.compare(decoded, frames, analysis)
        self.fit.error += float(np.square(decoded_magnitudes - analysis.magnitudes, dtype=np.float64)[sounding].sum())
        self.fit.energy += float(np.square(analysis.magnitudes, dtype=np.float64)[sounding].sum())
        self.fit.squares += squared_errors
        self.fit.frames += int(sounding.sum())

    def _add(self, frame_start: int, frame: Array) -> None:
        """Overlap-add a frame, [channels, frame_length], or [1, frame_length] to all channels."""
        offset = frame_start - self._origin
        self._make_room(offset + self._length)
        self._pending[:, offset : offset + self._length] += frame

    def _make_room(self, count: int) -> None:
        """Extend the pending sound by silence to ``count`` samples."""
        lacking_count = count - self._pending.shape[1]
        if lacking_count > 0:
            self._pending = np.pad(self._pending, ((0, 0), (0, lacking_count)))
