"""Opens sound files by libsndfile, and phone recordings (AAC in .m4a, .3gp, .webm …) by PyAV.

The content decides, not the suffix. FFmpeg opens only `CONTAINERS`, and no other file or address.

A recorder writes the sizes last, or once in a while. Sound follows beyond them, up to the end of the file. Sources:
RIFF (Microsoft and IBM, 1991), RF64 (EBU Tech 3306), BW64 (ITU-R BS.2088), CAF (Apple's specification), AU (Sun).

Source: IBM and Microsoft, Multimedia Programming Interface and Data Specifications 1.0 and its supplement 3.0; Apple,
Audio Interchange File Format 1.3. AIFF's MARK has places of loops, and no key.
"""

import io
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self

import numpy as np
import soundfile

from ..arrays import Array
from ..interrupts import defer_signals

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
    riff_size = 4 + len(chunk) + 8 + stated
    if riff_size < UNKNOWN:
        magic = b"RIFX" if order == "big" else b"RIFF"
        return magic + riff_size.to_bytes(4, order) + b"WAVE" + chunk + b"data" + stated.to_bytes(4, order)
    sizes = (riff_size + 36).to_bytes(8, "little") + stated.to_bytes(8, "little") + bytes(12)
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
    return any(any(_bytes(file, offset, PIECE)) for offset in range(position, length, PIECE))


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


# Suffixes of common sound files that libsndfile does not read.
FOREIGN = frozenset(
    {"3ga", "3gp", "aac", "ac3", "alac", "amr", "ape", "awb", "m4a", "m4b", "mka", "mp4", "weba", "webm", "wma", "wv"}
)
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,aac,ac3,amr,amrnb,amrwb,ape,asf,matroska,webm,wv"  # FFmpeg's names of these
# Their beginnings: offset, bytes and FFmpeg's name. libsndfile takes some of these for MPEG audio, and reads noise.
SIGNATURES = (
    (4, b"ftyp", "mov"),
    (4, b"moov", "mov"),
    (4, b"mdat", "mov"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, b"#!AMR", "amr"),
    (0, bytes.fromhex("3026b2758e66cf11"), "asf"),
    (0, b"wvpk", "wv"),
    (0, b"MAC ", "ape"),
    (0, b"\x0bw", "ac3"),
)
ADTS, ADTS_BITS = 0xFFF0, 0xFFF6  # AAC's sync word, and its bits: a layer of 0, which MPEG audio has not
ID3_BYTES = 10  # of the header of a tag, which may precede AAC
NAMED_FORMATS = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"caff", b".snd", b"ID3")
MISSING = "it needs PyAV: pip install 'timbrel[phone]'; or convert it: ffmpeg -i {name} {stem}.wav"
TOLERANT = 19  # PyAV's first version that opens files of which the tags are not in UTF-8, and takes no setting for them
UNKNOWN_LENGTH = 2**63 - 1  # frames, SF_COUNT_MAX of libsndfile
NOTHING = np.zeros((0, 0), np.float32)


class PlainFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file that libsndfile reads; ``remark`` says how, where it is not read as its header says."""

    def __init__(self, file: Path | BinaryIO | SplicedFile, remark: str = "") -> None:
        self._source, self.remark = file, remark
        try:
            super().__init__(file)
        except BaseException:
            self._close_source()
            raise
        if self._info.frames == UNKNOWN_LENGTH:  # a FLAC from a pipe; soundfile would seek to its end and fail
            self._info.frames, self._info.seekable = 0, 0

    def read(self, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self._source, Path):
            return super().read(*args, **kwargs)
        with defer_signals():  # a signal while libsndfile calls Python would be lost
            return super().read(*args, **kwargs)

    def close(self) -> None:
        super().close()
        self._close_source()

    def _close_source(self) -> None:
        if not isinstance(self._source, Path):
            self._source.close()


def open_sound(path: Path, data: bytes | None = None) -> "PlainFile | PhoneFile":
    """Open a sound file, or its ``data``.

    Raises:
        soundfile.SoundFileError: it cannot be read; the message says how to convert it.
        OSError, TypeError: it cannot be opened; it holds raw samples.
    """
    file = _bytes_of(path, data)
    if not file.seekable():  # a pipe
        file.close()
        return PlainFile(path)
    try:
        container, corrected = phone_container(file), correction(file)
    except OSError:
        file.close()
        raise
    if container is not None:
        return PhoneFile(path, file, container)
    try:
        return _plain_file(path, file, corrected)
    except soundfile.LibsndfileError:
        if path.suffix[1:].lower() not in FOREIGN:
            raise
    return PhoneFile(path, _bytes_of(path, data))


def _bytes_of(path: Path, data: bytes | None) -> BinaryIO:
    return path.open("rb") if data is None else io.BytesIO(data)


def phone_container(file: BinaryIO) -> str | None:
    """FFmpeg's name of a container in `CONTAINERS` by its first bytes; None for other files."""
    file.seek(0)
    head = file.read(32)
    for offset, signature, name in SIGNATURES:
        if head.startswith(signature, offset):
            return name
    if head.startswith(b"ID3"):
        size = 0
        for byte in head[6:ID3_BYTES]:
            size = size << 7 | byte & 0x7F
        file.seek(ID3_BYTES + size)
        head = file.read(2)
    return "aac" if int.from_bytes(head[:2], "big") & ADTS_BITS == ADTS else None


def _plain_file(path: Path, file: BinaryIO, corrected: Correction | None) -> PlainFile:
    if corrected is not None:
        return PlainFile(SplicedFile(file, corrected.header, corrected.start), corrected.remark)
    file.seek(0)
    raw = path.suffix.lower() == ".raw" and not file.read(4).startswith(NAMED_FORMATS)
    if isinstance(file, io.BytesIO) or (path.suffix.lower() == ".raw" and not raw):
        return PlainFile(SplicedFile(file))  # it has no name: the suffix .raw would forbid a header
    file.close()
    return PlainFile(path)


class PhoneFile:
    """A container's first audio stream, like a `soundfile.SoundFile`; ``frames`` is 0 if unknown."""

    subtype = "FLOAT"  # samples are decoded, and may lie above full scale
    remark = ""

    def __init__(self, path: Path, file: BinaryIO, container: str | None = None) -> None:
        """Open a container, FFmpeg's name of which is known or not; it owns ``file``.

        Raises:
            soundfile.SoundFileError: PyAV is missing, or the file is no sound.
        """
        self._file, self._name = file, path.name
        try:
            self._begin(path, container)
        except BaseException:
            file.close()
            raise

    def _begin(self, path: Path, container: str | None) -> None:
        try:
            import av
        except ModuleNotFoundError:
            message = MISSING.format(name=path.name, stem=path.stem)
            raise soundfile.SoundFileRuntimeError(message) from None
        self._fault = (av.FFmpegError, OSError, EOFError, ValueError)
        try:
            options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "none"}
            self._file.seek(0)
            strict = int(av.__version__.split(".")[0]) < TOLERANT
            tags: dict[str, Any] = {"metadata_errors": "replace"} if strict else {}
            self._container: Any = av.open(self._file, format=container, options=options, **tags)
            if not self._container.streams.audio:
                raise soundfile.SoundFileRuntimeError("it holds no sound; give a file that does")
            stream: Any = self._container.streams.audio[0]
            self._blocks = self._decoded(stream, av.AudioResampler(format="fltp"))
            self._waiting = next(self._blocks, NOTHING)
        except self._fault as error:
            raise self._broken(error) from error
        if not len(self._waiting):
            raise soundfile.SoundFileRuntimeError("it holds no sound that can be decoded; give a file that does")
        self.channels = len(self._waiting)
        self.frames = round(float(stream.duration * stream.time_base) * self.samplerate) if stream.duration else 0

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> Array:
        """[at most ``frames``, channels]; none at the end.

        Raises:
            soundfile.SoundFileError: the file is broken.
        """
        while self._waiting.shape[1] < frames:
            try:
                block = next(self._blocks, NOTHING)
            except self._fault as error:
                raise self._broken(error) from error
            if not block.size:
                break
            if len(block) != self.channels:
                raise soundfile.SoundFileRuntimeError("its number of channels changes on the way")
            self._waiting = np.concatenate([self._waiting, block], axis=1)
        samples, self._waiting = self._waiting[:, :frames], self._waiting[:, frames:]
        return np.ascontiguousarray(samples.T)

    def close(self) -> None:
        self._container.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _decoded(self, stream: Any, converter: Any) -> Iterator[Array]:
        for frame in self._container.decode(stream):
            if not hasattr(self, "samplerate"):
                self.samplerate: int = frame.sample_rate
            for part in converter.resample(frame):
                yield part.to_ndarray()
        for part in converter.resample(None):
            yield part.to_ndarray()

    def _broken(self, error: Exception) -> soundfile.SoundFileRuntimeError:
        reason = getattr(error, "strerror", None) or error
        return soundfile.SoundFileRuntimeError(f"it cannot be decoded ({reason}); give a sound file")


_WAVE = (b"RIFF", b"RF64", b"BW64")
_KEY_FIELDS = {b"smpl": (12, "<I"), b"inst": (0, "B"), b"INST": (0, "B")}  # of the key in the chunk
_MOST_CHUNKS = 1000  # a damaged file may seem to have millions


def root_key(path: Path) -> int | None:
    """Return the MIDI key that plays a file untransposed; None if no chunk names one.

    ``smpl`` counts before ``inst``.

    Raises:
        OSError: the file cannot be read.
    """
    keys = dict[bytes, int]()
    with path.open("rb") as file:
        form, _, kind = struct.unpack("4s4s4s", file.read(12).ljust(12))
        if not (form in _WAVE and kind == b"WAVE") and not (form == b"FORM" and kind in (b"AIFF", b"AIFC")):
            return None
        size_format, long_data = (">I" if form == b"FORM" else "<I"), 0
        for _ in range(_MOST_CHUNKS):
            head = file.read(8)
            if len(head) < 8 or not head[:4].isascii() or not head[:4].decode("ascii").isprintable():
                break
            name, size = head[:4], struct.unpack(size_format, head[4:])[0]
            begin = file.tell()
            content = file.read(min(size, 16)) if name in (*_KEY_FIELDS, b"ds64") else b""
            if name == b"ds64" and len(content) == 16:  # sizes of files beyond 4 GiB
                long_data = struct.unpack("<8xQ", content)[0]
            elif name in _KEY_FIELDS:
                key_offset, key_format = _KEY_FIELDS[name]
                if len(content) >= key_offset + struct.calcsize(key_format):
                    keys[name] = struct.unpack_from(key_format, content, key_offset)[0]
            if name == b"data" and size == 0xFFFFFFFF:
                size = long_data
            file.seek(begin + size + size % 2)  # chunks lie at even places
    return next((keys[name] for name in _KEY_FIELDS if keys.get(name, 128) < 128), None)
