"""Sounds where they lie: in files of their own, in tar files and in tables; and the labels that come with them."""

import contextlib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...host.units import PITCH_CLASSES
from .file_names import ACCIDENTALS
from .sound_files import Unreadable

PIECE_BYTES = 1 << 20  # read at once, however long the sound
LARGEST_BYTES = 1 << 30  # of a sound in a tar file or a table
NOTE = re.compile(r"([a-g])([#sb]?)(-?\d)", re.IGNORECASE)
NUMBER = re.compile(r"-?\d{1,3}")


@dataclass(frozen=True, slots=True)
class SoundLabels:
    """``key``: MIDI note of the untransposed sound, None if it has none; ``velocity``: a sampler layer's highest."""

    key: int | None = None
    velocity: int | None = None
    label: str = ""


def key_of(text: str) -> int | None:
    """Return the MIDI note of a number or a name such as ``c#4``, middle C; None for others."""
    if NUMBER.fullmatch(text):
        key = int(text)
    elif note := NOTE.fullmatch(text):
        letter, sign, octave = note.groups()
        key = 12 * (int(octave) + 1) + PITCH_CLASSES.index(letter.upper()) + ACCIDENTALS[sign.lower()]
    else:
        return None
    return key if 0 <= key <= 127 else None


@dataclass(frozen=True, slots=True)
class StoredSound:
    """A sound in a file of its own.

    ``path``: the file, or a sound's name below the ``container`` that holds it; ``labels``: None if it brings none.
    """

    path: Path
    container: Path | None = None
    labels: SoundLabels | None = None

    @property
    def file(self) -> Path:
        """The file to be read."""
        return self.container or self.path

    @property
    def size(self) -> int:
        """Bytes, or about so many; raises OSError if the file is gone."""
        return self.path.stat().st_size

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes of the sound's file; raise Unreadable if they cannot be read."""
        try:
            with self.path.open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    yield piece
        except OSError as error:
            raise Unreadable(error.strerror or str(error)) from error

    def digest(self) -> str:
        """Return the SHA-256 of the sound's file; raises as `pieces`."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()

    @contextlib.contextmanager
    def as_file(self, folder: Path) -> Iterator[Path]:
        """Yield the sound as a file: its own, or a copy in ``folder`` that is removed behind it.

        Raises:
            Unreadable: it cannot be read.
            OSError: the copy cannot be written.
        """
        if self.container is None:
            yield self.path
            return
        copy = folder / self.path.name
        try:
            with copy.open("wb") as file:
                for piece in self.pieces():
                    file.write(piece)
            yield copy
        finally:
            copy.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class TarMember(StoredSound):
    """A sound in a tar file: ``length`` bytes from ``start`` on."""

    start: int = 0
    length: int = 0

    @property
    def size(self) -> int:
        return self.length

    def pieces(self) -> Iterator[bytes]:
        if self.length > LARGEST_BYTES:
            raise Unreadable(too_large(self.length))
        remaining_bytes = self.length
        try:
            with self.file.open("rb") as file:
                file.seek(self.start)
                while remaining_bytes and (piece := file.read(min(PIECE_BYTES, remaining_bytes))):
                    remaining_bytes -= len(piece)
                    yield piece
        except OSError as error:
            raise Unreadable(error.strerror or str(error)) from error
        if remaining_bytes:
            raise Unreadable(f"is cut off: {remaining_bytes} of its {self.length} bytes are missing")


def too_large(byte_count: int) -> str:
    return f"has {byte_count >> 20} MiB, at most {LARGEST_BYTES >> 20} are read"
