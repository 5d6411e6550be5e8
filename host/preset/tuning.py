"""Tuning: pitches of MIDI keys in equal temperament or by Scala scales (.scl) and keyboard maps (.kbm).

Formats by Manuel Op de Coul: "Scala scale file format" and "Keyboard mappings" in Scala's help
(huygens-fokker.org/scala).
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ..errors import UserError
from ..files import as_on_disk
from ..units import A4_HZ, hz_to_midi
from .preset import TuningSettings

KEYS = range(128)
FIRST_KEY = 60  # degree 0 of a scale without a keyboard map
LOWEST_HZ, HIGHEST_HZ = 1.0, 30_000.0  # inaudible beyond
MOST_CENTS = 120_000.0  # of one note of a scale: 100 octaves, far beyond hearing
LONGEST_FILE = 1 << 20  # bytes; the longest scale of Scala's archive has 100 000
EXCERPT_LENGTH = 40  # characters of an invalid word in a message

# Compiled on the first file read: most presets have no Scala files, and rendering should start fast.
CENTS = r"[+-]?(\d+\.\d*|\.\d+)"
RATIO = r"(\d{1,300})(?:/(\d{1,300}))?"
WHOLE = r"\d{1,9}"
HERTZ = r"(\d+(\.\d*)?|\.\d+)"


def tuned_keys(
    settings: TuningSettings, folder: Path, files: Mapping[str, bytes] = MappingProxyType({})
) -> dict[int, float]:
    """Pitch of each playable MIDI key, in equal-tempered semitones, 69 is 440 Hz.

    Without unmapped keys, and those below 1 Hz or above 30 kHz.

    Raises:
        UserError: a file cannot be read or parsed (with its line), or no key is playable.
    """
    concert_semitones = hz_to_midi(settings.a4_hz) - hz_to_midi(A4_HZ)  # semitones above 440 Hz
    if settings.scale is None:
        return {key: key + concert_semitones for key in KEYS}
    path = as_on_disk(folder / settings.scale)
    scale = read_scale(path, files.get(settings.scale))
    if settings.keymap is None:
        pitch_by_key = {key: FIRST_KEY + concert_semitones + scale.pitch(key - FIRST_KEY) for key in KEYS}
    else:
        path = as_on_disk(folder / settings.keymap)
        pitch_by_key = read_keymap(path, files.get(settings.keymap)).tune(scale)
    lowest_pitch, highest_pitch = hz_to_midi(LOWEST_HZ), hz_to_midi(HIGHEST_HZ)
    audible_pitches = {key: pitch for key, pitch in pitch_by_key.items() if lowest_pitch <= pitch <= highest_pitch}
    if not audible_pitches:
        raise UserError(f"{path}: no key is tuned to {LOWEST_HZ:g} to {HIGHEST_HZ:g} Hz, so none would sound")
    return audible_pitches


def pitch_of(key: float, tuning: Mapping[int, float]) -> float | None:
    """Pitch of a key, in semitones, 69 for 440 Hz; between two whole keys on the line that joins theirs.

    ``tuning``: pitches of playable keys. None if the key, or one of both neighbours, is not among them.
    """
    lower_key = math.floor(key)
    pitch = tuning.get(lower_key)
    if key == lower_key or pitch is None:
        return pitch
    upper_pitch = tuning.get(lower_key + 1)
    return None if upper_pitch is None else pitch + (key - lower_key) * (upper_pitch - pitch)


class Scale(NamedTuple):
    """Semitones above degree 0; it repeats at the last, not necessarily an octave."""

    notes: Sequence[float]

    def pitch(self, degree: int) -> float:
        repeat_count, scale_step = divmod(degree, len(self.notes))
        return repeat_count * self.notes[-1] + (self.notes[scale_step - 1] if scale_step else 0.0)


class Keymap(NamedTuple):
    """Scale degrees of keys, and the frequency of a reference key."""

    path: Path
    size: int  # keys to the next repeat of ``degrees``; 0: each key is the next degree
    first: int  # lowest key that plays
    last: int  # highest key that plays
    middle: int  # key of the first degree
    reference: int
    reference_hz: float
    octave: int  # degree that transposes each repeat; 0: the scale's last
    degrees: Sequence[int | None]  # of keys from ``middle`` up; None and missing ones are silent

    def tune(self, scale: Scale) -> dict[int, float]:
        """Pitch of each mapped key, in equal-tempered semitones.

        Raises:
            UserError: the reference key is not mapped.
        """
        reference_scale_pitch = self._pitch(self.reference, scale)
        if reference_scale_pitch is None:
            raise UserError(
                f"{self.path}: the reference key {self.reference} is not mapped, so {self.reference_hz:g} Hz tunes "
                "nothing; map it, or refer to a key that is"
            )
        scale_pitches = {key: self._pitch(key, scale) for key in range(self.first, self.last + 1)}
        reference_pitch = hz_to_midi(self.reference_hz)
        return {
            key: reference_pitch + (pitch - reference_scale_pitch)
            for key, pitch in scale_pitches.items()
            if pitch is not None
        }

    def _pitch(self, key: int, scale: Scale) -> float | None:
        """Semitones of a key above the first degree, None if not mapped."""
        if self.size == 0:
            return scale.pitch(key - self.middle)
        repeat_count, degree_index = divmod(key - self.middle, self.size)
        degree = self.degrees[degree_index] if degree_index < len(self.degrees) else None
        return (
            None
            if degree is None
            else repeat_count * scale.pitch(self.octave or len(scale.notes)) + scale.pitch(degree)
        )


def read_scale(path: Path, data: bytes | None = None) -> Scale:
    """Read a Scala scale, .scl, from a file or ``data``.

    Raises:
        UserError: unreadable, or an invalid line.
    """
    lines = _Lines(path, "scale", data)
    lines.next("a description", blank=True)
    note_count = lines.read_integer("the number of notes", 1, LONGEST_FILE)
    return Scale(
        [_note(lines, lines.next(f"note {note_number} of {note_count}")) for note_number in range(1, note_count + 1)]
    )


def read_keymap(path: Path, data: bytes | None = None) -> Keymap:
    """Read a Scala keyboard map, .kbm; arguments and errors as in `read_scale`."""
    lines, highest_number = _Lines(path, "keymap", data), 10**9 - 1
    map_size = lines.read_integer("the size of the map", 0, highest_number)
    first_key = lines.read_integer("the first key", 0, KEYS[-1])
    last_key = lines.read_integer("the last key", first_key, KEYS[-1])
    middle_key = lines.read_integer("the middle key", 0, KEYS[-1])
    reference_key = lines.read_integer("the reference key", 0, KEYS[-1])
    hertz_text = lines.next("the reference frequency")
    if not re.fullmatch(HERTZ, hertz_text) or not LOWEST_HZ <= float(hertz_text) <= HIGHEST_HZ:
        raise lines.fault(hertz_text, f"the reference frequency is {LOWEST_HZ:g} to {HIGHEST_HZ:g} Hz, such as 440.0")
    octave_degree = lines.read_integer("the degree of the formal octave", 0, highest_number)
    degrees: list[int | None] = []
    while len(degrees) < map_size and lines.has_words:
        degree_text = lines.next("a degree")
        if degree_text not in ("x", "X") and not re.fullmatch(WHOLE, degree_text):
            raise lines.fault(degree_text, "a key of the map is a degree, 0 or more, or x")
        degrees.append(int(degree_text) if re.fullmatch(WHOLE, degree_text) else None)
    return Keymap(
        path, map_size, first_key, last_key, middle_key, reference_key, float(hertz_text), octave_degree, degrees
    )


class _Lines:
    """The first word of each line, without comments."""

    def __init__(self, path: Path, key: str, data: bytes | None) -> None:
        data = self._read(path, key) if data is None else data
        if len(data) > LONGEST_FILE:
            raise UserError(f"tuning.{key}: {path} is longer than {LONGEST_FILE >> 20} MiB, so it is no Scala file")
        byte_lines = data.removeprefix(b"\xef\xbb\xbf").splitlines()  # UTF-8 byte order mark
        self._path, self._line = path, 0
        self._lines = [
            (line_number, byte_line)
            for line_number, byte_line in enumerate(byte_lines, 1)
            if not byte_line.startswith(b"!")
        ]
        self._lines.reverse()

    @staticmethod
    def _read(path: Path, key: str) -> bytes:
        if not path.is_file():
            raise UserError(f"tuning.{key}: {path} is no file; give a path relative to the preset")
        try:
            with path.open("rb") as file:
                return file.read(LONGEST_FILE + 1)
        except OSError as error:
            raise UserError(f"tuning.{key}: {path} cannot be read: {error.strerror or error}") from None

    @property
    def has_words(self) -> bool:
        return any(byte_line.split() for _, byte_line in reversed(self._lines))

    def next(self, expected: str, blank: bool = False) -> str:
        """First word of the next line that has one, or with ``blank`` of the next line, perhaps ""."""
        while self._lines:
            self._line, byte_line = self._lines.pop()
            words = byte_line.split(maxsplit=1)
            if words or blank:
                return words[0].decode("latin-1") if words else ""  # Scala specifies no encoding; values are ASCII
        raise UserError(f"{self._path}: the file ends before {expected}; write one value a line")

    def read_integer(self, quantity: str, low: int, high: int) -> int:
        word = self.next(quantity)
        if not re.fullmatch(WHOLE, word) or not low <= int(word) <= high:
            raise self.fault(word, f"{quantity} is a whole number, {low} to {high}")
        return int(word)

    def fault(self, word: str, allowed: str) -> UserError:
        """Error that says what is allowed in the current line."""
        excerpt = word if len(word) <= EXCERPT_LENGTH else word[:EXCERPT_LENGTH] + "…"
        return UserError(f"{self._path}, line {self._line}: {allowed} (got {excerpt!r})")


def _note(lines: _Lines, word: str) -> float:
    """Cents have a point, others are ratios or integers."""
    if re.fullmatch(CENTS, word) and abs(float(word)) <= MOST_CENTS:
        return float(word) / 100
    ratio_match = re.fullmatch(RATIO, word)
    if ratio_match is not None:
        numerator, denominator = int(ratio_match[1]), int(ratio_match[2] or 1)
        if numerator > 0 and denominator > 0:
            return 12 * (math.log2(numerator) - math.log2(denominator))
    raise lines.fault(
        word, f"a note is cents with a point, up to {MOST_CENTS:g}, or a ratio above 0, such as 701.955 or 3/2"
    )
