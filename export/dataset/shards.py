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
from ...host.preset.collected_files import beside
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
    z: npt.NDArray[np.complex128], above: tuple[float, float, float], below: tuple[float, float, float]
) -> npt.NDArray[np.complex128]:
    over = above[0] + above[1] * z + above[2] * z * z
    under = below[0] + below[1] * z + below[2] * z * z
    ratio: npt.NDArray[np.complex128] = over / under
    return ratio


ALLOCATED = (32 << 20) - (1 << 16)  # bytes, just below the largest that glibc ever keeps when it is freed
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
    def of(cls, names: Sequence[str], patches: Sequence[Patch], settings: DatasetSettings, notes: int) -> "Job":
        files = {*shipped_presets(), *shipped_models()}
        placed = [name if name in files or not Path(name).exists() else str(Path(name).absolute()) for name in names]
        digests = tuple(_digest(patch) for patch in patches)
        return cls(tuple(placed), digests, settings.model_dump_json(), notes, __version__)

    @property
    def batches(self) -> int:
        return -(-self.notes // BATCH)


def _digest(patch: Patch) -> str:
    files = {name: hashlib.sha256(data).hexdigest() for name, data in beside(patch)}
    return hashlib.sha256(json.dumps([patch.digest, files], sort_keys=True).encode()).hexdigest()


def render_batch(job: Job, number: int) -> list[Member]:
    """Return the files of a batch's notes, in their order.

    Raises:
        UserError: this process has another timbrel, model or preset.
        Failure: a sound is not finite.
    """
    presets, settings = _opened(job)
    first = number * BATCH
    drawn = [draw(one, presets, settings) for one in range(first, min(first + BATCH, job.notes))]
    members: dict[int, list[Member]] = {}
    for which in sorted({note.preset for note in drawn}):
        own = [note for note in drawn if note.preset == which]
        length = round(settings.seconds * settings.sample_rate)
        sounds = render_notes(presets[which].patch, [note.note for note in own], length, settings.sample_rate)
        for place, sound in sounds:
            note = own[place]
            samples = _placed(sound.samples, note.onset_samples, settings)
            labels = _labels(note, presets[which].patch, sound.pitch, samples, settings)
            members[note.number] = list(_members(note.number, samples, labels, settings))
    return [member for note in drawn for member in members[note.number]]


@functools.lru_cache(maxsize=2)
def _opened(job: Job) -> tuple[list[DatasetPreset], DatasetSettings]:
    np.empty(ALLOCATED, np.uint8)  # once freed, glibc keeps smaller arrays for reuse: a fifth of the time otherwise
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


def _placed(sound: Array, onset: int, settings: DatasetSettings) -> Array:
    length = sound.shape[1]
    placed = np.zeros((2 if settings.stereo else 1, length), np.float32)
    placed[:, onset:] = (sound if settings.stereo else sound.mean(axis=0, keepdims=True))[:, : length - onset]
    fade = round(FADE_SECONDS * settings.sample_rate)
    placed[:, length - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return placed


def _labels(note: DrawnNote, patch: Patch, pitch: float, samples: Array, settings: DatasetSettings) -> dict[str, Any]:
    if not np.isfinite(samples).all():
        raise Failure(f"note {note.number} of {patch.name} is not finite; leave out the knobs that lead there")
    loud = loudness_lufs(samples, settings.sample_rate)
    keyed = patch.model.card.keyed and math.isfinite(pitch)
    labels: dict[str, Any] = {
        "number": note.number,
        "preset": patch.name,
        "model_sha256": patch.model.sha256,
        "key": note.note.key,
        "pitch_hz": round(A4_HZ * 2 ** ((pitch - A4_KEY) / 12), 4) if keyed else None,
        "velocity": note.note.velocity,
        "onset_seconds": round(note.onset_samples / settings.sample_rate, 6),
        "held_seconds": round(note.note.held_seconds, 6),
        "sample_rate": settings.sample_rate,
        "latents": _code(note, patch),
        "loudness_lufs": None if loud is None else round(loud, 2),
        "peak_dbfs": round(max(gain_to_db(float(np.abs(samples).max())), SILENT_DB), 2),
    }
    if (own := next((entry.label for entry in patch.preset.keys if entry.key == note.note.key), None)) is not None:
        labels["label"] = own
    if note.landmark is not None:
        labels["landmark"] = note.landmark
    if note.positions:
        labels["knobs"] = {name: round(position, 6) for name, position in note.positions.items()}
    return labels


def _code(note: DrawnNote, patch: Patch) -> list[float] | None:
    """Before macros, morph, motion and gesture; None for kits, whose keys have own codes."""
    if patch.preset.keys:
        return None
    rest = patch.preset.latent_values(patch.model.card)
    return [round(note.note.knobs.get(f"latent.{place}", value), 6) for place, value in enumerate(rest)]


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


class _Told(BaseModel):
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
    def open(cls, folder: Path, job: Job, say: Callable[[str], None]) -> "Index":
        """Begin a new folder, or resume one of the same settings and no more notes; nothing is written yet.

        ``say`` receives a line for each damaged shard, to be rendered again.

        Raises:
            UserError: the folder has other files or notes, or cannot be made or written.
        """
        index = cls(folder, job)
        if not (folder / INDEX).exists():
            if not folder.is_dir() or any(not _is_leftover(path) and path.name != WRITING for path in folder.iterdir()):
                check_new_folder(folder)
            return index
        told = index._read()
        if told.made_by != index._made_by():
            raise UserError(f"{folder} holds {_difference(told.made_by, index._made_by())}; give another folder")
        if told.notes > job.notes:
            raise UserError(f"{folder} is of {told.notes} notes; ask for as many or more, or give another folder")
        for shard in told.shards:
            number = shard.first // index.shard_notes
            if shard.notes != index.notes_of(number):
                continue  # the last one, which grows
            if fault := _fault(folder / shard.file, shard):
                say(f"{folder / shard.file} {fault}; it is rendered again")
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
        told = _Told(
            names=[Path(name).name for name in self.job.presets],
            made_by=self._made_by(),
            notes=self.job.notes,
            shards=[self.shards[number] for number in sorted(self.shards)],
        )
        with replacing(self.folder / INDEX, overwrite=True) as temporary:
            temporary.write_text(told.model_dump_json(indent=1), encoding="utf-8")

    def _made_by(self) -> dict[str, Any]:
        settings = json.loads(self.job.settings)
        return {"timbrel": self.job.version, "presets": list(self.job.digests), **settings}

    def _read(self) -> _Told:
        path = self.folder / INDEX
        try:
            return _Told.model_validate_json(path.read_bytes())
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


def _difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    for name, value in here.items():
        if there.get(name) != value:
            if name == "presets":
                return "notes of other presets or models"
            return f"notes with {name} {there.get(name)!r}, not {value!r}"
    return "other notes"
