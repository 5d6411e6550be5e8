"""Pitch of tones from file names and root keys: octave errors, and tones without a common period.

The period of a bell's partials may lie two octaves and more below its note, or be none.

Names number octaves differently, or contain key numbers; the convention of most files counts. With faint odd partials,
half a period repeats as well.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from ...host.units import midi_to_hz, note_name
from ..sampling import thinned
from .clip_table import Clip
from .file_names import best_reading, class_distance, number_readings, root_reading, spelling_readings, velocities
from .inharmonicity import spectrum_db, steady
from .note_segmentation import is_melody, segment_notes
from .pitch import DETUNED, Samples, single_note, track_at_key
from .store import Writer

FEWEST, AGREE = 4, 0.75  # files with a note in their names, and the share of them whose sound must agree
CLEAR_DB, LOUD_DB = 12.0, -45.0  # over the surrounding level, and under the highest partial; fainter peaks do not count
ODD = 3  # partials of the lower note alone that decide for it
LOOKED_AT = 6


def settle_octaves(writer: Writer, roots: Mapping[str, int]) -> None:
    """Correct octaves by root keys, ``roots`` by clip name, or by names; report notes that names contradict."""
    played = [clip for clip in writer.clips if clip.onset_seconds is None]  # a melody's name is none of its notes'
    pitches = {clip.name: note for clip in played if (note := single_note(writer.pitch(clip))) is not None}
    writer.report.misnamed |= contradictions(pitches)
    clips = {clip.name: clip for clip in played if clip.key is None}  # a sampler's key is surer
    heard = {name: note for name, note in pitches.items() if name in clips}
    for name, octaves in _otherwise(heard, roots).items():
        clip = clips[name]
        note, asked = heard[name], heard[name] + 12 * octaves
        low, high = sorted((note, asked))
        right = low if _has_lower(writer.samples(clip), writer.rate, low, high) else high
        if right == asked:
            writer.retune(clip, 12.0 * octaves)
            writer.report.corrected[name] = f"{note_name(round(asked))}, heard as {note_name(round(note))}"
        else:
            writer.report.misnamed[name] = f"{note_name(round(note))} is heard"


def contradictions(heard: Mapping[str, float]) -> dict[str, str]:
    """Describe measured notes, by file name, whose names have only notes of other pitch classes."""
    reading = best_reading(spelling_readings(heard), heard)
    agreeing = reading.agreeing_notes(heard) if reading else {}
    return {
        name: f"{note_name(round(heard[name]))} is heard"
        for name in (reading.notes if reading else ())
        if name not in agreeing
    }


def _otherwise(heard: Mapping[str, float], roots: Mapping[str, int]) -> dict[str, int]:
    """Return the octaves from the measured to the named note, by name, where most names have other octaves."""
    for readings in ([root_reading(roots)], spelling_readings(heard), number_readings(heard)):
        reading = best_reading(readings, heard)
        alike = reading.agreeing_notes(heard) if reading else {}
        named = sum(name in heard for name in reading.notes) if reading else 0
        if named < FEWEST or len(alike) < AGREE * named:
            continue
        octaves = {name: round((heard[name] - note) / 12) for name, note in alike.items()}
        usual = round(float(np.median(list(octaves.values()))))
        return {name: usual - octave for name, octave in octaves.items() if octave != usual}
    return {}


def _has_lower(samples: Samples, rate: int, low: float, high: float) -> bool:
    part = steady(samples, rate)
    if part is None:
        return True
    length, levels = len(part), spectrum_db(part)
    first, times = midi_to_hz(low) * length / rate, 2 ** round((high - low) / 12)
    own = [number for number in range(1, times * LOOKED_AT) if number % times][: 2 * LOOKED_AT]
    found = 0
    for number in own:
        middle, near = number * first, max(2.0, number * first * 0.015)
        around = levels[max(0, round(middle - first / 3)) : round(middle + first / 3) + 1]
        peak = levels[max(0, round(middle - near)) : round(middle + near) + 1]
        if len(peak) and len(around):
            found += bool(peak.max() > max(np.median(around) + CLEAR_DB, levels.max() + LOUD_DB))
    return found >= ODD


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
