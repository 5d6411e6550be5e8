"""Reads sound files in chunks, whole or not at all, so that a build can resume, and trims room noise at their edges.

A stretch at an edge is noise if it is steady in all bands, far softer than the sound, and no softer moment follows: the
recording's floor. So swells, decays, textures and the breath before a tone are kept.
"""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from ... import __version__
from ...host.arrays import Array
from ...host.audio.decoding import root_key
from ...host.audio.mono_mix import mix_sides
from ...host.errors import Failure
from .clip_table import CONTINUE_HINT, FLOAT, sides_name
from .file_names import Names
from .inharmonicity import by_partials
from .note_segmentation import NoteSegment, is_melody, segment_notes
from .pitch import Samples, Sliceable, frame_count, pitch_track, track_at_key
from .report import Progress, no_progress
from .sound_files import (
    Copies,
    FloatFile,
    SoundFile,
    Unreadable,
    file_digest,
    fill_channels,
    samples_digest,
    trim_silence,
)
from .store import write_samples
from .stored_sounds import SoundLabels, StoredSound

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
    """Trim a recording's own noise from both ends to no less than ``shortest`` samples.

    The mono mix of a stereo sound decides, which has the power of both sides.
    """
    hop = round(HOP_SECONDS * rate)
    hop_powers = _step_powers(sound, hop)
    first_run, last_run = (_noise_run(_Edge(sound, rate, hop_powers, backwards)) for backwards in (False, True))
    if first_run is not None and last_run is not None:
        is_trusted = min(first_run.contrast_db, last_run.contrast_db) >= CLEAR_DB or _is_same(first_run, last_run)
        first_run, last_run = (first_run, last_run) if is_trusted else (None, None)
    else:
        first_run, last_run = (
            noise_run if noise_run is not None and _is_clear(noise_run) else None for noise_run in (first_run, last_run)
        )
    noise_lengths = [0 if noise_run is None else noise_run.frames * hop for noise_run in (first_run, last_run)]
    if not any(noise_lengths):
        return Denoised(sound, 0.0)
    edge_powers = [hop_powers[: noise_lengths[0] // hop], hop_powers[len(hop_powers) - noise_lengths[1] // hop :]]
    noise_level = max(float(np.median(powers)) ** 0.5 for powers in edge_powers if len(powers))
    start_trim, end_trim = (max(0, noise_length - round(MARGIN_SECONDS * rate)) for noise_length in noise_lengths)
    return Denoised(sound.stretch(start_trim, len(sound) - end_trim, shortest), noise_level)


class _Edge:
    """A recording's frames, counted from one of its edges."""

    def __init__(self, sound: Sliceable, rate: int, hop_powers: Array, backwards: bool) -> None:
        self._sound, self._backwards = sound, backwards
        self._hop, self._width = round(HOP_SECONDS * rate), HOPS * round(HOP_SECONDS * rate)
        self.count = max(0, len(hop_powers) - HOPS + 1)
        self._window = np.hanning(self._width).astype(np.float32)
        self._size = min(
            fft_size for exponent in range(32) for fft_size in (2**exponent, 3 * 2**exponent) if fft_size >= self._width
        )  # fast
        band_hz = np.geomspace(LOWEST_HZ, rate / 2, BANDS + 1)[:-1]
        lowest_band_hz = (2 + BAND_BINS * np.arange(BANDS)) * rate / self._width  # without the mean's bins
        band_bins = np.round(np.maximum(band_hz, lowest_band_hz) * self._size / rate).astype(int)
        self._bins = band_bins[band_bins < self._size // 2 - BAND_BINS]
        self._hop_powers = hop_powers[::-1] if backwards else hop_powers

    def powers(self, first_frame: int, count: int) -> Array:
        """Return the power of each band: [count, bands], fewer at the other edge."""
        count = min(count, self.count - first_frame)
        begin_frame = self.count - first_frame - count if self._backwards else first_frame
        samples = self._sound[begin_frame * self._hop : (begin_frame + count - 1) * self._hop + self._width]
        frames = np.lib.stride_tricks.sliding_window_view(samples, self._width)[:: self._hop]
        spectra = np.square(
            np.abs(np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * self._window, self._size))
        )
        powers = np.add.reduceat(spectra, self._bins, axis=1).astype(np.float32)
        return powers[::-1] if self._backwards else powers

    def hits(self) -> npt.NDArray[np.bool_]:
        """Return the frames, [count], where a short sound begins that is louder than clicks."""
        frame_powers = np.convolve(self._hop_powers, np.full(HOPS, 1 / HOPS, np.float32), "valid")
        noise_power, loudest_power = float(np.median(frame_powers[:EDGE_FRAMES])), float(frame_powers.max())
        lasting_powers = _rank_filter(self._hop_powers[:, np.newaxis], HIT_HOPS, 0)[: self.count, 0]
        is_tick = frame_powers > max(noise_power * _ratio(TICK_DB), loudest_power) / _ratio(TICK_RANGE_DB)
        return np.asarray(is_tick | (lasting_powers > noise_power * _ratio(HIT_DB)))


def _noise_run(edge: _Edge) -> _NoiseRun | None:
    """Return the noise from an edge on; None without."""
    if edge.count < 3 * EDGE_FRAMES:
        return None
    edge_powers = _rank_filter(edge.powers(0, EDGE_FRAMES), RANK_FRAMES, RANK)[: EDGE_FRAMES - RANK_FRAMES + 1]
    noise_powers = np.median(edge_powers, axis=0)
    if np.abs(_decibels(edge_powers, noise_powers).mean(axis=1)).max() > STEADY_DB:
        return None
    is_hit, noise_frames, contrast_db = edge.hits(), 0, 0.0
    for first_frame in range(0, edge.count, PIECE):
        band_powers = edge.powers(first_frame, PIECE + RANK_FRAMES - 1)
        excess_db = _decibels(_rank_filter(band_powers, RANK_FRAMES, RANK), noise_powers)[:PIECE]
        brief_excess_db = float(_decibels(_rank_filter(band_powers, HIT_HOPS + 1, 0), noise_powers).max())
        contrast_db = max(contrast_db, float(excess_db.max()), brief_excess_db - (HIT_CONTRAST_DB - CONTRAST_DB))
        mean_excess_db = excess_db.mean(axis=1)
        if mean_excess_db.min() < -STEADY_DB:
            return None
        is_sounding = (
            (mean_excess_db > LOUDER_DB)
            | (excess_db.max(axis=1) > PARTIAL_DB)
            | is_hit[first_frame : first_frame + PIECE]
        )
        if not noise_frames and is_sounding.any():
            noise_frames = first_frame + int(is_sounding.argmax())
            if noise_frames <= EDGE_FRAMES:
                return None
    if not noise_frames or contrast_db < CONTRAST_DB:
        return None
    if not _is_steady(edge, noise_frames, noise_powers):
        return None
    return _NoiseRun(
        noise_frames,
        contrast_db,
        np.median(_rank_filter(edge.powers(0, min(noise_frames, PIECE)), RANK_FRAMES, RANK), axis=0),
    )


def _is_steady(edge: _Edge, noise_frames: int, noise_powers: Array) -> bool:
    """Return whether noise neither rises nor falls from its outer to its inner third."""
    third_frames = min(noise_frames // 3, PIECE)
    outer_powers, inner_powers = (
        edge.powers(first_frame, third_frames + RANK_FRAMES - 1) for first_frame in (0, noise_frames - third_frames)
    )
    outer_sum, inner_sum = (powers.sum(axis=1, keepdims=True) for powers in (outer_powers, inner_powers))
    return (
        _trend_db(outer_powers, inner_powers, third_frames, noise_powers) <= BAND_TREND_DB
        and _trend_db(outer_sum, inner_sum, third_frames, noise_powers.sum(keepdims=True)) <= TREND_DB
    )


def _trend_db(outer_powers: Array, inner_powers: Array, count: int, noise_powers: Array) -> float:
    """Return the largest change of a band that two measures agree on: clicks move the one, beats of hum the other."""
    outer_median, inner_median = (np.median(powers[:count], axis=0) for powers in (outer_powers, inner_powers))
    outer_mean, inner_mean = (
        _rank_filter(powers, RANK_FRAMES, RANK)[:count].mean(axis=0) for powers in (outer_powers, inner_powers)
    )
    median_changes_db, mean_changes_db = (
        _decibels(outer_median, inner_median, noise_powers),
        _decibels(outer_mean, inner_mean, noise_powers),
    )
    return float(np.minimum(np.abs(median_changes_db), np.abs(mean_changes_db)).max())


def _is_clear(run: _NoiseRun) -> bool:
    """Return whether noise at one edge suffices."""
    return run.contrast_db >= CLEAR_DB and run.frames >= 2 * EDGE_FRAMES


def _is_same(first: _NoiseRun, last: _NoiseRun) -> bool:
    """Return whether both edges have the same noise."""
    return bool(np.abs(_decibels(first.powers, last.powers)).max() <= SAME_DB)


def _rank_filter(powers: Array, count: int, rank: int) -> Array:
    """Return the value of a rank, from the softest, among each frame and those after it: [frames, bands]."""
    padded_powers = np.pad(powers, ((0, count - 1), (0, 0)), mode="edge")
    return np.partition(np.lib.stride_tricks.sliding_window_view(padded_powers, count, axis=0), rank, axis=-1)[
        ..., rank
    ]


def _decibels(powers: Array, reference: Array, noise_powers: Array | None = None) -> Array:
    """Return powers over the reference in dB, both raised by a floor under the noise's mean."""
    floor_power = (reference if noise_powers is None else noise_powers).mean() / _ratio(RANGE_DB) + np.float32(1e-20)
    return np.asarray(10 * np.log10((powers + floor_power) / (reference + floor_power)))


def _ratio(decibels: float) -> float:
    """Return the ratio of powers."""
    return float(10 ** (decibels / 10))


def _step_powers(sound: Sliceable, hop: int) -> Array:
    """Return the power of each hop, without its mean: [hops]."""
    hop_count = len(sound) // hop
    sound_parts = [
        sound[first_hop * hop : min(first_hop + PIECE, hop_count) * hop] for first_hop in range(0, hop_count, PIECE)
    ]
    return np.concatenate(
        [np.zeros(0, np.float32), *(sound_part.reshape(-1, hop).var(axis=1) for sound_part in sound_parts)]
    )


CHUNK_BYTES = 64 << 20  # of sound files: some minutes of sound, lost at most when a build is killed
CHUNK_FILES = 1024


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
    """A sound with labels of its own, from an .sfz or all names; ``stamp`` changes with its file's content."""

    name: str
    stored: StoredSound
    size: int
    stamp: tuple[int, int, int, int]
    labels: SoundLabels
    velocity: int | None

    @classmethod
    def from_stored(cls, name: str, stored: StoredSound, labels: SoundLabels, velocity: int | None) -> "SoundToRead":
        """Raise OSError if the file is gone."""
        container = stored.container and stored.container.absolute()
        stored = replace(stored, path=stored.path.absolute(), container=container)
        return cls(name, stored, stored.size, _stamp(stored.file), labels, velocity)

    @property
    def has_changed(self) -> bool:
        try:
            return _stamp(self.stored.file) != self.stamp
        except OSError:  # it is gone; its clips were read before
            return False


def _stamp(path: Path) -> tuple[int, int, int, int]:
    """Return size, times and number of a file, which change with its content."""
    file_status = path.stat()
    return file_status.st_size, file_status.st_mtime_ns, file_status.st_ctime_ns, file_status.st_ino


@dataclass(frozen=True)
class Chunk:
    """Consecutive files, read into ``shard`` and ``sides``; ``folder`` holds the descriptions."""

    sounds: tuple[SoundToRead, ...]
    settings: ReadingSettings
    folder: Path
    shard: Path

    @property
    def sides(self) -> Path:
        return self.shard.with_name(sides_name(self.shard.name))

    @property
    def description(self) -> Path:
        return self.folder / f"{self.shard.stem}.json"

    @property
    def pitch(self) -> Path:
        return self.folder / f"{self.shard.stem}.pitch"

    @property
    def digest(self) -> str:
        """SHA-256 of files and settings."""
        file_fields = [(sound.name, sound.stored, sound.stamp, sound.labels, sound.velocity) for sound in self.sounds]
        return hashlib.sha256(
            repr((__version__, self.settings, file_fields)).encode("utf-8", "surrogateescape")
        ).hexdigest()


class ReadClip(BaseModel):
    """A clip, as `clip_table.Clip`; ``start``, ``frame`` and ``sides_start`` count within the chunk."""

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
    sides_start: int | None = None


class ReadSound(BaseModel):
    """A file's clips, or its ``fault``; ``detail``: the reason, or the earlier name of equal samples.

    ``root_key``: the key that the file itself names.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    sha256: str = ""
    decoded: str = ""
    fault: Literal["", "unreadable", "silent", "too short", "identical"] = ""
    detail: str = ""
    rate: int = 0
    clipped: bool = False
    remarks: list[str] = []
    root_key: int | None = None
    melody: bool = False
    clips: list[ReadClip] = []


class ReadChunk(BaseModel):
    """``length`` counts the shard's samples, ``sides_length`` those of its sides, ``frames`` its pitch."""

    model_config = ConfigDict(extra="forbid")

    digest: str
    length: int
    sides_length: int
    frames: int
    sounds: list[ReadSound]

    def fits(self, chunk: Chunk) -> bool:
        """Return whether this describes a chunk's files, and these are complete."""
        expected_counts = ((chunk.shard, self.length), (chunk.sides, self.sides_length), (chunk.pitch, self.frames))
        return self.digest == chunk.digest and all(
            not value_count or (path.is_file() and path.stat().st_size == value_count * FLOAT.itemsize)
            for path, value_count in expected_counts
        )


def chunks_of(sounds: Mapping[str, SoundToRead]) -> Iterator[tuple[SoundToRead, ...]]:
    """Yield consecutive sounds, up to 64 MiB or 1024 files together."""
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


def read_chunk(chunk: Chunk, progress: Progress = no_progress) -> None:
    """Read a chunk's files, unless they were read before; the description is written last.

    Raises:
        Failure: the disk is full.
    """
    if known_chunk(chunk) is not None:
        return
    chunk.description.unlink(missing_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=chunk.folder) as folder_name:
            folder = Path(folder_name)
            audio_path, sides_path, pitch_path, description_path = (
                folder / name for name in ("audio", "sides", "pitch", "description")
            )
            with contextlib.ExitStack() as files:
                audio_file, sides_file, pitch_file = (
                    files.enter_context(path.open("wb")) for path in (audio_path, sides_path, pitch_path)
                )
                scratch_files = [
                    files.enter_context((folder / name).open("w+b")) for name in ("mix", "first", "second")
                ]
                copies_folder = folder / "copies"  # of sounds in tar files and tables, one at a time
                copies_folder.mkdir()
                reader = _Reader(chunk.settings, audio_file, sides_file, pitch_file, scratch_files, copies_folder)
                read_sounds = []
                for sound_index, sound in enumerate(chunk.sounds):
                    progress(sound_index / len(chunk.sounds), sound.name)
                    read_sounds.append(reader.read(sound))
                    if sound.has_changed:
                        raise Failure(f"{sound.stored.file} changed while it was read; {CONTINUE_HINT}")
            chunk_record = ReadChunk(
                digest=chunk.digest,
                length=reader.length,
                sides_length=reader.sides_length,
                frames=reader.frames,
                sounds=read_sounds,
            )
            description_path.write_text(chunk_record.model_dump_json(), encoding="utf-8")
            audio_path.replace(chunk.shard)
            if reader.sides_length:
                sides_path.replace(chunk.sides)
            pitch_path.replace(chunk.pitch)
            description_path.replace(chunk.description)
    except OSError as error:
        raise Failure(
            f"cannot write {chunk.shard}: {error.strerror or error}; make room, and {CONTINUE_HINT}"
        ) from error


class _Reader:
    """Reads files. ``scratch``: a file for a stereo sound's mix, and one for each channel; ``copies``: a folder."""

    def __init__(
        self,
        settings: ReadingSettings,
        audio: BinaryIO,
        sides: BinaryIO,
        pitch: BinaryIO,
        scratch: Sequence[BinaryIO],
        copies: Path,
    ) -> None:
        self._settings, self._audio, self._sides, self._pitch = settings, audio, sides, pitch
        self._copies_folder = copies
        self._mix_file, *self._channel_files = scratch
        self._names = Names(settings.group, settings.label)
        self._copies = Copies()
        self.length = self.sides_length = self.frames = 0

    def read(self, sound: SoundToRead) -> ReadSound:
        """Read a sound, and write its clips."""
        try:
            with sound.stored.as_file(self._copies_folder) as path:
                try:
                    sha256 = file_digest(path)
                except OSError as error:
                    raise Unreadable(error.strerror or str(error)) from error
                read_sound = self._read_file(sound, path, sha256)
                with contextlib.suppress(OSError):
                    read_sound.root_key = root_key(path)
                return read_sound
        except Unreadable as error:
            return ReadSound(name=sound.name, fault="unreadable", detail=str(error))

    def _read_file(self, sound: SoundToRead, path: Path, sha256: str) -> ReadSound:
        """Read a sound's file."""
        settings, name = self._settings, sound.name
        try:
            sound_file = SoundFile(path)
            samples = self._decode(sound_file)
        except Unreadable as error:
            return ReadSound(name=name, sha256=sha256, fault="unreadable", detail=str(error))
        if len(samples) < settings.shortest:
            return ReadSound(name=name, sha256=sha256, fault="too short")
        if (trimmed_sound := trim_silence(samples, settings.rate, settings.shortest)) is None:
            return ReadSound(name=name, sha256=sha256, fault="silent")
        decoded_digest = samples_digest(samples.channels)
        if earlier_name := self._copies.earlier(name, decoded_digest):
            return ReadSound(
                name=name, sha256=sha256, decoded=decoded_digest.hex(), fault="identical", detail=earlier_name
            )
        trimmed_sound, noise_level = without_noise(trimmed_sound, settings.rate, settings.shortest)
        track = by_partials(trimmed_sound, settings.rate, pitch_track(trimmed_sound, settings.rate, noise_level))
        note_segments = (
            segment_notes(trimmed_sound, settings.rate)
            if settings.melodies and is_melody(trimmed_sound, track, settings.rate)
            else []
        )
        long_notes = [note for note in note_segments if note.stop - note.start >= settings.shortest]
        return ReadSound(
            name=name,
            sha256=sha256,
            decoded=decoded_digest.hex(),
            rate=sound_file.rate,
            clipped=sound_file.clipped,
            remarks=sound_file.remarks,
            melody=bool(long_notes),
            clips=[*self._notes(trimmed_sound, long_notes, sound, noise_level)]
            if long_notes
            else [self._whole(trimmed_sound, track, sound, noise_level)],
        )

    def _decode(self, sound_file: SoundFile) -> FloatFile:
        """Return a file's sound: its one channel, or the mix of both sides with these."""
        rate = self._settings.rate
        channels = fill_channels(self._channel_files, sound_file.decode(rate))
        if len(channels) == 1:
            return channels[0]
        left, right = channels
        return FloatFile.filled(self._mix_file, mix_sides(left, right, rate), (left, right))

    def _whole(self, samples: FloatFile, track: Samples, sound: SoundToRead, noise_level: float) -> ReadClip:
        """Write a sound as one clip, at the key of its labels if it has one."""
        labels = sound.labels
        if labels.key is not None:
            track = track_at_key(track, samples, self._settings.rate, labels.key, noise_level)
        return self._write_clip(
            samples,
            track,
            name=sound.name,
            group=self._names.group(sound.name),
            label=self._names.label(sound.stored.path) or labels.label,
            key=labels.key,
            velocity=sound.velocity,
        )

    def _notes(
        self, sound: FloatFile, notes: list[NoteSegment], source: SoundToRead, noise_level: float
    ) -> Iterator[ReadClip]:
        """Write a clip for each note. A mark in a melody's name is not each note's velocity."""
        for number, note in enumerate(notes, 1):
            note_sound, name = sound.stretch(note.start, note.stop), f"{source.name}#{number:0{len(str(len(notes)))}}"
            yield self._write_clip(
                note_sound,
                by_partials(note_sound, self._settings.rate, pitch_track(note_sound, self._settings.rate, noise_level)),
                name=name,
                group=self._names.group(name),
                label=self._names.label(source.stored.path) or source.labels.label,
                onset_seconds=note.start / self._settings.rate,
                slurred=note.slurred,
            )

    def _write_clip(self, samples: FloatFile, track: Samples, **labels: object) -> ReadClip:
        """Write a clip's samples, sides and pitch; return its place and labels."""
        assert len(track) == frame_count(len(samples))
        clip_fields: dict[str, object] = {"start": self.length, "length": len(samples), "frame": self.frames}
        peak = write_samples(self._audio, samples)
        if samples.sides:
            clip_fields["sides_start"] = self.sides_length
            peak = max(write_samples(self._sides, side) for side in samples.sides)
            self.sides_length += 2 * len(samples)
        self._pitch.write(track.astype(FLOAT).tobytes())
        self.length += len(samples)
        self.frames += len(track)
        clip_fields["peak"] = peak
        return ReadClip.model_validate({**labels, **clip_fields})
