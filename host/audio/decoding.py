"""Opens sound files by libsndfile, and phone recordings (AAC in .m4a, .3gp, .webm …) by PyAV.

The content decides, not the suffix. FFmpeg opens only `CONTAINERS`, and no other file or address.

A recorder writes the sizes last, or once in a while. Sound follows beyond them, up to the end of the file. A copy that
was stopped ends before them. Sources:
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
STREAMED = 0x7FFF0000  # the least of the sizes that programs write into a pipe: SoX 0x7FFFF000, FFmpeg `UNKNOWN`
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
        base_position = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = max(0, base_position + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill the buffer up to the end of the file: libsndfile takes less for the end."""
        view = memoryview(buffer).cast("B")
        header_part = self._header[self._position : self._position + len(view)]
        view[: len(header_part)] = header_part
        self._file.seek(self._start + max(self._position - len(self._header), 0))
        file_part = self._file.read(len(view) - len(header_part))
        byte_count = len(header_part) + len(file_part)
        view[len(header_part) : byte_count] = file_part
        self._position += byte_count
        return byte_count

    def close(self) -> None:
        self._file.close()
        super().close()


@dataclass(frozen=True)
class Correction:
    """The header that fits the sound, which begins at byte ``start``; a remark for users if it does not count it."""

    header: bytes
    start: int
    remark: str


def correction(file: BinaryIO) -> Correction | None:
    """Return the correction of a header; None if libsndfile reads the whole sound as it is, or no such file."""
    file_length = file.seek(0, os.SEEK_END)
    reader = _READERS.get(_bytes(file, 0, 4))
    return None if reader is None else reader(file, file_length)


def _riff(file: BinaryIO, file_length: int) -> Correction | None:
    """Correct a file of the RIFF family, if it must be."""
    magic = _bytes(file, 0, 4)
    order: Order = "big" if magic == b"RIFX" else "little"
    if _bytes(file, 8, 4) != b"WAVE":
        return None
    fmt_bytes, data_size64, position, is_padded = b"", None, 12, True
    for _ in range(LONGEST_HEADER):
        chunk_name, chunk_size = _bytes(file, position, 4), _number(file, position + 4, 4, order)
        if len(chunk_name) < 4 or chunk_name == b"data":
            break
        if chunk_name == b"fmt ":
            fmt_bytes = _bytes(file, position + 8, min(chunk_size, LARGEST_CHUNK))
        elif chunk_name == b"ds64":
            data_size64 = _number(file, position + 16, 8, order)
        position += 8 + chunk_size
        if (
            chunk_size % 2
            and not _is_chunk(file, position + 1, file_length, order)
            and _is_chunk(file, position, file_length, order)
        ):
            is_padded = False  # against the standard, which libsndfile keeps
        elif chunk_size % 2:
            position += 1
    if chunk_name != b"data" or not fmt_bytes:
        return None
    sound_start = position + 8
    declared_bytes = data_size64 if chunk_size in (0, UNKNOWN) and data_size64 is not None else chunk_size
    sound_bytes = file_length - sound_start
    is_finished = declared_bytes >= sound_bytes or not _is_sound(file, sound_start + declared_bytes, file_length, order)
    is_streamed = declared_bytes == chunk_size >= STREAMED
    is_cut = 0 <= sound_bytes < declared_bytes and not is_streamed
    if is_finished and is_padded and magic != b"BW64" and not is_cut:
        return None
    stated_bytes = min(declared_bytes, sound_bytes) if is_finished else sound_bytes
    remark = "" if is_finished else _remark(declared_bytes, sound_bytes)
    if is_cut:
        remark = f"its header counts {declared_bytes} bytes of sound, the file has {sound_bytes}: its end is missing"
    return Correction(_header(fmt_bytes, stated_bytes, order), sound_start, remark)


def _header(fmt_bytes: bytes, stated_bytes: int, order: Order) -> bytes:
    """Return a WAV file's header, or RF64's for 4 GiB and more."""
    fmt_chunk = b"fmt " + len(fmt_bytes).to_bytes(4, order) + fmt_bytes + bytes(len(fmt_bytes) % 2)
    riff_size = 4 + len(fmt_chunk) + 8 + stated_bytes
    if riff_size < UNKNOWN:
        magic = b"RIFX" if order == "big" else b"RIFF"
        return magic + riff_size.to_bytes(4, order) + b"WAVE" + fmt_chunk + b"data" + stated_bytes.to_bytes(4, order)
    ds64_content = (riff_size + 36).to_bytes(8, "little") + stated_bytes.to_bytes(8, "little") + bytes(12)
    unknown_size = UNKNOWN.to_bytes(4, "little")
    return (
        b"RF64"
        + unknown_size
        + b"WAVEds64"
        + len(ds64_content).to_bytes(4, "little")
        + ds64_content
        + fmt_chunk
        + b"data"
        + unknown_size
    )


def _is_chunk(file: BinaryIO, position: int, file_length: int, order: Order) -> bool:
    """Return whether a chunk that the file has room for, or that holds the sound, begins here."""
    chunk_name, chunk_size = _bytes(file, position, 4), _number(file, position + 4, 4, order)
    return (
        len(chunk_name) == 4
        and _is_text(chunk_name)
        and (chunk_name == b"data" or position + 8 + chunk_size <= file_length)
    )


def _is_sound(file: BinaryIO, position: int, file_length: int, order: Order) -> bool:
    """Return whether bytes behind the stated end are sound: no chunks, tags, text or padding."""
    if file_length - position < 8 or any(
        _is_chunk(file, position + pad_bytes, file_length, order) for pad_bytes in (0, 1)
    ):
        return False
    first_bytes = _bytes(file, position, 16)
    if first_bytes.startswith(TAGS) or _is_text(first_bytes):
        return False
    return any(any(_bytes(file, offset, PIECE)) for offset in range(position, file_length, PIECE))


def _is_text(data: bytes) -> bool:
    """Return whether bytes are printable ASCII."""
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in data)


def _caf(file: BinaryIO, file_length: int) -> Correction | None:
    """Correct a CAF file, if it must be."""
    position = 8
    for _ in range(LONGEST_HEADER):
        chunk_name, chunk_size = _bytes(file, position, 4), _number(file, position + 4, 8, "big")
        if len(chunk_name) < 4 or chunk_name == b"data":
            break
        position += 12 + chunk_size
    sound_start = position + 12
    # A size of -1 is up to the end of the file.
    if chunk_name != b"data" or chunk_size not in (0, (1 << 64) - 1) or sound_start > LARGEST_CHUNK:
        return None
    sound_bytes = file_length - sound_start
    return Correction(
        _bytes(file, 0, sound_start - 8) + sound_bytes.to_bytes(8, "big"),
        sound_start,
        "" if chunk_size else _remark(0, sound_bytes),
    )


def _au(file: BinaryIO, file_length: int) -> Correction | None:
    """Correct an AU file, if it must be."""
    sound_start = _number(file, 4, 4, "big")
    if _number(file, 8, 4, "big") or not 24 <= sound_start < min(file_length, LARGEST_CHUNK):
        return None
    header = bytearray(_bytes(file, 0, sound_start))
    header[8:12] = UNKNOWN.to_bytes(4, "big")
    return Correction(bytes(header), sound_start, _remark(0, file_length - sound_start))


_READERS: dict[bytes, Callable[[BinaryIO, int], Correction | None]] = {
    **dict.fromkeys((b"RIFF", b"RIFX", b"RF64", b"BW64"), _riff),
    b"caff": _caf,
    b".snd": _au,
}


def _remark(declared_bytes: int, sound_bytes: int) -> str:
    return (
        f"its header counts {declared_bytes} of {sound_bytes} bytes of sound, as after a crash of the recorder; "
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
        container_name, header_correction = phone_container(file), correction(file)
    except OSError:
        file.close()
        raise
    if container_name is not None:
        return PhoneFile(path, file, container_name)
    try:
        return _plain_file(path, file, header_correction)
    except soundfile.LibsndfileError:
        if path.suffix[1:].lower() not in FOREIGN:
            raise
    return PhoneFile(path, _bytes_of(path, data))


def _bytes_of(path: Path, data: bytes | None) -> BinaryIO:
    return path.open("rb") if data is None else io.BytesIO(data)


def phone_container(file: BinaryIO) -> str | None:
    """FFmpeg's name of a container in `CONTAINERS` by its first bytes; None for other files."""
    file.seek(0)
    first_bytes = file.read(32)
    for offset, signature, name in SIGNATURES:
        if first_bytes.startswith(signature, offset):
            return name
    if first_bytes.startswith(b"ID3"):
        tag_size = 0
        for byte in first_bytes[6:ID3_BYTES]:
            tag_size = tag_size << 7 | byte & 0x7F
        file.seek(ID3_BYTES + tag_size)
        first_bytes = file.read(2)
    return "aac" if int.from_bytes(first_bytes[:2], "big") & ADTS_BITS == ADTS else None


def _plain_file(path: Path, file: BinaryIO, header_correction: Correction | None) -> PlainFile:
    """Open a file by libsndfile, after a corrected header if there is one."""
    if header_correction is not None:
        return PlainFile(SplicedFile(file, header_correction.header, header_correction.start), header_correction.remark)
    file.seek(0)
    is_raw = path.suffix.lower() == ".raw" and not file.read(4).startswith(NAMED_FORMATS)
    if isinstance(file, io.BytesIO) or (path.suffix.lower() == ".raw" and not is_raw):
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

    def _begin(self, path: Path, container_name: str | None) -> None:
        """Open the container, and decode its first block."""
        try:
            import av
        except ModuleNotFoundError:
            missing_message = MISSING.format(name=path.name, stem=path.stem)
            raise soundfile.SoundFileRuntimeError(missing_message) from None
        self._decoding_errors = (av.FFmpegError, OSError, EOFError, ValueError)
        try:
            format_options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "none"}
            self._file.seek(0)
            is_strict = int(av.__version__.split(".")[0]) < TOLERANT
            tag_options: dict[str, Any] = {"metadata_errors": "replace"} if is_strict else {}
            self._container: Any = av.open(self._file, format=container_name, options=format_options, **tag_options)
            if not self._container.streams.audio:
                raise soundfile.SoundFileRuntimeError("it holds no sound; give a file that does")
            stream: Any = self._container.streams.audio[0]
            self._blocks = self._decoded(stream, av.AudioResampler(format="fltp"))
            self._waiting_samples = next(self._blocks, NOTHING)
        except self._decoding_errors as error:
            raise self._broken(error) from error
        if not len(self._waiting_samples):
            raise soundfile.SoundFileRuntimeError("it holds no sound that can be decoded; give a file that does")
        self.channels = len(self._waiting_samples)
        self.frames = round(float(stream.duration * stream.time_base) * self.samplerate) if stream.duration else 0

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> Array:
        """[at most ``frames``, channels]; none at the end.

        Raises:
            soundfile.SoundFileError: the file is broken.
        """
        while self._waiting_samples.shape[1] < frames:
            try:
                block = next(self._blocks, NOTHING)
            except self._decoding_errors as error:
                raise self._broken(error) from error
            if not block.size:
                break
            if len(block) != self.channels:
                raise soundfile.SoundFileRuntimeError("its number of channels changes on the way")
            self._waiting_samples = np.concatenate([self._waiting_samples, block], axis=1)
        samples, self._waiting_samples = self._waiting_samples[:, :frames], self._waiting_samples[:, frames:]
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
        """Decode blocks of floats, [channels, n]."""
        for frame in self._container.decode(stream):
            if not hasattr(self, "samplerate"):
                self.samplerate: int = frame.sample_rate
            for converted_frame in converter.resample(frame):
                yield converted_frame.to_ndarray()
        for converted_frame in converter.resample(None):
            yield converted_frame.to_ndarray()

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
    key_by_chunk = dict[bytes, int]()
    with path.open("rb") as file:
        file_form, _, form_type = struct.unpack("4s4s4s", file.read(12).ljust(12))
        if not (file_form in _WAVE and form_type == b"WAVE") and not (
            file_form == b"FORM" and form_type in (b"AIFF", b"AIFC")
        ):
            return None
        size_format, data_size64 = (">I" if file_form == b"FORM" else "<I"), 0
        for _ in range(_MOST_CHUNKS):
            chunk_head = file.read(8)
            if len(chunk_head) < 8 or not chunk_head[:4].isascii() or not chunk_head[:4].decode("ascii").isprintable():
                break
            chunk_name, chunk_size = chunk_head[:4], struct.unpack(size_format, chunk_head[4:])[0]
            content_start = file.tell()
            content_bytes = file.read(min(chunk_size, 16)) if chunk_name in (*_KEY_FIELDS, b"ds64") else b""
            if chunk_name == b"ds64" and len(content_bytes) == 16:  # sizes of files beyond 4 GiB
                data_size64 = struct.unpack("<8xQ", content_bytes)[0]
            elif chunk_name in _KEY_FIELDS:
                key_offset, key_format = _KEY_FIELDS[chunk_name]
                if len(content_bytes) >= key_offset + struct.calcsize(key_format):
                    key_by_chunk[chunk_name] = struct.unpack_from(key_format, content_bytes, key_offset)[0]
            if chunk_name == b"data" and chunk_size == 0xFFFFFFFF:
                chunk_size = data_size64
            file.seek(content_start + chunk_size + chunk_size % 2)  # chunks lie at even places
    return next(
        (key_by_chunk[chunk_name] for chunk_name in _KEY_FIELDS if key_by_chunk.get(chunk_name, 128) < 128), None
    )
