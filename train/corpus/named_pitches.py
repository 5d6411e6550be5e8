"""Takes the pitch of tones without a common period, bells and bars, from file names."""

from collections.abc import Iterator
from pathlib import PurePath

import numpy as np

from ...host.units import note_name
from .clip_table import Clip
from .file_names import ANOTHER, class_distance
from .inharmonicity import spectrum_db, steady
from .octave_correction import AGREE, FEWEST, letters, syllables
from .pitch import Samples, labelled_track, single_note
from .store import Writer

NAMED = 0.8  # of the clips have one note in their names
UNHEARD = 0.5  # of them have no pitch
TONE_DB = -20.0  # the flatness of a spectrum: peaks, not noise


def take_named_pitches(writer: Writer) -> None:
    """Give unpitched clips the notes of their names, where nearly all clips have one and most no pitch.

    Names number octaves from middle C, C4. Noises keep no pitch; nor does a folder whose pitches disagree.
    """
    clips = [clip for clip in writer.clips if clip.onset_seconds is None and clip.key is None]
    notes = next((found for found in _conventions(clips) if len(found) >= max(FEWEST, NAMED * len(clips))), {})
    if len(set(notes.values())) < max(FEWEST, len(notes) / 2):
        return
    heard = {clip.name: single_note(writer.pitch(clip)) for clip in clips if clip.name in notes}
    agreeing = [class_distance(notes[name], note) < ANOTHER for name, note in heard.items() if note is not None]
    if len(agreeing) > UNHEARD * len(heard) or sum(agreeing) < AGREE * len(agreeing):
        return
    for clip in clips:
        if clip.name in notes and heard[clip.name] is None and _is_tone(writer.samples(clip), writer.rate):
            writer.set_pitch(clip, labelled_track(writer.samples(clip), writer.rate, notes[clip.name]))
            writer.report.named[clip.name] = note_name(notes[clip.name])


def _conventions(clips: list[Clip]) -> Iterator[dict[str, int]]:
    for convention in (letters, syllables):
        found = {clip.name: [*convention(PurePath(clip.name).stem)] for clip in clips}
        yield {name: notes[0] for name, notes in found.items() if len(notes) == 1 and 0 <= notes[0] <= 127}


def _is_tone(samples: Samples, rate: int) -> bool:
    part = steady(samples, rate)
    if part is None:
        return False
    levels = spectrum_db(part)
    return float(levels.mean() - 10 * np.log10(np.mean(10 ** (levels / 10)))) < TONE_DB
