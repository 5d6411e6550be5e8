"""Plays a model through the host and listens: does each key sound its own note?"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from timbrel.host.events import Event, NoteOff, NoteOn
from timbrel.host.model.model import Model
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.preset.library import Patch
from timbrel.host.preset.preset import EnvelopeSettings, LatentSettings, PlaySettings, Preset
from timbrel.host.signal import sounding_note

Array = npt.NDArray[np.float32]

NOTE_SECONDS = 0.7  # noise phase needs this long to show its lines steadily
SETTLE_SECONDS = 0.1
HALF_SEMITONE = 0.5


@dataclass(frozen=True)
class Obedience:
    """Parts of rendered notes that sound the pitch class asked for, and that very note: 0 to 1."""

    pitch_class: float
    octave: float
    notes: int


def listen(model: Model, codes: Array | None = None, progress: Callable[[float], None] | None = None) -> Obedience:
    """Render twelve keys of the model's octave at each code, and find the note that each sounds.

    They are played with stored noise phases, which leave each frame its own pitch: the coherent voice puts harmonics
    that are nearly right where the key wants them, and would flatter a model whose keys are not obeyed.

    Args:
        codes: [codes, n_latents]; None means 32 landmarks, spread over the corpus.
    """
    card = model.card
    if codes is None:
        marks = card.landmarks[:: max(1, len(card.landmarks) // 32)]
        codes = np.array([mark.latent for mark in marks], np.float32)
    lowest = 12 * ((card.chroma.octave if card.chroma else 4) + 1)
    right_class = right_note = 0
    for index, code in enumerate(codes):
        for key, note in zip(range(lowest, lowest + 12), _notes(model, code, lowest), strict=True):
            away = note - key
            right_class += abs((away + 6) % 12 - 6) < HALF_SEMITONE
            right_note += abs(away) < HALF_SEMITONE
        if progress is not None:
            progress((index + 1) / len(codes))
    total = 12 * len(codes)
    return Obedience(right_class / total, right_note / total, total)


def _notes(model: Model, code: Array, lowest: int) -> list[float]:
    """Return the notes that twelve keys sound at one code."""
    rate = model.card.sample_rate
    preset = Preset(
        format=1,
        model=str(model.path),
        latent=LatentSettings(values=[float(v) for v in code]),
        play=PlaySettings(phase="noise"),
        envelope=EnvelopeSettings(attack_seconds=0.0, release_seconds=0.0),
    )
    instrument = ChannelInstrument(Patch("measured", preset, model, Path()), rate)
    length, settle = round(NOTE_SECONDS * rate), round(SETTLE_SECONDS * rate)
    notes = []
    for step in range(12):
        start = step * length
        events: list[Event] = [NoteOn(start, 0, lowest + step, 100), NoteOff(start + length - settle, 0, lowest + step)]
        sound = instrument.process(events, length).sum(0)
        notes.append(sounding_note(sound[settle : length - settle], rate))
    return notes
