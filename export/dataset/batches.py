"""Renders batches of a data set's notes to sounds and labels."""

import functools
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ... import __version__
from ...host.arrays import Array
from ...host.audio.sound_files import flac_bytes, float_wav_bytes
from ...host.errors import Failure, UserError
from ...host.patch.collected_files import beside
from ...host.patch.library import Patch, open_patch
from ...host.play.separate_notes import render_notes
from ...host.shipped import shipped_models, shipped_presets
from ...host.units import gain_to_db
from .drawing import DatasetPreset, DrawnNote, draw
from .loudness import loudness_lufs
from .settings import BATCH, DatasetSettings

ALLOCATED = (32 << 20) - (1 << 16)  # bytes, just below the largest that glibc ever keeps when it is freed
FADE_SECONDS = 0.005  # at the end of a file, where a note may still sound
SILENT_DB = -120.0
A4_HZ, A4_KEY = 440.0, 69


class Member(NamedTuple):
    name: str
    data: bytes


class Job(NamedTuple):
    """Everything to render any batch, in plain values, so that it travels.

    ``digests``: of presets with models and other files. ``settings``: of `DatasetSettings`, as JSON.
    """

    presets: tuple[str, ...]
    digests: tuple[str, ...]
    settings: str
    notes: int
    version: str

    @classmethod
    def of(cls, names: Sequence[str], patches: Sequence[Patch], settings: DatasetSettings, notes: int) -> "Job":
        files = {*shipped_presets(), *shipped_models()}
        placed = [name if name in files or not Path(name).exists() else str(Path(name).absolute()) for name in names]
        digests = tuple(_digest(patch) for patch in patches)
        return cls(tuple(placed), digests, settings.model_dump_json(), notes, __version__)

    @property
    def batches(self) -> int:
        return -(-self.notes // BATCH)


def _digest(patch: Patch) -> str:
    files = {name: hashlib.sha256(data).hexdigest() for name, data in beside(patch)}
    return hashlib.sha256(json.dumps([patch.digest, files], sort_keys=True).encode()).hexdigest()


def render_batch(job: Job, number: int) -> list[Member]:
    """Return the files of a batch's notes, in their order.

    Raises:
        UserError: this process has another timbrel, model or preset.
        Failure: a sound is not finite.
    """
    presets, settings = _opened(job)
    first = number * BATCH
    drawn = [draw(one, presets, settings) for one in range(first, min(first + BATCH, job.notes))]
    members: dict[int, list[Member]] = {}
    for which in sorted({note.preset for note in drawn}):
        own = [note for note in drawn if note.preset == which]
        length = round(settings.seconds * settings.sample_rate)
        sounds = render_notes(presets[which].patch, [note.note for note in own], length, settings.sample_rate)
        for place, sound in sounds:
            note = own[place]
            samples = _placed(sound.samples, note.onset_samples, settings)
            labels = _labels(note, presets[which].patch, sound.pitch, samples, settings)
            members[note.number] = list(_members(note.number, samples, labels, settings))
    return [member for note in drawn for member in members[note.number]]


@functools.lru_cache(maxsize=2)
def _opened(job: Job) -> tuple[list[DatasetPreset], DatasetSettings]:
    np.empty(ALLOCATED, np.uint8)  # once freed, glibc keeps smaller arrays for reuse: a fifth of the time otherwise
    if job.version != __version__:
        raise UserError(f"timbrel {__version__} cannot go on with the notes of {job.version}; install the same version")
    settings = DatasetSettings.model_validate_json(job.settings)
    presets = []
    for name, digest in zip(job.presets, job.digests, strict=True):
        patch = open_patch(name)
        if _digest(patch) != digest:
            raise UserError(f"{name} is another preset or model here than at the start; give all machines the same")
        presets.append(DatasetPreset(patch, settings))
    return presets, settings


def _placed(sound: Array, onset: int, settings: DatasetSettings) -> Array:
    length = sound.shape[1]
    placed = np.zeros((2 if settings.stereo else 1, length), np.float32)
    placed[:, onset:] = (sound if settings.stereo else sound.mean(axis=0, keepdims=True))[:, : length - onset]
    fade = round(FADE_SECONDS * settings.sample_rate)
    placed[:, length - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return placed


def _labels(note: DrawnNote, patch: Patch, pitch: float, samples: Array, settings: DatasetSettings) -> dict[str, Any]:
    if not np.isfinite(samples).all():
        raise Failure(f"note {note.number} of {patch.name} is not finite; leave out the knobs that lead there")
    loud = loudness_lufs(samples, settings.sample_rate)
    keyed = patch.model.card.keyed and math.isfinite(pitch)
    labels: dict[str, Any] = {
        "number": note.number,
        "preset": patch.name,
        "model_sha256": patch.model.sha256,
        "key": note.note.key,
        "pitch_hz": round(A4_HZ * 2 ** ((pitch - A4_KEY) / 12), 4) if keyed else None,
        "velocity": note.note.velocity,
        "onset_seconds": round(note.onset_samples / settings.sample_rate, 6),
        "held_seconds": round(note.note.held_seconds, 6),
        "sample_rate": settings.sample_rate,
        "latents": _code(note, patch),
        "loudness_lufs": None if loud is None else round(loud, 2),
        "peak_dbfs": round(max(gain_to_db(float(np.abs(samples).max())), SILENT_DB), 2),
    }
    if (own := next((entry.label for entry in patch.preset.keys if entry.key == note.note.key), None)) is not None:
        labels["label"] = own
    if note.landmark is not None:
        labels["landmark"] = note.landmark
    if note.positions:
        labels["knobs"] = {name: round(position, 6) for name, position in note.positions.items()}
    return labels


def _code(note: DrawnNote, patch: Patch) -> list[float] | None:
    """Before macros, morph, motion and gesture; None for kits, whose keys have own codes."""
    if patch.preset.keys:
        return None
    rest = patch.preset.latent_values(patch.model.card)
    return [round(note.note.knobs.get(f"latent.{place}", value), 6) for place, value in enumerate(rest)]


def _members(number: int, samples: Array, labels: dict[str, Any], settings: DatasetSettings) -> Iterator[Member]:
    name = f"{number:09d}"
    if settings.as_float:
        yield Member(f"{name}.wav", float_wav_bytes(samples, settings.sample_rate))
    else:
        yield Member(f"{name}.flac", flac_bytes(samples, settings.sample_rate))
    yield Member(f"{name}.json", json.dumps(labels, ensure_ascii=False).encode())
