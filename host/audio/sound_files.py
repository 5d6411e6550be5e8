"""Sound files by libsndfile: writes WAV, FLAC and Ogg Vorbis, reads mono mixes at any rate."""

import contextlib
import functools
import io
import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path

import numpy as np
import soundfile

from ..arrays import Array, Doubles
from ..errors import Failure, UserError
from ..files import check_regular, hushed, replacing
from ..interrupts import defer_signals
from .decoding import PhoneFile, PlainFile, open_sound
from .mono_mix import mix_blocks
from .resampling import Resampler

# Of the power of the best mix; a mean below it has lost 10 dB, as of two channels with a correlation below -.82.
CANCELLED = 0.1
EQUAL = 1e-6  # of the power of the sum, -60 dB: sides with a weaker difference are one channel


def sum_products(blocks: Iterable[Array], channel_count: int) -> Doubles:
    """Return the inner products of channels, [channels, channels]. ``blocks``: all samples, [n, channels] each."""
    channel_products = np.zeros((channel_count, channel_count))
    for block in blocks:
        double_block = block.astype(np.float64)
        channel_products += double_block.T @ double_block
    return channel_products


def mix_signs(channel_products: Doubles) -> Array | None:
    """Return the factors, ±1 [channels], for a mean that does not cancel; None if the plain mean does not.

    ``channel_products`` are those of `sum_products`. Channels are inverted that are opposite to the loudest.
    """
    signs = np.where(channel_products[np.diag(channel_products).argmax()] < 0, -1.0, 1.0)
    if channel_products.sum() >= CANCELLED * (signs @ channel_products @ signs):
        return None
    return signs.astype(np.float32)


def is_stereo(channel_products: Doubles) -> bool:
    """Return whether two sides sound and differ, from their inner products, [2, 2].

    One silent side is that of a recording through one input, which is no image.
    """
    (left_power, product), (_, right_power) = channel_products
    power_sum = left_power + right_power
    is_different = power_sum - 2 * product > EQUAL * (power_sum + 2 * product)
    return bool(is_different and min(left_power, right_power) > EQUAL * power_sum)


def antiphase_remark(signs: Array) -> str:
    channel_numbers = (np.flatnonzero(signs < 0) + 1).tolist()
    channel_text = (
        f"channel {channel_numbers[0]}"
        if len(channel_numbers) == 1
        else f"channels {', '.join(map(str, channel_numbers))}"
    )
    return f"its channels are in antiphase, and their mean cancels: mixed with {channel_text} of {len(signs)} inverted"


FORMATS = {".wav": ("WAV", "PCM_24"), ".flac": ("FLAC", "PCM_24"), ".ogg": ("OGG", "VORBIS")}
RATES = (6000, 192_000)  # Hz; above about 200 kHz libsndfile's Vorbis encoder crashes
LOUDEST = 1e10  # times full scale: no real file exceeds it, and its square is finite
FLOAT = "FLOAT"  # 32-bit samples, in WAV only
PEAK_CHUNK = 0x1050  # libsndfile's SFC_SET_ADD_PEAK_CHUNK; that chunk has a timestamp, so files would differ
UPDATE_HEADER = 0x1060  # SFC_UPDATE_HEADER_NOW
PIECE = 16_384  # frames per call: the Vorbis encoder keeps them on the stack, and its result depends on call sizes
SPARE_BYTES = 1 << 18  # more than a piece and what encoders hold back
WAV_BYTES = 2**32 - 4096  # sizes in a WAV file have 32 bits; the rest is for its header

log = logging.getLogger(__name__)


class SoundWriter:
    """Streams to a sound file; made by `sound_writer`."""

    def __init__(self, path: Path, file: soundfile.SoundFile, sink: "_Sink", keeps_start: bool) -> None:
        self._path = path
        self._kept_note = "the sound before is kept" if keeps_start else "nothing was kept of it"
        self._file = file
        self._sink = sink
        self._piece = np.empty((file.channels, PIECE), np.float32)
        self._filled_frames = 0
        self._written_frames = 0
        self._peak = 0.0
        sample_bytes = 4 if file.subtype == FLOAT else 3
        self._most_frames = WAV_BYTES // (sample_bytes * file.channels) if file.format == "WAV" else None

    def write(self, block: Array) -> None:
        """Append [channels, n], clipped to [-1, 1] except in float files.

        Raises:
            Failure: a sample is not finite, or the disk is full.
            UserError: a WAV file would exceed 4 GiB.
        """
        assert block.ndim == 2
        assert block.shape[0] == self._file.channels
        if not np.isfinite(block).all():
            raise Failure(f"cannot write {self._path}: its sound is not finite; {self._kept_note}")
        self._peak = max(self._peak, float(np.abs(block).max(initial=0.0)))
        self._written_frames += block.shape[1]
        if self._most_frames is not None and self._written_frames > self._most_frames:
            float_advice = "leave out --float, and " if self._file.subtype == FLOAT else ""
            raise UserError(
                f"cannot write {self._path}: a WAV file holds at most 4 GiB; {float_advice}give a name ending in .flac"
            )
        while block.shape[1]:
            portion = block[:, : PIECE - self._filled_frames]
            self._piece[:, self._filled_frames : self._filled_frames + portion.shape[1]] = portion
            self._filled_frames += portion.shape[1]
            block = block[:, portion.shape[1] :]
            if self._filled_frames == PIECE:
                with self._naming_the_file():
                    self._flush()

    def clip_remarks(self, advice: str) -> list[str]:
        """A line that ends in ``advice`` if samples were clipped, else none."""
        if self._peak <= 1 or self._file.subtype == FLOAT:
            return []
        return [f"{self._path} is clipped: its samples reach {self._peak:.4g}, and 1 is full scale; {advice}"]

    def finish(self) -> None:
        """Flush and close; a FLAC file without samples gets a silent one. Finish all of several files before any is
        moved into place.

        Raises:
            Failure: the file cannot be written.
        """
        if not self._file.closed:
            self._sink.spare_bytes = 0  # from here on they serve
            if self._file.format == "FLAC" and not self._written_frames:
                # libsndfile writes a header with the first sample; one without samples means an unknown length
                self.write(np.zeros((self._file.channels, 1), np.float32))
            with self._naming_the_file():
                self._flush()
                with defer_signals():
                    self._file.close()
                self._sink.flush()

    def _flush(self) -> None:
        """Write the filled part of the buffer."""
        with defer_signals():
            self._file.write(self._piece[:, : self._filled_frames].T)
            if self._most_frames is not None:  # WAV: the file of a killed process is whole
                soundfile._snd.sf_command(self._file._file, UPDATE_HEADER, soundfile._ffi.NULL, 0)
        self._sink.flush()
        self._filled_frames = 0

    @contextlib.contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        """Raise errors as a Failure that names the file."""
        reason: Exception | None = None
        try:
            yield
        except Exception as error:
            reason = error
        reason = self._sink.error or reason
        if reason is not None:
            self._filled_frames, self._sink.error = 0, None  # the blocks before can still be finished
            message = getattr(reason, "strerror", None) or reason
            raise Failure(f"cannot write {self._path}: {message}; {self._kept_note}") from reason


@contextlib.contextmanager
def sound_writer(
    path: Path,
    sample_rate: int,
    channels: int = 2,
    overwrite: bool = False,
    as_float: bool = False,
    keeps_start: bool = False,
) -> Iterator[SoundWriter]:
    """Open a file for writing: 24-bit WAV or FLAC, or Ogg Vorbis, by its suffix; ``as_float``: unclipped 32-bit WAV.

    It appears only if the block succeeds. Bytes of WAV and FLAC, and sound of Ogg, do not depend on block sizes. With
    ``keeps_start``, the block may go on after a failure, such as a full disk: the file holds the sound before it.

    Raises:
        UserError: unsupported suffix, or rate outside 6 to 192 kHz, or as `check_output`.
        Failure: the file cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        suffix_text = f"its suffix {path.suffix!r}" if path.suffix else "a name without suffix"
        raise UserError(f"cannot write {path}: {suffix_text} names no format; give one of {', '.join(FORMATS)}")
    if not RATES[0] <= sample_rate <= RATES[1]:
        raise UserError(f"cannot write {path} at {sample_rate} Hz; give {RATES[0]} to {RATES[1]} Hz")
    container, encoding = FORMATS[path.suffix.lower()]
    if as_float:
        if container != "WAV":
            raise UserError(f"cannot write {path} as 32-bit float: {path.suffix} has none; give a name ending in .wav")
        encoding = FLOAT
    with replacing(path, overwrite) as temporary_path, temporary_path.open("w+b", buffering=0) as raw_file:
        sink = _Sink(raw_file, SPARE_BYTES if keeps_start else 0)
        file: soundfile.SoundFile | None = None
        try:
            with defer_signals():
                file = soundfile.SoundFile(sink, "w", sample_rate, channels, encoding, format=container)
                if as_float:
                    _leave_out_peaks(file)
            writer = SoundWriter(path, file, sink, keeps_start)
            yield writer
            writer.finish()
        except soundfile.LibsndfileError as error:
            raise Failure(f"cannot write {path}: {sink.error or error}; nothing was kept of it") from error
        finally:
            if file is not None:
                with defer_signals():
                    file.close()
                    sink.trim()


class SoundReader:
    """Streams from a sound file; made by `sound_reader`.

    ``length``: samples per channel by the header. A broken header's length must not be allocated.
    """

    def __init__(self, path: Path, file: PlainFile | PhoneFile, data: bytes | None) -> None:
        self.sample_rate: int = file.samplerate
        self.length: int = file.frames
        self.channels: int = file.channels
        self._path, self._data = path, data
        self._file = file

    def __iter__(self) -> Iterator[Array]:
        """[channels, n].

        Raises:
            UserError: cut off, empty, or samples not finite or beyond `LOUDEST`.
        """
        is_empty = True
        while len(block := self._read()):
            peak = max(block.max(), -block.min())
            if not np.isfinite(peak):
                raise UserError(
                    f"cannot read {self._path}: it holds samples that are not finite (NaN or infinity); save it again "
                    "without them"
                )
            if peak > LOUDEST:
                raise UserError(
                    f"cannot read {self._path}: it holds a sample of {peak:.1g}, where 1 is full scale; save it softer"
                )
            yield np.ascontiguousarray(block.T)
            is_empty = False
        if is_empty:
            raise UserError(f"cannot read {self._path}: it holds no sound; give one that does")

    def mix_signs(self) -> Array | None:
        """As `mix_signs`, from a pass of its own; warns of antiphase. None for a pipe, which has one pass.

        Raises:
            UserError: as iteration.
        """
        signs = None if self._channel_products is None else mix_signs(self._channel_products)
        if signs is not None:
            _warn_once(f"{self._path}: {antiphase_remark(signs)}")
        return signs

    def has_sides(self) -> bool:
        """As `is_stereo`, from a pass of its own; False for other than two channels. A pipe's two channels count as so.

        Raises:
            UserError: as iteration.
        """
        return self.channels == 2 and (self._channel_products is None or is_stereo(self._channel_products))

    @functools.cached_property
    def _channel_products(self) -> Doubles | None:
        """As `sum_products`, from a pass of its own; None for a single channel, and for a pipe."""
        if self.channels == 1 or (self._data is None and not self._path.is_file()):
            return None
        with sound_reader(self._path, self._data) as reader:
            return sum_products((block.T for block in reader), self.channels)

    def _read(self) -> Array:
        """Return the next block, [n, channels]; empty at the end."""
        with _refusing(self._path):
            with hushed():
                block: Array = self._file.read(65_536, dtype="float32", always_2d=True)
            return block


@contextlib.contextmanager
def sound_reader(path: Path, data: bytes | None = None) -> Iterator[SoundReader]:
    """Open a sound file, or its ``data``, for one pass in constant memory; warns of a broken header.

    Raises:
        UserError: missing or no sound.
    """
    if data is None and path.is_dir():
        raise UserError(f"cannot read {path}: it is a folder; give a sound file")
    with _refusing(path):
        if data is None:
            path.open("rb").close()  # raises the reason, which libsndfile hides
        with hushed():  # libmpg123 prints every broken frame
            file = open_sound(path, data)
    if file.remark:
        _warn_once(f"{path}: {file.remark}")
    with file:
        yield SoundReader(path, file, data)


@functools.lru_cache(maxsize=1024)  # files: commands open each several times
def _warn_once(line: str) -> None:
    log.warning("%s", line)


def read_sound(path: Path, data: bytes | None = None) -> tuple[Array, int]:
    """Samples, [channels, n], and rate in Hz.

    Raises:
        UserError: as `sound_reader` and `SoundReader`.
    """
    with sound_reader(path, data) as reader:
        return np.concatenate(list(reader), axis=1), reader.sample_rate


def flac_bytes(samples: Array, sample_rate: int) -> bytes:
    """16-bit FLAC of samples, [channels, n], clipped to [-1, 1]."""
    buffer = io.BytesIO()
    with defer_signals():
        soundfile.write(buffer, np.clip(samples, -1, 1).T, sample_rate, "PCM_16", format="FLAC")
    return buffer.getvalue()


def flac_shape(data: bytes, sample_rate: int) -> tuple[int, int] | None:
    """Channels and samples of a FLAC file, as its header tells; None if it is none at ``sample_rate``."""
    with (
        defer_signals(),
        contextlib.suppress(soundfile.SoundFileError),
        soundfile.SoundFile(io.BytesIO(data)) as file,
    ):
        if file.format == "FLAC" and file.samplerate == sample_rate:
            return file.channels, file.frames
    return None


def flac_samples(data: bytes) -> Array | None:
    """Samples of a FLAC file, [channels, n]; None if it is damaged."""
    with defer_signals(), contextlib.suppress(soundfile.SoundFileError):
        samples: Array = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0].T
        return samples
    return None


MP3_RATES = (32_000, 44_100, 48_000)  # Hz, MPEG-1's: at others the setting below means another bit rate
MP3_COMPRESSION = 0.7  # libsndfile's setting for 112 kbit/s


def mp3_bytes(samples: Array, sample_rate: int) -> bytes | None:
    """MP3 at a constant 112 kbit/s of samples, [channels, n], clipped to [-1, 1].

    None where libsndfile cannot: at other rates than 32, 44.1 and 48 kHz, and in builds without LAME.
    """
    if sample_rate not in MP3_RATES or "MP3" not in soundfile.available_formats():
        return None
    buffer = io.BytesIO()
    with defer_signals():
        soundfile.write(
            buffer,
            np.clip(samples, -1, 1).T,
            sample_rate,
            "MPEG_LAYER_III",
            format="MP3",
            compression_level=MP3_COMPRESSION,
            bitrate_mode="CONSTANT",
        )
    return buffer.getvalue()


def float_wav_bytes(samples: Array, sample_rate: int) -> bytes:
    """WAV of 32-bit floats of samples, [channels, n]."""
    buffer = io.BytesIO()
    with defer_signals(), soundfile.SoundFile(buffer, "w", sample_rate, len(samples), FLOAT, format="WAV") as file:
        _leave_out_peaks(file)
        file.write(samples.T)
    return buffer.getvalue()


def _leave_out_peaks(file: soundfile.SoundFile) -> None:
    """Omit the chunk of peaks, which has a timestamp."""
    soundfile._snd.sf_command(file._file, PEAK_CHUNK, soundfile._ffi.NULL, 0)


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Raise errors of reading as a UserError that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"cannot read {path}: there is no such file; give a sound file") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except soundfile.LibsndfileError as error:
        raise UserError(f"cannot read {path}: {error.error_string.rstrip('.')}; give a sound file") from error
    except soundfile.SoundFileError as error:
        raise UserError(f"cannot read {path}: {error}") from error
    except TypeError as error:  # soundfile's error for the suffix .raw
        raise UserError(f"cannot read {path}: raw samples do not say their rate; give a sound file") from error


class _Sink:
    """Keeps the OSError that libsndfile's C code loses; `held` guards KeyboardInterrupt."""

    def __init__(self, file: FileIO, spare_bytes: int) -> None:
        """``file``: unbuffered; ``spare_bytes``: kept free behind its end, to close it in once the disk is full.

        Raises:
            OSError: there is no room for them.
        """
        self._file, self.spare_bytes = file, spare_bytes
        self._end = self._reserved_end = 0  # bytes
        self.error: OSError | None = None
        self._reserve(0)

    def write(self, data: bytes) -> int:
        with self._keeping_errors():
            self._reserve(len(data))
        with self._keeping_errors():
            self._write_all(data)
            self._end = max(self._end, self._file.tell())
            return len(data)
        return 0

    def _reserve(self, more_bytes: int) -> None:
        """Write zeros where the next bytes and the spare ones come to lie."""
        position = self._file.tell()
        needed_end = position + more_bytes + self.spare_bytes
        if not self.spare_bytes or needed_end <= self._reserved_end:
            return
        try:
            self._file.seek(self._reserved_end)
            self._write_all(bytes(needed_end + self.spare_bytes - self._reserved_end))
            self._reserved_end = self._file.tell()
        except OSError:
            self.spare_bytes = 0
            raise
        finally:
            self._file.seek(position)

    def _write_all(self, data: bytes) -> None:
        while data:  # a write may end where the space does, and the next one says so
            data = data[self._file.write(data) :]

    def trim(self) -> None:
        """End the file where its sound does."""
        self._file.truncate(self._end)

    def seek(self, offset: int, whence: int) -> int:
        with self._keeping_errors():
            return self._file.seek(offset + self._end) if whence == os.SEEK_END else self._file.seek(offset, whence)
        return 0

    def tell(self) -> int:
        with self._keeping_errors():
            return self._file.tell()
        return 0

    def flush(self) -> None:
        with self._keeping_errors():
            self._file.flush()

    @contextlib.contextmanager
    def _keeping_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = self.error or error


LARGEST_SOUND = 1 << 30  # bytes of a sound that a preset names: 46 minutes of stereo in floats at 48 kHz
LOWEST_RATE = 1000  # Hz; a lower rate is a broken header, and upsampling would exhaust memory


@contextlib.contextmanager
def opened(sound: Path, data: bytes | None = None) -> Iterator[SoundReader]:
    """Raise UserError as `sound_reader`, and below `LOWEST_RATE`."""
    with sound_reader(sound, data) as reader:
        if reader.sample_rate < LOWEST_RATE:
            raise UserError(f"{sound} claims a rate of {reader.sample_rate} Hz; give a sound of {LOWEST_RATE} or more")
        yield reader


def mono(reader: SoundReader, rate: int) -> Iterator[Array]:
    """Mono at ``rate``, [n] a block: a stereo sound's mix by `mix_blocks`, else the channels' mean.

    Channels in antiphase are inverted.
    """
    signs = reader.mix_signs()
    if signs is None and reader.has_sides():
        mixes = (mix[np.newaxis] for mix in mix_blocks(reader, reader.sample_rate))
    else:
        factors = np.ones((reader.channels, 1), np.float32) if signs is None else signs[:, np.newaxis]
        mixes = ((block * factors).mean(axis=0, keepdims=True) for block in reader)
    for mix in _resample(mixes, 1, reader.sample_rate, rate):
        yield mix[0]


def mono_or_sides(reader: SoundReader, rate: int) -> Iterator[Array]:
    """Both channels at ``rate``, [2, n] a block, if the reader `has_sides`; else [1, n], as `mono`."""
    if reader.has_sides():
        yield from _resample(reader, 2, reader.sample_rate, rate)
    else:
        for mix in mono(reader, rate):
            yield mix[np.newaxis]


def _resample(blocks: Iterable[Array], channel_count: int, rate_in: int, rate_out: int) -> Iterator[Array]:
    """Yield blocks, [channels, n], at another rate."""
    resampler = Resampler(rate_in, rate_out, channel_count) if rate_in != rate_out else None
    for block in blocks:
        yield block if resampler is None else resampler.process(block)
    if resampler is not None:
        yield resampler.flush()


def end_of(sound: Path, rate: int, limit: int, data: bytes | None = None) -> Array:
    """Last samples, [n], 1 to ``limit``, in constant memory.

    Raises:
        UserError: unreadable, or no regular file of at most `LARGEST_SOUND`.
    """
    if data is None:
        check_regular(sound, LARGEST_SOUND)
    blocks: deque[Array] = deque()
    with opened(sound, data) as reader:
        for block in mono(reader, rate):
            blocks.append(block)
            while sum(map(len, blocks)) - len(blocks[0]) >= limit:
                blocks.popleft()
    return np.concatenate(blocks)[-limit:]
