"""Conversions between musical units and signal units."""

import math

Range = tuple[float, float]  # the lowest and the highest value
INAUDIBLE_HZ = 20.0  # below this nothing is synthesized: no DC, no rumble
A4_HZ = 440.0
MIDDLE_C = 60  # plays sounds without chroma untransposed
PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def midi_to_hz(note: float) -> float:
    return float(A4_HZ * 2.0 ** ((note - 69.0) / 12.0))


def hz_to_midi(frequency_hz: float) -> float:
    return 69.0 + 12.0 * math.log2(frequency_hz / A4_HZ)


def semitones_to_ratio(semitones: float) -> float:
    return float(2.0 ** (semitones / 12.0))


def db_to_gain(level_db: float) -> float:
    return float(10.0 ** (level_db / 20.0))


def gain_to_db(gain: float) -> float:
    return 20.0 * math.log10(gain) if gain > 0 else -math.inf


def octave_of(note: int) -> int:
    """4 for 60, middle C."""
    return note // 12 - 1


def note_name(note: int) -> str:
    """``C4`` for 60."""
    return f"{PITCH_CLASSES[note % 12]}{octave_of(note)}"
