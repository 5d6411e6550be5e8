"""Data for the chroma family: spectra cut from a corpus, transposed, and paired across keys.

The first bins of a transform of ``frame_length * ratio`` samples are the spectrum of ``frame_length`` samples played
``ratio`` times as fast: transposition keeps lobe widths, to the cent.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....host.arrays import Array
from ....host.engines.spectrum.phase_retrieval import CausalPhase
from ....host.errors import Failure
from ....host.signal import chroma, overlap_add, window
from ....host.units import octave_of, semitones_to_ratio
from ...corpus.clip_table import Clip, Split, release
from ...corpus.store import Corpus
from ...data import Data
from ...frames import IN_MEMORY_BYTES, RELEASE_BYTES, FrameOrigin, FrameOrigins, check_audible, is_tonal, spread_sources
from ...preview import SECONDS
from ...sampling import evenly_spaced, thinned
from ..family import Family
from .network import ChromaAutoencoder
from .recipe import ChromaFrames, ChromaRecipe

TAKE = 128  # mapped rows read before pages are released: the kernel maps up to 2 MB around each


class FrameStore:
    """Magnitudes ``rows``, [frames, views, bins], maximum 1, with ``pitch_classes``, [frames, views]."""

    def __init__(
        self, rows: npt.NDArray[np.float16], pitch_classes: npt.NDArray[np.int8], sources: FrameOrigins
    ) -> None:
        self.rows, self.pitch_classes, self.sources = rows, pitch_classes, sources

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def views(self) -> int:
        return int(self.pitch_classes.shape[1])

    def take_frames(
        self, frames: npt.NDArray[np.int64], views: npt.NDArray[np.int64]
    ) -> tuple[Array, npt.NDArray[np.int64]]:
        """Return spectra [rows, bins] and pitch classes [rows]."""
        spectra = np.empty((len(frames), self.rows.shape[2]), np.float32)
        for batch_start in range(0, len(frames), TAKE):
            batch_slice = slice(batch_start, batch_start + TAKE)
            torch.from_numpy(spectra[batch_slice]).copy_(
                torch.from_numpy(self.rows[frames[batch_slice], views[batch_slice]])
            )
            release(self.rows)
        return spectra, self.pitch_classes[frames, views].astype(np.int64)


def build(corpus: Corpus, split: Split, settings: ChromaFrames, folder: Path, seed: int) -> FrameStore:
    """Cut, transpose and normalise a split's frames, in a file in ``folder`` if large.

    With ``settings.fold`` and a tonal corpus, each pitched frame moves to ``settings.views`` keys of that octave, its
    own first. Otherwise frames stay, with the pitch class of the strongest chroma bin (Colonel & Keene, 2020, section
    III-B). Above ``settings.rows`` frames × views, only every n-th frame is kept.

    Raises:
        Failure: no disk space.
    """
    is_folded = settings.fold is not None and is_tonal(corpus)
    view_count = settings.views if is_folded else 1
    origins = spread_sources(corpus, split, settings, is_folded, max(1, settings.rows // view_count), folder)
    bin_count = settings.frame_length // 2 + 1
    rng = np.random.default_rng([seed, len(split)])
    shape = (len(origins), view_count, bin_count)
    spectra = np.zeros(shape, np.float16) if 2 * np.prod(shape) <= IN_MEMORY_BYTES else _mapped(folder, shape)
    pitch_classes = np.zeros((len(origins), view_count), np.int8)
    frames_per_release = max(1, RELEASE_BYTES // (view_count * (2 * bin_count + 4 * settings.frame_length)))
    clip: Clip | None = None
    clip_samples = np.zeros(0, np.float32)
    for frame_index, origin in enumerate(origins):
        if origin.clip is not clip:
            clip, clip_samples = origin.clip, corpus.samples(origin.clip)
        if frame_index % frames_per_release == 0:
            release(spectra, clip_samples)
            origins.release()
        if is_folded:
            assert settings.fold is not None
            frame_classes = _keys(origin.note, view_count, rng)
            pitch_classes[frame_index] = frame_classes
            lowest_note = 12 * (settings.fold + 1)
            for view_index, pitch_class in enumerate(frame_classes):
                spectra[frame_index, view_index] = _halved(
                    moved_frame(clip_samples, origin, lowest_note + pitch_class, settings)
                )
        else:
            spectrum = moved_frame(clip_samples, origin, origin.note, settings)
            spectra[frame_index, 0] = _halved(spectrum)
            pitch_classes[frame_index, 0] = int(chroma(spectrum, settings.sample_rate, settings.frame_length).argmax())
    origins.release()
    return FrameStore(spectra, pitch_classes, origins)


def _halved(frame: Array) -> npt.NDArray[np.float16]:
    """Return a frame in half precision, as numpy rounds, which takes thirty times as long where values underflow."""
    return torch.from_numpy(frame).half().numpy()


def _mapped(folder: Path, shape: tuple[int, int, int]) -> npt.NDArray[np.float16]:
    """Return an array of zeros in a temporary file in ``folder``."""
    byte_count = 2 * int(np.prod(shape, dtype=np.int64))
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):  # reports a full disk here, instead of a crash later
                os.posix_fallocate(file.fileno(), 0, byte_count)
            return np.memmap(file, np.float16, "w+", shape=shape)
    except OSError as error:
        raise Failure(
            f"cannot keep {byte_count / 1e9:.1f} GB of frames in {folder}: {error.strerror or error}; "
            "make room there, or set frames.rows lower"
        ) from error


def moved_frame(samples: Array, source: FrameOrigin, note: float, settings: ChromaFrames) -> Array:
    """Return the spectrum of a frame transposed to ``note``, [bins], with maximum 1.

    Partials above half the sampling rate are dropped.
    """
    transposes = np.isfinite(source.note) and note != source.note
    source_length = (
        round(settings.frame_length * semitones_to_ratio(note - source.note)) if transposes else settings.frame_length
    )
    centre_sample = source.start + settings.frame_length // 2
    first_sample = min(max(0, centre_sample - source_length // 2), max(0, len(samples) - source_length))
    excerpt = samples[first_sample : first_sample + source_length]
    if len(excerpt) < source_length:  # clips shorter than the window are zero-padded
        excerpt = np.pad(excerpt, (0, source_length - len(excerpt)))
    spectrum = np.abs(np.fft.rfft(excerpt * window("hann", source_length)))
    bin_count = settings.frame_length // 2 + 1
    moved_spectrum = np.zeros(bin_count, np.float32)
    moved_spectrum[: min(bin_count, len(spectrum))] = spectrum[:bin_count]
    return moved_spectrum / max(float(moved_spectrum.max()), 1e-12)


def _keys(note: float, views: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return ``views`` pitch classes, that of a note first and the others at random."""
    pitch_class = round(note) % 12
    other_classes = rng.permutation(np.delete(np.arange(12), pitch_class))[: views - 1]
    return np.concatenate([[pitch_class], other_classes]).astype(np.int64)


LOWEST_NOTE_QUANTILE = 0.05  # of pitches: counts as the corpus's lowest note
PITCH_CLIPS = 20_000  # clips, at most, for it
OCTAVES = 3, 5  # range of octaves chosen from the corpus
VALIDATION_FRAMES = 4096  # evenly spaced: 0.2 s to evaluate, with little variance


class ChromaData(Data[FrameStore]):
    """Batches of (frames, chroma, targets, target chroma)."""

    def examples(
        self, source: FrameStore, indices: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[Tensor, ...]:
        return _pairs(source, indices, rng)

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        """Return spectra and chroma of training frames."""
        frame_indices = evenly_spaced(len(self.train), limit)
        return _side(self.train, frame_indices, np.zeros_like(frame_indices))


def _pairs(store: FrameStore, frames: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, ...]:
    """Return spectra and chroma of frames in a random view, then in another."""
    views = rng.integers(store.views, size=len(frames))
    if store.views == 1:
        return _side(store, frames, views) * 2
    target_views = (views + rng.integers(1, store.views, size=len(frames))) % store.views
    return *_side(store, frames, views), *_side(store, frames, target_views)


def _side(store: FrameStore, frames: npt.NDArray[np.int64], views: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Return spectra and chroma of frames in their views."""
    spectra, pitch_classes = store.take_frames(frames, views)
    return torch.from_numpy(spectra), torch.nn.functional.one_hot(torch.from_numpy(pitch_classes), 12).float()


class ChromaFamily(Family[ChromaRecipe, ChromaAutoencoder]):
    network = ChromaAutoencoder
    bfloat16 = True
    repeats_steps = True

    def check(self, corpus: Corpus, recipe: ChromaRecipe) -> None:
        check_audible(corpus, recipe.frames, tonal=recipe.frames.octave is not None and is_tonal(corpus))

    def data(self, corpus: Corpus, recipe: ChromaRecipe, folder: Path) -> ChromaData:
        seed, frame_settings = recipe.training.seed, recipe.frames
        train = build(corpus, "train", frame_settings, folder, seed)
        validation_rows = min(frame_settings.rows, VALIDATION_FRAMES * frame_settings.views)
        val = build(corpus, "val", frame_settings.model_copy(update={"rows": validation_rows}), folder, seed)
        return ChromaData(train, val)

    def complete(self, recipe: ChromaRecipe, corpus: Corpus) -> ChromaRecipe:
        """Replace ``octave = "lowest"`` by the octave of the corpus's 5% quantile of notes, 3 to 5.

        Lower octaves leave no room for noise between harmonics.
        """
        if recipe.frames.octave != "lowest":
            return recipe
        pitch_tracks = [corpus.pitch(clip) for clip in thinned(corpus.clips("train"), PITCH_CLIPS)]
        notes = np.concatenate([track[np.isfinite(track)] for track in pitch_tracks]) if pitch_tracks else np.zeros(0)
        octave = octave_of(round(float(np.quantile(notes, LOWEST_NOTE_QUANTILE)))) if len(notes) else OCTAVES[0]
        frame_settings = recipe.frames.model_copy(update={"octave": int(np.clip(octave, *OCTAVES))})
        return recipe.model_copy(update={"frames": frame_settings})

    def preview(self, network: ChromaAutoencoder, recipe: ChromaRecipe, batch: list[torch.Tensor]) -> list[Array]:
        input_spectra, chroma_rows, *_ = batch
        frame_length, hop = recipe.frames.frame_length, recipe.frames.hop_length
        phase_retrieval = CausalPhase(frame_length, hop)
        sounds = []
        for decoded_spectrum in network.decode(network.encode(input_spectra, chroma_rows), chroma_rows).cpu().numpy():
            frame_count = int(SECONDS * recipe.frames.sample_rate / hop)
            phased_spectra = phase_retrieval.apply(
                np.repeat(decoded_spectrum[None], frame_count, 0), [phase_retrieval.start_state()] * frame_count
            )
            sounds.append(overlap_add(np.fft.irfft(phased_spectra) * window("hann", frame_length), hop))
        return sounds
