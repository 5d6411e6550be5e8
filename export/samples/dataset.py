"""Renders a data set of labelled notes into shards, tar files of WebDataset, whole or not at all, with an index."""

import functools
import hashlib
import io
import itertools
import json
import math
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, NamedTuple, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ... import __version__
from ...host import extensions
from ...host.arrays import Array
from ...host.audio.mono_mix import mix_to_mono
from ...host.audio.sound_files import flac_bytes, float_wav_bytes
from ...host.errors import Failure, UserError
from ...host.files import WRITING, Stamp, check_new_folder, claimed, replacing, stamp
from ...host.kinds.card_fields import UNKNOWN_LICENCE
from ...host.kinds.table import CLASSES
from ...host.play.render import fade_out
from ...host.play.separate_notes import render_notes
from ...host.preset.collected_files import referenced_files
from ...host.preset.library import Patch, open_patch
from ...host.preset.shipped import shipped_models, shipped_presets
from ...host.units import gain_to_db
from ...host.workers import task_runner
from .drawing import (
    BATCH,
    MOST_NOTES,
    NO_VALUES,
    DatasetPreset,
    DatasetSettings,
    DrawnNote,
    TableNote,
    draw,
)
from .loudness import loudness_lufs
from .note_table import check_table, read_notes

RESUME_HINT = "run 'timbrel dataset' again to go on"
ALLOCATED_BYTES = (32 << 20) - (1 << 16)  # bytes, just below the largest that glibc ever keeps when it is freed
SILENT_DB = -120.0
A4_HZ, A4_KEY = 440.0, 69


class Member(NamedTuple):
    name: str
    data: bytes


class Job(NamedTuple):
    """Everything to render any batch, in plain values, so that it travels.

    ``digests``: of presets with models and other files. ``settings``: of `DatasetSettings`, as JSON. ``table``: SHA-256
    of the table of notes; "" without one. ``kinds``: of models that installed packages play; ``packages``: names and
    versions of these.
    """

    presets: tuple[str, ...]
    digests: tuple[str, ...]
    settings: str
    notes: int
    version: str
    table: str = ""
    kinds: tuple[str, ...] = ()
    packages: tuple[tuple[str, str], ...] = ()

    @classmethod
    def for_patches(
        cls, names: Sequence[str], patches: Sequence[Patch], settings: DatasetSettings, notes: int, table: str = ""
    ) -> "Job":
        shipped_names = {*shipped_presets(), *shipped_models()}
        preset_locations = [
            name if name in shipped_names or not Path(name).exists() else str(Path(name).absolute()) for name in names
        ]
        digests = tuple(_digest(patch) for patch in patches)
        kinds = tuple(sorted({patch.model.card.kind for patch in patches} - CLASSES.keys()))
        packages = tuple(extensions.versions(extensions.KINDS, kinds).items())
        settings_json = settings.model_dump_json()
        return cls(tuple(preset_locations), digests, settings_json, notes, __version__, table, kinds, packages)

    @property
    def batches(self) -> int:
        return -(-self.notes // BATCH)


def _digest(patch: Patch) -> str:
    digests_by_file = {name: hashlib.sha256(content).hexdigest() for name, content in referenced_files(patch)}
    return hashlib.sha256(json.dumps([patch.digest, digests_by_file], sort_keys=True).encode()).hexdigest()


Result = TypeVar("Result")


class Batch(NamedTuple):
    """Notes that are computed together: their number, and the notes of a table."""

    number: int
    table_notes: tuple[TableNote, ...] = ()


class LabelledNote(NamedTuple):
    """A note's number, its samples, [1 or 2, n], and the fields of its .json file."""

    number: int
    samples: Array
    labels: dict[str, Any]


def _labelled_notes(job: Job, batch: Batch) -> Iterator[LabelledNote]:
    """Yield a batch's notes, those of a preset together; errors as `render_batch`."""
    presets, settings = _opened(job)
    first_note_number = batch.number * BATCH
    note_numbers = range(first_note_number, min(first_note_number + BATCH, job.notes))
    table_notes = batch.table_notes or itertools.repeat(NO_VALUES)
    drawn_notes = [
        draw(number, presets, settings, note) for number, note in zip(note_numbers, table_notes, strict=False)
    ]
    for preset_index in sorted({note.preset for note in drawn_notes}):
        preset_notes = [note for note in drawn_notes if note.preset == preset_index]
        length_samples = round(settings.seconds * settings.sample_rate)
        sounds = render_notes(
            presets[preset_index].patch, [note.note for note in preset_notes], length_samples, settings.sample_rate
        )
        for note_index, sound in sounds:
            note = preset_notes[note_index]
            samples = _shift_to_onset(sound.samples, note.onset_samples, settings)
            note_labels = _labels(note, presets[preset_index].patch, sound.pitch, samples, settings)
            yield LabelledNote(note.number, samples, note_labels)


def render_labelled(job: Job, batch: Batch) -> list[LabelledNote]:
    """Return a batch's notes in their order; errors as `render_batch`."""
    return sorted(_labelled_notes(job, batch), key=lambda note: note.number)


def render_batch(job: Job, batch: Batch) -> list[Member]:
    """Return the files of a batch's notes, in their order.

    Raises:
        UserError: this process has another timbrel, model or preset.
        Failure: a sound is not finite.
    """
    _, settings = _opened(job)
    members_by_note = {note.number: list(_members(*note, settings)) for note in _labelled_notes(job, batch)}
    return [member for number in sorted(members_by_note) for member in members_by_note[number]]


@functools.lru_cache(maxsize=2)
def _opened(job: Job) -> tuple[list[DatasetPreset], DatasetSettings]:
    """Return the job's presets and settings, in this process."""
    # once it is freed, glibc keeps smaller arrays for reuse: a fifth of the time otherwise
    np.empty(ALLOCATED_BYTES, np.uint8)
    if job.version != __version__:
        raise UserError(f"timbrel {__version__} cannot go on with the notes of {job.version}; install the same version")
    extensions.check_versions(extensions.KINDS, job.kinds, dict(job.packages))
    extensions.allow(name for name, _ in job.packages)  # as the user did where the job began
    settings = DatasetSettings.model_validate_json(job.settings)
    presets = []
    for name, digest in zip(job.presets, job.digests, strict=True):
        patch = open_patch(name)
        if _digest(patch) != digest:
            raise UserError(f"{name} is another preset or model here than at the start; give all machines the same")
        presets.append(DatasetPreset(patch, settings))
    return presets, settings


def _shift_to_onset(sound: Array, onset_samples: int, settings: DatasetSettings) -> Array:
    length_samples = sound.shape[1]
    shifted_sound = np.zeros((2 if settings.stereo else 1, length_samples), np.float32)
    channels = sound
    if not settings.stereo:
        is_mono = np.array_equal(sound[0], sound[-1])
        channels = sound[:1] if is_mono else mix_to_mono(sound, settings.sample_rate)[np.newaxis]
    shifted_sound[:, onset_samples:] = channels[:, : length_samples - onset_samples]
    fade_out(shifted_sound, settings.sample_rate)
    return shifted_sound


def _labels(note: DrawnNote, patch: Patch, pitch: float, samples: Array, settings: DatasetSettings) -> dict[str, Any]:
    """Return the fields of a note's .json file."""
    if not np.isfinite(samples).all():
        raise Failure(f"note {note.number} of {patch.name} is not finite; leave out the knobs that lead there")
    measured_lufs = loudness_lufs(samples, settings.sample_rate)
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
        "loudness_lufs": None if measured_lufs is None else round(measured_lufs, 2),
        "peak_dbfs": round(max(gain_to_db(float(np.abs(samples).max())), SILENT_DB), 2),
    }
    if key_label := next((entry.sound for entry in patch.preset.keys if entry.key == note.note.key), ""):
        labels["label"] = key_label
    if note.landmark is not None:
        labels["landmark"] = note.landmark
    if patch.model.card.license not in ("", UNKNOWN_LICENCE):
        labels["licence"] = patch.model.card.license
    if note.positions:
        labels["knobs"] = {name: round(position, 6) for name, position in note.positions.items()}
    return labels


def _code(note: DrawnNote, patch: Patch) -> list[float] | None:
    """Before macros, morph, motion and gesture; None where keys or a path have codes of their own."""
    if patch.preset.keys or any(motion.target is None for motion in patch.preset.motion):
        return None
    default_code = patch.preset.latent_values(patch.model.card)
    return [
        round(note.note.knobs.get(f"latent.{latent_index}", value), 6)
        for latent_index, value in enumerate(default_code)
    ]


def _members(number: int, samples: Array, labels: dict[str, Any], settings: DatasetSettings) -> Iterator[Member]:
    """Yield a note's sound file and its labels."""
    stem = f"{number:09d}"
    if settings.as_float:
        yield Member(f"{stem}.wav", float_wav_bytes(samples, settings.sample_rate))
    else:
        yield Member(f"{stem}.flac", flac_bytes(samples, settings.sample_rate))
    yield Member(f"{stem}.json", json.dumps(labels, ensure_ascii=False).encode())


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
            shard_index = shard.first // index.shard_notes
            if shard.notes != index.notes_of(shard_index):
                continue  # the last one, which grows
            if fault_text := _fault(folder / shard.file, shard):
                warn(f"{folder / shard.file} {fault_text}; it is rendered again")
            else:
                index.shards[shard_index] = shard
        return index

    @property
    def shard_notes(self) -> int:
        return DatasetSettings.model_validate_json(self.job.settings).shard_notes

    @property
    def missing(self) -> list[int]:
        """Indices of shards that are not whole."""
        return [
            shard_index
            for shard_index in range(-(-self.job.notes // self.shard_notes))
            if shard_index not in self.shards
        ]

    def batches_of(self, shard_index: int) -> range:
        """Return the numbers of a shard's batches."""
        return range(
            shard_index * self.shard_notes // BATCH,
            min((shard_index + 1) * self.shard_notes // BATCH, self.job.batches),
        )

    def notes_of(self, shard_index: int) -> int:
        """Return how many notes a shard has."""
        return min(self.shard_notes, self.job.notes - shard_index * self.shard_notes)

    def add(self, shard_index: int, batches: Iterable[list[Member]]) -> None:
        """Write a shard and then the index.

        Raises:
            Failure: it cannot be written; earlier shards stay.
        """
        file_name = f"notes-{shard_index:06d}.tar"
        with replacing(self.folder / file_name, overwrite=True) as temporary_file, temporary_file.open("wb") as file:
            digesting_file = _Digest(file)
            with tarfile.open(fileobj=digesting_file, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
                for batch in batches:
                    for member in batch:
                        tar_entry = tarfile.TarInfo(member.name)
                        tar_entry.size = len(member.data)
                        archive.addfile(tar_entry, io.BytesIO(member.data))
        self.shards[shard_index] = Shard(
            file=file_name,
            first=shard_index * self.shard_notes,
            notes=self.notes_of(shard_index),
            bytes=digesting_file.count,
            sha256=digesting_file.digest.hexdigest(),
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
            shards=[self.shards[shard_index] for shard_index in sorted(self.shards)],
        )
        with replacing(self.folder / INDEX, overwrite=True) as temporary_file:
            temporary_file.write_text(stored_index.model_dump_json(indent=1), encoding="utf-8")

    def _made_by(self) -> dict[str, Any]:
        """Return all that decides the notes."""
        settings = json.loads(self.job.settings)
        packages = {"packages": dict(self.job.packages)} if self.job.packages else {}
        table = {"table": self.job.table} if self.job.table else {}
        return {"timbrel": self.job.version, **packages, "presets": list(self.job.digests), **table, **settings}

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
    """Return the fault of a shard's file; empty if it is whole."""
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
    """Return a line on the setting that differs from the stored one."""
    for name in dict.fromkeys([*job_settings, *stored_settings]):
        value = job_settings.get(name)
        if stored_settings.get(name) != value:
            if name == "presets":
                return "notes of other presets or models"
            if name == "table":
                return "notes of another table, or of none"
            return f"notes with {name} {stored_settings.get(name)!r}, not {value!r}"
    return "other notes"


def dataset_job(
    names: Sequence[str],
    settings: DatasetSettings,
    notes: int | None,
    warn: Callable[[str], None],
    table: Path | None = None,
) -> Job:
    """Return the job of a data set; arguments and errors as `make_dataset`."""
    if (notes is None) == (table is None):
        raise UserError("--notes and --table are two ways to say which notes are rendered; give one of them")
    if notes is not None and not 1 <= notes <= MOST_NOTES:
        raise UserError(f"--notes {notes} is out of range; give 1 to {MOST_NOTES}")
    patches = [open_patch(name) for name in names]
    for patch in patches:
        for warning in patch.warnings:
            warn(warning)
    presets = [DatasetPreset(patch, settings) for patch in patches]
    preset_names = [patch.name for patch in patches]
    if duplicate_name := next((name for name in preset_names if preset_names.count(name) > 1), None):
        raise UserError(f"two presets are named {duplicate_name!r}, by which labels tell them apart; rename one")
    if table is None:
        assert notes is not None
        return Job.for_patches(names, patches, settings, notes)
    checked = check_table(table, presets, settings)
    return Job.for_patches(names, patches, settings, checked.notes, checked.sha256)


def make_dataset(
    names: Sequence[str],
    output: Path,
    settings: DatasetSettings,
    notes: int | None,
    *,
    table: Path | None = None,
    workers: int = 1,
    ray: str | None = None,
    progress: Callable[[float], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> str:
    """Render the notes that ``output`` lacks; return a summary.

    Args:
        names: of presets, as `open_patch` takes them; each note draws one.
        notes: in all, 1 to `MOST_NOTES`; None with a ``table``.
        table: a CSV file of notes (`note_table`).
        workers: processes of this machine.
        ray: a Ray cluster's address, or ``auto``; replaces ``workers``.
        progress: receives 0 to 1.
        warn: receives warnings.

    Raises:
        UserError: a preset, a setting, a row of the table or the folder does not fit.
        Failure: a shard cannot be written, or a worker died; whole shards stay.
    """
    emit_warning = warn or (lambda line: None)
    table_stamp = None if table is None else stamp(table)
    job = dataset_job(names, settings, notes, emit_warning, table)
    index = Index.open(output, job, emit_warning)
    missing_shards = index.missing
    batch_numbers = [number for shard in missing_shards for number in index.batches_of(shard)]
    if missing_shards:
        render_one = functools.partial(render_batch, job)
        with task_runner(render_one, min(workers, len(batch_numbers)), ray, RESUME_HINT) as render_batches:
            index.make_folder()
            with claimed(output):
                index.remove_leftovers()
                batches = counted(
                    render_batches(_batches(batch_numbers, table, table_stamp)), len(batch_numbers), progress
                )
                for shard in missing_shards:
                    index.add(shard, itertools.islice(batches, len(index.batches_of(shard))))
    total_bytes = sum(shard.bytes for shard in index.shards.values())
    new_note_count = sum(index.notes_of(shard) for shard in missing_shards)
    return (
        f"{output}: {job.notes} notes in {len(index.shards)} shards, {total_bytes / 1e6:.1f} MB; "
        f"{new_note_count} are new"
    )


def _batches(numbers: Sequence[int], table: Path | None, table_stamp: Stamp | None = None) -> Iterator[Batch]:
    """Yield batches of these ascending numbers, with the table's notes if there is one.

    Raises:
        UserError: the table has another stamp than when it was checked.
    """
    if table is None:
        yield from map(Batch, numbers)
        return
    wanted_numbers = set(numbers)
    notes = read_notes(table)
    for number in itertools.count():
        batch_notes = tuple(itertools.islice(notes, BATCH))
        if stamp(table) != table_stamp:
            raise UserError(
                f"{table} changed while its notes were rendered; give the earlier one again to go on, or another folder"
            )
        if not batch_notes:
            return
        if number in wanted_numbers:
            yield Batch(number, batch_notes)


def counted(
    batches: Iterable[list[Result]], batch_count: int, progress: Callable[[float], None] | None
) -> Iterator[list[Result]]:
    """Yield the batches, and report the share that is done."""
    for finished_count, batch in enumerate(batches, 1):
        if progress is not None:
            progress(finished_count / batch_count)
        yield batch
