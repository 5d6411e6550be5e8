"""Reads sound files in chunks, whole or not at all, so that a build can resume, and trims room noise at their edges.

A stretch at an edge is noise if it is steady in all bands, far softer than the sound, and no softer moment follows: the
recording's floor. So swells, decays, textures and the breath before a tone are kept.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from ... import __version__
from ...host.arrays import Array
from ...host.errors import Failure
from .clip_table import CONTINUE_HINT, FLOAT
from .file_names import Names
from .inharmonicity import by_partials
from .note_segmentation import NoteSegment, is_melody, segment_notes
from .pitch import Samples, Sliceable, frame_count, pitch_track, track_at_key
from .sfz import SfzSample
from .sound_files import Copies, FloatFile, SoundFile, Unreadable, file_digest, samples_digest, trim_silence
from .store import write_samples

HOP_SECONDS, HOPS = 0.01, 3  # between frames, and in a frame
# Bands have equal ratios, and are at least so wide. A tone rises in one, long before all do.
BANDS, LOWEST_HZ, BAND_BINS = 24, 60.0, 3
EDGE_FRAMES = 25  # frames of an edge whose spectrum is the noise's; a breath is shorter, as are most attacks
RANK_FRAMES, RANK = 20, 2  # of so many frames from one on, the third softest counts: it drops clicks and keeps tones
RANGE_DB = 30.0  # bands so far below the noise's mean band count little, such as those above a codec's cut
STEADY_DB = 3.0  # of the mean band, in either direction
LOUDER_DB, PARTIAL_DB = 2.0, 9.0  # above the noise in the mean band, and in one: a broadband sound and a tone begin
HIT_HOPS, HIT_DB = 4, 10.0  # so long above the noise: clicks are shorter
TICK_DB, TICK_RANGE_DB = 20.0, 6.0  # above the noise, and below the loudest: so loud, one frame is a sound
CONTRAST_DB, HIT_CONTRAST_DB = 15.0, 23.0  # above the noise in one band, of sounds and of hits: rain and surf vary less
CLEAR_DB = 35.0  # by such a contrast noise at one edge is trusted; else both edges must have the same
BAND_TREND_DB, TREND_DB = 3.5, 1.0  # from the outer to the inner third, in one band and in all: a decay or a swell
SAME_DB = 3.5  # in one band: one noise at both edges
MARGIN_SECONDS = 0.03  # of noise kept: the softest beginning of a sound lies below it
PIECE = 1024  # frames at once, 10 s: bounds memory


class Denoised(NamedTuple):
    """The sound between the noise of its edges, and the noise's level (root of the mean square); 0 without noise."""

    sound: FloatFile
    noise: float


class _NoiseRun(NamedTuple):
    frames: int
    contrast_db: float
    powers: Array  # [bands]


def without_noise(sound: FloatFile, rate: int, shortest: int) -> Denoised:
    """Trim a recording's own noise from both ends to no less than ``shortest`` samples."""
    hop = round(HOP_SECONDS * rate)
    steps = _step_powers(sound, hop)
    first, last = (_noise_run(_Edge(sound, rate, steps, backwards)) for backwards in (False, True))
    if first is not None and last is not None:
        trusted = min(first.contrast_db, last.contrast_db) >= CLEAR_DB or _is_same(first, last)
        first, last = (first, last) if trusted else (None, None)
    else:
        first, last = (run if run is not None and _is_clear(run) else None for run in (first, last))
    lengths = [0 if run is None else run.frames * hop for run in (first, last)]
    if not any(lengths):
        return Denoised(sound, 0.0)
    powers = [steps[: lengths[0] // hop], steps[len(steps) - lengths[1] // hop :]]
    noise = max(float(np.median(part)) ** 0.5 for part in powers if len(part))
    start, stop = (max(0, length - round(MARGIN_SECONDS * rate)) for length in lengths)
    return Denoised(sound.stretch(start, len(sound) - stop, shortest), noise)


class _Edge:
    """A recording's frames, counted from one of its edges."""

    def __init__(self, sound: Sliceable, rate: int, steps: Array, backwards: bool) -> None:
        self._sound, self._backwards = sound, backwards
        self._hop, self._width = round(HOP_SECONDS * rate), HOPS * round(HOP_SECONDS * rate)
        self.count = max(0, len(steps) - HOPS + 1)
        self._window = np.hanning(self._width).astype(np.float32)
        self._size = min(
            size for power in range(32) for size in (2**power, 3 * 2**power) if size >= self._width
        )  # fast
        hertz = np.geomspace(LOWEST_HZ, rate / 2, BANDS + 1)[:-1]
        lowest_hz = (2 + BAND_BINS * np.arange(BANDS)) * rate / self._width  # without the mean's bins
        bins = np.round(np.maximum(hertz, lowest_hz) * self._size / rate).astype(int)
        self._bins = bins[bins < self._size // 2 - BAND_BINS]
        self._steps = steps[::-1] if backwards else steps

    def powers(self, first: int, count: int) -> Array:
        """Return the power of each band: [count, bands], fewer at the other edge."""
        count = min(count, self.count - first)
        begin = self.count - first - count if self._backwards else first
        samples = self._sound[begin * self._hop : (begin + count - 1) * self._hop + self._width]
        frames = np.lib.stride_tricks.sliding_window_view(samples, self._width)[:: self._hop]
        spectra = np.square(
            np.abs(np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * self._window, self._size))
        )
        powers = np.add.reduceat(spectra, self._bins, axis=1).astype(np.float32)
        return powers[::-1] if self._backwards else powers

    def hits(self) -> npt.NDArray[np.bool_]:
        """Return the frames, [count], where a short sound begins that is louder than clicks."""
        totals = np.convolve(self._steps, np.full(HOPS, 1 / HOPS, np.float32), "valid")
        noise, loudest = float(np.median(totals[:EDGE_FRAMES])), float(totals.max())
        lasting = _rank_filter(self._steps[:, np.newaxis], HIT_HOPS, 0)[: self.count, 0]
        ticks = totals > max(noise * _ratio(TICK_DB), loudest) / _ratio(TICK_RANGE_DB)
        return np.asarray(ticks | (lasting > noise * _ratio(HIT_DB)))


def _noise_run(edge: _Edge) -> _NoiseRun | None:
    """Return the noise from an edge on; None without."""
    if edge.count < 3 * EDGE_FRAMES:
        return None
    beginning = _rank_filter(edge.powers(0, EDGE_FRAMES), RANK_FRAMES, RANK)[: EDGE_FRAMES - RANK_FRAMES + 1]
    noise = np.median(beginning, axis=0)
    if np.abs(_decibels(beginning, noise).mean(axis=1)).max() > STEADY_DB:
        return None
    hits, length, contrast_db = edge.hits(), 0, 0.0
    for first in range(0, edge.count, PIECE):
        powers = edge.powers(first, PIECE + RANK_FRAMES - 1)
        excess_db = _decibels(_rank_filter(powers, RANK_FRAMES, RANK), noise)[:PIECE]
        brief_db = float(_decibels(_rank_filter(powers, HIT_HOPS + 1, 0), noise).max())
        contrast_db = max(contrast_db, float(excess_db.max()), brief_db - (HIT_CONTRAST_DB - CONTRAST_DB))
        mean_db = excess_db.mean(axis=1)
        if mean_db.min() < -STEADY_DB:
            return None
        sounding = (mean_db > LOUDER_DB) | (excess_db.max(axis=1) > PARTIAL_DB) | hits[first : first + PIECE]
        if not length and sounding.any():
            length = first + int(sounding.argmax())
            if length <= EDGE_FRAMES:
                return None
    if not length or contrast_db < CONTRAST_DB:
        return None
    if not _is_steady(edge, length, noise):
        return None
    return _NoiseRun(
        length, contrast_db, np.median(_rank_filter(edge.powers(0, min(length, PIECE)), RANK_FRAMES, RANK), axis=0)
    )


def _is_steady(edge: _Edge, length: int, noise: Array) -> bool:
    third = min(length // 3, PIECE)
    outer, inner = (edge.powers(first, third + RANK_FRAMES - 1) for first in (0, length - third))
    outer_sum, inner_sum = (part.sum(axis=1, keepdims=True) for part in (outer, inner))
    return (
        _trend_db(outer, inner, third, noise) <= BAND_TREND_DB
        and _trend_db(outer_sum, inner_sum, third, noise.sum(keepdims=True)) <= TREND_DB
    )


def _trend_db(outer: Array, inner: Array, count: int, noise: Array) -> float:
    """Return the largest change of a band that two measures agree on: clicks move the one, beats of hum the other."""
    outer_median, inner_median = (np.median(part[:count], axis=0) for part in (outer, inner))
    outer_mean, inner_mean = (_rank_filter(part, RANK_FRAMES, RANK)[:count].mean(axis=0) for part in (outer, inner))
    medians, means = _decibels(outer_median, inner_median, noise), _decibels(outer_mean, inner_mean, noise)
    return float(np.minimum(np.abs(medians), np.abs(means)).max())


def _is_clear(run: _NoiseRun) -> bool:
    return run.contrast_db >= CLEAR_DB and run.frames >= 2 * EDGE_FRAMES


def _is_same(first: _NoiseRun, last: _NoiseRun) -> bool:
    return bool(np.abs(_decibels(first.powers, last.powers)).max() <= SAME_DB)


def _rank_filter(powers: Array, count: int, rank: int) -> Array:
    """Return the value of a rank, from the softest, among each frame and those after it: [frames, bands]."""
    padded = np.pad(powers, ((0, count - 1), (0, 0)), mode="edge")
    return np.partition(np.lib.stride_tricks.sliding_window_view(padded, count, axis=0), rank, axis=-1)[..., rank]


def _decibels(powers: Array, reference: Array, noise: Array | None = None) -> Array:
    floor_power = (reference if noise is None else noise).mean() / _ratio(RANGE_DB) + np.float32(1e-20)
    return np.asarray(10 * np.log10((powers + floor_power) / (reference + floor_power)))


def _ratio(decibels: float) -> float:
    return float(10 ** (decibels / 10))


def _step_powers(sound: Sliceable, hop: int) -> Array:
    """Return the power of each hop, without its mean: [hops]."""
    count = len(sound) // hop
    parts = [sound[first * hop : min(first + PIECE, count) * hop] for first in range(0, count, PIECE)]
    return np.concatenate([np.zeros(0, np.float32), *(part.reshape(-1, hop).var(axis=1) for part in parts)])


CHUNK_BYTES = 64 << 20  # of sound files: some minutes of sound, lost at most when a build is killed
CHUNK_FILES = 1024

ChunkProgress = Callable[[float, str], None]  # receives the share of a chunk, 0 to 1, and a file's name


@dataclass(frozen=True)
class ReadingSettings:
    """Settings that determine a file's clips; ``shortest`` is in samples."""

    rate: int
    shortest: int
    melodies: bool
    group: str | None
    label: str | None


@dataclass(frozen=True)
class SoundToRead:
    """A file with labels from its .sfz and all names; ``stamp`` changes with its content."""

    name: str
    path: Path
    stamp: tuple[int, int, int, int]
    sfz_sample: SfzSample
    velocity: int | None

    @classmethod
    def from_file(cls, name: str, path: Path, sfz_sample: SfzSample, velocity: int | None) -> "SoundToRead":
        """Raise OSError if the file is gone."""
        return cls(name, path.absolute(), _stamp(path), sfz_sample, velocity)

    @property
    def size(self) -> int:
        return self.stamp[0]

    @property
    def has_changed(self) -> bool:
        try:
            return _stamp(self.path) != self.stamp
        except OSError:  # it is gone; its clips were read before
            return False


def _stamp(path: Path) -> tuple[int, int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@dataclass(frozen=True)
class Chunk:
    """Consecutive files, read into ``shard``; ``folder`` holds the descriptions."""

    sounds: tuple[SoundToRead, ...]
    settings: ReadingSettings
    folder: Path
    shard: Path

    @property
    def description(self) -> Path:
        return self.folder / f"{self.shard.stem}.json"

    @property
    def pitch(self) -> Path:
        return self.folder / f"{self.shard.stem}.pitch"

    @property
    def digest(self) -> str:
        """SHA-256 of files and settings."""
        files = [(sound.name, str(sound.path), sound.stamp, sound.sfz_sample, sound.velocity) for sound in self.sounds]
        return hashlib.sha256(repr((__version__, self.settings, files)).encode("utf-8", "surrogateescape")).hexdigest()


class ReadClip(BaseModel):
    """A clip, as `clip_table.Clip`; ``start`` and ``frame`` count within the chunk."""

    model_config = ConfigDict(extra="forbid")

    name: str
    group: str
    label: str
    start: int
    length: int
    frame: int
    peak: float
    key: int | None = None
    velocity: int | None = None
    onset_seconds: float | None = None
    slurred: bool = False


class ReadSound(BaseModel):
    """A file's clips, or its ``fault``; ``detail``: the reason, or the earlier name of equal samples."""

    model_config = ConfigDict(extra="forbid")

    name: str
    sha256: str = ""
    decoded: str = ""
    fault: Literal["", "unreadable", "silent", "too short", "identical"] = ""
    detail: str = ""
    rate: int = 0
    clipped: bool = False
    remarks: list[str] = []
    melody: bool = False
    clips: list[ReadClip] = []


class ReadChunk(BaseModel):
    """``length`` counts the shard's samples, ``frames`` its pitch."""

    model_config = ConfigDict(extra="forbid")

    digest: str
    length: int
    frames: int
    sounds: list[ReadSound]

    def fits(self, chunk: Chunk) -> bool:
        sizes = ((chunk.shard, self.length), (chunk.pitch, self.frames))
        return self.digest == chunk.digest and all(
            not count or (path.is_file() and path.stat().st_size == count * FLOAT.itemsize) for path, count in sizes
        )


def chunks_of(sounds: Mapping[str, SoundToRead]) -> Iterator[tuple[SoundToRead, ...]]:
    chunk_sounds, chunk_bytes = list[SoundToRead](), 0
    for sound in sounds.values():
        if chunk_sounds and (chunk_bytes + sound.size > CHUNK_BYTES or len(chunk_sounds) == CHUNK_FILES):
            yield tuple(chunk_sounds)
            chunk_sounds, chunk_bytes = [], 0
        chunk_sounds.append(sound)
        chunk_bytes += sound.size
    if chunk_sounds:
        yield tuple(chunk_sounds)


def known_chunk(chunk: Chunk) -> ReadChunk | None:
    """Return a read chunk's description; None if its files or settings changed."""
    try:
        record = ReadChunk.model_validate_json(chunk.description.read_bytes())
    except (OSError, ValidationError):
        return None
    return record if record.fits(chunk) else None


def read_chunk(chunk: Chunk, report_progress: ChunkProgress | None = None) -> None:
    """Read a chunk's files, unless they were read before; the description is written last.

    Raises:
        Failure: the disk is full.
    """
    if known_chunk(chunk) is not None:
        return
    chunk.description.unlink(missing_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=chunk.folder) as name:
            work = Path(name)
            audio, pitch, description = work / "audio", work / "pitch", work / "description"
            with audio.open("wb") as audio_file, pitch.open("wb") as pitch_file, (work / "scratch").open("w+b") as raw:
                reader = _Reader(chunk.settings, audio_file, pitch_file, raw)
                sounds = []
                for number, sound in enumerate(chunk.sounds):
                    if report_progress is not None:
                        report_progress(number / len(chunk.sounds), sound.name)
                    sounds.append(reader.read(sound))
                    if sound.has_changed:
                        raise Failure(f"{sound.path} changed while it was read; {CONTINUE_HINT}")
            record = ReadChunk(digest=chunk.digest, length=reader.length, frames=reader.frames, sounds=sounds)
            description.write_text(record.model_dump_json(), encoding="utf-8")
            audio.replace(chunk.shard)
            pitch.replace(chunk.pitch)
            description.replace(chunk.description)
    except OSError as error:
        raise Failure(
            f"cannot write {chunk.shard}: {error.strerror or error}; make room, and {CONTINUE_HINT}"
        ) from error


class _Reader:
    def __init__(self, settings: ReadingSettings, audio: BinaryIO, pitch: BinaryIO, scratch: BinaryIO) -> None:
        self._settings, self._audio, self._pitch, self._scratch = settings, audio, pitch, scratch
        self._names = Names(settings.group, settings.label)
        self._copies = Copies()
        self.length = self.frames = 0

    def read(self, sound: SoundToRead) -> ReadSound:
        settings, name = self._settings, sound.name
        try:
            sha256 = file_digest(sound.path)
        except OSError as error:
            return ReadSound(name=name, fault="unreadable", detail=error.strerror or str(error))
        try:
            file = SoundFile(sound.path)
            samples = FloatFile.filled(self._scratch, file.mono(settings.rate))
        except Unreadable as error:
            return ReadSound(name=name, sha256=sha256, fault="unreadable", detail=str(error))
        if len(samples) < settings.shortest:
            return ReadSound(name=name, sha256=sha256, fault="too short")
        if (trimmed_sound := trim_silence(samples, settings.rate, settings.shortest)) is None:
            return ReadSound(name=name, sha256=sha256, fault="silent")
        decoded = samples_digest(samples)
        if original := self._copies.earlier(name, decoded):
            return ReadSound(name=name, sha256=sha256, decoded=decoded.hex(), fault="identical", detail=original)
        trimmed_sound, noise = without_noise(trimmed_sound, settings.rate, settings.shortest)
        track = by_partials(trimmed_sound, settings.rate, pitch_track(trimmed_sound, settings.rate, noise))
        report = ReadSound(name=name, sha256=sha256, decoded=decoded.hex(), rate=file.rate, clipped=file.clipped)
        report = report.model_copy(update={"remarks": file.remarks})
        segments = (
            segment_notes(trimmed_sound, settings.rate)
            if settings.melodies and is_melody(trimmed_sound, track, settings.rate)
            else []
        )
        if notes := [note for note in segments if note.stop - note.start >= settings.shortest]:
            clips = [*self._notes(trimmed_sound, notes, sound, noise)]
            return report.model_copy(update={"melody": True, "clips": clips})
        sfz_sample = sound.sfz_sample
        if sfz_sample.key is not None:
            track = track_at_key(track, trimmed_sound, settings.rate, sfz_sample.key, noise)
        clip = self._write_clip(
            trimmed_sound,
            track,
            name=name,
            group=self._names.group(name),
            label=self._names.label(sound.path) or sfz_sample.label,
            key=sfz_sample.key,
            velocity=sound.velocity,
        )
        return report.model_copy(update={"clips": [clip]})

    def _notes(
        self, sound: FloatFile, notes: list[NoteSegment], source: SoundToRead, noise: float
    ) -> Iterator[ReadClip]:
        """A mark in a melody's name is not each note's velocity."""
        for number, note in enumerate(notes, 1):
            note_sound, name = sound.stretch(note.start, note.stop), f"{source.name}#{number:0{len(str(len(notes)))}}"
            yield self._write_clip(
                note_sound,
                by_partials(note_sound, self._settings.rate, pitch_track(note_sound, self._settings.rate, noise)),
                name=name,
                group=self._names.group(name),
                label=self._names.label(source.path),
                onset_seconds=note.start / self._settings.rate,
                slurred=note.slurred,
            )

    def _write_clip(self, samples: FloatFile, track: Samples, **labels: object) -> ReadClip:
        assert len(track) == frame_count(len(samples))
        start, frame = self.length, self.frames
        peak = write_samples(self._audio, samples)
        self._pitch.write(track.astype(FLOAT).tobytes())
        self.length += len(samples)
        self.frames += len(track)
        place = {"start": start, "length": len(samples), "frame": frame, "peak": peak}
        return ReadClip.model_validate({**labels, **place})
