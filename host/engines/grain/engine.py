"""Engine of kind ``grain``: plans grains, and adds them to the sounds of their voices."""

import functools
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...arrays import Array
from ...kinds.card_fields import ImageBand
from ...kinds.grain import CONTROLS, GrainSettings
from ...kinds.kind import IMAGE
from ...model.model import Model
from ...ramps import RAMP_SECONDS, Ramp
from ...signal import gaussian_noise, uniforms
from ...units import MIDDLE_C, db_to_gain
from ...velocity import LOUDEST
from ..engine import MAX_BLOCK, VOICE_LUFS, Engine, EngineRequest, MixedSound, Motion, image_target
from .sources import Cut, PlacedGrain, source_of

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
IMAGE_STEPS = 64  # of an amount of the image from 0 to 1: each grain has its own
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
    default code's if larger. A stereo image, at its amount then, is on both sides of where ``spread`` has the grain.
    """

    channels = 2

    def __init__(
        self,
        model: Model,
        settings: GrainSettings,
        loudest: float = math.inf,
        image: float = 1.0,
        image_bands: Sequence[ImageBand] | None = None,
    ) -> None:
        card = model.card
        self._model, self._rate = model, card.sample_rate
        self._seed, self._transposing = settings.seed, settings.keys == "transpose"
        self.targets = {
            name: Ramp(value, round(RAMP_SECONDS * self._rate)) for name, value in settings.values(card).items()
        }
        self._rest_image, image_ramp = image, image_target(image, card, image_bands)
        self.targets |= image_ramp
        self._image_ramp = image_ramp.get(IMAGE)
        self._onset_ramps = [
            self.targets[f"grain.{name}"]
            for name in ("length", "shape", "pitch", "spread", "level_jitter", "lowpass_hz")
        ]
        self._code_jitter_ramp = self.targets["grain.code_jitter"]
        self._jitter_ramp = self.targets["grain.jitter"]
        self._source = source_of(card, math.ceil(CONTROLS["grain.length"].high * self._rate), image_bands)
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

    def start_stream(self, pitch: float, time: int, key: int = MIDDLE_C, velocity: int = LOUDEST) -> GrainStream:
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
        onset_values = [_values(ramp, read_time_array) for ramp in self._onset_ramps]
        cuts, windows, side_gains = [], [], []
        for (_, stream, grain), read_time, bend_semitones, length, shape, pitch, spread, level_jitter, lowpass in zip(
            due_grains, read_times, bends_semitones, *onset_values, strict=True
        ):
            semitones = pitch + bend_semitones
            if self._transposing:
                semitones += stream.pitch_at(read_time) - MIDDLE_C
            ratio = 2.0 ** (min(max(semitones, -FURTHEST), FURTHEST) / 12.0)
            grain_length = min(max(2, round(length * self._rate)), self._source.longest(ratio))
            window, window_energy = _window(grain_length, round(shape * SHAPES))
            grain_gain = 10.0 ** (level_jitter * (2.0 * grain.chance[LEVEL] - 1.0) / 20.0)
            grain_gain *= math.sqrt(2.0 / max(1.0, grain.density * window_energy))
            pan_angle = math.pi / 4 * (1.0 + spread * (2.0 * grain.chance[SIDE] - 1.0))
            cuts.append(Cut(grain_length, ratio, lowpass / self._rate))
            windows.append(window)
            side_gains.append((grain_gain * math.cos(pan_angle), grain_gain * math.sin(pan_angle)))
        images = self._images(read_time_array)
        code_jitters = _values(self._code_jitter_ramp, read_time_array)
        if any(code_jitters):
            random_rows = [grain.chance for _, _, grain in due_grains]
            frames = self._model.decode(self._jittered(codes, code_jitters, random_rows), self._no_chroma)
        else:
            frames = self._decode(codes)
        for (_, stream, grain), cut in zip(due_grains, cuts, strict=True):
            stream.make_room(block_start, grain.onset + cut.length)
        placed_grains = [
            _placed(stream, grain, cut, image, window, gains)
            for (_, stream, grain), cut, image, window, gains in zip(
                due_grains, cuts, images, windows, side_gains, strict=True
            )
        ]
        self._source.add(frames, placed_grains, self.highest_power)

    def _images(self, times: npt.NDArray[np.int64]) -> list[float]:
        """Amounts of the image for grains, in steps, for the sources' caches, but where the preset has it."""
        if self._image_ramp is None:
            return [0.0] * len(times)
        amounts = _values(self._image_ramp, times)
        return [
            amount if amount == self._rest_image else round(amount * IMAGE_STEPS) / IMAGE_STEPS for amount in amounts
        ]

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


def _values(ramp: Ramp, times: npt.NDArray[np.int64]) -> list[float]:
    """A ramp's values at times; without a computation for each if it has settled."""
    if ramp.has_settled(int(times.min())):
        return [ramp.target] * len(times)
    values: list[float] = ramp.values(times).tolist()
    return values


def _placed(
    stream: GrainStream, grain: PlannedGrain, cut: Cut, image: float, window: Array, side_gains: tuple[float, float]
) -> PlacedGrain:
    """A grain in its stream, which has room for it."""
    skipped_count = min(max(0, stream.on - grain.onset), cut.length)
    first_sample = grain.onset + skipped_count - stream.origin
    sums = stream.pending[:, first_sample : first_sample + cut.length - skipped_count]
    return PlacedGrain(cut, image, grain.chance[NOISE:], window, side_gains, sums, skipped_count)


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
    return GrainEngine(
        model, request.kind_settings or GrainSettings(), loudest, request.play.image, request.play.image_bands
    )
