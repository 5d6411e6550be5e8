"""Sound files whose recorder crashed: their headers count too few bytes of sound; also headers libsndfile rejects.

A recorder writes the sizes last, or once in a while. Sound follows beyond them, up to the end of the file. Sources:
RIFF (Microsoft and IBM, 1991), RF64 (EBU Tech 3306), BW64 (ITU-R BS.2088), CAF (Apple's specification), AU (Sun).
"""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Literal

UNKNOWN = 0xFFFFFFFF  # a size that is not known, or of more than 32 bits
LARGEST_CHUNK = 1 << 20  # bytes of a fmt chunk: it has some 40
LONGEST_HEADER = 4096  # chunks before the sound; a file with more is no recording
TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")  # of MP3 players, behind the chunks of a file
PIECE = 1 << 16  # bytes

Order = Literal["little", "big"]


class SplicedFile(io.RawIOBase):
    """Another header before a file's bytes from ``start`` on; closes the file. It has no name."""

    def __init__(self, file: BinaryIO, header: bytes = b"", start: int = 0) -> None:
        super().__init__()
        self._file, self._header, self._start = file, header, start
        self._length = len(header) + file.seek(0, os.SEEK_END) - start
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill the buffer up to the end of the file: libsndfile takes less for the end."""
        view = memoryview(buffer).cast("B")
        head = self._header[self._position : self._position + len(view)]
        view[: len(head)] = head
        self._file.seek(self._start + max(self._position - len(self._header), 0))
        tail = self._file.read(len(view) - len(head))
        count = len(head) + len(tail)
        view[len(head) : count] = tail
        self._position += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


@dataclass(frozen=True)
class Correction:
    """The header that fits the sound, which begins at byte ``start``; a remark for users if it was unfinished."""

    header: bytes
    start: int
    remark: str


def correction(file: BinaryIO) -> Correction | None:
    """Return the correction of a header; None if libsndfile reads the whole sound as it is, or no such file."""
    length = file.seek(0, os.SEEK_END)
    reader = _READERS.get(_bytes(file, 0, 4))
    return None if reader is None else reader(file, length)


def _riff(file: BinaryIO, length: int) -> Correction | None:
    magic = _bytes(file, 0, 4)
    order: Order = "big" if magic == b"RIFX" else "little"
    if _bytes(file, 8, 4) != b"WAVE":
        return None
    settings, size64, position, padded = b"", None, 12, True
    for _ in range(LONGEST_HEADER):
        name, size = _bytes(file, position, 4), _number(file, position + 4, 4, order)
        if len(name) < 4 or name == b"data":
            break
        if name == b"fmt ":
            settings = _bytes(file, position + 8, min(size, LARGEST_CHUNK))
        elif name == b"ds64":
            size64 = _number(file, position + 16, 8, order)
        position += 8 + size
        if size % 2 and not _is_chunk(file, position + 1, length, order) and _is_chunk(file, position, length, order):
            padded = False  # against the standard, which libsndfile keeps
        elif size % 2:
            position += 1
    if name != b"data" or not settings:
        return None
    start = position + 8
    declared = size64 if size in (0, UNKNOWN) and size64 is not None else size
    sounding = length - start
    finished = declared >= sounding or not _is_sound(file, start + declared, length, order)
    if finished and padded and magic != b"BW64":
        return None
    stated = min(declared, sounding) if finished else sounding
    remark = "" if finished else _remark(declared, sounding)
    return Correction(_header(settings, stated, order), start, remark)


def _header(settings: bytes, stated: int, order: Order) -> bytes:
    """Return a WAV file's header, or RF64's for 4 GiB and more."""
    chunk = b"fmt " + len(settings).to_bytes(4, order) + settings + bytes(len(settings) % 2)
    whole = 4 + len(chunk) + 8 + stated
    if whole < UNKNOWN:
        magic = b"RIFX" if order == "big" else b"RIFF"
        return magic + whole.to_bytes(4, order) + b"WAVE" + chunk + b"data" + stated.to_bytes(4, order)
    sizes = (whole + 36).to_bytes(8, "little") + stated.to_bytes(8, "little") + bytes(12)
    unknown = UNKNOWN.to_bytes(4, "little")
    return b"RF64" + unknown + b"WAVEds64" + len(sizes).to_bytes(4, "little") + sizes + chunk + b"data" + unknown


def _is_chunk(file: BinaryIO, position: int, length: int, order: Order) -> bool:
    """Return whether a chunk that the file has room for, or that holds the sound, begins here."""
    name, size = _bytes(file, position, 4), _number(file, position + 4, 4, order)
    return len(name) == 4 and _is_text(name) and (name == b"data" or position + 8 + size <= length)


def _is_sound(file: BinaryIO, position: int, length: int, order: Order) -> bool:
    """Return whether bytes behind the stated end are sound: no chunks, tags, text or padding."""
    if length - position < 8 or any(_is_chunk(file, position + pad, length, order) for pad in (0, 1)):
        return False
    beginning = _bytes(file, position, 16)
    if beginning.startswith(TAGS) or _is_text(beginning):
        return False
    return any(any(_bytes(file, at, PIECE)) for at in range(position, length, PIECE))


def _is_text(data: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in data)


def _caf(file: BinaryIO, length: int) -> Correction | None:
    position = 8
    for _ in range(LONGEST_HEADER):
        name, size = _bytes(file, position, 4), _number(file, position + 4, 8, "big")
        if len(name) < 4 or name == b"data":
            break
        position += 12 + size
    start = position + 12
    if name != b"data" or size not in (0, (1 << 64) - 1) or start > LARGEST_CHUNK:  # -1: up to the end of the file
        return None
    sounding = length - start
    return Correction(
        _bytes(file, 0, start - 8) + sounding.to_bytes(8, "big"), start, "" if size else _remark(0, sounding)
    )


def _au(file: BinaryIO, length: int) -> Correction | None:
    start = _number(file, 4, 4, "big")
    if _number(file, 8, 4, "big") or not 24 <= start < min(length, LARGEST_CHUNK):
        return None
    header = bytearray(_bytes(file, 0, start))
    header[8:12] = UNKNOWN.to_bytes(4, "big")
    return Correction(bytes(header), start, _remark(0, length - start))


_READERS: dict[bytes, Callable[[BinaryIO, int], Correction | None]] = {
    **dict.fromkeys((b"RIFF", b"RIFX", b"RF64", b"BW64"), _riff),
    b"caff": _caf,
    b".snd": _au,
}


def _remark(declared: int, sounding: int) -> str:
    return (
        f"its header counts {declared} of {sounding} bytes of sound, as after a crash of the recorder; "
        "it is read to the end of the file"
    )


def _bytes(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)


def _number(file: BinaryIO, position: int, count: int, order: Order) -> int:
    return int.from_bytes(_bytes(file, position, count), order)
