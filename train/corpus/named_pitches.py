"""Takes the pitch of tones without a common period, bells and bars, from file names and root keys.

The period of a bell's partials may lie two octaves and more below its note, or be none.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from ...host.units import midi_to_hz, note_name
from ..sampling import thinned
from .clip_table import Clip
from .inharmonicity import spectrum_db, steady
from .named_levels import velocities
from .note_names import best_reading, class_distance, number_readings, root_reading, spelling_readings
from .note_segmentation import is_melody, segment_notes
from .octave_correction import AGREE, FEWEST
from .pitch import DETUNED, Samples, single_note, track_at_key
from .store import Writer

NAMED = 0.8  # of the clips have one note in their names
HARMONIC = 0.5  # of them have a pitch that their partials confirm; of bells, less
TONE_DB = -20.0  # the flatness of a spectrum: peaks, not noise
MOST_MELODIES = 20  # of unsure clips, evenly spaced, that are cut into notes: a second each
MELODIC = 1 / 3  # of these; phrases beside trills and glides have .4, bells .3 at most
MOST_CLIPS = 160  # of a folder, evenly spaced, whose partials are measured: shares to a part in ten
PEAK_DB = -30.0  # under the highest peak of a spectrum: fainter ones do not confirm a pitch
NEAR_CENTS, NEAR_BINS = 20.0, 2.0  # from a multiple of the pitch, the wider of both; stiff strings rise by so much
LOW_PARTIALS = 2  # one of them is loud in notes; bells seem to have a low pitch without
CONFIRMED = 0.5  # of the power of all peaks lies on multiples: a flute has .9, tubular bells .2


def take_named_pitches(writer: Writer, roots: Mapping[str, int]) -> None:
    """Give clips without a sure pitch the notes of their names, where nearly all have one and most pitches are unsure.

    A clip's ``roots``, by name, come before its name. Names number octaves from middle C, C4, or C3 where measured
    pitches say so. Noises keep no pitch; melodies, and folders whose sure pitches contradict their names, keep theirs.
    """
    clips = [clip for clip in writer.clips if clip.onset_seconds is None and clip.key is None]
    notes = next(_notes([clip.name for clip in clips], roots), {})
    named_clips = [clip for clip in clips if clip.name in notes]
    pitches = {clip.name: single_note(writer.pitch(clip)) for clip in named_clips}
    if not _are_bells(writer, thinned(named_clips, MOST_CLIPS), notes, pitches):
        return
    octaves = _octaves(notes, pitches)
    for clip in named_clips:
        pitch, key = pitches[clip.name], notes[clip.name] + 12 * octaves
        if pitch is not None and abs(pitch - key) < DETUNED:
            continue
        samples = writer.samples(clip)
        if _is_tone(samples, writer.rate) and (_agrees(key, pitch) or not _is_confirmed(samples, writer.rate, pitch)):
            writer.set_pitch(clip, track_at_key(writer.pitch(clip), samples, writer.rate, key))
            writer.report.named[clip.name] = note_name(key)


def _are_bells(
    writer: Writer, clips: list[Clip], notes: Mapping[str, int], pitches: Mapping[str, float | None]
) -> bool:
    """Whether partials confirm few pitches of clips, contradict few names, and few clips are melodies."""
    confirmed = [_is_confirmed(writer.samples(clip), writer.rate, pitches[clip.name]) for clip in clips]
    contradictions = sum(
        sure and not _agrees(notes[clip.name], pitches[clip.name]) for clip, sure in zip(clips, confirmed, strict=True)
    )
    if not clips or sum(confirmed) > HARMONIC * len(clips) or contradictions > (1 - AGREE) * len(clips):
        return False
    others = thinned([clip for clip, sure in zip(clips, confirmed, strict=True) if not sure], MOST_MELODIES)
    melodies = sum(_is_harmonic_melody(writer.samples(clip), writer.pitch(clip), writer.rate) for clip in others)
    return melodies <= MELODIC * len(others)


def _agrees(key: int, pitch: float | None) -> bool:
    return pitch is not None and class_distance(key, pitch) < DETUNED


def _notes(names: list[str], roots: Mapping[str, int]) -> Iterator[dict[str, int]]:
    levels = velocities(names)
    counts = Counter(levels.get(name) for name in names)
    usual_level = max(counts, key=counts.__getitem__, default=None)
    sure_numbers = [reading for reading in number_readings(names) if reading.sure]
    clip_roots = {name: roots[name] for name in names if name in roots}
    for readings in ([root_reading(clip_roots)], spelling_readings(names), sure_numbers):
        reading = best_reading(readings, {})
        notes = reading.single_notes() if reading else {}
        takes = sum(levels.get(name) == usual_level for name in notes)  # of phrases, many begin with one note
        if len(notes) >= NAMED * len(names) and len(set(notes.values())) >= max(FEWEST, takes / 2):
            yield notes


def _octaves(notes: Mapping[str, int], pitches: Mapping[str, float | None]) -> int:
    """Return the octaves from names to sounds: 1 where middle C is C3. Bells' pitches are never measured too high."""
    octaves = [
        round((pitch - notes[name]) / 12)
        for name, pitch in pitches.items()
        if pitch is not None and _agrees(notes[name], pitch)
    ]
    pitched = sum(pitch is not None for pitch in pitches.values())
    return int(len(octaves) >= max(FEWEST, AGREE * pitched) and float(np.median(octaves)) == 1)


def _is_tone(samples: Samples, rate: int) -> bool:
    part = steady(samples, rate)
    if part is None:
        return False
    levels = spectrum_db(part)
    return float(levels.mean() - 10 * np.log10(np.mean(10 ** (levels / 10)))) < TONE_DB


def _is_harmonic_melody(samples: Samples, track: Samples, rate: int) -> bool:
    """Whether a clip is a melody, and no bell whose period jumps: its longest note is confirmed."""
    if not is_melody(samples, track, rate):
        return False
    longest = max(segment_notes(samples, rate), key=lambda note: note.stop - note.start)
    return _is_confirmed(samples[longest.start : longest.stop], rate, longest.pitch)


def _is_confirmed(samples: Samples, rate: int, pitch: float | None) -> bool:
    """Whether loud peaks of a spectrum lie on multiples of the measured pitch, and one is a low partial."""
    if pitch is None:
        return False
    part = steady(samples, rate)
    if part is None:
        return True
    levels, first = spectrum_db(part), midi_to_hz(pitch) * len(part) / rate
    middle = levels[1:-1]
    loud = (middle > levels[:-2]) & (middle >= levels[2:]) & (middle > levels.max() + PEAK_DB)
    bins = np.flatnonzero(loud) + 1
    partials = np.maximum(np.round(bins / first), 1)
    near = np.maximum(NEAR_BINS, partials * first * (2 ** (NEAR_CENTS / 1200) - 1))
    fits = np.abs(bins - partials * first) < near
    power = 10 ** (levels[bins] / 10)
    return bool(power[fits].sum() >= CONFIRMED * power.sum() and (partials[fits] <= LOW_PARTIALS).any())
