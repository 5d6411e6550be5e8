"""Opens sound files by libsndfile, and phone recordings (AAC in .m4a, .3gp, .webm …) by PyAV.

The content decides, not the suffix. FFmpeg opens only `CONTAINERS`, and no other file or address.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import soundfile

from ..arrays import Array
from ..interrupts import held
from .unfinished_headers import Correction, SplicedFile, correction

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
        with held():  # a signal while libsndfile calls Python would be lost
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
            told = MISSING.format(name=path.name, stem=path.stem)
            raise soundfile.SoundFileRuntimeError(told) from None
        self._fault = (av.FFmpegError, OSError, EOFError, ValueError)
        try:
            only = {"format_whitelist": CONTAINERS, "protocol_whitelist": "none"}
            self._file.seek(0)
            strict = int(av.__version__.split(".")[0]) < TOLERANT
            tags: dict[str, Any] = {"metadata_errors": "replace"} if strict else {}
            self._container: Any = av.open(self._file, format=container, options=only, **tags)
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
        taken, self._waiting = self._waiting[:, :frames], self._waiting[:, frames:]
        return np.ascontiguousarray(taken.T)

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
        why = getattr(error, "strerror", None) or error
        return soundfile.SoundFileRuntimeError(f"it cannot be decoded ({why}); give a sound file")
