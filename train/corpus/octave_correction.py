"""Corrects octave errors of measured pitch by file names and partials that only the lower note has.

Names number octaves differently, or contain key numbers; the convention of most files counts. With faint odd partials,
half a period repeats as well.
"""

from collections.abc import Mapping

import numpy as np

from ...host.units import midi_to_hz, note_name
from .inharmonicity import spectrum_db, steady
from .note_names import best_reading, number_readings, root_reading, spelling_readings
from .pitch import Samples, single_note
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
