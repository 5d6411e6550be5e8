"""First presets and demos of grains, their amplitudes for code searches, and their voice in TorchScript.

Grains have the same onsets, random numbers and sources.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from ...host.arrays import Array
from ...host.engines.grain.engine import COLUMNS, FILL, FURTHEST, NOISE, PRIMES, SIDE, TRIED, WHEN, GrainEngine
from ...host.events import ControlChange, Event
from ...host.kinds.grain import CONTROLS, DENSITY, GrainKind, GrainSettings
from ...host.model.card import Card
from ...host.model.model import Model
from ...host.preset.library import Patch, default_knobs
from ...host.preset.preset import CCMap, EnvelopeSettings, PlaySettings, Preset
from ...host.signal import gaussian_noise
from ...host.units import MIDDLE_C
from .kind import RATE, ExportKind, held_key, preset_of
from .player import FLOAT, Attribute, NnPlayer, engine_of_notes
from .search_view import TargetSound, View, sizes, window_of


class GrainView(View):
    gain_counts = True

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self.smooth = card.domain == "magnitude"

    def target_sound(self, frames: Array) -> TargetSound:
        middles = torch.from_numpy(frames[:, (frames.shape[1] - self.length) // 2 :][:, : self.length].copy())
        spectra = sizes(torch.fft.rfft(middles[:, None] * self._window()))
        points, envelope = self.card.envelope_points, None
        if points:
            parts = torch.nn.functional.interpolate(middles.square().mean(0)[None, None], points, mode="area")
            envelope = parts[0, 0].sqrt()
        return TargetSound(spectra.square().mean(0).sqrt(), None, envelope)

    def decoded(self, frames: Tensor) -> Tensor:
        if self.card.domain == "samples":
            return sizes(torch.fft.rfft(frames[:, None] * self._window()))
        return frames[:, None, : self.length // 2 + 1]

    def _window(self) -> Tensor:
        return window_of("hann" if self.card.domain == "samples" else "rectangular", self.length)


def _grain_attributes() -> list[Attribute]:
    defaults = GrainSettings(density=DENSITY)
    controls = [(name, CONTROLS[f"grain.{name}"]) for name in ("density", "jitter", "spread")]
    return [Attribute(name, FLOAT, span.low, span.high, getattr(defaults, name)) for name, span in controls]


class GrainPlayer(NnPlayer):
    noise: Tensor
    phasors: Tensor
    waiting: list[list[tuple[int, int, float]]]
    origins: list[float]
    densities: list[float]
    placed_counts: list[int]
    draw_counts: list[int]
    keys: list[int]
    primes: list[int]

    def __init__(self, model: Model, decoder: nn.Module) -> None:
        """``decoder``: latents and an ignored chroma → frames, [rows, frame_width]."""
        engine = engine_of_notes(model)
        assert isinstance(engine, GrainEngine)
        card = model.card
        super().__init__(card, ["(signal) left", "(signal) right"], _grain_attributes())
        self.decoder = decoder
        self.frame_length, self.bins = card.frame_length, card.frame_length // 2 + 1
        self.envelope_points = card.envelope_points
        self.of_noise, self.polar = card.domain == "magnitude", card.domain == "magnitude_phase"
        longest = math.ceil(CONTROLS["grain.length"].high * card.sample_rate)
        noise = gaussian_noise(1 << longest.bit_length() if self.of_noise else 1)
        self.register_buffer("noise", torch.from_numpy(noise.copy()))
        self.register_buffer("phasors", torch.from_numpy(noise / abs(noise)))
        self.highest_power = engine.highest_power
        self.seconds = GrainSettings().values(card)["grain.length"]
        self.middle, self.furthest, self.fill, self.tried = float(MIDDLE_C), FURTHEST, FILL, TRIED
        self.columns, self.when, self.side, self.noises = COLUMNS, WHEN, SIDE, NOISE
        self.primes = list(PRIMES)
        self.waiting, self.origins, self.densities = [[(0, 0, 0.0)]], [0.0], [1.0]
        self.placed_counts, self.draw_counts, self.keys = [0], [0], [0]

    def longest(self) -> int:
        return math.ceil(self.seconds * self.values[2])

    def begin_rows(self, rows: int, device: torch.device) -> None:
        nothing: list[tuple[int, int, float]] = []
        self.waiting = [nothing.copy() for _ in range(rows)]
        self.origins, self.densities = [0.0] * rows, [1.0] * rows
        self.placed_counts, self.draw_counts, self.keys = [0] * rows, [0] * rows, [0] * rows

    def begin_note(self, row: int, number: int) -> None:
        """Schedule the first grain and those that overlap it, as `GrainEngine`."""
        onset, density = self.onsets[row], self.density()
        self.keys[row] = int(mixed(mixed(torch.zeros(1, dtype=torch.int64)) + (number + 1)))
        self.waiting[row].clear()
        self.draw_counts[row] = 0
        self.origins[row], self.densities[row], self.placed_counts[row] = float(onset), density, 1
        self.schedule(row, float(onset), density, 0.0)
        length = self.seconds * self.values[2]
        if density * length > 1.0:
            spaced = min(density, self.fill / length)
            for steps_back in range(1, math.ceil(spaced * length) + 1):
                self.schedule(row, onset - steps_back / spaced, spaced, self.values[4])

    def density(self) -> float:
        """Grains per sample."""
        return self.values[3] / self.values[2]

    def schedule(self, row: int, place: float, density: float, jitter: float) -> None:
        number = self.draw_counts[row]
        self.draw_counts[row] += 1
        late = self.chances(row, number)[self.when] * jitter / density
        self.waiting[row].append((math.floor(place + late + 0.5), number, density))

    def chances(self, row: int, number: int) -> list[float]:
        """Return numbers in [0, 1), as `timbrel.host.signal.uniforms`."""
        places = torch.arange(number * self.columns, (number + 1) * self.columns, dtype=torch.int64)
        uniforms: list[float] = (shifted(mixed(places + self.keys[row]), 11).double() / 2.0**53).tolist()
        return uniforms

    def keep(self, codes: Tensor) -> None:
        """Grains keep no codes."""

    def add(self, row: int, codes: Tensor, pitch: Tensor, pending: Tensor, end: int) -> None:
        """Each grain has the code at its first sample."""
        self.place(row, end)
        waiting: list[tuple[int, int, float]] = []
        due_grains: list[tuple[int, int, float]] = []
        for grain in self.waiting[row]:
            (due_grains if grain[0] < end else waiting).append(grain)
        self.waiting[row] = waiting
        if len(due_grains) == 0:
            return
        times = [max(grain[0], self.onsets[row]) for grain in due_grains]
        frames = self.decode(codes[:, [time - self.now for time in times]].T)
        for number, frame in enumerate(frames):
            onset, draw, density = due_grains[number]
            chance = self.chances(row, draw)
            semitones = self.note_at(pitch, times[number]) - self.middle
            ratio = 2.0 ** (min(max(semitones, -self.furthest), self.furthest) / 12.0)
            sound = self.sound(frame, ratio, density, chance)
            angle = math.pi / 4 * (1.0 + self.values[5] * (2.0 * chance[self.side] - 1.0))
            begin = max(onset, times[number])
            part = sound[begin - onset :]
            offset = begin - self.now
            pending[0, offset : offset + part.shape[0]] += part * math.cos(angle)
            pending[1, offset : offset + part.shape[0]] += part * math.sin(angle)

    def place(self, row: int, end: int) -> None:
        density = self.density()
        if density != self.densities[row]:  # from here on the time to the next grain passes at another rate
            start = float(max(self.now, self.onsets[row]))
            left = self.placed_counts[row] - (start - self.origins[row]) * self.densities[row]
            self.origins[row], self.densities[row], self.placed_counts[row] = start + left / density, density, 0
        while self.origins[row] + self.placed_counts[row] / density < end:
            self.schedule(row, self.origins[row] + self.placed_counts[row] / density, density, self.values[4])
            self.placed_counts[row] += 1

    def sound(self, frame: Tensor, ratio: float, density: float, chance: list[float]) -> Tensor:
        """Return a windowed grain at the level of its texture, [length].

        Args:
            ratio: of the grain's pitch to the frame's.
            density: of the surrounding grains, per sample.
        """
        rate = self.values[2] / self.model_rate
        length = max(2, math.floor(self.seconds * self.values[2] + 0.5))
        if not self.of_noise:
            length = min(length, max(2, math.floor(self.frame_length * rate / ratio)))
        turn = 2 * math.pi * (torch.arange(length, dtype=torch.float64) + 0.5) / length
        blackman = 0.5 - 0.5 * torch.cos(turn) - 0.08 * (1 - torch.cos(2 * turn))
        window = blackman.to(frame.device, frame.dtype)
        level = math.sqrt(2.0 / max(1.0, density * float(torch.dot(window, window))))
        power = self.power(frame, ratio, window)
        if power > self.highest_power:
            level *= math.sqrt(self.highest_power / power)
        if self.of_noise:
            source = self.of_table(frame, length, ratio / rate, chance) * math.sqrt(rate)
        else:
            source = self.cut(frame, length, ratio / rate)
        sound: Tensor = source * window * level
        return sound

    def power(self, frame: Tensor, ratio: float, window: Tensor) -> float:
        """Return grains' mean square, as `GrainEngine`'s sources."""
        if not self.of_noise and not self.polar:
            return float(frame.square().mean())
        audible_bins = self.bins if self.polar else min(self.bins, math.ceil(self.bins / ratio))
        power = float(frame[:audible_bins].square().sum()) * 2 / self.frame_length**2
        if self.polar or self.envelope_points == 0:
            return power if self.polar else power * ratio
        places = torch.linspace(0, window.shape[0] - 1, self.envelope_points, dtype=torch.float64).round().long()
        weights = window[places.to(window.device)].square()
        return power * ratio * float((weights * frame[self.bins :].square()).sum() / weights.sum())

    def of_table(self, frame: Tensor, length: int, ratio: float, chance: list[float]) -> Tensor:
        """Return noise with a spectrum and envelope, [length], as `Noise`."""
        transform_length = self.fast_length(length)
        bins = transform_length // 2 + 1
        room = self.noise.shape[0] - bins
        first, then = int(chance[self.noises] * room), int(chance[self.noises + 1] * room)
        cycles = torch.arange(bins, dtype=torch.float64) / transform_length
        places = cycles * self.frame_length / ratio
        gain = math.sqrt(transform_length / self.frame_length) * (places <= self.frame_length / 2).double()
        gain[0] *= math.sqrt(2.0)
        gain[-1] *= math.sqrt(2.0)
        magnitudes = interpolate(frame[: self.bins], places, gain)
        spectrum = self.noise[first : first + bins] * self.phasors[then : then + bins] * magnitudes
        sound: Tensor = torch.fft.irfft(spectrum, transform_length)[:length]
        if self.envelope_points == 0:
            return sound
        along = torch.linspace(0.0, self.envelope_points - 1.0, length, dtype=torch.float64)
        return sound * interpolate(frame[self.bins :], along, torch.ones_like(along))

    def fast_length(self, length: int) -> int:
        """Return the next even length of a fast transform."""
        candidate = length + length % 2
        while self.without_primes(candidate) > 1:
            candidate += 2
        return candidate

    def without_primes(self, number: int) -> int:
        for prime in self.primes:
            while number % prime == 0:
                number = number // prime
        return number

    def cut(self, frame: Tensor, length: int, ratio: float) -> Tensor:
        """Return the transposed middle of a frame of samples, [length], as `Samples`."""
        if self.polar:
            frame = torch.fft.irfft(torch.polar(frame[: self.bins], frame[self.bins :]), self.frame_length)
        sample_count = self.frame_length
        if ratio != 1.0:
            # Padding lets the resampled length be whole: the least error of the ratio wins.
            lengths = torch.arange(sample_count, sample_count + self.tried, dtype=torch.float64)
            resampled = torch.round(lengths / ratio).clamp_min(2.0)
            best = int(torch.argmin(torch.abs(resampled * ratio / lengths - 1.0)))
            padded_length, resampled_length = int(lengths[best]), int(resampled[best])
            gains = torch.full(
                [min(padded_length, resampled_length) // 2 + 1], resampled_length / padded_length, device=frame.device
            )
            if min(padded_length, resampled_length) % 2 == 0 and resampled_length != padded_length:
                gains[-1] *= 2.0 if resampled_length < padded_length else 0.5
            frame = torch.fft.irfft(torch.fft.rfft(frame, padded_length)[: gains.shape[0]] * gains, resampled_length)
            sample_count = math.floor(sample_count * resampled_length / padded_length + 0.5)
        first = max(0, (sample_count - length) // 2)
        return frame[first : first + length]

    @torch.jit.export
    def decode(self, codes: Tensor) -> Tensor:
        unheard = torch.zeros(codes.shape[0], 12, dtype=codes.dtype, device=codes.device)
        frames: Tensor = self.decoder(codes, unheard)
        return frames


def interpolate(values: Tensor, places: Tensor, gain: Tensor) -> Tensor:
    """Interpolate at fractional places, times a gain: [places]."""
    lower = torch.minimum(places.long(), torch.tensor(values.shape[0] - 2))
    fraction = places - lower
    first = values[lower.to(values.device)] * (gain * (1.0 - fraction)).to(values.device, values.dtype)
    return first + values[(lower + 1).to(values.device)] * (gain * fraction).to(values.device, values.dtype)


def shifted(value: Tensor, by: int) -> Tensor:
    """Shift signed storage of unsigned 64-bit numbers to the right."""
    return (value >> by) & ((1 << (64 - by)) - 1)


def mixed(counters: Tensor) -> Tensor:
    """As `timbrel.host.signal.splitmix64`, with its unsigned factors."""
    value = counters * -7046029254386353131  # 0x9E3779B97F4A7C15
    value = (value ^ shifted(value, 30)) * -4658895280553007687  # 0xBF58476D1CE4E5B9
    value = (value ^ shifted(value, 27)) * -7723592293110705685  # 0x94D049BB133111EB
    return value ^ shifted(value, 31)


STEPS, STEP_SECONDS = 8, 1.5  # of the walk
# More controls of a texture, on the general purpose controllers and the modulation wheel.
KNOBS = (
    CCMap(number=1, target="grain.code_jitter", low=0.0, high=1.0),
    CCMap(number=16, target="grain.density", low=10.0, high=400.0, curve=2.0),
    CCMap(number=17, target="grain.length", low=0.01, high=0.5, curve=2.0),
    CCMap(number=18, target="grain.spread", low=0.0, high=1.0),
    CCMap(number=19, target="grain.pitch", low=-24.0, high=24.0),
)


def _preset(model: Model) -> Preset:
    return preset_of(
        model,
        play=PlaySettings(mode="poly", voices=8),
        grain=GrainSettings(density=200.0, spread=0.7, code_jitter=0.3),
        envelope=EnvelopeSettings(attack_seconds=0.3, decay_seconds=0.1, sustain=1.0, release_seconds=1.0),
        cc=[*default_knobs(model.card), *KNOBS],
    )


def _demo(patch: Patch, velocity: int) -> tuple[list[Event], int]:
    step, marks = round(STEP_SECONDS * RATE), patch.model.card.landmarks
    down, up = held_key(STEPS * step, velocity)
    events = [down]
    for index, mark in enumerate(np.linspace(0, len(marks) - 1, STEPS).astype(int).tolist() if marks else []):
        for knob in patch.preset.cc:
            number = knob.target.removeprefix("latent.")
            if knob.number is not None and number.isdecimal():
                low, high = knob.ends
                place = round(127 * (marks[mark].latent[int(number)] - low) / (high - low))
                events.append(ControlChange(index * step, 0, knob.number, min(max(place, 0), 127)))
    return [*events, up], STEPS * step


KIND = ExportKind(GrainKind.name, _preset, _demo, holds_one_key=True, view=GrainView, player=GrainPlayer)
