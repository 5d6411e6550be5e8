"""Renders batches of a data set's notes into shards (WebDataset's tar files), written whole or not at all, with an
index."""

import functools
import hashlib
import io
import json
import math
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ... import __version__
from ...host.arrays import Array, Doubles
from ...host.audio.sound_files import flac_bytes, float_wav_bytes
from ...host.errors import Failure, UserError
from ...host.files import WRITING, check_new_folder, replacing
from ...host.play.separate_notes import render_notes
from ...host.preset.collected_files import referenced_files
from ...host.preset.library import Patch, open_patch
from ...host.preset.shipped import shipped_models, shipped_presets
from ...host.units import gain_to_db
from .drawing import BATCH, DatasetPreset, DatasetSettings, DrawnNote, draw

PARTS = 4  # of a block of 400 ms: blocks overlap by three of them
PART_SECONDS = 0.1
ABSOLUTE_LUFS, RELATIVE_LU = -70.0, -10.0  # gates
OFFSET_DB = -0.691
# The analogue filters behind the standard's coefficients for 48 kHz (De Man, "Evaluation of implementations of the EBU
# R128 loudness measurement", AES 145, 2018): a shelf that raises the treble, and a high pass.
SHELF_HZ, SHELF_Q, SHELF_DB = 1681.974450955533, 0.7071752369554196, 3.999843853973347
PASS_HZ, PASS_Q = 38.13547087602444, 0.5003270373238773
SHELF_SLOPE = 0.4996667741545416


def loudness_lufs(sound: Array, rate: int) -> float | None:
    """Return the integrated loudness of [channels, n] in LUFS; None below the gate, or under 400 ms."""
    size = round(PART_SECONDS * rate)
    count = sound.shape[1] // size
    if count < PARTS:
        return None
    spectra = np.fft.rfft(sound[:, : count * size].reshape(len(sound), count, size))
    powers = np.square(spectra.real) + np.square(spectra.imag)
    energies = (powers * _weights(rate, size)).sum(axis=(0, 2), dtype=np.float64)  # mean squares of both channels
    sums = np.concatenate([[0.0], np.cumsum(energies)])
    blocks = (sums[PARTS:] - sums[:-PARTS]) / PARTS
    loud = blocks[blocks > _mean_square(ABSOLUTE_LUFS)]
    if not len(loud):
        return None
    gated = loud[loud > loud.mean() * 10 ** (RELATIVE_LU / 10)]
    return float(OFFSET_DB + 10 * np.log10(gated.mean()))


def _mean_square(lufs: float) -> float:
    return float(10 ** ((lufs - OFFSET_DB) / 10))


@functools.lru_cache(maxsize=8)
def _weights(rate: int, size: int) -> Array:
    gain = np.square(np.abs(_response(np.arange(size // 2 + 1) * rate / size, rate)))
    sides = np.full(size // 2 + 1, 2.0)
    sides[0] = 1.0
    if size % 2 == 0:
        sides[-1] = 1.0
    weights: Array = (gain * sides / size**2).astype(np.float32)
    return weights


def _response(hertz: Doubles, rate: int) -> npt.NDArray[np.complex128]:
    z = np.exp(-2j * np.pi * hertz / rate)
    k, high = math.tan(math.pi * SHELF_HZ / rate), 10 ** (SHELF_DB / 20)
    middle = high**SHELF_SLOPE
    shelf = _biquad(
        z,
        (high + middle * k / SHELF_Q + k * k, 2 * (k * k - high), high - middle * k / SHELF_Q + k * k),
        (1 + k / SHELF_Q + k * k, 2 * (k * k - 1), 1 - k / SHELF_Q + k * k),
    )
    k = math.tan(math.pi * PASS_HZ / rate)
    scale = 1 + k / PASS_Q + k * k
    passed = _biquad(z, (scale, -2 * scale, scale), (scale, 2 * (k * k - 1), 1 - k / PASS_Q + k * k))
    return shelf * passed


def _biquad(
    z: npt.NDArray[np.complex128], feedforward: tuple[float, float, float], feedback: tuple[float, float, float]
) -> npt.NDArray[np.complex128]:
    numerator = feedforward[0] + feedforward[1] * z + feedforward[2] * z * z
    denominator = feedback[0] + feedback[1] * z + feedback[2] * z * z
    ratio: npt.NDArray[np.complex128] = numerator / denominator
    return ratio


ALLOCATED_BYTES = (32 << 20) - (1 << 16)  # bytes, just below the largest that glibc ever keeps when it is freed
FADE_SECONDS = 0.005  # at the end of a file, where a note may still sound
SILENT_DB = -120.0
A4_HZ, A4_KEY = 440.0, 69


class Member(NamedTuple):
    name: str
    data: bytes


class Job(NamedTuple):
    """Everything to render any batch, in plain values, so that it travels.

    ``digests``: of presets with models and other files. ``settings``: of `DatasetSettings`, as JSON.
    """

    presets: tuple[str, ...]
    digests: tuple[str, ...]
    settings: str
    notes: int
    version: str

    @classmethod
    def for_patches(
        cls, names: Sequence[str], patches: Sequence[Patch], settings: DatasetSettings, notes: int
    ) -> "Job":
        shipped_names = {*shipped_presets(), *shipped_models()}
        locations = [
            name if name in shipped_names or not Path(name).exists() else str(Path(name).absolute()) for name in names
        ]
        digests = tuple(_digest(patch) for patch in patches)
        return cls(tuple(locations), digests, settings.model_dump_json(), notes, __version__)

    @property
    def batches(self) -> int:
        return -(-self.notes // BATCH)


def _digest(patch: Patch) -> str:
    files = {name: hashlib.sha256(data).hexdigest() for name, data in referenced_files(patch)}
    return hashlib.sha256(json.dumps([patch.digest, files], sort_keys=True).encode()).hexdigest()


def render_batch(job: Job, number: int) -> list[Member]:
    """Return the files of a batch's notes, in their order.

    Raises:
        UserError: this process has another timbrel, model or preset.
        Failure: a sound is not finite.
    """
    presets, settings = _opened(job)
    first = number * BATCH
    drawn_notes = [draw(note_number, presets, settings) for note_number in range(first, min(first + BATCH, job.notes))]
    members: dict[int, list[Member]] = {}
    for preset_index in sorted({note.preset for note in drawn_notes}):
        preset_notes = [note for note in drawn_notes if note.preset == preset_index]
        length = round(settings.seconds * settings.sample_rate)
        sounds = render_notes(
            presets[preset_index].patch, [note.note for note in preset_notes], length, settings.sample_rate
        )
        for position, sound in sounds:
            note = preset_notes[position]
            samples = _shift_to_onset(sound.samples, note.onset_samples, settings)
            labels = _labels(note, presets[preset_index].patch, sound.pitch, samples, settings)
            members[note.number] = list(_members(note.number, samples, labels, settings))
    return [member for note in drawn_notes for member in members[note.number]]


@functools.lru_cache(maxsize=2)
def _opened(job: Job) -> tuple[list[DatasetPreset], DatasetSettings]:
    # once it is freed, glibc keeps smaller arrays for reuse: a fifth of the time otherwise
    np.empty(ALLOCATED_BYTES, np.uint8)
    if job.version != __version__:
        raise UserError(f"timbrel {__version__} cannot go on with the notes of {job.version}; install the same version")
    settings = DatasetSettings.model_validate_json(job.settings)
    presets = []
    for name, digest in zip(job.presets, job.digests, strict=True):
        patch = open_patch(name)
        if _digest(patch) != digest:
            raise UserError(f"{name} is another preset or model here than at the start; give all machines the same")
        presets.append(DatasetPreset(patch, settings))
    return presets, settings


def _shift_to_onset(sound: Array, onset: int, settings: DatasetSettings) -> Array:
    length = sound.shape[1]
    shifted = np.zeros((2 if settings.stereo else 1, length), np.float32)
    shifted[:, onset:] = (sound if settings.stereo else sound.mean(axis=0, keepdims=True))[:, : length - onset]
    fade = round(FADE_SECONDS * settings.sample_rate)
    shifted[:, length - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return shifted


def _labels(note: DrawnNote, patch: Patch, pitch: float, samples: Array, settings: DatasetSettings) -> dict[str, Any]:
    if not np.isfinite(samples).all():
        raise Failure(f"note {note.number} of {patch.name} is not finite; leave out the knobs that lead there")
    loudness = loudness_lufs(samples, settings.sample_rate)
    has_pitch = patch.model.card.keyed and math.isfinite(pitch)
    labels: dict[str, Any] = {
        "number": note.number,
        "preset": patch.name,
        "model_sha256": patch.model.sha256,
        "key": note.note.key,
        "pitch_hz": round(A4_HZ * 2 ** ((pitch - A4_KEY) / 12), 4) if has_pitch else None,
        "velocity": note.note.velocity,
        "onset_seconds": round(note.onset_samples / settings.sample_rate, 6),
        "held_seconds": round(note.note.held_seconds, 6),
        "sample_rate": settings.sample_rate,
        "latents": _code(note, patch),
        "loudness_lufs": None if loudness is None else round(loudness, 2),
        "peak_dbfs": round(max(gain_to_db(float(np.abs(samples).max())), SILENT_DB), 2),
    }
    if (
        key_label := next((entry.label for entry in patch.preset.keys if entry.key == note.note.key), None)
    ) is not None:
        labels["label"] = key_label
    if note.landmark is not None:
        labels["landmark"] = note.landmark
    if note.positions:
        labels["knobs"] = {name: round(position, 6) for name, position in note.positions.items()}
    return labels


def _code(note: DrawnNote, patch: Patch) -> list[float] | None:
    """Before macros, morph, motion and gesture; None for kits, whose keys have own codes."""
    if patch.preset.keys:
        return None
    default_code = patch.preset.latent_values(patch.model.card)
    return [
        round(note.note.knobs.get(f"latent.{latent_number}", value), 6)
        for latent_number, value in enumerate(default_code)
    ]


def _members(number: int, samples: Array, labels: dict[str, Any], settings: DatasetSettings) -> Iterator[Member]:
    name = f"{number:09d}"
    if settings.as_float:
        yield Member(f"{name}.wav", float_wav_bytes(samples, settings.sample_rate))
    else:
        yield Member(f"{name}.flac", flac_bytes(samples, settings.sample_rate))
    yield Member(f"{name}.json", json.dumps(labels, ensure_ascii=False).encode())


INDEX = "index.json"
FORMAT: Literal[1] = 1
LEFTOVER = re.compile(r"\.(notes-\d+|index)\.\w+\.(tar|json)")
PIECE = 1 << 20  # bytes read at a time


class Shard(BaseModel):
    """A whole shard: its file, first note, notes, bytes and SHA-256."""

    model_config = ConfigDict(strict=True, extra="forbid")

    file: Annotated[str, Field(pattern=r"^notes-\d{6,}\.tar$")]
    first: Annotated[int, Field(ge=0)]
    notes: Annotated[int, Field(ge=1)]
    bytes: Annotated[int, Field(ge=0)]
    sha256: str


class _StoredIndex(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    format: Literal[1] = FORMAT
    names: list[str]
    made_by: dict[str, Any]
    notes: Annotated[int, Field(ge=1)]
    shards: list[Shard]


@dataclass
class Index:
    """The settings and whole shards of a data set's folder."""

    folder: Path
    job: Job
    shards: dict[int, Shard] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, job: Job, warn: Callable[[str], None]) -> "Index":
        """Begin a new folder, or resume one of the same settings and no more notes; nothing is written yet.

        ``warn`` receives a line for each damaged shard, to be rendered again.

        Raises:
            UserError: the folder has other files or notes, or cannot be made or written.
        """
        index = cls(folder, job)
        if not (folder / INDEX).exists():
            if not folder.is_dir() or any(not _is_leftover(path) and path.name != WRITING for path in folder.iterdir()):
                check_new_folder(folder)
            return index
        stored_index = index._read()
        if stored_index.made_by != index._made_by():
            raise UserError(
                f"{folder} holds {_difference(stored_index.made_by, index._made_by())}; give another folder"
            )
        if stored_index.notes > job.notes:
            raise UserError(
                f"{folder} is of {stored_index.notes} notes; ask for as many or more, or give another folder"
            )
        for shard in stored_index.shards:
            number = shard.first // index.shard_notes
            if shard.notes != index.notes_of(number):
                continue  # the last one, which grows
            if fault := _fault(folder / shard.file, shard):
                warn(f"{folder / shard.file} {fault}; it is rendered again")
            else:
                index.shards[number] = shard
        return index

    @property
    def shard_notes(self) -> int:
        return DatasetSettings.model_validate_json(self.job.settings).shard_notes

    @property
    def missing(self) -> list[int]:
        return [number for number in range(-(-self.job.notes // self.shard_notes)) if number not in self.shards]

    def batches_of(self, shard: int) -> range:
        return range(shard * self.shard_notes // BATCH, min((shard + 1) * self.shard_notes // BATCH, self.job.batches))

    def notes_of(self, shard: int) -> int:
        return min(self.shard_notes, self.job.notes - shard * self.shard_notes)

    def add(self, shard: int, batches: Iterable[list[Member]]) -> None:
        """Write a shard and then the index.

        Raises:
            Failure: it cannot be written; earlier shards stay.
        """
        name = f"notes-{shard:06d}.tar"
        with replacing(self.folder / name, overwrite=True) as temporary, temporary.open("wb") as file:
            sink = _Digest(file)
            with tarfile.open(fileobj=sink, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
                for batch in batches:
                    for member in batch:
                        info = tarfile.TarInfo(member.name)
                        info.size = len(member.data)
                        archive.addfile(info, io.BytesIO(member.data))
        self.shards[shard] = Shard(
            file=name,
            first=shard * self.shard_notes,
            notes=self.notes_of(shard),
            bytes=sink.count,
            sha256=sink.digest.hexdigest(),
        )
        self._write()

    def make_folder(self) -> None:
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make folder {self.folder}: {error.strerror or error}") from None

    def remove_leftovers(self) -> None:
        for path in self.folder.iterdir():
            if _is_leftover(path):
                path.unlink(missing_ok=True)

    def _write(self) -> None:
        stored_index = _StoredIndex(
            names=[Path(name).name for name in self.job.presets],
            made_by=self._made_by(),
            notes=self.job.notes,
            shards=[self.shards[number] for number in sorted(self.shards)],
        )
        with replacing(self.folder / INDEX, overwrite=True) as temporary:
            temporary.write_text(stored_index.model_dump_json(indent=1), encoding="utf-8")

    def _made_by(self) -> dict[str, Any]:
        settings = json.loads(self.job.settings)
        return {"timbrel": self.job.version, "presets": list(self.job.digests), **settings}

    def _read(self) -> _StoredIndex:
        path = self.folder / INDEX
        try:
            return _StoredIndex.model_validate_json(path.read_bytes())
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from None
        except ValidationError:
            raise UserError(f"{path} is no index of a data set, or damaged; give another folder") from None


def _is_leftover(path: Path) -> bool:
    return LEFTOVER.fullmatch(path.name) is not None


class _Digest(io.BytesIO):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file, self.digest, self.count = file, hashlib.sha256(), 0

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.count += len(data)
        return self._file.write(data)


def _fault(path: Path, shard: Shard) -> str:
    try:
        if path.stat().st_size != shard.bytes:
            return f"has {path.stat().st_size} bytes in place of {shard.bytes}"
        with path.open("rb") as file:
            return "" if hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256 else "is damaged"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"


def _difference(stored_settings: dict[str, Any], job_settings: dict[str, Any]) -> str:
    for name, value in job_settings.items():
        if stored_settings.get(name) != value:
            if name == "presets":
                return "notes of other presets or models"
            return f"notes with {name} {stored_settings.get(name)!r}, not {value!r}"
    return "other notes"
