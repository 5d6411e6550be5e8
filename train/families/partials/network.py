"""Partials autoencoder: decodes a code and a pitch to harmonic amplitudes and noise bands; its batches."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ....host.arrays import Array, Doubles
from ....host.engines.spectrum.partial_analysis import Layout, split_partials
from ....host.errors import UserError
from ....host.model.partials import HANN_ENERGY, LOBE_REACH, hann_lobe, spread
from ....host.signal import window
from ....host.units import INAUDIBLE_HZ, midi_to_hz
from ...corpus.clip_table import Split
from ...corpus.inharmonicity import stretch_of
from ...corpus.pitch import single_note
from ...corpus.store import Corpus
from ...data import Data
from ...frames import FrameOrigin, check_audible, is_tonal, spread_sources
from ...network import BANDS, SOFTEST, Autoencoder, decibels, dense, initialise_by_glorot, level_distance, uniformity
from ...sampling import evenly_spaced
from .recipe import PartialsFrames, PartialsRecipe

APART = 2.0  # semitones between pitch features, triangles twice as wide
STEPS = 2  # table entries per bin for the bands of a lobe
HIGHEST = 1.0  # nepers above a frame's power: prevents overflow for arbitrary codes
MOST = 8192  # training frames for means
NEPER_DB = 20 / math.log(10)


class PartialsAutoencoder(Autoencoder):
    """Dense encoder of mel bands, dense decoder to partials.

    Shapes: rows [batch, harmonics + bands], dB re frame power; pitches [batch], MIDI notes; latents [batch, latents];
    decoded frames, magnitudes as in `PartialsLayout`.
    """

    middle: Tensor
    deviation: Tensor

    def __init__(self, recipe: PartialsRecipe) -> None:
        super().__init__()
        self.settings, self.weights, self.harmonics = recipe.network, recipe.loss, recipe.frames.harmonics
        self.bands = Bands(recipe.frames)
        low, high = recipe.frames.span
        self.pitch = PitchFeatures(low, high)
        n, width = self.settings.latents, recipe.frames.harmonics + recipe.frames.bands
        features = len(self.pitch.middles)
        self.encoder = dense([BANDS + features, *self.settings.encoder])
        self.bottleneck = nn.Linear(self.settings.encoder[-1], n)
        self.decoder = dense([n + features, *self.settings.decoder])
        self.output = nn.Linear(self.settings.decoder[-1], width)
        initialise_by_glorot(self)
        self.means = nn.Parameter(torch.zeros(width))
        self.register_buffer("middle", torch.zeros(BANDS))
        self.register_buffer("deviation", torch.ones(BANDS))

    @torch.no_grad()
    def initialise(self, data: Data) -> None:
        rows, pitches = (part.to(self.means) for part in data.spread(MOST))
        levels = self.bands(magnitudes(rows), pitches)
        self.middle.copy_(levels.mean(0))
        self.deviation.copy_(levels.std(0, correction=0).clamp_min(1.0))
        self.means.copy_(rows.mean(0) / NEPER_DB)

    def encode(self, *inputs: Tensor) -> Tensor:
        rows, pitches = inputs
        return self.placed(self.bands(magnitudes(rows), pitches), pitches)

    def placed(self, levels: Tensor, pitches: Tensor) -> Tensor:
        """Return the latents of mel band levels, [batch, 64]."""
        seen = torch.cat([(levels - self.middle) / self.deviation, self.pitch(pitches)], 1)
        return torch.sigmoid(self.bottleneck(self.encoder(seen)))

    def decode(self, latents: Tensor, pitches: Tensor) -> Tensor:
        return self.nepers(latents, pitches).exp()

    def nepers(self, latents: Tensor, pitches: Tensor) -> Tensor:
        value: Tensor = self.output(self.decoder(torch.cat([latents, self.pitch(pitches)], 1)))
        return (value + self.means).clamp_max(HIGHEST)

    def reconstruction(
        self, rows: Tensor, pitches: Tensor, targets: Tensor, target_pitches: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the terms of the same sounds with another shift."""
        latents = self.encode(rows, pitches)
        given = self.nepers(latents, target_pitches)
        terms: dict[str, Tensor] = {}
        if self.weights.bands:
            asked = self.bands(magnitudes(targets), target_pitches)
            terms["bands"] = level_distance(self.bands(given.exp(), target_pitches), asked)
        levels_db = NEPER_DB * given
        count = self.harmonics
        if self.weights.harmonics:
            floor = 10 * math.log10(SOFTEST)
            heard = ((targets[:, :count] > floor) & self.bands.inside(target_pitches)).float()
            off = (levels_db[:, :count].clamp_min(floor) - targets[:, :count]).square() * heard
            terms["harmonics"] = (off.sum(1) / heard.sum(1).clamp_min(1) + 1e-6).sqrt().mean()
        if self.weights.noise:
            terms["noise"] = level_distance(levels_db[:, count:], targets[:, count:])
        if self.weights.uniformity:
            terms["uniformity"] = uniformity(latents, generator)
        return terms


class PitchFeatures(nn.Module):
    """Triangular pitch features, [batch] → [batch, points], clamped to the range."""

    middles: Tensor

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        points = max(2, math.ceil((high - low) / APART) + 1)
        self.register_buffer("middles", low + APART * torch.arange(points), persistent=False)

    def forward(self, pitches: Tensor) -> Tensor:
        kept = pitches.clamp(self.middles[0], self.middles[-1])
        return (1 - (kept[:, None] - self.middles).abs() / APART).clamp_min(0)


class Bands(nn.Module):
    """Mel band levels of partials frames, [batch, 64], in dB re frame power, as triangles of height 1.

    A harmonic's power is spread over its lobe.
    """

    mel: Tensor
    lobes: Tensor
    spread: Tensor
    numbers: Tensor

    def __init__(self, frames: PartialsFrames) -> None:
        from librosa.filters import mel

        super().__init__()
        length, bins = frames.frame_length, frames.frame_length // 2 + 1
        weights = mel(sr=frames.sample_rate, n_fft=length, n_mels=BANDS, norm=None).T.astype(np.float64)
        layout = frames.layout
        self.stretch = layout.stretch
        hertz = np.arange(bins) * frames.sample_rate / length
        places = np.arange((bins + 1) * STEPS) / STEPS
        around = np.rint(places).astype(np.intp)[:, np.newaxis] + np.arange(-LOBE_REACH, LOBE_REACH + 1)
        heights = hann_lobe(around - places[:, np.newaxis])
        inside = (around >= 0) & (around < bins)
        lobes = np.einsum("pa,pam->pm", np.square(heights) * inside, weights[np.clip(around, 0, bins - 1)])
        self.harmonics, self.top = frames.harmonics, float(bins - 1)
        self.first = math.ceil(INAUDIBLE_HZ * length / frames.sample_rate)
        self.a_hertz = length / frames.sample_rate
        for name, table in {
            "mel": weights,
            "lobes": lobes,
            "spread": spread(layout, hertz),
            "numbers": np.arange(1, frames.harmonics + 1),
        }.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(table, np.float32)), persistent=False)

    def forward(self, frames: Tensor, pitches: Tensor) -> Tensor:
        return decibels(self.shares(frames, pitches))

    def shares(self, frames: Tensor, pitches: Tensor) -> Tensor:
        """Return shares of frame power, [batch, 64]."""
        power = frames[:, : self.harmonics].square() * self.inside(pitches)
        at = (self.places(pitches) * STEPS).round().clamp_max(len(self.lobes) - 1).long()
        noise = frames[:, self.harmonics :].square() @ self.spread
        shares = torch.einsum("bh,bhm->bm", power, self.lobes[at]) + noise @ self.mel
        whole = HANN_ENERGY * power.sum(1) + noise.sum(1)
        return shares / whole[:, None].clamp_min(1e-20)

    def centroid(self, frames: Tensor, pitches: Tensor) -> Tensor:
        """Return the magnitude-weighted centroid in Hz, [batch]; a lobe's bins sum to twice its height."""
        heights = 2 * frames[:, : self.harmonics] * self.inside(pitches)
        noise = (frames[:, self.harmonics :].square() @ self.spread + 1e-20).sqrt()
        hertz = torch.arange(noise.shape[1]) / self.a_hertz
        whole = heights.sum(1) + noise.sum(1)
        return ((heights * self.places(pitches) / self.a_hertz).sum(1) + noise @ hertz) / whole.clamp_min(1e-20)

    def places(self, pitches: Tensor) -> Tensor:
        """Return harmonics' bin positions, [batch, harmonics]."""
        first = (440 * torch.exp2((pitches - 69) / 12) * self.a_hertz)[:, None]
        if self.stretch is None:
            return first * self.numbers
        stiff = torch.exp(self.stretch[0] + self.stretch[1] * pitches)[:, None]
        return first * self.numbers * ((1 + stiff * self.numbers.square()) / (1 + stiff)).sqrt()

    def inside(self, pitches: Tensor) -> Tensor:
        """Return whether harmonics are below Nyquist, [batch, harmonics]."""
        return self.places(pitches) < self.top

    def of_power(self, power: Tensor) -> Tensor:
        """Return levels of power spectra, [batch, bins]."""
        power = power[:, self.first :]  # inaudible below, and possibly dominated by an offset
        return decibels(power @ self.mel[self.first :] / power.sum(1, keepdim=True).clamp_min(1e-20))


def magnitudes(rows: Tensor) -> Tensor:
    return torch.exp(rows / NEPER_DB)


SOFTEST_DB = -120.0  # of a level, relative to frame power
CENTS = 100  # per semitone, pitch resolution: well below the width of a partial's lobe
SHIFT = 3.0  # semitones, largest shift of each side of a pair, up or down
SHIFTED = 0.5  # of all pairs
VALIDATION_FRAMES = 4096
TOGETHER = 256  # frames analysed at a time


class PartialsRows(NamedTuple):
    """Levels in dB, [frames, harmonics + bands], and MIDI notes."""

    levels: Array
    pitches: Array


@dataclass(frozen=True)
class PartialsData:
    frames: PartialsFrames
    train: PartialsRows
    val: PartialsRows
    tonal: bool = True

    def __len__(self) -> int:
        return len(self.train.pitches)

    def batch(self, frames: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Return levels [rows, width] and pitches [rows] to encode, then those to decode."""
        levels, pitches = (part[frames] for part in self.train)
        shifts = rng.uniform(-SHIFT, SHIFT, (2, len(frames))) * (rng.random(len(frames)) < SHIFTED)
        found = []
        for shift in shifts.astype(np.float32):
            found += [shifted(levels, shift, self.frames), pitches + shift]
        return tuple(map(torch.from_numpy, found))

    def validation(self, limit: int) -> Iterator[tuple[Tensor, ...]]:
        row = self.val if len(self.val.pitches) else self.train
        chosen = evenly_spaced(len(row.pitches), limit)
        parts = (chosen[at : at + 512] for at in range(0, len(chosen), 512))
        pairs = (tuple(torch.from_numpy(each[part]) for each in row) for part in parts)
        return ((levels, pitches, levels, pitches) for levels, pitches in pairs)

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        chosen = evenly_spaced(len(self), limit)
        return tuple(torch.from_numpy(part[chosen]) for part in self.train)


def shifted(levels: Array, semitones: Array, frames: PartialsFrames) -> Array:
    """Shift noise of rows [rows, width] by semitones [rows], up as in faster playback."""
    count, edges = frames.harmonics, frames.edges_hz
    a_band = 12 * np.log2(edges[-1] / edges[1]) / (len(edges) - 2)  # semitones
    at = np.arange(frames.bands) - semitones[:, np.newaxis] / a_band
    at[:, 0] = 0.0
    at = np.clip(at, 0, frames.bands - 1)
    low = np.minimum(at.astype(np.intp), frames.bands - 2)
    part = (at - low).astype(np.float32)
    noise = levels[:, count:]
    moved = np.take_along_axis(noise, low, 1) * (1 - part) + np.take_along_axis(noise, low + 1, 1) * part
    return np.concatenate([levels[:, :count], moved], axis=1)


def partials_data(corpus: Corpus, recipe: PartialsRecipe, folder: Path, tonal: bool) -> PartialsData:
    frames = recipe.frames
    few = frames.model_copy(update={"rows": VALIDATION_FRAMES})
    return PartialsData(frames, rows(corpus, "train", frames, folder), rows(corpus, "val", few, folder))


def rows(corpus: Corpus, split: Split, frames: PartialsFrames, folder: Path | None = None) -> PartialsRows:
    """Return audible, pitched frames; beyond ``frames.rows``, every n-th. ``folder`` lists all."""
    found = spread_sources(corpus, split, frames, True, frames.rows, folder)
    levels = np.zeros((len(found), frames.harmonics + frames.bands), np.float32)
    pitches = np.array([round(source.note * CENTS) / CENTS for source in found], np.float32)
    for at in range(0, len(found), TOGETHER):
        part = slice(at, at + TOGETHER)
        levels[part] = taken(pieces(corpus, found[part], frames), pitches[part], frames)
    found.release()
    return PartialsRows(levels, pitches)


def pieces(corpus: Corpus, found: Sequence[FrameOrigin], frames: PartialsFrames) -> Array:
    """Return samples, [frames, frame_length]."""
    return np.stack([corpus.samples(one.clip, one.start, one.start + frames.frame_length) for one in found])


def taken(sound: Array, pitches: Array, frames: PartialsFrames) -> Array:
    """Return levels of sound [frames, frame_length] at MIDI notes [frames], in dB re frame power, at least -120.

    Harmonics are lobe heights, noise mean bin powers between them, inharmonic partials included.
    """
    return split_frames(sound, pitches, frames)[2]


def split_frames(sound: Array, pitches: Array | Doubles, frames: PartialsFrames) -> tuple[Array, Layout, Array]:
    """Return `split_partials` at energy 1, its layout, and levels as `taken`."""
    apart, layout = _apart(sound, pitches, frames)
    power = np.square(layout.residue(apart)).astype(np.float64)
    places, strengths = layout.free(apart)
    row, slot = np.nonzero(strengths)
    middles = np.rint(places[row, slot]).astype(np.intp)
    np.add.at(power, (row, middles), HANN_ENERGY * np.square(strengths[row, slot], dtype=np.float64))
    both = np.concatenate([np.square(layout.harmonic(apart)), power @ _means(frames)], axis=1)
    levels: Array = (10 * np.log10(np.maximum(both, 10 ** (SOFTEST_DB / 10)))).astype(np.float32)
    return apart, layout, levels


def first_audible_bin(frames: PartialsFrames) -> int:
    return math.ceil(INAUDIBLE_HZ * frames.frame_length / frames.sample_rate)


def _apart(sound: Array, pitches: Array | Doubles, frames: PartialsFrames) -> tuple[Array, Layout]:
    """Energy is 1 above 20 Hz."""
    length = frames.frame_length
    spectra = np.abs(np.fft.rfft(sound * window("hann", length))).astype(np.float32)
    first = first_audible_bin(frames)  # an offset may lie below
    spectra /= np.sqrt(np.maximum(np.square(spectra[:, first:]).sum(axis=1, keepdims=True), 1e-20))
    spectra[:, :first] = spectra[:, first, np.newaxis]
    fundamentals = np.array([midi_to_hz(float(pitch)) for pitch in pitches]) * length / frames.sample_rate
    layout = Layout(frames.harmonics, length // 2 + 1, 1.0)
    stiff = np.array([frames.layout.inharmonicity(float(pitch)) for pitch in pitches])
    return split_partials(spectra, fundamentals, layout, stiff), layout


def _means(frames: PartialsFrames) -> Doubles:
    """A narrow band uses the nearest bin."""
    bins = frames.frame_length // 2 + 1
    hertz = np.arange(bins) * frames.sample_rate / frames.frame_length
    weights = np.zeros((bins, frames.bands))
    edges = frames.edges_hz
    for band, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = np.flatnonzero((hertz >= low) & (hertz < high))
        if not len(inside):
            inside = np.array([np.abs(hertz - np.sqrt(max(low, 1.0) * high)).argmin()])
        weights[inside, band] = 1 / len(inside)
    return weights


def in_span(recipe: PartialsRecipe, corpus: Corpus) -> PartialsRecipe:
    frames = recipe.frames
    found: dict[str, object] = {}
    if frames.low is None or frames.high is None:
        heard = [note for clip in corpus.clips() if (note := single_note(corpus.pitch(clip))) is not None]
        if not heard:
            tracks = (corpus.pitch(clip) for clip in corpus.clips())
            voiced = (track[np.isfinite(track)] for track in tracks)
            heard = [float(note) for track in voiced if len(track) for note in (track.min(), track.max())] or [60.0]
        ends = {"low": round(float(min(heard)), 2), "high": round(float(max(heard)), 2)}
        found |= {name: value for name, value in ends.items() if getattr(frames, name) is None}
    if frames.stretch is True:
        found["stretch"] = stretch_of(corpus) or False
    return recipe.model_copy(update={"frames": frames.model_copy(update=found)})


def check_partials(corpus: Corpus, recipe: PartialsRecipe) -> None:
    if not is_tonal(corpus):
        raise UserError(
            f"corpus {corpus.folder} has no clear pitch, and {recipe.name} makes notes of partials; "
            "train texture-10, or add sounds with a pitch"
        )
    check_audible(corpus, recipe.frames, tonal=True)
