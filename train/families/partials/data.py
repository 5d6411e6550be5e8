"""Training data of the partials family: levels of harmonics and noise bands of audible frames."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ....host.arrays import Array, Doubles, Integers
from ....host.engines.spectrum.partial_analysis import Layout, split_partials
from ....host.errors import UserError
from ....host.model.partials import HANN_ENERGY
from ....host.signal import window
from ....host.units import INAUDIBLE_HZ, midi_to_hz
from ...corpus.clip_table import Split
from ...corpus.inharmonicity import stretch_of
from ...corpus.pitch import single_note
from ...corpus.store import Corpus
from ...data import Data
from ...frames import FrameOrigin, check_audible, is_tonal, spread_sources
from ..family import Family
from .network import PartialsAutoencoder
from .recipe import PartialsFrames, PartialsRecipe

SOFTEST_DB = -120.0  # of a level, relative to frame power
CENTS = 100  # per semitone, pitch resolution: well below the width of a partial's lobe
SHIFT = 3.0  # semitones, largest shift of each side of a pair, up or down
SHIFTED_SHARE = 0.5  # of all pairs
VALIDATION_FRAMES = 4096
FRAME_BATCH = 256  # frames analysed at a time


@dataclass(frozen=True)
class PartialsRows:
    """Levels in dB, [frames, harmonics + bands], and MIDI notes."""

    levels: Array
    pitches: Array

    def __len__(self) -> int:
        return len(self.pitches)

    def tensors(self, indices: Integers | None = None) -> tuple[Tensor, Tensor]:
        """Return the levels and pitches of some frames, or of all."""
        chosen = slice(None) if indices is None else indices
        return torch.from_numpy(self.levels[chosen]), torch.from_numpy(self.pitches[chosen])


@dataclass
class PartialsData(Data[PartialsRows]):
    """Batches of levels [rows, width] and pitches [rows] to encode, then of those to decode."""

    frames: PartialsFrames

    def batch(self, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Return rows with shifts."""
        levels, pitches = self.train.levels[indices], self.train.pitches[indices]
        shift_semitones = rng.uniform(-SHIFT, SHIFT, (2, len(indices))) * (rng.random(len(indices)) < SHIFTED_SHARE)
        pair_columns = []
        for side_semitones in shift_semitones.astype(np.float32):
            pair_columns += [shifted(levels, side_semitones, self.frames), pitches + side_semitones]
        return tuple(map(torch.from_numpy, pair_columns))

    def examples(self, source: PartialsRows, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        return source.tensors(indices) * 2

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        """Return levels [rows, width] and pitches [rows] of training rows."""
        return super().spread(limit)[:2]


def shifted(levels: Array, semitones: Array, frames: PartialsFrames) -> Array:
    """Shift noise of rows [rows, width] by semitones [rows], up as in faster playback."""
    harmonic_count, edges_hz = frames.harmonics, frames.edges_hz
    semitones_per_band = 12 * np.log2(edges_hz[-1] / edges_hz[1]) / (len(edges_hz) - 2)
    band_positions = np.arange(frames.bands) - semitones[:, np.newaxis] / semitones_per_band
    band_positions[:, 0] = 0.0
    band_positions = np.clip(band_positions, 0, frames.bands - 1)
    lower_bands = np.minimum(band_positions.astype(np.intp), frames.bands - 2)
    upper_weights = (band_positions - lower_bands).astype(np.float32)
    noise_levels = levels[:, harmonic_count:]
    shifted_noise = (
        np.take_along_axis(noise_levels, lower_bands, 1) * (1 - upper_weights)
        + np.take_along_axis(noise_levels, lower_bands + 1, 1) * upper_weights
    )
    return np.concatenate([levels[:, :harmonic_count], shifted_noise], axis=1)


def rows(corpus: Corpus, split: Split, frames: PartialsFrames, folder: Path | None = None) -> PartialsRows:
    """Return audible, pitched frames; beyond ``frames.rows``, every n-th. ``folder`` lists all."""
    origins = spread_sources(corpus, split, frames, True, frames.rows, folder)
    levels = np.zeros((len(origins), frames.harmonics + frames.bands), np.float32)
    pitches = np.array([round(origin.note * CENTS) / CENTS for origin in origins], np.float32)
    for batch_start in range(0, len(origins), FRAME_BATCH):
        batch_slice = slice(batch_start, batch_start + FRAME_BATCH)
        levels[batch_slice] = measure_levels(pieces(corpus, origins[batch_slice], frames), pitches[batch_slice], frames)
    origins.release()
    return PartialsRows(levels, pitches)


def pieces(corpus: Corpus, origins: Sequence[FrameOrigin], frames: PartialsFrames) -> Array:
    """Return samples, [frames, frame_length]."""
    return np.stack(
        [corpus.samples(origin.clip, origin.start, origin.start + frames.frame_length) for origin in origins]
    )


def measure_levels(sound: Array, pitches: Array, frames: PartialsFrames) -> Array:
    """Return levels of sound [frames, frame_length] at MIDI notes [frames], in dB re frame power, at least -120.

    Harmonics are lobe heights, noise mean bin powers between them, inharmonic partials included.
    """
    return split_frames(sound, pitches, frames)[2]


def split_frames(sound: Array, pitches: Array | Doubles, frames: PartialsFrames) -> tuple[Array, Layout, Array]:
    """Return `split_partials` at energy 1, its layout, and levels as `measure_levels`."""
    partial_frames, layout = _split_normalised(sound, pitches, frames)
    bin_powers = np.square(layout.residue(partial_frames)).astype(np.float64)
    partial_bins, partial_magnitudes = layout.free(partial_frames)
    frame_indices, partial_indices = np.nonzero(partial_magnitudes)
    nearest_bins = np.rint(partial_bins[frame_indices, partial_indices]).astype(np.intp)
    np.add.at(
        bin_powers,
        (frame_indices, nearest_bins),
        HANN_ENERGY * np.square(partial_magnitudes[frame_indices, partial_indices], dtype=np.float64),
    )
    component_powers = np.concatenate(
        [np.square(layout.harmonic(partial_frames)), bin_powers @ _band_means(frames)], axis=1
    )
    levels: Array = (10 * np.log10(np.maximum(component_powers, 10 ** (SOFTEST_DB / 10)))).astype(np.float32)
    return partial_frames, layout, levels


def first_audible_bin(frames: PartialsFrames) -> int:
    return math.ceil(INAUDIBLE_HZ * frames.frame_length / frames.sample_rate)


def _split_normalised(sound: Array, pitches: Array | Doubles, frames: PartialsFrames) -> tuple[Array, Layout]:
    """Return `split_partials` of frames whose energy above 20 Hz is 1, and its layout."""
    frame_length = frames.frame_length
    spectra = np.abs(np.fft.rfft(sound * window("hann", frame_length))).astype(np.float32)
    first_bin = first_audible_bin(frames)  # an offset may lie below
    spectra /= np.sqrt(np.maximum(np.square(spectra[:, first_bin:]).sum(axis=1, keepdims=True), 1e-20))
    spectra[:, :first_bin] = spectra[:, first_bin, np.newaxis]
    fundamental_bins = np.array([midi_to_hz(float(pitch)) for pitch in pitches]) * frame_length / frames.sample_rate
    layout = Layout(frames.harmonics, frame_length // 2 + 1, 1.0)
    inharmonicities = np.array([frames.layout.inharmonicity(float(pitch)) for pitch in pitches])
    return split_partials(spectra, fundamental_bins, layout, inharmonicities), layout


def _band_means(frames: PartialsFrames) -> Doubles:
    """Return weights of bins in the noise bands' means, [bins, bands]; a narrow band uses the nearest bin."""
    bin_count = frames.frame_length // 2 + 1
    bin_hz = np.arange(bin_count) * frames.sample_rate / frames.frame_length
    weights = np.zeros((bin_count, frames.bands))
    edges_hz = frames.edges_hz
    for band, (low_hz, high_hz) in enumerate(itertools.pairwise(edges_hz)):
        band_bins = np.flatnonzero((bin_hz >= low_hz) & (bin_hz < high_hz))
        if not len(band_bins):
            band_bins = np.array([np.abs(bin_hz - np.sqrt(max(low_hz, 1.0) * high_hz)).argmin()])
        weights[band_bins, band] = 1 / len(band_bins)
    return weights


class PartialsFamily(Family[PartialsRecipe, PartialsAutoencoder]):
    network = PartialsAutoencoder
    bfloat16 = True
    repeats_steps = True
    previewed = False

    def check(self, corpus: Corpus, recipe: PartialsRecipe) -> None:
        if not is_tonal(corpus):
            raise UserError(
                f"corpus {corpus.folder} has no clear pitch, and {recipe.name} makes notes of partials; "
                "train texture-10, or add sounds with a pitch"
            )
        check_audible(corpus, recipe.frames, tonal=True)

    def data(self, corpus: Corpus, recipe: PartialsRecipe, folder: Path) -> PartialsData:
        frame_settings = recipe.frames
        validation_settings = frame_settings.model_copy(update={"rows": VALIDATION_FRAMES})
        return PartialsData(
            rows(corpus, "train", frame_settings, folder),
            rows(corpus, "val", validation_settings, folder),
            frame_settings,
        )

    def complete(self, recipe: PartialsRecipe, corpus: Corpus) -> PartialsRecipe:
        """Fill in the range of notes and the strings' inharmonicity."""
        frame_settings = recipe.frames
        updates: dict[str, object] = {}
        if frame_settings.low is None or frame_settings.high is None:
            notes = [note for clip in corpus.clips() if (note := single_note(corpus.pitch(clip))) is not None]
            if not notes:
                pitch_tracks = (corpus.pitch(clip) for clip in corpus.clips())
                voiced_tracks = (track[np.isfinite(track)] for track in pitch_tracks)
                notes = [
                    float(note) for track in voiced_tracks if len(track) for note in (track.min(), track.max())
                ] or [60.0]
            note_range = {"low": round(float(min(notes)), 2), "high": round(float(max(notes)), 2)}
            updates |= {name: value for name, value in note_range.items() if getattr(frame_settings, name) is None}
        if frame_settings.stretch is True:
            updates["stretch"] = stretch_of(corpus) or False
        return recipe.model_copy(update={"frames": frame_settings.model_copy(update=updates)})
