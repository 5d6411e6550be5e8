"""Recordings in a model's file: which of them, cut, as FLAC, and their levels where knobs move."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ..host.arrays import Array, Indices
from ..host.audio.sound_files import flac_bytes
from ..host.engines.clip.recorded import RecordedClips
from ..host.engines.clip.recorded_path import band_levels_db, sounds_on_path
from ..host.kinds.card_fields import MOST_RECORDINGS, UNKNOWN_LICENCE, Recording
from ..host.model.card import Card
from ..host.model.model import Model
from ..host.model.recordings import MOST_SECONDS
from ..host.signal import medoid
from ..host.units import gain_to_db
from .onnx_to_torch import RebuiltDecoder

MOST_BYTES = 20_000_000  # of FLAC in a file
SILENT_DB = -60.0  # below a recording's peak: its end
FADE_SECONDS = 0.005  # after it
FULL_SCALE = 1 << 15  # steps of 16-bit samples
PEAK = 0.99  # of recordings that are not 16-bit samples
ROUNDING = 1e-3  # of a step: within it, samples are 16-bit

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordedClip:
    """A training clip with its code, [n_latents]; ``sound`` and ``velocity`` as in `Recording`.

    ``sides`` returns its samples, [channels, samples], with 1 or 2 channels; ``gain`` brings them to the level of
    decoded clips.
    """

    name: str
    label: str
    sound: str
    velocity: int | None
    code: Array
    sides: Callable[[], Array]
    gain: float


def packed(clips: Sequence[RecordedClip], rate: int) -> tuple[list[Recording], list[bytes]]:
    """Return the card's recordings and their FLAC files, as many as fit; a warning counts the others.

    The medoids of labels come first, as kits play them.
    """
    recordings: list[Recording] = []
    flacs: list[bytes] = []
    byte_count = 0
    first = medoids(clips)
    first_names = {clip.name for clip in first}
    ordered_clips = first + [clip for clip in clips if clip.name not in first_names]
    for clip in ordered_clips[:MOST_RECORDINGS]:
        samples, gain = _as_16_bit(_cut(clip.sides(), rate))
        flac = flac_bytes(samples, rate)
        byte_count += len(flac)
        if byte_count > MOST_BYTES:
            break
        recordings.append(
            Recording(
                name=clip.name,
                label=clip.label,
                sound=clip.sound,
                velocity=clip.velocity,
                latent=[round(float(value), 5) for value in clip.code],
                gain_db=round(gain_to_db(clip.gain * gain), 3),
                sha256=hashlib.sha256(flac).hexdigest(),
            )
        )
        flacs.append(flac)
    if len(recordings) < len(clips):
        log.warning(
            "%d of %d recordings are in the file, %d MB at most; the others are played by the network alone",
            len(recordings),
            len(clips),
            MOST_BYTES // 1_000_000,
        )
    return recordings, flacs


def with_path_levels(model: Model) -> list[Recording]:
    """Return the recordings of a model's card with their levels on the path of `timbrel verify`.

    They are computed by the decoder that torch rebuilds of the file; `timbrel verify` decodes by onnxruntime.
    """
    card = model.card
    if model.recordings is None:
        return []
    rebuilt_decoder, recordings = RebuiltDecoder(model).eval(), []

    def decode(codes: Array, conditions: Indices) -> Array:
        inputs = codes, *model.condition_inputs(conditions).values()
        frames: Array = rebuilt_decoder(*map(torch.from_numpy, inputs)).numpy()
        return frames

    clips = RecordedClips(model)
    with torch.no_grad():
        for index, recording in enumerate(card.recordings):
            _, *path_sounds = sounds_on_path(clips, card, index, decode)
            levels_db = np.round([band_levels_db(sound, card.sample_rate) for sound in path_sounds], 2).tolist()
            recordings.append(recording.model_copy(update={"path_levels_db": levels_db}))
    return recordings


def holding(card: Card) -> str:
    """Return a line for who passes the model on."""
    count = len(card.recordings)
    noun = "recording" if count == 1 else "recordings"
    licence = card.license if card.license != UNKNOWN_LICENCE else "none is stated"
    return f"it contains the {count} {noun} it learned from (licence: {licence}); --no-recordings leaves them out"


def medoids(clips: Sequence[RecordedClip]) -> list[RecordedClip]:
    """Return the clip in the middle of each label, by labels in order; none without labels."""
    found = []
    for label in sorted({clip.label for clip in clips} - {""}):
        labelled = [clip for clip in clips if clip.label == label]
        found.append(labelled[medoid(np.array([clip.code for clip in labelled], np.float64))])
    return found


def _cut(sides: Array, rate: int) -> Array:
    """Return the sound until it is 60 dB below its peak, `MOST_SECONDS` at most, faded out where it is cut."""
    fade_length = round(FADE_SECONDS * rate)
    peaks = np.abs(sides).max(0)
    loud_samples = np.flatnonzero(peaks > peaks.max() * 10 ** (SILENT_DB / 20))
    end_sample = min(int(loud_samples[-1]) + 1 + fade_length, round(MOST_SECONDS * rate))
    if end_sample >= sides.shape[1]:
        return sides
    cut = sides[:, :end_sample].copy()
    faded = cut[:, -fade_length:]
    faded *= np.linspace(1, 0, faded.shape[1], dtype=np.float32)
    return cut


def _as_16_bit(sides: npt.NDArray[np.float32]) -> tuple[Array, float]:
    """Return samples that 16 bits hold, and the gain back to their level: 16-bit samples as they are."""
    steps, peak = sides * FULL_SCALE, float(np.abs(sides).max())
    if peak < 1 and np.abs(steps - np.rint(steps)).max() < ROUNDING:
        return sides, 1.0
    return sides * np.float32(PEAK / max(peak, 1e-9)), max(peak, 1e-9) / PEAK
