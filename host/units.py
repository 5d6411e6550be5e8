"""Conversions between musical units and signal units."""

import math

Range = tuple[float, float]  # the lowest and the highest value
INAUDIBLE_HZ = 20.0  # below this nothing is synthesized: no DC, no rumble
A4_HZ = 440.0
PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def midi_to_hz(note: float) -> float:
    """Frequency in Hz of a MIDI note number (69 is A4, 440 Hz; fractions are cents / 100)."""
    return float(A4_HZ * 2.0 ** ((note - 69.0) / 12.0))


def hz_to_midi(frequency_hz: float) -> float:
    """MIDI note number of a frequency in Hz (> 0)."""
    return 69.0 + 12.0 * math.log2(frequency_hz / A4_HZ)


def semitones_to_ratio(semitones: float) -> float:
    """Frequency ratio of an interval in semitones."""
    return float(2.0 ** (semitones / 12.0))


def db_to_gain(level_db: float) -> float:
    """Amplitude ratio of a level in dB."""
    return float(10.0 ** (level_db / 20.0))


def gain_to_db(gain: float) -> float:
    """Level in dB of an amplitude ratio; -inf for 0."""
    return 20.0 * math.log10(gain) if gain > 0 else -math.inf


def octave_of(note: int) -> int:
    """Octave of a MIDI note in scientific pitch notation: 60 is C4, so 4."""
    return note // 12 - 1


def note_name(note: int) -> str:
    """Scientific pitch name of a MIDI note: 60 is ``C4``."""
    return f"{PITCH_CLASSES[note % 12]}{octave_of(note)}"
