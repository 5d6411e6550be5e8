"""Samples of a split's frames: reconstruction error and pitch accuracy."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...host.arrays import Array, Doubles, Integers
from ...host.engines.spectrum.noise_voicing import NoisePhase
from ...host.signal import chroma, overlap_add, sounding_note, window
from ...host.units import PITCH_CLASSES
from ...train.corpus.clip_table import Clip, Split
from ...train.corpus.pitch import HOP
from ...train.corpus.store import Corpus
from ...train.families.chroma.data import moved_frame
from ...train.families.chroma.network import ChromaAutoencoder
from ...train.families.chroma.recipe import ChromaFrames
from ...train.frames import FrameOrigin, sources
from ...train.sampling import random_indices
from .floors import Scale, SoundSet, energies, energy_ratio_db, floors, mean_error, squared_errors, take_of

PERFECT_DB = -120.0  # of spectral convergence: float32 resolves no less
NOISE_SEED = 2020
LOWEST_DB = -80.0  # floor of log spectra below the frame's maximum: inaudible below


def reconstruction(target: Array, decoded: Array, clips: Integers, means: Array) -> dict[str, dict[str, float]]:
    """Return distances between frames, over all (``value``), and as mean and deviation over clips.

    ``mean_square`` is the publication's (Colonel & Keene 2020, section V). ``spectral_convergence_db`` is the
    difference's energy over the target's. ``log_spectral_distance_db`` is the root mean square difference over bins,
    averaged over frames. ``relative_error`` is the squared error over that of ``means``.

    Args:
        target, decoded: magnitudes, [frames, bins]; ``target`` has maximum 1.
        clips: clip indices, [frames].
        means: mean training spectrum of each frame's pitch class, [frames, bins].
    """
    squared_errors = np.square(target - decoded, dtype=np.float64).sum(1)
    target_energies = np.square(target, dtype=np.float64).sum(1)
    mean_spectrum_errors = np.square(target - means, dtype=np.float64).sum(1)
    log_distances_db = np.sqrt(np.mean(np.square(spectrum_db(target) - spectrum_db(decoded)), axis=1, dtype=np.float64))
    unit_weights, bin_count = np.ones(len(target)), target.shape[1]
    return {
        "mean_square": pooled(squared_errors, unit_weights * bin_count, clips),
        "spectral_convergence_db": pooled(squared_errors, target_energies, clips, decibels),
        "log_spectral_distance_db": pooled(log_distances_db, unit_weights, clips),
        "relative_error": pooled(squared_errors, mean_spectrum_errors, clips),
    }


def pooled(
    numerators: Doubles,
    denominators: Doubles,
    clips: Integers,
    unit: Callable[[Doubles], Doubles] = lambda ratio: ratio,
) -> dict[str, float]:
    """Return the ratio of two sums [frames], over all (``value``), and its mean and deviation over clips."""
    _, clip_indices = np.unique(clips, return_inverse=True)
    clip_ratios = unit(
        np.bincount(clip_indices, numerators) / np.maximum(np.bincount(clip_indices, denominators), 1e-12)
    )
    pooled_ratio = unit(numerators.sum(keepdims=True) / max(denominators.sum(), 1e-12))
    return {"value": float(pooled_ratio[0]), "mean": float(clip_ratios.mean()), "deviation": float(clip_ratios.std())}


def decibels(ratio: Doubles) -> Doubles:
    """Return an energy ratio in dB, at least `PERFECT_DB`."""
    return 10 * np.log10(np.maximum(ratio, 10 ** (PERFECT_DB / 10)))


def mean_spectra(spectra: Array, pitch_classes: Integers) -> Array:
    """Return mean spectra, [12, bins]; of all frames for an empty class."""
    class_means = np.repeat(spectra.mean(0, keepdims=True), 12, axis=0)
    for pitch_class in np.unique(pitch_classes):
        class_means[pitch_class] = spectra[pitch_classes == pitch_class].mean(0)
    return class_means


def spectrum_db(magnitudes: Array) -> Array:
    return np.float32(20) * np.log10(np.maximum(magnitudes, np.float32(10 ** (LOWEST_DB / 20))))


OVERLAP = 4  # frames overlapping in a resynthesized sound: at 75 % overlap, squared Hann windows sum to 1.5
FLOOR = 1e-3  # of a frame's maximum, -60 dB: limits the change of quieter magnitudes
ROWS = 1024  # per network call: 8 MB per layer, and large enough for efficient matrix products


@dataclass(frozen=True)
class FrameSample:
    """Frames of a split: magnitudes of maximum 1 [frames, bins], pitch classes [frames], and their origins.

    ``frames_in_split`` counts those that sound.
    """

    split: Split
    frames_in_split: int
    sources: list[FrameOrigin]
    spectra: Array
    pitch_classes: Integers

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def clips(self) -> Integers:
        clip_names = [source.clip.name for source in self.sources]
        return np.unique(clip_names, return_inverse=True)[1].astype(np.int64)


def draw(
    corpus: Corpus, split: Split, settings: ChromaFrames, folded: bool, count: int, rng: np.random.Generator
) -> FrameSample | None:
    """Sample up to ``count`` frames of a split, in order; None if none sounds.

    With ``folded``, each is transposed to its key in octave ``settings.fold``.
    """
    split_origins = list(sources(corpus, split, settings, tonal=folded))
    if not split_origins:
        return None
    return cut(
        corpus,
        split,
        [split_origins[i] for i in random_indices(len(split_origins), count, rng)],
        settings,
        folded,
        len(split_origins),
    )


def cut(
    corpus: Corpus, split: Split, origins: list[FrameOrigin], settings: ChromaFrames, folded: bool, frames_in_split: int
) -> FrameSample:
    """Read the frames at ``origins``; with ``folded``, each on its key."""
    if folded:
        pitch_classes = np.array([round(source.note) % 12 for source in origins], np.int64)
        return FrameSample(
            split, frames_in_split, origins, on_keys(corpus, origins, pitch_classes, settings), pitch_classes
        )
    spectra = np.stack([moved_frame(corpus.samples(s.clip), s, s.note, settings) for s in origins])
    strongest_classes = chroma(spectra, settings.sample_rate, settings.frame_length).argmax(1)
    return FrameSample(split, frames_in_split, origins, spectra, strongest_classes.astype(np.int64))


def on_keys(corpus: Corpus, origins: list[FrameOrigin], keys: Integers, settings: ChromaFrames) -> Array:
    """Transpose frames to ``keys`` in octave ``settings.fold``, [frames, bins]."""
    assert settings.fold is not None
    target_notes = 12 * (settings.fold + 1) + keys
    return np.stack(
        [moved_frame(corpus.samples(s.clip), s, n, settings) for s, n in zip(origins, target_notes, strict=True)]
    )


@torch.no_grad()
def in_batches(compute: Callable[..., torch.Tensor], rows: int, *inputs: Array) -> Array:
    """Apply a function to ``rows`` rows of its inputs at a time."""
    output_batches = [
        compute(*(torch.from_numpy(input_rows[batch_start : batch_start + rows]) for input_rows in inputs)).numpy()
        for batch_start in range(0, len(inputs[0]), rows)
    ]
    return np.concatenate(output_batches)


def encode(network: ChromaAutoencoder, spectra: Array, pitch_classes: Integers) -> Array:
    """Return latents, [frames, latents]."""
    return in_batches(network.encode, ROWS, spectra, np.eye(12, dtype=np.float32)[pitch_classes])


def decode(network: ChromaAutoencoder, latents: Array, pitch_classes: Integers | int) -> Array:
    """Return magnitudes, [frames, bins]."""
    one_hot = np.eye(12, dtype=np.float32)[np.broadcast_to(pitch_classes, len(latents))]
    return in_batches(network.decode, ROWS, latents, one_hot)


def resynthesised(
    corpus: Corpus, clip: Clip, network: ChromaAutoencoder, settings: ChromaFrames, folded: bool, seconds: float
) -> tuple[Array, Array]:
    """Return the beginning of a clip and its resynthesis, [samples] both.

    The network's gain of magnitudes is applied to the clip's spectra; with ``folded`` in the octave of training,
    without unpitched frames.
    """
    frame_length, hop = settings.frame_length, settings.frame_length // OVERLAP
    source_sound = corpus.samples(clip)[: round(seconds * settings.sample_rate)]
    padded_sound = np.pad(source_sound, (frame_length - hop, 2 * frame_length))
    pitch_track, centre_offset = corpus.pitch(clip), frame_length // 2 - (frame_length - hop)
    frame_starts = np.arange(0, len(source_sound) + frame_length - hop, hop)
    frame_notes = pitch_track[np.clip((frame_starts + centre_offset) // HOP, 0, len(pitch_track) - 1)]
    spectra = np.fft.rfft(
        np.stack([padded_sound[frame_start : frame_start + frame_length] for frame_start in frame_starts])
        * window("hann", frame_length)
    )
    encoded_indices = np.flatnonzero(np.any(spectra, axis=1) & (np.isfinite(frame_notes) | (not folded)))
    output_spectra = np.zeros_like(spectra)
    if len(encoded_indices):
        pitch_classes = np.where(np.isfinite(frame_notes), np.round(frame_notes), 0).astype(np.int64) % 12
        target_notes = 12 * ((settings.fold or 0) + 1) + pitch_classes if folded else frame_notes
        frame_origins = [
            FrameOrigin(clip, int(frame_start), float(note))
            for frame_start, note in zip(frame_starts[encoded_indices], frame_notes[encoded_indices], strict=True)
        ]
        encoded_frames = np.stack(
            [
                moved_frame(padded_sound, s, m, settings)
                for s, m in zip(frame_origins, target_notes[encoded_indices], strict=True)
            ]
        )
        if not folded:
            pitch_classes[encoded_indices] = chroma(encoded_frames, settings.sample_rate, frame_length).argmax(1)
        decoded_frames = decode(
            network, encode(network, encoded_frames, pitch_classes[encoded_indices]), pitch_classes[encoded_indices]
        )
        bin_indices = np.arange(frame_length // 2 + 1)
        pitch_ratios = 2.0 ** ((target_notes - frame_notes) / 12) if folded else np.ones(len(frame_notes))
        for frame_index, bin_gains in zip(
            encoded_indices, (decoded_frames + FLOOR) / (encoded_frames + FLOOR), strict=True
        ):
            output_spectra[frame_index] = spectra[frame_index] * np.interp(
                bin_indices * pitch_ratios[frame_index], bin_indices, bin_gains, right=0.0
            )
    resynthesis = overlap_add(
        np.fft.irfft(output_spectra, frame_length) * (window("hann", frame_length) / (0.375 * OVERLAP)), hop
    )
    return source_sound, resynthesis[frame_length - hop : frame_length - hop + len(source_sound)]


RARE = 0.01  # of the training frames: rarer pitch classes count as untrained
SECONDS = 0.9  # of each test note: noise phase needs time for a steady spectrum
SILENT = -1  # pitch class of a frame without sound between A0 and C8


def trained_classes(pitch_classes: Integers, settings: ChromaFrames, folded: bool) -> list[int]:
    """Return the pitch classes that training frames had; all, if it transposed them."""
    if folded and settings.views > 1:
        return list(range(12))
    class_counts = np.bincount(pitch_classes, minlength=12)
    return [int(k) for k in np.flatnonzero(class_counts >= RARE * len(pitch_classes))]


def mesh(low: Doubles, high: Doubles, points: int, rng: np.random.Generator) -> Array:
    """Return about ``points`` codes that fill a box, [points, latents].

    Up to three latents have a regular mesh, last latent fastest (Colonel & Keene 2020, section V-A), more random
    points: a coarse mesh lies almost entirely on the boundary.
    """
    n = len(low)
    if n > 3:
        return rng.uniform(low, high, (points, n)).astype(np.float32)
    side_points = max(2, round(points ** (1 / n)))
    axis_positions = [np.linspace(low[i], high[i], side_points) for i in range(n)]
    return np.stack(np.meshgrid(*axis_positions, indexing="ij"), -1).reshape(-1, n).astype(np.float32)


def strongest(network: ChromaAutoencoder, latents: Array, pitch_class: int, settings: ChromaFrames) -> Integers:
    """Return each code's strongest pitch class decoded at ``pitch_class``, or `SILENT`, [codes]."""
    chroma_energies = chroma(decode(network, latents, pitch_class), settings.sample_rate, settings.frame_length)
    return np.where(chroma_energies.max(1) > 0, chroma_energies.argmax(1), SILENT).astype(np.int64)


def obedience(answers: dict[int, Integers]) -> dict[str, Any]:
    """Return shares of correct answers, by class and overall; None for untested classes."""
    shares_by_class = {
        pitch_class: float(np.mean(strongest_classes == pitch_class))
        for pitch_class, strongest_classes in answers.items()
    }
    return {
        "overall": float(np.mean(list(shares_by_class.values()))),
        "by_pitch_class": {name: shares_by_class.get(k) for k, name in enumerate(PITCH_CLASSES)},
    }


def sounding(
    network: ChromaAutoencoder, latents: Array, pitch_classes: list[int], settings: ChromaFrames, folded: bool
) -> dict[str, Any]:
    """Return the share of notes with the right pitch class, and with the right octave (None without one).

    Noise phase keeps a frame's own pitch.
    """
    noise_phase = NoisePhase(settings.frame_length, settings.hop_length)
    right_count = octave_count = 0
    for pitch_class in pitch_classes:
        for frame in decode(network, latents, pitch_class):
            sounded_note = sounding_note(sustain_frame(frame, noise_phase, settings), settings.sample_rate)
            semitones = sounded_note - pitch_class
            right_count += abs((semitones + 6) % 12 - 6) < 0.5
            octave_count += folded and abs(semitones - 12 * (settings.fold or 0) - 12) < 0.5
    note_count = len(latents) * len(pitch_classes)
    return {
        "notes": note_count,
        "pitch_class": right_count / note_count,
        "octave": octave_count / note_count if folded else None,
    }


def sustain_frame(frame: Array, phase: NoisePhase, settings: ChromaFrames) -> Array:
    """Sustain a frame for `SECONDS`, without the edges, [samples]."""
    frame_length, hop = settings.frame_length, settings.hop_length
    frame_count = round(SECONDS * settings.sample_rate / hop) + frame_length // hop
    spectra = phase.apply(np.repeat(frame[None], frame_count, 0), [phase.start_state()] * frame_count)
    sound = overlap_add(np.fft.irfft(spectra) * window("hann", frame_length), hop)
    return sound[frame_length - hop : (frame_count - 1) * hop + hop]


FRAME_SCALES = {
    "mean_square": Scale("Mean square error", ".3g", np.asarray, squared_errors, mean_error),
    "spectral_convergence_db": Scale("Spectral convergence, dB", ".1f", np.asarray, energies, energy_ratio_db),
    "log_spectral_distance_db": Scale(
        "Log-spectral distance, dB",
        ".1f",
        spectrum_db,
        lambda targets, answers: np.sqrt(squared_errors(targets, answers)),
        mean_error,
    ),
}


def frame_floors(
    training: FrameSample,
    test: FrameSample,
    decoded: Array | None,
    latents: int,
    scales: Mapping[str, Scale] = FRAME_SCALES,
    *,
    conditioned: bool,
) -> dict[str, Any]:
    """Return `floors` of decoded test frames, [frames, bins], or without these, in the measures of `reconstruction`.

    ``conditioned``: the decoder receives the pitch class.
    """
    training_set, test_set = (
        SoundSet(
            sample.spectra,
            np.array([origin.clip.row for origin in sample.sources]),
            sample.pitch_classes if conditioned else None,
            [_take_of(origin) for origin in sample.sources],
            np.array([origin.start for origin in sample.sources]),
        )
        for sample in (training, test)
    )
    frame_length = 2 * (test.spectra.shape[1] - 1)
    noise = np.random.default_rng(NOISE_SEED).standard_normal((len(test), frame_length), np.float32)
    noise_spectra = np.abs(np.fft.rfft(noise * window("hann", frame_length)))
    noise_spectra *= np.sqrt(np.square(training.spectra).mean() / np.square(noise_spectra).mean())
    return floors(scales, training_set, test_set, latents, decoded, noise=noise_spectra)


def _take_of(origin: FrameOrigin) -> Hashable:
    """Return the sound and note that frames of takes share."""
    sound = take_of(origin.clip)
    return None if sound is None else (sound, round(origin.note) if np.isfinite(origin.note) else None)
