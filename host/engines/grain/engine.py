"""Engine of kind ``grain``: resampled samples, or noise filtered by a magnitude frame."""

import functools
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ...arrays import Array, Indices
from ...kinds.grain import CONTROLS, GrainSettings
from ...model.card import Card
from ...model.model import Model
from ...ramps import RAMP_SECONDS, Ramp
from ...signal import fast_length, gaussian_noise, uniforms
from ...units import MIDDLE_C, db_to_gain
from ..engine import MAX_BLOCK, VOICE_LUFS, EngineRequest, MixedSound, Motion

OPEN = 0.5  # cycles per sample: a low-pass is open from here
STEEP = 8  # twice the order of the Butterworth low-pass
TRIED = 256  # padding lengths; the best one errs by less than 0.1 cents
PRIMES = (2, 3, 5, 7)  # prime factors of fast transforms


class Cut(NamedTuple):
    length: int  # samples
    ratio: float  # of frequencies
    lowpass: float  # cutoff in cycles per sample


class GrainSource(Protocol):
    """Synthesizes grains without their window."""

    def longest(self, ratio: float) -> int:
        """Maximum grain length in samples."""

    def power(self, frame: Array, ratio: float, window: Array) -> float:
        """Expected mean square of grains before the low-pass, weighted by the squared ``window``."""

    def grains(self, frames: Array, cuts: Sequence[Cut], places: Sequence[Sequence[float]]) -> list[Array]:
        """A grain per frame, [length] each, read-only if shared with ``frames``.

        Args:
            frames: [rows, frame_width].
            places: two random numbers on [0, 1) per row.
        """


def source_of(card: Card, longest: int) -> GrainSource:
    return NoiseFrames(card, longest) if card.domain == "magnitude" else ResampledFrames(card, longest)


class ResampledFrames:
    """Cuts the frame's middle, transposed and low-passed by band-limited resampling."""

    def __init__(self, card: Card, longest: int) -> None:
        self._length, self._longest = card.frame_length, longest
        self._polar = card.domain == "magnitude_phase"

    def longest(self, ratio: float) -> int:
        return min(max(2, math.floor(self._length / ratio)), self._longest)

    def power(self, frame: Array, ratio: float, window: Array) -> float:
        """Unweighted; resampling keeps it below half the rate."""
        if self._polar:
            magnitudes = frame[: self._length // 2 + 1]
            return float(np.square(magnitudes).sum()) * 2 / self._length**2  # Parseval
        return float(np.square(frame).mean())

    def grains(self, frames: Array, cuts: Sequence[Cut], places: Sequence[Sequence[float]]) -> list[Array]:
        if self._polar:
            magnitudes, phases = np.split(frames, 2, axis=1)
            frames = np.fft.irfft(magnitudes * np.exp(1j * phases), self._length).astype(np.float32, copy=False)
        return [self._cut(frame, *cut) for frame, cut in zip(frames, cuts, strict=True)]

    def _cut(self, frame: Array, length: int, ratio: float, lowpass: float) -> Array:
        full_length = self._length
        if ratio != 1.0 or lowpass < OPEN:
            padded, resampled_length = _lengths(self._length, ratio)
            gains = _resampling(padded, resampled_length, lowpass)
            spectrum = np.fft.rfft(frame, padded)[: len(gains)] * gains
            frame = np.fft.irfft(spectrum, resampled_length).astype(np.float32, copy=False)
            full_length = round(self._length * resampled_length / padded)
        first = max(0, (full_length - length) // 2)
        return frame[first : first + length]


class NoiseFrames:
    """Gaussian noise with the frame's amplitude spectrum and envelope, new for each grain.

    Its spectrum is a random part of a Gaussian table times the phases of another.
    """

    def __init__(self, card: Card, longest: int) -> None:
        self._frame_length, self._bins, self._envelope_points = (
            card.frame_length,
            card.frame_length // 2 + 1,
            card.envelope_points,
        )
        self._longest = longest
        self._table = gaussian_noise(1 << longest.bit_length())
        self._phasors = self._table / np.abs(self._table)

    def longest(self, ratio: float) -> int:
        return self._longest

    def power(self, frame: Array, ratio: float, window: Array) -> float:
        """Higher pitches widen the spectrum at equal density, up to half the rate."""
        audible_bins = frame[: min(self._bins, math.ceil(self._bins / ratio))]
        power = float(np.square(audible_bins).sum()) * 2 * ratio / self._frame_length**2
        if not self._envelope_points:
            return power
        weights = np.square(window[_point_samples(self._envelope_points, len(window))])
        return power * float((weights * np.square(frame[self._bins :])).sum() / weights.sum())

    def grains(self, frames: Array, cuts: Sequence[Cut], places: Sequence[Sequence[float]]) -> list[Array]:
        lengths = [_even_length(cut.length) for cut in cuts]
        grains: list[Array] = [frames[0]] * len(cuts)
        for length in dict.fromkeys(lengths):
            rows = [row for row, candidate in enumerate(lengths) if candidate == length]
            bins = length // 2 + 1
            room = len(self._table) - bins
            spectra = np.empty((len(rows), bins), np.complex64)
            for spectrum, row in zip(spectra, rows, strict=True):
                first, phasor_first = (int(place * room) for place in places[row])
                np.multiply(
                    self._table[first : first + bins], self._phasors[phasor_first : phasor_first + bins], out=spectrum
                )
                _, ratio, lowpass = cuts[row]
                spectrum *= _interpolated(frames[row], *_filtering(self._frame_length, length, ratio, lowpass))
            sounds = np.fft.irfft(spectra, length)
            for sound, row in zip(sounds, rows, strict=True):
                grains[row] = self._shaped(sound[: cuts[row].length], frames[row])
        return grains

    def _shaped(self, sound: Array, frame: Array) -> Array:
        if not self._envelope_points:
            return sound
        shaped = _interpolated(frame[self._bins :], *_stretching(self._envelope_points, len(sound)))
        shaped *= sound
        return shaped


@functools.cache
def _even_length(length: int) -> int:
    return fast_length(length, PRIMES, step=2)


@functools.lru_cache(maxsize=256)
def _lengths(length: int, ratio: float) -> tuple[int, int]:
    if ratio == 1.0:
        return length, length
    padded = np.arange(length, length + TRIED)
    resampled = np.maximum(np.round(padded / ratio), 2)
    best = int(np.argmin(np.abs(resampled * ratio / padded - 1.0)))
    return int(padded[best]), int(resampled[best])


@functools.lru_cache(maxsize=64)
def _resampling(length: int, resampled: int, lowpass: float) -> Array:
    shorter = min(length, resampled)
    gains = np.full(shorter // 2 + 1, resampled / length)
    if shorter % 2 == 0 and resampled != length:  # its last bin counts twice, or half
        gains[-1] *= 2.0 if resampled < length else 0.5
    return (gains * _butterworth(np.arange(len(gains)) / resampled, lowpass)).astype(np.float32)


def _interpolated(values: Array, lower_bins: Indices, lower_weights: Array, upper_weights: Array) -> Array:
    result: Array = values.take(lower_bins)
    result *= lower_weights
    upper = values[1:].take(lower_bins)
    upper *= upper_weights
    result += upper
    return result


@functools.lru_cache(maxsize=64)
def _filtering(frame: int, length: int, ratio: float, lowpass: float) -> tuple[Indices, Array, Array]:
    cycles = np.arange(length // 2 + 1) / length
    places = cycles * frame / ratio
    lower_bins = np.minimum(places.astype(np.intp), frame // 2 - 1)
    part = places - lower_bins
    gain = math.sqrt(length / frame) * _butterworth(cycles, lowpass) * (places <= frame / 2)
    gain[[0, -1]] *= math.sqrt(2.0)  # only the real part counts there, half the power
    return lower_bins, (gain * (1.0 - part)).astype(np.float32), (gain * part).astype(np.float32)


@functools.lru_cache(maxsize=16)
def _stretching(points: int, length: int) -> tuple[Indices, Array, Array]:
    places = np.linspace(0.0, points - 1.0, length)
    lower_bins = np.minimum(places.astype(np.intp), points - 2)
    part = (places - lower_bins).astype(np.float32)
    return lower_bins, 1 - part, part


@functools.lru_cache(maxsize=256)
def _point_samples(points: int, length: int) -> Indices:
    return np.linspace(0, length - 1, points).round().astype(np.intp)


def _butterworth(cycles: npt.NDArray[np.float64], lowpass: float) -> npt.NDArray[np.float64] | float:
    return 1.0 if lowpass >= OPEN else 1.0 / np.sqrt(1.0 + (cycles / lowpass) ** STEEP)


# Per channel of a texture: of noise this loud, one sample in 200 exceeds the limiter's knee. Recordings of rain and
# sea come near it; codes between and beyond them may decode to a hundred times its power.
LOUDEST_TEXTURE_DB = -12.0
STEP = 128  # samples of constant density: a ramp of 20 ms has at least four steps
MOST_A_SECOND = CONTROLS["grain.density"].high  # grains of a voice, even if the overlap needs more
FILL = 8  # maximum grains before a note: a note-on must not delay its block
DRAWS = 64  # grains per draw of random numbers
WHEN, SIDE, LEVEL, CODE, NOISE = range(5)  # columns of random numbers; noise has two
COLUMNS = NOISE + 2
ROOM = 8192  # initial samples of a voice's buffer: short ones fit the CPU cache
EDGE = 0.05  # of the length, for each edge of a window of shape 0
SHAPES = 256  # steps from shape 0 to 1, for the window cache
FURTHEST = 72.0  # maximum total transposition in semitones: a frame of 64 samples becomes one


class GrainClock:
    """Counts grains since the start: the integrated density, above 0, in grains per sample.

    Each voice starts a grain whenever the count grows by 1.
    """

    def __init__(self, density: float) -> None:
        self._times, self._counts, self._densities = [0], [0.0], [density]

    def advance(self, end: int, density: Callable[[int], float]) -> None:
        """Extend the count to sample ``end``, exclusive; discard times before the last call."""
        del self._times[:-1], self._counts[:-1], self._densities[:-1]
        while (time := self._times[-1] + STEP) < end:
            self._counts.append(self._counts[-1] + self._densities[-1] * STEP)
            self._times.append(time)
            self._densities.append(density(time))

    def count_at(self, time: int) -> tuple[float, float]:
        step = bisect_right(self._times, time) - 1
        return self._counts[step] + self._densities[step] * (time - self._times[step]), self._densities[step]

    def time_of(self, count: float) -> tuple[float, float]:
        """Fractional sample of a count, and the density there."""
        step = bisect_right(self._counts, count) - 1
        return self._times[step] + (count - self._counts[step]) / self._densities[step], self._densities[step]


class PlannedGrain(NamedTuple):
    onset: int
    number: int
    density: float  # of the grains around it, in grains per sample
    chance: list[float]


@dataclass(slots=True, kw_only=True)
class GrainStream(MixedSound):
    note: int
    next_count: float | None = None  # `GrainClock` count of its next grain; None before the first
    waiting: list[PlannedGrain] = field(default_factory=list)
    grain_count: int = 0
    chances: list[list[float]] = field(default_factory=list)


Due = tuple[int, GrainStream, PlannedGrain]


class GrainEngine:
    """Decodes a frame per grain and mixes its sound in at its sample.

    A voice's grains follow the density from its note-on. Later ones have random delays, up to ``jitter`` times the
    interval: 1 leaves no spectral line at the grain rate. Grains from up to one length before the note play too, at
    most `FILL`, else farther apart and louder: the first sample has the full overlap, and the envelope shapes the
    attack.

    A grain reads targets at its first sample, not before the note-on. Its random numbers depend only on the seed and
    the numbers of note and grain. A dense texture's loudness does not depend on density, length or shape. Codes unlike
    training may have any power: grains are limited to ``loudest``, a root mean square at the model's scale, or to the
    default code's if larger.
    """

    channels = 2
    lookback = 0
    ready = True
    age_ms = None

    def __init__(self, model: Model, settings: GrainSettings, max_block: int, loudest: float = math.inf) -> None:
        card = model.card
        self._model, self._max_block = model, max_block
        self._rate = card.sample_rate
        self._seed, self._transposing = settings.seed, settings.keys == "transpose"
        self.targets = {
            name: Ramp(value, round(RAMP_SECONDS * self._rate)) for name, value in settings.values(card).items()
        }
        self._at_onset = [
            self.targets[f"grain.{name}"]
            for name in ("length", "shape", "pitch", "spread", "level_jitter", "code_jitter", "lowpass_hz")
        ]
        self._length, self._jitter = self.targets["grain.length"], self.targets["grain.jitter"]
        self._source = source_of(card, math.ceil(CONTROLS["grain.length"].high * self._rate))
        self._deviations = np.array([latent.std for latent in card.latents], np.float32)
        self._low = np.array([latent.low for latent in card.latents], np.float32)
        self._high = np.array([latent.high for latent in card.latents], np.float32)
        default = np.array([[latent.default for latent in card.latents]], np.float32)
        even = np.ones(card.frame_length, np.float32)
        at_default = self._source.power(model.decode(default, np.zeros(0, np.intp))[0], 1.0, even)
        self.highest_power = max(loudest**2, at_default)  # of a grain
        self._code_noise: Array = gaussian_noise(1 << 16).real * np.float32(math.sqrt(2.0))
        self._decoded: dict[bytes, Array] = {}  # last decoded frames by code
        self._no_chroma = np.zeros(0, np.intp)
        self._pace = GrainClock(self._density(0))
        self._voices_begun = 0

    def start_stream(self, pitch: float, time: int, key: int = MIDDLE_C) -> GrainStream:
        pending = np.zeros((2, ROOM), np.float32)
        self._voices_begun += 1
        return GrainStream(key=pitch, on=time, note=self._voices_begun, origin=time, pending=pending)

    def number_next(self, number: int) -> None:
        self._voices_begun = number - 1

    def render(self, streams: Sequence[GrainStream], motion: Motion, start: int, count: int) -> list[Array]:
        """Successive blocks from sample 0 on; a dense texture has the power of a frame."""
        assert count <= self._max_block
        end = start + count
        self._pace.advance(end, self._density)
        due_grains: list[Due] = []
        for voice, stream in enumerate(streams):
            self._schedule(stream, end)
            last = end if stream.end is None else min(end, stream.end)
            ready = sorted(grain for grain in stream.waiting if grain.onset < last)
            if ready:
                stream.waiting = [grain for grain in stream.waiting if grain.onset >= last]
                due_grains += [(voice, stream, grain) for grain in ready]
        if due_grains:
            self._add(due_grains, motion, start)
        for ramp in self.targets.values():
            ramp.forget(end)
        for stream in streams:
            stream.make_room(start, end)
        return [stream.block(start, count) for stream in streams]

    def prepare(self, streams: Sequence[GrainStream], motion: Motion, now: int) -> None:
        """Do nothing."""

    def _density(self, time: int) -> float:
        if "grain.density" in self.targets:
            return self.targets["grain.density"].value(time) / self._rate
        length = min(self._length.value(time) * self._rate, self._source.longest(1.0))
        return min(1.0 / ((1.0 - self.targets["grain.overlap"].value(time)) * length), MOST_A_SECOND / self._rate)

    def _schedule(self, stream: GrainStream, end: int) -> None:
        if stream.next_count is None:
            stream.next_count = self._schedule_onset(stream)
        while True:
            place, density = self._pace.time_of(stream.next_count)
            if place >= end:
                return
            self._schedule_grain(stream, place, density, self._jitter.value(math.floor(place)))
            stream.next_count += 1.0

    def _schedule_onset(self, stream: GrainStream) -> float:
        count, density = self._pace.count_at(stream.on)
        jitter = self._jitter.value(stream.on)
        length = min(self._length.value(stream.on) * self._rate, self._source.longest(1.0))
        self._schedule_grain(stream, stream.on, density, 0.0)
        if density * length > 1.0:
            spaced = min(density, FILL / length)
            for intervals in range(1, math.ceil(spaced * length) + 1):
                self._schedule_grain(stream, stream.on - intervals / spaced, spaced, jitter)
        return count + 1.0

    def _schedule_grain(self, stream: GrainStream, place: float, density: float, jitter: float) -> None:
        number = stream.grain_count
        if number % DRAWS == 0:
            stream.chances = uniforms(self._seed, stream.note, number, DRAWS, COLUMNS).tolist()
        chance = stream.chances[number % DRAWS]
        stream.grain_count += 1
        onset = math.floor(place + chance[WHEN] * jitter / density + 0.5)
        stream.waiting.append(PlannedGrain(onset, number, density, chance))

    def _add(self, due_grains: list[Due], motion: Motion, start: int) -> None:
        voices = [voice for voice, _, _ in due_grains]
        times = [max(grain.onset, stream.on) for _, stream, grain in due_grains]
        moments = np.array(times, np.int64)
        bends = motion.bend_semitones(voices, moments).tolist()
        codes = motion.latents(voices, moments)
        cuts, windows, sides, jittered = [], [], [], []
        for (_, stream, grain), time, bend in zip(due_grains, times, bends, strict=True):
            length, shape, pitch, spread, level_jitter, code_jitter, lowpass = [r.value(time) for r in self._at_onset]
            pitch += bend
            if self._transposing:
                pitch += stream.pitch_at(time) - MIDDLE_C
            ratio = 2.0 ** (min(max(pitch, -FURTHEST), FURTHEST) / 12.0)
            samples = min(max(2, round(length * self._rate)), self._source.longest(ratio))
            window, energy = _window(samples, round(shape * SHAPES))
            level = 10.0 ** (level_jitter * (2.0 * grain.chance[LEVEL] - 1.0) / 20.0)
            level *= math.sqrt(2.0 / max(1.0, grain.density * energy))
            angle = math.pi / 4 * (1.0 + spread * (2.0 * grain.chance[SIDE] - 1.0))
            cuts.append(Cut(samples, ratio, lowpass / self._rate))
            windows.append(window)
            sides.append((level * math.cos(angle), level * math.sin(angle)))
            jittered.append(code_jitter)
        chances = [grain.chance for _, _, grain in due_grains]
        if any(jittered):
            frames = self._model.decode(self._jittered(codes, jittered, chances), self._no_chroma)
        else:
            frames = self._decode(codes)
        sounds = self._source.grains(frames, cuts, [chance[NOISE:] for chance in chances])
        for (_, stream, grain), frame, cut, sound, window, gains in zip(
            due_grains, frames, cuts, sounds, windows, sides, strict=True
        ):
            power = self._source.power(frame, cut.ratio, window)
            if power > self.highest_power:
                window = window * np.float32(math.sqrt(self.highest_power / power))
            self._place(stream, grain.onset, sound * window, gains, start)

    def _jittered(self, codes: Array, amounts: Sequence[float], chances: Sequence[Sequence[float]]) -> Array:
        codes, latents = codes.copy(), codes.shape[1]
        room = len(self._code_noise) - latents
        for code, amount, chance in zip(codes, amounts, chances, strict=True):
            if amount > 0.0:
                place = int(chance[CODE] * room)
                jittered_code = self._code_noise[place : place + latents] * self._deviations
                jittered_code *= amount
                jittered_code += code
                np.maximum(jittered_code, self._low, out=jittered_code)
                np.minimum(jittered_code, self._high, out=code)
        return codes

    def _decode(self, codes: Array) -> Array:
        names = [code.tobytes() for code in codes]
        new = {name: row for row, name in enumerate(names) if name not in self._decoded}
        if len(new) == len(names):
            frames = self._model.decode(codes, self._no_chroma)
            self._decoded = dict(zip(names, frames, strict=True))
            return frames
        if new:
            frames = self._model.decode(codes[list(new.values())], self._no_chroma)
            self._decoded |= zip(new, frames, strict=True)
        self._decoded = {name: self._decoded[name] for name in names}
        return np.stack([self._decoded[name] for name in names])

    def _place(self, stream: GrainStream, onset: int, sound: Array, gains: tuple[float, float], start: int) -> None:
        if onset < stream.on:
            sound, onset = sound[stream.on - onset :], stream.on
        stream.make_room(start, onset + len(sound))
        offset = onset - stream.origin
        for side, gain in zip(stream.pending, gains, strict=True):
            side[offset : offset + len(sound)] += sound * gain


@functools.lru_cache(maxsize=256)
def _window(length: int, shape: int) -> tuple[Array, float]:
    turn = 2 * np.pi * (np.arange(length) + 0.5) / length
    if 2 * shape <= SHAPES:
        taper = 2 * EDGE + (1 - 2 * EDGE) * 2 * shape / SHAPES
        edge = np.minimum(np.minimum(turn, 2 * np.pi - turn) / taper, np.pi)
        window = 0.5 - 0.5 * np.cos(edge)
    else:
        blackman = 2 * shape / SHAPES - 1
        window = 0.5 - 0.5 * np.cos(turn) - 0.08 * blackman * (1 - np.cos(2 * turn))
    return window.astype(np.float32), float(window @ window)


def make_engine(model: Model, request: EngineRequest) -> GrainEngine:
    loudest = db_to_gain(LOUDEST_TEXTURE_DB - VOICE_LUFS + model.card.loudness_lufs)
    return GrainEngine(model, request.kind_settings or GrainSettings(), MAX_BLOCK, loudest)
