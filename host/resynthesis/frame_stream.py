"""Streams sound through encoder and decoder: bends each frame's code and overlap-adds the decoded frames."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..audio.sound_files import LOUDEST
from ..contract.card import Card
from ..contract.encoder import SILENT, Encoder
from ..contract.model import Model
from ..dsp import chroma, uniforms, window
from ..errors import Failure, UserError
from ..kinds.grain.grain_source import OPEN, Cut, source_of
from ..kinds.grain.kind import GrainKind
from ..kinds.partials.kind import PartialsKind
from ..kinds.spectrum.causal_phase import CausalPhase
from ..kinds.spectrum.fundamental import fundamentals
from ..kinds.spectrum.harmonic_shift import HarmonicShift, moved_down, octaves_above
from ..kinds.spectrum.kind import SpectrumKind
from ..kinds.table import kind_of
from .partial_spectra import PartialSpectra

Array = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
Times = npt.NDArray[np.int64]
Spectrum = npt.NDArray[np.complex64]
Doubles = npt.NDArray[np.float64]

BATCH = 64  # frames in one run of the encoder or decoder: larger batches are no faster
STEPS_OF_HOP = 4  # a frame is computed within a quarter of a hop, which spreads its load over live blocks
LEAST_COVER = 1e-3  # of the largest overlap: at the windows' zeros, division would amplify noise
MOST_GAIN = 16.0  # the most that a decoded grain is amplified to reach the input's level
TINY = np.float32(1e-20)  # keeps divisors above 0


class Bend(Protocol):
    """Transforms codes; called once for each frame, in order of time."""

    def codes(self, codes: Array, sounding: npt.NDArray[np.bool_], times: Times) -> Array:
        """Return transformed codes, [rows, n_latents]; ``times`` are the frames' middles, in samples."""
        ...

    def pitches(self, heard: Doubles, times: Times) -> Doubles:
        """Return pitches to synthesize: MIDI notes with fractions, [rows], NaN for none."""
        ...


@dataclass
class Fit:
    """Accumulated distance of decoded frames from the input; excludes silent frames."""

    error: float = 0.0
    energy: float = 0.0
    squares: float = 0.0
    frames: int = 0

    @property
    def convergence(self) -> float:
        """Spectral convergence: the norm of the magnitude difference, relative to the input's."""
        return math.sqrt(self.error / self.energy) if self.energy else 0.0

    @property
    def mean_square(self) -> float:
        """Mean squared error at a maximum of 1 (Colonel & Keene 2020)."""
        return self.squares / max(1, self.frames)


class FrameAnalysis(NamedTuple):
    """Analysis results of a batch of frames."""

    sounding: npt.NDArray[np.bool_]  # [rows]
    level: Array  # [rows, 1]: the largest magnitude; the RMS for grains
    spectra: Spectrum  # [rows, bins], of the windowed frames
    magnitudes: Array  # of these
    strongest: Indices  # [rows]: pitch classes
    codes: Array  # [rows, n_latents], bent
    pitches: Doubles  # [rows]: MIDI notes with fractions, NaN where no pitch was detected or needed
    down: Indices  # [rows]: octaves of downward transposition before encoding
    told: Doubles  # [rows]: gap-free pitches, as the encoder of a partials model received them


@dataclass
class _Job:
    """A batch of frames from sample ``start`` on; ``times`` are their middles."""

    start: int
    frames: Array
    times: Times
    heard: FrameAnalysis | None = None
    pitches: Doubles = field(default_factory=lambda: np.zeros(0))  # from `Bend.pitches`
    decoded: Array | None = None


class FrameCodec(Protocol):
    """The steps that differ between spectrum, partials and grain models."""

    def level(self, frames: Array, magnitudes: Array) -> Array:
        """Return target levels, [rows, 1]."""
        ...

    def make(self, decoded: Array, heard: FrameAnalysis, away: Doubles | None) -> Array:
        """Return frames to overlap-add, [rows, frame_length]; ``away`` as from `HarmonicShift.apply`."""
        ...

    def compare(self, decoded: Array, made: Array, heard: FrameAnalysis) -> tuple[Array, float]:
        """Return magnitudes, [rows, bins], and the summed mean squared errors at a maximum of 1."""
        ...


def hop_of(card: Card) -> int:
    """Return the hop between frames in samples."""
    return kind_of(card).hop_through(card)


def latency_of(card: Card) -> int:
    """Return the latency in samples at the model's rate: a frame, and the time for decoding it."""
    return card.frame_length + hop_of(card) // STEPS_OF_HOP


class FrameStream:
    """Streams sound through encoder and decoder, in constant memory.

    Decoded frames get the input's pitch and level. Each `process` call runs one of three steps for a batch, or all that
    are due.
    """

    def __init__(self, model: Model, bend: Bend, phase: str, start: int = 0, note: int | None = None) -> None:
        """Open the encoder.

        Args:
            phase: of spectra, ``original`` or ``own``.
            start: time of the first input sample; earlier ones are silence.
            note: MIDI note of a sound that was transposed to a training note, and is not shifted back. None: pitches
                are detected, and harmonics shifted to those that ``bend`` returns.

        Raises:
            UserError: the model has no encoder, or its kind or frames do not support this or ``phase``.
        """
        card = model.card
        if card.kind not in FRAMES:
            raise UserError(
                f"{model.path}: no sound can be sent through a model of kind {card.kind!r} yet; give one of kind "
                f"{' or '.join(map(repr, FRAMES))}"
            )
        self._model, self._bend = model, bend
        self._encoder = Encoder(model)
        self._kind: FrameCodec = FRAMES[card.kind](card, phase)
        self._length, self._hop = card.frame_length, hop_of(card)
        self._note, self._laid = note, PartialSpectra(card) if card.partials is not None else None
        moves = note is None and card.chroma is not None and card.window == "hann"
        self._relaid = HarmonicShift(card) if moves else None
        self._listens = moves or (note is None and self._laid is not None)
        self._analysis = window(kind_of(card).window_through(card), self._length)
        self._next = start + self._hop - self._length  # start of the next frame, in samples
        self._waiting = np.zeros(self._length - self._hop, np.float32)
        self._jobs: deque[_Job] = deque()
        self._origin = start - latency_of(card)  # sample time of the start of `_pending`
        self._pending = np.zeros(0, np.float32)
        self.heard_any = False
        self.fit: Fit | None = None  # accumulates distances if set

    @property
    def earliest(self) -> int:
        """Middle of the first frame whose code may still change, in samples."""
        return (self._jobs[0].start if self._jobs else self._next) + self._length // 2

    def process(self, sound: Array) -> Array:
        """Return [count] samples for [count], late by `latency_of`.

        Raises:
            Failure: codes are not finite, or decoded frames exceed `LOUDEST`.
        """
        self._waiting = np.concatenate([self._waiting, sound])
        ready = max(0, (len(self._waiting) - self._length) // self._hop + 1)
        if ready:
            views = np.lib.stride_tricks.sliding_window_view(self._waiting, self._length)[:: self._hop]
            for first in range(0, ready, BATCH):
                start = self._next + first * self._hop
                frames = views[first : first + BATCH]
                times = start + self._hop * np.arange(len(frames), dtype=np.int64) + self._length // 2
                self._jobs.append(_Job(start, frames, times))
            self._waiting = self._waiting[ready * self._hop :]
            self._next += ready * self._hop
        if self._jobs:
            self._step()
        end = self._origin + len(sound)
        while self._jobs and self._jobs[0].start < end:
            self._step()
        if len(self._pending) < len(sound):
            self._pending = np.concatenate([self._pending, np.zeros(len(sound) - len(self._pending), np.float32)])
        done, self._pending = self._pending[: len(sound)], self._pending[len(sound) :]
        self._origin = end
        return done

    def _step(self) -> None:
        job = self._jobs[0]
        if job.heard is None:
            self._encode(job)
        elif job.decoded is None:
            self._decode(job, job.heard)
        else:
            decoded, away = job.decoded, None
            if self._relaid is not None:
                decoded, away = self._relaid.apply(decoded, job.pitches, job.heard.down)
            elif self._laid is not None:
                decoded, away = self._laid.apply(decoded, job.pitches, self._sung(job.pitches, job.heard))
            made = self._kind.make(decoded, job.heard, away)
            if self.fit is not None:
                self._measure(decoded, made, job.heard)
            for row, frame in enumerate(made):
                self._add(job.start + row * self._hop, frame)
            self._jobs.popleft()

    def _encode(self, job: _Job) -> None:
        windowed = job.frames * self._analysis
        spectra: Spectrum = np.fft.rfft(windowed).astype(np.complex64, copy=False)
        magnitudes = np.abs(spectra)
        strongest = chroma(magnitudes, self._model.card.sample_rate, self._length).argmax(1)
        sounding = job.frames.std(axis=1) > SILENT
        self.heard_any |= bool(sounding.any())
        pitches, down, frames = np.full(len(sounding), np.nan), np.zeros(len(sounding), np.intp), job.frames
        if self._listens:
            pitches = np.where(sounding, fundamentals(magnitudes, self._model.card.sample_rate), np.nan)
        elif self._note is not None:
            pitches[:] = self._note
        if self._relaid is not None:
            down = octaves_above(pitches, self._model.card)
            frames = moved_down(frames, down)
        told = pitches if self._laid is None else self._laid.told(pitches)
        encoded = self._encoder.encode(frames, strongest if self._laid is None else told)
        codes = self._bend.codes(encoded, sounding, job.times)
        level = self._kind.level(windowed, magnitudes)
        job.heard = FrameAnalysis(sounding, level, spectra, magnitudes, strongest, codes, pitches, down, told)

    def _decode(self, job: _Job, heard: FrameAnalysis) -> None:
        job.pitches = self._bend.pitches(heard.pitches, job.times)
        if self._laid is not None:
            job.decoded = self._model.decode(heard.codes, self._sung(job.pitches, heard).astype(np.float32))
        else:
            nearest = np.floor(job.pitches + 0.5) % 12
            classes = np.where(np.isnan(job.pitches), heard.strongest, nearest).astype(np.intp)
            job.decoded = self._model.decode(heard.codes, classes)
        if not max(job.decoded.max(), -job.decoded.min()) <= LOUDEST:
            raise Failure(f"{self._model.path} gives frames that are no sound, or beyond all; export the model again")

    def _sung(self, pitches: Doubles, heard: FrameAnalysis) -> Doubles:
        """Return the pitches to decode for, [rows]: wanted, or last detected."""
        return np.where(np.isnan(pitches), heard.told, pitches)

    def _measure(self, decoded: Array, made: Array, heard: FrameAnalysis) -> None:
        assert self.fit is not None
        rows = heard.sounding
        found, squares = self._kind.compare(decoded, made, heard)
        self.fit.error += float(np.square(found - heard.magnitudes, dtype=np.float64)[rows].sum())
        self.fit.energy += float(np.square(heard.magnitudes, dtype=np.float64)[rows].sum())
        self.fit.squares += squares
        self.fit.frames += int(rows.sum())

    def _add(self, start: int, frame: Array) -> None:
        at = start - self._origin
        lacking = at + len(frame) - len(self._pending)
        if lacking > 0:
            self._pending = np.concatenate([self._pending, np.zeros(lacking, np.float32)])
        self._pending[at : at + len(frame)] += frame


class _Spectra:
    """Scales spectra of maximum 1 to the input's level, with its phases or constructed ones."""

    def __init__(self, card: Card, phase: str) -> None:
        self._length, hop = card.frame_length, hop_of(card)
        if phase == "own" and (card.window != "hann" or self._length % 2 or 2 * hop > self._length):
            raise UserError(
                f"phase 'own' is for even frames of a Hann window at least half of which overlap, not for those of "
                f"model {card.name!r} ({self._length} samples, {card.window}, a hop of {hop}); give 'original'"
            )
        shape = window(card.window, self._length)
        self._synthesis = (shape / _cover(np.square(shape), hop)).astype(np.float32)
        self._own = CausalPhase(self._length, hop) if phase == "own" else None
        self._voice = None if self._own is None else self._own.begin()

    def level(self, frames: Array, magnitudes: Array) -> Array:
        largest: Array = magnitudes.max(axis=1, keepdims=True)
        return largest

    def make(self, decoded: Array, heard: FrameAnalysis, away: Doubles | None) -> Array:
        wanted = decoded * heard.level
        if self._own is not None and self._voice is not None:
            spectra = self._own.apply(wanted, [self._voice] * len(wanted), away)
        else:
            spectra = heard.spectra * (wanted / np.maximum(np.abs(heard.spectra), TINY))
        frames: Array = np.fft.irfft(spectra, self._length).astype(np.float32, copy=False)
        frames *= self._synthesis
        return frames

    def compare(self, decoded: Array, made: Array, heard: FrameAnalysis) -> tuple[Array, float]:
        given = np.abs(heard.spectra[heard.sounding]) / np.maximum(heard.level[heard.sounding], TINY)
        squares = np.square(decoded[heard.sounding] - given, dtype=np.float64).mean(axis=1).sum()
        return decoded * heard.level, float(squares)


class _Lobes(_Spectra):
    """Scales spectra of energy 1 to the input's energy."""

    def level(self, frames: Array, magnitudes: Array) -> Array:
        whole: Array = np.sqrt(np.square(magnitudes).sum(axis=1, keepdims=True))
        return whole


class _Grains:
    def __init__(self, card: Card, phase: str) -> None:
        if phase == "own":
            raise UserError(
                f"phase 'own' is for models of kind 'spectrum', {card.name!r} is of kind 'grain'; leave it out"
            )
        self._length, hop = card.frame_length, hop_of(card)
        self._source = source_of(card, self._length)
        self._shape = window("hann", self._length)
        noise = card.domain == "magnitude"  # uncorrelated grains add in power, others in amplitude
        cover = np.sqrt(_cover(np.square(self._shape), hop)) if noise else _cover(self._shape, hop)
        self._cover = cover.astype(np.float32)
        self._made = 0

    def level(self, frames: Array, magnitudes: Array) -> Array:
        return _root_mean_square(frames)

    def make(self, decoded: Array, heard: FrameAnalysis, away: Doubles | None) -> Array:
        places = uniforms(0, 0, self._made, len(decoded), 2).tolist()
        self._made += len(decoded)
        grains = np.stack(self._source.grains(decoded, [Cut(self._length, 1.0, OPEN)] * len(decoded), places))
        grains = grains * self._shape
        gain = heard.level / np.maximum(_root_mean_square(grains), np.maximum(heard.level / MOST_GAIN, TINY))
        made: Array = grains * gain / self._cover
        return made

    def compare(self, decoded: Array, made: Array, heard: FrameAnalysis) -> tuple[Array, float]:
        found: Array = np.abs(np.fft.rfft(made * self._cover))
        return found, 0.0


def _cover(weights: Array, hop: int) -> Array:
    """Return the overlapped sum of weights at each sample of a frame, [frame_length]."""
    once = np.pad(weights, (0, -len(weights) % hop)).reshape(-1, hop).sum(axis=0)
    return np.resize(np.maximum(once, LEAST_COVER * once.max()), len(weights))


def _root_mean_square(frames: Array) -> Array:
    value: Array = np.sqrt(np.square(frames).mean(axis=1, keepdims=True))
    return value


FRAMES: dict[str, Callable[[Card, str], FrameCodec]] = {
    SpectrumKind.name: _Spectra,
    PartialsKind.name: _Lobes,
    GrainKind.name: _Grains,
}
