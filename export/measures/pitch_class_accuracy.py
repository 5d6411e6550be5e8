"""Pitch accuracy of chroma decoders: requested pitch classes and octaves."""

from typing import Any

import numpy as np

from ...host.arrays import Array, Doubles, Integers
from ...host.kinds.spectrum.noise_phase import NoisePhase
from ...host.pitch import sounding_note
from ...host.stft import chroma, overlap_add, window
from ...host.units import PITCH_CLASSES
from ...train.families.chroma.network import ChromaAutoencoder
from ...train.families.chroma.recipe import ChromaFrames
from .frame_sample import decode

RARE = 0.01  # of the training frames: rarer pitch classes count as untrained
SECONDS = 0.9  # of each test note: noise phase needs time for a steady spectrum
SILENT = -1  # pitch class of a frame without sound between A0 and C8


def trained_classes(pitch_classes: Integers, settings: ChromaFrames, folded: bool) -> list[int]:
    if folded and settings.views > 1:
        return list(range(12))
    counts = np.bincount(pitch_classes, minlength=12)
    return [int(k) for k in np.flatnonzero(counts >= RARE * len(pitch_classes))]


def mesh(low: Doubles, high: Doubles, points: int, rng: np.random.Generator) -> Array:
    """Return about ``points`` codes that fill a box, [points, latents].

    Up to three latents have a regular mesh, last latent fastest (Colonel & Keene 2020, section V-A), more random
    points: a coarse mesh lies almost entirely on the boundary.
    """
    n = len(low)
    if n > 3:
        return rng.uniform(low, high, (points, n)).astype(np.float32)
    side = max(2, round(points ** (1 / n)))
    axes = [np.linspace(low[i], high[i], side) for i in range(n)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, n).astype(np.float32)


def strongest(network: ChromaAutoencoder, latents: Array, asked: int, settings: ChromaFrames) -> Integers:
    """Return each code's strongest pitch class decoded at ``asked``, or `SILENT`, [codes]."""
    energy = chroma(decode(network, latents, asked), settings.sample_rate, settings.frame_length)
    return np.where(energy.max(1) > 0, energy.argmax(1), SILENT).astype(np.int64)


def obedience(answers: dict[int, Integers]) -> dict[str, Any]:
    """Return shares of correct answers, by class and overall; None for untested classes."""
    shares = {asked: float(np.mean(heard == asked)) for asked, heard in answers.items()}
    return {
        "overall": float(np.mean(list(shares.values()))),
        "by_pitch_class": {name: shares.get(k) for k, name in enumerate(PITCH_CLASSES)},
    }


def sounding(
    network: ChromaAutoencoder, latents: Array, asked: list[int], settings: ChromaFrames, folded: bool
) -> dict[str, Any]:
    """Return the share of notes with the right pitch class, and with the right octave (None without one).

    Noise phase keeps a frame's own pitch.
    """
    phase = NoisePhase(settings.frame_length, settings.hop_length)
    right = octave = 0
    for pitch_class in asked:
        for frame in decode(network, latents, pitch_class):
            note = sounding_note(held(frame, phase, settings), settings.sample_rate)
            away = note - pitch_class
            right += abs((away + 6) % 12 - 6) < 0.5
            octave += folded and abs(away - 12 * (settings.fold or 0) - 12) < 0.5
    notes = len(latents) * len(asked)
    return {"notes": notes, "pitch_class": right / notes, "octave": octave / notes if folded else None}


def held(frame: Array, phase: NoisePhase, settings: ChromaFrames) -> Array:
    """Sustain a frame for `SECONDS`, without the edges, [samples]."""
    length, hop = settings.frame_length, settings.hop_length
    count = round(SECONDS * settings.sample_rate / hop) + length // hop
    spectra = phase.apply(np.repeat(frame[None], count, 0), [phase.start_state()] * count)
    sound = overlap_add(np.fft.irfft(spectra) * window("hann", length), hop)
    return sound[length - hop : (count - 1) * hop + hop]
