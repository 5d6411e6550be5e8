"""Corrects octave errors of measured pitch by file names and partials that only the lower note has.

Names number octaves differently, or contain key numbers; the convention of most files counts. With faint odd partials,
half a period repeats as well.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath

import numpy as np

from ...host.units import midi_to_hz, note_name
from .file_names import ACCIDENTALS, ANOTHER, NOTE, class_distance, named_class
from .inharmonicity import spectrum_db, steady
from .pitch import Samples, single_note
from .store import Writer

SYLLABLES = {"do": 0, "ut": 0, "re": 2, "ré": 2, "mi": 4, "fa": 5, "sol": 7, "la": 9, "si": 11, "ti": 11}
SYLLABLE = re.compile(r"(?<![a-zé0-9])(do|ut|re|ré|mi|fa|sol|la|si|ti)([#♯s♭b]?)(-?[0-9])(?![a-z0-9])", re.IGNORECASE)
LETTER = re.compile(NOTE.pattern.replace("[0-9]", "(-?[0-9])"), re.IGNORECASE)
NUMBER = re.compile(r"(?<![0-9.])([0-9]{2,3})(?![0-9.])")
KEYS = range(21, 109)  # of a piano: other numbers are takes
FEWEST, AGREE = 4, 0.75  # files with such a name, and the share of them whose sound must agree
CLEAR_DB, LOUD_DB = 12.0, -45.0  # over the surrounding level, and under the highest partial; fainter peaks do not count
ODD = 3  # partials of the lower note alone that decide for it
LOOKED_AT = 6


def letters(stem: str) -> Iterator[int]:
    for letter, sign, octave in LETTER.findall(stem):
        yield 12 * (int(octave) + 1) + named_class(letter, sign)


def syllables(stem: str) -> Iterator[int]:
    for syllable, sign, octave in SYLLABLE.findall(stem):
        yield 12 * (int(octave) + 1) + SYLLABLES[syllable.lower()] + ACCIDENTALS[sign.lower()]


def _numbers(stem: str) -> Iterator[int]:
    yield from (number for text in NUMBER.findall(stem) if (number := int(text)) in KEYS)


CONVENTIONS: tuple[Callable[[str], Iterator[int]], ...] = (letters, syllables, _numbers)


def settle_octaves(writer: Writer) -> None:
    # A melody's name is none of its notes', and a sampler's key is surer.
    named = [clip for clip in writer.clips if clip.onset_seconds is None and clip.key is None]
    heard = {clip.name: note for clip in named if (note := single_note(writer.pitch(clip))) is not None}
    clips = {clip.name: clip for clip in named}
    for name, octaves in _otherwise(heard).items():
        clip = clips[name]
        note, asked = heard[name], heard[name] + 12 * octaves
        low, high = sorted((note, asked))
        right = low if _has_lower(writer.samples(clip), writer.rate, low, high) else high
        if right == asked:
            writer.retune(clip, 12.0 * octaves)
            writer.report.corrected[name] = f"{note_name(round(asked))}, heard as {note_name(round(note))}"
        else:
            writer.report.misnamed[name] = f"{note_name(round(note))} is heard"


def _otherwise(heard: Mapping[str, float]) -> dict[str, int]:
    for convention in CONVENTIONS:
        named = {name: [*convention(PurePath(name).stem)] for name in heard}
        named = {name: notes for name, notes in named.items() if notes}
        nearest = {name: _nearest(notes, heard[name]) for name, notes in named.items()}
        alike = {name: note for name, note in nearest.items() if class_distance(note, heard[name]) < ANOTHER}
        if len(named) < FEWEST or len(alike) < AGREE * len(named):
            continue
        octaves = {name: round((heard[name] - note) / 12) for name, note in alike.items()}
        usual = round(float(np.median(list(octaves.values()))))
        return {name: usual - octave for name, octave in octaves.items() if octave != usual}
    return {}


def _nearest(notes: Sequence[int], heard: float) -> int:
    return min(notes, key=lambda note: class_distance(note, heard))


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
