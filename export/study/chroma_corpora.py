"""Corpora of the chroma study: selects one of equal velocities, and compares chroma with the pitch track."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from ...host.arrays import Array
from ...host.signal import chroma
from ...host.units import hz_to_midi
from ...train.corpus.clip_table import SPLITS, Clip
from ...train.corpus.store import Corpus, writing
from ...train.families.chroma.data import moved_frame
from ...train.families.chroma.recipe import ChromaFrames
from ...train.frames import sources
from ...train.sampling import random_indices
from ..reports.report import SEED, Figures

COPY_DB = -40.0  # of a waveform beside another one at the best gain: rounding to 16 bits leaves less, other takes more
LOW_HZ = 180.0  # below it, semitones are less apart than the 10.8 Hz of a bin of 4096 samples at 44.1 kHz
MOST_FRAMES = 4096  # shares to a percent
AGREEMENT_ROWS = 1024  # of spectra at a time: 8 MB


def has_copies(corpus: Corpus) -> bool:
    """Return whether clips of several velocities are copies, at other levels, wherever a note has several."""
    velocities = [clips for clips in _clips_by_note(corpus).values() if len(clips) > 1]
    return bool(velocities) and all(
        _difference_db(corpus.samples(clips[-1]), corpus.samples(clip)) <= COPY_DB
        for clips in velocities
        for clip in clips[:-1]
    )


def write_loudest(corpus: Corpus, folder: Path) -> Corpus:
    """Write the loudest velocity of each note as a corpus into a new folder, if there is none; return it.

    Raises:
        UserError, Failure: as `host.files.building_folder`.
    """
    if not folder.exists():
        clips = [clips[-1] for clips in _clips_by_note(corpus).values()]
        folder.parent.mkdir(parents=True, exist_ok=True)
        with writing(folder, corpus.rate) as writer:
            for clip in clips:
                writer.append(
                    corpus.samples(clip),
                    corpus.pitch(clip),
                    name=clip.name,
                    group=clip.group,
                    label=clip.label,
                    key=clip.key,
                    program=clip.program,
                    velocity=clip.velocity,
                    held_seconds=clip.held_seconds,
                )
            writer.finish({clip.name: clip.split for clip in clips}, name=corpus.name, licence=corpus.licence)
    return Corpus.open(folder)


def _clips_by_note(corpus: Corpus) -> dict[tuple[str, int | None, int | None], list[Clip]]:
    """Return clips by label, program and key, by ascending velocity; those without key or velocity by name."""
    clips_by_note = defaultdict(list)
    for clip in corpus.clips():
        is_note = clip.key is not None and clip.velocity is not None
        clips_by_note[(clip.label if is_note else clip.name), clip.program, clip.key].append(clip)
    return {note: sorted(clips, key=lambda clip: clip.velocity or 0) for note, clips in clips_by_note.items()}


def _difference_db(reference: Array, samples: Array) -> float:
    """Return the energy of samples beside the reference at the gain that fits best, over their energy."""
    if len(reference) != len(samples):
        return 0.0
    reference, samples = reference.astype(np.float64), samples.astype(np.float64)
    energy = max(float(samples @ samples), 1e-12)
    residual = samples - reference * (reference @ samples) / max(float(reference @ reference), 1e-12)
    return 10 * float(np.log10(max(float(residual @ residual) / energy, 1e-12)))


def chroma_agreement(corpus: Corpus, settings: ChromaFrames) -> Figures:
    """Return how often the strongest chroma bin of a pitched frame has the pitch class of the pitch track.

    ``low`` is the share below `LOW_HZ`; None without such frames. Shares are of random frames of all splits.
    """
    origins = [origin for split in SPLITS for origin in sources(corpus, split, settings, tonal=True)]
    rng = np.random.default_rng(SEED)
    origins = [origins[index] for index in random_indices(len(origins), MOST_FRAMES, rng)]
    notes = np.array([origin.note for origin in origins])
    agreements = []
    for start in range(0, len(origins), AGREEMENT_ROWS):
        batch = origins[start : start + AGREEMENT_ROWS]
        spectra = np.stack([moved_frame(corpus.samples(o.clip), o, o.note, settings) for o in batch])
        classes = chroma(spectra, settings.sample_rate, settings.frame_length).argmax(1)
        agreements.append(classes == np.round(notes[start : start + AGREEMENT_ROWS]).astype(np.int64) % 12)
    agrees, is_low = np.concatenate(agreements), notes < hz_to_midi(LOW_HZ)
    return {
        "frames": len(notes),
        "agrees": float(agrees.mean()),
        "low_frames": int(is_low.sum()),
        "low": float(agrees[is_low].mean()) if is_low.any() else None,
    }
