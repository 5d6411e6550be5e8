"""Training data of the partials family: levels of harmonics and noise bands of audible frames."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....host.arrays import Array, Doubles
from ....host.engines.spectrum.partial_analysis import Layout, split_partials
from ....host.errors import UserError
from ....host.model.partials import HANN_ENERGY
from ....host.signal import window
from ....host.units import INAUDIBLE_HZ, midi_to_hz
from ...corpus.clip_table import Split
from ...corpus.inharmonicity import stretch_of
from ...corpus.pitch import single_note
from ...corpus.store import Corpus
from ...frames import FrameOrigin, check_audible, is_tonal, spread_sources
from ...sampling import evenly_spaced
from ..family import Family
from .network import PartialsAutoencoder
from .recipe import PartialsFrames, PartialsRecipe

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


class PartialsFamily(Family[PartialsRecipe, PartialsAutoencoder]):
    network = PartialsAutoencoder
    bfloat16 = True
    previewed = False

    def check(self, corpus: Corpus, recipe: PartialsRecipe) -> None:
        if not is_tonal(corpus):
            raise UserError(
                f"corpus {corpus.folder} has no clear pitch, and {recipe.name} makes notes of partials; "
                "train texture-10, or add sounds with a pitch"
            )
        check_audible(corpus, recipe.frames, tonal=True)

    def data(self, corpus: Corpus, recipe: PartialsRecipe, folder: Path, tonal: bool) -> PartialsData:
        frames = recipe.frames
        few = frames.model_copy(update={"rows": VALIDATION_FRAMES})
        return PartialsData(frames, rows(corpus, "train", frames, folder), rows(corpus, "val", few, folder))

    def complete(self, recipe: PartialsRecipe, corpus: Corpus) -> PartialsRecipe:
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
