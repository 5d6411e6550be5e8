"""Measures the effect of single knobs on timbre descriptors of decoded frames.

Brightness is the spectral centroid; fundamental and body are the tristimulus of Pollard and Jansson (Acustica 51,
1982), as in G. Peeters, "A large set of audio features for sound description" (Ircam, 2004).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor

from ...host.arrays import Doubles
from ...host.model.partials import HANN_ENERGY
from ...host.units import A4_HZ
from ...train.families.partials.network import Bands
from ...train.network import centroids
from ..measures.frames import ROWS
from ..reports.measure import Measure, measures_across, minus, percent, two_digits

REACH_BINS = 2.5  # bins: half the main lobe of a Hann window, two, and a margin for mistuned partials
SOFTEST_SHARE = 1e-8  # of a frame's power, -80 dB: softer parts are masked
ODD, EVEN = (3, 5, 7, 9), (2, 4, 6, 8)  # partials; the fundamental would mask the odd ones
BODY = (2, 3, 4)  # the second tristimulus
PRESENCE_HZ = 2000.0
AIR_HZ = 5000.0


class Descriptor(NamedTuple):
    name: str
    unit: str


DESCRIPTORS = (
    Descriptor("brightness", "octaves over 1 Hz"),  # spectral centroid of magnitudes, as in measures of notes
    Descriptor("noise", "dB to partials"),
    Descriptor("odd partials", "dB to even ones"),
    Descriptor("fundamental", "dB to all else"),
    Descriptor("body", "dB to all else"),  # partials 2 to 4
    Descriptor("presence", "dB of all"),  # 2 to 5 kHz
    Descriptor("air", "dB of all"),  # above 5 kHz
)
NAMES = tuple(descriptor.name for descriptor in DESCRIPTORS)


class Timbre:
    def __init__(self, sample_rate: int, frame_length: int, octave: int) -> None:
        self._hertz = torch.fft.rfftfreq(frame_length, 1 / sample_rate)
        keys = torch.arange(12) + 12 * (octave + 1)
        fundamentals_hz = A4_HZ * 2.0 ** ((keys - 69) / 12)
        harmonic_ratios = self._hertz / fundamentals_hz[:, None]
        nearest_harmonics = harmonic_ratios.round()
        is_partial = (
            harmonic_ratios - nearest_harmonics
        ).abs() <= REACH_BINS * sample_rate / frame_length / fundamentals_hz[:, None]
        partial_numbers = torch.where(is_partial, nearest_harmonics, 0.0)  # [12, bins], 0: no partial

        def partial_mask(*numbers: int) -> Tensor:
            return torch.isin(partial_numbers, torch.tensor(numbers, dtype=partial_numbers.dtype))

        band_masks = [
            torch.ones_like(is_partial),
            partial_numbers > 0,
            # Hum and rumble below the fundamental are not noise of the note.
            (partial_numbers == 0) & (harmonic_ratios > 0.5),
            partial_mask(*ODD),
            partial_mask(*EVEN),
            partial_mask(1),
            partial_mask(*BODY),
            ((self._hertz >= PRESENCE_HZ) & (self._hertz < AIR_HZ)).expand_as(is_partial),
            (self._hertz >= AIR_HZ).expand_as(is_partial),
        ]
        self._bands = torch.stack(band_masks, 2).float()  # [12, bins, bands]

    def __call__(self, frames: Tensor, classes: Tensor) -> Tensor:
        """Return descriptors, [frames, DESCRIPTORS], of magnitudes [frames, bins] and pitch classes [frames]."""
        class_order, power = classes.argsort(stable=True), frames.square()
        power_by_class = torch.split(power[class_order], torch.bincount(classes, minlength=12).tolist())
        band_powers = torch.cat(
            [class_power @ bands for class_power, bands in zip(power_by_class, self._bands, strict=True)]
        )
        return _descriptors(centroids(frames, self._hertz), band_powers[class_order.argsort()])


def of_partials(bands: Bands, frames: Tensor, pitches: Tensor) -> Tensor:
    """Return descriptors, [frames, DESCRIPTORS], of partials and noise at MIDI notes, [frames]."""
    partial_powers = HANN_ENERGY * frames[:, : bands.harmonics].square() * bands.below_nyquist(pitches)
    noise_powers = frames[:, bands.harmonics :].square() @ bands.spread
    noise_hz, partial_hz = (
        torch.arange(noise_powers.shape[1]) / bands.bins_per_hz,
        bands.places(pitches) / bands.bins_per_hz,
    )
    partial_numbers = bands.numbers

    def partial_power(*numbers: int) -> Tensor:
        return (partial_powers * torch.isin(partial_numbers, torch.tensor(numbers, dtype=partial_numbers.dtype))).sum(1)

    def band_power(low: float, high: float = torch.inf) -> Tensor:
        is_in_band = ((partial_hz >= low) & (partial_hz < high)).float()
        return (partial_powers * is_in_band).sum(1) + noise_powers @ ((noise_hz >= low) & (noise_hz < high)).float()

    note_noise = (noise_powers * (noise_hz > partial_hz[:, :1] / 2)).sum(1)
    partials_total = partial_powers.sum(1)
    total_power = partials_total + noise_powers.sum(1)
    band_powers = [
        total_power,
        partials_total,
        note_noise,
        partial_power(*ODD),
        partial_power(*EVEN),
        partial_power(1),
        partial_power(*BODY),
    ]
    band_powers += [band_power(PRESENCE_HZ, AIR_HZ), band_power(AIR_HZ)]
    return _descriptors(bands.centroid(frames, pitches), torch.stack(band_powers, 1))


def _descriptors(centroid: Tensor, band_powers: Tensor) -> Tensor:
    """Return descriptors, [frames, DESCRIPTORS], of centroids in Hz and band powers in the order of `Timbre`."""
    total, partials, noise, odd, even, fundamental, body, presence, air = band_powers.unbind(1)
    floor = SOFTEST_SHARE * total.clamp_min(1e-20)

    def level_db(part_power: Tensor, reference: Tensor) -> Tensor:
        return 10 * torch.log10((part_power.clamp_min(0.0) + floor) / (reference.clamp_min(0.0) + floor))

    return torch.stack(
        [
            torch.log2(centroid.clamp_min(1.0)),
            level_db(noise, partials),
            level_db(odd, even),
            level_db(fundamental, total - fundamental),
            level_db(body, total - body),
            level_db(presence, total),
            level_db(air, total),
        ],
        1,
    )


STEP = 0.25  # of a knob's span: a typical turn, large enough to be audible
POSITIONS = 5  # positions of a knob from end to end, for its correlation with descriptors


@dataclass(frozen=True)
class Ground(ABC):
    """Test codes of a decoder, [codes, latents], and the knobs' ends, [latents] each."""

    codes: Tensor
    low: Tensor
    high: Tensor

    @abstractmethod
    def sound(self, codes: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """Return descriptors, [rows, descriptors], and band levels in dB, [rows, bands]; a network's have slopes."""

    @torch.no_grad()
    def measure(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        batches = [
            self.sound(codes[start : start + ROWS], slice(start, min(start + ROWS, len(codes))))
            for start in range(0, len(codes), ROWS)
        ]
        descriptors, levels = zip(*batches, strict=True)
        return torch.cat(descriptors), torch.cat(levels)


@dataclass(frozen=True)
class ChromaGround(Ground):
    """``classes`` are pitch classes to decode on, [codes]."""

    network: Any
    timbre: Timbre
    classes: Tensor

    def sound(self, codes: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        classes = self.classes[rows]
        frames = self.network.decode(codes, torch.eye(12)[classes])
        return self.timbre(frames, classes), self.network.levels(frames)


@dataclass(frozen=True)
class PitchedGround(Ground):
    """``pitches`` are MIDI notes to decode at, [codes]."""

    network: Any
    pitches: Tensor

    def sound(self, codes: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        pitches, bands = self.pitches[rows], self.network.bands
        frames = self.network.decode(codes, pitches)
        return of_partials(bands, frames, pitches), bands(frames, pitches)


def step_codes(ground: Ground, step: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes after ``step`` [latents], and the mask of whole steps, [codes]."""
    stepped = ground.codes + step
    in_span = ((stepped >= ground.low) & (stepped <= ground.high))[:, step != 0].all(1)
    return torch.minimum(torch.maximum(stepped, ground.low), ground.high), in_span if in_span.any() else in_span | True


@dataclass(frozen=True)
class KnobEffect:
    """Effects of single knobs, [latents, descriptors].

    Args:
        change_db: mean level change of bands per deviation, [latents].
        rise: mean rise per step up.
        share: of steps that move a descriptor in the knob's direction.
        correlation: Pearson's, of knob positions and descriptors.
        ends: means at a knob's low and high end, [2, latents, descriptors].
        spread: deviations of descriptors over the codes, [descriptors].
    """

    change_db: Doubles
    rise: Doubles
    share: Doubles
    correlation: Doubles
    ends: Doubles
    spread: Doubles

    @property
    def score(self) -> Doubles:
        """In deviations over the codes, [latents, descriptors]."""
        score: Doubles = np.abs(self.rise) / np.maximum(self.spread, 1e-9)
        return score


def measure_knobs(ground: Ground) -> KnobEffect:
    """Move each knob alone, a step up and down and over its span."""
    baseline_descriptors, baseline_levels = ground.measure(ground.codes)
    deviations = ground.codes.std(0, correction=0)
    effect_rows = []
    for latent_index in range(ground.codes.shape[1]):
        deviation_changes, descriptor_rises = [], []
        for signed_share in (-STEP, STEP):
            step = torch.zeros(len(deviations))
            step[latent_index] = signed_share * (ground.high - ground.low)[latent_index]
            stepped_codes, is_whole = step_codes(ground, step)
            descriptors, stepped_levels = ground.measure(stepped_codes)
            descriptor_rises.append((descriptors - baseline_descriptors)[is_whole] * np.sign(signed_share))
            level_changes = (stepped_levels - baseline_levels)[is_whole].abs().mean(1)
            deviation_changes.append(level_changes * deviations[latent_index] / step[latent_index].abs())
        step_rises = torch.cat(descriptor_rises).double()
        effect_rows.append(
            (
                torch.cat(deviation_changes).mean(),
                step_rises.mean(0),
                (step_rises > 0).double().mean(0),
                *_sweep_knob(ground, latent_index),
            )
        )
    columns = [torch.stack(column).double().numpy() for column in zip(*effect_rows, strict=True)]
    change, rise, share, correlation, ends = columns
    return KnobEffect(
        change,
        rise,
        share,
        correlation,
        ends.swapaxes(0, 1),
        baseline_descriptors.double().std(0, correction=0).numpy(),
    )


def _sweep_knob(ground: Ground, latent_index: int) -> tuple[Tensor, Tensor]:
    """Return the correlation of a knob's position with descriptors, and descriptors' means at both its ends."""
    positions = torch.linspace(0, 1, POSITIONS)
    descriptors = []
    for position in positions:
        codes = ground.codes.clone()
        codes[:, latent_index] = ground.low[latent_index] + position * (ground.high - ground.low)[latent_index]
        descriptors.append(ground.measure(codes)[0].double())
    swept_descriptors = torch.stack(descriptors)  # [positions, codes, descriptors]
    deviations = swept_descriptors - swept_descriptors.mean((0, 1))
    offsets = (positions - positions.mean()).double()
    covariance = torch.einsum("p,pcd->d", offsets, deviations)
    scale = (
        (offsets.square().sum() * swept_descriptors.shape[1] * deviations.square().sum((0, 1))).sqrt().clamp_min(1e-12)
    )
    return covariance / scale, torch.stack([swept_descriptors[0].mean(0), swept_descriptors[-1].mean(0)])


Figures = dict[str, Any]


LATENT = (
    Measure("Knob", lambda row: f"{row['number']}: {row['name'] or '–'}"),
    Measure(
        "Change",
        "change_db",
        ".1f",
        "of levels in 64 mel bands, for a deviation of the latent, in dB; the first changes the sound most.",
    ),
    Measure("Holds in training", lambda row: row["training"] if row["name"] else None, "percent"),
)


def section(knobs: Figures | None) -> Markup:
    """Return the report's table of knobs; empty without knobs."""
    if knobs is None:
        return Markup()
    table_rows = [{"number": number, **row} for number, row in enumerate(knobs["latents"])]
    measures = (
        *LATENT,
        Measure(f"Holds in {knobs['split']}", lambda row: row["holds"] if row["name"] else None, "percent"),
        Measure("What it moves, from end to end", lambda row: minus(row["moves"])),
    )
    note = (
        "Holds: the share of steps, a quarter of the knob’s range up or down, in which the named quality moved as "
        f"named, at training codes and at {knobs['codes']} codes of the {knobs['split']} split, on all keys in turn."
    )
    return measures_across(measures, table_rows, note, texts=1, kind="told")


def as_text(knobs: Figures | list[Figures] | None) -> str:
    """Return a line: the share of steps where each named knob holds, or for loops each knob's correlation."""
    if knobs is None:
        return ""
    if isinstance(knobs, list):
        correlations_text = ", ".join(f"{row['name']} {two_digits(row['correlation'])}" for row in knobs)
        return f"knobs move their quality, by correlation: {correlations_text}"
    named_rows = [row for row in knobs["latents"] if row["name"]]
    holds_text = ", ".join(f"{row['name']} {percent(row['holds'])}" for row in named_rows)
    return f"knobs hold, at codes of the {knobs['split']} split: {holds_text or 'none has a name'}"
