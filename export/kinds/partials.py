"""First presets and demos of partials, their amplitudes for code searches, and their voice in TorchScript."""

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...host.arrays import Array
from ...host.engines.spectrum.coherent_voicing import APART, FORMANT_DB, GOLDEN, TOP_BINS, CoherentVoicing
from ...host.engines.spectrum.frames import FEWEST_LOW_BINS, FINE, MOST_LOW_BINS, PLAIN, PartialsOfFrames
from ...host.engines.spectrum.harmonic_shift import middle_of
from ...host.engines.spectrum.noise_voicing import STRIDE, white_loop
from ...host.engines.spectrum.partial_analysis import QUIETEST
from ...host.events import Event
from ...host.kinds.card_fields import KEYS
from ...host.kinds.spectrum import PartialsKind
from ...host.model.card import Card
from ...host.model.model import Model
from ...host.model.partials import spectra as spectra_of
from ...host.preset.library import Patch
from ...host.signal import LOBE_STEPS, from_middle, window_of
from ...host.units import INAUDIBLE_HZ
from .kind import LEAST_POWER, ExportKind
from .player import STEREO, FramePlayer, add_image, side_curves
from .spectrum import SpectraView, preset, scale


class PartialsView(SpectraView):
    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self._table = functools.lru_cache(maxsize=4)(self._powers)

    def convert_frames(self, frames: Tensor, conditions: Tensor) -> Tensor:
        power_tables = torch.stack([self._table(key) for key in conditions.tolist()]).to(frames)
        amplitudes: Tensor = (torch.einsum("rw,rwb->rb", frames.square(), power_tables) + LEAST_POWER).sqrt()
        return amplitudes

    def unpitched(self, spectra: Array) -> int:
        return round(middle_of(self.card))

    def place(self, key: int) -> tuple[int, int]:
        return key, key

    def _powers(self, key: int) -> Tensor:
        """Return the power spectra of a key's partials and bands at amplitude 1, [frame_width, bins]."""
        width = self.card.frame_width
        unit_spectra = spectra_of(self.card, np.eye(width, dtype=np.float32), np.full(width, key))
        return torch.from_numpy(np.square(unit_spectra))


class PartialsPlayer(FramePlayer):
    lobes: Tensor
    noise: Tensor
    fundamentals: Tensor
    orders: Tensor
    spread: Tensor
    low_noise: Tensor
    low_spread: Tensor
    edges: Tensor
    heard: Tensor
    loop: Tensor
    window: Tensor
    phases: Tensor
    middle_signs: Tensor
    image: Tensor
    image_hz: Tensor
    signs: Tensor
    turns: list[float]
    lasts: list[float]
    next_noise: list[int]
    order_turns: list[Tensor]
    last_keys: list[int]

    def __init__(self, model: Model, decoder: nn.Module) -> None:
        """``decoder``: latents and pitch, [rows, 1], → frames, [rows, frame_width]."""
        card, voicing = model.card, CoherentVoicing(model, PLAIN)
        assert card.partials is not None
        super().__init__(card, voicing, *([STEREO] if card.image else []))
        self.decoder, window_shape = decoder, voicing.shape
        self.harmonics = card.partials.harmonics
        bin_count, length_ratio = self.frame_length // 2 + 1, self.frame_length / card.frame_length
        frame_partials = PartialsOfFrames(card, card.partials, bin_count, length_ratio)
        assert voicing.low_noise is not None
        orders = np.broadcast_to(frame_partials.orders, (KEYS, self.harmonics))
        tables: dict[str, npt.NDArray[Any]] = {
            "lobes": voicing.lobes,
            "noise": voicing.noise_frames,
            "fundamentals": frame_partials.fundamentals(np.arange(KEYS)) * length_ratio,
            "orders": orders,
            "spread": frame_partials.spread,
            "low_noise": voicing.low_noise,
            "low_spread": frame_partials.low_spread,
            "edges": np.array(card.partials.edges_hz),
            "heard": frame_partials.heard,
            "loop": white_loop(window_shape),
            "window": window_of(window_shape) / (window_shape.overlap * window_shape.terms[0]),
            "phases": voicing.harmonic_phases[: self.harmonics],
            "middle_signs": from_middle(bin_count),
        }
        if card.image is not None:
            tables["signs"] = voicing.harmonic_signs[: self.harmonics]
            self.apart = APART
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(table.copy()))
        add_image(self, card)
        self.amplitude, self.hiss = float(voicing.amplitude), float(voicing.hiss)
        self.overlap, self.taps, self.steps, self.top_bins = (
            window_shape.overlap,
            window_shape.taps,
            LOBE_STEPS,
            TOP_BINS,
        )
        self.low_bins, self.fine, self.inaudible = round(frame_partials.low_edges[-1]), FINE, INAUDIBLE_HZ
        self.fewest_low, self.most_low = FEWEST_LOW_BINS, MOST_LOW_BINS
        self.tuned_rate = self.values[2]
        self.quietest, self.golden, self.stride = QUIETEST, GOLDEN, STRIDE
        self.limit = FORMANT_DB / 20 * math.log(10)
        self.turns, self.lasts, self.next_noise = [0.0], [0.0], [0]
        self.order_turns, self.last_keys = [torch.zeros(self.harmonics, dtype=torch.float64)], [-1]

    def begin_states(self, rows: int) -> None:
        self.turns, self.lasts, self.next_noise = [0.0] * rows, [0.0] * rows, [0] * rows
        self.order_turns = [torch.zeros(self.harmonics, dtype=torch.float64, device=self.orders.device)] * rows
        self.last_keys = [-1] * rows

    def begin_state(self, row: int, number: int) -> None:
        self.turns[row], self.lasts[row] = number * self.golden % 1.0, 0.0
        self.next_noise[row] = number * self.stride % self.noise.shape[0]
        self.order_turns[row], self.last_keys[row] = torch.zeros_like(self.order_turns[row]), -1

    def frames(self, row: int, codes: Tensor, keys: list[int], ratios: list[float]) -> Tensor:
        """As `CoherentVoicing.parts_of`."""
        if self.values[2] != self.tuned_rate:
            self.tune()
        key_indices = torch.tensor(keys, device=codes.device)
        frequency_ratios = exact(ratios).to(codes.device)
        decoded_frames = self.decode(codes, key_indices)
        heights, noise_bands = decoded_frames[:, : self.harmonics], decoded_frames[:, self.harmonics :]
        heights = torch.where(heights < self.quietest * heights.amax(1, keepdim=True), 0.0, heights)
        semitones = 12 * torch.log2(frequency_ratios * (self.values[2] / self.model_rate))
        excess_semitones = (
            key_indices + semitones - (key_indices + semitones).clamp(self.lowest - 0.5, self.highest + 0.5)
        )
        formant_ratios = torch.exp2(excess_semitones / 12)
        if self.harmonics > 1 and bool(torch.any(formant_ratios != 1.0)):
            heights = self.keep_formants(heights, formant_ratios)
        fundamental_bins = self.fundamentals[key_indices] * frequency_ratios
        partial_bins = fundamental_bins[:, None] * self.orders[key_indices]
        turns = self.advance(row, fundamental_bins)
        phase_cycles = turns[:, None] * self.orders[key_indices] + self.phases + self.keep_phases(row, turns, keys)
        if hasattr(self, "image"):
            noise_ratios = frequency_ratios * (self.values[2] / self.model_rate) / formant_ratios
            return self.sides(row, partial_bins, phase_cycles, heights, noise_bands, noise_ratios)
        spectra = self.sinusoids(partial_bins, phase_cycles, heights * (self.amplitude * self.frame_length))
        noise_count = self.noise.shape[0]
        noise_rows = (self.next_noise[row] + torch.arange(len(keys), device=codes.device)) % noise_count
        self.next_noise[row] = (self.next_noise[row] + len(keys)) % noise_count
        low_levels = torch.sqrt(torch.square(noise_bands) @ self.low_spread) * self.strength()
        low_spectra = (self.low_noise[noise_rows] * low_levels[:, :, None]).sum(1)
        spectra[:, : low_spectra.shape[1]] += low_spectra
        spectra = spectra + self.noise[noise_rows] * self.level(
            noise_bands, frequency_ratios * (self.values[2] / self.model_rate) / formant_ratios
        )
        frames: Tensor = torch.fft.irfft(spectra * self.middle_signs, self.frame_length, 1)
        return frames

    def sides(
        self, row: int, places: Tensor, turns: Tensor, heights: Tensor, noise_bands: Tensor, noise_ratios: Tensor
    ) -> Tensor:
        """Return frames, [frames, 2, frame_length]; ``places`` and ``turns`` as of `sinusoids`.

        The sides turn a partial's phase by half of the arccos of their correlation; the sum and the difference of two
        noises are theirs.
        """
        strengths, noise_count = heights * (self.amplitude * self.frame_length), self.noise.shape[0]
        low_levels = torch.sqrt(torch.square(noise_bands) @ self.low_spread) * self.strength()
        levels = self.level(noise_bands, noise_ratios)
        noises: list[Tensor] = []
        for noise_start in (self.next_noise[row], self.next_noise[row] + self.apart):
            noise_rows = (noise_start + torch.arange(len(places), device=places.device)) % noise_count
            noise = self.noise[noise_rows] * levels
            low_noise = (self.low_noise[noise_rows] * low_levels[:, :, None]).sum(1)
            noise[:, : low_noise.shape[1]] += low_noise
            noises.append(noise)
        self.next_noise[row] = (self.next_noise[row] + len(places)) % noise_count
        bin_count = self.frame_length // 2 + 1
        bins_hz = torch.arange(bin_count, dtype=torch.float64, device=places.device) * (
            self.values[2] / self.frame_length
        )
        curves = side_curves(self.image, self.image_hz, bins_hz)
        own_noise, other_noise = torch.cos(curves[2]) * noises[0], torch.sin(curves[2]) * noises[1]
        of_partials = curves[:, torch.round(places).long().clamp(max=bin_count - 1)]
        angle_cycles = of_partials[2] / (2 * math.pi) * self.signs
        sides: list[Tensor] = []
        for side, sign in enumerate((1.0, -1.0)):
            partials = self.sinusoids(places, turns + sign * angle_cycles, strengths * of_partials[side].float())
            sides.append(partials + (curves[side] * (own_noise + sign * other_noise)).to(partials.dtype))
        frames: Tensor = torch.fft.irfft(torch.stack(sides, 1) * self.middle_signs, self.frame_length, 2)
        return frames

    def keep_formants(self, heights: Tensor, ratios: Tensor) -> Tensor:
        """Keep the envelope of harmonics, [frames, harmonics], as `CoherentVoicing`."""
        padded_power = nn.functional.pad(torch.square(heights)[:, None], [1, 1], mode="replicate")[:, 0]
        log_envelope = torch.log(padded_power[:, :-2] + padded_power[:, 1:-1] + padded_power[:, 2:] + 1e-20) / 2
        harmonic_count = heights.shape[1]
        positions = (torch.arange(1, harmonic_count + 1, device=heights.device) * ratios[:, None] - 1).clamp(
            0, harmonic_count - 1
        )
        lower_indices = positions.long().clamp(max=harmonic_count - 2)
        upper_shares = positions - lower_indices
        shifted_envelope = (
            torch.gather(log_envelope, 1, lower_indices) * (1 - upper_shares)
            + torch.gather(log_envelope, 1, lower_indices + 1) * upper_shares
        )
        return (heights * torch.exp((shifted_envelope - log_envelope).clamp(-self.limit, self.limit))).to(heights.dtype)

    def advance(self, row: int, fundamental_bins: Tensor) -> Tensor:
        """Return the fundamental's phase in each frame in cycles, [frames], from its frequency in bins.

        The frequency is interpolated linearly between frame centers.
        """
        phase_cycles, last_bin = self.turns[row], self.lasts[row]
        frame_phases: list[float] = []
        frame_bins: list[float] = fundamental_bins.tolist()
        for frame_bin in frame_bins:
            phase_cycles += ((last_bin if last_bin > 0 else frame_bin) + frame_bin) / (2 * self.overlap)
            last_bin = frame_bin
            frame_phases.append(phase_cycles)
        self.turns[row], self.lasts[row] = phase_cycles, last_bin
        return exact(frame_phases).to(fundamental_bins.device)

    def keep_phases(self, row: int, turns: Tensor, keys: list[int]) -> Tensor:
        """Return cycles added to harmonics, [frames, harmonics], as `CoherentVoicing` adds ``order_turns``."""
        last_key = self.last_keys[row] if self.last_keys[row] >= 0 else keys[0]
        orders = self.orders[torch.tensor(keys, device=turns.device)]
        changes = -torch.diff(orders, dim=0, prepend=self.orders[last_key][None])
        order_turns = self.order_turns[row] + torch.cumsum(turns[:, None] * changes, 0)
        self.order_turns[row], self.last_keys[row] = order_turns[-1], keys[-1]
        return order_turns

    def sinusoids(self, places: Tensor, turns: Tensor, strengths: Tensor) -> Tensor:
        """Return the spectra of partials around frame centers, [frames, bins].

        Args:
            places: frequencies in bins, [frames, harmonics].
            turns: phases in cycles, [frames, harmonics].
            strengths: amplitudes times ``frame_length``, [frames, harmonics].
        """
        row_count, bin_count = places.shape[0], self.frame_length // 2 + 1
        row_width = bin_count + 2 * self.taps
        angles = (2 * math.pi * (turns % 1.0)).to(strengths.dtype)
        faded_strengths = strengths * ((bin_count - 1 - places) / self.top_bins).clamp(0.0, 1.0).to(strengths.dtype)
        partial_indices = torch.nonzero(faded_strengths.flatten()).flatten()
        center_bins, angles, faded_strengths = (
            places.flatten()[partial_indices],
            angles.flatten()[partial_indices],
            faded_strengths.flatten()[partial_indices],
        )
        nearest_bins = torch.round(center_bins)
        lobes = self.lobes[torch.round((center_bins - nearest_bins + 0.5) * self.steps).long()]
        first_indices = (
            torch.div(partial_indices, places.shape[1], rounding_mode="floor") * row_width + nearest_bins.long()
        )
        lobe_offsets = torch.arange(2 * self.taps + 1, device=places.device)
        flat_indices = (first_indices[:, None] + lobe_offsets).flatten()
        complex_parts: list[Tensor] = []
        for quadrature in (torch.cos(angles), torch.sin(angles)):
            sums = torch.zeros(row_count * row_width, dtype=torch.float64, device=places.device)
            sums.index_add_(0, flat_indices, (lobes * (faded_strengths * quadrature)[:, None]).flatten().double())
            complex_parts.append(sums.to(strengths.dtype).reshape(row_count, row_width))
        spectra = torch.complex(complex_parts[0], complex_parts[1])
        mirrored = torch.conj(spectra[:, : self.taps].flip([1])).resolve_conj()  # mirrors bins below 0
        spectra[:, self.taps + 1 : 2 * self.taps + 1] += mirrored
        partial_spectra = spectra[:, self.taps : self.taps + bin_count].clone()
        partial_spectra[:, 0] *= 2
        return partial_spectra

    def level(self, bands: Tensor, ratio: Tensor) -> Tensor:
        """Return noise levels, [frames, bins], of notes bent by ratios."""
        levels = torch.sqrt(torch.square(bands) @ self.spread) * self.strength()
        levels[:, : self.low_bins] = levels[:, self.low_bins : self.low_bins + 1]
        if bool(torch.any(ratio != 1.0)):
            bin_count = levels.shape[1]
            source_bins = torch.round(torch.arange(bin_count, device=bands.device) / ratio[:, None]).long()
            gains = (source_bins < bin_count).to(levels.dtype) / torch.sqrt(ratio)[:, None].to(levels.dtype)
            levels = torch.gather(levels, 1, source_bins.clamp(max=bin_count - 1)) * gains
        levels[:, : self.low_bins] = 0.0
        return tapered(levels)

    def strength(self) -> float:
        """A wider spectrum has more noise in total."""
        return self.hiss * math.sqrt(self.values[2] / self.model_rate)

    def tune(self) -> None:
        """Recompute noise tables for a sample rate, as `PartialsOfFrames` and `CoherentVoicing`."""
        rate, length = self.values[2], self.frame_length
        self.tuned_rate = rate
        bin_hz, bin_count = rate / length, length // 2 + 1
        fine_offsets = (torch.arange(self.fine, dtype=torch.float64) + 0.5) / self.fine
        fine_bins = (torch.arange(bin_count, dtype=torch.float64)[:, None] + fine_offsets - 0.5).flatten().abs()
        self.spread = self.weights(fine_bins * bin_hz).reshape(-1, bin_count, self.fine).mean(2)
        first_bin = max(self.fewest_low, math.ceil(float(self.edges[1]) / bin_hz + 0.5))
        first_bin = first_bin if first_bin <= self.most_low else self.fewest_low
        self.low_bins, top_hz = first_bin, first_bin * bin_hz
        wide_gains = tapered((torch.arange(4 * first_bin) >= first_bin).double()[None])[0]
        last_bin = int(torch.nonzero(wide_gains > 1 - 1e-6)[0])
        band_edges_hz: list[float] = [self.inaudible]
        edges_hz: list[float] = self.edges.tolist()
        for edge_hz in edges_hz:
            if self.inaudible < edge_hz and edge_hz < top_hz:
                band_edges_hz.append(edge_hz)
        band_edges_hz.append(top_hz)
        loop_samples = self.loop.shape[0]
        hertz = torch.arange(loop_samples // 2 + 1, dtype=torch.float64) * rate / loop_samples
        bin_positions = (hertz / bin_hz).clamp(max=float(last_bin))
        lower_bins = bin_positions.long().clamp(max=last_bin - 1)
        fraction = bin_positions - lower_bins
        # The low noise fills what the levels of whole bins leave.
        low_gains = 1.0 - (wide_gains[lower_bins] * (1.0 - fraction) + wide_gains[lower_bins + 1] * fraction)
        low_spectrum = torch.fft.rfft(self.loop.double()) * low_gains
        noise_frames: list[Tensor] = []
        band_shares: list[Tensor] = []
        for band_index in range(len(band_edges_hz) - 1):
            low_hz, high_hz = band_edges_hz[band_index], band_edges_hz[band_index + 1]
            band_shares.append(self.weights(low_hz + (high_hz - low_hz) * fine_offsets).mean(1))
            is_in_band = hertz >= low_hz
            if high_hz < top_hz:
                is_in_band = is_in_band & (hertz < high_hz)
            band_noise = torch.fft.irfft(low_spectrum * is_in_band, loop_samples)
            frames = torch.cat([band_noise, band_noise[: length - self.hop_length]]).unfold(0, length, self.hop_length)
            spectra = torch.fft.rfft(frames * self.window)[:, : last_bin + self.taps + 1]
            noise_frames.append((spectra * self.middle_signs[: spectra.shape[1]]).to(self.low_noise.dtype))
        self.low_noise, self.low_spread = torch.stack(noise_frames, 1), torch.stack(band_shares, 1)

    def weights(self, hertz: Tensor) -> Tensor:
        """Return noise weights, [bands, frequencies]; 0 above the model's Nyquist."""
        log_edges = torch.log(self.edges.clamp(min=1.0))
        log_middles = (log_edges[1:] + log_edges[:-1]) / 2
        last_band = log_middles.shape[0] - 1
        log_hz = torch.log(hertz.clamp(min=1.0))
        lower_bands = (torch.searchsorted(log_middles, log_hz, right=True) - 1).clamp(0, max(last_band - 1, 0))
        upper_bands = (lower_bands + 1).clamp(max=last_band)
        fraction = (
            (log_hz - log_middles[lower_bands]) / (log_middles[upper_bands] - log_middles[lower_bands]).clamp(min=1e-9)
        ).clamp(0.0, 1.0)
        band_positions = torch.where(
            hertz < self.edges[1], 0.0, (lower_bands + fraction).clamp(min=float(min(1, last_band)))
        )
        weights = (1.0 - (band_positions - torch.arange(last_band + 1)[:, None]).abs()).clamp(min=0.0)
        is_in_range = (hertz >= self.edges[0]) & (hertz <= self.model_rate / 2)
        return (weights * is_in_range * self.heard[:, None]).to(self.lobes.dtype)

    @torch.jit.export
    def decode(self, codes: Tensor, keys: Tensor) -> Tensor:
        frames: Tensor = self.decoder(codes, keys.to(codes.dtype)[:, None])
        return frames


def tapered(levels: Tensor) -> Tensor:
    """Smooth levels, [rows, bins], twice, as `CoherentVoicing`."""
    for _ in range(2):
        padded = nn.functional.pad(levels[:, None], [1, 1], mode="reflect")[:, 0]
        levels = 0.5 * levels + 0.25 * (padded[:, :-2] + padded[:, 2:])
    return levels


def exact(numbers: list[float]) -> Tensor:
    """TorchScript converts lists to single precision."""
    rounded_tensor = torch.tensor(numbers).double()
    rounded_numbers: list[float] = rounded_tensor.tolist()
    return (
        rounded_tensor
        + torch.tensor([number - rounded_numbers[index] for index, number in enumerate(numbers)]).double()
    )


def _demo(patch: Patch, velocity: int) -> tuple[list[Event], int]:
    partials = patch.model.card.partials
    assert partials is not None
    return scale(12 * round((partials.low + partials.high - 12) / 24), velocity)


KIND = ExportKind(PartialsKind.name, preset, _demo, view=PartialsView, player=PartialsPlayer)
