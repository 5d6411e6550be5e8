"""First presets and demos of grains, their amplitudes for code searches, and their voice in TorchScript.

Grains have the same onsets, random numbers and sources.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from ...host.arrays import Array
from ...host.engines.grain.engine import COLUMNS, FILL, FURTHEST, NOISE, SIDE, WHEN, GrainEngine
from ...host.engines.grain.sources import PLACE_OFFSET, PRIMES, SIGN_HZ, TRIED, image_signs
from ...host.events import ControlChange, Event
from ...host.kinds.grain import CONTROLS, DENSITY, GrainKind, GrainSettings
from ...host.model.card import Card
from ...host.model.model import Model
from ...host.preset.library import Patch, default_knobs
from ...host.preset.preset import CCMap, EnvelopeSettings, PlaySettings, Preset
from ...host.signal import gaussian_noise
from ...host.units import MIDDLE_C
from .kind import RATE, ExportKind, TargetSound, View, held_key, image_knob, preset_of, sizes, window_of
from .player import FLOAT, STEREO, Attribute, NnPlayer, add_image, engine_of_notes, side_curves


class GrainView(View):
    gain_counts = True

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self.smooth = card.domain == "magnitude"

    def target_sound(self, frames: Array) -> TargetSound:
        middles = torch.from_numpy(frames[:, (frames.shape[1] - self.length) // 2 :][:, : self.length].copy())
        spectra = sizes(torch.fft.rfft(middles[:, None] * self._window()))
        point_count, envelope = self.card.envelope_points, None
        if point_count:
            point_powers = torch.nn.functional.interpolate(
                middles.square().mean(0)[None, None], point_count, mode="area"
            )
            envelope = point_powers[0, 0].sqrt()
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
    image: Tensor
    image_hz: Tensor
    image_signs: Tensor
    curves: Tensor
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
        super().__init__(card, STEREO, _grain_attributes())
        self.decoder = decoder
        self.frame_length, self.bins = card.frame_length, card.frame_length // 2 + 1
        self.envelope_points = card.envelope_points
        self.of_noise, self.polar = card.domain == "magnitude", card.domain == "magnitude_phase"
        longest_samples = math.ceil(CONTROLS["grain.length"].high * card.sample_rate)
        noise = gaussian_noise(1 << longest_samples.bit_length() if self.of_noise else 1)
        self.register_buffer("noise", torch.from_numpy(noise.copy()))
        self.register_buffer("phasors", torch.from_numpy(noise / abs(noise)))
        add_image(self, card)
        if card.image is not None:
            self.register_buffer("image_signs", torch.from_numpy(image_signs(card.sample_rate)))
            self.register_buffer("curves", torch.zeros(3, 0, dtype=torch.float64))  # of grains of the last length
            self.curves_rate, self.sign_hz, self.place_offset = 0.0, SIGN_HZ, PLACE_OFFSET
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
        no_grains: list[tuple[int, int, float]] = []
        self.waiting = [no_grains.copy() for _ in range(rows)]
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
        grain_samples = self.seconds * self.values[2]
        if density * grain_samples > 1.0:
            spaced_density = min(density, self.fill / grain_samples)
            for steps_back in range(1, math.ceil(spaced_density * grain_samples) + 1):
                self.schedule(row, onset - steps_back / spaced_density, spaced_density, self.values[4])

    def density(self) -> float:
        """Grains per sample."""
        return self.values[3] / self.values[2]

    def schedule(self, row: int, grain_time: float, density: float, jitter: float) -> None:
        """Schedule a grain at a time in samples, late by chance; ``density``: of the grains around it."""
        draw_index = self.draw_counts[row]
        self.draw_counts[row] += 1
        delay_samples = self.chances(row, draw_index)[self.when] * jitter / density
        self.waiting[row].append((math.floor(grain_time + delay_samples + 0.5), draw_index, density))

    def chances(self, row: int, draw_index: int) -> list[float]:
        """Return numbers in [0, 1), as `timbrel.host.signal.uniforms`."""
        counters = torch.arange(draw_index * self.columns, (draw_index + 1) * self.columns, dtype=torch.int64)
        uniforms: list[float] = (shifted(mixed(counters + self.keys[row]), 11).double() / 2.0**53).tolist()
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
        start_times = [max(grain[0], self.onsets[row]) for grain in due_grains]
        frames = self.decode(codes[:, [time - self.now for time in start_times]].T)
        for grain_index, frame in enumerate(frames):
            onset, draw_index, density = due_grains[grain_index]
            uniforms = self.chances(row, draw_index)
            semitones = self.note_at(pitch, start_times[grain_index]) - self.middle
            pitch_ratio = 2.0 ** (min(max(semitones, -self.furthest), self.furthest) / 12.0)
            sound = self.sound(frame, pitch_ratio, density, uniforms)
            pan_angle = math.pi / 4 * (1.0 + self.values[5] * (2.0 * uniforms[self.side] - 1.0))
            start_time = max(onset, start_times[grain_index])
            if hasattr(self, "image"):
                side_tails = sound[:, start_time - onset :]
                offset = start_time - self.now
                pending[0, offset : offset + side_tails.shape[1]] += side_tails[0] * math.cos(pan_angle)
                pending[1, offset : offset + side_tails.shape[1]] += side_tails[1] * math.sin(pan_angle)
            else:
                grain_tail = sound[start_time - onset :]
                offset = start_time - self.now
                pending[0, offset : offset + grain_tail.shape[0]] += grain_tail * math.cos(pan_angle)
                pending[1, offset : offset + grain_tail.shape[0]] += grain_tail * math.sin(pan_angle)

    def place(self, row: int, end: int) -> None:
        """Schedule the grains that begin before sample ``end``."""
        density = self.density()
        if density != self.densities[row]:  # from here on the time to the next grain passes at another rate
            change_time = float(max(self.now, self.onsets[row]))
            remaining_grains = self.placed_counts[row] - (change_time - self.origins[row]) * self.densities[row]
            self.origins[row], self.densities[row], self.placed_counts[row] = (
                change_time + remaining_grains / density,
                density,
                0,
            )
        while self.origins[row] + self.placed_counts[row] / density < end:
            self.schedule(row, self.origins[row] + self.placed_counts[row] / density, density, self.values[4])
            self.placed_counts[row] += 1

    def sound(self, frame: Tensor, ratio: float, density: float, uniforms: list[float]) -> Tensor:
        """Return a windowed grain at the level of its texture, [length], or with an image its sides, [2, length].

        Args:
            ratio: of the grain's pitch to the frame's.
            density: of the surrounding grains, per sample.
        """
        rate_ratio = self.values[2] / self.model_rate
        length = max(2, math.floor(self.seconds * self.values[2] + 0.5))
        if not self.of_noise:
            length = min(length, max(2, math.floor(self.frame_length * rate_ratio / ratio)))
        window_phase = 2 * math.pi * (torch.arange(length, dtype=torch.float64) + 0.5) / length
        blackman = 0.5 - 0.5 * torch.cos(window_phase) - 0.08 * (1 - torch.cos(2 * window_phase))
        window = blackman.to(frame.device, frame.dtype)
        level = math.sqrt(2.0 / max(1.0, density * float(torch.dot(window, window))))
        power = self.power(frame, ratio, window)
        if power > self.highest_power:
            level *= math.sqrt(self.highest_power / power)
        if self.of_noise:
            source = self.of_table(frame, length, ratio / rate_ratio, uniforms) * math.sqrt(rate_ratio)
        else:
            source = self.cut(frame, length, ratio / rate_ratio)
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
        window_indices = (
            torch.linspace(0, window.shape[0] - 1, self.envelope_points, dtype=torch.float64).round().long()
        )
        weights = window[window_indices.to(window.device)].square()
        return power * ratio * float((weights * frame[self.bins :].square()).sum() / weights.sum())

    def of_table(self, frame: Tensor, length: int, ratio: float, uniforms: list[float]) -> Tensor:
        """Return noise with a spectrum and envelope, [length] or [2, length], as `NoiseFrames`."""
        transform_length = self.fast_length(length)
        bins = transform_length // 2 + 1
        start_limit = self.noise.shape[0] - bins
        noise_start, phasor_start = (
            int(uniforms[self.noises] * start_limit),
            int(uniforms[self.noises + 1] * start_limit),
        )
        bin_cycles_per_sample = torch.arange(bins, dtype=torch.float64) / transform_length
        frame_bins = bin_cycles_per_sample * self.frame_length / ratio
        gains = math.sqrt(transform_length / self.frame_length) * (frame_bins <= self.frame_length / 2).double()
        gains[0] *= math.sqrt(2.0)
        gains[-1] *= math.sqrt(2.0)
        magnitudes = interpolate(frame[: self.bins], frame_bins, gains)
        spectrum = (
            self.noise[noise_start : noise_start + bins] * self.phasors[phasor_start : phasor_start + bins] * magnitudes
        )
        if hasattr(self, "image"):
            noise_start = int((uniforms[self.noises] + self.place_offset) % 1.0 * start_limit)
            phasor_start = int((uniforms[self.noises + 1] + self.place_offset) % 1.0 * start_limit)
            other_noise = (
                self.noise[noise_start : noise_start + bins] * self.phasors[phasor_start : phasor_start + bins]
            )
            spectrum = self.noise_sides(spectrum, other_noise * magnitudes)
            sound: Tensor = torch.fft.irfft(spectrum, transform_length)[:, :length]
        else:
            sound = torch.fft.irfft(spectrum, transform_length)[:length]
        if self.envelope_points == 0:
            return sound
        envelope_positions = torch.linspace(0.0, self.envelope_points - 1.0, length, dtype=torch.float64)
        return sound * interpolate(frame[self.bins :], envelope_positions, torch.ones_like(envelope_positions))

    def noise_sides(self, noise: Tensor, other_noise: Tensor) -> Tensor:
        """Return the sides' spectra, [2, bins], of two noises, [bins]."""
        left_gains, right_gains, angles = self.curves_of(noise.shape[0]).unbind(0)
        own_part, other_part = torch.cos(angles) * noise, torch.sin(angles) * other_noise
        sides = torch.stack([left_gains * (own_part + other_part), right_gains * (own_part - other_part)])
        return sides.to(noise.dtype)

    def side_gains(self, bins: int) -> Tensor:
        """Return complex gains of both sides, [2, bins]."""
        left_gains, right_gains, angles = self.curves_of(bins).unbind(0)
        bins_hz = torch.linspace(0, self.values[2] / 2, bins, dtype=torch.float64, device=angles.device)
        signs = self.image_signs[(bins_hz / self.sign_hz).long().clamp(max=self.image_signs.shape[0] - 1)]
        gains = torch.stack([torch.polar(left_gains, angles * signs), torch.polar(right_gains, -angles * signs)])
        return gains.to(torch.complex64)

    def curves_of(self, bins: int) -> Tensor:
        """Return `side_curves` of the bins of a grain, [3, bins]."""
        if bins != self.curves.shape[1] or self.curves_rate != self.values[2]:
            self.curves_rate = self.values[2]
            hertz = torch.linspace(0, self.values[2] / 2, bins, dtype=torch.float64, device=self.image.device)
            self.curves = side_curves(self.image, self.image_hz, hertz)
        return self.curves

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
        """Return the transposed middle of a frame of samples, [length] or [2, length], as `ResampledFrames`."""
        if self.polar:
            frame = torch.fft.irfft(torch.polar(frame[: self.bins], frame[self.bins :]), self.frame_length)
        sample_count = self.frame_length
        if hasattr(self, "image") or ratio != 1.0:
            # Padding lets the resampled length be whole: the least error of the ratio wins.
            padded_lengths = torch.arange(sample_count, sample_count + self.tried, dtype=torch.float64)
            resampled_lengths = torch.round(padded_lengths / ratio).clamp_min(2.0)
            best_index = int(torch.argmin(torch.abs(resampled_lengths * ratio / padded_lengths - 1.0)))
            padded_length, resampled_length = int(padded_lengths[best_index]), int(resampled_lengths[best_index])
            gains = torch.full(
                [min(padded_length, resampled_length) // 2 + 1], resampled_length / padded_length, device=frame.device
            )
            if min(padded_length, resampled_length) % 2 == 0 and resampled_length != padded_length:
                gains[-1] *= 2.0 if resampled_length < padded_length else 0.5
            if hasattr(self, "image"):
                spectrum = torch.fft.rfft(frame, padded_length)[: gains.shape[0]] * gains
                side_gains = self.side_gains(resampled_length // 2 + 1)[:, : gains.shape[0]]
                frame = torch.fft.irfft(spectrum * side_gains, resampled_length)
            else:
                frame = torch.fft.irfft(
                    torch.fft.rfft(frame, padded_length)[: gains.shape[0]] * gains, resampled_length
                )
            sample_count = math.floor(sample_count * resampled_length / padded_length + 0.5)
        start = max(0, (sample_count - length) // 2)
        if hasattr(self, "image"):
            return frame[:, start : start + length]
        return frame[start : start + length]

    @torch.jit.export
    def decode(self, codes: Tensor) -> Tensor:
        ignored_chroma = torch.zeros(codes.shape[0], 12, dtype=codes.dtype, device=codes.device)
        frames: Tensor = self.decoder(codes, ignored_chroma)
        return frames


def interpolate(values: Tensor, places: Tensor, gain: Tensor) -> Tensor:
    """Interpolate at fractional places, times a gain: [places]."""
    lower_indices = torch.minimum(places.long(), torch.tensor(values.shape[0] - 2))
    fraction = places - lower_indices
    lower_terms = values[lower_indices.to(values.device)] * (gain * (1.0 - fraction)).to(values.device, values.dtype)
    return lower_terms + values[(lower_indices + 1).to(values.device)] * (gain * fraction).to(
        values.device, values.dtype
    )


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
MONO_SPREAD = 0.7
# More controls of a texture, on the general purpose controllers and the modulation wheel.
KNOBS = (
    CCMap(number=1, target="grain.code_jitter", low=0.0, high=1.0),
    CCMap(number=16, target="grain.density", low=10.0, high=400.0, curve=2.0),
    CCMap(number=17, target="grain.length", low=0.01, high=0.5, curve=2.0),
    CCMap(number=18, target="grain.spread", low=0.0, high=1.0),
    CCMap(number=19, target="grain.pitch", low=-24.0, high=24.0),
)


def _preset(model: Model) -> Preset:
    spread = MONO_SPREAD if model.card.image is None else 0.0  # an image is as wide as the recordings by itself
    return preset_of(
        model,
        play=PlaySettings(mode="poly", voices=8),
        grain=GrainSettings(density=200.0, spread=spread, code_jitter=0.3),
        envelope=EnvelopeSettings(attack_seconds=0.3, decay_seconds=0.1, sustain=1.0, release_seconds=1.0),
        cc=[*default_knobs(model.card), *KNOBS, *image_knob(model.card)],
    )


def _demo(patch: Patch, velocity: int) -> tuple[list[Event], int]:
    step_samples, landmarks = round(STEP_SECONDS * RATE), patch.model.card.landmarks
    down, up = held_key(STEPS * step_samples, velocity)
    events = [down]
    for step_index, mark_index in enumerate(
        np.linspace(0, len(landmarks) - 1, STEPS).astype(int).tolist() if landmarks else []
    ):
        for knob in patch.preset.cc:
            latent_text = knob.target.removeprefix("latent.")
            if knob.number is not None and latent_text.isdecimal():
                low, high = knob.ends
                cc_value = round(127 * (landmarks[mark_index].latent[int(latent_text)] - low) / (high - low))
                events.append(ControlChange(step_index * step_samples, 0, knob.number, min(max(cc_value, 0), 127)))
    return [*events, up], STEPS * step_samples


KIND = ExportKind(GrainKind.name, _preset, _demo, holds_one_key=True, view=GrainView, player=GrainPlayer)
