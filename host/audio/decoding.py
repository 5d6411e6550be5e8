"""Opens sound files by libsndfile, and phone recordings (AAC in .m4a, .3gp, .webm …) by PyAV.

FFmpeg opens only `CONTAINERS`, and no other file or address.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import soundfile

from ..arrays import Array

# Suffixes of common sound files that libsndfile does not read.
FOREIGN = frozenset(
    {"3ga", "3gp", "aac", "ac3", "alac", "amr", "ape", "awb", "m4a", "m4b", "mka", "mp4", "weba", "webm", "wma", "wv"}
)
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,aac,ac3,amr,amrnb,amrwb,ape,asf,matroska,webm,wv"  # FFmpeg's names of these
MISSING = "it needs PyAV: pip install 'timbrel[phone]'; or convert it: ffmpeg -i {name} {stem}.wav"
NOTHING = np.zeros((0, 0), np.float32)


def open_sound(path: Path, data: bytes | None = None) -> "soundfile.SoundFile | PhoneFile":
    """Open a sound file, or its ``data``.

    Raises:
        soundfile.SoundFileError: it cannot be read; the message says how to convert it.
        OSError, TypeError: it cannot be opened; it holds raw samples.
    """
    try:
        return soundfile.SoundFile(path if data is None else io.BytesIO(data))
    except soundfile.LibsndfileError:
        if path.suffix[1:].lower() not in FOREIGN:
            raise
    return PhoneFile(path, path.open("rb") if data is None else io.BytesIO(data))


class PhoneFile:
    """A container's first audio stream, like a `soundfile.SoundFile`; ``frames`` is 0 if unknown."""

    subtype = "FLOAT"  # samples are decoded, and may lie above full scale

    def __init__(self, path: Path, file: BinaryIO) -> None:
        """Open a container, which owns ``file``.

        Raises:
            soundfile.SoundFileError: PyAV is missing, or the file is no sound.
        """
        self._file, self._name = file, path.name
        try:
            self._begin(path)
        except BaseException:
            file.close()
            raise

    def _begin(self, path: Path) -> None:
        try:
            import av
        except ModuleNotFoundError:
            told = MISSING.format(name=path.name, stem=path.stem)
            raise soundfile.SoundFileRuntimeError(told) from None
        self._fault = (av.FFmpegError, OSError, EOFError, ValueError)
        try:
            only = {"format_whitelist": CONTAINERS, "protocol_whitelist": "none"}
            self._container: Any = av.open(self._file, options=only, metadata_errors="replace")
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
