"""First presets and demos of partials, their amplitudes for code searches, and their voice in TorchScript."""

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...host.arrays import Array
from ...host.engines.spectrum.coherent_voicing import FORMANT_DB, GOLDEN, TOP_BINS, CoherentVoicing
from ...host.engines.spectrum.frames import FEWEST_LOW_BINS, FINE, MOST_LOW_BINS, PLAIN, PartialsOfFrames
from ...host.engines.spectrum.harmonic_shift import middle_of
from ...host.engines.spectrum.noise_voicing import STRIDE, white_loop
from ...host.engines.spectrum.partial_analysis import QUIETEST
from ...host.events import Event
from ...host.kinds.partials import PartialsKind
from ...host.model.card import KEYS, Card
from ...host.model.model import Model
from ...host.model.partials import spectra as spectra_of
from ...host.preset.library import Patch
from ...host.signal import LOBE_STEPS, from_middle, window_of
from ...host.units import INAUDIBLE_HZ
from .kind import ExportKind
from .player import FramePlayer
from .search_view import LEAST_POWER
from .spectrum import SpectraView, preset, scale


class PartialsView(SpectraView):
    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self._table = functools.lru_cache(maxsize=4)(self._powers)

    def convert_frames(self, frames: Tensor, conditions: Tensor) -> Tensor:
        tables = torch.stack([self._table(key) for key in conditions.tolist()]).to(frames)
        amplitudes: Tensor = (torch.einsum("rw,rwb->rb", frames.square(), tables) + LEAST_POWER).sqrt()
        return amplitudes

    def unpitched(self, spectra: Array) -> int:
        return round(middle_of(self.card))

    def place(self, key: int) -> tuple[int, int]:
        return key, key

    def _powers(self, key: int) -> Tensor:
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
    turns: list[float]
    lasts: list[float]
    next_noise: list[int]

    def __init__(self, model: Model, decoder: nn.Module) -> None:
        """``decoder``: latents and pitch, [rows, 1], → frames, [rows, frame_width]."""
        card, voicing = model.card, CoherentVoicing(model, PLAIN)
        assert card.partials is not None
        super().__init__(card, voicing)
        self.decoder, shape = decoder, voicing.shape
        self.harmonics = card.partials.harmonics
        bins, scale = self.frame_length // 2 + 1, self.frame_length / card.frame_length
        parts = PartialsOfFrames(card, card.partials, bins, scale)
        assert voicing.low_noise is not None
        orders = np.broadcast_to(parts.orders, (KEYS, self.harmonics))
        tables: dict[str, npt.NDArray[Any]] = {
            "lobes": voicing.lobes,
            "noise": voicing.noise_frames,
            "fundamentals": parts.fundamentals(np.arange(KEYS)) * scale,
            "orders": orders,
            "spread": parts.spread,
            "low_noise": voicing.low_noise,
            "low_spread": parts.low_spread,
            "edges": np.array(card.partials.edges_hz),
            "heard": parts.heard,
            "loop": white_loop(shape),
            "window": window_of(shape) / (shape.overlap * shape.terms[0]),
            "phases": voicing.harmonic_phases[: self.harmonics],
            "middle_signs": from_middle(bins),
        }
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(table.copy()))
        self.amplitude, self.hiss = float(voicing.amplitude), float(voicing.hiss)
        self.overlap, self.taps, self.steps, self.top_bins = shape.overlap, shape.taps, LOBE_STEPS, TOP_BINS
        self.low_bins, self.fine, self.inaudible = round(parts.low_edges[-1]), FINE, INAUDIBLE_HZ
        self.fewest_low, self.most_low = FEWEST_LOW_BINS, MOST_LOW_BINS
        self.tuned_rate = self.values[2]
        self.quietest, self.golden, self.stride = QUIETEST, GOLDEN, STRIDE
        self.limit = FORMANT_DB / 20 * math.log(10)
        self.turns, self.lasts, self.next_noise = [0.0], [0.0], [0]

    def begin_states(self, rows: int) -> None:
        self.turns, self.lasts, self.next_noise = [0.0] * rows, [0.0] * rows, [0] * rows

    def begin_state(self, row: int, number: int) -> None:
        self.turns[row], self.lasts[row] = number * self.golden % 1.0, 0.0
        self.next_noise[row] = number * self.stride % self.noise.shape[0]

    def frames(self, row: int, codes: Tensor, keys: list[int], ratios: list[float]) -> Tensor:
        """As `CoherentVoicing.parts_of`."""
        if self.values[2] != self.tuned_rate:
            self.tune()
        key_indices = torch.tensor(keys, device=codes.device)
        ratio = exact(ratios).to(codes.device)
        decoded = self.decode(codes, key_indices)
        heights, bands = decoded[:, : self.harmonics], decoded[:, self.harmonics :]
        heights = torch.where(heights < self.quietest * heights.amax(1, keepdim=True), 0.0, heights)
        semitones = 12 * torch.log2(ratio * (self.values[2] / self.model_rate))
        excess = key_indices + semitones - (key_indices + semitones).clamp(self.lowest - 0.5, self.highest + 0.5)
        formant_ratio = torch.exp2(excess / 12)
        if self.harmonics > 1 and bool(torch.any(formant_ratio != 1.0)):
            heights = self.keep_formants(heights, formant_ratio)
        fundamental = self.fundamentals[key_indices] * ratio
        places = fundamental[:, None] * self.orders[key_indices]
        turns = self.advance(row, fundamental)[:, None] * self.orders[key_indices] + self.phases
        spectra = self.sinusoids(places, turns, heights * (self.amplitude * self.frame_length))
        count = self.noise.shape[0]
        noise_rows = (self.next_noise[row] + torch.arange(len(keys), device=codes.device)) % count
        self.next_noise[row] = (self.next_noise[row] + len(keys)) % count
        low_levels = torch.sqrt(torch.square(bands) @ self.low_spread) * self.strength()
        low = (self.low_noise[noise_rows] * low_levels[:, :, None]).sum(1)
        spectra[:, : low.shape[1]] += low
        spectra = spectra + self.noise[noise_rows] * self.level(
            bands, ratio * (self.values[2] / self.model_rate) / formant_ratio
        )
        frames: Tensor = torch.fft.irfft(spectra * self.middle_signs, self.frame_length, 1)
        return frames

    def keep_formants(self, heights: Tensor, ratio: Tensor) -> Tensor:
        """Keep the envelope of harmonics, [frames, harmonics], as `CoherentVoicing`."""
        power = nn.functional.pad(torch.square(heights)[:, None], [1, 1], mode="replicate")[:, 0]
        envelope = torch.log(power[:, :-2] + power[:, 1:-1] + power[:, 2:] + 1e-20) / 2
        count = heights.shape[1]
        positions = (torch.arange(1, count + 1, device=heights.device) * ratio[:, None] - 1).clamp(0, count - 1)
        low = positions.long().clamp(max=count - 2)
        share = positions - low
        shifted_envelope = torch.gather(envelope, 1, low) * (1 - share) + torch.gather(envelope, 1, low + 1) * share
        return (heights * torch.exp((shifted_envelope - envelope).clamp(-self.limit, self.limit))).to(heights.dtype)

    def advance(self, row: int, first: Tensor) -> Tensor:
        """Return the fundamental's phase in each frame in cycles, [frames], from its frequency in bins.

        The frequency is interpolated linearly between frame centers.
        """
        turn, last = self.turns[row], self.lasts[row]
        turns: list[float] = []
        places: list[float] = first.tolist()
        for place in places:
            turn += ((last if last > 0 else place) + place) / (2 * self.overlap)
            last = place
            turns.append(turn)
        self.turns[row], self.lasts[row] = turn, last
        return exact(turns).to(first.device)

    def sinusoids(self, places: Tensor, turns: Tensor, strengths: Tensor) -> Tensor:
        """Return the spectra of partials around frame centers, [frames, bins].

        Args:
            places: frequencies in bins, [frames, harmonics].
            turns: phases in cycles, [frames, harmonics].
            strengths: amplitudes times ``frame_length``, [frames, harmonics].
        """
        rows, bins = places.shape[0], self.frame_length // 2 + 1
        width = bins + 2 * self.taps
        angle = (2 * math.pi * (turns % 1.0)).to(strengths.dtype)
        faded = strengths * ((bins - 1 - places) / self.top_bins).clamp(0.0, 1.0).to(strengths.dtype)
        number = torch.nonzero(faded.flatten()).flatten()
        centers, angle, faded = places.flatten()[number], angle.flatten()[number], faded.flatten()[number]
        middle = torch.round(centers)
        lobes = self.lobes[torch.round((centers - middle + 0.5) * self.steps).long()]
        begin = torch.div(number, places.shape[1], rounding_mode="floor") * width + middle.long()
        reach = torch.arange(2 * self.taps + 1, device=places.device)
        bins_reached = (begin[:, None] + reach).flatten()
        parts: list[Tensor] = []
        for side in (torch.cos(angle), torch.sin(angle)):
            added = torch.zeros(rows * width, dtype=torch.float64, device=places.device)
            added.index_add_(0, bins_reached, (lobes * (faded * side)[:, None]).flatten().double())
            parts.append(added.to(strengths.dtype).reshape(rows, width))
        spectra = torch.complex(parts[0], parts[1])
        mirrored = torch.conj(spectra[:, : self.taps].flip([1])).resolve_conj()  # mirrors bins below 0
        spectra[:, self.taps + 1 : 2 * self.taps + 1] += mirrored
        result = spectra[:, self.taps : self.taps + bins].clone()
        result[:, 0] *= 2
        return result

    def level(self, bands: Tensor, ratio: Tensor) -> Tensor:
        """Return noise levels, [frames, bins], of notes bent by ratios."""
        level = torch.sqrt(torch.square(bands) @ self.spread) * self.strength()
        level[:, : self.low_bins] = level[:, self.low_bins : self.low_bins + 1]
        if bool(torch.any(ratio != 1.0)):
            bins = level.shape[1]
            source = torch.round(torch.arange(bins, device=bands.device) / ratio[:, None]).long()
            gain = (source < bins).to(level.dtype) / torch.sqrt(ratio)[:, None].to(level.dtype)
            level = torch.gather(level, 1, source.clamp(max=bins - 1)) * gain
        level[:, : self.low_bins] = 0.0
        return tapered(level)

    def strength(self) -> float:
        """A wider spectrum has more noise in total."""
        return self.hiss * math.sqrt(self.values[2] / self.model_rate)

    def tune(self) -> None:
        """Recompute noise tables for a sample rate, as `PartialsOfFrames` and `CoherentVoicing`."""
        rate, length = self.values[2], self.frame_length
        self.tuned_rate = rate
        a_bin, bins = rate / length, length // 2 + 1
        offsets = (torch.arange(self.fine, dtype=torch.float64) + 0.5) / self.fine
        places = (torch.arange(bins, dtype=torch.float64)[:, None] + offsets - 0.5).flatten().abs()
        self.spread = self.weights(places * a_bin).reshape(-1, bins, self.fine).mean(2)
        first = max(self.fewest_low, math.ceil(float(self.edges[1]) / a_bin + 0.5))
        first = first if first <= self.most_low else self.fewest_low
        self.low_bins, top = first, first * a_bin
        wide_gains = tapered((torch.arange(4 * first) >= first).double()[None])[0]
        last = int(torch.nonzero(wide_gains > 1 - 1e-6)[0])
        ends: list[float] = [self.inaudible]
        bands: list[float] = self.edges.tolist()
        for edge in bands:
            if self.inaudible < edge and edge < top:
                ends.append(edge)
        ends.append(top)
        count = self.loop.shape[0]
        hertz = torch.arange(count // 2 + 1, dtype=torch.float64) * rate / count
        positions = (hertz / a_bin).clamp(max=float(last))
        lower = positions.long().clamp(max=last - 1)
        fraction = positions - lower
        # The low noise fills what the levels of whole bins leave.
        low_gains = 1.0 - (wide_gains[lower] * (1.0 - fraction) + wide_gains[lower + 1] * fraction)
        low_spectrum = torch.fft.rfft(self.loop.double()) * low_gains
        noise_frames: list[Tensor] = []
        shares: list[Tensor] = []
        for place in range(len(ends) - 1):
            low, high = ends[place], ends[place + 1]
            shares.append(self.weights(low + (high - low) * offsets).mean(1))
            in_band = hertz >= low
            if high < top:
                in_band = in_band & (hertz < high)
            band_noise = torch.fft.irfft(low_spectrum * in_band, count)
            frames = torch.cat([band_noise, band_noise[: length - self.hop_length]]).unfold(0, length, self.hop_length)
            spectra = torch.fft.rfft(frames * self.window)[:, : last + self.taps + 1]
            noise_frames.append((spectra * self.middle_signs[: spectra.shape[1]]).to(self.low_noise.dtype))
        self.low_noise, self.low_spread = torch.stack(noise_frames, 1), torch.stack(shares, 1)

    def weights(self, hertz: Tensor) -> Tensor:
        """Return noise weights, [bands, frequencies]; 0 above the model's Nyquist."""
        logs = torch.log(self.edges.clamp(min=1.0))
        middles = (logs[1:] + logs[:-1]) / 2
        last = middles.shape[0] - 1
        log = torch.log(hertz.clamp(min=1.0))
        lower = (torch.searchsorted(middles, log, right=True) - 1).clamp(0, max(last - 1, 0))
        upper = (lower + 1).clamp(max=last)
        fraction = ((log - middles[lower]) / (middles[upper] - middles[lower]).clamp(min=1e-9)).clamp(0.0, 1.0)
        positions = torch.where(hertz < self.edges[1], 0.0, (lower + fraction).clamp(min=float(min(1, last))))
        weights = (1.0 - (positions - torch.arange(last + 1)[:, None]).abs()).clamp(min=0.0)
        in_range = (hertz >= self.edges[0]) & (hertz <= self.model_rate / 2)
        return (weights * in_range * self.heard[:, None]).to(self.lobes.dtype)

    @torch.jit.export
    def decode(self, codes: Tensor, keys: Tensor) -> Tensor:
        frames: Tensor = self.decoder(codes, keys.to(codes.dtype)[:, None])
        return frames


def tapered(level: Tensor) -> Tensor:
    """Smooth levels, [rows, bins], twice, as `CoherentVoicing`."""
    for _ in range(2):
        padded = nn.functional.pad(level[:, None], [1, 1], mode="reflect")[:, 0]
        level = 0.5 * level + 0.25 * (padded[:, :-2] + padded[:, 2:])
    return level


def exact(numbers: list[float]) -> Tensor:
    """TorchScript converts lists to single precision."""
    rounded = torch.tensor(numbers).double()
    rounded_numbers: list[float] = rounded.tolist()
    return rounded + torch.tensor([number - rounded_numbers[place] for place, number in enumerate(numbers)]).double()


def _demo(patch: Patch, velocity: int) -> tuple[list[Event], int]:
    partials = patch.model.card.partials
    assert partials is not None
    return scale(12 * round((partials.low + partials.high - 12) / 24), velocity)


KIND = ExportKind(PartialsKind.name, preset, _demo, view=PartialsView, player=PartialsPlayer)
