"""Finds sound files, and decodes them in blocks: both sides of stereo sounds, one channel of others."""

import contextlib
import functools
import hashlib
import mimetypes
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import BinaryIO, Generic, NamedTuple, Self, TypeVar

import numpy as np
import soundfile
import soxr

from ...host.audio.decoding import FOREIGN, PhoneFile, PlainFile, open_sound, phone_container
from ...host.audio.sound_files import LOUDEST, antiphase_remark, is_stereo, mix_signs, sum_products
from ...host.errors import UserError
from ...host.files import hushed
from .file_names import as_text
from .pitch import Samples, Sliceable, silence_level

SHORTEST = 4096  # samples: the window of pitch and spectrum

_BLOCK = 1 << 18  # source frames decoded at once, 6 s at 44.1 kHz
_LOWEST_RATE = 1000  # Hz; a lower rate in a header is an error, and resampling it would fill memory
_CLIPPED_RUN = 3  # equal samples at full scale in a row; one or two may be a true peak
_SILENCE_SECONDS = 0.01  # silence is trimmed in steps of this; half a period of 50 Hz shows its swing
_FLOAT = np.dtype("<f4")

# Format suffixes of other programs that libsndfile does not list.
_ALIASES = {"aif", "aifc", "iff", "oga", "opus", "snd", "sph", "vox", "mp2"}
_TEXT_TABLES = (".csv", ".tsv", ".json", ".jsonl", ".xlsx")
_SIDES_REMARK = (
    "its sides are in antiphase, and their mean cancels: both sides are kept, and mono has the power of both"
)
_FULL_SCALE = {"PCM_S8": 127 / 128, "PCM_U8": 127 / 128, "PCM_16": 32767 / 32768, "PCM_24": 8388607 / 8388608}


Item = TypeVar("Item")


class Unreadable(Exception):
    """An unusable file; the message is the reason."""


class FloatFile:
    """Mono samples of a raw float32 file; slices are read from disk.

    ``sides``: left and right of a stereo sound, as long; () for others.
    """

    def __init__(self, file: BinaryIO, start: int, stop: int, sides: "tuple[FloatFile, ...]" = ()) -> None:
        self._file, self._start, self._stop, self.sides = file, start, stop, sides

    @classmethod
    def filled(cls, file: BinaryIO, blocks: Iterator[Samples], sides: "tuple[FloatFile, ...]" = ()) -> Self:
        """Write blocks to a file; return it as samples."""
        file.seek(0)
        file.truncate()
        sample_count = sum(file.write(block.astype(_FLOAT).tobytes()) for block in blocks) // _FLOAT.itemsize
        return cls(file, 0, sample_count, sides)

    @property
    def channels(self) -> "tuple[FloatFile, ...]":
        """Both sides, or the one channel."""
        return self.sides or (self,)

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, part: slice, /) -> Samples:
        start, stop, _ = part.indices(len(self))
        self._file.seek((self._start + start) * _FLOAT.itemsize)
        return np.frombuffer(self._file.read(max(stop - start, 0) * _FLOAT.itemsize), _FLOAT)

    def stretch(self, start: int, stop: int, shortest: int = 0) -> "FloatFile":
        """Return the samples from ``start`` to ``stop``, or ``shortest`` samples around them; sides are cut alike."""
        stop = min(max(stop, start + shortest), len(self))
        start = min(start, stop - shortest)
        side_parts = tuple(side.stretch(start, stop) for side in self.sides)
        return FloatFile(self._file, self._start + start, self._start + stop, side_parts)


def fill_channels(files: Sequence[BinaryIO], blocks: Iterator[Samples]) -> tuple[FloatFile, ...]:
    """Write blocks, [n, channels] each, to a file a channel; return the channels, one if there are no blocks."""
    for file in files:
        file.seek(0)
        file.truncate()
    channel_count, sample_count = 1, 0
    for block in blocks:
        channel_count, sample_count = block.shape[1], sample_count + len(block)
        for file, channel_samples in zip(files, block.T, strict=False):
            file.write(channel_samples.astype(_FLOAT).tobytes())
    return tuple(FloatFile(file, 0, sample_count) for file in files[:channel_count])


class SoundFile:
    """One sound file; ``clipped`` and ``remarks``, on its header and its channels, are valid after all blocks.

    Raises:
        Unreadable: no decoder reads it, or its header is invalid.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, _open(path)
        if self._file.samplerate < _LOWEST_RATE:
            self._file.close()
            raise Unreadable(f"claims a rate of {self._file.samplerate} Hz")
        self.clipped = False
        self.remarks = [self._file.remark] if self._file.remark else []
        self.rate, self.channels = self._file.samplerate, self._file.channels
        self.seconds = self._file.frames / self.rate
        self._full_scale = _FULL_SCALE.get(self._file.subtype, 1.0)

    def close(self) -> None:
        self._file.close()

    def decode(self, rate: int) -> Iterator[Samples]:
        """Yield blocks at ``rate`` Hz: [n, 2] of a stereo sound, else [n, 1].

        A stereo sound has two channels that differ by more than -60 dB. The one channel of others is the mean of all;
        channels in antiphase are inverted for it.

        Raises:
            Unreadable: decoding stops early, or samples are not finite or far above full scale.
        """
        with self._file as file:
            mix_factors = self._mix_factors()
            channel_count = 2 if mix_factors is None else 1
            resampler = soxr.ResampleStream(file.samplerate, rate, channel_count, dtype="float32", quality="HQ")
            previous_tail = np.zeros((0, file.channels), np.float32)
            for block in _blocks(file):
                self._look_for_clipping(np.concatenate([previous_tail, block]))
                previous_tail = block[-(_CLIPPED_RUN - 1) :]
                channel_block = block if mix_factors is None else (block * mix_factors).mean(axis=1, keepdims=True)
                yield channel_block if file.samplerate == rate else resampler.resample_chunk(channel_block)
            if file.samplerate != rate:
                yield resampler.resample_chunk(np.zeros((0, channel_count), np.float32), last=True)

    def beginning(self, rate: int, seconds: float) -> Samples:
        """Return the channels, [1 or 2, n], as `decode`, up to the end of the block that passes ``seconds``."""
        blocks, sample_count = list[Samples](), 0
        for block in self.decode(rate):
            blocks.append(block)
            sample_count += len(block)
            if sample_count > seconds * rate:
                break
        return np.ascontiguousarray(np.concatenate(blocks).T) if blocks else np.zeros((1, 0), np.float32)

    def _mix_factors(self) -> Samples | None:
        """Return each channel's factor, ±1, in the mix to one channel; None for a stereo sound. Note antiphase."""
        if self.channels == 1:
            return np.ones(1, np.float32)
        with _open(self._path) as file:  # a pass of its own: some decoders cannot seek
            channel_products = sum_products(_blocks(file), self.channels)
        channel_signs = mix_signs(channel_products)
        is_mixed = self.channels > 2 or not is_stereo(channel_products)
        if channel_signs is not None:
            self.remarks.append(antiphase_remark(channel_signs) if is_mixed else _SIDES_REMARK)
        if not is_mixed:
            return None
        return np.ones(self.channels, np.float32) if channel_signs is None else channel_signs

    def _look_for_clipping(self, block: Samples) -> None:
        """Runs at full scale clip; a float file may exceed it without clipping."""
        is_full_scale = np.abs(block) >= self._full_scale
        is_run = is_full_scale[2:] & (block[1:-1] == block[2:]) & (block[:-2] == block[1:-1])
        self.clipped = self.clipped or bool(is_run.any())


def _open(path: Path) -> PlainFile | PhoneFile:
    try:
        with hushed():
            return open_sound(path)
    except UnicodeError as error:
        raise Unreadable("has a name that is no UTF-8; rename it") from error
    except (soundfile.SoundFileError, OSError, TypeError) as error:  # TypeError: headerless .raw
        raise Unreadable(_reason(error)) from error


def _blocks(file: PlainFile | PhoneFile) -> Iterator[Samples]:
    """Yield the samples, [n, channels]."""
    while len(block := _read(file)):
        yield block


def _read(file: PlainFile | PhoneFile) -> Samples:
    try:
        with hushed():
            block: Samples = file.read(_BLOCK, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise Unreadable(_reason(error)) from error
    if not np.isfinite(block).all():
        raise Unreadable("contains NaN" if np.isnan(block).any() else "contains infinite samples")
    if block.size and (peak := max(block.max(), -block.min())) > LOUDEST:
        raise Unreadable(f"contains a sample of {peak:.1g}, where 1 is full scale")
    return block


class Copies:
    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}

    def earlier(self, name: str, digest: bytes) -> str | None:
        """Return the first name of these samples; None if this is the first."""
        first_name = self._names.setdefault(digest, name)
        return None if first_name == name else first_name


def samples_digest(channels: Iterable[Sliceable]) -> bytes:
    """Return the SHA-256 of a sound's samples, one channel after the other."""
    digest = hashlib.sha256()
    for samples in channels:
        for block_start in range(0, len(samples), _BLOCK):
            digest.update(samples[block_start : block_start + _BLOCK].astype(_FLOAT).tobytes())
    return digest.digest()


class Named(NamedTuple, Generic[Item]):
    """An item with its name below a folder, ``root``."""

    root: Path
    name: str
    item: Item


def find_sounds(sources: Sequence[Path]) -> dict[str, Path]:
    """Find possible sound files by name: the path within their source.

    The source's name or a number makes names unique. Hidden files and repeated paths are skipped.

    Raises:
        UserError: a source does not exist, or is a table of texts.
    """
    return dict(sorted(unique_names(named_sounds(sources)).items()))


def named_sounds(sources: Sequence[Path]) -> list[Named[Path]]:
    """Return possible sound files, each once; raises as `find_sounds`."""
    names_by_path: dict[Path, tuple[Path, str]] = {}  # root of the name, and the name
    for source in sources:
        if not source.exists():
            raise UserError(f"{source} does not exist; give sound files or folders of them")
        if source.is_file() and source.suffix.lower() in _TEXT_TABLES:
            raise UserError(f"{source} is a table without sounds; give the files or folders that it names")
        name_root = source.parent if source.is_file() else source
        for path in [source] if source.is_file() else _sounds_in(source):
            names_by_path.setdefault(path.resolve(), (name_root, as_text(path.relative_to(name_root).as_posix())))
    return [Named(name_root, name, path) for path, (name_root, name) in names_by_path.items()]


def unique_names(entries: Sequence[Named[Item]]) -> dict[str, Item]:
    """Return items by name; the root's name or a number makes names unique."""
    name_counts = Counter(entry.name for entry in entries)
    items, numbers = dict[str, Item](), Counter[str]()
    for entry in entries:
        base_name = entry.name if name_counts[entry.name] == 1 else f"{entry.root.resolve().name}/{entry.name}"
        name = base_name
        while name in items:
            numbers[base_name] += 1
            name = f"{base_name} ({numbers[base_name] + 1})"
        items[name] = entry.item
    return items


def some_sounds(sources: Sequence[Path]) -> dict[str, Path]:
    """Find sounds as `find_sounds`; raise UserError for none."""
    sounds = find_sounds(sources)
    if not sounds:
        source_names = ", ".join(map(str, sources))
        raise UserError(
            f"no sounds in {source_names}; give files or folders of wav, flac, ogg, mp3, aiff or the like, or read "
            "shards and tables by 'timbrel corpus build'"
        )
    return sounds


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def own_rate(sources: Sequence[Path]) -> int:
    """Return the highest rate in Hz; 0 if none is readable."""
    rates = [0]
    for path in find_sounds(sources).values():
        with contextlib.suppress(soundfile.SoundFileError, OSError, TypeError), open_sound(path) as file:
            rates.append(file.samplerate)
    return max(rates)


def trim_silence(sound: FloatFile, rate: int, shortest: int = SHORTEST) -> FloatFile | None:
    """Trim silence from both ends to no less than ``shortest`` samples; None for silence.

    Peak-to-peak ranges within 10 ms ignore DC. A stereo sound is silent where both sides are.
    """
    step_length = max(round(_SILENCE_SECONDS * rate), 2)
    step_swings = np.max([_step_swings(channel, step_length) for channel in sound.channels], axis=0)
    loud_steps = np.flatnonzero(step_swings > silence_level(float(step_swings.max())))
    if not len(loud_steps):
        return None
    return sound.stretch(
        int(loud_steps[0]) * step_length, min(int(loud_steps[-1] + 1) * step_length, len(sound)), shortest
    )


def _step_swings(samples: FloatFile, step_length: int) -> Samples:
    """Return half the peak-to-peak range of each step."""
    swing_parts = []
    for piece_start in range(0, len(samples), step_length * 1000):
        sound_piece = samples[piece_start : piece_start + step_length * 1000]
        padded_steps = np.pad(sound_piece, (0, -len(sound_piece) % step_length), mode="edge").reshape(-1, step_length)
        swing_parts.append((padded_steps.max(axis=1) - padded_steps.min(axis=1)) / 2)
    return np.concatenate(swing_parts)


def _sounds_in(folder: Path) -> list[Path]:
    """Return possible sound files in a folder, without hidden ones."""
    paths = ((path, path.relative_to(folder).parts) for path in folder.rglob("*"))
    return sorted(
        path
        for path, path_parts in paths
        if path.is_file() and not any(path_part.startswith(".") for path_part in path_parts) and _may_be_sound(path)
    )


def has_sound_suffix(path: PurePath) -> bool:
    return path.suffix[1:].lower() in _sound_suffixes()


@functools.cache
def _sound_suffixes() -> set[str]:
    readable_suffixes = {name.lower() for name in soundfile.available_formats()} - {"raw", "mat4", "mat5"}
    return readable_suffixes | _ALIASES | FOREIGN


def _may_be_sound(path: Path) -> bool:
    if has_sound_suffix(path):
        return True
    mime_type, _ = mimetypes.guess_type(path.name)
    if mime_type is not None and not mime_type.startswith("audio/"):
        return False
    try:
        with path.open("rb") as file:
            if phone_container(file) is not None:
                return True
        soundfile.info(path)
    except (soundfile.SoundFileError, OSError, TypeError):
        return False
    return True


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).rstrip(".")
