"""Engine of kind ``grain``: resampled samples, or noise filtered by a magnitude frame."""

import functools
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
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
from ..engine import MAX_BLOCK, VOICE_LUFS, Engine, EngineRequest, MixedSound, Motion

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
        """Cut a grain from a frame."""
        full_length = self._length
        if ratio != 1.0 or lowpass < OPEN:
            padded_length, resampled_length = _lengths(self._length, ratio)
            bin_gains = _resampling(padded_length, resampled_length, lowpass)
            spectrum = np.fft.rfft(frame, padded_length)[: len(bin_gains)] * bin_gains
            frame = np.fft.irfft(spectrum, resampled_length).astype(np.float32, copy=False)
            full_length = round(self._length * resampled_length / padded_length)
        first_sample = max(0, (full_length - length) // 2)
        return frame[first_sample : first_sample + length]


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
        point_weights = np.square(window[_point_samples(self._envelope_points, len(window))])
        return power * float((point_weights * np.square(frame[self._bins :])).sum() / point_weights.sum())

    def grains(self, frames: Array, cuts: Sequence[Cut], places: Sequence[Sequence[float]]) -> list[Array]:
        transform_lengths = [_even_length(cut.length) for cut in cuts]
        grains: list[Array] = [frames[0]] * len(cuts)
        for transform_length in dict.fromkeys(transform_lengths):
            row_indices = [
                row_index
                for row_index, other_length in enumerate(transform_lengths)
                if other_length == transform_length
            ]
            bin_count = transform_length // 2 + 1
            last_start = len(self._table) - bin_count
            spectra = np.empty((len(row_indices), bin_count), np.complex64)
            for spectrum, row_index in zip(spectra, row_indices, strict=True):
                noise_first, phasor_first = (int(place * last_start) for place in places[row_index])
                np.multiply(
                    self._table[noise_first : noise_first + bin_count],
                    self._phasors[phasor_first : phasor_first + bin_count],
                    out=spectrum,
                )
                _, ratio, lowpass = cuts[row_index]
                spectrum *= _interpolated(
                    frames[row_index], *_filtering(self._frame_length, transform_length, ratio, lowpass)
                )
            sounds = np.fft.irfft(spectra, transform_length)
            for sound, row_index in zip(sounds, row_indices, strict=True):
                grains[row_index] = self._shaped(sound[: cuts[row_index].length], frames[row_index])
        return grains

    def _shaped(self, sound: Array, frame: Array) -> Array:
        """Apply a frame's envelope."""
        if not self._envelope_points:
            return sound
        shaped_sound = _interpolated(frame[self._bins :], *_stretching(self._envelope_points, len(sound)))
        shaped_sound *= sound
        return shaped_sound


@functools.cache
def _even_length(length: int) -> int:
    """Even length of a fast transform."""
    return fast_length(length, PRIMES, step=2)


@functools.lru_cache(maxsize=256)
def _lengths(length: int, ratio: float) -> tuple[int, int]:
    """Padded length and length after resampling, whose ratio is nearest to ``ratio``."""
    if ratio == 1.0:
        return length, length
    padded_lengths = np.arange(length, length + TRIED)
    resampled_lengths = np.maximum(np.round(padded_lengths / ratio), 2)
    best_index = int(np.argmin(np.abs(resampled_lengths * ratio / padded_lengths - 1.0)))
    return int(padded_lengths[best_index]), int(resampled_lengths[best_index])


@functools.lru_cache(maxsize=64)
def _resampling(length: int, resampled_length: int, lowpass: float) -> Array:
    """Gains of the bins that resampling keeps."""
    shorter_length = min(length, resampled_length)
    bin_gains = np.full(shorter_length // 2 + 1, resampled_length / length)
    if shorter_length % 2 == 0 and resampled_length != length:  # its last bin counts twice, or half
        bin_gains[-1] *= 2.0 if resampled_length < length else 0.5
    return (bin_gains * _butterworth(np.arange(len(bin_gains)) / resampled_length, lowpass)).astype(np.float32)


def _interpolated(values: Array, lower_bins: Indices, lower_weights: Array, upper_weights: Array) -> Array:
    """Interpolate between neighbouring values."""
    interpolated: Array = values.take(lower_bins)
    interpolated *= lower_weights
    upper_values = values[1:].take(lower_bins)
    upper_values *= upper_weights
    interpolated += upper_values
    return interpolated


@functools.lru_cache(maxsize=64)
def _filtering(frame_length: int, length: int, ratio: float, lowpass: float) -> tuple[Indices, Array, Array]:
    """Return a grain's bins between a frame's: lower bins, and gains of these and of the next ones."""
    cycles = np.arange(length // 2 + 1) / length
    bin_positions = cycles * frame_length / ratio
    lower_bins = np.minimum(bin_positions.astype(np.intp), frame_length // 2 - 1)
    upper_shares = bin_positions - lower_bins
    bin_gains = math.sqrt(length / frame_length) * _butterworth(cycles, lowpass) * (bin_positions <= frame_length / 2)
    bin_gains[[0, -1]] *= math.sqrt(2.0)  # only the real part counts there, half the power
    return (
        lower_bins,
        (bin_gains * (1.0 - upper_shares)).astype(np.float32),
        (bin_gains * upper_shares).astype(np.float32),
    )


@functools.lru_cache(maxsize=16)
def _stretching(point_count: int, length: int) -> tuple[Indices, Array, Array]:
    """Return samples between an envelope's points: lower points, and weights of these and of the next ones."""
    point_positions = np.linspace(0.0, point_count - 1.0, length)
    lower_points = np.minimum(point_positions.astype(np.intp), point_count - 2)
    upper_shares = (point_positions - lower_points).astype(np.float32)
    return lower_points, 1 - upper_shares, upper_shares


@functools.lru_cache(maxsize=256)
def _point_samples(point_count: int, length: int) -> Indices:
    """Samples at which an envelope's points lie."""
    return np.linspace(0, length - 1, point_count).round().astype(np.intp)


def _butterworth(cycles: npt.NDArray[np.float64], lowpass: float) -> npt.NDArray[np.float64] | float:
    """Gains of a low-pass."""
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

    def __init__(self, targets: Mapping[str, Ramp], sample_rate: int, longest_samples: int) -> None:
        """``targets``: ``grain.length``, and ``grain.density`` or ``grain.overlap``; times never decrease."""
        self._targets, self._rate, self._longest_samples = targets, sample_rate, longest_samples
        self._times, self._counts, self._densities = [0], [0.0], [self._density(0)]

    def length_at(self, time: int) -> float:
        """Samples of an untransposed grain."""
        return min(self._targets["grain.length"].value(time) * self._rate, self._longest_samples)

    def _density(self, time: int) -> float:
        if "grain.density" in self._targets:
            return self._targets["grain.density"].value(time) / self._rate
        overlap = self._targets["grain.overlap"].value(time)
        return min(1.0 / ((1.0 - overlap) * self.length_at(time)), MOST_A_SECOND / self._rate)

    def advance(self, end: int) -> None:
        """Extend the count to sample ``end``, exclusive; discard times before the last call."""
        del self._times[:-1], self._counts[:-1], self._densities[:-1]
        while (time := self._times[-1] + STEP) < end:
            self._counts.append(self._counts[-1] + self._densities[-1] * STEP)
            self._times.append(time)
            self._densities.append(self._density(time))

    def count_at(self, time: int) -> tuple[float, float]:
        """Fractional count at a sample, and the density there."""
        step_index = bisect_right(self._times, time) - 1
        return self._counts[step_index] + self._densities[step_index] * (
            time - self._times[step_index]
        ), self._densities[step_index]

    def time_of(self, count: float) -> tuple[float, float]:
        """Fractional sample of a count, and the density there."""
        step_index = bisect_right(self._counts, count) - 1
        return self._times[step_index] + (count - self._counts[step_index]) / self._densities[
            step_index
        ], self._densities[step_index]


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


class GrainEngine(Engine[GrainStream]):
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

    def __init__(self, model: Model, settings: GrainSettings, loudest: float = math.inf) -> None:
        card = model.card
        self._model, self._rate = model, card.sample_rate
        self._seed, self._transposing = settings.seed, settings.keys == "transpose"
        self.targets = {
            name: Ramp(value, round(RAMP_SECONDS * self._rate)) for name, value in settings.values(card).items()
        }
        self._onset_ramps = [
            self.targets[f"grain.{name}"]
            for name in ("length", "shape", "pitch", "spread", "level_jitter", "code_jitter", "lowpass_hz")
        ]
        self._jitter_ramp = self.targets["grain.jitter"]
        self._source = source_of(card, math.ceil(CONTROLS["grain.length"].high * self._rate))
        self._deviations = np.array([latent.std for latent in card.latents], np.float32)
        self._low, self._high = np.array(card.spans, np.float32).T
        default_code = np.array([[latent.default for latent in card.latents]], np.float32)
        even_window = np.ones(card.frame_length, np.float32)
        default_power = self._source.power(model.decode(default_code, np.zeros(0, np.intp))[0], 1.0, even_window)
        self.highest_power = max(loudest**2, default_power)  # of a grain
        self._code_noise: Array = gaussian_noise(1 << 16).real * np.float32(math.sqrt(2.0))
        self._decoded: dict[bytes, Array] = {}  # last decoded frames by code
        self._no_chroma = np.zeros(0, np.intp)
        self._clock = GrainClock(self.targets, self._rate, self._source.longest(1.0))
        self._voice_count = 0

    def start_stream(self, pitch: float, time: int, key: int = MIDDLE_C) -> GrainStream:
        pending = np.zeros((2, ROOM), np.float32)
        self._voice_count += 1
        return GrainStream(key=pitch, on=time, note=self._voice_count, origin=time, pending=pending)

    def number_next(self, number: int) -> None:
        self._voice_count = number - 1

    def render(self, streams: Sequence[GrainStream], motion: Motion, start: int, count: int) -> list[Array]:
        """Successive blocks from sample 0 on; a dense texture has the power of a frame."""
        assert count <= MAX_BLOCK
        block_end = start + count
        self._clock.advance(block_end)
        due_grains: list[Due] = []
        for voice_index, stream in enumerate(streams):
            self._schedule(stream, block_end)
            end_sample = block_end if stream.end is None else min(block_end, stream.end)
            ready_grains = sorted(grain for grain in stream.waiting if grain.onset < end_sample)
            if ready_grains:
                stream.waiting = [grain for grain in stream.waiting if grain.onset >= end_sample]
                due_grains += [(voice_index, stream, grain) for grain in ready_grains]
        if due_grains:
            self._add(due_grains, motion, start)
        for ramp in self.targets.values():
            ramp.forget(block_end)
        for stream in streams:
            stream.make_room(start, block_end)
        return [stream.block(start, count) for stream in streams]

    def _schedule(self, stream: GrainStream, block_end: int) -> None:
        """Plan a stream's grains before the block's end."""
        if stream.next_count is None:
            stream.next_count = self._schedule_onset(stream)
        while True:
            grain_time, density = self._clock.time_of(stream.next_count)
            if grain_time >= block_end:
                return
            self._schedule_grain(stream, grain_time, density, self._jitter_ramp.value(math.floor(grain_time)))
            stream.next_count += 1.0

    def _schedule_onset(self, stream: GrainStream) -> float:
        """Plan the grain of the note-on and those before it; return the count of the next one."""
        onset_count, density = self._clock.count_at(stream.on)
        jitter = self._jitter_ramp.value(stream.on)
        length_samples = self._clock.length_at(stream.on)
        self._schedule_grain(stream, stream.on, density, 0.0)
        if density * length_samples > 1.0:
            spaced_density = min(density, FILL / length_samples)
            for interval_count in range(1, math.ceil(spaced_density * length_samples) + 1):
                self._schedule_grain(stream, stream.on - interval_count / spaced_density, spaced_density, jitter)
        return onset_count + 1.0

    def _schedule_grain(self, stream: GrainStream, grain_time: float, density: float, jitter: float) -> None:
        """Plan a grain, with a random delay."""
        grain_number = stream.grain_count
        if grain_number % DRAWS == 0:
            stream.chances = uniforms(self._seed, stream.note, grain_number, DRAWS, COLUMNS).tolist()
        random_numbers = stream.chances[grain_number % DRAWS]
        stream.grain_count += 1
        onset = math.floor(grain_time + random_numbers[WHEN] * jitter / density + 0.5)
        stream.waiting.append(PlannedGrain(onset, grain_number, density, random_numbers))

    def _add(self, due_grains: list[Due], motion: Motion, block_start: int) -> None:
        """Decode the due grains, and mix them into their streams."""
        voice_indices = [voice_index for voice_index, _, _ in due_grains]
        read_times = [max(grain.onset, stream.on) for _, stream, grain in due_grains]
        read_time_array = np.array(read_times, np.int64)
        bends_semitones = motion.bend_semitones(voice_indices, read_time_array).tolist()
        codes = motion.latents(voice_indices, read_time_array)
        cuts, windows, side_gains, code_jitters = [], [], [], []
        for (_, stream, grain), read_time, bend_semitones in zip(due_grains, read_times, bends_semitones, strict=True):
            length, shape, pitch, spread, level_jitter, code_jitter, lowpass = [
                ramp.value(read_time) for ramp in self._onset_ramps
            ]
            pitch += bend_semitones
            if self._transposing:
                pitch += stream.pitch_at(read_time) - MIDDLE_C
            ratio = 2.0 ** (min(max(pitch, -FURTHEST), FURTHEST) / 12.0)
            grain_length = min(max(2, round(length * self._rate)), self._source.longest(ratio))
            window, window_energy = _window(grain_length, round(shape * SHAPES))
            grain_gain = 10.0 ** (level_jitter * (2.0 * grain.chance[LEVEL] - 1.0) / 20.0)
            grain_gain *= math.sqrt(2.0 / max(1.0, grain.density * window_energy))
            pan_angle = math.pi / 4 * (1.0 + spread * (2.0 * grain.chance[SIDE] - 1.0))
            cuts.append(Cut(grain_length, ratio, lowpass / self._rate))
            windows.append(window)
            side_gains.append((grain_gain * math.cos(pan_angle), grain_gain * math.sin(pan_angle)))
            code_jitters.append(code_jitter)
        random_rows = [grain.chance for _, _, grain in due_grains]
        if any(code_jitters):
            frames = self._model.decode(self._jittered(codes, code_jitters, random_rows), self._no_chroma)
        else:
            frames = self._decode(codes)
        sounds = self._source.grains(frames, cuts, [random_numbers[NOISE:] for random_numbers in random_rows])
        for (_, stream, grain), frame, grain_cut, sound, window, gains in zip(
            due_grains, frames, cuts, sounds, windows, side_gains, strict=True
        ):
            power = self._source.power(frame, grain_cut.ratio, window)
            if power > self.highest_power:
                window = window * np.float32(math.sqrt(self.highest_power / power))
            self._place(stream, grain.onset, sound * window, gains, block_start)

    def _jittered(self, codes: Array, amounts: Sequence[float], random_rows: Sequence[Sequence[float]]) -> Array:
        """Return codes moved by random amounts, within the latents' ranges."""
        codes, latent_count = codes.copy(), codes.shape[1]
        last_start = len(self._code_noise) - latent_count
        for code, amount, random_numbers in zip(codes, amounts, random_rows, strict=True):
            if amount > 0.0:
                noise_start = int(random_numbers[CODE] * last_start)
                moved_code = self._code_noise[noise_start : noise_start + latent_count] * self._deviations
                moved_code *= amount
                moved_code += code
                np.maximum(moved_code, self._low, out=moved_code)
                np.minimum(moved_code, self._high, out=code)
        return codes

    def _decode(self, codes: Array) -> Array:
        """Decode codes, [rows, n_latents], unless the last call did."""
        code_bytes = [code.tobytes() for code in codes]
        new_rows = {one_code: row for row, one_code in enumerate(code_bytes) if one_code not in self._decoded}
        if len(new_rows) == len(code_bytes):
            frames = self._model.decode(codes, self._no_chroma)
            self._decoded = dict(zip(code_bytes, frames, strict=True))
            return frames
        if new_rows:
            frames = self._model.decode(codes[list(new_rows.values())], self._no_chroma)
            self._decoded |= zip(new_rows, frames, strict=True)
        self._decoded = {one_code: self._decoded[one_code] for one_code in code_bytes}
        return np.stack([self._decoded[one_code] for one_code in code_bytes])

    def _place(
        self, stream: GrainStream, onset: int, sound: Array, gains: tuple[float, float], block_start: int
    ) -> None:
        """Mix a grain into a stream."""
        if onset < stream.on:
            sound, onset = sound[stream.on - onset :], stream.on
        stream.make_room(block_start, onset + len(sound))
        offset = onset - stream.origin
        for pending_side, gain in zip(stream.pending, gains, strict=True):
            pending_side[offset : offset + len(sound)] += sound * gain


@functools.lru_cache(maxsize=256)
def _window(length: int, shape: int) -> tuple[Array, float]:
    """A grain's window, [length], and its energy."""
    phases = 2 * np.pi * (np.arange(length) + 0.5) / length
    if 2 * shape <= SHAPES:
        taper_phase = 2 * EDGE + (1 - 2 * EDGE) * 2 * shape / SHAPES
        edge_phases = np.minimum(np.minimum(phases, 2 * np.pi - phases) / taper_phase, np.pi)
        window = 0.5 - 0.5 * np.cos(edge_phases)
    else:
        blackman_share = 2 * shape / SHAPES - 1
        window = 0.5 - 0.5 * np.cos(phases) - 0.08 * blackman_share * (1 - np.cos(2 * phases))
    return window.astype(np.float32), float(window @ window)


def make_engine(model: Model, request: EngineRequest) -> GrainEngine:
    loudest = db_to_gain(LOUDEST_TEXTURE_DB - VOICE_LUFS + model.card.loudness_lufs)
    return GrainEngine(model, request.kind_settings or GrainSettings(), loudest)
